"""`VideoTask`: the handle of one video task, to wait for and to iterate over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from suno_video_async.clock import Clock
from suno_video_async.errors import TaskFailed, VideoMissingError, WaitTimeout
from suno_video_async.models import TaskSnapshot, TaskUpdate, Track, Video, VideoTaskId
from suno_video_async.notebook import card


class VideoTask:
    """One video task that a client follows.

    `await task.result()` returns the video; `async for update in task` yields its states. Any number of consumers
    may do either, at any time: each gets the newest state, none costs a request of its own, and a consumer that
    leaves changes nothing.
    """

    def __init__(self, task_id: VideoTaskId, *, clock: Clock, track: Track | None = None) -> None:
        self.id = task_id
        self.track = track
        self.requests = 0
        self._clock = clock
        self._latest: TaskUpdate | None = None
        self._error: Exception | None = None
        self._version = 0
        self._changed = dict[asyncio.Future[None], None]()  # in the order of their coming

    def __repr__(self) -> str:
        if self._error is not None:
            state = type(self._error).__name__
        else:
            state = self._latest.snapshot.raw_status if self._latest else "not seen yet"
        return f"<VideoTask {self.id} {state}>"

    def _repr_html_(self) -> str:
        latest, track = self._latest, self.track
        facts: dict[str, object] = {
            "track": track.suno_id if track else None,
            "author": track.author if track else None,
            "elapsed, s": latest.elapsed if latest else None,
            "progress": latest.progress if latest else None,
            "to go, s": latest.eta if latest and not latest.is_final else None,
            "credits": latest.snapshot.credits if latest else None,
            "requests": self.requests,
            "error": self._error,
        }
        status = latest.snapshot.raw_status if latest else "not seen yet"
        return card(f"task {self.id}", type(self._error).__name__ if self._error else status, facts)

    @property
    def latest(self) -> TaskUpdate | None:
        """The newest state known, or None before the first answer."""
        return self._latest

    @property
    def done(self) -> bool:
        """Whether the task is over, or can no longer be followed."""
        return self._error is not None or (self._latest is not None and self._latest.is_final)

    def __aiter__(self) -> AsyncIterator[TaskUpdate]:
        """Yield the newest state at once, then each change; the final one comes last."""
        return _Updates(self)

    async def result(self, timeout: float | None = None) -> Video:
        """Wait for the end and return the video.

        Args:
            timeout: seconds to wait at most; None waits as long as it takes.

        Raises:
            TaskFailed: the task ended without a video; `VideoMissingError` when it should have one.
            WaitTimeout: the wait ended first; the task goes on.
            SunoVideoError: the task can no longer be followed.

        """
        seen = 0
        deadline = None if timeout is None else self._clock.now() + timeout
        while not self.done:
            seen = self._version
            if not await self.wait_for_change(seen, deadline):
                raise WaitTimeout(self.id, self._latest, timeout or 0.0)
        if self._error is not None:
            raise self._error
        return self.video()

    def video(self) -> Video:
        """Return the video of a task that is over.

        Raises:
            TaskFailed: it ended without one.

        """
        if self._latest is None or not self._latest.is_final:
            raise RuntimeError(f"{self!r} is not over: await task.result()")
        return video_of(self._latest.snapshot, self.track)

    # For the poller

    def publish(self, update: TaskUpdate) -> None:
        """Take a newer state; consumers hear of it when the status changed."""
        news = self._latest is None or self._latest.snapshot.raw_status != update.snapshot.raw_status
        self._latest = update
        if news:
            self._announce()

    def fail(self, error: Exception) -> None:
        """End the following of this task for all consumers."""
        if not self.done:
            self._error = error
            self._announce()

    def _announce(self) -> None:
        self._version += 1
        for future in self._changed:
            if not future.done():
                future.set_result(None)
        self._changed.clear()

    async def wait_for_change(self, seen: int, deadline: float | None = None) -> bool:
        """Wait until there is news since version `seen`; return False when `deadline` comes first."""
        if self._version != seen:
            return True
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._changed[future] = None
        timer = None
        if deadline is not None:
            timer = self._clock.call_later(max(0.0, deadline - self._clock.now()), future.cancel)
        try:
            await asyncio.wait([future])
        finally:
            self._changed.pop(future, None)
            if timer is not None:
                timer.cancel()
        return self._version != seen

    def news(self, seen: int) -> tuple[int, TaskUpdate | None]:
        """Return the newest version and its state, which is None where `seen` is the newest.

        Raises:
            SunoVideoError: the task can no longer be followed.

        """
        if self._version == seen:
            return seen, None
        if self._error is not None:
            raise self._error
        return self._version, self._latest


class _Updates:
    """One consumer of a task's states; a class, so that leaving the loop early needs no clean-up."""

    def __init__(self, task: VideoTask) -> None:
        self._task = task
        self._seen = 0
        self._over = False

    def __aiter__(self) -> _Updates:
        return self

    async def __anext__(self) -> TaskUpdate:
        if self._over:
            raise StopAsyncIteration
        while True:
            self._seen, update = self._task.news(self._seen)
            if update is not None:
                self._over = update.is_final
                return update
            await self._task.wait_for_change(self._seen)


def video_of(snapshot: TaskSnapshot, track: Track | None = None) -> Video:
    """Return the video that a final snapshot names.

    Raises:
        TaskFailed: the task failed, or names no usable URL.

    """
    if not snapshot.is_success:
        raise TaskFailed(snapshot)
    if not snapshot.media_urls:
        raise VideoMissingError(snapshot)
    said = snapshot.input.get("suno_id")
    return Video(
        task_id=snapshot.task_id,
        url=snapshot.media_urls[0],
        suno_id=track.suno_id if track else said if isinstance(said, str) else None,
        credits=snapshot.credits,
        took=snapshot.duration_s,
        snapshot=snapshot,
    )
