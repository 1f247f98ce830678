"""The ledger in SQLite: a file that survives `kill -9` and power cuts, or memory."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from suno_video_async.disks import network_file_system
from suno_video_async.errors import BudgetExceeded, LedgerError
from suno_video_async.ledger.base import MICRO, Attempt, AttemptTimes, Claim, Ending, LedgerRow, Totals, check_move
from suno_video_async.ledger.lock import WriterLock
from suno_video_async.models import Track, VideoTaskId
from suno_video_async.protocol.lifecycle import Cause, State

#: "SVAL": marks the file as a ledger of ours.
APPLICATION_ID = 0x5356414C

#: One script a schema version; a ledger of version n gets those after the n-th.
MIGRATIONS = (
    """
    CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE rows (
        id INTEGER PRIMARY KEY,
        key TEXT NOT NULL UNIQUE,
        task_id TEXT NOT NULL,
        suno_id TEXT NOT NULL,
        author TEXT NOT NULL,
        brand TEXT NOT NULL,
        extra TEXT NOT NULL,
        place TEXT NOT NULL,
        state TEXT NOT NULL,
        run INTEGER NOT NULL,
        attempt INTEGER NOT NULL DEFAULT 0,
        url TEXT,
        path TEXT,
        cost INTEGER NOT NULL DEFAULT 0,
        reserved INTEGER NOT NULL DEFAULT 0,
        failures INTEGER NOT NULL DEFAULT 0,
        since REAL NOT NULL,
        error TEXT
    );
    CREATE INDEX rows_by_song ON rows (suno_id, task_id);
    CREATE INDEX rows_by_state ON rows (state, id) WHERE state NOT IN ('succeeded', 'downloaded');
    CREATE TABLE attempts (
        row_id INTEGER NOT NULL REFERENCES rows (id),
        n INTEGER NOT NULL,
        nonce TEXT NOT NULL UNIQUE,
        state TEXT NOT NULL,
        video_task_id TEXT UNIQUE,
        at REAL NOT NULL,
        PRIMARY KEY (row_id, n)
    ) WITHOUT ROWID;
    """,
    "ALTER TABLE attempts ADD COLUMN candidate TEXT",
    """
    ALTER TABLE rows ADD COLUMN sha256 TEXT;
    CREATE INDEX rows_by_name ON rows (suno_id COLLATE NOCASE)
    """,
    """
    ALTER TABLE attempts ADD COLUMN ended REAL;
    ALTER TABLE attempts ADD COLUMN took REAL
    """,
)

_COLUMNS = """r.id, r.task_id, r.suno_id, r.author, r.brand, r.extra, r.place, r.state, a.video_task_id, r.url,
    r.path, r.sha256, r.cost, r.reserved, r.failures, r.since, r.error"""
_FROM = "FROM rows r LEFT JOIN attempts a ON a.row_id = r.id AND a.n = r.attempt"


class SqliteLedger:
    """Keeps the rows of one account in an SQLite database.

    Args:
        path: the file; None keeps everything in memory.
        synchronous: how hard a commit is made to last. "FULL" survives a power cut; "OFF" is for benchmarks.
        now: Unix seconds.

    """

    def __init__(
        self,
        path: str | PathLike[str] | None = None,
        *,
        synchronous: Literal["FULL", "OFF"] = "FULL",
        now: Callable[[], float] = time.time,
    ) -> None:
        self.path: Path | None = None if path is None else Path(path)
        self._synchronous = synchronous
        self._now = now
        self._connection: sqlite3.Connection | None = None
        self._lock: WriterLock | None = None
        self._run = 0
        self._spent = self._reserved = 0

    def __repr__(self) -> str:
        state = "open" if self._connection else "closed"
        return f"<SqliteLedger {self.path or 'in memory'} {state}>"

    # Opening and closing

    def open(self, *, provider: str, fingerprint: str) -> None:
        """Take the ledger for writing; what an interrupted run left in `submitting` becomes `unknown`."""
        if self._connection is not None:
            raise LedgerError(f"{self!r} is in use: one run at a time")
        if self.path is not None:
            self._take(self.path)
        try:
            with _translated(self.path):
                if self.path is not None:
                    _examine(self.path, (provider, fingerprint))
                self._connection = self._connect()
                self._prepare(provider=provider, fingerprint=fingerprint)
        except BaseException:
            self.close()
            raise

    def _take(self, path: Path) -> None:
        if path.is_dir():
            raise LedgerError(f"{path} is a folder: name a file for the ledger")
        real = path.resolve()  # a link to a ledger is no second ledger
        if kind := network_file_system(real.parent):
            raise LedgerError(f"the ledger {path} is on a network file system ({kind}): use a local disk")
        lock = WriterLock(real, path)
        lock.acquire()
        self._lock = lock

    def open_to_read(self, account: tuple[str, str] | None = None) -> bool:
        """Open it beside whoever writes; return False when there is no such ledger yet.

        A ledger of an older version stays as it is: what is read is a copy in memory, brought up to date.

        Args:
            account: the provider and the fingerprint that it must belong to, or None for any.

        Raises:
            LedgerError: the file is no ledger of ours, or of another account, or cannot be read.

        """
        if self._connection is not None:
            raise LedgerError(f"{self!r} is open already")
        if self.path is None or not self.path.exists():
            return False
        with _translated(self.path):
            if not _examine(self.path, account):
                return False
            self._connection = _up_to_date(_read_only(self.path))
            (self._spent, self._reserved) = self._sums(self._connection)
        return True

    def close(self) -> None:
        """Let go of it; harmless when it is not open."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path or ":memory:", isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    def _prepare(self, *, provider: str, fingerprint: str) -> None:
        with self._transaction() as db:
            _migrate(db)
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            for name, value in (("provider", provider), ("fingerprint", fingerprint)):
                db.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (name, value))
            self._run = int(self._meta("run") or 0) + 1
            self._set_meta("run", str(self._run))
            self._recover(db)
            (self._spent, self._reserved) = self._sums(db)

    @staticmethod
    def _sums(db: sqlite3.Connection) -> tuple[int, int]:
        spent, reserved = db.execute(
            "SELECT COALESCE(SUM(cost), 0), COALESCE(SUM(reserved), 0) FROM rows"
        ).fetchone()
        return spent, reserved

    def _recover(self, db: sqlite3.Connection) -> None:
        """Nobody knows whether what was being sent when a run was interrupted was bought."""
        error = json.dumps(["Interrupted", None, "the run was interrupted while this was being submitted"])
        db.execute(
            "UPDATE attempts SET state = 'unknown' WHERE state = 'submitting'"
            " AND row_id IN (SELECT id FROM rows WHERE state = 'submitting')"
        )
        db.execute("UPDATE rows SET state = 'unknown', error = ? WHERE state = 'submitting'", (error,))

    # What a run does

    def claim(self, track: Track, *, where: str) -> Claim:
        """Find or make the row of a track."""
        with self._transaction() as db:
            found = db.execute(f"SELECT {_COLUMNS}, r.run {_FROM} WHERE r.key = ?", (track.key,)).fetchone()
            if found is not None:
                if found[-1] == self._run:
                    row = _row(found[:-1])
                    return Claim(row=row, repeated=True, changed=self._bought_otherwise(db, row))
                db.execute(
                    "UPDATE rows SET run = ?, place = ?, extra = ? WHERE id = ?",
                    (self._run, _printable(where), json.dumps(dict(track.extra)), found[0]),
                )
                row = self._need(found[0])
            else:
                row = self._insert(db, track, where)
            return Claim(row=row, changed=self._bought_otherwise(db, row))

    def _insert(self, db: sqlite3.Connection, track: Track, where: str) -> LedgerRow:
        added = db.execute(
            "INSERT INTO rows (key, task_id, suno_id, author, brand, extra, place, state, run, since)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, 'planned', ?, ?)",
            (
                *(track.key, track.task_id, track.suno_id, track.author or "", track.brand or ""),
                *(json.dumps(dict(track.extra)), _printable(where), self._run, self._now()),
            ),
        )
        return self._need(int(added.lastrowid or 0))

    def _bought_otherwise(self, db: sqlite3.Connection, row: LedgerRow) -> LedgerRow | None:
        """Return the row of the same song under another author or brand that is bought, or will be in this run."""
        found = db.execute(
            f"SELECT {_COLUMNS} {_FROM} WHERE r.suno_id = ? AND r.task_id = ? AND r.id != ?"
            " AND (r.state NOT IN ('planned', 'refused') OR (r.state = 'planned' AND r.run = ?)) LIMIT 1",
            (row.track.suno_id, row.track.task_id, row.id, self._run),
        ).fetchone()
        return None if found is None else _row(found)

    def begin_attempt(self, row_id: int, *, nonce: str, at: float, reserve: int, most: int | None) -> int:
        """Commit that a row's CreateTask is about to be sent, and return the attempt's number."""
        with self._transaction() as db:
            row = self._need(row_id)
            if row.state in {State.FAILED, State.REFUSED}:
                # In one step with the attempt: a row that is not begun must not be left as planned.
                check_move(row, State.PLANNED, Cause.RUN)
            else:
                check_move(row, State.SUBMITTING, Cause.RUN)
            committed = self._spent + self._reserved
            if most is not None and committed + reserve > most:
                raise BudgetExceeded(
                    f"{reserve / MICRO:g} credits more would be over the budget of {most / MICRO:g}:"
                    f" {self._spent / MICRO:g} are spent and {self._reserved / MICRO:g} set aside"
                )
            (last,) = db.execute("SELECT attempt FROM rows WHERE id = ?", (row_id,)).fetchone()
            db.execute(
                "INSERT INTO attempts (row_id, n, nonce, state, at) VALUES (?, ?, ?, 'submitting', ?)",
                (row_id, last + 1, nonce, at),
            )
            db.execute(
                "UPDATE rows SET state = 'submitting', attempt = ?, reserved = ?, since = ? WHERE id = ?",
                (last + 1, reserve, at, row_id),
            )
            self._set_meta("last_place", repr(at))
        self._reserved += reserve
        return int(last + 1)

    def move(self, row_id: int, ending: Ending, *, cause: Cause = Cause.RUN) -> LedgerRow:
        """Commit how a row goes on, by the table of moves, and return it."""
        with self._transaction() as db:
            row = self._need(row_id)
            check_move(row, ending.state, cause)
            _check_whole(row, ending)
            if cause is Cause.SILENCE and self.candidate(row_id) is not None:
                return row
            cost, reserved = _settled(row, ending, cause)
            db.execute(
                "UPDATE rows SET state = ?, url = COALESCE(?, url), path = COALESCE(?, path),"
                " sha256 = COALESCE(?, sha256), cost = ?, reserved = ?, failures = failures + ?, error = ?"
                " WHERE id = ?",
                (
                    *(ending.state.value, ending.url, _stored(ending.path), ending.sha256),
                    *(cost, reserved, ending.state is State.FAILED and cause is Cause.RUN),
                    *(None if ending.error is None else json.dumps(ending.error), row_id),
                ),
            )
            self._close_attempt(db, row, ending)
            self._note_end(db, row, ending)
            moved = self._need(row_id)
        self._spent += cost - row.cost
        self._reserved += reserved - row.reserved
        return moved

    def _close_attempt(self, db: sqlite3.Connection, row: LedgerRow, ending: Ending) -> None:
        if row.state not in {State.SUBMITTING, State.UNKNOWN} and ending.state is not State.UNKNOWN:
            return
        try:
            db.execute(
                "UPDATE attempts SET state = ?, video_task_id = COALESCE(?, video_task_id)"
                " WHERE row_id = ? AND n = (SELECT attempt FROM rows WHERE id = row_id)",
                (ending.state.value, ending.video_task_id, row.id),
            )
        except sqlite3.IntegrityError:
            raise LedgerError(
                f"task {ending.video_task_id} belongs to another row of the ledger already"
            ) from None

    @staticmethod
    def _note_end(db: sqlite3.Connection, row: LedgerRow, ending: Ending) -> None:
        if ending.ended is not None or ending.took is not None:
            # A run that was resumed hears of an end late; the server's own date is of another clock than ours.
            db.execute(
                "UPDATE attempts SET ended = MIN(:ended, at + COALESCE(:took, :ended)), took = :took"
                " WHERE row_id = :id AND n = (SELECT attempt FROM rows WHERE id = :id)",
                {"ended": ending.ended, "took": ending.took, "id": row.id},
            )

    def note_candidate(self, nonce: str, task_id: VideoTaskId) -> None:
        """Commit which task a callback named for an attempt, before the callback is answered."""
        with self._transaction() as db:
            db.execute("UPDATE attempts SET candidate = ? WHERE nonce = ?", (task_id, nonce))

    # What can be asked

    def attempt(self, nonce: str) -> Attempt | None:
        """Return the attempt that a callback's URL belongs to."""
        query = "SELECT row_id, n, video_task_id, candidate FROM attempts WHERE nonce = ?"
        for row_id, n, video, candidate in self._select(query, nonce):
            ((last,),) = self._select("SELECT attempt FROM rows WHERE id = ?", row_id)
            return Attempt(
                row=self._need(row_id),
                newest=n == last,
                video_task_id=None if video is None else VideoTaskId(video),
                candidate=None if candidate is None else VideoTaskId(candidate),
            )
        return None

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
        found = self._select(f"SELECT {_COLUMNS} {_FROM} WHERE r.id = ?", row_id)
        return _row(found[0]) if found else None

    def find(self, track: Track) -> LedgerRow | None:
        """Return the row of a track, without touching it."""
        found = self._select(f"SELECT {_COLUMNS} {_FROM} WHERE r.key = ?", track.key)
        return _row(found[0]) if found else None

    def has_namesake(self, row: LedgerRow) -> bool:
        """Whether an older row has the same `suno_id`, but for case: some file systems do not tell that apart."""
        query = "SELECT EXISTS (SELECT 1 FROM rows WHERE suno_id = ? COLLATE NOCASE AND id < ?)"
        return bool(self._select(query, row.track.suno_id, row.id)[0][0])

    def rows(self, *states: State, after: int = 0, most: int = 500) -> Sequence[LedgerRow]:
        """Return rows in these states (any, when none are named) with ids above `after`, in their order."""
        wanted = [state.value for state in states or State]
        found = self._select(
            f"SELECT {_COLUMNS} {_FROM} WHERE r.state IN ({', '.join('?' * len(wanted))}) AND r.id > ?"
            " ORDER BY r.id LIMIT ?",
            *wanted,
            after,
            most,
        )
        return [_row(values) for values in found]

    def untouched(self, state: State, *, after: int = 0, most: int = 500) -> Sequence[LedgerRow]:
        """Return rows in a state that no `claim` of this run has touched."""
        # The state stands in the text: SQLite uses a partial index for literals only.
        found = self._select(
            f"SELECT {_COLUMNS} {_FROM} WHERE r.state = '{state.value}' AND r.id > ? AND r.run != ?"
            " AND r.state NOT IN ('succeeded', 'downloaded') ORDER BY r.id LIMIT ?",
            after,
            self._run,
            most,
        )
        return [_row(values) for values in found]

    def times(self) -> Generator[AttemptTimes, None, None]:
        """Yield the times of all submissions, those of one row after the other."""
        query = "SELECT row_id, at, ended, took FROM attempts ORDER BY row_id, n"
        with _translated(self.path):
            for row_id, at, ended, took in self._db.execute(query):
                yield AttemptTimes(row_id=row_id, at=at, ended=ended, took=took)

    def provider(self) -> str | None:
        """Return the address of the service whose account it belongs to."""
        return self._meta("provider")

    @contextmanager
    def at_one_moment(self) -> Generator[None, None, None]:
        """Let all that the block asks be answered as of one moment, whatever is written meanwhile."""
        with _translated(self.path):
            self._db.execute("BEGIN")
        try:
            yield
        finally:
            self._db.rollback()

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

    def last_place(self) -> float | None:
        """Return the Unix seconds of the last request known to have been sent, or None."""
        value = self._meta("last_place")
        return None if value is None else float(value)

    def durations(self, most: int) -> Sequence[float]:
        """Return the seconds that the tasks of the last rows took, the newest last; at most so many."""
        query = "SELECT took FROM attempts WHERE took IS NOT NULL ORDER BY row_id DESC, n DESC LIMIT ?"
        return [took for (took,) in reversed(self._select(query, most))]

    def problems(self) -> Sequence[str]:
        """Return what a thorough look at the whole file finds wrong with it; of a large one that takes a while."""
        found = [str(line) for (line,) in self._select("PRAGMA integrity_check(5)") if line != "ok"]
        strays = self._select("PRAGMA foreign_key_check")
        return [*found, *([f"{len(strays)} attempts belong to no row"] if strays else [])]

    def schema_version(self) -> int:
        """Return the version of the file's schema; one that is older than `MIGRATIONS` is updated by a writer."""
        return int(self._select("PRAGMA user_version")[0][0])

    def note_place(self, at: float) -> None:
        """Note that a request is being sent."""
        with self._transaction():
            self._set_meta("last_place", repr(at))

    # Beneath

    @property
    def _db(self) -> sqlite3.Connection:
        if self._connection is None:
            raise LedgerError(f"{self!r} is not open")
        return self._connection

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection, None, None]:
        """Commit what the block does, or nothing of it."""
        db = self._db
        with _translated(self.path):
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    def _select(self, query: str, *values: object) -> list[Any]:
        with _translated(self.path):
            return self._db.execute(query, values).fetchall()

    def _need(self, row_id: int) -> LedgerRow:
        row = self.row(row_id)
        if row is None:
            raise LedgerError(f"the ledger has no row {row_id}")
        return row

    def _meta(self, name: str) -> str | None:
        found = self._select("SELECT value FROM meta WHERE name = ?", name)
        return str(found[0][0]) if found else None

    def _set_meta(self, name: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))


