"""Bugs to put in on purpose: a simulation that does not find them proves nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import count
from typing import Any, cast
from unittest.mock import patch

import psycopg

from suno_video_async import SunoVideoError, Track, TransportError
from suno_video_async.api import calls
from suno_video_async.batch import conversion
from suno_video_async.batch.budget import Budget
from suno_video_async.callbacks import Inbox
from suno_video_async.engines import inbox
from suno_video_async.errors import LedgerError
from suno_video_async.ledger import copies, group_commit, journal, schema
from suno_video_async.ledger.address import LedgerAddress
from suno_video_async.ledger.copies import Doubt, Facts
from suno_video_async.ledger.group_commit import GroupCommit
from suno_video_async.ledger.model import LedgerRow, Transition
from suno_video_async.ledger.postgres import reader
from suno_video_async.ledger.postgres.ledger import PostgresLedger
from suno_video_async.ledger.postgres.session import Session
from suno_video_async.ledger.shared import Note
from suno_video_async.ledger.sqlite import SqliteLedger
from suno_video_async.ledger.states import Cause, State
from suno_video_async.models import RateLimit, TaskSnapshot, VideoTaskId
from suno_video_async.protocol import codec, verdicts
from suno_video_async.protocol.codec import Operation
from suno_video_async.protocol.verdicts import Verdict
from suno_video_async.ratelimit.adaptive import AdaptiveWindow, Ticket
from suno_video_async.ratelimit.brake import Brake, Phase
from suno_video_async.ratelimit.limiter import Lane, Limiter, Place, _Window


@contextmanager
def resend_after_timeout() -> Iterator[None]:
    """A CreateTask whose answer never came is sent again."""

    def verdict(operation: Operation, error: SunoVideoError, *, strict: bool = False) -> Verdict:
        if isinstance(error, TransportError):
            return Verdict.RETRY
        return verdicts.verdict(operation, error, strict=strict)

    with patch.object(calls, "verdict", verdict), patch.object(journal, "verdict", verdict):
        yield


@contextmanager
def commit_late() -> Iterator[None]:
    """`submitting` is committed after the request instead of before it."""
    real_before, real_after = journal.SubmissionJournal.record_intent, journal.SubmissionJournal.record_result
    sent_at: dict[int, float] = {}

    async def record_intent(self: journal.SubmissionJournal, at: float) -> None:
        sent_at[id(self)] = at

    async def record_result(
        self: journal.SubmissionJournal, task_id: VideoTaskId | None, error: SunoVideoError | None
    ) -> None:
        await real_before(self, sent_at[id(self)])
        await real_after(self, task_id, error)

    with (
        patch.object(journal.SubmissionJournal, "record_intent", record_intent),
        patch.object(journal.SubmissionJournal, "record_result", record_result),
    ):
        yield


@contextmanager
def adopt_unchecked() -> Iterator[None]:
    """A task that a callback names is taken for the row's own without a question."""

    async def confirmed(self: Inbox, row: LedgerRow, nonce: str, task_id: VideoTaskId) -> LedgerRow:
        transition = Transition(state=State.SUBMITTED, video_task_id=task_id)
        return await self.ledger.move(row, transition, cause=Cause.CALLBACK)

    with patch.object(Inbox, "_confirmed", confirmed):
        yield


@contextmanager
def one_too_many() -> Iterator[None]:
    """The window lets one request more through than it may."""
    real = _Window.wait

    def wait(self: _Window) -> float:
        if self.fixed is None:
            return real(self)
        self.fixed, fixed = RateLimit(self.fixed.requests + 1, self.fixed.per), self.fixed
        try:
            return real(self)
        finally:
            self.fixed = fixed

    with patch.object(_Window, "wait", wait):
        yield


@contextmanager
def reads_unbounded() -> Iterator[None]:
    """A read takes no place in the window of the reads."""
    real = Limiter._window_of

    def window_of(self: Limiter, lane: Lane) -> _Window:
        return real(self, lane) if self.read_rate is None or lane is Lane.CREATE else _Window(self._clock, None)

    with patch.object(Limiter, "_window_of", window_of):
        yield


@contextmanager
def window_from_send() -> Iterator[None]:
    """A place is free one period after the send, not after the end."""
    granted: dict[int, float] = {}
    grant, release = Limiter._grant, Limiter.release

    def granting(self: Limiter, lane: Any) -> Place:
        place = grant(self, lane)
        granted[id(place)] = self._clock.now()
        return place

    def releasing(self: Limiter, place: Place, *, sent: bool = True, answered: bool = True) -> None:
        release(self, place, sent=sent, answered=answered)
        window = self._window_of(place.lane)
        if sent and window.rate is not None and window.free_at:
            window.free_at.pop()
            window.free_at.append(granted.pop(id(place)) + window.rate.per)

    with patch.object(Limiter, "_grant", granting), patch.object(Limiter, "release", releasing):
        yield


