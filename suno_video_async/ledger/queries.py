"""What can be asked of a ledger in a database: one text of each question, for every database that has ledgers."""

from __future__ import annotations

import json
import os
from abc import abstractmethod
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Protocol

from suno_video_async._util.netaddr import is_uri
from suno_video_async.errors import AnotherKeyError, LedgerError
from suno_video_async.ledger.model import Attempt, AttemptTimes, LedgerRow, RowError, Totals
from suno_video_async.ledger.states import State
from suno_video_async.models import Track, VideoTaskId, track_as_kept

COLUMNS = """r.id, r.task_id, r.suno_id, r.author, r.brand, r.extra, r.place, r.state, a.video_task_id, r.url,
    r.path, r.sha256, r.name, r.cost, r.reserved, r.failures, r.since, r.error, r.attempt"""
FROM = "FROM rows r LEFT JOIN attempts a ON a.row_id = r.id AND a.n = r.attempt"
#: States by their words; to call the enumeration takes five times as long.
_STATES = {state.value: state for state in State}
#: Attempts that are read at a time.
PAGE = 5000


class Cursor(Protocol):
    """What a statement has come to."""

    @property
    def rowcount(self) -> int:
        """How many rows it has changed."""
        ...

    def fetchone(self) -> Any:
        """Return the next row, or None."""
        ...

    def fetchall(self) -> list[Any]:
        """Return the rows that are left."""
        ...


class Connection(Protocol):
    """A connection to a database, as far as statements need one; `?` stands for a value."""

    @property
    def total_changes(self) -> int:
        """How many rows it has changed so far."""
        ...

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open and can go on."""
        ...

    def execute(self, statement: str, values: Sequence[Any] = (), /) -> Cursor:
        """Carry out one statement."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