def _stored(path: Path | None) -> str | bytes | None:
    """Return a path as SQLite takes it: a name that is not UTF-8 goes in as its bytes."""
    if path is None:
        return None
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return os.fsencode(path)
    return str(path)


def _printable(place: str) -> str:
    return place.encode(errors="backslashreplace").decode()


def _check_whole(row: LedgerRow, ending: Ending) -> None:
    """Refuse a move that would leave a row without what its new state needs."""
    if ending.state is State.SUBMITTING:
        raise LedgerError(f"row {row.id} becomes submitting by an attempt: use begin_attempt")
    if ending.state is State.SUBMITTED and ending.video_task_id is None and row.video_task_id is None:
        raise LedgerError(f"row {row.id} cannot be submitted without a task's id")


def _settled(row: LedgerRow, ending: Ending, cause: Cause) -> tuple[int, int]:
    """Return a row's cost and reservation after a move.

    Where the server names no cost, the reservation is taken for it. A person's decision about an unknown row
    counts its reservation as spent, since it may have been.
    """
    if ending.state in {State.SUCCEEDED, State.FAILED} and row.state is State.SUBMITTED:
        return row.cost + (row.reserved if ending.cost is None else ending.cost), 0
    if cause is Cause.PERSON and ending.state is not State.SUBMITTED:
        return row.cost + row.reserved, 0
    if ending.state in {State.PLANNED, State.REFUSED}:
        return row.cost, 0
    return row.cost, row.reserved


