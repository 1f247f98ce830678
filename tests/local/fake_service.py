"""A service without a network, in time that a test moves by hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from attrs import frozen

from suno_video_async.local.announcing import CallbackDue
from suno_video_async.local.exchange import Reply, ServerRequest
from suno_video_async.local.media import MediaFile
from suno_video_async.local.producers import SimulatedProducer
from suno_video_async.local.service import ApiService
from suno_video_async.lyricvideo.library import BuiltinLibrary
from suno_video_async.testing import FakeClock
from tests.support.keys import KEY, OTHER_KEY

VIDEO = MediaFile.of_bytes(bytes(range(256)) * 4, "video/mp4", 1_768_900_000.0)
JOB = "/api/v1/client/job/"


async def until(condition: Callable[[], object]) -> None:
    """Return when a condition has come true; real seconds pass, a minute at most."""
    async with asyncio.timeout(60):
        while True:
            if condition():
                return
            await asyncio.sleep(0.005)


@frozen
class Answered:
    """A reply, read as a client would."""

    reply: Reply

    @property
    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.reply.body)
        return body

    @property
    def code(self) -> int:
        code: int = self.body["code"]
        return code

    @property
    def data(self) -> Any:
        return self.body["data"]


class FakeService:
    """An `ApiService` over a `FakeClock`, with short ways to call it.

    Its tasks take `seconds`; any option of `ApiService` can be given.
    """

    def __init__(self, *, seconds: float = 60.0, sigma: float = 0.0, seed: int = 0, **options: Any) -> None:
        self.clock = FakeClock(100.0, unix=1_768_900_100.0)
        self.callbacks: list[CallbackDue] = []
        self.service = ApiService(
            **{
                "clock": self.clock,
                "producer": SimulatedProducer(self.clock, VIDEO, seconds, sigma=sigma, seed=seed),
                "library": BuiltinLibrary(),
                "keys": [KEY, OTHER_KEY],
                "seed": seed,
                "send_callback": self.callbacks.append,
                **options,
            }
        )

    def ask(self, method: str, path: str, *, key: str | None = KEY, body: bytes = b"", **query: str) -> Answered:
        """Send a request."""
        headers = {} if key is None else {"X-API-Key": key}
        request = ServerRequest(method=method, path=path, query=query, headers=headers, body=body)
        return Answered(self.service.handle(request))

    def submit(self, path: str = "CreateTask", *, key: str | None = KEY, **changes: Any) -> Answered:
        """Send a CreateTask, or another call with its body; `changes` replace fields of the body."""
        content = {"model": "suno/music-video", "input": {"task_id": "m1", "suno_id": "s1"}, **changes}
        return self.ask("POST", JOB + path, key=key, body=json.dumps(content).encode())

    def info(self, task_id: str, *, key: str | None = KEY) -> Answered:
        """Send a TaskInfo."""
        return self.ask("GET", JOB + "TaskInfo", key=key, task_id=task_id)

    def balance(self, *, key: str = KEY) -> float:
        """Return an account's balance."""
        balance: float = self.ask("GET", "/api/v1/client/account/balance", key=key).data["balance"]
        return balance
