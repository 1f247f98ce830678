"""What tests use: a local server in a thread, a clock that stands still, a recorder of events, and assertions."""

from __future__ import annotations

import asyncio
import heapq
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from suno_video_async._util.words import many
from suno_video_async.client import SunoVideoClient
from suno_video_async.clock import SystemClock
from suno_video_async.hooks import (
    Hooks,
    PauseEvent,
    PriceEvent,
    RequestEvent,
    RetryEvent,
    SpendEvent,
    Stage,
    SubmitEvent,
)
from suno_video_async.local import Fault, LocalServer, load_faults
from suno_video_async.models import LimitsFound, TaskUpdate, Track

T = TypeVar("T")

#: The default time scale of the fixtures' server and client: how many times faster than real time they run.
TIME_SCALE = 100.0
#: Seconds that a task of the fixtures' server takes, by its own clock.
RENDER_SECONDS = 30.0
#: Maximum tracks that a failed assertion shows.
_SHOWN = 20
#: Real seconds that the server's thread may take to answer a question, and that `wait_for` waits.
_PATIENCE = 60.0
#: Real seconds between two looks at the server's books.
_LOOK = 0.005


class VideoServer:
    """A `LocalServer` in its own thread, so that it serves tests of any kind.

    Attributes:
        url: its address, for `base_url` or `CRUN_BASE_URL`.
        api_key: a key that it accepts, the first one.
        api_keys: all of them, by their names.
        time_scale: how many times faster than real time its clock runs; give the client the same.

    """

    def __init__(
        self,
        server: LocalServer,
        loop: asyncio.AbstractEventLoop,
        time_scale: float,
        faults: tuple[Fault, ...] = (),
        seed: int = 0,
    ) -> None:
        self.url: str = server.url
        self.api_key: str = server.api_key
        self.api_keys: Mapping[str, str] = server.api_keys
        self.time_scale = time_scale
        self._server = server
        self._loop = loop
        self._faults = faults, seed

    def __repr__(self) -> str:
        return f"<VideoServer {self.url}>"

    def client(self, *, key: str | None = None, **options: Any) -> SunoVideoClient:
        """Return a client of the server, not open yet: `async with server.client() as client:`.

        Args:
            key: the name of the key that it has; None for the first.
            options: as `SunoVideoClient` takes them.

        """
        given: dict[str, Any] = {
            "api_key": self.api_key if key is None else self.api_keys[key],
            "base_url": self.url,
            "clock": SystemClock(self.time_scale),
            **options,
        }
        return SunoVideoClient(**given)

    def stats(self, *, key: str | None = None) -> dict[str, Any]:
        """Return the server's books, as `GET /_local/stats` has them; or what they say of the key of a name.

        They can be read after the server has stopped, too.
        """
        books = self._call(self._server.service.stats)
        return books if key is None else books["keys"][key]

    def tasks(self) -> dict[str, Any]:
        """Return all tasks, as `GET /_local/tasks` has them."""
        return self._call(self._server.service.tasks)

    def wait_for(self, holds: Callable[[dict[str, Any]], object], *, timeout: float = _PATIENCE) -> None:
        """Return when the server's books are as they should be; for what runs in another thread or process.

        Args:
            holds: receives the books, and returns whether they are.
            timeout: real seconds.

        Raises:
            AssertionError: they never were; it shows them.

        """
        __tracebackhide__ = True
        end = time.monotonic() + timeout
        while not holds(books := self.stats()):
            if time.monotonic() >= end:
                _hold(False, f"the books were not as expected within {timeout:g} s", books)
            time.sleep(_LOOK)

    def reset(self) -> None:
        """Forget all tasks, charges and counts."""
        self._call(self._server.service.reset)

    def set_faults(self, *faults: Fault, seed: int = 0) -> None:
        """Replace the faults; without any, nothing goes wrong. Calls are counted from 1 again.

        Args:
            faults: the rules.
            seed: makes their rates repeatable.

        Raises:
            FaultError: a rule names a key that does not exist.

        """
        self._call(lambda: self._server.service.set_faults(faults, seed=seed))
        self._faults = faults, seed

    @contextmanager
    def faults(self, *faults: Fault, seed: int = 0) -> Generator[None, None, None]:
        """Replace the faults while the block runs, then restore the previous ones.

        Args:
            faults: the rules; their calls are counted from 1.
            seed: makes their rates repeatable.

        Raises:
            FaultError: a rule names a key that does not exist.

        """
        before, seed_before = self._faults
        self.set_faults(*faults, seed=seed)
        try:
            yield
        finally:
            self.set_faults(*before, seed=seed_before)

    def _call(self, function: Callable[[], T]) -> T:
        """Call a function in the server's thread, where nothing changes meanwhile, or here once it has ended."""
        if self._loop.is_closed():
            return function()
        answer = Future[T]()

        def call() -> None:
            try:
                answer.set_result(function())
            except Exception as error:
                answer.set_exception(error)

        self._loop.call_soon_threadsafe(call)
        return answer.result(_PATIENCE)


