"""What a report takes from a ledger, and that taking it changes nothing."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from suno_video_async.errors import LedgerError
from suno_video_async.ledger.lock import WriterLock
from suno_video_async.ledger.model import MICRO, RowError, Transition
from suno_video_async.ledger.schema import APPLICATION_ID, MIGRATIONS
from suno_video_async.ledger.sqlite import SqliteLedger
from suno_video_async.ledger.states import State
from suno_video_async.models import Track, VideoTaskId
from suno_video_async.report import facts as facts_module
from suno_video_async.report.facts import Item, read, title_of
from suno_video_async.report.page import totals
from tests.ledger.support import begin, opened, row_in, track
from tests.report.support import lived_in


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a place for a ledger."""
    return tmp_path / "catalog.ledger.db"


def in_every_state(ledger: SqliteLedger) -> None:
    """Give a ledger a row in every state."""
    for n, state in enumerate(State):
        row_in(ledger, state, f"s{n}", reserve=MICRO)


def test_every_state_is_counted(path: Path) -> None:
    """Each row counts once in its state; unknown ones and those in the air wait for a person."""
    ledger = opened(path)
    in_every_state(ledger)
    ledger.close()
    facts = read(path, now=5000.0)
    assert facts.states == dict.fromkeys(State, 1) | {State.UNKNOWN: 1}
    assert (facts.total, facts.made, facts.to_buy) == (8, 2, 2)
    assert {item.row.state for item in facts.unknown} == {State.SUBMITTING, State.UNKNOWN}
    assert (facts.at, facts.provider) == (5000.0, "https://api.example.test")


def test_costs(path: Path) -> None:
    """What was spent, what of it brought no video, and what is set aside are told apart."""
    ledger = opened(path)
    for n, (state, cost) in enumerate([(State.SUCCEEDED, 3), (State.SUCCEEDED, 5), (State.FAILED, 2)]):
        row = row_in(ledger, State.SUBMITTED, f"s{n}", reserve=4 * MICRO)
        ledger.move(row.id, Transition(state=state, cost=cost * MICRO, ended=2060.0, took=60.0))
    row_in(ledger, State.SUBMITTED, "s9", reserve=4 * MICRO)
    ledger.close()
    facts = read(path)
    assert (facts.spent, facts.wasted, facts.reserved) == (10 * MICRO, 2 * MICRO, 4 * MICRO)
    assert facts.price == 4 * MICRO
    said = totals(facts)
    assert (said["credits"], said["credits_per_video"], said["median_s"]) == (10.0, 4.0, 60.0)


def test_no_price_is_made_up(path: Path) -> None:
    """Where no video is made, or the service names no price, none is told."""
    ledger = opened(path)
    row_in(ledger, State.PLANNED)
    ledger.close()
    assert read(path).price is None
    ledger = opened(path)
    row_in(ledger, State.SUCCEEDED, "s2")
    ledger.close()
    assert read(path).price is None


def test_times_of_a_row_and_of_all(path: Path) -> None:
    """A row shows its newest submission; the time line has all. A duration that nobody named is reckoned."""
    ledger = opened(path)
    row = row_in(ledger, State.SUBMITTED)
    row = ledger.move(row.id, Transition(state=State.FAILED, ended=2050.0))
    begin(ledger, row)
    ledger.move(row.id, Transition(state=State.SUBMITTED, video_task_id=VideoTaskId("again")))
    ledger.move(row.id, Transition(state=State.SUCCEEDED, ended=2090.0, took=70.0))
    ledger.claim(track("s2"), location="")
    ledger.close()
    facts = read(path)
    first, second = facts.items
    assert (first.sends, first.submitted, first.ended, first.took) == (2, 2000.0, 2070.0, 70.0)
    assert second == Item(row=second.row)
    assert (facts.sent, facts.ended, facts.took) == ((2000.0, 2000.0), (2050.0, 2070.0), (50.0, 70.0))
    assert facts.undated == 0


