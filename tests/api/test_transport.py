"""The aiohttp adapter against servers that behave, and against those that do not."""

from __future__ import annotations

import asyncio
import gzip
import json
import ssl
import zlib
from collections.abc import Awaitable, Callable
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import aiohttp
import pytest

from suno_video_async import (
    Answer,
    APITimeoutError,
    MalformedResponseError,
    Request,
    SunoVideoClient,
    Timeout,
    Track,
    TransportError,
    VideoRequest,
    VideoTaskId,
    __version__,
)
from suno_video_async.api import transport as module
from suno_video_async.api.transport import AiohttpTransport, _Body, _is_open, _poll_of, _reason, make_session
from suno_video_async.protocol import codec
from suno_video_async.protocol.codec import MAX_BODY
from tests.support.keys import KEY
from tests.support.ports import reserved_port
from tests.support.raw import http, no_tls, raw_server, says
from tests.support.virtual import jump

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.client_reqrep import ConnectionKey

READ = codec.task_info(VideoTaskId("v 1"))
CREATE = codec.create_task(VideoRequest(track=Track(task_id="m", suno_id="s")))


async def send(url: str, request: Request = READ, *, timeout: Timeout | None = None) -> Answer:
    async with make_session() as session:
        transport = AiohttpTransport(url, KEY, timeout=timeout or Timeout(connect=30, total=60), session=session)
        assert KEY not in repr(transport)
        return await transport.send(request)


async def test_one_request_one_answer() -> None:
    """Status, headers and body come back as they were; the key goes into its header and nowhere else."""
    async with raw_server(says(http(b'{"x": 1}', "422 No", Retry_After="7"))) as server:
        answer = await send(server.url)
    assert (answer.status, answer.headers["retry-after"], answer.body) == (422, "7", b'{"x": 1}')
    head = server.heads[0].decode()
    assert head.startswith("GET /api/v1/client/job/TaskInfo?task_id=v%201 HTTP/1.1")
    assert head.count(KEY) == 1
    assert f"x-api-key: {KEY}" in head
    assert f"User-Agent: suno-video-async/{__version__}\r\n" in head


@pytest.mark.parametrize("own", ["none", "headers", "skipped", "later"])
async def test_headers_of_a_users_session_change_nothing(own: str) -> None:
    """A request has each of the library's headers once, whatever its session was made with or is told later."""
    others = {"Content-Type": "text/plain", "User-Agent": "theirs", "Accept-Encoding": "br", "x-api-key": "theirs"}
    given = others if own == "headers" else None
    skipped = others if own == "skipped" else None
    async with (
        raw_server(says(http(b"{}"))) as server,
        aiohttp.ClientSession(headers=given, skip_auto_headers=skipped) as session,
    ):
        transport = AiohttpTransport(server.url, KEY, timeout=Timeout(connect=30, total=60), session=session)
        if own == "later":
            session.headers.update(others)
        await transport.send(CREATE)
    lines = server.heads[0].decode().lower().split("\r\n")
    assert sorted(line for line in lines if line.partition(":")[0] in {name.lower() for name in others}) == [
        "accept-encoding: identity",
        "content-type: application/json",
        f"user-agent: suno-video-async/{__version__}".lower(),
        f"x-api-key: {KEY}".lower(),
    ]


async def test_no_byte_leaves_when_it_is_not_certain_any_more_that_one_may() -> None:
    """It is asked once the connection is up, whatever time that took; a read costs nothing."""
    async with raw_server(says(http(b"{}"))) as server, make_session() as session:
        transport = AiohttpTransport(server.url, KEY, timeout=Timeout(), session=session, may_send=lambda: False)
        with pytest.raises(TransportError, match="has not answered lately") as caught:
            await transport.send(CREATE)
        assert not caught.value.sent
        await transport.send(READ)
    assert [head.split()[0] for head in server.heads] == [b"GET"]


async def test_a_base_url_may_have_a_path() -> None:
    """A gateway's prefix goes before the API's own paths."""
    async with raw_server(says(http(b""))) as server:
        await send(server.url + "/prefix/")
    assert server.heads[0].startswith(b"GET /prefix/api/v1/")


CUT = b'{"code": 200, "message": "", "data": {"task_id": "v1"'


