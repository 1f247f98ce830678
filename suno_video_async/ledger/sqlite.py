"""The ledger in SQLite: a file that survives `kill -9` and power cuts, or memory."""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import time
import unicodedata
from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import Literal

from attrs import define, evolve

from suno_video_async._util.filesystem import create_private
from suno_video_async.errors import (
    AlreadyBoughtError,
    BudgetExceeded,
    DoubtfulLedgerError,
    LedgerError,
    LedgerLost,
)
from suno_video_async.ledger.copies import Counter, Facts, Mark, Phase, doubt_about_place
from suno_video_async.ledger.files import (
    MARK,
    Identity,
    facts_of_place,
    log_of,
    mark_alone,
    note_submissions,
    write_counter,
)
from suno_video_async.ledger.lock import WriterLock, lock_of
from suno_video_async.ledger.model import MICRO, Claim, Ledger, LedgerRow, Transition, check_move
from suno_video_async.ledger.reader import COLUMNS, FROM, SqliteReader, no_ledger, row_of, sums
from suno_video_async.ledger.schema import APPLICATION_ID, examine, migrate, refuse_doubtful, translated
from suno_video_async.ledger.states import UNSETTLED, Cause, State
from suno_video_async.models import Track, VideoTaskId

#: Seconds to wait while another program has the database locked; the caller is in a thread of its own.
LOCKED = 60.0
#: Submissions after which the log is brought into the database file.
CHECKPOINT_AFTER = 64


@define
class _Group:
    """The writes that are to be one commit.

    Attributes:
        begun: whether its transaction has begun.
        error: why nothing more can be written in it.
        void: whether all of it is undone, so that its calls have to be made again, each by itself.

    """

    begun: bool = False
    error: BaseException | None = None
    void: bool = False


