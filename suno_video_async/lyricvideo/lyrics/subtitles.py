"""SubRip and WebVTT."""

from __future__ import annotations

import math
import re
from typing import Final

from attrs import define, field

from suno_video_async.lyricvideo.lyrics.headings import sung
from suno_video_async.lyricvideo.lyrics.lrc import spaced
from suno_video_async.lyricvideo.lyrics.model import (
    LyricLine,
    Lyrics,
    LyricWord,
    Oddities,
    decoded,
    in_order,
    numbered,
    seconds_of,
)

CLEARS: Final = 2.0
"""Seconds of a pause after which the stage is cleared."""

_TIME: Final = r"(?:(\d{1,3}):)?(\d{1,3}):(\d{1,2})(?:[.,:](\d{1,4}))?"
_RANGE: Final = re.compile(rf"{_TIME}\s*-{{1,2}}>\s*{_TIME}(?=\s|$)")
_CLOCK: Final = re.compile(r"\d:\d")
_WORD_STAMP: Final = re.compile(rf"<{_TIME}>")
#: The tags of both formats, and those that editors leave in them; any other `<` is text.
_TAGS: Final = re.compile(
    r"</?(?:i|b|u|s|em|strong|span|font|c|v|lang|ruby|rt|br)(?:[\s.][^<>]{0,200})?/?>"
    r"|\{\\[^{}]{0,200}\}|\{/?[ibusyc](?::[^{}]{0,40})?\}",
    re.IGNORECASE,
)
_BLOCKS: Final = ("NOTE", "STYLE", "REGION")


@define
class _Caption:
    start: float
    end: float
    texts: list[str] = field(factory=list[str])


def parse_subtitles(text: str) -> Lyrics:
    """Read SubRip or WebVTT; a pause of two seconds or more after a caption clears the stage.

    Raises:
        LyricsError: no caption can be used.

    """
    oddities = Oddities()
    captions = _captions(text, oddities)
    captions.sort(key=lambda caption: caption.start)
    found: list[LyricLine] = []
    for at, caption in enumerate(captions):
        found.append(_line(caption.start, " ".join(caption.texts)))
        following = captions[at + 1].start if at + 1 < len(captions) else math.inf
        if following - caption.end >= CLEARS:
            found.append(LyricLine(caption.end, ""))
    return oddities.result(in_order(found, oddities))


def looks_like_subtitles(text: str) -> bool:
    """Whether a text is WebVTT, or has a line with a range of times."""
    return text.lstrip("\ufeff").startswith("WEBVTT") or any(
        _RANGE.match(line.strip()) for line in text.splitlines()
    )


def _captions(text: str, oddities: Oddities) -> list[_Caption]:
    captions: list[_Caption] = []
    lines = list(numbered(text, oddities))
    is_vtt = bool(lines) and lines[0][1].startswith("WEBVTT")
    in_block = is_vtt  # the header ends with an empty line, as comments and styles do
    opened = False
    for at, (number, line) in enumerate(lines):
        following = lines[at + 1][1] if at + 1 < len(lines) else ""
        if match := _RANGE.match(line):
            start, end = seconds_of(*match.groups()[:4]), seconds_of(*match.groups()[4:])
            if end < start:
                oddities.add(number, "ends before it begins; correct the times")
                end = start
            captions.append(_Caption(start, end))
            in_block, opened = False, True
        elif not line:
            in_block, opened = False, False
        elif in_block or (is_vtt and not opened and line.split()[0] in _BLOCKS):
            in_block = True
        elif "-->" in line and _CLOCK.search(line.partition("-->")[0]):
            oddities.add(number, "is not a time range; write 00:01:02,500 --> 00:01:05,000")
            opened = False
        elif _RANGE.match(following) and (not opened or line.isdigit()):
            continue  # the number or name of the next caption
        elif not captions:
            oddities.add(number, "comes before the first time range; put one above it")
        else:
            captions[-1].texts.append(line)
    return captions


def _line(start: float, text: str) -> LyricLine:
    """A caption's line, with the times of its words if it has any."""
    text = sung(_TAGS.sub("", text))
    words: list[LyricWord] = []
    at, passed = start, 0
    for stamp in _WORD_STAMP.finditer(text):
        words.append(LyricWord(at, decoded(text[passed : stamp.start()])))
        at, passed = max(at, seconds_of(*stamp.groups())), stamp.end()
    words.append(LyricWord(at, decoded(text[passed:])))
    if len(words) == 1:
        return LyricLine(start, " ".join(words[0].text.split()))
    return LyricLine(start, *spaced(words))
