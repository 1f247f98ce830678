"""One window for several processes: two limiters over one file are two processes, mostly in virtual time."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest

import suno_video_async.ratelimit.shared as shared_module
from suno_video_async import (
    ClientClosedError,
    ConfigurationError,
    LedgerError,
    RateLimit,
    SharedRateLimit,
    SystemClock,
)
from suno_video_async._util.aio import inline
from suno_video_async._util.filesystem import boot_id
from suno_video_async.ratelimit.limiter import Lane
from suno_video_async.ratelimit.shared import MOST_FAILURES, SCHEMA, SharedWindow
from suno_video_async.ratelimit.window import (
    PLACE_LEASE,
    RECHECK,
    SOON,
    TICKET_LEASE,
    Ask,
    Filled,
    Paused,
    Released,
    Window,
)
from tests.support.fakes import most_in_any_window, settle
from tests.support.virtual import run_virtual

T = TypeVar("T")
ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.usefixtures("files_in_place")


def now() -> float:
    return asyncio.get_running_loop().time()


def one_of(path: Path, requests: int = 20, per: float = 10.0, **options: Any) -> SharedRateLimit:
    return SharedRateLimit(path, RateLimit(requests, per), run_blocking=inline, **options)


async def use(
    limiter: SharedRateLimit, *, seconds: float = 0.0, lane: Lane = Lane.READ, answered: bool = True
) -> float:
    """Take a place, hold it for a while, and return when it was granted."""
    place = await limiter.acquire(lane)
    granted = now()
    await asyncio.sleep(seconds)
    limiter.release(place, answered=answered)
    return granted


def roughly(*times: float) -> list[Any]:
    return [pytest.approx(time, abs=1e-3) for time in times]


# The window


def test_two_processes_share_one_window(path: Path) -> None:
    """Of 30 requests each, 20 go at once in all, and 20 more in each period; each process has its half of them."""

    async def main() -> None:
        async with one_of(path) as one, one_of(path) as other:
            # Both queues are in the file before the first period is over.
            uses = [[asyncio.ensure_future(use(limiter)) for _ in range(30)] for limiter in (one, other)]
            times = [sorted(await asyncio.gather(*each)) for each in uses]
            assert sorted([*times[0], *times[1]]) == roughly(*[0.0] * 20, *[10.0] * 20, *[20.0] * 20)
            assert [sum(time < 15 for time in each) for each in times] in ([30, 10], [25, 15], [20, 20])
            assert all(sum(9 < time < 15 for time in each) >= 10 for each in times)

    run_virtual(main())


@pytest.mark.parametrize("seed", range(10))
def test_never_21_arrive_in_any_window(path: Path, seed: int) -> None:
    """However long the requests of three processes travel, the server never counts 21, and all go in the end."""

    async def main() -> None:
        rng, arrivals = random.Random(seed), list[float]()

        async def request(limiter: SharedRateLimit) -> None:
            await asyncio.sleep(rng.uniform(0, 20))
            place = await limiter.acquire(rng.choice((Lane.CREATE, Lane.READ)))
            await asyncio.sleep(rng.expovariate(1.0))
            sent = rng.random() < 0.9
            if sent:
                arrivals.append(now())
            await asyncio.sleep(rng.expovariate(1.0))
            if rng.random() < 0.03:
                limiter.pause(rng.choice(list(Lane)), rng.expovariate(0.2))
            limiter.release(place, sent=sent, answered=rng.random() < 0.9)

        limiters = [one_of(path, max_connections=rng.choice([3, 20])) for _ in range(3)]
        await asyncio.gather(*(request(limiter) for limiter in limiters for _ in range(60)))
        assert most_in_any_window(arrivals, 10) <= 20
        for limiter in limiters:
            await limiter.aclose()

    run_virtual(main())


def test_the_period_runs_from_the_end_of_an_attempt(path: Path) -> None:
    """A place is free again one period after its end, for another process too; one that was not used, at once."""

    async def main() -> None:
        async with one_of(path, 1) as one, one_of(path, 1) as other:
            assert await use(one, seconds=3.0) == 0.0
            place = await other.acquire()
            assert now() == pytest.approx(13.0, abs=1e-3)
            waiting = asyncio.ensure_future(use(one))
            await settle()
            other.release(place, sent=False, answered=False)
            assert await waiting == pytest.approx(14.0, abs=0.1)  # it looks again within a second

    run_virtual(main())


def test_connections_are_bounded_and_served_in_order(path: Path) -> None:
    """One object has no more than its own requests in the air, first come first served."""

    async def main() -> None:
        async with one_of(path, max_connections=2) as limiter:
            times = await asyncio.gather(*(use(limiter, seconds=1.0) for _ in range(5)))
            assert times == roughly(0.0, 0.0, 1.0, 1.0, 2.0)

    run_virtual(main())


def test_a_long_attempt_keeps_its_place(path: Path) -> None:
    """A living process renews the lease of what is in the air."""

    async def main() -> None:
        async with one_of(path, 1) as one, one_of(path, 1) as other:
            times = asyncio.gather(use(one, seconds=5 * PLACE_LEASE), use(other))
            assert list(await times) == roughly(0.0, 5 * PLACE_LEASE + 10)

    run_virtual(main())


def test_what_a_dead_process_held_becomes_free(path: Path) -> None:
    """A place in the air is free after its lease and a period; a ticket blocks nobody for longer than its own."""
    window = SharedWindow(path, RateLimit(2, 10))
    window.open(0.0)
    assert len(window.step(Ask(owner="dead", now=0.0, wants=["READ"] * 3, room=3)).granted) == 2
    window.step(Ask(owner="waits, then dies", now=PLACE_LEASE + 9, wants=["READ"] * 3, room=3))
    window.close()

    async def main() -> None:
        await asyncio.sleep(PLACE_LEASE + 9)
        async with one_of(path, 2) as limiter:
            times = await asyncio.gather(use(limiter), use(limiter))
            assert times[0] >= PLACE_LEASE + 10
            assert times[1] <= PLACE_LEASE + 9 + TICKET_LEASE + RECHECK + 0.1

    run_virtual(main())


def test_who_waits_beside_free_places_looks_again_soon() -> None:
    """They are kept for another, who may take them, or give up, at any moment."""
    window = Window(RateLimit(20, 10))
    window.step(Ask(owner="q", now=0.0, writes=[Filled(0.0)]))
    window.step(Ask(owner="slow", now=9.9, wants=["READ"] * 20, room=20))
    window.step(Ask(owner="q", now=9.95, wants=["READ"], room=20))
    assert window.step(Ask(owner="q", now=9.97, wants=["READ"] * 2, room=20)).wake == pytest.approx(10.0)
    turn = window.step(Ask(owner="q", now=10.0, wants=["READ"] * 30, room=30))
    assert 0 < len(turn.granted) < 20
    assert turn.wake == pytest.approx(10.0 + SOON)


def test_a_reserve_is_not_eaten_up_by_who_asks_often() -> None:
    """What is due to a slow owner stays free for it, however often a quick one asks."""
    window = Window(RateLimit(20, 10))
    full = window.step(Ask(owner="q", now=0.0, wants=["READ"] * 20, room=20))
    window.step(Ask(owner="slow", now=1.0, wants=["READ"] * 20, room=20))
    ended = [Released(place, 1.0, answered=True) for _, place in full.granted]
    assert window.step(Ask(owner="q", now=2.0, writes=ended, wants=["READ"] * 20, room=20)).wake == 3.0
    window.step(Ask(owner="slow", now=4.0, wants=["READ"] * 20, room=20))
    quick = [window.step(Ask(owner="q", now=11.0 + n, wants=["READ"] * 20, room=20)).granted for n in range(2)]
    slow = window.step(Ask(owner="slow", now=8.9, wants=["READ"] * 20, room=20)).granted  # late by its own clock
    assert [len(granted) for granted in (*quick, slow)] == [20, 0, 0]  # its ticket had expired
    window = Window(RateLimit(20, 10))
    window.step(Ask(owner="q", now=0.0, writes=[Filled(0.0)], wants=["READ"] * 20, room=20))
    for owner in ("q", "slow"):
        window.step(Ask(owner=owner, now=9.0, wants=["READ"] * 20, room=20))
    quick = [window.step(Ask(owner="q", now=10.0 + n, wants=["READ"] * 20, room=20)).granted for n in range(3)]
    slow = window.step(Ask(owner="slow", now=13.0, wants=["READ"] * 20, room=20)).granted
    assert [len(granted) for granted in (*quick, slow)] == [10, 0, 0, 10]


def test_a_window_that_somebody_else_filled(path: Path) -> None:
    """After a process that does not share has sent, all wait a period."""

    async def main() -> None:
        async with one_of(path) as one, one_of(path) as other:
            one.assume_used()
            await settle()
            assert list(await asyncio.gather(use(one), use(other))) == roughly(10.0, 10.0)

    run_virtual(main())


# Pauses


def test_a_pause_of_one_process_holds_up_all(path: Path) -> None:
    """After it one request of all processes probes; its answer lets the others follow."""

    async def main() -> None:
        async with one_of(path) as one, one_of(path) as other:
            one.pause(Lane.ALL, 5)
            assert one.holds(Lane.CREATE)
            assert one.statistics().paused_for == 5
            times = await asyncio.gather(*(use(each, seconds=0.5) for each in (one, one, other, other)))
            assert sorted(times)[:1] == roughly(5.0)
            assert all(5.5 <= time <= 5.6 + RECHECK for time in sorted(times)[1:])
            assert not one.holds(Lane.ALL)

    run_virtual(main())


def test_a_pause_of_submissions_lets_everything_else_pass(path: Path) -> None:
    """In another process, too, questions overtake what waits to be submitted."""

    async def main() -> None:
        async with one_of(path, 20) as one, one_of(path, 20) as other:
            one.pause(Lane.CREATE, 5)
            await settle()
            times = await asyncio.gather(
                use(other, lane=Lane.CREATE), use(other), use(one), use(one, lane=Lane.CREATE)
            )
            assert list(times[1:3]) == [0.0, 0.0]
            assert sorted((times[0], times[3])) == [
                pytest.approx(5, abs=0.01),
                pytest.approx(5, abs=RECHECK + 0.1),
            ]
            assert not other.holds(Lane.ALL)

    run_virtual(main())


def test_a_refused_or_broken_probe() -> None:
    """A refusal begins a new pause, at least as long; without an answer, or after a death, the next one probes."""
    window = Window(RateLimit(20, 10))

    def granted(at: float, *writes: Any, owner: str = "a") -> list[int]:
        turn = window.step(Ask(owner=owner, now=at, writes=writes, wants=["CREATE", "READ"], room=5))
        return [place for _, place in turn.granted]

    assert granted(0.0, Paused("ALL", 5.0), Paused("ALL", 2.0)) == []
    (probe,) = granted(5.0)
    assert granted(5.5, owner="b") == []
    assert granted(6.0, Paused("ALL", 9.0), Released(probe, 6.0, answered=True)) == []
    (probe,) = granted(9.0)
    (second,) = granted(10.0, Released(probe, 10.0, answered=False))
    assert granted(second + PLACE_LEASE - 1) == []
    (third,) = granted(10.0 + PLACE_LEASE)
    assert len(granted(41.0, Released(third, 41.0, answered=True))) == 2


@pytest.mark.parametrize("slow", [0.0, 3.0])
def test_a_server_that_hangs(path: Path, slow: float) -> None:
    """What a server finds when it wakes is a window, and one request more for each timeout that passed."""

    async def main() -> None:
        limiters, hangs_until, timeout = [one_of(path), one_of(path)], 41.0, 5.0
        arrivals, sends = list[float](), list[float]()

        async def request(limiter: SharedRateLimit) -> None:
            await asyncio.sleep(slow)
            place = await limiter.acquire()
            sends.append(now())
            answered_at = max(now(), hangs_until)
            arrivals.append(answered_at)
            in_time = answered_at - now() < timeout
            await asyncio.sleep(min(timeout, answered_at - now()))
            if not in_time:
                limiter.pause(Lane.ALL, 0.0)
            limiter.release(place, answered=in_time)

        await asyncio.gather(*(request(limiters[n % 2]) for n in range(90)))
        hung = [sent for sent in sends if sent < hangs_until]
        assert len(hung) <= 20 + (hangs_until - slow) / timeout
        assert arrivals.count(hangs_until) == len(hung)
        assert most_in_any_window(arrivals, 10) == len(hung)
        assert len(arrivals) == 90
        assert max(sends) < hangs_until + 80
        for limiter in limiters:
            await limiter.aclose()

    run_virtual(main())


def test_a_pause_in_the_moment_of_a_grant(path: Path) -> None:
    """A place that was granted while its process learned of a refusal goes back unused."""

    async def main() -> None:
        async with SharedRateLimit(path, run_blocking=slow) as limiter:
            waiting = asyncio.ensure_future(use(limiter))
            await asyncio.sleep(0.15)
            limiter.pause(Lane.ALL, 5)
            assert await waiting == pytest.approx(5.0, abs=0.5)

    async def slow(call: Callable[[], T], /) -> T:
        result = await inline(call)
        await asyncio.sleep(0.1)
        return result

    run_virtual(main())


# Waiters


def test_a_cancelled_waiter_leaves_no_trace(path: Path) -> None:
    """Whoever leaves the queue, be it in the moment of its turn, delays nobody."""

    async def main() -> None:
        async with one_of(path, 1) as limiter:
            first = await limiter.acquire()
            waiters = [asyncio.ensure_future(use(limiter)) for _ in range(3)]
            await settle()
            waiters[0].cancel()
            limiter.release(first, sent=False)
            for _ in range(20):
                if limiter.statistics().granted < 2:
                    await asyncio.sleep(0)
            waiters[1].cancel()
            assert await waiters[2] == 0.0
            assert [waiter.cancelled() for waiter in waiters] == [True, True, False]
            assert limiter.statistics().in_flight == 0

    run_virtual(main())


def test_a_waiter_that_is_cancelled_while_the_limiter_closes(path: Path) -> None:
    """Who is cancelled in the moment of closing is cancelled, and nobody complains."""

    async def main() -> None:
        limiter = one_of(path, 1)
        await limiter.acquire()
        waiters = [asyncio.ensure_future(limiter.acquire()) for _ in range(2)]
        await settle()
        waiters[0].cancel()
        closing = limiter.aclose()
        limiter._fail(ClientClosedError("as closing does first"))
        waiters[1].cancel()
        await closing
        assert [waiter.cancelled() for waiter in waiters] == [True, True]

    run_virtual(main())


def test_a_waiter_that_is_cancelled_while_it_is_granted(path: Path) -> None:
    """A grant that comes too late for its waiter goes to the next one."""

    async def main() -> None:
        limiter = SharedRateLimit(path, RateLimit(1, 10), run_blocking=cancelling)
        async with limiter:
            waiters.extend(asyncio.ensure_future(use(limiter)) for _ in range(2))
            assert await waiters[1] == 0.0
            assert waiters[0].cancelled()

    waiters = list[asyncio.Future[float]]()

    async def cancelling(call: Callable[[], T], /) -> T:
        result = await inline(call)
        if waiters:
            waiters[0].cancel()
        return result

    run_virtual(main())


def test_statistics_and_repr_tell_the_live_state(path: Path) -> None:
    """One look says who waits and what is in use by all processes."""

    async def main() -> None:
        async with one_of(path, 2) as one, one_of(path, 2) as other:
            place = await one.acquire()
            await use(other)
            waiting = asyncio.ensure_future(use(other))
            await settle()
            state = other.statistics()
            assert (state.waiting, state.in_flight, state.window_used, state.granted) == (1, 0, 2, 1)
            assert "in_flight=0 waiting=1" in repr(other)
            one.release(place)
            await waiting

    run_virtual(main())


# Opening and closing


async def test_a_worker_thread_goes_to_the_file(path: Path) -> None:
    """Without a hop of one's own nothing blocks the event loop; opening is done when it is first needed."""
    limiter = SharedRateLimit(str(path), RateLimit(2, 0.01))
    limiter.assume_used()  # before it is open
    assert not limiter.holds(Lane.ALL)
    for _ in range(5):
        limiter.release(await limiter.acquire())
    assert limiter.statistics().granted == 5
    await limiter.aclose()


