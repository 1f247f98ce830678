"""The rate limit of one key, shared by the processes of one machine through a file.

`window.py` decides; here its state is read, moved on and written back in one short SQLite transaction, in a worker
thread, and the callers of one event loop wait for what it says.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import sqlite3
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from os import PathLike
from pathlib import Path
from types import TracebackType

from attrs import define

from suno_video_async._util.aio import RunBlocking, in_one_thread, run_to_completion
from suno_video_async._util.filesystem import boot_id, create_private, network_file_system
from suno_video_async.clock import TICK, Clock, SystemClock, TimerHandle
from suno_video_async.errors import ClientClosedError, ConfigurationError, LedgerError
from suno_video_async.models import DEFAULT_RATE, LimitsFound, RateLimit
from suno_video_async.ratelimit.adaptive import AdaptiveCap
from suno_video_async.ratelimit.brake import Brake
from suno_video_async.ratelimit.lanes import LaneWindows
from suno_video_async.ratelimit.limiter import Lane, LimiterStatistics, Place
from suno_video_async.ratelimit.window import (
    LONGEST_PAUSE,
    PLACE_LEASE,
    RECHECK,
    Ask,
    Filled,
    Paused,
    Recalled,
    Released,
    Reply,
    Size,
    Write,
)

#: "SVRL": marks the file as a rate limit of ours.
APPLICATION_ID = 0x5356524C
SCHEMA = 2
#: Numbers of places that a window which had to be made again leaves out.
NUMBERS_SKIPPED = 1_000_000_000
#: Real seconds that a transaction may wait for those of others.
BUSY_TIMEOUT = 5.0
#: So many transactions in a row may fail before the callers are told.
MOST_FAILURES = 10


class SharedWindow:
    """The windows of a key in a file; every call blocks.

    Anything on the machine can change the file. One that was deleted or replaced is opened again, and a state that
    cannot be read, or lacks what this process has seen in it, becomes a full window: it costs a period.

    Args:
        path: the file.
        rate: the window; "auto" finds its size.
        scale: of the clock that it is measured in.
        read_rate: the window of the reads, if they have their own.
        wall: returns the time in Unix seconds: limits that were found are used for a day.

    """

    def __init__(
        self,
        path: Path,
        rate: Size,
        scale: float = 1.0,
        *,
        read_rate: Size | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.path = path
        self._rates = (rate, read_rate)
        self._wall = wall
        self._label = (
            _named(rate)
            + ("" if read_rate is None else f" and {_named(read_rate)} for reads")
            + (f" at the time scale {scale:g}" if scale != 1.0 else "")
        )
        self._limits: str | None = None
        self._connection: sqlite3.Connection | None = None
        self._files: Sequence[tuple[int, int] | None] = ()
        self._settled: Mapping[int, float] = {}

    def open(self, now: float, *, full: bool = False) -> None:
        """Open the file, or make it; another boot's state becomes a full window.

        Args:
            now: the time.
            full: begin with a full window in any case.

        Raises:
            ConfigurationError: the file cannot be used; it is left as it was.

        """
        if kind := network_file_system(self.path.resolve().parent):
            raise ConfigurationError(
                f"the shared rate limit {self.path} is on a network file system ({kind}): use a local disk"
            )
        try:
            self._examine()
            create_private(self.path)
            self._connection = sqlite3.connect(
                self.path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
            )
            with contextlib.suppress(sqlite3.OperationalError):
                # Fails while another process does the same; the mode is the file's, not the connection's.
                self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = OFF")  # a power cut makes the window worthless anyway
            with self._transaction() as db:
                self._prepare(db, now, full=full)
            self._files = self._identity()
        except BaseException as error:
            self._let_go()
            if isinstance(error, sqlite3.Error | OSError):
                reason = error.strerror if isinstance(error, OSError) else error
                raise ConfigurationError(f"the shared rate limit {self.path} cannot be used: {reason}") from error
            raise

    def close(self) -> None:
        """Let go of it; harmless when it is not open."""
        self._files = ()
        self._let_go()

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def step(self, ask: Ask) -> Reply:
        """Move the window on.

        Raises:
            LedgerError: the file cannot be used any more; nothing was changed.

        """
        try:
            if self._files and (self._connection is None or self._identity() != self._files):
                self._let_go()
                self.open(ask.now, full=True)
            with self._transaction() as db:
                windows = self._load(db, ask.now)
                if windows is None or windows.lacks(self._settled, ask.now):
                    windows = self._full(db, ask.now)
                reply = windows.step(ask)
                self._store(db, windows)
        except sqlite3.Error as error:
            raise LedgerError(f"the shared rate limit {self.path} cannot be used: {error}") from error
        except ConfigurationError as error:
            raise LedgerError(str(error)) from error
        self._settled = windows.settled()
        return reply

    def _identity(self) -> Sequence[tuple[int, int] | None]:
        """Return which files the names lead to: the database and the log beside it."""
        return [_file_of(self.path), _file_of(self.path.with_name(f"{self.path.name}-wal"))]

    def _full(self, db: sqlite3.Connection, now: float) -> LaneWindows:
        """Return full windows with numbers past the places that others hold, and with the limits found so far."""
        found = LimitsFound.load(self._limits_in(db), self._wall())
        return LaneWindows.full(*self._rates, now, skip=NUMBERS_SKIPPED, found=found)

    def _limits_in(self, db: sqlite3.Connection) -> str | None:
        """Return the limits that were found, as the file has them, or this process saw them last."""
        try:
            limits = json.loads(db.execute("SELECT state FROM shared").fetchone()[0])["limits"]
        except (KeyError, TypeError, ValueError, RecursionError):
            return self._limits
        return limits if isinstance(limits, str) else self._limits

    def _store(self, db: sqlite3.Connection, windows: LaneWindows) -> None:
        found, limits = windows.found, dict[str, str]()
        if found is not None:
            self._limits = limits["limits"] = found.dump(self._wall())
        state = json.dumps(windows.dump() | limits)
        if db.execute("UPDATE shared SET state = ?", (state,)).rowcount == 0:
            db.execute("INSERT INTO shared VALUES (?, ?, ?)", (self._label, boot_id(), state))

    def _examine(self) -> None:
        """Refuse a file that is not ours, without writing to it."""
        if not self.path.exists() or self.path.stat().st_size == 0:
            return
        db = sqlite3.connect(
            f"{self.path.resolve().as_uri()}?mode=ro", uri=True, timeout=BUSY_TIMEOUT, check_same_thread=False
        )
        try:
            self._check(db)
        finally:
            db.close()

    def _check(self, db: sqlite3.Connection) -> bool:
        """Whether a database is a shared rate limit that can be used; False when it is empty."""
        (tables,) = db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        if tables == 0:
            return False
        (application,) = db.execute("PRAGMA application_id").fetchone()
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if application != APPLICATION_ID:
            raise ConfigurationError(
                f"{self.path} is a database of another program: choose another file for the shared rate limit"
            )
        if version > SCHEMA:
            raise ConfigurationError(
                f"the shared rate limit {self.path} is of a newer version of this program ({version}): update it"
            )
        (label,) = db.execute("SELECT rate FROM shared").fetchone()
        if label != self._label:
            raise ConfigurationError(
                f"the shared rate limit {self.path} is {label}, not {self._label}: use the same everywhere,"
                " or another file"
            )
        return True

    def _prepare(self, db: sqlite3.Connection, now: float, *, full: bool) -> None:
        boot = boot_id()
        if not self._check(db):
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute("CREATE TABLE shared (rate TEXT NOT NULL, boot TEXT NOT NULL, state TEXT NOT NULL)")
            self._store(db, self._full(db, now) if full else LaneWindows.of(*self._rates))
        else:
            (before,) = db.execute("SELECT boot FROM shared").fetchone()
            if full or before != boot or self._load(db, now) is None:
                self._store(db, self._full(db, now))
                db.execute("UPDATE shared SET boot = ?", (boot,))
        db.execute(f"PRAGMA user_version = {SCHEMA}")

    def _load(self, db: sqlite3.Connection, now: float) -> LaneWindows | None:
        """Return the state; None if there is none that can be true."""
        try:
            (state,) = db.execute("SELECT state FROM shared").fetchone()
            windows = LaneWindows.load(*self._rates, json.loads(state), now)
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError):
            return None
        # Time that runs backwards is another boot's.
        return windows if windows.seen <= now + PLACE_LEASE else None

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection, None, None]:
        db = self._connection
        if db is None:
            raise LedgerError(f"the shared rate limit {self.path} is not open")
        db.execute("BEGIN IMMEDIATE")
        try:
            yield db
            db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # SQLite may have rolled it back by itself
                db.execute("ROLLBACK")
            raise


def _named(size: Size) -> str:
    return f"{size.requests}/{size.per:g}" if isinstance(size, RateLimit) else size


def _file_of(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


@define(eq=False)
class _Waiter:
    lane: Lane
    granted: asyncio.Future[Place]


class SharedRateLimit:
    """A limiter that several processes of one machine share through a file.

    Use it as `async with SharedRateLimit("limit.db") as limiter:`, and give it to clients as their `limiter`.
    All processes together stay within the rate, each gets its share when they compete, and a 429 that one of them
    meets pauses all of them. What a killed process held is free again after half a minute and a period.

    One file is for one key: it does not know whose it is. All processes must give the same rate. It belongs to one
    event loop; several clients on it may share one object. It does not close itself: a client closes only what it
    made.

    Args:
        path: the file, on a local disk; made when it does not exist.
        rate: the window of the key. `"auto"` finds it, as `Limiter` does: what one process finds counts for all,
            and is kept in the file for a day.
        read_rate: a window for all calls but CreateTask, so that `rate` is for CreateTask alone; None for one
            window for all calls, `"auto"` to find it. All processes must give the same.
        max_connections: the most requests of this object in flight at once.
        clock: the time of the window and the pauses; of a `SystemClock`, all processes need the same scale.
        hop: how blocking calls leave the event loop; None runs them in a worker thread.

    """

    def __init__(
        self,
        path: str | PathLike[str],
        rate: Size = DEFAULT_RATE,
        *,
        read_rate: Size | None = None,
        max_connections: int = 20,
        clock: Clock | None = None,
        run_blocking: RunBlocking | None = None,
    ) -> None:
        if max_connections < 1:
            raise ValueError(f"max_connections must be at least 1, not {max_connections}")
        self.path: Path = Path(path)
        self._rates = (rate, read_rate)
        self.max_connections = max_connections
        self._clock = clock or SystemClock()
        self.brake: Brake = Brake()
        self.cap: AdaptiveCap = AdaptiveCap()
        scale = getattr(self._clock, "scale", 1.0)
        self._file = SharedWindow(self.path, rate, scale, read_rate=read_rate, wall=self._clock.time)
        self._run_blocking = run_blocking
        self._owner = secrets.token_hex(8)
        self._opening = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._waiters: dict[_Waiter, None] = {}
        self._held: dict[Place, int] = {}
        self._writes: list[Write] = []
        self._reply = Reply()
        self._work: asyncio.Task[None] | None = None
        self._woken = False
        self._timer: TimerHandle | None = None
        self._failures = 0
        self._granted = 0
        self._running = 0

    @property
    def rate(self) -> RateLimit:
        """The window, as far as it is known."""
        given = self._rates[0]
        return given if given != "auto" else self._reply.rate or DEFAULT_RATE

    @property
    def read_rate(self) -> RateLimit | None:
        """The window of the reads, as far as it is known; None if all calls share one."""
        given = self._rates[1]
        return given if given != "auto" else self._reply.read_rate or DEFAULT_RATE

    def __repr__(self) -> str:
        used = f"in_flight={len(self._held)} waiting={len(self._waiters)}"
        return f"<SharedRateLimit {self.path} rate={self.rate} {used}>"

    # Opening and closing

    async def __aenter__(self) -> SharedRateLimit:
        await self.open()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def open(self) -> None:
        """Open the file; harmless when it is open. A client does it when it opens.

        Raises:
            ConfigurationError: the file cannot be used; it is left as it was.
            ClientClosedError: it was closed.
            RuntimeError: it was opened on another event loop.

        """
        async with self._opening:
            if self._closed:
                raise ClientClosedError(f"{self!r} is closed: make another one")
            loop = asyncio.get_running_loop()
            if self._loop not in (None, loop):
                raise RuntimeError(
                    "a SharedRateLimit belongs to the event loop it was opened on: make one on this"
                )
            if self._loop is None:
                self._run_blocking = self._run_blocking or in_one_thread()
                await self._run_blocking(partial(self._file.open, self._clock.now()))
                self._loop = loop
                self._wake()

    async def aclose(self) -> None:
        """Leave the queue and close the file; places that are held stay in use until their leases end.

        Who still waits gets a `ClientClosedError`. Closing twice is harmless.
        """
        if self._closed:
            return
        self._closed = True
        self._fail(ClientClosedError(f"{self!r} was closed"))
        await run_to_completion(self._close())

    async def _close(self) -> None:
        async with self._opening:
            if self._work is not None:
                await asyncio.wait([self._work])
            self._cancel_timer()
            if self._loop is not None and self._run_blocking is not None:
                ask = self._ask(())
                with contextlib.suppress(LedgerError):
                    await self._run_blocking(partial(self._file.step, ask))
                await self._run_blocking(self._file.close)

    # What a limiter does

    def statistics(self) -> LimiterStatistics:
        """Return the state of this moment; the window is that of all processes, as far as heard of."""
        now, reply = self._clock.now(), self._reply
        until = max(self._pauses().values(), default=now)
        reads_used = None if self.read_rate is None else sum(free > now for free in reply.read_frees)
        return LimiterStatistics(
            waiting=len(self._waiters),
            in_flight=len(self._held),
            window_used=sum(free > now for free in reply.frees),
            paused_for=max(0.0, until - now),
            granted=self._granted,
            reads_used=reads_used,
        )

    def holds(self, lane: Lane) -> bool:
        """Whether a pause holds `lane` up at present, as far as heard of."""
        now = self._clock.now()
        return any(until > now and lane.is_held_by(Lane[name]) for name, until in self._pauses().items())

    async def acquire(self, lane: Lane = Lane.READ) -> Place:
        """Wait for a place; a cancelled waiter leaves no trace.

        Raises:
            LedgerError: the file cannot be used any more.

        """
        if self._loop is not asyncio.get_running_loop() or self._closed:
            await self.open()
        waiter = _Waiter(lane, asyncio.get_running_loop().create_future())
        self._waiters[waiter] = None
        self._wake()
        try:
            return await waiter.granted
        except asyncio.CancelledError:
            if waiter in self._waiters:
                del self._waiters[waiter]
                self._wake()
            elif waiter.granted.exception() is None:
                self.release(waiter.granted.result(), sent=False, answered=False)
            raise

    def release(self, place: Place, *, sent: bool = True, answered: bool = True) -> None:
        """Give a place back at the end of its attempt, as `Limiter.release`.

        Until that is written down the place counts as used, which is safe.
        """
        ended, number = self._clock.now() if sent else None, self._held.pop(place)
        if sent:
            self._running = place.in_flight
        self._writes.append(Released(number, ended, answered, refused=place.refused, running=place.running))
        self._wake()

    def pause(self, lane: Lane, seconds: float) -> None:
        """Hold up every caller of `lane` for `seconds`, in all processes; afterwards one request probes.

        It is an hour at the most: a process that starts later does not know why it waits.
        """
        until = self._clock.now() + min(seconds, LONGEST_PAUSE)
        self._writes.append(Paused(lane.name, until, unanswered=seconds == 0))
        self._wake()

    @property
    def found(self) -> LimitsFound | None:
        """The limits that were found so far, by any process, as far as heard of; None if they are given."""
        return (self._reply.found or LimitsFound()) if "auto" in self._rates else None

    def recall(self, found: LimitsFound) -> None:
        """Begin with limits that an earlier run found, if they are to be found and no process knows of any."""
        if "auto" in self._rates:
            self._writes.append(Recalled(found))
            self._wake()

    def progress(self) -> int:
        """Return how many submissions were accepted, if their limit is found by being refused, or 0."""
        return self.brake.accepted if self._rates[0] == "auto" else 0

    def assume_used(self) -> None:
        """Take every window as full, as after a process that does not share it has just sent requests."""
        self._writes.append(Filled(self._clock.now()))
        self._wake()

    # Beneath

    def _pauses(self) -> dict[str, float]:
        """Return until when each lane is paused, with what is not written down yet."""
        pauses = dict(self._reply.pauses)
        for write in self._writes:
            if isinstance(write, Paused):
                pauses[write.lane] = max(write.until, pauses.get(write.lane, write.until))
        return pauses

    def _wake(self) -> None:
        """Go to the file, once for all that is asked in this iteration of the loop."""
        self._woken = True
        if self._work is None and self._loop is not None and not self._closed:
            self._work = self._loop.create_task(self._go_to_file(self._run_blocking or in_one_thread()))

    async def _go_to_file(self, run_blocking: RunBlocking) -> None:
        try:
            while self._woken and not self._closed:
                self._woken = False
                self._cancel_timer()
                waiters = list(self._waiters)
                ask = self._ask(waiters)
                try:
                    self._reply = await run_blocking(partial(self._file.step, ask))
                except LedgerError as error:
                    self._failures += 1
                    if self._failures >= MOST_FAILURES:
                        self._fail(error)
                    self._wake_at(self._clock.now() + RECHECK)
                    return
                self._failures = 0
                del self._writes[: len(ask.writes)]
                self._hand_out(waiters)
                self._wake_at(min(self._reply.wake, ask.now + PLACE_LEASE / 3 if self._held else float("inf")))
        finally:
            self._work = None

    def _ask(self, waiters: Sequence[_Waiter]) -> Ask:
        return Ask(
            owner=self._owner,
            now=self._clock.now(),
            writes=tuple(self._writes),
            in_flight=tuple(self._held.values()),
            wants=[waiter.lane.name for waiter in waiters],
            room=self.max_connections - len(self._held),
            running=self._running,
        )

    def _hand_out(self, waiters: Sequence[_Waiter]) -> None:
        paused = [Lane[write.lane] for write in self._writes if isinstance(write, Paused)]
        for index, number in self._reply.granted:
            waiter = waiters[index]
            place = Place(waiter.lane)
            self._held[place] = number
            if waiter.granted.done() or any(map(waiter.lane.is_held_by, paused)):
                self.release(place, sent=False, answered=False)
            else:
                del self._waiters[waiter]
                self._granted += 1
                waiter.granted.set_result(place)

    def _fail(self, error: Exception) -> None:
        for waiter in list(self._waiters):
            if not waiter.granted.done():
                del self._waiters[waiter]
                waiter.granted.set_exception(error)

    def _wake_at(self, when: float) -> None:
        if when < float("inf"):
            self._timer = self._clock.call_later(max(when - self._clock.now(), TICK), self._wake)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
