"""One API call, whole: a place in the window, one physical send, the verdict, the backoff.

A physical send runs in a task of its own: a cancelled caller stops waiting, but never cuts the send short. So a
place in the window is always held until the server is done with its request, and the answer of a submission
always reaches whoever keeps the books.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from attrs import define, field, frozen

from suno_video_async.errors import (
    APIError,
    ClientClosedError,
    MaintenanceError,
    MalformedResponseError,
    RateLimitError,
    ServerError,
    SubmissionUnknown,
    SunoVideoError,
    TransportError,
)
from suno_video_async.models import RetryPolicy, TaskSnapshot, VideoRequest, VideoTaskId
from suno_video_async.pacing.clock import Clock
from suno_video_async.pacing.limiter import Lane, Limiter, Place
from suno_video_async.pacing.retrying import Backoff, full_jitter, retry_after_failure
from suno_video_async.protocol import wire
from suno_video_async.protocol.verdicts import Verdict, verdict
from suno_video_async.protocol.wire import Answer, Operation, Request
from suno_video_async.telemetry import Hooks, PauseEvent, RequestEvent, RetryEvent, tell
from suno_video_async.transport import Transport

T = TypeVar("T")


@frozen
class Result(Generic[T]):
    """How a send ended: with an error, or with a value."""

    value: T | None
    error: SunoVideoError | None


@define
class CallStatistics:
    """What the calls of a client came to, so far."""

    requests: int = 0
    refused_429: int = 0
    resent_after_500: int = 0


@define(eq=False, kw_only=True)
class Calls:
    """Carries out API calls within the limit.

    Attributes:
        in_flight: says how many tasks are known to be running; a 429 on CreateTask may then be their cap.

    """

    transport: Transport
    limiter: Limiter
    clock: Clock
    policy: RetryPolicy
    hooks: Sequence[Hooks] = ()
    rng: random.Random = field(factory=random.Random)
    in_flight: Callable[[], int] = lambda: 0
    statistics: CallStatistics = field(factory=CallStatistics)
    closed: bool = False
    _creating: set[asyncio.Task[None]] = field(factory=set[asyncio.Task[None]], init=False)
    _reading: set[asyncio.Task[None]] = field(factory=set[asyncio.Task[None]], init=False)

    async def read(self, request: Request, decode: Callable[[Answer, Request], T]) -> T:
        """Send a call that costs nothing, again where its failure is temporary."""
        try:
            return await self._attempt(request, decode)
        except SunoVideoError as error:
            if verdict(request.operation, error) is not Verdict.RETRY:
                raise
            first = error
        return await self._go_on(
            first,
            request.operation,
            lambda: self._attempt(request, decode),
            lambda error: verdict(request.operation, error) is Verdict.RETRY,
        )

    def ask(self, place: Place, task_id: VideoTaskId, answered: Callable[[Result[TaskSnapshot]], None]) -> None:
        """Send one TaskInfo with a place that is held already; `answered` is told how it ended, once."""
        self._launch(place, wire.task_info(task_id), wire.read_snapshot, answered)

    async def create(
        self,
        submission: VideoRequest,
        *,
        accepted: Callable[[VideoTaskId], None],
        refused: Callable[[APIError], None],
        sending: Callable[[bool], None],
        wanted: Callable[[], bool],
    ) -> VideoTaskId:
        """Submit, by the rule of paying once.

        Args:
            submission: what to buy.
            accepted: told the new task's id in the send's own task, even when nobody waits any more.
            refused: told of each refusal likewise, before anybody else gets a place in the window.
            sending: told True before each physical send and False after it.
            wanted: asked before a failed submission is sent again.

        Raises:
            SubmissionUnknown: it was sent, and whether it was accepted cannot be known.
            APIError: it was refused.
            TransportError: it was not sent.

        """
        request = wire.create_task(submission)
        since = self.clock.time()
        last: SunoVideoError | None = None

        def decode(answer: Answer, request: Request) -> VideoTaskId:
            try:
                task_id = wire.read_created(answer, request)
            except APIError as error:
                refused(error)
                raise
            accepted(task_id)
            return task_id

        async def attempt() -> VideoTaskId:
            nonlocal since, last
            place = await self.limiter.acquire(Lane.CREATE)
            if self.closed or not wanted():
                self.limiter.release(place, sent=False, answered=False)
                raise ClientClosedError("the submission was given up before it was sent")
            since = self.clock.time()
            self.statistics.resent_after_500 += isinstance(last, ServerError)
            sending(True)
            try:
                return _value(await self._start(place, request, decode))
            except SunoVideoError as error:
                last = error
                raise
            finally:
                sending(False)

        def retryable(error: SunoVideoError) -> bool:
            return wanted() and verdict(Operation.CREATE_TASK, error, strict=self.policy.strict) is Verdict.RETRY

        try:
            try:
                return await attempt()
            except SunoVideoError as error:
                if not retryable(error):
                    raise
                first = error
            return await self._go_on(first, Operation.CREATE_TASK, attempt, retryable)
        except SunoVideoError as error:
            if verdict(Operation.CREATE_TASK, error, strict=self.policy.strict) is not Verdict.UNKNOWN:
                raise
            kept = error.task_id if isinstance(error, MalformedResponseError) else None
            raise SubmissionUnknown(submission.track, since, str(error), task_id=kept) from error

    async def aclose(self) -> None:
        """Refuse further calls, wait for the submissions in the air and cut the reads short."""
        self.closed = True
        while self._creating:
            await asyncio.wait(self._creating)
        for task in self._reading:
            task.cancel()
        while self._reading:
            await asyncio.wait(self._reading)

    async def _attempt(self, request: Request, decode: Callable[[Answer, Request], T]) -> T:
        if self.closed:
            raise ClientClosedError(f"{request.operation}: the client is closed")
        place = await self.limiter.acquire()
        return _value(await self._start(place, request, decode))

    def _start(
        self, place: Place, request: Request, decode: Callable[[Answer, Request], T]
    ) -> asyncio.Future[Result[T]]:
        """Begin a send with a place that is held already."""
        # Its result is a `Result` and never an exception: a future that nobody awaits would complain about one.
        over: asyncio.Future[Result[T]] = asyncio.get_running_loop().create_future()
        self._launch(place, request, decode, lambda result: None if over.done() else over.set_result(result))
        return over

    def _launch(
        self,
        place: Place,
        request: Request,
        decode: Callable[[Answer, Request], T],
        over: Callable[[Result[T]], None],
    ) -> None:
        sending = self._creating if request.operation is Operation.CREATE_TASK else self._reading
        task = asyncio.get_running_loop().create_task(self._send(place, request, decode, over))
        sending.add(task)
        task.add_done_callback(sending.discard)

    async def _send(
        self,
        place: Place,
        request: Request,
        decode: Callable[[Answer, Request], T],
        over: Callable[[Result[T]], None],
    ) -> None:
        """Send once, whatever becomes of the caller, and give the place back at the end."""
        started = self.clock.now() if self.hooks else 0.0
        self.statistics.requests += 1
        sent = answered = True
        error: SunoVideoError | None = None
        value: T | None = None
        try:
            value = decode(await self.transport.send(request), request)
        except TransportError as raised:
            sent, answered = raised.sent, isinstance(raised, MalformedResponseError)
            error = raised
        except SunoVideoError as raised:
            self._note_refusal(request.operation, raised)
            error = raised
        except BaseException:
            answered, cut = False, f"{request.operation}: cut short"
            error = ClientClosedError(f"{cut} by the end of the client") if self.closed else TransportError(cut)
            raise
        finally:
            self.limiter.release(place, sent=sent, answered=answered)
            over(Result(value, error))
        if self.hooks:
            event = RequestEvent(
                operation=request.operation.value, seconds=self.clock.now() - started, error=error
            )
            tell(self.hooks, lambda hook: hook.on_request(event))

    def _note_refusal(self, operation: Operation, error: SunoVideoError) -> None:
        """Hold up the others before the place of a refused request is free for one of them."""
        if isinstance(error, RateLimitError):
            self.statistics.refused_429 += 1
        self._pause(operation, error, full_jitter(self.policy, error, 1, self.rng))

    def _pause(self, operation: Operation, error: SunoVideoError, seconds: float) -> None:
        if not isinstance(error, RateLimitError | MaintenanceError):
            return
        at_cap = operation is Operation.CREATE_TASK and isinstance(error, RateLimitError) and self.in_flight() > 0
        lane = Lane.CREATE if at_cap else Lane.ALL
        self.limiter.pause(lane, seconds)
        if self.hooks:
            event = PauseEvent(lane=lane.name.lower(), seconds=seconds, error=error)
            tell(self.hooks, lambda hook: hook.on_pause(event))

    async def _go_on(
        self,
        first: SunoVideoError,
        operation: Operation,
        attempt: Callable[[], Awaitable[T]],
        retryable: Callable[[SunoVideoError], bool],
    ) -> T:
        def on_backoff(backoff: Backoff) -> None:
            self._pause(operation, backoff.error, backoff.wait)
            self.tell_retry(operation, backoff.error, backoff.attempt, backoff.wait)

        return await retry_after_failure(
            first,
            attempt,
            policy=self.policy,
            clock=self.clock,
            rng=self.rng,
            retryable=retryable,
            on_backoff=on_backoff,
        )

    def tell_retry(self, operation: Operation, error: SunoVideoError, attempt: int, wait: float) -> None:
        """Tell the hooks that a call will be tried again."""
        if self.hooks:
            event = RetryEvent(operation=operation.value, attempt=attempt, wait=wait, error=error)
            tell(self.hooks, lambda hook: hook.on_retry(event))


def _value(result: Result[T]) -> T:
    if result.error is not None:
        raise result.error
    return result.value  # type: ignore[return-value]  # no error means that there is a value
