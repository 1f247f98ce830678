"""What is written down of a submission: that it is about to be sent, and what became of it."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable

from attrs import define, field

from suno_video_async._util.aio import in_one_thread
from suno_video_async.errors import (
    APIError,
    BoughtElsewhereError,
    InvalidRequestError,
    LedgerError,
    LedgerLost,
    MalformedResponseError,
    NotFoundError,
    ServerError,
    SubmissionUnknown,
    SunoVideoError,
    TaskEndUnknown,
    TaskFailed,
)
from suno_video_async.ledger.aio import AsyncLedger
from suno_video_async.ledger.holding import leave_word
from suno_video_async.ledger.model import AWAITED, MICRO, LedgerRow, RowError, Transition, begun
from suno_video_async.ledger.states import Cause, State
from suno_video_async.models import Track, Video, VideoTaskId
from suno_video_async.protocol.codec import Operation
from suno_video_async.protocol.verdicts import Verdict, verdict

#: No video and no account comes near it: a larger figure is an error of the server's.
MOST_CREDITS = 1e9


@define(eq=False)
class SubmissionJournal:
    """Records one row's submission: before each send that it may be bought, after it what became of it.

    Attributes:
        books: the ledger.
        row: the row, as it is known.
        reserve: says how many micro-credits to set aside for it, right before each send.
        budget: the ledger's budget in micro-credits; None for no limit.
        rebuy_changed: whether it is bought though the same song is bought under another author or brand.
        strict: whether a 500 leaves the row unknown for good.
        sent_before: whether it is sent again after a 500 that was waited out.
        check_others: raises `BoughtElsewhereError` where another ledger holds the track.
        callback_url: makes the URL of an attempt from its nonce; a 500 then waits for it to be called.

    """

    ledger: AsyncLedger
    row: LedgerRow
    reserve: Callable[[], int] = field(default=lambda: 0, kw_only=True)
    budget: int | None = field(default=None, kw_only=True)
    rebuy_changed: bool = field(default=False, kw_only=True)
    strict: bool = field(default=False, kw_only=True)
    sent_before: bool = field(default=False, kw_only=True)
    check_others: Callable[[Track], Awaitable[None]] | None = field(default=None, kw_only=True)
    callback_url: Callable[[str], str] | None = field(default=None, kw_only=True)
    _nonce: str = field(default="", init=False)

    async def record_intent(self, at: float) -> str | None:
        """Commit, before a byte leaves, that the row may be bought from now on; return the callback's URL.

        Only then are other ledgers asked: of two runs at once with a copied catalog, each then sees the other's
        intent if it was first, and the worst is that neither buys.

        Raises:
            BoughtElsewhereError: another ledger holds the track; the row is planned again.
            BudgetExceeded: it would be over the budget; nothing changed.
            LedgerError: the ledger cannot be written.

        """
        nonce, reserve = secrets.token_hex(16), self.reserve()
        self._nonce = nonce
        attempt = await self.ledger.call(
            self.ledger.sync.begin_attempt,
            self.row.id,
            nonce=nonce,
            at=at,
            reserve=reserve,
            budget=self.budget,
            rebuy_changed=self.rebuy_changed,
            known=self.row,
        )
        self.row = begun(self.row, attempt=attempt, at=at, reserve=reserve)
        if self.check_others is not None:
            try:
                await self.check_others(self.row.track)
            except BoughtElsewhereError as error:
                await self.ledger.move(self.row, Transition(state=State.PLANNED, error=described(error)))
                raise
        return None if self.callback_url is None else self.callback_url(nonce)

    @property
    def awaits_callback(self) -> bool:
        """Whether a 500 is settled by the callback of the attempt, or by its absence."""
        return self.callback_url is not None and not self.strict

    @property
    def unknown_after_500(self) -> bool:
        """Whether a 500 leaves the row unknown, for good or until its callback."""
        return self.strict or self.callback_url is not None

    async def record_result(self, task_id: VideoTaskId | None, error: SunoVideoError | None) -> None:
        """Commit what the send came to.

        Raises:
            MalformedResponseError: the answer names the task of another row; this one is unknown now.
            LedgerLost: the ledger was lost; where it goes with a session, word of the task is left for the next
                holder.
            LedgerError: the ledger cannot be written.

        """
        transition = self._transition(task_id, error)
        try:
            self.row = await self.ledger.move(self.row, transition)
        except LedgerLost:
            if transition.video_task_id is not None:
                await leave_word(self.ledger.sync, self._nonce, transition.video_task_id, in_one_thread())
            raise
        except LedgerError:
            named = transition.video_task_id
            owner = None if named is None else await self.ledger.call(self.ledger.sync.bought_by, named)
            if owner is None or owner == self.row.id:
                raise
            taken = MalformedResponseError(
                f"CreateTask: the answer names task {named}, which is row {owner}'s already", http_status=200
            )
            self.row = await self.ledger.move(self.row, Transition(state=State.UNKNOWN, error=described(taken)))
            raise taken from None

    async def record_evidence(self, task_id: VideoTaskId) -> None:
        """Commit that the task which a broken answer named is this row's, as TaskInfo has confirmed."""
        transition = Transition(state=State.SUBMITTED, video_task_id=task_id)
        self.row = await self.ledger.move(self.row, transition, cause=Cause.EVIDENCE)

    def _transition(self, task_id: VideoTaskId | None, error: SunoVideoError | None) -> Transition:
        if task_id is not None or error is None:
            return Transition(state=State.SUBMITTED, video_task_id=task_id)
        meaning = verdict(Operation.CREATE_TASK, error, strict=self.unknown_after_500)
        if meaning is Verdict.UNKNOWN:
            kept = error.task_id if isinstance(error, MalformedResponseError) else None
            candidate = None if kept is None else VideoTaskId(kept)
            reason = described(error)
            if self.awaits_callback and isinstance(error, ServerError):
                reason = reason._replace(type=AWAITED)
            return Transition(state=State.UNKNOWN, video_task_id=candidate, error=reason)
        refused = isinstance(error, InvalidRequestError | NotFoundError)
        return Transition(state=State.REFUSED if refused else State.PLANNED, error=described(error))


def transition_of(end: Video | SunoVideoError, *, now: float) -> Transition | None:
    """Return how a submitted row moves on when its task was followed to this end; None leaves it submitted.

    Args:
        end: the task's end.
        now: Unix seconds, of the client's clock: the task ended then at the latest.

    """
    if isinstance(end, Video):
        cost, took = micro(end.credits), end.snapshot.took
        return Transition(state=State.SUCCEEDED, url=end.url, cost=cost, ended=now, took=took)
    if isinstance(end, TaskFailed):
        cost, took = micro(end.snapshot.credits), end.snapshot.took
        return Transition(state=State.FAILED, cost=cost, ended=now, took=took, error=described(end))
    if isinstance(end, NotFoundError | SubmissionUnknown | TaskEndUnknown):
        return Transition(state=State.UNKNOWN, error=described(end))
    return None


def described(error: Exception) -> RowError:
    """Return an error as the ledger keeps it."""
    return RowError(type(error).__name__, error.code if isinstance(error, APIError) else None, str(error))


def micro(amount: float | None) -> int | None:
    """Return an amount of credits in whole micro-credits; one that makes no sense counts as not said."""
    return None if amount is None or not 0 <= amount <= MOST_CREDITS else round(amount * MICRO)
