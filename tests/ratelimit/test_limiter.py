"""The limiter in virtual time."""

from __future__ import annotations

import asyncio
import random

import pytest

from suno_video_async import Limiter, RateLimit
from suno_video_async.ratelimit.limiter import Lane, Place
from tests.support.fakes import most_in_any_window, settle
from tests.support.virtual import run_virtual


def now() -> float:
    return asyncio.get_running_loop().time()


async def use(limiter: Limiter, *, seconds: float = 0.0, lane: Lane = Lane.READ, answered: bool = True) -> float:
    """Take a place, hold it for a while, and return when it was granted."""
    place = await limiter.acquire(lane)
    granted = now()
    await asyncio.sleep(seconds)
    limiter.release(place, answered=answered)
    return granted


def test_twenty_go_at_once_and_the_next_waits_a_period() -> None:
    """The 21st of 45 requests goes ten seconds after the end of the first, the 41st ten seconds later."""

    async def main() -> None:
        limiter = Limiter(RateLimit(20, 10), max_connections=100)
        times = await asyncio.gather(*(use(limiter) for _ in range(45)))
        assert times == [0.0] * 20 + [10.0] * 20 + [20.0] * 5

    run_virtual(main())


def test_the_period_runs_from_the_end_of_an_attempt() -> None:
    """A place is free again one period after its request was answered, not after it was sent."""

    async def main() -> None:
        limiter = Limiter(RateLimit(1, 10))
        assert await use(limiter, seconds=3.0) == 0.0
        assert await use(limiter) == 13.0

    run_virtual(main())


@pytest.mark.parametrize("seed", range(20))
def test_never_21_arrive_in_any_window(seed: int) -> None:
    """However long requests travel in either direction, the server never counts 21 in ten seconds."""

    async def main() -> None:
        rng = random.Random(seed)
        limiter = Limiter(RateLimit(20, 10), max_connections=rng.choice([3, 20, 50]))
        arrivals: list[float] = []

        async def request() -> None:
            place = await limiter.acquire(rng.choice((Lane.CREATE, Lane.READ)))
            await asyncio.sleep(rng.expovariate(1.0))
            arrivals.append(now())
            await asyncio.sleep(rng.expovariate(1.0))
            limiter.release(place)

        await asyncio.gather(*(request() for _ in range(300)))
        assert most_in_any_window(arrivals, 10) <= 20

    run_virtual(main())


def test_the_semaphore_bounds_requests_in_the_air() -> None:
    """No more than `max_connections` places are held at once."""

    async def main() -> None:
        limiter = Limiter(None, max_connections=3)
        times = await asyncio.gather(*(use(limiter, seconds=1.0) for _ in range(7)))
        assert times == [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 2.0]

    run_virtual(main())


def test_waiters_are_served_in_the_order_they_came() -> None:
    """First come, first served, in both lanes together."""

    async def main() -> None:
        limiter, served = Limiter(RateLimit(1, 1)), list[int]()

        async def request(number: int) -> None:
            await use(limiter, lane=Lane.CREATE if number % 3 else Lane.READ)
            served.append(number)

        await asyncio.gather(*(request(number) for number in range(12)))
        assert served == list(range(12))

    run_virtual(main())


def test_a_cancelled_waiter_gives_its_place_back() -> None:
    """Whoever leaves the queue, even in the moment of its turn, delays nobody."""

    async def main() -> None:
        limiter = Limiter(RateLimit(1, 10))
        first = await limiter.acquire()
        waiters = [asyncio.ensure_future(use(limiter)) for _ in range(3)]
        await settle()
        waiters[0].cancel()
        limiter.release(first, sent=False)
        waiters[1].cancel()  # granted a moment ago
        assert await waiters[2] == 0.0
        assert [waiter.cancelled() for waiter in waiters] == [True, True, False]
        assert limiter.statistics().in_flight == 0

    run_virtual(main())


def test_a_place_that_was_not_used_is_free_at_once() -> None:
    """A connection that never came up took nothing of the window."""

    async def main() -> None:
        limiter = Limiter(RateLimit(1, 10))
        limiter.release(await limiter.acquire(), sent=False, answered=False)
        assert await use(limiter) == 0.0

    run_virtual(main())


def test_a_pause_holds_up_all_and_one_probes_first() -> None:
    """After a pause one request goes alone; its answer lets the rest follow."""

    async def main() -> None:
        limiter = Limiter(RateLimit(20, 10))
        limiter.pause(Lane.ALL, 5)
        limiter.pause(Lane.ALL, 2)  # never shortens it
        assert limiter.statistics().paused_for == 5
        times = await asyncio.gather(*(use(limiter, seconds=1.0) for _ in range(4)))
        assert times == [5.0, 6.0, 6.0, 6.0]

    run_virtual(main())


