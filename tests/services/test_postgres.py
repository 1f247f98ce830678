"""What only a ledger in PostgreSQL has: a session, its locks, a server that may be another one than wished for."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from suno_video_async.errors import AnotherKeyError, LedgerError, LedgerLost, MissingExtraError
from suno_video_async.ledger.model import Transition
from suno_video_async.ledger.postgres import ledger as ledger_module
from suno_video_async.ledger.postgres import locks, reader, session, tables
from suno_video_async.ledger.postgres.ledger import PostgresLedger
from suno_video_async.ledger.postgres.session import FRESH, Session
from suno_video_async.ledger.sqlite import SqliteLedger
from suno_video_async.ledger.states import State
from suno_video_async.models import VideoTaskId
from tests.ledger.support import FINGERPRINT, PROVIDER, begin, reread, row_in, track
from tests.support.postgres import named
from tests.support.processes import PATIENCE

pytestmark = pytest.mark.services


def opened(address: str, fingerprint: str = FINGERPRINT, **options: bool) -> PostgresLedger:
    ledger = PostgresLedger(address)
    ledger.open(provider=PROVIDER, fingerprint=fingerprint, **options)
    return ledger


def session_of(ledger: PostgresLedger) -> Session:
    assert isinstance(ledger._connection, Session)
    return ledger._connection


def end(database: str, ledger: PostgresLedger) -> None:
    """End the session of a ledger, as a restart of the server does."""
    pid = session_of(ledger).connection.info.backend_pid
    with psycopg.connect(database, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))


def test_without_the_driver_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that is not one is refused first."""
    with pytest.raises(LedgerError, match="it names no ledger"):
        PostgresLedger("postgresql:///d").open_to_read()
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtraError, match=r"suno-video-async\[postgres\]"):
        PostgresLedger("postgresql:///d?ledger=x").open_to_read()


# Who holds it


def test_one_process_at_a_time_holds_a_ledger(address: str, ledger: PostgresLedger) -> None:
    """The next one learns which process that is, and gets it once the first has closed it."""
    assert ledger.writer() == ledger.reader().writer() == f"process {os.getpid()} on {os.uname().nodename}"
    with pytest.raises(LedgerError, match=rf"is being written by process {os.getpid()} on .* wait for it to end"):
        opened(address, "another key")
    with pytest.raises(LedgerError, match="is in use: one run at a time"):
        ledger.open(provider=PROVIDER, fingerprint=FINGERPRINT)
    ledger.close()
    assert ledger.writer() is None
    opened(address).close()


def test_one_key_works_under_one_name(database: str, ledger: PostgresLedger) -> None:
    """The limit is the key's: two ledgers of it would be two holders."""
    with pytest.raises(LedgerError, match=r"cannot be written: process \d+ on .* works with the same key"):
        opened(named(database))
    opened(named(database), "another key").close()


def test_a_holder_without_a_name_of_ours_is_named_by_its_session(address: str, ledger: PostgresLedger) -> None:
    """An application may name its sessions itself."""
    session_of(ledger).execute("SET application_name = 'team'")
    assert (ledger.writer() or "").endswith("(team)")
    session_of(ledger).execute("SET application_name = ''")
    assert (ledger.writer() or "").endswith("(without a name)")


