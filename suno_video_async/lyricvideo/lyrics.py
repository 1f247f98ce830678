"""Lyrics with their times: LRC, also with times of words, SubRip, and plain text spread over a song."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from attrs import frozen

from suno_video_async.lyricvideo.errors import LibraryError


@frozen
class LyricWord:
    """A part of a line, with the space after it, and the time in seconds at which it is sung."""

    start: float
    text: str


@frozen
class LyricLine:
    """A line of lyrics and the time in seconds at which it is sung; an empty line clears the stage.

    `words` are the parts of `text` that have times of their own, or nothing. An empty one at the end says when the
    last one is over.
    """

    start: float
    text: str
    words: tuple[LyricWord, ...] = ()


LONGEST_LINE: Final = 1000
"""Characters of a line of lyrics, or of a title; more is a mistake, and would take minutes to set."""
MOST_LINES: Final = 5000
"""Lines of lyrics: several hours of song."""

_STAMP: Final = re.compile(r"\[(\d{1,4}):(\d{1,2})(?:[.:](\d{1,3}))?\]")
_TAG: Final = re.compile(r"\[([A-Za-z#][\w#]*)\s*:(.*)\]\s*$")
_WORD_STAMP: Final = re.compile(r"<(\d{1,4}):(\d{1,2})(?:[.:](\d{1,3}))?>")


def parse_lrc(text: str, *, path: Path = Path("lyrics.lrc")) -> tuple[LyricLine, ...]:
    """Read LRC lyrics: several stamps on a line, stamps of words (`<01:23.45>`), and the offset tag.

    A positive `[offset:+ms]` shows the lyrics sooner. Raises `LibraryError` with the line at fault.
    """
    lines: list[LyricLine] = []
    offset = 0.0
    for number, raw in _numbered(text, path):
        rest = raw.strip()
        stamps: list[float] = []
        while match := _STAMP.match(rest):
            stamps.append(_stamp_seconds(match, path, number))
            rest = rest[match.end() :].lstrip()
        if stamps:
            line = _timed_line(stamps[0], rest, path, number)
            lines += [_later(line, stamp - line.start) for stamp in stamps]
        elif tag := _TAG.match(rest):
            offset = _offset(tag[2], path, number) if tag[1].lower() == "offset" else offset
        elif rest:
            problem = "has no time stamp; begin the line with one such as [01:23.45], or use lyrics.txt"
            raise LibraryError(path, number, problem)
    return _in_order(_later(line, -offset) for line in lines)


def _numbered(text: str, path: Path) -> Iterator[tuple[int, str]]:
    """The lines with their numbers; refuses what no song has."""
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > LONGEST_LINE:
            problem = f"has {len(line)} characters on one line; break it into lines of {LONGEST_LINE} at most"
            raise LibraryError(path, number, problem)
        if number > MOST_LINES:
            raise LibraryError(path, number, f"has more than {MOST_LINES} lines; is it the right file?")
        yield number, line


def _timed_line(start: float, text: str, path: Path, number: int) -> LyricLine:
    """A line and its words; what comes before the first stamp of a word is sung when the line begins."""
    words: list[LyricWord] = []
    at, passed = start, 0
    for stamp in [*_WORD_STAMP.finditer(text), None]:
        words.append(LyricWord(at, text[passed : stamp.start() if stamp else None]))
        if stamp is None:
            break
        since, at, passed = at, _stamp_seconds(stamp, path, number), stamp.end()
        if at < since:
            problem = f"the word at {stamp[0]} is sung before the one in front of it; put the times in order"
            raise LibraryError(path, number, problem)
    if len(words) == 1:
        return LyricLine(start, " ".join(text.split()))
    return LyricLine(start, *_spaced(words))


def _spaced(words: Sequence[LyricWord]) -> tuple[str, tuple[LyricWord, ...]]:
    """The text of a line with single spaces, each at the end of a word, and the words that make it up."""
    kept: list[LyricWord] = []
    for word in words:
        text = unicodedata.normalize("NFC", " ".join(word.text.split()))
        if kept and word.text[:1].isspace() and not kept[-1].text.endswith(" "):
            kept[-1] = LyricWord(kept[-1].start, kept[-1].text + " ")
        if text:
            kept.append(LyricWord(word.start, text + " " * word.text[-1:].isspace()))
    if kept:
        kept[-1] = LyricWord(kept[-1].start, kept[-1].text.rstrip())
    text = "".join(word.text for word in kept)
    if kept and words[-1].start > kept[-1].start:
        kept.append(LyricWord(words[-1].start, ""))
    return text, tuple(kept)


def _later(line: LyricLine, seconds: float) -> LyricLine:
    """A line moved in time, though not before the song's begin."""

    def moved(start: float) -> float:
        return max(0.0, round(start + seconds, 3))

    return LyricLine(
        moved(line.start), line.text, tuple(LyricWord(moved(word.start), word.text) for word in line.words)
    )


