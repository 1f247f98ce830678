"""The forecast of a run's end: compared with simulated runs, and while little is known."""

from __future__ import annotations

import heapq
import math
import random
from statistics import median

import pytest

from suno_video_async.models import RateLimit
from suno_video_async.polling.durations import DurationModel
from suno_video_async.polling.forecast import REQUESTS_EACH, forecast

RATE = RateLimit(20, 10)
MEDIAN, SIGMA = 65.0, 0.35


def duration(rng: random.Random) -> float:
    return MEDIAN * math.exp(rng.gauss(0.0, SIGMA))


def taught(ends: int = 300) -> DurationModel:
    model, rng = DurationModel(), random.Random(1)
    for _ in range(ends):
        model.ended(0.0, duration(rng))
    return model


def played(waiting: int, live: int, places: int, rng: random.Random) -> float:
    """Return when all have ended: a submission is sent once the rate and a place in flight allow it."""
    ends = [duration(rng) for _ in range(live)]
    heapq.heapify(ends)
    now, last = live * (REQUESTS_EACH - 1) * RATE.per / RATE.requests, max(ends, default=0.0)
    for _ in range(waiting):
        now += REQUESTS_EACH * RATE.per / RATE.requests
        if len(ends) >= places:
            now = max(now, heapq.heappop(ends))
        heapq.heappush(ends, now + duration(rng))
        last = max(last, *ends)
    return last


@pytest.mark.parametrize(
    ("waiting", "live", "places"),
    [(200, 0, 100), (1000, 50, 100), (60, 40, 100), (100, 5, 5), (0, 80, 100), (3, 0, 100), (0, 1, 100)],
)
def test_it_is_close_to_simulated_runs(waiting: int, live: int, places: int) -> None:
    """It is within a quarter of the median of simulated runs with the same durations."""
    rng = random.Random(2)
    real = median(played(waiting, live, places, rng) for _ in range(41))
    said = forecast(taught(), waiting=waiting, ages=[(0.0, 0.0)] * live, rate=RATE, max_in_flight=places)
    assert said.known
    assert 0.75 * real < said.seconds < 1.25 * real


def test_it_falls_as_tasks_grow_older_and_ends_at_zero() -> None:
    """A task halfway through ends sooner than one that has just begun; with no tasks the forecast is 0."""
    model = taught()
    left = [
        forecast(model, waiting=0, ages=[(age, age)], rate=RATE, max_in_flight=9).seconds
        for age in (0.0, 30.0, 60.0)
    ]
    assert left[0] > left[1] > left[2] > 0
    assert forecast(model, waiting=0, ages=[], rate=RATE, max_in_flight=9).seconds == 0.0


def test_a_task_that_was_not_polled_for_long_has_probably_ended() -> None:
    """Of two tasks of one age, the one last seen long ago is more likely to have ended."""
    model = taught()
    old, unseen = (
        forecast(model, waiting=0, ages=[(150.0, seen)], rate=RATE, max_in_flight=9).seconds
        for seen in (150.0, 20.0)
    )
    assert unseen == 0.0 < old


def test_polling_takes_time() -> None:
    """If all have probably ended, the rate limit decides when the last one is polled."""
    said = forecast(taught(), waiting=0, ages=[(1000.0, 5.0)] * 120, rate=RATE, max_in_flight=200)
    assert said.seconds == pytest.approx((120 * (REQUESTS_EACH - 1) - 20) / 2)


def test_before_anything_is_known_it_is_the_time_for_the_requests() -> None:
    """The forecast says that nothing is known; without a rate it is 0."""
    said = forecast(DurationModel(), waiting=100, ages=[(1.0, 1.0)] * 20, rate=RATE, max_in_flight=9)
    assert not said.known
    assert said.seconds == pytest.approx((100 * REQUESTS_EACH + 20 * (REQUESTS_EACH - 1)) / 2)
    assert forecast(DurationModel(), waiting=100, ages=[], rate=None, max_in_flight=9).seconds == 0.0


def test_stuck_tasks_are_counted_and_left_out() -> None:
    """A task that takes far longer than the others matters only by the place in flight that it uses."""
    model = taught()
    usual = forecast(model, waiting=50, ages=[(10.0, 10.0)] * 5, rate=None, max_in_flight=10)
    assert 2 * MEDIAN < usual.stuck_after < 4 * MEDIAN
    stuck = [(age, age) for age in (usual.stuck_after, 1e6)]
    said = forecast(model, waiting=50, ages=[(10.0, 10.0)] * 5 + stuck, rate=None, max_in_flight=12)
    assert (said.stuck, said.seconds) == (2, usual.seconds)
    assert forecast(model, waiting=0, ages=stuck, rate=RATE, max_in_flight=1).seconds == 0.0


def test_many_tasks_are_sampled() -> None:
    """The forecast for ten thousand tasks is that for a sample of them."""
    model, rng = taught(), random.Random(3)
    ages = [(age, age) for age in (rng.uniform(0, 60) for _ in range(10_000))]
    many = forecast(model, waiting=0, ages=ages, rate=None, max_in_flight=10_000).seconds
    few = forecast(model, waiting=0, ages=ages[:500], rate=None, max_in_flight=500).seconds
    assert many == pytest.approx(few, rel=0.1)


def test_the_search_is_bounded() -> None:
    """Even a model whose tasks hardly ever end gives a finite forecast."""
    model = DurationModel()
    for _ in range(10):
        model.ended(0.0, 1e5)
        for _ in range(100):
            model.unfinished(0.0, 2e5)
    said = forecast(model, waiting=10_000_000, ages=[], rate=RATE, max_in_flight=1)
    assert 7 * 86400 <= said.seconds < 3 * 7 * 86400


@pytest.mark.parametrize("waiting", [60, 1000])
def test_with_a_window_for_reads_submissions_are_at_the_full_rate(waiting: int) -> None:
    """The last track is submitted after half of the time, and takes as long as it takes."""
    said = forecast(
        taught(), waiting=waiting, ages=[], rate=RATE, max_in_flight=waiting, read_rate=RateLimit(10, 1)
    )
    last = waiting * RATE.per / RATE.requests
    assert last + MEDIAN < said.seconds < last + 3 * MEDIAN


@pytest.mark.parametrize(("model", "seconds"), [(DurationModel(), 1050.0), (taught(), 1040.0)])
def test_a_window_for_reads_that_is_the_narrower_one_decides(model: DurationModel, seconds: float) -> None:
    """With one read a second 1,000 tracks take as many seconds, however fast they are submitted."""
    said = forecast(
        model,
        waiting=1000,
        ages=[(0.0, 0.0)] if model.ends else [],
        rate=RateLimit(1000, 1),
        max_in_flight=1000,
        read_rate=RateLimit(10, 10),
    )
    assert said.seconds == pytest.approx(seconds, rel=0.005)