@contextmanager
def serve(*, time_scale: float = TIME_SCALE, **options: Any) -> Generator[VideoServer, None, None]:
    """Run a local server in a thread while the block runs.

    Args:
        time_scale: how many times faster than real time it lives.
        options: as `LocalServer` takes them; without `render_seconds` a task takes 30 seconds of the server's
            clock and ends with a small, valid video.

    Raises:
        ValueError: an argument makes no sense.
        LocalServerError: it cannot listen.

    """
    given: dict[str, Any] = {"render_seconds": RENDER_SECONDS, "time_scale": time_scale, **options}
    server = LocalServer(**given)
    started = Future[asyncio.AbstractEventLoop]()
    stop = asyncio.Event()

    async def run() -> None:
        try:
            async with server:
                started.set_result(asyncio.get_running_loop())
                await stop.wait()
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)

    thread = threading.Thread(target=lambda: asyncio.run(run()), name="suno-video-server", daemon=True)
    thread.start()
    loop = started.result(_PATIENCE)
    try:
        faults, seed = given.get("faults", ()), given.get("seed", 0)
        rules = load_faults(faults) if isinstance(faults, Path) else tuple(faults)
        yield VideoServer(server, loop, time_scale, rules, seed)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(_PATIENCE)


class FakeClock:
    """A clock that stands still until the test moves it, with `await clock.advance(…)` or `clock.move(…)`.

    For code that takes a `Clock`; over real sockets nothing tells when an answer has come, and a
    `SystemClock(scale)` on both sides does better.
    """

    def __init__(self, now: float = 1000.0, *, unix: float = 1_767_225_600.0) -> None:
        self._now = now
        self._offset = unix - now
        self._timers: list[tuple[float, int, _Timer]] = []
        self._order = count()

    def __repr__(self) -> str:
        return f"<FakeClock at {self._now:g}, {self.waiting} waiting>"

    def now(self) -> float:
        """Return monotonic seconds."""
        return self._now

    def time(self) -> float:
        """Return Unix seconds."""
        return self._now + self._offset

    async def sleep(self, seconds: float) -> None:
        """Return when the clock has been moved that far."""
        over = asyncio.get_running_loop().create_future()
        timer = self.call_later(seconds, lambda: None if over.done() else over.set_result(None))
        try:
            await over
        finally:
            timer.cancel()

    def call_later(self, seconds: float, callback: Callable[[], object]) -> _Timer:
        """Call `callback` when the clock has been moved that far."""
        timer = _Timer(callback)
        heapq.heappush(self._timers, (self._now + max(0.0, seconds), next(self._order), timer))
        return timer

    @property
    def waiting(self) -> int:
        """The number of pending timers."""
        return sum(timer.callback is not None for _, _, timer in self._timers)

    async def advance(self, seconds: float) -> None:
        """Let time pass: each timer that is due is called at its own time, and what it wakes gets to run.

        Args:
            seconds: how far to move.

        """
        await _settle()
        for callback in self._due(self._now + seconds):
            callback()
            await _settle()

    def move(self, seconds: float) -> None:
        """Let time pass, as `advance` does, in code without an event loop: nothing but the timers runs.

        Args:
            seconds: how far to move.

        """
        for callback in self._due(self._now + seconds):
            callback()

    def _due(self, end: float) -> Iterator[Callable[[], object]]:
        """Yield what is due until `end`, each at its own time, those included that are added meanwhile."""
        while self._timers and self._timers[0][0] <= end:
            at, _, timer = heapq.heappop(self._timers)
            self._now = max(self._now, at)
            if timer.callback is not None:
                yield timer.callback
        self._now = end


class _Timer:
    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None


async def _settle() -> None:
    """Let all ready tasks run, including those that they wake."""
    for _ in range(20):
        await asyncio.sleep(0)


