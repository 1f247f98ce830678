"""A library in a folder of your own songs, read again when it changes."""

from __future__ import annotations

import contextlib
import re
import tomllib
import wave
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from attrs import frozen

from suno_video_async.lyricvideo.errors import LibraryError
from suno_video_async.lyricvideo.library import LibraryTrack, made_once
from suno_video_async.lyricvideo.lyrics import LONGEST_LINE, LyricLine, parse_lrc, parse_srt, spread_lines
from suno_video_async.lyricvideo.sizes import SIZES_IN_WORDS, size_of

_LYRICS: Final = ("lyrics.lrc", "lyrics.srt", "lyrics.txt")
_IMAGES: Final = frozenset({".png", ".jpg", ".jpeg", ".webp"})
_TEXT_LIMIT: Final = 1_000_000
"""Bytes of a lyrics or TOML file; more is a mistake, such as a renamed audio file."""
LONGEST_NAME: Final = 200
"""Letters of a folder's name."""


@frozen
class _Files:
    track: LibraryTrack
    audio: Path
    cover: Path | None


@frozen(eq=False)
class _Reading:
    """The content of a track's folder when its files had this signature."""

    signature: object
    entry: _Files | None
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
        self._files: dict[tuple[str, str], _Files] = {}
        self._mistakes: dict[Path, LibraryError] = {}
        self.refresh()
        if self._mistakes and not lenient:
            raise self.mistakes[0]
        if not self._files and not self._mistakes:
            raise LibraryError(directory, None, "has no track; put one at <music task>/<track>/audio.mp3 below it")

    @property
    def mistakes(self) -> tuple[LibraryError, ...]:
        """The mistakes of the songs that are left out."""
        return tuple(self._mistakes.values())

    def tracks(self) -> Sequence[LibraryTrack]:
        """All tracks, those of a music task together."""
        return tuple(entry.track for entry in self._files.values())

    def find(self, task_id: str, suno_id: str) -> LibraryTrack | None:
        """The track of these ids, or None."""
        entry = self._files.get((task_id, suno_id))
        return entry.track if entry else None

    def problem(self, task_id: str, suno_id: str) -> str | None:
        """What is wrong with a song that was left out, if it is in a folder of this name."""
        folder = self._root / task_id / suno_id
        mistake = self._mistakes.get(folder) or self._mistakes.get(folder.parent)
        if mistake is None:
            return None
        place = mistake.path.relative_to(self._root) if mistake.path.is_relative_to(self._root) else mistake.path
        return str(LibraryError(place, mistake.line, mistake.problem))

    def audio(self, track: LibraryTrack, folder: Path) -> Path:  # noqa: ARG002 - the file is already there
        """The track's own audio file."""
        return self._inside(self._entry(track).audio)

    def own_cover(self, track: LibraryTrack) -> Path | None:
        """The cover in the track's folder, or None."""
        cover = self._entry(track).cover
        return None if cover is None else self._inside(cover)

    def cover(self, track: LibraryTrack, folder: Path) -> Path:
        """The track's own cover, or one drawn into `folder` from its title."""
        if (own := self.own_cover(track)) is not None:
            return own
        from suno_video_async.lyricvideo.songs.covers import draw_cover  # noqa: PLC0415 - heavy, and only in the `local` extra

        design = f"{track.task_id}/{track.suno_id}/{track.title}"
        name = re.sub(r"[^\w.-]", "_", f"{track.task_id}-{track.suno_id}")[:120]
        return made_once(folder / f"{name}.jpg", lambda path: draw_cover(design, path))

    def folder(self, track: LibraryTrack) -> Path:
        """The folder of a track."""
        return self._entry(track).audio.parent

    def refresh(self) -> bool:
        """Read what has changed since the last time, and return whether anything has. Blocks."""
        readings: dict[Path, _Reading] = {}
        mistakes: dict[Path, LibraryError] = {}
        for task in self._folders(self._root, mistakes):
            for folder in self._folders(task, mistakes):
                signature, known = _signature(folder), self._readings.get(folder)
                same = known is not None and known.signature == signature
                readings[folder] = known if known and same else self._reading(task.name, folder, signature)
        files: dict[tuple[str, str], _Files] = {}
        for folder, reading in readings.items():
            mistake = reading.mistake
            if reading.entry is not None:
                track = reading.entry.track
                other = files.setdefault((track.task_id, track.suno_id), reading.entry)
                if other is not reading.entry:
                    name = other.audio.parent.name
                    problem = f"has the suno_id {track.suno_id!r} of {name}; give each track its own"
                    mistake = LibraryError(folder, None, problem)
            if mistake is not None:
                mistakes[folder] = mistake
        before = self._found()
        # New dictionaries, because other threads may be reading the old ones.
        self._readings, self._files, self._mistakes = readings, files, mistakes
        return before != self._found()

    def _found(self) -> object:
        """A value that changes when the library does; mistakes of folders are new objects each time."""
        return self._readings, [str(mistake) for mistake in self.mistakes]

    def _entry(self, track: LibraryTrack) -> _Files:
        entry = self._files.get((track.task_id, track.suno_id))
        if entry is None:
            raise KeyError(f"{track.task_id}/{track.suno_id} is not in {self._root}; take one of `tracks()`")
        return entry

    def _reading(self, task_id: str, folder: Path, signature: object) -> _Reading:
        try:
            return _Reading(signature, self._read(task_id, folder), None)
        except LibraryError as mistake:
            return _Reading(signature, None, mistake)
        except OSError as error:
            return _Reading(signature, None, _unreadable(folder, error))

    def _folders(self, folder: Path, mistakes: dict[Path, LibraryError]) -> Iterator[Path]:
        try:
            paths = sorted(folder.iterdir())
        except OSError as error:
            mistakes[folder] = _unreadable(folder, error)
            return
        for path in paths:
            if path.is_dir() and not path.name.startswith((".", "_")):
                try:
                    yield self._named(self._inside(path))
                except LibraryError as mistake:
                    mistakes[path] = mistake

    def _named(self, path: Path) -> Path:
        """The path itself, if its name can be used in an order and in a message."""
        if not path.name.isprintable() or len(path.name) > LONGEST_NAME:
            problem = f"has a name with control characters, or of more than {LONGEST_NAME} letters; rename it"
            raise LibraryError(path, None, problem)
        return path

    def _inside(self, path: Path) -> Path:
        """The path itself, if it leads nowhere outside the library."""
        try:
            real = path.resolve()
        except (OSError, RuntimeError) as error:  # a loop of links is a RuntimeError before 3.13
            raise _leads_nowhere(path) from error
        if not real.is_relative_to(self._root):
            raise LibraryError(path, None, "leads outside the library; copy what it points at into the library")
        if path.is_symlink() and not path.exists():
            raise _leads_nowhere(path)
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
            size=facts.size,
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
            raise LibraryError(path, None, f"is not a known kind of {stem}; use PNG, JPEG or WebP")
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
class _Facts:
    """What track.toml says; everything has a default."""

    title: str = ""
    artist: str = ""
    suno_id: str = ""
    language: str = ""
    tags: str = ""
    duration: float = 0.0
    size: tuple[int, int] | None = None

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
            elif key not in {"title", "artist", "suno_id", "language", "tags"}:
                known = "title, artist, suno_id, language, tags, duration, size"
                raise LibraryError(path, line, f"unknown key {key!r}; the keys are {known}")
            elif not isinstance(value, str):
                raise LibraryError(path, line, f'{key} must be text in quotes, such as {key} = "…"')
            elif len(value) > LONGEST_LINE:
                problem = f"{key} has {len(value)} characters; use {LONGEST_LINE} at most"
                raise LibraryError(path, line, problem)
            else:
                words[key] = value.strip()
        return cls(**words, duration=duration, size=size)


