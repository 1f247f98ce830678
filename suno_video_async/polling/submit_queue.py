"""The queue of submissions that wait for the poller to give them a place."""

from __future__ import annotations

import asyncio
from collections import deque

from attrs import define, field

from suno_video_async.ratelimit.limiter import Place, RateLimiter

#: While both kinds wait, one bulk submission goes after this many interactive ones, so that neither starves.
INTERACTIVE_IN_A_ROW = 3


@define(eq=False)
class SubmitQueue:
    """Submissions that wait for a place: interactive ones first, because a caller waits for each of them."""

    limiter: RateLimiter
    _interactive: deque[asyncio.Future[Place]] = field(factory=deque["asyncio.Future[Place]"], init=False)
    _bulk: deque[asyncio.Future[Place]] = field(factory=deque["asyncio.Future[Place]"], init=False)
    _in_a_row: int = field(default=0, init=False)

    def __len__(self) -> int:
        return len(self._interactive) + len(self._bulk)

    async def acquire(self, *, bulk: bool) -> Place:
        """Wait for a place; a cancelled waiter leaves the queue, and returns a place that it was already given."""
        queue = self._bulk if bulk else self._interactive
        waiter: asyncio.Future[Place] = asyncio.get_running_loop().create_future()
        queue.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter in queue:
                queue.remove(waiter)
            elif not waiter.cancelled() and waiter.exception() is None:
                self.limiter.release(waiter.result(), sent=False, answered=False)
            raise

    def grant(self, place: Place) -> bool:
        """Give a place to the next waiter; return False if there is none."""
        while self:
            waiter = self._next().popleft()
            if not waiter.done():
                waiter.set_result(place)
                return True
        return False

    def fail(self, error: Exception) -> None:
        """Fail all waiters: there will be no places."""
        for queue in (self._interactive, self._bulk):
            while queue:
                waiter = queue.popleft()
                if not waiter.done():
                    waiter.set_exception(error)

    def _next(self) -> deque[asyncio.Future[Place]]:
        if self._interactive and (self._in_a_row < INTERACTIVE_IN_A_ROW or not self._bulk):
            self._in_a_row += 1
            return self._interactive
        self._in_a_row = 0
        return self._bulk
