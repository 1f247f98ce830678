"""The same with anyio's plugin."""

from pathlib import Path

import pytest
from app import make_album

from suno_video_async import SunoVideoClient, Track
from suno_video_async.testing import VideoServer, assert_charged_once

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_a_song(suno_video_server: VideoServer, suno_video_client: SunoVideoClient, tmp_path: Path) -> None:
    song = Track(task_id="album", suno_id="song")
    async with suno_video_client as client:
        assert await make_album(client, [song], tmp_path) == []
    assert_charged_once(suno_video_server, [song])
