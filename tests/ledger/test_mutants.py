"""What a slip in the ledger would cost: each test here holds against a change that no other test notices."""

from __future__ import annotations

import pytest

from suno_video_async.errors import BudgetExceeded
from suno_video_async.ledger.base import MICRO, Ending, all_rows
from suno_video_async.ledger.sqlite import SqliteLedger
from suno_video_async.protocol.lifecycle import State
from tests.ledger.support import begin, row_in, track

PAGE = 500


def test_no_row_is_lost_between_pages(memory: SqliteLedger) -> None:
    """Rows in more than one page come once each: whoever lists what may be bought sees all of it."""
    made = [memory.claim(track(f"s{n}"), where="").row for n in range(PAGE + 1)]
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
    memory.move(row.id, Ending(state=State.SUCCEEDED, cost=3 * MICRO))
    row_in(memory, State.SUBMITTED, "s2", reserve=4 * MICRO)
    with pytest.raises(BudgetExceeded, match=r"^5 credits more .* budget of 11: 3 are spent and 4 set aside$"):
        begin(memory, memory.claim(track("s3"), where="").row, reserve=5 * MICRO, most=11 * MICRO)