def _stamp_seconds(match: re.Match[str], path: Path, number: int) -> float:
    minutes, seconds, fraction = match[1], match[2], match[3] or "0"
    if int(seconds) >= 60:
        raise LibraryError(path, number, f"the stamp {match[0]} has {seconds} seconds; use minutes above 59")
    return int(minutes) * 60 + int(seconds) + float(f"0.{fraction}")


def _offset(value: str, path: Path, number: int) -> float:
    try:
        return int(value.strip()) / 1000
    except ValueError as error:
        problem = "the offset must be whole milliseconds, such as [offset:+250]"
        raise LibraryError(path, number, problem) from error


_SRT_TIME: Final = re.compile(
    r"(\d{1,3}):([0-5]\d):([0-5]\d)[.,](\d{1,3})\s*-->\s*(\d{1,3}):([0-5]\d):([0-5]\d)[.,](\d{1,3})"
)


def parse_srt(text: str, *, path: Path = Path("lyrics.srt")) -> tuple[LyricLine, ...]:
    """Read SubRip lyrics; a pause of two seconds or more after a caption clears the stage."""
    captions: list[tuple[float, float, list[str]]] = []
    lines = text.splitlines()
    for number, raw in _numbered(text, path):
        line = raw.strip()
        following = lines[number].strip() if number < len(lines) else ""
        if match := _SRT_TIME.match(line):
            start, end = (_srt_seconds(match.groups()[at : at + 4]) for at in (0, 4))
            captions.append((start, end, []))
        elif "-->" in line:
            raise LibraryError(path, number, "is not a time range; write 00:01:02,500 --> 00:01:05,000")
        elif line and not (line.isdigit() and "-->" in following):
            if not captions:
                raise LibraryError(path, number, "comes before the first time range; put one above it")
            captions[-1][2].append(re.sub(r"<[^>]*>|\{\\[^}]*\}", "", line))
    captions.sort(key=lambda caption: caption[0])
    found: list[LyricLine] = []
    for at, (start, end, words) in enumerate(captions):
        found.append(LyricLine(start, " ".join(words).strip()))
        following_start = captions[at + 1][0] if at + 1 < len(captions) else math.inf
        if following_start - end >= 2.0:
            found.append(LyricLine(end, ""))
    return _in_order(found)


def _srt_seconds(parts: Sequence[str]) -> float:
    hours, minutes, seconds, fraction = parts
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds) + float(f"0.{fraction}")


def spread_lines(text: str, duration: float, *, path: Path = Path("lyrics.txt")) -> tuple[LyricLine, ...]:
    """Give lyrics without times a share of the song each, by their length; `[Verse]` headings are left out.

    Raises `LibraryError` with the line at fault.
    """
    lines = [" ".join(line.split()) for _, line in _numbered(text, path)]
    lines = [line for line in lines if line and not re.fullmatch(r"\[[^\]]*\]", line)]
    weights = [12 + len(line) for line in lines]
    # Songs begin and end with music.
    start, span = 0.06 * duration, 0.88 * duration
    found: list[LyricLine] = []
    passed, total = 0, sum(weights)
    for line, weight in zip(lines, weights, strict=True):
        found.append(LyricLine(round(start + span * passed / total, 2), line))
        passed += weight
    return tuple(found)


def _in_order(lines: Iterable[LyricLine]) -> tuple[LyricLine, ...]:
    return tuple(sorted(lines, key=lambda line: line.start))
