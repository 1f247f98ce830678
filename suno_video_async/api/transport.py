"""The aiohttp adapter: one request, one send, one answer, nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import select
import ssl
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from types import TracebackType
from typing import Any, Protocol, cast

import aiohttp
from aiohttp import hdrs
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import BytesPayload
from multidict import CIMultiDict, CIMultiDictProxy, istr
from yarl import URL

from suno_video_async._util.resolver import ThreadResolver
from suno_video_async._util.text import one_line
from suno_video_async._version import USER_AGENT
from suno_video_async.clock import ClockDrift
from suno_video_async.config import is_secret
from suno_video_async.errors import APITimeoutError, MalformedResponseError, TransportError
from suno_video_async.models import Timeout
from suno_video_async.protocol import codec
from suno_video_async.protocol.codec import MAX_BODY, Answer, Request


class Transport(Protocol):
    """What carries a request to the API."""

    async def send(self, request: Request) -> Answer:
        """Send once and return the whole answer.

        Raises:
            TransportError: none came; `sent` is False only if no byte left.

        """
        ...


#: Bytes of one header of an answer; aiohttp's own bound of 8 KB makes an accepted submission unknown.
MAX_HEAD = 65_536
#: Characters of a reason, or of a header's value, that are kept.
MAX_REASON = 200
#: The headers of an answer that mean something here.
FACTS = (hdrs.CONTENT_TYPE, hdrs.DATE, hdrs.RETRY_AFTER)
API_KEY = istr("x-api-key")
JSON = "application/json"
#: The other headers of each request.
HEADERS: Mapping[istr, str] = {hdrs.USER_AGENT: USER_AGENT, hdrs.ACCEPT_ENCODING: "identity"}
#: What a gateway or a proxy says while the server behind it is away.
GATEWAY_ERRORS = frozenset({502, 503, 504})
_PERMANENT = (
    aiohttp.ClientConnectorDNSError,
    aiohttp.ClientConnectorSSLError,
    aiohttp.ClientConnectorCertificateError,
)
#: The connection to the API never came up: not a byte of a request left for it.
NEVER_UP = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.ClientHttpProxyError)
#: aiohttp's own switch; it has no public name.
_REPEATS = "_retry_connection"
#: Where its connectors keep idle connections; it has no public name either.
_IDLE = "_conns"
#: How long they keep one; without that name every idle connection is looked at.
_KEPT = "_keepalive_timeout"
#: Seconds by which a connection must be younger than that, so that aiohttp still takes it a moment later.
_SPARE = 0.1
#: What stands in a key, from the rarest in JSON on; other characters are rarer.
_BY_RARITY = b"zqjxwkyv9876543210hgbfplmucrdsnoit_-ae"
#: Rounds of the event loop between a timeout and giving up: an answer that has arrived is read in a few.
LAST_ROUNDS = 20


def make_session(roots: ssl.SSLContext | None = None) -> aiohttp.ClientSession:
    """Return a session as this library likes it: no cookies, no bound on connections, one send a call.

    Args:
        roots: what TLS trusts; None for what the machine does.

    """
    session = aiohttp.ClientSession(
        # Idle connections are closed soon: one that the server has closed makes a healthy submission unknown.
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=2, resolver=ThreadResolver(), ssl=roots or True),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=HEADERS,
    )
    if hasattr(session, _REPEATS):
        # Spares the middleware below, which costs 4 % of a call; where the name goes away, that takes over.
        setattr(session, _REPEATS, False)
    return session


def _sends_again(session: aiohttp.ClientSession) -> bool:
    """Whether aiohttp itself repeats a GET on this session when a kept-alive connection breaks."""
    return bool(getattr(session, _REPEATS, True))


async def _one_send(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Turn a broken connection into an error on which aiohttp does not send again, as it does for GETs."""
    try:
        return await handler(request)
    except NEVER_UP:
        raise  # aiohttp does not send these again
    except (aiohttp.ClientError, OSError) as error:
        failure = TransportError(_reason(error))
    raise failure


