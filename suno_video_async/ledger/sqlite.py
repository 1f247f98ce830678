"""The ledger in SQLite: a file that survives `kill -9` and power cuts, or memory."""

from __future__ import annotations

import os
import secrets
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import Literal, cast

from attrs import evolve

from suno_video_async._util.filesystem import create_private
from suno_video_async.errors import (
    DoubtfulLedgerError,
    LedgerError,
    LedgerLost,
)
from suno_video_async.ledger.commands import Commands
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
from suno_video_async.ledger.model import Ledger
from suno_video_async.ledger.queries import Connection, Cursor, no_ledger, sums
from suno_video_async.ledger.reader import SqliteReader
from suno_video_async.ledger.schema import APPLICATION_ID, examine, migrate, refuse_doubtful, translated

#: Seconds to wait while another program has the database locked; the caller is in a thread of its own.
LOCKED = 60.0
#: Submissions after which the log is brought into the database file.
CHECKPOINT_AFTER = 64


class SqliteLedger(Commands, SqliteReader):
    """Keeps the rows of one account in an SQLite database.

    Args:
        path: the file; None keeps everything in memory.
        accept: take a file that may lack what was bought, or that may be written through another name, as it is.
        same_account: go on with the ledger of another key of the same service, if a task of the ledger is found
            with this one; the ledger belongs to this key from then on.
        synchronous: how hard a commit is made to last. "FULL" survives a power cut; "OFF" is for benchmarks.
        now: Unix seconds.

    """

    _BEGIN = "BEGIN IMMEDIATE"

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
        self._checkpointed = 0
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
        self._open((provider, fingerprint), must_exist=must_exist, proven=proven)

    def open_to_load(self) -> None:
        """Take the ledger to add tracks to it; a new one belongs to the account that opens it first.

        Raises:
            DoubtfulLedgerError: it may lack what was bought, or be written through another name.
            LedgerError: it cannot be used, or is being written.

        """
        self._open(None)

    def _open(self, account: tuple[str, str] | None, *, must_exist: bool = False, proven: bool = False) -> None:
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
                    facts = examine(self.path, account, same_account=proven)
                    facts = evolve(facts, alone=mark_alone(self._file))
                    if not self.accept:
                        refuse_doubtful(self.path, facts)
                self._process = os.getpid()
                self._connection = self._connect()
                self._mark = facts.newest
                if not self._mark.ledger:
                    self._mark = evolve(self._mark, ledger=secrets.token_hex(8))
                self._submissions = self._checkpointed = facts.submissions
                self._prepare(account)
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

    def _prepare(self, account: tuple[str, str] | None) -> None:
        with self._transaction() as db:
            migrate(db)
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._belong_to(db, account)
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

    def _before_intents(self) -> None:
        self._checkpoint_at_times()

    def _checkpoint_at_times(self) -> None:
        """Keep the log short: what is in the database file cannot be lost with the log."""
        if self._file is not None and self._submissions + 1 - self._checkpointed >= CHECKPOINT_AFTER:
            with translated(self.path):
                if self._begin_period(self._file, Phase.OPEN):
                    self._set_mark(self._mark.next(Phase.LIVE))
            self._checkpointed = self._submissions + 1

    def _after_intents(self) -> None:
        if self._file is not None:
            note_submissions(self._file, self._counter)

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
        """Refuse to go on with a file that is not there any more, or that another program writes."""
        if self._file is None:
            return
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

    def _new_id(self, db: Connection, inserted: Cursor, key: str) -> int:  # noqa: ARG002  it is known
        return cast("int", cast("sqlite3.Cursor", inserted).lastrowid)

    def _stored(self, path: Path) -> str | bytes:
        """Return a path as SQLite takes it: a name that is not UTF-8 goes in as its bytes."""
        try:
            str(path).encode()
        except UnicodeEncodeError:
            return os.fsencode(path)
        return str(path)
