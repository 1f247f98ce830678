"""The figures of the charts."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from suno_video_async.report.pace import MOST_BARS, MOST_BINS, durations, share, time_line

TIMES = st.lists(st.floats(1.6e9, 1.9e9), max_size=60).map(sorted)


@given(sent=TIMES, ended=TIMES, window=st.sampled_from([1.0, 10.0, 60.0]))
def test_everything_stands_in_the_time_line(sent: list[float], ended: list[float], window: float) -> None:
    """Whatever happened is counted once, in few bars none of which is shorter than the limit's window."""
    line = time_line(sent, ended, window=window)
    assert sum(sum(stretch.sent) for stretch in line.stretches) == len(sent)
    assert sum(sum(stretch.ended) for stretch in line.stretches) == len(ended)
    assert line.step >= window
    assert all(len(stretch.sent) == len(stretch.ended) for stretch in line.stretches)


def test_few_bars_for_a_long_run() -> None:
    """A day of one submission a second is drawn with a width that can be seen."""
    line = time_line([float(n) for n in range(86_400)], [], window=10.0)
    assert sum(len(stretch.sent) for stretch in line.stretches) <= MOST_BARS
    assert len(line.stretches) == 1


def test_years_of_rare_submissions() -> None:
    """However far apart a few moments lie, they are drawn in few bars."""
    line = time_line([n * 5e6 for n in range(120)], [], window=10.0)
    assert sum(len(stretch.sent) for stretch in line.stretches) <= MOST_BARS
    assert sum(sum(stretch.sent) for stretch in line.stretches) == 120


def test_hours_in_which_nothing_happened_are_cut_out() -> None:
    """Two runs are two stretches, each from its own beginning."""
    line = time_line([1000.0, 1005.0, 50_000.0], [1090.0, 50_100.0], window=10.0)
    assert [stretch.start for stretch in line.stretches] == [1000.0, 50_000.0]
    assert [sum(stretch.sent) for stretch in line.stretches] == [2, 1]


def test_a_full_window_is_the_limit() -> None:
    """Twenty submissions in one window are 120 a minute, and no more."""
    line = time_line([1000.0 + n / 100 for n in range(20)], [], window=10.0)
    assert line.step == 10.0
    assert max(line.stretches[0].sent) * 60 / line.step == 120


def test_nothing_happened() -> None:
    """An empty ledger has an empty line, and no distribution."""
    assert time_line([], [], window=10.0).stretches == ()
    assert durations([]) is None


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=60).map(sorted))
@example([0.0, 5e-324])
@example([199215.89826331433, 199215.89826331436, 199215.8982633144])
def test_every_duration_is_in_a_bin(took: list[float]) -> None:
    """However wide or narrow the durations lie, each counts once, in few bins."""
    found = durations(took)
    assert found is not None
    assert sum(found.counts) == len(took)
    assert 1 <= len(found.counts) <= MOST_BINS
    assert found.median <= found.most <= found.longest == took[-1]
    assert found.start <= took[0]


def test_a_few_slow_ones_do_not_flatten_the_rest() -> None:
    """One task of a day does not press all others into one bin: the last bin is open."""
    found = durations([*(60.0 + n / 10 for n in range(200)), 86_400.0])
    assert found is not None
    assert found.open_end
    assert sum(1 for count in found.counts if count) > 5
    assert found.longest == 86_400.0


@pytest.mark.parametrize(("part", "expected"), [(0.5, 5), (0.9, 9), (0.99, 10), (0.0, 1), (1.0, 10)])
def test_shares(part: float, expected: float) -> None:
    """A share is the smallest figure that so many do not exceed."""
    assert share(list(itertools.accumulate([1.0] * 10)), part) == expected
