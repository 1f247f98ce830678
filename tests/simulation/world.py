"""Virtual time that outlives a client's process, and an event loop in it whose order a seed decides.

The server and all that travels live in the `World`. A client lives in a `SimLoop`, which can be dropped in the
middle of anything, as `kill -9` drops a process; time goes on, and the next client gets a loop of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import heapq
import random
import sys
import warnings
import zlib
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any, ClassVar, TypeVar, cast

from anyio._backends._asyncio import _task_states

from tests.support.virtual import VirtualLoop

T = TypeVar("T")

#: Unix seconds at which the world begins.
EPOCH = 1_700_000_000.0
#: Virtual seconds without a request, a ledger write or an outcome after which a run counts as stuck.
PATIENCE = 4 * 3600.0
#: Loop steps after which one life counts as running in circles.
MOST_STEPS = 300_000


class Violation(Exception):  # noqa: N818  it is what the simulation looks for
    """Something happened that must not.

    Each is kept, too: it is raised in the middle of the client, which may do with an exception what it likes.
    """

    found: ClassVar[list[str]] = []

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.found.append(message)


class Crash(BaseException):
    """The client's process is gone."""


class Timer:
    """One event of the world to come."""

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None


class World:
    """Time, and what happens in it beside the client. It is also the `Clock` of both sides."""

    def __init__(self) -> None:
        self.moment = 1000.0
        self.progress_at = self.moment
        self._events: list[tuple[float, int, Timer]] = []
        self._count = 0

    def now(self) -> float:
        return self.moment

    def time(self) -> float:
        return EPOCH + self.moment

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        timer = Timer(callback)
        self._count += 1
        heapq.heappush(self._events, (self.moment + max(0.0, seconds), self._count, timer))
        return timer

    def wait(self, limit: float | None) -> None:
        """Let time pass until `limit`, or until the next event, which then happens."""
        events = self._events
        while events and events[0][2].callback is None:
            heapq.heappop(events)
        if events and (limit is None or events[0][0] <= limit):
            at, _, timer = heapq.heappop(events)
            self.moment = max(self.moment, at)
            if timer.callback is not None:
                timer.callback()
        elif limit is None:
            raise Violation("deadlock: every task waits, and nothing is to come")
        elif limit <= self.moment:
            return
        else:
            self.moment = limit
        if self.moment - self.progress_at > PATIENCE:
            raise Violation(f"stuck: nothing has happened for {PATIENCE:g} s")

    def pass_by(self, seconds: float) -> None:
        """Let time pass while no client runs."""
        until = self.moment + seconds
        self.progress_at = until
        while self.moment < until:
            self.wait(until)
        self.progress_at = self.moment


class ClientClock:
    """The client's view of the world's time: its timers go with its process, and its wall clock may be wrong."""

    def __init__(self, world: World, wrong_by: float = 0.0) -> None:
        self._world = world
        self.wrong_by = wrong_by

    def now(self) -> float:
        return self._world.moment

    def time(self) -> float:
        return self._world.time() + self.wrong_by

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def call_later(self, seconds: float, callback: Callable[[], object]) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(seconds, callback)


class SimTask(asyncio.Task[Any]):
    """A task with a number, so that neither its turn nor its place in a set depends on where it lies in memory."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], *, number: int, **options: Any) -> None:
        self.number = number
        self.turns = 0
        super().__init__(coroutine, **options)

    def __hash__(self) -> int:
        return self.number


class _Ready(deque[Any]):
    """The loop's ready queue, counted: each removal is a step, and something may happen before it."""

    def __init__(self, loop: SimLoop) -> None:
        super().__init__()
        self._loop = loop

    def popleft(self) -> Any:
        self._loop.step()
        return super().popleft()


