"""A limit that several processes find together: two limiters over one file are two processes, in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

import suno_video_async.ratelimit.shared as shared_module
from suno_video_async import Clock, ConfigurationError, LimitsFound, RateLimit, SharedRateLimit
from suno_video_async._util.aio import inline
from suno_video_async.local.accounts import RateWindow
from suno_video_async.models import KEPT
from suno_video_async.ratelimit.adaptive import AdaptiveCap, AdaptiveWindow, Ticket
from suno_video_async.ratelimit.lanes import LaneWindows
from suno_video_async.ratelimit.limiter import Lane
from suno_video_async.ratelimit.window import PLACE_LEASE, Ask, Released, Window
from tests.support.virtual import run_virtual

pytestmark = pytest.mark.usefixtures("files_in_place")


class LoopClock:
    """The time of the running loop, also on the wall."""

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def time(self) -> float:
        return 1_700_000_000.0 + self.now()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def call_later(self, seconds: float, callback: Callable[[], object]) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(seconds, callback)


def one_of(path: Path, **options: Any) -> SharedRateLimit:
    clock: Clock = LoopClock()
    return SharedRateLimit(path, "auto", run_blocking=inline, clock=clock, **options)


@define
class Hidden:
    """A server with limits that it does not tell."""

    requests: int
    reads: int | None = None
    cap: int | None = None
    running: int = 0
    sent: int = 0
    refused: int = 0
    windows: dict[Lane, RateWindow] = field(init=False)

    def __attrs_post_init__(self) -> None:
        window = RateWindow(self.requests, 10.0)
        self.windows = {
            Lane.CREATE: window,
            Lane.READ: window if self.reads is None else RateWindow(self.reads, 10.0),
        }

    async def call(self, limiter: SharedRateLimit, lane: Lane, mine: list[int]) -> None:
        """Send one request, as the client does."""
        place = await limiter.acquire(lane)
        await asyncio.sleep(0.01)
        refused = self.windows[lane].arrive(asyncio.get_running_loop().time()) is not None
        if lane is Lane.CREATE and not refused and self.cap is not None:
            refused = self.running >= self.cap
        if lane is Lane.CREATE and not refused:
            self._run(mine, 1)
            asyncio.get_running_loop().call_later(8.0, self._run, mine, -1)
        await asyncio.sleep(0.01)
        self.sent += 1
        self.refused += refused
        place.refused, place.in_flight = refused, mine[0]
        place.running = mine[0] if lane is Lane.CREATE else None
        if refused:
            limiter.pause(lane if self.reads is not None or lane is Lane.CREATE else Lane.ALL, 0.5)
        limiter.release(place)
        if refused:
            await asyncio.sleep(2.0)

    def _run(self, mine: list[int], tasks: int) -> None:
        self.running += tasks
        mine[0] += tasks

    async def fill(self, seconds: float, *uses: tuple[SharedRateLimit, Lane]) -> None:
        """Let limiters send whatever they may."""
        mine: dict[SharedRateLimit, list[int]] = {}

        until = asyncio.get_running_loop().time() + seconds

        async def one(limiter: SharedRateLimit, lane: Lane) -> None:
            while asyncio.get_running_loop().time() < until:
                await self.call(limiter, lane, mine.setdefault(limiter, [0]))

        await asyncio.gather(*(one(*use) for use in uses for _ in range(6)))


def test_processes_find_a_limit_together(path: Path) -> None:
    """Both use it to the full, know the same figure, and are refused no more often than one process alone."""

    async def main() -> None:
        hidden = Hidden(30)
        async with one_of(path) as one, one_of(path) as other:
            assert one.rate == RateLimit(20, 10)
            await hidden.fill(90.0, (one, Lane.READ), (other, Lane.READ))
            assert one.rate == other.rate == RateLimit(30, 10)
            assert one.found == other.found == LimitsFound(rate=RateLimit(30, 10))
            assert one.progress() == 0
            assert hidden.sent > 0.85 * 30 * 9
            assert hidden.refused <= 8

    run_virtual(main())


def test_what_one_process_finds_counts_for_all(path: Path) -> None:
    """A process that begins later knows it before its first request, also after all others have ended."""

    async def main() -> None:
        hidden = Hidden(40)
        async with one_of(path) as one:
            await hidden.fill(20.0, (one, Lane.READ))
        await asyncio.sleep(15.0)
        refused = hidden.refused
        async with one_of(path) as other:
            await hidden.fill(5.0, (other, Lane.READ))
            assert other.rate.requests >= 39
            assert hidden.refused <= refused + 1  # a probe may be due

    run_virtual(main())


def test_what_was_found_is_used_for_a_day(path: Path) -> None:
    """Plans and limits change: a file that was not used for a day begins again."""

    async def main() -> None:
        async with one_of(path) as one:
            await Hidden(40).fill(20.0, (one, Lane.READ))
        await asyncio.sleep(KEPT + 1)
        async with one_of(path) as other:
            other.release(await other.acquire(), sent=False, answered=False)
            assert other.found == LimitsFound()
            assert other.rate == RateLimit(20, 10)

    run_virtual(main())


@pytest.mark.parametrize("lost", ["boot", "state", "file"])
def test_what_was_found_outlives_the_window(path: Path, lost: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a reboot, or where the state was damaged, the window begins full, and with the limit found."""

    async def main() -> None:
        async with one_of(path) as one:
            await Hidden(40).fill(20.0, (one, Lane.READ))
            if lost == "boot":
                await one.aclose()
                monkeypatch.setattr(shared_module, "boot_id", lambda: "another")
                one = one_of(path)  # noqa: PLW2901  the same name for the one that goes on
            elif lost == "state":
                with contextlib.closing(sqlite3.connect(path)) as db, db:
                    db.execute("UPDATE shared SET state = '{}'")
            else:
                path.unlink()
            began = asyncio.get_running_loop().time()
            one.release(await one.acquire(), sent=False, answered=False)
            assert asyncio.get_running_loop().time() - began == pytest.approx(10.0, abs=0.1)
            assert one.found == LimitsFound(rate=RateLimit(40, 10))
            await one.aclose()

    run_virtual(main())