class _Deadlines:
    """Cancels what a task awaits for longer than `seconds`, but first reads what has arrived by then.

    After the event loop was blocked, or the process stopped, a timeout is due together with the answer that came
    meanwhile. Cancelling at once would make a submission unknown whose answer is there.

    All have the same time, so that they are due in their order, and one timer is enough: that of the first.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._pending = dict[_Deadline, None]()
        self._is_timed = False

    def begin(self) -> _Deadline:
        """Return a block that raises `TimeoutError` if it takes too long."""
        loop = asyncio.get_running_loop()
        deadline = _Deadline(self._pending, loop.time() + self._seconds)
        if not self._is_timed:
            self._is_timed = True
            loop.call_at(deadline.due, self._on_time, deadline.due)
        return deadline

    def _on_time(self, due: float) -> None:
        now = max(due, asyncio.get_running_loop().time())  # a timer may be a moment early
        first = next(iter(self._pending), None)
        self._give_up_after(LAST_ROUNDS if first is not None and first.due <= now else 0, now)

    def _give_up_after(self, rounds: int, due: float) -> None:
        """Give up what was due at a time, after so many more rounds of the loop."""
        loop = asyncio.get_running_loop()
        if rounds:
            loop.call_soon(self._give_up_after, rounds - 1, due)
            return
        self._is_timed = False
        for deadline in list(self._pending):
            if deadline.due > due:
                self._is_timed = True
                loop.call_at(deadline.due, self._on_time, deadline.due)
                break
            deadline.give_up()


class _Deadline:
    """The time that one block may take."""

    __slots__ = ("_cancellations", "_given_up", "_pending", "_task", "due")

    def __init__(self, pending: dict[_Deadline, None], due: float) -> None:
        self._pending = pending
        self._given_up = False
        self.due = due

    def give_up(self) -> None:
        """Cancel what the block awaits."""
        del self._pending[self]
        self._given_up = True
        self._task.cancel()

    def __enter__(self) -> None:
        self._task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._cancellations = self._task.cancelling()
        self._pending[self] = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._given_up:
            del self._pending[self]
        # As `asyncio.timeout` tells its own cancellation from a caller's, which goes on.
        elif self._task.uncancel() <= self._cancellations and kind is asyncio.CancelledError:
            raise TimeoutError from error


def _close_idle_connections(session: aiohttp.ClientSession, *, all_of_them: bool) -> None:
    """Close what waits to be used again and has been sent something unasked, or all that waits.

    aiohttp would take what has arrived on an idle connection as the answer to the next request. What is in use is
    left alone. It takes them from one end of the row: so those at either end are looked at, up to the first one
    that it would take, however many there are.
    """
    connector = session.connector
    for idle in getattr(connector, _IDLE, {}).values():
        if len(idle) == 1:  # as it is for one caller
            _is_open(idle[0][0], close=all_of_them)
            continue
        fresh = time.monotonic() - getattr(connector, _KEPT, 0.0) + _SPARE
        for row in (idle, reversed(idle)):
            for connection, *since in row:
                if _is_open(connection, close=all_of_them) and since and since[0] > fresh:
                    break


def _is_open(connection: Any, *, close: bool) -> bool:
    """Whether an idle connection is open; it is closed if it has been sent something, or in any case."""
    transport = getattr(connection, "transport", None)
    socket = None if transport is None or transport.is_closing() else transport.get_extra_info("socket")
    number = -1 if socket is None else socket.fileno()
    if close or getattr(connection, "should_close", False) or (number >= 0 and _poll_of(number)()):
        connection.close()
        return False
    return number >= 0


@lru_cache(maxsize=1024)  # to make one takes twice as long as to call it
def _poll_of(number: int) -> Callable[[], Sequence[object]]:
    """Return what tells whether something can be read at once from the socket that has this number then."""
    try:
        poll = select.poll()
    except AttributeError:  # Windows
        return lambda: select.select([number], [], [], 0)[0]
    poll.register(number, select.POLLIN)
    return partial(poll.poll, 0)


class AiohttpTransport:
    """Sends over aiohttp, to one origin only, without following redirects.

    Args:
        base_url: the API's origin, and a path before its own, if any.
        api_key: goes into the `x-api-key` header of each request, and nowhere else.
        timeout: in real seconds.
        session: what it is sent over; its own middlewares are called too, its redirects are not followed.
        proxy: the URL of the HTTP proxy that it is sent through; None leaves that to the session.
        drift: tells that the machine slept. The connections that were idle are then dead, but look fresh.
        may_send: says whether something that costs may still be sent, right before its first byte leaves: what was
            certain may not be any more once a connection is up.

    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        timeout: Timeout,
        session: aiohttp.ClientSession,
        proxy: str | None = None,
        drift: ClockDrift | None = None,
        may_send: Callable[[], bool] = lambda: True,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._known_url = lru_cache(maxsize=1024)(self._url)  # a task is polled many times
        self._api_key = api_key.encode()
        self._spellings = _spellings(self._api_key)
        self._lowered = self._api_key.lower()
        rarest = min(self._lowered, key=_BY_RARITY.find, default=0)
        self._rarest = (bytes([rarest]), bytes([rarest]).upper())
        self._known_facts = lru_cache(maxsize=8)(self._read_facts)  # most answers of a second have the same
        is_ours = session.headers == HEADERS and not session.skip_auto_headers
        # In the form that aiohttp needs, and without what `make_session` and a body's type add. Other sessions may
        # have headers of their own, and get more of them later.
        self._headers = CIMultiDict[str]({API_KEY: api_key, **({} if is_ours else HEADERS)})
        self._post_headers = CIMultiDict[str](self._headers, **({} if is_ours else {hdrs.CONTENT_TYPE: JSON}))
        self._deadlines = _Deadlines(timeout.total)
        self._timeout = aiohttp.ClientTimeout(total=None, connect=timeout.connect)
        self._session = session
        self._proxy = proxy
        self._drift = drift or ClockDrift()
        self._may_send = may_send
        # Per-request middlewares replace the session's own, so those are put in front; there is no public name.
        own = getattr(session, "_middlewares", ())
        self._middlewares = (*own, _one_send) if _sends_again(session) else None

    def __repr__(self) -> str:
        return f"<AiohttpTransport {self._base_url}>"

    async def send(self, request: Request) -> Answer:
        """Send once and return the whole answer."""
        try:
            outcome = await self._exchange(request)
        except BaseException as cut:  # such as a cancellation, which others may log
            cut.__traceback__ = None
            raise
        if isinstance(outcome, TransportError):
            # Raised out here: the frames below hold the request's headers and the whole answer, and so would the
            # error's traceback; aiohttp's errors hold them, too, and would stay attached as its context.
            raise outcome
        return outcome

    async def _exchange(self, request: Request) -> Answer | TransportError:
        body = None if request.body is None else _Body(request.body, self._may_send)
        head: tuple[int, Mapping[str, str]] | None = None
        part = bytearray()
        _close_idle_connections(self._session, all_of_them=self._drift.noticed())
        try:
            with self._deadlines.begin():
                response = await self._session.request(
                    request.method,
                    self._known_url(request.target),
                    data=body,
                    headers=self._headers if body is None else self._post_headers,
                    timeout=self._timeout,
                    proxy=self._proxy,
                    middlewares=self._middlewares,
                    # What a session may have set otherwise, and what would then change the meaning of an answer.
                    allow_redirects=False,
                    raise_for_status=False,
                    auto_decompress=False,  # a small body could become a huge one
                    max_line_size=MAX_HEAD,
                    max_field_size=MAX_HEAD,
                )
                try:
                    head = (response.status, self._facts(response.headers))
                    content = await _read(response, request, part)
                except BaseException:
                    response.close()  # one that is read to its end has given its connection back by then
                    raise
            return Answer(*head, self._without_key(content))
        except MalformedResponseError as error:
            failure: TransportError = error.with_traceback(None)
        except Exception as error:  # aiohttp's, a proxy connector's, a middleware's: anything
            failure = self._failure(request, error, sent=_was_sent(body, error))
            if body is not None and body.held_back:
                reason = "not sent: the session that holds the ledger has not answered lately"
                failure = TransportError(f"{request.operation}: {reason}", sent=False)
        if head is None:
            return failure
        return codec.with_evidence(failure, Answer(*head, self._without_key(bytes(part))), request)

    def _failure(self, request: Request, error: Exception, *, sent: bool) -> TransportError:
        if isinstance(error, TimeoutError):
            what = "no answer in time" if sent else "no connection in time"
            return APITimeoutError(f"{request.operation}: {what}", sent=sent)
        if isinstance(error, aiohttp.ClientHttpProxyError):
            permanent = error.status not in GATEWAY_ERRORS
        else:
            permanent = self._session.closed or isinstance(error, _PERMANENT)
        reason = self._text(error if type(error) is not TransportError else str(error))
        what = f"the connection broke: {reason}" if sent else f"not sent: {reason}"
        return TransportError(f"{request.operation}: {what}", sent=sent, permanent=permanent)

    def _text(self, error: Exception | str) -> str:
        reason = error if isinstance(error, str) else _reason(error)
        known = self._without_key(reason.encode(errors="replace")).decode(errors="replace")
        return one_line(known[:MAX_REASON])

    def _url(self, target: str) -> URL:
        return URL(self._base_url + target, encoded=True)

    def _facts(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        """Return the headers that mean something here, bounded and without the key."""
        get = headers.get
        return self._known_facts(get(hdrs.CONTENT_TYPE), get(hdrs.DATE), get(hdrs.RETRY_AFTER))

    def _read_facts(self, *values: str | None) -> Mapping[str, str]:
        named = zip(FACTS, values, strict=True)
        facts = CIMultiDict((name, self._text(value)) for name, value in named if value is not None)
        return CIMultiDictProxy(facts)  # they are kept

    def _without_key(self, body: bytes) -> bytes:
        """Take the key out of a body that repeats it, be it spelt with JSON's escapes."""
        find = body.find  # `in` takes three times as long: it first makes an error, and drops it
        if find(b"\\") < 0:
            lower, upper = self._rarest
            if (find(lower) < 0 and find(upper) < 0) or self._lowered not in body.lower():
                return body
        return self._spellings.sub(b"[api key]", body)


class _Body(BytesPayload):
    """A request's body that knows whether it was begun to be written: then the request may have arrived.

    aiohttp sends the head together with the first bytes of the body, and only over a connection that is up. So
    this tells whether a request left the machine, and the type of an error does not. A body is written once.
    """

    begun = held_back = False

    def __init__(self, value: bytes, may_send: Callable[[], bool] = lambda: True) -> None:
        super().__init__(value, content_type=JSON)
        self._may_send = may_send

    async def write(self, writer: AbstractStreamWriter) -> None:
        await self.write_with_length(writer, None)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        if self.begun:
            raise TransportError("a middleware of the session tried to send a request twice")
        if not self._may_send():
            self.held_back = True
            raise TransportError("held back")
        self.begun = True
        await super().write_with_length(writer, content_length)


def _was_sent(body: _Body | None, error: Exception) -> bool:
    """Whether a byte of the request may have left; a read without a body counts as sent if in doubt."""
    if body is not None:
        return body.begun
    return not isinstance(error, NEVER_UP)


def _spellings(key: bytes) -> re.Pattern[bytes]:
    """Return what finds the key in JSON, whichever of its characters are escaped; a short one is not looked for.

    "data" as the key of a test server would be cut out of every envelope, and accepted submissions be unknown.
    """
    if not is_secret(key.decode()):
        return re.compile(rb"(?!)")
    first, *rest = (_spelling(char) for char in key)
    return re.compile(first + b"".join(rest), re.IGNORECASE)


def _spelling(char: int) -> bytes:
    plain = re.escape(bytes([char]))
    escape = (
        rb"\\?" if not chr(char).isalnum() else b""
    )  # JSON has a backslash before a quote, and may before a slash
    return rb"(?:%b%b|(?<!\\)\\u00%02x)" % (escape, plain, char)


async def _read(response: aiohttp.ClientResponse, request: Request, body: bytearray) -> bytes:
    """Read a whole body into `body`, and give up on one over `MAX_BODY` before it is read, or unpacked, whole."""
    headers, content = response.headers, response.content
    length = int(headers.get(hdrs.CONTENT_LENGTH, -1))  # aiohttp's parser lets nothing but digits pass
    if length <= MAX_BODY:
        if content.is_eof():  # it came with its head, as most answers do
            whole = content.read_nowait()
        else:
            while not content.at_eof() and len(body) <= MAX_BODY:
                body += await content.readany()
            whole = bytes(body)
        encoding = headers.get(hdrs.CONTENT_ENCODING)
        if encoding is not None and len(whole) <= MAX_BODY:
            whole = _unpacked(whole, encoding)
        if len(whole) <= MAX_BODY:
            return whole
    raise MalformedResponseError(
        f"{request.operation}: the answer is over {MAX_BODY} bytes", http_status=response.status
    )


def _unpacked(body: bytes, encoding: str) -> bytes:
    """Return a body that a gateway has compressed unasked, at most a byte over the limit; others as they are."""
    if encoding.strip().lower() not in {"gzip", "x-gzip", "deflate"}:
        return body
    for form in (zlib.MAX_WBITS | 32, -zlib.MAX_WBITS):  # gzip or zlib by its first bytes; deflate without a frame
        unpacker = zlib.decompressobj(form)
        with contextlib.suppress(zlib.error):
            unpacked = unpacker.decompress(body, MAX_BODY + 1)
            if unpacker.eof or len(unpacked) > MAX_BODY:
                return unpacked
    return body


def _reason(error: Exception) -> str:
    """Name an error without the request's headers, which some of aiohttp's texts repeat."""
    inner = error
    if isinstance(error, aiohttp.ClientConnectorCertificateError):  # aiohttp 3.12 gives it no `os_error`
        inner = error.certificate_error
    elif isinstance(error, aiohttp.ClientConnectorError):
        inner = error.os_error
    if isinstance(inner, ssl.SSLError):
        # Its errno is not the operating system's: 1 would read as "operation not permitted".
        return f"TLS failed ({inner.reason or type(inner).__name__})"
    if isinstance(inner, aiohttp.ClientResponseError):
        # Behind a colon aiohttp quotes a part of the answer, which may be a part of the key.
        said = re.split(r"[:\n]", inner.message, maxsplit=1)[0]
        return f"{type(inner).__name__}: HTTP {inner.status} {said}".rstrip()
    if isinstance(inner, OSError) and inner.strerror:
        # asyncio's own text of a refused connection names an address, and not what happened.
        return os.strerror(inner.errno) if inner.errno and inner.errno > 0 else inner.strerror
    if isinstance(inner, aiohttp.ClientError):
        return type(inner).__name__
    return f"{type(inner).__name__}: {inner}" if str(inner) else type(inner).__name__
