"""The processes that share a database, each in an event loop of its own: workers, and what runs beside them."""

from __future__ import annotations

import asyncio
import random
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define, field

from suno_video_async import SunoVideoClient
from suno_video_async._util.aio import run_to_completion
from suno_video_async.batch.loading import load_into
from suno_video_async.engines.keys import KeyEntry
from suno_video_async.engines.receiver import NotesReceiver
from suno_video_async.engines.worker import Worker
from suno_video_async.errors import BudgetExceeded, LedgerError
from suno_video_async.ledger.address import LedgerAddress
from suno_video_async.ledger.postgres.ledger import PostgresLedger
from tests.simulation.network import LifeTransport
from tests.simulation.postgres import CONNECTING, Backend, Machine
from tests.simulation.run import BASE_URL
from tests.simulation.shared_scenario import Blow, Load
from tests.simulation.world import ClientClock, Crash, SimLoop, stream

if TYPE_CHECKING:
    from tests.simulation.shared import SharedSimulation

T = TypeVar("T")

DATABASE = LedgerAddress.parse("postgresql://worker@db.test/teams")
CALLBACKS = "http://me.test/x"


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
class Thread:
    """Makes the blocking calls of one part of a process, beside its loop."""

    process: Process
    _used: list[Backend] = field(factory=list[Backend], init=False)

    def __call__(self, call: Callable[[], T], /) -> Awaitable[T]:
        """Run a blocking call."""
        return run_to_completion(self._begin(call))

    @property
    def _sessions(self) -> list[Backend]:
        """The sessions that its last call has used, as far as they are still open."""
        return [session for session in self._used if session in self.process.machine.sessions]

    def _begin(self, call: Callable[[], T]) -> asyncio.Future[T]:
        """Begin a call, which waits for the network where that is cut, and for an answer that never comes."""
        process, machine = self.process, self.process.machine
        database, loop = process.simulation.database, cast("ProcessLoop", asyncio.get_running_loop())
        future: asyncio.Future[T] = loop.create_future()
        began = database.world.moment

        def run() -> None:
            if loop.is_closed():
                return
            if database.is_cut_off(machine) and not any(session.closed for session in self._sessions):
                if any(session.is_alive for session in self._sessions):
                    machine.waiting.append(partial(loop.call_soon, run))
                    return
                if database.world.moment < began + CONNECTING:
                    loop.call_later(CONNECTING, run)
                    return
            made: asyncio.Future[T] = loop.create_future()
            database.is_called, database.called_at, database.used = True, began, []
            try:
                made.set_result(call())
            except Exception as error:
                made.set_exception(error)
            finally:
                database.is_called = False
                self._used = database.used or self._used
            loop.call_later(process.pause(), answer, made)

        def answer(made: asyncio.Future[T]) -> None:
            if loop.is_closed() or future.done():
                return
            fails_at = max((session.fails_at for session in self._sessions), default=0.0)
            if fails_at > database.world.moment:
                machine.waiting.append(partial(loop.call_soon, answer, made))
                loop.call_at(fails_at, answer, made)
                return
            error = made.exception()
            if error is None:
                future.set_result(made.result())
            else:
                future.set_exception(error)

        loop.call_later(process.pause(), run)
        return future


@define(eq=False)
class Process:
    """One process, on a machine of its own."""

    simulation: SharedSimulation
    number: int
    hop: float
    order: int
    what: str = "machine"
    machine: Machine = field(init=False)
    loop: ProcessLoop | None = field(default=None, init=False)
    main: asyncio.Task[None] | None = field(default=None, init=False)
    stopped_until: float = field(default=0.0, init=False)
    counts: Counter[str] = field(factory=Counter[str], init=False)
    _readers: dict[int, Callable[[], object]] = field(factory=dict[int, "Callable[[], object]"], init=False)
    _rng: random.Random = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.machine = Machine(f"{self.what} {self.number}", readable=self._read)
        self._rng = stream(self.simulation.scenario.base.seed, f"process {self.number}")

    def start(self) -> None:
        """Begin, or begin again after it was killed."""
        simulation = self.simulation
        if self.loop is not None or simulation.is_over:
            return
        simulation.audit.say(f"{self.machine.name} starts")
        self.loop = ProcessLoop(simulation.world, self.order + self.counts["starts"])
        self.loop.add_reader = self._readers.__setitem__  # type: ignore[method-assign,assignment]
        self.loop.remove_reader = lambda fd: self._readers.pop(fd, None) is not None  # type: ignore[method-assign,arg-type]
        self.counts["starts"] += 1
        steps = {int(blow.number): blow for blow in self._blows("step")}
        self.loop.at_steps = {step: partial(simulation.strike, blow) for step, blow in steps.items()}
        for kind in ("before statement", "after statement", "after commit"):
            for blow in self._blows(kind):
                self.machine.strikes[kind, int(blow.number)] = partial(simulation.strike_session, blow)
        self.begin(self.loop)

    def begin(self, loop: ProcessLoop) -> None:
        """Begin what it is there for."""
        raise NotImplementedError

    def end(self) -> None:
        """Note that all of it is gone."""

    def pause(self) -> float:
        """Return for how many seconds a call to another thread, or back, is under way."""
        return self._rng.uniform(0, self.hop)

    def _blows(self, kind: str) -> list[Blow]:
        if self.counts["starts"] > 1:
            return []
        return [b for b in self.simulation.scenario.blows if b.process == self.number and b.kind == kind]

    def _read(self, descriptor: int) -> None:
        """Have read what one of its sessions has to say."""
        if self.loop is not None and not self.loop.is_closed():
            self.loop.call_soon(self._hear, descriptor)

    def _hear(self, descriptor: int) -> None:
        if (read := self._readers.get(descriptor)) is not None:
            read()

    def happened(self, kind: str) -> None:
        """Note that a request of its own was sent, or has arrived."""
        self.counts[kind] += 1
        for blow in self.simulation.scenario.blows:
            if (blow.process, blow.kind, blow.number) == (self.number, kind, self.counts[kind]):
                self.simulation.strike(blow)

    @property
    def is_calm(self) -> bool:
        """Whether it runs, and nothing keeps it from what it is there for."""
        is_running = self.loop is not None and self.simulation.world.moment >= self.stopped_until
        return is_running and not self.simulation.database.is_cut_off(self.machine)

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
        self.simulation.audit.say(f"{self.machine.name} is killed")
        for session in list(self.machine.sessions):
            session.end(silently=self.simulation.database.is_cut_off(self.machine))
        self.machine.sessions.clear()
        self.machine.waiting.clear()
        self._readers.clear()
        self.end()
        self.main = None
        loop.bury()


