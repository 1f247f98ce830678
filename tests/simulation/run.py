"""One seed, from a new ledger to the last check."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import math
import os
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from aiohttp import ClientSession
from attrs import define, field, frozen

from suno_video_async import (
    CallbackReceiver,
    Conversion,
    Outcome,
    RetryPolicy,
    SunoVideoClient,
    SunoVideoError,
    Timeout,
    Track,
)
from suno_video_async._util.aio import RunBlocking, in_place, inline
from suno_video_async.batch.options import Options
from suno_video_async.errors import LedgerError
from suno_video_async.ledger.aio import AsyncLedger
from suno_video_async.ledger.decision import Buying
from suno_video_async.ledger.group_commit import GroupCommit
from suno_video_async.local.faults import FaultPlan
from suno_video_async.local.media import MediaFile
from suno_video_async.local.producers import SimulatedProducer
from suno_video_async.local.service import ApiService
from tests.simulation.audit import Audit, WatchedLedger, key_of
from tests.simulation.calling import Caller
from tests.simulation.network import LifeTransport, Network
from tests.simulation.scenario import Event, Life, Scenario
from tests.simulation.world import ClientClock, Crash, SimLoop, Violation, World, silence, stream
from tests.support.keys import KEY
from tests.support.ledger_files import Image, changed, image_of, lost, opened, put

T = TypeVar("T")

BASE_URL = "http://127.0.0.1:1"
#: A RAM disk where there is one: a run writes thousands of times.
_FOLDER = "/dev/shm" if Path("/dev/shm").is_dir() and os.access("/dev/shm", os.W_OK) else None
#: Seconds beyond the network's timeout that closing may take: the ledger is written last.
_CLOSING = 5.0


class _NoSongs:
    """A library without songs: simulated videos are made of any track."""

    def tracks(self) -> list[Any]:
        return []

    def find(self, task_id: str, suno_id: str) -> None:
        return None

    def problem(self, task_id: str, suno_id: str) -> None:
        return None

    def audio(self, track: Any, folder: Path) -> Path:
        raise FileNotFoundError

    cover = audio


@frozen
class Report:
    """What came of a seed."""

    seed: int
    violation: str | None
    met: Counter[str]
    trace: list[str]
    seconds: float


def simulate(seed: int, *, trace: bool = False) -> Report:
    """Run a seed and check it."""
    lines: list[str] = []
    started = time.perf_counter()
    scenario = Scenario.of(seed)
    with tempfile.TemporaryDirectory(prefix="simulation-", dir=_FOLDER) as folder:
        simulation = Simulation(scenario, Path(folder) / "catalog.db", lines.append if trace else None)
        Violation.found.clear()
        logging.disable()  # records keep what they are about alive
        try:
            with contextlib.suppress(Violation):
                simulation.run()
        finally:
            logging.disable(logging.NOTSET)
            simulation.audit.close()
    with silence():
        met = simulation.audit.met
        del simulation
    violation = Violation.found[0] if Violation.found else None
    return Report(seed, violation, met, lines, time.perf_counter() - started)


def service_of(scenario: Scenario, world: World, keys: Sequence[str] = (KEY,)) -> ApiService:
    """Return the service that a seed's clients use."""
    ids = stream(scenario.seed, "ids")
    producer = SimulatedProducer(
        world,
        MediaFile.of_bytes(b"video", "video/mp4", 0.0),
        scenario.duration,
        sigma=scenario.sigma,
        seed=scenario.seed,
    )
    return ApiService(
        clock=world,
        producer=producer,
        library=_NoSongs(),
        keys=keys,
        credits=scenario.credits,
        cost=2.0,
        rate=scenario.rate,
        read_rate=scenario.read_rate,
        max_running=scenario.max_running,
        faults=scenario.faults,
        seed=scenario.seed,
        make_id=lambda: f"v{ids.getrandbits(64):016x}",
    )


@contextmanager
def cheap_garbage() -> Iterator[None]:
    """Keep what is loaded already out of the garbage collector's rounds, which each seed then can afford."""
    gc.collect()
    gc.freeze()
    gc.disable()  # each life's end collects what is left of it
    try:
        yield
    finally:
        gc.unfreeze()
        with silence():  # what was frozen while it was still in use, too
            gc.enable()