def test_a_lock_may_be_free_again_by_the_time_its_holder_is_looked_for(
    ledger: PostgresLedger, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The refusal stays one."""
    for module in (locks, ledger_module):
        monkeypatch.setattr(module, "HOLDER", locks.HOLDER + " AND false")
    with pytest.raises(LedgerError, match="is being written by another process"):
        opened(address, "another key")


def test_a_holder_whose_loop_stands_still_is_ended_by_the_next(
    address: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was stopped keeps its session and asks it nothing; the next one waits out a period."""
    assert locks.STALE == 45.0
    stopped = opened(address)
    with pytest.raises(LedgerError, match="is being written by"):
        opened(address, "another key")
    monkeypatch.setattr(ledger_module, "STALE", -1.0)
    ledger = opened(address)
    assert abs((ledger.last_place() or 0.0) - time.time()) < 60
    with pytest.raises(LedgerLost):
        stopped.ping()
    stopped.close()
    other = opened(named(database))  # the key's lock alone
    with pytest.raises(LedgerLost):
        ledger.ping()
    other.close()


def test_a_holder_that_comes_back_first_keeps_its_ledger(
    address: str, ledger: PostgresLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where another one had the lock by the time that the silent one was ended."""
    monkeypatch.setattr(ledger_module, "STALE", -1.0)
    select = PostgresLedger._select

    def too_late(self: PostgresLedger, query: str, *values: object) -> list[Any]:
        return [(True,)] if "pg_terminate_backend" in query else select(self, query, *values)

    monkeypatch.setattr(PostgresLedger, "_select", too_late)
    with pytest.raises(LedgerError, match="is being written by"):
        opened(address, "another key")


def test_a_ledger_is_itself_whatever_object_it_is(address: str, database: str, ledger: PostgresLedger) -> None:
    """By its address."""
    assert ledger.is_same(PostgresLedger(address))
    assert not ledger.is_same(PostgresLedger(named(database)))
    assert not ledger.is_same(SqliteLedger())


# What it refuses


def test_another_account_is_refused(address: str, ledger: PostgresLedger) -> None:
    """And so is another key, until a task of the ledger was found with it."""
    ledger.close()
    with pytest.raises(LedgerError, match=r"belongs to https://api\.example\.test: use its account"):
        PostgresLedger(address).open(provider="elsewhere", fingerprint=FINGERPRINT)
    with pytest.raises(AnotherKeyError, match="belongs to another key"):
        opened(address, "another key")
    reader = ledger.reader()
    with pytest.raises(AnotherKeyError):
        reader.open_to_read((PROVIDER, "another key"))
    opened(address, "another key", proven=True).close()
    assert reader.open_to_read((PROVIDER, "another key"))
    with pytest.raises(LedgerError, match="is open already"):
        reader.open_to_read()
    reader.close()


def test_a_ledger_that_does_not_exist(address: str) -> None:
    """It is made by who writes, unless it must exist; who reads makes none."""
    assert not PostgresLedger(address).reader().open_to_read()
    for open_ in (
        lambda: opened(address, must_exist=True),
        lambda: PostgresLedger(address).open_to_read(must_exist=True),
    ):
        with pytest.raises(LedgerError, match="there is no ledger postgresql://"):
            open_()
    assert not PostgresLedger(address).reader().open_to_read()


def test_a_newer_ledger_is_refused(address: str, ledger: PostgresLedger) -> None:
    """It may hold what this version does not understand."""
    assert ledger.schema_version() == ledger.newest_schema == len(tables.MIGRATIONS)
    ledger._set_meta("schema", "99")
    ledger.close()
    with pytest.raises(LedgerError, match=r"is of a newer version of this program \(99\): update it"):
        opened(address)


@pytest.mark.parametrize(
    ("fsync", "encoding", "says"),
    [
        ("off", "UTF8", "would not survive a power cut: its server runs with fsync = off: set fsync = on"),
        ("on", "SQL_ASCII", "its database is in SQL_ASCII: make a database in UTF8"),
    ],
)
def test_a_server_that_would_forget_is_refused(
    address: str, fsync: str, encoding: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is made there."""
    monkeypatch.setattr(ledger_module, "SERVER", f"SELECT '{fsync}'::text, '{encoding}'::text")
    with pytest.raises(LedgerError, match=says):
        opened(address)


@pytest.mark.parametrize("what", ["open", "open_to_load", "open_to_read"])
def test_a_pooler_is_refused(address: str, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gives its clients numbers of its own for their sessions; what is set there would be others' as well."""
    monkeypatch.setattr(reader, "SESSION", "SELECT pg_backend_pid() + 1")
    account = {"provider": PROVIDER, "fingerprint": FINGERPRINT} if what == "open" else {}
    with pytest.raises(
        LedgerError, match=r"cannot be used through a connection pooler.*the database server itself"
    ):
        getattr(PostgresLedger(address), what)(**account)


@pytest.mark.parametrize(("given", "kept"), [("off", "on"), ("local", "on"), ("remote_apply", "remote_apply")])
def test_commits_are_never_weaker_than_on(database: str, given: str, kept: str) -> None:
    """Whatever a role or the address set."""
    ledger = opened(named(f"{database}&options=-csynchronous_commit%3D{given}"))
    assert ledger._select("SHOW synchronous_commit") == [(kept,)]
    ledger.close()


def test_a_session_has_no_timeouts_of_the_servers(database: str) -> None:
    """A role's own settings do not end it, and a dead machine's locks are free in 25 s."""
    ledger = opened(named(f"{database}&options=-cstatement_timeout%3D5000"))
    for name in ("statement_timeout", "lock_timeout", "idle_session_timeout"):
        assert ledger._select(f"SHOW {name}") == [("0",)]
    assert session.DEAD_AFTER == 25
    ledger.close()


# How it is reached


def test_a_service_file_names_the_server(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What libpq takes from elsewhere need not be in the address."""
    url = urlsplit(database)
    facts = {"dbname": url.path.strip("/"), "user": url.username or "", "host": url.hostname or ""}
    facts |= {name: value for name, (value,) in parse_qs(url.query).items()}
    lines = [f"{name}={value}" for name, value in facts.items() if value]
    (tmp_path / "services").write_text("\n".join(["[prod]", *lines, ""]))
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    opened(named("postgresql:///?service=prod")).close()


def test_a_server_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is one that may pass, and neither it nor its frames show the password."""
    monkeypatch.setenv("PGPASSWORD", "127.0.0.1")
    ledger = PostgresLedger("postgresql://u:S3cret@127.0.0.1:9/d?ledger=x")
    with pytest.raises(LedgerError, match=r"cannot be reached: .* port 9 failed") as caught:
        ledger.open(provider=PROVIDER, fingerprint=FINGERPRINT)
    assert caught.value.temporary
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "S3cret" not in shown
    assert 'server at "…"' in str(caught.value)


@pytest.mark.parametrize("address", ["postgresql://u:%zz@h/d?ledger=x", "postgresql://h:pw/d?ledger=x&nope=1"])
def test_an_address_that_libpq_cannot_read(address: str) -> None:
    """What libpq says of it is not repeated: it may quote a password."""
    with pytest.raises(LedgerError, match="cannot be read: percent-encode") as caught:
        PostgresLedger(address).open_to_read()
    assert "zz" not in str(caught.value)


def test_a_session_that_cannot_be_set_up(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is ended, and its error says which ledger."""
    monkeypatch.setattr(reader, "SETTINGS", {"statement_timeout": "soon"})
    with pytest.raises(LedgerError, match='cannot be used: invalid value for parameter "statement_timeout"'):
        opened(address)


def test_a_server_that_goes_while_a_session_is_set_up(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is one that may come back: a worker tries again."""
    monkeypatch.setattr(reader, "SETTINGS", {"statement_timeout": "0"})
    execute = Session.execute

    def ended(self: Session, statement: str, values: Any = (), /) -> Any:
        self.cut()
        return execute(self, statement, values)

    monkeypatch.setattr(Session, "execute", ended)
    with pytest.raises(LedgerError, match="cannot be used") as caught:
        opened(address)
    assert caught.value.temporary
    assert not isinstance(caught.value, LedgerLost)


def test_a_schema_that_a_person_made_is_used(database: str) -> None:
    """So a role needs no right to make one."""
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute('CREATE SCHEMA IF NOT EXISTS "suno_video_made-before"')
    ledger = opened(named(database, "made-before"))
    assert ledger.rows() == []
    ledger.close()


# What it is asked


def test_a_reader_sees_one_moment(ledger: PostgresLedger) -> None:
    """Whatever is written meanwhile."""
    row = row_in(ledger, State.PLANNED)
    reader = ledger.reader()
    assert reader.open_to_read()
    with reader.at_one_moment():
        assert reader.rows() == [row]
        begin(ledger, row)
        assert reader.rows() == [row]
    assert reader.rows() == [reread(ledger, row)]
    reader.close()


def test_a_reader_writes_nothing(ledger: PostgresLedger) -> None:
    """Not even by mistake."""
    reader = PostgresLedger(ledger.address)
    assert reader.open_to_read()
    with pytest.raises(LedgerError, match="read-only transaction"):
        reader.note_fact("a", "b")
    reader.close()


def test_attempts_without_a_row_are_found(ledger: PostgresLedger) -> None:
    """Of a database in which someone has worked by hand."""
    row = row_in(ledger, State.SUBMITTED)
    assert ledger.problems() == []
    db = session_of(ledger)
    db.execute("ALTER TABLE attempts DROP CONSTRAINT attempts_row_id_fkey")
    db.execute("DELETE FROM rows WHERE id = ?", (row.id,))
    assert ledger.problems() == ["1 attempt belongs to no row"]


@pytest.mark.parametrize("path", [Path("a\0b"), Path("a\udcff")])
def test_what_postgresql_does_not_take_is_an_error(ledger: PostgresLedger, path: Path) -> None:
    """And no loss: the row is as it was."""
    row = row_in(ledger, State.SUCCEEDED)
    with pytest.raises(LedgerError) as caught:
        ledger.move(row.id, Transition(state=State.DOWNLOADED, path=path))
    assert not isinstance(caught.value, LedgerLost)
    assert reread(ledger, row) == row
    assert ledger.claim(track("s2"), location="").row.id > row.id


def test_what_may_pass_is_told_from_what_may_not(ledger: PostgresLedger) -> None:
    """A statement that was cancelled may succeed later; one that is wrong may not."""
    with pytest.raises(LedgerError, match="statement timeout") as caught, ledger._transaction() as db:
        db.execute("SET LOCAL statement_timeout = '1ms'")  # which ends with the transaction
        db.execute("SELECT pg_sleep(3600)")
    assert caught.value.temporary
    with pytest.raises(LedgerError, match="does not exist") as caught:
        ledger._select("SELECT nope")
    assert not caught.value.temporary


def test_a_transaction_that_is_gone_is_not_committed(ledger: PostgresLedger) -> None:
    """PostgreSQL itself would only warn."""
    gone = pytest.raises(LedgerError, match="the transaction is gone")
    with gone, ledger._transaction() as db, contextlib.suppress(psycopg.Error):
        db.execute("SELECT nope")
    ledger.note_fact("a", "b")
    assert ledger.fact("a") == "b"


# How it is lost


def test_a_session_that_has_ended_is_the_end(database: str, address: str, ledger: PostgresLedger) -> None:
    """Nothing is written through another one, nothing counts as fresh; the next holder finds what was begun."""
    row = row_in(ledger, State.SUBMITTING)
    assert ledger.is_fresh()
    end(database, ledger)
    for write in (
        ledger.ping,
        lambda: ledger.move(row.id, Transition(state=State.PLANNED)),
        lambda: ledger.note_place(1.0),
    ):
        with pytest.raises(LedgerLost, match="its session with the database has ended"):
            write()
        assert not ledger.is_fresh()
    with pytest.raises(LedgerLost), ledger.one_commit():
        ledger.note_fact("a", "b")
    ledger.cut()
    ledger.close()
    taken = opened(address)
    assert [(one.id, one.state) for one in taken.rows()] == [(row.id, State.UNKNOWN)]
    taken.close()


def test_a_session_that_ends_while_it_commits(database: str, ledger: PostgresLedger) -> None:
    """Whether that was committed is not known, and the sums are as they were before."""
    row = row_in(ledger, State.PLANNED)
    with pytest.raises(LedgerLost), ledger.one_commit():
        begin(ledger, row, reserve=5)
        end(database, ledger)
    assert ledger.sums == (0, 0)


def test_word_that_was_left_is_taken_in_by_the_next_holder(
    database: str, address: str, ledger: PostgresLedger
) -> None:
    """An id that came after the loss is the unknown row's, and a question confirms it; another row's is not."""
    row, taken = row_in(ledger, State.SUBMITTING, "s1"), row_in(ledger, State.SUBMITTED, "s2")
    other = row_in(ledger, State.SUBMITTING, "s3")
    nonces = dict(ledger._select("SELECT row_id, nonce FROM attempts"))
    end(database, ledger)
    with pytest.raises(LedgerLost):
        ledger.ping()
    ledger.leave(nonces[row.id], VideoTaskId("late"))
    ledger.leave(nonces[row.id], VideoTaskId("later"))
    ledger.leave(nonces[other.id], taken.video_task_id or VideoTaskId(""))
    ledger.leave("of no attempt", VideoTaskId("stray"))
    ledger.close()
    found = opened(address)
    assert [(one.state, one.video_task_id) for one in found.rows()] == [
        (State.UNKNOWN, "late"),
        (State.SUBMITTED, taken.video_task_id),
        (State.UNKNOWN, None),
    ]
    assert found._select("SELECT * FROM inbox") == []
    session_of(found).execute("DROP TABLE inbox")
    with pytest.raises(LedgerError, match="does not exist"):
        found.leave("nonce", VideoTaskId("v"))
    found.close()


def test_word_that_is_left_later_is_taken_in_when_asked_for(ledger: PostgresLedger) -> None:
    """The earlier holder's answer may come after the next one has opened the ledger."""
    row, _ = row_in(ledger, State.UNKNOWN, "s1"), row_in(ledger, State.UNKNOWN, "s2")
    nonces = dict(ledger._select("SELECT row_id, nonce FROM attempts"))
    assert ledger.take_word() == ()
    ledger.leave(nonces[row.id], VideoTaskId("late"))
    assert [(one.id, one.state, one.video_task_id) for one in ledger.take_word()] == [
        (row.id, State.UNKNOWN, "late")
    ]
    assert ledger.take_word() == ()


def test_a_holder_that_has_not_closed_its_ledger_may_still_send(
    database: str, address: str, ledger: PostgresLedger
) -> None:
    """For as long as an answer of its session counts as fresh; then the next one has the key for itself."""
    assert ledger.sends_beyond() == 0.0
    end(database, ledger)
    ledger.close()
    taken = opened(address)
    assert taken.sends_beyond() == FRESH
    taken.close()
    again = opened(address)
    assert again.sends_beyond() == 0.0
    again.close()


@pytest.mark.parametrize("wrong", [-86400.0, 3600.0])
def test_the_last_use_of_a_key_is_noted_by_the_clock_of_the_database(address: str, wrong: float) -> None:
    """Clocks of machines may differ by any time, and be set while they work: the next holder keeps the window."""
    error = 0.0
    one = PostgresLedger(address, now=lambda: time.time() + error)
    one.open(provider=PROVIDER, fingerprint=FINGERPRINT)
    error = wrong
    one.ping()
    one.note_place(time.time() + wrong)
    one.close()
    other = opened(address)
    assert abs((other.last_place() or 0.0) - time.time()) < 60
    other.close()


def test_an_answer_is_fresh_for_five_seconds(address: str) -> None:
    """By a clock that goes on while the machine sleeps; what counts is when the question was sent."""
    ledger, now = PostgresLedger(address), 0.0
    assert ledger._now_here is session.since_boot
    ledger._now_here = lambda: now
    ledger.open(provider=PROVIDER, fingerprint=FINGERPRINT)
    now = FRESH - 1.0
    assert ledger.is_fresh()
    now = FRESH
    assert not ledger.is_fresh()
    now = FRESH - 1.0
    ledger.ping()
    now = 2 * FRESH - 2.0
    assert ledger.is_fresh()
    ledger.close()
    assert not ledger.is_fresh()
    ledger.cut()


def test_the_end_of_a_silence_is_noted_before_anything_is_sent(ledger: PostgresLedger) -> None:
    """Nothing was noted meanwhile, and the next holder must not take what is sent now for older than it is."""
    ledger.note_place(1.0)
    session_of(ledger).confirmed -= FRESH
    assert ledger.row(1) is None
    assert not ledger.is_fresh()
    assert ledger.last_place() == 1.0
    ledger.ping()
    assert ledger.is_fresh()
    assert (ledger.last_place() or 0.0) > 1.0


def test_a_session_that_does_not_answer_can_be_cut(
    database: str, address: str, ledger: PostgresLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the event loop, while the ledger's thread waits for it; the next holder need not wait so long."""
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ledger._select, "SELECT pg_sleep(60)")
        while not waiting.running() or not session_of(ledger).connection.lock.locked():
            pass
        ledger.cut()
        with pytest.raises(LedgerLost):
            waiting.result(PATIENCE)
    monkeypatch.setattr(ledger_module, "STALE", -1.0)
    opened(address).close()


def test_a_reader_whose_session_has_ended_may_come_again(database: str, ledger: PostgresLedger) -> None:
    """It has nothing to lose."""
    reader = PostgresLedger(ledger.address).reader()
    assert reader.open_to_read()
    session = reader._connection
    assert isinstance(session, Session)
    session.cut()
    with pytest.raises(LedgerError) as caught:
        reader.rows()
    assert caught.value.temporary
    assert not isinstance(caught.value, LedgerLost)
    reader.close()
