"""A ledger that lacks what it has bought, or has two names, is refused: the rules, and attacks on the files."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve

import suno_video_async.ledger.files as files_module
import suno_video_async.ledger.sqlite as sqlite_module
from suno_video_async._util.filesystem import is_mount_point
from suno_video_async.errors import DoubtfulLedgerError, LedgerError, LedgerLost
from suno_video_async.ledger.copies import (
    Counter,
    Facts,
    Mark,
    Phase,
    doubt_about_content,
    doubt_about_place,
    is_uncounted,
)
from suno_video_async.ledger.files import counter_of, log_of, mark_alone, read_counter, write_counter
from suno_video_async.ledger.lock import lock_of
from suno_video_async.ledger.model import Transition
from suno_video_async.ledger.sqlite import SqliteLedger
from suno_video_async.ledger.states import State
from suno_video_async.models import VideoTaskId
from tests.ledger.support import begin, connection, opened, reread, row_in, track

OPEN, LIVE, CLOSED = Phase.OPEN, Phase.LIVE, Phase.CLOSED


# The rules


@pytest.mark.parametrize("mark", [Mark(), Mark(1, OPEN), Mark(20, LIVE, "abc"), Mark(7, CLOSED, "0")])
def test_a_mark_is_read_as_it_was_written(mark: Mark) -> None:
    """A mark comes back from its text."""
    assert Mark.parse(str(mark)) == mark


@pytest.mark.parametrize("text", [None, "", "7", "live", "x live", "7 dead"])
def test_what_is_not_a_mark(text: str | None) -> None:
    """A ledger without a readable mark is of the time before the marks."""
    assert Mark.parse(text) == Mark(0, CLOSED)


@pytest.mark.parametrize(
    ("mark", "phase", "following"),
    [
        (Mark(), OPEN, Mark(1, OPEN)),
        (Mark(1, LIVE), OPEN, Mark(2, OPEN)),
        (Mark(1, LIVE), CLOSED, Mark(2, CLOSED)),
        (Mark(2, CLOSED), OPEN, Mark(3, OPEN)),
        (Mark(2, OPEN), LIVE, Mark(2, LIVE)),
        (Mark(2, OPEN), OPEN, Mark(2, OPEN)),
        (Mark(2, OPEN), CLOSED, Mark(2, CLOSED)),
    ],
)
def test_the_mark_that_follows(mark: Mark, phase: Phase, following: Mark) -> None:
    """A period ends only once its mark is in the database file: two marks ahead of it would not be believed."""
    assert mark.next(phase) == following


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        (Facts(), None),
        (Facts(network="nfs4"), "network file system (nfs4)"),
        (Facts(is_mount=True), "mount point of its own"),
        (Facts(links=2), "has 2 names"),
    ],
)
def test_where_a_ledger_is_written(facts: Facts, says: str | None) -> None:
    """A ledger on a network, mounted by itself or with a second name is refused."""
    doubt = doubt_about_place(facts)
    assert (doubt is None) if says is None else (doubt is not None and says in doubt.problem)


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        (Facts(exists=False), None),
        (Facts(exists=False, counter=Counter(4)), "is gone"),
        (Facts(), None),
        (Facts(counter=Counter(0)), None),
        (Facts(mark=Mark(4, CLOSED), alone=Mark(4, CLOSED), counter=Counter(4)), None),
        (Facts(mark=Mark(5, CLOSED), alone=Mark(5, CLOSED), counter=Counter(4)), None),
        (Facts(mark=Mark(3, CLOSED), alone=Mark(3, CLOSED), counter=Counter(4)), "is older"),
        (Facts(counter=Counter(4)), "is older"),
        (Facts(mark=Mark(4, OPEN), alone=Mark(4, OPEN), counter=Counter(4)), "-wal file that holds its newest"),
        (Facts(mark=Mark(4, LIVE), alone=Mark(4, LIVE), counter=Counter(4)), None),
        (Facts(mark=Mark(4, LIVE), alone=Mark(4, OPEN), has_log=True, counter=Counter(4)), None),
        (Facts(mark=Mark(4, LIVE), alone=Mark(4, LIVE), has_log=True, counter=Counter(4)), None),
        (Facts(mark=Mark(4, LIVE), alone=None, has_log=True, counter=Counter(4)), None),
        (
            Facts(mark=Mark(4, LIVE), alone=Mark(3, CLOSED), has_log=True, counter=Counter(4)),
            "not of the same time",
        ),
        (Facts(mark=Mark(4, LIVE), alone=Mark(5, OPEN), has_log=True, counter=Counter(4)), "not of the same time"),
        (Facts(mark=Mark(4, OPEN), alone=Mark(3, LIVE), has_log=True, counter=Counter(3)), None),
        (Facts(mark=Mark(4, CLOSED), alone=Mark(3, LIVE), has_log=True, counter=Counter(4)), None),
        (
            Facts(mark=Mark(4, CLOSED), alone=Mark(2, LIVE), has_log=True, counter=Counter(4)),
            "not of the same time",
        ),
        (Facts(mark=Mark(3, LIVE), alone=Mark(3, OPEN), has_log=True, counter=Counter(4)), "is older"),
        (Facts(mark=Mark(4, CLOSED, "a"), counter=Counter(4, 0, "a")), None),
        (Facts(mark=Mark(4, CLOSED, "a"), counter=Counter(4)), None),
        (Facts(mark=Mark(4, CLOSED, "a"), counter=Counter(4, 0, "b")), "is another one than the ledger"),
        (Facts(mark=Mark(9, CLOSED), counter=Counter(4, 0, "b")), "is older"),
        (Facts(mark=Mark(4, CLOSED), submissions=7, counter=Counter(4, 7)), None),
        (Facts(mark=Mark(4, CLOSED), submissions=8, counter=Counter(4, 7)), None),
        (Facts(mark=Mark(4, CLOSED), submissions=6, counter=Counter(4, 7)), "is older"),
        (Facts(mark=Mark(4, LIVE, "a"), alone=Mark(4, OPEN, "a"), has_log=True), None),
        (Facts(mark=Mark(4, LIVE, "a"), alone=Mark(4, OPEN), has_log=True), None),
        (Facts(mark=Mark(4, LIVE, "a"), alone=Mark(4, OPEN, "b"), has_log=True), "not of the same time"),
    ],
)
def test_what_a_ledger_lacks(facts: Facts, says: str | None) -> None:
    """A file that has lost its log, has another one's, is older than the counter or is gone lacks purchases."""
    doubt = doubt_about_content(facts)
    assert (doubt is None) if says is None else (doubt is not None and says in doubt.problem)


