"""The queue of submissions that wait for the poller to give them a place."""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import takewhile
from typing import TypeAlias

from attrs import define, field, frozen

from suno_video_async.ratelimit.brake import Pass
from suno_video_async.ratelimit.limiter import Place, RateLimiter

#: While both kinds wait, one bulk submission goes after this many interactive ones, so that neither starves.
INTERACTIVE_IN_A_ROW = 3


#: A place in the window, and the outage brake's right to use it.
Granted: TypeAlias = "tuple[Place, Pass]"


@frozen(eq=False)
class _Waiter:
    since: float
    granted: asyncio.Future[Granted]


@define(eq=False)
class SubmitQueue:
    """Submissions that wait for a place: interactive ones first, because a caller waits for each of them."""

    limiter: RateLimiter
    _interactive: deque[_Waiter] = field(factory=deque[_Waiter], init=False)
    _bulk: deque[_Waiter] = field(factory=deque[_Waiter], init=False)
    _in_a_row: int = field(default=0, init=False)

    def __len__(self) -> int:
        return len(self._interactive) + len(self._bulk)

    def __bool__(self) -> bool:
        return bool(self._interactive or self._bulk)

    async def acquire(self, *, bulk: bool, now: float) -> Granted:
        """Wait for a place; a cancelled waiter leaves the queue, and returns a place that it was already given."""
        queue = self._bulk if bulk else self._interactive
        waiter = _Waiter(now, asyncio.get_running_loop().create_future())
        queue.append(waiter)
        try:
            return await waiter.granted
        except asyncio.CancelledError:
            if waiter in queue:
                queue.remove(waiter)
            elif not waiter.granted.cancelled() and waiter.granted.exception() is None:
                place, permit = waiter.granted.result()
                self.limiter.brake.give_back(permit)
                self.limiter.release(place, sent=False, answered=False)
            raise

    def grant(self, place: Place, permit: Pass) -> bool:
        """Give a place to the next waiter; return False if there is none."""
        while self:
            waiter = self._next().popleft()
            if not waiter.granted.done():
                waiter.granted.set_result((place, permit))
                return True
        return False

    def fail(self, error: Exception) -> None:
        """Fail all waiters: there will be no places."""
        for queue in (self._interactive, self._bulk):
            _fail(queue, len(queue), error)

    def expire(self, error: Exception, *, bulk: bool, before: float) -> None:
        """Fail the waiters of one kind that have waited since `before` or longer."""
        queue = self._bulk if bulk else self._interactive
        _fail(queue, sum(1 for _ in takewhile(lambda waiter: waiter.since <= before, queue)), error)

    def _next(self) -> deque[_Waiter]:
        if self._interactive and (self._in_a_row < INTERACTIVE_IN_A_ROW or not self._bulk):
            self._in_a_row += 1
            return self._interactive
        self._in_a_row = 0
        return self._bulk


def _fail(queue: deque[_Waiter], number: int, error: Exception) -> None:
    for _ in range(number):
        waiter = queue.popleft()
        if not waiter.granted.done():
            waiter.granted.set_exception(error)
