"""The end of an event loop while a client is open: its other tasks are cancelled, wherever they are."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.clients import FakeAPI, client_of
from tests.support.virtual import run_virtual


@pytest.mark.parametrize("rounds", range(12))
def test_a_client_closes_when_its_loop_ends(rounds: int) -> None:
    """Also where a read has not taken its first step; a virtual loop finds what waits for ever."""

    async def use() -> None:
        client, _ = client_of(FakeAPI())
        async with client:
            reading.set()
            while True:
                await client.balance()

    async def main() -> asyncio.Task[None]:
        task = asyncio.create_task(use())
        await reading.wait()
        for _ in range(rounds):
            await asyncio.sleep(0)
        return task

    reading = asyncio.Event()
    assert run_virtual(main()).cancelled()