def test_an_end_before_its_submission_tells_no_duration(path: Path) -> None:
    """Where the service's clock is behind, the difference of two clocks is no duration."""
    ledger = opened(path)
    row = row_in(ledger, State.SUBMITTED)
    ledger.move(row.id, Transition(state=State.SUCCEEDED, ended=1990.0))
    ledger.close()
    facts = read(path)
    assert facts.took == ()
    assert facts.items[0].ended == 1990.0


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS)))
def test_a_ledger_of_an_older_version(path: Path, version: int) -> None:
    """What an older version did not keep is not known; all else is told."""
    with closing(sqlite3.connect(path)) as db:
        for script in MIGRATIONS[:version]:
            db.executescript(script)
        db.execute(f"PRAGMA user_version = {version}")
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(
            "INSERT INTO rows (id, key, task_id, suno_id, author, brand, extra, place, state, run, attempt, cost,"
            " since)"
            " VALUES (1, 'k', 'm1', 's1', '', '', '{}', 'catalog.csv, line 2', 'succeeded', 1, 1, 7, 2000.0)"
        )
        db.execute("INSERT INTO attempts (row_id, n, nonce, state, at) VALUES (1, 1, 'n', 'submitted', 2000)")
        db.commit()
    before = path.read_bytes()
    facts = read(path)
    assert (facts.made, facts.spent, facts.sent, facts.ended, facts.took, facts.undated) == (
        1,
        7,
        (2000.0,),
        (),
        (),
        1,
    )
    assert facts.provider == ""
    assert path.read_bytes() == before


def test_reading_beside_a_writer(path: Path) -> None:
    """A report is made while a conversion writes: it holds no lock, writes nothing, and hinders nobody."""
    ledger = opened(path)
    in_every_state(ledger)
    facts = read(path)
    assert facts.total == 8
    row_in(ledger, State.DOWNLOADED, "later")
    assert read(path).total == 9
    ledger.close()
    read(path)
    lock = WriterLock(path)
    lock.acquire()
    lock.release()


def test_a_ledger_that_was_left_by_a_kill(path: Path, tmp_path: Path) -> None:
    """After a kill -9 the newest commits stand in the write-ahead log alone, and are told."""
    ledger = opened(path)
    in_every_state(ledger)
    left = tmp_path / "left"
    left.mkdir()
    for name in (path.name, f"{path.name}-wal"):
        (left / name).write_bytes((tmp_path / name).read_bytes())
    ledger.close()
    kept = (left / path.name).read_bytes()
    facts = read(left / path.name)
    assert facts.total == 8
    assert State.SUBMITTING in facts.states
    assert (left / path.name).read_bytes() == kept


def test_what_is_no_ledger(tmp_path: Path) -> None:
    """A file that is not there, or no ledger, is an error in words."""
    with pytest.raises(LedgerError, match="there is no ledger"):
        read(tmp_path / "none.db")
    (tmp_path / "text.db").write_text("task_id,suno_id\n" * 100)
    with pytest.raises(LedgerError, match="not a database"):
        read(tmp_path / "text.db")


def test_texts_are_cleaned(path: Path) -> None:
    """What others wrote into the ledger goes through the cleaner that is given."""
    ledger = opened(path)
    ledger.claim(track("s1", title="secret song"), location="secret.csv, line 2")
    row = row_in(ledger, State.SUBMITTED, "s2")
    ledger.move(
        row.id,
        Transition(
            state=State.FAILED,
            url="https://x.test/secret",
            error=RowError("TaskFailed", 501, "the secret was told"),
        ),
    )
    ledger.close()
    first, second = read(path, clean=lambda text: text.replace("secret", "[key]")).items
    assert (first.row.location, title_of(first.row.track)) == ("[key].csv, line 2", "[key] song")
    assert second.row.url == "https://x.test/[key]"
    assert second.row.error == ("TaskFailed", 501, "the [key] was told")


def test_whatever_a_catalog_says_is_cleaned(path: Path) -> None:
    """A key that got into any column of the catalog is not shown."""
    ledger = opened(path)
    named = {"task_id": "secret-1", "suno_id": "secret-2", "author": "secret-3", "brand": "secret-4"}
    ledger.claim(Track(**named, extra={"secret-5": "secret-6"}), location="")
    ledger.close()
    (item,) = read(path, clean=lambda text: text.replace("secret", "[key]")).items
    assert "secret" not in repr(item.row.track)


def test_more_rows_than_are_listed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list has an end; sums count everything."""
    lived_in(path, 60)
    whole = read(path)
    monkeypatch.setattr(facts_module, "MOST_LISTED", 10)
    cut = read(path)
    assert len(cut.items) == 10
    assert (cut.states, cut.spent, cut.took) == (whole.states, whole.spent, whole.took)


def test_pages_of_rows_and_times_meet(path: Path) -> None:
    """Over many pages each row gets its own times, whether or not it was ever submitted."""
    lived_in(path, 700)
    facts = read(path)
    assert facts.total == 700
    assert len(facts.sent) == sum(item.sends for item in facts.items)
    for item in facts.items:
        assert bool(item.sends) == (item.row.state is not State.PLANNED)
        assert item.submitted == (item.row.since if item.sends else None)
        assert (item.took is not None) == (item.row.state in {State.SUCCEEDED, State.DOWNLOADED, State.FAILED})
