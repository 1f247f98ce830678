"""Text from outside as one line that can be logged, stored and shown.

A server's text can hold what moves a terminal's cursor, what begins a new line of a log, and what makes a reader
see another order of letters than there is. None of that gets further than the code that reads the text.
"""

from __future__ import annotations

import re

#: Control characters, line separators, lone surrogates, and what changes the direction of writing. Other invisible
#: characters stay: letters and emoji are joined by some.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_BREAKS = frozenset("\t\n\v\f\r\x1c\x1d\x1e\x1f\x85\u2028\u2029")


def one_line(text: str, most: int | None = None) -> str:
    """Return a text without what acts on its surroundings, at most `most` characters long."""
    if most is not None and len(text) > most:
        text = text[: most - 1] + "…"
    return text if text.isprintable() else _UNSAFE.sub(_instead, text)


def is_safe(text: str) -> bool:
    """Whether a text has nothing that `one_line` replaces."""
    return text.isprintable() or _UNSAFE.search(text) is None


def escaped_json(text: str) -> str:
    r"""Return JSON with what `one_line` replaces as `\u` escapes, which are the same value."""
    return text if text.isprintable() else _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _instead(found: re.Match[str]) -> str:
    mark = found[0]
    if mark in _BREAKS:
        return " "
    return "" if "\u061c" <= mark <= "\u2069" else "\ufffd"