class _Shuffled:
    """A ready queue in an order that the seed decides.

    What became ready in one round runs in the next one, as asyncio has it; in which order there, is open. A
    task's turn follows from the seed, its number and how often it ran: sets, whose order depends on addresses,
    then do not change it.
    """

    def __init__(self, loop: SimLoop, seed: int) -> None:
        self._loop = loop
        self._heap: list[tuple[int, int, int, asyncio.Handle]] = []
        self._seed = seed
        self._count = 0

    def __len__(self) -> int:
        return len(self._heap)

    def clear(self) -> None:
        self._heap.clear()

    def append(self, handle: asyncio.Handle) -> None:
        self._count += 1
        task = getattr(handle._callback, "__self__", None)  # type: ignore[attr-defined]
        if isinstance(task, SimTask):
            task.turns += 1
            turn = b"%d/%d/%d" % (self._seed, task.number, task.turns)
        else:
            turn = b"%d/-/%d" % (self._seed, self._count)
        heapq.heappush(self._heap, (self._loop.round, zlib.crc32(turn), self._count, handle))

    def popleft(self) -> asyncio.Handle:
        self._loop.step()
        return heapq.heappop(self._heap)[3]


class SimLoop(VirtualLoop):
    """One life of a client: an event loop in the world's time.

    Args:
        world: whose time it is.
        order: the seed of the ready queue's order; None is first come first served.

    """

    #: How many steps each virtual second adds to what it may take: with a window of a second, the time of the last
    #: request alone is noted twice in each, at ten steps a note.
    steps_a_second = 40

    def __init__(self, world: World, order: int | None) -> None:
        super().__init__()
        self.world = world
        self.steps = 0
        self.round = 0
        self._round_begins = False
        self.crashing = False
        #: What happens before which step.
        self.at_steps: Mapping[int, Callable[[], None]] = {}
        self.complaints: list[str] = []
        self._tasks_made = 0
        self._began = world.moment
        self._virtual.select = self._select  # type: ignore[method-assign]
        self._ready: Any = _Ready(self) if order is None else _Shuffled(self, order)
        self.set_task_factory(cast("Any", self._make_task))
        self.set_exception_handler(self._complain)

    def time(self) -> float:
        return self.world.moment

    def step(self) -> None:
        """Count one callback; a crash ends the loop right here."""
        self.steps += 1
        if self._round_begins:
            self.round += 1
            self._round_begins = False
        if self.steps in self.at_steps:
            self.at_steps[self.steps]()
        if self.crashing:
            raise Crash
        if self.steps > MOST_STEPS and self.steps > MOST_STEPS + self.steps_a_second * (self.time() - self._began):
            raise Violation(f"running in circles: {self.steps} steps in one life")

    def _run_once(self) -> None:
        self._round_begins = True
        super()._run_once()  # type: ignore[misc]

    def _select(self, timeout: float | None = None) -> list[Any]:
        self.world.wait(None if timeout is None else self.world.moment + timeout)
        return []

    def _make_task(
        self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **options: Any
    ) -> SimTask:
        self._tasks_made += 1
        return SimTask(coroutine, number=self._tasks_made, loop=loop, **options)

    def _complain(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.complaints.append(f"{context.get('message')}: {error!r}")

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run to the end, or to the crash."""
        return self.run_until_complete(main)

    def bury(self) -> None:
        """Take the remains of a crashed life away: none of its code gets another turn."""
        self.at_steps = {}
        self.set_exception_handler(lambda *_: None)
        with silence():
            task = None
            for task in asyncio.all_tasks(self):
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                _end(task.get_coro())
            self._ready.clear()
            self._scheduled.clear()  # type: ignore[attr-defined]
            self.close()
            # Clean-ups take these away, which a killed process has none of: each would keep its life in memory.
            for task in [task for task in _task_states if task.get_loop() is self]:
                del _task_states[task]
            task = None


def _end(coroutine: Any) -> None:
    for _ in range(20):  # a clean-up that awaits refuses its end; it is told again
        with contextlib.suppress(BaseException):
            coroutine.close()
            return


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Collect what a dead process leaves behind; nobody hears what it complains about."""
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
            gc.collect()
    finally:
        sys.unraisablehook = hook


def stream(seed: int, name: str) -> random.Random:
    """Return a generator of its own for one purpose."""
    return random.Random(f"{seed}/{name}")
