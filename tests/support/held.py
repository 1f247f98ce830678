"""A server whose tasks or answers take until the test lets them go on, however slow the machine is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from attrs import define

from suno_video_async.clock import SystemClock, TimerHandle

#: Seconds that end only when they are let go: for `render_seconds`, and as the argument of a fault.
FOREVER = 1e6


class HeldClock(SystemClock):
    """The clock of a server on which long waits end when the test says so.

    A short wait would be over before a slow test has done what has to happen meanwhile, and a long one takes long.

    Args:
        scale: of the server, and of its client.
        at_least: the seconds of a long wait; a task is pending for some of its own, and then waits for the rest.

    """

    def __init__(self, scale: float = 20.0, *, at_least: float = FOREVER / 2) -> None:
        super().__init__(scale)
        self._at_least = at_least
        self._held = dict[_Held, None]()
        self._is_open = False
        self._loop: asyncio.AbstractEventLoop | None = None

    async def sleep(self, seconds: float) -> None:
        """Sleep until then, or until let go."""
        over = asyncio.get_running_loop().create_future()
        timer = self.call_later(seconds, lambda: None if over.done() else over.set_result(None))
        try:
            await over
        finally:
            timer.cancel()

    def call_later(self, seconds: float, callback: Callable[[], object]) -> TimerHandle:
        """Call `callback` then, or when let go."""
        self._loop = asyncio.get_running_loop()
        if seconds < self._at_least:
            return super().call_later(seconds, callback)
        if self._is_open:
            return super().call_later(0.0, callback)
        held = _Held(self._held, callback)
        self._held[held] = None
        return held

    def let_go(self) -> None:
        """End these waits, and those to come, from another thread."""
        assert self._loop is not None, "nothing has waited yet"
        self._loop.call_soon_threadsafe(self._let_go)

    def _let_go(self) -> None:
        self._is_open = True
        for held in list(self._held):
            held.cancel()
            held.callback()


@define(eq=False)
class _Held:
    others: dict[_Held, None]
    callback: Callable[[], object]

    def cancel(self) -> None:
        self.others.pop(self, None)
