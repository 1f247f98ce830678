"""The judge of a soak sees what grows, and lets pass what comes and goes."""

from __future__ import annotations

import math

import pytest

from benchmarks.soak import Sample, growth, too_much, wrong

FAIR = {"twice": 0, "bought_again": 0, "lost": 0, "charged_but_unknown": 0, "max_in_any_window": 20}


def samples(*, megabytes: float = 0.0, descriptors: float = 0.0, tasks: float = 0.0) -> list[Sample]:
    """Return half an hour's samples with waves in them, and what each figure gains in an hour."""
    return [
        Sample(
            seconds=second,
            rows=10 * second,
            megabytes=60 + 30 * min(1, second / 300) + math.sin(second) + megabytes * second / 3600,
            descriptors=40 + 10 * math.sin(second / 7) + descriptors * second / 3600,
            tasks=300 + 50 * math.sin(second / 5) + tasks * second / 3600,
        )
        for second in range(0, 1800, 5)
    ]


def test_waves_and_a_beginning_that_grows_are_flat() -> None:
    """Only the second half counts, and what comes also goes."""
    assert not too_much(growth(samples()))


@pytest.mark.parametrize("figure", ["megabytes", "descriptors", "tasks"])
def test_a_leak_is_found(figure: str) -> None:
    """Twenty megabytes, forty descriptors or two hundred tasks an hour."""
    (problem,) = too_much(growth(samples(**{figure: {"megabytes": 20, "descriptors": 40, "tasks": 200}[figure]})))
    assert problem.startswith(f"{figure} grew by ")


@pytest.mark.parametrize("fault", FAIR)
def test_each_promise_that_is_broken_is_named(fault: str) -> None:
    """A soak that lost a track, paid twice or went over the limit does not pass."""
    result = {**FAIR, "growth": growth(samples())}
    assert wrong(result) == []
    (problem,) = wrong(result | {fault: 21})
    assert "21" in problem
