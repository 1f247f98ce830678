"""The table of moves between the states of a row."""

from __future__ import annotations

from itertools import product

import pytest

from suno_video_async.ledger.states import BOUGHT, MOVES, Cause, State, may_move

#: Written down once more, independently of the table: from, to, who.
ALLOWED = {
    ("planned", "submitting", "run"),
    ("submitting", "submitted", "run"),
    ("submitting", "planned", "run"),
    ("submitting", "refused", "run"),
    ("submitting", "unknown", "run"),
    ("submitting", "unknown", "recovery"),
    ("submitted", "succeeded", "run"),
    ("submitted", "failed", "run"),
    ("submitted", "unknown", "run"),
    ("succeeded", "downloaded", "run"),
    ("refused", "planned", "run"),
    ("failed", "planned", "run"),
    ("unknown", "submitted", "callback"),
    ("unknown", "submitted", "person"),
    ("unknown", "submitted", "evidence"),
    ("unknown", "planned", "person"),
    ("unknown", "planned", "silence"),
    ("unknown", "failed", "person"),
}


@pytest.mark.parametrize("old", State)
def test_only_the_allowed_moves_are_allowed(old: State) -> None:
    """Of all states and causes, exactly the moves that were thought through may be made."""
    allowed = {
        (old.value, new.value, cause.value) for new, cause in product(State, Cause) if may_move(old, new, cause)
    }
    assert allowed == {move for move in ALLOWED if move[0] == old}


def test_a_run_moves_by_default() -> None:
    """A move is the running process's unless somebody else is named."""
    assert may_move(State.PLANNED, State.SUBMITTING)
    assert not may_move(State.UNKNOWN, State.PLANNED)


def test_a_row_that_may_be_bought_is_never_planned_again_by_a_machine() -> None:
    """Back to planned puts a row the process that sent it, a person, or the silence after a 500."""
    back = {(old, cause) for (old, new), causes in MOVES.items() for cause in causes if new is State.PLANNED}
    assert {cause for old, cause in back if old is State.UNKNOWN} == {Cause.PERSON, Cause.SILENCE}
    assert {cause for old, cause in back if old in BOUGHT} == {Cause.RUN, Cause.PERSON, Cause.SILENCE}
    assert not {State.SUBMITTED, State.SUCCEEDED, State.DOWNLOADED} & {old for old, _ in back}


def test_a_finished_row_stays_finished() -> None:
    """Nothing leads out of downloaded, and every other state can be left."""
    assert {state for state in State if not any(old is state for old, _ in MOVES)} == {State.DOWNLOADED}


def test_what_counts_as_bought() -> None:
    """A row has been bought, or may have been, from `submitting` on, but for a refused one."""
    assert set(State) - BOUGHT == {State.PLANNED, State.REFUSED}
