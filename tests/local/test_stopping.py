"""How a server stops: what others wait for is done, for so long, and then nothing is left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

from suno_video_async.local import Fault
from suno_video_async.local.command import serve
from tests.local.fake_service import until
from tests.local.serving import BALANCE, CREATE, ORDER, Receiver, create, quick, session_of

#: Longer than any test takes: whoever waits that long has failed.
LONG = 60.0


pytestmark = pytest.mark.usefixtures("own_temporary_folder")


async def test_what_is_in_the_air_is_answered() -> None:
    """A request under way gets its answer, a new one no connection; then the server ends, early."""
    server = quick(faults=[Fault(on="CreateTask", kind="slow:30")])
    await server.start()
    async with asyncio.timeout(60):
        slow = asyncio.ensure_future(create(server))
        await until(lambda: server.service.stats()["tasks"])
        parts = server._parts
        assert parts is not None
        stopping = asyncio.ensure_future(server.aclose(grace=LONG))
        await until(lambda: parts.listener._listening is None)
        async with session_of(server) as late:
            with pytest.raises(aiohttp.ClientConnectionError):
                await late.get(BALANCE)
        assert (await slow)["code"] == 200
        await stopping


async def test_an_upload_in_the_air_is_taken() -> None:
    """A body that is half sent when the stop begins is read to its end, and answered."""
    server = quick()
    await server.start()
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST {CREATE} HTTP/1.1\r\nHost: x\r\nx-api-key: {server.api_key}\r\nContent-Length: 75\r\n\r\n"
    body = b'{"model": "suno/music-video", "input": {"task_id": "m1", "suno_id": "s1"}}\n'
    writer.write(head.encode() + body[:20])
    parts = server._parts
    assert parts is not None
    await until(lambda: parts.listener._server.requests_count)
    async with asyncio.timeout(60):
        stopping = asyncio.ensure_future(server.aclose(grace=LONG))
        await asyncio.sleep(0.02)
        writer.write(body[20:])
        answer = await reader.read()
        await stopping
    assert b'"code": 200' in answer
    writer.close()
    await writer.wait_closed()


async def test_idle_connections_do_not_hold_it_up() -> None:
    """Kept-alive connections without a request are closed, and the server ends early."""
    server = quick()
    await server.start()
    async with session_of(server) as session, asyncio.timeout(60):
        async with session.get(BALANCE) as response:
            await response.read()
        await server.aclose(grace=LONG)


async def test_callbacks_that_are_owed_are_sent(receiver: Receiver) -> None:
    """A video that somebody waits to be called back about is finished, and the call is made."""
    server = quick(render_seconds=30.0)
    await server.start()
    async with asyncio.timeout(60):
        await create(server, callback_url=receiver.url)
        assert server.is_unfinished
        await server.aclose(grace=LONG)
    assert [data["status"] for data in receiver.received] == ["success"]
    assert not server.is_unfinished


async def test_what_nobody_waits_for_is_stopped() -> None:
    """A task without a callback is not waited for: nobody could hear of its end."""
    server = quick(render_seconds=1e6)
    await server.start()
    async with asyncio.timeout(60):
        await create(server)
        assert not server.is_unfinished
        await server.aclose(grace=LONG)


@pytest.mark.parametrize("way", ["time", "cancelled"])
async def test_the_grace_has_an_end(
    way: str, receiver: Receiver, own_temporary_folder: Path, new_threads: Callable[[], list[str]]
) -> None:
    """When its time is over, or the caller is cancelled, everything stops at once, and nothing is left."""
    before = asyncio.all_tasks()
    receiver.refusals = 100
    server = quick(time_scale=0.001, render_seconds=0.0)  # on whose clock the next attempt is far off
    await server.start()
    await create(server, callback_url=receiver.url)
    await until(lambda: receiver.received)
    stopping = asyncio.ensure_future(server.aclose(grace=0.1 if way == "time" else LONG))
    if way == "cancelled":
        await asyncio.sleep(0.02)
        assert not stopping.done()
        stopping.cancel()
    async with asyncio.timeout(LONG / 2):
        await asyncio.wait([stopping])
    assert stopping.cancelled() == (way == "cancelled")
    assert list(own_temporary_folder.iterdir()) == []
    await until(lambda: asyncio.all_tasks() - before == set())
    assert new_threads() == []
    assert len(receiver.received) == 1


async def test_the_command_finishes_when_told_to(receiver: Receiver) -> None:
    """It says that callbacks are still to be sent, sends them, and returns."""
    said, warned = asyncio.Queue[str](), list[str]()
    stopping = asyncio.Event()
    running = asyncio.ensure_future(
        serve(
            port=0,
            api_keys=["ak_given"],
            render_seconds=30.0,
            time_scale=100.0,
            grace=LONG,
            stopping=stopping,
            say=said.put_nowait,
            warn=warned.append,
        )
    )
    url = (await said.get()).split(" ")[2]
    order = {**ORDER, "callback_url": receiver.url}
    async with aiohttp.ClientSession(url, headers={"x-api-key": "ak_given"}) as session, asyncio.timeout(60):
        async with session.post(CREATE, json=order) as response:
            assert response.status == 200
        stopping.set()
        await running
    assert len(receiver.received) == 1
    assert warned == ["stopping: callbacks are still to be sent, for at most 60 s; stop again to end at once"]
