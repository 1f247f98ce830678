"""A scripted API behind the client's transport: no sockets, and every send on record."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from suno_video_async.clock import Clock, SystemClock
from suno_video_async.protocol.codec import Answer, Request
from suno_video_async.testing import FakeClock
from tests.support.mp4 import movie

Script = Callable[[Request], Answer | Exception | Awaitable[Answer]]


def answer(
    data: Any = None, *, code: int = 200, status: int = 200, message: str = "success", **headers: str
) -> Answer:
    """Return an answer with a well-formed envelope; headers by their names with underscores."""
    body = json.dumps({"code": code, "message": message, "data": data}).encode()
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


#: A small whole video.
MP4 = movie()


def task_data(
    task_id: str, status: str = "running", *, media: str = "https://media.example.test", **more: Any
) -> dict[str, Any]:
    """Return the `data` of a TaskInfo answer."""
    data: dict[str, Any] = {"task_id": task_id, "status": status, "param": {"input": {}}, **more}
    if status == "success":
        data["result"] = {"code": 200, "media_urls": [f"{media}/{task_id}.mp4"]}
    return data


class HastyClock(FakeClock):
    """A clock that a sleep moves, so that nothing waits; it remembers the sleeps."""

    def __init__(self, now: float = 1000.0) -> None:
        super().__init__(now)
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.move(seconds)
        await asyncio.sleep(0)


class WrongClock(SystemClock):
    """A clock whose wall time is set while it runs."""

    wrong_by = 0.0

    def time(self) -> float:
        return super().time() + self.wrong_by


class FakeTransport:
    """Answers by a script; remembers what was sent and when it arrived."""

    def __init__(
        self, script: Script, *, clock: Clock | None = None, travel: Callable[[], float] = lambda: 0.0
    ) -> None:
        self.script = script
        self.sent: list[Request] = []
        self.arrivals: list[float] = []
        self._clock = clock or SystemClock()
        self._travel = travel

    async def send(self, request: Request) -> Answer:
        self.sent.append(request)
        await self._clock.sleep(self._travel())
        self.arrivals.append(self._clock.now())
        said = self.script(request)
        if isinstance(said, Exception):
            raise said
        if isinstance(said, Answer):
            await self._clock.sleep(self._travel())
            return said
        return await said


def most_in_any_window(times: list[float], per: float) -> int:
    """Return the largest number of `times` in any half-open window of `per` seconds."""
    ordered, first, most = sorted(times), 0, 0
    for last, time in enumerate(ordered):
        while time - ordered[first] >= per - 1e-9:
            first += 1
        most = max(most, last - first + 1)
    return most


async def settle(turns: int = 20) -> None:
    """Let everything run that can run without time passing."""
    for _ in range(turns):
        await asyncio.sleep(0)
