"""The aiohttp edge: passes requests to the service and sends its answers; nothing is decided here."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
from collections.abc import AsyncGenerator, Mapping
from typing import Protocol

import anyio
import anyio.to_thread
from aiohttp import web
from attrs import evolve

from suno_video_async._util import connections
from suno_video_async._util.connections import Connection, Limits, connection_of
from suno_video_async.clock import Clock
from suno_video_async.local.errors import LocalServerError
from suno_video_async.local.exchange import MAX_BODY, Delivery, Envelope, Reply, ServerRequest, encoded

_log = logging.getLogger("suno_video_async.local.http")
_CHUNK = 256 * 1024
#: Real seconds in which answers may still be sent when the server stops.
_GRACE = 0.5


class Service(Protocol):
    """Makes the answers."""

    def handle(self, request: ServerRequest) -> Reply:
        """Return the answer to a request."""
        ...


class Edge:
    """Handles every request of a server.

    Args:
        service: makes the answers.
        clock: times delayed answers.
        limits: bound the time for a body.

    """

    def __init__(self, service: Service, clock: Clock, limits: Limits) -> None:
        self._service = service
        self._clock = clock
        self._limits = limits

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        connection = connection_of(request.transport)
        try:
            return await self._answer(request, connection)
        finally:
            if connection is not None:
                connection.answered()

    async def _answer(self, request: web.BaseRequest, connection: Connection | None) -> web.StreamResponse:
        body = b""
        if request.can_read_body:
            try:
                async with asyncio.timeout(self._limits.body_seconds):
                    body = await _read_body(request)
            except TimeoutError:
                message = f"Request Timeout - no whole body in {self._limits.body_seconds:g} s"
                return await _send(request, _last_word(408, message))
            except web.RequestPayloadError:
                return await _send(request, _last_word(400, "Bad Request - the body is not what its headers say"))
        asked = ServerRequest(
            method=request.method,
            path=request.path,
            query=request.query,
            headers=request.headers,
            body=body,
            remote=request.remote,
        )
        reply = self._service.handle(asked)
        if reply.wait is not None and connection is not None:
            await connection.wait_for(reply.wait())
            reply = self._service.handle(evolve(asked, waited=True))
        if reply.prepare is not None:
            await anyio.to_thread.run_sync(reply.prepare)
            reply = self._service.handle(asked)
        if reply.delay:
            await self._clock.sleep(reply.delay)
        return await _deliver(request, reply, whole_body=len(asked.body) <= MAX_BODY)


async def _read_body(request: web.BaseRequest) -> bytes:
    """Return the body, of a too long one only one byte more than the limit."""
    if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    chunks: list[bytes] = []
    missing = MAX_BODY + 1
    while missing and (chunk := await request.content.read(missing)):
        chunks.append(chunk)
        missing -= len(chunk)
    return b"".join(chunks)


def _last_word(status: int, message: str) -> web.Response:
    """Return an answer after which the connection is closed: what follows may be the rest of the body."""
    reply = encoded(Envelope(status, message, status=status))
    response = web.Response(status=status, headers=reply.headers, body=reply.body)
    response.force_close()
    return response


def _expect_head(request: web.BaseRequest) -> None:
    connection = connection_of(request.transport)
    if connection is not None:
        connection.expect_head()


async def _deliver(request: web.BaseRequest, reply: Reply, *, whole_body: bool) -> web.StreamResponse:
    if reply.delivery is Delivery.DROP:
        if request.transport is not None:
            request.transport.abort()
        return web.Response()
    if reply.part is None and not reply.padding and reply.delivery is Delivery.ANSWER and request.method != "HEAD":
        response = web.Response(status=reply.status, headers=reply.headers, body=reply.body)
        if not whole_body:
            response.force_close()
        return await _send(request, response)
    return await _stream(request, reply)


async def _send(request: web.BaseRequest, response: web.Response) -> web.Response:
    """Send an answer in one piece. aiohttp would do so itself, but not report when it is done."""
    await response.prepare(request)
    if response.keep_alive:  # else what follows may be the rest of a body
        _expect_head(request)
    with contextlib.suppress(ConnectionError):  # the client is gone
        await response.write_eof()
    return response


async def _stream(request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
    response = web.StreamResponse(status=reply.status, headers=reply.headers)
    response.content_length = reply.length
    cut = reply.delivery is Delivery.CUT
    limit = reply.length // 2 if cut else reply.length
    with contextlib.suppress(ConnectionError):  # the client is gone
        if request.method == "HEAD" or not limit:
            await response.prepare(request)
            _expect_head(request)
        else:
            await _send_chunks(request, response, reply, limit)
        if not cut or request.method == "HEAD":
            await response.write_eof()
    if cut and request.method != "HEAD" and request.transport is not None:
        request.transport.close()
    return response


async def _send_chunks(request: web.BaseRequest, response: web.StreamResponse, reply: Reply, limit: int) -> None:
    async with contextlib.aclosing(_chunks(reply)) as chunks:
        async for chunk in chunks:
            part = chunk[:limit]
            limit -= len(part)
            await response.prepare(request)  # only now, and once: the file might not be there
            if not limit:
                _expect_head(request)
            await response.write(part)
            if not limit:
                return


async def _chunks(reply: Reply) -> AsyncGenerator[bytes, None]:
    """Yield the body of an answer, from memory or a file, and its padding."""
    if reply.part is None:
        yield reply.body
    else:
        async with await anyio.open_file(reply.part.path, "rb") as file:
            await file.seek(reply.part.start)
            left = reply.part.length
            while left and (chunk := await file.read(min(_CHUNK, left))):
                left -= len(chunk)
                yield chunk
    for start in range(0, reply.padding, _CHUNK):
        yield b" " * min(_CHUNK, reply.padding - start)


class Listener(connections.Listener):
    """Listens on one address from `start` to `aclose`."""

    def __init__(self, edge: Edge, limits: Limits) -> None:
        super().__init__(edge, limits, logger=_log, refusal=_refusal)

    async def start(self, host: str, port: int) -> int:
        """Start listening; return the port.

        Raises:
            LocalServerError: it cannot listen on this address.

        """
        try:
            return await super().start(host, port)
        except OSError as error:
            raise LocalServerError(error.errno, _why_not(host, port, error)) from error

    async def aclose(self, grace: float = _GRACE) -> None:
        """Close all connections, after a moment for answers that are being sent."""
        await super().aclose(grace)


def _refusal(status: int, message: str) -> tuple[Mapping[str, str], bytes]:
    """Refuse a connection in the API's envelope."""
    reply = encoded(Envelope(status, message, status=status))
    return reply.headers, reply.body


def _why_not(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use by another program; choose another, or 0 for any free one"
    reason = error.strerror or str(error)
    return f"cannot listen on {host} port {port}: {reason}; choose another host or port"
