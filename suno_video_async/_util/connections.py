"""Connections from outside, and the limits on their number, their request heads and their time.

Both servers of this library listen through this: the local server, and the receiver of callbacks.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from enum import Enum, auto
from http import HTTPStatus
from typing import Any, cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from attrs import field, frozen
from attrs.validators import gt

from suno_video_async._util.aio import run_to_completion, stop_listening

#: Bytes of the longest line of a request's head: its first, with the URL, and each header.
MAX_LINE = 8_000
#: Bytes of a request's head.
MAX_HEAD = 32 * 1024
#: Headers of a request.
MAX_HEADERS = 100
#: Real seconds that a refused client gets to read why.
_FAREWELL = 1.0
#: Connections that may wait to be accepted.
_BACKLOG = 128
#: Real seconds for which the rest of a body that was refused is discarded.
_LINGERING = 1.0
_END = b"\r\n\r\n"


@frozen(kw_only=True)
class Limits:
    """The limits on a client's use of connections and time; all seconds are real ones.

    Args:
        connections: at once; one more is answered with 429.
        head_seconds: for a request's first line and headers.
        body_seconds: for its body.
        idle_seconds: between two requests of a connection.
        stalled_seconds: for which a client may read nothing of its answer.

    """

    connections: int = field(default=256, validator=gt(0))
    head_seconds: float = field(default=10.0, validator=gt(0))
    body_seconds: float = field(default=30.0, validator=gt(0))
    idle_seconds: float = field(default=75.0, validator=gt(0))
    stalled_seconds: float = field(default=30.0, validator=gt(0))


class _State(Enum):
    HEAD = auto()
    """The head of a request has not arrived, or only in part."""
    BUSY = auto()
    """A request is being handled."""
    REFUSED = auto()
    """An error was sent, and nothing more is read."""


class Connection(asyncio.Protocol):
    """One connection: it passes a request on once its head is whole and within the limits.

    Args:
        inner: the HTTP server's side.
        connections: all of them.

    """

    def __init__(self, inner: asyncio.Protocol, connections: Connections) -> None:
        self._inner = inner
        self._all = connections
        self._limits = connections.limits
        self._state = _State.HEAD
        self._head = bytearray()
        self._timer: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._is_open = False
        self._is_answering = False
        self._waiting: asyncio.Task[object] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection, or refuse it."""
        self._transport = cast("asyncio.Transport", transport)
        if self._all.take(self):
            self._is_open = True
            self._inner.connection_made(transport)
            self._wait(self._limits.head_seconds, self.abort)
        elif self._all.take_refused(self):
            self._wait(_FAREWELL, self.abort)
        else:
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the connection."""
        self._state = _State.REFUSED
        self._all.leave(self)
        for pending in (self._timer, self._stalled, self._waiting):
            if pending is not None:
                pending.cancel()
        if self._is_open:
            self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Collect a head, or pass on the bytes of a body."""
        if self._state is _State.BUSY:
            self._inner.data_received(data)
        elif not self._is_open and self._state is _State.HEAD:
            self.refuse(429, "Rate Limited - too many connections at once", {"Retry-After": "1"})
        elif self._state is _State.HEAD:
            self._collect(data)

    def eof_received(self) -> bool | None:
        """Pass it on."""
        return self._inner.eof_received() if self._is_open else None

    def pause_writing(self) -> None:
        """Start the timeout for a client that does not read its answer."""
        self._stalled = self._loop.call_later(self._limits.stalled_seconds, self.abort)
        if self._is_open:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Stop that timeout: the client is reading."""
        if self._stalled is not None:
            self._stalled.cancel()
        if self._is_open:
            self._inner.resume_writing()

    def expect_head(self) -> None:
        """Treat what arrives from now on as the next request: the end of an answer is about to be sent.

        Call it before they are sent: the client may be faster.
        """
        if self._state is _State.BUSY:
            self._state = _State.HEAD
            self._is_answering = True
            self._wait(self._limits.idle_seconds, self.abort)

    async def wait_for(self, news: Coroutine[Any, Any, object]) -> None:
        """Wait for something to answer with, at most until the client is gone."""
        self._waiting = asyncio.create_task(news)
        try:
            await asyncio.wait([self._waiting])
        finally:
            self._waiting.cancel()

    def answered(self) -> None:
        """Note that an answer was sent."""
        self._is_answering = False
        if self._all.is_draining:
            self._transport.close()

    @property
    def is_waiting(self) -> bool:
        """Whether it carries no whole request."""
        return self._state is _State.HEAD and not self._is_answering

    def close_if_idle(self) -> None:
        """Close the connection unless it carries a request or part of one."""
        if self.is_waiting and not self._head:
            self._transport.close()

    def abort(self) -> None:
        """Close the connection at once."""
        self._transport.abort()

    def refuse(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        """Answer with an error and close, after discarding for a moment what the client still sends.

        If it closed at once, with unread bytes, the connection would be reset before the client has read why.
        """
        self._state = _State.REFUSED
        self._head.clear()
        self._transport.write(_answer(status, self._all.refusal(status, message), headers or {}))
        with contextlib.suppress(OSError):  # the other side is gone
            self._transport.write_eof()
        self._wait(_FAREWELL, self.abort)

    @property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return self._all.loop

    def _wait(self, seconds: float, late: Callable[[], object]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, late)

    def _collect(self, data: bytes) -> None:
        is_new = not self._head
        if is_new:
            data = data.lstrip(b"\r\n")  # RFC 9112, 2.2: some clients send an empty line after a body
        seen = max(0, len(self._head) - len(_END))
        self._head += data
        end = self._head.find(_END, seen)
        problem = _why_too_long(self._head if end < 0 else self._head[:end])
        if problem is not None:
            self.refuse(*problem)
        elif end >= 0:
            whole = bytes(self._head)
            self._head.clear()
            self._state = _State.BUSY
            if self._timer is not None:
                self._timer.cancel()
            self._inner.data_received(whole)
        elif is_new and self._head:
            self._wait(self._limits.head_seconds, self._head_is_late)

    def _head_is_late(self) -> None:
        self.refuse(408, f"Request Timeout - no whole head in {self._limits.head_seconds:g} s")


def _why_too_long(head: bytearray) -> tuple[int, str] | None:
    """Return the status and message for a head that is too long, or None."""
    first = head.find(b"\r\n")
    if (len(head) if first < 0 else first) > MAX_LINE:
        return 414, f"URI Too Long - at most {MAX_LINE} bytes"
    if len(head) > MAX_HEAD:
        return 431, f"Headers Too Large - at most {MAX_HEAD} bytes in all"
    lines = head.split(b"\r\n")
    if len(lines) - 1 > MAX_HEADERS:
        return 431, f"Headers Too Large - at most {MAX_HEADERS} of them"
    if any(len(line) > MAX_LINE for line in lines):
        return 431, f"Headers Too Large - at most {MAX_LINE} bytes in one"
    return None


#: The headers and the body of an answer that refuses a connection, from its status and message.
Refusal = Callable[[int, str], tuple[Mapping[str, str], bytes]]


def _answer(status: int, refusal: tuple[Mapping[str, str], bytes], headers: Mapping[str, str]) -> bytes:
    own, body = refusal
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
    all_headers = {**own, **headers, "Content-Length": str(len(body)), "Connection": "close"}
    lines += [f"{name}: {value}" for name, value in all_headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def without_body(status: int, message: str) -> tuple[Mapping[str, str], bytes]:  # noqa: ARG001  a `Refusal`
    """Refuse with the status alone."""
    return {}, b""


class Connections:
    """All connections of a server, limited in number.

    Args:
        make_inner: makes the HTTP server's side of one.
        limits: of their number and time.
        refusal: makes the answer to a connection that is refused.
        evicts: when there are too many, close the one that has waited longest without a whole request, and not
            the new one: idle connections cannot keep others out.

    """

    def __init__(
        self,
        make_inner: Callable[[], asyncio.Protocol],
        limits: Limits,
        refusal: Refusal = without_body,
        *,
        evicts: bool = False,
    ) -> None:
        self.limits = limits
        self.refusal = refusal
        self._evicts = evicts
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self._make_inner = make_inner
        self._open: dict[Connection, None] = {}  # in the order in which they came
        self._refused: set[Connection] = set()
        self.is_draining: bool = False
        self._is_empty = asyncio.Event()
        self._is_empty.set()

    def __call__(self) -> Connection:
        """Return the protocol of a new connection."""
        return Connection(self._make_inner(), self)

    def take(self, connection: Connection) -> bool:
        """Add a connection, unless the limit is reached."""
        if len(self._open) >= self.limits.connections and not self._evict():
            return False
        self._open[connection] = None
        self._is_empty.clear()
        return True

    def _evict(self) -> bool:
        """Make room, if a connection waits without a whole request."""
        waiting = next((one for one in self._open if one.is_waiting), None) if self._evicts else None
        if waiting is None:
            return False
        del self._open[waiting]
        waiting.abort()
        return True

    def take_refused(self, connection: Connection) -> bool:
        """Add a connection that will be refused with an error, unless there are too many of these."""
        if len(self._refused) >= self.limits.connections:
            return False
        self._refused.add(connection)
        return True

    def leave(self, connection: Connection) -> None:
        """Remove a connection."""
        self._open.pop(connection, None)
        self._refused.discard(connection)
        if not self._open:
            self._is_empty.set()

    async def drain(self) -> None:
        """Close idle connections, let requests finish, and return once all connections are closed."""
        self.is_draining = True
        for connection in list(self._open):
            connection.close_if_idle()
        await self._is_empty.wait()

    def abort_all(self) -> None:
        """Close all connections at once."""
        for connection in [*self._open, *self._refused]:
            connection.abort()


def connection_of(transport: asyncio.BaseTransport | None) -> Connection | None:
    """Return the connection that a transport belongs to."""
    protocol = None if transport is None else transport.get_protocol()
    return protocol if isinstance(protocol, Connection) else None


class Listener:
    """Serves HTTP on one address from `start` to `aclose`, within limits.

    Bodies stay as they came: a small compressed one could become a huge one.

    Args:
        handler: answers the requests. It calls `expect_head` and `answered` of a request's connection, or closes
            the connection with its answer.
        limits: of the connections.
        logger: takes what goes wrong; what is only the client's fault is left out.
        refusal: makes the answer to a connection that is refused.
        evicts: as in `Connections`.

    """

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        limits: Limits,
        *,
        logger: logging.Logger,
        refusal: Refusal = without_body,
        evicts: bool = False,
    ) -> None:
        logger.addFilter(_is_not_clients_fault)
        self._server = web.Server(
            handler,
            access_log=None,
            logger=logger,
            auto_decompress=False,
            keepalive_timeout=limits.idle_seconds + 1,  # the connections have timers of their own
            lingering_time=_LINGERING,
        )
        self._connections = Connections(self._server, limits, refusal, evicts=evicts)
        self._listening: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Start listening; return the port.

        Raises:
            OSError: it cannot listen on this address.

        """
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(self._connections, host, port, backlog=_BACKLOG)
        return int(self._listening.sockets[0].getsockname()[1])

    async def drain(self) -> None:
        """Stop accepting connections, let requests finish, and return once all connections are closed."""
        await self._stop_listening()
        await self._connections.drain()

    async def aclose(self, grace: float) -> None:
        """Close all connections, after at most `grace` seconds for answers that are being sent."""
        await self._stop_listening()
        self._server.pre_shutdown()
        await self._server.shutdown(grace)
        self._connections.abort_all()

    async def _stop_listening(self) -> None:
        listening, self._listening = self._listening, None
        if listening is not None:
            await run_to_completion(stop_listening(listening))


def _is_not_clients_fault(record: logging.LogRecord) -> bool:
    """Whether a log record is about more than a request that is not valid HTTP: that one was answered."""
    return record.exc_info is None or not isinstance(record.exc_info[1], HttpProcessingError)
