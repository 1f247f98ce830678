"""The extra `asgi` alone: the receiver answers as an ASGI application."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from importlib.util import find_spec
from typing import Any

from suno_video_async import CallbackReceiver, SunoVideoClient


async def main() -> None:
    """Post a callback of nobody's."""
    assert find_spec("click") is None, "another extra is installed: this checks nothing"
    client = SunoVideoClient(api_key="ak_" + "0" * 32, base_url="http://127.0.0.1:9")
    app = CallbackReceiver(client, public_url="https://me.example/callbacks").asgi()
    sent = list[MutableMapping[str, Any]]()

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    path = "/" + "0" * 32
    scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "root_path": ""}
    await app({**scope, "query_string": b"", "headers": [], "scheme": "http", "asgi": {}}, receive, send)
    assert sent[0]["status"] in {400, 404}, sent
    print("the extra asgi alone: fine")


asyncio.run(main())