def test_each_window_is_found_for_itself(path: Path) -> None:
    """Submissions and reads have limits of their own, which are both found."""

    async def main() -> None:
        async with one_of(path, read_rate="auto") as one:
            assert one.read_rate == RateLimit(20, 10)
            await Hidden(25, reads=40).fill(60.0, (one, Lane.CREATE), (one, Lane.READ))
            assert one.found == LimitsFound(rate=RateLimit(25, 10), read_rate=RateLimit(40, 10))
            assert (one.rate, one.read_rate) == (RateLimit(25, 10), RateLimit(40, 10))

    run_virtual(main())


def test_one_window_can_be_given_and_the_other_found(path: Path) -> None:
    """A rate that is given is not among what was found."""

    async def main() -> None:
        async with one_of(path, read_rate=RateLimit(20, 10)) as one:
            await Hidden(25, reads=20).fill(40.0, (one, Lane.CREATE), (one, Lane.READ))
            assert one.found == LimitsFound(rate=RateLimit(25, 10))
            assert one.read_rate == RateLimit(20, 10)

    run_virtual(main())


def test_the_videos_of_all_processes_tell_a_cap_from_the_window(path: Path) -> None:
    """Where a cap on running tasks refuses submissions, the window keeps its size."""

    async def main() -> None:
        async with one_of(path) as one, one_of(path) as other:
            hidden = Hidden(40, cap=16)
            uses = [(limiter, lane) for limiter in (one, other) for lane in (Lane.CREATE, Lane.READ)]
            await hidden.fill(40.0, *uses)
            assert one.rate.requests >= 28
            assert hidden.refused <= 8

    run_virtual(main())


def test_limits_of_an_earlier_run_are_the_beginning(path: Path) -> None:
    """A ledger's limits are used if the file has none; each process says its own, and the first one counts."""

    async def main() -> None:
        async with one_of(path, read_rate="auto") as one, one_of(path, read_rate="auto") as other:
            found = LimitsFound(rate=RateLimit(60, 10), read_rate=RateLimit(30, 10), running=30)
            one.recall(found)
            one.release(await one.acquire(), sent=False, answered=False)
            other.recall(LimitsFound(rate=RateLimit(1, 10)))
            other.release(await other.acquire(), sent=False, answered=False)
            assert one.found == other.found == found

    run_virtual(main())