class RecordingHooks(Hooks):
    """Keeps every event of a client, in order: `SunoVideoClient(hooks=[recorded])`, then assert on its lists.

    Attributes:
        requests: of `on_request`.
        retries: of `on_retry`.
        submits: of `on_submit`.
        updates: of `on_update`.
        spends: of `on_spend`.
        prices: of `on_price`.
        pauses: of `on_pause`.
        limits: of `on_limits`.
        begun: the stages of `on_begin`.
        ended: the stages of `on_end`.

    """

    def __init__(self) -> None:
        self.requests: list[RequestEvent] = []
        self.retries: list[RetryEvent] = []
        self.submits: list[SubmitEvent] = []
        self.updates: list[TaskUpdate] = []
        self.spends: list[SpendEvent] = []
        self.prices: list[PriceEvent] = []
        self.pauses: list[PauseEvent] = []
        self.limits: list[LimitsFound] = []
        self.begun: list[Stage] = []
        self.ended: list[Stage] = []

    def on_request(self, event: RequestEvent) -> None:
        """Keep it."""
        self.requests.append(event)

    def on_retry(self, event: RetryEvent) -> None:
        """Keep it."""
        self.retries.append(event)

    def on_submit(self, event: SubmitEvent) -> None:
        """Keep it."""
        self.submits.append(event)

    def on_update(self, update: TaskUpdate) -> None:
        """Keep it."""
        self.updates.append(update)

    def on_spend(self, event: SpendEvent) -> None:
        """Keep it."""
        self.spends.append(event)

    def on_price(self, event: PriceEvent) -> None:
        """Keep it."""
        self.prices.append(event)

    def on_pause(self, event: PauseEvent) -> None:
        """Keep it."""
        self.pauses.append(event)

    def on_limits(self, found: LimitsFound) -> None:
        """Keep it."""
        self.limits.append(found)

    def on_begin(self, stage: Stage) -> None:
        """Keep it."""
        self.begun.append(stage)

    def on_end(self, stage: Stage) -> None:
        """Keep it."""
        self.ended.append(stage)


# What to assert


def assert_charged_once(
    server: VideoServer, tracks: Iterable[Track] | None = None, *, key: str | None = None
) -> None:
    """Assert that each track was charged exactly once, by the server's own books.

    Args:
        server: the server.
        tracks: which ones; None takes all that were charged at all, of which there must be one.
        key: the name of the key that was charged; None for all keys together.

    """
    __tracebackhide__ = True
    books = server.stats(key=key)
    charged = books["charged_by_track"]
    wanted = list(charged) if tracks is None else [_key(track) for track in tracks]
    wrong = [f"{one} was charged {charged.get(one, 0)} times" for one in wanted if charged.get(one, 0) != 1]
    _hold(wanted, "nothing was charged", books)
    _hold(not wrong, "; ".join(wrong), books)


def assert_not_charged(
    server: VideoServer, tracks: Iterable[Track] | None = None, *, key: str | None = None
) -> None:
    """Assert that none of these tracks was charged; None takes any track at all, and any key."""
    __tracebackhide__ = True
    books = server.stats(key=key)
    charged = books["charged_by_track"]
    wrong = sorted(charged) if tracks is None else [one for one in map(_key, tracks) if one in charged]
    _hold(not wrong, f"charged: {', '.join(wrong)}", books)


def assert_rate_kept(server: VideoServer, requests: int = 20, *, key: str | None = None) -> None:
    """Assert that no window of the server's saw more requests of one key, and that none was refused with 429."""
    __tracebackhide__ = True
    books = server.stats(key=key)
    most, refused = books["max_in_any_window"], books["refused"].get("429", 0)
    _hold(most <= requests, f"{many(most, 'request')} came in one window", books)
    _hold(not refused, f"{many(refused, 'request was', 'requests were')} refused with 429", books)


def assert_fault_struck(
    server: VideoServer, kind: str, times: int | None = None, *, key: str | None = None
) -> None:
    """Assert that a fault occurred: otherwise the test proves nothing.

    Args:
        server: the server.
        kind: as the rule has it, such as `"drop-after"` or `"code:429"`.
        times: how often; None for at least once.
        key: the name of the key that it struck; None for all keys together.

    """
    __tracebackhide__ = True
    books = server.stats(key=key)
    struck = books["faults"].get(kind, 0)
    wanted = "" if times is None else f", not {times}"
    _hold(struck > 0 if times is None else struck == times, f"{kind} struck {struck} times{wanted}", books)


def _hold(condition: object, message: str, books: Mapping[str, Any]) -> None:
    """Raise an AssertionError that shows the books; pytest shows the line of the test."""
    __tracebackhide__ = True
    if condition:
        return
    charged = [f"{times} x {track}" for track, times in books["charged_by_track"].items()]
    more = [f"… and {len(charged) - _SHOWN} more"] if len(charged) > _SHOWN else []
    shown = ["charged, by task_id/suno_id/author/brand:", *(charged[:_SHOWN] or ["nothing"]), *more]
    others = [f"{name}: {books[name]}" for name in ("requests", "refused", "faults") if books.get(name)]
    raise AssertionError("\n".join([message, "\n  ".join(shown), *others]))


def _key(track: Track) -> str:
    return "/".join((track.task_id, track.suno_id, track.author or "", track.brand or ""))
