"""`python -m tests.simulation --shared`: workers of several machines on one ledger in PostgreSQL, in virtual time.

Each runs the real `Worker` in an event loop of its own, and the loops take turns in an order that the seed
decides. A session with the database is lost at any step or statement, also where one was committed and not
answered; a process is killed, or stopped for minutes and goes on; a machine is cut off from the database, and that
may start again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast
from unittest.mock import patch

from aiohttp import ClientSession
from attrs import define, evolve, field, frozen

from suno_video_async import SunoVideoClient, Track
from suno_video_async._util.aio import RunBlocking, run_to_completion
from suno_video_async.engines import holder, inbox, worker
from suno_video_async.engines.keys import KeyEntry
from suno_video_async.engines.worker import Worker
from suno_video_async.errors import LedgerError
from suno_video_async.ledger import group_commit, journal, opened
from suno_video_async.ledger.address import LedgerAddress
from suno_video_async.ledger.postgres.ledger import FRESH, PostgresLedger
from suno_video_async.ledger.postgres.notes import Bell
from suno_video_async.ledger.shared import SharedCommands
from suno_video_async.local.faults import Fault, FaultPlan
from suno_video_async.models import RateLimit, VideoTaskId
from tests.simulation.audit import Audit, Outage
from tests.simulation.network import Flight, Key, LifeTransport, Network
from tests.simulation.postgres import CONNECTING, Backend, Database, Machine
from tests.simulation.run import BASE_URL, Report, service_of
from tests.simulation.scenario import Scenario
from tests.simulation.world import ClientClock, Crash, SimLoop, Violation, World, silence, stream
from tests.support.keys import KEY

T = TypeVar("T")

DATABASE = "postgresql://worker@db.test/teams"
#: Seconds in which something may go wrong, by the longest of the usual runs, and those in which all must end then.
DISTURBED, QUIET = 400.0, 4 * 3600.0
#: Seconds without a change after which nothing is to come, where all rows are in a final state.
STILL = 30.0
#: The most rounds of one loop before it is another one's turn.
ROUNDS = 5
_FINAL = {"succeeded", "failed", "refused", "unknown"}


@frozen(kw_only=True)
class Blow:
    """Something done to a process: `what`, when the `number`-th thing of a `kind` happens to it.

    Attributes:
        what: kill, stop; end, vanish (its session, and whether it hears of that), cut off; restart (the database).
        kind: step, time, send, arrival; before statement, after statement, before commit, after commit.
        amount: for how many seconds it lasts.

    """

    process: int
    what: str
    kind: str
    number: float
    amount: float


@frozen(kw_only=True)
class SharedScenario:
    """Everything a seed decides before it starts."""

    base: Scenario
    tracks: tuple[tuple[float, Track], ...]
    starts: tuple[float, ...]
    hops: tuple[float, ...]
    orders: tuple[int, ...]
    blows: tuple[Blow, ...]
    contends_every: float

    @classmethod
    def of(cls, seed: int) -> SharedScenario:
        """Return the scenario of a seed."""
        rng = stream(seed, "shared")
        rate = RateLimit(rng.choice([1, 2, 5, 10, 20, 20]), rng.choice([1.0, 10.0, 10.0]))
        base = evolve(
            Scenario.of(seed),
            lives=(),
            called=(),
            calling=None,
            search=None,
            rate=rate,
            read_rate=rng.choice([None, None, RateLimit(10, 1.0)]),
            max_in_flight=rng.choice([1, 2, 5, 20]),
            max_connections=rng.choice([1, 2, 5, 20]),
            max_running=100,
            attempts=8,
            retry_failed=0,
            rebuy_changed=False,
            max_credits=None,
            credits=10_000.0,
            task_timeout=6 * 3600.0,
            timeout=rng.choice([60.0, 12.0]),
            duration=rng.choice([0.0, 3.0, 10.0, 25.0]),
            travel=rng.choice([0.0, 0.005, 0.3, 0.3, 2.0]),
            lost=rng.choice([0.0, 0.0, 0.0, 0.02]),
            faults=_faults(rng),
            dateless=False,
        )
        is_busy = rng.random() < 0.3
        if is_busy:  # the window is what matters
            base = evolve(base, rate=RateLimit(rng.choice([5, 10])), read_rate=None, travel=rng.choice([0.0, 0.1]))
            base = evolve(base, max_in_flight=20, max_connections=20, duration=rng.choice([0.0, 3.0]))
        rate, count = base.rate, rng.randint(10, 20) if is_busy else 1 + int(10 * rng.random() ** 2)
        late = rng.random() < 0.3
        tracks = tuple(
            (rng.choice([0.0, rng.uniform(0, 60)]) if late else 0.0, Track(task_id=f"m{n // 2}", suno_id=f"s{n}"))
            for n in range(count)
        )
        processes = rng.choice([2, 2, 3])
        seconds = base.duration + 2 * count * rate.per / rate.requests
        return cls(
            base=base,
            tracks=tracks,
            starts=(0.0, *(rng.choice([0.5, rng.uniform(0, 30)]) for _ in range(1, processes))),
            hops=tuple(rng.choice([0.0, 0.01, 0.05, 0.4]) for _ in range(processes)),
            orders=tuple(rng.randrange(1 << 30) for _ in range(processes)),
            contends_every=rng.choice([1.0, 4.0]),
            blows=(
                *((_blow(rng, processes, count, seconds, what="vanish", kind="send"),) if is_busy else ()),
                *(_blow(rng, processes, count, seconds) for _ in range(rng.choice([1, 1, 2, 3, 4]))),
            ),
        )


def _faults(rng: random.Random) -> tuple[Fault, ...]:
    if rng.random() < 0.6:
        return ()
    kinds = ["code:429", "code:500", "drop-before", "drop-after", "html:502", "slow:5", "slow:30", "bad-json"]
    on_create = Fault(on="CreateTask", kind=rng.choice(kinds), rate=rng.choice([0.03, 0.2]))
    on_info = Fault(on="TaskInfo", kind=rng.choice(["code:429", "code:500", "html:502", "slow:5"]), rate=0.1)
    return (on_create, on_info)


def _blow(
    rng: random.Random, processes: int, rows: int, seconds: float, what: str | None = None, kind: str | None = None
) -> Blow:
    process = rng.choice([0, 0, 0, *range(1, processes)])
    what = what or rng.choice(["end", "end", "vanish", "vanish", "kill", "stop", "stop", "cut off", "restart"])
    at = ["before statement", "after statement", "after commit", "after commit"]
    kind = kind or rng.choice(
        ["step", "time", "send", "arrival", *(at if what in {"end", "vanish", "kill"} else [])]
    )
    most = {
        "step": 200.0 + rows * 150.0,
        "time": 5.0 + seconds,
        "send": rows * 3.0,
        "arrival": rows * 3.0,
        "before statement": 60.0 + rows * 20.0,
        "after statement": 60.0 + rows * 20.0,
        "after commit": 6.0 + rows * 5.0,
    }[kind]
    number = rng.uniform(0, most)
    amount = {
        "stop": [3.0, 6.0, 20.0, 50.0, 120.0, 400.0],
        "cut off": [3.0, 8.0, 20.0, 40.0, 120.0],
        "restart": [0.0, 3.0, 12.0, 60.0],
        "kill": [0.5, 5.0, 60.0],
    }.get(what, [0.0])
    return Blow(
        process=process,
        what=what,
        kind=kind,
        number=number if kind == "time" else 1 + int(number),
        amount=rng.choice(amount),
    )


class SharedAudit(Audit):
    """Follows one seed; it looks at the store after each commit, by whichever session."""

    database: Database
    opening: str | None = None

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.outage = Outage(slack=None)
        self.runs: dict[Key, int] = {}
        self.words: dict[str, Key] = {}
        self.not_left = set[Key]()
        self.changed_at = 0.0
        self.lost: dict[int, float] = {}
        self.killed = set[int]()

    def _rows(self, location: str, *values: str) -> list[Any]:
        if self.database.store.execute("SELECT 1 FROM sqlite_master WHERE name = 'inbox'").fetchone() is None:
            return []
        return self.database.store.execute(
            "SELECT r.task_id, r.suno_id, r.author, r.brand, r.state, a.video_task_id FROM rows r"
            f" LEFT JOIN attempts a ON a.row_id = r.id AND a.n = r.attempt {location}",
            values,
        ).fetchall()

    def committed(self, session: Backend) -> None:
        """Check what a commit has changed."""
        now = {key: state for key, (state, _) in self.all_rows().items()}
        for key, new in now.items():
            old = self.states.get(key)
            if old == new:
                continue
            self.say(f"{self._who()} commits {'/'.join(key)}: {old} -> {new}")
            self.changed_at = self.world.progress_at = self.world.moment
            if session not in self.database.holders():
                raise Violation(f"{key} is written by {session.machine.name}, which does not hold the ledger")
            if self.opening is not None:
                self._check_found_at_opening(key, old, new)
            else:
                self._check_move(key, old, new)
            self.states[key] = new
        if lost := self.states.keys() - now.keys():
            raise Violation(f"{lost} have no rows any more")
        self._check_order()

    def _who(self) -> str:
        return "the network" if self.database.machine is None else self.database.machine.name

    def _check_found_at_opening(self, key: Key, old: str | None, new: str) -> None:
        if (old, new) != ("submitting", "unknown"):
            raise Violation(f"{key} was {old} and is {new} after the ledger was opened")
        self.excused.add(key)

    def _check_move(self, key: Key, old: str | None, new: str) -> None:
        if old is None and new != "planned":
            raise Violation(f"{key} begins as {new}")
        if old is not None and not self.may_move(old, new):
            raise Violation(f"{key} went from {old} to {new}")
        self._check_reason(key, old, new)

    def _check_order(self) -> None:
        """What is in flight is taken up before anything is bought."""
        found = self.database.store.execute("SELECT task_id, suno_id, state, run FROM rows").fetchall()
        newest = max((run for *_, run in found), default=0)
        before = self.runs
        self.runs = {(task, suno, "", ""): run for task, suno, _, run in found}
        taken = {key for key, run in self.runs.items() if run == newest and before.get(key) != newest}
        left = [(t, s) for t, s, state, run in found if state == "submitted" and run < newest]
        bought = [key for key in taken if self.states.get(key) == "planned"]
        if bought and left:
            raise Violation(f"{bought[0]} is taken up by run {newest} before {left[0]}, which is in flight")

    def sent(self, flight: Flight) -> None:
        """Check, as a request leaves, that its sender has had the ledger until just now."""
        self.say(f"client {flight.life} sends {flight}")
        machine = self.database.machine
        assert machine is not None
        lost = self.world.moment - self.held_until(machine)
        if lost >= FRESH:
            raise Violation(f"{flight} is sent by {machine.name}, which has lost the ledger {lost:g} s ago")
        self.met["sent after the loss, within its time"] += lost > 0
        if flight.key is not None:
            self.latest[flight.key] = flight
            state = self.read(flight.key)
            if state != "submitting" and not (state == "unknown" and lost > 0):
                raise Violation(f"{flight} is sent while its row is {state}")

    def ended(self, flight: Flight) -> None:
        """Note how a request ended for its sender."""
        self.say(f"client {flight.life} has {flight}: {flight.seen}")
        self.changed_at = self.world.moment

    def held_until(self, machine: Machine) -> float:
        """Return until when a process has held the ledger: now, or the time of its session's end."""
        if any(session.machine is machine for session in self.database.holders()):
            return self.world.moment
        return self.database.lost_at.get(machine.name, float("-inf"))

    def check_window(self, flights: list[Flight]) -> None:
        """Check the rate over all processes.

        What was on its way when its sender lost the ledger counts at the loss, as at the end of one that is
        killed: how long it still travels cannot be known.
        """
        for flight in flights:
            if (lost := self.lost.get(flight.life)) is not None:
                flight.ended = min(max(flight.sent, lost), flight.ended or float("inf"))
        self._check_window(flights)

    def adopted(self) -> None:
        """Check at the end that what could be known is known."""
        for key, (state, _) in self.all_rows().items():
            flight = self.latest.get(key)
            if state != "unknown" or flight is None or flight.seen != "accepted":
                continue
            if key in self.words.values():
                raise Violation(f"{key} is unknown, though word of its task was left")
            if key in self.not_left:
                self.met["word that could not be left"] += 1
            elif flight.life not in self.killed:
                raise Violation(f"{key} is unknown, though {flight} was accepted: no word was left")


