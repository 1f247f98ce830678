"""An API that is out of reach for a while, in virtual time."""

from __future__ import annotations

import asyncio

from suno_video_async import APITimeoutError, TransportError
from suno_video_async.protocol.codec import Answer, Operation, Request
from tests.support.clients import FakeAPI

PAGE = "<html>no such luck</html>"
TRAVEL = 0.2
KINDS = {"502": 502, "403 page": 403, "redirect": 302, "page": 200}


class World:
    """An API that is out of reach from `start` on, for `seconds`; `on` says which calls meet it."""

    def __init__(self, kind: str, start: float, seconds: float, on: frozenset[Operation]) -> None:
        self.api = FakeAPI(seconds=30.0)
        self.kind, self.start, self.end, self.on = kind, start, start + seconds, on
        self.flying = self.in_flight = self.sent = self.asked = 0

    async def __call__(self, request: Request) -> Answer:
        creating = request.operation is Operation.CREATE_TASK
        self.flying += creating
        self.sent += creating
        self.asked += not creating
        began = asyncio.get_running_loop().time()
        try:
            await asyncio.sleep(TRAVEL)
            now = asyncio.get_running_loop().time()
            if began < self.start <= now:
                self.in_flight = max(self.in_flight, self.flying)
            if not (self.start <= now < self.end and request.operation in self.on):
                return self.api(request)
            return await self.fail(request)
        finally:
            self.flying -= creating

    async def fail(self, request: Request) -> Answer:
        if self.kind == "cut":
            self.api(request)  # it arrived: what was bought is charged
            raise TransportError("CreateTask: the connection broke: ServerDisconnectedError")
        if self.kind == "refused":
            raise TransportError("CreateTask: not sent: Connection refused", sent=False)
        if self.kind == "bad certificate":
            raise TransportError("not sent: TLS failed", sent=False, permanent=True)
        if self.kind == "hang":
            await asyncio.sleep(60.0)
            raise APITimeoutError("CreateTask: no answer in time")
        return Answer(KINDS[self.kind], {"Content-Type": "text/html"}, PAGE.encode())