class SqliteLedger(SqliteReader):
    """Keeps the rows of one account in an SQLite database.

    Args:
        path: the file; None keeps everything in memory.
        accept: take a file that may lack what was bought, or that may be written through another name, as it is.
        same_account: go on with the ledger of another key of the same service, if a task of the ledger is found
            with this one; the ledger belongs to this key from then on.
        synchronous: how hard a commit is made to last. "FULL" survives a power cut; "OFF" is for benchmarks.
        now: Unix seconds.

    """

    def __init__(
        self,
        path: str | PathLike[str] | None = None,
        *,
        accept: bool = False,
        same_account: bool = False,
        synchronous: Literal["FULL", "OFF"] = "FULL",
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(path)
        self.accept = accept
        self.same_account = same_account
        self._synchronous = synchronous
        self._now = now
        self._lock: WriterLock | None = None
        self._file: Path | None = None
        self._identity = Identity()
        self._mark = Mark()
        self._submissions = self._checkpointed = 0
        self._group: _Group | None = None
        self._process = os.getpid()

    # Opening and closing

    def is_same(self, other: Ledger) -> bool:
        """Whether another ledger is this one, or is kept in the same file."""
        if not isinstance(other, SqliteLedger) or self.path is None or other.path is None:
            return self is other
        try:
            return self.path.samefile(other.path)
        except OSError:  # one of them does not exist yet
            return self.path.resolve() == other.path.resolve()

    def reader(self) -> SqliteReader:
        """Return a separate reader of the same file, not yet open."""
        return SqliteReader(self.path)

    def open(self, *, provider: str, fingerprint: str, must_exist: bool = False, proven: bool = False) -> None:
        """Take the ledger for writing; what an interrupted run left in `submitting` becomes `unknown`.

        Args:
            provider: the service's address.
            fingerprint: of the key.
            must_exist: whether it is an error if there is none.
            proven: whether a task of the ledger was found with this key, so that both are of one account.

        Raises:
            AnotherKeyError: it belongs to another key.
            DoubtfulLedgerError: it may lack what was bought, or be written through another name.
            LedgerError: it cannot be used, or is being written; or it does not exist and must.

        """
        self._leave_group()
        if self._connection is not None:
            raise LedgerError(f"{self!r} is in use", fix="one run at a time")
        if must_exist and self.path is not None and not self.path.exists():
            raise no_ledger(self.path)
        if self.path is not None:
            self._take(self.path)
        try:
            with translated(self.path):
                facts = Facts(exists=False)
                if self._file is not None and self.path is not None:
                    facts = examine(self.path, (provider, fingerprint), same_account=proven)
                    facts = evolve(facts, alone=mark_alone(self._file))
                    if not self.accept:
                        refuse_doubtful(self.path, facts)
                self._process = os.getpid()
                self._connection = self._connect()
                self._mark = facts.newest
                if not self._mark.ledger:
                    self._mark = evolve(self._mark, ledger=secrets.token_hex(8))
                self._submissions = self._checkpointed = facts.submissions
                self._prepare(provider=provider, fingerprint=fingerprint)
                self._go_live()
        except BaseException:
            self._close()
            raise

    def _take(self, path: Path) -> None:
        if path.exists() and not path.is_file():  # to open a pipe would wait for its other end
            kind = "a folder" if path.is_dir() else "a pipe or a device"
            raise LedgerError(f"{path} is {kind}", fix="name a file for the ledger")
        real = path.resolve()  # a link to a ledger is no second ledger
        if not self.accept and (doubt := doubt_about_place(facts_of_place(real))):
            raise DoubtfulLedgerError(f"the ledger {path} {doubt.problem}", doubt.check)
        lock = WriterLock(real, path)
        lock.acquire()
        self._lock, self._file = lock, real

    def close(self) -> None:
        """Close it, and let others write; harmless if it is not open."""
        self._leave_group()
        if self._connection is not None and self._file is not None:
            # What cannot be marked as closed is whole as well, as long as its log stays with it.
            with suppress(LedgerError), translated(self.path):
                self._begin_period(self._file, Phase.CLOSED)
        self._close()

    def _close(self) -> None:
        super().close()
        lock, self._lock, self._file = self._lock, None, None
        self._identity = Identity()
        if lock is not None:
            lock.release()

    def _connect(self) -> sqlite3.Connection:
        if self._file is not None:
            create_private(self._file)  # what SQLite keeps beside it has the same mode
        connection = sqlite3.connect(
            self._file or ":memory:", timeout=LOCKED, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")  # each begins with a mark: `_checkpoint`
        connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    def _prepare(self, *, provider: str, fingerprint: str) -> None:
        with self._transaction() as db:
            migrate(db)
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute("INSERT OR IGNORE INTO meta VALUES ('provider', ?)", (provider,))
            self._set_meta("fingerprint", fingerprint)
            self._run = self._next_run()
            mark = self._mark.next(Phase.OPEN)
            self._set_meta(MARK, str(mark))
            self._recover(db)
            (self._spent, self._reserved) = sums(db)
        self._mark = mark

    # The mark, by the theory in `copies`

    def _go_live(self) -> None:
        """Make sure that the database file itself says that it is in use, before anything is bought."""
        if self._file is None:
            return
        self._db.execute("PRAGMA wal_checkpoint(FULL)")
        if mark_alone(self._file) != self._mark:
            raise LedgerError(
                f"the ledger {self.path} cannot be made safe: another program keeps reading an earlier state",
                fix="close that program, and run this again",
                temporary=True,
            )
        write_counter(self._file, self._counter)
        self._set_mark(self._mark.next(Phase.LIVE))
        self._identity.keep(self._file, log_of(self._file), lock_of(self._file))

    @property
    def _counter(self) -> Counter:
        return Counter(self._mark.period, self._submissions, self._mark.ledger)

    def _checkpoint_at_times(self) -> None:
        """Keep the log short: what is in the database file cannot be lost with the log."""
        if self._file is not None and self._submissions + 1 - self._checkpointed >= CHECKPOINT_AFTER:
            with translated(self.path):
                if self._begin_period(self._file, Phase.OPEN):
                    self._set_mark(self._mark.next(Phase.LIVE))
            self._checkpointed = self._submissions + 1

    def _begin_period(self, file: Path, phase: Phase) -> bool:
        """Bring everything so far into the database file under a new mark; False where a reader is in the way."""
        self._set_mark(self._mark.next(phase))
        write_counter(file, self._counter)
        _, written, moved = self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        return bool(written == moved)

    def _set_mark(self, mark: Mark) -> None:
        with self._transaction():
            self._refuse_lost()
            self._set_meta(MARK, str(mark))
        self._mark = mark

    def _refuse_lost(self) -> None:
        """Refuse to go on with a file that is not there any more, or that another program writes.

        Raises:
            LedgerLost: what is bought from now on would be forgotten.

        """
        lost = self._identity.lost()
        if lost is not None:
            problem = f"{lost[0]} {lost[1]}: it was moved, deleted or replaced"
        elif self._meta(MARK) != str(self._mark):
            problem = "another program has opened it: its lock file was deleted"
        else:
            return
        raise LedgerLost(
            f"the ledger {self.path} was lost while it was written: {problem}",
            fix="nothing more is bought; keep the outcomes of this run, and put the ledger back before the next",
        )

    def _recover(self, db: sqlite3.Connection) -> None:
        """Nobody knows whether what was being sent when a run was interrupted was bought."""
        error = json.dumps(["Interrupted", None, "the run was interrupted while this was being submitted"])
        db.execute(
            "UPDATE attempts SET state = 'unknown' WHERE state = 'submitting'"
            " AND row_id IN (SELECT id FROM rows WHERE state = 'submitting')"
        )
        db.execute("UPDATE rows SET state = 'unknown', error = ? WHERE state = 'submitting'", (error,))

    # What a run does

    def begin_run(self) -> int:
        """Return the number of a new run, among others that write the same open ledger."""
        with self._transaction():
            return self._next_run()

    def _next_run(self) -> int:
        run = int(self._meta("run") or 0) + 1
        self._set_meta("run", str(run))
        return run

    def claim(self, track: Track, *, location: str, run: int = 0) -> Claim:
        """Find or make the row of a track."""
        run = run or self._run
        with self._transaction() as db:
            found = db.execute(f"SELECT {COLUMNS}, r.run {FROM} WHERE r.key = ?", (track.key,)).fetchone()
            if found is not None:
                if found[-1] == run:
                    row = row_of(found[:-1])
                    return Claim(row=row, repeated=True, changed=self._bought_otherwise(db, row, run))
                db.execute(
                    "UPDATE rows SET run = ?, place = ?, extra = ? WHERE id = ?",
                    (run, _printable(location), json.dumps(dict(track.extra)), found[0]),
                )
                row = self._need(found[0])
            else:
                row = self._insert(db, track, location, run)
            return Claim(row=row, changed=self._bought_otherwise(db, row, run))

    def _insert(self, db: sqlite3.Connection, track: Track, location: str, run: int) -> LedgerRow:
        added = db.execute(
            "INSERT INTO rows (key, task_id, suno_id, author, brand, extra, place, state, run, since)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, 'planned', ?, ?)",
            (
                *(track.key, track.task_id, track.suno_id, track.author or "", track.brand or ""),
                *(json.dumps(dict(track.extra)), _printable(location), run, self._now()),
            ),
        )
        return self._need(int(added.lastrowid or 0))

    @staticmethod
    def _bought_otherwise(db: sqlite3.Connection, row: LedgerRow, run: int | None) -> LedgerRow | None:
        """Return the row of the same song under another author or brand that is bought, or will be in a run."""
        found = db.execute(
            f"SELECT {COLUMNS} {FROM} WHERE r.suno_id = ? AND r.task_id = ? AND r.id != ?"
            " AND (r.state NOT IN ('planned', 'refused') OR (r.state = 'planned' AND r.run = ?)) LIMIT 1",
            (row.track.suno_id, row.track.task_id, row.id, run),
        ).fetchone()
        return None if found is None else row_of(found)

    def begin_attempt(
        self, row_id: int, *, nonce: str, at: float, reserve: int, budget: int | None, rebuy_changed: bool = True
    ) -> int:
        """Commit that a row's CreateTask is about to be sent, and return the attempt's number."""
        if self._group is None:
            self._checkpoint_at_times()
        with self._transaction() as db:
            self._refuse_lost()
            row = self._need(row_id)
            if row.state in {State.FAILED, State.REFUSED}:
                # In one step with the attempt: a row that is not begun must not be left as planned.
                check_move(row, State.PLANNED, Cause.RUN)
            else:
                check_move(row, State.SUBMITTING, Cause.RUN)
            other = None if rebuy_changed else self._bought_otherwise(db, row, None)
            if other is not None:  # since it was claimed, by another part of this client
                raise AlreadyBoughtError(row.track, other.track.key)
            committed = self._spent + self._reserved
            if budget is not None and committed + reserve > budget:
                raise BudgetExceeded(
                    f"{reserve / MICRO:g} credits more would be over the budget of {budget / MICRO:g}:"
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
            self._submissions += 1
            self._reserved += reserve
            return int(last + 1)

    def reserve(self, row_ids: Collection[int], amount: int, *, lower: bool = False) -> None:
        """Commit what is set aside for rows that are not settled."""
        with self._transaction() as db:
            for row_id in row_ids:
                row = self._need(row_id)
                if row.state in UNSETTLED and (lower or row.reserved < amount):
                    db.execute("UPDATE rows SET reserved = ? WHERE id = ?", (amount, row_id))
                    self._reserved += amount - row.reserved

    def move(self, row_id: int, transition: Transition, *, cause: Cause = Cause.RUN) -> LedgerRow:
        """Commit how a row goes on, by the table of moves, and return it."""
        with self._transaction() as db:
            row = self._need(row_id)
            check_move(row, transition.state, cause)
            _check_whole(row, transition)
            if cause is Cause.SILENCE and self.candidate(row_id) is not None:
                return row
            cost, reserved = _settled(row, transition, cause)
            db.execute(
                "UPDATE rows SET state = ?, url = COALESCE(?, url), path = COALESCE(?, path),"
                " sha256 = COALESCE(?, sha256), cost = ?, reserved = ?, failures = failures + ?, error = ?"
                " WHERE id = ?",
                (
                    *(transition.state.value, transition.url, _stored(transition.path), transition.sha256),
                    *(cost, reserved, transition.state is State.FAILED and cause is Cause.RUN),
                    *(None if transition.error is None else json.dumps(transition.error), row_id),
                ),
            )
            self._close_attempt(db, row, transition)
            self._note_end(db, row, transition)
            self._spent += cost - row.cost
            self._reserved += reserved - row.reserved
            return self._need(row_id)

    def take_name(self, row_id: int, name: str) -> bool:
        """Commit the name of a row's file; False if another row has it, but for case."""
        key = unicodedata.normalize("NFC", name.casefold())  # some file systems do not tell them apart
        with self._transaction() as db:
            try:
                db.execute("UPDATE rows SET name = ?, name_key = ? WHERE id = ?", (name, key, row_id))
            except sqlite3.IntegrityError:
                return False
        return True

    def _close_attempt(self, db: sqlite3.Connection, row: LedgerRow, transition: Transition) -> None:
        if row.state not in {State.SUBMITTING, State.UNKNOWN} and transition.state is not State.UNKNOWN:
            return
        try:
            db.execute(
                "UPDATE attempts SET state = ?, video_task_id = COALESCE(?, video_task_id)"
                " WHERE row_id = ? AND n = (SELECT attempt FROM rows WHERE id = row_id)",
                (transition.state.value, transition.video_task_id, row.id),
            )
        except sqlite3.IntegrityError:
            raise LedgerError(
                f"task {transition.video_task_id} belongs to another row of the ledger already"
            ) from None

    @staticmethod
    def _note_end(db: sqlite3.Connection, row: LedgerRow, transition: Transition) -> None:
        if transition.ended is not None or transition.took is not None:
            # A run that was resumed hears of an end late; the server's own date is of another clock than ours.
            db.execute(
                "UPDATE attempts SET ended = MIN(:ended, at + COALESCE(:took, :ended)), took = :took"
                " WHERE row_id = :id AND n = (SELECT attempt FROM rows WHERE id = :id)",
                {"ended": transition.ended, "took": transition.took, "id": row.id},
            )

    def note_candidate(self, nonce: str, task_id: VideoTaskId) -> None:
        """Commit which task a callback named for an attempt, before the callback is answered."""
        with self._transaction() as db:
            db.execute("UPDATE attempts SET candidate = ? WHERE nonce = ?", (task_id, nonce))

    def note_fact(self, name: str, value: str) -> None:
        """Commit something that the next run should know."""
        with self._transaction():
            self._set_meta(f"fact.{name}", value)

    def note_place(self, at: float) -> None:
        """Note that a request is being sent."""
        with self._transaction():
            self._refuse_lost()
            self._set_meta("last_place", repr(at))

    # Beneath

    @contextmanager
    def one_commit(self) -> Generator[None, None, None]:
        """Let the calls that the block makes be one commit, at its end, with one sync.

        A call that is refused, and has not written anything yet, leaves the others as they are.

        Raises:
            LedgerError: nothing is written, and what the calls returned is void: each has to be made by itself.

        """
        self._checkpoint_at_times()
        db, group = self._db, _Group()
        with translated(self.path), self._undone_if_it_fails(db):
            self._group = group
            try:
                yield
            finally:
                self._group = None
            if group.void and group.error is not None:
                raise group.error
            if group.begun:
                db.execute("COMMIT")

    def _leave_group(self) -> None:
        """Have a call that cannot share a commit made by itself."""
        if self._group is not None:
            self._group.void = True
            self._group.error = LedgerError("a ledger is opened and closed outside of a commit")
            raise self._group.error

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection, None, None]:
        """Commit what the block does, or nothing of it."""
        db, group = self._db, self._group
        if self._process != os.getpid():
            raise LedgerError(
                f"the ledger {self.path or 'in memory'} was opened before a fork", fix="open it in the child"
            )
        with translated(self.path):
            if group is not None:
                with self._part_of(group, db):
                    yield db
                return
            with self._undone_if_it_fails(db):
                db.execute("BEGIN IMMEDIATE")
                yield db
                db.execute("COMMIT")

    @contextmanager
    def _part_of(self, group: _Group, db: sqlite3.Connection) -> Generator[None, None, None]:
        """Let what the block does be committed with the others of a group."""
        if group.error is not None:
            raise group.error
        if not group.begun:
            try:
                db.execute("BEGIN IMMEDIATE")
            except sqlite3.DatabaseError as error:
                group.error = error  # the others need not wait as long once more
                raise
            group.begun = True
        changes = db.total_changes
        try:
            yield
        except BaseException as error:
            # A disk that is full may have undone everything, what others of the group wrote included.
            if db.total_changes != changes or not db.in_transaction:
                group.error, group.void = error, True
            raise

    @contextmanager
    def _undone_if_it_fails(self, db: sqlite3.Connection) -> Generator[None, None, None]:
        """Undo what the block does where it raises, in the sums too; else count what it submitted."""
        before = self._spent, self._reserved, self._submissions
        try:
            yield
        except BaseException:
            self._spent, self._reserved, self._submissions = before
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        if self._file is not None and self._submissions > before[-1]:
            note_submissions(self._file, self._counter)

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


def _check_whole(row: LedgerRow, transition: Transition) -> None:
    """Refuse a move that would leave a row without what its new state needs."""
    if transition.state is State.SUBMITTING:
        raise LedgerError(f"row {row.id} becomes submitting by an attempt", fix="use begin_attempt")
    if transition.state is State.SUBMITTED and transition.video_task_id is None and row.video_task_id is None:
        raise LedgerError(f"row {row.id} cannot be submitted without a task's id")


def _settled(row: LedgerRow, transition: Transition, cause: Cause) -> tuple[int, int]:
    """Return a row's cost and reservation after a move.

    Where the server names no cost, the reservation is taken for it. A person's decision about an unknown row
    counts its reservation as spent, since it may have been.
    """
    if transition.state in {State.SUCCEEDED, State.FAILED} and row.state is State.SUBMITTED:
        return row.cost + (row.reserved if transition.cost is None else transition.cost), 0
    if cause is Cause.PERSON and transition.state is not State.SUBMITTED:
        return row.cost + row.reserved, 0
    if transition.state in {State.PLANNED, State.REFUSED}:
        return row.cost, 0
    return row.cost, row.reserved