class Simulation:
    """The world of one seed."""

    def __init__(self, scenario: Scenario, path: Path, trace: Callable[[str], None] | None) -> None:
        self.scenario = scenario
        self.world = World()
        self.audit = Audit(scenario, self.world, path, trace)
        self.service = self.audit.service = service_of(scenario, self.world)
        self.copies: list[Image] = []
        self.caller = None
        if scenario.calling is not None:
            self.caller = Caller(
                *(self.world, scenario.calling, scenario.seed, self.audit.called_back, self.audit.say)
            )
            self.service._send_callback = self.caller.due
        self.network = Network(
            self.world,
            scenario,
            self.service,
            on_send=self.audit.sent,
            on_arrival=self.audit.arrived,
            on_end=self.audit.ended,
            api_key=KEY,
        )

    def run(self) -> None:
        """Live all lives, then check."""
        if (search := self.scenario.search) is not None and search.changes_at < math.inf:
            self.world.call_later(search.changes_at, self._change_limits)
        for number, life in enumerate(self.scenario.lives):
            if life.meddling is not None:
                self._meddle(life.meddling)
            last = number == len(self.scenario.lives) - 1
            if last and self.scenario.quiet_end:
                # Nothing goes wrong any more: now every row must come to its end.
                self.service._faults = FaultPlan((), 0)
                self.network.quiet = True
            life_run = _Run(self, life, number, last=last)
            try:
                life_run.live()
            finally:
                with silence():
                    life_run.error = None
                    self.audit.happened = lambda _: None
                    del life_run
            self.world.pass_by(life.rest)
        self.world.pass_by(3600.0)  # what is still in the air arrives
        self.audit.check_window(self.network.flights)
        self.audit.check_rows()

    def _change_limits(self) -> None:
        """Let the server admit half as much as before, or twice as much."""
        search = self.scenario.search
        assert search is not None
        for account in self.service._accounts.opened:
            for window in (account.window, account.reads):
                if window is not None and window.limit is not None:
                    window.limit = int(window.limit * search.factor)
        self.audit.say(f"the limits are {search.factor:g} times as high")
        self.audit.met["limits changed"] += 1

    def _meddle(self, how: str) -> None:
        """Change the ledger's files, see that a run does not take them for whole if they are not, and undo it."""
        path, audit = self.audit.path, self.audit
        now = image_of(path)
        files = changed(how, now, self.copies[-1] if self.copies else None)
        if files is None:
            return
        audit.close()
        put(path, files)
        rows = opened(path, KEY, BASE_URL)
        audit.met[f"ledger {how}: {'refused' if rows is None else 'taken'}"] += 1
        if rows is not None and (key := lost(audit.states, {key_of(row): rows[row] for row in rows})):
            raise Violation(f"a ledger that has lost {key} is taken for whole ({how})")
        put(path, now)


