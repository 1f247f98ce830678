"""LRC: stamps of lines, of words, and tags, in the dialects of players and karaoke tools."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

from attrs import define, field, frozen

from suno_video_async.lyricvideo.lyrics.headings import is_comment, is_credit, sung
from suno_video_async.lyricvideo.lyrics.model import (
    MOST_TOGETHER,
    LyricLine,
    Lyrics,
    LyricWord,
    Oddities,
    decoded,
    in_order,
    numbered,
    seconds_of,
)
from suno_video_async.lyricvideo.lyrics.plain import spread, without_credits

_TIME: Final = r"\s*(?:(\d{1,2}):)?(\d{1,4}):(\d{1,2})(?:[.,:](\d{1,4}))?\s*"
_STAMP: Final = re.compile(rf"\[{_TIME}\]")
_WORD_STAMP: Final = re.compile(rf"(?:<{_TIME}>|\[{_TIME}\])")
#: Three numbers without a fraction: hours, minutes and seconds, or minutes, seconds and hundredths.
_THREE: Final = re.compile(r"[\[<]\s*(\d{1,2}):(\d{1,2}):(\d{1,2})\s*[\]>]")
_HOURS: Final = re.compile(r"[\[<]\s*\d{1,2}:\d{1,2}:\d{1,2}[.,]\d{1,4}\s*[\]>]")
_TAG: Final = re.compile(
    r"\[\s*(ti|ar|al|au|by|lr|length|offset|re|tool|ve|la|lang|id|key|encoding|hash|sign|qq|total|kana|t_time|#)"
    r"\s*[:：]\s*(.*?)\s*\]",
    re.IGNORECASE,
)
#: What is in square brackets and is not a stamp.
_DIRECTION: Final = re.compile(rf"\[(?!{_TIME}\])[^\[\]]{{0,200}}\]")
_OFFSET: Final = re.compile(r"([+-]?) ?(\d{1,9}(?:[.,]\d{0,6})?) ?(ms|s)?", re.IGNORECASE)


@frozen
class _Entry:
    """A line of the text: its stamps, and what is sung then."""

    number: int
    line: LyricLine
    starts: tuple[float, ...]


@define
class _Reader:
    """Reads one text, line by line."""

    hours: bool
    oddities: Oddities = field(factory=Oddities)
    offset: float = 0.0
    tags: dict[str, str] = field(factory=dict[str, str])
    entries: list[_Entry] = field(factory=list[_Entry])
    #: Whether the last entry had a stamp and no text: its text may be on the next line.
    awaits_text: bool = False

    def read(self, number: int, raw: str) -> None:
        starts: list[float] = []
        rest = raw
        while match := _STAMP.match(rest):
            starts.append(self.seconds(match.groups(), number, match[0]))
            rest = rest[match.end() :].lstrip()
        if starts:
            self.add(number, tuple(starts), rest)
        elif not rest:
            self.awaits_text = False
        elif tag := _TAG.fullmatch(rest):
            self.tag(number, tag[1].lower(), tag[2])
        elif self.awaits_text and sung(rest):
            last = self.entries.pop()
            self.add(last.number, last.starts, rest)
        elif not is_comment(rest) and sung(rest):
            kind = "is a credit and not shown" if is_credit(rest) else "has no time stamp and is left out"
            self.oddities.add(number, f"{kind}: {rest[:60]!r}; to show it, begin it with one such as [01:23.45]")

    def add(self, number: int, starts: tuple[float, ...], text: str) -> None:
        shown = _DIRECTION.sub(" ", text) if _WORD_STAMP.search(text) else sung(text)
        silent = not _without_stamps(shown).strip()
        if silent and _without_stamps(text).strip():
            return  # a heading
        self.entries.append(_Entry(number, self.timed(starts[0], shown, number), starts))
        self.awaits_text = silent

    def timed(self, start: float, text: str, number: int) -> LyricLine:
        """A line and its words; what comes before the first stamp of a word is sung when the line begins."""
        words: list[LyricWord] = []
        at, passed = start, 0
        for stamp in _WORD_STAMP.finditer(text):
            words.append(LyricWord(at, decoded(text[passed : stamp.start()])))
            groups = stamp.groups()
            before, at, passed = (
                at,
                self.seconds(groups[:4] if groups[1] else groups[4:], number, stamp[0]),
                stamp.end(),
            )
            if at < before:
                problem = (
                    f"the word at {stamp[0]} is sung before the one in front of it; the words' times are ignored"
                )
                self.oddities.add(number, problem)
                return LyricLine(start, " ".join(decoded(_without_stamps(text)).split()))
        words.append(LyricWord(at, decoded(text[passed:])))
        if len(words) == 1:
            return LyricLine(start, " ".join(words[0].text.split()))
        return LyricLine(start, *spaced(words))

    def seconds(self, parts: Sequence[str | None], number: int, stamp: str) -> float:
        hours, minutes, seconds, fraction = (parts[0] or "0"), (parts[1] or "0"), (parts[2] or "0"), parts[3]
        if parts[0] is not None and fraction is None and not self.hours:
            hours, minutes, seconds, fraction = "0", hours, minutes, seconds
        if int(seconds) >= 60:
            self.oddities.add(number, f"the stamp {stamp} has {int(seconds)} seconds, and is read as they are")
        return seconds_of(hours, minutes, seconds, fraction)

    def tag(self, number: int, name: str, value: str) -> None:
        if name != "offset":
            self.tags.setdefault(name, " ".join(decoded(value).split()))
            return
        match = _OFFSET.fullmatch(value)
        if match is None:
            if value:
                problem = f"the offset {value[:40]!r} is not a number and is ignored; write such as [offset:+250]"
                self.oddities.add(number, problem)
            return
        size = float(match[2].replace(",", "."))
        self.offset = size * (-1 if match[1] == "-" else 1) * (1 if (match[3] or "").lower() == "s" else 0.001)


def parse_lrc(text: str, duration: float = 0.0) -> Lyrics:
    """Read LRC lyrics.

    A line may have several stamps, stamps of words (`<01:23.45>`, or in square brackets) and one of its end.
    Stamps are `[mm:ss.xx]` with a point, a comma or a colon and 1 to 4 digits, or `[hh:mm:ss]`. A positive
    `[offset:+ms]` shows the lyrics sooner. Lines of one time are shown together. A line that cannot be read is
    left out and named in the warnings.

    Args:
        text: of the lyrics.
        duration: of the song in seconds, 0 if unknown. Lines that all have the same time are spread over it.

    Raises:
        LyricsError: no line can be used.

    """
    reader = _Reader(_has_hours(text, duration))
    for number, raw in numbered(text, reader.oddities):
        reader.read(number, raw)
    entries = _without_credits(reader)
    title, artist = reader.tags.get("ti", ""), reader.tags.get("ar", "")
    texts = [entry.line.text for entry in entries if entry.line.text]
    times = {start for entry in entries for start in entry.starts}
    if len(times) == 1 and len(texts) > MOST_TOGETHER and duration:
        reader.oddities.add(None, "all lines have the same time; they are spread over the song")
        return reader.oddities.result(spread(texts, duration), title=title, artist=artist, spread=True)
    lines = [
        _later(entry.line, start - entry.line.start - reader.offset) for entry in entries for start in entry.starts
    ]
    return reader.oddities.result(in_order(lines, reader.oddities), title=title, artist=artist)


def looks_like_lrc(text: str) -> bool:
    """Whether a line of a text begins with a stamp."""
    return any(_STAMP.match(line.lstrip("\ufeff \t")) for line in text.splitlines())


def _without_stamps(text: str) -> str:
    return _WORD_STAMP.sub("", text)


def _has_hours(text: str, duration: float) -> bool:
    """Whether stamps of three numbers begin with hours; else the last number is hundredths of a second."""
    if _HOURS.search(text):
        return True
    stamps = [tuple(map(int, stamp)) for stamp in _THREE.findall(text)]
    if any(first for first, _, _ in stamps) and duration < 3600:
        return False
    if any(third >= 60 for _, _, third in stamps):
        return False
    latest = max((first * 3600 + second * 60 + third for first, second, third in stamps), default=0)
    return not duration or latest <= duration


def _without_credits(reader: _Reader) -> list[_Entry]:
    """Leave out the credits before the first line that is sung, and after the last one."""
    entries = sorted(reader.entries, key=lambda entry: min(entry.starts))
    texts = [(at, entry.line.text) for at, entry in enumerate(entries) if entry.line.text]
    oddities = Oddities()
    kept = {at for at, _ in without_credits(texts, oddities)}
    for at, text in texts:
        if at not in kept:
            reader.oddities.add(entries[at].number, f"is a credit and not shown: {text[:60]!r}")
    return [entry for at, entry in enumerate(entries) if at in kept or not entry.line.text]


def spaced(words: Sequence[LyricWord]) -> tuple[str, tuple[LyricWord, ...]]:
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

    words = tuple(LyricWord(moved(word.start), word.text) for word in line.words)
    return LyricLine(moved(line.start), line.text, words)
