"""What a ledger keeps, and what it can be asked; blocking calls, behind an injected hop to a thread."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from enum import Enum
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from attrs import field, frozen

from suno_video_async.errors import LedgerError
from suno_video_async.ledger.states import Cause, State, may_move
from suno_video_async.models import Track, VideoTaskId

#: Money is counted in whole millionths of a credit: sums of fractions would drift.
MICRO = 1_000_000
#: The error type of a row that a person gave up; it is never bought again by itself.
DROPPED = "Dropped"
#: The error type of a row that the server answered with a 500, and that its callback may still bring back; when
#: none comes in good time, it counts as not bought.
AWAITED = "AwaitsCallback"


class NoLedger(Enum):
    """The type of `NO_LEDGER`."""

    NO_LEDGER = "no ledger"

    def __repr__(self) -> str:
        return self.name


#: Passed as `ledger=`: remember nothing, and say nothing about it.
NO_LEDGER: Final = NoLedger.NO_LEDGER


class RowError(NamedTuple):
    """Why a row did not go on.

    Attributes:
        type: the name of the exception's class, or `DROPPED` or `AWAITED`.
        code: the API's error code, if it was one.
        message: the exception's text.

    """

    type: str
    code: int | None
    message: str


@frozen(kw_only=True, slots=False)  # with slots, it takes twice as long to make, and a track makes four
class LedgerRow:
    """One track in the ledger.

    Attributes:
        id: its number; small, for people to type.
        location: the place in the catalog that it came from.
        video_task_id: the newest attempt's task, when known.
        path: of the video, where it is a file.
        uri: where the video is, if that is not a file: in an object store.
        name: of the video's file, once that is decided; no other row has it.
        sha256: of the video on disk, where a run was asked for it.
        cost: micro-credits spent on it, over all its attempts.
        reserved: micro-credits set aside for an attempt that is not settled.
        failures: how many of its tasks have failed.
        attempts: how often it was submitted.
        since: Unix seconds of the newest attempt, or of the row's creation.
        error: what stopped it last.

    """

    id: int
    track: Track
    state: State
    location: str = ""
    video_task_id: VideoTaskId | None = None
    url: str | None = None
    path: Path | None = None
    uri: str | None = None
    name: str | None = None
    sha256: str | None = None
    cost: int = 0
    reserved: int = 0
    failures: int = 0
    attempts: int = 0
    since: float = 0.0
    error: RowError | None = None

    @property
    def reason(self) -> str | None:
        """The text of the error that stopped it last."""
        return self.error.message if self.error else None


@frozen(kw_only=True)
class Claim:
    """What a run is to do with a track.

    Attributes:
        row: the track's row, as it stands.
        repeated: the track came by in the same run before.
        changed: the row of the same song under another author or brand, where that is bought already or came by
            in this run.

    """

    row: LedgerRow
    repeated: bool = False
    changed: LedgerRow | None = None


@frozen(kw_only=True)
class Transition:
    """How a row moves on.

    Attributes:
        state: where to.
        cost: micro-credits that the server names for the task; None leaves what is known.
        uri: where the video is; noted where it is in an object store, and so has no path.
        ended: Unix seconds by which the task had ended, of the client's clock; what is kept is the time of its
            submission and `took`, where that is earlier.
        took: seconds that the task took, by the server's word.

    """

    state: State
    video_task_id: VideoTaskId | None = None
    url: str | None = None
    path: Path | None = None
    uri: str | None = None
    sha256: str | None = None
    cost: int | None = None
    ended: float | None = None
    took: float | None = None
    error: RowError | None = None


@frozen(kw_only=True)
class Attempt:
    """One submission of a row, found by its nonce.

    Attributes:
        row: its row, as it stands.
        newest: whether it is the row's last attempt.
        video_task_id: its task, when known.
        candidate: the task that a callback named for it, confirmed or not.

    """

    row: LedgerRow
    newest: bool
    video_task_id: VideoTaskId | None
    candidate: VideoTaskId | None


@frozen(kw_only=True)
class AttemptTimes:
    """When a submission was sent, and when its task ended.

    Attributes:
        row_id: its row's number.
        at: Unix seconds of its commit, right before it was sent.
        ended: Unix seconds of its task's end; None where it has none, or an older version did not keep it.
        took: seconds that its task took, by the server's word; None likewise.

    """

    row_id: int
    at: float
    ended: float | None = None
    took: float | None = None


@frozen(kw_only=True)
class Totals:
    """A ledger's sums, over its whole life.

    Attributes:
        states: how many rows are in each state.
        spent: micro-credits that ended tasks cost.
        reserved: micro-credits set aside for what is not settled, unknown rows included.

    """

    states: Mapping[State, int] = field(factory=dict[State, int])
    spent: int = 0
    reserved: int = 0


@frozen(kw_only=True)
class Added:
    """What became of tracks that were to be added to a ledger.

    Attributes:
        new: how many of them it has now, and had not before.
        elsewhere: those that another ledger of the same database has, by its name; they were not added.

    """

    new: int = 0
    elsewhere: Mapping[str, Sequence[Track]] = field(factory=dict[str, Sequence[Track]])


class LedgerReader(Protocol):
    """What a ledger can be asked, beside the process that writes it. Calls may block."""

    @property
    def name(self) -> str:
        """Where it is kept, for people: its file, or its address without a password."""
        ...

    @property
    def newest_schema(self) -> int:
        """The version that `schema_version` has once this program has written the ledger."""
        ...

    def writer(self) -> str | None:
        """Return who writes the ledger at present, in words, or None; it need not be open."""
        ...

    def problems(self) -> Sequence[str]:
        """Return what a thorough look at it finds wrong; of a large one that takes a while."""
        ...

    def schema_version(self) -> int:
        """Return the version of its tables; a writer updates older ones."""
        ...

    def open_to_read(self, account: tuple[str, str] | None = None, *, must_exist: bool = False) -> bool:
        """Open it without ever writing to it; return False if there is no such ledger yet.

        Args:
            account: the provider and the fingerprint that it must belong to; None for any.
            must_exist: whether it is an error if there is none.

        Raises:
            LedgerError: it is not a ledger, belongs to another account, or cannot be read.

        """
        ...

    def close(self) -> None:
        """Close it; harmless if it is not open."""
        ...

    @property
    def sums(self) -> tuple[int, int]:
        """Micro-credits spent and reserved. Never blocks; any thread may ask at any time."""
        ...

    def row(self, row_id: int) -> LedgerRow | None:
        """Return one row."""
        ...

    def find(self, track: Track) -> LedgerRow | None:
        """Return the row of a track; unlike `claim`, change nothing."""
        ...

    def rows(self, *states: State, after: int = 0, limit: int = 500) -> Sequence[LedgerRow]:
        """Return the rows in these states (any, if none are named) with ids above `after`, in their order."""
        ...

    def last_bought(self) -> LedgerRow | None:
        """Return the row whose task was bought last."""
        ...

    def times(self) -> Iterator[AttemptTimes]:
        """Yield the times of all submissions, ordered by row and attempt."""
        ...

    def totals(self) -> Totals:
        """Return the sums."""
        ...

    def prices(self, limit: int) -> Sequence[int]:
        """Return the micro-credits that the last rows' videos cost, newest last; at most `limit` of them.

        Rows that were submitted several times are left out: their cost is that of all attempts together.
        """
        ...

    def fact(self, name: str) -> str | None:
        """Return what an earlier run noted under a name, or None."""
        ...

    def provider(self) -> str | None:
        """Return the address of the service whose account it belongs to."""
        ...

    def at_one_moment(self) -> AbstractContextManager[None]:
        """Answer everything the block asks as of one moment, whatever is written meanwhile."""
        ...


class Ledger(LedgerReader, Protocol):
    """Keeps the rows of one account. Every call is durable when it returns, and may block.

    Attributes:
        same_account: whether it may go on with another key, if a task of the ledger is found with that key.

    """

    same_account: bool

    def is_same(self, other: Ledger) -> bool:
        """Whether another ledger keeps the same rows, under whatever name."""
        ...

    def reader(self) -> LedgerReader:
        """Return a separate reader of the same ledger, not yet open; the ledger itself may be in use."""
        ...

    def open(self, *, provider: str, fingerprint: str, must_exist: bool = False, proven: bool = False) -> None:
        """Open the ledger for writing; rows that an interrupted run left `submitting` become `unknown`.

        Args:
            provider: the service's address.
            fingerprint: of the key.
            must_exist: whether it is an error if there is none.
            proven: whether a task of the ledger was found with this key, so that both are of one account.

        Raises:
            AnotherKeyError: it belongs to another key.
            LedgerError: it belongs to another account or program, is corrupt or newer, or is being written; or it
                does not exist and must.

        """
        ...

    def open_to_load(self) -> None:
        """Open the ledger to add tracks to it, without an account: a new one is of the first that opens it.

        Raises:
            LedgerError: it cannot be used.

        """
        ...

    def add(self, rows: Sequence[tuple[Track, str]]) -> Added:
        """Commit that tracks, each with its place in a catalog, are wanted; those that it has stay as they are."""
        ...

    def begin_run(self) -> int:
        """Return the number of a new run: of one conversion, among others that write the same open ledger."""
        ...

    def claim(self, track: Track, *, location: str, run: int = 0) -> Claim:
        """Find or create the row of a track; it has the extra columns of this one.

        Args:
            track: the track.
            location: its place in the catalog.
            run: whose claim it is; 0 for what has no run of its own, such as a single submission.

        """
        ...

    def begin_attempt(
        self,
        row_id: int,
        *,
        nonce: str,
        at: float,
        reserve: int,
        budget: int | None,
        rebuy_changed: bool = True,
        known: LedgerRow | None = None,
    ) -> int:
        """Commit that a row's CreateTask is about to be sent, and return the attempt's number.

        A failed or refused row is planned and begun in one step. The row as the caller knows it, if that is given,
        saves reading it; one that stands otherwise is read all the same.

        Raises:
            AlreadyBoughtError: the same song is bought under another author or brand, and `rebuy_changed` is
                false; nothing changed.
            BudgetExceeded: `reserve` micro-credits more would exceed `budget`; nothing changed.
            LedgerError: the row may not be submitted as it stands, or the ledger cannot be written.

        """
        ...

    def reserve(self, row_ids: Collection[int], amount: int, *, lower: bool = False) -> None:
        """Commit that `amount` micro-credits are set aside for each of these rows, as far as they are not settled.

        A row for which more is set aside keeps that, unless `lower`.

        Raises:
            LedgerError: the ledger cannot be written.

        """
        ...

    def move(
        self,
        row_id: int,
        transition: Transition,
        *,
        cause: Cause = Cause.RUN,
        known: LedgerRow | None = None,
    ) -> LedgerRow:
        """Commit a transition that the table of moves allows, and return the row.

        The row as the caller knows it, if that is given, saves reading it, as for `begin_attempt`.
        With `Cause.SILENCE` a row moves only if no callback has named a task for its last attempt; otherwise it
        stays as it is.

        Raises:
            LedgerError: the move is not allowed, or the ledger cannot be written.

        """
        ...

    def attempt(self, nonce: str) -> Attempt | None:
        """Return the attempt that a callback's URL belongs to."""
        ...

    def bought_by(self, task_id: VideoTaskId) -> int | None:
        """Return the number of the row that is known to have bought a task."""
        ...

    def note_candidate(self, nonce: str, task_id: VideoTaskId) -> None:
        """Commit which task a callback named for an attempt, before the callback is answered."""
        ...

    def candidate(self, row_id: int) -> tuple[str, VideoTaskId] | None:
        """Return the nonce of a row's last attempt, and the task that a callback named for it."""
        ...

    def has_namesake(self, row: LedgerRow) -> bool:
        """Whether an older row has the same `suno_id`, ignoring case: some file systems ignore case, too."""
        ...

    def take_name(self, row_id: int, name: str) -> bool:
        """Commit the name of a row's file; False if another row has it, ignoring case: nothing changed then."""
        ...

    def untouched(
        self, state: State, *, runs: Collection[int] = (), after: int = 0, limit: int = 500
    ) -> Sequence[LedgerRow]:
        """Return rows in a state that no `claim` of these runs has touched, nor one without a run of its own."""
        ...

    def last_place(self) -> float | None:
        """Return the Unix seconds of the last request known to have been sent, or None."""
        ...

    def note_fact(self, name: str, value: str) -> None:
        """Commit something that the next run should know, such as that the API was out of reach."""
        ...

    def note_place(self, at: float) -> None:
        """Note that a request is being sent."""
        ...

    def durations(self, limit: int) -> Sequence[float]:
        """Return the seconds that the tasks of the last rows took, newest last; at most `limit` of them."""
        ...


