"""Two customers on one server: each with a key, credits and bad luck of their own."""

from pathlib import Path

import pytest
from app import make_album

from suno_video_async import Track
from suno_video_async.local import ApiKey, Fault
from suno_video_async.testing import (
    VideoServer,
    assert_charged_once,
    assert_fault_struck,
    assert_not_charged,
    assert_rate_kept,
)

AVA = ApiKey(name="ava", credits=4)
BEN = ApiKey(name="ben")
ALBUM = [Track(task_id="album", suno_id=f"song_{number}") for number in range(3)]


@pytest.mark.asyncio
@pytest.mark.suno_video_server(api_keys=[AVA, BEN])
async def test_credits_run_out_for_one_of_them(suno_video_server: VideoServer, tmp_path: Path) -> None:
    async with suno_video_server.client(key="ava") as ava, suno_video_server.client(key="ben") as ben:
        assert len(await make_album(ava, ALBUM, tmp_path / "ava")) == 1
        assert await make_album(ben, ALBUM, tmp_path / "ben") == []
    assert suno_video_server.stats(key="ava")["balance"] == 0
    assert_charged_once(suno_video_server, ALBUM, key="ben")
    assert_rate_kept(suno_video_server)


@pytest.mark.asyncio
@pytest.mark.suno_video_server(api_keys=[AVA, BEN])
async def test_an_answer_is_lost_for_one_of_them(suno_video_server: VideoServer, tmp_path: Path) -> None:
    lost = Fault(on="CreateTask", kind="drop-after", key="ben", calls=[1])
    with suno_video_server.faults(lost):
        async with suno_video_server.client(key="ben") as ben:
            assert len(await make_album(ben, ALBUM, tmp_path)) == 1
    assert_fault_struck(suno_video_server, "drop-after", times=1)
    assert_charged_once(suno_video_server, ALBUM, key="ben")
    assert_not_charged(suno_video_server, key="ava")
