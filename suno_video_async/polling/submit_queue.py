"""Whose turn it is to submit: the queue for the places that the poller gives to submissions."""

from __future__ import annotations

import asyncio
from collections import deque

from attrs import define, field

from suno_video_async.ratelimit.limiter import Place, RateLimiter

#: While both wait, so many direct submissions go before one of a catalog's: nobody waits for ever.
DIRECT_IN_A_ROW = 3


@define(eq=False)
class SubmitQueue:
    """Submissions that wait for a place: direct ones first, as somebody waits for each of them."""

    limiter: RateLimiter
    _interactive: deque[asyncio.Future[Place]] = field(factory=deque["asyncio.Future[Place]"], init=False)
    _bulk: deque[asyncio.Future[Place]] = field(factory=deque["asyncio.Future[Place]"], init=False)
    _in_a_row: int = field(default=0, init=False)

    def __len__(self) -> int:
        return len(self._interactive) + len(self._bulk)

    async def acquire(self, *, bulk: bool) -> Place:
        """Wait for a place; a cancelled waiter leaves no trace."""
        queue = self._bulk if bulk else self._interactive
        submit_place: asyncio.Future[Place] = asyncio.get_running_loop().create_future()
        queue.append(submit_place)
        try:
            return await submit_place
        except asyncio.CancelledError:
            if submit_place in queue:
                queue.remove(submit_place)
            elif not submit_place.cancelled() and submit_place.exception() is None:
                self.limiter.release(submit_place.result(), sent=False, answered=False)
            raise

    def grant(self, place: Place) -> bool:
        """Give a place to whoever is next; return False where nobody waits."""
        while self:
            submit_place = self._next().popleft()
            if not submit_place.done():
                submit_place.set_result(place)
                return True
        return False

    def fail(self, error: Exception) -> None:
        """Let all who wait fail: there will be no places."""
        for queue in (self._interactive, self._bulk):
            while queue:
                submit_place = queue.popleft()
                if not submit_place.done():
                    submit_place.set_exception(error)

    def _next(self) -> deque[asyncio.Future[Place]]:
        if self._interactive and (self._in_a_row < DIRECT_IN_A_ROW or not self._bulk):
            self._in_a_row += 1
            return self._interactive
        self._in_a_row = 0
        return self._bulk