def test_closing_ends_the_waiting(path: Path) -> None:
    """Who waits is told; afterwards nothing is granted, and closing again is harmless."""

    async def main() -> None:
        limiter = one_of(path, 1)
        place = await limiter.acquire()
        waiting = asyncio.ensure_future(limiter.acquire())
        await settle()
        limiter.pause(Lane.ALL, 1)
        await limiter.aclose()
        await limiter.aclose()
        limiter.release(place)
        with pytest.raises(ClientClosedError):
            await waiting
        with pytest.raises(ClientClosedError, match="make another"):
            await limiter.acquire()
        await one_of(path, 1).aclose()
        async with one_of(path, 1) as limiter:
            await limiter.open()

    run_virtual(main())


def test_it_belongs_to_one_event_loop(path: Path) -> None:
    """Use on another loop is an error in words."""
    limiter = one_of(path)
    run_virtual(limiter.open())
    with pytest.raises(RuntimeError, match="belongs to the event loop"):
        run_virtual(limiter.acquire())
    limiter._file.close()


def refused(path: Path, match: str, rate: RateLimit | None = None, scale: float = 1.0) -> None:
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(ConfigurationError, match=match):
        SharedWindow(path, rate or RateLimit(20, 10), scale).open(0.0)
    assert (path.read_bytes() if path.is_file() else None) == before


