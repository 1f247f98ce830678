"""The files of the page, and the headers that bound what it can do."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib import resources
from typing import Final

from suno_video_async._util.look import look
from suno_video_async.local.exchange import Reply

#: Nothing inline, nothing from elsewhere, no HTML made from text, in no frame.
POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        *(f"{what}-src 'self'" for what in ("script", "style", "img", "media", "connect")),
        *(f"{what} 'none'" for what in ("base-uri", "form-action", "frame-ancestors")),
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
#: Of every answer of the studio.
GUARDS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_FILES: Final = {
    "/": ("studio.html", "text/html; charset=utf-8"),
    "/studio/studio.css": ("studio.css", "text/css; charset=utf-8"),
    "/studio/studio.js": ("studio.js", "text/javascript; charset=utf-8"),
    "/studio/icon.svg": ("icon.svg", "image/svg+xml"),
}


_read: dict[str, bytes] = {}


def asset(path: str) -> Reply | None:
    """Return the file of the page at a path, or None; a file that was not read yet is read first."""
    if path not in _FILES:
        return None
    name, kind = _FILES[path]
    if name not in _read:
        return Reply(prepare=partial(_load, name))
    return Reply(headers={"Content-Type": kind, "Cache-Control": "no-cache"}, body=_read[name])


def _load(name: str) -> None:
    text = resources.files("suno_video_async.local.studio").joinpath(name).read_text(encoding="utf-8")
    _read[name] = ((look() if name.endswith(".css") else "") + text).encode()
