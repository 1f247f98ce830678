"""One submission, which outlives its caller once it is being sent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

import anyio
from attrs import frozen

from suno_video_async._util.aio import run_to_completion
from suno_video_async.api.calls import Calls
from suno_video_async.api.evidence import evidence_problem
from suno_video_async.errors import (
    APIError,
    ClientClosedError,
    LedgerError,
    MalformedResponseError,
    ServerError,
    ServiceUnreachable,
    SubmissionUnknown,
    SunoVideoError,
)
from suno_video_async.hooks import Stage
from suno_video_async.ledger.journal import SubmissionJournal
from suno_video_async.models import VideoRequest, VideoTaskId
from suno_video_async.observability.log import fields, logger
from suno_video_async.protocol import codec
from suno_video_async.protocol.codec import Answer, Operation, Request
from suno_video_async.protocol.verdicts import Verdict, verdict
from suno_video_async.ratelimit.brake import Pass
from suno_video_async.ratelimit.limiter import Lane, Place
from suno_video_async.task import VideoTask


class SubmitPlace(Protocol):
    """Waits for the place of one send."""

    def __call__(self, *, bulk: bool) -> Awaitable[tuple[Place, Pass]]:
        """Wait; those with `bulk` let interactive ones go first."""
        ...


@frozen(eq=False)
class Desk:
    """What the submissions of one client share.

    Attributes:
        calls: how they are sent.
        slots: each takes one before its first send; `accepted` then owns it.
        submit_place: waits for the place of each send.
        accepted: makes the handle of the new task and begins to follow it.
        bought: notified of a new task once it is in the ledger.
        unfinished: all that have not ended, in their order; each is among them until its end.

    """

    calls: Calls
    slots: anyio.Semaphore
    submit_place: SubmitPlace
    accepted: Callable[[Submission, VideoTaskId], VideoTask]
    bought: Callable[[VideoRequest, VideoTaskId], None]
    unfinished: dict[Submission, None]


class Submission:
    """Carries one CreateTask to its end in a task of its own.

    The caller awaits `outcome`. When the caller is cancelled, `abandon` ends what has not begun to be sent; a send
    in flight is left to finish, and its task is followed all the same. `sends` counts the physical sends.

    Args:
        desk: what it shares with the client's others.
        request: what to buy.
        refused: notified of each refusal, before anything else is sent.
        journal: records it in the ledger.
        bulk: whether interactive submissions go first.

    """

    def __init__(
        self,
        desk: Desk,
        request: VideoRequest,
        *,
        refused: Callable[[APIError], None],
        journal: SubmissionJournal | None = None,
        bulk: bool = False,
    ) -> None:
        self.request = request
        self.bulk = bulk
        self.outcome: asyncio.Future[VideoTask | SunoVideoError] = asyncio.get_running_loop().create_future()
        self._desk = desk
        self._calls = calls = desk.calls
        self._refused = refused
        self._journal = journal
        self._call = codec.create_task(request)
        self._strict = calls.policy.strict if journal is None else journal.unknown_after_500
        self._after_500 = journal is not None and journal.sent_before
        self._since = 0.0
        self._task: VideoTask | None = None
        self._unknown: SubmissionUnknown | None = None
        self._stage: Stage  # while it runs
        self._wanted = True
        self._claimed = True
        #: What its caller waits for: a cancellation takes along what is waited for, and `outcome` has others.
        self._caller: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._in_flight = False
        self.sends: int = 0
        self._cancelled = False
        self._begun = False
        desk.unfinished[self] = None
        #: The task that it runs in; it ends even if no caller waits for it.
        self.running: asyncio.Task[None] = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        """Wait for room, then send until it is accepted, refused, unknown or no longer wanted."""
        error: SunoVideoError | None = None
        self._begun = True
        try:
            if self._cancelled:
                return
            with self._calls.reporter.submitting(self.request.track) as self._stage:
                await self._desk.slots.acquire()
                try:
                    await self._create()
                finally:
                    if self._task is None:
                        self._desk.slots.release()
        except asyncio.CancelledError:
            pass  # abandoned before anything was sent
        except SunoVideoError as raised:
            error = raised
        except Exception as raised:
            # A shortage of the machine, or a defect: it must not take the other submissions with it. Nothing is in
            # flight at this point: what was sent ends with an error of this library.
            track = self.request.track
            logger.exception("the submission of %s broke off", track.suno_id, extra=fields("defect", track=track))
            error = SunoVideoError(f"the submission of {track.suno_id} broke off: {raised!r}")
            error.__cause__ = raised
        finally:
            if not self._claimed:
                self._log_unclaimed(error or self._unknown)
            if not self.outcome.done():
                # An error goes first: that of a ledger which could not take the answer has the task's id in it.
                outcome = error or self._task or self._unknown
                self._end(outcome or ClientClosedError("the submission was given up before it was sent"))
            del self._desk.unfinished[self]

    async def wait(self) -> VideoTask:
        """Wait for the end as its one caller; a cancelled caller abandons the submission.

        Raises:
            SunoVideoError: no task came of it.

        """
        try:
            await self._caller
        except asyncio.CancelledError:
            self._claimed = False
            if self.outcome.done():  # in this very turn of the loop: `run` could not know
                self._log_unclaimed(self.outcome.result())
            self.abandon()
            raise
        outcome = self.outcome.result()
        if isinstance(outcome, SunoVideoError):
            raise outcome
        return outcome

    def _end(self, outcome: VideoTask | SunoVideoError) -> None:
        """Give the outcome to the caller, and to whatever else waits for it."""
        self.outcome.set_result(outcome)
        if not self._caller.done():
            self._caller.set_result(None)

    def break_off(self, reason: SunoVideoError) -> None:
        """Give the caller the reason why this is not sent any more; what is in flight is not touched."""
        if not self._in_flight and not self.outcome.done():
            self._end(reason)
            self._cancel()

    def abandon(self) -> None:
        """Do not send, or not again; what is in flight is left to finish, and so are questions about its id."""
        self._wanted = False
        if not self._in_flight and self._unknown is None:
            self._cancel()

    def leave(self) -> None:
        """Abandon it, and ask no more about the id in an answer either: a later run does."""
        self.abandon()
        if not self._in_flight:
            self._cancel()

    def _cancel(self) -> None:
        """End the task where it waits, once; one that has not begun ends when it does, and with an outcome."""
        if not self._cancelled:
            self._cancelled = True
            if self._begun:
                self.running.cancel()

    async def _create(self) -> None:
        """Send CreateTask, by the rule of paying once.

        Raises:
            SubmissionUnknown: it was sent, and whether it was accepted cannot be known, not even by asking about
                an id in the answer.
            APIError: it was refused.
            TransportError: it was not sent.
            LedgerError: it could not be written down; the message says whether it was sent.

        """
        try:
            try:
                await self._attempt()
            except SunoVideoError as error:
                if not self._may_go_again(error):
                    raise
                first = error
            else:
                return
            policy = self._calls.policy
            horizon = policy.maintenance_horizon if self.bulk else policy.horizon
            await self._calls.retry(
                *(first, Operation.CREATE_TASK, self._attempt, self._may_go_again),
                unsent_horizon=horizon,
                progress=self._calls.limiter.progress,
            )
        except SunoVideoError as error:
            if self._verdict(error) is not Verdict.UNKNOWN:
                raise
            kept = error.task_id if isinstance(error, MalformedResponseError) else None
            track, since = self.request.track, self._since
            self._unknown = SubmissionUnknown(track, since, str(error), task_id=kept)
            if kept is None or self._task is not None:
                raise self._unknown from error
            if (problem := await self._accept_evidence(VideoTaskId(kept))) is not None:
                raise SubmissionUnknown(track, since, f"{error}; {problem}", task_id=kept) from error

    async def _accept_evidence(self, task_id: VideoTaskId) -> str | None:
        """Take the task that a broken answer named as if the answer had accepted it; return why it cannot be.

        The slot stays taken meanwhile: the task may be running.
        """
        problem = await evidence_problem(self._calls, task_id, self.request.track, patient=True)
        if problem is not None:
            return problem
        try:
            self._task = self._desk.accepted(self, task_id)
        except MalformedResponseError as error:
            return str(error)
        self._stage.task_id = task_id
        try:
            if self._journal is not None:
                await run_to_completion(self._journal.record_evidence(task_id))
        except LedgerError as error:
            said = f"{error} (the submission was sent and accepted as task {task_id})"
            raise LedgerError(said, sent=True, task_id=task_id) from error
        finally:
            self._bought(task_id)
        return None

    async def _attempt(self) -> VideoTaskId:
        calls = self._calls
        trace = calls.reporter.trace(self.sends)
        calls.closing.check(Lane.CREATE)
        place, permit = await self._desk.submit_place(bulk=self.bulk)
        if calls.closed or not self._wanted:
            calls.limiter.brake.give_back(permit)
            calls.limiter.release(place, sent=False, answered=False)
            raise ClientClosedError("the submission was given up before it was sent")
        self._since = calls.clock.time()
        calls.statistics.resent_after_500 += self._after_500
        if trace is not None:
            trace.has_place()
        self._in_flight = True
        self.sends += 1
        try:
            return await calls.create(
                *(place, self._call, self._on_answer, trace),
                permit=permit,
                journal=self._journal,
                recorded=self._bought,
            )
        except SunoVideoError as error:
            self._after_500 = isinstance(error, ServerError)
            raise
        finally:
            self._in_flight = False

    def _on_answer(self, answer: Answer, request: Request) -> VideoTaskId:
        """Read the answer and act on it before anybody else gets a place in the window."""
        try:
            task_id = codec.read_created(answer, request)
        except APIError as error:
            self._calls.date(error)
            self._refused(error)
            raise
        self._task = self._desk.accepted(self, task_id)
        self._stage.task_id = task_id
        return task_id

    def _bought(self, task_id: VideoTaskId) -> None:
        self._desk.bought(self.request, task_id)

    def _may_go_again(self, error: SunoVideoError) -> bool:
        held = isinstance(error, ServiceUnreachable)
        return self._wanted and not held and self._verdict(error) is Verdict.RETRY

    def _verdict(self, error: SunoVideoError) -> Verdict:
        return verdict(Operation.CREATE_TASK, error, strict=self._strict)

    def _log_unclaimed(self, outcome: VideoTask | SunoVideoError | None) -> None:
        """Leave a trace of money that may have been spent for a caller who is gone."""
        track = self.request.track
        if self._task is not None:
            logger.warning(
                "the submission of %s was cancelled too late: it is task %s",
                *(track.suno_id, self._task.id),
                extra=fields("unclaimed", track=track, task_id=self._task.id, state="submitted"),
            )
        elif isinstance(outcome, SubmissionUnknown):
            logger.warning("%s", outcome, extra=fields("unclaimed", error=outcome, state="unknown"))
