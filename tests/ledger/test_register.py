"""A row of an open ledger is worked on by one part of a client at a time."""

from __future__ import annotations

import asyncio

from suno_video_async.ledger.register import WorkRegister


async def test_the_second_waits_for_the_end_of_the_first() -> None:
    """One after the other, in the order in which they came."""
    register, order = WorkRegister(), list[str]()

    async def work(name: str) -> None:
        await register.begin_when_free(1)
        order.append(name)
        await asyncio.sleep(0)
        order.append(name)
        register.end(1)

    await asyncio.gather(work("a"), work("b"), work("c"))
    assert order == ["a", "a", "b", "b", "c", "c"]
    assert register.find(1) is None


async def test_a_row_is_free_only_when_its_submission_has_an_outcome() -> None:
    """A send that outlives the work on its row keeps the row."""
    register, outcome = WorkRegister(), asyncio.get_running_loop().create_future()
    work = await register.begin_when_free(1)
    work.submit(outcome)
    register.end(1)
    assert register.find(1) is work
    assert await work.submission() is outcome
    outcome.set_result(None)
    await work.until_ended()
    assert register.find(1) is None


async def test_work_that_submits_nothing_says_so_at_its_end() -> None:
    """Who waits for its submission goes on then."""
    register = WorkRegister()
    work = await register.begin_when_free(1)
    waiting = asyncio.ensure_future(work.submission())
    await asyncio.sleep(0)
    assert not waiting.done()
    register.end(1)
    assert await waiting is None


async def test_work_whose_submission_has_ended_ends_at_once() -> None:
    """Nothing is waited for any more."""
    register, outcome = WorkRegister(), asyncio.get_running_loop().create_future()
    work = await register.begin_when_free(1)
    work.submit(outcome)
    outcome.set_result(None)
    register.end(1)
    assert register.find(1) is None
    await work.until_ended()


async def test_what_is_to_be_called_at_the_end_of_work_is_called_once() -> None:
    """However often that was asked for."""
    register, called = WorkRegister(), list[int]()
    work = register.begin(1)

    def call() -> None:
        called.append(1)

    work.on_end(call)
    work.on_end(call)
    assert not called
    register.end(1)
    assert called == [1]
