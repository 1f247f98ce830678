"""Libraries of songs that can be made into videos: their protocol, and the built-in library.

Importing this needs no extra; synthesising the sound of the built-in songs needs `local`.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from attrs import frozen

from suno_video_async.lyricvideo.lyrics import LyricLine, LyricWord
from suno_video_async.lyricvideo.songs import picture

if TYPE_CHECKING:
    from suno_video_async.lyricvideo.songs.scores import Song

__all__ = [
    "BuiltinLibrary",
    "Library",
    "LibraryTrack",
]


@frozen
class LibraryTrack:
    """A finished song: `suno_id` names it within the music task `task_id`; duration in seconds.

    `spread` is true if the lyrics had no times and each line was given a share of the song. `size` is that of its
    video, in pixels, if it has one of its own. `font` is a file whose letters its video prefers. `notes` say in
    which respect its video is not what it should be.
    """

    task_id: str
    suno_id: str
    title: str
    artist: str
    duration: float
    language: str
    tags: str
    lyrics: tuple[LyricLine, ...]
    spread: bool = False
    size: tuple[int, int] | None = None
    font: Path | None = None
    notes: tuple[str, ...] = ()


class Library(Protocol):
    """A source of songs. `audio` and `cover` block."""

    def tracks(self) -> Sequence[LibraryTrack]:
        """All tracks, those of a music task together."""
        ...

    def find(self, task_id: str, suno_id: str) -> LibraryTrack | None:
        """The track of these ids, or None."""
        ...

    def problem(self, task_id: str, suno_id: str) -> str | None:
        """What is wrong with the track of these ids, or None if the library does not know of it."""
        ...

    def audio(self, track: LibraryTrack, folder: Path) -> Path:
        """The audio file of a track: the library's own, or one made (once) in `folder`."""
        ...

    def cover(self, track: LibraryTrack, folder: Path) -> Path:
        """The cover of a track, PNG, JPEG or WebP: the library's own, or one made (once) in `folder`."""
        ...


class BuiltinLibrary:
    """A few songs of this project's own, in several scripts, each synthesised when it is first needed."""

    def __init__(self) -> None:
        from suno_video_async.lyricvideo.songs.scores import SONGS  # noqa: PLC0415 - it needs this module's types

        self._songs = {(song.task_id, song.suno_id): song for song in SONGS}
        self._tracks = tuple(_built_in(song) for song in SONGS)

    def tracks(self) -> Sequence[LibraryTrack]:
        """All tracks, those of a music task together."""
        return self._tracks

    def find(self, task_id: str, suno_id: str) -> LibraryTrack | None:
        """The track of these ids, or None."""
        return next((t for t in self._tracks if (t.task_id, t.suno_id) == (task_id, suno_id)), None)

    def problem(self, task_id: str, suno_id: str) -> str | None:  # noqa: ARG002 - they are all good
        """Return None: these songs have no mistakes."""
        return None

    def audio(self, track: LibraryTrack, folder: Path) -> Path:
        """Synthesise the song as AAC into `folder`, unless it is there already."""
        song = self._song(track)

        def write(path: Path) -> None:
            from suno_video_async.lyricvideo.songs.sound import write_song  # noqa: PLC0415 - heavy, and only in the `local` extra

            write_song(song.score, song.suno_id, path)

        return made_once(folder / f"{song.suno_id}.m4a", write)

    def cover(self, track: LibraryTrack, folder: Path) -> Path:  # noqa: ARG002 - the file is already there
        """Return the song's picture, which is part of the package."""
        return picture(self._song(track).cover)

    def _song(self, track: LibraryTrack) -> Song:
        song = self._songs.get((track.task_id, track.suno_id))
        if song is None:
            raise KeyError(f"{track.task_id}/{track.suno_id} is not a built-in track; use one of `tracks()`")
        return song


def _built_in(song: Song) -> LibraryTrack:
    lyrics = tuple(_built_in_line(song, number, text) for number, text in enumerate(song.words))
    return LibraryTrack(
        task_id=song.task_id,
        suno_id=song.suno_id,
        title=song.title,
        artist=song.artist,
        duration=song.score.seconds,
        language=song.language,
        tags=song.tags,
        lyrics=lyrics,
    )


def _built_in_line(song: Song, number: int, text: str) -> LyricLine:
    words = [f"{word} " for word in text.split(" ")]
    starts = song.score.word_starts(number, len(words))
    timed = (LyricWord(start, word) for start, word in zip(starts, [*words[:-1], words[-1][:-1], ""], strict=True))
    return LyricLine(song.score.line_start(number), text, tuple(timed))


def made_once(path: Path, write: Callable[[Path], object]) -> Path:
    """The file at `path`, made by `write` if it is missing; it appears whole or not at all."""
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    # Two renders may ask at once: each writes a file of its own, and the last rename wins.
    part = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        write(part)
        part.replace(path)
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
    return path
