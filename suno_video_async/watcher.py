"""One watcher for all live tasks: it asks about them within the limit and tells their consumers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from attrs import define, field

from suno_video_async.calls import Calls, Result
from suno_video_async.errors import (
    APIError,
    AuthenticationError,
    FeatureDisabledError,
    NotFoundError,
    SunoVideoError,
)
from suno_video_async.models import TaskSnapshot, TaskUpdate, VideoTaskId
from suno_video_async.pacing.clock import TICK
from suno_video_async.pacing.retrying import full_jitter
from suno_video_async.pacing.schedule import PollSchedule
from suno_video_async.protocol.verdicts import Verdict, verdict
from suno_video_async.protocol.wire import Operation
from suno_video_async.task import VideoTask
from suno_video_async.telemetry import tell

#: A task of our own may be "not found" for a moment after its creation: how many answers, over how many seconds,
#: it takes to believe it (an assumption of ours).
NOT_FOUND_ANSWERS, NOT_FOUND_SECONDS = 3, 60.0


@define(eq=False)
class _Followed:
    task: VideoTask
    since: float
    own: bool
    on_end: Callable[[], None] | None
    failures: int = 0
    missing: int = 0
    missing_since: float = 0.0


@define(eq=False)
class Watcher:
    """Follows tasks until they end; polls and callbacks meet in `observe`."""

    calls: Calls
    schedule: PollSchedule = field(factory=PollSchedule)
    _followed: dict[VideoTaskId, _Followed] = field(factory=dict[VideoTaskId, _Followed], init=False)
    _woken: asyncio.Event = field(factory=asyncio.Event, init=False)

    def __len__(self) -> int:
        return len(self._followed)

    def find(self, task_id: VideoTaskId) -> VideoTask | None:
        """Return the handle of a task that is being followed."""
        followed = self._followed.get(task_id)
        return followed.task if followed else None

    def follow(self, task: VideoTask, *, own: bool, on_end: Callable[[], None] | None = None) -> None:
        """Begin to follow a task.

        Args:
            task: its handle.
            own: whether this client created it just now: a 404 is then waited out.
            on_end: called once, when the task is over or can no longer be followed.

        """
        now = self.calls.clock.now()
        self._followed[task.id] = _Followed(task, now, own, on_end)
        self.schedule.add(task.id, now, first=None if own else 0.0)
        self._woken.set()

    def forget(self, task: VideoTask, error: SunoVideoError) -> None:
        """Stop following a task; its consumers get `error`."""
        followed = self._followed.get(task.id)
        if followed is not None and followed.task is task:
            self._end(followed, error)

    def stop(self, error: SunoVideoError) -> None:
        """Stop following all tasks; their consumers get `error`."""
        for followed in list(self._followed.values()):
            self._end(followed, error)

    async def run(self) -> None:
        """Ask about due tasks, for ever."""
        while True:
            await self._until_due()
            place = await self.calls.limiter.acquire()
            # Decided only now: whoever was due when the wait for the place began may be over by now.
            task_id = self.schedule.take(self.calls.clock.now())
            if task_id is None:
                self.calls.limiter.release(place, sent=False, answered=False)
            else:
                self._followed[task_id].task.requests += 1
                self.calls.ask(place, task_id, partial(self._answered, task_id))

    async def _until_due(self) -> None:
        clock = self.calls.clock
        while (due := self.schedule.next_due()) is None or due > clock.now():
            self._woken.clear()
            timer = None if due is None else clock.call_later(max(due - clock.now(), TICK), self._woken.set)
            try:
                await self._woken.wait()
            finally:
                if timer is not None:
                    timer.cancel()

    def _answered(self, task_id: VideoTaskId, result: Result[TaskSnapshot]) -> None:
        if result.value is not None:
            self.observe(result.value)
        elif result.error is not None:
            self._not_answered(task_id, result.error)

    def observe(self, snapshot: TaskSnapshot) -> None:
        """Take what the server says about a task, from whichever side it comes."""
        followed = self._followed.get(snapshot.task_id)
        if followed is None:
            return
        followed.failures = followed.missing = 0
        update = TaskUpdate(snapshot=snapshot, elapsed=self._elapsed(followed, snapshot))
        if snapshot.is_final:
            self._end(followed, None)
        else:
            self.schedule.asked(snapshot.task_id, self.calls.clock.now())
            self._woken.set()
        followed.task.publish(update)
        if self.calls.hooks:
            tell(self.calls.hooks, lambda hook: hook.on_update(update))

    def _elapsed(self, followed: _Followed, snapshot: TaskSnapshot) -> float:
        if snapshot.is_final and snapshot.duration_s is not None:
            return snapshot.duration_s
        if not followed.own and snapshot.create_at is not None:
            return max(0.0, self.calls.clock.time() - snapshot.create_at)
        return self.calls.clock.now() - followed.since

    def _not_answered(self, task_id: VideoTaskId, error: SunoVideoError) -> None:
        """Ask again later where the failure is temporary; end the following where it is not."""
        followed = self._followed.get(task_id)
        if followed is None:
            return
        self._woken.set()
        if isinstance(error, AuthenticationError | FeatureDisabledError):
            self.stop(error)
        elif isinstance(error, NotFoundError) and self._still_unborn(followed):
            self.schedule.ask_again(task_id, self.calls.clock.now() + NOT_FOUND_SECONDS / NOT_FOUND_ANSWERS)
        elif isinstance(error, APIError) and verdict(Operation.TASK_INFO, error) is Verdict.STOP:
            self._end(followed, error)
        else:
            followed.failures += 1
            wait = full_jitter(self.calls.policy, error, followed.failures, self.calls.rng)
            self.schedule.ask_again(task_id, self.calls.clock.now() + wait)
            self.calls.pause(Operation.TASK_INFO, error, wait)
            self.calls.tell_retry(Operation.TASK_INFO, error, followed.failures, wait)

    def _still_unborn(self, followed: _Followed) -> bool:
        """Whether a 404 may still be the moment right after the creation."""
        now = self.calls.clock.now()
        if followed.missing == 0:
            followed.missing_since = now
        followed.missing += 1
        believed = followed.missing >= NOT_FOUND_ANSWERS and now - followed.missing_since >= NOT_FOUND_SECONDS
        return followed.own and not believed

    def _end(self, followed: _Followed, error: SunoVideoError | None) -> None:
        self._followed.pop(followed.task.id, None)
        self.schedule.remove(followed.task.id)
        if error is not None:
            followed.task.fail(error)
        if followed.on_end is not None:
            followed.on_end()
