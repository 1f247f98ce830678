"""The extra `tqdm` alone: a conversion passes by a bar, which counts what is done."""

from __future__ import annotations

import asyncio
import io
from importlib.util import find_spec

from suno_video_async import NO_LEDGER, SunoVideoClient, SystemClock, Track
from suno_video_async.local import LocalServer
from suno_video_async.progress import tqdm_progress

SCALE = 50.0


async def main() -> None:
    """Convert three tracks."""
    assert find_spec("click") is None, "another extra is installed: this checks nothing"
    screen = io.StringIO()
    tracks = [Track(task_id="music", suno_id=f"song{number}") for number in range(3)]
    async with (
        LocalServer(render_seconds=1, time_scale=SCALE) as server,
        SunoVideoClient(api_key=server.api_key, base_url=server.url, clock=SystemClock(SCALE)) as client,
        client.convert(tracks, ledger=NO_LEDGER, output_dir=None) as outcomes,
    ):
        async for outcome in tqdm_progress(outcomes, file=screen, mininterval=0):
            assert outcome.state == "succeeded", outcome
    assert "3/3" in screen.getvalue(), screen.getvalue()
    print("the extra tqdm alone: fine")


asyncio.run(main())
