"""The judge of attacks on the callback port sees each harm."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.strangers import wrong

FAIR: dict[str, Any] = {
    "lost": 0,
    "twice": 0,
    "genuine": 100,
    "refused": 5,
    "answers": {200: 95, 0: 5},
    "median": 0.2,
    "megabytes": 65.0,
    "descriptors": 400.0,
}


def test_an_attack_that_does_no_harm_passes() -> None:
    """A few genuine callbacks that were cut off come again."""
    assert wrong(FAIR) == []


@pytest.mark.parametrize(
    "harm", [{"lost": 1}, {"twice": 1}, {"refused": 6}, {"median": 2.1}, {"megabytes": 900}, {"descriptors": 1100}]
)
def test_each_harm_is_named(harm: dict[str, float]) -> None:
    """One line says which."""
    assert len(wrong(FAIR | harm)) == 1
