"""Ctrl+C once and twice, SIGTERM, a closed terminal, and a reader who leaves: real processes, real signals."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any
from urllib.request import Request, urlopen

import pytest

from suno_video_async.cli import run as conversion
from suno_video_async.cli.tally import Tally
from suno_video_async.local import Fault
from tests.cli.conftest import ROOT, Home
from tests.cli.serving import served
from tests.support.held import FOREVER, HeldClock
from tests.support.keys import KEY
from tests.support.processes import PATIENCE

#: The first terminal that a new session opens is its own. The tests themselves may run under nohup.
TERMINAL = """
import os, signal, sys
signal.signal(signal.SIGHUP, signal.SIG_DFL)
os.open(sys.argv[1], os.O_RDWR)
os.execv(sys.argv[2], sys.argv[2:])
"""


def finish(process: subprocess.Popen[str]) -> tuple[int, list[dict[str, Any]], str]:
    out, err = process.communicate(timeout=PATIENCE)
    assert "Traceback" not in err, err
    return process.returncode, [json.loads(line) for line in out.splitlines()], err


def read_until(process: subprocess.Popen[str], words: str) -> str:
    """Read stderr until a line with these words has come, and return all of it."""
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if words in line:
            return said
    raise AssertionError(f"{words!r} was never said, but {said!r}")


def test_ctrl_c_once_finishes_what_is_submitted(home: Home) -> None:
    """After one Ctrl+C running tasks are followed to their end, the rest stays planned, and the code is 130."""
    catalog, clock = home.catalog(*(f"s{n}" for n in range(20))), HeldClock()
    with served(render_seconds=FOREVER, clock=clock) as server:
        arguments = ("convert", catalog, "--base-url", server.url, "--time-scale", 20, "--max-in-flight", 2)
        with home.child(*arguments) as process:
            server.wait_for(lambda stats: stats["tasks"] >= 2)
            process.send_signal(signal.SIGINT)
            read_until(process, "submitting no more")
            clock.let_go()
            code, lines, _ = finish(process)
        charged = server.stats()["charged"]
    states = [line["state"] for line in lines[:-1]]
    assert code == 130
    assert len(states) == 20
    assert states.count("downloaded") == charged
    assert states.count("planned") == 20 - charged > 0
    assert lines[-1]["summary"]["planned"] == states.count("planned")


def test_ctrl_c_twice_leaves_and_loses_no_id(home: Home) -> None:
    """Without a ledger, two of them leave every submitted id told, in its line and in the command that resumes."""
    catalog = home.catalog("s1", "s2", "s3", "s4")
    with served(render_seconds=1e6) as server:
        reach = ("--base-url", server.url, "--time-scale", 20)
        arguments = ("convert", catalog, *reach, "--max-in-flight", 2, "--no-ledger")
        with home.child(*arguments) as process:
            server.wait_for(lambda stats: stats["tasks"] >= 2)
            process.send_signal(signal.SIGINT)
            first = read_until(process, "submitting no more")
            process.send_signal(signal.SIGINT)
            code, lines, err = finish(process)
        ids = {task["task_id"] for task in server.tasks()["video"]}
    told = {line["video_task_id"] for line in lines[:-1] if line["state"] == "submitted"}
    assert "Ctrl+C again" in first
    assert code == 130
    assert told == ids
    assert lines[-1]["summary"]["submitted"] == 2
    assert lines[-1]["summary"]["planned"] == 2
    resume = next(line for line in err.splitlines() if "suno-video wait" in line)
    assert all(task_id in resume for task_id in ids)
    assert f"--base-url {server.url}" in resume


def test_sigterm_waits_for_the_submission_in_the_air(home: Home) -> None:
    """SIGTERM leaves at once, but the answer of a submission that is being sent is still taken and told."""
    catalog, clock = home.catalog("s1"), HeldClock()
    with served(faults=[Fault(on="CreateTask", kind=f"slow:{FOREVER:.0f}")], clock=clock) as server:
        arguments = ("convert", catalog, "--base-url", server.url, "--time-scale", 20)
        with home.child(*arguments) as process:
            server.wait_for(lambda stats: stats["tasks"] >= 1)
            process.send_signal(signal.SIGTERM)
            read_until(process, "waiting for the submissions in flight")
            clock.let_go()
            code, lines, _ = finish(process)
        ids = [task["task_id"] for task in server.tasks()["video"]]
    assert code == 130
    assert [line["video_task_id"] for line in lines[:-1]] == ids


def test_an_interruption_before_anything_can_be_left_counts(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A SIGTERM that comes while a run is being set up, with submissions in the air already, leaves it then."""
    written = conversion._write

    async def interrupted(tally: Tally, write: Callable[[], None]) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(5):
            await asyncio.sleep(0)
        await written(tally, write)

    monkeypatch.setattr(conversion, "_write", interrupted)
    with served(render_seconds=1e6) as server:
        ran = home.run("convert", home.catalog("s1"), "--base-url", server.url, "--time-scale", 20)
    assert ran.code == 130
    assert "leaving" in ran.err