def begun(row: LedgerRow, *, attempt: int, at: float, reserve: int) -> LedgerRow:
    """Return a row as it is once an attempt has begun."""
    return LedgerRow(  # `evolve` takes four times as long
        id=row.id,
        track=row.track,
        state=State.SUBMITTING,
        location=row.location,
        url=row.url,
        path=row.path,
        uri=row.uri,
        name=row.name,
        sha256=row.sha256,
        cost=row.cost,
        reserved=reserve,
        failures=row.failures,
        attempts=attempt,
        since=at,
        error=row.error,
    )


def task_of(row: LedgerRow) -> VideoTaskId:
    """Return the task that a row has bought."""
    if row.video_task_id is None:
        raise LedgerError(f"row {row.id} is {row.state} without a task's id: the ledger is damaged")
    return row.video_task_id


def is_given_up(row: LedgerRow) -> bool:
    """Whether a person gave a row up; it failed then without a task that failed."""
    dropped = row.error is not None and row.error.type == DROPPED
    return row.state is State.FAILED and (dropped or row.failures == 0)


def check_move(row: LedgerRow, new: State, cause: Cause) -> None:
    """Refuse a move that the table does not have."""
    if not may_move(row.state, new, cause):
        raise LedgerError(f"row {row.id} ({row.track.suno_id}) is {row.state} and cannot become {new}")


def all_rows(ledger: LedgerReader, *states: State) -> Iterator[LedgerRow]:
    """Yield rows a page at a time."""
    after = 0
    while page := ledger.rows(*states, after=after):
        yield from page
        after = page[-1].id
