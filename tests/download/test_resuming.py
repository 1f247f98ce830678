"""Downloads that broke off: the rest is fetched, and nothing but the rest of the same file."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from suno_video_async import (
    DownloadError,
    SunoVideoClient,
    SunoVideoError,
    SystemClock,
    TaskSnapshot,
    Timeout,
    Video,
    VideoTaskId,
)
from suno_video_async.api.transport import make_session
from suno_video_async.download import fetch as fetching
from suno_video_async.download import partial
from suno_video_async.download.fetch import MediaFetcher, PublicResolver
from suno_video_async.download.partial import Saved
from tests.support.fakes import HastyClock, settle
from tests.support.keys import KEY
from tests.support.mp4 import movie, path_of
from tests.support.raw import RawServer, http, raw_server

VIDEO = movie(bytes(range(256)) * 400)


@define
class Cdn:
    """Gives out one file as a CDN does, in part where it is asked to; breaks off where it is told to.

    Attributes:
        part: what the client has of the file; a connection breaks only when most of what was sent stands there.
        cuts: for each answer, after how many bytes of the body the connection is closed; then never.
        asked: the start of each range that was asked for, or None.

    """

    content: bytes = VIDEO
    etag: str | None = '"one"'
    part: Path | None = None
    cuts: list[int] = field(factory=list[int])
    asked: list[int | None] = field(factory=list[int | None])
    changed: Callable[[dict[str, str]], None] = lambda _: None

    async def __call__(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = dict(line.lower().split(": ", 1) for line in head.decode().split("\r\n")[1:] if line)
        start = int(lines["range"].removeprefix("bytes=").rstrip("-")) if "range" in lines else None
        self.asked.append(start)
        headers = {} if self.etag is None else {"ETag": self.etag}
        status, body = "200 OK", self.content
        if start is not None and lines.get("if-range") == self.etag:
            status, body = "206 Partial Content", self.content[start:]
            headers["Content_Range"] = f"bytes {start}-{len(self.content) - 1}/{len(self.content)}"
        self.changed(headers)
        answer = http(body, status, **headers)
        if self.cuts:
            cut = self.cuts.pop(0)
            writer.write(answer[: len(answer) - len(body) + cut])
            await writer.drain()
            # What has come and is not read yet when the connection breaks is lost to the reader.
            while self.part is not None and await size_of(self.part) < (start or 0) + cut - 20_000:  # noqa: ASYNC110
                await asyncio.sleep(0)
            writer.close()
        else:
            writer.write(answer)


async def fetch(server: RawServer, path: Path, **options: Any) -> Saved:
    async with make_session() as session:
        media = MediaFetcher(session, Timeout(connect=30, total=60), local=True)
        return await media.download(server.url + "/v.mp4?signature=1", path, **options)


async def folder(path: Path) -> list[str]:
    return await asyncio.to_thread(lambda: sorted(file.name for file in path.iterdir()))


async def read(path: Path) -> bytes:
    return await asyncio.to_thread(path.read_bytes)


async def size_of(path: Path) -> int:
    return await asyncio.to_thread(lambda: path.stat().st_size if path.exists() else 0)


async def write(path: Path, content: bytes) -> None:
    await asyncio.to_thread(path.write_bytes, content)


async def broken_off(cdn: Cdn, path: Path) -> int:
    """Let a download break off; return how much of it is here."""
    cdn.part, cdn.cuts = path.with_name(path.name + ".part"), [60_000]
    async with raw_server(cdn) as server:
        with pytest.raises(DownloadError, match="broke off") as caught:
            await fetch(server, path)
    assert caught.value.temporary
    cdn.asked.clear()
    return await size_of(cdn.part)


async def test_the_rest_is_fetched_by_the_next_call(tmp_path: Path) -> None:
    """What has come stays, with what it is a part of; the next call asks for the rest of the same version."""
    path, cdn = tmp_path / "s.mp4", Cdn()
    here = await broken_off(cdn, path)
    assert await folder(tmp_path) == ["s.mp4.part", "s.mp4.part.json"]
    assert b"signature" not in await read(tmp_path / "s.mp4.part.json")
    async with raw_server(cdn) as server:
        saved = await fetch(server, path, sha256=True)
    assert here > 0
    assert cdn.asked == [here]
    assert await read(path) == VIDEO
    assert saved.sha256 == hashlib.sha256(VIDEO).hexdigest()
    assert await folder(tmp_path) == ["s.mp4"]


@pytest.mark.parametrize("step", ["open", "begin", "write", "finish", "close"])
async def test_a_download_that_is_cancelled_leaves_no_step_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """A step on the disk completes before the cancellation takes effect: no other download meets its rest."""
    path, cdn, under_way, go_on = tmp_path / "s.mp4", Cdn(), threading.Event(), threading.Event()
    original, calls = getattr(partial.PartFile, step), list[str]()

    def slow(part: Any, *arguments: Any) -> Any:
        calls.append("begun")
        under_way.set()
        go_on.wait(60)
        try:
            return original(part, *arguments)
        finally:
            calls.append("over")

    monkeypatch.setattr(partial.PartFile, step, slow)
    async with raw_server(cdn) as server:
        first = asyncio.create_task(fetch(server, path))
        await asyncio.to_thread(under_way.wait, 60)
        first.cancel()
        await settle()
        assert not first.done()
        with pytest.raises(DownloadError, match="already"):
            await fetch(server, path)
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert calls[-1] == "over"
        await fetch(server, path)
    assert await read(path) == VIDEO
    assert await folder(tmp_path) == ["s.mp4"]


async def test_a_changed_file_is_begun_anew(tmp_path: Path) -> None:
    """Another version at the same place is fetched whole."""
    path, cdn = tmp_path / "s.mp4", Cdn()
    await broken_off(cdn, path)
    cdn.etag, cdn.content = '"two"', movie(bytes(range(1, 256)) * 400)
    async with raw_server(cdn) as server:
        await fetch(server, path)
    assert await read(path) == cdn.content


@pytest.mark.parametrize("etag", [None, 'W/"weak"', "bare", '"a\\"b"'])
async def test_a_file_without_a_strong_version_is_not_resumed(tmp_path: Path, etag: str | None) -> None:
    """Where the server names no version that can be asked for, no part stays."""
    await broken_off(Cdn(etag=etag), tmp_path / "s.mp4")
    assert await folder(tmp_path) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda headers: headers.pop("Content_Range", None),
        lambda headers: headers.update(Content_Range=f"bytes 999-{len(VIDEO) - 1}/{len(VIDEO)}"),
        lambda headers: headers.update(Content_Range=headers["Content_Range"] + "1"),
        lambda headers: headers.update(ETag='"two"'),
    ],
)
async def test_another_part_than_asked_for_is_refused(tmp_path: Path, change: Callable[[Any], None]) -> None:
    """A part that is not the rest of what is here is not put to it, and the next call begins anew."""
    path, cdn = tmp_path / "s.mp4", Cdn()
    await broken_off(cdn, path)
    cdn.changed = change
    async with raw_server(cdn) as server:
        with pytest.raises(DownloadError, match="another part"):
            await fetch(server, path)
        assert await folder(tmp_path) == []
        cdn.changed = lambda _: None
        await fetch(server, path)
    assert [start is None for start in cdn.asked] == [False, True]


async def test_a_shorter_file_is_begun_anew(tmp_path: Path) -> None:
    """A range that is refused with 416 is no error: the file is another one now."""
    path, cdn = tmp_path / "s.mp4", Cdn()
    await broken_off(cdn, path)

    async def behave(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(http(b"", "416 Range Not Satisfiable") if b"Range:" in head else http(VIDEO))

    async with raw_server(behave) as server:
        await fetch(server, path)
    assert await read(path) == VIDEO


async def test_a_part_that_is_whole_already_is_finished(tmp_path: Path) -> None:
    """A process that died between the last byte and the rename costs one byte."""
    path, cdn = tmp_path / "s.mp4", Cdn()
    await broken_off(cdn, path)
    await write(tmp_path / "s.mp4.part", VIDEO)
    async with raw_server(cdn) as server:
        await fetch(server, path)
    assert cdn.asked == [len(VIDEO) - 1]
    assert await read(path) == VIDEO


@pytest.mark.parametrize(
    "said",
    ["", "{", "[]", "{}", '{"etag": 1, "length": 5, "boot": "x", "start": 0}', '{"etag": "e", "length": "l"}'],
)
async def test_what_says_nothing_of_the_part_is_not_believed(tmp_path: Path, said: str) -> None:
    """A part whose origin cannot be read is begun anew."""
    path, cdn = tmp_path / "s.mp4", Cdn()
    await broken_off(cdn, path)
    await write(tmp_path / "s.mp4.part.json", said.encode())
    async with raw_server(cdn) as server:
        await fetch(server, path)
    assert cdn.asked == [None]


async def test_a_part_of_another_boot_is_begun_anew(tmp_path: Path) -> None:
    """What was not synced may not have outlived the machine's end."""
    path, cdn = tmp_path / "s.mp4", Cdn()
    await broken_off(cdn, path)
    said = tmp_path / "s.mp4.part.json"
    await write(said, json.dumps({**json.loads(await read(said)), "boot": "another"}).encode())
    async with raw_server(cdn) as server:
        await fetch(server, path)
    assert cdn.asked == [None]


