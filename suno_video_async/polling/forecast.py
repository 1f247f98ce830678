"""When all that is left will be over, from what is known of the durations; pure, as the schedule is.

The tracks that are not submitted yet leave at the pace of the rate limit or of the places in flight, whichever is
slower. From then on each is unfinished with the chance that the model gives its age. The forecast is the time at
which next to none is expected to be unfinished.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from attrs import frozen

from suno_video_async.models import RateLimit
from suno_video_async.polling.durations import ENOUGH, DurationModel

#: Requests that a track takes in a big catalog, its submission included.
REQUESTS_EACH = 2.05
#: The forecast is for all but this share of what can be in flight at once: the last ones have no model. And n ends
#: tell nothing of what is slower than all but one of n + 1.
LEFT_OUT = 0.02
#: Tasks that are looked at, and moments of submission: more would make it no truer.
_SAMPLES, _MOMENTS = 64, 16
_HALVINGS, _LONGEST = 20, 7 * 86400.0


@frozen
class Forecast:
    """What is expected of a run.

    Attributes:
        seconds: until what is left is over; where nothing is known of the durations, what the limit alone takes.
        known: whether it comes from durations that were seen.
        stuck: tasks that are left out of it, since they take far longer than the others.
        stuck_after: the age in seconds from which on a task counts as stuck; infinite where nothing is known.

    """

    seconds: float
    known: bool
    stuck: int = 0
    stuck_after: float = math.inf


def forecast(
    model: DurationModel,
    *,
    waiting: int,
    ages: Sequence[tuple[float, float]],
    rate: RateLimit | None,
    max_in_flight: int,
) -> Forecast:
    """Say when all will be over.

    Args:
        model: the durations, as far as they are known.
        waiting: tracks that are to be submitted.
        ages: of each task in flight its age, and that at which it was last seen unfinished, in seconds: it may be
            over since, and nobody has asked.
        rate: what the key may send; None for no bound.
        max_in_flight: the most unfinished videos at once.

    """
    # Each task in flight has its submission behind it, each that waits has all its requests before it.
    requests = waiting * REQUESTS_EACH + len(ages) * (REQUESTS_EACH - 1)
    by_rate = 0.0 if rate is None else requests * rate.per / rate.requests
    if model.ends < ENOUGH:
        return Forecast(by_rate, known=False)
    longest = model.longest()
    live = [(age, seen) for age, seen in ages if seen < longest]
    stuck = len(ages) - len(live)
    places = max(1, max_in_flight - stuck)
    by_places = max(0, waiting - places + len(live)) * _mean(model) / places
    span = max(by_rate, by_places) if waiting else 0.0
    left_out = max(LEFT_OUT, 1 / (model.ends + 1))
    allowed = max(0.5, left_out * min(len(live) + waiting, places))
    seconds = _until(_Left(model, live, waiting, span), allowed)
    # However soon they are over: it has to be asked about each, the last of them one by one.
    asking = 0.0 if rate is None else max(0, requests - rate.requests) * rate.per / rate.requests
    return Forecast(max(seconds, asking if live else 0.0), known=True, stuck=stuck, stuck_after=longest)


class _Left:
    """How many tracks are expected to be unfinished some seconds from now."""

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
    """Return the seconds until no more than `allowed` tracks are left."""
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
    """Return the mean duration, without the longest: of those there is no mean."""
    return sum(model.quantile((n + 0.5) / _MOMENTS) for n in range(_MOMENTS)) / _MOMENTS
