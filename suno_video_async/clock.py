"""Time, injected: everything that waits, backs off or expires asks one of these."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

#: Scaled wall clocks meet here (2026-01-01 UTC), so that two processes at one scale agree on the time.
SCALE_ORIGIN = 1_767_225_600.0


#: The shortest wait worth setting a timer for, in seconds: a rounded difference of two times can be so small that
#: adding it back changes nothing, and a waiter would wake up at the same moment for ever.
TICK = 1e-6


#: Seconds by which wall and monotonic time go apart only if the machine slept, or its clock was set.
DRIFT = 1.0


class TimerHandle(Protocol):
    """What `Clock.call_later` returns."""

    def cancel(self) -> None:
        """Keep the callback from being called; harmless when it was."""
        ...


class Clock(Protocol):
    """The time of a client or a local server."""

    def now(self) -> float:
        """Return monotonic seconds; only differences mean anything."""
        ...

    def time(self) -> float:
        """Return Unix seconds."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds` of this clock."""
        ...

    def call_later(self, seconds: float, callback: Callable[[], object]) -> TimerHandle:
        """Call `callback` on the event loop after `seconds` of this clock."""
        ...


class ClockDrift:
    """Notices that the machine slept, or that its clock was set: wall and monotonic time have then gone apart.

    While a machine sleeps, its monotonic clock stands still: what was idle for an hour looks as if it were fresh.

    Args:
        wall: Unix seconds.
        monotonic: monotonic seconds.

    """

    def __init__(
        self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._apart = wall() - monotonic()

    def noticed(self) -> bool:
        """Return whether they have gone apart by more than `DRIFT` since this was last asked."""
        before, self._apart = self._apart, self._wall() - self._monotonic()
        return abs(self._apart - before) > DRIFT


class SystemClock:
    """The event loop's own clock, `scale` times faster.

    Args:
        scale: seconds of this clock in one real second. A client and a local server at the same scale live
            in the same accelerated world; 1.0 is real time.

    """

    def __init__(self, scale: float = 1.0) -> None:
        if not 0 < scale <= 1e6:
            raise ValueError(f"the time scale must be above 0 and at most 1,000,000, not {scale!r}")
        self.scale = scale

    def __repr__(self) -> str:
        return f"SystemClock(scale={self.scale:g})"

    def now(self) -> float:
        """Return the running loop's time, scaled."""
        try:
            return asyncio.get_running_loop().time() * self.scale
        except RuntimeError:  # a repr, or statistics, without a loop; asyncio's own loops have the same time
            return time.monotonic() * self.scale

    def time(self) -> float:
        """Return Unix seconds; at another scale than 1 they run that much faster since 2026-01-01."""
        return SCALE_ORIGIN + (time.time() - SCALE_ORIGIN) * self.scale

    async def sleep(self, seconds: float) -> None:
        """Sleep `seconds` of this clock."""
        await asyncio.sleep(seconds / self.scale)

    def call_later(self, seconds: float, callback: Callable[[], object]) -> TimerHandle:
        """Call `callback` after `seconds` of this clock."""
        return asyncio.get_running_loop().call_later(seconds / self.scale, callback)
