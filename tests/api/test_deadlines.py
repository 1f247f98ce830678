"""The time that a request may take: one timer for all of them."""

from __future__ import annotations

import asyncio

import pytest

from suno_video_async.api.transport import _Deadlines
from tests.support.virtual import run_virtual


async def waited(deadlines: _Deadlines, seconds: float, *, after: float = 0.0) -> tuple[bool, float]:
    """Wait in a block; return whether it was given up, and when it ended."""
    await asyncio.sleep(after)
    try:
        with deadlines.begin():
            await asyncio.sleep(seconds)
    except TimeoutError:
        return True, asyncio.get_running_loop().time()
    return False, asyncio.get_running_loop().time()


def test_each_block_has_its_own_time() -> None:
    """One that begins later is due later, whatever became of those before it."""

    async def scenario() -> None:
        deadlines, began = _Deadlines(10.0), asyncio.get_running_loop().time()
        blocks = [(1.0, 0.0), (99.0, 2.0), (9.0, 3.0), (99.0, 4.0), (99.0, 30.0)]
        ended = await asyncio.gather(*(waited(deadlines, seconds, after=after) for seconds, after in blocks))
        assert [(late, round(at - began, 6)) for late, at in ended] == [
            (False, 1.0),
            (True, 12.0),
            (False, 12.0),
            (True, 14.0),
            (True, 40.0),
        ]

    run_virtual(scenario())


def test_those_that_are_due_together_are_given_up_together() -> None:
    """As after the process stood still."""

    async def scenario() -> None:
        deadlines, loop = _Deadlines(10.0), asyncio.get_running_loop()
        began = loop.time()
        assert await asyncio.gather(*(waited(deadlines, 99.0) for _ in range(3))) == [(True, began + 10.0)] * 3

    run_virtual(scenario())


@pytest.mark.parametrize("late", [False, True], ids=["in-time", "at-once"])
def test_a_cancellation_goes_on(late: bool) -> None:
    """A caller's own is not taken for the end of the time, not even where both come at once."""

    async def scenario() -> None:
        deadline, waiting = _Deadlines(10.0).begin(), asyncio.Event()

        async def block() -> None:
            with deadline:
                waiting.set()
                await asyncio.sleep(99.0)

        task = asyncio.create_task(block())
        await waiting.wait()
        if late:
            deadline.give_up()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run_virtual(scenario())
