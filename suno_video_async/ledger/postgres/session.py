"""A session with PostgreSQL: how it is opened, set, and asked."""

from __future__ import annotations

import contextlib
import os
import platform
import socket
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from suno_video_async.errors import LedgerError, MissingExtraError
from suno_video_async.ledger.address import LedgerAddress

if TYPE_CHECKING:
    import psycopg

#: Seconds for which an answer of the session shows that the locks are still held.
FRESH: Final = 5.0
#: Seconds after which the server takes a machine for dead that does not answer, and frees its locks; here as the
#: parameters of libpq, which notices a dead server likewise.
KEEPALIVES = {"idle": 10, "interval": 5, "count": 3}
DEAD_AFTER = KEEPALIVES["idle"] + KEEPALIVES["interval"] * KEEPALIVES["count"]
#: What a session is set to: a server's or a role's own settings must neither end it nor weaken its commits.
SETTINGS = {
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_session_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "tcp_keepalives_idle": str(KEEPALIVES["idle"]),
    "tcp_keepalives_interval": str(KEEPALIVES["interval"]),
    "tcp_keepalives_count": str(KEEPALIVES["count"]),
    "tcp_user_timeout": str(1000 * DEAD_AFTER),
}


def load_driver() -> Any:
    """Return the driver.

    Raises:
        MissingExtraError: it is not installed.

    """
    try:
        import psycopg  # noqa: PLC0415  only where such a ledger is used
    except ImportError as error:
        raise MissingExtraError(
            f"a ledger in PostgreSQL needs psycopg, which cannot be imported ({error}):"
            " pip install 'suno-video-async[postgres]'"
        ) from None
    return psycopg


def since_boot() -> float:
    """Return seconds that go on while the machine sleeps, unlike those of `time.monotonic`."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)


class Session:
    """A connection of psycopg as the statements take one: `?` stands for a value, transactions are explicit.

    Attributes:
        confirmed: when the statement was sent that the server answered last.
        was_silent: whether it was, for so long that the locks were no longer certain; for its user to reset.
        total_changes: how many rows were changed.

    """

    def __init__(self, connection: psycopg.Connection[Any], now: Callable[[], float]) -> None:
        self.connection = connection
        self.confirmed: float = now()
        self.was_silent: bool = False
        self.total_changes: int = 0
        self._now = now

    @property
    def is_lost(self) -> bool:
        """Whether the session has ended."""
        return self.connection.closed

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open; one that failed is rolled back at once."""
        return self.connection.info.transaction_status.name == "INTRANS"

    def execute(self, statement: str, values: Sequence[Any] = (), /) -> psycopg.Cursor[Any]:
        """Carry out one statement."""
        if statement == "COMMIT" and not self.in_transaction:
            raise LedgerError("the transaction is gone: nothing of it was written")
        with self._carrying_out():
            cursor = self.connection.execute(_spelt(statement), values)
        if cursor.description is None:
            self.total_changes += max(0, cursor.rowcount)
        return cursor

    def copy_in(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        """Send the rows of a `COPY … FROM STDIN`."""
        with self._carrying_out(), self.connection.cursor().copy(_spelt(statement)) as copy:
            for row in rows:
                copy.write_row(row)

    @contextmanager
    def _carrying_out(self) -> Generator[None, None, None]:
        began = self._now()
        try:
            yield
        except load_driver().Error:
            if self.connection.info.transaction_status.name == "INERROR":
                with contextlib.suppress(load_driver().Error):
                    self.connection.execute("ROLLBACK")
            raise
        self.was_silent |= began - self.confirmed >= FRESH
        self.confirmed = began

    def cut(self) -> None:
        """End the session from another thread: a statement that waits for an answer fails."""
        lost = contextlib.suppress(OSError, load_driver().Error)
        with lost, socket.socket(fileno=os.dup(self.connection.fileno())) as own:
            own.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Free the locks, and end the session."""
        with contextlib.suppress(load_driver().Error):
            self.connection.execute("SELECT pg_advisory_unlock_all()")
        self.connection.close()


@lru_cache
def _spelt(statement: str) -> Any:
    return statement.replace("?", "%s").encode()


def connect(address: LedgerAddress) -> psycopg.Connection[Any] | LedgerError:
    """Return a connection, or the error: raised from here, it would have the password in its frames."""
    driver = load_driver()
    if address.problem is not None:
        return LedgerError(f"the ledger's address {address} cannot be used: {address.problem}")
    try:
        given = driver.conninfo.conninfo_to_dict(address.conninfo)
    except driver.Error:  # its text may quote any part of the address
        return LedgerError(
            f"the ledger's address {address} cannot be read",
            fix="percent-encode what is not a letter or a digit in its user, password and database",
        )
    defaults = {
        "connect_timeout": "10",
        "fallback_application_name": f"suno-video, process {os.getpid()} on {platform.node()}"[:63],
        "target_session_attrs": "read-write",
        "client_encoding": "utf8",
        "tcp_user_timeout": str(1000 * DEAD_AFTER),
        **{f"keepalives_{name}": str(value) for name, value in KEEPALIVES.items()},
    }
    try:
        connection: psycopg.Connection[Any] = driver.connect(**{**defaults, **given}, autocommit=True)
    except (driver.Error, UnicodeError) as error:
        problem = said(error)
        for secret in filter(
            None, (given.get("password"), given.get("sslpassword"), os.environ.get("PGPASSWORD"))
        ):
            problem = problem.replace(str(secret), "…")
        return LedgerError(f"the ledger {address} cannot be reached: {problem}", temporary=True)
    return connection


def said(error: Exception) -> str:
    return " ".join(str(error).split())
