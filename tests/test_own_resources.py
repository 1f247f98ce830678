"""What belongs to the application stays the application's: its threads, and its other event loops."""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from suno_video_async import NO_LEDGER, CallbackReceiver, SunoVideoClient, SystemClock, Track
from suno_video_async._util.resolver import ThreadResolver, _with_scope
from suno_video_async.testing import VideoServer
from tests.support.clients import TRACK, FakeAPI, client_of
from tests.support.processes import PATIENCE

CATALOG = "task_id,suno_id\nm,s1\nm,s2\n"


@pytest.fixture
def no_blocking_calls() -> None:
    """Let these tests wait for threads."""


def elsewhere(run: Any) -> str:
    """Return what a coroutine function raises on an event loop of another thread, within a minute."""

    async def bounded() -> None:
        async with asyncio.timeout(60):
            await run()

    with ThreadPoolExecutor(1) as pool:
        return str(pool.submit(asyncio.run, bounded()).exception(60))


async def test_sync_endpoints_that_fill_the_applications_threads_are_served(
    suno_video_server: VideoServer, tmp_path: Path
) -> None:
    """Forty of them wait for videos, as in a sync web framework, and hold every thread there is by default."""
    catalog = tmp_path / "c.csv"
    await asyncio.to_thread(catalog.write_text, CATALOG)
    async with suno_video_server.client() as client:

        async def generate(number: int) -> None:
            await client.generate(Track(task_id="m", suno_id=f"own{number}"), output_dir=tmp_path / "videos")

        async def convert() -> None:
            async with client.convert(catalog, output_dir=tmp_path, ledger=tmp_path / "l.db") as outcomes:
                assert {outcome.state async for outcome in outcomes} == {"downloaded"}

        threads = int(anyio.to_thread.current_default_thread_limiter().total_tokens)
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as group:
                for number in range(threads - 1):
                    group.start_soon(anyio.to_thread.run_sync, anyio.from_thread.run, generate, number)
                group.start_soon(anyio.to_thread.run_sync, anyio.from_thread.run, convert)


async def test_names_are_looked_up_while_the_loops_own_threads_are_all_taken() -> None:
    """The default executor is the application's, too."""
    loop, free = asyncio.get_running_loop(), asyncio.Event()
    loop.set_default_executor(ThreadPoolExecutor(1))
    blocked = loop.run_in_executor(None, lambda: asyncio.run_coroutine_threadsafe(free.wait(), loop).result(60))
    resolver = ThreadResolver()
    async with asyncio.timeout(60):
        found = await resolver.resolve("localhost", 443)
    assert found[0] == {
        "hostname": "localhost",
        "host": "127.0.0.1",
        "port": 443,
        "family": socket.AF_INET,
        "proto": socket.IPPROTO_TCP,
        "flags": socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    }
    await resolver.close()
    free.set()
    await blocked


def test_an_address_of_the_local_link_names_its_interface() -> None:
    """Without it the address cannot be reached."""
    assert _with_scope(("fe80::1", 443, 0, 2)) == "fe80::1%2"
    assert _with_scope(("2001:db8::1", 443, 0, 0)) == "2001:db8::1"
    assert _with_scope(("192.0.2.1", 443)) == "192.0.2.1"


async def test_use_from_another_loop_is_a_clear_error() -> None:
    """Nothing hangs, nothing is half done, and the client goes on on its own loop."""
    client, _ = client_of(FakeAPI(seconds=0.5), clock=SystemClock(1))
    async with client:
        task = await client.submit(TRACK)
        conversion = client.convert([TRACK], ledger=NO_LEDGER)
        outcomes = await conversion.__aenter__()
        uses: list[Any] = [client.aclose, client.balance, task.result, outcomes.__anext__]
        for use in uses:
            assert "belongs to the event loop" in await asyncio.to_thread(elsewhere, use)
        leave = lambda: conversion.__aexit__(None, None, None)  # noqa: E731
        assert "belongs to the event loop" in await asyncio.to_thread(elsewhere, leave)
        assert [outcome.state async for outcome in outcomes] == ["succeeded"]
        await conversion.__aexit__(None, None, None)
        assert (await task.result()).task_id == task.id


async def test_callbacks_are_received_on_the_clients_loop(tmp_path: Path) -> None:
    """A receiver that another loop serves would neither wake nor find the conversion: it says so at once."""
    client, _ = client_of(FakeAPI(seconds=0.0), clock=SystemClock(1000))

    async def nothing() -> bytes:
        return b""

    async with client:
        receiver = CallbackReceiver(client, public_url="https://me.example.test/cb")
        listen = lambda: receiver.listen(port=0).__aenter__()  # noqa: E731
        assert "belongs to the event loop" in await asyncio.to_thread(elsewhere, listen)
        assert "belongs" in await asyncio.to_thread(elsewhere, lambda: receiver.handle("0" * 32, nothing))
        served = await asyncio.to_thread(made_on_another_loop, client)
        with pytest.raises(RuntimeError, match="CallbackReceiver belongs to the event loop"):
            await client.convert([TRACK], ledger=NO_LEDGER, callbacks=served).__aenter__()


def made_on_another_loop(client: SunoVideoClient) -> CallbackReceiver:
    async def make() -> CallbackReceiver:
        return CallbackReceiver(client, public_url="https://me.example.test/cb")

    return asyncio.run(make())
