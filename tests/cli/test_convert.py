"""`suno-video convert` against a local server, in the words and codes that scripts rely on."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from suno_video_async.cli import probe
from suno_video_async.local import Fault
from suno_video_async.testing import VideoServer
from tests.cli.conftest import Home, Ran
from tests.cli.serving import served
from tests.support.keys import KEY, OTHER_KEY

SUMMARY = [
    "total", "done", "failed", "refused", "unknown", "submitted", "planned", "skipped",
    "requests", "refused_429", "resent_after_500", "credits", "seconds",
]  # fmt: skip


def convert(home: Home, server: VideoServer, *arguments: object) -> Ran:
    return home.run("convert", *arguments, "--base-url", server.url, "--time-scale", 20)


def test_a_whole_catalog_is_converted(home: Home) -> None:
    """All tracks come out downloaded, one JSON line each with exactly the promised keys, then the summary."""
    catalog = home.folder / "c.csv"
    catalog.write_bytes("\ufefftask_id,suno_id,author,genre\r\nm1,s1,Ava,pop\r\nm1,s2,,\r\n".encode())
    with served() as server:
        ran = convert(home, server, catalog, "--no-ledger")
    first = next(line for line in ran.outcomes() if line["row"] == "c.csv, line 2")
    assert ran.code == 0
    assert first["track"] == {"task_id": "m1", "suno_id": "s1", "author": "Ava", "brand": None}
    assert first["extra"] == {"genre": "pop"}
    assert set(first) == {
        "row", "track", "extra", "state", "video_task_id", "url", "path", "credits", "error",
    }  # fmt: skip
    assert {line["state"] for line in ran.outcomes()} == {"downloaded"}
    assert all(Path(line["path"]).stat().st_size > 0 for line in ran.outcomes())
    assert Path(first["path"]).parent.name == "videos"
    assert list(ran.summary()) == SUMMARY
    assert (ran.summary()["total"], ran.summary()["done"]) == (2, 2)
    assert ran.summary()["credits"] == 4


def test_the_end_says_where_everything_is(home: Home) -> None:
    """The folder of the videos, the ledger, and the command that makes a page; `--quiet` says none of it."""
    with served() as server:
        reach = ("--base-url", server.url, "--time-scale", 20)
        ran = home.run("convert", home.catalog("s1"), "--output-dir", "my videos", *reach)
        quiet = home.run("convert", "catalog.csv", "--quiet", *reach)
    ledger = home.folder / "catalog.ledger.db"
    assert ran.err.splitlines()[-2:] == [
        "the videos are in 'my videos'",
        f"the ledger is {ledger}; a page to look at: suno-video report {ledger}",
    ]
    assert "ledger is" not in quiet.err


def test_no_download_leaves_the_urls(home: Home) -> None:
    """With --no-download the videos are made, their URLs are told and no folder appears."""
    with served() as server:
        ran = convert(home, server, home.catalog("s1"), "--no-download")
    assert ran.code == 0
    assert ran.outcomes()[0]["state"] == "succeeded"
    assert ran.outcomes()[0]["url"].startswith(server.url)
    assert not (home.folder / "videos").exists()


def test_rows_that_fail_each_tell_why(home: Home) -> None:
    """A row without suno_id, a refused track and a failed one are told in their lines, and the code is 1."""
    catalog = home.folder / "c.csv"
    catalog.write_text("task_id,suno_id\nm1,s1\nm1,\nm1,s3\nm1,s4\n")
    faults = [Fault(on="CreateTask", kind="code:422", calls=(1,)), Fault(on="CreateTask", kind="fail", calls=(2,))]
    with served(faults=faults) as server:
        ran = convert(home, server, catalog)
    states = sorted(line["state"] for line in ran.outcomes())
    no_track = next(line for line in ran.outcomes() if line["track"] is None)
    assert ran.code == 1
    assert states == ["downloaded", "failed", "refused", "refused"]
    assert no_track["row"] == "c.csv, line 3"
    assert no_track["error"]["type"] == "CatalogError"
    assert {line["error"]["code"] for line in ran.outcomes() if line["error"]} == {None, 422, 501}


def test_an_unknown_submission_is_left_to_the_user(home: Home) -> None:
    """A submission whose answer never came is told as unknown, with advice, and the code is 4."""
    with served(faults=[Fault(on="CreateTask", kind="drop-after", calls=(1,))]) as server:
        ran = convert(home, server, home.catalog("s1"))
        charged = server.stats()["charged"]
    assert ran.code == 4
    assert ran.outcomes()[0]["error"]["type"] == "SubmissionUnknown"
    assert charged == 1
    assert "before you submit again" in ran.err


def test_strict_sends_nothing_again_after_a_500(home: Home) -> None:
    """With --strict a 500 on a submission leaves it unknown; without, it is sent again and counted."""
    faults = [Fault(on="CreateTask", kind="code:500", calls=(1,))]
    with served(faults=faults) as server:
        strict = convert(home, server, home.catalog("s1"), "--strict", "--no-ledger")
    with served(faults=faults) as server:
        usual = convert(home, server, home.catalog("s1"), "--no-ledger")
    assert (strict.code, strict.outcomes()[0]["state"]) == (4, "unknown")
    assert (usual.code, usual.summary()["resent_after_500"]) == (0, 1)


def test_without_credits_it_stops(home: Home) -> None:
    """When the credits run out the rest is left planned, what is paid for is finished, and the code is 3."""
    with served(credits=4) as server:
        ran = convert(home, server, home.catalog("s1", "s2", "s3", "s4"), "--max-in-flight", 1)
    assert ran.code == 3
    assert (ran.summary()["done"], ran.summary()["planned"]) == (2, 2)
    assert "top up the account" in ran.err


def test_a_failed_download_is_not_lost(home: Home) -> None:
    """A video that cannot be downloaded is told as made and paid for, with the command that fetches it."""
    with served(faults=[Fault(on="media", kind="code:404")]) as server:
        ran = convert(home, server, home.catalog("s1"), "--no-ledger")
    line = ran.outcomes()[0]
    assert ran.code == 1
    assert (line["state"], line["error"]["type"]) == ("succeeded", "DownloadError")
    assert f"suno-video wait --output-dir videos --base-url {server.url}" in ran.err
    assert line["video_task_id"] in ran.err


def test_a_task_that_takes_too_long_is_left_submitted(home: Home) -> None:
    """After --task-timeout a task is left as submitted, its id is told, and the code is 4."""
    with served(render_seconds=1e6) as server:
        ran = convert(home, server, home.catalog("s1"), "--task-timeout", 3, "--no-ledger")
    assert ran.code == 4
    assert ran.outcomes()[0]["state"] == "submitted"
    assert ran.err.count(ran.outcomes()[0]["video_task_id"]) == 1


def test_the_wrong_key_is_a_configuration_mistake(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A 401 leaves all tracks planned, says which key to check, and the code is 2."""
    monkeypatch.setenv("CRUN_API_KEY", OTHER_KEY)
    with served() as server:
        ran = convert(home, server, home.catalog("s1", "s2"))
    assert ran.code == 2
    assert {line["state"] for line in ran.outcomes()} == {"planned"}
    assert "CRUN_API_KEY" in ran.err
    assert OTHER_KEY not in ran.err + ran.out


