"""The songs that the local server can make videos of: built-in ones, or a folder's.

Importing this needs no extra; making the sound and the covers of the built-in songs does.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import tomllib
import wave
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from attrs import frozen

from .errors import LibraryError
from .lyrics import LONGEST_LINE, LyricLine, LyricWord, parse_lrc, parse_srt, spread_lines

if TYPE_CHECKING:
    from .songs.scores import Song

__all__ = [
    "BuiltinLibrary",
    "FolderLibrary",
    "Library",
    "LibraryTrack",
]

_LYRICS: Final = ("lyrics.lrc", "lyrics.srt", "lyrics.txt")
_IMAGES: Final = frozenset({".png", ".jpg", ".jpeg", ".webp"})
_TEXT_LIMIT: Final = 1_000_000
"""Bytes of a lyrics or TOML file; more is a mistake, such as a renamed audio file."""


@frozen
class LibraryTrack:
    """A finished song: `suno_id` names it within the music task `task_id`; duration in seconds.

    `spread` says that the lyrics had no times, and were given a share of the song each.
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


class Library(Protocol):
    """Where the server finds songs. `audio` and `cover` block."""

    def tracks(self) -> Sequence[LibraryTrack]:
        """All tracks, those of a music task together."""
        ...

    def find(self, task_id: str, suno_id: str) -> LibraryTrack | None:
        """The track of these ids, or None."""
        ...

    def audio(self, track: LibraryTrack, folder: Path) -> Path:
        """The audio file of a track: the library's own, or one made (once) in `folder`."""
        ...

    def cover(self, track: LibraryTrack, folder: Path) -> Path:
        """The cover of a track, PNG or JPEG: the library's own, or one made (once) in `folder`."""
        ...


class BuiltinLibrary:
    """A few songs of the project's own, in several scripts, synthesised when they are first asked for."""

    def __init__(self) -> None:
        from .songs.scores import SONGS  # noqa: PLC0415 - it needs this module's types

        self._songs = {(song.task_id, song.suno_id): song for song in SONGS}
        self._tracks = tuple(_built_in(song) for song in SONGS)

    def tracks(self) -> Sequence[LibraryTrack]:
        """All tracks, those of a music task together."""
        return self._tracks

    def find(self, task_id: str, suno_id: str) -> LibraryTrack | None:
        """The track of these ids, or None."""
        return next((t for t in self._tracks if (t.task_id, t.suno_id) == (task_id, suno_id)), None)

    def audio(self, track: LibraryTrack, folder: Path) -> Path:
        """Synthesise the song as AAC into `folder`, unless it is there."""
        song = self._song(track)

        def write(path: Path) -> None:
            from .songs.sound import write_song  # noqa: PLC0415 - heavy, and only in the `local` extra

            write_song(song.score, song.suno_id, path)

        return _made_once(folder / f"{song.suno_id}.m4a", write)

    def cover(self, track: LibraryTrack, folder: Path) -> Path:
        """Draw the cover into `folder`, unless it is there."""
        song = self._song(track)
        return _made_once(folder / f"{song.suno_id}.jpg", lambda path: _draw(song.cover, path))

    def _song(self, track: LibraryTrack) -> Song:
        song = self._songs.get((track.task_id, track.suno_id))
        if song is None:
            raise KeyError(f"{track.task_id}/{track.suno_id} is no built-in track; take one of `tracks()`")
        return song


