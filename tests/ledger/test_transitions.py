"""The ledger makes the moves of the table, and no other."""

from __future__ import annotations

import sqlite3
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from suno_video_async.errors import LedgerError
from suno_video_async.ledger.model import RowError, Transition, all_rows
from suno_video_async.ledger.sqlite import SqliteLedger
from suno_video_async.ledger.states import MOVES, Cause, State
from suno_video_async.models import VideoTaskId
from tests.ledger.support import begin, connection, everything, opened, person, reread, row_in, track, transition

ALLOWED = [(*move, cause) for move, causes in MOVES.items() for cause in sorted(causes)]
OTHERS = [move for move in product(State, State, Cause) if move not in ALLOWED]


def test_an_attempt_is_begun_and_not_moved_to(memory: SqliteLedger) -> None:
    """A row becomes submitting together with its attempt; a task's id is part of being submitted."""
    row = row_in(memory, State.PLANNED)
    with pytest.raises(LedgerError, match="use begin_attempt"):
        memory.move(row.id, Transition(state=State.SUBMITTING))
    begin(memory, row)
    with pytest.raises(LedgerError, match="without a task's id"):
        memory.move(row.id, Transition(state=State.SUBMITTED))


def test_a_row_that_does_not_exist_is_not_begun(memory: SqliteLedger) -> None:
    """The error has its number, and nothing is written."""
    row, before = row_in(memory, State.PLANNED), everything(memory)
    with pytest.raises(LedgerError, match="the ledger has no row 2"):
        begin(memory, evolve(row, id=2))
    assert everything(memory) == before


@pytest.mark.parametrize(("old", "new", "cause"), [move for move in ALLOWED if move[1] is not State.SUBMITTING])
def test_an_allowed_move(memory: SqliteLedger, old: State, new: State, cause: Cause) -> None:
    """Every move of the table leads to its state, and the row that is returned is the one that is kept."""
    row = row_in(memory, old)
    moved = memory.move(row.id, transition(new, row), cause=cause)
    assert moved.state is new
    assert reread(memory, row) == moved


@pytest.mark.parametrize(("old", "new", "cause"), OTHERS)
def test_another_move(memory: SqliteLedger, old: State, new: State, cause: Cause) -> None:
    """Every other move is refused in words, and changes nothing."""
    row = row_in(memory, old, reserve=5)
    before = everything(memory)
    with pytest.raises(LedgerError, match=rf"row 1 \(s1\) is {old} and cannot become {new}"):
        memory.move(
            row.id, Transition(state=new, url="u", cost=7, video_task_id=VideoTaskId("other")), cause=cause
        )
    assert everything(memory) == before


@pytest.mark.parametrize("old", [State.FAILED, State.REFUSED])
def test_a_row_is_tried_again_in_one_step(memory: SqliteLedger, old: State) -> None:
    """A failed or refused row is begun again without a moment in which it is only planned."""
    row = row_in(memory, old)
    begin(memory, row)
    assert reread(memory, row).state is State.SUBMITTING


@pytest.mark.parametrize("old", [state for state in State if state not in {"planned", "failed", "refused"}])
def test_what_is_bought_is_not_submitted(memory: SqliteLedger, old: State) -> None:
    """An attempt at a row that is bought, or may be, is refused before it can be sent, and changes nothing."""
    row = row_in(memory, old)
    before = everything(memory)
    with pytest.raises(LedgerError, match="cannot become submitting"):
        begin(memory, row)
    assert everything(memory) == before


def test_a_row_that_is_not_there(memory: SqliteLedger) -> None:
    """A number that no row has is an error of its own, and None where it is only asked for."""
    assert memory.row(7) is None
    with pytest.raises(LedgerError, match="no row 7"):
        memory.move(7, Transition(state=State.SUCCEEDED))


def test_what_a_row_keeps(memory: SqliteLedger) -> None:
    """A row carries its track, its place, its task, its URL, its file, its cost and its error."""
    row = memory.claim(track("s1", "Ava", "Acme", mood="calm"), location="catalog.csv:2").row
    assert (row.track, row.location, row.since) == (track("s1", "Ava", "Acme"), "catalog.csv:2", 1000.0)
    assert dict(row.track.extra) == {"mood": "calm"}
    assert begin(memory, row, reserve=9) == 1
    assert (reread(memory, row).since, reread(memory, row).reserved) == (2000.0, 9)
    row = memory.move(row.id, Transition(state=State.SUBMITTED, video_task_id=VideoTaskId("v1")))
    assert row.video_task_id == "v1"
    row = memory.move(row.id, Transition(state=State.SUCCEEDED, url="https://x.test/v", cost=8))
    row = memory.move(row.id, Transition(state=State.DOWNLOADED, path=Path("videos/s1.mp4")))
    assert (row.url, row.path, row.cost, row.reserved) == ("https://x.test/v", Path("videos/s1.mp4"), 8, 0)


