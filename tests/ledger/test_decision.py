"""What to do next with a track: the one rule that conversions, `submit` and `plan` share."""

from __future__ import annotations

import math
from typing import Any

import pytest

from suno_video_async.errors import LedgerError
from suno_video_async.ledger.decision import Action, Buying, decide
from suno_video_async.ledger.model import DROPPED, LedgerRow, RowError, task_of
from suno_video_async.ledger.states import BOUGHT, State
from suno_video_async.models import VideoTaskId
from tests.ledger.support import track

BUYABLE = (State.PLANNED, State.REFUSED)


def row(state: State, failures: int = 0, error: RowError | None = None) -> LedgerRow:
    """Return a row in a state."""
    return LedgerRow(id=1, track=track(), state=state, failures=failures, error=error)


@pytest.mark.parametrize(
    ("state", "action"),
    [
        (State.PLANNED, Action.BUY),
        (State.REFUSED, Action.BUY),
        (State.SUBMITTING, Action.RESOLVE),
        (State.UNKNOWN, Action.RESOLVE),
        (State.SUBMITTED, Action.FOLLOW),
        (State.SUCCEEDED, Action.SKIP),
        (State.DOWNLOADED, Action.SKIP),
        (State.FAILED, Action.LEAVE_FAILED),
    ],
)
def test_every_state_has_its_action(state: State, action: Action) -> None:
    """Only what is known not to be bought is bought."""
    assert decide(row(state, failures=state is State.FAILED)) is action


def test_a_track_without_a_row_is_bought() -> None:
    """A track that the ledger does not have is new."""
    assert decide(None) is Action.BUY


def test_a_made_video_is_saved_if_that_is_asked_for() -> None:
    """A video is downloaded once, and only where there is a folder for it."""
    assert decide(row(State.SUCCEEDED), download=True) is Action.DOWNLOAD
    assert decide(row(State.DOWNLOADED), download=True) is Action.SKIP


@pytest.mark.parametrize("state", [State.FAILED, *BUYABLE])
def test_a_track_fails_as_often_as_is_allowed(state: State) -> None:
    """A failed track is bought again while `retry_failed` allows it, whatever came of its last attempt."""
    assert decide(row(state, failures=2), buying=Buying(retry_failed=1)) is Action.LEAVE_FAILED
    assert decide(row(state, failures=2), buying=Buying(retry_failed=2)) is Action.BUY


def test_a_row_that_was_given_up_stays_given_up() -> None:
    """No number of allowed failures revives what a person gave up."""
    given_up = row(State.FAILED, failures=1, error=RowError(DROPPED, None, "given up by hand"))
    assert decide(given_up, buying=Buying(retry_failed=9)) is Action.LEAVE_FAILED
    assert decide(row(State.FAILED), buying=Buying(retry_failed=9)) is Action.LEAVE_FAILED


@pytest.mark.parametrize("known", [None, *(row(state) for state in BUYABLE), row(State.FAILED, failures=1)])
def test_a_changed_track_is_bought_on_request_only(known: LedgerRow | None) -> None:
    """A song that is bought under another author is not bought again silently, not even as a retry."""
    assert decide(known, changed=True, buying=Buying(retry_failed=1)) is Action.REPORT_CHANGED
    assert decide(known, changed=True, buying=Buying(retry_failed=1, rebuy_changed=True)) is Action.BUY


@pytest.mark.parametrize("state", sorted(BOUGHT - {State.FAILED}))
def test_what_may_be_bought_is_never_bought_again(state: State) -> None:
    """No option makes a run buy a row that is bought or may be."""
    for changed in (False, True):
        buying = Buying(retry_failed=9, rebuy_changed=True)
        action = decide(row(state, failures=1), changed=changed, buying=buying, download=True)
        assert action is not Action.BUY


def test_a_submitted_row_without_a_task_is_damage() -> None:
    """A row that is bought must say which task it bought."""
    bought = LedgerRow(id=7, track=track(), state=State.SUBMITTED, video_task_id=VideoTaskId("v1"))
    assert task_of(bought) == "v1"
    with pytest.raises(LedgerError, match="row 1 is submitted without a task's id: the ledger is damaged"):
        task_of(row(State.SUBMITTED))


@pytest.mark.parametrize("fields", [{"retry_failed": -1}, {"max_credits": -0.5}, {"max_credits": math.inf}])
def test_what_may_be_bought_is_never_negative(fields: dict[str, Any]) -> None:
    """Nor endless: no limit is None."""
    with pytest.raises(ValueError, match="must not be below 0"):
        Buying(**fields)
