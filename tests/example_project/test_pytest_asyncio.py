"""The application's tests with pytest-asyncio."""

from pathlib import Path

import pytest
from app import make_album

from suno_video_async import SunoVideoClient, Track
from suno_video_async.local import Fault
from suno_video_async.testing import VideoServer, assert_charged_once, assert_not_charged, assert_rate_kept

ALBUM = [Track(task_id="album", suno_id=f"song_{number}") for number in range(5)]


@pytest.mark.asyncio
async def test_an_album(
    suno_video_server: VideoServer, suno_video_client: SunoVideoClient, tmp_path: Path
) -> None:
    async with suno_video_client as client:
        assert await make_album(client, ALBUM, tmp_path) == []
    assert len(list(tmp_path.iterdir())) == 5
    assert_charged_once(suno_video_server, ALBUM)
    assert_rate_kept(suno_video_server)


@pytest.mark.asyncio
@pytest.mark.suno_video_server(faults=[Fault(on="CreateTask", kind="code:422", calls=[1])])
async def test_a_refused_song(
    suno_video_server: VideoServer, suno_video_client: SunoVideoClient, tmp_path: Path
) -> None:
    async with suno_video_client as client:
        (refused,) = await make_album(client, ALBUM, tmp_path)
    assert_not_charged(suno_video_server, [Track(task_id="album", suno_id=refused)])