@contextmanager
def absent_differs() -> Iterator[None]:
    """Two absent authors are two different authors, as two NULLs are to SQLite."""
    numbers = count()

    def key(self: Track) -> str:
        author = self.author or next(numbers)
        return json.dumps([self.task_id, self.suno_id, author, self.brand or ""], ensure_ascii=False)

    with patch.object(Track, "key", property(key)):
        yield


@contextmanager
def forget_interrupted() -> Iterator[None]:
    """What a crash left in `submitting` is planned again."""

    def recover(self: SqliteLedger, db: Any) -> None:
        db.execute("UPDATE rows SET state = 'planned' WHERE state = 'submitting'")

    with patch.object(SqliteLedger, "_recover", recover):
        yield


@contextmanager
def ignore_evidence() -> Iterator[None]:
    """A refusal that names a task is a refusal like any other."""
    with patch.object(codec, "created_id", lambda *_: None):
        yield


@contextmanager
def reopen_for_all() -> Iterator[None]:
    """One answer to a read releases all submissions that an outage holds."""

    def read(self: Brake) -> None:
        self._failed_reads = 0
        if self.phase is Phase.HELD:
            self.phase = Phase.RELEASED
            self._changed()

    with patch.object(Brake, "read", read):
        yield


@contextmanager
def late_url_failed() -> Iterator[None]:
    """A success whose URL is not there yet counts as failed."""

    def is_failed(self: TaskSnapshot) -> bool:
        return self.status == "failed" or (self.is_success and self.video_url is None)

    with (
        patch.object(TaskSnapshot, "is_failed", property(is_failed)),
        patch.object(TaskSnapshot, "awaits_video", property(lambda _: False)),
    ):
        yield


@contextmanager
def log_not_missed() -> Iterator[None]:
    """A ledger that was killed and copied without its log is taken for whole."""

    def doubt(facts: Facts) -> Doubt | None:
        return None if not facts.has_log and facts.exists else copies.doubt_about_content(facts)

    with patch.object(schema, "doubt_about_content", doubt):
        yield


@contextmanager
def ignore_rise() -> Iterator[None]:
    """What is set aside for a purchase stays at the estimate, whatever price TaskInfo names."""

    async def note_price(self: Budget, row: LedgerRow, credits_: float | None) -> bool:
        self._free_place(row)
        return bool(credits_)

    with patch.object(Budget, "note_price", note_price):
        yield


@contextmanager
def answered_too_early() -> Iterator[None]:
    """Calls that share a commit are answered before it is made."""
    real, uncommitted = GroupCommit._make, ExitStack()

    def make(self: GroupCommit, calls: Sequence[Callable[[], Any]]) -> Sequence[group_commit.Outcome]:
        uncommitted.close()
        if len(calls) == 1:
            return real(self, calls)
        uncommitted.enter_context(self._one_commit())
        return [group_commit._outcome_of(call) for call in calls]

    close = SqliteLedger.close

    def closing(self: SqliteLedger) -> None:
        uncommitted.close()
        close(self)

    with patch.object(GroupCommit, "_make", make), patch.object(SqliteLedger, "close", closing):
        yield


@contextmanager
def climb_after_refusal() -> Iterator[None]:
    """A refusal does not end the search for a higher limit."""

    def refused(self: AdaptiveWindow, ticket: Ticket, now: float, running: int | None = None) -> None:
        self.unanswered(ticket, now)

    with patch.object(AdaptiveWindow, "refused", refused):
        yield


@contextmanager
def second_connection() -> Iterator[None]:
    """A session that is lost is replaced by another one, as a pool of connections does."""

    def execute(self: Session, statement: str, values: Sequence[Any] = (), /) -> Any:
        try:
            return real(self, statement, values)
        except psycopg.Error:
            connected = cast("Any", reader).connect(LedgerAddress.parse("postgresql:///?ledger=one"))
            if not self.is_lost or isinstance(connected, LedgerError):
                raise
            self.connection = connected
            return real(self, statement, values)

    real = Session.execute
    with patch.object(Session, "execute", execute):
        yield


