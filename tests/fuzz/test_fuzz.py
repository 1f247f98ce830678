"""Parsers of text from outside raise only what they say, and take time in proportion to their input."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable
from itertools import pairwise

import pytest

from suno_video_async.protocol.codec import MAX_BODY
from tests.fuzz.inputs import vary
from tests.fuzz.targets import TARGETS, Target, kept

LONG = [(name, shape) for name, target in TARGETS.items() for shape in target.long]
#: The bytes to begin with.
SIZE = 1000
#: Seconds that the smallest input that is measured takes, if need be by being read several times.
ENOUGH = 0.002
#: Twice the input may take so many times as long: four is quadratic, and a busy machine makes 2.52 of two.
MOST = 3.0


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.filterwarnings("ignore")
def test_known_inputs_are_survived(name: str) -> None:
    """What the fuzzers once found something with stays mended."""
    for seed in [*TARGETS[name].seeds, *kept(name)]:
        TARGETS[name].run(seed)


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.filterwarnings("ignore")
def test_inputs_like_them_are_survived(name: str) -> None:
    """A hundred variations, the same in every run; `nox -s fuzz` tries more."""
    seeds = [*TARGETS[name].seeds, *kept(name)]
    count, problem = vary(TARGETS[name], seeds, seed=0, end=time.monotonic() + 60, most=100)
    assert problem is None
    assert count > 50


def seconds(run: Callable[[bytes], None], data: bytes, times: int = 1) -> float:
    begun = time.thread_time()
    for _ in range(times):
        run(data)
    return time.thread_time() - begun


def growth(target: Target, make: Callable[[int], bytes], *, rounds: int = 60) -> float:
    """Return how many times as long twice the input takes, with as little as possible of what else goes on.

    The input is doubled three times, and the middle of the three counts: once it outgrows a cache, say. It stays
    within the largest answer that is read: beyond that, what is compared is how memory is handed out. On a
    busy machine it takes many rounds until each input had a moment of its own, and an input that lies badly in
    memory is slow in each round: so they are made again in between.
    """
    size = SIZE
    while (one := seconds(target.run, make(size))) < ENOUGH and size < MAX_BODY >> 4:
        size *= 2  # what takes no time cannot be compared
    times = max(1, math.ceil(ENOUGH / max(one, 1e-6)))
    best, found, inputs = [math.inf] * 4, math.inf, list[bytes]()
    for number in range(rounds):
        if number % 10 == 0:
            inputs = [make(size << doubled) for doubled in range(4)]
        best = [min(known, seconds(target.run, data, times)) for known, data in zip(best, inputs, strict=True)]
        found = sorted(two / one for one, two in pairwise(best))[1]
        if found <= MOST:
            break
    return found


@pytest.mark.parametrize(("name", "shape"), LONG)
@pytest.mark.filterwarnings("ignore")
def test_twice_the_input_takes_at_most_three_times_as_long(name: str, shape: str) -> None:
    """No parser has an input that it takes quadratic time for: of several measurements, the best counts."""
    gc.disable()
    try:
        found = growth(TARGETS[name], TARGETS[name].long[shape])
    finally:
        gc.enable()
    assert found <= MOST


def test_the_measure_finds_a_parser_that_takes_quadratic_time() -> None:
    """Looking through all the rest for each of many pieces is noticed."""

    def parse(data: bytes) -> None:
        for at in range(0, len(data), 10):
            data.find(b"x", at)

    assert growth(Target(parse, []), lambda size: b"a" * size, rounds=2) > MOST
