"""The commands beside a worker, each in a process of its own: `receive`, and `unknown adopt|resend|drop`."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from suno_video_async import Track, load
from suno_video_async.ledger.model import LedgerRow, all_rows
from suno_video_async.ledger.postgres.reader import PostgresReader
from suno_video_async.local import Fault
from suno_video_async.testing import serve
from tests.support.held import FOREVER, HeldClock
from tests.support.keys import KEY
from tests.support.postgres import named
from tests.support.processes import PATIENCE, ROOT, ServerProcess, server_process
from tests.support.workers import WorkerProcess, receiving, wait_until, workers

pytestmark = pytest.mark.services

SCALE = 20


@pytest.fixture
def name() -> str:
    """Return the name of a ledger that does not exist yet."""
    return f"test-{uuid4().hex[:12]}"


@pytest.fixture
def address(database: str, name: str) -> str:
    """Return its address."""
    return named(database, name)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """Return a local server that loses its answers to the first three submissions."""
    faults = tmp_path / "faults.toml"
    faults.write_text('[[fault]]\non = "CreateTask"\nkind = "drop-after"\ncalls = [1, 2, 3]\n')
    options = ("--api-key", KEY, "--render-seconds", 60, "--time-scale", SCALE, "--faults", faults)
    with server_process(*options) as running:
        yield running


def worker(database: str, name: str, url: str, folder: Path, *options: object) -> WorkerProcess:
    """Start a worker, whose server has that URL."""
    keys = folder / "keys.toml"
    keys.write_text(f'[[key]]\nname = "{name}"\napi_key_env = "CRUN_LABEL"\nbase_url = "{url}"\n')
    return WorkerProcess(database, keys, "--time-scale", SCALE, *options, environment={"CRUN_LABEL": KEY})


def tracks(name: str, count: int) -> list[Track]:
    """Return tracks that no other ledger has."""
    return [Track(task_id=name, suno_id=f"s{number}") for number in range(count)]


def rows(address: str) -> list[LedgerRow]:
    """Return the rows of a ledger."""
    with closing(PostgresReader(address)) as reader:
        reader.open_to_read(must_exist=True)
        return list(all_rows(reader))


def states(address: str) -> list[str]:
    """Return the states of the rows of a ledger, in their order."""
    return [row.state.value for row in rows(address)]


def unknown(address: str, *words: object, code: int = 0, says: str = "") -> list[dict[str, Any]]:
    """Run `suno-video unknown`, and return the lines that it printed."""
    command = [
        sys.executable,
        "-m",
        "suno_video_async",
        "unknown",
        *map(str, words),
        "--ledger",
        address,
        "--json",
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CRUN_API_KEY": KEY}
    options: dict[str, Any] = {"env": environment, "stdin": subprocess.DEVNULL, "capture_output": True}
    done = subprocess.run(command, **options, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


async def test_decisions_are_carried_out_by_the_worker_that_holds_the_ledger(
    database: str, name: str, address: str, server: ServerProcess, tmp_path: Path
) -> None:
    """`unknown` leaves each of them and says so; the worker goes on, and buys nothing twice unasked."""
    await load(tracks(name, 3), address)
    with workers() as started:
        started.append(worker(database, name, server.url, tmp_path))
        wait_until(lambda: states(address) == ["unknown"] * 3)
        task_of = {task["param"]["input"]["suno_id"]: task["task_id"] for task in server.tasks()}
        assert [line["row"] for line in unknown(address, "list")] == [1, 2, 3]
        unknown(address, "adopt", 1, task_of["s0"])
        unknown(address, "resend", 2, code=2)  # it could pay twice, and there is no one to confirm that
        unknown(address, "resend", 2, "--yes")
        unknown(address, "drop", 3)
        wait_until(lambda: states(address) == ["succeeded", "succeeded", "failed"])
        assert started[0].process.poll() is None
    assert rows(address)[0].video_task_id == task_of["s0"]
    assert server.stats()["charged_by_track"] == {f"{name}/s0//": 1, f"{name}/s1//": 2, f"{name}/s2//": 1}


def test_a_callback_that_comes_while_no_worker_runs_is_not_lost(
    database: str, name: str, address: str, tmp_path: Path
) -> None:
    """`receive` commits it before it answers, and may be killed then: the next worker finds its task."""
    asyncio.run(load(tracks(name, 1), address))
    lost, clock = Fault(on="CreateTask", kind="drop-after", calls=(1,)), HeldClock(SCALE)
    making: dict[str, Any] = {"render_seconds": FOREVER, "clock": clock, "time_scale": SCALE}
    with (
        serve(api_keys=[KEY], faults=[lost], **making) as server,
        receiving(database) as receiver,
        workers() as started,
    ):
        options = (server.url, tmp_path, "--callback-url", receiver.url)
        started.append(worker(database, name, *options))
        wait_until(lambda: server.stats()["charged"] == 1)
        started[0].send(signal.SIGKILL)
        started[0].process.wait(PATIENCE)
        clock.let_go()
        wait_until(lambda: _notes(database, name) == 1)
        wait_until(lambda: server.stats()["callbacks"]["sent"] == 1)  # or the next receiver would be sent it, too
        receiver.process.kill()
        for decision in (("resend", 1, "--yes"), ("drop", 1)):  # it is bought, as the callback shows
            unknown(address, *decision, "--base-url", server.url, code=2, says="a callback has named the task")
        with receiving(database, receiver.url) as again:
            started.append(worker(database, name, *options, "--until-done"))
            assert started[1].process.wait(PATIENCE) == 0
            again.process.send_signal(signal.SIGINT)
            said, _ = again.process.communicate(timeout=PATIENCE)
    assert states(address) == ["succeeded"]
    assert server.stats()["charged"] == 1
    assert json.loads(said) == {"summary": {"accepted": 0, "refused": 0}}
    assert again.process.returncode == 0


def _notes(database: str, name: str) -> int:
    with psycopg.connect(database) as session:
        ((number,),) = session.execute(f'SELECT COUNT(*) FROM "suno_video_{name}".notes').fetchall()
    return int(number)
