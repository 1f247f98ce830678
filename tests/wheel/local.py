"""The extra `local` alone: a song of the library becomes a video."""

from __future__ import annotations

import asyncio
import tempfile
from importlib.util import find_spec

import av

from suno_video_async import SunoVideoClient, Track
from suno_video_async.local import LocalServer

TRACK = Track(task_id="task_harbour01", suno_id="suno_8f3c2b7a51d94e06", author="Ava")


async def main() -> None:
    """Render one video, small."""
    assert find_spec("click") is None, "another extra is installed: this checks nothing"
    with tempfile.TemporaryDirectory() as folder:
        async with (
            LocalServer(size=(320, 180)) as server,
            SunoVideoClient(api_key=server.api_key, base_url=server.url) as client,
        ):
            video = await client.generate(TRACK, output_dir=folder)
        assert video.path is not None
        with av.open(str(video.path)) as made:
            assert {stream.type for stream in made.streams} >= {"audio", "video"}, made.streams
            assert made.streams.video[0].width == 320
    print("the extra local alone: fine")


asyncio.run(main())
