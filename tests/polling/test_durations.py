"""The duration model: learned from ends and from tasks seen unfinished."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suno_video_async.polling import durations
from suno_video_async.polling.durations import ENOUGH, FIRST_AGE, DurationModel

ages = st.floats(1.0, 1e5)


def lognormal(rng: random.Random, median: float, sigma: float) -> float:
    return median * math.exp(rng.gauss(0.0, sigma))


def taught(count: int = 600, median: float = 65.0, sigma: float = 0.35, seed: int = 1) -> DurationModel:
    model, rng = DurationModel(), random.Random(seed)
    for _ in range(count):
        model.ended(0.0, lognormal(rng, median, sigma))
    return model


def test_the_prior_is_wide() -> None:
    """Half of the tasks end within a minute, some at once, some much later; it is not reported."""
    model = DurationModel()
    assert 55 < model.quantile(0.5) < 65
    assert model.quantile(0.05) < 25
    assert model.quantile(0.95) > 150
    assert model.remaining(30.0) is None


def test_durations_of_earlier_runs_are_recalled_and_outweighed() -> None:
    """They decide until newer ones are seen, which weigh more and more."""
    model = DurationModel()
    model.recall([60.0] * 100)
    assert 55 < model.quantile(0.5) < 66
    model.recall([600.0] * 100)
    assert model.quantile(0.5) < 66
    for _ in range(200):
        model.ended(0.0, 180.0)
    assert model.quantile(0.5) > 150


def test_impossible_durations_are_not_recalled() -> None:
    """Those of a ledger that took milliseconds for seconds would leave finished tasks unnoticed."""
    model, right = DurationModel(), DurationModel()
    model.recall([60.0, 60_000.0, -5.0, math.nan])
    right.recall([60.0])
    assert (model.ends, model.longest()) == (1, right.longest())


def test_the_model_approaches_the_true_distribution() -> None:
    """After some hundred ends its quantiles are those of the true distribution, within the sampling error."""
    model = taught()
    for share, z in [(0.1, -1.2816), (0.5, 0.0), (0.9, 1.2816), (0.95, 1.6449)]:
        assert model.quantile(share) == pytest.approx(65 * math.exp(0.35 * z), rel=0.12)


def test_unfinished_tasks_are_informative_too() -> None:
    """Tasks that were polled once, ended or not, lead to the same model as their durations would."""
    model, rng = DurationModel(), random.Random(2)
    for _ in range(2000):
        duration, polled_at = lognormal(rng, 65, 0.35), rng.uniform(20, 160)
        if duration <= polled_at:
            model.ended(0.0, duration)
        else:
            model.unfinished(0.0, polled_at)
    assert model.quantile(0.5) == pytest.approx(65, rel=0.1)


def test_the_model_follows_a_change() -> None:
    """Old observations lose their weight."""
    model, rng = taught(600), random.Random(3)
    for _ in range(900):
        model.ended(0.0, lognormal(rng, 195, 0.35))
    assert model.quantile(0.5) == pytest.approx(195, rel=0.15)


def test_a_few_stuck_tasks_do_not_move_the_rest() -> None:
    """Two in a hundred that never end leave the median where it is."""
    model, rng = DurationModel(), random.Random(4)
    for number in range(600):
        if number % 50:
            model.ended(0.0, lognormal(rng, 65, 0.35))
        else:
            model.unfinished(0.0, 3600.0)
    assert model.quantile(0.5) == pytest.approx(65, rel=0.1)
    assert model.chance(300.0, 600.0) < 0.5


@given(ages)
def test_age_at_is_the_inverse_of_hazard(age: float) -> None:
    """This holds for a taught model and for the prior."""
    for model in (DurationModel(), MODEL):
        assert model.curve().age_at(model.hazard(age)) == pytest.approx(age, rel=1e-6)


@given(ages, st.floats(0.01, 0.99))
def test_a_quantile_has_its_probability(since: float, share: float) -> None:
    """By the quantile of a share, that share of the tasks has ended."""
    later = MODEL.quantile(share, since)
    if later < 1e5:
        assert MODEL.chance(since, later) == pytest.approx(share, abs=1e-6)


def test_extreme_ages_are_handled() -> None:
    """No age is too small or too large for the arithmetic."""
    model = DurationModel()
    model.ended(0.0, 1e12)
    model.ended(0.0, 0.0)
    model.unfinished(0.0, 1e15)
    assert model.hazard(-5.0) == model.hazard(0.0) == 0.0
    assert model.curve().age_at(0.0) == FIRST_AGE
    assert math.isfinite(model.curve().age_at(1e9))


def test_progress_is_calibrated() -> None:
    """At moments that report about 80 %, about 80 % of the time has passed; the same for each tenth."""
    model, rng = taught(), random.Random(5)
    said: dict[int, list[float]] = {}
    for _ in range(4000):
        duration = lognormal(rng, 65, 0.35)
        age = rng.uniform(0, duration)
        left = model.remaining(age)
        assert left is not None
        said.setdefault(int(left.progress * 10), []).append(age / duration)
    for tenth, shares in said.items():
        if len(shares) > 50:
            assert sum(shares) / len(shares) == pytest.approx(tenth / 10 + 0.05, abs=0.08)


def test_the_eta_is_the_median_of_the_remaining_time() -> None:
    """Half of the tasks of an age end before it."""
    model, rng = taught(), random.Random(6)
    left = model.remaining(60.0)
    assert left is not None
    later = [d for d in (lognormal(rng, 65, 0.35) for _ in range(4000)) if d > 60]
    assert sum(d < 60 + left.eta for d in later) / len(later) == pytest.approx(0.5, abs=0.1)


def test_a_few_ends_are_enough_for_an_estimate() -> None:
    """Five, and not four."""
    model = DurationModel()
    for number in range(ENOUGH):
        assert (model.remaining(10.0) is None) == (number < ENOUGH)
        model.ended(0.0, 60.0)
    assert model.remaining(10.0) is not None
    assert model.remaining(1e9) is not None


def test_weights_stay_within_floats(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many tasks are seen, only their relative weights matter."""
    monkeypatch.setattr(durations, "_LARGE", 2.0)
    assert taught().quantile(0.5) == pytest.approx(65, rel=0.1)


def test_past_the_end_of_all_tasks_progress_is_complete() -> None:
    """If the model expects no task to get this old, all of the duration has passed."""
    model = DurationModel()
    for _ in range(600):
        model.ended(0.0, 1e30)
    left = model.remaining(1e30)
    assert left is not None
    assert left.progress == 1.0


MODEL = taught()
