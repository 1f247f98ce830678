"""Downloads: a file appears only when it is whole."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from suno_video_async import DownloadError, SunoVideoClient, TaskSnapshot, Timeout, Video, VideoTaskId
from suno_video_async.api.transport import make_session
from suno_video_async.download.downloader import _room
from suno_video_async.download.fetch import DOWNLOADS, MediaFetcher
from suno_video_async.download.filenames import file_name, marked
from tests.support.fakes import MP4, settle
from tests.support.keys import KEY
from tests.support.mp4 import box, path_of
from tests.support.raw import http, raw_server, says
from tests.support.virtual import jump


def video_at(url: str, suno_id: str) -> Video:
    snapshot = TaskSnapshot(task_id=VideoTaskId(suno_id), status="success")
    return Video(task_id=snapshot.task_id, url=url, suno_id=suno_id, snapshot=snapshot)


async def fetch(url: str, path: Path, *, local: bool = True) -> Path:
    async with make_session() as session:
        server = MediaFetcher(session, Timeout(connect=30, total=60), local=local)
        return path_of(await server.download(url, path))


def folder(path: Path) -> list[str]:
    return sorted(file.name for file in path.iterdir()) if path.exists() else []


async def test_a_video_is_on_disk_whole(tmp_path: Path) -> None:
    """The folder is made, the file has the server's bytes, no part of it is left, and no key was sent."""
    async with raw_server(says(http(MP4))) as server:
        path = await fetch(server.url + "/v.mp4", tmp_path / "new" / "s.mp4")
    assert await asyncio.to_thread(path.read_bytes) == MP4
    assert folder(tmp_path / "new") == ["s.mp4"]
    assert b"x-api-key" not in server.heads[0].lower()


async def test_a_client_downloads_by_the_tracks_id(tmp_path: Path) -> None:
    """`client.download` names the file after the track and sends no key to the media server."""
    async with raw_server(says(http(MP4))) as server:
        snapshot = TaskSnapshot(task_id=VideoTaskId("v"), status="success")
        video = Video(task_id=snapshot.task_id, url=server.url + "/v.mp4", suno_id="suno_1", snapshot=snapshot)
        async with SunoVideoClient(api_key=KEY, base_url=server.url) as client:
            path = await client.download(video, tmp_path)
            with pytest.raises(DownloadError, match="not a plain file name"):
                await client.download(video, tmp_path, name="../s.mp4")
    assert path == tmp_path / "suno_1.mp4"
    assert KEY.encode() not in b"".join(server.heads)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (http(b"", "404 Not Found"), "answered 404"),
        (http(b"<html>"), "begins with"),
        (http(b""), "an empty answer"),
        (http(MP4[:-1]), "does not end within the file"),
        (http(box(b"ftyp") + box(b"mdat")), "no moov"),
        (http(box(b"ftyp") + b"\0\0\0\1moov" + b"\xff" * 8), "does not end"),
        (http(box(b"ftyp") + b"\0\0\0\2moov"), "does not end"),
        (http(MP4)[:-100], "broke off"),
        (b"", "broke off"),
    ],
)
async def test_what_is_no_whole_video_leaves_nothing(tmp_path: Path, answer: bytes, problem: str) -> None:
    """Refused, cut, or a page instead of a video: an error, and neither a file nor a part of one."""
    async with raw_server(says(answer, then_close=True)) as server:
        with pytest.raises(DownloadError, match=problem) as caught:
            await fetch(server.url + "/v.mp4", tmp_path / "s.mp4")
    assert folder(tmp_path) == []
    assert caught.value.url.startswith(server.url)