def _unreadable(folder: Path, error: OSError) -> LibraryError:
    return LibraryError(
        folder, None, f"cannot be read: {error.strerror or error}; correct its rights, or take it out"
    )


def _leads_nowhere(path: Path) -> LibraryError:
    return LibraryError(path, None, "leads nowhere; put the file itself there")


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


def _signature(folder: Path) -> object:
    """What changes when a file of a folder does."""
    try:
        stats = [(path.name, path.stat()) for path in sorted(folder.iterdir())]
    except OSError:  # a file that is still being copied: it is read again
        return object()
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)


def _duration(path: Path) -> float:
    """The length of an audio file in seconds."""
    if path.suffix.lower() == ".wav":
        with contextlib.suppress(wave.Error, EOFError), wave.open(str(path), "rb") as sound:
            return sound.getnframes() / sound.getframerate()
    try:
        from suno_video_async.lyricvideo.render.audio import audio_seconds  # noqa: PLC0415 - heavy, and only in the `local` extra
    except ImportError as error:
        problem = (
            "its length is unknown: put duration = SECONDS into track.toml, or install suno-video-async[local]"
        )
        raise LibraryError(path, None, problem) from error
    try:
        return audio_seconds(path)
    except ValueError as error:
        raise LibraryError(path, None, f"is not audio that can be read ({error}); convert it to MP3") from error