def _row(values: Sequence[Any]) -> LedgerRow:
    row_id, task_id, suno_id, author, brand, extra, place, state, video, url, path, sha256, *rest = values
    cost, reserved, failures, since, error = rest
    said = None if error is None else json.loads(error)
    return LedgerRow(
        id=row_id,
        track=Track(
            task_id=task_id, suno_id=suno_id, author=author or None, brand=brand or None, extra=json.loads(extra)
        ),
        state=State(state),
        where=place,
        video_task_id=None if video is None else VideoTaskId(video),
        url=url,
        path=None if path is None else Path(os.fsdecode(path)),
        sha256=sha256,
        cost=cost,
        reserved=reserved,
        failures=failures,
        since=since,
        error=None if said is None else (said[0], said[1], said[2]),
    )


def _read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, check_same_thread=False)


def _up_to_date(reader: sqlite3.Connection) -> sqlite3.Connection:
    """Return a connection that has what this version asks for: the reader's own, or to a copy in memory."""
    (version,) = reader.execute("PRAGMA user_version").fetchone()
    if version == len(MIGRATIONS):
        return reader
    copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    try:
        reader.backup(copy)
        _migrate(copy)
        copy.execute("PRAGMA query_only = ON")
    except BaseException:
        copy.close()
        raise
    finally:
        reader.close()
    return copy


