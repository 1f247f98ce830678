"""One song's folder: which of its files are the audio, the cover and the lyrics, and what they hold."""

from __future__ import annotations

import unicodedata
import wave
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from attrs import frozen

from suno_video_async.lyricvideo.audiofacts import Measured
from suno_video_async.lyricvideo.errors import LibraryError
from suno_video_async.lyricvideo.library import LibraryTrack
from suno_video_async.lyricvideo.lyrics import Lyrics, LyricsError, read_lyrics
from suno_video_async.lyricvideo.trackfile import TrackFile, read_text

_LYRICS: Final = (".lrc", ".srt", ".vtt", ".txt")
"""The kinds of lyrics; of several, the first of these is read."""
_IMAGES: Final = frozenset({".png", ".jpg", ".jpeg", ".jfif", ".webp"})
_COVERS: Final = ("cover", "folder", "front", "album", "artwork")
"""What players and shops call the picture of a song."""
_SOUNDS: Final = frozenset(
    [
        ".aac",
        ".aif",
        ".aiff",
        ".caf",
        ".flac",
        ".m4a",
        ".m4b",
        ".mka",
        ".mp2",
        ".mp3",
        ".mp4",
        ".oga",
        ".ogg",
        ".opus",
        ".wav",
        ".webm",
        ".wma",
    ]
)
_OF_SYSTEMS: Final = frozenset({"thumbs.db", "desktop.ini", "icon\r"})
SHORT: Final = 1.0
"""Seconds by which audio may be shorter than it states: encoders round, and fill their last frame."""


@frozen
class Song:
    """A track and its files.

    Attributes:
        track: what is known of it.
        audio: its sound.
        cover: its picture, if the folder has one.
        pictured: whether the audio has one.
        cut: what to say if the audio holds less than it states.
        warnings: what was left out or is odd.

    """

    track: LibraryTrack
    audio: Path
    cover: Path | None
    pictured: bool
    cut: LibraryError | None
    warnings: tuple[LibraryError, ...]


def as_id(name: str) -> str:
    """A folder's name as ids are compared: composed, without space around it."""
    return unicodedata.normalize("NFC", name.strip())


class SongFolder:
    """Reads the files of one folder.

    Args:
        folder: the song's.
        root: of the library, out of which no file may lead.

    """

    def __init__(self, folder: Path, root: Path) -> None:
        self._folder = folder
        self._root = root
        paths = sorted(folder.iterdir())
        self._paths = [path for path in paths if not path.name.startswith(".") and not path.name.endswith(".part")]

    def read(self, task_id: str) -> Song:
        """Read all of it.

        Raises:
            LibraryError: a video cannot be made of it.
            OSError: likewise.

        """
        audio = self._audio()
        cover = self._cover()
        said = self._named("track", {".toml"})
        facts = TrackFile.read(said) if said else TrackFile()
        measured = _measure(audio, facts.duration)
        font = self._font(facts.font, said)
        text, lyrics = self._lyrics(facts.encoding, measured.seconds, audio)
        warnings = [
            LibraryError(text or self._folder, warning.line, warning.problem) for warning in lyrics.warnings
        ]
        notes = _notes(lyrics)
        used = {path for path in (audio, cover, said, font, text) if path is not None}
        warnings += self._unread(used)
        cut = _cut(audio, measured)
        if cut is not None:
            notes = (f"the audio {cut.problem}", *notes)
        track = LibraryTrack(
            task_id=as_id(task_id),
            suno_id=as_id(facts.suno_id or self._folder.name),
            title=facts.title or measured.title or lyrics.title or as_id(self._folder.name),
            artist=facts.artist or measured.artist or lyrics.artist,
            duration=measured.seconds,
            language=facts.language,
            tags=facts.tags,
            lyrics=lyrics.lines,
            size=facts.size,
            spread=lyrics.spread and bool(lyrics.lines),
            font=font,
            notes=notes,
        )
        return Song(track, audio, cover, measured.has_picture, cut, tuple(warnings))

    def _audio(self) -> Path:
        others = {*_LYRICS, *_IMAGES, ".toml"}
        named = [
            path for path in self._paths if path.stem.lower() == "audio" and path.suffix.lower() not in others
        ]
        found = named or [path for path in self._paths if path.suffix.lower() in _SOUNDS]
        if not found:
            problem = "has no audio; put the song there as audio.mp3 (or .m4a, .wav, …)"
            raise LibraryError(self._folder, None, problem)
        return self._one(found, "audio")

    def _cover(self) -> Path | None:
        for name in _COVERS:
            found = [path for path in self._paths if path.stem.lower() == name]
            if name != "cover":
                found = [path for path in found if path.suffix.lower() in _IMAGES]
            if found:
                path = self._one(found, "cover")
                if path.suffix.lower() not in _IMAGES:
                    raise LibraryError(path, None, "is not a known kind of cover; use PNG, JPEG or WebP")
                return path
        return None

    def _lyrics(self, encoding: str, duration: float, audio: Path) -> tuple[Path | None, Lyrics]:
        path = self._named("lyrics", _LYRICS) or self._named(audio.stem.lower(), _LYRICS) or self._only_lyrics()
        if path is None:
            return None, Lyrics(())
        try:
            return path, read_lyrics(read_text(path, encoding), duration)
        except LyricsError as error:
            raise LibraryError(path, error.line, error.problem) from error

    def _only_lyrics(self) -> Path | None:
        """The one file of the folder that can be nothing else."""
        found = [path for path in self._paths if path.suffix.lower() in _LYRICS[:3]]
        return self._inside(found[0]) if len(found) == 1 else None

    def _named(self, stem: str, suffixes: Iterable[str]) -> Path | None:
        """The file of this name, in any case; if there are several, the one whose suffix comes first."""
        for suffix in suffixes:
            for path in self._paths:
                if path.name.lower() == f"{stem}{suffix}":
                    return self._inside(path)
        return None

    def _one(self, found: list[Path], what: str) -> Path:
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            raise LibraryError(self._folder, None, f"has more than one {what}: {names}; keep one")
        path = self._inside(found[0])
        if not path.is_file():
            raise LibraryError(path, None, "is not a file; put the file itself there")
        return path

    def _font(self, name: str, said: Path | None) -> Path | None:
        if not name:
            return None
        path = self._folder / name
        if not self._inside(path).is_file():
            raise LibraryError(said or self._folder, None, f"the font {name} is not in the folder; put it there")
        return path

    def _unread(self, used: set[Path]) -> list[LibraryError]:
        unread = [path.name for path in self._paths if path not in used and path.name.lower() not in _OF_SYSTEMS]
        if not unread:
            return []
        names = ", ".join(unread[:10]) + (f" and {len(unread) - 10} more" if len(unread) > 10 else "")
        return [LibraryError(self._folder, None, f"has files that are not used: {names}")]

    def _inside(self, path: Path) -> Path:
        return inside(path, self._root)


