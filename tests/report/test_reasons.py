"""Failures are grouped by what caused them."""

from __future__ import annotations

import pytest

from suno_video_async.ledger.model import DROPPED, LedgerRow, RowError
from suno_video_async.ledger.states import State
from suno_video_async.models import MusicTaskId, SunoId, Track, VideoTaskId
from suno_video_async.report.reasons import MOST_NAMED, Reasons, Way, normal


def row(
    number: int, state: State, error: tuple[str, int | None, str] | None, *, failures: int = 0, cost: int = 0
) -> LedgerRow:
    """Return a row that something stopped."""
    track = Track(task_id=MusicTaskId(f"music{number}"), suno_id=SunoId(f"song{number}"))
    return LedgerRow(
        id=number,
        track=track,
        state=state,
        video_task_id=VideoTaskId(f"v{number}x"),
        error=error and RowError(*error),
        failures=failures,
        cost=cost,
    )


def test_one_reason_in_many_words() -> None:
    """Rows whose words differ by ids, numbers, quotations and URLs alone have one reason."""
    reasons = Reasons()
    for n in range(30):
        words = f"task v{n}x failed: 501 no beat in 'Song {n}' after {n}.5 s, see https://x.test/{n}"
        reasons.add(row(n, State.FAILED, ("TaskFailed", 501, words), failures=1 + n % 2, cost=2))
    reasons.add(row(99, State.FAILED, ("TaskFailed", 501, "task v99x failed: 501 no lyrics")))
    first, second = reasons.ordered()
    assert (first.count, first.cost, first.failures, first.rows) == (30, 60, 2, tuple(range(MOST_NAMED)))
    assert first.words == "task … failed: 501 no beat in 'Song 0' after 0.5 s, see https://x.test/0"
    assert (second.count, second.words) == (1, "task … failed: 501 no lyrics")


def test_states_types_and_codes_are_reasons_of_their_own() -> None:
    """The same words under another type or code, or of rows in another state, are not mixed up."""
    reasons = Reasons()
    for n, (state, kind, code) in enumerate(
        [
            (State.PLANNED, "RateLimitError", 429),
            (State.REFUSED, "NotFoundError", 404),
            (State.REFUSED, "InvalidRequestError", 422),
            (State.FAILED, "TaskFailed", 501),
        ]
    ):
        reasons.add(row(n, state, (kind, code, "no")))
    assert [(reason.state, reason.code) for reason in reasons.ordered()] == [
        (State.FAILED, 501),
        (State.REFUSED, 404),
        (State.REFUSED, 422),
        (State.PLANNED, 429),
    ]


def test_what_nothing_stopped_is_left_out() -> None:
    """Rows that go well, or were never tried, have no reason; a failed one without words has."""
    reasons = Reasons()
    for state in (State.PLANNED, State.SUBMITTED, State.SUCCEEDED, State.DOWNLOADED):
        reasons.add(row(1, state, None))
    reasons.add(row(2, State.SUBMITTED, ("TransportError", None, "of an earlier attempt")))
    reasons.add(row(3, State.FAILED, None))
    (reason,) = reasons.ordered()
    assert (reason.kind, reason.words, reason.rows) == ("no reason known", "", (3,))


@pytest.mark.parametrize(
    ("state", "kind", "way"),
    [
        (State.FAILED, "TaskFailed", Way.RETRY),
        (State.FAILED, DROPPED, Way.NEVER),
        (State.REFUSED, "InvalidRequestError", Way.AGAIN),
        (State.PLANNED, "RateLimitError", Way.AGAIN),
    ],
)
def test_how_to_go_on(state: State, kind: str, way: Way) -> None:
    """Failed rows are paid for again, refused and planned ones for the first time, dropped ones never."""
    reasons = Reasons()
    reasons.add(row(1, state, (kind, None, "no")))
    assert reasons.ordered()[0].way is way


def test_words_without_end_are_read_in_part() -> None:
    """A server's endless words cost nothing."""
    assert len(normal("word " * 100_000, row(1, State.FAILED, None))) <= 2000