class WatchedPostgres(PostgresLedger):
    """The real ledger; the audit knows when it begins a run."""

    def __init__(self, address: LedgerAddress, audit: SharedAudit, now: Callable[[], float]) -> None:
        super().__init__(address, now=now)
        self._audit = audit

    _stage = SharedCommands._stage  # there is no COPY here
    _insert_many = SharedCommands._insert_many

    def _recall(self) -> None:
        self._audit.opening = "yes"
        try:
            super()._recall()
        finally:
            self._audit.opening = None
        self._audit.met["holders"] += 1
        self._audit.say(f"{self._audit._who()} holds the ledger")

    def leave(self, nonce: str, task_id: VideoTaskId) -> None:
        track = self._audit.service._videos[task_id].order.track
        key = cast("Key", (*track.split("/"),))
        try:
            super().leave(nonce, task_id)
        except LedgerError:
            self._audit.not_left.add(key)
            raise
        self._audit.words[task_id] = key
        self._audit.changed_at = self._audit.world.moment
        self._audit.met["word left"] += 1
        self._audit.say(f"{self._audit._who()} leaves word of {task_id}")


class ProcessLoop(SimLoop):
    """The event loop of one process among several: time passes where all of them wait."""

    steps_a_second = 400

    def _select(self, timeout: float | None = None) -> list[Any]:
        return []

    def is_ready(self, moment: float) -> bool:
        """Whether something is to be done now."""
        return bool(self._ready) or self.next_timer() <= moment

    def next_timer(self) -> float:
        """Return when its next timer is due."""
        scheduled: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        return scheduled[0].when() if scheduled else float("inf")

    def turn(self) -> None:
        """Go on by one round."""
        hooks = sys.get_asyncgen_hooks()
        asyncio._set_running_loop(self)
        sys.set_asyncgen_hooks(self._asyncgen_firstiter_hook, self._asyncgen_finalizer_hook)  # type: ignore[attr-defined]
        try:
            self._run_once()
        finally:
            asyncio._set_running_loop(None)
            sys.set_asyncgen_hooks(*hooks)