@pytest.mark.parametrize(
    ("part", "task_id"),
    [(CUT, "v1"), (CUT + b', "x": "' + b"y" * MAX_BODY, "v1"), (CUT[:-1], None), (b"", None)],
    ids=["cut", "too long", "cut in the id", "nothing"],
)
@pytest.mark.parametrize("then_close", [True, False], ids=["closed", "silent"])
async def test_an_id_in_the_part_of_an_answer_that_arrived_is_kept(
    part: bytes, task_id: str | None, then_close: bool
) -> None:
    """The connection breaks, or goes silent, behind the id of a task that is paid for."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = head + (b"%x\r\n" % (len(part) + 9) + part if part else b"")

    async def go_silent(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()
        jump(60)

    async with raw_server(says(answer, then_close=True) if then_close else go_silent) as server:
        with pytest.raises(TransportError) as caught:
            await send(server.url, CREATE)
    assert caught.value.sent
    assert getattr(caught.value, "task_id", None) == task_id
    assert (type(caught.value) is MalformedResponseError) is (task_id is not None or "over" in str(caught.value))


async def test_a_part_of_an_answer_to_a_question_is_nothing() -> None:
    """It is asked again."""
    async with raw_server(says(http(CUT).replace(b"53", b"99"), then_close=True)) as server:
        with pytest.raises(TransportError, match="the connection broke") as caught:
            await send(server.url)
    assert not isinstance(caught.value, MalformedResponseError)


async def test_a_body_is_sent_as_json() -> None:
    """CreateTask posts its JSON with its length and type."""
    bodies: list[bytes] = []

    async def behave(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        bodies.append(await reader.readexactly(length))
        writer.write(http(b"ok"))

    async with raw_server(behave) as server:
        await send(server.url, CREATE)
    assert b"content-type: application/json" in server.heads[0].lower()
    assert bodies == [CREATE.body]


async def test_redirects_are_not_followed() -> None:
    """The key never goes to another place than the base URL's."""
    async with raw_server(says(http(b"elsewhere"))) as elsewhere:
        async with raw_server(says(http(b"", "302 Found", Location=elsewhere.url))) as server:
            answer = await send(server.url)
        assert answer.status == 302
        assert elsewhere.heads == []


async def test_cookies_are_not_kept() -> None:
    """What a server wants remembered is not."""
    async with raw_server(says(http(b"", Set_Cookie="a=b"))) as server, make_session() as session:
        transport = AiohttpTransport(server.url, KEY, timeout=Timeout(), session=session)
        await transport.send(READ)
        await transport.send(READ)
    assert all(b"cookie" not in head.lower() for head in server.heads)


async def test_a_server_that_repeats_the_key_does_not_get_it_into_our_values() -> None:
    """The key is taken out of every body before anything is made of it."""
    async with raw_server(says(http(f"bad key {KEY}!".encode()))) as server:
        answer = await send(server.url)
    assert answer.body == b"bad key [api key]!"


@pytest.mark.parametrize(
    ("spelling", "read"),
    [
        (KEY.encode().replace(b"_", rb"\u005F").replace(b"s", rb"\u0073"), b"[api key]"),
        (b"".join(rb"\u%04x" % char for char in KEY.encode()), b"[api key]"),
        (KEY.swapcase().encode(), b"[api key]"),
        (rb"Simon \\u0026 Garfunkel \u0026", rb"Simon \\u0026 Garfunkel \u0026"),
        (rb"\\u0061" + KEY.encode()[1:], rb"\\u0061" + KEY.encode()[1:]),
    ],
)
async def test_the_key_is_found_however_json_spells_it(spelling: bytes, read: bytes) -> None:
    """Escapes do not hide the key, and what is not the key keeps every escape as it came."""
    async with raw_server(says(http(b'{"said": "%b"}' % spelling))) as server:
        answer = await send(server.url)
    assert answer.body == b'{"said": "%b"}' % read


@pytest.mark.parametrize("key", ["1", "data", "task_id", "application"])
async def test_a_short_key_is_not_cut_out_of_answers(key: str) -> None:
    """A test server's key may be a word of every answer; without that word none of them could be read."""
    body = b'{"code": 200, "message": "success", "data": {"task_id": "\\u0031"}}'
    async with raw_server(says(http(body, Content_Type="application/json"))) as server, make_session() as session:
        answer = await AiohttpTransport(server.url, key, timeout=Timeout(), session=session).send(READ)
    assert answer.body == body
    assert answer.headers["Content-Type"] == "application/json"