def _migrate(db: sqlite3.Connection) -> None:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    for number, script in enumerate(MIGRATIONS[version:], version + 1):
        for statement in script.split(";"):
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {number}")


def _examine(path: Path, account: tuple[str, str] | None = None) -> bool:
    """Refuse a file that is not a ledger, or not this account's, without writing to it; False when it is empty."""
    if path.is_dir():
        raise LedgerError(f"{path} is a folder: name a file for the ledger")
    if not path.exists() or path.stat().st_size == 0:
        return False
    connection = _read_only(path)
    try:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        if tables == 0:
            return False
        if application != APPLICATION_ID:
            raise LedgerError(f"{path} is a database of another program: choose another file for the ledger")
        if version > len(MIGRATIONS):
            raise LedgerError(f"the ledger {path} is of a newer version of this program ({version}): update it")
        (health,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if health != "ok":
            raise LedgerError(f"the ledger {path} is damaged ({health}): restore it from a copy")
        meta = dict(connection.execute("SELECT name, value FROM meta"))
    finally:
        connection.close()
    if account is not None and (meta.get("provider"), meta.get("fingerprint")) != account:
        whose = "another key" if meta.get("provider") == account[0] else str(meta.get("provider"))
        raise LedgerError(f"the ledger {path} belongs to {whose}: use its account, or another file for this one")
    return True


@contextmanager
def _translated(path: Path | None) -> Generator[None, None, None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        where = path or "in memory"
        raise LedgerError(f"the ledger {where} cannot be used: {error}") from error
    except OSError as error:
        raise LedgerError(f"the ledger {path} cannot be read: {error.strerror}") from error
    except (UnicodeError, OverflowError) as error:
        raise LedgerError(f"the ledger {path or 'in memory'} cannot take a value: {error}") from error
