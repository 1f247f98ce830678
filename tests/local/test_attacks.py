"""Clients that mean harm, or know no better, over raw sockets: the server lives, and serves the others."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import pytest

from suno_video_async._util.connections import MAX_HEAD, MAX_HEADERS, MAX_LINE, Limits
from suno_video_async.local import Fault, LocalServer
from tests.local.fake_service import until
from tests.support.keys import KEY

CREATE = "/api/v1/client/job/CreateTask"
INFO = "/api/v1/client/job/TaskInfo"
BALANCE = "/api/v1/client/account/balance"
ORDER = b'{"model": "suno/music-video", "input": {"task_id": "m1", "suno_id": "s1"}}'


def quick(**limits: Any) -> LocalServer:
    return LocalServer(
        render_seconds=1.0,
        time_scale=100.0,
        rate=None,
        api_keys=[KEY],
        limits=Limits(**limits),
    )


@pytest.fixture
async def server() -> AsyncIterator[LocalServer]:
    async with quick() as running:
        yield running


class Client:
    """A client that sends bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def of(cls, server: LocalServer) -> Client:
        host, port = server.url.removeprefix("http://").split(":")
        return cls(*await asyncio.open_connection(host, int(port)))

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> tuple[int, Any]:
        """Return the status and the content of the next answer."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        body = await self.reader.readexactly(int(length))
        return int(head.split(b" ")[1]), json.loads(body) if body.startswith(b"{") else body

    async def rest(self) -> bytes:
        """Return all that comes until the server closes."""
        try:
            return await self.reader.read()
        except ConnectionError:
            return b""

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


async def said(server: LocalServer, *parts: bytes) -> bytes:
    """Send parts on a connection of their own; return all that comes back until it is closed."""
    async with asyncio.timeout(60):
        client = await Client.of(server)
        try:
            for part in parts:
                await client.send(part)
                await asyncio.sleep(0)
        except ConnectionError:
            pass
        answer = await client.rest()
        await client.close()
    return answer


def request(method: str = "GET", path: str = BALANCE, body: bytes = b"", **headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", f"x-api-key: {KEY}"]
    if body and not {"Content_Length", "Transfer_Encoding"} & set(headers):
        lines.append(f"Content-Length: {len(body)}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def is_served(server: LocalServer) -> bool:
    """Whether an honest client gets its answers, two on one connection."""
    async with asyncio.timeout(60):
        client = await Client.of(server)
        codes = []
        for _ in range(2):
            await client.send(request())
            codes.append((await client.answer())[1]["code"])
        await client.close()
    return codes == [200, 200]


async def let_in(server: LocalServer) -> None:
    """Return when the server takes connections again, a minute from now at the latest."""
    async with asyncio.timeout(60):
        while b'"code": 200' not in await said(server, request(Connection="close")):  # noqa: ASYNC110  nobody tells
            await asyncio.sleep(0.02)


def code_of(answer: bytes) -> int:
    """Return the code of a refusal, which is also its HTTP status and stands in an envelope."""
    head, _, body = answer.partition(b"\r\n\r\n")
    content = json.loads(body)
    assert head.startswith(f"HTTP/1.1 {content['code']} ".encode())
    assert b"Connection: close" in head
    assert (content.keys(), content["data"]) == ({"code", "message", "data"}, None)
    return int(content["code"])


# Heads


@pytest.mark.parametrize(
    ("head", "code"),
    [
        (b"GET /" + b"x" * MAX_LINE + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET /" + b"x" * 3 * MAX_LINE, 414),
        (b"GET / HTTP/1.1\r\nx: " + b"y" * MAX_LINE + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"x" * MAX_LINE + b"y: 1\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * (MAX_HEADERS + 1) + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 1_000_000, 431),
        (b"GET / HTTP/1.1\r\n" + (b"x: " + b"y" * 4000 + b"\r\n") * (MAX_HEAD // 4000 + 1), 431),
    ],
    ids=["url", "endless-url", "header", "name", "count", "bomb", "total"],
)
async def test_a_head_that_is_too_long_is_refused(server: LocalServer, head: bytes, code: int) -> None:
    """A URL over the limit is a 414; a header, their number or their sum a 431; the rest is not read."""
    assert code_of(await said(server, head)) == code
    assert await is_served(server)
    assert server.service.stats()["requests"] == {"balance": 2}


async def test_a_head_at_the_limits_passes(server: LocalServer) -> None:
    """As many headers as may be, and as long a line, get an answer."""
    many: Any = {f"x{number}": "y" for number in range(MAX_HEADERS - 4)}
    answer = await said(server, request(Connection="close", **many))
    assert b'"code": 200' in answer
    answer = await said(server, request(Connection="close", x="y" * (MAX_LINE - 3)))
    assert b'"code": 200' in answer


async def test_a_head_may_come_byte_by_byte(server: LocalServer) -> None:
    """However a head is cut into pieces, and whatever empty lines precede it, it is understood."""
    whole = b"\r\n\r\n" + request("POST", CREATE, ORDER, Connection="close")
    assert b'"code": 200' in await said(server, *(whole[at : at + 1] for at in range(len(whole))))
    assert server.service.stats()["tasks"] == 1


@pytest.mark.parametrize("start", [b"GET / HT", request()[:-2], b"\x16\x03\x01\x02\x00"])
async def test_a_head_that_does_not_end_is_late(start: bytes) -> None:
    """Whoever sends a part of a head, and then nothing or a byte now and then, is told so and cut off."""
    async with quick(head_seconds=0.1) as server:
        assert code_of(await said(server, start)) == 408
        client = await Client.of(server)
        await client.send(start)

        async def drip() -> None:
            while True:
                await client.send(b"x")
                await asyncio.sleep(0.01)

        dripping = asyncio.ensure_future(drip())
        async with asyncio.timeout(60):
            assert code_of(await client.rest()) == 408
        dripping.cancel()
        await asyncio.wait([dripping])
        await client.close()
        await let_in(server)


async def test_who_says_nothing_is_let_go() -> None:
    """A connection without a request is closed without a word, at once and after a first request."""
    async with quick(head_seconds=0.1, idle_seconds=0.1) as server:
        assert await said(server) == b""
        answer = await said(server, request())
        assert answer.count(b"HTTP/1.1") == 1
        await let_in(server)


# Bodies


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (request("POST", CREATE, ORDER, Content_Length=str(len(ORDER) + 1)), 408),
        (request("POST", CREATE, b"5\r\nab", Transfer_Encoding="chunked"), 408),
        (request("POST", CREATE, b"XYZ\r\nab\r\n", Transfer_Encoding="chunked"), 400),
        (request("POST", CREATE, b"-5\r\nab\r\n", Transfer_Encoding="chunked"), 400),
        (request("POST", CREATE, b"2\r\nabcdef\r\n0\r\n\r\n", Transfer_Encoding="chunked"), 400),
        (request("POST", CREATE, ORDER, Content_Length="-1"), 400),
        (request("POST", CREATE, ORDER, Content_Length="1e3"), 400),
        (request("POST", CREATE, ORDER, Content_Length="99999999999999999999999"), 400),
        (request("POST", CREATE, b"0\r\n\r\n", Transfer_Encoding="chunked", Content_Length="5"), 400),
        (request("POST", CREATE, b"x", Transfer_Encoding="chunked, identity"), 400),
    ],
    ids=[
        "short",
        "half-chunk",
        "no-size",
        "negative-chunk",
        "long-chunk",
        "negative",
        "float",
        "enormous",
        "two-lengths",
        "unknown",
    ],
)
async def test_a_body_that_lies_about_its_length_buys_nothing(sent: bytes, code: int) -> None:
    """A body that is shorter, longer or otherwise than its headers say is refused, and charges nothing."""
    async with quick(body_seconds=0.2) as server:
        answer = await said(server, sent)
        assert answer.split(b" ")[1] == str(code).encode()
        assert answer.count(b"HTTP/1.") == 1
        assert server.service.stats()["charged"] == 0
        assert await is_served(server)


async def test_a_body_that_is_longer_than_it_says_ends_where_it_says(server: LocalServer) -> None:
    """What follows a body is the next request, or nonsense; it is not part of the body."""
    async with asyncio.timeout(60):
        client = await Client.of(server)
        await client.send(request("POST", CREATE, ORDER))
        assert (await client.answer())[1]["code"] == 200
        await client.send(b"}}}}\r\n\r\n")
        assert b" 400 " in await client.rest()
        await client.close()
    assert server.service.stats()["charged"] == 1


async def test_a_body_without_an_end_is_cut_off(server: LocalServer) -> None:
    """Of chunks that do not end a mebibyte is taken, then the client is told 413."""
    client = await Client.of(server)
    await client.send(request("POST", CREATE, b"0", Transfer_Encoding="chunked")[:-1])

    async def pour() -> None:
        while True:
            await client.send(b"10000\r\n" + b" " * 0x10000 + b"\r\n")

    pouring = asyncio.ensure_future(pour())
    async with asyncio.timeout(60):
        status, content = await client.answer()
    assert (status, content["code"]) == (413, 413)
    pouring.cancel()
    await asyncio.wait([pouring])
    await client.close()
    assert await is_served(server)


async def test_a_packed_body_is_not_unpacked(server: LocalServer) -> None:
    """A small body that would become a huge one is a 415."""
    bomb = request("POST", CREATE, b"\x1f\x8b" * 20, Content_Encoding="gzip", Connection="close")
    answer = await said(server, bomb)
    assert b'"code": 415' in answer


async def test_a_client_may_ask_before_it_sends(server: LocalServer) -> None:
    """`Expect: 100-continue` is granted, and then the body is taken."""
    client = await Client.of(server)
    await client.send(request("POST", CREATE, ORDER, Expect="100-continue")[: -len(ORDER)])
    async with asyncio.timeout(60):
        assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(ORDER)
        assert (await client.answer())[1]["code"] == 200
    await client.close()


# Nonsense


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nx\x00y: 1\r\n\r\n",
        b"GET / HTTP/1.1\r\n: empty\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
        bytes(range(256)) * 8 + b"\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_a_400(server: LocalServer, sent: bytes) -> None:
    """Nonsense is answered with one 400, and its connection closed."""
    answer = await said(server, sent)
    assert b" 400 " in answer.split(b"\r\n")[0]
    assert await is_served(server)


@pytest.mark.parametrize("path", ["/%ff%fe", f"{INFO}?task_id=%ff", "/media/%00", "//", "/%2e%2e/x", "*"])
async def test_odd_paths_are_answered(server: LocalServer, path: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever stands in a URL is a refusal, not a failure of the server."""
    with caplog.at_level(logging.ERROR):
        answer = await said(server, request(path=path, Connection="close"))
    assert answer.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 404 ", b"HTTP/1.0 400 ", b"HTTP/1.1 400 "))
    assert not caplog.records
    assert await is_served(server)


