"""Videos that go to an object store: there once, whole, and under names that nothing else has."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import obstore
import pytest

from suno_video_async import MissingExtraError, Outcome, Saved, Track, Video
from suno_video_async.download import store as stores
from suno_video_async.download.places import StorePath, folder_of
from suno_video_async.ledger.aio import AsyncLedger
from suno_video_async.ledger.model import LedgerRow
from suno_video_async.ledger.sqlite import SqliteLedger
from suno_video_async.testing import VideoServer, assert_charged_once, serve

_buckets = itertools.count(1)


@pytest.fixture(scope="module")
def shared() -> Iterator[VideoServer]:
    with serve(render_seconds=1, time_scale=1000, rate=None) as server:
        yield server


@pytest.fixture
def server(shared: VideoServer) -> VideoServer:
    shared.reset()
    return shared


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder that videos go through on their way."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def place() -> StorePath:
    """Return a folder of a store of the test's own."""
    found = folder_of(f"memory://bucket{next(_buckets)}/a folder/videos/")
    assert isinstance(found, StorePath)
    return found


def song(suno_id: str = "song", **more: Any) -> Track:
    return Track(task_id="m", suno_id=suno_id, **more)


def convert(server: VideoServer, place: StorePath | str, *tracks: Track, **options: Any) -> list[Outcome]:
    """Return the outcomes of tracks whose videos go to a place."""

    async def run() -> list[Outcome]:
        given = {"output_dir": str(place), "task_timeout": 300, **options}
        async with server.client() as client, client.convert(tracks, **given) as outcomes:
            return [outcome async for outcome in outcomes]

    return asyncio.run(run())


def content(place: StorePath) -> dict[str, bytes]:
    """Return what is in the store of a place, by key."""
    store = stores.open_store(place)
    keys = [str(one["path"]) for some in obstore.list(store) for one in some]
    return {key: bytes(obstore.get(store, key).bytes()) for key in keys}


def kept(ledger: Path) -> Sequence[LedgerRow]:
    reader = SqliteLedger(ledger)
    reader.open_to_read()
    try:
        return reader.rows()
    finally:
        reader.close()


def test_a_video_goes_to_a_store(server: VideoServer, place: StorePath, here: Path, tmp_path: Path) -> None:
    """It is in its place, the ledger and the outcome say where, and nothing stays on this machine."""
    ledger = tmp_path / "a.db"
    (outcome,) = convert(server, place, song(), ledger=ledger, sha256=True)
    uri = f"memory://{place.bucket}/a folder/videos/song.mp4"
    assert (outcome.state, outcome.uri, outcome.path) == ("downloaded", uri, None)
    assert outcome.record()["path"] == uri
    (key,), (video,) = zip(*content(place).items(), strict=True)
    assert (key, hashlib.sha256(video).hexdigest()) == ("a folder/videos/song.mp4", outcome.sha256)
    assert [(row.state.value, row.uri, row.path) for row in kept(ledger)] == [("downloaded", uri, None)]
    assert [file for file in here.rglob("*") if file.is_file()] == []


def test_a_video_in_a_store_is_not_fetched_again(server: VideoServer, place: StorePath, tmp_path: Path) -> None:
    """The next run skips it, and says where it is."""
    (one,) = convert(server, place, song(), ledger=tmp_path / "a.db")
    (other,) = convert(server, place, song(), ledger=tmp_path / "a.db")
    assert (other.state, other.uri) == ("skipped", one.uri)
    assert len(content(place)) == 1


def test_what_has_the_name_is_left_alone(server: VideoServer, place: StorePath, tmp_path: Path) -> None:
    """The video gets a marked name beside it, as among files."""
    obstore.put(stores.open_store(place), (place / "song.mp4").key, b"mine")
    (outcome,) = convert(server, place, song(), ledger=tmp_path / "a.db")
    found = content(place)
    assert (outcome.state, len(found)) == ("downloaded", 2)
    assert found["a folder/videos/song.mp4"] == b"mine"
    assert outcome.uri is not None
    assert outcome.uri.rpartition("/")[2].startswith("song-")


