"""Whose turn it is to submit."""

from __future__ import annotations

import asyncio

from suno_video_async import Limiter
from suno_video_async.polling.submit_queue import SubmitQueue
from suno_video_async.ratelimit.limiter import Place
from tests.support.virtual import run_virtual


async def waiting(turns: SubmitQueue, name: str, order: list[str], *, bulk: bool) -> Place:
    place = await turns.acquire(bulk=bulk)
    order.append(name)
    return place


def test_a_direct_submission_goes_before_a_catalog_but_not_for_ever() -> None:
    """Three direct ones, then one of the catalog, and so on; in each queue first come, first served."""

    async def main() -> list[str]:
        turns, order = SubmitQueue(Limiter()), list[str]()
        tasks = [asyncio.ensure_future(waiting(turns, f"p{n}", order, bulk=True)) for n in range(2)]
        tasks += [asyncio.ensure_future(waiting(turns, f"d{n}", order, bulk=False)) for n in range(5)]
        await asyncio.sleep(0)
        assert len(turns) == 7
        for _ in range(7):
            assert turns.grant(Place())
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        return order

    assert run_virtual(main()) == ["d0", "d1", "d2", "p0", "d3", "d4", "p1"]


def test_a_cancelled_turn_is_passed_over() -> None:
    """It leaves the queue; a place that it had been given already goes back unused."""

    async def main() -> None:
        limiter = Limiter()
        turns = SubmitQueue(limiter)
        first = asyncio.ensure_future(turns.acquire(bulk=True))
        second = asyncio.ensure_future(turns.acquire(bulk=True))
        third = asyncio.ensure_future(turns.acquire(bulk=True))
        await asyncio.sleep(0)
        first.cancel()
        place = await limiter.acquire()
        await asyncio.sleep(0)
        assert turns.grant(place)
        second.cancel()  # before it could see its place
        await asyncio.wait([first, second])
        assert limiter.statistics().window_used == 0
        third.cancel()
        assert len(turns) == 1
        await asyncio.wait([third])
        assert not turns.grant(place)

    run_virtual(main())


def test_a_turn_that_is_being_cancelled_gets_no_place() -> None:
    """Between the cancellation and its effect it still stands in the queue."""

    async def main() -> None:
        turns = SubmitQueue(Limiter())
        task = asyncio.ensure_future(turns.acquire(bulk=False))
        await asyncio.sleep(0)
        task.cancel()
        assert not turns.grant(Place())
        await asyncio.wait([task])

    run_virtual(main())