def test_all_processes_find_it_or_none(path: Path) -> None:
    """A file whose limit is found is refused where a rate is named."""

    async def main() -> None:
        async with one_of(path):
            with pytest.raises(ConfigurationError, match="is auto, not 20/10"):
                await SharedRateLimit(path, run_blocking=inline).open()

    run_virtual(main())


# The window


def test_the_test_of_a_dead_process_holds_up_no_search() -> None:
    """A request beyond what is known, whose owner was killed, counts as unanswered after its lease."""
    window = Window.of("auto")
    assert len(window.step(Ask(owner="dead", now=0.0, wants=["READ"] * 3, room=3)).granted) == 1
    assert not window.step(Ask(owner="b", now=PLACE_LEASE + 9, wants=["READ"], room=3)).granted
    assert window.step(Ask(owner="b", now=PLACE_LEASE + 10, wants=["READ"], room=3)).granted


def test_a_place_that_is_renewed_is_still_a_test() -> None:
    """A process that reports what it holds keeps what the search knows of it, and no more than that."""
    window = Window.of("auto")
    ((_, place),) = window.step(Ask(owner="a", now=0.0, wants=["READ"], room=3)).granted
    window.step(Ask(owner="a", now=20.0, in_flight=[place, 1000]))
    window = Window.load("auto", json.loads(json.dumps(window.dump())), 20.0)
    window.step(Ask(owner="a", now=21.0, writes=[Released(place, 21.0, answered=True)]))
    window.step(Ask(owner="a", now=21.0, writes=[Released(1000, 21.0, answered=True)]))
    assert window.search is not None
    assert window.search.held == 1


def test_a_place_without_a_search_teaches_nothing() -> None:
    """A file that was written by another hand may have places with a ticket, and no search."""
    window = Window(RateLimit(20, 10))
    ((_, place),) = window.step(Ask(owner="a", now=0.0, wants=["READ"], room=3)).granted
    window.uses[place].ticket = Ticket(1, 0)
    window.step(Ask(owner="a", now=1.0, writes=[Released(place, 1.0, answered=True)]))
    assert window.rate == RateLimit(20, 10)


def test_a_window_with_a_size_recalls_nothing() -> None:
    """Where nothing is to be found, what an earlier run found is not used."""
    windows = LaneWindows.full(RateLimit(20, 10), None, 0.0, skip=5, found=LimitsFound(rate=RateLimit(60, 10)))
    assert windows.window.rate == RateLimit(20, 10)
    assert windows.found is None


def test_a_window_begins_from_nothing_if_nothing_was_found() -> None:
    """A full window of a file whose limit was never found assumes what a new one does."""
    windows = LaneWindows.full("auto", None, 0.0, skip=5, found=LimitsFound())
    assert windows.window.rate == RateLimit(20, 10)
    assert len(windows.window.uses) == 20


def test_a_search_survives_the_file() -> None:
    """Whatever the search knows is what it knew when it is read again."""
    search = AdaptiveWindow()
    for number in range(30):
        search.admitted(search.sent(number), number / 10)
    search.refused(search.sent(30), 3.0, 4)
    search.refused(search.sent(20), 3.5, 4)
    admitted = [number / 10 for number in range(30)]
    again = AdaptiveWindow.load(json.loads(json.dumps(search.dump())), 3.5, in_flight=[], admitted=admitted)
    assert again.dump() == search.dump()
    assert again.rate == search.rate
    cap = AdaptiveCap.holding(30, 3.0)
    cap.admitted(31, 4.0)
    assert AdaptiveCap.load(json.loads(json.dumps(cap.dump())), 4.0).dump() == cap.dump()


def test_late_reports_count_when_they_ended() -> None:
    """An answer that a process reports after the refusal that it came before is counted in the window."""
    search = AdaptiveWindow()
    tickets = [search.sent(0) for _ in range(3)]
    search.admitted(tickets[0], 1.0)
    search.admitted(tickets[1], 3.0)
    search.admitted(tickets[2], 2.0)
    assert search.held == 3