def test_duplicates_are_skipped(home: Home) -> None:
    """A track that stands twice in a catalog is bought once."""
    with served() as server:
        ran = convert(home, server, home.catalog("s1", "s1"), "--no-download")
        charged = server.stats()["charged"]
    assert (ran.code, ran.summary()["skipped"], charged) == (0, 1, 1)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file"),
        ("", "is empty"),
        ("task_id,suno_id\n", "is empty"),
        ("id,name\n1,2\n", "no column task_id"),
        ("task_id,suno_id\nm1,\xff\n", "UTF-8"),
    ],
)
def test_an_unreadable_catalog_buys_nothing(home: Home, content: str | None, says: str) -> None:
    """A catalog that cannot be read is one line on stderr and code 2, before anything is asked of the service."""
    if content is not None:
        (home.folder / "c.csv").write_bytes(content.encode("latin-1"))
    with served() as server:
        ran = convert(home, server, "c.csv")
        assert server.stats()["requests"] == {}
    assert ran.code == 2
    assert ran.out == ""
    assert says in ran.err
    assert "c.csv" in ran.err
    assert len(ran.err.splitlines()) == 1


def test_a_folder_that_cannot_be_written_buys_nothing(home: Home) -> None:
    """An --output-dir that cannot be written is told before anything is bought."""
    (home.folder / "taken").write_text("a file")
    with served() as server:
        ran = convert(home, server, home.catalog("s1"), "--output-dir", "taken/videos")
        assert server.stats()["requests"] == {}
    assert ran.code == 2
    assert "--output-dir" in ran.err


def test_an_address_where_nobody_listens(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unreachable service is said in one line before any track is tried, and the code is 2."""
    monkeypatch.setattr(probe, "BACKOFF", (0.001,) * 3)
    with served() as server:
        gone = server.url
    ran = home.run("convert", home.catalog("s1"), "--base-url", gone)
    assert ran.code == 2
    assert "connection refused; nothing was bought" in ran.err
    assert len(ran.err.splitlines()) == 1


def test_the_key_file_is_enough(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the environment, key and address come from ~/.crun/.env."""
    monkeypatch.delenv("CRUN_API_KEY")
    monkeypatch.setattr(Path, "home", lambda: home.folder)
    (home.folder / ".crun").mkdir()
    with served() as server:
        (home.folder / ".crun" / ".env").write_text(f"CRUN_API_KEY={KEY}\nCRUN_BASE_URL={server.url}\n")
        ran = home.run("convert", home.catalog("s1"), "--no-download", "--time-scale", 20)
    assert ran.code == 0


def test_a_catalog_from_a_pipe(home: Home) -> None:
    """A catalog that can be read only once is converted without being counted first."""
    os.mkfifo(home.folder / "pipe")
    writing = threading.Thread(target=(home.folder / "pipe").write_text, args=("task_id,suno_id\nm1,s1\n",))
    writing.start()
    with served() as server:
        ran = convert(home, server, "pipe", "--no-download", "--no-ledger")
    writing.join()
    assert (ran.code, ran.summary()["done"]) == (0, 1)
