"""Clients for tests, over fakes and in virtual time."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

from suno_video_async import SunoVideoClient, Track
from suno_video_async.protocol.codec import Answer, Operation, Request
from tests.support.fakes import FakeTransport, Script, answer, task_data
from tests.support.keys import KEY

TRACK = Track(task_id="m1", suno_id="s1")


def client_of(script: Script, **options: Any) -> tuple[SunoVideoClient, FakeTransport]:
    """Return a client over a scripted transport, not opened yet."""
    transport = FakeTransport(script)
    return SunoVideoClient(api_key=KEY, base_url="http://127.0.0.1:1", transport=transport, **options), transport


class FakeAPI:
    """Accepts everything; each task runs for `seconds` of the transport's clock, then succeeds."""

    def __init__(self, seconds: float = 60.0, *, rng: random.Random | None = None) -> None:
        self.seconds = seconds
        self.born: dict[str, float] = {}
        self.created: list[str] = []
        self.inputs: dict[str, Any] = {}
        self.rng = rng
        self.now = 0.0
        self.media = "https://media.example.test"

    def __call__(self, request: Request) -> Answer:
        self.now = asyncio.get_running_loop().time()
        if request.operation is Operation.CREATE_TASK:
            task_id = f"v{len(self.born) + 1}"
            self.born[task_id] = self.now
            self.created.append((request.body or b"").decode())
            self.inputs[task_id] = json.loads(self.created[-1])
            return answer({"task_id": task_id})
        if request.operation is Operation.TASK_INFO:
            return self.info(request.task_id or "")
        return answer({"balance": 12.5, "estimated_credits": 2, "affordable": True})

    def info(self, task_id: str) -> Answer:
        age = self.now - self.born[task_id]
        if age >= self.seconds:
            more: dict[str, Any] = {"media": self.media, "duration_s": self.seconds, "credits": 2}
            return answer(task_data(task_id, "success", param=self.inputs.get(task_id, {}), **more))
        return answer(task_data(task_id, "running" if age > 5 else "pending", param=self.inputs.get(task_id, {})))
