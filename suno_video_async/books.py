"""The ledger from the event loop: every call hops to a thread, and none is cut short by a cancellation."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from functools import partial
from os import PathLike
from typing import TypeVar

from attrs import define

from suno_video_async.errors import (
    APIError,
    InvalidRequestError,
    MalformedResponseError,
    NotFoundError,
    ServerError,
    SunoVideoError,
    TaskFailed,
)
from suno_video_async.finishing import Hop, in_one_thread, inline, to_the_end
from suno_video_async.ledger.base import AWAITED, MICRO, Attempt, Claim, Ending, Ledger, LedgerRow, Totals
from suno_video_async.ledger.sqlite import SqliteLedger
from suno_video_async.models import TaskSnapshot, Track, Video, VideoTaskId, normalised
from suno_video_async.pacing.clock import Clock
from suno_video_async.protocol.lifecycle import Cause, State
from suno_video_async.protocol.verdicts import Verdict, verdict
from suno_video_async.protocol.wire import Operation

T = TypeVar("T")

#: No video and no account comes near it: a larger figure is an error of the server's.
MOST_CREDITS = 1e9
#: A year: no task takes that long.
MOST_SECONDS = 366 * 86_400.0


def as_ledger(ledger: Ledger | str | PathLike[str] | None) -> Ledger:
    """Return a ledger: the one given, one in a file, or one in memory."""
    return SqliteLedger(ledger) if ledger is None or isinstance(ledger, str | PathLike) else ledger


async def _call(hop: Hop, call: Callable[[], T]) -> T:
    return await hop(call)


class Books:
    """One open ledger.

    Args:
        ledger: what is kept.
        hop: how its blocking calls leave the event loop; None picks by where it keeps its rows.

    """

    def __init__(self, ledger: Ledger, hop: Hop | None = None) -> None:
        in_memory = isinstance(ledger, SqliteLedger) and ledger.path is None
        self.ledger = ledger
        self._hop = hop or (inline if in_memory else in_one_thread())

    async def open(self, *, provider: str, fingerprint: str) -> None:
        """Take the ledger for writing."""
        await self._hop(partial(self.ledger.open, provider=provider, fingerprint=fingerprint))

    async def close(self) -> None:
        """Let go of it, whatever is being cancelled."""
        await to_the_end(_call(self._hop, self.ledger.close))

    async def claim(self, track: Track, *, where: str) -> Claim:
        """Find or make the row of a track."""
        return await self._hop(partial(self.ledger.claim, track, where=where))

    async def move(self, row: LedgerRow, ending: Ending, *, cause: Cause = Cause.RUN) -> LedgerRow:
        """Commit how a row goes on."""
        return await self._hop(partial(self.ledger.move, row.id, ending, cause=cause))

    async def row(self, row_id: int) -> LedgerRow | None:
        """Return one row."""
        return await self._hop(partial(self.ledger.row, row_id))

    async def has_namesake(self, row: LedgerRow) -> bool:
        """Whether an older row has the same `suno_id`, and so the plain name of this one's file."""
        return await self._hop(partial(self.ledger.has_namesake, row))

    async def in_state(self, *states: State) -> AsyncGenerator[LedgerRow, None]:
        """Yield rows in these states, a page at a time."""
        after = 0
        while page := await self._hop(partial(self.ledger.rows, *states, after=after)):
            for row in page:
                yield row
            after = page[-1].id

    async def untouched(self, state: State) -> AsyncGenerator[LedgerRow, None]:
        """Yield rows in a state that this run's catalog did not name."""
        after = 0
        while page := await self._hop(partial(self.ledger.untouched, state, after=after)):
            for row in page:
                yield row
            after = page[-1].id

    async def totals(self) -> Totals:
        """Return the sums."""
        return await self._hop(self.ledger.totals)

    async def last_place(self) -> float | None:
        """Return the Unix seconds of the last request known to have been sent."""
        return await self._hop(self.ledger.last_place)

    async def durations(self, most: int) -> Sequence[float]:
        """Return the seconds that the tasks of the last rows took, the newest last; at most so many."""
        return await self._hop(partial(self.ledger.durations, most))

    async def note_place(self, at: float) -> None:
        """Note that requests are being sent."""
        await self._hop(partial(self.ledger.note_place, at))

    async def keep_places(self, clock: Clock, per: float) -> None:
        """Keep the time of the newest requests, for whoever starts right after a crash.

        Noted whether or not something was sent: what is sent until the next note must not look older than it is.

        Args:
            clock: the client's time.
            per: the window's length in seconds.

        Raises:
            LedgerError: the ledger cannot be written.

        """
        while True:
            await self.note_place(clock.time())
            await clock.sleep(per / 2)

    async def attempt(self, nonce: str) -> Attempt | None:
        """Return the attempt that a callback's URL belongs to."""
        return await self._hop(partial(self.ledger.attempt, nonce))

    async def bought_by(self, task_id: VideoTaskId) -> int | None:
        """Return the number of the row that bought a task."""
        return await self._hop(partial(self.ledger.bought_by, task_id))

    async def note_candidate(self, nonce: str, task_id: VideoTaskId) -> None:
        """Commit which task a callback named for an attempt."""
        await self._hop(partial(self.ledger.note_candidate, nonce, task_id))

    async def candidate(self, row: LedgerRow) -> tuple[str, VideoTaskId] | None:
        """Return the nonce of a row's last attempt, and the task that a callback named for it."""
        return await self._hop(partial(self.ledger.candidate, row.id))

    def entry(
        self,
        row: LedgerRow,
        *,
        reserve: int = 0,
        most: int | None = None,
        strict: bool = False,
        sent_before: bool = False,
        callback_url: Callable[[str], str] | None = None,
    ) -> Entry:
        """Return the writer of one row's submission.

        Args:
            row: the row.
            reserve: micro-credits to set aside for it.
            most: the ledger's budget in micro-credits.
            strict: whether a 500 leaves the row unknown for good.
            sent_before: whether it is sent again after a 500 that was waited out.
            callback_url: makes the URL of an attempt of its nonce; a 500 then waits for it to be called.

        """
        awaits = callback_url is not None and not strict
        return Entry(self, row, reserve, most, strict or awaits, awaits, sent_before, callback_url)

    async def begin(self, row: LedgerRow, at: float, reserve: int, most: int | None) -> str:
        """Commit that a row is about to be sent, and return the attempt's nonce."""
        nonce = secrets.token_hex(16)
        begin: Callable[..., int] = self.ledger.begin_attempt
        await self._hop(partial(begin, row.id, nonce=nonce, at=at, reserve=reserve, most=most))
        return nonce


