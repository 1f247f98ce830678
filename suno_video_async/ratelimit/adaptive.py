"""PURE: finds the limits of a key from what the server admits and refuses: its rate, and its cap on running tasks.

No clock and no I/O; the caller passes all times, in seconds. The policy and its constants are explained below;
`docs/explanation/pacing.md` explains them to users.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import asdict, define, field, frozen

from suno_video_async.clock import TICK
from suno_video_async.models import RateLimit

# The policy
# ==========
#
# What is searched. The number of requests that the server admits in any `per` seconds. The period itself is an
# assumption (10 s, as for the default rate) and is not searched: what a server with another period admits per 10 s
# is found all the same, only its bursts are not.
#
# What is known. A sliding window that refuses a request has admitted exactly its limit in the period before. So
# one refusal measures the limit: it is the number of requests admitted in the last period. Nothing has to be
# halved and approached again, as in congestion control, where a loss says only "less".
#
#   climbing   The limit is unknown. A request beyond the *proven* number (the most places in use at which one was
#              admitted) is a test. Few tests are in flight at once, so that few are refused when the limit is met;
#              each that is admitted proves one more. So the pace of the climb is that of the round trips, not that
#              of the periods, and an idle window does not climb: it has no requests that test.
#   holding    The limit was measured. Nothing is sent beyond it, until a probe is due: one request more. If it is
#              refused, the limit holds; if it is admitted, the climb goes on from there.
#
# Falling back. A request within the limit is refused as well if the limit has become lower, or if another program
# uses the key. The requests of the last period were then admitted under the old limit, and their number says
# nothing. The first such refusal takes one place away, which is enough for an accident. If another follows, the
# limit is halved, then quartered, and so on; after that the climb measures it within a period.
#
# Windows and caps. A 429 on CreateTask, while tasks are running, may be the cap on running tasks instead. The two
# are told apart by what contradicts one of them:
#
#   - If a request is admitted later while more are in the window than when CreateTask was refused, it was not the
#     window. With one window for all calls, the next poll shows it.
#   - If CreateTask is refused although the window is empty, it was not the window.
#   - Once a cap is known, a refusal near it is the cap's.
#
# The window then gets back what was taken from it. A cap that was found too low costs little: the bound on the
# tasks in flight is tested now and then, too, and rises in steps that double. It counts the tasks that the client
# takes to be running. Those are never fewer than the server counts, as an end is noticed later than it happens.
#
# What it costs. At most 1 % of the requests are refused: while a limit holds, one of `PROBE_REQUESTS`. In return a
# change is noticed within a minute, if that many requests are admitted in it. The climb costs a handful more. For
# each refusal that was no test, as in a fall or at the cap, one later probe comes after twice as many requests.
#
# Where the constants come from. `python -m benchmarks.auto`: 2,000 tracks against a server with a hidden limit,
# beside the same client that knows it.

#: What is assumed before anything is known, and the period.
START, PERIOD = 20, 10.0
#: Tests in flight at once while climbing: one, and one more for each `GAIN` places gained; at most `TESTS`.
GAIN, TESTS = 8, 8
#: Seconds until a measured limit is probed, at first; the wait doubles while the same limit is measured again, up
#: to the longest one. The first measured limit may be too low, if another program has just used the key.
FIRST_PROBE, LAST_PROBE = 20.0, 50.0
#: Requests that must be admitted between two probes, once the wait is the longest one.
PROBE_REQUESTS = 115
#: The same if the limit does not admit as many in a minute: a change is noticed later anyway.
RARE_PROBE_REQUESTS = 150
#: Measured limits that differ by less than this share are the same.
SAME = 0.1
#: Refusals within the limit belong together if they follow each other within this number of periods.
SERIES = 3
#: So many of them can still be because of the cap on running tasks.
UNDECIDED = 4
#: Seconds and requests until a cap is tested again. Less often than the rate: a cap can be exceeded by several
#: tasks for a moment, as ends are noticed later than they happen.
CAP_PROBE, CAP_PROBE_REQUESTS = 300.0, 600
#: Seconds between two tests of a cap of which the last one was admitted.
CAP_RISE = 30.0
#: A refusal of CreateTask with this share of a known cap in flight, or more, is the cap's.
NEAR_CAP = 0.8


@frozen(eq=False)
class Ticket:
    """A request that was sent.

    Attributes:
        number: the number of places in use at that time, its own included.
        decision: how many decisions had been made by then; what was sent before the last one says nothing new.
        beyond: whether it went beyond what was held then: it is a test.

    """

    number: int
    decision: int
    beyond: bool = False


@define
class _Fall:
    """Refusals within the limit that belong together.

    Attributes:
        admitted: how many requests had been admitted in the period before the first one.
        before: the limit before it.
        running: the tasks in flight, if only CreateTask was refused while some were.
        last: when the last one came.
        refusals: how many there were, not counting one beyond the limit that measured it.

    """

    admitted: int
    before: int
    running: int | None
    last: float
    refusals: int = 0


@define(eq=False)
class AdaptiveWindow:
    """The search for the limit of one window.

    Attributes:
        held: the most requests that the server has admitted in a period, or refused to exceed.
        per: the period.
        found: whether it was measured, by a refusal.
        climbing: whether requests beyond what is proven are sent.
        patient: whether refusals that the cap on running tasks may explain take one place in all. Processes that
            share a key meet the cap time and again. If it were the window, polls would soon be refused as well.

    """

    held: int = 0
    per: float = PERIOD
    found: bool = False
    climbing: bool = True
    patient: bool = False
    #: The most places in use at which a request was admitted. They are more than the server counts at that time: a
    #: place is free again one period after the end of its request, and the server counts from its arrival.
    _proven: int = 0
    _base: int = 0
    _admitted: deque[float] = field(factory=deque[float], repr=False)
    _decision: int = 0
    _measured: bool = False
    #: The requests in flight that are beyond what was held when they were sent.
    _tests: set[Ticket] = field(factory=set[Ticket], repr=False)
    _last: int = field(default=0, alias="last")
    _wait: float = FIRST_PROBE
    _probe_at: float = 0.0
    _since: int = 0
    #: Refusals that were no test's, and have not put off a probe so far.
    _owed: int = 0
    _fall: _Fall | None = None
    _rate: RateLimit | None = field(default=None, repr=False)

    @property
    def rate(self) -> RateLimit:
        """The limit, as far as known."""
        requests = self.held if self.found else max(self.held, START)
        if self._rate is None or self._rate.requests != requests:
            self._rate = RateLimit(requests, self.per)
        return self._rate

    @classmethod
    def holding(cls, requests: int, now: float, per: float = PERIOD) -> AdaptiveWindow:
        """Begin with a limit that an earlier run found."""
        window = cls(requests, per, found=True, climbing=False, last=requests)
        window._probe_at = now + FIRST_PROBE
        return window

    def room(self, used: int, now: float) -> int:
        """Return how many requests may be sent now, while `used` places are in use; below 0 if too many are."""
        within = self.held - used
        beyond = self._beyond(used, now)
        return max(within, 0) + beyond if within >= 0 or beyond else within

    def _beyond(self, used: int, now: float) -> int:
        """Return how many tests may be sent now."""
        if self.climbing:
            tests = min(1 + (self._proven - self._base) // GAIN, TESTS)
            return max(0, min(tests - len(self._tests), self._proven + tests - max(used, self.held)))
        return int(not self._tests and used <= self.held and self._is_probe_due(now))

    def sent(self, used: int) -> Ticket:
        """Record that a request is sent while `used` places are in use."""
        ticket = Ticket(used + 1, self._decision, beyond=used >= self.held)
        if ticket.beyond:
            self._tests.add(ticket)
            if not self.climbing and self._wait >= LAST_PROBE:
                self._owed = max(0, self._owed - 1)
        return ticket

    def unsent(self, ticket: Ticket) -> None:
        """Record that a request was not sent after all."""
        self._tests.discard(ticket)

    def unanswered(self, ticket: Ticket, now: float) -> None:
        """Record that a request ended without an answer: it says nothing."""
        if ticket in self._tests and not self.climbing:
            self._probe_at = now + self.per
        self._tests.discard(ticket)

    def refused_by_cap(self, ticket: Ticket, now: float) -> None:
        """Record a 429 that was because of the cap on running tasks: it says nothing of the window."""
        self.unanswered(ticket, now)
        self._owed += 1

    def admitted(self, ticket: Ticket, now: float, running: int | None = None) -> int | None:
        """Record that a request was admitted.

        Args:
            ticket: the request.
            now: the time.
            running: the tasks in flight with it, if it was a CreateTask.

        Returns:
            The number of tasks running at which a CreateTask was refused before, if this shows that it was not
            because of the window; or None.

        """
        self._tests.discard(ticket)
        insort(self._admitted, now)  # processes that share the window report late
        self._since += 1
        admitted = self._count(self._admitted[-1])
        if ticket.decision != self._decision:
            if self._measured and admitted > self.held:  # it arrived before the refused one, and took longer
                self.held = admitted
            return None
        at_cap = self._acquitted(admitted, now, running)
        if self.climbing:
            self._proven, self.held = max(self._proven, ticket.number), max(self.held, admitted)
        elif ticket.beyond:
            self._climb(self.held)
            self._proven = ticket.number
        return at_cap

    def refused(self, ticket: Ticket, now: float, running: int | None = None) -> int | None:
        """Record a 429.

        Args:
            ticket: the request.
            now: the time.
            running: the tasks in flight, if it was a CreateTask.

        Returns:
            The number of tasks running, if this shows that it was because of their cap; or None.

        """
        self._tests.discard(ticket)
        self._owed += not ticket.beyond
        if ticket.decision != self._decision:
            return None
        self._decision += 1
        self._measured = False
        admitted = self._count(now)
        # While climbing, a request at the edge may have been admitted by chance, and one after it refused.
        within = ticket.number <= self.held and not (self.climbing and admitted >= self.held)
        if within or (running and self._may_be_cap(now)):
            return self._fall_back(admitted, now, running or None)
        if admitted:  # else another program has just used the window
            self._measure(admitted, now, running or None)
        return None

    def _measure(self, admitted: int, now: float, running: int | None) -> None:
        same = self.found and abs(admitted - self._last) <= max(1, SAME * self._last)
        self._wait = min(2 * self._wait, LAST_PROBE) if same else FIRST_PROBE
        self._fall = _Fall(admitted, self.held, running, now)
        # One that held until now is not lowered by the inaccuracy of a count.
        self._last = self.held = max(admitted, self.held) if same else admitted
        self.found = self._measured = True
        self._hold(now)

    def _hold(self, now: float) -> None:
        self.climbing, self._probe_at, self._since = False, now + self._wait, 0

    def _climb(self, proven: int) -> None:
        self.climbing = True
        self._base = self._proven = proven

    def _fall_back(self, admitted: int, now: float, running: int | None) -> int | None:
        fall = self._recent(now)
        if running and not admitted and fall is not None and fall.running:
            self._acquit(fall)
            return running
        if fall is None:
            fall = self._fall = _Fall(admitted, self.held, running, now)
        fall.last, fall.refusals = now, fall.refusals + 1
        if not running:
            fall.running = None  # it is the window, whatever else it is
        if self.patient and fall.running is not None and fall.refusals > 1:
            self._hold(now)
        elif fall.refusals == 1 or admitted >= self.held:  # where so many were admitted, the limit is not half
            self.held, self._wait = max(1, self.held - 1), FIRST_PROBE
            self._hold(now)
        else:
            self.held = max(1, self.held // 2 ** (fall.refusals - 1))
            self._climb(self.held)
        return None

    def _recent(self, now: float) -> _Fall | None:
        """Return the refusals so far, if one now belongs to them."""
        return self._fall if self._fall is not None and now - self._fall.last <= SERIES * self.per else None

    def _may_be_cap(self, now: float) -> bool:
        """Whether the window has fallen back because of refusals that the cap on running tasks may explain."""
        fall = self._recent(now)
        return fall is not None and fall.running is not None and 0 < fall.refusals <= UNDECIDED

    def _acquitted(self, admitted: int, now: float, running: int | None) -> int | None:
        """Return the tasks running at a refusal that was not because of the window, as this admission shows."""
        fall = self._recent(now)
        if fall is None or fall.running is None or not fall.refusals:
            return None
        if running and running > fall.running:
            fall.running = None  # more are running by now: it was not the cap
        if fall.running is None or admitted <= fall.admitted:
            return None
        self._acquit(fall)
        return fall.running

    def _acquit(self, fall: _Fall) -> None:
        """Give the window back what was taken from it; the next request that it has no place for is a probe."""
        self._fall, self.held, self.climbing = None, max(self.held, fall.before), False
        self._decision += 1
        self._probe_at, self._wait = 0.0, FIRST_PROBE

    def _is_probe_due(self, now: float) -> bool:
        often = self.held * 60.0 / self.per >= PROBE_REQUESTS
        requests = (PROBE_REQUESTS if often else RARE_PROBE_REQUESTS) * (2 if self._owed else 1)
        return now >= self._probe_at and (self._since >= requests or self._wait < LAST_PROBE)

    def _count(self, now: float) -> int:
        """Return how many requests the server has admitted in the last period.

        Ends are counted, not sends: the answers of two requests are as far apart as their arrivals.
        """
        while self._admitted and self._admitted[0] <= now - self.per + TICK:  # differences of times are rounded
            self._admitted.popleft()
        return bisect_right(self._admitted, now)

    # As JSON, without the requests in the window: those are kept with their places.

    def dump(self) -> dict[str, Any]:
        """Return the state as JSON has it."""
        return asdict(
            self,
            filter=lambda attribute, _: attribute.name not in {"per", "patient", "_admitted", "_tests", "_rate"},
        )

    @classmethod
    def load(
        cls, state: Mapping[str, Any], now: float, *, in_flight: Iterable[Ticket], admitted: Iterable[float]
    ) -> AdaptiveWindow:
        """Return the state that was dumped; nothing in it lasts longer than this program would have it.

        Raises:
            KeyError, OverflowError, TypeError, ValueError: this is none.

        """
        fall = state["_fall"]
        window = cls(max(0, int(state["held"])), found=bool(state["found"]), climbing=bool(state["climbing"]))
        window.held = max(window.held, int(window.found))
        for name in ("_proven", "_base", "_decision", "_last", "_since", "_owed"):
            setattr(window, name, int(state[name]))
        window._measured = bool(state["_measured"])
        window._wait = min(max(float(state["_wait"]), FIRST_PROBE), LAST_PROBE)
        window._probe_at = min(float(state["_probe_at"]), now + LAST_PROBE)
        if fall is not None:
            running = None if fall["running"] is None else int(fall["running"])
            numbers = int(fall["admitted"]), int(fall["before"])
            window._fall = _Fall(*numbers, running, min(float(fall["last"]), now), int(fall["refusals"]))
        window._tests = {ticket for ticket in in_flight if ticket.beyond}
        window._admitted = deque(sorted(admitted))
        return window


@define(eq=False)
class AdaptiveCap:
    """The search for the cap on running tasks.

    Attributes:
        cap: the most tasks in flight, if it is known.

    """

    cap: int | None = None
    _step: int = field(default=1, alias="step")
    _probe_at: float = field(default=0.0, alias="probe_at")
    _since: int = 0
    _least: int = field(default=0, alias="least")
    #: The cap before the last test that was admitted; None if it was refused since.
    _held: int | None = None

    @classmethod
    def holding(cls, cap: int, now: float) -> AdaptiveCap:
        """Begin with a cap that an earlier run found."""
        return cls(cap, probe_at=now + CAP_PROBE, least=CAP_PROBE_REQUESTS)

    def bound(self, now: float) -> int | None:
        """Return how many tasks may be in flight now; None for any number."""
        if self.cap is None:
            return None
        due = now >= self._probe_at and self._since >= self._least
        return self.cap + self._step if due else self.cap

    def explains(self, running: int, *, is_test: bool) -> bool:
        """Whether the cap is known, and the refusal of a CreateTask is because of it.

        Args:
            running: the tasks in flight.
            is_test: whether the request went beyond what the window is known to admit.

        """
        return self.cap is not None and running >= (1.0 if is_test else NEAR_CAP) * self.cap

    def reached(self, running: int, now: float) -> None:
        """Record that a CreateTask was refused because of the cap."""
        if self.cap is not None:
            running = min(running, self.cap + self._step if self._held is None else self._held)
        self.cap, self._held = max(1, running), None
        self._step, self._since = 1, 0
        self._probe_at, self._least = now + CAP_PROBE, CAP_PROBE_REQUESTS

    def admitted(self, running: int | None, now: float) -> None:
        """Record that a request was admitted, and of a CreateTask how many tasks are in flight with it."""
        self._since += 1
        if running is not None and self.cap is not None and running > self.cap:
            if running >= self.cap + self._step:
                self._step, self._held = 2 * self._step, self.cap
                self._probe_at, self._least = now + CAP_RISE, 0
            self.cap = running

    # As JSON

    def dump(self) -> dict[str, Any]:
        """Return the state as JSON has it."""
        return asdict(self)

    @classmethod
    def load(cls, state: Mapping[str, Any], now: float) -> AdaptiveCap:
        """Return the state that was dumped, as `AdaptiveWindow.load` does."""
        if state["cap"] is None:
            return cls()
        cap = cls(max(1, int(state["cap"])), step=max(1, int(state["_step"])), least=int(state["_least"]))
        cap._probe_at = min(float(state["_probe_at"]), now + CAP_PROBE)
        cap._since = int(state["_since"])
        cap._held = None if state["_held"] is None else max(1, int(state["_held"]))
        return cap


def learn(
    search: AdaptiveWindow,
    cap: AdaptiveCap,
    ticket: Ticket,
    now: float,
    *,
    sent: bool,
    answered: bool,
    refused: bool,
    running: int | None,
    exact: bool = True,
) -> None:
    """Take in what the end of an attempt says about the limits.

    Args:
        search: the window that it was sent in.
        cap: the cap on running tasks.
        ticket: the request.
        now: the time of its end.
        sent: whether it may have been sent.
        answered: whether it was answered.
        refused: whether the answer was a 429.
        running: the tasks in flight after it, if it was a CreateTask.
        exact: whether that number is exact. Some of other processes' may have ended since they were counted: that
            more are running than at a refusal is then no evidence.

    """
    at_cap = None
    if not sent:
        search.unsent(ticket)
    elif not answered:
        search.unanswered(ticket, now)
    elif not refused:
        at_cap = search.admitted(ticket, now, running if exact else None)
        cap.admitted(running, now)
    elif running and cap.explains(running, is_test=ticket.beyond):
        search.refused_by_cap(ticket, now)
        at_cap = running
    else:
        at_cap = search.refused(ticket, now, running)
    if at_cap is not None:
        cap.reached(at_cap, now)
