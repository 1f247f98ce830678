"""Polls all unfinished tasks of a client, and gives places in the rate window to submissions.

It has one waiter in the limiter's queue and decides only once it has the place. So another call, such as
`client.status`, waits behind one request of the poller, not behind a whole catalog.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from functools import lru_cache, partial
from typing import cast
from urllib.parse import urlsplit

import anyio
from attrs import define, evolve, field

from suno_video_async.api.calls import Calls, Result
from suno_video_async.api.retry import full_jitter
from suno_video_async.clock import TICK
from suno_video_async.errors import (
    APIError,
    AuthenticationError,
    FeatureDisabledError,
    NotFoundError,
    ServiceUnreachable,
    SubmissionUnknown,
    SunoVideoError,
    VideoNotReady,
)
from suno_video_async.hooks import SpendEvent, Stage
from suno_video_async.models import TaskSnapshot, TaskUpdate, Track, VideoTaskId
from suno_video_async.observability.log import fields, logger
from suno_video_async.polling.age import age_of
from suno_video_async.polling.schedule import HINTED_AGAIN, Backlog, Decision, Poll, PollSchedule, Submit, Wait
from suno_video_async.polling.submit_queue import Granted, SubmitQueue
from suno_video_async.protocol.codec import Operation
from suno_video_async.protocol.origin import NOT_FOUND_AGAIN, Absence, disagreement
from suno_video_async.protocol.verdicts import Verdict, verdict
from suno_video_async.ratelimit.brake import Phase
from suno_video_async.ratelimit.limiter import Lane, Place
from suno_video_async.task import TaskFeed, VideoTask, failure_of, unchanged

#: Seconds to wait for the video of a task that has ended well. After them its place in flight is free, and a bulk
#: task is left to a later run.
VIDEO_WAIT = 600.0
#: The least and the most seconds between two polls meanwhile; in between, half of the time waited so far.
VIDEO_AGAIN = (3.0, 30.0)
#: Seconds that a place is kept for the next submission while the outage brake waits for the answer to one that was
#: sent. Without it a burst of places would go to polls that are too early: 1.051 of the bound in place of 1.032.
ANSWERED = 1.0


@define(eq=False)
class _Followed:
    task: VideoTask
    feed: TaskFeed
    since: float
    own: bool
    new: bool
    bulk: bool
    on_end: Callable[[], None] | None
    stage: Stage
    progress: float | None = None
    failures: int = 0
    absence: Absence = field(factory=Absence)
    hinted_at: float = -math.inf
    awaited_since: float | None = None
    #: Its age when it was first followed; None as long as nothing tells it. Asked once: clocks may be set.
    age_before: float | None = None

    def release(self) -> None:
        """Call `on_end`, once."""
        on_end, self.on_end = self.on_end, None
        if on_end is not None:
            on_end()

    def age(self, now: float) -> float:
        return now - self.since + (self.age_before or 0.0)


@define(eq=False)
class Poller:
    """Follows tasks until they end; answers to polls and trusted callbacks both go through `observe`.

    Attributes:
        calls: sends the polls.
        schedule: decides what a place is used for.
        blocked: returns how many submissions wait because `max_in_flight` videos are unfinished.
        unread: the rows that conversions have not read yet, as far as they can be counted.
        finds_cap: whether submissions keep within the cap on running tasks that the limiter has found.

    """

    calls: Calls
    schedule: PollSchedule = field(factory=PollSchedule)
    blocked: Callable[[], int] = lambda: 0
    finds_cap: bool = False
    unread: int = field(default=0, init=False)
    _submit_queue: SubmitQueue = field(init=False)
    _followed: dict[VideoTaskId, _Followed] = field(factory=dict[VideoTaskId, _Followed], init=False)
    _hosts: set[str | None] = field(factory=set[str | None], init=False)
    _stop_reported: bool = field(default=False, init=False)
    #: Since when the outage brake has let no submission begin.
    _barred_since: float | None = field(default=None, init=False)
    _wake: asyncio.Event = field(factory=asyncio.Event, init=False)
    #: Set when a submission may have to be sent apart from the polls.
    _apart: asyncio.Event = field(factory=asyncio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self._submit_queue = SubmitQueue(self.calls.limiter)

    def __len__(self) -> int:
        return len(self._followed)

    def find(self, task_id: VideoTaskId) -> VideoTask | None:
        """Return the handle of a followed task, if it is followed."""
        followed = self._followed.get(task_id)
        return followed.task if followed else None

    async def submit_place(self, *, bulk: bool) -> Granted:
        """Wait for a place for one submission.

        Args:
            bulk: whether it belongs to a catalog; other submissions go first.

        Raises:
            ServiceUnreachable: the API stayed out of reach for too long.
            SunoVideoError: the rate limiter is broken and grants no places.

        """
        self._wake_both()  # the poller runs only after the waiter is queued
        return await self._submit_queue.acquire(bulk=bulk, now=self.calls.clock.now())

    def follow(
        self,
        task: VideoTask,
        feed: TaskFeed,
        *,
        own: bool,
        new: bool = False,
        bulk: bool = False,
        on_end: Callable[[], None] | None = None,
    ) -> None:
        """Begin to follow a task.

        Args:
            task: its handle.
            feed: what goes to its consumers.
            own: whether it certainly belongs to this account: then a 404 soon after its creation is retried.
            new: whether this client has just created it; the age of other tasks is unknown until they are polled.
            bulk: whether it belongs to a catalog, so that no caller waits for it alone.
            on_end: called once, when the task has ended, can no longer be followed, or has been without its video
                for `VIDEO_WAIT`.

        """
        now = self.calls.clock.now()
        stage = self.calls.reporter.begin("follow", track=task.track, task_id=task.id)
        before = 0.0 if new else None
        followed = _Followed(task, feed, now, own, new, bulk, on_end, stage, age_before=before)
        self._followed[task.id] = followed
        feed.as_of_now = partial(self._as_of_now, followed)
        self.schedule.add(task.id, now, age=0.0 if new else None, interactive=not bulk)
        self._wake.set()

    def take_over(
        self, task_id: VideoTaskId, track: Track, *, sends: int, on_end: Callable[[], None]
    ) -> VideoTask | None:
        """Return a followed task as this client's own from now on; None if it was before.

        A caller may have attached it by its callback, which came before the answer of its submission.
        """
        followed = self._followed[task_id]
        if followed.own:
            return None
        followed.own, followed.new, followed.on_end, followed.task.track = True, True, on_end, track
        followed.feed.requests += sends
        self.calls.reporter.end(followed.stage)
        followed.stage = self.calls.reporter.begin("follow", track=track, task_id=task_id)  # of the submission
        return followed.task

    def hint(self, task_id: VideoTaskId) -> None:
        """Poll a task soon: a callback says that it has ended."""
        followed, now = self._followed.get(task_id), self.calls.clock.now()
        if followed is not None and now - followed.hinted_at >= HINTED_AGAIN:
            followed.hinted_at = now
            self.schedule.hint(task_id, now)
            self._wake.set()

    def believe(self, snapshot: TaskSnapshot) -> bool:
        """Accept a final state from a callback, if its media are on a host seen in TaskInfo; return whether."""
        url, followed = snapshot.video_url, self._followed.get(snapshot.task_id)
        if not snapshot.is_failed and (not snapshot.is_final or url is None or _host(url) not in self._hosts):
            return False
        if followed is not None and self._other_origin(followed, snapshot) is not None:
            return False
        self.schedule.hint(snapshot.task_id, self.calls.clock.now())
        self.observe(snapshot)
        return True

    def forget(self, task: VideoTask, error: SunoVideoError) -> None:
        """Stop following a task; its consumers get `error`."""
        followed = self._followed.get(task.id)
        if followed is not None and followed.task is task:
            self._end(followed, error)

    def stop(self, error: SunoVideoError) -> None:
        """Stop following all tasks; their consumers get `error`."""
        for followed in list(self._followed.values()):
            self._end(followed, error)

    def fail_submissions(self, error: SunoVideoError) -> None:
        """Give `error` to all submissions that wait for a place: there will be none for long."""
        self._submit_queue.fail(error)

    async def run(self) -> None:
        """Use places until cancelled."""
        listeners, wake = self.calls.limiter.brake.listeners, self._wake_both
        listeners[wake] = None
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._submit_apart)
                while True:
                    decision = await self._until_useful()
                    if (place := await self._place(Lane.READ)) is not None:
                        # A wait for the place may have changed what is worth a request.
                        self._use(place, decision if place.at_once else self._decision())
        finally:
            listeners.pop(wake, None)

    def _use(self, place: Place, decision: Decision) -> None:
        now = self.calls.clock.now()
        if isinstance(decision, Poll):
            task_id = decision.task_id
            self.schedule.polling(task_id, now)
            followed = self._followed[task_id]
            followed.feed.requests += 1
            answered = partial(self._on_answer, task_id)
            self.calls.ask(place, task_id, answered, resend=followed.failures, stage=followed.stage)
        elif isinstance(decision, Submit) and self._grant(place):
            self.schedule.submitting()
        else:
            self.calls.limiter.release(place, sent=False, answered=False)

    def _grant(self, place: Place) -> bool:
        """Give a place to the next submission, where the outage brake lets one begin."""
        brake = self.calls.limiter.brake
        if self._is_at_cap() or (permit := brake.begin()) is None:
            return False
        if self._submit_queue.grant(place, permit):
            return True
        brake.give_back(permit)
        return False

    def _is_at_cap(self) -> bool:
        """Whether as many tasks are running, as far as known, as the server lets run."""
        limiter = self.calls.limiter
        bound = limiter.cap.bound(self.calls.clock.now()) if self.finds_cap else None
        return bound is not None and len(self._followed) + limiter.brake.sending >= bound

    def _decision(self) -> Decision:
        brake = self.calls.limiter.brake
        # They may have been found only now.
        self.schedule.rate, self.schedule.read_rate = self.calls.limiter.rate, self.calls.limiter.read_rate
        if self._submit_queue and (brake.exhausted or brake.phase is not Phase.RELEASED):
            self._hold_submissions()
        ready, blocked, now = len(self._submit_queue), self.blocked(), self.calls.clock.now()
        if ready and self._is_at_cap():
            ready, blocked = 0, blocked + ready
        if self._reads_apart:
            return self.schedule.decide(now, Backlog(ready, blocked, self.unread))
        if not ready or brake.lets_begin:
            self._barred_since = None
        elif self._barred_since is None:
            self._barred_since = now
        barred = self._barred_since is not None
        # The answer that lets the next submission begin is there in a moment: a poll would only take its place.
        until = (self._barred_since or now) + ANSWERED if barred and brake.phase is Phase.RELEASED else now
        if barred and now >= until:
            ready, blocked = 0, blocked + ready  # the catalog has not ended: they only wait
        if ready and self.calls.limiter.holds(Lane.CREATE):
            self._apart.set()
            ready = 0
        decision = self.schedule.decide(now, Backlog(ready, blocked, self.unread))
        return Wait(until) if barred and isinstance(decision, Submit) else decision

    def _hold_submissions(self) -> None:
        """While the API is out of reach: ask whether it is back, and fail the submissions that waited too long."""
        brake, policy, now = self.calls.limiter.brake, self.calls.policy, self.calls.clock.now()
        if brake.phase is Phase.HELD:
            self.calls.ask_whether_back()
        last = f"; last: {brake.reason}" if brake.reason else ""
        if brake.exhausted:
            error = ServiceUnreachable(f"the API is out of reach: {brake.unknown} unknown outcomes in a row{last}")
            self._submit_queue.expire(error, bulk=True, before=math.inf)
        for bulk, longest in ((False, policy.horizon), (True, policy.maintenance_horizon)):
            error = ServiceUnreachable(f"the API is out of reach: it did not come back within {longest:g} s{last}")
            self._submit_queue.expire(error, bulk=bulk, before=now - longest)

    async def _until_useful(self) -> Decision:
        """Return what a place is to be used for, once it is worth one."""
        clock = self.calls.clock
        while isinstance(decision := self._decision(), Wait):
            self._wake.clear()
            timer = None
            if decision.until is not None:
                timer = clock.call_later(max(decision.until - clock.now(), TICK), self._wake.set)
            try:
                await self._wake.wait()
            finally:
                if timer is not None:
                    timer.cancel()
        return decision

    @property
    def _reads_apart(self) -> bool:
        """Whether submissions and polls share no window, so that neither waits for the other."""
        return self.schedule.shared_rate is None

    def _wake_both(self) -> None:
        self._wake.set()
        if self._reads_apart:
            self._apart.set()

    async def _submit_apart(self) -> None:
        """Send submissions beside the polls: always if they share no window, or while CreateTask is paused.

        The limiter decides when the next may go.
        """
        brake = self.calls.limiter.brake
        while True:
            await self._apart.wait()
            self._apart.clear()
            while self._submit_queue and brake.lets_begin and not self._is_at_cap():
                if (place := await self._place(Lane.CREATE)) is not None:
                    self._use(place, Submit())
                self._wake.set()
                if not self._reads_apart:
                    break

    async def _place(self, lane: Lane) -> Place | None:
        """Wait for a place; return None if the limiter is broken, after failing all that waits for it."""
        try:
            return await self.calls.limiter.acquire(lane)
        except SunoVideoError as error:
            self._submit_queue.fail(error)
            self.stop(error)
            return None

    def _on_answer(self, task_id: VideoTaskId, result: Result[TaskSnapshot]) -> None:
        try:
            self._process(task_id, result)
        except Exception as defect:  # it must not leave the task's consumers waiting for ever
            logger.exception("following task %s broke off", task_id, extra=fields("defect", task_id=task_id))
            error = SunoVideoError(f"following task {task_id} broke off: {defect!r}")
            error.__cause__ = defect
            if (followed := self._followed.get(task_id)) is not None:
                self._end(followed, error)

    def _process(self, task_id: VideoTaskId, result: Result[TaskSnapshot]) -> None:
        if result.error is not None:
            self._on_error(task_id, result.error)
            return
        snapshot = cast("TaskSnapshot", result.value)  # one of the two is set
        if (url := snapshot.video_url) is not None:
            self._hosts.add(_host(url))
        self.observe(snapshot)

    def observe(self, snapshot: TaskSnapshot) -> None:
        """Process a snapshot of a task, from a poll or a callback."""
        followed = self._followed.get(snapshot.task_id)
        if followed is None:
            return
        followed.failures = followed.absence.answers = 0
        now = self.calls.clock.now()
        if (error := self._other_origin(followed, snapshot)) is not None:
            self._end(followed, error)
            return
        elapsed = self._elapsed(followed, snapshot)
        if snapshot.is_final:
            flowed = self.schedule.called_back
            self.schedule.ended(snapshot.task_id, now, snapshot.took)
            if flowed and not self.schedule.called_back:
                self._warn_that_callbacks_stopped()
            update = TaskUpdate(snapshot=snapshot, elapsed=elapsed, progress=1.0, eta=0.0)
            self._remove(followed)
        else:
            if not snapshot.awaits_video:
                age = None if followed.age_before is None else elapsed
                self.schedule.unfinished(snapshot.task_id, now, age=age)
            update = self._with_estimate(followed, TaskUpdate(snapshot=snapshot, elapsed=elapsed))
            self._wake.set()
        followed.feed.publish(update)
        self._emit(followed, update)
        if snapshot.awaits_video:
            self._await_video(followed, snapshot, now)

    def _await_video(self, followed: _Followed, snapshot: TaskSnapshot, now: float) -> None:
        """Ask again for a video that is not there yet; after `VIDEO_WAIT` its place in flight is free."""
        if followed.awaited_since is None:
            followed.awaited_since = now
        awaited, (least, most) = now - followed.awaited_since, VIDEO_AGAIN
        if awaited >= VIDEO_WAIT:
            followed.release()
            if followed.bulk:
                self._end(followed, VideoNotReady(snapshot))
                return
        self.schedule.poll_at(snapshot.task_id, now, now + min(max(least, awaited / 2), most))

    def _other_origin(self, followed: _Followed, snapshot: TaskSnapshot) -> SubmissionUnknown | None:
        """Return the error where a task is not what the submission of its track bought."""
        task, clock = followed.task, self.calls.clock
        if not followed.own or task.track is None:
            return None
        if (problem := disagreement(snapshot, task.track)) is None:
            return None
        since = clock.time() - (clock.now() - followed.since)
        return SubmissionUnknown(task.track, since, problem, task_id=task.id)

    def _emit(self, followed: _Followed, update: TaskUpdate) -> None:
        reporter, snapshot, task = self.calls.reporter, update.snapshot, followed.task
        if reporter.hooks:
            reporter.emit(lambda hook: hook.on_update(update))
            if update.is_final and (cost := snapshot.credits) is not None:
                event = SpendEvent(task_id=task.id, track=task.track, credits=cost, new=followed.new)
                reporter.emit(lambda hook: hook.on_spend(event))
        if update.is_final:
            reporter.end(followed.stage, failure_of(snapshot))

    def _warn_that_callbacks_stopped(self) -> None:
        if not self._stop_reported:
            self._stop_reported = True
            logger.warning(
                "callbacks have stopped coming: all tasks are polled again, as without callbacks; check that the"
                " tunnel or proxy of the callback URL still leads here",
                extra=fields("callbacks_stopped"),
            )

    def _with_estimate(self, followed: _Followed, update: TaskUpdate) -> TaskUpdate:
        """Add the estimates of a running task; progress never decreases."""
        left = self.schedule.durations.remaining(update.elapsed)
        if left is None:
            return update
        followed.progress = max(left.progress, followed.progress or 0.0)
        return evolve(update, progress=followed.progress, eta=left.eta)

    def _as_of_now(self, followed: _Followed, update: TaskUpdate) -> TaskUpdate:
        """Bring an update of a running task up to the present."""
        return self._with_estimate(followed, evolve(update, elapsed=followed.age(self.calls.clock.now())))

    def _elapsed(self, followed: _Followed, snapshot: TaskSnapshot) -> float:
        """Return the seconds since the submission, as far as they are known."""
        if snapshot.is_final and snapshot.took is not None:
            return snapshot.took
        clock = self.calls.clock
        now = clock.now()
        if followed.age_before is None and (age := age_of(snapshot, clock.time())) is not None:
            followed.age_before = max(0.0, age - (now - followed.since))
        return followed.age(now)

    def _on_error(self, task_id: VideoTaskId, error: SunoVideoError) -> None:
        """Poll again later if the failure is temporary; otherwise stop following the task."""
        followed = self._followed.get(task_id)
        if followed is None:
            return
        self._wake.set()
        if isinstance(error, AuthenticationError | FeatureDisabledError):
            self.stop(error)
        elif isinstance(error, NotFoundError) and self._may_still_appear(followed):
            self._poll_later(task_id, NOT_FOUND_AGAIN)
            self.calls.emit_retry(Operation.TASK_INFO, error, followed.absence.answers, NOT_FOUND_AGAIN)
        elif isinstance(error, APIError) and verdict(Operation.TASK_INFO, error) is Verdict.STOP:
            self._end(followed, error)
        else:
            followed.failures += 1
            wait = full_jitter(self.calls.policy, error, followed.failures, self.calls.rng)
            self._poll_later(task_id, wait)
            self.calls.pause(Operation.TASK_INFO, error, wait)
            self.calls.emit_retry(Operation.TASK_INFO, error, followed.failures, wait)

    def _poll_later(self, task_id: VideoTaskId, wait: float) -> None:
        now = self.calls.clock.now()
        self.schedule.poll_later(task_id, now, now + wait)

    def _may_still_appear(self, followed: _Followed) -> bool:
        """Whether a 404 may mean that the task was created only just now."""
        believed = followed.absence.is_believed(self.calls.clock.now())
        return followed.own and not believed

    def _end(self, followed: _Followed, error: SunoVideoError) -> None:
        self._remove(followed)
        followed.feed.fail(error)
        self.calls.reporter.end(followed.stage, error)

    def _remove(self, followed: _Followed) -> None:
        self._followed.pop(followed.task.id, None)
        self.schedule.remove(followed.task.id)
        followed.feed.as_of_now = unchanged
        followed.release()
        if self.finds_cap:
            self._wake_both()


def _host(url: str) -> str | None:
    return _host_of(url.partition("://")[2].partition("/")[0])


@lru_cache(maxsize=64)
def _host_of(authority: str) -> str | None:
    """Return the host of a URL; most videos of a service have the same."""
    return urlsplit(f"//{authority}").hostname