@pytest.mark.parametrize("counter", [Counter(), Counter(7), Counter(7, 12), Counter(7, 12, "abc")])
def test_a_counter_is_read_as_it_was_written(counter: Counter) -> None:
    """A counter comes back from its text, and those of one ledger have texts of one length."""
    assert Counter.parse(f"{counter}\n") == counter
    assert len(str(evolve(counter, submissions=10**11))) == len(str(counter))


@pytest.mark.parametrize("text", ["", "\n", "many", "3 many abc", "x 3"])
def test_what_is_not_a_counter(text: str) -> None:
    """It counts as missing; one of an earlier version has the period alone."""
    assert Counter.parse(text) is None
    assert Counter.parse("12\n") == Counter(12)


def test_a_ledger_without_a_counter() -> None:
    """The age of a ledger that was written before cannot be known without its counter."""
    assert is_uncounted(Facts(mark=Mark(4, CLOSED)))
    assert not is_uncounted(Facts(mark=Mark(4, CLOSED), counter=Counter(3)))
    assert not is_uncounted(Facts(mark=Mark(1, OPEN)))
    assert not is_uncounted(Facts())
    assert not is_uncounted(Facts(exists=False))


def test_what_follows_all_that_was_written() -> None:
    """An old copy that is accepted goes on after the newest period, not after its own."""
    assert Facts(mark=Mark(4, LIVE), counter=Counter(4)).newest == Mark(4, LIVE)
    assert Facts(mark=Mark(4, LIVE), counter=Counter(9)).newest == Mark(9, CLOSED)