class Queries:
    """An open ledger, as far as it is read."""

    #: Begins a transaction that sees one moment.
    _SNAPSHOT: ClassVar[str]
    #: Whether a row's `suno_id` is the given one, ignoring the case of letters; an index must serve it.
    _SAME_SUNO_ID: ClassVar[str]

    def __init__(self) -> None:
        self._connection: Connection | None = None
        self._run = 0
        self._spent: int = 0
        self._reserved: int = 0
        #: Seconds by which the clock that it keeps times by is ahead of this process's.
        self._ahead: float = 0.0

    @property
    @abstractmethod
    def name(self) -> str:
        """Where it is kept, for people."""

    @abstractmethod
    def _translate(self, error: BaseException) -> None:
        """Raise the `LedgerError` for what the database says; return where it is not the database's error."""

    @contextmanager
    def _translated(self) -> Generator[None, None, None]:
        """Let what the database says become a `LedgerError`."""
        try:
            yield
        except BaseException as error:
            self._translate(error)
            raise

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {'open' if self._connection else 'closed'}>"

    def close(self) -> None:
        """Close it; harmless if it is not open."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def attempt(self, nonce: str) -> Attempt | None:
        """Return the attempt that a callback's URL belongs to."""
        query = "SELECT row_id, n, video_task_id, candidate FROM attempts WHERE nonce = ?"
        for row_id, n, video, candidate in self._select(query, nonce):
            row = self._need(row_id)
            return Attempt(
                row=row,
                newest=n == row.attempts,
                video_task_id=None if video is None else VideoTaskId(video),
                candidate=None if candidate is None else VideoTaskId(candidate),
            )
        return None

    def last_bought(self) -> LedgerRow | None:
        """Return the row whose task was bought last."""
        found = self._select(
            f"SELECT {COLUMNS} {FROM} WHERE a.video_task_id IS NOT NULL AND a.state != 'unknown'"
            " ORDER BY a.at DESC LIMIT 1"
        )
        return row_of(found[0]) if found else None

    def bought_by(self, task_id: VideoTaskId) -> int | None:
        """Return the number of the row that bought a task."""
        found = self._select("SELECT row_id FROM attempts WHERE video_task_id = ? AND state != 'unknown'", task_id)
        return int(found[0][0]) if found else None

    def candidate(self, row_id: int) -> tuple[str, VideoTaskId] | None:
        """Return the nonce of a row's last attempt, and the task that a callback named for it."""
        found = self._select(
            "SELECT a.nonce, a.candidate FROM attempts a JOIN rows r ON r.id = a.row_id AND a.n = r.attempt"
            " WHERE r.id = ? AND a.candidate IS NOT NULL",
            row_id,
        )
        return (found[0][0], VideoTaskId(found[0][1])) if found else None

    def row(self, row_id: int) -> LedgerRow | None:
        """Return one row."""
        found = self._select(f"SELECT {COLUMNS} {FROM} WHERE r.id = ?", row_id)
        return row_of(found[0]) if found else None

    def find(self, track: Track) -> LedgerRow | None:
        """Return the row of a track, without touching it."""
        found = self._select(f"SELECT {COLUMNS} {FROM} WHERE r.key = ?", track.key)
        return row_of(found[0]) if found else None

    def has_namesake(self, row: LedgerRow) -> bool:
        """Whether an older row has the same `suno_id`, but for case: some file systems do not tell that apart."""
        query = f"SELECT EXISTS (SELECT 1 FROM rows WHERE {self._SAME_SUNO_ID} AND id < ?)"  # noqa: S608  a constant
        return bool(self._select(query, row.track.suno_id, row.id)[0][0])

    def rows(self, *states: State, after: int = 0, limit: int = 500) -> Sequence[LedgerRow]:
        """Return rows in these states (any, when none are named) with ids above `after`, in their order."""
        wanted = [state.value for state in states or State]
        found = self._select(
            f"SELECT {COLUMNS} {FROM} WHERE r.state IN ({', '.join('?' * len(wanted))}) AND r.id > ?"
            " ORDER BY r.id LIMIT ?",
            *wanted,
            after,
            limit,
        )
        return [row_of(values) for values in found]

    def untouched(
        self, state: State, *, runs: Collection[int] = (), after: int = 0, limit: int = 500
    ) -> Sequence[LedgerRow]:
        """Return rows in a state that no `claim` of these runs has touched, nor one without a run of its own."""
        # The state stands in the text: SQLite uses a partial index for literals only.
        found = self._select(
            f"SELECT {COLUMNS} {FROM} WHERE r.state = '{state.value}' AND r.id > ?"
            f" AND r.run NOT IN ({', '.join('?' * (1 + len(runs)))})"
            " AND r.state NOT IN ('succeeded', 'downloaded') ORDER BY r.id LIMIT ?",
            after,
            self._run,
            *runs,
            limit,
        )
        return [row_of(values) for values in found]

    def times(self) -> Iterator[AttemptTimes]:
        """Yield the times of all submissions, those of one row after the other."""
        query = (
            "SELECT row_id, n, at, ended, took FROM attempts WHERE (row_id, n) > (?, ?) ORDER BY row_id, n LIMIT ?"
        )
        last = (0, 0)
        while page := self._select(query, *last, PAGE):
            for row_id, n, at, ended, took in page:
                yield AttemptTimes(row_id=row_id, at=at, ended=ended, took=took)
                last = row_id, n

    def provider(self) -> str | None:
        """Return the address of the service whose account it belongs to."""
        return self._meta("provider")

    @contextmanager
    def at_one_moment(self) -> Generator[None, None, None]:
        """Let all that the block asks be answered as of one moment, whatever is written meanwhile."""
        with self._translated():
            self._db.execute(self._SNAPSHOT)
        try:
            yield
        finally:
            self._db.execute("ROLLBACK")

    def totals(self) -> Totals:
        """Return the sums."""
        counts = self._select("SELECT state, COUNT(*) FROM rows GROUP BY state")
        return Totals(
            states={State(state): number for state, number in counts}, spent=self._spent, reserved=self._reserved
        )

    @property
    def sums(self) -> tuple[int, int]:
        """Micro-credits spent and set aside, without asking the file: any thread may look, at any time."""
        return self._spent, self._reserved

    def fact(self, name: str) -> str | None:
        """Return what an earlier run noted under a name, or None."""
        return self._meta(f"fact.{name}")

    def last_place(self) -> float | None:
        """Return the Unix seconds of the last request known to have been sent, or None."""
        value = self._meta("last_place")
        return None if value is None else float(value) - self._ahead

    def durations(self, limit: int) -> Sequence[float]:
        """Return the seconds that the tasks of the last rows took, the newest last; at most so many."""
        query = "SELECT took FROM attempts WHERE took IS NOT NULL ORDER BY row_id DESC, n DESC LIMIT ?"
        return [took for (took,) in reversed(self._select(query, limit))]

    def prices(self, limit: int) -> Sequence[int]:
        """Return the micro-credits that the last rows' videos cost, the newest last; at most so many."""
        query = (
            "SELECT cost FROM rows WHERE state IN ('succeeded', 'downloaded') AND attempt = 1 AND cost > 0"
            " ORDER BY id DESC LIMIT ?"
        )
        return [cost for (cost,) in reversed(self._select(query, limit))]

    # Beneath

    @property
    def _db(self) -> Connection:
        if self._connection is None:
            raise LedgerError(f"{self!r} is not open")
        return self._connection

    def _select(self, query: str, *values: object) -> list[Any]:
        try:
            return self._db.execute(query, values).fetchall()
        except BaseException as error:
            self._translate(error)
            raise

    def _need(self, row_id: int) -> LedgerRow:
        row = self.row(row_id)
        if row is None:
            raise no_row(row_id)
        return row

    def _meta(self, name: str) -> str | None:
        found = self._select("SELECT value FROM meta WHERE name = ?", name)
        return str(found[0][0]) if found else None