@pytest.mark.parametrize("uri", ["s3://bucket/a folder/s1.mp4", "gs://b/ü#1.mp4", "memory://x/y"])
def test_a_video_may_be_elsewhere(memory: SqliteLedger, uri: str) -> None:
    """In an object store a video has a URI in place of a path."""
    row = memory.move(row_in(memory, State.SUCCEEDED).id, Transition(state=State.DOWNLOADED, uri=uri))
    assert (row.uri, row.path) == (uri, None)


@pytest.mark.parametrize("path", ["s3:/bucket/s1.mp4", "C:/videos/s1.mp4", "a:b/c.mp4"])
def test_a_path_with_a_colon_is_a_path(memory: SqliteLedger, path: str) -> None:
    """The two are kept in one column, and are not mixed up."""
    place = Transition(state=State.DOWNLOADED, path=Path(path), uri="file:///is/not/kept")
    row = memory.move(row_in(memory, State.SUCCEEDED).id, place)
    assert (row.uri, row.path) == (None, Path(path))


def test_the_newest_attempt_counts(memory: SqliteLedger) -> None:
    """After a failed task the row shows the next attempt's, and both stay in the ledger with their own ids."""
    row = row_in(memory, State.FAILED)
    row = memory.move(row.id, Transition(state=State.PLANNED))
    assert (row.failures, row.video_task_id) == (1, "v1")
    assert begin(memory, row) == 2
    assert reread(memory, row).video_task_id is None
    memory.move(row.id, Transition(state=State.SUBMITTED, video_task_id=VideoTaskId("v2")))
    kept = connection(memory).execute("SELECT n, state, video_task_id FROM attempts").fetchall()
    assert kept == [(1, "submitted", "v1"), (2, "submitted", "v2")]


def test_an_error_is_kept_until_the_next_move(memory: SqliteLedger) -> None:
    """What stopped a row stands beside it, with its code, and goes when the row goes on."""
    row = row_in(memory, State.SUBMITTING)
    row = memory.move(
        row.id, Transition(state=State.REFUSED, error=RowError("InvalidRequestError", 422, "no such track"))
    )
    assert row.error == ("InvalidRequestError", 422, "no such track")
    assert memory.move(row.id, Transition(state=State.PLANNED)).error is None


def test_a_candidate_of_a_broken_answer_is_kept(memory: SqliteLedger) -> None:
    """An id that stood in a broken answer stays with the unknown row, also when a person sends it again."""
    row = row_in(memory, State.SUBMITTING)
    row = memory.move(row.id, Transition(state=State.UNKNOWN, video_task_id=VideoTaskId("perhaps")))
    assert row.video_task_id == "perhaps"
    person(memory, row, State.PLANNED)
    kept = connection(memory).execute("SELECT state, video_task_id FROM attempts").fetchall()
    assert kept == [("planned", "perhaps")]


def test_one_task_belongs_to_one_row(memory: SqliteLedger) -> None:
    """A task that another row has already is refused in words, and the row stays as it was."""
    row_in(memory, State.SUBMITTED, "s1")
    row = row_in(memory, State.SUBMITTING, "s2")
    before = everything(memory)
    with pytest.raises(LedgerError, match="task v1 belongs to another row"):
        memory.move(row.id, Transition(state=State.SUBMITTED, video_task_id=VideoTaskId("v1")))
    assert everything(memory) == before


def test_a_nonce_is_used_once(memory: SqliteLedger) -> None:
    """Two attempts never share a nonce; the second is refused before it can be sent."""
    for suno_id in ("s1", "s2"):
        memory.claim(track(suno_id), location="")
    memory.begin_attempt(1, nonce="same", at=0.0, reserve=3, budget=None)
    before = everything(memory)
    with pytest.raises(LedgerError, match=r"(?i)unique"):
        memory.begin_attempt(2, nonce="same", at=0.0, reserve=3, budget=None)
    assert everything(memory) == before


def test_rows_come_in_pages(memory: SqliteLedger) -> None:
    """Rows are read in their order, by state and a page at a time, and each comes once."""
    made = [row_in(memory, state, f"s{n}") for n, state in enumerate([*State, *State])]
    assert memory.rows() == made
    assert memory.rows(limit=3, after=2) == made[2:5]
    wanted = [row for row in made if row.state in {State.FAILED, State.UNKNOWN}]
    assert memory.rows(State.FAILED, State.UNKNOWN) == wanted
    assert list(all_rows(memory)) == made
    assert memory.totals().states == dict.fromkeys(State, 2)


def test_what_a_run_has_not_touched(path: Path) -> None:
    """A run tells the rows of earlier runs from those that its own catalog named."""
    ledger = opened(path)
    rows = [row_in(ledger, State.SUBMITTED, f"s{n}") for n in range(4)]
    assert ledger.untouched(State.SUBMITTED) == []
    ledger.close()
    ledger.open(provider="https://api.example.test", fingerprint="0123456789abcdef")
    ledger.claim(rows[1].track, location="")
    assert ledger.untouched(State.SUBMITTED) == [rows[0], rows[2], rows[3]]
    assert ledger.untouched(State.SUBMITTED, after=rows[0].id, limit=1) == [rows[2]]
    assert ledger.untouched(State.FAILED) == []
    ledger.close()


