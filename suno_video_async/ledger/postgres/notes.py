"""What reaches the holder of a ledger in PostgreSQL from other processes: notes, and the bell that says so."""

from __future__ import annotations

from typing import cast

from attrs import evolve

from suno_video_async.ledger.address import LedgerAddress
from suno_video_async.ledger.postgres.reader import PostgresReader
from suno_video_async.ledger.postgres.session import Session
from suno_video_async.ledger.shared import leave_note
from suno_video_async.models import VideoTaskId


class PostgresNotes(PostgresReader):
    """All ledgers of a database, for who leaves callbacks for their holders.

    Args:
        database: `postgresql://USER@HOST/DATABASE`, without a ledger's name.

    """

    def __init__(self, database: LedgerAddress) -> None:
        super().__init__(evolve(database, problem=None))

    def ledger_of(self, nonce: str) -> str | None:
        """Return the schema of the ledger that has an attempt, or None."""
        self._connect_again()
        for schema in self._schemas("notes"):
            query = f'SELECT 1 FROM "{schema}".attempts WHERE nonce = ?'  # noqa: S608  the name is a schema's
            if self._select(query, nonce):
                return schema
        return None

    def leave_callback(self, schema: str, nonce: str, task_id: VideoTaskId) -> None:
        """Commit that a callback named a task for an attempt; twice is once."""
        self._connect_again()
        with self._translated():
            leave_note(self._db, "callback", {"nonce": nonce, "task_id": task_id}, table=f'"{schema}".notes')

    def _connect_again(self) -> None:
        """Connect where there is no session, or none any more."""
        session = self._connection
        if isinstance(session, Session) and session.is_lost:
            self.close()
        if self._connection is None:
            self._connection = self._connect({})
            with self._translated():
                self._connection.execute("SET synchronous_commit = on")


class Bell(PostgresReader):
    """Hears when another process leaves something in a ledger for its holder, by `NOTIFY`.

    It has a session of its own: that of the holder is read only when it is asked something. What is not heard,
    since the session has ended or is not open yet, has to be looked for.
    """

    def open(self) -> int:
        """Listen, and return the descriptor that can be read when there is something to hear. Blocks.

        Raises:
            LedgerError: it cannot connect.

        """
        session = self._connection = self._connect({})
        with self._translated():
            session.execute(f'LISTEN "{self._schema}"')
        return session.connection.fileno()

    def heard(self) -> bool:
        """Return whether something was left since this was asked last. Never blocks.

        Raises:
            LedgerError: the session has ended.

        """
        session = cast("Session", self._db).connection.pgconn
        with self._translated():
            session.consume_input()
        heard = False
        while session.notifies() is not None:
            heard = True
        return heard

    def close(self) -> None:
        """End the session, without waiting for its server."""
        if isinstance(self._connection, Session):
            self._connection.cut()
        super().close()
