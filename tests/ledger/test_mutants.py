"""What a slip in the ledger would cost: each test here holds against a change that no other test notices."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from suno_video_async.errors import BudgetExceeded, LedgerError
from suno_video_async.ledger.model import MICRO, Transition, all_rows
from suno_video_async.ledger.sqlite import SqliteLedger
from suno_video_async.ledger.states import Cause, State
from suno_video_async.models import MusicTaskId, SunoId, Track, VideoTaskId
from tests.ledger.support import FINGERPRINT, PROVIDER, begin, connection, row_in, track
from tests.support.processes import PATIENCE

PAGE = 500


def test_no_row_is_lost_between_pages(memory: SqliteLedger) -> None:
    """Rows in more than one page come once each: whoever lists what may be bought sees all of it."""
    made = [memory.claim(track(f"s{n}"), location="").row for n in range(PAGE + 1)]
    assert list(all_rows(memory)) == made
    assert list(all_rows(memory, State.PLANNED)) == made


def test_only_rows_in_the_states_that_are_asked_for_come(memory: SqliteLedger) -> None:
    """A row in another state is never among those that somebody is to decide about."""
    made = {state: row_in(memory, state, f"s {state}") for state in State}
    for state, row in made.items():
        assert list(all_rows(memory, state)) == [row]
    assert list(all_rows(memory, State.UNKNOWN, State.PLANNED)) == [made[State.PLANNED], made[State.UNKNOWN]]


def test_the_refusal_over_the_budget_names_credits(memory: SqliteLedger) -> None:
    """Whoever is told that the budget is used up reads credits, and what is spent apart from what is set aside."""
    row = row_in(memory, State.SUBMITTED, "s1", reserve=2 * MICRO)
    memory.move(row.id, Transition(state=State.SUCCEEDED, cost=3 * MICRO))
    row_in(memory, State.SUBMITTED, "s2", reserve=4 * MICRO)
    with pytest.raises(BudgetExceeded, match=r"^5 credits more .* budget of 11: 3 are spent and 4 set aside$"):
        begin(memory, memory.claim(track("s3"), location="").row, reserve=5 * MICRO, budget=11 * MICRO)


@pytest.mark.parametrize("state", State)
def test_a_changed_author_within_a_run(memory: SqliteLedger, state: State) -> None:
    """A song is not bought under a second author while it is planned, in the air or bought under a first."""
    row = row_in(memory, state)
    changed = memory.claim(track(author="Ava"), location="").changed
    assert changed == (None if state is State.REFUSED else row)


def test_the_same_id_in_another_music_task_is_another_song(memory: SqliteLedger) -> None:
    """A track is left out for a bought one only where both ids are the same."""
    row_in(memory, State.SUBMITTED)
    other = Track(task_id=MusicTaskId("m2"), suno_id=SunoId("s1"))
    assert memory.claim(other, location="").changed is None


def test_the_task_that_a_person_names_is_the_rows(memory: SqliteLedger) -> None:
    """Who adopts a task has looked: it replaces the candidate that stood in a broken answer."""
    row = row_in(memory, State.SUBMITTING)
    memory.move(row.id, Transition(state=State.UNKNOWN, video_task_id=VideoTaskId("perhaps")))
    found = Transition(state=State.SUBMITTED, video_task_id=VideoTaskId("found"))
    assert memory.move(row.id, found, cause=Cause.PERSON).video_task_id == "found"


def test_the_newest_url_counts(memory: SqliteLedger) -> None:
    """A URL that was asked for again replaces the one that no longer served."""
    row = row_in(memory, State.SUBMITTED)
    memory.move(row.id, Transition(state=State.SUCCEEDED, url="https://x.test/old"))
    row = memory.move(row.id, Transition(state=State.DOWNLOADED, url="https://x.test/new"))
    assert row.url == "https://x.test/new"


def test_a_row_is_no_namesake_of_its_own(memory: SqliteLedger) -> None:
    """Only the later one of two rows of a song has a namesake, so that the first keeps its plain file name."""
    first, second = (memory.claim(each, location="").row for each in (track(), track(author="Ava")))
    assert (memory.has_namesake(first), memory.has_namesake(second)) == (False, True)


def test_the_database_itself_keeps_one_row_a_track(memory: SqliteLedger) -> None:
    """A second row of one track, which would be a second purchase, is refused whatever the code above does."""
    row = row_in(memory, State.SUBMITTED)
    columns = "key, task_id, suno_id, author, brand, extra, place, state, run, since"
    with pytest.raises(Exception, match=r"rows[._]key"):
        connection(memory).execute(
            f"INSERT INTO rows ({columns}) SELECT {columns} FROM rows WHERE id = ?", (row.id,)
        )


def test_a_reader_of_another_account_is_refused(ledger: SqliteLedger) -> None:
    """Who plans for one account is not shown what another one bought."""
    reader = ledger.reader()
    with pytest.raises(LedgerError, match="belongs to another key"):
        reader.open_to_read((PROVIDER, "another"))
    assert reader.open_to_read((PROVIDER, FINGERPRINT))
    reader.close()


def test_a_reader_is_asked_from_any_thread(ledger: SqliteLedger) -> None:
    """A ledger is opened in one worker thread and read in another."""
    row = row_in(ledger, State.UNKNOWN)
    reader = ledger.reader()
    assert reader.open_to_read()
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(reader.rows).result(PATIENCE) == [row]
    reader.close()


def test_a_writer_is_used_from_any_thread(ledger: SqliteLedger) -> None:
    """What one worker thread opened another may write, or a run would stop between buying and noting it."""
    row = row_in(ledger, State.SUBMITTING)
    with ThreadPoolExecutor(1) as pool:
        moved = pool.submit(ledger.move, row.id, Transition(state=State.UNKNOWN)).result(PATIENCE)
    assert moved.state is State.UNKNOWN