def test_files_that_are_refused(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another rate or scale, a newer schema, another program, no database, no place: told, and left alone."""
    window = SharedWindow(path, RateLimit(20, 10))
    window.open(0.0)
    window.close()
    refused(path, r"is 20/10, not 10/10: use the same everywhere", RateLimit(10, 10))
    refused(path, r"not 20/10 at the time scale 50", scale=50)
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    db.close()
    refused(path, r"newer version of this program \(3\): update it")
    other, text = tmp_path / "other.db", tmp_path / "text"
    db = sqlite3.connect(other)
    db.execute("CREATE TABLE t (x)")
    db.close()
    refused(other, "another program: choose another file")
    text.write_text("no database, but long enough to be looked at " * 10)
    refused(text, "cannot be used: file is not a database")
    refused(tmp_path, "cannot be used")
    refused(tmp_path / "none" / "limit.db", "cannot be used: No such file")
    monkeypatch.setattr(shared_module, "network_file_system", lambda _: "nfs")
    refused(path, r"network file system \(nfs\): use a local disk")


def test_an_empty_file_and_an_empty_database_are_taken(tmp_path: Path) -> None:
    """A file that was only made becomes a shared rate limit."""
    for name, fill in (("empty", lambda _: None), ("no tables", lambda db: db.execute("PRAGMA user_version = 0"))):
        path = tmp_path / name
        path.touch()
        db = sqlite3.connect(path)
        fill(db)
        db.execute("PRAGMA journal_mode = WAL")
        db.close()
        window = SharedWindow(path, RateLimit(1, 10))
        window.open(0.0)
        window.close()


@pytest.mark.parametrize("how", ["boot", "backwards", "damaged"])
def test_a_state_that_means_nothing_is_a_full_window(
    path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """After a reboot, or where the state cannot be read, the first request waits one period, and no longer."""
    window = SharedWindow(path, RateLimit(2, 10))
    window.open(1e6)
    window.step(Ask(owner="a", now=1e6, wants=["READ"], room=1))
    window.close()
    if how == "boot":
        monkeypatch.setattr(shared_module, "boot_id", lambda: "another")
    elif how == "damaged":
        db = sqlite3.connect(path)
        db.execute("UPDATE shared SET state = 'x'")
        db.commit()
        db.close()
    window.open(5.0 if how == "backwards" else 1e6)
    at = 5.0 if how == "backwards" else 1e6
    assert window.step(Ask(owner="a", now=at, wants=["READ"], room=1)).granted == []
    assert window.step(Ask(owner="a", now=at + 10, wants=["READ"], room=1)).granted
    window.close()


def test_where_the_system_names_no_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    """There the time of the boot stands for it."""

    def none(*_: object, **__: object) -> str:
        raise FileNotFoundError

    named = boot_id()
    monkeypatch.setattr(Path, "read_text", none)
    assert boot_id() == boot_id() != named


def test_a_file_that_breaks_later(path: Path) -> None:
    """A failure is tried again for a while, with nothing lost; when it lasts, the waiters are told."""

    async def main() -> None:
        limiter = one_of(path, 1)
        place = await limiter.acquire()
        db = sqlite3.connect(path)
        db.execute("ALTER TABLE shared RENAME TO gone")
        limiter.release(place)
        waiting = asyncio.ensure_future(limiter.acquire())
        await asyncio.sleep(3)
        db.execute("ALTER TABLE gone RENAME TO shared")
        place = await waiting
        assert now() == pytest.approx(10.0, abs=0.1)
        db.execute("ALTER TABLE shared RENAME TO gone")
        db.close()
        with pytest.raises(LedgerError, match="cannot be used"):
            await limiter.acquire()
        assert now() == pytest.approx(10 + (MOST_FAILURES - 1) * RECHECK, abs=0.1)
        await limiter.aclose()

    run_virtual(main())


def rewritten(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the state in the file behind the back of the processes."""
    db = sqlite3.connect(path)
    (text,) = db.execute("SELECT state FROM shared").fetchone()
    state = json.loads(text)
    changed = change(state)
    db.execute("UPDATE shared SET state = ?", (changed if isinstance(changed, str) else json.dumps(state),))
    db.commit()
    db.close()


def deleted(path: Path) -> None:
    for name in ("", "-wal", "-shm"):
        path.with_name(path.name + name).unlink(missing_ok=True)


def replaced(path: Path) -> None:
    deleted(path)
    other = SharedWindow(path, RateLimit(20, 10))
    other.open(0.0)
    other.close()


FAR = 1e12
TAMPERINGS: dict[str, Callable[[Path], object]] = {
    "deleted": deleted,
    "replaced": replaced,
    "log-deleted": lambda path: path.with_name(f"{path.name}-wal").unlink(),
    "emptied": lambda path: rewritten(path, lambda state: state.update(uses={}, newest=0)),
    "no-row": lambda path: _execute(path, "DELETE FROM shared"),
    "no-json": lambda path: rewritten(path, lambda _: "x"),
    "a-list": lambda path: rewritten(path, lambda _: "[]"),
    "deep": lambda path: rewritten(path, lambda _: "[" * 100_000),
    "numbers-reused": lambda path: rewritten(path, lambda state: state.update(newest=0)),
    "for-ever": lambda path: rewritten(
        path,
        lambda state: state["uses"].update({str(n): {"ends": FAR, "in_flight": True} for n in range(900, 950)}),
    ),
    "no-number": lambda path: rewritten(
        path, lambda state: state["uses"].update({"900": {"ends": float("nan"), "in_flight": False}})
    ),
    "far-ahead": lambda path: rewritten(path, lambda state: state.update(seen=FAR)),
    "strangers-queue": lambda path: rewritten(
        path,
        lambda state: state.update(
            tickets={"0": {"tag": -(10**9), "until": FAR, "room": 10**9, "wants": {"ALL": 10**9, "X": "y"}}}
        ),
    ),
}


def _execute(path: Path, statement: str) -> None:
    db = sqlite3.connect(path)
    db.execute(statement)
    db.commit()
    db.close()


@pytest.mark.parametrize("tamper", TAMPERINGS.values(), ids=TAMPERINGS)
@pytest.mark.parametrize("at", [3.0, 14.0])
def test_whatever_is_done_to_the_file(path: Path, tamper: Callable[[Path], object], at: float) -> None:
    """A file that is deleted, replaced or rewritten neither lets more than a window through nor stops anything."""

    async def main() -> None:
        arrivals = list[float]()
        limiters = [one_of(path), one_of(path)]

        async def request(limiter: SharedRateLimit) -> None:
            place = await limiter.acquire()
            arrivals.append(now())
            await asyncio.sleep(0.3)
            limiter.release(place)

        requests = [asyncio.ensure_future(request(limiters[n % 2])) for n in range(70)]
        await asyncio.sleep(at)
        await inline(partial(tamper, path))
        await asyncio.gather(*requests)
        assert most_in_any_window(arrivals, 10) <= 20
        assert max(arrivals) < 120
        for limiter in limiters:
            await limiter.aclose()

    run_virtual(main())


def test_a_pause_that_somebody_wrote_ends(path: Path) -> None:
    """A pause in the file lasts an hour at the most, whatever stands there."""
    window = SharedWindow(path, RateLimit(2, 10))
    window.open(0.0)
    rewritten(path, lambda state: state.update(pauses={"ALL": {"until": FAR, "probe": "x"}}))
    assert window.step(Ask(owner="a", now=1.0, wants=["READ"], room=1)).wake == pytest.approx(3601.0)
    assert window.step(Ask(owner="a", now=3602.0, wants=["READ"], room=1)).granted
    window.close()


def test_another_program_takes_the_name(path: Path) -> None:
    """Where the file becomes one of another program, that is an error while it is there, and it is left alone."""
    window = SharedWindow(path, RateLimit(2, 10))
    window.open(0.0)
    deleted(path)
    _execute(path, "CREATE TABLE other (x)")
    before = path.read_bytes()
    with pytest.raises(LedgerError, match="another program"):
        window.step(Ask(owner="a", now=1.0))
    assert path.read_bytes() == before
    path.unlink()
    assert window.step(Ask(owner="a", now=1.0, wants=["READ"], room=1)).granted == []
    assert window.step(Ask(owner="a", now=11.0, wants=["READ"], room=1)).granted
    window.close()


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o777])
def test_only_its_owner_can_read_or_change_it(path: Path, mask: int) -> None:
    """The file and what SQLite keeps beside it have mode 0600, whatever the umask."""
    before = os.umask(mask)
    try:
        window = SharedWindow(path, RateLimit(2, 10))
        window.open(0.0)
        assert {stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()} == {0o600}
        window.close()
    finally:
        os.umask(before)


