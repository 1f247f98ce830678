"""The verbs that ask about one thing, or follow a few."""

from __future__ import annotations

import re
from collections.abc import Generator

import pytest

from suno_video_async.local import Fault
from suno_video_async.testing import VideoServer
from tests.cli.conftest import Home, Ran
from tests.cli.serving import served
from tests.support.ports import reserved_port


@pytest.fixture
def server() -> Generator[VideoServer, None, None]:
    with served() as running:
        yield running


def ask(home: Home, server: VideoServer, *arguments: object) -> Ran:
    return home.run(*arguments, "--base-url", server.url, "--time-scale", 20)


def submitted(home: Home, server: VideoServer, suno_id: str = "s1") -> str:
    ran = ask(home, server, "submit", "m1", suno_id, "--author", "Ava")
    assert ran.code == 0
    return str(ran.lines()[0]["video_task_id"])


def test_a_video_is_submitted_watched_and_downloaded(home: Home, server: VideoServer) -> None:
    """The id that submit prints first is all that watch, status and download need."""
    task_id = submitted(home, server)
    watched = ask(home, server, "watch", task_id)
    asked = ask(home, server, "status", task_id)
    downloaded = ask(home, server, "download", task_id, "--output-dir", "here")
    assert [watched.code, asked.code, downloaded.code] == [0, 0, 0]
    assert watched.lines()[-1]["status"] == "success"
    assert [line["final"] for line in watched.lines()].count(True) == 1
    assert asked.lines()[0]["url"] == watched.lines()[-1]["url"]
    assert downloaded.lines()[0]["track"]["author"] == "Ava"
    assert (home.folder / downloaded.lines()[0]["path"]).is_file()


def test_wait_follows_several_and_keeps_files_apart(home: Home, server: VideoServer) -> None:
    """Wait ends when all have ended, and two videos of one track get two files."""
    ids = [submitted(home, server) for _ in range(2)]
    ran = ask(home, server, "wait", *ids, "--output-dir", "there")
    assert ran.code == 0
    assert {line["video_task_id"] for line in ran.lines()} == set(ids)
    assert len(list((home.folder / "there").glob("*.mp4"))) == 2


def test_wait_tells_what_does_not_exist(home: Home, server: VideoServer) -> None:
    """An unknown id fails for itself alone, with code 1."""
    task_id = submitted(home, server)
    ran = ask(home, server, "wait", "nonsense", task_id)
    states = {line["video_task_id"]: line["state"] for line in ran.lines()}
    assert ran.code == 1
    assert states == {"nonsense": "failed", task_id: "succeeded"}


def test_a_failed_video_ends_watch_with_1(home: Home) -> None:
    """Watch tells the failure, with the warning that another try is paid for again."""
    with served(faults=[Fault(on="CreateTask", kind="fail")]) as server:
        ran = ask(home, server, "watch", submitted(home, server))
    assert ran.code == 1
    assert "new, paid task" in ran.err


def test_a_video_that_does_not_exist(home: Home, server: VideoServer) -> None:
    """Status of an unknown id says to check it, with code 1."""
    ran = ask(home, server, "status", "nonsense")
    assert ran.code == 1
    assert "check the id" in ran.err


def test_download_of_what_is_not_over(home: Home) -> None:
    """Download of a running task names the verb that waits for it."""
    with served(render_seconds=1e6) as server:
        ran = ask(home, server, "download", submitted(home, server))
    assert ran.code == 2
    assert "suno-video wait" in ran.err


def test_an_unknown_submission(home: Home) -> None:
    """A submission whose answer is lost ends with code 4 and advice, and prints no id."""
    with served(faults=[Fault(on="CreateTask", kind="drop-after")]) as server:
        ran = ask(home, server, "submit", "m1", "s1")
        assert server.stats()["tasks"] == 1
    assert ran.code == 4
    assert ran.out == ""
    assert "see in your account" in ran.err


@pytest.mark.parametrize(
    ("credits_", "faults", "code"), [(0.0, [], 3), (9.0, ["code:422"], 1), (9.0, ["code:500"], 4)]
)
def test_a_refused_submission(home: Home, credits_: float, faults: list[str], code: int) -> None:
    """Refusals end with the code of their kind, and one last line."""
    with served(credits=credits_, faults=[Fault(on="CreateTask", kind=kind) for kind in faults]) as server:
        ran = ask(home, server, "submit", "m1", "s1")
    assert ran.code == code
    assert ran.out == ""
    assert ran.err.splitlines()[-1].startswith("suno-video: CreateTask: ")


def test_a_retry_is_told(home: Home) -> None:
    """What is tried again is said with its reason and the wait that the service asked for."""
    with served(faults=[Fault(on="CreateTask", kind="code:455", calls=(1,), retry_after=1)]) as server:
        ran = ask(home, server, "submit", "m1", "s1")
    assert ran.code == 0
    assert re.search(r"CreateTask: 455 .*; trying again in 1\.0 s \(1 of 4\)", ran.err)


def test_nobody_listens(home: Home) -> None:
    """Each retry is told with its reason, and after four attempts the command ends with code 2."""
    with reserved_port() as port:
        ran = home.run("balance", "--base-url", f"http://127.0.0.1:{port}", "--time-scale", 1000)
    assert ran.code == 2
    assert ran.err.count("Connection refused; trying again in") == 3
    assert "check the network" in ran.err.splitlines()[-1]


def test_balance(home: Home, server: VideoServer) -> None:
    """Balance prints the credits."""
    assert ask(home, server, "balance").lines() == [{"balance": 1000.0}]
