"""`VideoTask`: the handle of one video task, to wait for and to iterate over."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import cast

from suno_video_async._util.aio import OwnLoop
from suno_video_async.clock import Clock
from suno_video_async.errors import SunoVideoError, TaskEndUnknown, TaskFailed, VideoNotReady, WaitTimeout
from suno_video_async.models import TaskSnapshot, TaskUpdate, Track, Video, VideoTaskId
from suno_video_async.notebook import card


class VideoTask:
    """One video task that a client follows.

    `await task.result()` returns the video; `async for update in task` yields its states. Any number of consumers
    may do either, at any time: each gets the newest state, none costs a request of its own, and a consumer that
    leaves changes nothing.
    """

    def __init__(self, task_id: VideoTaskId, feed: TaskFeed, track: Track | None) -> None:
        self.id = task_id
        self.track = track
        self._feed = feed

    def __repr__(self) -> str:
        if self._feed.error is not None:
            state = type(self._feed.error).__name__
        else:
            state = self._feed.latest.snapshot.raw_status if self._feed.latest else "not seen yet"
        return f"<VideoTask {self.id} {state}>"

    def _repr_html_(self) -> str:
        latest, track = self._feed.latest, self.track
        facts: dict[str, object] = {
            "track": track.suno_id if track else None,
            "author": track.author if track else None,
            "elapsed, s": latest.elapsed if latest else None,
            "progress": latest.progress if latest else None,
            "to go, s": latest.eta if latest and not latest.is_final else None,
            "credits": latest.snapshot.credits if latest else None,
            "requests": self.requests,
            "error": self._feed.error,
        }
        status = latest.snapshot.raw_status if latest else "not seen yet"
        return card(f"task {self.id}", type(self._feed.error).__name__ if self._feed.error else status, facts)

    @property
    def requests(self) -> int:
        """API requests spent on the task so far, those of its submission included."""
        return self._feed.requests

    @property
    def latest(self) -> TaskUpdate | None:
        """The newest state known, or None before the first answer."""
        return self._feed.latest

    @property
    def done(self) -> bool:
        """Whether the task has ended, or can no longer be followed."""
        return self._feed.done

    def __aiter__(self) -> AsyncIterator[TaskUpdate]:
        """Yield the newest state at once, then each change; the final one comes last."""
        return _Updates(self._feed, None)

    def updates(self, every: float = 1.0) -> AsyncIterator[TaskUpdate]:
        """Yield as `async for update in task` does, and at least every so often, for a display that moves.

        Between two polls `elapsed`, `progress` and `eta` go on by what is known of the durations; that costs no
        request. A slow consumer gets the newest state, not a queue.

        Args:
            every: the most seconds between two updates, once the first state is known.

        Raises:
            ValueError: `every` is not above 0 and finite.

        """
        if not 0 < every < math.inf:
            raise ValueError(f"every must be a number of seconds above 0, not {every!r}")
        return _Updates(self._feed, every)

    async def result(self, timeout: float | None = None) -> Video:
        """Wait for the end and return the video.

        Args:
            timeout: seconds to wait at most; None waits as long as it takes.

        Raises:
            TaskFailed: the task has failed.
            TaskEndUnknown: the task has ended without a video and has not failed.
            WaitTimeout: the wait ended first; the task goes on.
            SunoVideoError: the task can no longer be followed.
            RuntimeError: this is another event loop than the client's.

        """
        seen = 0
        deadline = None if timeout is None else self._feed.clock.now() + timeout
        while not self.done:
            newer = await self._feed.changed(seen, deadline)
            if newer is None:
                raise WaitTimeout(self.id, self._feed.latest, timeout or 0.0)
            seen = newer
        if self._feed.error is not None:
            raise self._feed.error
        return self.video()

    def video(self) -> Video:
        """Return the video of a finished task.

        Raises:
            TaskFailed: it has failed.
            TaskEndUnknown: it has ended without one and has not failed.

        """
        if self._feed.latest is None or not self._feed.latest.is_final:
            raise RuntimeError(f"{self!r} is not over: await task.result()")
        return video_of(self._feed.latest.snapshot, self.track)


class TaskFeed:
    """The writing end of a `VideoTask`: what the poller learns goes in here, and the task's consumers get it.

    It does not know its task: the two would keep each other, and all that was answered, until the next collection
    of garbage.
    """

    def __init__(self, clock: Clock) -> None:
        self.latest: TaskUpdate | None = None
        self.error: Exception | None = None
        #: Whether the task has ended, or can no longer be followed.
        self.done: bool = False
        self.requests = 0
        self.clock = clock
        #: Brings an update up to the present; set by what follows the task.
        self.as_of_now: Callable[[TaskUpdate], TaskUpdate] = unchanged
        self._own_loop = OwnLoop("VideoTask")
        self._version = 0
        self._changed = dict[asyncio.Future[None], None]()  # in the order in which they began to wait

    def publish(self, update: TaskUpdate) -> None:
        """Take a newer state; consumers are woken when the status changed, or the video has come."""
        before, self.latest, self.done = self.latest, update, update.is_final
        if (
            before is None
            or self.done != before.is_final
            or update.snapshot.raw_status != before.snapshot.raw_status
        ):
            self._announce()

    def fail(self, error: Exception) -> None:
        """End the following of this task for all consumers."""
        if not self.done:
            self.error, self.done = error, True
            self._announce()

    def _announce(self) -> None:
        self._version += 1
        for future in self._changed:
            _wake(future)
        self._changed.clear()

    async def changed(self, seen: int, deadline: float | None = None) -> int | None:
        """Wait until there is a newer version than `seen` and return it; None if `deadline` comes first."""
        if self._version != seen:
            return self._version
        self._own_loop.check()
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._changed[future] = None
        timer = None
        if deadline is not None:
            timer = self.clock.call_later(max(0.0, deadline - self.clock.now()), partial(_wake, future))
        try:
            await future
        finally:
            self._changed.pop(future, None)
            if timer is not None:
                timer.cancel()
        return None if self._version == seen else self._version


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class _Updates:
    """One consumer of a task's states; a class, so that leaving the loop early needs no clean-up."""

    def __init__(self, feed: TaskFeed, every: float | None) -> None:
        self._feed = feed
        self._every = every
        self._seen = 0
        self._next: float | None = None
        self._over = False

    def __aiter__(self) -> _Updates:
        return self

    async def __anext__(self) -> TaskUpdate:
        if self._over:
            raise StopAsyncIteration
        self._seen = await self._feed.changed(self._seen, self._next) or self._seen
        if self._feed.error is not None:
            self._over = True  # nothing comes after it, so one that asks again must not wait
            raise self._feed.error
        update = self._feed.latest
        if update is None:
            raise RuntimeError("a task changed without a state")
        self._over = update.is_final
        if self._every is None or update.is_final:
            return update
        self._next = self._feed.clock.now() + self._every
        return self._feed.as_of_now(update)


def unchanged(update: TaskUpdate) -> TaskUpdate:
    """Return an update as it is."""
    return update


def video_of(snapshot: TaskSnapshot, track: Track | None = None) -> Video:
    """Return the video that a snapshot names.

    Raises:
        TaskFailed: the task has failed.
        TaskEndUnknown: it has ended without a video and has not failed.
        VideoNotReady: there is no video yet.

    """
    if (error := failure_of(snapshot)) is not None:
        raise error
    said = snapshot.input.get("suno_id")
    return Video(
        task_id=snapshot.task_id,
        url=cast("str", snapshot.video_url),
        suno_id=track.suno_id if track else said if isinstance(said, str) else None,
        credits=snapshot.credits,
        took=snapshot.took,
        snapshot=snapshot,
    )


def failure_of(snapshot: TaskSnapshot) -> SunoVideoError | None:
    """Return why a task has no video; None if it has one."""
    if snapshot.is_failed:
        return TaskFailed(snapshot)
    if not snapshot.is_final:
        return VideoNotReady(snapshot)
    return TaskEndUnknown(snapshot) if snapshot.video_url is None else None
