"""The ledger from the event loop: no call blocks it, and none is cut short by a cancellation."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import closing
from functools import partial
from typing import ParamSpec, TypeVar

from suno_video_async._util.aio import RunBlocking, in_one_thread, in_place, run_to_completion
from suno_video_async.clock import Clock
from suno_video_async.errors import AnotherKeyError, LedgerError, LedgerLost, NotFoundError
from suno_video_async.ledger.commands import Commands
from suno_video_async.ledger.group_commit import GroupCommit
from suno_video_async.ledger.holding import HeldLedger, Holding
from suno_video_async.ledger.model import Ledger, LedgerReader, LedgerRow, Transition, task_of
from suno_video_async.ledger.origin import origin_problem
from suno_video_async.ledger.register import WorkRegister
from suno_video_async.ledger.shared import Note, SharedLedger
from suno_video_async.ledger.sqlite import SqliteLedger
from suno_video_async.ledger.states import Cause, State, may_move
from suno_video_async.models import LimitsFound, TaskSnapshot, VideoTaskId

#: The name of the fact under which limits that were found are kept for the next run.
LIMITS = "limits"

P = ParamSpec("P")
T = TypeVar("T")


def last_bought(reader: LedgerReader) -> LedgerRow | None:
    """Return the row whose task was bought last, of a ledger that is not open."""
    with closing(reader):
        reader.open_to_read(must_exist=True)
        return reader.last_bought()


def _runner_of(ledger: Ledger) -> RunBlocking:
    """Return how the calls of a ledger leave the event loop; those of one in memory share commits in place."""
    if not isinstance(ledger, Commands):
        return in_one_thread()
    in_memory = isinstance(ledger, SqliteLedger) and ledger.path is None
    return GroupCommit(ledger.one_commit, in_place if in_memory else None)


#: A task has ended for a row in one of these.
_ENDED = frozenset({State.SUCCEEDED, State.DOWNLOADED, State.FAILED})


class AsyncLedger:
    """One open ledger, of one part of a client or of several.

    Attributes:
        sync: what is kept.
        register: the rows that are being worked on.
        shared: whether several parts of a client have used it: a row may then have moved on since it was read.
        on_lost: what is called, with the reason, when the session that it goes with has ended.

    Args:
        ledger: what is kept.
        run_blocking: how its blocking calls leave the event loop; None picks by where it keeps its rows.

    """

    def __init__(self, ledger: Ledger, run_blocking: RunBlocking | None = None) -> None:
        self.sync = ledger
        self.register: WorkRegister = WorkRegister()
        self.shared: bool = False
        self.on_lost: dict[Callable[[LedgerLost], None], None] = {}
        self._holding: Holding | None = None
        self._runs = set[int]()
        self._run_blocking = run_blocking or _runner_of(ledger)

    def call(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]:
        """Start a blocking call off the event loop: `await ledger.call(ledger.sync.claim, track, location="")`.

        Calls are made in the order in which they are started.
        """
        return self._run_blocking(partial(method, *args, **kwargs))

    async def open(
        self,
        *,
        provider: str,
        fingerprint: str,
        must_exist: bool = False,
        ask: Callable[[VideoTaskId], Awaitable[TaskSnapshot]] | None = None,
    ) -> None:
        """Take the ledger for writing.

        Args:
            provider: the service's address.
            fingerprint: of the key.
            must_exist: whether it is an error if there is none.
            ask: asks about a task with this key, if the ledger may go on with another key of its account.

        Raises:
            LedgerError: it cannot be used, or belongs to another account.
            SunoVideoError: the service gave no answer about its task.

        """
        opening = partial(self.sync.open, provider=provider, fingerprint=fingerprint, must_exist=must_exist)
        try:
            await self.call(opening)
        except AnotherKeyError as error:
            if ask is None or not self.sync.same_account:
                raise
            await self._prove_same_account(ask, error)
            await self.call(opening, proven=True)

    async def _prove_same_account(
        self, ask: Callable[[VideoTaskId], Awaitable[TaskSnapshot]], error: AnotherKeyError
    ) -> None:
        """Find a task of the ledger with the new key: an account sees its own tasks only."""
        witness = await self.call(last_bought, self.sync.reader())
        if witness is None:
            raise LedgerError(
                f"{error.problem}, and it has no task to ask for with this key",
                fix="use another file for this key",
            ) from error
        task_id = task_of(witness)
        try:
            problem = origin_problem(await ask(task_id), witness)
        except NotFoundError:
            problem = f"this account has no task {task_id}, which row {witness.id} has bought"
        if problem is not None:
            raise LedgerError(
                f"{error.problem}, and not to this account: {problem}", fix="use another file for this account"
            ) from error

    def hold(self) -> None:
        """Begin to watch the session that an open ledger goes with, if there is one."""
        if isinstance(self.sync, HeldLedger):
            self._holding = Holding(self.sync, self._run_blocking, self._lose)

    def is_held(self) -> bool:
        """Whether it is certain that the ledger is still this process's. Never blocks."""
        return self._holding is None or self._holding.is_fresh()

    def sends_beyond(self) -> float:
        """Return for how many seconds after it was opened another process may still send with its key."""
        return self.sync.sends_beyond() if isinstance(self.sync, HeldLedger) else 0.0

    async def confirm(self) -> None:
        """Return once it is certain that the ledger is still this process's.

        Raises:
            LedgerLost: it is not.

        """
        if self._holding is not None:
            try:
                await self._holding.confirm()
            except LedgerLost as error:
                self._lose(error)
                raise

    def _lose(self, error: LedgerLost) -> None:
        for lose in tuple(self.on_lost):
            lose(error)

    async def close(self) -> None:
        """Close it, even while the caller is being cancelled."""
        await run_to_completion(self._close())

    async def _close(self) -> None:
        holding, self._holding = self._holding, None
        if holding is not None:
            await holding.stop()
        await self.call(self.sync.close)

    async def begin_run(self) -> int:
        """Return the number of a new run, which goes on until `end_run`."""
        run = await self.call(self.sync.begin_run)
        self._runs.add(run)
        return run

    def end_run(self, run: int) -> None:
        """Note that a run has ended: what it leaves is for the others."""
        self._runs.remove(run)

    def move(self, row: LedgerRow, transition: Transition, *, cause: Cause = Cause.RUN) -> Awaitable[LedgerRow]:
        """Commit a transition of a row."""
        return self.call(self.sync.move, row.id, transition, cause=cause, known=row)

    def settle(self, row: LedgerRow, transition: Transition) -> Awaitable[LedgerRow]:
        """Commit how the task of a row ended; where another part of the client has done so, leave it at that."""
        return self.call(self._settle, row, transition)

    def _settle(self, row: LedgerRow, transition: Transition) -> LedgerRow:
        try:
            return self.sync.move(row.id, transition, known=row)
        except LedgerError:
            known = self.sync.row(row.id)
            ended = known is not None and known.state in _ENDED and known.video_task_id == row.video_task_id
            if known is None or not ended or may_move(known.state, transition.state):
                raise
            return known

    async def rows(self, *states: State) -> AsyncGenerator[LedgerRow, None]:
        """Yield the rows in these states, read in pages."""
        after = 0
        while page := await self.call(self.sync.rows, *states, after=after):
            for row in page:
                yield row
            after = page[-1].id

    async def untouched(self, state: State) -> AsyncGenerator[LedgerRow, None]:
        """Yield the rows in a state that neither the catalogs of the present runs nor single submissions named."""
        after = 0
        while page := await self.call(self.sync.untouched, state, runs=tuple(self._runs), after=after):
            for row in page:
                yield row
            after = page[-1].id

    async def notes(self) -> AsyncGenerator[Note, None]:
        """Yield what other processes have left in it, oldest first, read in pages; in a file there is nothing."""
        ledger, after = self.sync, 0
        if not isinstance(ledger, SharedLedger):
            return
        while page := await self.call(ledger.notes, after=after):
            for note in page:
                yield note
            after = page[-1].id

    async def called_row(self, note: Note) -> int | None:
        """Return the number of the row that a note is about, if it is a callback and there is such a row."""
        if note.kind != "callback":
            return None
        attempt = await self.call(self.sync.attempt, str(note.content.get("nonce")))
        return None if attempt is None else attempt.row.id

    async def keep_places(
        self, clock: Clock, per: float, limits: Callable[[], LimitsFound | None] = lambda: None
    ) -> None:
        """Keep the time of the newest requests, for a process that starts right after a crash, and limits found.

        The caller made the first note, before the first request. A note does not wait for one to be sent: what is
        sent until the next note must not look older than it is.

        Args:
            clock: the client's time.
            per: the window's length in seconds.
            limits: returns the limits that were found, to be written when they have changed; None if there are
                none.

        Raises:
            LedgerError: the ledger cannot be written.

        """
        kept = LimitsFound()
        while True:
            if (found := limits()) is not None and found != kept:
                kept = found
                await self.call(self.sync.note_fact, LIMITS, found.dump(clock.time()))
            await clock.sleep(per / 2)
            await self.call(self.sync.note_place, clock.time())
