"""What the page shows of a library: its songs by album, their covers and sounds, their lyrics and mistakes."""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from attrs import evolve, frozen

from suno_video_async._util.text import one_line
from suno_video_async.local.exchange import Reply, ServerRequest
from suno_video_async.local.media import MediaFile, MediaStore
from suno_video_async.lyricvideo.check import check_song
from suno_video_async.lyricvideo.errors import LibraryError
from suno_video_async.lyricvideo.folder import FolderLibrary
from suno_video_async.lyricvideo.library import Library, LibraryTrack, made_once

#: Pixels of a cover's sides in the page, and lines of lyrics and mistakes that it gets.
_SIDE: Final = 320
_MOST_LINES: Final = 2_000
_MOST_MISTAKES: Final = 200


@frozen
class Shown:
    """A song in the page: where its cover and its sound are in the store."""

    track: LibraryTrack
    cover: str
    audio: str


class Shelf:
    """A library as the page sees it.

    Args:
        library: the songs.
        folder: for covers and sounds that are made.
        fonts: files in which letters are looked for first.
        make_name: returns names that were never used.

    """

    def __init__(
        self, library: Library, folder: Path, fonts: Sequence[Path], make_name: Callable[[], str]
    ) -> None:
        self._library = library
        self._folder = folder
        self._fonts = tuple(fonts)
        self._store = MediaStore(make_name)
        self._songs: dict[tuple[str, str], Shown] = {}
        self._checked: dict[tuple[str, str], tuple[LibraryTrack, dict[str, Any]]] = {}
        self.refresh()

    def refresh(self) -> None:
        """Take over the library's current songs."""
        before, self._songs = self._songs, {}
        for track in self._library.tracks():
            key = (track.task_id, track.suno_id)
            known = before.pop(key, None)
            # A changed file is a new track, even if it says the same.
            if known is not None and known.track is track:
                self._songs[key] = known
            else:
                self._discard(known)
                self._songs[key] = self._show(track)
        for gone in before.values():
            self._discard(gone)
        self._checked.clear()

    def title(self, task_id: str, suno_id: str) -> str | None:
        """Return a song's title, or None if the library does not have it."""
        shown = self._songs.get((task_id, suno_id))
        return None if shown is None else shown.track.title

    def listing(self) -> dict[str, Any]:
        """Return the songs, those of an album together, and what is wrong with the others."""
        mistakes = self._library.mistakes if isinstance(self._library, FolderLibrary) else ()
        return {
            "songs": [_song(shown.track) for shown in self._songs.values()],
            "mistakes": [_words(mistake) for mistake in mistakes[:_MOST_MISTAKES]],
        }

    def catalog(self) -> str:
        """Return the songs as a catalog for `suno-video convert`."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["task_id", "suno_id", "author", "brand", "title"])
        tracks = [shown.track for shown in self._songs.values()]
        writer.writerows([track.task_id, track.suno_id, "", "", one_line(track.title)] for track in tracks)
        return text.getvalue()

    def media(self, what: str, request: ServerRequest) -> Reply | None:
        """Return a song's cover or audio, or None."""
        shown = self._asked(request)
        if shown is None:
            return None
        return self._store.reply(evolve(request, path=shown.cover if what == "cover" else shown.audio))

    def lyrics(self, request: ServerRequest) -> dict[str, Any] | Callable[[], object] | None:
        """Return a song's lyrics and what `library check` says about it; a blocking function if that is not known.

        None if there is no such song.
        """
        shown = self._asked(request)
        if shown is None:
            return None
        track = shown.track
        checked = self._checked.get((track.task_id, track.suno_id))
        if checked is not None and checked[0] is track:
            return checked[1]
        return partial(self._check, track)

    def _check(self, track: LibraryTrack) -> None:
        words: dict[str, Any] = {"mistakes": [], "warnings": [], "unseen": []}
        if isinstance(self._library, FolderLibrary):
            with contextlib.suppress(KeyError):  # it was taken out of the folder at this moment
                found = check_song(self._library, track, self._fonts)
                words["mistakes"] = [_words(mistake) for mistake in found.mistakes]
                words["warnings"] = [_words(warning) for warning in found.warnings]
                words["unseen"] = list(found.unseen)
        lines = [[round(line.start, 2), *line.texts] for line in track.lyrics[:_MOST_LINES]]
        result = {**_song(track), "lyrics": lines, "notes": list(track.notes), "spread": track.spread, **words}
        self._checked[track.task_id, track.suno_id] = (track, result)

    def _asked(self, request: ServerRequest) -> Shown | None:
        return self._songs.get((request.query.get("task_id", ""), request.query.get("suno_id", "")))

    def _show(self, track: LibraryTrack) -> Shown:
        cover, audio = partial(self._cover, track), partial(self._audio, track)
        return Shown(track, self._store.add(cover), self._store.add(audio))

    def _discard(self, shown: Shown | None) -> None:
        if shown is not None:
            self._store.discard(shown.cover)
            self._store.discard(shown.audio)

    def _audio(self, track: LibraryTrack) -> MediaFile:
        return MediaFile.of_path(self._library.audio(track, self._folder))

    def _cover(self, track: LibraryTrack) -> MediaFile:
        """Return a small copy of a cover; the cover itself if what makes the copy is not installed."""
        cover = self._library.cover(track, self._folder)
        found = cover.stat()
        small = self._folder / "studio" / f"{found.st_ino:x}-{found.st_mtime_ns:x}-{found.st_size:x}.jpg"
        try:
            return MediaFile.of_path(made_once(small, partial(_write_small, cover)))
        except ImportError:
            return MediaFile.of_path(cover)


def _write_small(cover: Path, target: Path) -> None:
    # Needs the extra `local`.
    from suno_video_async.lyricvideo.render.backdrop import open_cover  # noqa: PLC0415  of the `local` extra

    image = open_cover(cover).image
    image.thumbnail((_SIDE, _SIDE))
    image.save(target, "JPEG", quality=82)


def _song(track: LibraryTrack) -> dict[str, Any]:
    return {
        "task_id": track.task_id,
        "suno_id": track.suno_id,
        "title": track.title,
        "artist": track.artist,
        "duration": round(track.duration, 2),
        "language": track.language,
        "tags": track.tags,
        "lines": len(track.lyrics),
    }


def _words(mistake: LibraryError) -> str:
    """Return a mistake with the last parts of its path alone: track and file."""
    return str(LibraryError(Path(*mistake.path.parts[-2:]), mistake.line, mistake.problem))
