"""URLs of media as services really write them: made usable, or left out."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import quote, urlsplit

#: No URL of a media host comes near it.
MAX_URL = 8192
#: Control characters and lone surrogates have no place in a URL.
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_HOST = re.compile(r"[a-z0-9._-]+")
#: What stays as it is; the rest of a path, query or fragment is percent-encoded.
_KEPT = "%/:?#[]@!$&'()*+,;=~-._"


def usable_url(value: object) -> str | None:
    """Return an http(s) URL in ASCII, with spaces and other letters percent-encoded; None where it cannot be used.

    What is percent-encoded already stays untouched, so that a signature in the URL keeps its meaning.
    """
    return _usable(value) if isinstance(value, str) and len(value) <= MAX_URL else None


@lru_cache(maxsize=64)
def _usable(text: str) -> str | None:
    """Do so with text that is short enough; a task is asked about many times."""
    if _FORBIDDEN.search(text):
        return None
    text = text.strip()
    try:
        parts = urlsplit(text)
        host = parts.hostname
        _ = parts.port  # raises where it is not a number
    except ValueError:
        return None
    if parts.scheme not in {"http", "https"} or not host or any(map(str.isspace, parts.netloc)):
        return None
    rest = text[text.index(parts.netloc, len(parts.scheme)) + len(parts.netloc) :]
    netloc = parts.netloc if parts.netloc.isascii() else _ascii_netloc(parts.netloc, host)
    return None if netloc is None else f"{parts.scheme}://{netloc}{quote(rest, safe=_KEPT)}"


def _ascii_netloc(netloc: str, host: str) -> str | None:
    """Return the authority with its host in IDNA's ASCII form."""
    before, _, after = netloc.lower().rpartition(host)
    try:
        spelled = host[:253].encode("idna").decode()
    except UnicodeError:
        return None
    # Some letters stand for a space or a mark with an accent, which no name of a host has.
    if not _HOST.fullmatch(spelled) or not before.isascii() or not after.isascii():
        return None
    return before + spelled + after