@define(eq=False)
class Process:
    """A worker on a machine of its own."""

    simulation: SharedSimulation
    number: int
    hop: float
    order: int
    machine: Machine = field(init=False)
    loop: ProcessLoop | None = field(default=None, init=False)
    worker: Worker | None = field(default=None, init=False)
    main: asyncio.Task[None] | None = field(default=None, init=False)
    stopped_until: float = field(default=0.0, init=False)
    clients: list[SunoVideoClient] = field(factory=list[SunoVideoClient], init=False)
    transports: list[LifeTransport] = field(factory=list[LifeTransport], init=False)
    counts: Counter[str] = field(factory=Counter[str], init=False)
    _rng: random.Random = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.machine = Machine(f"machine {self.number}")
        self._rng = stream(self.simulation.scenario.base.seed, f"process {self.number}")

    def start(self) -> None:
        """Begin, or begin again after it was killed."""
        simulation = self.simulation
        if self.loop is not None or simulation.is_over:
            return
        simulation.audit.say(f"{self.machine.name} starts")
        self.loop = ProcessLoop(simulation.world, self.order + self.counts["starts"])
        self.counts["starts"] += 1
        steps = {int(blow.number): blow for blow in self._blows("step")}
        self.loop.at_steps = {step: partial(simulation.strike, blow) for step, blow in steps.items()}
        for kind in ("before statement", "after statement", "after commit"):
            for blow in self._blows(kind):
                self.machine.strikes[kind, int(blow.number)] = partial(simulation.strike_session, blow)
        self.worker = Worker(
            DATABASE,
            keys=[KeyEntry(name="one", api_key_env="UNUSED", base_url=BASE_URL, **simulation.limits())],
            strict=simulation.scenario.base.strict,
            clock=ClientClock(simulation.world),
            notify=lambda text: simulation.audit.say(f"{self.machine.name}: {text}"),
        )
        self.main = cast("asyncio.Task[None]", self.loop.create_task(self.worker.run()))

    def _blows(self, kind: str) -> list[Blow]:
        if self.counts["starts"] > 1:
            return []
        return [b for b in self.simulation.scenario.blows if b.process == self.number and b.kind == kind]

    def happened(self, kind: str) -> None:
        """Note that a request of its own was sent, or has arrived."""
        self.counts[kind] += 1
        for blow in self.simulation.scenario.blows:
            if (blow.process, blow.kind, blow.number) == (self.number, kind, self.counts[kind]):
                self.simulation.strike(blow)

    @property
    def is_running(self) -> bool:
        """Whether it is alive and not stopped."""
        return self.loop is not None and self.simulation.world.moment >= self.stopped_until

    def is_ready(self) -> bool:
        """Whether it has something to do now, and can."""
        moment = self.simulation.world.moment
        return self.loop is not None and moment >= self.stopped_until and self.loop.is_ready(moment)

    def turn(self) -> None:
        """Go on by one round."""
        assert self.loop is not None
        self.simulation.database.machine = self.machine
        try:
            self.loop.turn()
        except Crash:
            self.kill()
        finally:
            self.simulation.database.machine = None

    def kill(self) -> None:
        """Do what the operating system does at the end of a process: close what it had open."""
        loop, self.loop = self.loop, None
        if loop is None:
            return
        audit = self.simulation.audit
        audit.say(f"{self.machine.name} is killed")
        for session in list(self.machine.sessions):
            session.end(silently=self.simulation.database.is_cut_off(self.machine))
        self.machine.sessions.clear()
        self.machine.waiting.clear()
        for transport in self.transports:
            if not transport.over:
                audit.killed.add(transport.life)
                transport.crash()
        for client in self.clients:
            client._engine = None  # it would warn that it was never closed
        self.clients.clear()
        self.worker = self.main = None
        loop.bury()

    # Its thread for the ledger

    def run_blocking(self, call: Callable[[], T]) -> Awaitable[T]:
        """Run a blocking call beside its loop."""
        return run_to_completion(self._in_thread(call))

    def _in_thread(self, call: Callable[[], T]) -> asyncio.Future[T]:
        """Begin a call, which waits for the network where that is cut, and for an answer that never comes."""
        database, loop = self.simulation.database, cast("ProcessLoop", asyncio.get_running_loop())
        future: asyncio.Future[T] = loop.create_future()
        began = database.world.moment

        def run() -> None:
            if loop.is_closed():
                return
            if database.is_cut_off(self.machine) and not any(s.closed for s in self.machine.sessions):
                if self.machine.sessions and self.machine.sessions[0].is_alive:
                    self.machine.waiting.append(partial(loop.call_soon, run))
                    return
                if database.world.moment < began + CONNECTING:
                    loop.call_later(CONNECTING, run)
                    return
            made: asyncio.Future[T] = loop.create_future()
            database.is_called, database.called_at = True, began
            try:
                made.set_result(call())
            except Exception as error:
                made.set_exception(error)
            finally:
                database.is_called = False
            loop.call_later(self._rng.uniform(0, self.hop), answer, made)

        def answer(made: asyncio.Future[T]) -> None:
            if loop.is_closed() or future.done():
                return
            fails_at = max((session.fails_at for session in self.machine.sessions), default=0.0)
            if fails_at > database.world.moment:
                self.machine.waiting.append(partial(loop.call_soon, answer, made))
                loop.call_at(fails_at, answer, made)
                return
            error = made.exception()
            if error is None:
                future.set_result(made.result())
            else:
                future.set_exception(error)

        loop.call_later(self._rng.uniform(0, self.hop), run)
        return future


