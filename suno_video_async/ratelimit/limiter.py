"""The rate limit of one key: a FIFO sliding window, a bound on requests in flight, and pauses shared by all.

A request takes a *place* before it is sent and gives it back when its attempt has ended. The place is free again
one `per` after that **end** (answer, error or timeout), not after the send: request i+20 is then sent only after
the server has been done with request i for a whole period, so the server never counts 21 in any window, however
long either of them travelled. The price is the round trip: `per / (per + round trip)` of the limit is used.

A server that hangs for longer than the timeout takes in all that it was sent when it wakes. So after a timeout one
request at a time goes, until one is answered; and what was not answered in time counts from that answer on.

There is one window for all calls, or one for submissions and one for reads, which then never wait for each other:
places, timeouts and pauses after a 429 are those of one window.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable, Sequence
from enum import Enum, auto
from typing import Literal, Protocol, TypeAlias

from attrs import define, field, frozen

from suno_video_async.clock import TICK, Clock, SystemClock, TimerHandle
from suno_video_async.models import DEFAULT_RATE, LimitsFound, RateLimit
from suno_video_async.ratelimit.adaptive import AdaptiveCap, AdaptiveWindow, Ticket, learn
from suno_video_async.ratelimit.brake import Brake

#: A window's size; "auto" finds it, None is no bound.
GivenRate: TypeAlias = "RateLimit | Literal['auto'] | None"


class Lane(Enum):
    """What a place is for, and which callers a pause holds up.

    With one window for all calls, a place of either lane may be used for both: the lane then says only which
    pauses are waited for.
    """

    CREATE = auto()
    """CreateTask alone: it has a window of its own, or the server may be at its cap of running tasks."""
    READ = auto()
    """Every call but CreateTask: none of them costs anything."""
    ALL = auto()
    """Every call of the key; for pauses only."""

    def is_held_by(self, paused: Lane) -> bool:
        """Whether a pause of the lane `paused` holds up this one."""
        return paused is Lane.ALL or paused is self


#: Kept apart, since Python 3.11 takes as long to look up a member of an enumeration as to call a function twice.
_CREATE = Lane.CREATE


@frozen
class LimiterStatistics:
    """A limiter's state at one moment; times in seconds of its clock.

    Attributes:
        waiting: callers that wait for a place.
        in_flight: places that are held.
        window_used: places in use in the window, or in that of the submissions where reads have their own.
        paused_for: the rest of the longest pause.
        granted: places granted so far.
        reads_used: places in use in the window of the reads; None where there is one window for all calls.

    """

    waiting: int
    in_flight: int
    window_used: int
    paused_for: float
    granted: int
    reads_used: int | None = None


@define(eq=False)
class _Pause:
    lane: Lane
    until: float
    probe: Place | None = None


@define(eq=False)
class Place:
    """The right to send one request now; give it back with `Limiter.release`.

    Attributes:
        refused: set by who uses it, if the answer was a 429.
        running: likewise, for a CreateTask: the tasks in flight after its answer.
        in_flight: likewise, for every call.
        at_once: whether it was granted without a wait, so that nothing has changed since it was asked for.

    """

    lane: Lane = Lane.READ
    probes: Sequence[_Pause] = ()
    ticket: Ticket | None = None
    refused: bool = False
    running: int | None = None
    in_flight: int = 0
    at_once: bool = False


@define(eq=False)
class _Waiter:
    order: int
    lane: Lane
    granted: asyncio.Future[Place]


class RateLimiter(Protocol):
    """What a client asks before it sends: a `Limiter`, or a `SharedRateLimit`."""

    @property
    def rate(self) -> RateLimit | None:
        """The window of the key; None for no bound. Where reads have a window of their own, that of CreateTask."""
        ...

    @property
    def read_rate(self) -> RateLimit | None:
        """The window of the reads; None where all calls share one."""
        ...

    @property
    def brake(self) -> Brake:
        """What holds submissions while the API is out of reach."""
        ...

    @property
    def cap(self) -> AdaptiveCap:
        """The cap on running tasks, as far as it was found."""
        ...

    def progress(self) -> int:
        """Return a number that changes while submissions are accepted, if limits are found by being refused."""
        ...

    @property
    def found(self) -> LimitsFound | None:
        """The limits that were found so far; None if they are given."""
        ...

    def recall(self, found: LimitsFound) -> None:
        """Begin with limits that an earlier run found, if they are to be found."""
        ...

    async def open(self) -> None:
        """Make ready; a client does it when it opens, and each one that shares it does."""
        ...

    async def acquire(self, lane: Lane = Lane.READ) -> Place:
        """Wait for a place."""
        ...

    def release(self, place: Place, *, sent: bool = True, answered: bool = True) -> None:
        """Give a place back."""
        ...

    def pause(self, lane: Lane, seconds: float) -> None:
        """Hold up every caller of `lane`; 0 seconds follow a request of it that was not answered in time."""
        ...

    def holds(self, lane: Lane) -> bool:
        """Whether a pause holds `lane` up at present."""
        ...

    def assume_used(self) -> None:
        """Take every window as full."""
        ...

    def statistics(self) -> LimiterStatistics:
        """Return the state of this moment."""
        ...


@define(eq=False)
class _Window:
    """A sliding window, with the places in it.

    Attributes:
        clock: the time that it is measured in.
        rate: its size, or None for no bound.
        in_flight: places that are held.
        free_at: when the others in use are free again, in order.
        unanswered: requests that were not answered in time, since the last answer: the server may still have them.

    """

    clock: Clock
    fixed: RateLimit | None
    in_flight: int = 0
    free_at: deque[float] = field(factory=deque[float])
    unanswered: int = 0
    search: AdaptiveWindow | None = None

    @classmethod
    def of(cls, rate: GivenRate, clock: Clock) -> _Window:
        """Return a window of this size."""
        return cls(clock, None, search=AdaptiveWindow()) if rate == "auto" else cls(clock, rate)

    @property
    def rate(self) -> RateLimit | None:
        """Its size, as far as known; None for no bound."""
        return self.fixed if self.search is None else self.search.rate

    @property
    def is_found(self) -> bool:
        """Whether its size was found by being refused."""
        return self.search is not None and self.search.found

    def recall(self, rate: RateLimit | None) -> None:
        """Begin with a size that an earlier run found, if it is to be found."""
        if self.search is not None and rate is not None:
            self.search = AdaptiveWindow.holding(rate.requests, self.clock.now())

    def used(self) -> int:
        """Return how many places are in use."""
        return 0 if self.rate is None else self._used(self.clock.now())

    def wait(self) -> float:
        """Return the seconds until a place is free, infinite if a release must come first."""
        if (rate := self.rate) is None:
            return 0.0
        now = self.clock.now()
        used = self._used(now)
        free = used < rate.requests if self.search is None else self.search.room(used, now) > 0
        if free:
            return 0.0
        return self.free_at[0] - now if self.free_at else float("inf")

    def take(self) -> Ticket | None:
        """Take a place; return what the search for the size knows it by."""
        ticket = None if self.search is None else self.search.sent(self.used())
        self.in_flight += 1
        return ticket

    def release(self, *, sent: bool, answered: bool) -> None:
        """Take a place back at the end of its attempt."""
        self.in_flight -= 1
        rate = self.rate
        if rate is not None and sent:
            taken_in_now = 1 + (min(self.unanswered, rate.requests) if answered else 0)
            self.free_at.extend([self.clock.now() + rate.per] * taken_in_now)
            self.unanswered = 0 if answered else self.unanswered

    def fill(self) -> None:
        """Take all places as used a moment ago."""
        if (rate := self.rate) is not None:
            self.free_at.clear()
            self.free_at.extend([self.clock.now() + rate.per] * rate.requests)

    def _used(self, now: float) -> int:
        while self.free_at and self.free_at[0] <= now:
            self.free_at.popleft()
        return self.in_flight + len(self.free_at)


class Limiter:
    """Grants places in the window, first come first served.

    Args:
        rate: the window, or None for no bound on the rate.
        read_rate: a window for all calls but CreateTask, so that `rate` is for CreateTask alone; None for one
            window for all calls.
        max_connections: the most requests in flight at once.
        clock: the time that the window and the pauses are measured in.

    A limiter belongs to one event loop and may be shared by several clients of one key on it.

    """

    def __init__(
        self,
        rate: GivenRate = DEFAULT_RATE,
        *,
        read_rate: GivenRate = None,
        max_connections: int = 20,
        clock: Clock | None = None,
    ) -> None:
        if max_connections < 1:
            raise ValueError(f"max_connections must be at least 1, not {max_connections}")
        self.max_connections = max_connections
        self._clock = clock or SystemClock()
        self.brake: Brake = Brake(paced=rate is not None)
        self._in_flight = 0
        self._window = _Window.of(rate, self._clock)
        self._reads = self._window if read_rate is None else _Window.of(read_rate, self._clock)
        self.cap: AdaptiveCap = AdaptiveCap()
        self._waiting_creates = deque[_Waiter]()
        self._waiting_reads = deque[_Waiter]()
        self._pauses: dict[Lane, _Pause] = {}
        self._timer: TimerHandle | None = None
        self._granted = 0
        self._arrivals = 0

    @property
    def rate(self) -> RateLimit | None:
        """The window, as far as it is known; None for no bound."""
        return self._window.rate

    @property
    def read_rate(self) -> RateLimit | None:
        """The window of the reads, as far as it is known; None if all calls share one."""
        return None if self._reads is self._window else self._reads.rate

    def __repr__(self) -> str:
        state = self.statistics()
        reads = "" if state.reads_used is None else f" reads={state.reads_used}"
        used = f"in_flight={state.in_flight} window={state.window_used}{reads} waiting={state.waiting}"
        return f"<Limiter rate={self.rate} {used}>"

    def statistics(self) -> LimiterStatistics:
        """Return the state of this moment."""
        now = self._clock.now()
        return LimiterStatistics(
            waiting=len(self._waiting_creates) + len(self._waiting_reads),
            in_flight=self._in_flight,
            window_used=self._window.used(),
            paused_for=max((max(0.0, pause.until - now) for pause in self._pauses.values()), default=0.0),
            granted=self._granted,
            reads_used=None if self.read_rate is None else self._reads.used(),
        )

    async def open(self) -> None:
        """Do nothing: it is ready from the start."""

    async def acquire(self, lane: Lane = Lane.READ) -> Place:
        """Wait for a place; a cancelled waiter leaves no trace."""
        if not self._waiting_reads and not self._waiting_creates and self._wait_for(lane) <= 0:
            place = self._grant(lane)
            place.at_once = True
            return place
        self._arrivals += 1
        waiter = _Waiter(self._arrivals, lane, asyncio.get_running_loop().create_future())
        self._waiting(lane).append(waiter)
        self._serve()
        try:
            return await waiter.granted
        except asyncio.CancelledError:
            if waiter.granted.done() and not waiter.granted.cancelled():
                self.release(waiter.granted.result(), sent=False, answered=False)
            else:
                with contextlib.suppress(ValueError):  # passed over already
                    self._waiting(lane).remove(waiter)
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
        window = self._window_of(place.lane)
        window.release(sent=sent, answered=answered)
        if place.ticket is not None and window.search is not None:
            learn(
                *(window.search, self.cap, place.ticket, self._clock.now()),
                sent=sent,
                answered=answered,
                refused=place.refused,
                running=place.running,
            )
        for pause in place.probes:
            pause.probe = None
            if answered and self._pauses.get(pause.lane) is pause:
                del self._pauses[pause.lane]
        if self._waiting_reads or self._waiting_creates:
            self._serve()

    def pause(self, lane: Lane, seconds: float) -> None:
        """Hold up every caller of `lane` for `seconds`; afterwards one request probes before the rest follows.

        Call it with 0 after a request of the lane that was not answered in time: the server may still have it.
        """
        until = self._clock.now() + seconds
        current = self._pauses.get(lane)
        if seconds == 0:
            self._window_of(lane).unanswered += 1
            if current is not None:
                return  # one probe at a time
        self._pauses[lane] = _Pause(lane, max(until, current.until) if current else until)
        self._serve()

    @property
    def found(self) -> LimitsFound | None:
        """The limits that were found so far; None if they are given."""
        if self._window.search is None and self._reads.search is None:
            return None
        rates = [window.rate if window.is_found else None for window in (self._window, self._reads)]
        apart = self._reads is not self._window
        climbing = any(
            window.search is not None and window.search.climbing for window in (self._window, self._reads)
        )
        return LimitsFound(
            rate=rates[0], read_rate=rates[1] if apart else None, running=self.cap.cap, climbing=climbing
        )

    def recall(self, found: LimitsFound) -> None:
        """Begin with limits that an earlier run found, if they are to be found and nothing was sent yet."""
        if self._granted:
            return
        self._window.recall(found.rate)
        if self._reads is not self._window:
            self._reads.recall(found.read_rate)
        if found.running is not None:
            self.cap = AdaptiveCap.holding(found.running, self._clock.now())

    def progress(self) -> int:
        """Return how many submissions were accepted, if limits are found by being refused, or 0.

        Then a refusal is what the search costs, and not a failure of the one that was refused.
        """
        return 0 if self._window.search is None else self.brake.accepted

    def holds(self, lane: Lane) -> bool:
        """Whether a pause holds `lane` up, also because its probe is still in flight."""
        return bool(self._pauses_of(lane))

    def assume_used(self) -> None:
        """Begin with full windows, as after another process of the same key has just sent requests."""
        for window in (self._window, self._reads):
            window.fill()

    def _grant(self, lane: Lane) -> Place:
        place = Place(lane, self._pauses_of(lane) if self._pauses else ())
        for pause in place.probes:
            pause.probe = place
        self._in_flight += 1
        place.ticket = self._window_of(lane).take()
        self._granted += 1
        return place

    def _serve(self) -> None:
        """Grant what can be granted now, and set the timer for the moment when more can be."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while heads := [queue[0] for queue in (self._waiting_creates, self._waiting_reads) if queue]:
            waits = {waiter.lane: self._wait_for(waiter.lane) for waiter in heads}
            ready = [waiter for waiter in heads if waits[waiter.lane] <= 0]
            if not ready:
                self._set_timer(waits.values())
                return
            first = min(ready, key=lambda waiter: waiter.order)
            self._waiting(first.lane).popleft()
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
        wait = self._window_of(lane).wait()
        for pause in self._pauses_of(lane) if self._pauses else ():
            wait = max(wait, float("inf") if pause.probe else pause.until - self._clock.now())
        return wait

    def _window_of(self, lane: Lane) -> _Window:
        return self._window if lane is _CREATE else self._reads

    def _waiting(self, lane: Lane) -> deque[_Waiter]:
        return self._waiting_creates if lane is _CREATE else self._waiting_reads

    def _pauses_of(self, lane: Lane) -> Sequence[_Pause]:
        return [pause for paused, pause in self._pauses.items() if lane.is_held_by(paused)]
