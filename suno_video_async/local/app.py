"""The aiohttp edge: requests in, answers out, as the service says; nothing is decided here."""

from __future__ import annotations

import asyncio
import errno

import anyio
import anyio.to_thread
from aiohttp import web

from suno_video_async.finishing import stop_listening
from suno_video_async.pacing.clock import Clock

from .errors import LocalServerError
from .exchange import MAX_BODY, Delivery, FilePart, Reply, ServerRequest
from .service import ApiService

_CHUNK = 256 * 1024
#: Real seconds that answers on their way get when the server stops.
_GRACE = 0.5
#: Connections that may wait to be accepted.
_BACKLOG = 128


class Edge:
    """Handles every request of a server.

    Args:
        service: knows the answers.
        clock: times the slow ones.

    """

    def __init__(self, service: ApiService, clock: Clock) -> None:
        self._service = service
        self._clock = clock

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        asked = ServerRequest(
            method=request.method,
            path=request.path,
            query=request.query,
            headers=request.headers,
            body=await _read_body(request),
            remote=request.remote,
        )
        reply = self._service.handle(asked)
        if reply.prepare is not None:
            await anyio.to_thread.run_sync(reply.prepare)
            reply = self._service.handle(asked)
        if reply.delay:
            await self._clock.sleep(reply.delay)
        return await _deliver(request, reply, whole_body=len(asked.body) <= MAX_BODY)


async def _read_body(request: web.BaseRequest) -> bytes:
    """Return the body, or the first of it: one byte more than may be."""
    if not request.can_read_body:
        return b""
    chunks: list[bytes] = []
    missing = MAX_BODY + 1
    while missing and (chunk := await request.content.read(missing)):
        chunks.append(chunk)
        missing -= len(chunk)
    return b"".join(chunks)


async def _deliver(request: web.BaseRequest, reply: Reply, *, whole_body: bool) -> web.StreamResponse:
    if reply.delivery is Delivery.DROP:
        if request.transport is not None:
            request.transport.abort()
        return web.Response()
    if reply.part is None and reply.delivery is Delivery.ANSWER and request.method != "HEAD":
        response = web.Response(status=reply.status, headers=reply.headers, body=reply.body)
        if not whole_body:
            response.force_close()
        return response
    return await _stream(request, reply)


async def _stream(request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
    response = web.StreamResponse(status=reply.status, headers=reply.headers)
    response.content_length = reply.length
    cut = reply.delivery is Delivery.CUT
    limit = reply.length // 2 if cut else reply.length
    if request.method == "HEAD":
        await response.prepare(request)
        return response
    if reply.part is None:
        await response.prepare(request)
        await response.write(reply.body[:limit])
    else:
        await _send_file(request, response, reply.part, limit)
    if cut and request.transport is not None:
        request.transport.close()
    return response


async def _send_file(request: web.BaseRequest, response: web.StreamResponse, part: FilePart, limit: int) -> None:
    async with await anyio.open_file(part.path, "rb") as file:
        await response.prepare(request)
        await file.seek(part.start)
        while limit and (chunk := await file.read(min(_CHUNK, limit))):
            await response.write(chunk)
            limit -= len(chunk)


class Listener:
    """Listens on one address from `start` to `aclose`."""

    def __init__(self, edge: Edge) -> None:
        self._protocols = web.Server(edge, access_log=None)
        self._runner = web.ServerRunner(self._protocols, shutdown_timeout=_GRACE)
        self._listening: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Begin to listen; return the port.

        Raises:
            LocalServerError: it is not possible there.

        """
        await self._runner.setup()
        try:
            loop = asyncio.get_running_loop()
            self._listening = await loop.create_server(self._protocols, host, port, backlog=_BACKLOG)
        except OSError as error:
            await self._runner.cleanup()
            raise LocalServerError(error.errno, _why_not(host, port, error)) from error
        return int(self._listening.sockets[0].getsockname()[1])

    async def aclose(self) -> None:
        """Close all connections; answers on their way get a moment."""
        if self._listening is not None:
            await stop_listening(self._listening)
        await self._runner.cleanup()


def _why_not(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use by another program; choose another, or 0 for any free one"
    reason = error.strerror or str(error)
    return f"cannot listen on {host} port {port}: {reason}; choose another host or port"
