"""The search for limits, against small servers that know them."""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable, Iterator
from itertools import count

import pytest
from attrs import define, field

from suno_video_async.ratelimit.adaptive import (
    CAP_PROBE,
    CAP_PROBE_REQUESTS,
    CAP_RISE,
    FIRST_PROBE,
    PERIOD,
    PROBE_REQUESTS,
    START,
    AdaptiveCap,
    AdaptiveWindow,
    Ticket,
)


@define
class Server:
    """A sliding window of which the client does not know the size; a refused request takes no place in it."""

    limit: int
    #: The tasks that run, and how many may.
    running: int = 0
    cap: int | None = None
    admitted: deque[float] = field(factory=deque[float])
    refused: list[float] = field(factory=list[float])

    def admits(self, now: float, *, create: bool) -> bool:
        while self.admitted and self.admitted[0] <= now - PERIOD:
            self.admitted.popleft()
        if len(self.admitted) >= self.limit or (create and self.cap is not None and self.running >= self.cap):
            self.refused.append(now)
            return False
        self.admitted.append(now)
        return True


@define
class World:
    """A client that sends whenever it may; after a refusal it pauses for a second, and one request goes first."""

    server: Server
    search: AdaptiveWindow = field(factory=AdaptiveWindow)
    travel: Callable[[], float] = lambda: 0.05
    #: Whether the next request is a CreateTask.
    create: Callable[[], bool] = lambda: False
    #: Seconds between two requests that the client wants to send.
    wants: float = 0.0
    connections: int = 20
    at_cap: list[int] = field(factory=list[int])
    now: float = 0.0
    sent: int = 0
    _used: deque[float] = field(factory=deque[float])
    _in_flight: int = 0
    _paused: float = 0.0
    _one_first: bool = False
    _events: list[tuple[float, int, Callable[[], None]]] = field(
        factory=list[tuple[float, int, Callable[[], None]]]
    )
    _numbers: Iterator[int] = field(factory=count)
    _next: float = 0.0

    def run(self, until: float) -> World:
        """Let time pass."""
        while self.now < until:
            self._send()
            ahead = [self._events[0][0]] if self._events else []
            moments = [*([self._used[0]] if self._used else []), *ahead, self._paused, self._next]
            self.now = min([*(at for at in moments if at > self.now), until])
            while self._events and self._events[0][0] <= self.now:
                heapq.heappop(self._events)[2]()
        return self

    def run_until_cap(self) -> int:
        """Let time pass until a cap is found; return the number of refusals until then."""
        while not self.at_cap and self.now < 120.0:
            self.run(self.now + 0.5)
        return len(self.server.refused)

    def at(self, seconds: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._numbers), what))

    def _send(self) -> None:
        while self.now >= max(self._paused, self._next) and self._in_flight < self.connections:
            while self._used and self._used[0] <= self.now:
                self._used.popleft()
            used = self._in_flight + len(self._used)
            if (self._one_first and self._in_flight) or self.search.room(used, self.now) <= 0:
                return
            ticket, create = self.search.sent(used), self.create()
            self._in_flight += 1
            self.sent += 1
            self._next = self.now + self.wants
            there, back = self.travel(), self.travel()

            def arrive(ticket: Ticket = ticket, create: bool = create, back: float = back) -> None:
                admitted = self.server.admits(self.now, create=create)
                self.server.running += admitted and create
                self.at(back, lambda: self._answer(ticket, create, admitted))

            self.at(there, arrive)

    def _answer(self, ticket: Ticket, create: bool, admitted: bool) -> None:
        self._in_flight -= 1
        self._used.append(self.now + PERIOD)
        running = self.server.running if create else None
        self._one_first = not admitted
        if admitted:
            at_cap = self.search.admitted(ticket, self.now, running)
        else:
            self._paused = self.now + 1.0
            at_cap = self.search.refused(ticket, self.now, running)
        if at_cap is not None:
            self.at_cap.append(at_cap)


LIMITS = [1, 2, 5, 20, 21, 60, 200]


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("travel", [0.005, 0.15])
def test_a_limit_is_found(limit: int, travel: float) -> None:
    """After some periods of full use the figure is the server's, whatever the limit and the travel time."""
    world = World(Server(limit), travel=lambda: travel).run(100.0)
    assert world.search.found
    assert world.search.rate.requests == limit
    assert world.search.rate.per == PERIOD


