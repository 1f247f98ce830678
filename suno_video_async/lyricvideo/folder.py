"""A library in a folder of your own songs, read again when it changes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from attrs import frozen

from suno_video_async.lyricvideo.errors import LibraryError
from suno_video_async.lyricvideo.library import LibraryTrack, made_once
from suno_video_async.lyricvideo.songfolder import Song, SongFolder, as_id, inside

LONGEST_NAME: Final = 200
"""Letters of a folder's name."""


@frozen(eq=False)
class _Reading:
    """The content of a track's folder when its files had this signature."""

    signature: object
    song: Song | None
    mistake: LibraryError | None


class FolderLibrary:
    """The songs of a folder: DIR/<music task>/<track>/ with audio.*, cover.*, lyrics and track.toml.

    All text is read, and all mistakes are found, when the library is made or refreshed. Nothing outside DIR is
    read, not even through a symbolic link.

    Args:
        directory: the folder.
        lenient: leave songs with mistakes out instead of raising the first; `mistakes` has them all.

    Raises:
        LibraryError: it is not a folder, has no songs, or has a mistake in it.

    """

    def __init__(self, directory: Path, *, lenient: bool = False) -> None:
        if not directory.is_dir():
            raise LibraryError(directory, None, "is not a folder; give one with a folder for each music task")
        self._root = directory.resolve()
        self._readings: dict[Path, _Reading] = {}
        self._songs: dict[tuple[str, str], Song] = {}
        self._mistakes: dict[Path, LibraryError] = {}
        self.refresh()
        if self._mistakes and not lenient:
            raise self.mistakes[0]
        if not self._songs and not self._mistakes:
            raise LibraryError(directory, None, "has no track; put one at <music task>/<track>/audio.mp3 below it")

    @property
    def mistakes(self) -> tuple[LibraryError, ...]:
        """The mistakes of the songs that are left out."""
        return tuple(self._mistakes.values())

    def warnings_of(self, track: LibraryTrack) -> tuple[LibraryError, ...]:
        """What is odd in a song: lines that are left out, files that are not used."""
        return self._song(track).warnings

    def cut(self, track: LibraryTrack) -> LibraryError | None:
        """What to say if the audio of a track holds less than it states."""
        return self._song(track).cut

    def tracks(self) -> Sequence[LibraryTrack]:
        """All tracks, those of a music task together."""
        return tuple(song.track for song in self._songs.values())

    def find(self, task_id: str, suno_id: str) -> LibraryTrack | None:
        """The track of these ids, or None."""
        song = self._songs.get((as_id(task_id), as_id(suno_id)))
        return song.track if song else None

    def problem(self, task_id: str, suno_id: str) -> str | None:
        """What is wrong with a song that was left out, if it is in a folder of this name."""
        wanted = (as_id(task_id), as_id(suno_id))
        by_name = {tuple(map(as_id, path.relative_to(self._root).parts)): path for path in self._mistakes}
        found = by_name.get(wanted) or by_name.get(wanted[:1])
        if found is None:
            return None
        mistake = self._mistakes[found]
        place = mistake.path.relative_to(self._root) if mistake.path.is_relative_to(self._root) else mistake.path
        return str(LibraryError(place, mistake.line, mistake.problem))

    def audio(self, track: LibraryTrack, folder: Path) -> Path:  # noqa: ARG002 - the file is already there
        """The track's own audio file."""
        return inside(self._song(track).audio, self._root)

    def own_cover(self, track: LibraryTrack, folder: Path) -> Path | None:
        """The track's own cover: the file, that of its audio (which is made in `folder`), or None."""
        song = self._song(track)
        if song.cover is not None:
            return inside(song.cover, self._root)
        if not song.pictured:
            return None
        from suno_video_async.lyricvideo.render.audio import write_picture  # noqa: PLC0415 - heavy, and only in the `local` extra

        audio = inside(song.audio, self._root)
        return made_once(folder / f"{_name(track)}-audio.img", lambda path: write_picture(audio, path))

    def cover(self, track: LibraryTrack, folder: Path) -> Path:
        """The track's own cover, or one drawn from its title into `folder`."""
        if (own := self.own_cover(track, folder)) is not None:
            return own
        from suno_video_async.lyricvideo.songs.covers import draw_cover  # noqa: PLC0415 - heavy, and only in the `local` extra

        design = f"{track.task_id}/{track.suno_id}/{track.title}"
        return made_once(folder / f"{_name(track)}.jpg", lambda path: draw_cover(design, path))

    def folder(self, track: LibraryTrack) -> Path:
        """The folder of a track."""
        return self._song(track).audio.parent

    def refresh(self) -> bool:
        """Read what has changed since the last time, and return whether anything has. Blocks."""
        readings: dict[Path, _Reading] = {}
        mistakes: dict[Path, LibraryError] = {}
        for task in self._folders(self._root, mistakes):
            for folder in self._folders(task, mistakes):
                signature, known = _signature(folder), self._readings.get(folder)
                same = known is not None and known.signature == signature
                readings[folder] = known if known and same else self._reading(task.name, folder, signature)
        songs: dict[tuple[str, str], Song] = {}
        for folder, reading in readings.items():
            mistake = reading.mistake
            if reading.song is not None:
                track = reading.song.track
                other = songs.setdefault((track.task_id, track.suno_id), reading.song)
                if other is not reading.song:
                    name = other.audio.parent.name
                    problem = f"has the suno_id {track.suno_id!r} of {name}; give each track its own"
                    mistake = LibraryError(folder, None, problem)
            if mistake is not None:
                mistakes[folder] = mistake
        before = self._found()
        # New dictionaries, because other threads may be reading the old ones.
        self._readings, self._songs, self._mistakes = readings, songs, mistakes
        return before != self._found()

    def _found(self) -> object:
        """A value that changes when the library does; mistakes of folders are new objects each time."""
        return self._readings, [str(mistake) for mistake in self.mistakes]

    def _song(self, track: LibraryTrack) -> Song:
        song = self._songs.get((track.task_id, track.suno_id))
        if song is None:
            raise KeyError(f"{track.task_id}/{track.suno_id} is not in {self._root}; take one of `tracks()`")
        return song

    def _reading(self, task_id: str, folder: Path, signature: object) -> _Reading:
        try:
            return _Reading(signature, SongFolder(folder, self._root).read(task_id), None)
        except LibraryError as mistake:
            return _Reading(signature, None, mistake)
        except OSError as error:
            return _Reading(signature, None, _unreadable(folder, error))
        except Exception as error:  # whatever a file makes a decoder raise is this song's mistake
            problem = f"cannot be read ({type(error).__name__}: {error}); take out the file that was added last"
            return _Reading(signature, None, LibraryError(folder, None, problem))

    def _folders(self, folder: Path, mistakes: dict[Path, LibraryError]) -> Iterator[Path]:
        try:
            paths = sorted(folder.iterdir())
        except OSError as error:
            mistakes[folder] = _unreadable(folder, error)
            return
        for path in paths:
            if path.is_dir() and not path.name.startswith((".", "_")):
                try:
                    yield self._named(inside(path, self._root))
                except LibraryError as mistake:
                    mistakes[path] = mistake

    def _named(self, path: Path) -> Path:
        """The path itself, if its name can be used in an order and in a message."""
        if not path.name.isprintable() or len(path.name) > LONGEST_NAME:
            problem = f"has a name with control characters, or of more than {LONGEST_NAME} letters; rename it"
            raise LibraryError(path, None, problem)
        return path


def _name(track: LibraryTrack) -> str:
    """The name of a file that is made for a track."""
    return re.sub(r"[^\w.-]", "_", f"{track.task_id}-{track.suno_id}")[:120]


def _unreadable(folder: Path, error: OSError) -> LibraryError:
    return LibraryError(
        folder, None, f"cannot be read: {error.strerror or error}; correct its rights, or take it out"
    )


def _signature(folder: Path) -> object:
    """What changes when a file of a folder does."""
    try:
        stats = [(path.name, path.stat()) for path in sorted(folder.iterdir())]
    except OSError:  # a file that is still being copied: it is read again
        return object()
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)
