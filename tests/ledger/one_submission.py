"""A process that converts one track with a ledger in a file, for whoever watches its system calls."""

from __future__ import annotations

import asyncio
import sys

from suno_video_async import SunoVideoClient, Track
from suno_video_async.clock import SystemClock


async def main(url: str, key: str, ledger: str, videos: str) -> None:
    """Convert one track."""
    client = SunoVideoClient(api_key=key, base_url=url, clock=SystemClock(20.0))
    track = Track(task_id="m1", suno_id="s1")
    async with client, client.convert([track], ledger=ledger, output_dir=videos) as outcomes:
        print([outcome.state async for outcome in outcomes])


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
