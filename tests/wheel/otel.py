"""The extra `otel` alone: the hooks go along with a video, with OpenTelemetry's API and no SDK."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec

from suno_video_async import SunoVideoClient, SystemClock, Track
from suno_video_async.local import LocalServer
from suno_video_async.otel import OpenTelemetryHooks

SCALE = 50.0


async def main() -> None:
    """Make one video."""
    assert find_spec("click") is None, "another extra is installed: this checks nothing"
    async with (
        LocalServer(render_seconds=1, time_scale=SCALE) as server,
        SunoVideoClient(
            api_key=server.api_key, base_url=server.url, clock=SystemClock(SCALE), hooks=[OpenTelemetryHooks()]
        ) as client,
    ):
        video = await client.generate(Track(task_id="music", suno_id="song"))
    assert video.url.startswith("http"), video
    print("the extra otel alone: fine")


asyncio.run(main())
