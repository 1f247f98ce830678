"""A local server beside the test: in a thread with a loop of its own, as the command line has its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from attrs import define, field

from suno_video_async.local import LocalServer
from tests.support.keys import KEY


@define(eq=False)
class Served:
    """A running server; its calls can be waited for."""

    server: LocalServer
    loop: asyncio.AbstractEventLoop
    url: str
    _called: threading.Condition = field(factory=threading.Condition, init=False)

    def __attrs_post_init__(self) -> None:
        handle = self.server.service.handle

        def handle_and_say(request: Any) -> Any:
            reply = handle(request)
            with self._called:
                self._called.notify_all()
            return reply

        self.server.service.handle = handle_and_say  # type: ignore[method-assign]

    def stats(self) -> dict[str, Any]:
        return self.server.service.stats()

    def wait_for(self, holds: Callable[[dict[str, Any]], bool]) -> None:
        """Wait until a call has made something true of the server's statistics."""
        with self._called:
            assert self._called.wait_for(lambda: holds(self.stats()), timeout=20), self.stats()


@contextmanager
def served(**options: Any) -> Generator[Served, None, None]:
    """Run a server with simulated rendering."""
    options = {"render_seconds": 2.0, "time_scale": 20.0, "api_keys": [KEY], **options}
    started, box = threading.Event(), list[Served]()
    stop = asyncio.Event()

    async def run() -> None:
        try:
            async with LocalServer(**options) as server:
                box.append(Served(server, asyncio.get_running_loop(), server.url))
                started.set()
                await stop.wait()
        finally:
            started.set()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    started.wait()
    try:
        yield box[0]
    finally:
        if box:
            box[0].loop.call_soon_threadsafe(stop.set)
        thread.join()
