"""All mistakes in a folder of songs at once, before a video is made of them."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from attrs import frozen

from suno_video_async.lyricvideo.errors import LibraryError
from suno_video_async.lyricvideo.folder import FolderLibrary
from suno_video_async.lyricvideo.library import LibraryTrack
from suno_video_async.lyricvideo.scripts import left_out


@frozen
class CheckedLibrary:
    """What a folder holds.

    Attributes:
        tracks: the songs that a video can be made of.
        mistakes: what is wrong, each with the file and, if known, the line; their songs are left out
            unless only the picture suffers.
        unseen: what was not looked at, and why.

    """

    tracks: tuple[LibraryTrack, ...]
    mistakes: tuple[LibraryError, ...]
    unseen: tuple[str, ...] = ()


def check_library(directory: Path) -> CheckedLibrary:
    """Read a folder of songs and return all that is wrong with it. Blocks.

    If the extra `local` is installed, covers are decoded and lyrics are compared with the fonts.

    Raises:
        LibraryError: the folder is none.

    """
    library = FolderLibrary(directory, lenient=True)
    mistakes = list(library.mistakes)
    for track in library.tracks():
        mistakes += _late_lines(library, track)
    if find_spec("PIL") is None or find_spec("uharfbuzz") is None:
        unseen = ["covers and letters: they need suno-video-async[local]"]
    else:
        unseen = []
        for track in library.tracks():
            mistakes += _pictures(library, track)
    return CheckedLibrary(tuple(library.tracks()), tuple(mistakes), tuple(unseen))


def _late_lines(library: FolderLibrary, track: LibraryTrack) -> Iterator[LibraryError]:
    """Yield the lyrics that come after the song."""
    late = [line for line in track.lyrics if line.start >= track.duration and line.text]
    if late:
        problem = (
            f"{len(late)} lines come after the song's end at {track.duration:.1f} s, the first at"
            f" {late[0].start:.1f} s: {late[0].text[:40]!r}; correct the times"
        )
        yield LibraryError(library.folder(track), None, problem)


def _pictures(library: FolderLibrary, track: LibraryTrack) -> Iterator[LibraryError]:
    """Yield what the renderer could not show."""
    # Needed only here, and part of the extra.
    from suno_video_async.lyricvideo.render.backdrop import open_cover  # noqa: PLC0415  of the `local` extra
    from suno_video_async.lyricvideo.render.errors import RenderError  # noqa: PLC0415  of the `local` extra
    from suno_video_async.lyricvideo.render.text import Style, Typesetter  # noqa: PLC0415  of the `local` extra

    folder = library.folder(track)
    try:
        if (cover := library.own_cover(track)) is not None:
            open_cover(cover)
    except RenderError as error:
        yield LibraryError(folder, None, str(error))
    texts = (track.title, track.artist, *(line.text for line in track.lyrics))
    setter = Typesetter.of(track.language, texts)
    for text in texts:
        setter.shape(text, Style(500))
    if setter.missing:
        yield LibraryError(folder, None, left_out(setter.missing, most=10))