async def test_parts_that_make_no_video_are_given_up(tmp_path: Path) -> None:
    """A part that was spoiled on the disk does not stay to spoil the next try."""
    path, cdn = tmp_path / "s.mp4", Cdn()
    await broken_off(cdn, path)
    await write(tmp_path / "s.mp4.part", b"\xff" * 1000)
    async with raw_server(cdn) as server:
        with pytest.raises(DownloadError, match="not a playable MP4"):
            await fetch(server, path)
        assert await folder(tmp_path) == []
        await fetch(server, path)


async def test_one_file_is_fetched_once_at_a_time(tmp_path: Path) -> None:
    """A second download of the same file, at the same time, is refused; the first is not disturbed."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def behave(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        begun.set()
        await go_on.wait()
        writer.write(http(VIDEO))

    async with raw_server(behave) as server:
        first = asyncio.ensure_future(fetch(server, tmp_path / "s.mp4"))
        await begun.wait()
        with pytest.raises(DownloadError, match="being downloaded already"):
            await fetch(server, tmp_path / "s.mp4")
        fetching._BUSY.clear()  # as another process sees it
        with pytest.raises(DownloadError, match="by another process"):
            await fetch(server, tmp_path / "s.mp4")
        go_on.set()
        assert await read(path_of(await first)) == VIDEO
    assert await folder(tmp_path) == ["s.mp4"]


async def test_a_file_system_without_locks_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a file cannot be locked at all, it is downloaded without a lock."""

    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", flock)
    async with raw_server(Cdn()) as server:
        assert await read(path_of(await fetch(server, tmp_path / "s.mp4"))) == VIDEO


