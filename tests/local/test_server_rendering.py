"""Real rendering behind the server, at the smallest size."""

from __future__ import annotations

import asyncio
import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from suno_video_async.local import Fault, LocalServer
from tests.local.fake_service import until
from tests.lyricvideo.songs import write_song
from tests.support.mp4 import problem_of

av = pytest.importorskip("av")
pytest.importorskip("uharfbuzz")

CREATE = "/api/v1/client/job/CreateTask"
INFO = "/api/v1/client/job/TaskInfo"


@pytest.fixture(autouse=True)
def own_temporary_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Let servers make their folders where a test can see them."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    """A library of one short song and one that takes its time."""
    for name, seconds in (("short", 1), ("long", 600)):
        folder = tmp_path / "songs" / "m1" / name
        write_song(folder, seconds=seconds, cover=True)
        (folder / "lyrics.lrc").write_text("[00:00.10]A line\n[00:00.50]Another line\n")
    return tmp_path / "songs"


def rendering(songs: Path, **options: Any) -> LocalServer:
    return LocalServer(**{"library": songs, "size": (160, 96), "rate": None, **options})


async def submit(session: aiohttp.ClientSession, suno_id: str) -> dict[str, Any]:
    order = {"model": "suno/music-video", "input": {"task_id": "m1", "suno_id": suno_id, "author": "Ava"}}
    async with session.post(CREATE, json=order) as response:
        body: dict[str, Any] = await response.json()
        return body


def statuses(server: LocalServer) -> list[str]:
    return [task["status"] for task in server.service.tasks()["video"]]


async def ended(server: LocalServer, status: str) -> list[dict[str, Any]]:
    """Return the video tasks once all have this status."""
    await until(lambda: set(statuses(server)) == {status})
    tasks: list[dict[str, Any]] = server.service.tasks()["video"]
    return tasks


async def test_a_song_becomes_a_video(songs: Path, tmp_path: Path) -> None:
    """A track of the library is rendered, can be fetched in parts, and so can its audio and cover."""
    (songs / "m1" / "short" / "cover.png").unlink()  # one is drawn
    async with (
        rendering(songs) as server,
        aiohttp.ClientSession(server.url, headers={"x-api-key": server.api_key}) as session,
    ):
        assert (await submit(session, "short"))["code"] == 200
        [task] = await ended(server, "success")
        url = task["result"]["media_urls"][0]
        async with session.get(url) as response:
            content = await response.read()
            assert response.content_length == len(content)
        path = tmp_path / "video.mp4"
        path.write_bytes(content)
        assert await asyncio.to_thread(problem_of, path) is None
        async with session.get(url, headers={"Range": "bytes=10-"}) as response:
            assert response.status == 206
            assert await response.read() == content[10:]
        async with session.get(INFO, params={"task_id": "m1"}) as response:
            tracks = (await response.json())["data"]["result"]["suno_data"]
        [track] = [track for track in tracks if track["suno_id"] == "short"]
        assert track["duration"] == 1
        for name, kind in (("suno_audio_url", "audio"), ("suno_image_url", "image")):
            async with session.get(track[name]) as response:
                assert (response.status, response.content_type.split("/")[0]) == (200, kind)
                assert len(await response.read()) > 1000


async def test_a_video_says_what_it_is_and_what_it_lacks(songs: Path, tmp_path: Path) -> None:
    """Title and artist stand in the file, and what the picture cannot show in the task's result."""
    folder = songs / "m1" / "short"
    (folder / "lyrics.lrc").rename(folder / "lyrics.txt")
    await asyncio.to_thread((folder / "lyrics.txt").write_text, "A line with \U00033080\nAnother\n")
    await asyncio.to_thread((folder / "track.toml").write_text, 'title = "Dawn"\nsize = "96x160"')
    async with (
        rendering(songs, size="landscape", constant_rate=True) as server,
        aiohttp.ClientSession(server.url, headers={"x-api-key": server.api_key}) as session,
    ):
        await submit(session, "short")
        [task] = await ended(server, "success")
        async with session.get(task["result"]["media_urls"][0]) as response:
            content = await response.read()
    assert [note[:30] for note in task["result"]["notes"]] == [
        "no font has 1 of its letters, ",
        "the lyrics have no times: they",
    ]
    assert "U+33080" in task["result"]["notes"][0]
    with av.open(io.BytesIO(content)) as video:
        assert (video.metadata["title"], video.metadata["artist"]) == ("Dawn", "Ava")
        picture = video.streams.video[0]
        assert (picture.width, picture.height, picture.frames) == (96, 160, 30)