@pytest.mark.parametrize("limit", [5, 20, 60])
def test_at_most_one_per_cent_is_refused(limit: int) -> None:
    """At full use at most one request in a hundred is refused, those of the climb included."""
    world = World(Server(limit)).run(50_000 / limit)
    assert len(world.server.refused) <= 0.01 * world.sent


@pytest.mark.parametrize("limit", LIMITS)
def test_the_first_refusals_are_few(limit: int) -> None:
    """In the first period a handful is refused, however low the limit is: tests go a few at a time."""
    assert len(World(Server(limit)).run(10.0).server.refused) <= 8


@pytest.mark.parametrize("before", [20, 60])
@pytest.mark.parametrize("factor", [0.25, 0.5, 0.75, 2.0, 4.0])
def test_a_change_is_settled_within_a_minute(before: int, factor: float) -> None:
    """Whenever a limit changes, the figure is within a tenth of the new one a minute later."""
    world = World(Server(before)).run(150.0 + random.Random(f"{before}/{factor}").uniform(0, 60))
    world.server.limit = int(before * factor)
    world.run(world.now + 60.0)
    assert world.search.rate.requests == pytest.approx(before * factor, rel=0.1)


def test_it_stays_within_a_measured_limit() -> None:
    """While a limit holds, no request but the probes is refused."""
    world = World(Server(20)).run(100.0)
    world.server.refused.clear()
    world.run(400.0)
    assert 4 <= len(world.server.refused) <= 6
    apart = [late - early for early, late in zip(world.server.refused, world.server.refused[1:], strict=False)]
    assert min(apart) > 50.0


def test_an_idle_window_is_not_climbed() -> None:
    """A client that sends a request every five seconds learns nothing of a limit beyond what it uses."""
    world = World(Server(1000), wants=5.0).run(600.0)
    assert not world.search.found
    assert world.search.held <= 3
    assert world.search.rate.requests == START


def test_what_was_in_flight_at_a_refusal_says_nothing_more() -> None:
    """Requests refused together are one refusal: the limit is not lowered for each of them."""
    search = AdaptiveWindow.holding(20, 0.0)
    tickets = [search.sent(used) for used in range(10)]
    for ticket in tickets:
        search.refused(ticket, 1.0)
    assert search.held == 19


def test_an_answer_that_was_overtaken_by_a_refusal_still_counts() -> None:
    """A request that arrived before the refused one was admitted within the limit, even if its answer is later."""
    search = AdaptiveWindow()
    for used in range(8):
        search.admitted(search.sent(used), 0.1)
    late, refused = search.sent(8), search.sent(9)
    search.refused(refused, 0.2)
    assert search.held == 8
    search.admitted(late, 0.3)
    assert search.held == 9


def test_an_answer_from_before_a_fall_proves_nothing() -> None:
    """A request that was admitted under the old limit does not raise the new one."""
    search = AdaptiveWindow.holding(20, 0.0)
    tickets = [search.sent(used) for used in range(20)]
    search.refused(tickets[0], 1.0)
    for ticket in tickets[1:]:
        search.admitted(ticket, 1.0)
    assert search.held == 19


def test_a_window_that_another_program_has_just_used_is_no_limit() -> None:
    """If the very first request is refused, the search goes on, and finds the limit a period later."""
    server = Server(20)
    server.admitted.extend([-1.0] * 20)
    world = World(server).run(40.0)
    assert world.search.rate.requests == 20


def test_one_refusal_within_the_limit_takes_one_place() -> None:
    """An accident costs one place, and a probe gives it back."""
    search = AdaptiveWindow.holding(20, 0.0)
    for used in range(19):
        search.admitted(search.sent(used), 1.0)
    search.refused(search.sent(19), 1.0)
    assert search.held == 19
    assert World(Server(20), search, now=1.0).run(60.0).search.held == 20


def test_a_probe_that_is_not_answered_is_sent_again_a_period_later() -> None:
    """A timeout says nothing about the limit."""
    search = AdaptiveWindow.holding(5, 0.0)
    assert search.room(5, FIRST_PROBE - 1) <= 0
    assert search.room(5, FIRST_PROBE) == 1
    ticket = search.sent(5)
    assert search.room(6, FIRST_PROBE) <= 0
    search.unanswered(ticket, FIRST_PROBE)
    assert search.room(5, FIRST_PROBE + PERIOD - 1) <= 0
    assert search.room(5, FIRST_PROBE + PERIOD) == 1


