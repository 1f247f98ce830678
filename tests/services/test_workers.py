"""Workers on one database: who holds a key, who goes on, and what others leave for the holder."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

import pytest

from suno_video_async import Track, load
from suno_video_async.ledger.model import LedgerRow, all_rows
from suno_video_async.ledger.postgres import PostgresReader
from tests.support import postgres
from tests.support.keys import KEY
from tests.support.processes import ROOT, ServerProcess, server_process

pytestmark = pytest.mark.services

SCALE = 5
#: What the server of these tests does with the lifetime of a task: half a minute, on its own clock.
RENDERING = ("--render-seconds", "30:0.3", "--time-scale", SCALE, "--api-key", KEY)


def tracks(count: int, first: int = 0) -> list[Track]:
    """Return tracks of one music task."""
    return [Track(task_id="m", suno_id=f"s{number}") for number in range(first, first + count)]


class WorkerProcess:
    """A process of `suno-video work`."""

    def __init__(self, database: str, keys: Path, *options: object) -> None:
        command = [sys.executable, "-m", "suno_video_async", "work", "--database", database, "--keys", keys]
        command += ["--no-download", "--json", "--time-scale", SCALE, *options]
        kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        self.process = subprocess.Popen(
            list(map(str, command)),
            env={**kept, "PYTHONPATH": str(ROOT), "CRUN_LABEL": KEY},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.outcomes, self.notes = list[dict[str, Any]](), list[str]()
        self._readers = [
            threading.Thread(target=self._read, args=(self.process.stdout, self._outcome)),
            threading.Thread(target=self._read, args=(self.process.stderr, self.notes.append)),
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: Any, take: Any) -> None:
        for line in stream:
            take(line)

    def _outcome(self, line: str) -> None:
        self.outcomes.append(json.loads(line))

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def end(self, timeout: float = 60) -> int:
        """Wait until it has ended, and return its exit code."""
        code = self.process.wait(timeout)
        for reader in self._readers:
            reader.join()
        self.process.stdout.close()  # type: ignore[union-attr]
        self.process.stderr.close()  # type: ignore[union-attr]
        return code

    @property
    def summary(self) -> dict[str, int]:
        """What it said at its end."""
        found: dict[str, int] = self.outcomes[-1]["summary"]
        return found


@contextmanager
def workers() -> Iterator[list[WorkerProcess]]:
    """Yield a list of workers, which are all ended with the block."""
    started = list[WorkerProcess]()
    try:
        yield started
    finally:
        for worker in started:
            worker.process.kill()
            worker.end()


@pytest.fixture
def name() -> str:
    """Return the name of a ledger that does not exist yet."""
    return f"test-{uuid4().hex[:12]}"


@pytest.fixture
def server() -> Iterator[ServerProcess]:
    """Return a local server that keeps to the provider's limits."""
    with server_process(*RENDERING) as running:
        yield running


@pytest.fixture
def keys(tmp_path: Path, server: ServerProcess, name: str) -> Path:
    """Return the keys of the workers."""
    path = tmp_path / "keys.toml"
    path.write_text(
        f'[[key]]\nname = "label"\napi_key_env = "CRUN_LABEL"\nbase_url = "{server.url}"\nledger = "{name}"\n'
    )
    return path


def rows(database: str, name: str) -> list[LedgerRow]:
    """Return the rows of a ledger."""
    reader = PostgresReader(postgres.named(database, name))
    reader.open_to_read(must_exist=True)
    try:
        return list(all_rows(reader))
    finally:
        reader.close()


def states(database: str, name: str) -> dict[str, int]:
    """Return how many rows are in each state."""
    found = [row.state.value for row in rows(database, name)]
    return {state: found.count(state) for state in sorted(set(found))}


def holder(database: str, name: str) -> str | None:
    """Return who holds a ledger."""
    return PostgresReader(postgres.named(database, name)).writer()


def wait_until(condition: Any, seconds: float = 60) -> float:
    """Wait until something is so, and return how many seconds that took."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            pytest.fail(f"it did not come about in {seconds:g} s")
        time.sleep(0.02)
    return time.monotonic() - began


def is_waiting(worker: WorkerProcess) -> bool:
    """Whether a worker has found its key held by another one, last."""
    return bool(worker.notes) and "waits for its turn" in worker.notes[-1]


def is_of(holder: str | None, worker: WorkerProcess) -> bool:
    """Whether it is a process that holds a ledger."""
    return f"process {worker.process.pid} " in f"{holder} "


def assert_paid_once(server: ServerProcess, tracks: int) -> None:
    """Nothing is charged twice, nothing is lost, and the limit is kept."""
    stats = server.stats()
    assert set(stats["charged_by_track"].values()) == {1}
    assert len(stats["charged_by_track"]) == tracks
    assert stats["max_in_any_window"] <= 20


def test_another_worker_goes_on_when_the_holder_is_killed(
    database: str, name: str, keys: Path, server: ServerProcess
) -> None:
    """It holds the key in less than 3 s, and what was submitted is followed and not bought again."""
    asyncio.run(load(tracks(80), postgres.named(database, name)))
    seconds = list[float]()
    with workers() as started:
        alive = [WorkerProcess(database, keys, "--until-done") for _ in range(4)]
        started.extend(alive)
        for _ in range(3):
            wait_until(lambda: sum(is_waiting(worker) for worker in alive) == len(alive) - 1)
            holds = next(worker for worker in alive if is_of(holder(database, name), worker))
            bought = server.stats()["charged"]
            wait_until(lambda bought=bought: server.stats()["charged"] > bought + 3)
            alive.remove(holds)
            holds.send(signal.SIGKILL)
            seconds.append(wait_until(lambda: any(is_of(holder(database, name), worker) for worker in alive)))
        assert alive[0].process.wait(60) == 0
    done = states(database, name)
    print(
        "\nfailover after", [round(each, 2) for each in seconds], "s:", done, server.stats()["charged"], "charged"
    )
    assert done.keys() <= {"succeeded", "unknown"}
    assert done.get("unknown", 0) <= 60  # at most what one window lets be in flight when a holder is killed
    assert sum(done.values()) == 80
    assert_paid_once(server, server.stats()["charged"])
    assert done["succeeded"] <= server.stats()["charged"] <= 80
    assert median(seconds) < 3