def test_a_window_that_is_not_open(path: Path) -> None:
    """A step without a file is an error in words."""
    with pytest.raises(LedgerError, match="is not open"):
        SharedWindow(path, RateLimit(1)).step(Ask(owner="a", now=0.0))


def test_it_needs_a_connection(path: Path) -> None:
    """A limiter that could never grant anything is refused at construction."""
    with pytest.raises(ValueError, match="max_connections"):
        SharedRateLimit(path, max_connections=0)


# Processes

HOLDER = """
import asyncio, sys
from suno_video_async import RateLimit, SharedRateLimit, SystemClock

async def main():
    limiter = SharedRateLimit(sys.argv[1], RateLimit(2, 10), clock=SystemClock(40))
    await limiter.acquire()
    await limiter.acquire()
    print("held", flush=True)
    await limiter.acquire()

asyncio.run(main())
"""


def test_a_killed_process_gives_its_places_back(path: Path) -> None:
    """Its places are not granted before their lease and a period are over, and then they are."""

    async def main(process: subprocess.Popen[str], clock: Any) -> None:
        async with SharedRateLimit(path, RateLimit(2, 10), clock=clock) as limiter:
            waiting = asyncio.ensure_future(limiter.acquire())
            while limiter.statistics().window_used < 2:  # noqa: ASYNC110  what another process wrote has no event
                await asyncio.sleep(0)
            killed = clock.now()
            process.send_signal(signal.SIGKILL)
            await waiting
            # The lease had been renewed a third of its length ago at most, but for a slow machine.
            assert clock.now() - killed >= PLACE_LEASE / 2
            limiter.release(await limiter.acquire())

    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        asyncio.run(main(process, SystemClock(40)))


