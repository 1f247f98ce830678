"""The system clock, in virtual time where it can be."""

from __future__ import annotations

import asyncio
import time

import pytest

from suno_video_async import Limiter, SystemClock
from tests.support.virtual import run_virtual


def test_a_scaled_clock_runs_faster() -> None:
    """At scale 50, fifty seconds of the clock are one of the loop."""

    async def main() -> None:
        clock, called = SystemClock(50), list[float]()
        start = clock.now()
        clock.call_later(100, lambda: called.append(clock.now()))
        clock.call_later(101, lambda: called.append(-1)).cancel()
        await clock.sleep(500)
        assert clock.now() - start == 500
        assert called == [100]
        assert asyncio.get_running_loop().time() == 10

    run_virtual(main())


def test_a_clock_tells_its_scale() -> None:
    """The repr says how fast it runs."""
    assert repr(SystemClock(50)) == "SystemClock(scale=50)"


def test_scaled_wall_clocks_agree() -> None:
    """Two processes at one scale tell the same time, and at scale 1 it is the real one."""
    for scale in (1, 50):
        clock, other = SystemClock(scale), SystemClock(scale)
        assert clock.time() <= other.time() <= clock.time()
    began = time.time()
    assert began <= SystemClock().time() <= time.time()


@pytest.mark.parametrize("scale", [0, -1, 2e6, float("nan")])
def test_impossible_scales_are_refused(scale: float) -> None:
    """Time neither stands still nor runs backwards."""
    with pytest.raises(ValueError, match="time scale"):
        SystemClock(scale)


def test_a_deadlock_in_virtual_time_is_found() -> None:
    """The test loop itself fails where everything waits and no timer is set."""

    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="deadlock"):
        run_virtual(main())


def test_a_clock_goes_on_without_a_loop() -> None:
    """What only tells a state, such as a repr, works outside of a loop, and by the same time."""
    clock = SystemClock(50)

    async def now() -> float:
        return clock.now()

    assert asyncio.run(now()) <= clock.now()
    assert repr(Limiter()) == "<Limiter rate=RateLimit(requests=20, per=10.0) in_flight=0 window=0 waiting=0>"
