"""The extra `store` alone: a folder in an object store is named, and opened."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec

from suno_video_async import NO_LEDGER, SunoVideoClient
from suno_video_async.download.places import StorePath, folder_of
from suno_video_async.download.store import problem_with


async def convert() -> None:
    """Convert a catalog without rows into a store."""
    async with (
        SunoVideoClient(api_key="ak_" + "x" * 32) as client,
        client.convert([], output_dir="memory://bucket/videos", ledger=NO_LEDGER) as outcomes,
    ):
        assert [outcome async for outcome in outcomes] == []


def main() -> None:
    """Open a store in memory."""
    assert find_spec("openpyxl") is None, "another extra is installed: this checks nothing"
    place = folder_of("memory://bucket/videos")
    assert isinstance(place, StorePath)
    assert problem_with(place) is None
    asyncio.run(convert())
    print("the extra store alone: fine")


main()
