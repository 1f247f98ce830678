"""Estimates how long tasks take, from the tasks followed so far.

The duration model is a cumulative hazard H over ages on a logarithmic scale: a task that was unfinished at age *c*
has ended by age *x* with the probability ``1 - exp(-(H(x) - H(c)))``. Observations enter as in the Kaplan-Meier
estimator: a task that ended was exposed in every step of age up to its end, and one seen unfinished at age x was
exposed up to x. A wide prior fills the ages without observations; old observations lose weight.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise

from attrs import define, field, frozen

from suno_video_async.models import LONGEST_TASK

#: Ages from half a second to about two days, each step 8 % longer than the one before.
FIRST_AGE, STEP, STEPS = 0.5, math.log(1.08), 166
#: The prior: lognormal, with half of the tasks ending within a minute. It weighs as much as this many tasks.
PRIOR_MEDIAN, PRIOR_SIGMA, PRIOR_WEIGHT = 60.0, 0.7, 0.7
#: The prior's tail is that of a power law with this exponent: a late task may be very late.
PRIOR_TAIL = 2.0
#: The least hazard at its head: a few tasks may end within seconds.
PRIOR_HEAD = 0.03
#: The weight of a task falls by this share with each later end: about the last 450 tasks count.
FADING = 1 / 450
#: How many durations of earlier runs are recalled, and how many tasks all of them together weigh as much as.
RECALLED, RECALLED_WEIGHT = 100, 2.0
#: A task is stuck once it is older than `ALMOST_ALL` of the tasks become, or `STUCK` times as old as `MOST`
#: become. The second bound matters if a few tasks are stuck for an hour: they would raise the first to an hour.
ALMOST_ALL = 0.995
MOST, STUCK = 0.9, 2.0
#: The number of ends from which estimates are reported.
ENOUGH = 5
#: Each end is spread over the neighbouring steps, so that a few ends make a smooth model.
_KERNEL = (0.25, 0.5, 0.25)
#: Bounds of the estimate for a step: an end in it is never certain, and never impossible.
_MOST_SURE, _LEAST = 0.97, 1e-9
_SUREST = -math.log1p(-_MOST_SURE)
#: As many ends as count.
_MOST_ENDS = 1 / FADING
#: The weight at which all weights are rescaled, long before they overflow.
_LARGE = 1e100


@frozen
class Remaining:
    """An estimate for an unfinished task.

    Attributes:
        progress: the expected share of its duration that has passed, 0 to 1.
        eta: the median time until its end, in seconds.

    """

    progress: float
    eta: float


def _prior() -> list[float]:
    """Return the prior for each step: the probability that a task that reaches the step ends in it."""

    def survival(age: float) -> float:
        z = math.log(age / PRIOR_MEDIAN) / PRIOR_SIGMA
        return 0.5 * math.erfc(z / math.sqrt(2))

    edges = [FIRST_AGE * math.exp(STEP * k) for k in range(STEPS + 1)]
    head, tail = -math.expm1(-PRIOR_HEAD * STEP), -math.expm1(-PRIOR_TAIL * STEP)
    # In the far tail the quotient of two tiny numbers would be inaccurate.
    return [
        min(max(1 - survival(old) / survival(young), head), tail) if survival(young) > 1e-6 else tail
        for young, old in pairwise(edges)
    ]


_PRIOR = _prior()


@frozen(eq=False)
class HazardCurve:
    """A cumulative hazard over ages; what follows from it is worked out once.

    Attributes:
        hazards: its value at the beginning of each step, and at the end of the last.

    """

    hazards: Sequence[float]

    def hazard(self, age: float) -> float:
        """Return the cumulative hazard up to an age."""
        if age <= FIRST_AGE:
            return 0.0
        place = math.log(age / FIRST_AGE) / STEP
        step = min(int(place), STEPS - 1)
        here = self.hazards[step]
        return here + (place - step) * (self.hazards[step + 1] - here)

    def age_at(self, hazard: float) -> float:
        """Return the age at which the cumulative hazard reaches a value: the inverse of `hazard`."""
        step = min(bisect_right(self.hazards, hazard) - 1, STEPS - 1)
        here = self.hazards[step]
        place = step + (hazard - here) / (self.hazards[step + 1] - here)
        return FIRST_AGE * math.exp(min(place * STEP, 30.0))

    def quantile(self, share: float, since: float = 0.0) -> float:
        """Return the age by which a `share` of the tasks that were unfinished at age `since` have ended."""
        return self.age_at(self.hazard(since) - math.log1p(-share))

    @cached_property
    def longest(self) -> float:
        """The age from which a task counts as stuck."""
        return min(self.quantile(ALMOST_ALL), STUCK * self.quantile(MOST))

    def expected_share(self, age: float) -> float:
        """Return the mean of age / duration over the tasks that outlast `age`."""
        survival, sums = self._paces
        step = _step(age)
        return age * sums[step] / survival[step]

    @cached_property
    def _paces(self) -> tuple[list[float], list[float]]:
        """For each step the share of tasks that reach it, and the sum of 1 / duration over those."""
        survival = [math.exp(-hazard) for hazard in self.hazards]
        sums = [0.0] * (STEPS + 1)
        for step in reversed(range(STEPS)):
            middle = FIRST_AGE * math.exp(STEP * (step + 0.5))
            sums[step] = sums[step + 1] + (survival[step] - survival[step + 1]) / middle
        return survival, sums


@define(eq=False)
class DurationModel:
    """What is known of how long tasks take; ages and durations in seconds."""

    _exposed: list[float] = field(factory=lambda: [0.0] * STEPS, init=False, repr=False)
    _ended: list[float] = field(factory=lambda: [0.0] * STEPS, init=False, repr=False)
    _weight: float = field(default=1.0, init=False, repr=False)
    _stale: float = field(default=1.0, init=False, repr=False)
    _curve: HazardCurve = field(factory=lambda: HazardCurve(()), init=False, repr=False)
    #: The number of ends seen.
    ends: int = field(default=0, init=False)
    #: How many of them were recalled from earlier runs; they have little weight.
    recalled: int = field(default=0, init=False)
    #: Increases with each change of the model.
    version: int = field(default=0, init=False)

    def unfinished(self, since: float, age: float) -> None:
        """Record that a task, last seen unfinished at age `since`, is still unfinished at `age`."""
        for step in range(_step(since), _step(age)):
            self._exposed[step] += self._weight
        self._stale += 1

    def ended(self, since: float, age: float) -> None:
        """Record that a task, last seen unfinished at age `since`, ended at `age`."""
        at = _step(max(since, age))
        for step in range(_step(since), at - 1):
            self._exposed[step] += self._weight
        left = 1.0
        for step, share in zip((at - 1, at, at + 1), _KERNEL, strict=True):
            here = min(max(step, 0), STEPS - 1)
            self._exposed[here] += left * self._weight
            self._ended[here] += share * self._weight
            left -= share
        self.ends += 1
        self._stale += 1
        self._weight /= 1 - FADING
        if self._weight > _LARGE:
            self._exposed = [value / self._weight for value in self._exposed]
            self._ended = [value / self._weight for value in self._ended]
            self._weight = 1.0

    def recall(self, durations: Sequence[float]) -> None:
        """Record durations of earlier runs, in seconds; does nothing once an end was seen.

        Args:
            durations: the newest last. They have little weight: the service may have changed since, and the
                prior must remain strong enough for tasks that end much sooner. Those that no task can take are
                left out.

        """
        durations = [seconds for seconds in durations if 0 <= seconds <= LONGEST_TASK]
        if not self.ends and durations:
            self._weight = RECALLED_WEIGHT / len(durations)
            for seconds in durations:
                self.ended(0.0, seconds)
            self._weight, self.recalled = 1.0, self.ends

    def curve(self) -> HazardCurve:
        """Return the model as it is now; computed again only after enough observations."""
        if self._stale * 50 <= min(self.ends, _MOST_ENDS):
            return self._curve
        self._stale = 0.0
        hazards, total, prior = [0.0], 0.0, PRIOR_WEIGHT * self._weight
        for exposed, ended, chance in zip(self._exposed, self._ended, _PRIOR, strict=True):
            share = (ended + prior * chance) / (exposed + prior)
            hazard = -math.log1p(-share) if share < _MOST_SURE else _SUREST
            total += max(hazard, _LEAST)
            hazards.append(total)
        self._curve = HazardCurve(hazards)
        self.version += 1
        return self._curve

    def hazard(self, age: float) -> float:
        """Return the cumulative hazard up to an age."""
        return self.curve().hazard(age)

    def chance(self, since: float, age: float) -> float:
        """Return the probability that a task that was unfinished at age `since` has ended by `age`."""
        return -math.expm1(self.hazard(since) - self.hazard(age))

    def quantile(self, share: float, since: float = 0.0) -> float:
        """Return the age by which a `share` of the tasks that were unfinished at age `since` have ended."""
        return self.curve().quantile(share, since)

    def longest(self) -> float:
        """Return the age from which a task counts as stuck."""
        return self.curve().longest

    def remaining(self, age: float) -> Remaining | None:
        """Return an estimate for a task that is unfinished at `age`; None while too little is known."""
        if self.ends < ENOUGH:
            return None
        curve = self.curve()
        eta = curve.quantile(0.5, age) - age
        return Remaining(min(curve.expected_share(age), 1.0), max(eta, 0.0))


def _step(age: float) -> int:
    """Return the step that contains an age."""
    return min(max(int(math.log(max(age, FIRST_AGE) / FIRST_AGE) / STEP), 0), STEPS - 1)
