"""`python -m tests.simulation --shared`: workers of several machines on ledgers in PostgreSQL, in virtual time.

Each runs the real `Worker` in an event loop of its own, and the loops take turns in an order that the seed
decides. A session with the database is lost at any step or statement, also where one was committed and not
answered; a process is killed, or stopped for minutes and goes on; a machine is cut off from the database, and that
may start again. Beside the workers, catalogs are loaded, callbacks are received, and a person decides about rows
that are unknown; what they leave is announced, which may be heard late or not at all. Keys may share a budget.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

from aiohttp import ClientSession

from suno_video_async import SunoVideoClient
from suno_video_async.batch import loading, reconcile
from suno_video_async.engines import holder, inbox, receiver, worker
from suno_video_async.engines.keys import KeyEntry
from suno_video_async.errors import BudgetExceeded, LedgerError
from suno_video_async.ledger import group_commit, journal, opened
from suno_video_async.ledger.address import LedgerAddress
from suno_video_async.ledger.aio import AsyncLedger
from suno_video_async.ledger.postgres.ledger import PostgresLedger, SharedBudget
from suno_video_async.ledger.postgres.notes import Bell
from suno_video_async.local.faults import FaultPlan
from tests.simulation.calling import Caller
from tests.simulation.network import Flight, Key, Network
from tests.simulation.postgres import Backend, Database, Machine
from tests.simulation.processes import (
    DATABASE,
    LoadProcess,
    Process,
    ReceiverProcess,
    Thread,
    WorkerProcess,
)
from tests.simulation.run import Report, service_of
from tests.simulation.shared_audit import PREFIX, SharedAudit, WatchedPostgres
from tests.simulation.shared_scenario import Blow, Inserted, Person, SharedScenario
from tests.simulation.world import ClientClock, Violation, World, silence, stream
from tests.support.keys import KEY, OTHER_KEY

#: The keys, by the names of their ledgers.
KEYS = {"one": KEY, "two": OTHER_KEY}
#: Seconds in which something may go wrong, by the longest of the usual runs, and those in which all must end then.
DISTURBED, QUIET = 400.0, 3 * 3600.0
#: Seconds without a change after which nothing is to come, where all rows are in a final state.
STILL = 30.0
#: Seconds without a change after which nothing comes of what is open, unless a callback is waited for.
LEFT_ALONE = 100.0
#: Seconds within which a worker stops: a submission that is unknown may wait for its callback.
STOPPING = 3600.0
#: The most rounds of one loop before it is another one's turn.
ROUNDS = 5
#: Rows that a load commits at a time.
BATCH = 3
_FINAL = {"succeeded", "failed", "refused", "unknown"}


class SharedSimulation:
    """The world of one seed."""

    def __init__(self, scenario: SharedScenario, trace: Callable[[str], None] | None) -> None:
        self.scenario, base = scenario, scenario.base
        self.world = World()
        self.audit = SharedAudit(base, self.world, Path(), trace)
        self.audit.shared = scenario
        schemas = [PREFIX + name for name in scenario.ledgers]
        self.database = self.audit.database = Database(self.world, schemas)
        self.service = self.audit.service = service_of(base, self.world, [KEYS[name] for name in scenario.ledgers])
        self.caller: Caller | None = None
        if base.calling is not None:
            self.caller = Caller(self.world, base.calling, base.seed, self.audit.called_back, self.audit.say)
            self.service._send_callback = self.caller.due
        self.network = Network(
            self.world,
            base,
            self.service,
            on_send=self._sent,
            on_arrival=self._arrived,
            on_end=self.audit.ended,
            api_key=KEY,
        )
        self.workers = [
            WorkerProcess(self, number, hop, order, clock=ClientClock(self.world, wrong_by))
            for number, (hop, order, wrong_by) in enumerate(
                zip(scenario.hops, scenario.orders, scenario.wrong_clocks, strict=True)
            )
        ]
        first = len(self.workers)
        self.loads = [
            LoadProcess(self, number, load.hop, load.order, "load", load=load)
            for number, load in enumerate(scenario.loads, first)
        ]
        self.processes: list[Process] = [*self.workers, *self.loads]
        if self.caller is not None:
            self.processes.append(ReceiverProcess(self, len(self.processes), 0.05, base.seed, "receiver"))
        self.database.lost = self._lost
        self.database.bell = self._ring
        self.audit.on_unknown = self._is_unknown
        self.audit.resumed = self._resumed
        self._rng = stream(base.seed, "turns")
        self._beside = stream(base.seed, "a person")
        self._bell = stream(base.seed, "ringing")
        self._owner = dict[int, WorkerProcess]()
        self.is_quiet = self.is_stopping = self.is_over = False

    # What happens

    def _sent(self, flight: Flight) -> None:
        self.audit.sent(flight)
        self._owner[flight.life].happened("send")

    def _arrived(self, flight: Flight) -> None:
        self.audit.arrived(flight)
        self._owner[flight.life].happened("arrival")

    def _lost(self, session: Backend) -> None:
        for process in self.workers:
            lives = [transport.life for transport in process.transports]
            lives = [life for life in lives if self.audit.ledger_of[life] == session.schema]
            if process.machine is session.machine and lives:
                self.audit.lost.setdefault(lives[-1], self.world.moment)

    def _ring(self) -> float | None:
        """Return after how many seconds a listener hears what is announced; None if it never does."""
        ringing = self.scenario.ringing
        if ringing is None or self._bell.random() < ringing.lost:
            self.audit.met["bells not heard"] += 1
            return None
        self.audit.met["bells heard"] += 1
        return self._bell.uniform(0, ringing.late)

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

    # A person

    def _is_unknown(self, key: Key) -> None:
        person = self.scenario.person
        if person is None or self._beside.random() >= person.decides:
            return
        for _ in range(1 + (self._beside.random() < person.twice)):
            verb = self._beside.choice(["adopt", "resend", "drop"])
            self.world.call_later(self._beside.uniform(0, person.within), partial(self._decide, key, verb))

    def _decide(self, key: Key, verb: str) -> None:
        """Leave a decision about a row for the worker that holds its ledger."""
        fact = self.audit.facts[key]
        if self.is_stopping or fact.state != "unknown":
            return
        task_id = self._chosen(key) if verb == "adopt" else None
        ledger = PostgresLedger(DATABASE.named(fact.schema.removeprefix(PREFIX)), now=self.world.time)
        self.database.machine, self.database.called_at = Machine("a person"), self.world.moment
        self.database.is_called = True
        try:
            reconcile._leave(ledger, verb, [fact.id], task_id)
        except LedgerError:  # the database is out of reach
            self.world.call_later(5.0, partial(self._decide, key, verb))
        else:
            self.audit.decided(key, fact, verb, task_id)
            if self._beside.random() < cast("Person", self.scenario.person).struck:
                self._strike_holder(fact.schema)
        finally:
            self.database.machine, self.database.is_called = None, False

    def _strike_holder(self, schema: str) -> None:
        """Let something happen to the process that holds a ledger, at one of its next commits."""
        what = self._beside.choice(["end", "vanish", "kill", "kill"])
        after = 1 + int(self._beside.random() * 3)
        for worker_process in self.workers:
            machine = worker_process.machine
            if any(session.machine is machine for session in self.database.holders(schema)):
                blow = Blow(process=worker_process.number, what=what, kind="decision", number=after, amount=1.0)
                machine.strikes["after commit", machine.commits + after] = partial(self.strike_session, blow)

    def _chosen(self, key: Key) -> str:
        """Return the task that a person finds in the account for a track; now and then it is another one's."""
        made = [str(one) for one, task in self.service._videos.items() if task.order.track == "/".join(key)]
        others = [str(one) for one in self.service._videos if str(one) not in made]
        return self._beside.choice([*(made[-1:] * 3), *others[-1:], "nobody's"])

    # Life

    def run(self) -> None:
        """Let all happen, then check."""
        base, scenario = self.scenario.base, self.scenario
        with self.database.installed(), self._patched():
            self._begin()
            starts = [*scenario.starts, *(load.at for load in scenario.loads), 0.0]
            for process, at in zip(self.processes, starts, strict=False):
                self.world.call_later(at, process.start)
            for blow in scenario.blows:
                if blow.kind == "time":
                    self.world.call_later(blow.number, partial(self.strike, blow))
            try:
                longest = DISTURBED + base.duration + 2 * self._tracks() * base.rate.per / base.rate.requests
                self._go_on(self.world.moment + longest, self._is_done)
                self.is_quiet = True
                self.service._faults = FaultPlan((), 0)
                self.network.quiet = True
                for process in self.processes:
                    process.start()
                if not self._go_on(self.world.moment + QUIET, self._is_done):
                    self.audit.adopted()
                    raise Violation(f"never done: {self.audit.states}")
                self.is_stopping = True
                self.audit.adopted()
                self.audit.check_budget_used()
                self._stop()
            finally:
                self.is_over = True
                for process in self.processes:
                    process.kill()
            self.world.pass_by(3600.0)
            self.audit.check_window(self.network.flights)
            self.audit.check_rows()

    def _tracks(self) -> int:
        return len(self.scenario.inserted) + sum(len(load.tracks) for load in self.scenario.loads)

    def _begin(self) -> None:
        """Make the ledgers that the team inserts into."""
        self.database.machine = Machine("the team")
        for name in sorted({one.ledger for one in self.scenario.inserted}):
            ledger = PostgresLedger(DATABASE.named(name), now=self.world.time)
            ledger.open_to_load()
            ledger.close()
        self.database.machine = None
        self.database.committed = self.audit.committed
        for one in self.scenario.inserted:
            self.world.call_later(one.at, partial(self._insert, one))

    def _insert(self, one: Inserted) -> None:
        self.database.store.execute(
            f'INSERT INTO "{PREFIX}{one.ledger}".incoming (task_id, suno_id) VALUES (?, ?)',
            (one.track.task_id, one.track.suno_id),
        )
        self.database.announce(PREFIX + one.ledger)

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

    def _resumed(self) -> float:
        """Return since when, or from when on, nothing that was done to a process keeps it from working."""
        resumed = max(max(process.stopped_until, process.machine.cut_off_until) for process in self.processes)
        return max(resumed, self.database.is_down_until)

    def _is_done(self) -> bool:
        """Whether nothing is to come any more."""
        self.audit.check_waiting()
        if self.world.moment - max(self.audit.changed_at, self._resumed()) < STILL or not self._is_calm():
            return False
        if not all(load.is_done for load in self.loads):
            return False
        if any(self.audit.open_ends()):
            since = max(self.audit.changed_at, self._resumed())
            if self.scenario.base.calling is None and self.world.moment - since > LEFT_ALONE:
                self.audit.adopted()
            return False
        given_up = {PREFIX + name for name in self.scenario.ledgers if self._is_given_up(name)}
        if any(schema not in given_up for schema, *_ in self.audit.left_at) or self._has_callbacks(given_up):
            return False
        facts = self.audit.facts
        for fact in facts.values():
            if fact.state not in _FINAL and not (fact.state == "planned" and fact.schema in given_up):
                return False
        return bool(given_up) or facts.keys() >= self._wanted()

    def _wanted(self) -> set[Key]:
        tracks = [one.track for one in self.scenario.inserted]
        tracks += [track for load in self.scenario.loads for track in load.tracks]
        return {(track.task_id, track.suno_id, "", "") for track in tracks}

    def _is_given_up(self, name: str) -> bool:
        has_ended = any(process.has_given_up(name) for process in self.workers)
        return has_ended and not self.database.holders(PREFIX + name)

    def _has_callbacks(self, given_up: set[str]) -> bool:
        schemas = [schema for schema in self.database.ledgers if schema not in given_up]
        return any(
            self.database.has(schema, "notes")
            and self.database.store.execute(f'SELECT 1 FROM "{schema}".notes').fetchone() is not None
            for schema in schemas
        )

    def _is_calm(self) -> bool:
        return all(process.is_calm for process in self.processes) and not any(
            process.is_sending for process in self.workers
        )

    def _stop(self) -> None:
        """Stop the workers, as SIGTERM does, and see that they end, and well."""
        mains = list[asyncio.Task[None]]()
        for process in self.workers:
            assert process.worker is not None
            assert process.loop is not None
            process.loop.call_soon(process.worker.stop)
            mains.append(cast("asyncio.Task[None]", process.main))
        if not self._go_on(self.world.moment + STOPPING, lambda: all(main.done() for main in mains)):
            raise Violation("a worker does not stop")
        for process, main in zip(self.workers, mains, strict=True):
            error = main.exception()
            if error is not None and not (isinstance(error, BudgetExceeded) and self.scenario.budget):
                raise Violation(f"{process.machine.name} has ended with {error!r}")
            assert process.loop is not None
            if process.loop.complaints:
                raise Violation(f"the event loop complained: {process.loop.complaints[0]}")
            if left := asyncio.all_tasks(process.loop):
                raise Violation(f"tasks are left over: {[str(task.get_coro()) for task in left]}")

    # What is real but for this

    def _process(self) -> Process:
        return next(process for process in self.processes if process.machine is self.database.machine)

    def _worker(self) -> WorkerProcess:
        return cast("WorkerProcess", self._process())

    def _client(self, **options: Any) -> SunoVideoClient:
        process, number = self._worker(), len(self._owner)
        self._owner[number] = process
        ledger = cast("AsyncLedger", options["ledger"]).sync
        self.audit.ledger_of[number] = cast("PostgresLedger", ledger)._schema
        transport = self.network.transport(number, options["api_key"])
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
        def thread() -> Thread:
            return Thread(self._process())

        def ledger_at(address: LedgerAddress, shared_budget: SharedBudget | None = None) -> WatchedPostgres:
            return WatchedPostgres(address, self.audit, self._worker().clock.time, shared_budget)

        def refuse(_: object) -> int:
            raise NotImplementedError

        with ExitStack() as stack:
            for module in (holder, inbox, opened, journal, group_commit, receiver):
                stack.enter_context(patch.object(module, "in_one_thread", thread))
            stack.enter_context(patch.object(holder, "SunoVideoClient", self._client))
            stack.enter_context(patch.object(holder, "PostgresLedger", ledger_at))
            if self.scenario.ringing is None:
                stack.enter_context(patch.object(Bell, "open", refuse))
            stack.enter_context(patch.object(worker, "CONTEND", self.scenario.contends_every))
            stack.enter_context(patch.object(loading, "BATCH", BATCH))
            stack.enter_context(patch.object(KeyEntry, "api_key", lambda entry: KEYS[entry.name]))
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