def test_a_probe_that_is_refused_pauses_again() -> None:
    """A probe's refusal begins a new pause, and the next probe is somebody else."""

    async def main() -> None:
        limiter = Limiter(None)
        limiter.pause(Lane.ALL, 5)
        probe = await limiter.acquire()
        waiting = asyncio.ensure_future(use(limiter))
        await settle()
        limiter.pause(Lane.ALL, 7)
        limiter.release(probe)
        assert await waiting == 12.0

    run_virtual(main())


def test_a_probe_without_an_answer_hands_over() -> None:
    """When a probe's connection breaks, the next waiter probes at once, and alone."""

    async def main() -> None:
        limiter = Limiter(None)
        limiter.pause(Lane.ALL, 5)
        times = await asyncio.gather(
            use(limiter, seconds=1.0, answered=False), use(limiter, seconds=1.0), use(limiter), use(limiter)
        )
        assert list(times) == [5.0, 6.0, 7.0, 7.0]

    run_virtual(main())


@pytest.mark.parametrize("slow", [0.0, 3.0])
def test_a_server_that_hangs(slow: float) -> None:
    """What a server finds when it wakes is a window, and one request more for each timeout that passed."""

    async def main() -> None:
        limiter, hangs_until, timeout = Limiter(), 41.0, 5.0
        arrivals, sends = list[float](), list[float]()

        async def request() -> None:
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

        await asyncio.gather(*(request() for _ in range(90)))
        hung = [sent for sent in sends if sent < hangs_until]
        assert len(hung) <= 20 + (hangs_until - slow) / timeout
        assert arrivals.count(hangs_until) == len(hung)
        assert most_in_any_window(arrivals, 10) == len(hung)
        assert len(arrivals) == 90
        assert max(sends) < hangs_until + 60

    run_virtual(main())


def test_a_timeout_beside_a_probe_is_no_second_probe() -> None:
    """While one request probes, others that are not answered in time let no further one go."""

    async def main() -> None:
        limiter = Limiter(None)
        first, second = await limiter.acquire(), await limiter.acquire()
        limiter.pause(Lane.ALL, 0.0)
        limiter.release(first, answered=False)
        times = [asyncio.ensure_future(use(limiter, seconds=9.0)) for _ in range(3)]
        await asyncio.sleep(1)
        limiter.pause(Lane.ALL, 0.0)
        limiter.release(second, answered=False)
        assert await asyncio.gather(*times) == [0.0, 9.0, 9.0]

    run_virtual(main())


def test_a_pause_of_submissions_lets_everything_else_pass() -> None:
    """At the cap of running tasks only CreateTask waits; questions overtake it."""

    async def main() -> None:
        limiter = Limiter(RateLimit(20, 10))
        limiter.pause(Lane.CREATE, 5)
        times = await asyncio.gather(use(limiter, lane=Lane.CREATE), use(limiter), use(limiter, lane=Lane.CREATE))
        assert list(times) == [5.0, 0.0, 5.0]

    run_virtual(main())


def test_an_answer_from_before_the_pause_does_not_end_it() -> None:
    """Only the probe's answer tells that the server takes requests again."""

    async def main() -> None:
        limiter = Limiter(None)
        early = await limiter.acquire()
        limiter.pause(Lane.ALL, 5)
        limiter.release(early)
        assert await use(limiter) == 5.0

    run_virtual(main())


def test_two_pauses_end_with_one_probe_of_both() -> None:
    """A CreateTask that probes both pauses frees both lanes by its answer."""

    async def main() -> None:
        limiter = Limiter(None)
        limiter.pause(Lane.ALL, 2)
        limiter.pause(Lane.CREATE, 5)
        place = await limiter.acquire(Lane.CREATE)
        assert now() == 5.0
        limiter.release(place)
        assert limiter.statistics().paused_for == 0.0
        assert await use(limiter) == 5.0

    run_virtual(main())


def test_no_limit_at_all() -> None:
    """Without a rate only the semaphore counts."""

    async def main() -> None:
        limiter = Limiter(None, max_connections=1000)
        assert set(await asyncio.gather(*(use(limiter) for _ in range(1000)))) == {0.0}
        assert limiter.statistics().window_used == 0

    run_virtual(main())


def test_a_window_that_another_process_filled() -> None:
    """After another process of the key has sent, the first request waits a period; without a rate none does."""

    async def main() -> None:
        limiter, unbounded = Limiter(RateLimit(20, 10)), Limiter(None)
        limiter.assume_used()
        unbounded.assume_used()
        assert await use(unbounded) == 0.0
        assert await use(limiter) == 10.0

    run_virtual(main())


