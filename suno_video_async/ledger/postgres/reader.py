"""`PostgresReader`: a ledger in PostgreSQL that is read beside its holder."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

from suno_video_async._util.words import many
from suno_video_async.errors import LedgerError
from suno_video_async.ledger.address import LedgerAddress
from suno_video_async.ledger.postgres.locks import holder_of, lock_number
from suno_video_async.ledger.postgres.session import (
    KEEPALIVES,
    SETTINGS,
    Session,
    connect,
    load_driver,
    said,
    since_boot,
)
from suno_video_async.ledger.postgres.tables import MIGRATIONS, PREFIX, VERSION
from suno_video_async.ledger.queries import Queries, no_ledger, refuse_foreign, sums

if TYPE_CHECKING:
    import psycopg

#: Asks the server which session this is; the numbers that a pooler gives to its clients are its own.
SESSION = "SELECT pg_backend_pid()"
#: Sets those settings that a server knows.
_SET = (
    "SELECT set_config(name, given, false) FROM unnest(?::text[], ?::text[]) chosen (name, given)"
    " JOIN pg_settings USING (name)"
)
#: Classes of SQLSTATE: no connection, a deadlock, the server's resources, locked, being shut down.
_TEMPORARY = frozenset({"08", "40", "53", "55", "57"})


class PostgresReader(Queries):
    """A ledger in PostgreSQL that is open to be read.

    Args:
        address: `postgresql://…?ledger=NAME`.

    """

    _SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
    _SAME_SUNO_ID = "LOWER(suno_id) = LOWER(?)"
    _now_here: Callable[[], float] = staticmethod(since_boot)

    def __init__(self, address: LedgerAddress | str) -> None:
        super().__init__()
        self.address: LedgerAddress = LedgerAddress.parse(address) if isinstance(address, str) else address

    @property
    def name(self) -> str:
        """The address, without a password."""
        return self.address.shown

    @property
    def _schema(self) -> str:
        return PREFIX + self.address.name

    @property
    def newest_schema(self) -> int:
        """The version of the tables that this program writes."""
        return len(MIGRATIONS)

    def open_to_read(self, account: tuple[str, str] | None = None, *, must_exist: bool = False) -> bool:
        """Open it beside its writer; return False if there is no such ledger yet.

        Args:
            account: the provider and the fingerprint that it must belong to; None for any.
            must_exist: whether it is an error if there is none.

        Raises:
            LedgerError: it belongs to another account, or cannot be read.

        """
        if self._connection is not None:
            raise LedgerError(f"{self!r} is open already")
        self._connection = self._connect({"default_transaction_read_only": "on"})
        try:
            with self._translated():
                exists = self._examine(account, must_exist=must_exist)
                if exists:
                    (self._spent, self._reserved) = sums(self._connection)
        except BaseException:
            self.close()
            raise
        if not exists:
            self.close()
        return exists

    def writer(self) -> str | None:
        """Return who writes the ledger at present, in words, or None; it need not be open."""
        session = self._connect({})
        try:
            with self._translated():
                return holder_of(session, lock_number("ledger", self.address.name))
        finally:
            session.close()

    def problems(self) -> Sequence[str]:
        """Return what is wrong with the tables; the rest is for PostgreSQL's own tools to find."""
        query = "SELECT COUNT(*) FROM attempts a WHERE NOT EXISTS (SELECT 1 FROM rows r WHERE r.id = a.row_id)"
        strays = self._select(query)[0][0]
        return [many(strays, "attempt belongs to no row", "attempts belong to no row")] if strays else []

    def _schemas(self, table: str) -> list[str]:
        """Return the schemas of the ledgers in the database, as far as a table of theirs can be read."""
        found = self._select(
            "SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE c.relname = ? AND starts_with(n.nspname, ?) AND has_table_privilege(c.oid, 'SELECT')",
            *(table, PREFIX),
        )
        return [str(schema) for (schema,) in found]

    def schema_version(self) -> int:
        """Return the version of the ledger's tables."""
        return int(self._meta(VERSION) or 0)

    # Beneath

    def _connect(self, settings: dict[str, str]) -> Session:
        """Return a new session; what it raises has no password in its frames.

        Raises:
            LedgerError: there is none to be had.

        """
        psycopg = load_driver()
        connected = connect(self.address)
        if isinstance(connected, LedgerError):
            raise connected
        session = Session(connected, self._now_here)
        try:
            self._refuse_pooler(session)
            chosen = {**SETTINGS, **settings, "search_path": f'"{self._schema}"'}
            session.execute(_SET, (list(chosen), list(chosen.values())))
            with contextlib.suppress(psycopg.Error):  # not all systems can
                session.execute(f"SET client_connection_check_interval = '{KEEPALIVES['interval']}s'")
        except psycopg.Error as error:
            session.close()
            raise self._failure(error) from error
        return session

    def _refuse_pooler(self, session: Session) -> None:
        if session.execute(SESSION).fetchall() == [(session.connection.info.backend_pid,)]:
            return
        session.connection.close()  # without another statement: it may be another client's session by now
        raise LedgerError(
            f"the ledger {self.name} cannot be used through a connection pooler: its locks belong to a session",
            fix="name the address of the database server itself",
        )

    def _examine(
        self, account: tuple[str, str] | None, *, same_account: bool = False, must_exist: bool = False
    ) -> bool:
        """Return whether there is such a ledger, and refuse one that is newer or not this account's."""
        if self._select("SELECT to_regclass(?)", f'"{self._schema}".meta')[0][0] is None:
            if must_exist:
                raise no_ledger(self.name)
            return False
        meta = dict(self._select("SELECT name, value FROM meta"))
        if (version := int(meta[VERSION])) > len(MIGRATIONS):
            raise LedgerError(
                f"the ledger {self.name} is of a newer version of this program ({version})", fix="update it"
            )
        refuse_foreign(self.name, meta, account, same_account=same_account)
        return True

    def _translate(self, error: BaseException) -> None:
        if isinstance(error, load_driver().Error):
            raise self._failure(cast("psycopg.Error", error)) from error
        if isinstance(error, UnicodeError):
            raise LedgerError(f"the ledger {self.name} cannot take a value: {error}") from error

    def _failure(self, error: psycopg.Error) -> LedgerError:
        temporary = (error.sqlstate or "08")[:2] in _TEMPORARY
        return LedgerError(f"the ledger {self.name} cannot be used: {said(error)}", temporary=temporary)
