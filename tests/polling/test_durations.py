"""The law of the durations: learned from ends and from "not done yet"."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suno_video_async.polling import durations
from suno_video_async.polling.durations import ENOUGH, FIRST_AGE, Durations

ages = st.floats(1.0, 1e5)


def lognormal(rng: random.Random, median: float, sigma: float) -> float:
    return median * math.exp(rng.gauss(0.0, sigma))


def taught(count: int = 600, median: float = 65.0, sigma: float = 0.35, seed: int = 1) -> Durations:
    law, rng = Durations(), random.Random(seed)
    for _ in range(count):
        law.ended(0.0, lognormal(rng, median, sigma))
    return law


def test_what_is_not_known_is_guessed_widely() -> None:
    """Half of the tasks within a minute, some at once, some much later; nobody is told of it."""
    law = Durations()
    assert 55 < law.quantile(0.5) < 65
    assert law.quantile(0.05) < 25
    assert law.quantile(0.95) > 150
    assert law.remaining(30.0) is None


def test_an_earlier_run_is_recalled_and_outweighed() -> None:
    """It tells the law as long as nothing newer is known; what comes after it counts more and more."""
    law = Durations()
    law.recall([60.0] * 100)
    assert 55 < law.quantile(0.5) < 66
    law.recall([600.0] * 100)
    assert law.quantile(0.5) < 66
    for _ in range(200):
        law.ended(0.0, 180.0)
    assert law.quantile(0.5) > 150


def test_the_law_becomes_that_of_the_tasks() -> None:
    """After some hundred ends its quantiles are those of the true law, within the sample's own error."""
    law = taught()
    for share, z in [(0.1, -1.2816), (0.5, 0.0), (0.9, 1.2816), (0.95, 1.6449)]:
        assert law.quantile(share) == pytest.approx(65 * math.exp(0.35 * z), rel=0.12)


def test_not_done_yet_teaches_as_well() -> None:
    """Tasks that were looked at once, done or not, teach the same law as their durations would."""
    law, rng = Durations(), random.Random(2)
    for _ in range(2000):
        duration, looked = lognormal(rng, 65, 0.35), rng.uniform(20, 160)
        if duration <= looked:
            law.ended(0.0, duration)
        else:
            law.unfinished(0.0, looked)
    assert law.quantile(0.5) == pytest.approx(65, rel=0.1)


def test_the_law_follows_a_change() -> None:
    """What was seen long ago fades."""
    law, rng = taught(600), random.Random(3)
    for _ in range(900):
        law.ended(0.0, lognormal(rng, 195, 0.35))
    assert law.quantile(0.5) == pytest.approx(195, rel=0.15)


def test_a_few_stuck_tasks_do_not_move_the_rest() -> None:
    """Two in a hundred that never end leave the median where it is."""
    law, rng = Durations(), random.Random(4)
    for number in range(600):
        if number % 50:
            law.ended(0.0, lognormal(rng, 65, 0.35))
        else:
            law.unfinished(0.0, 3600.0)
    assert law.quantile(0.5) == pytest.approx(65, rel=0.1)
    assert law.chance(300.0, 600.0) < 0.5


@given(ages)
def test_an_age_and_its_hazard_are_two_names_of_one_thing(age: float) -> None:
    """`age_at` undoes `hazard`, for a taught law and for the prior."""
    for law in (Durations(), LAW):
        assert law.age_at(law.hazard(age)) == pytest.approx(age, rel=1e-6)


@given(ages, st.floats(0.01, 0.99))
def test_a_quantile_has_its_chance(since: float, share: float) -> None:
    """By the quantile of a share, that share of the tasks is done."""
    later = LAW.quantile(share, since)
    if later < 1e5:
        assert LAW.chance(since, later) == pytest.approx(share, abs=1e-6)


def test_ages_beyond_all_reason_have_a_place() -> None:
    """Nothing is young or old enough to break the arithmetic."""
    law = Durations()
    law.ended(0.0, 1e12)
    law.ended(0.0, 0.0)
    law.unfinished(0.0, 1e15)
    assert law.hazard(-5.0) == law.hazard(0.0) == 0.0
    assert law.age_at(0.0) == FIRST_AGE
    assert math.isfinite(law.age_at(1e9))


def test_progress_means_what_it_says() -> None:
    """Of the moments that say about 80 %, about 80 % of the time is over; so for each tenth."""
    law, rng = taught(), random.Random(5)
    said: dict[int, list[float]] = {}
    for _ in range(4000):
        duration = lognormal(rng, 65, 0.35)
        age = rng.uniform(0, duration)
        left = law.remaining(age)
        assert left is not None
        said.setdefault(int(left.progress * 10), []).append(age / duration)
    for tenth, shares in said.items():
        if len(shares) > 50:
            assert sum(shares) / len(shares) == pytest.approx(tenth / 10 + 0.05, abs=0.08)


def test_the_eta_is_the_median_of_what_is_left() -> None:
    """Half of the tasks of an age end before it."""
    law, rng = taught(), random.Random(6)
    left = law.remaining(60.0)
    assert left is not None
    later = [d for d in (lognormal(rng, 65, 0.35) for _ in range(4000)) if d > 60]
    assert sum(d < 60 + left.eta for d in later) / len(later) == pytest.approx(0.5, abs=0.1)


def test_a_few_ends_are_enough_to_say_something() -> None:
    """Five, and not four."""
    law = Durations()
    for number in range(ENOUGH):
        assert (law.remaining(10.0) is None) == (number < ENOUGH)
        law.ended(0.0, 60.0)
    assert law.remaining(10.0) is not None
    assert law.remaining(1e9) is not None


def test_weights_stay_within_floats(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many tasks are seen, what counts is how they compare."""
    monkeypatch.setattr(durations, "_LARGE", 2.0)
    assert taught().quantile(0.5) == pytest.approx(65, rel=0.1)


def test_past_the_end_of_all_tasks_the_rest_is_nothing() -> None:
    """Where no task of the law is left, the share that is over is the whole."""
    law = Durations()
    for _ in range(600):
        law.ended(0.0, 1e30)
    left = law.remaining(1e30)
    assert left is not None
    assert left.progress == 1.0


LAW = taught()
