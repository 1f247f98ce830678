"""The studio without a network, over a service in time that a test moves by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from attrs import evolve

from suno_video_async.local.exchange import Reply, ServerRequest
from suno_video_async.local.studio.calls import Keys, Studio
from suno_video_async.local.studio.shelf import Shelf
from suno_video_async.lyricvideo.library import BuiltinLibrary, Library
from tests.local.fake_service import FakeService
from tests.support.keys import KEY, OTHER_KEY

HOST = "127.0.0.1:8555"
#: What a browser sends with the page's own calls.
PAGE = {"Origin": f"http://{HOST}", "X-Suno-Studio": "1", "Content-Type": "application/json"}
SONG = {"task_id": "task_harbour01", "suno_id": "suno_8f3c2b7a51d94e06"}


class FakeStudio:
    """A `Studio` over a `FakeService`, and a browser that calls it."""

    def __init__(
        self,
        folder: Path,
        *,
        library: Library | None = None,
        made_up: bool = True,
        renders: bool = False,
        **options: Any,
    ) -> None:
        library = library or BuiltinLibrary()
        self.api = FakeService(library=library, **options)
        self.shelf = Shelf(library, folder, (), map(str, count()).__next__)
        keys = Keys(by_name={"key-1": KEY, "key-2": OTHER_KEY}, made_up=made_up)
        self.studio = Studio(self.api.service, self.shelf, keys, self.api.clock, renders=renders)

    def request(self, path: str, method: str = "GET", body: bytes = b"", /, **query: str) -> ServerRequest:
        """Return a request without the headers of a page."""
        headers = {"Host": HOST}
        return ServerRequest(method=method, path=path, query=query, headers=headers, body=body)

    def handle(self, request: ServerRequest) -> Reply:
        """Return the answer to a request; what blocks is done at once."""
        reply = self.studio.handle(request)
        if reply.prepare is not None:
            reply.prepare()
            reply = self.studio.handle(request)
        return reply

    def get(self, path: str, **query: str) -> Any:
        """Return what the page reads."""
        reply = self.handle(self.request(path, **query))
        assert reply.status == 200, reply.body
        return json.loads(reply.body)

    def page_posts(self, path: str, content: Any) -> ServerRequest:
        """Return a POST as the page's script sends it."""
        request = self.request(path, "POST", json.dumps(content).encode())
        return evolve(request, headers={**request.headers, **PAGE})

    def order(self, **wish: Any) -> Any:
        """Order a video in the page; return the answer."""
        reply = self.handle(self.page_posts("/studio/order", {**SONG, **wish}))
        return json.loads(reply.body)

    async def after(self, seconds: float) -> Any:
        """Let time pass; return all tasks."""
        await self.api.clock.advance(seconds)
        return self.get("/studio/tasks")["tasks"]


Change = Callable[[ServerRequest], ServerRequest]


def with_header(name: str, value: str | None) -> Change:
    """Return what sets a header of a request, or takes it away."""

    def change(request: ServerRequest) -> ServerRequest:
        headers = {key: kept for key, kept in request.headers.items() if key != name}
        return evolve(request, headers=headers if value is None else {**headers, name: value})

    return change
