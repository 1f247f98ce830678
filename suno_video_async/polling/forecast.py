"""Forecasts when a run ends, from what is known of the durations. Pure, like the schedule.

Tracks that wait are submitted at the pace of the rate limit, or of the places in flight that become free,
whichever is slower. If reads have a window of their own, polls take no places of the submissions. From then on
each is unfinished with the probability that the duration model gives for its age. The forecast is the time at
which almost no track is expected to be unfinished.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from attrs import frozen

from suno_video_async.models import RateLimit
from suno_video_async.polling.durations import ENOUGH, DurationModel

#: Requests per track in a big catalog, including its submission (measured by `benchmarks.pacing`).
REQUESTS_EACH = 2.05
#: The share of what can be in flight that the forecast leaves out: the model says nothing of the last few. After n
#: ends, 1 / (n + 1) is left out at least: nothing is known of tasks slower than all n.
LEFT_OUT = 0.02
#: The share of the tasks that end within `Forecast.usual` seconds.
USUAL = 0.9
#: How many tasks are sampled, and moments of submission: more would not make the forecast more accurate.
_SAMPLES, _MOMENTS = 64, 16
_HALVINGS, _LONGEST = 20, 7 * 86400.0


@frozen
class Forecast:
    """What is expected of a run.

    Attributes:
        seconds: until all is finished; if nothing is known of the durations, what the rate limit alone takes.
        known: whether it is based on observed durations.
        stuck: the number of tasks left out because they take far longer than the others.
        stuck_after: the age in seconds from which a task counts as stuck; infinite if nothing is known.
        usual: the seconds within which nine of ten tasks end, as far as known.

    """

    seconds: float
    known: bool
    stuck: int = 0
    stuck_after: float = math.inf
    usual: float = math.inf


def forecast(
    model: DurationModel,
    *,
    waiting: int,
    ages: Sequence[tuple[float, float]],
    rate: RateLimit | None,
    max_in_flight: int,
    read_rate: RateLimit | None = None,
) -> Forecast:
    """Forecast when all is finished.

    Args:
        model: how long tasks take, as far as known.
        waiting: the number of tracks still to be submitted.
        ages: for each task in flight its age, and the age at which it was last seen unfinished, in seconds: it
            may have ended since without having been polled.
        rate: the rate limit of the key; None for no limit.
        max_in_flight: the maximum number of unfinished videos.
        read_rate: the rate limit of the reads, if they have their own; `rate` is then that of the submissions.

    """
    # A task in flight needs only its polls, one that waits also its submission.
    polls = (waiting + len(ages)) * (REQUESTS_EACH - 1)
    by_rate = _seconds(waiting + (polls if read_rate is None else 0), rate)
    if model.ends < ENOUGH:
        return Forecast(max(by_rate, _seconds(polls, read_rate)), known=False)
    longest = model.longest()
    live = [(age, seen) for age, seen in ages if seen < longest]
    stuck = len(ages) - len(live)
    places = max(1, max_in_flight - stuck)
    by_places = max(0, waiting - places + len(live)) * _mean(model) / places
    span = max(by_rate, by_places) if waiting else 0.0
    left_out = max(LEFT_OUT, 1 / (model.ends + 1))
    allowed = max(0.5, left_out * min(len(live) + waiting, places))
    seconds = _until(_Left(model, live, waiting, span), allowed)
    # Even if all have ended already, each needs one more poll.
    asking = max(_beyond_the_first(by_rate, rate), _beyond_the_first(_seconds(polls, read_rate), read_rate))
    seconds = max(seconds, asking if live else 0.0)
    return Forecast(seconds, known=True, stuck=stuck, stuck_after=longest, usual=model.quantile(USUAL))


def _seconds(requests: float, rate: RateLimit | None) -> float:
    """Return how long this many requests take at the full rate."""
    return 0.0 if rate is None else requests * rate.per / rate.requests


def _beyond_the_first(seconds: float, rate: RateLimit | None) -> float:
    """Return how long they take if the first window may be used at once."""
    return 0.0 if rate is None else max(0.0, seconds - rate.per)


class _Left:
    """The expected number of tracks that are unfinished some seconds from now."""

    def __init__(
        self, model: DurationModel, live: Sequence[tuple[float, float]], waiting: int, span: float
    ) -> None:
        step = max(1, len(live) // _SAMPLES)
        self._model, self._span = model, span
        self._live = [(age, model.hazard(seen)) for age, seen in live[::step]]
        self._each_live = len(live) / len(self._live) if self._live else 0.0
        self._moments = [span * (n + 0.5) / _MOMENTS for n in range(_MOMENTS)] if waiting else []
        self._each_waiting = waiting / _MOMENTS

    def after(self, seconds: float) -> float:
        hazard = self._model.hazard
        live = sum(math.exp(known - hazard(age + seconds)) for age, known in self._live)
        waiting = sum(math.exp(-hazard(seconds - moment)) if seconds > moment else 1.0 for moment in self._moments)
        return live * self._each_live + waiting * self._each_waiting


def _until(left: _Left, allowed: float) -> float:
    """Return the seconds until at most `allowed` tracks are expected to be unfinished."""
    if left.after(0.0) <= allowed:
        return 0.0
    early, late = 0.0, 1.0
    while left.after(late) > allowed and late < _LONGEST:
        early, late = late, 2 * late
    for _ in range(_HALVINGS):
        middle = (early + late) / 2
        early, late = (middle, late) if left.after(middle) > allowed else (early, middle)
    return late


def _mean(model: DurationModel) -> float:
    """Return the mean duration without the tail, whose mean need not exist."""
    return sum(model.quantile((n + 0.5) / _MOMENTS) for n in range(_MOMENTS)) / _MOMENTS
