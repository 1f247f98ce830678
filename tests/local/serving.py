"""Servers that take no time worth waiting for, and who talks to them."""

from __future__ import annotations

from typing import Any

import aiohttp
from aiohttp import web

from suno_video_async.local import LocalServer

CREATE = "/api/v1/client/job/CreateTask"
BALANCE = "/api/v1/client/account/balance"
ORDER = {"model": "suno/music-video", "input": {"task_id": "m1", "suno_id": "s1"}}


def quick(**options: Any) -> LocalServer:
    """Return a server whose tasks take no time worth waiting for."""
    return LocalServer(**{"render_seconds": 1.0, "time_scale": 100.0, "rate": None, **options})


def session_of(server: LocalServer) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(server.url, headers={"x-api-key": server.api_key})


async def create(server: LocalServer, **changes: Any) -> dict[str, Any]:
    """Submit a task; `changes` replace fields of the body."""
    async with session_of(server) as session, session.post(CREATE, json={**ORDER, **changes}) as response:
        body: dict[str, Any] = await response.json()
        return body


class Receiver:
    """Takes callbacks; refuses the first few."""

    def __init__(self) -> None:
        self.refusals = 0
        self.received: list[dict[str, Any]] = []
        self.url = ""

    async def handle(self, request: web.BaseRequest) -> web.Response:
        self.received.append(await request.json())
        refused = len(self.received) <= self.refusals
        return web.Response(status=500 if refused else 200)