def refuse_foreign(
    name: str, meta: Mapping[str, str], account: tuple[str, str] | None, *, same_account: bool
) -> None:
    """Refuse a ledger that is not this account's.

    Args:
        name: where it is kept.
        meta: what it says of itself.
        account: the provider and the fingerprint that it must belong to, or None for any.
        same_account: whether another fingerprint of the provider is the same account's.

    Raises:
        AnotherKeyError: it belongs to another key of the provider.
        LedgerError: it belongs to another provider.

    """
    if account is None or "provider" not in meta:  # one that was only loaded is the first one's who opens it
        return
    if (whose := meta["provider"]) != account[0]:
        raise LedgerError(
            f"the ledger {name} belongs to {whose}", fix="use its account, or another ledger for this one"
        )
    if meta.get("fingerprint") != account[1] and not same_account:
        raise AnotherKeyError(f"the ledger {name} belongs to another key")


def sums(db: Connection) -> tuple[int, int]:
    """Return the micro-credits that are spent and set aside."""
    spent, reserved = db.execute("SELECT COALESCE(SUM(cost), 0), COALESCE(SUM(reserved), 0) FROM rows").fetchone()
    return int(spent), int(reserved)


def row_of(values: Sequence[Any], track: Track | None = None) -> LedgerRow:
    """Return the row that `COLUMNS` were read of; with this track, if it is known, and the columns that it has."""
    row_id, task_id, suno_id, author, brand, extra, place, state, video, url, path, *rest = values
    sha256, name, cost, reserved, failures, since, error, attempts = rest
    is_elsewhere = isinstance(path, str) and is_uri(path)
    return LedgerRow(
        id=row_id,
        track=track or track_as_kept(task_id, suno_id, author, brand, json.loads(extra) if extra != "{}" else {}),
        state=_STATES[state],
        location=place,
        video_task_id=None if video is None else VideoTaskId(video),
        url=url,
        path=None if path is None or is_elsewhere else Path(os.fsdecode(path)),
        uri=path if is_elsewhere else None,
        sha256=sha256,
        name=name,
        cost=cost,
        reserved=reserved,
        failures=failures,
        attempts=attempts,
        since=since,
        error=None if error is None else RowError(*json.loads(error)),
    )


def no_row(row_id: int) -> LedgerError:
    """Return the error for a row that does not exist."""
    return LedgerError(f"the ledger has no row {row_id}")


def no_ledger(path: object) -> LedgerError:
    """Return the error for a ledger that does not exist."""
    return LedgerError(f"there is no ledger {path}", fix="check the path")
