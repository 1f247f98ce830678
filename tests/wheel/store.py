"""The extra `store` alone: a folder in an object store is named, and opened."""

from __future__ import annotations

from importlib.util import find_spec

from suno_video_async import SunoVideoClient
from suno_video_async.download.places import StorePath, folder_of
from suno_video_async.download.store import problem_with


def main() -> None:
    """Open a store in memory."""
    assert find_spec("openpyxl") is None, "another extra is installed: this checks nothing"
    place = folder_of("memory://bucket/videos")
    assert isinstance(place, StorePath)
    assert problem_with(place) is None
    client = SunoVideoClient(api_key="ak_" + "x" * 32)
    client.convert([], output_dir="memory://bucket/videos")
    print("the extra store alone: fine")


main()
