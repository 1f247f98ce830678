"""How long tasks take, learned while they are followed.

The duration model is kept as a cumulative hazard over ages on a logarithmic scale: a task that was
unfinished at age *c* is finished by age *x* with probability ``1 - exp(-(H(x) - H(c)))``. What was seen goes into
it as into the Kaplan-Meier estimator: a task that ended counts as exposed in every step of age up to its end, one
that is "not done at age x" up to x. Where little was seen, a wide prior speaks; what was seen long ago fades.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise

from attrs import define, field, frozen

#: Ages from half a second to about two days, each step 8 % longer than the one before.
FIRST_AGE, STEP, STEPS = 0.5, math.log(1.08), 166
#: The prior: lognormal, half of the tasks within a minute; it counts as much as this many tasks.
PRIOR_MEDIAN, PRIOR_SIGMA, PRIOR_WEIGHT = 60.0, 0.7, 0.7
#: The prior's tail is that of a power law with this exponent: whoever is late may be very late.
PRIOR_TAIL = 2.0
#: Likewise its head: a few tasks may be over at once, however few seconds old.
PRIOR_HEAD = 0.03
#: The last tasks that count, about: the weight of a task falls by this share with each that ends after it.
FADING = 1 / 450
#: So many of an earlier run's tasks are recalled; all together count as much as so many that are seen now.
RECALLED, RECALLED_WEIGHT = 100, 2.0
#: The longest that a task takes that is not stuck: as long as almost all do. A few that are stuck for an hour make
#: that an hour: what takes so many times longer than most is left out of it.
ALMOST_ALL = 0.995
MOST, STUCK = 0.9, 2.0
#: Ends that must have been seen before estimates are told to anybody.
ENOUGH = 5
#: An end counts in the neighbouring steps as well: few ends make a smooth model.
_KERNEL = (0.25, 0.5, 0.25)
#: Nobody is ever sure that a step ends a task, nor that it cannot.
_MOST_SURE, _LEAST = 0.97, 1e-9
#: The largest weight before all are made small again.
_LARGE = 1e100


@frozen
class Remaining:
    """What is left of an unfinished task, as an estimate.

    Attributes:
        progress: the expected share of its duration that is over, 0 to 1.
        eta: the median of the seconds until its end.

    """

    progress: float
    eta: float


def _prior() -> list[float]:
    """Return the prior's probability, for each step, that a task ends in it when it has got that far."""

    def survival(age: float) -> float:
        z = math.log(age / PRIOR_MEDIAN) / PRIOR_SIGMA
        return 0.5 * math.erfc(z / math.sqrt(2))

    edges = [FIRST_AGE * math.exp(STEP * k) for k in range(STEPS + 1)]
    head, tail = -math.expm1(-PRIOR_HEAD * STEP), -math.expm1(-PRIOR_TAIL * STEP)
    # Far out the quotient would be one of two tiny numbers.
    return [
        min(max(1 - survival(old) / survival(young), head), tail) if survival(young) > 1e-6 else tail
        for young, old in pairwise(edges)
    ]


_PRIOR = _prior()


