"""Answers that arrive while the process stands still, and connections that did not survive a machine's sleep."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import aiohttp
import pytest

from suno_video_async import Answer, APITimeoutError, Request, Timeout, Track, VideoRequest, VideoTaskId
from suno_video_async.api.transport import AiohttpTransport, make_session
from suno_video_async.clock import ClockDrift
from suno_video_async.protocol import codec
from tests.support.keys import KEY
from tests.support.raw import http, raw_server, says

READ = codec.task_info(VideoTaskId("v1"))
CREATE = codec.create_task(VideoRequest(track=Track(task_id="m", suno_id="s")))
#: Real seconds in which a thread of this test has to answer another one.
PATIENCE = 60.0


class StoppableLoop(asyncio.SelectorEventLoop):
    """A loop that can stand still for as long as a test likes, without taking that long."""

    stood_still = 0.0

    def time(self) -> float:
        return super().time() + self.stood_still


class StopsTheClient:
    """A server in a thread of its own, which answers only once the client's loop stands still.

    Args:
        loop: the client's loop.
        answer: what it answers, if anything.
        seconds: how long the loop stands still.

    """

    def __init__(self, loop: StoppableLoop, answer: bytes, seconds: float) -> None:
        self._loop, self._answer, self._seconds = loop, answer, seconds
        self._stopped, self._answered, self._over = threading.Event(), threading.Event(), threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    @contextmanager
    def serving(self) -> Iterator[None]:
        thread = threading.Thread(target=self._serve)
        thread.start()
        try:
            with closing(self._listening):
                yield
        finally:
            self._over.set()
            thread.join(PATIENCE)

    def _serve(self) -> None:
        connection, _ = self._listening.accept()
        with connection:
            connection.recv(65_536)
            self._loop.call_soon_threadsafe(self._stand_still)
            assert self._stopped.wait(PATIENCE)
            connection.sendall(self._answer)
            self._answered.set()
            self._over.wait(PATIENCE)

    def _stand_still(self) -> None:
        self._stopped.set()
        assert self._answered.wait(PATIENCE)
        self._loop.stood_still += self._seconds


def stopped(request: Request, answer: bytes, seconds: float) -> Answer:
    """Send a request whose answer comes while the client stands still for longer than its timeout."""

    async def main() -> Answer:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, StoppableLoop)
        server = StopsTheClient(loop, answer, seconds)
        with server.serving():
            async with make_session() as session:
                timeout = Timeout(connect=10, total=60)
                return await AiohttpTransport(server.url, KEY, timeout=timeout, session=session).send(request)

    with asyncio.Runner(loop_factory=StoppableLoop) as runner:
        return runner.run(main())


@pytest.mark.parametrize("request_", [READ, CREATE])
@pytest.mark.parametrize("size", [2, 200_000])
def test_an_answer_that_came_while_the_process_stood_still_is_read(request_: Request, size: int) -> None:
    """The timeout is due together with the answer, and the answer counts."""
    assert len(stopped(request_, http(b"x" * size), 3600.0).body) == size


@pytest.mark.parametrize("came", [b"", http(b"x" * 100)[:-1]])
def test_what_has_not_come_by_then_is_a_timeout(came: bytes) -> None:
    """Nothing, or not all of it."""
    with pytest.raises(APITimeoutError, match="no answer in time") as caught:
        stopped(CREATE, came, 3600.0)
    assert caught.value.sent


class Clocks:
    """The two clocks of a machine that may sleep."""

    def __init__(self) -> None:
        self.wall, self.monotonic = 1_700_000_000.0, 1000.0

    def drift(self) -> ClockDrift:
        return ClockDrift(lambda: self.wall, lambda: self.monotonic)

    def wake(self, seconds: float) -> None:
        """Let the machine work for some seconds."""
        self.wall += seconds
        self.monotonic += seconds

    def sleep(self, seconds: float) -> None:
        """Let the machine sleep for some seconds."""
        self.wall += seconds


def test_a_sleep_is_noticed_once() -> None:
    """Work is no drift, nor is the correction of a clock by less than a second."""
    clocks = Clocks()
    drift = clocks.drift()
    clocks.wake(3600)
    clocks.sleep(0.9)
    assert not drift.noticed()
    clocks.sleep(60)
    assert (drift.noticed(), drift.noticed()) == (True, False)
    clocks.sleep(-60)
    assert drift.noticed()


@pytest.mark.parametrize("injected", [False, True])
@pytest.mark.parametrize(
    ("between", "connections"), [(lambda clocks: clocks.wake(1), 1), (lambda clocks: clocks.sleep(3600), 2)]
)
async def test_connections_are_not_used_again_after_a_sleep(
    injected: bool, between: Callable[[Clocks], None], connections: int
) -> None:
    """The server has forgotten them: a submission over one of them would be unknown."""
    clocks = Clocks()
    async with (
        raw_server(says(http(b"ok"))) as server,
        aiohttp.ClientSession() if injected else make_session() as session,
    ):
        transport = AiohttpTransport(server.url, KEY, timeout=Timeout(), session=session, drift=clocks.drift())
        await transport.send(READ)
        between(clocks)
        await transport.send(CREATE)
        assert server.connections == connections


async def test_a_request_in_flight_survives_what_is_done_after_a_sleep() -> None:
    """Only idle connections are closed."""
    clocks, arrived, go_on = Clocks(), asyncio.Event(), asyncio.Event()

    async def behave(head: bytes, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if head.startswith(b"GET"):
            arrived.set()
            await go_on.wait()
        writer.write(http(b"ok"))

    async with raw_server(behave) as server, make_session() as session:
        transport = AiohttpTransport(server.url, KEY, timeout=Timeout(), session=session, drift=clocks.drift())
        reading = asyncio.create_task(transport.send(READ))
        await arrived.wait()
        clocks.sleep(3600)
        await transport.send(CREATE)
        go_on.set()
        assert (await reading).body == b"ok"