async def test_the_studio_chooses_the_size(songs: Path) -> None:
    """An order of the studio's page has a size of its own, and its progress ends at the whole."""
    wish = {"task_id": "m1", "suno_id": "short", "size": "96x160"}
    async with rendering(songs) as server, aiohttp.ClientSession(server.url) as session:
        headers = {"Origin": server.url, "X-Suno-Studio": "1"}
        async with session.post("/studio/order", json=wish, headers=headers) as response:
            task_id = (await response.json())["data"]["task_id"]
        work = server.service.videos[task_id].work
        await ended(server, "success")
        assert work is not None
        assert work.progress == 1
        async with session.get("/studio/video", params={"task": task_id}) as response:
            content = await response.read()
    with av.open(io.BytesIO(content)) as video:
        picture = video.streams.video[0]
        assert (picture.width, picture.height) == (96, 160)


async def test_an_unknown_track_is_refused(songs: Path) -> None:
    """What the library does not have is a 422 that names the field; nothing is charged."""
    async with (
        rendering(songs) as server,
        aiohttp.ClientSession(server.url, headers={"x-api-key": server.api_key}) as session,
    ):
        body = await submit(session, "none")
        assert (body["code"], body["errors"]) == (422, ["input.suno_id: no such track in music task m1"])
        assert server.service.stats()["charged"] == 0


async def test_a_broken_song_fails_its_task(songs: Path) -> None:
    """A song that cannot be read ends its task with 501 and a reason, and gives the credits back."""
    async with (
        rendering(songs) as server,
        aiohttp.ClientSession(server.url, headers={"x-api-key": server.api_key}) as session,
    ):
        (songs / "m1" / "short" / "audio.wav").write_bytes(b"no sound at all")
        await submit(session, "short")
        [task] = await ended(server, "failed")
        assert task["result"]["code"] == 501
        assert task["result"]["message"].startswith("Generation Failed: ")
        assert task["credits"] == 0


async def test_a_doomed_task_is_not_rendered(songs: Path) -> None:
    """The fault `fail` ends a task without a render, and gives the credits back."""
    faults = [Fault(on="CreateTask", kind="fail")]
    async with (
        rendering(songs, faults=faults, time_scale=100) as server,
        aiohttp.ClientSession(server.url, headers={"x-api-key": server.api_key}) as session,
    ):
        await submit(session, "long")
        [task] = await ended(server, "failed")
        assert task["result"] == {"code": 501, "message": "Generation Failed"}


async def test_stopping_cancels_renders(
    songs: Path, own_temporary_folder: Path, new_threads: Callable[[], list[str]]
) -> None:
    """A stop in the middle of renders does not wait for them, and leaves no thread and no file."""
    async with (
        rendering(songs) as server,
        aiohttp.ClientSession(server.url, headers={"x-api-key": server.api_key}) as session,
    ):
        for _ in range(4):
            await submit(session, "long")
        await until(lambda: statuses(server).count("running") == 2)
        await asyncio.sleep(0.1)
    assert "success" not in statuses(server), "it waited for their ends"
    assert new_threads() == []
    assert list(own_temporary_folder.iterdir()) == []


async def test_a_reset_cancels_renders(songs: Path) -> None:
    """After a reset the pool is free for what comes next."""
    async with (
        rendering(songs) as server,
        aiohttp.ClientSession(server.url, headers={"x-api-key": server.api_key}) as session,
    ):
        for _ in range(3):
            await submit(session, "long")
        server.service.reset()
        await submit(session, "short")
        [task] = await ended(server, "success")
        assert task["param"]["input"]["suno_id"] == "short"