class FolderLibrary:
    """The songs of a folder: DIR/<music task>/<track>/ with audio.*, cover.*, lyrics and track.toml.

    All text is read, and all mistakes are found, when the library is made. Nothing outside DIR is read, not
    through a symbolic link either.

    Args:
        directory: the folder.
        mistakes: takes what is wrong with its songs, which are then left out; without it the first is raised.

    Raises:
        LibraryError: the folder is none, has no song, or has a mistake in it.

    """

    def __init__(self, directory: Path, *, mistakes: list[LibraryError] | None = None) -> None:
        if not directory.is_dir():
            raise LibraryError(directory, None, "is not a folder; give one with a folder for each music task")
        self._root = directory.resolve()
        self._mistakes = mistakes
        found = tuple(self._scan())
        if not found and not mistakes:
            raise LibraryError(directory, None, "has no track; put one at <music task>/<track>/audio.mp3 below it")
        self._files = {(entry.track.task_id, entry.track.suno_id): entry for entry in found}
        self._tracks = tuple(entry.track for entry in found)

    def tracks(self) -> Sequence[LibraryTrack]:
        """All tracks, those of a music task together."""
        return self._tracks

    def find(self, task_id: str, suno_id: str) -> LibraryTrack | None:
        """The track of these ids, or None."""
        entry = self._files.get((task_id, suno_id))
        return entry.track if entry else None

    def audio(self, track: LibraryTrack, folder: Path) -> Path:  # noqa: ARG002 - the file is already there
        """The track's own audio file."""
        return self._inside(self._entry(track).audio)

    def cover(self, track: LibraryTrack, folder: Path) -> Path:
        """The track's own cover, or one drawn into `folder` from its title."""
        entry = self._entry(track)
        if entry.cover is not None:
            return self._inside(entry.cover)
        design = f"{track.task_id}/{track.suno_id}/{track.title}"
        name = re.sub(r"[^\w.-]", "_", f"{track.task_id}-{track.suno_id}")[:120]
        return _made_once(folder / f"{name}.jpg", lambda path: _draw(design, path))

    def folder(self, track: LibraryTrack) -> Path:
        """The folder of a track."""
        return self._entry(track).audio.parent

    def _entry(self, track: LibraryTrack) -> _Files:
        entry = self._files.get((track.task_id, track.suno_id))
        if entry is None:
            raise KeyError(f"{track.task_id}/{track.suno_id} is not in {self._root}; take one of `tracks()`")
        return entry

    def _scan(self) -> Iterator[_Files]:
        for task in self._folders(self._root):
            seen: dict[str, Path] = {}
            for folder in self._folders(task):
                try:
                    yield self._read_new(task.name, folder, seen)
                except LibraryError as mistake:
                    self._complain(mistake)

    def _complain(self, mistake: LibraryError) -> None:
        if self._mistakes is None:
            raise mistake
        self._mistakes.append(mistake)

    def _read_new(self, task_id: str, folder: Path, seen: dict[str, Path]) -> _Files:
        entry = self._read(task_id, folder)
        other = seen.setdefault(entry.track.suno_id, folder)
        if other is not folder:
            problem = f"has the suno_id {entry.track.suno_id!r} of {other.name}; give each track its own"
            raise LibraryError(folder, None, problem)
        return entry

    def _folders(self, folder: Path) -> Iterator[Path]:
        for path in sorted(folder.iterdir()):
            if path.is_dir() and not path.name.startswith((".", "_")):
                try:
                    yield self._inside(path)
                except LibraryError as mistake:
                    self._complain(mistake)

    def _inside(self, path: Path) -> Path:
        """The path itself, if it leads nowhere outside the library."""
        if not path.resolve().is_relative_to(self._root):
            raise LibraryError(path, None, "leads outside the library; copy what it points at into the library")
        return path

    def _read(self, task_id: str, folder: Path) -> _Files:
        audio = self._one(folder, "audio", None)
        if audio is None:
            raise LibraryError(folder, None, "has no audio; put the song there as audio.mp3 (or .m4a, .wav, …)")
        cover = self._one(folder, "cover", _IMAGES)
        facts = _Facts.read(self._inside(folder / "track.toml"))
        duration = facts.duration or _duration(audio)
        lyrics = self._lyrics(folder, duration)
        track = LibraryTrack(
            task_id=task_id,
            suno_id=facts.suno_id or folder.name,
            title=facts.title or folder.name,
            artist=facts.artist,
            duration=duration,
            language=facts.language,
            tags=facts.tags,
            lyrics=lyrics,
            spread=bool(lyrics) and (folder / "lyrics.txt").exists(),
        )
        return _Files(track, audio, cover)

    def _one(self, folder: Path, stem: str, suffixes: frozenset[str] | None) -> Path | None:
        found = [path for path in sorted(folder.glob(f"{stem}.*")) if not path.name.endswith(".part")]
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            raise LibraryError(folder, None, f"has more than one {stem}: {names}; keep one")
        if not found:
            return None
        path = self._inside(found[0])
        if not path.is_file():
            raise LibraryError(path, None, "is not a file; put the file itself there")
        if suffixes is not None and path.suffix.lower() not in suffixes:
            raise LibraryError(path, None, f"is no known kind of {stem}; use PNG, JPEG or WebP")
        return path

    def _lyrics(self, folder: Path, duration: float) -> tuple[LyricLine, ...]:
        found = [path for name in _LYRICS if (path := self._inside(folder / name)).exists()]
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            raise LibraryError(folder, None, f"has lyrics more than once: {names}; keep one")
        if not found:
            return ()
        path = found[0]
        text = _read_text(path)
        if path.suffix == ".lrc":
            return parse_lrc(text, path=path)
        if path.suffix == ".srt":
            return parse_srt(text, path=path)
        return spread_lines(text, duration, path=path)


