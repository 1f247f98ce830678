"""PURE: one window, shared by several owners: who may send now, and who has to wait for when.

A place is taken from the moment it is granted until one `per` after its end. The end of one in flight is not
known, so it counts as the end of its lease, which the owner moves on while it lives: what a killed owner leaves
behind becomes free by itself, and not too early.

Places are shared out by start-time fair queueing: each owner that wants places has a ticket with a tag, its n-th
wish is due at tag + n, and every grant moves the tag on by one. A wish is granted when more places are free than
wishes of others are due before it. Those places stay reserved, so that the first in the queue need not be the
quickest to look; a ticket has a lease as well, and a much shorter one.

Reference: Goyal, Vin, Cheng, "Start-time Fair Queueing", IEEE/ACM Transactions on Networking 5(5), 1997.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from attrs import Attribute, asdict, define, field, frozen

from suno_video_async.models import KEPT, LimitsFound, RateLimit
from suno_video_async.ratelimit.adaptive import AdaptiveCap, AdaptiveWindow, Ticket, learn

#: Seconds that a place in flight is kept for an owner that does not report.
PLACE_LEASE = 30.0
#: Seconds that a place in the queue is kept for such an owner.
TICKET_LEASE = 5.0
#: Seconds of the longest pause.
LONGEST_PAUSE = 3600.0
#: Seconds after which a waiting owner looks again if nothing says when, and keeps its ticket alive.
RECHECK = 1.0
#: The same while places are free, but kept for others, who take them any moment; or while another's request tests
#: how many there are.
SOON = 0.1

#: What holds up a lane: the pauses by these names.
LANES: Mapping[str, Sequence[str]] = {"CREATE": ("ALL", "CREATE"), "READ": ("ALL", "READ")}


#: A window's size, or that it has to be found.
Size: TypeAlias = "RateLimit | Literal['auto']"


@frozen
class Released:
    """An attempt has ended: at `ended`, or None if nothing was sent.

    Attributes:
        refused: whether the answer was a 429.
        running: for a CreateTask, the owner's tasks in flight after it.

    """

    place: int
    ended: float | None
    answered: bool
    refused: bool = False
    running: int | None = None


@frozen
class Paused:
    """The server wants less until then; or, `unanswered`, it did not answer a request in time."""

    lane: str
    until: float
    unanswered: bool = False


@frozen
class Filled:
    """Somebody who does not know of this window may have used all of it until now."""

    at: float


@frozen
class Recalled:
    """An earlier run has found these limits."""

    found: LimitsFound


Write = Released | Paused | Filled | Recalled


@frozen(kw_only=True)
class Ask:
    """What one owner reports and asks for at one moment.

    Attributes:
        writes: what happened since the last time, in order.
        in_flight: the places that it holds.
        wants: the lanes of those who wait, in order.
        room: the most places that it can use.
        running: its tasks in flight.

    """

    owner: str
    now: float
    writes: Sequence[Write] = ()
    in_flight: Sequence[int] = ()
    wants: Sequence[str] = ()
    room: int = 0
    running: int = 0


@frozen(kw_only=True)
class Reply:
    """What an owner is granted, and when to ask again.

    Attributes:
        granted: the indices in `wants` of those who may go, with their places.
        wake: when to ask again; infinite if no waiter can be helped by time.
        frees: when the places in use are free again, as far as known.
        read_frees: the same of the window of the reads, where they have one.
        pauses: until when each lane is paused; while a request probes, until the next look.
        rate: the size of the window, as far as it is known.
        read_rate: the same of the window of the reads.
        found: the limits that were found; None if they are given.

    """

    granted: Sequence[tuple[int, int]] = ()
    wake: float = float("inf")
    frees: Sequence[float] = ()
    read_frees: Sequence[float] = ()
    pauses: Mapping[str, float] = field(factory=dict[str, float])
    rate: RateLimit | None = None
    read_rate: RateLimit | None = None
    found: LimitsFound | None = None


@define
class _Use:
    ends: float
    in_flight: bool
    ticket: Ticket | None = None  # while it is in flight, if the size of the window is being found
    admitted: bool = False  # by the server, likewise


@define
class _Ticket:
    tag: int
    until: float
    room: int
    wants: dict[str, int]


@define
class _Pause:
    until: float
    probe: int | None = None


@define
class _Running:
    tasks: int
    until: float


@define
class Window:
    """The state of the window.

    Attributes:
        rate: its size.
        uses: the places in use, by number.
        tickets: who waits, by owner.
        pauses: by lane.
        newest: the highest number of a place so far.
        served: the tag of a ticket that is issued now.
        seen: the newest time of all askers.
        unanswered: requests that were not answered in time, since the last answer: the server may still have them.
        search: the search for its size, if it is not given.
        cap: that for the cap on running tasks: it tells refusals apart.
        running: the tasks in flight of each owner, for the same purpose.

    """

    rate: RateLimit
    uses: dict[int, _Use] = field(factory=dict[int, _Use])
    tickets: dict[str, _Ticket] = field(factory=dict[str, _Ticket])
    pauses: dict[str, _Pause] = field(factory=dict[str, _Pause])
    newest: int = 0
    served: int = 0
    seen: float = 0.0
    unanswered: int = 0
    search: AdaptiveWindow | None = None
    cap: AdaptiveCap = field(factory=AdaptiveCap)
    running: dict[str, _Running] = field(factory=dict[str, _Running])

    @classmethod
    def of(cls, size: Size, *, whole: bool = True) -> Window:
        """Return an empty window; `whole` says whether it is for all calls."""
        if size != "auto":
            return cls(size)
        search = AdaptiveWindow(patient=whole)
        return cls(search.rate, search=search)

    def step(self, ask: Ask) -> Reply:
        """Take in what happened, grant what can be granted now, and say when more can be."""
        for write in ask.writes:
            self._take_in(write, ask)
        for place in ask.in_flight:
            ticket = self.uses[place].ticket if place in self.uses else None
            self.uses[place] = _Use(ask.now + PLACE_LEASE, in_flight=True, ticket=ticket)
        if self.search is not None:
            self.running[ask.owner] = _Running(ask.running, ask.now + PLACE_LEASE)
        self._forget(ask.now)
        granted = self._grant(ask)
        return Reply(
            granted=granted,
            wake=self._wake(ask, {index for index, _ in granted}),
            frees=[use.ends + self.rate.per for use in self.uses.values()],
            pauses={
                lane: ask.now + RECHECK if self._probing(pause, ask.now) else pause.until
                for lane, pause in self.pauses.items()
            },
            rate=self.rate,
        )

    @property
    def found(self) -> RateLimit | None:
        """Its size, if that was found by being refused."""
        return self.rate if self.search is not None and self.search.found else None

    @property
    def climbing(self) -> bool:
        """Whether more than that is being tried."""
        return self.search is not None and self.search.climbing

    def _take_in(self, write: Write, ask: Ask) -> None:
        if isinstance(write, Released):
            use = self.uses.pop(write.place, None)
            ticket = None if use is None else use.ticket
            if ticket is not None:
                self._learn(ticket, write, ask)
            if write.ended is not None:
                admitted = ticket is not None and write.answered and not write.refused
                self.uses[write.place] = _Use(write.ended, in_flight=False, admitted=admitted)
                if write.answered:  # it has taken in the others by now, too
                    self._fill(min(self.unanswered, self.rate.requests), write.ended)
                    self.unanswered = 0
            self._end_probe(write.place, answered=write.answered)
        elif isinstance(write, Paused):
            current = self.pauses.get(write.lane)
            self.unanswered += write.unanswered
            if current is None or not write.unanswered:  # else one probe at a time
                self.pauses[write.lane] = _Pause(max(write.until, current.until) if current else write.until)
        elif isinstance(write, Filled):
            self._fill(self.rate.requests, write.at)
        else:
            self.recall(write.found.rate, write.found.running, ask.now)

    def _learn(self, ticket: Ticket, write: Released, ask: Ask) -> None:
        """Take in what the end of an attempt says about the size; the tasks of all owners are running."""
        if self.search is None:
            return
        others = sum(one.tasks for owner, one in self.running.items() if owner != ask.owner)
        learn(
            *(self.search, self.cap, ticket, ask.now if write.ended is None else write.ended),
            sent=write.ended is not None,
            answered=write.answered,
            refused=write.refused,
            running=None if write.running is None else write.running + others,
            exact=not others,
        )
        self.rate = self.search.rate

    def recall(self, rate: RateLimit | None, running: int | None, now: float) -> None:
        """Begin with limits that an earlier run found, if they are to be found and nothing is known yet."""
        if self.search is None or self.search.held:
            return
        if rate is not None:
            self._use(AdaptiveWindow.holding(rate.requests, now))
        if running is not None:
            self.cap = AdaptiveCap.holding(running, now)

    def _use(self, search: AdaptiveWindow) -> None:
        """Go on with a search from elsewhere."""
        search.patient = self.search is not None and self.search.patient
        self.search, self.rate = search, search.rate

    def _fill(self, places: int, at: float) -> None:
        for _ in range(places):
            self.newest += 1
            self.uses[self.newest] = _Use(at, in_flight=False)

    def _end_probe(self, place: int, *, answered: bool) -> None:
        for lane, pause in list(self.pauses.items()):
            if pause.probe == place:
                pause.probe = None
                if answered:
                    del self.pauses[lane]

    def _forget(self, now: float) -> None:
        self.seen = max(self.seen, now)
        for use in self.uses.values():
            if use.ticket is not None and self.search is not None and use.ends <= now:
                self.search.unanswered(use.ticket, now)  # its owner was killed
                use.ticket = None
        self.running = {owner: one for owner, one in self.running.items() if one.until > now}
        self.uses = {place: use for place, use in self.uses.items() if use.ends + self.rate.per > now}
        self.tickets = {owner: ticket for owner, ticket in self.tickets.items() if ticket.until > now}

    def _grant(self, ask: Ask) -> list[tuple[int, int]]:
        """Grant wishes in their order, and leave a ticket for the others."""
        old = self.tickets.pop(ask.owner, None)
        granted = list[tuple[int, int]]()
        rest = dict[str, int]()
        tag = old.tag if old else self.served
        for index, lane in enumerate(ask.wants):
            if len(granted) < ask.room and not self._is_held(lane, ask.now) and self._missing(ask, tag) <= 0:
                granted.append((index, self._take(lane, ask.now)))
                self.served = max(self.served, tag := tag + 1)
            else:
                rest[lane] = rest.get(lane, 0) + 1
        room = ask.room - len(granted)
        if rest and room:
            self.tickets[ask.owner] = _Ticket(tag, ask.now + TICKET_LEASE, room, rest)
        return granted

    def _take(self, lane: str, now: float) -> int:
        self.newest += 1
        ticket = None if self.search is None else self.search.sent(len(self.uses))
        self.uses[self.newest] = _Use(now + PLACE_LEASE, in_flight=True, ticket=ticket)
        for name in LANES[lane]:
            if name in self.pauses:
                self.pauses[name].probe = self.newest
        return self.newest

    def _missing(self, ask: Ask, tag: int) -> int:
        """Return how many places more must be free before a wish that is due at `tag` is granted."""
        before = 0
        for owner, other in self.tickets.items():
            if owner != ask.owner:
                open_to = sum(number for lane, number in other.wants.items() if not self._is_held(lane, ask.now))
                due = tag - other.tag + (owner < ask.owner)
                before += max(0, min(due, open_to, other.room))
        return before + 1 - self._room(ask.now)

    def _room(self, now: float) -> int:
        """Return how many places are free."""
        used = len(self.uses)
        return self.rate.requests - used if self.search is None else self.search.room(used, now)

    def _is_held(self, lane: str, now: float) -> bool:
        pauses = [self.pauses[name] for name in LANES[lane] if name in self.pauses]
        return any(pause.until > now or self._probing(pause, now) for pause in pauses)

    def _probing(self, pause: _Pause, now: float) -> bool:
        probe = None if pause.probe is None else self.uses.get(pause.probe)
        return probe is not None and probe.in_flight and probe.ends > now

    def _wake(self, ask: Ask, granted: set[int]) -> float:
        lanes = {lane for index, lane in enumerate(ask.wants) if index not in granted}
        if not lanes or len(granted) == ask.room:
            return float("inf")
        return min(self._wake_of(lane, ask) for lane in lanes)

    def _wake_of(self, lane: str, ask: Ask) -> float:
        if self._is_held(lane, ask.now):
            pauses = [self.pauses[name] for name in LANES[lane] if name in self.pauses]
            probing = any(self._probing(pause, ask.now) for pause in pauses)
            return ask.now + RECHECK if probing else max(pause.until for pause in pauses)
        missing = self._missing(ask, self.tickets[ask.owner].tag)
        known = sorted(use.ends + self.rate.per for use in self.uses.values() if not use.in_flight)
        again = SOON if self._room(ask.now) > 0 or self.climbing else RECHECK
        return min([*known[missing - 1 : missing], ask.now + again])

    # As JSON

    def dump(self) -> dict[str, Any]:
        """Return the state as JSON has it; the rate is kept elsewhere."""
        state = asdict(self, filter=_is_kept)
        if self.search is None:
            return state
        running = {owner: asdict(one) for owner, one in self.running.items()}
        return state | {"search": self.search.dump(), "cap": self.cap.dump(), "running": running}

    @classmethod
    def load(cls, size: Size, state: dict[str, Any], now: float, *, whole: bool = True) -> Window:
        """Return the state that was dumped; nothing in it lasts longer than this program would have it.

        The file can be changed by anything on the machine. Such a state must neither stop all requests for ever,
        nor let the numbers of new places meet those of others.

        Raises:
            AttributeError, KeyError, TypeError, ValueError: this is none.

        """
        uses = {
            int(place): _Use(
                float(use["ends"]), bool(use["in_flight"]), _ticket(use.get("ticket")), bool(use.get("admitted"))
            )
            for place, use in state["uses"].items()
        }
        for use in uses.values():
            use.ends = _at_most(now + PLACE_LEASE, use.ends)
        tickets = {
            owner: _Ticket(
                tag=int(one["tag"]),
                until=_at_most(now + TICKET_LEASE, float(one["until"])),
                room=int(one["room"]),
                wants={lane: int(one["wants"][lane]) for lane in LANES if lane in one["wants"]},
            )
            for owner, one in state["tickets"].items()
        }
        pauses = {
            lane: _Pause(_at_most(now + LONGEST_PAUSE, float(one["until"])), _number(one["probe"]))
            for lane, one in state["pauses"].items()
        }
        window = cls.of(size, whole=whole)
        window.uses, window.tickets, window.pauses = uses, tickets, pauses
        window.newest = max([int(state["newest"]), *uses])
        window.served, window.seen = int(state["served"]), float(state["seen"])
        window.unanswered = int(state["unanswered"])
        if window.search is not None and now - window.seen <= KEPT:
            window._load_search(state, now)
        return window

    def _load_search(self, state: dict[str, Any], now: float) -> None:
        in_flight = [use.ticket for use in self.uses.values() if use.ticket is not None]
        admitted = [use.ends for use in self.uses.values() if use.admitted]
        self._use(AdaptiveWindow.load(state["search"], now, in_flight=in_flight, admitted=admitted))
        self.cap = AdaptiveCap.load(state["cap"], now)
        self.running = {
            owner: _Running(int(one["tasks"]), _at_most(now + PLACE_LEASE, float(one["until"])))
            for owner, one in state["running"].items()
        }

    def settled(self) -> dict[int, float]:
        """Return the places whose attempts have ended: nobody takes them out before one `per` after that."""
        return {place: use.ends for place, use in self.uses.items() if not use.in_flight}


def _at_most(limit: float, value: float) -> float:
    """Return a value, or the limit if it is beyond or not a number."""
    return limit if math.isnan(value) else min(value, limit)


def _is_kept(attribute: Attribute[Any], value: object) -> bool:
    """Whether an attribute is written; the rate and the search are written apart."""
    if attribute.name in {"ticket", "admitted"}:
        return bool(value)
    return attribute.name not in {"rate", "search", "cap", "running"}


def _ticket(state: dict[str, Any] | None) -> Ticket | None:
    if state is None:
        return None
    return Ticket(int(state["number"]), int(state["decision"]), bool(state["beyond"]))


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None