def test_two_ledgers_share_a_store(server: VideoServer, place: StorePath, tmp_path: Path) -> None:
    """The same song under another author is another video, though its ledger knows nothing of the first."""
    (one,) = convert(server, place, song(author="Ava"), ledger=tmp_path / "a.db")
    (two,) = convert(server, place, song(author="Ben"), ledger=tmp_path / "b.db")
    assert one.uri != two.uri
    assert len(content(place)) == 2


@pytest.mark.parametrize("marked", [True, False], ids=["says whose it is", "says nothing"])
def test_a_run_that_ended_before_its_note_is_finished(
    server: VideoServer,
    place: StorePath,
    here: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    marked: bool,
) -> None:
    """The next one finds the video in the store and notes it, once; also in a store that keeps no metadata."""
    settle, put = AsyncLedger.settle, obstore.put_async

    async def broken(self: AsyncLedger, row: Any, transition: Any) -> Any:
        if transition.state == "downloaded":
            raise RuntimeError("killed")
        return await settle(self, row, transition)

    async def bare(*arguments: Any, attributes: Any, **options: Any) -> Any:
        return await put(*arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(AsyncLedger, "settle", broken)
        if not marked:
            patched.setattr(obstore, "put_async", bare)
        with pytest.raises(RuntimeError, match="killed"):
            convert(server, place, song(), ledger=tmp_path / "a.db")
    assert len(content(place)) == 1
    (task,) = (row.video_task_id for row in kept(tmp_path / "a.db"))
    left = stores.staged(here / f"suno-video-{os.getuid()}", place / "song.mp4", str(task))
    left.write_bytes(b"of the process that was killed")
    (outcome,) = convert(server, place, song(), ledger=tmp_path / "a.db", sha256=True)
    assert [file for file in here.rglob("*") if file.is_file()] == []
    ((key, video),) = content(place).items()
    assert (outcome.state, outcome.uri) == ("downloaded", f"{place.root}/{key}")
    assert outcome.sha256 == hashlib.sha256(video).hexdigest()
    assert_charged_once(server)


def test_an_upload_whose_answer_was_lost_counts(
    server: VideoServer, place: StorePath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store says that the name is taken; what is there is this very video."""
    put = obstore.put_async

    async def twice(*arguments: Any, **options: Any) -> Any:
        await put(*arguments, **options)
        return await put(*arguments, **options)

    monkeypatch.setattr(obstore, "put_async", twice)
    (outcome,) = convert(server, place, song(), ledger=tmp_path / "a.db")
    assert (outcome.state, outcome.uri, len(content(place))) == ("downloaded", (place / "song.mp4").uri, 1)


def test_a_store_without_conditions_is_asked_before(
    server: VideoServer, place: StorePath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that cannot be told to replace nothing gets the video where nothing is."""
    put = obstore.put_async

    async def unconditional(*arguments: Any, mode: Any = None, **options: Any) -> Any:
        if mode == "create":
            raise obstore.exceptions.NotSupportedError("not implemented")
        return await put(*arguments, **options)

    monkeypatch.setattr(obstore, "put_async", unconditional)
    obstore.put(stores.open_store(place), (place / "a.mp4").key, b"mine")
    convert(server, place, song("a"), song("b"), ledger=tmp_path / "a.db")
    found = content(place)
    assert (len(found), found[(place / "a.mp4").key]) == (3, b"mine")


@pytest.mark.parametrize("call", ["get_async", "put_async"])
def test_a_store_that_fails_does_not_cost_the_video(
    server: VideoServer, place: StorePath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """The outcome says so, without what the store repeats of the request; the next run brings the video there."""

    async def failing(*_: Any, **__: Any) -> Any:
        text = "Error performing PUT https://x.test/k?sig=SECRET in 1ms - 403 Forbidden: <?xml version='1.0'?>"
        raise obstore.exceptions.GenericError(
            f"{text}<Error><Code>Odd</Code>SECRET</Error>\n\nDebug source:\nSECRET"
        )

    with monkeypatch.context() as patched:
        patched.setattr(obstore, call, failing)
        (outcome,) = convert(server, place, song(), ledger=tmp_path / "a.db")
    assert outcome.state == "succeeded"
    assert "403 Forbidden (Odd)" in str(outcome.error)
    assert "SECRET" not in repr((outcome, outcome.error, getattr(outcome.error, "__cause__", None)))
    (again,) = convert(server, place, song(), ledger=tmp_path / "a.db")
    assert (again.state, len(content(place))) == ("downloaded", 1)
    assert_charged_once(server)


def test_an_account_that_may_only_write_does(
    server: VideoServer, place: StorePath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it may not look, the store itself says which names are taken."""

    async def forbidden(*_: Any, **__: Any) -> Any:
        raise obstore.exceptions.PermissionDeniedError("403 Forbidden")

    obstore.put(stores.open_store(place), (place / "song.mp4").key, b"mine")
    monkeypatch.setattr(obstore, "get_async", forbidden)
    (outcome,) = convert(server, place, song(), ledger=tmp_path / "a.db")
    found = content(place)
    assert (outcome.state, len(found), found[(place / "song.mp4").key]) == ("downloaded", 2, b"mine")


def test_a_store_in_which_all_names_are_taken(
    server: VideoServer, place: StorePath, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is given up after some of them, and nothing stays on this machine."""

    async def taken(*_: Any, **__: Any) -> Any:
        raise obstore.exceptions.AlreadyExistsError("409 Conflict")

    monkeypatch.setattr(obstore, "put_async", taken)
    (outcome,) = convert(server, place, song(), ledger=tmp_path / "a.db")
    assert (outcome.state, "19 other names are taken" in str(outcome.error)) == ("succeeded", True)
    assert [file for file in here.rglob("*") if file.is_file()] == []


def test_a_bucket_that_is_gone(
    server: VideoServer, place: StorePath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says so."""

    async def gone(*_: Any, **__: Any) -> Any:
        raise FileNotFoundError("404 Not Found")

    monkeypatch.setattr(obstore, "put_async", gone)
    (outcome,) = convert(server, place, song(), ledger=tmp_path / "a.db")
    assert "no such bucket" in str(outcome.error)


async def test_one_video_goes_to_a_store(server: VideoServer, place: StorePath) -> None:
    """`generate` and `fetch` say where it is; `download`, which returns a path, says what to use instead."""
    async with server.client() as client:
        video = await client.generate(song("single"), output_dir=place)
        assert (video.uri, video.path) == ((place / "single.mp4").uri, None)
        saved = await client.fetch(video, str(place))
        assert saved == Saved(uri=(place / "single.mp4").uri)
        with pytest.raises(ValueError, match="use fetch"):
            await client.download(video, str(place))


async def test_a_folder_has_a_uri_too(server: VideoServer, tmp_path: Path) -> None:
    """`file://` is the folder that it names, and every video's place can be had as text."""
    folder = tmp_path / "my videos"
    async with server.client() as client:
        video: Video = await client.generate(song("local"), output_dir=folder.as_uri())
    assert video.path == folder / "local.mp4"
    assert video.uri == f"file://{tmp_path}/my%20videos/local.mp4"


async def test_a_store_needs_its_extra(server: VideoServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package, nothing is bought, and the error has the pip line."""
    monkeypatch.setitem(sys.modules, "obstore", None)
    async with server.client() as client:
        with pytest.raises(MissingExtraError, match=r"pip install 'suno-video-async\[store\]'"):
            client.convert([song("none")], output_dir="s3://bucket/videos")