def test_a_closed_terminal_leaves_in_order(home: Home) -> None:
    """When its terminal is closed, a run takes the answers that are due, writes its file, and leaves."""
    catalog, told = home.catalog("s1", "s2"), home.folder / "told.jsonl"
    master, slave = pty.openpty()
    with served(render_seconds=1e6) as server, told.open("wb") as out:
        arguments = home.child_arguments("convert", catalog, "--base-url", server.url, "--time-scale", 20)
        with subprocess.Popen(
            [sys.executable, "-c", TERMINAL, os.ttyname(slave), *arguments],
            cwd=home.folder,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "TERM": "dumb",
            },  # nobody reads what a live view would draw
            stdin=slave,
            stdout=out,
            stderr=slave,
            start_new_session=True,
        ) as process:
            os.close(slave)
            server.wait_for(lambda stats: stats["tasks"] == 2)
            os.close(master)
            try:
                code = process.wait(PATIENCE)
            finally:
                process.kill()
        ids = {task["task_id"] for task in server.tasks()["video"]}
    *outcomes, last = [json.loads(line) for line in told.read_text().splitlines()]
    assert code == 130
    assert {line["video_task_id"] for line in outcomes} == ids
    assert last["summary"]["submitted"] == 2


def test_an_interrupted_submission_is_told(home: Home) -> None:
    """Ctrl+C while submit is being sent does not lose the id: it is printed, and the code is 130."""
    clock = HeldClock()
    with served(faults=[Fault(on="CreateTask", kind=f"slow:{FOREVER:.0f}")], clock=clock) as server:
        with home.child("submit", "m1", "s1", "--base-url", server.url) as process:
            server.wait_for(lambda stats: stats["tasks"] >= 1)
            process.send_signal(signal.SIGINT)
            clock.let_go()
            code, lines, _ = finish(process)
        ids = [task["task_id"] for task in server.tasks()["video"]]
    assert code == 130
    assert [line["video_task_id"] for line in lines] == ids


def test_an_interrupted_wait_tells_how_to_go_on(home: Home) -> None:
    """Ctrl+C during wait leaves the tasks alone and prints the command that follows them again."""
    with served(render_seconds=1e6) as server:
        submit = home.run("submit", "m1", "s1", "--base-url", server.url)
        task_id = submit.lines()[0]["video_task_id"]
        with home.child("wait", task_id, "--base-url", server.url) as process:
            server.wait_for(lambda stats: stats["requests"].get("TaskInfo", 0) >= 1)
            process.send_signal(signal.SIGINT)
            code, lines, err = finish(process)
    assert (code, lines) == (130, [])
    assert f"suno-video wait --base-url {server.url} {task_id}" in err


def test_a_reader_who_leaves_loses_nothing(home: Home) -> None:
    """When stdout is closed no more is submitted, and what was bought is told on stderr."""
    catalog, clock = home.catalog(*(f"s{n}" for n in range(20))), HeldClock()
    faults = [Fault(on="CreateTask", kind=f"slow:{FOREVER:.0f}", calls=(2,))]
    with served(faults=faults, clock=clock) as server:
        arguments = ("convert", catalog, "--base-url", server.url, "--time-scale", 20, "--max-in-flight", 1)
        with home.child(*arguments) as process:
            assert process.stdout is not None
            process.stdout.readline()
            process.stdout.close()
            server.wait_for(lambda stats: stats["tasks"] == 2)
            clock.let_go()
            assert process.stderr is not None
            err = process.stderr.read()
            code = process.wait(PATIENCE)
        ids = [task["task_id"] for task in server.tasks()["video"]]
    assert code == 4
    assert 1 < len(ids) < 20
    assert all(task_id in err for task_id in ids[1:])
    assert "Traceback" not in err
    assert "Exception ignored" not in err


def test_the_server_stops_on_ctrl_c(home: Home) -> None:
    """Serve prints its address and a key of its own making, answers, and ends with 0 on Ctrl+C."""
    with home.child("serve", "--port", 0, "--render-seconds", "1:0.2") as process:
        assert process.stdout is not None
        words = process.stdout.readline().split()
        assert words[:2] == ["listening", "on"]
        assert words[3:5] == ["api", "key"]
        with home.child("balance", "--base-url", words[2], CRUN_API_KEY=words[5]) as asked:
            assert json.loads(asked.communicate(timeout=PATIENCE)[0]) == {"balance": 1000.0}
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_stops_the_server_at_once(home: Home, number: signal.Signals) -> None:
    """The first one leaves callbacks their time, the second none; the code is 0, and no file is left."""
    temporary = home.folder / "temporary"
    temporary.mkdir()
    (home.folder / "keys.toml").write_text(f'[[key]]\nkey = "{KEY}"\ncredits = 7\n')
    options = ("--port", 0, "--keys", "keys.toml", "--render-seconds", 1e6, "--grace", 1000)
    with home.child("serve", *options, TMPDIR=str(temporary)) as process:
        assert process.stdout is not None
        line = process.stdout.readline().split()
        assert len(line) == 3
        order = {"model": "suno/music-video", "input": {"task_id": "m", "suno_id": "s"}}
        body = json.dumps({**order, "callback_url": "http://127.0.0.1:1/"}).encode()
        request = Request(f"{line[2]}/api/v1/client/job/CreateTask", body, {"x-api-key": KEY})
        request.add_header("Content-Type", "application/json")
        with urlopen(request, timeout=PATIENCE) as answer:
            assert json.load(answer)["code"] == 200
        assert list(temporary.iterdir())
        process.send_signal(number)
        read_until(process, "stopping: callbacks are still to be sent, for at most 1000 s")
        process.send_signal(number)
        assert process.wait(PATIENCE) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert list(temporary.iterdir()) == []


def test_a_port_in_use(home: Home) -> None:
    """Serve on a port that is taken is one line and code 2."""
    with served() as server:
        ran = home.run("serve", "--render-seconds", 1, "--port", server.url.rpartition(":")[2])
    assert ran.code == 2
    assert "in use" in ran.err
    assert len(ran.err.splitlines()) == 1
