"""The sliding window, exactly."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from suno_video_async.local.accounts import RateWindow


def test_a_place_is_free_again_after_exactly_a_period() -> None:
    """The window is half-open: a request exactly one period after the first passes, a moment earlier not."""
    window = RateWindow(2, 10.0)
    assert [window.arrive(0.0), window.arrive(0.1)] == [None, None]
    assert window.arrive(9.99) is not None
    assert window.arrive(10.0) is None
    assert window.arrive(10.05) is not None
    assert window.arrive(10.1) is None


def test_a_refused_request_takes_no_place_but_counts_as_an_arrival() -> None:
    """However often it is refused, a place comes free at the same time; the fullest window tells of it."""
    window = RateWindow(1, 10.0)
    assert window.arrive(0.0) is None
    assert [window.arrive(float(second)) for second in range(1, 10)] == [9.0 - rest for rest in range(9)]
    assert window.arrive(10.0) is None
    assert window.max_in_any_window == 10


def test_without_a_limit_arrivals_are_counted_all_the_same() -> None:
    """No limit refuses nothing, and the fullest window is still known."""
    window = RateWindow(None, 10.0)
    assert [window.arrive(0.0) for _ in range(500)] == [None] * 500
    window.arrive(10.0)
    assert window.max_in_any_window == 500


def test_the_last_digits_of_sums_do_not_matter() -> None:
    """A client that keeps the period exactly is never refused for the rounding of floats."""
    window = RateWindow(1, 0.1)
    now = 0.0
    for _ in range(10_000):
        assert window.arrive(now) is None
        now += 0.1
    assert window.max_in_any_window == 1


def test_nothing_older_than_a_window_is_kept() -> None:
    """Memory is bounded by what arrives within one period."""
    window = RateWindow(20, 10.0)
    for at in range(10_000):
        window.arrive(at * 0.5)
    assert len(window._arrivals) <= 20
    assert len(window._admitted) <= 20


@given(st.lists(st.integers(0, 40), max_size=60), st.integers(1, 5))
def test_the_window_agrees_with_counting_by_hand(gaps: list[int], limit: int) -> None:
    """What passes, and the fullest window, are what a plain count over all arrivals gives."""
    window = RateWindow(limit, 10.0)
    now, arrived, passed = random.Random(0).random(), list[float](), list[float]()
    for gap in gaps:
        now += gap * 0.25
        arrived.append(now)
        free = sum(now - at < 10.0 - 1e-9 for at in passed) < limit
        assert (window.arrive(now) is None) == free
        if free:
            passed.append(now)
    fullest = max((sum(0 <= at - first < 10.0 - 1e-9 for at in arrived) for first in arrived), default=0)
    assert window.max_in_any_window == fullest
