"""Sends callbacks: the data of each finished task to the URL in its CreateTask."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp

from suno_video_async.clock import Clock
from suno_video_async.local.announcing import CallbackDue
from suno_video_async.local.control import CALLBACK

#: Takes a URL and a body; returns the HTTP status. Raises OSError, TimeoutError or aiohttp.ClientError.
Post = Callable[[str, bytes], Awaitable[int]]

_BACKOFF = 1.0
_AT_ONCE = 20
_TIMEOUT = aiohttp.ClientTimeout(total=10)


class CallbackSender:
    """Sends callbacks, a few at once, with retries.

    Args:
        clock: the server's; it times the waits between attempts.
        post: sends; by default over HTTP, with ten real seconds for each attempt.

    """

    def __init__(self, clock: Clock, post: Post | None = None) -> None:
        self._clock = clock
        self._post = post or self._over_http
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._running: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None

    def send(self, due: CallbackDue) -> None:
        """Start sending a callback."""
        task = asyncio.get_running_loop().create_task(self._send(due))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    @property
    def is_sending(self) -> bool:
        """Whether callbacks are still being sent."""
        return bool(self._running)

    def drop(self) -> None:
        """Discard callbacks that are not sent yet."""
        for task in self._running:
            task.cancel()

    async def aclose(self) -> None:
        """Discard callbacks that are not sent yet, and return once nothing is running."""
        self.drop()
        running = list(self._running)
        await asyncio.gather(*running, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def _send(self, due: CallbackDue) -> None:
        await self._clock.sleep(due.delay)
        for attempt in range(due.tries):
            if attempt:
                await self._clock.sleep(_BACKOFF * 4 ** (attempt - 1))
            body = due.body if attempt or due.first is None else due.first
            async with self._places:
                if await self._arrives(due.url, body):
                    due.on_end(True)
                    return
        due.on_end(False)

    async def _arrives(self, url: str, body: bytes) -> bool:
        try:
            return 200 <= await self._post(url, body) < 300
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
            return False

    async def _over_http(self, url: str, body: bytes) -> int:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=_TIMEOUT, cookie_jar=aiohttp.DummyCookieJar())
        headers = {"Content-Type": "application/json", CALLBACK: "1"}
        async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as response:
            return response.status
