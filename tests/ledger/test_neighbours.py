"""The other ledgers in a folder: what they hold is found, and no file of theirs is touched."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import suno_video_async.ledger.neighbours as neighbours_module
from suno_video_async.ledger.files import index_of, log_of
from suno_video_async.ledger.model import DROPPED, RowError, Transition
from suno_video_async.ledger.neighbours import MAX_FAILURES, Holding, Neighbours
from suno_video_async.ledger.schema import MIGRATIONS
from suno_video_async.ledger.sqlite import SqliteLedger
from suno_video_async.ledger.states import State
from tests.ledger.support import PROVIDER, made_by_version, opened, person, row_in, track


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Return the place of the other ledger."""
    return tmp_path / "old.ledger.db"


@pytest.fixture
def beside(tmp_path: Path) -> Iterator[Neighbours]:
    """Return what is beside a ledger that does not exist yet."""
    neighbours = Neighbours(tmp_path / "new.ledger.db", PROVIDER)
    yield neighbours
    neighbours.close()


def made(path: Path, *states: State) -> Path:
    """Make a ledger with a row in each state, named after it."""
    ledger = opened(path, synchronous="OFF")
    for state in states:
        row_in(ledger, state, str(state))
    ledger.close()
    return path


def held(neighbours: Neighbours, *suno_ids: str) -> dict[str, Holding]:
    """Return what is found of tracks, by their ids."""
    keys = {track(suno_id).key: suno_id for suno_id in suno_ids}
    return {keys[key]: holding for key, holding in neighbours.holdings(list(keys)).items()}


