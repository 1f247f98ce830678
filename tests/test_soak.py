"""The judge of a soak sees what grows, and lets pass what comes and goes."""

from __future__ import annotations

import math
from typing import Any

import pytest

from benchmarks.soak import Sample, growth, left, wrong

FAIR = {"twice": 0, "bought_again": 0, "lost": 0, "charged_but_unknown": 0, "max_in_any_window": 20}
NOTHING_LEFT = {"descriptors": 3.0, "tasks": 0.0}


def samples(*, megabytes: float = 0.0, descriptors: float = 0.0) -> list[Sample]:
    """Return half an hour's samples with waves in them, and what each figure gains in an hour."""
    return [
        Sample(
            seconds=second,
            rows=10 * second,
            megabytes=60 + 30 * min(1, second / 300) + math.sin(second) + megabytes * second / 3600,
            descriptors=40 + 10 * math.sin(second / 7) + descriptors * second / 3600,
            tasks=300 + 50 * math.sin(second / 5),
        )
        for second in range(0, 1800, 5)
    ]


def judged(**other: Any) -> list[str]:
    """Return what is wrong with a soak in which all is well but for what is given."""
    return wrong({**FAIR, "growth": growth(samples()), "left": NOTHING_LEFT, **other})


def test_waves_and_a_beginning_that_grows_are_flat() -> None:
    """Only the second half counts, and what comes also goes."""
    assert judged() == []


@pytest.mark.parametrize(("figure", "an_hour"), [("megabytes", 20), ("descriptors", 40)])
def test_a_leak_is_found(figure: str, an_hour: float) -> None:
    """What grows all the while is seen in half an hour."""
    (problem,) = judged(growth=growth(samples(**{figure: an_hour})))
    assert problem.startswith(f"{figure}: ")


@pytest.mark.parametrize("figure", NOTHING_LEFT)
def test_what_is_left_at_the_end_is_found(figure: str) -> None:
    """A task or a descriptor for each fault stays when all rows are done."""
    before, after = (Sample(0, 0, 60, number, number) for number in (20, 40))
    (problem,) = judged(left=NOTHING_LEFT | {figure: left(before, after)[figure]})
    assert problem == f"{figure}: 20.0 left"


@pytest.mark.parametrize("fault", FAIR)
def test_each_promise_that_is_broken_is_named(fault: str) -> None:
    """A soak that lost a track, paid twice or went over the limit does not pass."""
    (problem,) = judged(**{fault: 21})
    assert "21" in problem