def test_statistics_and_repr_tell_the_live_state() -> None:
    """One look says who waits, who is in the air and how full the window is."""

    async def main() -> None:
        limiter = Limiter(RateLimit(2, 10))
        places: list[Place] = [await limiter.acquire(), await limiter.acquire()]
        limiter.release(places[0])
        waiting = asyncio.ensure_future(use(limiter))
        await settle()
        state = limiter.statistics()
        assert (state.waiting, state.in_flight, state.window_used, state.granted) == (1, 1, 2, 2)
        assert "in_flight=1 window=2 waiting=1" in repr(limiter)
        limiter.release(places[1])
        assert await waiting == 10.0

    run_virtual(main())


def test_it_needs_a_connection() -> None:
    """A limiter that could never grant anything is refused at construction."""
    with pytest.raises(ValueError, match="max_connections"):
        Limiter(max_connections=0)


# A window of its own for reads


def two_windows() -> Limiter:
    return Limiter(RateLimit(2, 10), read_rate=RateLimit(3, 1), max_connections=100)


def test_submissions_and_reads_do_not_wait_for_each_other() -> None:
    """Each lane has the places of its own window, in its own period."""

    async def main() -> None:
        limiter = two_windows()
        create, read = (
            [asyncio.ensure_future(use(limiter, lane=lane)) for _ in range(5)] for lane in (Lane.CREATE, Lane.READ)
        )
        assert await asyncio.gather(*create) == [0.0, 0.0, 10.0, 10.0, 20.0]
        assert await asyncio.gather(*read) == [0.0, 0.0, 0.0, 1.0, 1.0]

    run_virtual(main())


@pytest.mark.parametrize("seed", range(10))
def test_neither_window_is_ever_over_its_limit(seed: int) -> None:
    """However long requests travel, the server counts no more of either lane than its window allows."""

    async def main() -> None:
        rng = random.Random(seed)
        limiter, arrivals = two_windows(), {Lane.CREATE: list[float](), Lane.READ: list[float]()}

        async def request(lane: Lane) -> None:
            place = await limiter.acquire(lane)
            await asyncio.sleep(rng.expovariate(1.0))
            arrivals[lane].append(now())
            await asyncio.sleep(rng.expovariate(1.0))
            limiter.release(place)

        await asyncio.gather(*(request(rng.choice((Lane.CREATE, Lane.READ))) for _ in range(100)))
        assert most_in_any_window(arrivals[Lane.CREATE], 10) <= 2
        assert most_in_any_window(arrivals[Lane.READ], 1) <= 3

    run_virtual(main())


@pytest.mark.parametrize(
    ("paused", "create", "read"), [(Lane.CREATE, 5.0, 0.0), (Lane.READ, 0.0, 5.0), (Lane.ALL, 5.0, 5.0)]
)
def test_a_pause_holds_up_its_lane(paused: Lane, create: float, read: float) -> None:
    """A pause of one lane lets the other pass; one of all holds up both."""

    async def main() -> None:
        limiter = two_windows()
        limiter.pause(paused, 5)
        assert [limiter.holds(lane) for lane in (Lane.CREATE, Lane.READ)] == [create > 0, read > 0]
        assert list(await asyncio.gather(use(limiter, lane=Lane.CREATE), use(limiter))) == [create, read]

    run_virtual(main())


def test_what_was_not_answered_in_time_counts_in_its_own_window() -> None:
    """Two reads that timed out take places of the reads when the next one is answered, none of the submissions."""

    async def main() -> None:
        limiter = two_windows()
        for _ in range(2):
            place = await limiter.acquire()
            limiter.pause(Lane.READ, 0.0)
            limiter.release(place, answered=False)
        await asyncio.sleep(1)
        assert await use(limiter) == 1.0
        state = limiter.statistics()
        assert (state.window_used, state.reads_used) == (0, 3)

    run_virtual(main())


def test_both_windows_are_taken_as_full() -> None:
    """After another process of the key has sent, a request of either lane waits for its own period."""

    async def main() -> None:
        limiter = two_windows()
        limiter.assume_used()
        assert list(await asyncio.gather(use(limiter, lane=Lane.CREATE), use(limiter))) == [10.0, 1.0]

    run_virtual(main())


def test_the_reads_may_be_bounded_where_submissions_are_not() -> None:
    """Without a rate only the reads wait; the statistics tell both."""

    async def main() -> None:
        limiter = Limiter(None, read_rate=RateLimit(1, 10))
        times = await asyncio.gather(*(use(limiter, lane=Lane.CREATE) for _ in range(9)), use(limiter))
        assert set(times) == {0.0}
        assert "window=0 reads=1 waiting=0" in repr(limiter)
        assert await use(limiter) == 10.0

    run_virtual(main())
