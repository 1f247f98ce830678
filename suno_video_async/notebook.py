"""Renders values for notebooks: a few lines of HTML, readable in light and dark, without secrets."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from html import escape
from pathlib import Path
from urllib.parse import quote

from suno_video_async._util.netaddr import without_secrets

#: Maximum bytes of a video that is embedded in the page, if it is outside the notebook's folder.
EMBEDDED = 5_000_000
#: Maximum characters shown of a value: a server's message may be long.
SHOWN = 300
_URL = re.compile(r"https?://\S+", re.IGNORECASE)

#: Readable on white and on black.
_GOOD, _BAD, _OPEN, _REST = "#2da44e", "#e5534b", "#c69026", "#768390"
_COLOURS = {
    **dict.fromkeys(("success", "succeeded", "downloaded"), _GOOD),
    **dict.fromkeys(("failed", "refused", "unknown"), _BAD),
    **dict.fromkeys(("pending", "running", "submitted"), _OPEN),
}


def card(title: str, state: str | None, facts: Mapping[str, object], *, path: Path | None = None) -> str:
    """Return a value as HTML, everything escaped.

    Args:
        title: what it is, and which.
        state: its state, in a word that may have a colour.
        facts: the rows to show, in order; None is left out, and `progress` is drawn as a bar.
        path: a video on disk, which plays in place.

    """
    rows = "".join(_row(name, value) for name, value in facts.items() if value is not None)
    colour = _COLOURS.get((state or "").lower(), _REST)
    word = f' <b style="color:{colour}">{_text(state)}</b>' if state else ""
    return (
        f'<div style="border-left:3px solid {colour};padding:0 .8em;margin:.3em 0">'
        f"<div><code>{_text(title)}</code>{word}</div>"
        f'<table style="margin:.2em 0;border:0;text-align:left">{rows}</table>{_player(path)}</div>'
    )


def _row(name: str, value: object) -> str:
    shown = f'<progress max="1" value="{value:.3f}"></progress>' if name == "progress" else _text(_plain(value))
    cell = "border:0;padding:0 .8em 0 0;text-align:left"
    return (
        f'<tr style="background:none"><td style="{cell};opacity:.7">{_text(name)}</td>'
        f'<td style="{cell}" dir="auto">{shown}</td></tr>'
    )


def _plain(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.1f}".removesuffix(".0")
    if isinstance(value, BaseException):
        value = f"{type(value).__name__}: {value}"
    return _URL.sub(lambda found: without_secrets(found[0]), str(value))


def _text(value: str | None) -> str:
    text = value or ""
    return escape(text if len(text) <= SHOWN else text[: SHOWN - 1] + "…")


def _player(path: Path | None) -> str:
    source = None if path is None else _source(path)
    if source is None:
        return ""
    return f'<video controls preload="metadata" style="max-width:32em;width:100%" src="{source}"></video>'


def _source(path: Path) -> str | None:
    """Return the source of a video: its path if below the notebook's folder, otherwise its embedded data."""
    try:
        whole, here = path.resolve(), Path.cwd().resolve()
        if whole.is_relative_to(here) and whole.is_file():
            return quote(whole.relative_to(here).as_posix())
        if whole.stat().st_size <= EMBEDDED:
            return "data:video/mp4;base64," + base64.b64encode(whole.read_bytes()).decode()
    except OSError:
        return None  # it has been moved since
    return None
