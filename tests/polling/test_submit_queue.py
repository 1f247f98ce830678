"""The queue of submissions that wait for a place."""

from __future__ import annotations

import asyncio

import pytest

from suno_video_async import ConfigurationError, Limiter
from suno_video_async.polling.submit_queue import SubmitQueue
from suno_video_async.ratelimit.brake import Pass
from suno_video_async.ratelimit.limiter import Place
from tests.support.virtual import run_virtual

PASS = Pass(0, 0)


async def waiting(queue: SubmitQueue, name: str, order: list[str], *, bulk: bool) -> Place:
    place, _ = await queue.acquire(bulk=bulk, now=0.0)
    order.append(name)
    return place


def test_an_interactive_submission_goes_before_bulk_ones_but_not_always() -> None:
    """Three interactive ones, then a bulk one, and so on; in each queue first come, first served."""

    async def main() -> list[str]:
        queue, order = SubmitQueue(Limiter()), list[str]()
        tasks = [asyncio.ensure_future(waiting(queue, f"p{n}", order, bulk=True)) for n in range(2)]
        tasks += [asyncio.ensure_future(waiting(queue, f"d{n}", order, bulk=False)) for n in range(5)]
        await asyncio.sleep(0)
        assert len(queue) == 7
        for _ in range(7):
            assert queue.grant(Place(), PASS)
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        return order

    assert run_virtual(main()) == ["d0", "d1", "d2", "p0", "d3", "d4", "p1"]


def test_a_cancelled_waiter_is_passed_over() -> None:
    """It leaves the queue; a place that it had been given already goes back unused."""

    async def main() -> None:
        limiter = Limiter()
        queue = SubmitQueue(limiter)
        first = asyncio.ensure_future(queue.acquire(bulk=True, now=0.0))
        second = asyncio.ensure_future(queue.acquire(bulk=True, now=0.0))
        third = asyncio.ensure_future(queue.acquire(bulk=True, now=0.0))
        await asyncio.sleep(0)
        first.cancel()
        place = await limiter.acquire()
        await asyncio.sleep(0)
        assert queue.grant(place, PASS)
        second.cancel()  # before it could see its place
        await asyncio.wait([first, second])
        assert limiter.statistics().window_used == 0
        third.cancel()
        assert len(queue) == 1
        await asyncio.wait([third])
        assert not queue.grant(place, PASS)

    run_virtual(main())


def test_a_waiter_that_is_being_cancelled_gets_no_place() -> None:
    """Between its cancellation and the next turn of the loop it is still in the queue."""

    async def main() -> None:
        queue = SubmitQueue(Limiter())
        task = asyncio.ensure_future(queue.acquire(bulk=False, now=0.0))
        await asyncio.sleep(0)
        task.cancel()
        assert not queue.grant(Place(), PASS)
        await asyncio.wait([task])

    run_virtual(main())


def test_all_waiters_fail_together() -> None:
    """Both kinds raise the error, and none is left; one that is being cancelled stays cancelled."""

    async def main() -> None:
        queue, error = SubmitQueue(Limiter()), ConfigurationError("broken")
        tasks = [asyncio.ensure_future(queue.acquire(bulk=bulk, now=0.0)) for bulk in (True, False, True)]
        await asyncio.sleep(0)
        tasks[2].cancel()
        queue.fail(error)
        assert len(queue) == 0
        assert await asyncio.gather(*tasks[:2], return_exceptions=True) == [error, error]
        with pytest.raises(asyncio.CancelledError):
            await tasks[2]

    run_virtual(main())


def test_a_waiter_that_has_failed_can_be_cancelled() -> None:
    """It has no place to return."""

    async def main() -> None:
        limiter = Limiter()
        queue = SubmitQueue(limiter)
        task = asyncio.ensure_future(queue.acquire(bulk=False, now=0.0))
        await asyncio.sleep(0)
        queue.fail(ConfigurationError("broken"))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert limiter.statistics().window_used == 0

    run_virtual(main())


def test_waiters_expire_by_how_long_they_have_waited() -> None:
    """Only those of one kind, and only the old ones."""

    async def main() -> None:
        queue = SubmitQueue(Limiter())
        times = (0.0, 1.0, 2.0)
        gone, old, new = (asyncio.ensure_future(queue.acquire(bulk=True, now=now)) for now in times)
        other = asyncio.ensure_future(queue.acquire(bulk=False, now=0.0))
        await asyncio.sleep(0)
        gone.cancel()
        queue.expire(ConfigurationError("too long"), bulk=True, before=1.0)
        await asyncio.wait([old, gone])
        assert isinstance(old.exception(), ConfigurationError)
        assert len(queue) == 2
        for task in (new, other):
            task.cancel()
        await asyncio.wait([new, other])

    run_virtual(main())


def test_a_clock_that_goes_back_expires_no_newer_waiter() -> None:
    """Those who came first expire first; who came after one that may still wait waits too."""

    async def main() -> None:
        queue = SubmitQueue(Limiter())
        old, new, odd = (asyncio.ensure_future(queue.acquire(bulk=True, now=now)) for now in (0.0, 5.0, 1.0))
        await asyncio.sleep(0)
        queue.expire(ConfigurationError("too long"), bulk=True, before=1.0)
        await asyncio.wait([old])
        assert isinstance(old.exception(), ConfigurationError)
        assert (new.done(), odd.done(), len(queue)) == (False, False, 2)
        for task in (new, odd):
            task.cancel()
        await asyncio.wait([new, odd])

    run_virtual(main())
