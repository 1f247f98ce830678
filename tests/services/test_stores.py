"""Videos that go to a store that speaks S3, over a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from suno_video_async import Outcome, SqliteLedger, Track
from suno_video_async.testing import VideoServer, serve
from tests.cli.conftest import Home, home  # noqa: F401  a fixture
from tests.cli.serving import served
from tests.crash.child import Job
from tests.crash.scene import Server, runs, serving
from tests.support.mp4 import problem_of
from tests.support.s3 import SECRET, bucket

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """Run a store with a bucket, and name it in the environment."""
    with bucket("videos") as videos:
        yield videos.meta.client


@pytest.fixture(scope="module")
def server() -> Iterator[VideoServer]:
    with serve(render_seconds=1, time_scale=1000, rate=None) as server:
        yield server


def convert(server: VideoServer, place: str, ledger: Path, *names: str) -> list[Outcome]:
    async def run() -> list[Outcome]:
        tracks = [Track(task_id="m", suno_id=name) for name in names]
        async with server.client() as client, client.convert(tracks, ledger=ledger, output_dir=place) as outcomes:
            return [outcome async for outcome in outcomes]

    return asyncio.run(run())


def keys(s3: Any, prefix: str) -> dict[str, int]:
    found = s3.list_objects_v2(Bucket="videos", Prefix=prefix).get("Contents", [])
    return {one["Key"]: one["Size"] for one in found}


def test_videos_go_to_a_bucket(s3: Any, server: VideoServer, tmp_path: Path) -> None:
    """Each is there under its name, with its type; one that is taken stays, and the next run fetches nothing."""
    s3.put_object(Bucket="videos", Key="a run/ü/b.mp4", Body=b"mine")
    outcomes = convert(server, "s3://videos/a run/ü", tmp_path / "a.db", "a", "b", "c")
    assert [outcome.state for outcome in outcomes] == ["downloaded"] * 3
    found = keys(s3, "a run/ü/")
    assert len(found) == 4
    assert found.pop("a run/ü/b.mp4") == 4
    assert {f"s3://videos/{key}" for key in found} == {outcome.uri for outcome in outcomes}
    head = s3.head_object(Bucket="videos", Key="a run/ü/a.mp4")
    assert (head["ContentType"], len(head["Metadata"]["sunovideosha256"])) == ("video/mp4", 64)
    again = convert(server, "s3://videos/a run/ü", tmp_path / "a.db", "a", "b", "c")
    assert [outcome.state for outcome in again] == ["skipped"] * 3
    assert len(keys(s3, "a run/ü/")) == 4


def test_a_killed_run_is_finished(s3: Any, tmp_path: Path) -> None:
    """Killed after the upload and before its note: the next run finds the video there, and notes it once."""
    ledger, tracks = tmp_path / "a.db", [("m", f"s{number}") for number in range(4)]
    with serving() as server, runs() as children:
        job = Job(url=server.url, key=server.key, ledger=str(ledger), folder="s3://videos/killed", tracks=tracks)
        assert children.run(evolve(job, point="store: put done", nth=3, one_by_one=True)) == -9
        before = keys(s3, "killed/")
        assert len(before) == 3
        assert children.run(job) == 0
        _finished(s3, server, ledger, tmp_path)
        assert before.items() <= keys(s3, "killed/").items()


def _finished(s3: Any, server: Server, ledger: Path, folder: Path) -> None:
    reader = SqliteLedger(ledger)
    reader.open_to_read()
    rows = reader.rows()
    reader.close()
    assert [row.state.value for row in rows] == ["downloaded"] * 4
    assert {row.uri for row in rows} == {f"s3://videos/{key}" for key in keys(s3, "killed/")}
    assert list(server.books().values()) == [1] * 4
    for key in keys(s3, "killed/"):
        file = folder / "video.mp4"
        s3.download_file("videos", key, str(file))
        assert problem_of(file) is None


@pytest.mark.usefixtures("s3")
def test_what_is_wrong_with_a_store_is_known_before(home: Home) -> None:  # noqa: F811
    """A bucket that does not exist ends the command before anything is bought; a secret is not repeated."""
    catalog = home.catalog("s1")
    with served() as server:
        ran = home.run("convert", catalog, "--output-dir", "s3://nothing/x", "--base-url", server.url)
        assert server.stats()["charged"] == 0
        right = home.run("doctor", "--output-dir", "s3://videos/x", "--base-url", server.url)
        wrong = home.run("doctor", "--output-dir", "s3://nothing/x", "--base-url", server.url)
    assert (ran.code, right.code, wrong.code) == (2, 0, 1)
    assert "s3://nothing/x cannot be reached" in ran.err
    assert "s3://videos/x answers" in right.out
    assert "NoSuchBucket" in ran.err
    assert "NoSuchBucket" in wrong.out
    assert SECRET not in "".join((ran.out, ran.err, wrong.out, wrong.err))


@pytest.mark.usefixtures("s3")
def test_the_command_line_says_where_a_video_is(home: Home) -> None:  # noqa: F811
    """Its lines have the URL where a path would be, and a report does not miss the file."""
    catalog = home.catalog("s1")
    with served() as server:
        ran = home.run(
            "convert", catalog, "--output-dir", "s3://videos/line", "--base-url", server.url, "--time-scale", 20
        )
    assert ran.code == 0, ran.err
    assert ran.outcomes()[0]["path"] == "s3://videos/line/s1.mp4"
    assert "s3://videos/line" in ran.err
    assert home.run("report", "catalog.ledger.db").code == 0
    page = (home.folder / "catalog.report.html").read_text()
    assert "s3://videos/line/s1.mp4" in page
