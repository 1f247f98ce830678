"""The ledger from the event loop: every call hops to a thread, and none is cut short by a cancellation."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from functools import partial
from os import PathLike
from typing import ParamSpec, TypeVar

from suno_video_async._util.aio import RunBlocking, in_one_thread, inline, run_to_completion
from suno_video_async.clock import Clock
from suno_video_async.errors import AnotherKeyError, LedgerError, NotFoundError
from suno_video_async.ledger.model import Attempt, Claim, Ledger, LedgerRow, Totals, Transition
from suno_video_async.ledger.origin import origin_problem
from suno_video_async.ledger.register import WorkRegister
from suno_video_async.ledger.sqlite import SqliteLedger
from suno_video_async.ledger.states import Cause, State, may_move
from suno_video_async.models import TaskSnapshot, Track, VideoTaskId

P = ParamSpec("P")
T = TypeVar("T")


def as_ledger(ledger: Ledger | str | PathLike[str] | None) -> Ledger:
    """Return a ledger: the one given, one in a file, or one in memory."""
    return SqliteLedger(ledger) if ledger is None or isinstance(ledger, str | PathLike) else ledger


#: A task has ended for a row in one of these.
_ENDED = frozenset({State.SUCCEEDED, State.DOWNLOADED, State.FAILED})


class AsyncLedger:
    """One open ledger, of one part of a client or of several.

    Attributes:
        sync: what is kept.
        register: the rows that are being worked on.
        shared: whether several parts of a client have used it: a row may then have moved on since it was read.

    Args:
        ledger: what is kept.
        run_blocking: how its blocking calls leave the event loop; None picks by where it keeps its rows.

    """

    def __init__(self, ledger: Ledger, run_blocking: RunBlocking | None = None) -> None:
        in_memory = isinstance(ledger, SqliteLedger) and ledger.path is None
        self.sync = ledger
        self.register: WorkRegister = WorkRegister()
        self.shared: bool = False
        self._runs = set[int]()
        self._run_blocking = run_blocking or (inline if in_memory else in_one_thread())

    async def open(
        self,
        *,
        provider: str,
        fingerprint: str,
        ask: Callable[[VideoTaskId], Awaitable[TaskSnapshot]] | None = None,
    ) -> None:
        """Take the ledger for writing.

        Args:
            provider: the service's address.
            fingerprint: of the key.
            ask: asks about a task with this key, where the ledger may go on with another key of its account.

        Raises:
            LedgerError: it cannot be used, or belongs to another account.
            SunoVideoError: the service gave no answer about its task.

        """
        opening = partial(self.sync.open, provider=provider, fingerprint=fingerprint)
        try:
            await self._run_blocking(opening)
        except AnotherKeyError as error:
            kept = self.sync
            if ask is None or not isinstance(kept, SqliteLedger) or not kept.same_account:
                raise
            await self._prove_same_account(kept, ask, error)
            kept.proven = fingerprint
            await self._run_blocking(opening)

    async def _prove_same_account(
        self, kept: SqliteLedger, ask: Callable[[VideoTaskId], Awaitable[TaskSnapshot]], error: AnotherKeyError
    ) -> None:
        """Find a task of the ledger with the new key: an account is told of its own tasks only."""
        witness = await self._run_blocking(kept.witness)
        if witness is None or witness.video_task_id is None:
            raise LedgerError(
                f"{error.problem}, and it has no task to ask for with this key",
                fix="use another file for this key",
            ) from error
        try:
            problem = origin_problem(await ask(witness.video_task_id), witness)
        except NotFoundError:
            problem = f"this account has no task {witness.video_task_id}, which row {witness.id} has bought"
        if problem is not None:
            raise LedgerError(
                f"{error.problem}, and not to this account: {problem}", fix="use another file for this account"
            ) from error

    async def close(self) -> None:
        """Let go of it, whatever is being cancelled."""
        await run_to_completion(self.call(self.sync.close))

    async def call(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run one blocking call of the ledger beside the event loop."""
        return await self._run_blocking(partial(method, *args, **kwargs))

    async def begin_run(self) -> int:
        """Return the number of a new run, which goes on until `end_run`."""
        run = await self._run_blocking(self.sync.begin_run)
        self._runs.add(run)
        return run

    def end_run(self, run: int) -> None:
        """Note that a run has ended: what it leaves is for the others."""
        self._runs.remove(run)

    async def claim(self, track: Track, *, location: str, run: int = 0) -> Claim:
        """Find or make the row of a track, for a run or for a single submission."""
        return await self._run_blocking(partial(self.sync.claim, track, location=location, run=run))

    async def move(self, row: LedgerRow, transition: Transition, *, cause: Cause = Cause.RUN) -> LedgerRow:
        """Commit how a row goes on."""
        return await self._run_blocking(partial(self.sync.move, row.id, transition, cause=cause))

    async def settle(self, row: LedgerRow, transition: Transition) -> LedgerRow:
        """Commit how the task of a row ended; where another part of the client has done so, leave it at that."""
        return await self._run_blocking(partial(self._settle, row, transition))

    def _settle(self, row: LedgerRow, transition: Transition) -> LedgerRow:
        known = self.sync.row(row.id)
        ended = known is not None and known.state in _ENDED and known.video_task_id == row.video_task_id
        if known is not None and ended and not may_move(known.state, transition.state):
            return known
        return self.sync.move(row.id, transition)

    async def row(self, row_id: int) -> LedgerRow | None:
        """Return one row."""
        return await self._run_blocking(partial(self.sync.row, row_id))

    async def has_namesake(self, row: LedgerRow) -> bool:
        """Whether an older row has the same `suno_id`, and so the plain name of this one's file."""
        return await self._run_blocking(partial(self.sync.has_namesake, row))

    async def in_state(self, *states: State) -> AsyncGenerator[LedgerRow, None]:
        """Yield rows in these states, a page at a time."""
        after = 0
        while page := await self._run_blocking(partial(self.sync.rows, *states, after=after)):
            for row in page:
                yield row
            after = page[-1].id

    async def untouched(self, state: State) -> AsyncGenerator[LedgerRow, None]:
        """Yield rows in a state that neither the catalogs of the present runs nor single submissions named."""
        after = 0
        while page := await self._run_blocking(
            partial(self.sync.untouched, state, runs=tuple(self._runs), after=after)
        ):
            for row in page:
                yield row
            after = page[-1].id

    async def totals(self) -> Totals:
        """Return the sums."""
        return await self._run_blocking(self.sync.totals)

    async def last_place(self) -> float | None:
        """Return the Unix seconds of the last request known to have been sent."""
        return await self._run_blocking(self.sync.last_place)

    async def durations(self, most: int) -> Sequence[float]:
        """Return the seconds that the tasks of the last rows took, the newest last; at most so many."""
        return await self._run_blocking(partial(self.sync.durations, most))

    async def note_place(self, at: float) -> None:
        """Note that requests are being sent."""
        await self._run_blocking(partial(self.sync.note_place, at))

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
        return await self._run_blocking(partial(self.sync.attempt, nonce))

    async def bought_by(self, task_id: VideoTaskId) -> int | None:
        """Return the number of the row that bought a task."""
        return await self._run_blocking(partial(self.sync.bought_by, task_id))

    async def note_candidate(self, nonce: str, task_id: VideoTaskId) -> None:
        """Commit which task a callback named for an attempt."""
        await self._run_blocking(partial(self.sync.note_candidate, nonce, task_id))

    async def candidate(self, row: LedgerRow) -> tuple[str, VideoTaskId] | None:
        """Return the nonce of a row's last attempt, and the task that a callback named for it."""
        return await self._run_blocking(partial(self.sync.candidate, row.id))