def test_an_interrupted_submission_is_unknown_at_the_next_open(path: Path) -> None:
    """A row found in `submitting` may be bought: it becomes unknown, with its reservation; no other changes."""
    ledger = opened(path)
    rows = {state: row_in(ledger, state, f"s {state}", reserve=4) for state in State}
    ledger.close()
    again = opened(path)
    for state, row in rows.items():
        if state is not State.SUBMITTING:
            assert reread(again, row) == row
    interrupted = reread(again, rows[State.SUBMITTING])
    said = RowError("Interrupted", None, "the run was interrupted while this was being submitted")
    assert interrupted == evolve(rows[State.SUBMITTING], state=State.UNKNOWN, error=said)
    attempts = connection(again).execute("SELECT state FROM attempts WHERE row_id = ?", (interrupted.id,))
    assert attempts.fetchall() == [("unknown",)]
    again.close()


def test_the_time_of_the_last_request(memory: SqliteLedger) -> None:
    """The last request's time is None at first, then that of the newest attempt or note, to a microsecond."""
    assert memory.last_place() is None
    row_in(memory, State.SUBMITTING)
    # A database keeps it by its own clock: the sum with the difference may round the last digit.
    assert memory.last_place() == pytest.approx(2000.0, rel=0, abs=1e-6)
    memory.note_place(1795471234.123457)
    assert memory.last_place() == pytest.approx(1795471234.123457, rel=0, abs=1e-6)


@pytest.mark.parametrize("memory", ["memory"], indirect=True)
def test_a_claim_that_fails_keeps_nothing(memory: SqliteLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    """What breaks in the middle of a write is rolled back as a whole."""
    before = everything(memory)

    inserted = memory._inserted

    def broken(*args: Any) -> None:
        inserted(*args)
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(memory, "_inserted", broken)
    with pytest.raises(LedgerError, match="in memory cannot be used: disk I/O error"):
        memory.claim(track(), location="")
    assert everything(memory) == before


def test_a_callbacks_url_leads_to_its_attempt(memory: SqliteLedger) -> None:
    """An attempt is found by its nonce, with its row, its task and the task that a callback named for it."""
    row = row_in(memory, State.PLANNED)
    memory.begin_attempt(row.id, nonce="first", at=1.0, reserve=0, budget=None)
    memory.move(row.id, Transition(state=State.PLANNED))
    memory.begin_attempt(row.id, nonce="second", at=2.0, reserve=0, budget=None)
    memory.note_candidate("first", VideoTaskId("v1"))
    assert memory.candidate(row.id) is None
    first, second = memory.attempt("first"), memory.attempt("second")
    assert first is not None
    assert second is not None
    assert (first.newest, first.candidate, first.video_task_id) == (False, "v1", None)
    assert (second.newest, second.candidate, second.row.state) == (True, None, State.SUBMITTING)
    memory.move(row.id, Transition(state=State.SUBMITTED, video_task_id=VideoTaskId("v2")))
    memory.note_candidate("second", VideoTaskId("v2"))
    assert memory.candidate(row.id) == ("second", "v2")
    found = memory.attempt("second")
    assert found is not None
    assert found.video_task_id == "v2"
    assert memory.attempt("third") is None


def test_a_confirmed_callback_makes_an_unknown_row_submitted(memory: SqliteLedger) -> None:
    """An unknown row goes on as submitted by a confirmed callback, and never back to planned by one."""
    row = row_in(memory, State.UNKNOWN)
    moved = memory.move(
        row.id, Transition(state=State.SUBMITTED, video_task_id=VideoTaskId("v7")), cause=Cause.CALLBACK
    )
    assert (moved.state, moved.video_task_id) == (State.SUBMITTED, "v7")
    with pytest.raises(LedgerError, match="cannot become planned"):
        memory.move(row_in(memory, State.UNKNOWN, "s2").id, Transition(state=State.PLANNED), cause=Cause.CALLBACK)


def test_silence_plans_a_row_only_where_nobody_called(memory: SqliteLedger) -> None:
    """An unknown row that no callback names is planned by silence; one that is named stays as it is."""
    silent, named = row_in(memory, State.UNKNOWN, "s1"), row_in(memory, State.UNKNOWN, "s2")
    ((nonce,),) = memory._select("SELECT nonce FROM attempts WHERE row_id = ?", named.id)
    memory.note_candidate(nonce, VideoTaskId("v9"))
    planned = Transition(state=State.PLANNED)
    assert memory.move(silent.id, planned, cause=Cause.SILENCE).state is State.PLANNED
    assert memory.move(named.id, planned, cause=Cause.SILENCE).state is State.UNKNOWN