@frozen
class _Files:
    track: LibraryTrack
    audio: Path
    cover: Path | None


@frozen
class _Facts:
    """What track.toml says; everything has a default."""

    title: str = ""
    artist: str = ""
    suno_id: str = ""
    language: str = ""
    tags: str = ""
    duration: float = 0.0

    @classmethod
    def read(cls, path: Path) -> _Facts:
        if not path.exists():
            return cls()
        text = _read_text(path)
        try:
            table = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            place = re.search(r"line (\d+)", str(error))
            line = int(place[1]) if place else len(text.splitlines())  # "at end of document"
            raise LibraryError(path, line, f"is not valid TOML: {error}; correct that line") from error
        return cls._checked(path, text, table)

    @classmethod
    def _checked(cls, path: Path, text: str, table: Mapping[str, object]) -> _Facts:
        words: dict[str, str] = {}
        duration = 0.0
        for key, value in table.items():
            line = _line_of(key, text)
            if key == "duration":
                if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < 86_400:
                    raise LibraryError(path, line, "duration must be seconds, such as duration = 183.5")
                duration = float(value)
            elif key not in {"title", "artist", "suno_id", "language", "tags"}:
                known = "title, artist, suno_id, language, tags, duration"
                raise LibraryError(path, line, f"unknown key {key!r}; the keys are {known}")
            elif not isinstance(value, str):
                raise LibraryError(path, line, f'{key} must be text in quotes, such as {key} = "…"')
            elif len(value) > LONGEST_LINE:
                problem = f"{key} has {len(value)} characters; use {LONGEST_LINE} at most"
                raise LibraryError(path, line, problem)
            else:
                words[key] = value.strip()
        return cls(**words, duration=duration)


def _line_of(key: str, text: str) -> int | None:
    pattern = re.compile(rf"""\s*["']?{re.escape(key)}["']?\s*[=.\]]|\s*\[+\s*["']?{re.escape(key)}\b""")
    return next((number for number, line in enumerate(text.splitlines(), 1) if pattern.match(line)), None)


def _read_text(path: Path) -> str:
    if not path.is_file():
        raise LibraryError(path, None, "is not a file; put the file itself there")
    if path.stat().st_size > _TEXT_LIMIT:
        raise LibraryError(path, None, "is larger than a megabyte; is it the right file?")
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise LibraryError(path, line, "is not UTF-8; save the file as UTF-8") from error


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


def _draw(design: str, path: Path) -> None:
    from .songs.covers import draw_cover  # noqa: PLC0415 - heavy, and only in the `local` extra

    draw_cover(design, path)


def _made_once(path: Path, write: Callable[[Path], object]) -> Path:
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


def _duration(path: Path) -> float:
    """The length of an audio file in seconds."""
    if path.suffix.lower() == ".wav":
        with contextlib.suppress(wave.Error, EOFError), wave.open(str(path), "rb") as sound:
            return sound.getnframes() / sound.getframerate()
    try:
        from .songs.sound import audio_seconds  # noqa: PLC0415 - heavy, and only in the `local` extra
    except ImportError as error:
        problem = (
            "its length is unknown: put duration = SECONDS into track.toml, or install suno-video-async[local]"
        )
        raise LibraryError(path, None, problem) from error
    try:
        return audio_seconds(path)
    except ValueError as error:
        raise LibraryError(path, None, f"is not audio that can be read ({error}); convert it to MP3") from error