async def test_a_header_that_repeats_the_key_is_bounded_and_redacted() -> None:
    """Headers are kept as far as they mean something, short and without the key."""
    headers = {"Content_Type": f"text/{KEY}", "Retry_After": "7" * 900, "Set_Cookie": KEY}
    async with raw_server(says(http(b"", **headers))) as server:
        answer = await send(server.url)
    assert dict(answer.headers) == {"Content-Type": "text/[api key]", "Retry-After": "7" * 200}


@pytest.mark.parametrize("request_", [READ, CREATE])
async def test_long_headers_do_not_hide_an_answer(request_: Request) -> None:
    """A header over aiohttp's 8 KB would make an accepted submission unknown."""
    async with raw_server(says(http(b"ok", Set_Cookie="x" * 40_000))) as server:
        assert (await send(server.url, request_)).body == b"ok"


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}", "http://name.invalid:{port}"])
async def test_no_connection_is_not_sent(url: str) -> None:
    """Refused, or without an address: no byte left."""
    with reserved_port() as port, pytest.raises(TransportError, match="not sent") as caught:
        await send(url.format(port=port), CREATE)
    assert not caught.value.sent


async def test_a_tls_failure_is_not_sent() -> None:
    """A handshake that fails ends before the request begins."""
    async with no_tls() as url:
        with pytest.raises(TransportError, match="TLS failed") as caught:
            await send(url, CREATE)
    assert not caught.value.sent


def test_a_tls_failure_has_the_reason_of_tls() -> None:
    """The error number of TLS is not the operating system's, and is not translated as if it were."""
    failure = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number")
    failure.reason = "WRONG_VERSION_NUMBER"
    key = cast("ConnectionKey", None)
    assert _reason(aiohttp.ClientConnectorSSLError(key, failure)) == "TLS failed (WRONG_VERSION_NUMBER)"
    failure.reason = ""
    assert _reason(failure) == "TLS failed (SSLError)"


@pytest.mark.parametrize("how", ["write", "write_with_length"])
async def test_a_body_is_written_once(how: str) -> None:
    """However aiohttp writes a body: from its first byte on it may have arrived, and it does not go again."""
    written = list[bytes]()

    class Writer:
        async def write(self, chunk: bytes) -> None:
            written.append(chunk)

    body = _Body(b"{}")
    write = partial(body.write, cast("AbstractStreamWriter", Writer()))
    if how == "write_with_length":
        write = partial(body.write_with_length, cast("AbstractStreamWriter", Writer()), None)
    assert not body.begun
    await write()
    assert (body.begun, written) == (True, [b"{}"])
    with pytest.raises(TransportError, match="tried to send a request twice"):
        await write()


async def test_a_connection_that_takes_too_long_is_not_sent() -> None:
    """The connect timeout says for certain that nothing left."""

    class Stuck(aiohttp.TCPConnector):
        async def _create_connection(
            self, *args: object, **kwargs: object
        ) -> aiohttp.client_proto.ResponseHandler:
            async with asyncio.timeout(0.05):
                await asyncio.Event().wait()
            raise AssertionError

    async with aiohttp.ClientSession(connector=Stuck()) as session:
        transport = AiohttpTransport(
            "http://127.0.0.1:9", KEY, timeout=Timeout(connect=0.05, total=1), session=session
        )
        with pytest.raises(APITimeoutError, match="no connection in time") as caught:
            await transport.send(CREATE)
    assert not caught.value.sent


