"""Which files are opened as a ledger, how, and that every other is left alone."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import suno_video_async.ledger.schema as schema_module
from suno_video_async.errors import LedgerError
from suno_video_async.ledger.model import AttemptTimes, Transition
from suno_video_async.ledger.schema import APPLICATION_ID, MIGRATIONS
from suno_video_async.ledger.sqlite import SqliteLedger
from suno_video_async.ledger.states import State
from suno_video_async.models import VideoTaskId
from tests.ledger.support import (
    FINGERPRINT,
    PROVIDER,
    begin,
    connection,
    everything,
    made_by_version,
    opened,
    row_in,
    track,
)


def made(path: Path, rows: int = 3) -> None:
    """Make a ledger with some rows, and close it."""
    ledger = opened(path, synchronous="OFF")
    for n in range(rows):
        row_in(ledger, State.DOWNLOADED, f"s{n}")
    ledger.close()


def pragma(path: Path, statement: str) -> None:
    """Change a file's header."""
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA {statement}")
    db.close()


# What is refused


def of_another_program(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE notes (text TEXT)")
    db.commit()
    db.close()


def of_another_program_with_a_wal(path: Path) -> None:
    pragma(path, "journal_mode = WAL")
    of_another_program(path)


def newer(path: Path) -> None:
    made(path)
    pragma(path, f"user_version = {len(MIGRATIONS) + 1}")


def corrupt(path: Path) -> None:
    made(path, 60)
    with path.open("r+b") as file:
        file.seek(4096 * 2)
        file.write(os.urandom(4096 * 4))


def cut_off(path: Path) -> None:
    made(path, 60)
    os.truncate(path, path.stat().st_size // 2)


def without_meta(path: Path) -> None:
    made(path)
    db = sqlite3.connect(path)
    db.execute("DROP TABLE meta")
    db.commit()
    db.close()


def text(path: Path) -> None:
    path.write_text("task_id,suno_id\n" * 100)


def short_text(path: Path) -> None:
    path.write_text("task_id,suno_id\n")


REFUSED = [
    (of_another_program, "is a database of another program: choose another file"),
    (of_another_program_with_a_wal, "is a database of another program: choose another file"),
    (newer, rf"is of a newer version of this program \({len(MIGRATIONS) + 1}\): update it"),
    (corrupt, "is damaged|malformed"),
    (cut_off, "is damaged|malformed"),
    (without_meta, "no such table: meta"),
    (text, "file is not a database"),
    (short_text, "file is not a database"),
]


def to_write(path: Path) -> None:
    opened(path)


def to_read(path: Path) -> None:
    SqliteLedger(path).open_to_read()


@pytest.mark.parametrize("how", [to_write, to_read])
@pytest.mark.parametrize(("make", "says"), REFUSED, ids=[make.__name__ for make, _ in REFUSED])
def test_what_is_no_ledger_of_ours(
    path: Path, make: Callable[[Path], None], says: str, how: Callable[[Path], None]
) -> None:
    """A file that is no ledger, or that this version cannot read, is refused in words and left byte for byte."""
    make(path)
    before = path.read_bytes()
    for _ in range(2):  # the first refusal leaves no lock behind
        with pytest.raises(LedgerError, match=says) as caught:
            how(path)
        assert str(path) in str(caught.value)
    assert path.read_bytes() == before
    beside = {file.name.removeprefix(path.name): file.stat().st_size for file in path.parent.iterdir()}
    # Whoever reads a database with a write-ahead log makes an empty one, and its index.
    assert set(beside) <= {"", ".lock", ".run", "-wal", "-shm"}
    assert beside.get("-wal", 0) == 0


@pytest.mark.parametrize(
    ("provider", "fingerprint", "says"),
    [
        (PROVIDER, "another", "belongs to another key"),
        ("https://other.example.test", FINGERPRINT, f"belongs to {PROVIDER}: use its account"),
        ("https://other.example.test", "another", f"belongs to {PROVIDER}: use its account"),
    ],
    ids=["key", "provider", "both"],
)
def test_a_ledger_of_another_account(path: Path, provider: str, fingerprint: str, says: str) -> None:
    """A ledger belongs to one provider and one key; another's is refused and left byte for byte."""
    made(path)
    before = path.read_bytes()
    ledger = SqliteLedger(path)
    with pytest.raises(LedgerError, match=says):
        ledger.open(provider=provider, fingerprint=fingerprint)
    assert path.read_bytes() == before
    assert repr(ledger).endswith("closed>")
    opened(path).close()


@pytest.mark.parametrize("how", [to_write, to_read])
def test_a_folder(path: Path, how: Callable[[Path], None]) -> None:
    """A folder is no ledger, and stays as it is."""
    path.mkdir()
    (path / "mine.txt").write_text("mine")
    with pytest.raises(LedgerError, match=r"catalog\.db is a folder"):
        how(path)
    assert [file.name for file in path.iterdir()] == ["mine.txt"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe(path: Path) -> None:
    """It is not opened, which would wait for its other end for ever."""
    os.mkfifo(path)
    with pytest.raises(LedgerError, match=r"catalog\.db is a pipe or a device: name a file"):
        to_write(path)


def test_a_folder_is_called_one(path: Path) -> None:
    """Who names a folder as the ledger is told that it is one."""
    path.mkdir()
    with pytest.raises(LedgerError, match=r"is a (folder|directory)"):
        opened(path)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """A ledger in a folder that does not exist is refused in words."""
    with pytest.raises(LedgerError, match="cannot be written: No such file or directory: choose another place"):
        opened(tmp_path / "none" / "catalog.db")


@pytest.fixture
def read_only_folder() -> Iterator[Path]:
    """Return a folder that this process can enter and not write; root gives its rights up for the while."""
    if sys.platform == "win32":
        pytest.skip("folders are not read-only there")
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        made(folder / "old.db")
        for file in folder.iterdir():
            file.chmod(0o444)
        folder.chmod(0o555)
        mine = os.geteuid()
        if mine == 0:
            os.seteuid(65534)
        try:
            yield folder
        finally:
            os.seteuid(mine)
            folder.chmod(0o755)


@pytest.mark.parametrize("name", ["new.db", "old.db"])
def test_a_read_only_folder(read_only_folder: Path, name: str) -> None:
    """A place that cannot be written is refused in words, and nothing in it changes."""
    before = {file: file.read_bytes() for file in read_only_folder.iterdir()}
    with pytest.raises(LedgerError, match="cannot be written: Permission denied: choose another place for it"):
        opened(read_only_folder / name)
    assert {file: file.read_bytes() for file in read_only_folder.iterdir()} == before


def test_a_ledger_in_a_read_only_folder_is_read(read_only_folder: Path) -> None:
    """Its report, plan and list of unknown rows need no folder that can be written."""
    ledger = SqliteLedger(read_only_folder / "old.db")
    before = {file: file.read_bytes() for file in read_only_folder.iterdir()}
    assert ledger.open_to_read()
    assert [row.track.suno_id for row in ledger.rows()] == ["s0", "s1", "s2"]
    ledger.close()
    assert {file: file.read_bytes() for file in read_only_folder.iterdir()} == before


def test_a_log_in_a_read_only_folder_is_missed(read_only_folder: Path) -> None:
    """A ledger whose last rows are in a log that cannot be read there is not shown without them."""
    mine, effective = os.getuid(), os.geteuid()
    os.seteuid(mine)
    read_only_folder.chmod(0o755)
    (read_only_folder / "old.db-wal").write_bytes(b"log")
    read_only_folder.chmod(0o555)
    os.seteuid(effective)
    ledger = SqliteLedger(read_only_folder / "old.db")
    with pytest.raises(LedgerError, match=r"in old\.db-wal beside it, cannot be read: read it as its owner"):
        ledger.open_to_read()


def test_a_file_that_is_gone_meanwhile_is_not_read_alone(tmp_path: Path) -> None:
    """What cannot be opened in either way is an error, and no copy of it stays."""
    with pytest.raises(sqlite3.OperationalError, match="unable to open database file"):
        schema_module.read_only(tmp_path / "absent.db")


def test_a_file_whose_state_cannot_be_asked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the operating system says about a file is passed on in words."""
    made(path)

    def failing(*_: object) -> sqlite3.Connection:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(schema_module, "read_only", failing)
    with pytest.raises(LedgerError, match=r"catalog\.db cannot be read: Input/output error"):
        opened(path)


# What is opened


@pytest.mark.parametrize("start", ["nothing", "empty file", "empty database"])
def test_a_new_ledger(path: Path, start: str) -> None:
    """Where there is nothing, or only an empty file, a ledger is made; it carries our mark and its version."""
    if start == "empty file":
        path.touch()
    elif start == "empty database":
        pragma(path, "journal_mode = WAL")
    ledger = opened(path)
    row_in(ledger, State.DOWNLOADED)
    db = connection(ledger)
    assert db.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    assert db.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    ledger.close()


def test_how_a_ledger_is_written(ledger: SqliteLedger) -> None:
    """The write-ahead log is on, every commit is synced, and an attempt needs its row."""
    db = connection(ledger)
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert db.execute("PRAGMA foreign_keys").fetchone() == (1,)
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        db.execute("INSERT INTO attempts (row_id, n, nonce, state, at) VALUES (99, 1, 'n', 'submitting', 0)")


def test_a_ledger_may_be_less_durable(path: Path) -> None:
    """Who measures may switch the syncs off."""
    ledger = opened(path, synchronous="OFF")
    assert connection(ledger).execute("PRAGMA synchronous").fetchone() == (0,)
    ledger.close()


def test_a_ledger_in_memory() -> None:
    """Without a path all is kept in memory, where nobody else can read it; closing ends it, twice is harmless."""
    ledger = SqliteLedger()
    assert repr(ledger) == "<SqliteLedger in memory closed>"
    assert not ledger.open_to_read()
    ledger.open(provider=PROVIDER, fingerprint=FINGERPRINT)
    row_in(ledger, State.DOWNLOADED)
    ledger.close()
    ledger.close()
    with pytest.raises(LedgerError, match="is not open"):
        ledger.rows()
    with pytest.raises(LedgerError, match="is not open"):
        ledger.claim(track(), location="")


# Readers


def test_a_reader_beside_a_writer(path: Path, ledger: SqliteLedger) -> None:
    """A reader sees what is committed, also what is written while it reads, hinders nobody and writes nothing."""
    row = row_in(ledger, State.SUBMITTED)
    reader = SqliteLedger(path)
    assert reader.open_to_read()
    assert reader.rows() == [row]
    moved = ledger.move(row.id, Transition(state=State.SUCCEEDED))
    assert reader.rows() == [moved]
    with pytest.raises(LedgerError, match="readonly"):
        reader.claim(track("s2"), location="")
    reader.close()
    assert ledger.rows() == [moved]


def test_a_reader_leaves_an_interrupted_ledger_alone(path: Path) -> None:
    """Reading does not recover: a row in `submitting` may be in the air, and is shown as it is."""
    ledger = opened(path)
    row_in(ledger, State.SUBMITTING)
    reader = SqliteLedger(path)
    assert reader.open_to_read()
    assert [row.state for row in reader.rows()] == [State.SUBMITTING]
    reader.close()
    ledger.close()


def test_a_reader_of_nothing(path: Path) -> None:
    """Where there is no ledger yet a reader is told so, and makes none."""
    assert not SqliteLedger(path).open_to_read()
    assert not path.exists()


def test_a_ledger_that_must_exist(path: Path) -> None:
    """What is only read or settled is not made: a path without a ledger is an error, and so is an empty file."""
    with pytest.raises(LedgerError, match=r"there is no ledger .*catalog\.db: check the path"):
        SqliteLedger(path).reader().open_to_read(must_exist=True)
    with pytest.raises(LedgerError, match="there is no ledger"):
        SqliteLedger(path).open(provider=PROVIDER, fingerprint=FINGERPRINT, must_exist=True)
    assert not path.exists()
    path.touch()
    with pytest.raises(LedgerError, match="there is no ledger"):
        SqliteLedger(path).reader().open_to_read(must_exist=True)


def test_a_reader_beside_its_writer(ledger: SqliteLedger) -> None:
    """A ledger in use hands out a reader of its own; one in memory has nothing that a reader could open."""
    row = row_in(ledger, State.SUBMITTED)
    reader = ledger.reader()
    assert reader.open_to_read(must_exist=True)
    assert reader.rows() == [row]
    reader.close()
    assert ledger.rows() == [row]
    assert not SqliteLedger().reader().open_to_read()


def test_a_reader_that_comes_too_early(path: Path) -> None:
    """A file that a writer has only just made is no ledger yet, or refused; the reader stays closed."""
    path.touch()
    reader = SqliteLedger(path)
    with contextlib.suppress(LedgerError):
        assert not reader.open_to_read()
    assert repr(reader).endswith("closed>")


def test_a_ledger_that_breaks_while_it_is_read(path: Path) -> None:
    """A question to a ledger that is damaged, or was taken away, fails with the ledger's own error."""
    made(path, 60)
    reader = SqliteLedger(path)
    assert reader.open_to_read()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    try:
        with pytest.raises(LedgerError):
            reader.rows()
    finally:
        reader.close()


# Versions

SECOND = "ALTER TABLE rows ADD COLUMN note TEXT; CREATE INDEX rows_by_note ON rows (note)"


def test_an_older_ledger_is_brought_up_to_date(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger of an older version gets what it lacks and keeps what it has; this version then refuses it."""
    made(path)
    with monkeypatch.context() as patch:
        patch.setattr(schema_module, "MIGRATIONS", (*MIGRATIONS, SECOND))
        for _ in range(2):
            ledger = opened(path)
            assert connection(ledger).execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS) + 1,)
            assert connection(ledger).execute("SELECT note FROM rows").fetchall() == [(None,)] * 3
            assert [row.state for row in ledger.rows()] == [State.DOWNLOADED] * 3
            ledger.close()
        new = opened(path.with_name("new.db"))
        assert connection(new).execute("SELECT note FROM rows").fetchall() == []
        new.close()
    with pytest.raises(LedgerError, match="newer version"):
        opened(path)


@pytest.fixture(params=range(1, len(MIGRATIONS)))
def old(request: pytest.FixtureRequest, path: Path) -> Path:
    """Return a ledger as an older version left it."""
    return made_by_version(path, request.param)


def test_an_older_ledger_is_read_as_it_is(old: Path) -> None:
    """A reader sees all of an older version's ledger, what that did not keep as not known, and changes nothing."""
    before = old.read_bytes()
    reader = SqliteLedger(old)
    assert reader.open_to_read((PROVIDER, FINGERPRINT))
    assert [(row.state, row.video_task_id, row.sha256) for row in reader.rows()] == [
        (State.SUCCEEDED, "v1", None),
        (State.UNKNOWN, "v2", None),
    ]
    assert list(reader.times()) == [AttemptTimes(row_id=1, at=2000.0), AttemptTimes(row_id=2, at=2000.0)]
    assert reader.totals().spent == 6
    assert reader.candidate(2) is None
    with pytest.raises(LedgerError, match="readonly"):
        reader.claim(track("s3"), location="")
    reader.close()
    assert old.read_bytes() == before
    assert [file.name for file in old.parent.iterdir()] == [old.name]


def test_an_older_ledger_goes_on(old: Path) -> None:
    """A ledger of each older version is brought up to date by the first run, and keeps times from then on."""
    ledger = opened(old)
    assert connection(ledger).execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    row = row_in(ledger, State.SUBMITTED, "s3")
    ledger.move(row.id, Transition(state=State.SUCCEEDED, ended=2090.0, took=88.0))
    assert list(ledger.times()) == [
        AttemptTimes(row_id=1, at=2000.0),
        AttemptTimes(row_id=2, at=2000.0),
        AttemptTimes(row_id=3, at=2000.0, ended=2088.0, took=88.0),
    ]
    ledger.close()


def test_an_older_ledger_that_cannot_be_brought_up_to_date(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reads an older ledger that lacks what it should have is told so in words."""
    made(path)
    monkeypatch.setattr(schema_module, "MIGRATIONS", (*MIGRATIONS, "NONSENSE"))
    with pytest.raises(LedgerError, match="syntax error"):
        SqliteLedger(path).open_to_read()


def test_a_reader_at_one_moment(path: Path, ledger: SqliteLedger) -> None:
    """What is asked together is answered as of one moment, beside a writer whom that does not hinder."""
    row = row_in(ledger, State.SUBMITTED)
    reader = SqliteLedger(path)
    assert reader.open_to_read()
    with reader.at_one_moment():
        assert reader.rows() == [row]
        moved = ledger.move(row.id, Transition(state=State.SUCCEEDED, ended=2090.0))
        assert reader.rows() == [row]
        assert [times.ended for times in reader.times()] == [None]
    assert reader.rows() == [moved]
    assert [times.ended for times in reader.times()] == [2090.0]
    reader.close()


def test_a_closed_ledger_has_no_moment(memory: SqliteLedger) -> None:
    """It says that it is closed, as for any other question."""
    memory.close()
    with pytest.raises(LedgerError, match="not open"), memory.at_one_moment():
        raise AssertionError


def test_one_moment_inside_another_is_refused(memory: SqliteLedger) -> None:
    """What the database says becomes the library's own error, here too."""
    with (
        memory.at_one_moment(),
        pytest.raises(LedgerError, match="cannot start a transaction within"),
        memory.at_one_moment(),
    ):
        pass


def test_times_of_every_attempt(memory: SqliteLedger) -> None:
    """A row that was bought again keeps the times of all its submissions."""
    row = row_in(memory, State.SUBMITTED)
    row = memory.move(row.id, Transition(state=State.FAILED, ended=2050.0))
    begin(memory, row)
    memory.move(row.id, Transition(state=State.SUBMITTED, video_task_id=VideoTaskId("again")))
    memory.move(row.id, Transition(state=State.SUCCEEDED, took=70.0))
    assert [(times.ended, times.took) for times in memory.times()] == [(2050.0, None), (None, 70.0)]


def test_how_long_the_last_tasks_took(memory: SqliteLedger) -> None:
    """The newest last, and no more than asked for; what nobody knows is left out."""
    for number, took in enumerate([60.0, None, 70.0, 80.0]):
        row = row_in(memory, State.SUBMITTED, suno_id=f"s{number}")
        memory.move(row.id, Transition(state=State.SUCCEEDED, took=took))
    assert memory.durations(2) == [70.0, 80.0]
    assert memory.durations(9) == [60.0, 70.0, 80.0]


def test_a_migration_that_fails_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger that cannot be brought up to date stays what it was, whole."""
    made(path)
    reader = SqliteLedger(path)
    assert reader.open_to_read()
    before = everything(reader)
    reader.close()
    with monkeypatch.context() as patch:
        patch.setattr(schema_module, "MIGRATIONS", (*MIGRATIONS, f"{SECOND}; NONSENSE"))
        with pytest.raises(LedgerError, match="syntax error"):
            opened(path)
    reader = SqliteLedger(path)
    assert reader.open_to_read()
    assert everything(reader) == before
    reader.close()


def test_runs_are_counted(path: Path) -> None:
    """Each opening is a run of its own, to tell what it touched."""
    for run in (1, 2, 3):
        ledger = opened(path)
        assert connection(ledger).execute("SELECT value FROM meta WHERE name = 'run'").fetchone() == (str(run),)
        ledger.close()


# What the ledger must take


def test_a_cost_beyond_reason(memory: SqliteLedger) -> None:
    """A server that names a senseless cost does not break the run with a foreign error."""
    row = row_in(memory, State.SUBMITTED)
    with contextlib.suppress(LedgerError):
        memory.move(row.id, Transition(state=State.SUCCEEDED, cost=10**20))


def test_a_folder_whose_name_is_no_text(memory: SqliteLedger) -> None:
    """A video in a folder whose name is not UTF-8 can be written down."""
    row = row_in(memory, State.SUCCEEDED)
    path = Path(os.fsdecode(b"/videos/caf\xe9/s1.mp4"))
    assert memory.move(row.id, Transition(state=State.DOWNLOADED, path=path)).path == path


def test_a_catalog_whose_name_is_no_text(memory: SqliteLedger) -> None:
    """A catalog whose name is not UTF-8 can be converted."""
    assert memory.claim(track(), location=os.fsdecode(b"caf\xe9.csv:2")).row.state is State.PLANNED


def test_a_ledger_in_use_is_not_reopened_to_read(path: Path) -> None:
    """Its own connection would be lost: whoever writes reads with it, others open the file by themselves."""
    ledger = SqliteLedger(path)
    ledger.open(provider="p", fingerprint="f")
    with pytest.raises(LedgerError, match="is open already"):
        ledger.open_to_read()
    ledger.close()


def test_a_thorough_look_finds_nothing_wrong_with_a_ledger_that_is_whole(path: Path) -> None:
    """A reader knows whose ledger it is and how old its schema, and checks the whole file."""
    made(path)
    reader = SqliteLedger(path)
    assert reader.open_to_read()
    assert (reader.problems(), reader.schema_version(), reader.provider()) == ([], len(MIGRATIONS), PROVIDER)
    reader.close()


def test_a_thorough_look_finds_attempts_that_belong_to_no_row(path: Path) -> None:
    """An edit by hand that took a row away and left its attempt is reported."""
    made(path)
    db = sqlite3.connect(path)
    db.execute("DELETE FROM rows WHERE id = 1")
    db.commit()
    db.close()
    reader = SqliteLedger(path)
    assert reader.open_to_read()
    assert reader.problems() == ["1 attempt belongs to no row"]
    reader.close()


class _Overtaken:
    """A connection beside which a ledger is created between two of its reads."""

    def __init__(self, connection: sqlite3.Connection, create: Callable[[], object]) -> None:
        self._connection, self._create = connection, create

    def execute(self, statement: str) -> sqlite3.Cursor:
        found = self._connection.execute(statement)
        if "application_id" in statement:
            self._create()
        return found

    def close(self) -> None:
        self._connection.close()


def test_a_ledger_that_is_just_being_created_is_not_another_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its head is read as of one moment: before, it is empty."""
    path = tmp_path / "new.db"
    with contextlib.closing(sqlite3.connect(path)) as empty:
        empty.execute("PRAGMA journal_mode=WAL")

    def create() -> None:
        with contextlib.closing(sqlite3.connect(path)) as other:
            other.execute("CREATE TABLE meta (name, value)")
            other.commit()

    real = schema_module.read_only
    monkeypatch.setattr(schema_module, "read_only", lambda path: _Overtaken(real(path), create))
    assert not schema_module.examine(path).exists
