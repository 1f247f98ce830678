"""All mistakes in a folder of songs at once, before a video is made of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from attrs import frozen

from suno_video_async._util.words import many
from suno_video_async.lyricvideo.errors import LibraryError
from suno_video_async.lyricvideo.folder import FolderLibrary
from suno_video_async.lyricvideo.library import LibraryTrack
from suno_video_async.lyricvideo.scripts import left_out


@frozen
class CheckedLibrary:
    """What a folder, or one song of it, holds.

    Attributes:
        tracks: the songs that a video can be made of.
        mistakes: what is wrong, each with the file and, if known, the line; their songs are left out
            unless only the picture suffers.
        unseen: what was not looked at, and why.
        warnings: what is left out of a video that is made all the same: odd lines, files that are not used.

    """

    tracks: tuple[LibraryTrack, ...]
    mistakes: tuple[LibraryError, ...]
    unseen: tuple[str, ...] = ()
    warnings: tuple[LibraryError, ...] = ()


def check_library(directory: Path, fonts: Sequence[Path] = ()) -> CheckedLibrary:
    """Read a folder of songs and return all that is wrong with it. Blocks.

    If the extra `local` is installed, covers are decoded and lyrics are compared with the fonts, those in `fonts`
    first.

    Raises:
        LibraryError: the folder is none.

    """
    library = FolderLibrary(directory, lenient=True)
    songs = [check_song(library, track, fonts) for track in library.tracks()]
    return CheckedLibrary(
        tuple(library.tracks()),
        (*library.mistakes, *(mistake for song in songs for mistake in song.mistakes)),
        tuple(dict.fromkeys(note for song in songs for note in song.unseen)),
        tuple(warning for song in songs for warning in song.warnings),
    )


def check_song(library: FolderLibrary, track: LibraryTrack, fonts: Sequence[Path] = ()) -> CheckedLibrary:
    """Return what is wrong with one song of a library. Blocks."""
    mistakes = list(_late_lines(library, track))
    cut = library.cut(track)
    mistakes += [cut] if cut is not None else []
    warnings = list(library.warnings_of(track))
    if find_spec("PIL") is None or find_spec("uharfbuzz") is None:
        unseen: tuple[str, ...] = ("covers and letters: they need suno-video-async[local]",)
    else:
        unseen = ()
        found, odd = _pictures(library, track, fonts)
        mistakes += found
        warnings += odd
    return CheckedLibrary((track,), tuple(mistakes), unseen, tuple(warnings))


def _late_lines(library: FolderLibrary, track: LibraryTrack) -> Iterator[LibraryError]:
    """Yield the lyrics that come after the song."""
    late = [line for line in track.lyrics if line.start >= track.duration and line.text]
    if late:
        problem = (
            f"{many(len(late), 'line comes', 'lines come')} after the song's end at {track.duration:.1f} s, the"
            f" first at {late[0].start:.1f} s: {late[0].text[:40]!r}; correct the times"
        )
        yield LibraryError(library.folder(track), None, problem)


def _pictures(
    library: FolderLibrary, track: LibraryTrack, fonts: Sequence[Path]
) -> tuple[list[LibraryError], list[LibraryError]]:
    """What the renderer could not show, and what it would show with a flaw."""
    # Needed only here, and part of the extra.
    from suno_video_async.lyricvideo.render.backdrop import open_cover  # noqa: PLC0415  of the `local` extra
    from suno_video_async.lyricvideo.render.errors import RenderError  # noqa: PLC0415  of the `local` extra
    from suno_video_async.lyricvideo.render.text import Style, Typesetter  # noqa: PLC0415  of the `local` extra

    folder = library.folder(track)
    mistakes: list[LibraryError] = []
    warnings: list[LibraryError] = []
    try:
        with TemporaryDirectory() as made:
            own = library.own_cover(track, Path(made))
            note = open_cover(own).note if own is not None else ""
        warnings += [LibraryError(folder, None, note)] if note else []
    except RenderError as error:
        mistakes.append(LibraryError(folder, None, str(error)))
    texts = (track.title, track.artist, *(text for line in track.lyrics for text in line.texts))
    try:
        setter = Typesetter.of(track.language, texts, [*fonts, *([track.font] if track.font else [])])
    except RenderError as error:
        mistakes.append(LibraryError(folder, None, str(error)))
        return mistakes, warnings
    for text in texts:
        setter.shape(text, Style(500))
    if setter.missing:
        mistakes.append(LibraryError(folder, None, left_out(setter.missing, most=10)))
    return mistakes, warnings
