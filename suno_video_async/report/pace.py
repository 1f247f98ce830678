"""When videos were submitted and ended, and how long they took: figures for the charts."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise
from math import ceil, floor, log10

from attrs import frozen

#: The possible seconds per bar of the time line, and its maximum number of bars.
_STEPS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 604800)
MOST_BARS = 90
#: After this many idle seconds another run begins, and the time line is split.
IDLE = 900.0
MOST_BINS = 36
#: Seconds per bin at least: what differs by less is not told apart.
LEAST_WIDTH = 0.001


@frozen(kw_only=True)
class Stretch:
    """A period of activity: counts for each step, from `start` on (Unix seconds)."""

    start: float
    sent: tuple[int, ...]
    ended: tuple[int, ...]


@frozen(kw_only=True)
class TimeLine:
    """Submissions and ends over time, without idle periods.

    Attributes:
        step: seconds per count.

    """

    step: float
    stretches: tuple[Stretch, ...]


@frozen(kw_only=True)
class Durations:
    """How long tasks took.

    Attributes:
        start, width: seconds; the first bin's left edge, and each bin's width.
        counts: tasks in each bin; the last one includes all that took longer.
        open_end: whether there are any.
        median, most: the seconds within which half, and nine out of ten, finished.
        longest: seconds.

    """

    start: float
    width: float
    counts: tuple[int, ...]
    open_end: bool
    median: float
    most: float
    longest: float


def time_line(sent: Sequence[float], ended: Sequence[float], *, window: float) -> TimeLine:
    """Return the counts of two ordered lists of Unix seconds.

    Args:
        sent: of the submissions.
        ended: of the ends.
        window: the rate limit's window in seconds, or 0; a step is no shorter, or bursts look like excess.

    """
    moments = sorted([*sent, *ended])
    if not moments:
        return TimeLine(step=max(60.0, window), stretches=())
    step = _step(moments, window)
    return TimeLine(
        step=step,
        stretches=tuple(_stretch(sent, ended, first, last, step) for first, last in _runs(moments, step)),
    )


def _step(moments: Sequence[float], window: float) -> float:
    for step in _STEPS:
        if step >= window and sum(_bars(first, last, step) for first, last in _runs(moments, step)) <= MOST_BARS:
            return float(step)
    return max(window, (moments[-1] - moments[0]) / (MOST_BARS - 2))


def _runs(moments: Sequence[float], step: float) -> list[tuple[float, float]]:
    """Return the first and last moments of each period without a long pause."""
    idle = max(IDLE, 6 * step)
    cuts = [n for n, (one, other) in enumerate(pairwise(moments), 1) if other - one > idle]
    return [(moments[first], moments[last - 1]) for first, last in pairwise([0, *cuts, len(moments)])]


def _bars(first: float, last: float, step: float) -> int:
    return floor(last / step) - floor(first / step) + 1


def _stretch(sent: Sequence[float], ended: Sequence[float], first: float, last: float, step: float) -> Stretch:
    start, bars = floor(first / step) * step, _bars(first, last, step)
    return Stretch(start=start, sent=_counted(sent, start, bars, step), ended=_counted(ended, start, bars, step))


def _counted(times: Sequence[float], start: float, bars: int, step: float) -> tuple[int, ...]:
    counts = [0] * bars
    for moment in times[bisect_left(times, start) : bisect_left(times, start + bars * step)]:
        counts[min(bars - 1, int((moment - start) // step))] += 1
    return tuple(counts)


def durations(took: Sequence[float]) -> Durations | None:
    """Return the distribution of ordered seconds, or None if there are none."""
    if not took:
        return None
    most = share(took, 0.9)
    # A few extreme values would squeeze all others into one bin.
    end = min(took[-1], max(1.5 * most, share(took, 0.99)))
    spread = end - took[0]
    width = _nice(max(spread / (MOST_BINS - 2), LEAST_WIDTH)) if spread else max(1.0, _nice(end / 10 or 1.0))
    start = floor(took[0] / width) * width
    if start > took[0]:  # the quotient was rounded up
        start -= width
    bins = max(1, floor((end - start) / width) + 1)
    edges = [start + n * width for n in range(bins)]
    counts = [0] * bins
    for seconds in took:
        counts[max(0, bisect_right(edges, seconds) - 1)] += 1
    return Durations(
        start=start,
        width=width,
        counts=tuple(counts),
        open_end=took[-1] >= start + bins * width,
        median=share(took, 0.5),
        most=most,
        longest=took[-1],
    )


def share(ordered: Sequence[float], part: float) -> float:
    """Return the smallest ordered value that a share `part` of the values do not exceed."""
    return ordered[max(0, ceil(part * len(ordered)) - 1)]


def _nice(width: float) -> float:
    """Round up to 1, 2 or 5 times a power of ten."""
    power = 10.0 ** floor(log10(width))
    return next(nice * power for nice in (1, 2, 5, 10) if nice * power >= width * (1 - 1e-9))