def hang(before: bytes) -> Callable[[bytes, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def behave(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(before)
        await writer.drain()
        jump(60)
        await reader.read()

    return behave


@pytest.mark.parametrize("before", [b"", b"HTTP/1.1 200 OK\r\n", http(b"x" * 9)[:-3]])
async def test_a_silent_server_is_a_timeout_after_the_send(before: bytes) -> None:
    """Whatever was answered so far, the request was sent and its outcome is unknown."""
    async with raw_server(hang(before)) as server:
        with pytest.raises(APITimeoutError, match="no answer in time") as caught:
            await send(server.url, CREATE)
    assert caught.value.sent
    assert isinstance(caught.value, TimeoutError)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
    ],
)
async def test_a_broken_answer_was_sent(answer: bytes) -> None:
    """Cut or garbled answers leave the outcome unknown."""
    async with raw_server(says(answer, then_close=True)) as server:
        with pytest.raises(TransportError) as caught:
            await send(server.url, CREATE)
    assert caught.value.sent
    assert KEY not in str(caught.value)


def bare_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


@pytest.mark.parametrize(
    ("encoding", "sent", "read"),
    [
        ("gzip", gzip.compress(b"{}"), b"{}"),
        (" X-GZIP", gzip.compress(b"{}"), b"{}"),
        ("deflate", zlib.compress(b"{}"), b"{}"),
        ("deflate", bare_deflate(b"{}"), b"{}"),
        ("gzip", b"{}", b"{}"),
        ("identity", b"{}", b"{}"),
        ("utf-8", b"{}", b"{}"),
        ("br", b"\x0b\x00{}\x03", b"\x0b\x00{}\x03"),
        ("gzip, gzip", b"?", b"?"),
    ],
    ids=["gzip", "x-gzip", "zlib", "deflate", "gzip-in-name-only", "identity", "a-charset", "brotli", "twice"],
)
async def test_what_is_compressed_unasked(encoding: str, sent: bytes, read: bytes) -> None:
    """An answer that a gateway compressed is read within the bound; a label that is not true changes nothing."""
    async with raw_server(says(http(sent, Content_Encoding=encoding))) as server:
        assert (await send(server.url)).body == read


@pytest.mark.parametrize("poll", [True, False], ids=["poll", "select"])
@pytest.mark.parametrize("arrived", [True, False], ids=["read", "in-the-socket"])
@pytest.mark.parametrize("make", [make_session, aiohttp.ClientSession], ids=["own", "injected"])
async def test_what_nobody_asked_for_is_no_answer(
    make: Callable[[], aiohttp.ClientSession], arrived: bool, poll: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a server sends on an idle connection is not taken as the answer to the next request."""
    _poll_of.cache_clear()
    if not poll:
        monkeypatch.delattr("select.poll")
    stray, sent = http(b"stray"), asyncio.Event()

    async def behave(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(http(f"answer {len(server.heads)}".encode()))
        if len(server.heads) == 1:
            await writer.drain()
            await asyncio.sleep(0.05)
            writer.write(stray)
            await writer.drain()
            sent.set()

    async with raw_server(behave) as server, make() as session:
        transport = AiohttpTransport(server.url, KEY, timeout=Timeout(), session=session)
        assert (await transport.send(READ)).body == b"answer 1"
        await sent.wait()
        if arrived:
            await asyncio.sleep(0.05)
        assert (await transport.send(READ)).body == b"answer 2"
        assert (await transport.send(READ)).body == b"answer 3"
        assert server.connections == 2


@pytest.mark.parametrize("whose", ["own", "injected", "own, of an aiohttp without its private switch"])
@pytest.mark.parametrize("request_", [READ, CREATE])
async def test_a_stale_connection_is_not_repeated(
    whose: str, request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiohttp would send a GET once more when a kept-alive connection breaks; one call is one send."""
    answers = 0
    if whose.endswith("switch"):
        monkeypatch.setattr(module, "_REPEATS", "_no_such_switch")
    make = aiohttp.ClientSession if whose == "injected" else make_session

    async def once(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal answers
        answers += 1
        if answers == 1:
            writer.write(http(b"ok"))
        else:
            writer.close()

    async with raw_server(once) as server, make() as session:
        transport = AiohttpTransport(server.url, KEY, timeout=Timeout(), session=session)
        await transport.send(READ)
        with pytest.raises(TransportError) as caught:
            await transport.send(request_)
    assert caught.value.sent
    assert len(server.heads) == 2


@pytest.mark.parametrize(
    "answer",
    [
        http(b"x" * (MAX_BODY + 1)),
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + (b"10000\r\n" + b"x" * 65536 + b"\r\n") * 17,
        http(gzip.compress(b"x" * (MAX_BODY + 1)), Content_Encoding="gzip"),
    ],
    ids=["whole", "announced", "streamed", "packed"],  # made from the bytes, they would hold the time of packing
)
async def test_a_huge_body_is_refused_before_it_is_read_whole(answer: bytes) -> None:
    """Announced, streamed or packed: over 1 MiB it is no answer of this API."""
    async with raw_server(says(answer)) as server:
        with pytest.raises(MalformedResponseError, match=f"over {MAX_BODY} bytes"):
            await send(server.url)


@pytest.mark.parametrize(
    "answer",
    [
        http(b"x" * MAX_BODY),
        http(gzip.compress(b"x" * MAX_BODY), Content_Encoding="gzip"),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        + (b"10000\r\n" + b"x" * 65536 + b"\r\n") * 16
        + b"0\r\n\r\n",
    ],
    ids=["whole", "packed", "streamed"],
)
async def test_a_body_of_the_largest_size_is_read(answer: bytes) -> None:
    """Exactly 1 MiB passes, however it travels."""
    async with raw_server(says(answer)) as server:
        assert (await send(server.url)).body == b"x" * MAX_BODY


async def test_an_injected_sessions_middlewares_are_chained() -> None:
    """What a user does to every request of a session is done to ours too."""
    seen: list[str] = []

    async def book(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        seen.append(request.method)
        return await handler(request)

    async with raw_server(says(http(b"ok"))) as server, aiohttp.ClientSession(middlewares=[book]) as session:
        transport = AiohttpTransport(server.url, KEY, timeout=Timeout(), session=session)
        await transport.send(READ)
    assert seen == ["GET"]


async def test_an_injected_session_is_used_and_not_closed() -> None:
    """It is the user's: its connector carries the calls, and it is open afterwards."""
    body = json.dumps({"code": 200, "message": "", "data": {"balance": 3}}).encode()
    async with raw_server(says(http(body))) as server, aiohttp.ClientSession() as session:
        async with SunoVideoClient(api_key=KEY, base_url=server.url, session=session) as client:
            assert await client.balance() == 3
        assert not session.closed


async def over(session: aiohttp.ClientSession, url: str, request: Request = CREATE) -> Answer:
    transport = AiohttpTransport(url, KEY, timeout=Timeout(connect=30, total=60), session=session)
    return await transport.send(request)


@pytest.mark.parametrize("request_", [READ, CREATE])
async def test_a_closed_session_sends_nothing_any_more(request_: Request) -> None:
    """What fails before the connection is never in doubt, of whatever type the error is."""
    session = aiohttp.ClientSession()
    await session.close()
    with pytest.raises(TransportError, match="RuntimeError: Session is closed") as caught:
        await over(session, "http://127.0.0.1:9", request_)
    assert caught.value.permanent
    assert caught.value.sent == (request_ is READ)


@pytest.mark.parametrize("request_", [READ, CREATE])
@pytest.mark.parametrize(
    ("status", "permanent"), [("407 Proxy Authentication Required", True), ("502 Bad Gateway", False)]
)
async def test_a_proxy_that_refuses_to_connect_is_not_sent(
    status: str, permanent: bool, request_: Request
) -> None:
    """A refused CONNECT opens no way to the API; what is there for good is not asked again for an hour."""
    proxy = says(http(b"", status), then_close=True)
    async with raw_server(proxy) as server, aiohttp.ClientSession(proxy=server.url) as session:
        with pytest.raises(TransportError, match=f"not sent: ClientHttpProxyError: HTTP {status[:3]}") as caught:
            await over(session, "https://api.invalid", request_)
    assert (caught.value.sent, caught.value.permanent) == (False, permanent)
    assert server.heads[0].startswith(b"CONNECT api.invalid:443")
    assert KEY.encode() not in b"".join(server.heads)


Middleware = Callable[[aiohttp.ClientRequest, aiohttp.ClientHandlerType], Awaitable[aiohttp.ClientResponse]]


async def breaks_before(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    raise ValueError(f"no signature with {KEY}")


async def breaks_after(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    await handler(request)
    raise LookupError


async def sends_twice(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    await handler(request)
    return await handler(request)


@pytest.mark.parametrize(
    ("middleware", "sent", "text"),
    [
        (breaks_before, False, "CreateTask: not sent: ValueError: no signature with [api key]"),
        (breaks_after, True, "CreateTask: the connection broke: LookupError"),
        (sends_twice, True, "CreateTask: the connection broke: ClientConnectionError"),
    ],
)
async def test_a_middleware_that_breaks_is_an_error_of_ours(middleware: Middleware, sent: bool, text: str) -> None:
    """Whether it was sent is known from its body; no error holds the key, and no body goes twice."""
    async with raw_server(says(http(b"ok"))) as server, aiohttp.ClientSession(middlewares=[middleware]) as session:
        with pytest.raises(TransportError) as caught:
            await over(session, server.url)
    assert (caught.value.sent, str(caught.value)) == (sent, text)
    assert caught.value.__cause__ is caught.value.__context__ is None
    assert len(server.heads) == sent


async def test_a_sessions_own_settings_do_not_change_an_answer() -> None:
    """A refusal is an answer, whatever the session makes of a status, and a packed body is unpacked."""
    body = gzip.compress(b'{"code": 429}')
    answer = http(body, "429 Too Many Requests", Content_Encoding="gzip", Retry_After="1")
    async with (
        raw_server(says(answer)) as server,
        aiohttp.ClientSession(raise_for_status=True, auto_decompress=False) as session,
    ):
        said = await over(session, server.url)
    assert (said.status, said.body, said.headers["retry-after"]) == (429, b'{"code": 429}', "1")
    assert b"Accept-Encoding: identity\r\n" in server.heads[0]


def test_a_bad_certificate_counts_as_not_sent() -> None:
    """aiohttp's certificate error is one of those that the adapter takes for "no connection"."""
    assert issubclass(aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorError)


def test_nothing_is_read_from_a_connection_that_is_closed() -> None:
    """One whose socket is gone is left to aiohttp, which passes over it."""
    assert not _is_open(SimpleNamespace(transport=None), close=False)


async def idle_after(transport: AiohttpTransport, session: aiohttp.ClientSession, count: int) -> Any:
    """Return the connections that wait to be used again after so many requests at once."""
    await asyncio.gather(*(transport.send(READ) for _ in range(count)))
    (row,) = cast("Any", session.connector)._conns.values()  # where aiohttp keeps them
    return row


@pytest.mark.parametrize("which", ["first", "last", "all"])
async def test_a_stray_answer_is_closed_at_either_end_of_the_idle_connections(which: str) -> None:
    """aiohttp takes the next connection from one end of the idle ones: none there may hold a stray answer."""
    together, strays = asyncio.Barrier(3), list[asyncio.StreamWriter]()

    async def behave(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(server.heads) <= 3:
            strays.append(writer)
            await together.wait()
        writer.write(http(b"answer"))

    async with raw_server(behave) as server, make_session() as session:
        transport = AiohttpTransport(server.url, KEY, timeout=Timeout(), session=session)
        row = await idle_after(transport, session, 3)
        by_port = {writer.get_extra_info("peername")[1]: writer for writer in strays}
        idle = [by_port[connection.transport.get_extra_info("sockname")[1]] for connection, _ in row]
        for writer in {"first": idle[:1], "last": idle[-1:], "all": idle}[which]:
            writer.write(http(b"stray"))
            await writer.drain()
        await asyncio.sleep(0.05)
        assert [(await transport.send(READ)).body for _ in range(4)] == [b"answer"] * 4


async def test_a_connection_behind_one_that_is_too_old_is_looked_at() -> None:
    """aiohttp passes over what it has kept for too long, and takes the next."""
    together, writers = asyncio.Barrier(2), list[asyncio.StreamWriter]()

    async def behave(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(server.heads) <= 2:
            writers.append(writer)
            await together.wait()
        writer.write(http(b"answer"))

    async with raw_server(behave) as server, make_session() as session:
        transport = AiohttpTransport(server.url, KEY, timeout=Timeout(), session=session)
        row = await idle_after(transport, session, 2)
        (old, since), (young, _) = row
        row[0] = (old, since - 10)
        port = young.transport.get_extra_info("sockname")[1]
        (writer,) = (writer for writer in writers if writer.get_extra_info("peername")[1] == port)
        writer.write(http(b"stray"))
        await writer.drain()
        await asyncio.sleep(0.05)
        assert (await transport.send(READ)).body == b"answer"