@pytest.mark.parametrize("protocol", ["websocket", "h2c", "TLS/1.0"])
async def test_nothing_is_upgraded(server: LocalServer, protocol: str) -> None:
    """Who asks for another protocol is answered in this one."""
    async with asyncio.timeout(60):
        client = await Client.of(server)
        await client.send(request(Upgrade=protocol, Connection="Upgrade"))
        assert (await client.answer())[1]["code"] == 200
        await client.close()
    assert await is_served(server)


async def test_requests_in_a_row_are_answered_in_their_order(server: LocalServer) -> None:
    """Several requests at once on one connection get their answers one after the other; nonsense ends it."""
    async with asyncio.timeout(60):
        client = await Client.of(server)
        await client.send(request() * 3)
        assert [(await client.answer())[1]["code"] for _ in range(3)] == [200, 200, 200]
        await client.send(b"nonsense\r\n\r\n" + request())
        assert (await client.rest()).count(b"HTTP/1.") == 1
        await client.close()
    assert server.service.stats()["requests"] == {"balance": 3}


# Numbers


async def test_connections_over_the_limit_are_told_to_come_back() -> None:
    """One more than may be open gets a 429 with a wait, and is let in when another has gone."""
    async with quick(connections=3) as server:
        held = [await Client.of(server) for _ in range(3)]
        for client in held:
            await client.send(request())
            assert (await client.answer())[0] == 200
        answer = await said(server, request("POST", CREATE, ORDER))
        assert code_of(answer) == 429
        assert b"Retry-After: 1\r\n" in answer
        assert server.service.stats()["charged"] == 0
        await held[0].send(request())
        assert (await held[0].answer())[0] == 200
        await held[0].close()
        await let_in(server)
        for client in held[1:]:
            await client.close()