class SharedSimulation:
    """The world of one seed."""

    def __init__(self, scenario: SharedScenario, trace: Callable[[str], None] | None) -> None:
        self.scenario = scenario
        self.world = World()
        self.audit = SharedAudit(scenario.base, self.world, Path(), trace)
        self.database = self.audit.database = Database(self.world)
        self.service = self.audit.service = service_of(scenario.base, self.world)
        self.network = Network(
            self.world,
            scenario.base,
            self.service,
            on_send=self._sent,
            on_arrival=self._arrived,
            on_end=self.audit.ended,
            api_key=KEY,
        )
        self.processes = [
            Process(self, number, hop, order)
            for number, (hop, order) in enumerate(zip(scenario.hops, scenario.orders, strict=True))
        ]
        self.database.lost = self._lost
        self._rng = stream(scenario.base.seed, "turns")
        self._clients = 0
        self._owner = dict[int, Process]()
        self.is_quiet = self.is_over = False

    def limits(self) -> dict[str, Any]:
        """Return what the key may do."""
        base = self.scenario.base
        return {"rate": base.rate, "read_rate": base.read_rate, "max_in_flight": base.max_in_flight}

    # What happens

    def _sent(self, flight: Flight) -> None:
        self.audit.sent(flight)
        self._owner[flight.life].happened("send")

    def _arrived(self, flight: Flight) -> None:
        self.audit.arrived(flight)
        self._owner[flight.life].happened("arrival")

    def _lost(self, machine: Machine) -> None:
        for process in self.processes:
            if process.machine is machine and process.transports:
                self.audit.lost.setdefault(process.transports[-1].life, self.world.moment)

    def strike(self, blow: Blow) -> None:
        """Let something happen to a process, now."""
        process = self.processes[blow.process]
        if self.is_quiet or process.loop is None:
            return
        self.audit.say(f"now: {blow}")
        self.audit.met[f"event {blow.what}"] += 1
        match blow.what:
            case "kill":
                self.world.call_later(blow.amount + 0.001, process.start)
                if self.database.machine is process.machine:
                    process.loop.crashing = True
                else:
                    process.kill()
            case "stop":
                process.stopped_until = self.world.moment + blow.amount
            case "end" | "vanish":
                self._end_sessions(process.machine, silently=blow.what == "vanish")
            case "cut off":
                self.database.cut_off(process.machine, blow.amount)
            case "restart":
                self.database.restart(blow.amount)
            case _:
                raise AssertionError(blow.what)

    def strike_session(self, blow: Blow, session: Backend) -> None:
        """Let something happen to the session that is being used."""
        if blow.what == "kill":
            self.strike(blow)
            session.end()
        else:
            self.audit.say(f"now: {blow}")
            self.audit.met[f"event {blow.what} {blow.kind}"] += 1
            session.end(silently=blow.what == "vanish")

    def _end_sessions(self, machine: Machine, *, silently: bool) -> None:
        for session in list(machine.sessions):
            session.end(silently=silently)

    # Life

    def run(self) -> None:
        """Let all happen, then check."""
        base, scenario = self.scenario.base, self.scenario
        with self.database.installed(), self._patched():
            self._load()
            self.database.committed = self.audit.committed
            for process, at in zip(self.processes, scenario.starts, strict=True):
                self.world.call_later(at, process.start)
            for blow in scenario.blows:
                if blow.kind == "time":
                    self.world.call_later(blow.number, partial(self.strike, blow))
            try:
                longest = DISTURBED + base.duration + 2 * len(scenario.tracks) * base.rate.per / base.rate.requests
                self._go_on(self.world.moment + longest, self._is_done)
                self.is_quiet = True
                self.service._faults = FaultPlan((), 0)
                self.network.quiet = True
                for process in self.processes:
                    process.start()
                if not self._go_on(self.world.moment + QUIET, self._is_done):
                    raise Violation(f"never done: {self.audit.states}")
                self.audit.adopted()
                self._stop()
            finally:
                self.is_over = True
                for process in self.processes:
                    process.kill()
            self.world.pass_by(3600.0)
            self.audit.check_window(self.network.flights)
            self.audit.check_rows()

    def _load(self) -> None:
        ledger = PostgresLedger(f"{DATABASE}?ledger=one", now=self.world.time)
        self.database.machine = Machine("the team")
        ledger.open_to_load()
        ledger.close()
        self.database.machine = None
        for at, track in self.scenario.tracks:
            self.world.call_later(at, partial(self._insert, track))

    def _insert(self, track: Track) -> None:
        values = (track.task_id, track.suno_id)
        self.database.store.execute("INSERT INTO incoming (task_id, suno_id) VALUES (?, ?)", values)

    def _go_on(self, until: float, is_done: Callable[[], bool]) -> bool:
        """Let processes take turns until something is so; False if it is not by then."""
        while not Violation.found:
            now = self.world.moment
            ready = [process for process in self.processes if process.is_ready()]
            if ready:
                process = ready[int(self._rng.random() * len(ready))]
                for _ in range(1 + int(self._rng.random() * ROUNDS)):
                    if process.is_ready():
                        process.turn()
                continue
            if is_done():
                return True
            if now >= until:
                return False
            self.world.wait(min([until, now + STILL, *self._next_turns()]))
        raise Violation("found above")

    def _next_turns(self) -> Iterator[float]:
        for process in self.processes:
            if process.loop is not None:
                yield max(process.loop.next_timer(), process.stopped_until)

    def _is_done(self) -> bool:
        """Whether nothing is to come any more."""
        resumed = max(max(process.stopped_until, process.machine.cut_off_until) for process in self.processes)
        resumed = max(resumed, self.database.is_down_until)
        if self.world.moment - max(self.audit.changed_at, resumed) < STILL or not self._is_calm():
            return False
        if self.database.store.execute("SELECT 1 FROM incoming").fetchone() is not None:
            return False
        states = self.audit.states
        return len(states) == len(self.scenario.tracks) and set(states.values()) <= _FINAL

    def _is_calm(self) -> bool:
        return all(
            process.is_running and not self.database.is_cut_off(process.machine) and not self._is_sending(process)
            for process in self.processes
        )

    @staticmethod
    def _is_sending(process: Process) -> bool:
        return any(transport.in_flight for transport in process.transports)

    def _stop(self) -> None:
        """Stop the workers, as SIGTERM does, and see that they end, and well."""
        mains = list[asyncio.Task[None]]()
        for process in self.processes:
            assert process.worker is not None
            assert process.loop is not None
            process.loop.call_soon(process.worker.stop)
            mains.append(cast("asyncio.Task[None]", process.main))
        if not self._go_on(self.world.moment + 600.0, lambda: all(main.done() for main in mains)):
            raise Violation("a worker does not stop")
        for process, main in zip(self.processes, mains, strict=True):
            if (error := main.exception()) is not None:
                raise Violation(f"{process.machine.name} has ended with {error!r}")
            assert process.loop is not None
            if process.loop.complaints:
                raise Violation(f"the event loop complained: {process.loop.complaints[0]}")
            if left := asyncio.all_tasks(process.loop):
                raise Violation(f"tasks are left over: {[str(task.get_coro()) for task in left]}")

    # What is real but for this

    def _process(self) -> Process:
        return next(process for process in self.processes if process.machine is self.database.machine)

    def _client(self, **options: Any) -> SunoVideoClient:
        process, number = self._process(), self._clients
        self._clients += 1
        self._owner[number] = process
        transport = self.network.transport(number)
        process.transports.append(transport)
        client = _SimClient(
            transport=transport,
            session=cast("ClientSession", object()),  # nothing is downloaded
            max_connections=self.scenario.base.max_connections,
            **{**options, "timeout": None},
        )
        client.rng = stream(self.scenario.base.seed, f"client {number}")
        process.clients.append(client)
        return client

    @contextmanager
    def _patched(self) -> Iterator[None]:
        def runner() -> RunBlocking:
            return lambda call: self._process().run_blocking(call)

        def ledger_at(address: LedgerAddress, **_: object) -> WatchedPostgres:
            return WatchedPostgres(address, self.audit, self.world.time)

        def refuse(_: object) -> int:
            raise NotImplementedError

        with ExitStack() as stack:
            for module in (holder, inbox, opened, journal, group_commit):
                stack.enter_context(patch.object(module, "in_one_thread", runner))
            stack.enter_context(patch.object(holder, "SunoVideoClient", self._client))
            stack.enter_context(patch.object(holder, "PostgresLedger", ledger_at))
            stack.enter_context(patch.object(Bell, "open", refuse))
            stack.enter_context(patch.object(worker, "CONTEND", self.scenario.contends_every))
            stack.enter_context(patch.object(KeyEntry, "api_key", lambda _: KEY))
            yield


class _SimClient(SunoVideoClient):
    """The real client, with a generator of the seed's."""

    rng: random.Random

    async def __aenter__(self) -> SunoVideoClient:
        client = await super().__aenter__()
        assert self._engine is not None
        self._engine.calls.rng = self.rng
        return client


def simulate_shared(seed: int, *, trace: bool = False) -> Report:
    """Run a seed and check it."""
    lines: list[str] = []
    started = time.perf_counter()
    simulation = SharedSimulation(SharedScenario.of(seed), lines.append if trace else None)
    Violation.found.clear()
    logging.disable()
    try:
        with contextlib.suppress(Violation):
            simulation.run()
    finally:
        logging.disable(logging.NOTSET)
    with silence():
        met = simulation.audit.met
        del simulation
    violation = Violation.found[0] if Violation.found else None
    return Report(seed, violation, met, lines, time.perf_counter() - started)