# A ledger whose process was killed

ROWS = 5
_KILLED = f"""
import os, pathlib, sys
from suno_video_async.ledger.states import State
from tests.ledger.support import opened, row_in
ledger = opened(pathlib.Path(sys.argv[1]))
for n in range({ROWS}):
    row_in(ledger, State.SUBMITTED, f"s{{n}}")
os._exit(9)
"""


@pytest.fixture(scope="module")
def scene_of_the_crash(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what a process left that was killed while it wrote a ledger."""
    folder = tmp_path_factory.mktemp("killed")
    done = subprocess.run([sys.executable, "-c", _KILLED, str(folder / "catalog.db")], cwd=ROOT, check=False)
    assert done.returncode == 9
    return folder


ROOT = Path(sqlite_module.__file__).parents[2]


@pytest.fixture
def killed(scene_of_the_crash: Path, tmp_path: Path) -> Path:
    """Return a ledger whose process was killed, with all its files."""
    shutil.copytree(scene_of_the_crash, tmp_path, dirs_exist_ok=True)
    return tmp_path / "catalog.db"


def foreign(path: Path, script: str = "db.execute('SELECT * FROM rows').fetchall()") -> None:
    """Let another program use a ledger."""
    code = f"import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); {script}; db.close()"
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)


def bought(path: Path, *, accept: bool = False) -> int:
    """Open a ledger to write, and return how many rows it knows to be bought."""
    ledger = SqliteLedger(path, accept=accept)
    ledger.open(provider="https://api.example.test", fingerprint="0123456789abcdef")
    with contextlib.closing(ledger):
        return len(ledger.rows(State.SUBMITTED))


def period_of(path: Path) -> int | None:
    """Return the newest period that is kept beside a ledger."""
    counter = read_counter(path)
    return None if counter is None else counter.period


def unnamed(path: Path) -> Mark | None:
    """Return the mark of a database file alone, without the ledger's name."""
    mark = mark_alone(path)
    return None if mark is None else evolve(mark, ledger="")


def test_a_killed_ledger_with_all_its_files(killed: Path) -> None:
    """What a killed process committed is found again, run after run."""
    assert log_of(killed).stat().st_size > 0
    assert bought(killed) == ROWS
    assert bought(killed) == ROWS


def wal_deleted(path: Path) -> None:
    log_of(path).unlink()


def wal_emptied(path: Path) -> None:
    log_of(path).write_bytes(b"")


def database_moved_alone(path: Path) -> None:
    for file in path.parent.iterdir():
        if file != path:
            file.unlink()


def read_after_the_loss(path: Path) -> None:
    log_of(path).unlink()
    reader = SqliteLedger(path)
    with pytest.warns(UserWarning, match="the -wal file that holds its newest entries is missing"):
        reader.open_to_read()
    reader.close()


@pytest.mark.parametrize("lose", [wal_deleted, wal_emptied, database_moved_alone, read_after_the_loss])
def test_a_killed_ledger_without_its_log(killed: Path, lose: Callable[[Path], None]) -> None:
    """A killed ledger is refused without its -wal, time and again, until a person says that it is to be taken."""
    lose(killed)
    for _ in range(2):
        with pytest.raises(
            DoubtfulLedgerError, match="-wal file that holds its newest entries is missing"
        ) as caught:
            bought(killed)
        assert "accept=True" in str(caught.value)
    assert bought(killed, accept=True) < ROWS
    bought(killed)


def test_a_killed_ledger_that_another_program_has_closed(killed: Path) -> None:
    """A program that opens a killed ledger brings its log into the file and deletes it: nothing is missing."""
    foreign(killed)
    assert not log_of(killed).exists()
    assert bought(killed) == ROWS


def test_a_killed_ledger_that_another_program_has_copied(killed: Path) -> None:
    """A backup by SQLite's own means is whole as well; its missing counter is a warning, once."""
    copy = killed.with_name("copy.db")
    foreign(killed, f"db.execute('VACUUM INTO ?', ({str(copy)!r},))")
    with pytest.warns(UserWarning, match=r"copy\.db\.run is not beside it"):
        assert bought(copy) == ROWS
    assert bought(copy) == ROWS


# Attacks that keep the period


def test_the_end_of_a_log_is_cut_off(killed: Path) -> None:
    """SQLite takes a log without its last commits as whole; the counter knows how many there were."""
    os.truncate(log_of(killed), log_of(killed).stat().st_size * 2 // 3)
    with pytest.raises(DoubtfulLedgerError, match="is older than what was last written here"):
        bought(killed)


def test_the_end_of_a_log_is_overwritten(killed: Path) -> None:
    """As after a disk's error: SQLite stops at the first commit that is damaged."""
    lost = log_of(killed).stat().st_size // 2
    with log_of(killed).open("r+b") as log:
        log.seek(-lost, os.SEEK_END)
        log.write(b"\xff" * lost)
    with pytest.raises(DoubtfulLedgerError, match="is older than what was last written here"):
        bought(killed)


@pytest.mark.parametrize("how", ["VACUUM INTO", "backup"])
def test_a_backup_of_the_same_period_is_put_back(path: Path, how: str) -> None:
    """A copy that SQLite made while a run went on is whole, but old once that run was killed."""
    ledger = opened(path)
    row_in(ledger, State.SUBMITTED, "s1")
    backup = path.with_name("backup.db")
    if how == "backup":
        with contextlib.closing(sqlite3.connect(backup)) as copy:
            connection(ledger).backup(copy)
    else:
        connection(ledger).execute("VACUUM INTO ?", (str(backup),))
    row_in(ledger, State.SUBMITTED, "s2")
    counter = counter_of(path).read_bytes()
    ledger.close()
    shutil.copy(backup, path)  # and the run was killed, so that its counter is still of that period
    counter_of(path).write_bytes(counter)
    with pytest.raises(DoubtfulLedgerError, match="is older than what was last written here"):
        bought(path)
    assert bought(path, accept=True) == 1
    assert bought(path) == 1


def test_the_log_of_another_ledger(killed: Path) -> None:
    """Two ledgers that were killed in the same period: SQLite would write one's pages into the other."""
    other = killed.with_name("other.db")
    done = subprocess.run([sys.executable, "-c", _KILLED, str(other)], cwd=ROOT, check=False)
    assert done.returncode == 9
    assert period_of(other) == period_of(killed)
    shutil.copy(log_of(other), log_of(killed))
    with pytest.raises(DoubtfulLedgerError, match="-wal file beside it are not of the same time"):
        bought(killed)


def test_two_ledgers_that_change_their_names(path: Path) -> None:
    """Each would buy the other's catalog again; their counters stay behind and know them."""
    other = path.with_name("other.db")
    for name in (path, other):
        ledger = opened(name)
        row_in(ledger, State.SUBMITTED)
        ledger.close()
    path.rename(path.with_name("third"))
    other.rename(path)
    path.with_name("third").rename(other)
    for name in (path, other):
        with pytest.raises(DoubtfulLedgerError, match="is another one than the ledger that was last written here"):
            bought(name)
    assert bought(path, accept=True) == 1
    assert bought(path) == 1


def test_a_dump_that_is_read_again_is_not_a_ledger(path: Path) -> None:
    """It has lost what marks it as ours: refused, and no run begins on it."""
    ledger = opened(path)
    row_in(ledger, State.SUBMITTED)
    script = "\n".join(connection(ledger).iterdump())
    ledger.close()
    path.unlink()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executescript(script)
    with pytest.raises(LedgerError, match="is a database of another program"):
        bought(path, accept=True)


def test_an_index_that_is_damaged_is_made_again(killed: Path) -> None:
    """SQLite makes it from the log."""
    killed.with_name("catalog.db-shm").write_bytes(b"\xff" * 32768)
    assert bought(killed) == ROWS


def test_a_counter_that_cannot_be_written_is_an_older_one(path: Path) -> None:
    """A submission does not fail by it; what it then shows is less."""
    ledger = opened(path)
    counter_of(path).unlink()
    counter_of(path).mkdir()
    row_in(ledger, State.SUBMITTED)
    counter_of(path).rmdir()
    assert len(ledger.rows(State.SUBMITTED)) == 1
    ledger.close()
    counter = read_counter(path)
    assert counter is not None
    assert (counter.period, counter.submissions) == (2, 1)


# Copies, backups, names


def test_an_old_backup_is_put_back(path: Path) -> None:
    """A copy of an earlier time is refused where the newest was written, and accepted by hand is the newest."""
    opened(path).close()
    backup = path.with_name("backup")
    shutil.copy(path, backup)
    ledger = opened(path)
    row_in(ledger, State.SUBMITTED)
    ledger.close()
    shutil.copy(backup, path)
    with pytest.raises(DoubtfulLedgerError, match="is older than what was last written here"):
        bought(path)
    assert bought(path, accept=True) == 0
    assert bought(path) == 0


def test_a_ledger_of_an_earlier_version_is_put_back(path: Path) -> None:
    """A backup of the time before the marks is older, too."""
    opened(path).close()
    db = sqlite3.connect(path)
    db.execute("DELETE FROM meta WHERE name = 'mark'")
    db.commit()
    db.close()
    with pytest.raises(DoubtfulLedgerError, match="is older"):
        opened(path)


def test_an_old_database_beside_a_newer_log(killed: Path, path: Path) -> None:
    """The file of one time and the -wal of another make a ledger that never was."""
    earlier = killed.with_name("earlier.db")
    opened(earlier).close()
    assert bought(killed) == ROWS
    ledger = opened(killed)
    log = log_of(killed).read_bytes()
    ledger.close()
    log_of(killed).write_bytes(log)
    shutil.copy(earlier, killed)
    with pytest.raises(DoubtfulLedgerError, match="are not of the same time"):
        opened(killed)


def test_a_deleted_ledger(path: Path) -> None:
    """Where a ledger was, none is begun by itself; a reader says so and finds none."""
    opened(path).close()
    path.unlink()
    with pytest.raises(DoubtfulLedgerError, match="is gone, and with it all that it knew"):
        opened(path)
    with pytest.warns(UserWarning, match="is gone"):
        assert not SqliteLedger(path).open_to_read()
    assert bought(path, accept=True) == 0
    assert bought(path) == 0


def test_an_unreadable_counter(path: Path) -> None:
    """A counter that is damaged is a missing one: a warning."""
    opened(path).close()
    counter_of(path).write_text("many")
    with pytest.warns(UserWarning, match="not beside it"):
        opened(path).close()
    assert period_of(path) == 4


def test_a_second_name(path: Path) -> None:
    """A hard link to a ledger is refused by both names, without a lock that is left behind."""
    opened(path).close()
    other = path.with_name("other.db")
    os.link(path, other)
    for name in (path, other):
        with pytest.raises(DoubtfulLedgerError, match="has 2 names"):
            opened(name)
    other.unlink()
    opened(path).close()


def test_a_mounted_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A single file that is mounted into a container is refused before a lock is made."""
    table = path.with_name("mounts")
    table.write_text(f"/dev/vda / ext4 rw 0 0\n/dev/vda {path} ext4 rw 0 0\n")
    monkeypatch.setattr(files_module, "is_mount_point", lambda found: is_mount_point(found, str(table)))
    with pytest.raises(DoubtfulLedgerError, match="is a mount point of its own"):
        opened(path)
    assert list(path.parent.iterdir()) == [table]
    assert bought(path, accept=True) == 0


# While it is written


def deleted(path: Path) -> None:
    for file in (path, log_of(path)):
        file.unlink()


def replaced(path: Path) -> None:
    new = path.with_name("new")
    new.write_bytes(b"")
    new.replace(path)


def moved_away(path: Path) -> None:
    path.parent.rename(path.parent.with_name("elsewhere"))


def log_deleted(path: Path) -> None:
    log_of(path).unlink()


def lock_deleted(path: Path) -> None:
    lock_of(path).unlink()


def taken_over(path: Path) -> None:
    lock_of(path).unlink()
    foreign(path, "db.execute(\"UPDATE meta SET value = '2 open' WHERE name = 'mark'\"); db.commit()")
    lock_of(path).touch()


@pytest.mark.skipif(sys.platform == "win32", reason="open files cannot be deleted there")
@pytest.mark.parametrize("lose", [deleted, replaced, moved_away, log_deleted, lock_deleted, taken_over])
def test_a_ledger_that_is_lost_while_it_is_written(tmp_path: Path, lose: Callable[[Path], None]) -> None:
    """Nothing is bought any more; what was bought before is still written down, in case the file comes back."""
    path = tmp_path / "folder" / "catalog.db"
    path.parent.mkdir()
    ledger = opened(path)
    row = row_in(ledger, State.SUBMITTING)
    lose(path)
    planned = ledger.claim(track("s2"), location="").row
    with pytest.raises(LedgerLost, match="was lost while it was written"):
        begin(ledger, planned)
    with pytest.raises(LedgerLost, match="put the ledger back"):
        ledger.note_place(3000.0)
    moved = ledger.move(row.id, Transition(state=State.SUBMITTED, video_task_id=VideoTaskId("v1")))
    assert (moved.state, reread(ledger, planned).state) == (State.SUBMITTED, State.PLANNED)
    ledger.close()


def test_another_run_has_taken_it_over(ledger: SqliteLedger) -> None:
    """Whatever became of the lock, of two that write a ledger the earlier one stops."""
    row = ledger.claim(track(), location="").row
    connection(ledger).execute("UPDATE meta SET value = '2 open' WHERE name = 'mark'")
    with pytest.raises(LedgerLost, match="another program has opened it"):
        begin(ledger, row)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_does_not_write(ledger: SqliteLedger) -> None:
    """A child that inherited an open ledger neither writes nor closes it: SQLite forbids that."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            ledger.close = lambda: None  # type: ignore[method-assign]
            ledger.claim(track(), location="")
        except LedgerError as error:
            code = 7 if "opened before a fork" in str(error) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    row_in(ledger, State.DOWNLOADED)


def test_what_another_process_opened_is_not_written(ledger: SqliteLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger knows its process; where that has changed it says what to do, and writes nothing."""
    with monkeypatch.context() as patched:
        patched.setattr(os, "getpid", lambda: -1)
        with pytest.raises(LedgerError, match="was opened before a fork: open it in the child"):
            ledger.claim(track(), location="")
    assert ledger.rows() == []


# Marks on disk


def test_the_database_file_says_that_it_is_in_use(path: Path) -> None:
    """Before anything can be bought, the database file itself says that a log belongs to it; closing ends that."""
    ledger = opened(path)
    assert unnamed(path) == Mark(1, OPEN)
    assert period_of(path) == 1
    row_in(ledger, State.SUBMITTED)
    assert unnamed(path) == Mark(1, OPEN)
    ledger.close()
    assert unnamed(path) == Mark(2, CLOSED)
    assert period_of(path) == 2
    assert not log_of(path).exists()


def test_looking_at_the_file_keeps_the_locks(path: Path) -> None:
    """A look at the database file alone does not drop SQLite's locks: another program does not close the log."""
    ledger = opened(path)
    row_in(ledger, State.SUBMITTED)
    assert unnamed(path) == Mark(1, OPEN)
    foreign(path)
    assert log_of(path).exists()
    assert len(ledger.rows(State.SUBMITTED)) == 1
    ledger.close()


def test_what_cannot_be_read_alone(path: Path) -> None:
    """A file that is not a database without its log has no mark of its own; an empty one has the first."""
    path.write_bytes(b"\xff" * 5000)
    assert mark_alone(path) is None
    path.write_bytes(b"")
    assert mark_alone(path) == Mark()


def test_the_log_is_brought_into_the_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After some submissions the database file has them, under a new mark."""
    monkeypatch.setattr(sqlite_module, "CHECKPOINT_AFTER", 2)
    ledger = opened(path)
    for n in range(4):
        row_in(ledger, State.SUBMITTED, f"s{n}")
    assert unnamed(path) == Mark(3, OPEN)
    alone = sqlite3.connect(f"{path.as_uri()}?immutable=1", uri=True)
    assert alone.execute("SELECT COUNT(*) FROM rows WHERE state = 'submitted'").fetchone() == (3,)
    alone.close()
    ledger.close()


def test_a_reader_in_the_way_of_the_log(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader of an earlier moment holds a period open, and a crash meanwhile leaves a ledger that opens."""
    monkeypatch.setattr(sqlite_module, "CHECKPOINT_AFTER", 1)
    ledger = opened(path)
    reader = SqliteLedger(path)
    assert reader.open_to_read()
    with reader.at_one_moment():
        assert reader.rows() == []
        for n in range(3):
            row_in(ledger, State.SUBMITTED, f"s{n}")
        crashed = path.with_name("crashed.db")
        for file in (path, log_of(path), counter_of(path)):
            shutil.copy(file, str(file).replace("catalog", "crashed"))
        assert bought(crashed) == 3
    row_in(ledger, State.SUBMITTED, "s4")
    reader.close()
    assert unnamed(path) == Mark(2, OPEN)
    ledger.close()
    assert bought(path) == 4


def test_a_reader_in_the_way_of_the_first_mark(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger whose file cannot be marked is not written, and says why."""
    opened(path).close()
    monkeypatch.setattr(sqlite_module, "LOCKED", 0.05)
    reader = SqliteLedger(path)
    assert reader.open_to_read()
    with reader.at_one_moment():
        assert reader.rows() == []
        with pytest.raises(LedgerError, match="another program keeps reading an earlier state") as caught:
            opened(path)
        assert caught.value.temporary
    reader.close()
    opened(path).close()


# A disk that is full, a database that is locked


def test_a_foreign_lock_is_temporary(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger that another program keeps locked longer than we wait can be tried again."""
    monkeypatch.setattr(sqlite_module, "LOCKED", 0.05)
    ledger = opened(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerError, match="is locked") as caught:
        ledger.claim(track(), location="")
    assert caught.value.temporary
    other.execute("ROLLBACK")
    other.close()
    ledger.claim(track(), location="")
    ledger.close()


def test_a_full_disk_is_temporary(ledger: SqliteLedger) -> None:
    """A row that found no room is written once there is some."""
    (pages,) = connection(ledger).execute("PRAGMA page_count").fetchone()
    connection(ledger).execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(LedgerError, match="full") as caught:
        ledger.claim(track("s" * 20_000), location="")
    assert caught.value.temporary
    connection(ledger).execute("PRAGMA max_page_count = 1000000")
    ledger.claim(track("s" * 20_000), location="")


def test_a_full_disk_at_the_end(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger that cannot be marked as closed is closed all the same, and whole."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    ledger = opened(path)
    row_in(ledger, State.SUBMITTED)
    with monkeypatch.context() as patch:
        patch.setattr(sqlite_module, "write_counter", full)
        ledger.close()
    assert bought(path) == 1


def test_a_counter_is_whole_or_not_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A counter that could not be written leaves the one before it."""

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    write_counter(path, Counter(3))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_counter(path, Counter(4))
    assert period_of(path) == 3