# A window of its own for reads


def two_windows(path: Path, **options: Any) -> SharedRateLimit:
    return one_of(path, 2, 10.0, read_rate=RateLimit(3, 1), **options)


def test_submissions_and_reads_do_not_wait_for_each_other(path: Path) -> None:
    """Each lane has the places of its own window, which all processes share."""

    async def main() -> None:
        async with two_windows(path) as one, two_windows(path) as other:
            create, read = (
                [asyncio.ensure_future(use(limiter, lane=lane)) for limiter in (one, other) for _ in range(3)]
                for lane in (Lane.CREATE, Lane.READ)
            )
            assert sorted(await asyncio.gather(*create)) == roughly(0.0, 0.0, 10.0, 10.0, 20.0, 20.0)
            assert sorted(await asyncio.gather(*read)) == roughly(0.0, 0.0, 0.0, 1.0, 1.0, 1.0)

    run_virtual(main())


@pytest.mark.parametrize("seed", range(5))
def test_neither_window_is_ever_over_its_limit(path: Path, seed: int) -> None:
    """However long requests travel and whatever is paused, the server counts no more of either lane."""

    async def main() -> None:
        rng, arrivals = random.Random(seed), {Lane.CREATE: list[float](), Lane.READ: list[float]()}

        async def request(limiter: SharedRateLimit, lane: Lane) -> None:
            await asyncio.sleep(rng.uniform(0, 20))
            place = await limiter.acquire(lane)
            await asyncio.sleep(rng.expovariate(1.0))
            arrivals[lane].append(now())
            await asyncio.sleep(rng.expovariate(1.0))
            if rng.random() < 0.05:
                limiter.pause(rng.choice(list(Lane)), rng.choice([0.0, rng.expovariate(0.2)]))
            limiter.release(place, answered=rng.random() < 0.9)

        limiters = [two_windows(path, max_connections=rng.choice([3, 20])) for _ in range(3)]
        lanes = (Lane.CREATE, Lane.READ)
        await asyncio.gather(*(request(limiter, rng.choice(lanes)) for limiter in limiters for _ in range(30)))
        assert most_in_any_window(arrivals[Lane.CREATE], 10) <= 2
        assert most_in_any_window(arrivals[Lane.READ], 1) <= 3
        for limiter in limiters:
            await limiter.aclose()

    run_virtual(main())