@define(eq=False)
class WorkerProcess(Process):
    """A worker."""

    clock: ClientClock = field(kw_only=True)
    worker: Worker | None = field(default=None, init=False)
    clients: list[SunoVideoClient] = field(factory=list[SunoVideoClient], init=False)
    transports: list[LifeTransport] = field(factory=list[LifeTransport], init=False)

    def begin(self, loop: ProcessLoop) -> None:
        scenario, audit = self.simulation.scenario, self.simulation.audit
        budget, base = scenario.budget, scenario.base
        self.worker = Worker(
            DATABASE,
            keys=[
                KeyEntry(
                    name=name,
                    api_key_env="UNUSED",
                    base_url=BASE_URL,
                    rate=base.rate,
                    read_rate=base.read_rate,
                    max_in_flight=base.max_in_flight,
                    max_credits=None if budget is None else budget.own,
                )
                for name in scenario.ledgers
            ],
            most_keys=scenario.most_keys,
            callback_url=None if base.calling is None else CALLBACKS,
            max_credits=None if budget is None else budget.together,
            strict=base.strict,
            clock=self.clock,
            notify=lambda text: audit.notified(self.machine, text),
        )
        self.main = cast("asyncio.Task[None]", loop.create_task(self.worker.run()))

    def end(self) -> None:
        audit = self.simulation.audit
        for transport in self.transports:
            if not transport.over:
                audit.killed.add(transport.life)
                transport.crash()
        for client in self.clients:
            client._engine = None  # it would warn that it was never closed
        self.clients.clear()
        self.worker = None

    @property
    def is_sending(self) -> bool:
        """Whether requests of its are in flight."""
        return any(transport.in_flight for transport in self.transports)

    def has_given_up(self, name: str) -> bool:
        """Whether it has spent what it may on a key."""
        return self.worker is not None and isinstance(self.worker.statistics().stopped.get(name), BudgetExceeded)


@define(eq=False)
class LoadProcess(Process):
    """Loads a catalog; who gave the command gives it again where it fails."""

    load: Load = field(kw_only=True)
    is_done: bool = field(default=False, init=False)

    def begin(self, loop: ProcessLoop) -> None:
        self.main = cast("asyncio.Task[None]", loop.create_task(self._run()))

    async def _run(self) -> None:
        audit = self.simulation.audit
        while not self.is_done:
            try:
                await self._load()
            except LedgerError as error:
                audit.met["loads that were stopped"] += 1
                audit.say(f"{self.machine.name}: {error}")
                await asyncio.sleep(5.0)
            else:
                self.is_done = True
                audit.changed_at = self.simulation.world.moment

    async def _load(self) -> None:
        thread, audit = Thread(self), self.simulation.audit
        ledger = PostgresLedger(DATABASE.named(self.load.ledger), now=self.simulation.world.time)
        await thread(ledger.open_to_load)
        try:
            loaded = await load_into(
                self.load.tracks, lambda rows: thread(partial(ledger.add, rows)), lambda _: None
            )
        finally:
            await thread(ledger.close)
        audit.say(f"{self.machine.name}: {loaded}")
        audit.met["tracks loaded"] += loaded.new
        audit.met["tracks loaded that another ledger has"] += sum(loaded.elsewhere.values())


@define(eq=False)
class ReceiverProcess(Process):
    """Receives callbacks, and leaves them for the workers."""

    def begin(self, loop: ProcessLoop) -> None:
        caller = self.simulation.caller
        assert caller is not None
        self.simulation.database.machine = self.machine
        try:
            caller.listening = (loop, NotesReceiver(DATABASE, public_url=CALLBACKS))
        finally:
            self.simulation.database.machine = None

    def end(self) -> None:
        assert self.simulation.caller is not None
        self.simulation.caller.listening = None