def files(folder: Path) -> dict[str, bytes]:
    """Return the content of all files in a folder, but for the indexes of logs, which every reader may write."""
    return {file.name: file.read_bytes() for file in folder.iterdir() if not file.name.endswith("-shm")}


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def kill_a_writer(path: Path) -> None:
    """Leave a ledger as a killed process leaves it."""
    writer = subprocess.Popen(
        [sys.executable, "-m", "tests.ledger.holder", str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert writer.stdout is not None
    writer.stdout.readline()
    writer.kill()
    writer.communicate()


def counted_opens(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Return what is opened from now on."""
    opens, connect = list[object](), sqlite3.connect

    def counting(name: str, **options: Any) -> sqlite3.Connection:
        opens.append(name)
        opened: sqlite3.Connection = connect(name, **options)
        return opened

    monkeypatch.setattr(sqlite3, "connect", counting)
    return opens


# What counts


def test_what_is_bought_or_may_be_counts(other: Path, beside: Neighbours) -> None:
    """Every state but planned and refused is found, with the ledger and the state; a track in no ledger is not."""
    made(other, *(state for state in State if state is not State.SUBMITTING))
    bought = {State.SUBMITTED, State.SUCCEEDED, State.DOWNLOADED, State.FAILED, State.UNKNOWN}
    assert held(beside, "no such", *State) == {state: Holding(other, state) for state in bought}
    assert beside.remarks() == []


@pytest.mark.parametrize(
    ("failures", "given_up", "retry_failed", "counts"),
    [(1, False, 0, True), (1, False, 1, False), (2, False, 1, True), (2, False, 2, False), (0, True, 9, True)],
)
def test_a_failed_track_counts_unless_it_may_be_bought_again(
    other: Path, beside: Neighbours, failures: int, given_up: bool, retry_failed: int, counts: bool
) -> None:
    """`retry_failed` means the failures in another ledger, too; what a person gave up is never bought again."""
    ledger = opened(other)
    row = row_in(ledger, State.UNKNOWN if given_up else State.FAILED, "s1")
    if given_up:
        person(ledger, row, State.FAILED)
    ledger.close()
    with sqlite3.connect(other) as db:
        db.execute("UPDATE rows SET failures = ?", (failures,))
    db.close()
    beside.retry_failed = retry_failed
    assert bool(held(beside, "s1")) is counts


def test_a_track_that_failed_and_was_given_up_then_counts(other: Path, beside: Neighbours) -> None:
    """However often failed tracks may be bought again."""
    ledger = opened(other)
    row = row_in(ledger, State.FAILED, "s1")
    ledger._connection.execute(  # type: ignore[union-attr]
        "UPDATE rows SET error = ? WHERE id = ?", (f'["{DROPPED}", null, "given up by hand"]', row.id)
    )
    ledger.close()
    beside.retry_failed = 9
    assert held(beside, "s1")


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS)))
def test_a_ledger_of_an_older_version_counts(other: Path, beside: Neighbours, version: int) -> None:
    """It is read as it is, and not brought up to date."""
    made_by_version(other, version)
    before = files(other.parent)
    assert held(beside, "s1", "s2") == {"s1": Holding(other, "succeeded"), "s2": Holding(other, "unknown")}
    assert files(other.parent) == before


def test_a_ledger_of_a_newer_version_counts_as_far_as_it_can_be_read(other: Path, beside: Neighbours) -> None:
    """A state that this version has no word for is not known to be unbought."""
    made(other, State.SUBMITTED)
    with sqlite3.connect(other) as db:
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
        db.execute("UPDATE rows SET state = 'rendering'")
    db.close()
    assert held(beside, "submitted") == {"submitted": Holding(other, "rendering")}
    with sqlite3.connect(other) as db:
        db.execute("ALTER TABLE rows RENAME TO tracks")
    db.close()
    assert held(beside, "submitted") == {}
    (remark,) = beside.remarks()
    assert f"the ledger {other} cannot be read: what it has bought is not known here" in remark


def test_a_ledger_of_another_service_does_not_count(other: Path, beside: Neighbours) -> None:
    """Its purchases are another account's; one of another key of this service may be of the same account."""
    for name, provider, fingerprint in (("a", "http://127.0.0.1:8555", "x"), ("b", PROVIDER, "another key")):
        ledger = SqliteLedger(other.with_name(f"{name}.ledger.db"))
        ledger.open(provider=provider, fingerprint=fingerprint)
        row_in(ledger, State.SUBMITTED, name)
        ledger.close()
    assert list(held(beside, "a", "b")) == ["b"]
    beside.provider = None
    assert list(held(Neighbours(beside.ledger), "a", "b")) == ["a", "b"]


def test_of_several_ledgers_the_newest_that_is_named_as_one_is_said(tmp_path: Path, beside: Neighbours) -> None:
    """A ledger may have any name that databases have; its lock beside it tells, too."""
    for n, name in enumerate(("x.db", "y.sqlite3", "plain", "a.ledger.db", "b.ledger.db")):
        made(tmp_path / name, State.SUBMITTED)
        os.utime(tmp_path / name, (n, n))
    for expected in ("b.ledger.db", "a.ledger.db", "plain", "y.sqlite3", "x.db"):
        assert held(beside, "submitted")["submitted"].ledger.name == expected
        (tmp_path / expected).unlink()
    assert held(beside, "submitted") == {}


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_the_ledger_itself_is_not_beside_itself(tmp_path: Path, link: object) -> None:
    """By no other name, even while it is written."""
    ledger = opened(tmp_path / "l.db")
    row_in(ledger, State.UNKNOWN, "unknown")
    link(tmp_path / "l.db", tmp_path / "copy.db")  # type: ignore[operator]
    assert held(Neighbours(tmp_path / "l.db", PROVIDER), "unknown") == {}
    ledger.close()


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    """Nothing is said of it: the ledger itself will."""
    assert held(Neighbours(tmp_path / "no" / "l.db"), "s1") == {}


# Files that are in use, or were


def test_a_ledger_that_is_being_written_is_read_as_it_stands(other: Path, beside: Neighbours) -> None:
    """Each question sees what was committed before it, and the writer is not disturbed."""
    writer = opened(other)
    assert held(beside, "a", "b") == {}
    row_in(writer, State.SUBMITTED, "a")
    assert list(held(beside, "a", "b")) == ["a"]
    row = row_in(writer, State.SUBMITTING, "b")
    assert held(beside, "b")["b"] == Holding(other, "submitting")
    writer.move(row.id, Transition(state=State.PLANNED, error=RowError("TransportError", None, "not sent")))
    assert list(held(beside, "a", "b")) == ["a"]
    writer.close()
    assert list(held(beside, "a", "b")) == ["a"]
    assert names(other.parent) == sorted([other.name, f"{other.name}.lock", f"{other.name}.run"])


def test_a_killed_ledger_is_read_with_its_log_and_left_as_it_is(other: Path, beside: Neighbours) -> None:
    """What only its log holds is found; neither the log nor the database changes."""
    made(other, State.SUBMITTED)
    kill_a_writer(other)
    with sqlite3.connect(other, isolation_level=None) as db:
        db.execute("PRAGMA wal_autocheckpoint = 0")
        db.execute("UPDATE rows SET state = 'downloaded'")
        before = files(other.parent)
        assert held(beside, "submitted") == {"submitted": Holding(other, "downloaded")}
        assert files(other.parent) == before
    db.close()


def test_a_log_without_an_index_is_read_from_a_copy(other: Path, beside: Neighbours) -> None:
    """As after a move of the two files: nothing appears beside them, and they are copied once."""
    made(other, State.SUBMITTED)
    kill_a_writer(other)
    index_of(other).unlink()
    before = files(other.parent)
    for _ in range(2):
        assert list(held(beside, "submitted")) == ["submitted"]
    assert beside._folder is not None
    assert len(list(Path(beside._folder.name).iterdir())) == 1
    assert (files(other.parent), index_of(other).exists()) == (before, False)
    log_of(other).touch()
    os.utime(log_of(other), (1, 1))
    assert list(held(beside, "submitted")) == ["submitted"]
    assert len(list(Path(beside._folder.name).iterdir())) == 2
    folder = Path(beside._folder.name)
    beside.close()
    beside.close()
    assert not folder.exists()


def test_what_is_too_large_to_copy_is_left_out(
    other: Path, beside: Neighbours, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a remark, once."""
    made(other, State.SUBMITTED)
    kill_a_writer(other)
    index_of(other).unlink()
    monkeypatch.setattr(neighbours_module, "MAX_COPY", 1000)
    for _ in range(MAX_FAILURES + 1):
        assert held(beside, "submitted") == {}
    (remark,) = beside.remarks()
    assert "too large to copy" in remark


def test_a_writer_that_comes_or_goes_meanwhile_is_noticed(
    other: Path, beside: Neighbours, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is opened again as it is now; one that changes each time is left out for this time."""
    made(other, State.SUBMITTED)
    looks = iter([False, True, False, False])
    monkeypatch.setattr(neighbours_module, "has_log", lambda path: next(looks))
    assert list(held(beside, "submitted")) == ["submitted"]
    looks = iter([False, True] * MAX_FAILURES)
    assert held(beside, "submitted") == {}
    assert "opened and closed all the time" in beside.remarks()[0]


def test_an_error_of_a_file_that_changed_meanwhile_is_not_its_own(
    other: Path, beside: Neighbours, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that was read while the log went into the database says nothing about the ledger."""
    made(other, State.SUBMITTED)
    original, looks, broken = Neighbours._held, iter([False, True, False, False]), iter([True, False])
    monkeypatch.setattr(neighbours_module, "has_log", lambda path: next(looks))

    def torn(*arguments: object) -> object:
        if next(broken):
            raise sqlite3.DatabaseError("database disk image is malformed")
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Neighbours, "_held", torn)
    assert list(held(beside, "submitted")) == ["submitted"]
    assert beside.remarks() == []


# What is not a ledger


def test_a_locked_database_costs_a_moment(
    other: Path, beside: Neighbours, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried a few times and then left out for good; once it can be read, the count begins again."""
    monkeypatch.setattr(neighbours_module, "LOCKED", 0.0)
    made(other, State.SUBMITTED)
    connect, opens = sqlite3.connect, counted_opens(monkeypatch)
    for locked, expected in ((2, 1), (MAX_FAILURES, 0)):
        db = connect(other, isolation_level=None)
        db.execute("UPDATE rows SET since = since + 1")
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("UPDATE rows SET since = since + 1")
        for _ in range(locked):
            assert held(beside, "submitted") == {}
        db.close()
        assert len(held(beside, "submitted")) == expected
    assert "database is locked" in beside.remarks()[0]
    assert len(opens) == 2 + 1 + MAX_FAILURES


@pytest.mark.parametrize("name", ["x.ledger.db", "x.db"])
@pytest.mark.parametrize(
    "content", [b"", b"x", b"SQLite format 3\0", b"SQLite format 3\0" + os.urandom(5000), os.urandom(9000)]
)
def test_what_is_no_database_is_left_out(tmp_path: Path, beside: Neighbours, name: str, content: bytes) -> None:
    """What is named as a ledger and cannot be read is worth a remark; any other file is not."""
    made(tmp_path / "good.ledger.db", State.SUBMITTED)
    (tmp_path / name).write_bytes(content)
    assert list(held(beside, "submitted")) == ["submitted"]
    assert (tmp_path / name).read_bytes() == content
    assert len(beside.remarks()) == (name == "x.ledger.db" and content != b"" and len(content) > 1)


def test_a_ledger_that_is_damaged_within_is_left_out(other: Path, beside: Neighbours) -> None:
    """What other ledgers hold is found all the same."""
    ledger = opened(other, synchronous="OFF")
    for n in range(200):
        row_in(ledger, State.SUBMITTED, f"s{n}")
    ledger.close()
    with other.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(other.stat().st_size - 4096))
    made(other.with_name("good.ledger.db"), State.SUBMITTED)
    assert list(held(beside, "s1", "submitted")) == ["submitted"]
    assert len(beside.remarks()) == 1


def test_databases_of_other_programs_are_looked_at_once(
    tmp_path: Path, beside: Neighbours, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are not asked again until they change, and nothing is said of them."""
    path = tmp_path / "app.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE rows (key TEXT, state TEXT, failures INTEGER, error TEXT)")
    db.close()
    opens = counted_opens(monkeypatch)
    for _ in range(3):
        assert held(beside, "s1") == {}
    assert len(opens) == 1
    os.utime(path, (1, 1))
    assert held(beside, "s1") == {}
    assert (len(opens), beside.remarks()) == (2, [])


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pipes with names")
def test_pipes_folders_and_dead_links_are_not_opened(tmp_path: Path, beside: Neighbours) -> None:
    """Whatever they are called: a pipe would never end."""
    os.mkfifo(tmp_path / "pipe.ledger.db")
    (tmp_path / "folder.ledger.db").mkdir()
    (tmp_path / "dead.ledger.db").symlink_to(tmp_path / "nothing")
    made(tmp_path / "good.ledger.db", State.SUBMITTED)
    assert list(held(beside, "submitted")) == ["submitted"]
    assert beside.remarks() == []


def test_a_file_that_goes_away_meanwhile_is_nothing(
    other: Path, beside: Neighbours, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not an error."""
    made(other, State.SUBMITTED)

    def gone(*_: object) -> object:
        raise FileNotFoundError

    monkeypatch.setattr(Neighbours, "_states", gone)
    assert (held(beside, "submitted"), beside.remarks()) == ({}, [])


def test_many_databases_are_not_all_opened(
    tmp_path: Path, beside: Neighbours, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that are named as ledgers go first, and the rest is said to be unknown."""
    monkeypatch.setattr(neighbours_module, "MAX_DATABASES", 3)
    for n in range(5):
        made(tmp_path / f"{n}.db", State.SUBMITTED)
    made(tmp_path / "z.ledger.db", State.UNKNOWN)
    assert list(held(beside, "unknown")) == ["unknown"]
    (remark,) = beside.remarks()
    assert "holds over 3 databases" in remark


def test_a_database_that_takes_for_ever_is_interrupted(
    other: Path, beside: Neighbours, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table that is a view without an end is not a ledger's."""
    monkeypatch.setattr(neighbours_module, "MAX_STEPS", 100_000)
    made(other, State.SUBMITTED)
    with sqlite3.connect(other) as db:
        db.execute("ALTER TABLE rows RENAME TO tracks")
        db.execute(
            "CREATE VIEW rows AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
            " SELECT i AS key, 'submitted' AS state, 0 AS failures, NULL AS error FROM n"
        )
    db.close()
    assert held(beside, "submitted") == {}
    assert "interrupted" in beside.remarks()[0]