def test_the_connections_bound_both_lanes_together(path: Path) -> None:
    """One connection carries one request at a time, submissions first."""

    async def main() -> None:
        async with two_windows(path, max_connections=1) as limiter:
            uses = [use(limiter, seconds=1.0, lane=lane) for lane in (Lane.READ, Lane.READ, Lane.CREATE)]
            assert await asyncio.gather(*uses) == roughly(1.0, 2.0, 0.0)

    run_virtual(main())


@pytest.mark.parametrize(
    ("paused", "create", "read"), [(Lane.CREATE, 5.0, 0.0), (Lane.READ, 0.0, 5.0), (Lane.ALL, 5.0, 5.0)]
)
def test_a_pause_holds_up_its_lane(path: Path, paused: Lane, create: float, read: float) -> None:
    """A pause of one lane lets the other pass, in all processes; one of all holds up both."""

    async def main() -> None:
        async with two_windows(path) as one, two_windows(path) as other:
            one.pause(paused, 5)
            await settle()
            uses = (use(other, lane=Lane.CREATE), use(other))
            assert list(await asyncio.gather(*uses)) == roughly(create, read)

    run_virtual(main())


def test_the_statistics_tell_both_windows(path: Path) -> None:
    """Places of reads count apart, also those that another process used, or that are taken as used."""

    async def main() -> None:
        async with two_windows(path) as one, two_windows(path) as other:
            await use(one)
            await other.acquire(Lane.CREATE)
            state = other.statistics()
            assert (state.window_used, state.reads_used) == (1, 1)
            one.assume_used()
            await settle()
            await other.acquire()
            state = other.statistics()
            assert [now()] == roughly(1.0)
            assert (state.window_used, state.reads_used) == (3, 1)

    run_virtual(main())