async def test_a_thousand_connections_do_not_keep_others_out_for_long() -> None:
    """A thousand half requests are refused or cut off, memory stays flat, and then everybody is served."""
    async with quick(connections=50, head_seconds=2.0) as server:
        assert await is_served(server)
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        host, port = server.url.removeprefix("http://").split(":")
        for _ in range(5):
            sockets = list[socket.socket]()
            for _ in range(200):
                one = socket.socket()
                one.setblocking(False)
                await asyncio.get_running_loop().sock_connect(one, (host, int(port)))
                one.send(b"POST / HTTP/1.1\r\nx: " + b"y" * 1000)
                sockets.append(one)
            for one in sockets:
                one.close()
        await let_in(server)
        assert await is_served(server)
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        assert grown < 4 * 1024 * 1024


async def test_a_client_that_does_not_read_is_cut_off() -> None:
    """Whoever takes nothing of a long answer loses the connection, and the others are served meanwhile."""
    async with quick(stalled_seconds=0.2) as server:
        server.service.set_faults([Fault(on="TaskInfo", kind="huge-body")])
        host, port = server.url.removeprefix("http://").split(":")
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.setblocking(False)
            await asyncio.get_running_loop().sock_connect(deaf, (host, int(port)))
            deaf.send(request(path=f"{INFO}?task_id=task_harbour01") * 20)
            parts = server._parts
            assert parts is not None
            await until(lambda: server.service.stats()["requests"])
            assert await is_served(server)
            await until(lambda: not parts.listener._connections._open)


async def test_the_stop_does_not_wait_for_attackers() -> None:
    """Half a head, half a body and a connection that says nothing do not hold up the end."""
    for_ever = 86_400.0
    server = quick(head_seconds=for_ever, body_seconds=for_ever, idle_seconds=for_ever)
    await server.start()
    clients = [await Client.of(server) for _ in range(3)]
    await clients[0].send(b"GET / HT")
    await clients[1].send(request("POST", CREATE, ORDER)[:-5])
    await asyncio.sleep(0.01)
    await server.aclose()
    for client in clients:
        assert await client.rest() == b""
        await client.close()


@pytest.mark.parametrize("path", ["/_local/reset", "//_local/reset", "/x/../_local/reset", "/%5Flocal/reset"])
async def test_a_callback_cannot_be_aimed_at_the_servers_own_calls(server: LocalServer, path: str) -> None:
    """A client with a key cannot reset a server by naming that call as its callback URL."""
    order = json.dumps({**json.loads(ORDER), "callback_url": server.url + path}).encode()
    assert b'"code": 200' in await said(server, request("POST", CREATE, order, Connection="close"))
    await until(lambda: server.service.stats()["callbacks"]["failed"] == 1)
    assert server.service.stats()["charged"] == 1