def test_a_request_without_an_answer_lets_the_next_test_go() -> None:
    """Tests that end without an answer, or are not sent, do not hold up the climb."""
    search = AdaptiveWindow()
    ticket = search.sent(0)
    assert search.room(0, 0.0) <= 0
    search.unanswered(ticket, 0.0)
    assert search.room(0, 0.0) == 1
    search.unsent(search.sent(0))
    assert search.room(0, 0.0) == 1


def test_a_probe_place_that_is_not_used_is_offered_again() -> None:
    """If nothing is sent with the place of a probe, the next request may use it."""
    search = AdaptiveWindow.holding(5, 0.0)
    search.unsent(search.sent(5))
    assert search.room(5, FIRST_PROBE) == 1


def test_a_limit_that_was_kept_is_used_at_once() -> None:
    """A run that begins with a limit that an earlier one found sends that many, and no more."""
    world = World(Server(60), AdaptiveWindow.holding(60, 0.0)).run(FIRST_PROBE - 1)
    assert world.sent == 120
    assert not world.server.refused


def test_a_probe_waits_for_its_number_of_requests() -> None:
    """Once the wait is the longest, a limit that is hardly used is not probed."""
    world = World(Server(20)).run(200.0)
    world.wants = 10.0
    since = len(world.server.refused)
    world.run(200.0 + 10.0 * PROBE_REQUESTS / 2)
    assert len(world.server.refused) == since


def test_a_refusal_that_was_no_test_puts_one_probe_off() -> None:
    """What a fall or the cap costs is saved at the probes."""
    at_cap, usual = (World(Server(20)).run(200.0) for _ in range(2))
    at_cap.search.refused_by_cap(at_cap.search.sent(0), at_cap.now)
    (late, *others), (early, *as_many) = (
        [at for at in world.run(600.0).server.refused if at > 200.0] for world in (at_cap, usual)
    )
    assert late - early == pytest.approx(PERIOD * PROBE_REQUESTS / 20, rel=0.1)
    assert len(others) == len(as_many) - 1


# The cap on running tasks


@pytest.mark.parametrize("cap", [30, 45, 100])
@pytest.mark.parametrize("limit", [20, 60])
def test_a_cap_is_not_taken_for_the_window(cap: int, limit: int) -> None:
    """If only CreateTask is sent and the cap is met, the window is soon ruled out, and keeps its size."""
    world = World(Server(limit, cap=cap), create=lambda: True)
    assert world.run_until_cap() <= 20
    assert world.at_cap == [cap]
    assert world.search.held >= min(limit, cap)


def test_a_read_that_is_admitted_rules_the_window_out() -> None:
    """If polls go on while CreateTask is refused, it is the cap at once, and the window is not lowered further."""
    rng = random.Random(1)
    world = World(Server(20, cap=15), create=lambda: rng.random() < 0.5, wants=0.6)
    assert world.run_until_cap() <= 5
    assert world.at_cap == [15]
    assert world.search.held >= 15


@pytest.mark.parametrize("limit", [20, 60])
def test_a_fall_of_the_limit_is_not_taken_for_a_cap(limit: int) -> None:
    """If the limit halves while many tasks are running, no cap is reported, as more are accepted later."""
    world = World(Server(limit), create=lambda: True).run(100.0)
    world.server.limit //= 2
    world.run(200.0)
    assert not world.at_cap
    assert world.search.held == limit // 2


def test_refused_reads_rule_the_cap_out() -> None:
    """If polls are refused as well, it is the window, however many tasks are running."""
    rng = random.Random(2)
    world = World(Server(40), create=lambda: rng.random() < 0.5).run(100.0)
    world.server.limit = 10
    world.run(200.0)
    assert not world.at_cap
    assert world.search.held == 10


def test_an_unknown_cap_bounds_nothing() -> None:
    """Before a refusal any number of tasks may run."""
    cap = AdaptiveCap()
    cap.admitted(500, 0.0)
    assert cap.bound(0.0) is None
    assert not cap.explains(500, is_test=False)


def test_a_cap_is_tested_now_and_then() -> None:
    """After some minutes and requests one task more may run; if it is refused, the cap holds."""
    cap = AdaptiveCap()
    cap.reached(30, 0.0)
    assert cap.bound(CAP_PROBE) == 30
    for _ in range(CAP_PROBE_REQUESTS):
        cap.admitted(None, 1.0)
    assert cap.bound(CAP_PROBE - 1) == 30
    assert cap.bound(CAP_PROBE) == 31
    cap.reached(30, CAP_PROBE)
    assert cap.cap == 30
    assert cap.bound(CAP_PROBE + 1) == 30


