"""`PostgresLedger`: held and written by one process at a time, on whatever machine.

A ledger is a schema of its own. Who writes it holds two locks that go with its session: the ledger's, and the
key's, so that one key never works under two names. Every write goes through that very session, so that who has
lost the locks cannot write either. Whether something may be *sent* is for the holder to ask: see `holding`.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

from attrs import frozen

from suno_video_async._util.words import many
from suno_video_async.errors import BudgetExceeded, LedgerError, LedgerInUse, LedgerLost
from suno_video_async.ledger.address import LedgerAddress
from suno_video_async.ledger.commands import INSERT, NEW, UNLESS_THERE
from suno_video_async.ledger.model import MICRO, Ledger, LedgerRow
from suno_video_async.ledger.postgres.locks import HOLDER, STALE, holder_of, lock_number
from suno_video_async.ledger.postgres.reader import PostgresReader
from suno_video_async.ledger.postgres.session import FRESH, Session, said
from suno_video_async.ledger.postgres.tables import COMMITTED, HELD, MIGRATIONS, PREFIX, STAGING, VERSION
from suno_video_async.ledger.queries import Connection, Cursor, sums
from suno_video_async.ledger.shared import SharedCommands
from suno_video_async.models import VideoTaskId

if TYPE_CHECKING:
    import psycopg

#: What the session of a writer is set to besides. One that was stopped in the middle of a transaction has locks
#: that others wait for, and those must go on before they take their own sessions for lost.
WRITER = {"idle_in_transaction_session_timeout": "20000"}
#: Asks what time it is.
CLOCK = "SELECT EXTRACT(EPOCH FROM clock_timestamp())"
#: What a server is asked before a ledger is kept there.
SERVER = "SELECT current_setting('fsync'), current_setting('server_encoding')"


@frozen
class SharedBudget:
    """What several ledgers of a database may spend together, whichever processes hold them.

    Attributes:
        limit: micro-credits, over the whole life of all of them.
        ledgers: their names; one that does not exist yet has spent nothing.

    """

    limit: int
    ledgers: frozenset[str]


class PostgresLedger(SharedCommands, PostgresReader):
    """Keeps the rows of one account in a PostgreSQL database.

    Args:
        address: `postgresql://USER@HOST/DATABASE?ledger=NAME`; what libpq takes from elsewhere, such as
            PGPASSWORD, `.pgpass` and service files, need not be in it.
        same_account: go on with the ledger of another key of the same service, if a task of the ledger is found
            with this one; the ledger belongs to this key from then on.
        shared_budget: the budget that it shares with other ledgers of the database.
        now: Unix seconds.

    """

    _BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"  # what was committed before a lock is seen after it

    def __init__(
        self,
        address: LedgerAddress | str,
        *,
        same_account: bool = False,
        shared_budget: SharedBudget | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(address)
        self.same_account = same_account
        self.shared_budget = shared_budget
        #: What the database has as spent and set aside; None while it is not this one's to write.
        self._kept: int | None = None
        self._now = now
        self._process = os.getpid()
        self._has_ended_another = self._is_holder = self._was_left_open = False

    def is_same(self, other: Ledger) -> bool:
        """Whether another ledger is this one, or has the same address."""
        return self is other or (isinstance(other, PostgresLedger) and other.address == self.address)

    def reader(self) -> PostgresReader:
        """Return a separate reader of the same ledger, not yet open."""
        return PostgresReader(self.address)

    def open(self, *, provider: str, fingerprint: str, must_exist: bool = False, proven: bool = False) -> None:
        """Take the ledger for writing, as `Ledger.open` has it, and hold it and the key while the session lasts.

        Raises:
            AnotherKeyError: it belongs to another key.
            LedgerInUse: another process holds it, or works with the key.
            LedgerError: it cannot be used; or it does not exist and must.

        """
        self._leave_group()
        with self._opening() as session:
            self._has_ended_another = False
            self._take(session, "ledger", self.address.name)
            self._take(session, "key", f"{provider} {fingerprint}")
            with self._making(session):
                exists = self._examine((provider, fingerprint), same_account=proven, must_exist=must_exist)
                self._prepare((provider, fingerprint), exists=exists)
            self._recall()

    def open_to_load(self) -> None:
        """Open the ledger to add tracks to it, beside its holder; a new one is of the key that opens it first.

        Raises:
            LedgerError: it cannot be used, or an older version of this program holds it.

        """
        with self._opening() as session, self._making(session):
            exists = self._examine(None)
            if exists and self.schema_version() < len(MIGRATIONS):
                self._take(session, "ledger", self.address.name)
            self._prepare(None, exists=exists)

    @contextmanager
    def _opening(self) -> Generator[Session, None, None]:
        """Connect; the session ends again where the block fails."""
        if self._connection is not None:
            raise LedgerError(f"{self!r} is in use", fix="one run at a time")
        session = self._connection = self._connect(WRITER)
        self._process, self._kept = os.getpid(), None
        try:
            with self._translated():
                self._check_server(session)
                self.ping()
                yield session
        except BaseException:
            self.close()
            raise

    def _check_server(self, session: Session) -> None:
        """Refuse a server that would forget commits."""
        ((fsync, encoding),) = self._select(SERVER)
        if fsync != "on":
            raise LedgerError(
                f"the ledger {self.name} would not survive a power cut: its server runs with fsync = {fsync}",
                fix="set fsync = on",
            )
        if encoding != "UTF8":
            raise LedgerError(
                f"the ledger {self.name} cannot hold every name: its database is in {encoding}",
                fix="make a database in UTF8",
            )
        if self._select("SHOW synchronous_commit")[0][0] != "remote_apply":  # which waits even longer
            session.execute("SET synchronous_commit = on")

    def _take(self, session: Session, what: str, name: str) -> None:
        number = lock_number(what, name)
        attempt = "SELECT pg_try_advisory_lock(?::bigint)"
        if self._select(attempt, number)[0][0]:
            return
        stale = f"SELECT pid FROM ({HOLDER}) holder (name, pid, silent) WHERE silent > ?"  # noqa: S608  a constant
        for (pid,) in self._select(stale, number, STALE):
            self._select("SELECT pg_terminate_backend(?, 5000)", pid)
            self._has_ended_another = True
            if self._select(attempt, number)[0][0]:
                return
        by = f"is being written by {holder_of(session, number) or 'another process'}"
        if what == "key":
            by = f"cannot be written: {holder_of(session, number) or 'another process'} works with the same key"
        raise LedgerInUse(f"the ledger {self.name} {by}")

    @contextmanager
    def _making(self, session: Session) -> Generator[None, None, None]:
        """Let one process at a time make or update the tables; one that has waited finds them there."""
        # Of the session: in a transaction, what was looked up before the wait would not be looked up again.
        number = lock_number("making", self.address.name)
        session.execute("SELECT pg_advisory_lock(?::bigint)", (number,))
        yield
        session.execute("SELECT pg_advisory_unlock(?::bigint)", (number,))

    def _prepare(self, account: tuple[str, str] | None, *, exists: bool) -> None:
        with self._transaction() as db:
            if self._select("SELECT to_regnamespace(?)", f'"{self._schema}"')[0][0] is None:
                db.execute(f'CREATE SCHEMA "{self._schema}"')
            version = self.schema_version() if exists else 0
            for number, script in enumerate(MIGRATIONS[version:], version + 1):
                db.execute(script)
                self._set_meta(VERSION, str(number))
            self._belong_to(db, account)

    def _recall(self) -> None:
        """Begin a run: take up what an earlier one has left."""
        with self._transaction() as db:
            self._run = self._next_run()
            self._recover(db)
            self._take_word(db)
            if self._has_ended_another:  # what it sent last may still be under way: the window begins full
                self._newest_place = self._now()
            self._was_left_open = self._meta(HELD) is not None
            self._set_meta(HELD, "yes")
            (self._spent, self._reserved) = sums(db)
            self._kept = -1
        self._is_holder = True

    def _commit(self, db: Connection) -> None:
        """Commit, and with it what other ledgers see that this one has spent and set aside."""
        committed = self._spent + self._reserved
        if self._kept is None or self._kept == committed:
            db.execute("COMMIT")
            return
        self._set_meta(COMMITTED, str(committed))
        db.execute("COMMIT")
        self._kept = committed

    def _keep_within(self, budget: int | None, reserve: int) -> None:
        if self.shared_budget is not None:
            self._keep_within_shared(self.shared_budget, reserve)
        super()._keep_within(budget, reserve)

    def _keep_within_shared(self, budget: SharedBudget, reserve: int) -> None:
        # Until this is committed, no other holder with a shared budget buys: what it sees is all there is.
        self._db.execute("SELECT pg_advisory_xact_lock(?::bigint)", (lock_number("budget", ""),))
        own, others = self._spent + self._reserved, self._committed_by(budget.ledgers - {self.address.name})
        if own + others + reserve > budget.limit:
            raise BudgetExceeded(
                f"{reserve / MICRO:g} credits more would be over the budget of {budget.limit / MICRO:g} for"
                f" {many(len(budget.ledgers), 'ledger')} together: {own / MICRO:g} are spent and set aside by"
                f" this one, {others / MICRO:g} by the others"
            )

    def _committed_by(self, names: Collection[str]) -> int:
        """Return the micro-credits that other ledgers have spent and set aside."""
        schemas = [PREFIX + name for name in names]
        query = "SELECT s FROM unnest(?::text[]) s WHERE to_regclass(quote_ident(s) || '.meta') IS NOT NULL"
        found = [schema for (schema,) in self._select(query, schemas)]
        if not found:
            return 0
        # An older version of this program keeps no sum.
        each = (
            f"""(SELECT COALESCE((SELECT value::bigint FROM "{schema}".meta WHERE name = '{COMMITTED}'),
            (SELECT SUM(cost + reserved)::bigint FROM "{schema}".rows), 0))"""  # noqa: S608  the name is a schema's
            for schema in found
        )
        return int(self._select(f"SELECT {' + '.join(each)}")[0][0])

    def take_word(self) -> Sequence[LedgerRow]:
        """Commit what an earlier holder has left since this one opened the ledger; return the rows to confirm."""
        if not self._select("SELECT EXISTS (SELECT 1 FROM inbox)")[0][0]:
            return ()
        with self._transaction() as db:
            return [self._need(row_id) for row_id in self._take_word(db)]

    @staticmethod
    def _take_word(db: Connection) -> Sequence[int]:
        """Note what earlier holders have left: the tasks of submissions that are unknown, to be confirmed."""
        found = db.execute(
            "UPDATE attempts SET video_task_id = i.task_id FROM (SELECT nonce, MIN(task_id) FROM inbox"
            " GROUP BY nonce) i (nonce, task_id) WHERE i.nonce = attempts.nonce AND attempts.state = 'unknown'"
            " AND attempts.video_task_id IS NULL"
            " AND NOT EXISTS (SELECT 1 FROM attempts other WHERE other.video_task_id = i.task_id)"
            " RETURNING attempts.row_id"
        ).fetchall()
        db.execute("DELETE FROM inbox")
        return [int(row_id) for (row_id,) in found]

    def _elsewhere(self, keys: Sequence[str]) -> Mapping[str, str]:
        """Return which of these tracks other ledgers of the database have, with their names.

        Those of another service do not count. Whatever adds tracks waits for its turn, so that none of them gets
        into two ledgers.
        """
        db, found = self._db, dict[str, str]()
        db.execute("SELECT pg_advisory_xact_lock(?::bigint)", (lock_number("loading", ""),))
        provider = self._meta("provider")
        for schema in self._schemas("rows"):
            if schema == self._schema:
                continue
            other = db.execute(f"""SELECT value FROM "{schema}".meta WHERE name = 'provider'""").fetchone()  # noqa: S608
            if provider is not None and other is not None and other[0] != provider:
                continue
            query = f'SELECT key FROM "{schema}".rows WHERE key = ANY(?)'  # noqa: S608  the name is a schema's
            for (key,) in db.execute(query, (list(keys),)).fetchall():
                found[key] = schema.removeprefix(PREFIX)
        return found

    def _stage(self, db: Connection, rows: Sequence[tuple[object, ...]]) -> None:
        self._leave_group()  # of two locks, no transaction has more than one: none waits for one that waits for it
        db.execute(STAGING)
        cast("Session", db).copy_in(f"COPY pg_temp.loading ({NEW}) FROM STDIN", rows)

    def _insert_many(self, db: Connection, rows: Sequence[tuple[object, ...]], but: Collection[str]) -> int:
        del rows  # they are staged
        staged = f"SELECT {NEW}, 0, 'planned' FROM pg_temp.loading WHERE key != ALL(?)"  # noqa: S608  constants
        if new := db.execute(f"{INSERT} {staged} {UNLESS_THERE}", (list(but),)).rowcount:
            db.execute("SELECT pg_notify(?, '')", (self._schema,))
        return new

    # Holding

    def ping(self) -> None:
        """Ask the session for an answer: what time it is, by a clock that all machines share.

        The first one after a silence notes that requests are sent again: during the silence nothing could be
        noted, and the next holder must not take what is sent now for older than it is.

        Raises:
            LedgerLost: it has ended.

        """
        asked = self._now()  # before: however long the answer takes, no note looks older than it is
        ((there,),) = self._select(CLOCK)
        self._ahead = float(there) - asked
        session = cast("Session", self._db)
        if session.was_silent and self._is_holder:
            self._leave_group()
            self.note_place(self._now())
            session.was_silent = False

    def is_fresh(self) -> bool:
        """Whether the session has answered so lately that it still has its locks. Never blocks.

        After a silence it is not before that was noted: see `ping`.
        """
        session = self._connection
        is_held = isinstance(session, Session) and not session.is_lost and not session.was_silent
        return is_held and self._now_here() - cast("Session", session).confirmed < FRESH

    def cut(self) -> None:
        """End a session that does not answer: what waits for it fails, and the ledger is lost."""
        if isinstance(self._connection, Session):
            self._connection.cut()

    def sends_beyond(self) -> float:
        """Return for how many seconds after this one opened the ledger an earlier holder may still send."""
        return FRESH if self._was_left_open else 0.0

    def close(self) -> None:
        """Close it, and let others write; harmless if it is not open."""
        self._leave_group()
        if self._is_holder:
            self._is_holder = False
            with contextlib.suppress(LedgerError), self._transaction() as db:  # one that is lost stays marked
                db.execute("DELETE FROM meta WHERE name = ?", (HELD,))
        super().close()

    def leave(self, nonce: str, task_id: VideoTaskId) -> None:
        """Leave word, over a session of its own, of the task that an attempt has become."""
        session = self._connect({})
        try:
            with PostgresReader._translated(self):
                session.execute("INSERT INTO inbox (nonce, task_id) VALUES (?, ?)", (nonce, task_id))
        finally:
            session.close()

    # Beneath

    def _refuse_lost(self) -> None:
        """Do nothing: a write through a session that has ended fails."""

    def _stored(self, path: Path) -> str:
        return str(path)

    def _new_id(self, db: Connection, inserted: Cursor, key: str) -> int:  # noqa: ARG002  it cannot say
        return int(db.execute("SELECT id FROM rows WHERE key = ?", (key,)).fetchone()[0])

    def _failure(self, error: psycopg.Error) -> LedgerError:
        session = self._connection
        if isinstance(session, Session) and session.is_lost:
            return LedgerLost(
                f"the ledger {self.name} was lost: its session with the database has ended ({said(error)})",
                fix="nothing more is sent; run it again, here or elsewhere, to go on with what is submitted",
            )
        return super()._failure(error)