def inside(path: Path, root: Path) -> Path:
    """Return the path itself, if it leads nowhere outside a library.

    Raises:
        LibraryError: it does, or it leads nowhere.

    """
    try:
        real = path.resolve()
    except (OSError, RuntimeError) as error:  # a loop of links is a RuntimeError before 3.13
        raise _leads_nowhere(path) from error
    if not real.is_relative_to(root):
        raise LibraryError(path, None, "leads outside the library; copy what it points at into the library")
    if path.is_symlink() and not path.exists():
        raise _leads_nowhere(path)
    return path


def _leads_nowhere(path: Path) -> LibraryError:
    return LibraryError(path, None, "leads nowhere; put the file itself there")


def _measure(path: Path, said: float) -> Measured:
    """What the audio holds; `said` is its length in track.toml, which is needed without the extra `local`."""
    try:
        from suno_video_async.lyricvideo.render.audio import measure  # noqa: PLC0415 - heavy, and only in the `local` extra
    except ImportError as error:
        seconds = said or _wav_seconds(path)
        if seconds:
            return Measured(seconds)
        problem = (
            "its length is unknown: put duration = SECONDS into track.toml, or install suno-video-async[local]"
        )
        raise LibraryError(path, None, problem) from error
    try:
        return measure(path)
    except ValueError as error:
        raise LibraryError(path, None, f"is not audio that can be read ({error}); convert it to MP3") from error


def _wav_seconds(path: Path) -> float:
    """The length of a WAV by its size, since what it states may be wrong; 0 if it is not one."""
    try:
        with wave.open(str(path), "rb") as sound:
            frame = sound.getsampwidth() * sound.getnchannels()
            return min(sound.getnframes(), path.stat().st_size // frame) / sound.getframerate()
    except (wave.Error, EOFError, ArithmeticError, OSError):
        return 0.0


def _notes(lyrics: Lyrics) -> tuple[str, ...]:
    """What the lyrics in a video lack, in a sentence."""
    if not lyrics.warnings:
        return ()
    first, *more = lyrics.warnings
    place = f"line {first.line}" if first.line else "one of them"
    others = f", and {len(more)} more; suno-video library check lists them" if more else ""
    return (f"of the lyrics, {place} {first.problem}{others}",)


def _cut(audio: Path, measured: Measured) -> LibraryError | None:
    lacking = measured.stated - measured.seconds
    if lacking <= max(SHORT, 0.02 * measured.stated):
        return None
    problem = f"states {measured.stated:.1f} s and holds {measured.seconds:.1f} s; is the file complete?"
    return LibraryError(audio, None, problem)
