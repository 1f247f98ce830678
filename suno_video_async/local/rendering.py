"""Real videos: the library's songs through the renderer, two at a time, off the event loop."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread
from attrs import define, evolve, field, frozen

from suno_video_async.clock import Clock, TimerHandle
from suno_video_async.local.media import MediaFile
from suno_video_async.local.orders import Order
from suno_video_async.local.producers import Failure, OnEnd, Work
from suno_video_async.lyricvideo.library import Library, LibraryTrack
from suno_video_async.observability.log import fields

if TYPE_CHECKING:
    from suno_video_async.lyricvideo.making import Looks
    from suno_video_async.lyricvideo.render import RenderResult

#: Renders at once.
WORKERS = 2
#: Seconds until an order fails that is meant to fail.
_FAILS_AFTER = 1.0
_log = logging.getLogger("suno_video_async.local")


@define(eq=False)
class _Run:
    """One render in a thread.

    Attributes:
        progress: the share that is done; written in that thread.

    """

    order: Order
    track: LibraryTrack
    target: Path
    on_running: Callable[[], object]
    on_end: OnEnd
    stopped: threading.Event = field(factory=threading.Event)
    progress: float = 0.0

    def cancel(self) -> None:
        """Stop it."""
        self.stopped.set()

    def advance(self, share: float) -> None:
        """Note how much of it is done; in the thread."""
        self.progress = share

    def began(self) -> None:
        """Report that work on it started; on the event loop."""
        if not self.stopped.is_set():
            self.on_running()

    def ended(self, outcome: MediaFile | Failure | None) -> None:
        """Report the end; on the event loop."""
        if outcome is not None and not self.stopped.is_set():
            self.on_end(outcome)


@frozen
class _Doomed:
    """A video that will not be made."""

    timer: TimerHandle
    progress: float = 0.0

    def cancel(self) -> None:
        """Let it not fail either."""
        self.timer.cancel()


class RenderingProducer:
    """Renders in a small pool of threads; needs the `local` extra.

    Args:
        clock: the server's.
        library: the source of the tracks.
        folder: for the videos, and for audio and covers that the library makes.
        looks: of the videos.

    """

    needs_known_tracks = True

    def __init__(self, clock: Clock, library: Library, folder: Path, looks: Looks) -> None:
        self._clock = clock
        self._library = library
        self._folder = folder
        self._looks = looks
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="suno-video-render")
        self._runs: set[_Run] = set()
        self._numbers = count(1)

    def start(self, order: Order, *, fails: bool, on_running: Callable[[], object], on_end: OnEnd) -> Work:
        """Queue a render."""
        track = self._library.find(order.task_id, order.suno_id)
        if fails or track is None:
            failure = Failure("Generation Failed")
            return _Doomed(self._clock.call_later(_FAILS_AFTER, lambda: on_end(failure)))
        target = self._folder / f"video-{next(self._numbers)}.mp4"
        run = _Run(order, track, target, on_running, on_end)
        self._runs.add(run)
        loop = asyncio.get_running_loop()
        made = loop.run_in_executor(self._pool, self._make, run, loop)
        made.add_done_callback(lambda future: self._ended(run, future))
        return run

    def reset(self) -> None:
        """Do nothing: nothing here is random."""

    async def aclose(self) -> None:
        """Stop all renders and wait for their threads; no file is left half-made."""
        for run in self._runs:
            run.stopped.set()
        await anyio.to_thread.run_sync(lambda: self._pool.shutdown(wait=True, cancel_futures=True))

    def _ended(self, run: _Run, future: asyncio.Future[MediaFile | Failure | None]) -> None:
        self._runs.discard(run)
        if not future.cancelled():
            run.ended(future.result())

    def _make(self, run: _Run, loop: asyncio.AbstractEventLoop) -> MediaFile | Failure | None:
        """Make a video; in a thread of the pool."""
        if run.stopped.is_set():
            return None
        loop.call_soon_threadsafe(run.began)
        try:
            from suno_video_async.lyricvideo.making import notes_on  # noqa: PLC0415  heavy, and only in the `local` extra

            result = self._render(run)
            return MediaFile.of_path(run.target, _noted(run.track, notes_on(run.track, result)))
        except Exception as error:  # any error ends one task, not the server
            if run.stopped.is_set():
                return None
            song = (run.track.task_id, run.track.suno_id)
            extra = fields("render_failed", music_task_id=song[0], suno_id=song[1], error=error)
            _log.warning("%s/%s: no video: %s", *song, error, exc_info=True, extra=extra)
            return Failure(f"Generation Failed: {error}")

    def _render(self, run: _Run) -> RenderResult:
        from suno_video_async.lyricvideo.making import render_job  # noqa: PLC0415  heavy, and only in the `local` extra
        from suno_video_async.lyricvideo.render import render  # noqa: PLC0415  likewise

        author, brand = run.order.author or "", run.order.brand or ""
        job = render_job(self._library, run.track, self._folder, self._looks, author=author, brand=brand)
        if run.order.size is not None:
            job = evolve(job, width=run.order.size[0], height=run.order.size[1])
        # Two renders side by side fill two cores with one encoder thread each.
        threads = 2 if len(self._runs) == 1 else 1
        return render(job, run.target, threads=threads, cancelled=run.stopped, on_progress=run.advance)


def _noted(track: LibraryTrack, notes: tuple[str, ...]) -> tuple[str, ...]:
    """Log what the video does not show exactly."""
    for note in notes:
        extra = fields("render_note", music_task_id=track.task_id, suno_id=track.suno_id)
        _log.warning("%s/%s: %s", track.task_id, track.suno_id, note, extra=extra)
    return notes