@define(eq=False)
class Entry:
    """Writes down one row's submission: before each send that it may be bought, after it what became of it."""

    books: Books
    row: LedgerRow
    reserve: int
    most: int | None
    strict: bool
    awaits: bool
    sent_before: bool
    callback_url: Callable[[str], str] | None = None

    async def before(self, at: float) -> str | None:
        """Commit, before a byte leaves, that the row may be bought from now on; return the callback's URL."""
        nonce = await self.books.begin(self.row, at, self.reserve, self.most)
        return None if self.callback_url is None else self.callback_url(nonce)

    async def after(self, task_id: VideoTaskId | None, error: SunoVideoError | None) -> None:
        """Commit what the send came to."""
        self.row = await self.books.move(self.row, self._ending(task_id, error))

    def _ending(self, task_id: VideoTaskId | None, error: SunoVideoError | None) -> Ending:
        if task_id is not None or error is None:
            return Ending(state=State.SUBMITTED, video_task_id=task_id)
        meaning = verdict(Operation.CREATE_TASK, error, strict=self.strict)
        if meaning is Verdict.UNKNOWN:
            kept = error.task_id if isinstance(error, MalformedResponseError) else None
            candidate = None if kept is None else VideoTaskId(kept)
            name, code, said = described(error)
            if self.awaits and isinstance(error, ServerError):
                name = AWAITED
            return Ending(state=State.UNKNOWN, video_task_id=candidate, error=(name, code, said))
        refused = isinstance(error, InvalidRequestError | NotFoundError)
        return Ending(state=State.REFUSED if refused else State.PLANNED, error=described(error))


def ending_of(end: Video | SunoVideoError, *, now: float) -> Ending | None:
    """Return how a submitted row moves on when its task was followed to this end; None leaves it submitted.

    Args:
        end: the task's end.
        now: Unix seconds, of the client's clock: the task ended then at the latest.

    """
    if not isinstance(end, Video | TaskFailed):
        return Ending(state=State.UNKNOWN, error=described(end)) if isinstance(end, NotFoundError) else None
    took = _took(end.snapshot)
    if isinstance(end, Video):
        return Ending(state=State.SUCCEEDED, url=end.url, cost=micro(end.credits), ended=now, took=took)
    cost = micro(end.snapshot.credits)
    return Ending(state=State.FAILED, cost=cost, ended=now, took=took, error=described(end))


def _took(said: TaskSnapshot) -> float | None:
    """Return the seconds that a task took by the server's word; what makes no sense counts as not said."""
    seconds = said.duration_s
    if seconds is None and said.create_at is not None and said.complete_at is not None:
        seconds = said.complete_at - said.create_at
    return seconds if seconds is not None and 0 <= seconds <= MOST_SECONDS else None


def described(error: Exception) -> tuple[str, int | None, str]:
    """Return an error as the ledger keeps it: type, code, message."""
    return type(error).__name__, error.code if isinstance(error, APIError) else None, str(error)


def micro(amount: float | None) -> int | None:
    """Return an amount of credits in whole micro-credits; one that makes no sense counts as not said."""
    return None if amount is None or not 0 <= amount <= MOST_CREDITS else round(amount * MICRO)


def origin_problem(snapshot: TaskSnapshot, row: LedgerRow) -> str | None:
    """Return why a task cannot be what a row bought, or None where it is made from exactly what the row says."""
    if not snapshot.input:
        return (
            f"the service does not say what task {snapshot.task_id} is made from,"
            f" so that it cannot be taken for row {row.id}"
        )
    differences = "; ".join(_differences(snapshot, row.track))
    return f"task {snapshot.task_id} is not of row {row.id}: {differences}" if differences else None


def _differences(snapshot: TaskSnapshot, track: Track) -> Iterator[str]:
    wanted = {"task_id": track.task_id, "suno_id": track.suno_id, "author": track.author, "brand": track.brand}
    for name, mine in wanted.items():
        said: object = snapshot.input.get(name)
        its = normalised(said) if isinstance(said, str) else said
        if (its if its is not None else "") != (mine or ""):
            yield f"its {name} is {str(its or 'absent')[:80]!r}, the row's {mine or 'absent'!r}"
