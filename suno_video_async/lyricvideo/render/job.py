"""What goes into a render, and what comes out."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from attrs import Attribute, field, frozen

from suno_video_async.lyricvideo.lyrics import LyricLine


def _even_side(_: object, attribute: Attribute[int], value: int) -> None:
    if value % 2 or not 96 <= value <= 4096:
        raise ValueError(f"{attribute.name} is {value}; use an even number from 96 to 4096")


def _rate(_: object, attribute: Attribute[int], value: int) -> None:
    if not 1 <= value <= 120:
        raise ValueError(f"{attribute.name} is {value}; use 1 to 120 frames a second")


def _lines(lines: Iterable[LyricLine]) -> tuple[LyricLine, ...]:
    return tuple(lines)


@frozen
class RenderJob:
    """A lyric video to make: its inputs, its size in pixels, its frames a second.

    `every_frame` encodes a constant rate instead of the frames that changed. `language` is a tag such as `ja` or
    `zh-Hant`, and says whose forms of Chinese letters to draw; without it they are guessed. Letters are looked for
    in `fonts` before all others. `comment` is kept in the file.
    """

    audio: Path
    cover: Path
    title: str
    artist: str
    brand: str
    lyrics: tuple[LyricLine, ...] = field(converter=_lines)
    width: int = field(default=1280, validator=_even_side)
    height: int = field(default=720, validator=_even_side)
    fps: int = field(default=30, validator=_rate)
    every_frame: bool = False
    language: str = ""
    fonts: tuple[Path, ...] = ()
    comment: str = ""


@frozen
class RenderResult:
    """A video that was made: seconds, frames of the timeline, and how many of them were encoded.

    `missing_glyphs` names the characters that no font could draw; the picture leaves them out. `cover_note` says
    what is wrong with a cover that was used all the same.
    """

    path: Path
    duration: float
    frames: int
    encoded: int
    missing_glyphs: tuple[str, ...]
    cover_note: str = ""
