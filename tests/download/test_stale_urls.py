"""Videos that come late, and URLs that have expired: asked for again, and never bought again."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from attrs import define, field

from suno_video_async import (
    DownloadError,
    Outcome,
    TaskFailed,
    TaskSnapshot,
    Timeout,
    Track,
    Video,
    VideoTaskId,
)
from suno_video_async._util.filesystem import boot_id
from suno_video_async.download.downloader import WAITS, Downloads
from suno_video_async.hooks import Hooks, RetryEvent
from suno_video_async.local import Fault
from suno_video_async.observability.reporter import Reporter
from suno_video_async.testing import VideoServer, assert_charged_once, serve
from tests.support.fakes import MP4, HastyClock
from tests.support.mp4 import movie, path_of
from tests.support.raw import RawServer, http, raw_server

PAGE = b"<html>log in to see this video</html>"
GONE = http(b"<Error><Code>NoSuchKey</Code></Error>", "404 Not Found")
LONG = movie(bytes(range(256)) * 400)


@define
class Media(Hooks):
    """A media server and the TaskInfo that names its URLs.

    Attributes:
        answers: by what the URL is marked with, what the server says in turn, the last one for ever.
        names: the snapshots that TaskInfo returns in turn, the last one for ever.
        asked: how often TaskInfo was asked.

    """

    answers: dict[str, list[bytes]]
    names: list[str | None] = field(factory=lambda: list[str | None](["fresh"]))
    asked: int = 0
    seen: list[str] = field(factory=list[str])
    heads: list[bytes] = field(factory=list[bytes])
    clock: HastyClock = field(factory=HastyClock)
    url: str = ""
    retries: list[RetryEvent] = field(factory=list[RetryEvent])

    async def __call__(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mark = head.split(b" ")[1].decode().strip("/")
        self.seen.append(mark)
        self.heads.append(head)
        answers = self.answers[mark]
        writer.write(answers.pop(0) if len(answers) > 1 else answers[0])

    def on_retry(self, event: RetryEvent) -> None:
        self.retries.append(event)

    async def status(self, task_id: VideoTaskId) -> TaskSnapshot:
        self.asked += 1
        mark = self.names.pop(0) if len(self.names) > 1 else self.names[0]
        if mark == "failed":
            return TaskSnapshot(task_id=task_id, status="failed")
        return TaskSnapshot(
            task_id=task_id, status="success", media_urls=() if mark is None else (f"{self.url}/{mark}",)
        )

    async def download(self, folder: Path) -> Path:
        """Download from the URL that is marked as old."""
        async with raw_server(self) as server:
            self.url = server.url
            return await self._download(server, folder)

    async def _download(self, server: RawServer, folder: Path) -> Path:
        downloads = Downloads(
            session=None,
            timeout=Timeout(connect=30, total=60),
            local=True,
            clock=self.clock,
            longest=60,
            status=self.status,
            reporter=Reporter((self,), self.clock),
        )
        snapshot = TaskSnapshot(task_id=VideoTaskId("v"), status="success")
        try:
            video = Video(task_id=snapshot.task_id, url=f"{server.url}/old", suno_id="s", snapshot=snapshot)
            return path_of(await downloads.fetch(video, folder))
        finally:
            await downloads.aclose()


def redirect(to: str) -> bytes:
    return http(b"", "302 Found", Location=to)


@pytest.mark.parametrize(
    "answer",
    [
        *(http(b"expired", f"{status} Expired") for status in (400, 401, 402, 403, 404, 409, 410, 451, 498)),
        http(PAGE),
        http(PAGE, Content_Type="video/mp4"),
        http(b""),
        http(b"{}"),
        http(b"", "202 Accepted"),
        http(b"", "204 No Content"),
        http(b"", "300 Multiple Choices"),
        redirect("/login"),
        redirect("/old"),
        redirect("ftp://127.0.0.1/x"),
    ],
    ids=lambda answer: answer[9:60].decode(errors="replace").replace("\r\n", " "),
)
async def test_a_url_that_has_expired_is_replaced_at_once(tmp_path: Path, answer: bytes) -> None:
    """However the media server says it: by a status, a page, nothing at all, or a redirect to somewhere else."""
    media = Media({"old": [answer], "login": [http(PAGE)], "fresh": [http(MP4)]})
    path = await media.download(tmp_path)
    assert await asyncio.to_thread(path.read_bytes) == MP4
    assert (media.asked, media.clock.slept, media.seen[-1]) == (1, [0.0], "fresh")
    assert [event.attempt for event in media.retries] == [1]


@pytest.mark.parametrize("status", [403, 404])
@pytest.mark.parametrize("tries", range(1, len(WAITS) + 1))
async def test_a_file_that_is_late_is_waited_for(tmp_path: Path, status: int, tries: int) -> None:
    """TaskInfo goes on naming the same URL, and is asked once before each further try."""
    late = http(b"", f"{status} Not Yet")
    media = Media({"old": [*[late] * tries, http(MP4)]}, ["old"])
    await media.download(tmp_path)
    assert (media.asked, media.clock.slept) == (tries, list(WAITS[:tries]))


async def test_a_file_that_does_not_come_is_said_to_be_missing(tmp_path: Path) -> None:
    """After half a minute the error says what is the case and that trying again may help; nothing is left."""
    media = Media({"old": [GONE], "fresh": [GONE]})
    with pytest.raises(DownloadError, match="404: the video is not there yet, or its URL has expired") as caught:
        await media.download(tmp_path)
    assert (caught.value.stale_url, caught.value.temporary, caught.value.status) == (True, True, 404)
    assert media.clock.slept == [0, 2, 5, 10, 15]
    assert (media.seen, media.asked) == (["old", *["fresh"] * 5], 5)
    assert await asyncio.to_thread(lambda: list(tmp_path.iterdir())) == []


async def test_a_task_that_names_no_url_for_a_while_keeps_the_old_one(tmp_path: Path) -> None:
    """`success` without a URL is not an end: the file may come to the known URL, or another be named."""
    media = Media({"old": [GONE], "fresh": [http(MP4)]}, [None, None, "fresh"])
    await media.download(tmp_path)
    assert media.seen == ["old", "old", "old", "fresh"]


async def test_a_task_that_has_failed_after_all_ends_the_download(tmp_path: Path) -> None:
    """What TaskInfo says then is raised."""
    with pytest.raises(TaskFailed):
        await Media({"old": [GONE]}, ["failed"]).download(tmp_path)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_a_media_servers_own_trouble_is_not_the_urls(tmp_path: Path, status: int) -> None:
    """The same URL is tried again, after what the server asks for, and the API is not asked."""
    busy = http(b"", f"{status} Busy", Retry_After="7")
    media = Media({"old": [busy, busy, busy, http(MP4)]})
    await media.download(tmp_path)
    assert (media.asked, media.clock.slept) == (0, [7.0, 7.0, 7.0])


@pytest.mark.parametrize("expired", [GONE, http(PAGE), redirect("/login")], ids=["404", "page", "redirect"])
async def test_a_part_outlives_the_url_that_it_came_from(tmp_path: Path, expired: bytes) -> None:
    """A URL that expires in the middle costs no byte: the fresh one is asked for the rest."""
    part = tmp_path / "s.mp4.part"

    await asyncio.to_thread(part.write_bytes, LONG[:50_000])
    said = tmp_path / "s.mp4.part.json"
    text = f'{{"etag": "\\"1\\"", "length": {len(LONG)}, "boot": "{await asyncio.to_thread(boot_id)}"}}'
    await asyncio.to_thread(said.write_text, text, "utf-8")
    where = f"bytes 50000-{len(LONG) - 1}/{len(LONG)}"
    rest = http(LONG[50_000:], "206 Partial Content", ETag='"1"', Content_Range=where)
    media = Media({"old": [expired], "login": [http(PAGE)], "fresh": [rest]})
    path = await media.download(tmp_path)
    assert await asyncio.to_thread(path.read_bytes) == LONG
    assert b"Range: bytes=50000-" in media.heads[-1]


# A whole conversion


@pytest.mark.parametrize(
    ("faults", "told"),
    [
        ([Fault(on="media", kind="late-file:3600")], "404"),
        ([Fault(on="media", kind="expire-url:498")], "498"),
        ([Fault(on="media", kind="expire-url:200")], "not a video"),
        ([Fault(on="media", kind="expire-url:302")], "not a video"),
    ],
)
def test_a_video_that_cannot_be_fetched_is_fetched_later_and_not_bought_again(
    tmp_path: Path, faults: list[Fault], told: str
) -> None:
    """It is left as `succeeded` with the reason, even where failed tracks are bought again."""
    track = Track(task_id="m", suno_id="s")

    async def convert(server: VideoServer) -> Outcome:
        async with server.client() as client:
            conversion = client.convert(
                [track], ledger=tmp_path / "l.db", output_dir=tmp_path / "videos", retry_failed=9
            )
            async with conversion as outcomes:
                (outcome,) = [outcome async for outcome in outcomes]
        return outcome

    with serve(render_seconds=1, time_scale=1000, faults=faults) as server:
        left = asyncio.run(convert(server))
        assert (left.state, type(left.error)) == ("succeeded", DownloadError)
        assert told in str(left.error)
        assert server.stats()["requests"]["TaskInfo"] > len(WAITS)  # and none of them counts as a failure
        server.set_faults()
        done = asyncio.run(convert(server))
        assert (done.state, done.error) == ("downloaded", None)
        assert_charged_once(server, [track])