@pytest.mark.parametrize(("read_rate", "other"), [(None, RateLimit(3, 1)), (RateLimit(3, 1), None)])
def test_a_file_with_other_windows_is_refused(
    path: Path, read_rate: RateLimit | None, other: RateLimit | None
) -> None:
    """Processes that disagree on whether reads have a window of their own cannot share a file."""
    window = SharedWindow(path, RateLimit(2, 10), read_rate=read_rate)
    window.open(0.0)
    window.close()
    with pytest.raises(ConfigurationError, match=r"2/10.* not 2/10"):
        SharedWindow(path, RateLimit(2, 10), read_rate=other).open(0.0)


@pytest.mark.parametrize("damage", ["uses", "reads"])
def test_a_damaged_state_of_two_windows_is_two_full_windows(path: Path, damage: str) -> None:
    """What a process saw in use, or one whole window, is missing: each lane waits for its own period."""
    window = SharedWindow(path, RateLimit(2, 10), read_rate=RateLimit(3, 1))
    window.open(0.0)
    first = window.step(Ask(owner="a", now=0.0, wants=["READ", "CREATE"], room=5))
    places = [place for _, place in sorted(first.granted)]
    assert places[0] < 0 < places[1]
    window.step(Ask(owner="a", now=0.5, writes=[Released(place, 0.5, answered=True) for place in places]))
    rewritten(path, lambda state: state.pop("reads") if damage == "reads" else state["reads"].update(uses={}))
    wants = ["CREATE", "READ"]
    assert window.step(Ask(owner="a", now=0.6, wants=wants, room=5)).granted == []
    assert [index for index, _ in window.step(Ask(owner="a", now=1.6, wants=wants, room=5)).granted] == [1]
    window.close()


def test_a_file_of_the_version_before_is_read(path: Path) -> None:
    """A state whose waiters had no lane for reads yet: its places count."""
    window = SharedWindow(path, RateLimit(1, 10))
    window.open(0.0)
    window.step(Ask(owner="a", now=0.0, writes=[Filled(0.0)]))
    ticket = {"tag": 0, "until": 5.0, "room": 1, "wants": {"ALL": 1}}
    rewritten(path, lambda state: state.update(tickets={"b": ticket}))
    assert window.step(Ask(owner="a", now=9.0, wants=["READ"], room=1)).granted == []
    assert window.step(Ask(owner="a", now=10.0, wants=["READ"], room=1)).granted
    window.close()