def test_a_cap_that_has_risen_is_approached_in_steps_that_double() -> None:
    """Each test that is admitted makes the next one twice as big."""
    cap, now, bounds = AdaptiveCap.holding(30, 0.0), CAP_PROBE, list[int | None]()
    for _ in range(CAP_PROBE_REQUESTS):
        cap.admitted(None, 0.0)
    for _ in range(4):
        bound = cap.bound(now)
        bounds.append(bound)
        assert bound is not None
        cap.admitted(bound, now)
        assert cap.bound(now) == bound
        now += CAP_RISE
    assert bounds == [31, 33, 37, 45]


def test_a_step_that_is_taken_only_in_part_is_not_doubled() -> None:
    """As long as fewer tasks run than the step allows, the next one is as big."""
    cap = AdaptiveCap(30, step=4)
    cap.admitted(31, 0.0)
    assert (cap.cap, cap.bound(0.0)) == (31, 35)


def test_a_refusal_below_a_known_cap_lowers_it() -> None:
    """The fewest tasks at which CreateTask was refused are the cap; one too many in flight does not raise it."""
    cap = AdaptiveCap()
    for running, known in ((33, 33), (30, 30), (40, 31), (0, 1)):
        cap.reached(running, 0.0)
        assert cap.cap == known


@pytest.mark.parametrize(
    ("running", "is_test", "explains"),
    [(30, False, True), (24, False, True), (23, False, False), (29, True, False), (30, True, True)],
)
def test_a_known_cap_explains_refusals_near_it(running: int, is_test: bool, explains: bool) -> None:
    """A refused test of the window is the window's, unless the cap was reached."""
    cap = AdaptiveCap()
    cap.reached(30, 0.0)
    assert cap.explains(running, is_test=is_test) is explains


def refused_create(*, running: int, admitted: int) -> AdaptiveWindow:
    """Return a search whose CreateTask was refused within the limit, after so many requests were admitted."""
    search = AdaptiveWindow.holding(20, 0.0)
    for used in range(admitted):
        search.admitted(search.sent(used), 1.0)
    assert search.refused(search.sent(admitted), 1.0, running) is None
    assert search.held == 19
    return search


def test_more_in_the_window_than_at_the_refusal_means_the_cap() -> None:
    """Once one request more is admitted than when CreateTask was refused, the window has its size back."""
    search = refused_create(running=10, admitted=5)
    assert search.admitted(search.sent(6), 2.0) == 10
    assert search.held == 20


def test_more_running_than_at_the_refusal_means_the_window() -> None:
    """Once a task more is running than when CreateTask was refused, it was not the cap."""
    search = refused_create(running=10, admitted=5)
    assert search.admitted(search.sent(6), 2.0, running=11) is None
    assert search.admitted(search.sent(7), 2.0) is None
    assert search.held == 19


def test_as_many_running_as_at_the_refusal_say_nothing() -> None:
    """An accepted CreateTask rules the cap out only if it was not a place that an ended task had left."""
    search = refused_create(running=10, admitted=5)
    assert search.admitted(search.sent(6), 2.0, running=10) == 10


def test_nothing_in_the_window_at_the_refusal_means_the_cap() -> None:
    """A second refusal of CreateTask, with an empty window, is because of the cap."""
    search = refused_create(running=10, admitted=5)
    assert search.refused(search.sent(0), 1.0 + 2 * PERIOD, 10) == 10
    assert search.held == 20


def test_refusals_far_apart_do_not_belong_together() -> None:
    """Each accident of its own takes one place."""
    search = refused_create(running=10, admitted=5)
    assert search.refused(search.sent(0), 1.0 + 4 * PERIOD, 10) is None
    assert search.held == 18


def test_a_refused_poll_means_the_window() -> None:
    """If a read is refused after CreateTask was, an admitted request later does not rule the window out."""
    search = refused_create(running=10, admitted=5)
    search.refused(search.sent(5), 2.0)
    assert search.held == 9
    assert search.admitted(search.sent(6), 2.0) is None


def test_a_count_that_was_one_too_many_is_not_halved() -> None:
    """As long as the server admits as many as are held, each refusal takes one place, however many follow."""
    search = AdaptiveWindow.holding(20, 0.0)
    for used in range(19):
        search.admitted(search.sent(used), 1.0)
    search.refused(search.sent(19), 1.0)
    search.refused(search.sent(18), 1.5)
    assert search.held == 18
