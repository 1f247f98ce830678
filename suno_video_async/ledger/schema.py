"""The ledger's file: its tables, how an old one is brought up to date, and what is no ledger of ours."""

from __future__ import annotations

import contextlib
import sqlite3
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from attrs import evolve

from suno_video_async.errors import DoubtfulLedgerError, LedgerError
from suno_video_async.ledger.copies import Facts, doubt_about_content, is_uncounted
from suno_video_async.ledger.files import counter_of, has_log, log_of, read_counter, read_mark
from suno_video_async.ledger.queries import Connection, refuse_foreign

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
    """
    ALTER TABLE rows ADD COLUMN name TEXT;
    ALTER TABLE rows ADD COLUMN name_key TEXT;
    CREATE UNIQUE INDEX rows_by_file ON rows (name_key)
    """,
)


def read_only(path: Path) -> sqlite3.Connection:
    """Open a file without ever writing to it.

    To read a log, SQLite makes an index beside it. In a folder that cannot be written, a file without a log is
    read alone.

    Raises:
        LedgerError: it has a log that cannot be read there.

    """
    connection = _connected(path, "mode=ro")
    try:
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}:
            return connection  # what is wrong with the file is said by what reads it
        connection.close()
        return _copy_of_file_alone(path)
    return connection


def _copy_of_file_alone(path: Path) -> sqlite3.Connection:
    """Return a copy in memory, since nothing keeps a writer from changing a file that is read so."""
    copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    try:
        with contextlib.closing(_connected(path, "mode=ro&immutable=1")) as alone:
            alone.backup(copy)
        _refuse_log(path)  # last: a writer may just have begun
    except BaseException:
        copy.close()
        raise
    return copy


def _refuse_log(path: Path) -> None:
    if has_log(path):
        raise LedgerError(
            f"the ledger {path} is in a folder that cannot be written, so that what was written last, in"
            f" {log_of(path).name} beside it, cannot be read",
            fix="read it as its owner, or copy it with all files of its name to another folder",
        )


def _connected(path: Path, options: str) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?{options}", uri=True, check_same_thread=False)


def up_to_date(reader: sqlite3.Connection) -> sqlite3.Connection:
    """Return a connection that has what this version asks for: the reader's own, or to a copy in memory."""
    (version,) = reader.execute("PRAGMA user_version").fetchone()
    if version == len(MIGRATIONS):
        return reader
    copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    try:
        reader.backup(copy)
        migrate(copy)
        copy.execute("PRAGMA query_only = ON")
    except BaseException:
        copy.close()
        raise
    finally:
        reader.close()
    return copy


def migrate(db: Connection) -> None:
    """Bring a ledger up to date, in the transaction that is open."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    for number, script in enumerate(MIGRATIONS[version:], version + 1):
        for statement in script.split(";"):
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {number}")


def examine(path: Path, account: tuple[str, str] | None = None, *, same_account: bool = False) -> Facts:
    """Return what a file shows, and refuse one that is not a ledger, or not this account's; nothing is written.

    Args:
        path: the file.
        account: the provider and the fingerprint that it must belong to, or None for any.
        same_account: whether another fingerprint of the provider is the same account's.

    """
    if path.is_dir():
        raise LedgerError(f"{path} is a folder", fix="name a file for the ledger")
    nothing = Facts(exists=False, counter=read_counter(path))  # before the mark, which never is older
    if not path.exists() or path.stat().st_size == 0:
        return nothing
    had_log = has_log(path)
    connection = read_only(path)
    try:
        connection.execute("BEGIN")  # one moment of the file: another process may be creating it just now
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        connection.execute("COMMIT")
        if tables == 0:
            return nothing
        if application != APPLICATION_ID:
            raise LedgerError(f"{path} is a database of another program", fix="choose another file for the ledger")
        if version > len(MIGRATIONS):
            raise LedgerError(
                f"the ledger {path} is of a newer version of this program ({version})", fix="update it"
            )
        (health,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if health != "ok":
            raise LedgerError(f"the ledger {path} is damaged ({health})", fix="restore it from a copy")
        meta = dict(connection.execute("SELECT name, value FROM meta"))
        mark = read_mark(connection)
        (submissions,) = connection.execute("SELECT COUNT(*) FROM attempts").fetchone()
    finally:
        connection.close()
    refuse_foreign(str(path), meta, account, same_account=same_account)
    # A writer that has just begun has its log by now, and one that was there before may just have closed it.
    logged = had_log or has_log(path)
    return evolve(nothing, exists=True, mark=mark, alone=None, has_log=logged, submissions=submissions)


def refuse_doubtful(path: Path, facts: Facts) -> None:
    """Refuse a file that may lack what was bought; warn of one whose age cannot be known.

    Raises:
        DoubtfulLedgerError: it may.

    """
    if doubt := doubt_about_content(facts):
        raise DoubtfulLedgerError(f"the ledger {path} {doubt.problem}", doubt.check)
    if is_uncounted(facts):
        warnings.warn(
            f"the ledger {path} was written before, but {counter_of(path).name} is not beside it: if this is a"
            " copy, make sure that it is the newest one, or what was bought since is bought again",
            UserWarning,
            stacklevel=2,
        )


@contextmanager
def translated(path: Path | None) -> Generator[None, None, None]:
    """Let what SQLite and the operating system say become a `LedgerError`."""
    try:
        yield
    except Exception as error:
        translate(path, error)
        raise


def translate(path: Path | None, error: BaseException) -> None:
    """Raise the `LedgerError` for an error of SQLite or the operating system; return where it is another one."""
    where = path or "in memory"
    if isinstance(error, sqlite3.DatabaseError):
        raise LedgerError(f"the ledger {where} cannot be used: {error}", temporary=_is_temporary(error)) from error
    if isinstance(error, OSError):
        raise LedgerError(f"the ledger {where} cannot be read: {error.strerror}") from error
    if isinstance(error, UnicodeError | OverflowError):
        raise LedgerError(f"the ledger {where} cannot take a value: {error}") from error


#: Another program has it locked, the disk is full, or a write failed.
_TEMPORARY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR})


def _is_temporary(error: sqlite3.DatabaseError) -> bool:
    """Whether the same may succeed later; an extended code has the plain one in its lowest byte."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _TEMPORARY
