"""`client.unknowns()`: rows that may be bought, settled by a person's evidence or decision."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import aclosing, closing, contextmanager
from functools import partial
from types import TracebackType
from typing import Literal, Protocol

from suno_video_async._util.aio import in_one_thread
from suno_video_async.batch.witness import FACT, Evidence, still_open
from suno_video_async.errors import LedgerError
from suno_video_async.ledger.address import LedgerPlace, as_ledger, sealed
from suno_video_async.ledger.aio import AsyncLedger
from suno_video_async.ledger.model import DROPPED, Ledger, LedgerReader, LedgerRow, RowError, Transition, all_rows
from suno_video_async.ledger.opened import OpenLedgers
from suno_video_async.ledger.origin import origin_problem
from suno_video_async.ledger.shared import SharedLedger
from suno_video_async.ledger.states import Cause, State
from suno_video_async.models import TaskSnapshot, VideoTaskId, video_task_id
from suno_video_async.protocol.origin import disagreement

#: The error of a row that a person gave up.
GIVEN_UP = RowError(DROPPED, None, "given up by hand")


class UnknownsClient(Protocol):
    """What settling needs of a client; it must be open for `adopt` alone."""

    @property
    def account(self) -> tuple[str, str]:
        """The provider and a fingerprint of the key."""
        ...

    async def status(self, task_id: VideoTaskId) -> TaskSnapshot:
        """Ask once about a task."""
        ...


class Unknowns:
    """The unknown rows of a ledger, open to be settled.

    Use it as `async with client.unknowns("catalog.ledger.db") as unknowns:`; no other client can write the ledger
    meanwhile. What an interrupted run was just sending is unknown from then on. Where this client works on a row
    itself, such as one whose callback it waits for, that is refused until it has finished.

    Args:
        client: whose account it is.
        ledger: the ledger, or its file.
        ledgers: the ledgers that the client has open, if it is open: its own is not opened for the second time.

    """

    def __init__(
        self,
        client: UnknownsClient,
        ledger: LedgerPlace,
        ledgers: OpenLedgers | None = None,
    ) -> None:
        self._client = client
        ledger = sealed(ledger)
        self._ledger = AsyncLedger(as_ledger(ledger))
        self._ledgers = ledgers or OpenLedgers(self._open)

    async def __aenter__(self) -> Unknowns:
        """Open the ledger.

        Raises:
            LedgerError: there is none, it belongs to another account, or it is being written.

        """
        self._ledger = await self._ledgers.acquire(self._ledger, must_exist=True)
        return self

    async def _open(self, ledger: AsyncLedger, must_exist: bool) -> None:
        provider, fingerprint = self._client.account
        await ledger.call(ledger.sync.open, provider=provider, fingerprint=fingerprint, must_exist=must_exist)

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._ledgers.release(self._ledger)

    async def rows(self) -> list[LedgerRow]:
        """Return the unknown rows in their order."""
        return [row async for row in self._ledger.rows(State.UNKNOWN)]

    async def adopt(self, row_id: int, task_id: VideoTaskId | str, *, attempt: int | None = None) -> LedgerRow:
        """Take a video task as the one that an unknown row bought; the next conversion follows it.

        The service is asked first: the task must be made from exactly what the row says. If it is the id that the
        row has, it is enough that the service names no other track.

        Args:
            row_id: the row's number.
            task_id: the **video** task's id.
            attempt: which submission of the row this is about (`LedgerRow.attempts`); None for its last one.

        Raises:
            ValueError: this cannot be a task's id.
            LedgerError: the row is not unknown, or is being worked on; the task is not its, or belongs to another
                row; nothing changed.
            NotFoundError: the account has no such task; nothing changed.
            APIError: the question was refused; nothing changed.
            TransportError: no readable answer came; nothing changed.

        """
        known = video_task_id(task_id)
        with self._alone_with(row_id):
            row = await self._unknown(row_id, attempt)
            snapshot = await self._client.status(known)
            # The id that stood in the row's own answer needs less than one that a person has found.
            own = known == row.video_task_id
            if problem := disagreement(snapshot, row.track) if own else origin_problem(snapshot, row):
                raise LedgerError(problem)
            return await self._move(row, Transition(state=State.SUBMITTED, video_task_id=known))

    async def resend(self, *row_ids: int, attempt: int | None = None) -> list[LedgerRow]:
        """Let the next conversion buy these rows again, which may be for the second time.

        Args:
            row_ids: the rows' numbers.
            attempt: as for `adopt`.

        Raises:
            LedgerError: one of them is not unknown, is being worked on, or has a callback that waits for a worker;
                nothing changed.

        """
        return await self._move_all(row_ids, attempt, Transition(state=State.PLANNED))

    async def drop(self, *row_ids: int, attempt: int | None = None) -> list[LedgerRow]:
        """Give these rows up: they count as failed from now on.

        Args:
            row_ids: the rows' numbers.
            attempt: as for `adopt`.

        Raises:
            LedgerError: as for `resend`.

        """
        return await self._move_all(row_ids, attempt, Transition(state=State.FAILED, error=GIVEN_UP))

    async def _move_all(
        self, row_ids: Sequence[int], attempt: int | None, transition: Transition
    ) -> list[LedgerRow]:
        with self._alone_with(*dict.fromkeys(row_ids)):
            rows = [await self._unknown(row_id, attempt) for row_id in dict.fromkeys(row_ids)]
            await self._refuse_called(row_ids)
            return [await self._move(row, transition) for row in rows]

    async def _refuse_called(self, row_ids: Sequence[int]) -> None:
        """Refuse to decide about a row whose callback has come and waits for a worker: it is bought."""
        async with aclosing(self._ledger.notes()) as notes:
            async for note in notes:
                row_id = await self._ledger.called_row(note)
                if row_id in row_ids:
                    raise LedgerError(
                        f"row {row_id}: a callback has named the task {note.content.get('task_id')}, and waits for"
                        " a worker",
                        fix="let one go on with this ledger, or adopt that task",
                        temporary=True,
                    )

    @contextmanager
    def _alone_with(self, *row_ids: int) -> Generator[None, None, None]:
        """Keep the rest of the client from the rows, while one of them is settled."""
        register = self._ledger.register
        if busy := [row_id for row_id in row_ids if register.find(row_id) is not None]:
            raise LedgerError(
                f"row {busy[0]} is being worked on and may be settled by that",
                fix="decide once it has ended",
                temporary=True,
            )
        for row_id in row_ids:
            register.begin(row_id)
        try:
            yield
        finally:
            for row_id in row_ids:
                register.end(row_id)

    async def _unknown(self, row_id: int, attempt: int | None) -> LedgerRow:
        row = await self._ledger.call(self._ledger.sync.row, row_id)
        if row is None:
            raise LedgerError(f"the ledger has no row {row_id}")
        if row.state is not State.UNKNOWN:
            raise LedgerError(f"row {row_id} ({row.track.suno_id}) is not unknown but {row.state}")
        if attempt not in {None, row.attempts}:
            raise LedgerError(f"row {row_id} ({row.track.suno_id}) was submitted again since that was decided")
        return row

    async def _move(self, row: LedgerRow, transition: Transition) -> LedgerRow:
        return await self._ledger.move(row, transition, cause=Cause.PERSON)


async def unknown_rows(ledger: LedgerPlace) -> list[LedgerRow]:
    """Return the rows of a ledger that may be bought, also while it is being written; nothing is written.

    Rows that are `submitting` are among them: they are in flight while a conversion runs, and unknown when it was
    interrupted.

    Raises:
        LedgerError: there is no ledger, or it cannot be read.

    """
    ledger = sealed(ledger)
    return await in_one_thread()(partial(_read, as_ledger(ledger).reader()))


async def leave_decisions(
    ledger: LedgerPlace, verb: Literal["adopt", "resend", "drop"], *row_ids: int, task_id: str | None = None
) -> list[LedgerRow]:
    """Leave decisions about unknown rows for the process that holds a ledger; it carries them out within seconds.

    Where it works on such a row, or waits for its callback, it does so once that has ended. A decision is about
    the submission that was lost when it was made: it is not carried out on a later one of the same row.

    Raises:
        LedgerError: one of the rows is not unknown, and nothing was left; or the ledger has no holder that takes
            decisions, since it is a file.

    """
    return await in_one_thread()(partial(_leave, as_ledger(sealed(ledger)), verb, row_ids, task_id))


def _leave(ledger: Ledger, verb: str, row_ids: Sequence[int], task_id: str | None) -> list[LedgerRow]:
    if not isinstance(ledger, SharedLedger):
        raise LedgerError(
            f"{ledger.name} takes no decisions while it is written", fix="wait for its writer to end"
        )
    found = {row.id: row for row in _read(ledger.reader())}
    if wrong := [row_id for row_id in row_ids if row_id not in found]:
        raise LedgerError(f"row {wrong[0]} is not unknown")
    with closing(ledger):
        ledger.open_to_load()
        for row_id in row_ids:
            named = {} if task_id is None else {"task_id": task_id}
            about = {"row": row_id, "attempt": found[row_id].attempts}
            ledger.leave_note("decision", {"verb": verb, **about, **named})
    return [found[row_id] for row_id in row_ids]


async def balance_evidence(ledger: LedgerPlace) -> list[Evidence]:
    """Return what the balance says about rows of a ledger that are still unknown, by run; nothing is written.

    Raises:
        LedgerError: there is no ledger, or it cannot be read.

    """
    ledger = sealed(ledger)
    return await in_one_thread()(partial(_read_evidence, as_ledger(ledger).reader()))


def _read_evidence(reader: LedgerReader) -> list[Evidence]:
    try:
        reader.open_to_read(must_exist=True)
        return still_open(reader.fact(FACT), {row.id for row in all_rows(reader, State.UNKNOWN)})
    finally:
        reader.close()


def _read(reader: LedgerReader) -> list[LedgerRow]:
    try:
        reader.open_to_read(must_exist=True)
        return list(all_rows(reader, State.UNKNOWN, State.SUBMITTING))
    finally:
        reader.close()
