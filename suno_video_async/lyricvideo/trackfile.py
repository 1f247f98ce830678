"""`track.toml`: what a folder says of its song."""

from __future__ import annotations

import codecs
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from attrs import frozen

from suno_video_async.lyricvideo.errors import LibraryError
from suno_video_async.lyricvideo.lyrics import LONGEST_LINE
from suno_video_async.lyricvideo.sizes import SIZES_IN_WORDS, size_of

_TEXT_LIMIT: Final = 1_000_000
"""Bytes of a lyrics or TOML file; more is a mistake, such as a renamed audio file."""
_WORDS: Final = ("title", "artist", "suno_id", "language", "tags", "font", "encoding")


@frozen
class TrackFile:
    """The content of a track.toml; everything has a default.

    Attributes:
        title: of the song.
        artist: who sings it.
        suno_id: of the track, if it is not the folder's name.
        language: a tag such as `ja`.
        tags: of its style.
        duration: in seconds; 0 if it is to be measured.
        size: of the video in pixels.
        font: the name of a font file in the folder.
        encoding: of the lyrics, if they are not UTF-8.

    """

    title: str = ""
    artist: str = ""
    suno_id: str = ""
    language: str = ""
    tags: str = ""
    duration: float = 0.0
    size: tuple[int, int] | None = None
    font: str = ""
    encoding: str = ""

    @classmethod
    def read(cls, path: Path) -> TrackFile:
        """Read a file.

        Raises:
            LibraryError: it has a mistake.

        """
        text = read_text(path)
        try:
            table = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            place = re.search(r"line (\d+)", str(error))
            line = int(place[1]) if place else len(text.splitlines())  # "at end of document"
            raise LibraryError(path, line, f"is not valid TOML: {error}; correct that line") from error
        return cls._checked(path, text, table)

    @classmethod
    def _checked(cls, path: Path, text: str, table: Mapping[str, object]) -> TrackFile:
        words: dict[str, str] = {}
        duration = 0.0
        size: tuple[int, int] | None = None
        for key, value in table.items():
            line = _line_of(key, text)
            if key == "duration":
                if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < 86_400:
                    raise LibraryError(path, line, "duration must be seconds, such as duration = 183.5")
                duration = float(value)
            elif key == "size":
                size = size_of(value)
                if size is None:
                    raise LibraryError(path, line, f"size must be {SIZES_IN_WORDS}, in quotes")
            elif key not in _WORDS:
                known = ", ".join([*_WORDS[:5], "duration", "size", *_WORDS[5:]])
                raise LibraryError(path, line, f"unknown key {key!r}; the keys are {known}")
            elif not isinstance(value, str):
                raise LibraryError(path, line, f'{key} must be text in quotes, such as {key} = "…"')
            elif len(value) > LONGEST_LINE:
                problem = f"{key} has {len(value)} characters; use {LONGEST_LINE} at most"
                raise LibraryError(path, line, problem)
            elif key == "encoding" and not _is_encoding(value):
                problem = f"unknown encoding {value!r}; use a name such as cp1251, gb18030, shift_jis or utf-16"
                raise LibraryError(path, line, problem)
            else:
                words[key] = value.strip()
        return cls(**words, duration=duration, size=size)


def read_text(path: Path, encoding: str = "") -> str:
    """The text of a file: UTF-8, UTF-16 that shows itself as such, or the encoding that is named.

    Raises:
        LibraryError: it is not text of this encoding, too large, or not a file.

    """
    if not path.is_file():
        raise LibraryError(path, None, "is not a file; put the file itself there")
    if path.stat().st_size > _TEXT_LIMIT:
        raise LibraryError(path, None, "is larger than a megabyte; is it the right file?")
    data = path.read_bytes()
    named = encoding or _shown_encoding(data)
    try:
        return data.decode(named)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        fix = 'save the file as UTF-8, or name its encoding in track.toml, such as encoding = "cp1251"'
        problem = f"is not {'UTF-8' if named == 'utf-8-sig' else named}; {fix}"
        raise LibraryError(path, line, problem) from error


def _shown_encoding(data: bytes) -> str:
    """The encoding that a byte order mark, or every other byte, shows; else UTF-8."""
    if data.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if len(data) >= 4 and len(data) % 2 == 0 and b"\0" in data:
        # Digits and line ends have a zero in one half of each pair, and no letter has one in the other.
        first, second = data[::2].count(0), data[1::2].count(0)
        if not first and second:
            return "utf-16-le"
        if first and not second:
            return "utf-16-be"
    return "utf-8-sig"


def _is_encoding(name: str) -> bool:
    """Whether Python knows an encoding of text of this name."""
    try:
        return bool(name) and "a".encode(name) != b""
    except (LookupError, ValueError):
        return False


def _line_of(key: str, text: str) -> int | None:
    pattern = re.compile(rf"""\s*["']?{re.escape(key)}["']?\s*[=.\]]|\s*\[+\s*["']?{re.escape(key)}\b""")
    return next((number for number, line in enumerate(text.splitlines(), 1) if pattern.match(line)), None)