async def test_redirects_are_followed_three_times(tmp_path: Path) -> None:
    """A CDN may send us on, but not for ever."""
    hops = 3

    async def behave(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hop = int(head.split(b" ")[1].strip(b"/"))
        writer.write(http(b"", "302 Found", Location=f"/{hop + 1}") if hop < hops else http(MP4))

    async with raw_server(behave) as server:
        await fetch(server.url + "/0", tmp_path / "s.mp4")
        hops = 4
        with pytest.raises(DownloadError, match="more than 3 redirects"):
            await fetch(server.url + "/0", tmp_path / "t.mp4")


async def test_plain_http_is_for_this_machines_own_server(tmp_path: Path) -> None:
    """A video's URL is https unless the API itself is on this machine."""
    with pytest.raises(DownloadError, match="not https"):
        await fetch("http://media.example.test/v.mp4", tmp_path / "s.mp4", local=False)
    with pytest.raises(DownloadError, match="not https"):
        await fetch("file:///etc/hosts", tmp_path / "s.mp4")


async def test_a_place_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    """The path and the operating system's reason are in the error."""
    await asyncio.to_thread((tmp_path / "file").write_bytes, b"")
    async with raw_server(says(http(MP4))) as server:
        with pytest.raises(DownloadError, match="cannot be written"):
            await fetch(server.url, tmp_path / "file" / "s.mp4")


async def test_a_cancelled_download_leaves_nothing(tmp_path: Path) -> None:
    """The part is taken away."""
    halfway = asyncio.Event()

    async def behave(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(http(MP4)[:-10])
        await writer.drain()
        halfway.set()
        await reader.read()

    async with raw_server(behave) as server:
        task = asyncio.ensure_future(fetch(server.url, tmp_path / "s.mp4"))
        await halfway.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert folder(tmp_path) == []


@pytest.mark.parametrize(
    ("suno_id", "name"),
    [("suno_abc-1", "suno_abc-1.mp4"), ("CON", "track-CON.mp4"), ("x" * 100, "x" * 100 + ".mp4")],
)
def test_plain_ids_name_their_files(suno_id: str, name: str) -> None:
    """A usual id is the file's name as it is."""
    assert file_name(suno_id) == name


@pytest.mark.parametrize("suno_id", ["../../etc/passwd", "a/b", "a\\b", "a:b", ".", "..", "ü", "x" * 300, "a b"])
def test_other_ids_become_safe_and_stay_apart(suno_id: str) -> None:
    """No id leads out of the folder, and two ids never share a name."""
    name = file_name(suno_id)
    assert name.removesuffix(".mp4").replace("-", "").replace("_", "").isalnum()
    assert len(name) < 130
    assert name != file_name(suno_id + "x")
    assert file_name("s", marked_by="k1") != file_name("s", marked_by="k2") != file_name("s")


async def test_two_videos_of_one_name_are_downloaded_at_once(tmp_path: Path) -> None:
    """Another author's video of the same song gets a marked name beside the first, which is under way."""
    async with (
        raw_server(says(http(MP4))) as server,
        SunoVideoClient(api_key=KEY, base_url=server.url) as client,
    ):
        snapshots = [TaskSnapshot(task_id=VideoTaskId(task), status="success") for task in ("v1", "v2")]
        videos = [Video(task_id=one.task_id, url=server.url, suno_id="song", snapshot=one) for one in snapshots]
        paths = await asyncio.gather(*(client.download(video, tmp_path) for video in videos))
    assert paths == [tmp_path / "song.mp4", tmp_path / marked("song.mp4", "v2")]
    assert folder(tmp_path) == sorted(path.name for path in paths)


async def test_a_download_waits_for_its_turn_before_its_connect_timeout_begins(tmp_path: Path) -> None:
    """A healthy but slow media server fails no download, however many there are; ours are eight at a time."""
    here, asked, most = list[asyncio.Event](), 0, 0

    async def behave(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked, most
        asked, go_on = asked + 1, asyncio.Event()
        here.append(go_on)
        if len(here) == DOWNLOADS or asked % 20 == 0:  # as many as there may be, or the last ones
            await settle(200)
            most = max(most, len(here))
            jump(40)  # more than one may take to connect
            for waiting in here:
                waiting.set()
            here.clear()
        await go_on.wait()
        writer.write(http(MP4))

    async with raw_server(behave) as server, aiohttp.ClientSession() as session:
        for own in (None, session):
            options: Any = {"timeout": Timeout(connect=30, total=1000), "session": own}
            async with SunoVideoClient(api_key=KEY, base_url=server.url, **options) as client:
                videos = [video_at(f"{server.url}/{number}.mp4", f"s{number}") for number in range(20)]
                folder_of = tmp_path / str(own is None)
                paths = await asyncio.gather(*(client.download(video, folder_of) for video in videos))
            assert (len(paths), most) == (20, DOWNLOADS)


@pytest.mark.parametrize(("limits", "room"), [({"limit": 2}, 2), ({"limit_per_host": 3}, 3), ({"limit": 0}, 8)])
async def test_a_session_of_ones_own_bounds_the_downloads_at_once(limits: dict[str, Any], room: int) -> None:
    """No download waits inside a connection pool of the user's own, where its connect timeout would run."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(**limits)) as session:
        assert _room(session) == room
    assert _room(session) == DOWNLOADS  # it is closed, and the download says so
