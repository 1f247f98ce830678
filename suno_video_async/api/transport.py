"""The aiohttp adapter: one request, one send, one answer, nothing else."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from typing import Protocol

import aiohttp
from aiohttp import hdrs
from yarl import URL

from suno_video_async._version import USER_AGENT
from suno_video_async.errors import APITimeoutError, MalformedResponseError, TransportError
from suno_video_async.models import Timeout
from suno_video_async.protocol.codec import MAX_BODY, Answer, Request


class Transport(Protocol):
    """What carries a request to the API."""

    async def send(self, request: Request) -> Answer:
        """Send once and return the whole answer.

        Raises:
            TransportError: none came; `sent` is False only where no byte left.

        """
        ...


#: aiohttp's own switch; it has no public name.
_REPEATS = "_retry_connection"


def make_session() -> aiohttp.ClientSession:
    """Return a session as this library likes it: no cookies, no bound on connections, one send a call."""
    session = aiohttp.ClientSession(
        # Idle connections go soon: one that the server has closed makes a healthy submission unknown.
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=2),
        cookie_jar=aiohttp.DummyCookieJar(),
    )
    if _sends_again(session):
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
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
        raise  # the connection never came up: not sent
    except (aiohttp.ClientError, OSError) as error:
        raise TransportError(f"the connection broke: {_reason(error)}") from error


class AiohttpTransport:
    """Sends over aiohttp, to one origin only, without following redirects.

    Args:
        base_url: the API's origin, and a path before its own, if any.
        api_key: goes into the `x-api-key` header of each request, and nowhere else.
        timeout: in real seconds.
        session: what it is sent over; its own middlewares are called too, its redirects are not followed.

    """

    def __init__(self, base_url: str, api_key: str, *, timeout: Timeout, session: aiohttp.ClientSession) -> None:
        self._base_url = base_url.rstrip("/")
        self._api_key = api_key.encode()
        self._headers: Mapping[str, str] = {"x-api-key": api_key, "User-Agent": USER_AGENT}
        self._post_headers = {**self._headers, "Content-Type": "application/json"}
        self._timeout = aiohttp.ClientTimeout(total=timeout.total, connect=timeout.connect)
        self._session = session
        # Per-request middlewares replace the session's own, so those are put in front; there is no public name.
        own = getattr(session, "_middlewares", ())
        self._middlewares = (*own, _one_send) if _sends_again(session) else None

    def __repr__(self) -> str:
        return f"<AiohttpTransport {self._base_url}>"

    async def send(self, request: Request) -> Answer:
        """Send once and return the whole answer."""
        try:
            async with self._session.request(
                request.method,
                URL(self._base_url + request.target, encoded=True),
                data=request.body,
                headers=self._headers if request.body is None else self._post_headers,
                allow_redirects=False,
                timeout=self._timeout,
                middlewares=self._middlewares,
            ) as response:
                body = await _read(response, request)
                return Answer(response.status, response.headers, self._without_key(body))
        except aiohttp.ConnectionTimeoutError as error:
            raise APITimeoutError(f"{request.operation}: no connection in time", sent=False) from error
        except TimeoutError as error:
            raise APITimeoutError(f"{request.operation}: no answer in time") from error
        except aiohttp.ClientConnectorError as error:
            raise TransportError(f"{request.operation}: not sent: {_reason(error)}", sent=False) from error
        except (aiohttp.ClientError, OSError) as error:
            raise TransportError(f"{request.operation}: the answer broke off: {_reason(error)}") from error

    def _without_key(self, body: bytes) -> bytes:
        """Take the key out of a body that repeats it, be it spelt with JSON's escapes."""
        if b"\\u00" in body:
            body = _ESCAPES.sub(lambda found: bytes([int(found[1], 16)]), body)
        return body.replace(self._api_key, b"[api key]")


#: Escapes of printable ASCII in JSON, but for the quote and the backslash.
_ESCAPES = re.compile(rb"\\u00(2[013-9a-fA-F]|[346][0-9a-fA-F]|5[0-9abdefABDEF]|7[0-9a-eA-E])")


async def _read(response: aiohttp.ClientResponse, request: Request) -> bytes:
    """Read a whole body, and give up on one over `MAX_BODY` before it is read, or unpacked, whole."""
    length = int(response.headers.get(hdrs.CONTENT_LENGTH, -1))  # aiohttp's parser lets nothing but digits pass
    if 0 <= length <= MAX_BODY and hdrs.CONTENT_ENCODING not in response.headers:
        return await response.read()
    body = bytearray()
    if length <= MAX_BODY:
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > MAX_BODY:
                break
        else:
            return bytes(body)
    response.close()
    raise MalformedResponseError(
        f"{request.operation}: the answer is over {MAX_BODY} bytes", http_status=response.status
    )


def _reason(error: Exception) -> str:
    """Name an error without the request's headers, which some of aiohttp's texts repeat."""
    inner = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(inner, ssl.SSLError):
        # Its errno is no operating system's: 1 would read as "operation not permitted".
        return f"TLS failed ({inner.reason or type(inner).__name__})"
    if isinstance(inner, OSError) and inner.strerror:
        return inner.strerror
    return type(error).__name__