@define(eq=False)
class DurationModel:
    """The duration model, as far as it is known; ages and durations in seconds."""

    _exposed: list[float] = field(factory=lambda: [0.0] * STEPS, init=False, repr=False)
    _ended: list[float] = field(factory=lambda: [0.0] * STEPS, init=False, repr=False)
    _weight: float = field(default=1.0, init=False, repr=False)
    _stale: float = field(default=1.0, init=False, repr=False)
    _hazard: list[float] = field(factory=list[float], init=False, repr=False)
    _pace: tuple[list[float], list[float]] | None = field(default=None, init=False, repr=False)
    #: How many ends were seen.
    ends: int = field(default=0, init=False)
    #: How many of them were recalled, which count for little.
    recalled: int = field(default=0, init=False)
    #: Grows with each change of the model.
    version: int = field(default=0, init=False)

    def unfinished(self, since: float, age: float) -> None:
        """Learn that a task, last seen unfinished at age `since`, is not done at `age` either."""
        for step in range(_step(since), _step(age)):
            self._exposed[step] += self._weight
        self._stale += 1

    def ended(self, since: float, age: float) -> None:
        """Learn that a task, last seen unfinished at age `since`, ended at `age`."""
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
        """Learn what an earlier run has seen, in seconds; nothing where something newer is known already.

        Args:
            durations: the newest last. All together count little: the service may be another today, and the
                prior has to stay strong enough for tasks that are over much sooner.

        """
        if not self.ends and durations:
            self._weight = RECALLED_WEIGHT / len(durations)
            for seconds in durations:
                self.ended(0.0, seconds)
            self._weight, self.recalled = 1.0, self.ends

    def hazard(self, age: float) -> float:
        """Return the cumulative hazard up to an age."""
        table = self._table()
        place = max(0.0, math.log(max(age, FIRST_AGE) / FIRST_AGE) / STEP)
        step = min(int(place), STEPS - 1)
        return table[step] + (place - step) * (table[step + 1] - table[step])

    def age_at(self, hazard: float) -> float:
        """Return the age at which the cumulative hazard reaches a value: the inverse of `hazard`."""
        table = self._table()
        step = min(bisect_right(table, hazard) - 1, STEPS - 1)
        place = step + (hazard - table[step]) / (table[step + 1] - table[step])
        return FIRST_AGE * math.exp(min(place * STEP, 30.0))

    def chance(self, since: float, age: float) -> float:
        """Return the probability that a task which was unfinished at age `since` is done at `age`."""
        return -math.expm1(self.hazard(since) - self.hazard(age))

    def quantile(self, share: float, since: float = 0.0) -> float:
        """Return the age by which a `share` of the tasks that were unfinished at age `since` are done."""
        return self.age_at(self.hazard(since) - math.log1p(-share))

    def longest(self) -> float:
        """Return the age from which on a task counts as stuck: nobody can say for how long."""
        return min(self.quantile(ALMOST_ALL), STUCK * self.quantile(MOST))

    def remaining(self, age: float) -> Remaining | None:
        """Return an estimate for a task that is unfinished at `age`; None while too little is known."""
        if self.ends < ENOUGH:
            return None
        eta = self.quantile(0.5, age) - age
        return Remaining(min(self._expected_share(age), 1.0), max(eta, 0.0))

    def _expected_share(self, age: float) -> float:
        """Return the mean of age / duration over the tasks that outlast `age`."""
        self._table()
        if self._pace is None:
            self._pace = self._paces()
        survival, sums = self._pace
        step = _step(age)
        return age * sums[step] / survival[step]

    def _paces(self) -> tuple[list[float], list[float]]:
        """Return, for each step, the tasks that outlast its beginning and the sum of their 1 / duration."""
        survival = [math.exp(-hazard) for hazard in self._hazard]
        sums = [0.0] * (STEPS + 1)
        for step in reversed(range(STEPS)):
            middle = FIRST_AGE * math.exp(STEP * (step + 0.5))
            sums[step] = sums[step + 1] + (survival[step] - survival[step + 1]) / middle
        return survival, sums

    def _table(self) -> list[float]:
        """Return the cumulative hazard at each step's beginning; made anew when enough was learned."""
        if self._stale * 50 <= min(self.ends, 1 / FADING):
            return self._hazard
        self._stale = 0.0
        table, total, prior = [0.0], 0.0, PRIOR_WEIGHT * self._weight
        for exposed, ended, chance in zip(self._exposed, self._ended, _PRIOR, strict=True):
            share = (ended + prior * chance) / (exposed + prior)
            total += max(-math.log1p(-min(share, _MOST_SURE)), _LEAST)
            table.append(total)
        self._hazard = table
        self._pace = None
        self.version += 1
        return table


def _step(age: float) -> int:
    """Return the step that an age is in."""
    return min(max(int(math.log(max(age, FIRST_AGE) / FIRST_AGE) / STEP), 0), STEPS - 1)
