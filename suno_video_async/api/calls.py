"""One API call, whole: a place in the window, one physical send, the verdict, the backoff.

A place in a window is held until the server is done with its request. So a read that takes one runs in a task of
its own: a cancelled caller stops waiting, but never cuts the send short. Where there is no window, nothing depends
on it, and a read runs in the task of its caller. A CreateTask runs in the task of its submission, which is not
cancelled meanwhile: the answer of a submission always reaches the ledger.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
from collections.abc import Awaitable, Callable, Coroutine
from itertools import count
from typing import Any, Generic, TypeVar, cast

from attrs import define, field

from suno_video_async.api.closing import Closing
from suno_video_async.api.retry import Backoff, full_jitter, is_closed, retry_after_failure
from suno_video_async.api.transport import Transport
from suno_video_async.clock import Clock
from suno_video_async.errors import (
    AlreadyBoughtError,
    APIError,
    APITimeoutError,
    BoughtElsewhereError,
    BudgetExceeded,
    ClientClosedError,
    LedgerError,
    LedgerLost,
    MaintenanceError,
    MalformedResponseError,
    RateLimitError,
    SunoVideoError,
    TransportError,
)
from suno_video_async.hooks import PauseEvent, RetryEvent, Stage
from suno_video_async.ledger.journal import SubmissionJournal
from suno_video_async.models import LimitsFound, RetryPolicy, TaskSnapshot, VideoTaskId
from suno_video_async.observability.log import fields, logger
from suno_video_async.observability.reporter import Reporter, RequestTrace
from suno_video_async.protocol import codec
from suno_video_async.protocol.codec import Answer, Operation, Request
from suno_video_async.protocol.verdicts import Verdict, verdict
from suno_video_async.ratelimit.brake import Pass, Phase
from suno_video_async.ratelimit.limiter import Lane, Place, RateLimiter

T = TypeVar("T")

#: Seconds between the questions whether the API is back, at first and at most.
FIRST_PROBE, LAST_PROBE = 1.0, 30.0
#: Seconds to try to write down what a submission came to, while the disk is full or another program has the ledger
#: locked: what is not written down is unknown to the next run.
RECORDING = 120.0


async def nothing_to_wait_for() -> None:
    """Return at once."""


@define  # frozen ones take four times as long to make, and this is made for every request
class Result(Generic[T]):
    """How a send ended: with an error, or with a value."""

    value: T | None
    error: SunoVideoError | None

    def unwrap(self) -> T:
        """Return the value, or raise the error."""
        if self.error is not None:
            raise self.error
        return cast("T", self.value)  # no error means that there is a value


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
        reporter: notifies the hooks.
        base_url: where the calls go, for events.
        confirm: waits until it is certain that the ledgers are still this process's; it raises `LedgerLost`.
        in_flight: says how many tasks are known to be running; a 429 on CreateTask may then be their cap.
        on_closed: called when submissions are held up for longer than this library waits, with the reason.

    """

    transport: Transport
    limiter: RateLimiter
    clock: Clock
    policy: RetryPolicy
    reporter: Reporter
    base_url: str
    rng: random.Random = field(factory=random.Random)
    confirm: Callable[[], Awaitable[None]] = nothing_to_wait_for
    in_flight: Callable[[], int] = lambda: 0
    on_closed: Callable[[APIError], None] = lambda _: None
    statistics: CallStatistics = field(factory=CallStatistics)
    closed: bool = False
    closing: Closing = field(init=False)
    _creating: int = field(default=0, init=False)
    #: The tasks that requests are sent in, their own or their callers', and whether they have been cut short.
    _sending: set[asyncio.Task[Any]] = field(factory=set["asyncio.Task[Any]"], init=False)
    _cut: bool = field(default=False, init=False)
    #: Set when a read or a CreateTask has ended.
    _ended: asyncio.Event = field(factory=asyncio.Event, init=False)
    _has_window: bool = field(init=False)
    _probe: asyncio.Task[None] | None = field(default=None, init=False)
    #: The limits that were reported last.
    _limits: LimitsFound = field(factory=LimitsFound, init=False)

    def __attrs_post_init__(self) -> None:
        self.closing = Closing(self.clock)
        self._has_window = self.limiter.rate is not None or self.limiter.read_rate is not None

    async def read(self, request: Request, decode: Callable[[Answer, Request], T]) -> T:
        """Send a call that costs nothing, again if its failure is temporary."""
        try:
            return await self._attempt(request, decode)
        except SunoVideoError as error:
            if verdict(request.operation, error) is not Verdict.RETRY:
                raise
            first = error
        resends = count(1)
        return await self.retry(
            first,
            request.operation,
            lambda: self._attempt(request, decode, next(resends)),
            lambda error: verdict(request.operation, error) is Verdict.RETRY,
        )

    def ask(
        self,
        place: Place,
        task_id: VideoTaskId,
        answered: Callable[[Result[TaskSnapshot]], None],
        *,
        resend: int = 0,
        stage: Stage | None = None,
    ) -> None:
        """Send one TaskInfo with a place that is held already; `answered` is called once, with its result.

        Args:
            place: the place.
            task_id: which task to ask about.
            answered: called with the result.
            resend: how many times in a row this was asked in vain.
            stage: what it is a part of.

        """
        if self.closed:
            self.limiter.release(place, sent=False, answered=False)
            return
        request = codec.task_info(task_id)
        trace = self.reporter.trace(resend, stage=stage)
        self._launch(self._send(place, request, codec.read_snapshot, answered, trace))

    async def probe(self) -> float:
        """Ask once for the balance, which costs nothing: whether the API is there.

        Raises:
            SunoVideoError: how it was not; an `APIError` is an answer of the API.

        """
        return await self._attempt(codec.balance(), codec.read_balance)

    def ask_whether_back(self) -> None:
        """Ask free questions until the API is back, which releases the brake; one series at a time."""
        if self._probe is None or self._probe.done():
            self._probe = asyncio.get_running_loop().create_task(self._probe_until_back())

    async def _probe_until_back(self) -> None:
        """Ask until a read has brought an envelope: this one, or another."""
        wait = FIRST_PROBE
        while self.limiter.brake.phase is Phase.HELD and not self.closed:
            await self.clock.sleep(self.rng.uniform(wait / 2, wait))
            wait = min(2 * wait, LAST_PROBE)
            if self.limiter.brake.phase is Phase.HELD:
                with contextlib.suppress(SunoVideoError):
                    await self.probe()

    async def aclose(self) -> None:
        """Refuse further calls, wait for the submissions in flight and cut the reads short."""
        self.closed = True
        if self._probe is not None:
            self._probe.cancel()
            await asyncio.wait([self._probe])
        await self._until(lambda: not self._creating)
        await asyncio.sleep(0)  # one that is cancelled before its first step could not tell its caller
        self._cut = True
        # Of these, the end of the loop may have cancelled some before their first step.
        self._sending = {task for task in self._sending if not task.done()}
        for task in self._sending:
            task.cancel()
        await self._until(lambda: not self._sending)

    async def _until(self, done: Callable[[], bool]) -> None:
        while not done():
            self._ended.clear()
            await self._ended.wait()

    async def _attempt(self, request: Request, decode: Callable[[Answer, Request], T], resend: int = 0) -> T:
        trace = self.reporter.trace(resend)
        if self.closing:
            self.closing.check(Lane.READ)
        place = await self.limiter.acquire()
        if self.closed:
            self.limiter.release(place, sent=False, answered=False)
            raise ClientClosedError(f"{request.operation}: the client is closed")
        if trace is not None:
            trace.has_place()
        if not self._has_window:
            return await self._exchange(place, request, decode, trace)
        # Its result is a `Result` and never an exception: a future that is not awaited would complain about one.
        ended: asyncio.Future[Result[T]] = asyncio.get_running_loop().create_future()

        def end(result: Result[T]) -> None:
            if not ended.done():
                ended.set_result(result)

        self._launch(self._send(place, request, decode, end, trace))
        return (await ended).unwrap()

    async def create(
        self,
        place: Place,
        request: Request,
        decode: Callable[[Answer, Request], T],
        trace: RequestTrace | None,
        *,
        permit: Pass,
        journal: SubmissionJournal | None,
        recorded: Callable[[T], None],
    ) -> T:
        """Send one CreateTask with a place that is held already; its task is not cancelled until this returns.

        Only the end of the event loop cancels it: then the submission is unknown, as it is after a defect.

        Args:
            place: the place; it is given back at the end of the attempt.
            request: what is sent.
            decode: reads the answer.
            trace: reports it; None if no hook needs that.
            permit: the brake's.
            journal: records what becomes of it.
            recorded: called with what was read, once the ledger has it or cannot take it.

        """
        result: Result[T] | None = None
        self._creating += 1
        try:
            value: T | None = None
            try:
                value = await self._exchange(place, request, decode, trace, journal=journal, permit=permit)
                result = Result(value, None)
            except SunoVideoError as error:
                result = Result(None, error)
            if journal is not None and _was_intended(result.error):
                result = await self._written(journal, result)
            if value is not None and not isinstance(result.error, MalformedResponseError):
                recorded(value)
        except asyncio.CancelledError:
            result = result or Result(None, self._cut_short(request))
        except Exception:  # a defect, and the request may have left
            logger.exception("%s broke off", request.operation, extra=fields("defect", operation="CreateTask"))
            result = result or Result(None, self._cut_short(request))
        finally:
            self._creating -= 1
            self._ended.set()
        return result.unwrap()

    def _launch(self, send: Coroutine[Any, Any, None]) -> None:
        """Run a send in a task of its own, which may be cut short before its first step."""
        task = _begun(send)
        if not task.done():  # pragma: no branch  an eager one may have ended before it could be noted
            self._sending.add(task)

    async def _send(
        self,
        place: Place,
        request: Request,
        decode: Callable[[Answer, Request], T],
        end: Callable[[Result[T]], None],
        trace: RequestTrace | None,
    ) -> None:
        """Send once, whatever becomes of the caller, and tell how it ended."""
        result: Result[T] | None = None
        try:
            result = Result(await self._exchange(place, request, decode, trace), None)
        except SunoVideoError as error:
            result = Result(None, error)
        finally:
            end(result or Result(None, self._cut_short(request)))

    async def _exchange(
        self,
        place: Place,
        request: Request,
        decode: Callable[[Answer, Request], T],
        trace: RequestTrace | None,
        *,
        journal: SubmissionJournal | None = None,
        permit: Pass | None = None,
    ) -> T:
        """Send once and return what was read of the answer; the place is given back at the end of the attempt.

        The end of the client is told apart from a cancelled caller.
        """
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        cancellations = task.cancelling()
        self._sending.add(task)
        sent = answered = False
        error: SunoVideoError | None = None
        try:
            if journal is not None and (url := await journal.record_intent(self.clock.time())) is not None:
                request = codec.called_back(request, url)
            await self.confirm()  # and then nothing is waited for any more
            sent = True
            self.statistics.requests += 1
            if trace is None:
                value = decode(await self.transport.send(request), request)
            else:
                value = await self._traced(request, decode, trace)
        except TransportError as failure:
            error = failure
            sent, answered = failure.sent, isinstance(failure, MalformedResponseError)
            self.statistics.requests -= not sent
            if sent and isinstance(failure, APITimeoutError):
                # A server that hangs takes in all that was sent to it when it wakes: one request goes first.
                self.limiter.pause(self._shared_lane(request.operation), 0.0)
            raise
        except SunoVideoError as refusal:
            error = refusal
            answered = sent
            place.refused = isinstance(refusal, RateLimitError)
            self._note_refusal(request.operation, refusal)
            raise
        except asyncio.CancelledError:
            if not self._cut or task.uncancel() > cancellations:
                raise
        else:
            answered = True
            return value
        finally:
            self._tell_the_brake(permit, error, answered=answered)
            place.in_flight = self.in_flight()
            place.running = None if permit is None else place.in_flight
            self.limiter.release(place, sent=sent, answered=answered)
            if (found := self.limiter.found) is not None:
                self._report_limits(found)
            self._sending.discard(task)
            self._ended.set()
        # Raised out here: the cancellation would stay attached as its context, and its frames hold the headers.
        raise self._cut_short(request)

    def _report_limits(self, found: LimitsFound) -> None:
        """Report the limits that were found, if they have changed and no higher one is being tried."""
        if found != self._limits and not found.climbing:
            self._limits = found
            self.reporter.emit(lambda hook: hook.on_limits(found))

    def _tell_the_brake(self, permit: Pass | None, error: SunoVideoError | None, *, answered: bool) -> None:
        """Note what an exchange says about the API: whether it is there, and what it did."""
        brake = self.limiter.brake
        from_api = answered and (not isinstance(error, MalformedResponseError) or error.from_api)
        if permit is None:
            if from_api:
                brake.read()
            elif isinstance(error, TransportError):
                brake.read_failed(str(error))
        elif from_api:
            brake.created(permit, accepted=error is None)
            strict = self.policy.strict
            if error is not None and verdict(Operation.CREATE_TASK, error, strict=strict) is Verdict.UNKNOWN:
                brake.doubt(str(error))
        elif isinstance(error, TransportError):
            brake.out_of_reach(permit, str(error), unknown=error.sent)
        else:  # the ledger or the budget said no, or the client is being closed
            brake.give_back(permit)

    async def _traced(self, request: Request, decode: Callable[[Answer, Request], T], trace: RequestTrace) -> T:
        """Send once, and report it to the hooks."""
        path, _, _ = request.target.partition("?")
        operation, url = request.operation.value, self.base_url + path
        with trace.sending(operation, request.method, url, request.task_id):
            answer = await self.transport.send(request)
            trace.status = answer.status
            return decode(answer, request)

    def _cut_short(self, request: Request) -> SunoVideoError:
        if self.closed:
            return ClientClosedError(f"{request.operation}: cut short by the end of the client")
        return TransportError(f"{request.operation}: cut short")

    async def _written(self, journal: SubmissionJournal, result: Result[Any]) -> Result[Any]:
        """Write down what a submission came to; a ledger that fails now must not hide what was bought."""
        try:
            await self._record(journal, result)
        except MalformedResponseError as taken:
            return Result(None, taken)
        except LedgerError as failure:
            came = f"accepted as task {result.value}" if result.error is None else f"answered with: {result.error}"
            logger.exception(
                "a submission was sent and %s, but the ledger could not take it",
                came,
                extra=fields("ledger_failed", operation="CreateTask", task_id=result.value),
            )
            problem = f"{failure} (the submission was sent and {came})"
            kind = LedgerLost if isinstance(failure, LedgerLost) else LedgerError
            temporary = failure.temporary
            return Result(None, kind(problem, sent=True, task_id=result.value, temporary=temporary))
        return result

    async def _record(self, journal: SubmissionJournal, result: Result[Any]) -> None:
        """Write down what a submission came to, for as long as the ledger may still take it."""
        until = self.clock.now() + RECORDING
        while True:
            try:
                return await journal.record_result(result.value, result.error)
            except LedgerError as failure:
                if not failure.temporary or self.closed or self.clock.now() >= until:
                    raise
            await self.clock.sleep(1.0)

    def _note_refusal(self, operation: Operation, error: SunoVideoError) -> None:
        """Hold up the others before the place of a refused request is free for one of them."""
        if isinstance(error, RateLimitError):
            self.statistics.refused_429 += 1
        self.date(error)
        seconds = full_jitter(self.policy, error, 1, self.rng)
        lane = self.pause(operation, error, seconds)
        if lane is not None and self.reporter.hooks:
            event = PauseEvent(lane=lane.name.lower(), seconds=seconds, error=error)
            self.reporter.emit(lambda hook: hook.on_pause(event))

    def pause(self, operation: Operation, error: SunoVideoError, seconds: float) -> Lane | None:
        """Pause the affected lane for `seconds` if the server asked us to slow down; return that lane."""
        if not isinstance(error, RateLimitError | MaintenanceError):
            return None
        at_cap = operation is Operation.CREATE_TASK and self.in_flight() > 0
        if isinstance(error, MaintenanceError):
            lane = Lane.ALL
        else:
            lane = Lane.CREATE if at_cap else self._shared_lane(operation)
        self.limiter.pause(lane, seconds)
        if error.closed_until is not None:
            self.closing.note(lane, error, seconds)
            self.on_closed(error)
        return lane

    def _shared_lane(self, operation: Operation) -> Lane:
        """Return the lane of all calls that share a window with this one."""
        if self.limiter.read_rate is None:
            return Lane.ALL
        return Lane.CREATE if operation is Operation.CREATE_TASK else Lane.READ

    def date(self, error: SunoVideoError) -> None:
        """Note on an error until when the server is closed, if that is longer than the policy waits."""
        if isinstance(error, APIError) and error.retry_after is not None and is_closed(self.policy, error):
            error.closed_until = self.clock.time() + error.retry_after

    async def retry(
        self,
        first: SunoVideoError,
        operation: Operation,
        attempt: Callable[[], Awaitable[T]],
        retryable: Callable[[SunoVideoError], bool],
        *,
        unsent_horizon: float | None = None,
        progress: Callable[[], int] = lambda: 0,
    ) -> T:
        """Try again what has failed for the first time, after backing off."""

        def on_backoff(backoff: Backoff) -> None:
            self.pause(operation, backoff.error, backoff.wait)
            self.emit_retry(operation, backoff.error, backoff.attempt, backoff.wait)

        return await retry_after_failure(
            first,
            attempt,
            policy=self.policy,
            clock=self.clock,
            rng=self.rng,
            retryable=retryable,
            on_backoff=on_backoff,
            unsent_horizon=unsent_horizon,
            progress=progress,
        )

    def emit_retry(self, operation: Operation, error: SunoVideoError, attempt: int, wait: float) -> None:
        """Tell the hooks that a call will be tried again."""
        if self.reporter.hooks:
            event = RetryEvent(operation=operation.value, attempt=attempt, wait=wait, error=error)
            self.reporter.emit(lambda hook: hook.on_retry(event))


def _begun(send: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Return a task that has taken its first step already, if Python can: it spares an iteration of the loop."""
    loop = asyncio.get_running_loop()
    if sys.version_info >= (3, 12) and loop.get_task_factory() is None:  # pragma: no cover  not in Python 3.11
        return asyncio.Task(send, loop=loop, eager_start=True)
    return loop.create_task(send)


def _was_intended(error: SunoVideoError | None) -> bool:
    """Whether the ledger took the intent to send, so that it has to learn the result."""
    return not isinstance(error, LedgerError | BudgetExceeded | AlreadyBoughtError | BoughtElsewhereError)
