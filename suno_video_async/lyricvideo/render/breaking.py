"""Line breaking of lyrics: between words, into as few rows as possible, of similar length."""

from __future__ import annotations

import importlib
import math
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import accumulate, pairwise
from typing import Any, Final

from attrs import frozen

from suno_video_async.lyricvideo.scripts import VARIANTS, Region, has_cjk

#: What a break costs that is not after a space or a mark; uneven rows cost about 0.1.
_PHRASE: Final = 0.02
_WORD: Final = 0.5
_MODELS: Final[dict[Region, str]] = {
    "JP": "load_default_japanese_parser",
    "SC": "load_default_simplified_chinese_parser",
    "TC": "load_default_traditional_chinese_parser",
    "HK": "load_default_traditional_chinese_parser",
}


@frozen
class Atom:
    """A piece of a text that stays in one row, with the space that ends it, and what a break after it costs."""

    text: str
    cost: float = 0.0


def clusters(text: str) -> Iterator[str]:
    """What a reader takes for one character: a base with its marks."""
    cluster = ""
    for char in text:
        if cluster and not _joins(cluster, char):
            yield cluster
            cluster = ""
        cluster += char
    if cluster:
        yield cluster


def _joins(cluster: str, char: str) -> bool:
    """Whether a character belongs to the one before it (a part of Unicode's TR29)."""
    if unicodedata.category(char)[0] == "M" or char in VARIANTS or cluster[-1] == "\u200d":
        return True
    if unicodedata.combining(cluster[-1]) == 9:  # a virama, which makes a conjunct of two letters
        return unicodedata.category(char) == "Lo"
    flags = [letter for letter in (cluster, char) if "\U0001f1e6" <= letter <= "\U0001f1ff"]
    return len(flags) == 2 and len(cluster) == 1


def atoms(text: str, region: Region) -> list[Atom]:
    """Cut a text where rows may end.

    Text without wide letters breaks at spaces. The rest follows Unicode's rules (TR14): no closing mark begins a
    row, no opening one ends it; within them, phrases and Korean words are kept together.
    """
    wide = any(unicodedata.east_asian_width(char) in {"W", "F"} for char in text)
    if not wide or not has_cjk():
        return [Atom(piece) for piece in _spaced(text)]
    pieces: list[str] = []
    for unit in _units(text):
        # A word of Hangul is kept whole, as readers are used to.
        if pieces and _is_hangul(pieces[-1][-1]) and _is_hangul(unit[0]):
            pieces[-1] += unit
        else:
            pieces.append(unit)
    ends = _phrase_ends(text, region)
    found: list[Atom] = []
    at = 0
    for piece in pieces:
        at += len(piece)
        free = unicodedata.category(piece[-1])[0] in "ZPS"
        found.append(Atom(piece, 0.0 if free else _PHRASE if at in ends else _WORD))
    return found


def rows(
    pieces: Sequence[Atom], widths: Sequence[float], gaps: Sequence[float], limit: float
) -> list[tuple[int, int]]:
    """Set pieces in as few rows as fit, whose breaks cost least and whose lengths are most even.

    Args:
        pieces: the text's.
        widths: of each, without the space that ends it.
        gaps: the widths of these spaces.
        limit: of a row, in the same unit.

    Returns:
        The first piece of each row, and the one after its last.

    """
    begins = list(accumulate((width + gap for width, gap in zip(widths, gaps, strict=True)), initial=0.0))
    best = [(0, 0.0)]
    before = [0]
    for last, piece in enumerate(pieces):
        cost = piece.cost if last + 1 < len(pieces) else 0.0
        found, origin = (len(pieces) + 1, math.inf), 0
        for first in range(last, -1, -1):
            width = begins[last] + widths[last] - begins[first]
            if width > limit and first < last:
                break
            slack = max(0.0, 1.0 - width / limit)
            tried = (best[first][0] + 1, best[first][1] + slack * slack + cost)
            if tried < found:
                found, origin = tried, first
        best.append(found)
        before.append(origin)
    ends = [len(pieces)] if pieces else []
    while ends and ends[-1]:
        ends.append(before[ends[-1]])
    return list(pairwise(reversed(ends)))


def _spaced(text: str) -> Iterator[str]:
    """Yield the words, each with the space that ends it."""
    piece = ""
    for char in text:
        if piece and piece[-1] in " \u200b" and char != piece[-1]:
            yield piece
            piece = ""
        piece += char
    if piece:
        yield piece


def _units(text: str) -> Iterator[str]:
    linebreak: Any = importlib.import_module("uniseg.linebreak")  # in the extra, and only needed for wide letters
    yield from linebreak.line_break_units(text)


def _is_hangul(char: str) -> bool:
    return unicodedata.name(char, "").startswith("HANGUL")


def _phrase_ends(text: str, region: Region) -> set[int]:
    """The ends of the phrases of a text, in characters; none for Korean, which has spaces."""
    if region not in _MODELS:
        return set()
    return set(accumulate(len(phrase) for phrase in _model(_MODELS[region]).parse(text)))


@cache
def _model(name: str) -> Any:
    budoux: Any = importlib.import_module("budoux")
    return getattr(budoux, name)()