@contextmanager
def no_ping() -> Iterator[None]:
    """Nothing is asked before a send: the ledger counts as held until its loss is known."""
    with patch.object(PostgresLedger, "is_fresh", lambda _: True):
        yield


@contextmanager
def in_flight_last() -> Iterator[None]:
    """The next holder takes up what is in flight after what is to be bought."""
    paid, to_buy = conversion._PAID, conversion._TO_BUY
    with patch.object(conversion, "_PAID", to_buy), patch.object(conversion, "_TO_BUY", paid):
        yield


@contextmanager
def word_at_opening_only() -> Iterator[None]:
    """Word that is left once the next holder has begun is not taken in by it."""
    with patch.object(PostgresLedger, "take_word", lambda _: ()):
        yield


@contextmanager
def next_at_once() -> Iterator[None]:
    """The next holder does not wait for one that has lost the ledger and may still be sending."""
    with patch.object(PostgresLedger, "sends_beyond", lambda _: 0.0):
        yield


@contextmanager
def unnoted_after_silence() -> Iterator[None]:
    """Requests are sent again after a silence of the session, and that is not noted for the next holder."""

    def ping(self: PostgresLedger) -> None:
        self._select("SELECT 1")
        cast("Session", self._db).was_silent = False

    with patch.object(PostgresLedger, "ping", ping):
        yield


@contextmanager
def settled_first() -> Iterator[None]:
    """What others have left is taken out before what comes of it is committed."""
    real = inbox.Inbox._take

    async def take(self: inbox.Inbox, note: Note) -> LedgerRow | None:
        await self.ledger.call(self._shared.settle_note, note.id)
        return await real(self, note)

    with patch.object(inbox.Inbox, "_take", take):
        yield


@contextmanager
def decided_for_ever() -> Iterator[None]:
    """A decision is carried out on whatever submission of its row is unknown by then."""
    real = inbox.Inbox._decide

    async def decide(self: inbox.Inbox, content: Mapping[str, Any]) -> LedgerRow | None:
        return await real(self, {name: content[name] for name in content if name != "attempt"})

    with patch.object(inbox.Inbox, "_decide", decide):
        yield


@contextmanager
def own_clocks() -> Iterator[None]:
    """Each machine notes the last use of a key by its own clock."""
    with patch.object(PostgresLedger, "_ahead", property(lambda _: 0.0, lambda *_: None), create=True):
        yield


@contextmanager
def bell_alone() -> Iterator[None]:
    """The holder looks only when it is rung for."""
    with patch.object(inbox, "EVERY", 1e6):
        yield


@contextmanager
def each_for_itself() -> Iterator[None]:
    """A ledger takes in what another one of the database has."""
    with patch.object(PostgresLedger, "_elsewhere", lambda *_: {}):
        yield


@contextmanager
def budgets_apart() -> Iterator[None]:
    """Each ledger keeps to the budget as if it were alone with it."""
    with patch.object(PostgresLedger, "_committed_by", lambda *_: 0):
        yield


#: Of the simulation with a ledger that workers share.
SHARED_PLANTS: Mapping[str, Callable[[], AbstractContextManager[None]]] = {
    "second-connection": second_connection,
    "no-ping": no_ping,
    "in-flight-last": in_flight_last,
    "word-at-opening-only": word_at_opening_only,
    "next-at-once": next_at_once,
    "unnoted-after-silence": unnoted_after_silence,
    "settled-first": settled_first,
    "decided-for-ever": decided_for_ever,
    "own-clocks": own_clocks,
    "bell-alone": bell_alone,
    "each-for-itself": each_for_itself,
    "budgets-apart": budgets_apart,
}
PLANTS: Mapping[str, Callable[[], AbstractContextManager[None]]] = {
    "resend-after-timeout": resend_after_timeout,
    "commit-late": commit_late,
    "one-too-many": one_too_many,
    "reads-unbounded": reads_unbounded,
    "adopt-unchecked": adopt_unchecked,
    "window-from-send": window_from_send,
    "absent-differs": absent_differs,
    "forget-interrupted": forget_interrupted,
    "ignore-evidence": ignore_evidence,
    "reopen-for-all": reopen_for_all,
    "late-url-failed": late_url_failed,
    "log-not-missed": log_not_missed,
    "ignore-rise": ignore_rise,
    "answered-too-early": answered_too_early,
    "climb-after-refusal": climb_after_refusal,
}


def planted(name: str | None) -> AbstractContextManager[Any]:
    """Put one bug in, for a while; None puts in nothing."""
    return ExitStack() if name is None else {**PLANTS, **SHARED_PLANTS}[name]()