async def test_a_part_that_has_become_the_video_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that opens the part while another renames it does not write into the video."""
    locked = partial._locked

    def renamed(descriptor: int) -> bool:
        (tmp_path / "s.mp4.part").rename(tmp_path / "s.mp4")
        return locked(descriptor)

    monkeypatch.setattr(partial, "_locked", renamed)
    async with raw_server(Cdn()) as server:
        with pytest.raises(DownloadError, match="by another process"):
            await fetch(server, tmp_path / "s.mp4")


async def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk without room is an error that says so, and what is there of the video gives its room back."""

    def full(self: Any, entity: Any, start: int) -> None:
        begin(self, entity, start)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    begin = partial.PartFile.begin
    monkeypatch.setattr(partial.PartFile, "begin", full)
    async with raw_server(Cdn()) as server:
        with pytest.raises(DownloadError, match="No space left") as caught:
            await fetch(server, tmp_path / "s.mp4")
    assert not caught.value.temporary
    assert await folder(tmp_path) == []


async def test_a_video_that_claims_to_be_huge_is_not_begun(tmp_path: Path) -> None:
    """The length that the server names is looked at before the first byte is written."""

    async def behave(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999999\r\n\r\n")

    async with raw_server(behave) as server:
        with pytest.raises(DownloadError, match="is larger than"):
            await fetch(server, tmp_path / "s.mp4")


async def test_a_video_that_comes_compressed_is_refused(tmp_path: Path) -> None:
    """Its length could not be checked, and it was asked for as it is."""

    async def behave(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(http(VIDEO, Content_Encoding="gzip"))

    async with raw_server(behave) as server:
        with pytest.raises(DownloadError, match="compressed"):
            await fetch(server, tmp_path / "s.mp4")


# Where it may lead


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "10.1.2.3", "169.254.169.254", "localhost"),
        *("[::1]", "[::1%25lo]", "[fe80::1%25lo]", "[fec0::1]", "[::ffff:10.0.0.1]", "[::10.0.0.1]"),
        *("[64:ff9b::a00:1]", "[64:ff9b:1::a00:1]", "[2002:a00:1::]"),
    ],
)
async def test_a_private_address_is_not_asked(tmp_path: Path, host: str) -> None:
    """A media URL never leads into the user's own network, unless the API itself is there."""
    async with make_session() as session:
        media = MediaFetcher(session, Timeout(connect=30, total=60))
        with pytest.raises(DownloadError, match="public address"):
            await media.download(f"https://{host}/v.mp4", tmp_path / "s.mp4")


