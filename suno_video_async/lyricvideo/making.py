"""From a song of a library to its video: what the local server and `suno-video render` have in common.

Needs the extra `local`.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, cast

from attrs import evolve, frozen

from suno_video_async.lyricvideo.library import Library, LibraryTrack
from suno_video_async.lyricvideo.render import RenderJob, RenderResult, render
from suno_video_async.lyricvideo.render.audio import comment_of
from suno_video_async.lyricvideo.render.encode import missing_letters
from suno_video_async.lyricvideo.scripts import left_out

#: Changed with every change of the picture: videos that older versions made are then made again.
PICTURE: Final = "1"
_MARK: Final = "suno-video-async input "
#: Bytes that one render takes at 1920 x 1080, with a large cover.
_EACH: Final = 600 * 1024**2


@frozen(kw_only=True)
class Looks:
    """How videos look, unless a song says otherwise.

    Attributes:
        size: in pixels.
        every_frame: encode a constant frame rate.
        fonts: files in which letters are looked for first.

    """

    size: tuple[int, int]
    every_frame: bool = False
    fonts: tuple[Path, ...] = ()


def render_job(
    library: Library, track: LibraryTrack, folder: Path, looks: Looks, *, author: str = "", brand: str = ""
) -> RenderJob:
    """What the renderer needs for a track; what the library has no file of is made in `folder`. Blocks."""
    width, height = track.size or looks.size
    return RenderJob(
        audio=library.audio(track, folder),
        cover=library.cover(track, folder),
        title=track.title,
        artist=author or track.artist,
        brand=brand,
        language=track.language,
        lyrics=cast("Any", track.lyrics),  # mypy does not see through the attribute's converter
        width=width,
        height=height,
        every_frame=looks.every_frame,
        fonts=(*looks.fonts, *([track.font] if track.font else ())),
    )


def notes_on(track: LibraryTrack, result: RenderResult) -> tuple[str, ...]:
    """What a video does not show or play as it should."""
    notes = list(track.notes)
    if result.missing_glyphs:
        notes.append(left_out(result.missing_glyphs))
    if result.cover_note:
        notes.append(result.cover_note)
    if track.spread:
        notes.append("the lyrics have no times: they are spread over the song")
    return tuple(notes)


def render_once(
    job: RenderJob,
    target: Path,
    *,
    threads: int = 1,
    cancelled: threading.Event | None = None,
    on_progress: Callable[[float], object] | None = None,
) -> RenderResult | None:
    """Make a video, unless there is one at `target` that was made of the same input. Blocks.

    Returns:
        None if it was there.

    Raises:
        FileExistsError: another file is at `target`.
        RenderError: an input cannot be used, or the video cannot be written.

    """
    mark = _MARK + fingerprint(job)
    if target.exists():
        found = comment_of(target)
        if found == mark:
            return None
        if not found.startswith(_MARK):
            raise FileExistsError(f"{target} was not made by this command; move it, or name another folder")
    return render(evolve(job, comment=mark), target, threads=threads, cancelled=cancelled, on_progress=on_progress)


def fingerprint(job: RenderJob) -> str:
    """A hash of all that a video shows and plays: the content of its files, its words, its look. Blocks."""
    told = hashlib.sha256(PICTURE.encode())
    for path in (job.audio, job.cover, *job.fonts):
        told.update(_hash(path))
    words = (job.title, job.artist, job.brand, job.language, job.width, job.height, job.fps, job.every_frame)
    told.update(repr((words, job.lyrics, missing_letters(job))).encode())
    return told.hexdigest()[:32]


def _hash(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def workers(cores: int, memory: float) -> int:
    """How many videos to make at once.

    Args:
        cores: that this process may use.
        memory: bytes that are free; 0 if unknown.

    """
    fitting = int(memory // _EACH) if memory else cores
    return max(1, min(cores, fitting))


def shared_threads(at_once: int, cores: int) -> int:
    """The encoder's threads of each of several renders."""
    return max(1, min(4, cores // at_once))


def names_of(tracks: Sequence[LibraryTrack], name: Callable[[str], str]) -> dict[tuple[str, str], str]:
    """The file name of each track, by its ids: its title, with its id if another one is called alike.

    Args:
        tracks: of a library.
        name: makes a file name of a text.

    """
    titles: dict[str, int] = {}
    for track in tracks:
        key = name(track.title).casefold()
        titles[key] = titles.get(key, 0) + 1
    found: dict[tuple[str, str], str] = {}
    for track in tracks:
        alone = titles[name(track.title).casefold()] == 1
        text = track.title if alone else f"{track.title} ({track.task_id} {track.suno_id})"
        found[track.task_id, track.suno_id] = name(text)
    return found
