"""What lyrics are: lines, words, and what was odd about the text that they were read from."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from typing import Final

from attrs import define, evolve, field, frozen

from suno_video_async._util.words import many

LONGEST_LINE: Final = 1000
"""Characters of a line of lyrics, or of a title; a longer one would take minutes to set."""
MOST_LINES: Final = 5000
"""Lines of a file of lyrics: several hours of song."""
MOST_TOGETHER: Final = 3
"""Texts of one line: the original, its transcription, its translation."""
_MOST_WARNINGS: Final = 20


class LyricsError(Exception):
    """No line of a text can be used: the line at fault, if one is, and what to do."""

    def __init__(self, line: int | None, problem: str) -> None:
        super().__init__(line, problem)
        self.line = line
        self.problem = problem


@frozen
class LyricWord:
    """A part of a line, with the space after it, and the time in seconds at which it is sung."""

    start: float
    text: str


@frozen
class LyricLine:
    """A line of lyrics and the time in seconds at which it is sung; an empty line clears the stage.

    `words` are the parts of `text` that have times of their own, or nothing. An empty one at the end says when the
    last one ends. `others` are shown together with the line, below it: its transcription, its translation.
    """

    start: float
    text: str
    words: tuple[LyricWord, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """All that is shown while the line is sung."""
        return (self.text, *self.others)


@frozen
class LyricsWarning:
    """What was left out of a text, or read in one of several possible ways: the line, and what to do."""

    line: int | None
    problem: str


@frozen
class Lyrics:
    """What a text holds.

    Attributes:
        lines: in the order in which they are sung.
        warnings: what was odd.
        title: of the song, if the text names it.
        artist: likewise.
        spread: true if the lines had no times and each was given a share of the song.

    """

    lines: tuple[LyricLine, ...]
    warnings: tuple[LyricsWarning, ...] = ()
    title: str = ""
    artist: str = ""
    spread: bool = False


@define
class Oddities:
    """Collects warnings while a text is read."""

    _found: list[LyricsWarning] = field(factory=list[LyricsWarning])

    def add(self, line: int | None, problem: str) -> None:
        """Remember one."""
        self._found.append(LyricsWarning(line, problem))

    def warnings(self) -> tuple[LyricsWarning, ...]:
        """The first ones in the order of their lines, and how many more there are."""
        found = sorted(self._found, key=lambda warning: warning.line or 0)
        more = len(found) - _MOST_WARNINGS
        if more <= 0:
            return tuple(found)
        rest = many(more, "more line has such a mistake", "more lines have such mistakes")
        return (*found[:_MOST_WARNINGS], LyricsWarning(None, rest))

    def result(
        self, lines: Iterable[LyricLine], *, title: str = "", artist: str = "", spread: bool = False
    ) -> Lyrics:
        """The lyrics of these lines.

        Raises:
            LyricsError: there is no line to show, and something was left out.

        """
        kept = tuple(lines)
        if not any(line.text for line in kept):
            if self._found:
                raise LyricsError(self._found[0].line, self._found[0].problem)
            kept = ()
        return Lyrics(kept, self.warnings(), title, artist, spread)


def numbered(text: str, oddities: Oddities) -> Iterator[tuple[int, str]]:
    """The stripped lines of a text with their numbers; lines that no song has are left out.

    Raises:
        LyricsError: there are too many.

    """
    for number, line in enumerate(text.splitlines(), 1):
        if number > MOST_LINES:
            raise LyricsError(number, f"has more than {MOST_LINES} lines; is it the right file?")
        if len(line) > LONGEST_LINE:
            problem = f"has {len(line)} characters on one line; break it into lines of {LONGEST_LINE} at most"
            oddities.add(number, problem)
            continue
        yield number, line.strip("\ufeff \t\r\n\v\f\0")


_ENTITY: Final = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")


def decoded(text: str) -> str:
    """A text with HTML's entities as the characters that they stand for."""
    return _ENTITY.sub(lambda entity: html.unescape(entity[0]), text)


def seconds_of(hours: str | None, minutes: str | None, seconds: str | None, fraction: str | None) -> float:
    """The time that the parts of a stamp say, in seconds; a part that is missing is 0."""
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0) + float(f"0.{fraction or 0}")


def in_order(lines: Iterable[LyricLine], oddities: Oddities) -> tuple[LyricLine, ...]:
    """Lines sorted by time; those of one time are shown together, unless there are too many."""
    together: dict[float, list[LyricLine]] = {}
    for line in sorted(lines, key=lambda line: line.start):
        together.setdefault(line.start, []).append(line)
    found: list[LyricLine] = []
    for start, group in together.items():
        sung = list({line.text: line for line in group if line.text}.values())
        if len(sung) > MOST_TOGETHER:
            oddities.add(None, f"{len(sung)} lines have the same time, {start:.2f} s; give each its own")
            found += sung
        elif sung:
            found.append(evolve(sung[0], others=tuple(line.text for line in sung[1:])))
        else:
            found.append(group[0])
    return tuple(found)