async def test_a_name_of_a_private_address_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A public name that leads to a private address is found out when it is looked up."""

    async def resolve(*_: Any) -> list[dict[str, Any]]:
        return [{"host": "10.0.0.7", "hostname": "media.test", "port": 443, "family": 2, "proto": 0, "flags": 0}]

    monkeypatch.setattr("suno_video_async._util.resolver.ThreadResolver.resolve", resolve)
    async with fetching.make_media_session(local=False) as session:
        media = MediaFetcher(session, Timeout(connect=30, total=60))
        with pytest.raises(DownloadError, match=r"media\.test, which has no public address") as caught:
            await media.download("https://media.test/v.mp4", tmp_path / "s.mp4")
    assert not caught.value.temporary


async def test_public_addresses_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several addresses of a name the public ones are used."""

    async def resolve(*_: Any) -> list[dict[str, Any]]:
        return [{"host": "10.0.0.7"}, {"host": "93.184.216.34"}]

    monkeypatch.setattr("suno_video_async._util.resolver.ThreadResolver.resolve", resolve)
    resolver = PublicResolver()
    assert [one["host"] for one in await resolver.resolve("media.test", 443)] == ["93.184.216.34"]
    await resolver.close()


def test_a_redirect_may_not_leave_https() -> None:
    """From https nothing leads to http, wherever the API is."""
    with pytest.raises(DownloadError, match="from https to http"):
        fetching._redirected("https://media.test/a", "http://media.test/b")
    assert fetching._redirected("https://media.test/a", "/b") == "https://media.test/b"


# A client's downloads


def video(url: str) -> Video:
    snapshot = TaskSnapshot(task_id=VideoTaskId("v"), status="success")
    return Video(task_id=snapshot.task_id, url=url, suno_id="s", snapshot=snapshot)


async def test_a_client_resumes_by_itself(tmp_path: Path) -> None:
    """Two breaks in one download cost no byte twice, and the tries wait in between."""
    cdn = Cdn(cuts=[60_000, 30_000], part=tmp_path / "s.mp4.part")
    async with (
        raw_server(cdn) as server,
        SunoVideoClient(api_key=KEY, base_url=server.url, clock=SystemClock(1000)) as client,
    ):
        saved = await client.fetch(video(server.url), tmp_path, sha256=True)
    first, second, third = (start or 0 for start in cdn.asked)
    assert first == 0 < second < third
    assert saved.sha256 == hashlib.sha256(VIDEO).hexdigest()


async def test_callers_of_one_video_share_one_download(tmp_path: Path) -> None:
    """They wait for the one under way, and go on with it when its caller is cancelled; an error is theirs too."""
    asked, begun, go_on = list[bytes](), asyncio.Event(), asyncio.Event()

    async def behave(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(head)
        begun.set()
        await go_on.wait()
        writer.write(http(VIDEO) if len(asked) < 3 else http(b"", "404 Gone"))

    async with (
        raw_server(behave) as server,
        SunoVideoClient(api_key=KEY, base_url=server.url, clock=SystemClock(10_000)) as client,
    ):
        callers = [asyncio.ensure_future(client.download(video(server.url), tmp_path)) for _ in range(4)]
        await begun.wait()
        callers.pop(0).cancel()
        go_on.set()
        assert {await caller for caller in callers} == {tmp_path / "s.mp4"}
        assert len(asked) == 2
        callers = [asyncio.ensure_future(client.download(video(server.url), tmp_path)) for _ in range(2)]
        found = await asyncio.gather(*callers, return_exceptions=True)
    assert len({id(error) for error in found}) == 1
    assert isinstance(found[0], SunoVideoError)


async def test_a_client_waits_as_long_as_a_media_server_asks(tmp_path: Path) -> None:
    """`Retry-After` of a busy media server is honoured, up to the most that the policy allows."""
    said = [http(b"", "503 Busy", Retry_After="7"), http(b"", "429 Slow", Retry_After="99999"), http(VIDEO)]
    clock = HastyClock()

    async def behave(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said.pop(0))

    async with (
        raw_server(behave) as server,
        SunoVideoClient(api_key=KEY, base_url=server.url, clock=clock) as client,
    ):
        await client.download(video(server.url), tmp_path)
    assert [wait for wait in clock.slept if wait >= 7] == [7.0, 900.0]
