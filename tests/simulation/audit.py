"""What must hold, checked at every write, send and arrival, and at the end.

The checks read the ledger's file through a connection of their own, so they see what is committed and nothing
else, and they know rows by their four fields rather than by the ledger's own key.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import define, field

from suno_video_async.ledger.model import Claim, LedgerRow, Transition
from suno_video_async.ledger.queries import Connection
from suno_video_async.ledger.sqlite import SqliteLedger
from suno_video_async.ledger.states import Cause
from suno_video_async.local.service import ApiService
from suno_video_async.models import RateLimit, Track
from suno_video_async.protocol.codec import Operation
from tests.simulation.network import Flight, Key
from tests.simulation.scenario import Life, Scenario, Search
from tests.simulation.world import Violation, World
from tests.support.fakes import most_in_any_window

#: The moves that a run may make, written down once more; a row that is new has no state before.
_MOVES = {
    ("planned", "submitting"),
    ("submitting", "submitted"),
    ("submitting", "planned"),
    ("submitting", "refused"),
    ("submitting", "unknown"),
    ("submitted", "succeeded"),
    ("submitted", "failed"),
    ("submitted", "unknown"),
    ("unknown", "submitted"),  # by evidence: an id in the answer, or a callback
    ("refused", "planned"),
    ("failed", "planned"),
    ("refused", "submitting"),  # by way of planned, in one step
    ("failed", "submitting"),
}
#: That which a callback makes that never comes.
_CALLED = {("unknown", "planned")}

#: Purchases of a run whose price is not named yet, by the documentation, and the estimate of the service.
OUTSTANDING, ESTIMATE = 4, 2.0

#: Requests of a life that may be refused while it finds its limits: for the first climbs of both windows, for a
#: change, and for what the life before it has used; a share of all; and for a climb after each refusal by a fault.
#: A burst that is out when the limits fall is refused beyond the new one, in addition.
MOST_REFUSED, MOST_REFUSED_SHARE, REFUSED_WHEN_MISLED = 12, 0.02, 8


class WatchedLedger(SqliteLedger):
    """The real ledger; somebody looks at its file after every commit."""

    def __init__(self, path: Path, audit: Audit, now: Callable[[], float]) -> None:
        super().__init__(path, synchronous="OFF", now=now)
        self._audit = audit
        self._in_one_commit: list[tuple[str, Track]] | None = None
        self._place: float | None = None
        self.run_began: float | None = None
        self.opened = False

    def open(self, *, provider: str, fingerprint: str, must_exist: bool = False, proven: bool = False) -> None:
        super().open(provider=provider, fingerprint=fingerprint, must_exist=must_exist, proven=proven)
        self._audit.opened()
        self.opened = True
        self.run_began = self.last_place()

    @property
    def is_open(self) -> bool:
        """Whether its lock is held."""
        return self._connection is not None

    def note_place(self, at: float) -> None:
        """Keep a note until anything else is written, or the file is copied: in idle hours there are thousands."""
        if not self.is_open:
            super().note_place(at)  # which says so
        self._place = at

    def write_place(self) -> None:
        """Write the note that was kept."""
        if self._place is not None:
            at, self._place = self._place, None
            super().note_place(at)

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        self.write_place()
        with super()._transaction() as db:
            yield db

    def claim(self, track: Track, *, location: str, run: int = 0) -> Claim:
        claim = super().claim(track, location=location, run=run)
        self._written("claim", track)
        return claim

    def begin_attempt(
        self,
        row_id: int,
        *,
        nonce: str,
        at: float,
        reserve: int,
        budget: int | None,
        rebuy_changed: bool = True,
        known: LedgerRow | None = None,
    ) -> int:
        number = super().begin_attempt(
            row_id, nonce=nonce, at=at, reserve=reserve, budget=budget, rebuy_changed=rebuy_changed, known=known
        )
        row = self.row(row_id)
        assert row is not None
        self._written("begin", row.track)
        return number

    def move(
        self, row_id: int, transition: Transition, *, cause: Cause = Cause.RUN, known: LedgerRow | None = None
    ) -> LedgerRow:
        row = super().move(row_id, transition, cause=cause, known=known)
        self._written("move", row.track)
        return row

    @contextmanager
    def one_commit(self) -> Iterator[None]:
        written = self._in_one_commit = list[tuple[str, Track]]()
        try:
            with super().one_commit():
                yield
        finally:
            self._in_one_commit = None
        self._audit.met["commits of several writes"] += len(written) > 1
        for what, track in written:
            self._audit.written(what, track)

    def _written(self, what: str, track: Track) -> None:
        if self._in_one_commit is None:
            self._audit.written(what, track)
        else:
            self._in_one_commit.append((what, track))


def key_of(track: Track) -> Key:
    """Return a track's identity by this harness's own rule."""
    return str(track.task_id), str(track.suno_id), track.author or "", track.brand or ""


@define(eq=False)
class Outage:
    """The rule of the outage brake, once more: what one client may send while the API is out of reach.

    A CreateTask that ends without an answer of the API holds all others until a read has brought one; then one of
    them goes, and the others only once that was answered.

    Attributes:
        slack: seconds after which a submission that had begun before it was held has been sent; None looks at
            nothing.

    """

    slack: float | None
    _held_at: float | None = None
    _closings: int = 0
    _read: bool = False
    _trial: Flight | None = None

    def sent(self, flight: Flight, now: float) -> None:
        """Check a CreateTask."""
        flight.closings = self._closings
        if self._held_at is None or self.slack is None:
            return
        if now <= self._held_at + self.slack:
            flight.closings = -1
            return
        if not self._read:
            raise Violation(f"{flight} is sent while the API is out of reach")
        if self._trial is not None:
            raise Violation(f"{flight} is sent beside {self._trial}, which is to find out whether the API is back")
        self._trial = flight

    def ended(self, flight: Flight, now: float) -> None:
        """Note what a request has shown."""
        if flight.key is None:
            self._read |= flight.from_api
            return
        if flight is self._trial:
            self._trial = None
        begun_since = flight.closings in {self._closings, -1}
        if flight.from_api and begun_since:
            self._held_at = None
        elif flight.seen == "unknown" and begun_since:
            self._read &= flight.closings == -1
            self._closings += 1
            self._held_at = now
        elif flight.seen == "not sent" and begun_since:  # the brake may have closed: older ones say nothing new
            self._closings += 1


@define(eq=False)
class Audit:
    """Follows one seed from its beginning to its end.

    Attributes:
        trace: takes a line for everything that happens, when somebody wants to read it.
        happened: told of each `write` and `arrival`.
        calling: whether the client that lives can be called back.

    """

    scenario: Scenario
    world: World
    path: Path
    trace: Callable[[str], None] | None = None
    happened: Callable[[str], None] = lambda _: None
    calling: bool = False
    met: Counter[str] = field(factory=Counter[str])
    service: ApiService = field(init=False)
    states: dict[Key, str] = field(factory=dict[Key, str])
    excused: set[Key] = field(factory=set[Key])
    latest: dict[Key, Flight] = field(factory=dict[Key, Flight])
    bought: dict[Key, list[Flight]] = field(factory=dict[Key, list[Flight]])
    outage: Outage = field(init=False)
    _called_back: set[str] = field(factory=set[str], init=False)
    _reader: sqlite3.Connection | None = field(default=None, init=False)

    def life_begins(self, life: Life, *, calling: bool) -> None:
        """Forget what a process knew that is gone."""
        self.calling = calling
        self.outage = Outage(slack=None if any(event.what == "freeze" for event in life.events) else 20.0)

    def say(self, line: str) -> None:
        """Write one line of the trace."""
        if self.trace is not None:
            self.trace(f"{self.world.moment:12.3f}  {line}")

    def close(self) -> None:
        """Let go of the file, until it is read again."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    # The ledger

    def read(self, key: Key) -> str | None:
        """Return the committed state of a track's row."""
        found = self._rows("WHERE task_id = ? AND suno_id = ? AND author = ? AND brand = ?", *key)
        if len(found) > 1:
            raise Violation(f"{key} has {len(found)} rows")
        return found[0][4] if found else None

    def all_rows(self) -> dict[Key, tuple[str, str | None]]:
        """Return all committed states, each with the id of its newest attempt's task."""
        rows: dict[Key, tuple[str, str | None]] = {}
        for *key, state, task_id in self._rows(""):
            location = (key[0], key[1], key[2], key[3])
            if location in rows:
                raise Violation(f"{location} has two rows")
            rows[location] = (state, task_id)
        return rows

    def _rows(self, location: str, *values: str) -> list[Any]:
        if not self.path.exists():
            return []
        if self._reader is None:
            self._reader = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        return self._reader.execute(
            "SELECT r.task_id, r.suno_id, r.author, r.brand, r.state, a.video_task_id FROM rows r"
            f" LEFT JOIN attempts a ON a.row_id = r.id AND a.n = r.attempt {location}",
            values,
        ).fetchall()

    def opened(self) -> None:
        """Check what a new run made of what it found: only what was being sent is unknown now."""
        now = {key: state for key, (state, _) in self.all_rows().items()}
        for key, old in self.states.items():
            expected = "unknown" if old == "submitting" else old
            if now.get(key) != expected:
                raise Violation(f"{key} was {old} and is {now.get(key)} after the ledger was opened")
        self.states = now
        self.say("ledger opened")
        self.happened("write")

    def written(self, what: str, track: Track) -> None:
        """Check one write."""
        key = key_of(track)
        old, new = self.states.get(key), self.read(key)
        if new is None:
            raise Violation(f"{key} has no row after {what}")
        self.say(f"ledger {what} {'/'.join(key)}: {old} -> {new}")
        if old is None and new != "planned":
            raise Violation(f"{key} begins as {new}")
        if old is not None and old != new and not self.may_move(old, new):
            raise Violation(f"{key} went from {old} to {new}")
        if old != new:
            self._check_reason(key, old, new)
        self.states[key] = new
        self.world.progress_at = self.world.moment
        self.happened("write")

    def may_move(self, old: str, new: str) -> bool:
        """Whether a run may make a move."""
        return (old, new) in (_MOVES | _CALLED if self.calling else _MOVES)

    def _check_reason(self, key: Key, old: str | None, new: str) -> None:
        """A row leaves `submitting` only for what the client has really seen."""
        if old == "submitted" and new == "unknown":
            self._check_missing(key)
        if old == "unknown":
            self._check_found(key, new)
        if old != "submitting":
            return
        flight = self.latest.get(key)
        seen = flight.seen if flight is not None else "nothing"
        doubtful = self.scenario.strict or self.calling
        unknown = {"unknown"} | ({"failed"} if doubtful else set())
        allowed = {
            "submitted": {"accepted"},
            "planned": {"refused", "not sent"} | (set() if doubtful else {"failed"}),
            "refused": {"refused"},
            "unknown": unknown,
        }[new]
        if seen not in allowed:
            raise Violation(f"{key} became {new}, but its send was seen as: {seen}")

    def _check_missing(self, key: Key) -> None:
        """A task is given up as unknown only where the API itself does not know it."""
        flight = self.latest[key]
        named = self.all_rows()[key][1]
        if named in self.service._videos and not {"code:404", "unknown-end"} & self._kinds():
            raise Violation(f"{key} is given up as unknown, but the server knows its task {named} ({flight})")

    def _check_found(self, key: Key, new: str) -> None:
        """What may be bought is settled by its own task, or by silence after a 500."""
        flight, named = self.latest.get(key), self.all_rows()[key][1]
        task = self.service._videos.get(named or "")
        self.met[f"unknown {new} by {'callback' if new == 'submitted' else 'silence'}"] += 1
        if new == "submitted" and (task is None or (*task.order.track.split("/"),) != key):
            raise Violation(f"{key} adopts {named}, which is not its task")
        if new == "planned" and (self.scenario.strict or flight is None or flight.seen != "failed"):
            raise Violation(f"{key} is planned again by silence, though it was not failed ({flight})")

    def called_back(self, task_id: str) -> None:
        """Note a true callback that was taken while its row was in doubt: it may not be bought again."""
        task = self.service._videos.get(task_id)
        self.met["callbacks taken"] += 1
        if task is None:
            return
        task_of, suno_id, author, brand = task.order.track.split("/")
        key = (task_of, suno_id, author, brand)
        flight = self.latest.get(key)
        if flight is not None and flight.created == task_id and self.read(key) in {"submitting", "unknown"}:
            self._called_back.add(task_id)

    def _kinds(self) -> set[str]:
        return {rule.kind for rule in self.scenario.faults if rule.on == "TaskInfo"}

    def crashed(self) -> None:
        """Note which rows nobody can know about after a crash."""
        self.excused |= {key for key, state in self.states.items() if state == "submitting"}

    # The network

    def sent(self, flight: Flight) -> None:
        """Check, as a request leaves, that what it may cost is written down."""
        self.say(f"life {flight.life} sends {flight}")
        if flight.key is None:
            return
        self.latest[flight.key] = flight
        state = self.read(flight.key)
        if state != "submitting":
            raise Violation(f"{flight} is sent while its row is {state}")
        self.outage.sent(flight, self.world.moment)

    def ended(self, flight: Flight) -> None:
        """Note how a request ended for its sender."""
        self.say(f"life {flight.life} has {flight}: {flight.seen}")
        self.outage.ended(flight, self.world.moment)

    def arrived(self, flight: Flight) -> None:
        """Check what the server did."""
        self.met["requests"] += 1
        if flight.struck is not None:
            self.met[f"{flight.request.operation} {flight.struck}"] += 1
        self.say(f"server handles {flight} {flight.struck or ''} {flight.created or ''}")
        if flight.key is not None and flight.created is not None:
            self._check_charge(flight, flight.key)
        self.world.progress_at = self.world.moment
        self.happened("arrival")

    def _check_charge(self, flight: Flight, key: Key) -> None:
        self.met["charged"] += 1
        earlier = self.bought.setdefault(key, [])
        again = [bought for bought in earlier if not self._may_be_repeated(bought)]
        if again:
            raise Violation(f"{key} is charged twice: by {again[0]}, and by {flight}")
        earlier.append(flight)
        failures = [bought for bought in earlier if self._status(bought) == "failed"]
        if len(failures) > self.scenario.retry_failed:
            raise Violation(f"{key} is bought again after {len(failures)} failures")
        if not self.scenario.rebuy_changed:
            others = [other for other in self.bought if other[:2] == key[:2] and other != key]
            if others:
                raise Violation(f"{key} is bought beside {others[0]}, the same song")
        state = self.read(key)
        if state not in {"submitting", "unknown"}:
            raise Violation(f"{key} is charged while its row is {state}")
        self._check_budget()

    def _check_budget(self) -> None:
        most = self.scenario.max_credits
        if most is None or any(self._is_risk_by_design(item) for items in self.bought.values() for item in items):
            return
        spent = self.scenario.credits - next(iter(self.service._accounts._by_key.values())).balance
        bound = most + self._overshoot()
        if spent > bound + 1e-6:
            raise Violation(f"{spent:g} credits are spent of a budget of {most:g}, the bound is {bound:g}")
        self.met["charged over the budget, within its bound"] += spent > most + 1e-6

    def _overshoot(self) -> float:
        """Return what a budget may be exceeded by: the purchases whose price nobody has named yet cost more.

        Beside the four that a run may have outstanding, these are what is unknown, and what other lives left.
        """
        flights = [flight for items in self.bought.values() for flight in items]
        dearest = max(self.service._videos[flight.created or ""].credits for flight in flights)
        newest = max(flight.life for flight in flights)
        apart = [
            key
            for key, items in self.bought.items()
            if self.read(key) == "unknown" or (self.read(key) == "submitted" and items[-1].life < newest)
        ]
        return (OUTSTANDING + len(apart)) * max(0.0, dearest - ESTIMATE)

    def _status(self, flight: Flight) -> str:
        task = self.service._videos.get(flight.created or "")
        return task.status if task is not None else "gone"

    def _is_risk_by_design(self, flight: Flight) -> bool:
        struck = flight.struck == "commit-then-500" and not self.scenario.strict
        return struck and flight.created not in self._called_back

    def _may_be_repeated(self, flight: Flight) -> bool:
        if self._is_risk_by_design(flight):
            self.met["charged again after a 500, by design"] += 1
            return True
        return self._status(flight) == "failed" and self.scenario.retry_failed > 0

    # The end

    def check_window(self, flights: list[Flight]) -> None:
        """Check the rate over all lives.

        A request whose sender was gone before it arrived counts at the sender's end: how long it still travels
        is known to nobody. How often the server itself then sees more is counted.
        """
        if self.scenario.search is not None:
            self._check_search(flights, self.scenario.search)
        elif not self.scenario.wall_clock_is_true:  # a life then cannot know when the one before it has sent
            for life in range(len(self.scenario.lives)):
                self._check_window([flight for flight in flights if flight.life == life])
        else:
            self._check_window(flights)

    def _check_search(self, flights: list[Flight], search: Search) -> None:
        """Check that a life that finds its limits is refused seldom."""
        burst = max(0.0, 1 - search.factor) * (search.requests + (search.reads if self.scenario.read_rate else 0))
        for life in range(len(self.scenario.lives)):
            sent = [flight for flight in flights if flight.life == life and flight.arrived is not None]
            over = sum(flight.over for flight in sent)
            misled = sum("429" in (flight.struck or "") for flight in sent)
            self.met["limits to be found"] += 1
            self.met["requests refused for the search"] += over
            if over > MOST_REFUSED + burst + MOST_REFUSED_SHARE * len(sent) + misled * REFUSED_WHEN_MISLED:
                raise Violation(f"{over} of {len(sent)} requests are refused to find the limits")

    def _check_window(self, flights: list[Flight]) -> None:
        reads, scenario = list[Flight](), self.scenario
        if scenario.read_rate is not None:
            reads = [flight for flight in flights if flight.request.operation is not Operation.CREATE_TASK]
            self.met["windows of reads"] += bool(reads)
            self._check_one_window(reads, scenario.read_rate)
        apart = set(reads)
        self._check_one_window([flight for flight in flights if flight not in apart], scenario.rate)

    def _check_one_window(self, flights: list[Flight], rate: RateLimit) -> None:
        arrived = [flight for flight in flights if flight.arrived is not None]
        most = most_in_any_window([_counted(flight) for flight in arrived], rate.per)
        if most > rate.requests:
            raise Violation(f"{most} requests in one window of {rate}: {_crowded(arrived, rate.per, most)}")
        if most_in_any_window([flight.arrived or 0.0 for flight in arrived], rate.per) > rate.requests:
            self.met["windows over the limit by requests in the air at a crash"] += 1
            if all((flight.arrived or 0.0) <= _counted(flight) for flight in arrived):
                raise Violation("the window is over the limit without a late request")

    def check_rows(self) -> None:
        """Check that the ledger and the server tell the same story."""
        rows = self.all_rows()
        for key, (state, task_id) in rows.items():
            self.met[f"rows {state}"] += 1
            self._check_row(key, state, task_id)
        for key, flights in self.bought.items():
            state = rows.get(key, ("lost", None))[0]
            last = [flight for flight in flights if not self._is_risk_by_design(flight)]
            live = [flight for flight in last if self._status(flight) != "failed"]
            if state in {"lost", "submitting", "refused"} or (state == "planned" and live):
                raise Violation(f"{key} is {state}, but was charged by {flights[-1]}")

    def _check_row(self, key: Key, state: str, task_id: str | None) -> None:
        task = self.service._videos.get(task_id or "")
        if state in {"submitted", "succeeded", "failed"} and task_id is None:
            raise Violation(f"{key} is {state} without a task")
        if task is not None and (*task.order.track.split("/"),) != key:
            raise Violation(f"{key} has the task of {task.order.track}")
        if state in {"succeeded", "failed"} and (task is None or task.status[:4] != state[:4]):
            raise Violation(f"{key} is {state}, but its task is {task and task.status}")
        if state == "unknown" and key not in self.excused:
            flight = self.latest.get(key)
            seen = flight.seen if flight else "nothing"
            missing = task is None or {"code:404", "unknown-end"} & self._kinds()
            if seen in {"refused", "not sent"} or (seen == "accepted" and not missing):
                raise Violation(f"{key} is unknown, but was seen as {seen}")


def _counted(flight: Flight) -> float:
    """Return when a request counts: at its arrival, or at its sender's end where that came first."""
    return min(flight.arrived or 0.0, float("inf") if flight.ended is None else flight.ended)


def _crowded(flights: list[Flight], per: float, most: int) -> str:
    """Name the first and the last request of the fullest window."""
    ordered = sorted(flights, key=lambda flight: (_counted(flight), flight.number))
    for at in range(len(ordered) - most + 1):
        first, last = ordered[at], ordered[at + most - 1]
        if _counted(last) - _counted(first) < per - 1e-9:
            return ", ".join(
                f"{flight} of life {flight.life} at {_counted(flight):.3f}" for flight in (first, last)
            )
    return "-"
