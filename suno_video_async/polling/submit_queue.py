"""Whose turn it is to submit: the queue for the places that the watcher gives to submissions."""

from __future__ import annotations

import asyncio
from collections import deque

from attrs import define, field

from suno_video_async.ratelimit.limiter import Place, RateLimiter

#: While both wait, so many direct submissions go before one of a catalog's: nobody waits for ever.
DIRECT_IN_A_ROW = 3


@define(eq=False)
class Turns:
    """Submissions that wait for a place: direct ones first, as somebody waits for each of them."""

    limiter: RateLimiter
    _direct: deque[asyncio.Future[Place]] = field(factory=deque["asyncio.Future[Place]"], init=False)
    _patient: deque[asyncio.Future[Place]] = field(factory=deque["asyncio.Future[Place]"], init=False)
    _in_a_row: int = field(default=0, init=False)

    def __len__(self) -> int:
        return len(self._direct) + len(self._patient)

    async def take(self, *, patient: bool) -> Place:
        """Wait for a place; a cancelled waiter leaves no trace."""
        queue = self._patient if patient else self._direct
        turn: asyncio.Future[Place] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn in queue:
                queue.remove(turn)
            elif not turn.cancelled() and turn.exception() is None:
                self.limiter.release(turn.result(), sent=False, answered=False)
            raise

    def hand_over(self, place: Place) -> bool:
        """Give a place to whoever is next; return False where nobody waits."""
        while self:
            turn = self._next().popleft()
            if not turn.done():
                turn.set_result(place)
                return True
        return False

    def fail(self, error: Exception) -> None:
        """Let all who wait fail: there will be no places."""
        for queue in (self._direct, self._patient):
            while queue:
                turn = queue.popleft()
                if not turn.done():
                    turn.set_exception(error)

    def _next(self) -> deque[asyncio.Future[Place]]:
        if self._direct and (self._in_a_row < DIRECT_IN_A_ROW or not self._patient):
            self._in_a_row += 1
            return self._direct
        self._in_a_row = 0
        return self._patient