@define(eq=False)
class _Run:
    """One life of the client."""

    simulation: Simulation
    life: Life
    number: int
    last: bool
    loop: SimLoop = field(init=False)
    transport: LifeTransport = field(init=False)
    ledger: WatchedLedger = field(init=False)
    clock: ClientClock = field(init=False)
    frozen: float = 0.0
    counts: Counter[str] = field(factory=Counter[str])
    done: set[str] = field(factory=set[str])
    main: asyncio.Task[Any] | None = None
    client: SunoVideoClient | None = None
    conversion: Conversion | None = None
    closer: asyncio.Task[None] | None = None
    pulled: int = 0
    outcomes: list[Outcome] = field(factory=list[Outcome])
    error: BaseException | None = None
    entered: bool = False

    @property
    def audit(self) -> Audit:
        return self.simulation.audit

    def live(self) -> None:
        """Run, to the end or to a crash, and check what must hold after either."""
        world, audit = self.simulation.world, self.audit
        self.loop = SimLoop(world, self.life.order)
        steps = [int(event.number) for event in self.life.events if event.kind == "step"]
        self.loop.at_steps = {step: partial(self._on_step, step) for step in steps}
        self.transport = self.simulation.network.transport(self.number)
        audit.life_begins(self.life, calling=self.simulation.scenario.called[self.number])
        audit.met["lives with a wrong clock"] += self.life.wrong_by != 0
        self.clock = ClientClock(world, self.life.wrong_by)
        self.ledger = WatchedLedger(audit.path, audit, self.clock.time)
        audit.happened = self._happened
        audit.say(f"life {self.number} begins: {', '.join(map(str, self.life.events)) or 'undisturbed'}")
        world.progress_at = world.moment
        for event in self.life.events:
            if event.kind == "time":
                world.call_later(event.number, lambda event=event: self._do(event))  # type: ignore[misc]
        crashed = False
        try:
            self.loop.run(self._main())
        except Crash:
            crashed = True
        finally:
            audit.happened = lambda _: None
            if crashed or not self.loop.is_closed():
                self._end_process()
        audit.met["lives"] += 1
        if crashed:
            audit.met["crashes"] += 1
            audit.crashed()
            audit.say(f"life {self.number} crashed after {self.loop.steps} steps")
        else:
            audit.say(f"life {self.number} ended: {self.error!r}")
            self._check_end()

    def _end_process(self) -> None:
        """Do what the operating system does at the end of a process: close what it had open."""
        if self.client is not None:
            self.client._engine = None  # it would warn that it was never closed
        self._hang_up()
        self.ledger.write_place()
        left = image_of(self.audit.path)
        self.audit.close()
        self.ledger.close()
        if left[""] is not None:
            put(self.audit.path, left)  # no process that is killed closes its ledger
        self.transport.crash()
        self.client = self.conversion = self.main = self.closer = None
        self.loop.bury()

    # What happens to it

    def _on_step(self, step: int) -> None:
        for event in self.life.events:
            if event.kind == "step" and event.number == step:
                self._do(event)

    def _happened(self, kind: str) -> None:
        self.counts[kind] += 1
        for event in self.life.events:
            if event.kind == kind and event.number == self.counts[kind]:
                self._do(event)
        if kind == "arrival":
            self._check_bounds()

    def _do(self, event: Event) -> None:
        if self.loop.is_closed():
            return
        self.audit.say(f"now: {event.what}")
        self.audit.met[f"event {event.what}"] += 1
        self.done.add(event.what)
        if event.what == "crash":
            self.loop.crashing = True
            return
        if event.what == "jump":
            self.clock.wrong_by += event.amount
            return
        if event.what == "copy":
            self.ledger.write_place()
            self.simulation.copies.append(image_of(self.audit.path))
            return
        if event.what == "freeze":
            self.loop.call_soon(self._freeze, event.amount)
            return
        act = {"cancel": self._cancel, "stop": self._stop, "close": self._close, "leave": lambda: None}
        self.loop.call_soon(act[event.what])

    def _freeze(self, seconds: float) -> None:
        """Block the event loop, as other code of the process or a SIGSTOP does, while the world goes on."""
        self.frozen += seconds
        self.simulation.world.pass_by(seconds)

    def _cancel(self) -> None:
        if self.main is not None:
            self.main.cancel()

    def _stop(self) -> None:
        if self.conversion is not None and self.entered:
            self.conversion.stop()

    def _close(self) -> None:
        if self.client is not None and self.closer is None and self.main is not None and not self.main.done():
            self.closer = self.loop.create_task(self._timed_close(self.client))

    async def _timed_close(self, client: SunoVideoClient) -> None:
        started, frozen = self.simulation.world.moment, self.frozen
        await client.aclose()
        took = self.simulation.world.moment - started - (self.frozen - frozen)
        if took > self.simulation.scenario.timeout + _CLOSING:
            raise Violation(
                f"closing the client took {took:g} s, its timeout is {self.simulation.scenario.timeout}"
            )

    # The user's program

    async def _main(self) -> None:
        self.main = asyncio.get_running_loop().create_task(self._convert())
        await asyncio.wait([self.main])
        if self.closer is not None:
            await asyncio.wait([self.closer])
            self.error = self.closer.exception()
        if self.error is None:
            self.error = asyncio.CancelledError() if self.main.cancelled() else self.main.exception()
        self.transport.over = True
        self._hang_up()
        await asyncio.sleep(1.0)  # for what a thread has begun
        if self.ledger.opened and self.ledger.is_open and not isinstance(self.error, Violation):
            self.error = Violation("the ledger is left open")
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if left and not isinstance(self.error, Violation):
            self.error = Violation(f"tasks are left over: {[str(task.get_coro()) for task in left]}")

    async def _convert(self) -> None:
        scenario = self.simulation.scenario
        search = scenario.search
        client = SunoVideoClient(
            api_key=KEY,
            base_url=BASE_URL,
            transport=self.transport,
            session=cast("ClientSession", object()),  # nothing is downloaded
            clock=self.clock,
            rate="auto" if search is not None else scenario.rate,
            read_rate="auto" if search is not None and scenario.read_rate is not None else scenario.read_rate,
            max_connections=scenario.max_connections,
            max_in_flight="auto" if search is not None and search.cap else scenario.max_in_flight,
            retry=RetryPolicy(strict=scenario.strict, attempts=scenario.attempts),
            timeout=Timeout(connect=10.0, total=scenario.timeout),
        )
        async with client:
            assert client._engine is not None
            calls = client._engine.calls
            calls.rng = stream(scenario.seed, f"client {self.number}")
            self.client = client
            await self._consume(client)

    async def _consume(self, client: SunoVideoClient) -> None:
        scenario = self.simulation.scenario
        options = Options(
            task_timeout=scenario.task_timeout,
            buying=Buying(
                retry_failed=scenario.retry_failed,
                rebuy_changed=scenario.rebuy_changed,
                max_credits=scenario.max_credits,
            ),
        )
        source = cast("AsyncIterator[Track]", self._rows())
        ledger = AsyncLedger(self.ledger, self._run_blocking())
        self.conversion = Conversion(client._open(), source, ledger, options, self._receiver(client))
        async with self.conversion as outcomes:
            self.entered = True
            async for outcome in outcomes:
                self._take(outcome)
                if "leave" in self.done:
                    return
                if self.life.consumer_delay:
                    await asyncio.sleep(self.life.consumer_delay)

    def _run_blocking(self) -> RunBlocking:
        return _run_blocking(self.ledger, self.life.hop_delay, self.simulation, self.number)

    def _receiver(self, client: SunoVideoClient) -> CallbackReceiver | None:
        """Let the service reach this life, where it can."""
        caller, calling = self.simulation.caller, self.simulation.scenario.calling
        if caller is None or calling is None or not self.audit.calling:
            return None
        receiver = CallbackReceiver(client, public_url="http://me.test/x", trust_callbacks=calling.trusting)
        caller.listening = (self.loop, receiver)
        return receiver

    def _hang_up(self) -> None:
        if self.simulation.caller is not None:
            self.simulation.caller.listening = None

    async def _rows(self) -> AsyncIterator[object]:
        for row in self.life.catalog:
            self.pulled += 1
            yield row

    def _take(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        self.audit.met[f"outcomes {outcome.state}"] += 1
        self.audit.say(f"outcome {outcome.location} {outcome.state} {outcome.error!r}")
        self.simulation.world.progress_at = self.simulation.world.moment
        self._happened("outcome")

    # What must hold

    def _check_bounds(self) -> None:
        """Nothing grows with the catalog."""
        scenario, client = self.simulation.scenario, self.client
        if self.transport.in_flight > scenario.max_connections:
            raise Violation(f"{self.transport.in_flight} requests are in flight at once")
        search = scenario.search
        most = len(self.life.catalog) if search is not None and search.cap else scenario.max_in_flight
        if self.pulled - self._delivered() > 3 * most + 2:
            raise Violation(f"{self.pulled} rows are pulled, {len(self.outcomes)} delivered")
        if client is None or (limiter := client.statistics().limiter) is None:
            return
        if limiter.waiting > 2 * most + 6:
            raise Violation(f"{limiter.waiting} callers wait for a place")
        if self.counts["arrival"] % 64 == 0:
            tasks = len(asyncio.all_tasks(self.loop))
            if tasks > 6 * most + scenario.max_connections + 20:
                raise Violation(f"{tasks} asyncio tasks are alive")

    def _delivered(self) -> int:
        return sum(
            1
            for outcome in self.outcomes
            if outcome.location is not None and outcome.location.startswith("track ")
        )

    def _check_end(self) -> None:
        """Check a life that came to its own end."""
        if isinstance(self.error, Violation):
            raise self.error
        self._check_error(self.error)
        if self.loop.complaints:
            raise Violation(f"the event loop complained: {self.loop.complaints[0]}")
        for key, state in self.audit.states.items():
            if state == "submitting" and self.ledger.opened:
                raise Violation(f"{key} is left in submitting by a run that was not interrupted")
        if not self.done & {"cancel", "leave", "close"} and self.error is None:
            self._check_outcomes()

    def _check_error(self, error: BaseException | None) -> None:
        if error is None:
            return
        self.audit.met[f"raised {type(error).__name__}"] += 1
        if isinstance(error, asyncio.CancelledError) and "cancel" in self.done:
            return
        if isinstance(error, LedgerError) or not isinstance(error, SunoVideoError):
            raise Violation(f"{type(error).__name__} came out: {_flat(error)}") from error

    def _check_outcomes(self) -> None:
        """Every row of the catalog has one outcome, and those of the ledger agree with it."""
        own = Counter((outcome.location, outcome.track and key_of(outcome.track)) for outcome in self.outcomes)
        for number, row in enumerate(self.life.catalog, 1):
            times = own[f"track {number}", key_of(row) if isinstance(row, Track) else None]
            if times != 1:
                raise Violation(f"track {number} of {len(self.life.catalog)} has {times} outcomes")
        rows = self.audit.all_rows()
        for outcome in self.outcomes:
            if outcome.track is not None and outcome.state != "skipped":
                self._check_outcome(outcome, rows[key_of(outcome.track)][0])
        if self.last and self.simulation.scenario.quiet_end:
            self._check_all_over(rows)

    def _check_outcome(self, outcome: Outcome, state: str) -> None:
        if outcome.state != state:
            raise Violation(f"{outcome.track} ended as {outcome.state}, but its row is {state}")
        if outcome.state == "planned" and outcome.error is None and "stop" not in self.done:
            raise Violation(f"{outcome.track} is left planned for no reason")

    def _check_all_over(self, rows: dict[Any, tuple[str, str | None]]) -> None:
        """Where nothing goes wrong and nobody interferes, every row that was asked for comes to its end."""
        scenario = self.simulation.scenario
        skipped = {key_of(o.track) for o in self.outcomes if o.track is not None and o.state == "skipped"}
        asked = {key_of(row) for row in self.life.catalog if isinstance(row, Track)}
        poor = scenario.max_credits is not None or scenario.credits < 1000 or scenario.max_running < 100
        # A life that has to find its limits, or cannot know when the one before it has sent, may be refused once,
        # and then gives up.
        poor |= scenario.attempts == 1 and (scenario.search is not None or not scenario.wall_clock_is_true)
        for key, (state, _) in rows.items():
            if state == "submitted" and scenario.task_timeout > 3600:
                raise Violation(f"{key} is never followed to its end")
            if state == "planned" and key in asked and key not in skipped and not poor:
                raise Violation(f"{key} is never bought")


def _flat(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_flat(inner) for inner in error.exceptions)
    return repr(error)


def _run_blocking(ledger: WatchedLedger, delay: float | None, simulation: Simulation, life: int) -> RunBlocking:
    """Return the ledger's own thread, as slow as the seed wants; None runs in place."""
    if delay is None:
        return in_place
    seconds, rng = delay, stream(simulation.scenario.seed, f"hop {life}")

    def in_thread(work: Callable[[], T], /) -> asyncio.Future[T]:
        loop = cast("SimLoop", asyncio.get_running_loop())
        return _in_thread(work, loop, rng.uniform(0, seconds), rng.uniform(0, seconds))

    return GroupCommit(ledger.one_commit, in_thread)


def _in_thread(call: Callable[[], T], loop: SimLoop, before: float, after: float) -> asyncio.Future[T]:
    """Begin a call that nothing but the process's end keeps from being made, as in a thread."""
    future: asyncio.Future[T] = loop.create_future()

    def run() -> None:
        made: asyncio.Future[T] = loop.create_future()
        try:
            made.set_result(_now(call))
        except Exception as error:
            made.set_exception(error)
        loop.call_later(after, pass_on, made)

    def pass_on(made: asyncio.Future[T]) -> None:
        error = made.exception()
        if future.done():
            return
        if error is None:
            future.set_result(made.result())
        else:
            future.set_exception(error)

    loop.call_later(before, run)
    return future


def _now(call: Callable[[], T]) -> T:
    """Make a call by the function that may block the loop, and that never waits."""
    try:
        inline(call).send(None)
    except StopIteration as result:
        return cast("T", result.value)
    raise AssertionError("it has waited")
