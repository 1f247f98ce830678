"""The rate limit of one key: a FIFO sliding window, a bound on requests in flight, and pauses shared by all.

A request takes a *place* before it is sent and gives it back when its attempt has ended. The place is free again
one `per` after that **end** (answer, error or timeout), not after the send: request i+20 is then sent only after
the server has been done with request i for a whole period, so the server never counts 21 in any window, however
long either of them travelled. The price is the round trip: `per / (per + round trip)` of the limit is used.

A server that hangs for longer than the timeout takes in all that it was sent when it wakes. So after a timeout one
request at a time goes, until one is answered; and what was not answered in time counts from that answer on.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable, Sequence
from enum import Enum, auto
from typing import Protocol

from attrs import define, frozen

from suno_video_async.clock import TICK, Clock, SystemClock, TimerHandle
from suno_video_async.models import RateLimit
from suno_video_async.ratelimit.brake import Brake

#: What the API allows one key (seen by several clients; an assumption of ours).
DEFAULT_RATE = RateLimit(20, 10.0)


class Lane(Enum):
    """Which callers a pause holds up."""

    CREATE = auto()
    """CreateTask alone: the server may be at its cap of running tasks."""
    ALL = auto()
    """Every call of the key."""


@frozen
class LimiterStatistics:
    """A limiter's state at one moment; times in seconds of its clock."""

    waiting: int
    in_flight: int
    window_used: int
    paused_for: float
    granted: int


@define(eq=False)
class _Pause:
    lane: Lane
    until: float
    probe: Place | None = None


@define(eq=False)
class Place:
    """The right to send one request now; give it back with `Limiter.release`."""

    probes: Sequence[_Pause] = ()


@define(eq=False)
class _Waiter:
    order: int
    lane: Lane
    granted: asyncio.Future[Place]


class RateLimiter(Protocol):
    """What a client asks before it sends: a `Limiter`, or a `SharedRateLimit`."""

    @property
    def rate(self) -> RateLimit | None:
        """The window of the key; None for no bound."""
        ...

    @property
    def brake(self) -> Brake:
        """What holds submissions while the API is out of reach."""
        ...

    async def open(self) -> None:
        """Make ready; a client does it when it opens, and each one that shares it does."""
        ...

    async def acquire(self, lane: Lane = Lane.ALL) -> Place:
        """Wait for a place."""
        ...

    def release(self, place: Place, *, sent: bool = True, answered: bool = True) -> None:
        """Give a place back."""
        ...

    def pause(self, lane: Lane, seconds: float) -> None:
        """Hold up every caller of `lane`; 0 seconds follow a request that was not answered in time."""
        ...

    def holds(self, lane: Lane) -> bool:
        """Whether a pause holds `lane` up at present."""
        ...

    def assume_used(self) -> None:
        """Take the window as full."""
        ...

    def statistics(self) -> LimiterStatistics:
        """Return the state of this moment."""
        ...


class Limiter:
    """Grants places in the window, first come first served.

    Args:
        rate: the window, or None for no bound on the rate.
        max_connections: the most requests in flight at once.
        clock: the time that the window and the pauses are measured in.

    A limiter belongs to one event loop and may be shared by several clients of one key on it.

    """

    def __init__(
        self,
        rate: RateLimit | None = DEFAULT_RATE,
        *,
        max_connections: int = 20,
        clock: Clock | None = None,
    ) -> None:
        if max_connections < 1:
            raise ValueError(f"max_connections must be at least 1, not {max_connections}")
        self.rate = rate
        self.max_connections = max_connections
        self._clock = clock or SystemClock()
        self.brake: Brake = Brake()
        self._in_flight = 0
        self._free_at: deque[float] = deque()
        self._waiters: dict[Lane, deque[_Waiter]] = {Lane.CREATE: deque(), Lane.ALL: deque()}
        self._pauses: dict[Lane, _Pause] = {}
        self._timer: TimerHandle | None = None
        self._granted = 0
        self._arrivals = 0
        self._unanswered = 0

    def __repr__(self) -> str:
        state = self.statistics()
        used = f"in_flight={state.in_flight} window={state.window_used} waiting={state.waiting}"
        return f"<Limiter rate={self.rate} {used}>"

    def statistics(self) -> LimiterStatistics:
        """Return the state of this moment."""
        now = self._clock.now()
        self._forget_expired(now)
        return LimiterStatistics(
            waiting=sum(len(queue) for queue in self._waiters.values()),
            in_flight=self._in_flight,
            window_used=self._in_flight + len(self._free_at) if self.rate else 0,
            paused_for=max((max(0.0, pause.until - now) for pause in self._pauses.values()), default=0.0),
            granted=self._granted,
        )

    async def open(self) -> None:
        """Do nothing: it is ready from the start."""

    async def acquire(self, lane: Lane = Lane.ALL) -> Place:
        """Wait for a place; a cancelled waiter leaves no trace."""
        create, other = self._waiters.values()
        if not create and not other and self._wait_for(lane) <= 0:
            return self._grant(lane)
        self._arrivals += 1
        waiter = _Waiter(self._arrivals, lane, asyncio.get_running_loop().create_future())
        self._waiters[lane].append(waiter)
        self._serve()
        try:
            return await waiter.granted
        except asyncio.CancelledError:
            if waiter.granted.done() and not waiter.granted.cancelled():
                self.release(waiter.granted.result(), sent=False, answered=False)
            else:
                with contextlib.suppress(ValueError):  # passed over already
                    self._waiters[lane].remove(waiter)
                self._serve()
            raise

    def release(self, place: Place, *, sent: bool = True, answered: bool = True) -> None:
        """Give a place back at the end of its attempt.

        Args:
            place: the place.
            sent: False if it is certain that nothing was sent: the place is free again at once.
            answered: whether the server answered; the answer of a probe ends the pause, unless `pause` was
                called for it first.

        """
        self._in_flight -= 1
        if self.rate is not None and sent:
            taken_in_now = 1 + (min(self._unanswered, self.rate.requests) if answered else 0)
            self._free_at.extend([self._clock.now() + self.rate.per] * taken_in_now)
            self._unanswered = 0 if answered else self._unanswered
        for pause in place.probes:
            pause.probe = None
            if answered and self._pauses.get(pause.lane) is pause:
                del self._pauses[pause.lane]
        self._serve()

    def pause(self, lane: Lane, seconds: float) -> None:
        """Hold up every caller of `lane` for `seconds`; afterwards one request probes before the rest follows.

        Call it with 0 after a request that was not answered in time: the server may still have it.
        """
        until = self._clock.now() + seconds
        current = self._pauses.get(lane)
        if seconds == 0:
            self._unanswered += 1
            if current is not None:
                return  # one probe at a time
        self._pauses[lane] = _Pause(lane, max(until, current.until) if current else until)
        self._serve()

    def holds(self, lane: Lane) -> bool:
        """Whether a pause holds `lane` up, also because its probe is still in flight."""
        return bool(self._pauses_of(lane))

    def assume_used(self) -> None:
        """Begin with a full window, as after another process of the same key has just sent requests."""
        if self.rate is not None:
            self._free_at.clear()
            self._free_at.extend([self._clock.now() + self.rate.per] * self.rate.requests)

    def _grant(self, lane: Lane) -> Place:
        place = Place(self._pauses_of(lane))
        for pause in place.probes:
            pause.probe = place
        self._in_flight += 1
        self._granted += 1
        return place

    def _serve(self) -> None:
        """Grant what can be granted now, and set the timer for the moment when more can be."""
        create, other = self._waiters.values()
        if not create and not other:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while heads := [queue[0] for queue in self._waiters.values() if queue]:
            waits = {waiter.lane: self._wait_for(waiter.lane) for waiter in heads}
            ready = [waiter for waiter in heads if waits[waiter.lane] <= 0]
            if not ready:
                self._set_timer(waits.values())
                return
            first = min(ready, key=lambda waiter: waiter.order)
            self._waiters[first.lane].popleft()
            if not first.granted.done():
                first.granted.set_result(self._grant(first.lane))

    def _set_timer(self, waits: Iterable[float]) -> None:
        """Wake up after the shortest of `waits`; an endless one ends with a release, which serves by itself."""
        shortest = min(waits)
        if shortest < float("inf"):
            self._timer = self._clock.call_later(max(shortest, TICK), self._serve)

    def _wait_for(self, lane: Lane) -> float:
        """Return the seconds until a request of `lane` may go, infinite if a release must come first."""
        if self._in_flight >= self.max_connections:
            return float("inf")
        if self.rate is None and not self._pauses:
            return 0.0
        now = self._clock.now()
        wait = self._wait_for_window(self.rate, now) if self.rate is not None else 0.0
        for pause in self._pauses_of(lane):
            wait = max(wait, float("inf") if pause.probe else pause.until - now)
        return wait

    def _wait_for_window(self, rate: RateLimit, now: float) -> float:
        self._forget_expired(now)
        if self._in_flight + len(self._free_at) < rate.requests:
            return 0.0
        return self._free_at[0] - now if self._free_at else float("inf")

    def _forget_expired(self, now: float) -> None:
        while self._free_at and self._free_at[0] <= now:
            self._free_at.popleft()

    def _pauses_of(self, lane: Lane) -> Sequence[_Pause]:
        if not self._pauses:
            return ()
        return [pause for holds, pause in self._pauses.items() if holds is Lane.ALL or holds is lane]
