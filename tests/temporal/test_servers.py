"""The command line with servers for Temporal, PostgreSQL and the service: what dies, and what is forgotten."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest
from attrs import define, field

from tests.support.keys import KEY
from tests.support.ports import reserved_port
from tests.support.processes import PATIENCE, ROOT, ServerProcess, server_process
from tests.temporal.programs import TemporalServer, events, forget

pytestmark = pytest.mark.services

SCALE = 20
#: Tracks that take minutes, even at that scale: longer than the commands of a test on a busy machine.
TOO_MANY = 6_000
#: What the local server does with a task: 20 s, on a clock that is 20 times as fast.
RENDERING = ("--render-seconds", "20:0.3", "--time-scale", SCALE, "--api-key", KEY)


@define
class Site:
    """All that runs: a database, Temporal, the service, and workers."""

    database: str
    temporal: TemporalServer
    server: ServerProcess
    folder: Path
    ledger: str = field(factory=lambda: f"test-{uuid4().hex[:12]}")
    workers: list[subprocess.Popen[str]] = field(factory=list)

    def command(self, *words: object) -> list[str]:
        """Return a command of `suno-video temporal`."""
        return [
            sys.executable,
            "-m",
            "suno_video_async",
            "temporal",
            *map(str, words),
            "--address",
            self.temporal.address,
        ]

    @property
    def environment(self) -> dict[str, str]:
        """What the processes find in theirs."""
        kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        return {**kept, "PYTHONPATH": str(ROOT), "CRUN_LABEL": KEY, "SUNO_VIDEO_DATABASE": self.database}

    def work(self) -> subprocess.Popen[str]:
        """Start a worker."""
        keys = self.folder / "keys.toml"
        keys.write_text(
            f'[[key]]\nname = "label"\napi_key_env = "CRUN_LABEL"\nbase_url = "{self.server.url}"\n'
            f'ledger = "{self.ledger}"\n'
        )
        log = self.folder / f"worker-{len(self.workers)}.log"
        with log.open("w") as written:
            worker = subprocess.Popen(
                self.command("worker", "--keys", keys, "--no-download", "--json", "--time-scale", SCALE),
                env=self.environment,
                stdout=written,
                stderr=subprocess.STDOUT,
                text=True,
            )
        self.workers.append(worker)
        return worker

    def catalog(self, tracks: int) -> Path:
        """Write a catalog."""
        path = self.folder / "catalog.csv"
        rows = (f"{self.ledger},s{number}\n" for number in range(tracks))  # a track is in one ledger of a database
        path.write_text("task_id,suno_id\n" + "".join(rows))
        return path

    def run(self, *words: object) -> list[dict[str, object]]:
        """Run a command to its end, and return what it printed."""
        command = self.command(*words, "--json")
        done = subprocess.run(
            command, check=False, env=self.environment, capture_output=True, text=True, timeout=PATIENCE
        )
        assert done.returncode == 0, done.stderr + self.log()
        return [json.loads(line) for line in done.stdout.splitlines()]

    def log(self) -> str:
        """Return what the workers said."""
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("worker-*.log")))

    def convert(self, catalog: Path) -> dict[str, int]:
        """Convert a catalog, and return how many rows are in which state."""
        (_, end) = self.run("start", catalog, "--ledger", self.ledger, "--wait")
        return end["result"][self.ledger]  # type: ignore[index,no-any-return]

    def bought(self) -> int:
        """Return how many tracks the service has charged; none of them twice, and not too many in a window."""
        stats = self.server.stats()
        assert set(stats["charged_by_track"].values()) <= {1}
        assert stats["max_in_any_window"] <= 20
        return len(stats["charged_by_track"])

    def wait(self, condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
        """Wait until something is so."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, self.log()
            time.sleep(0.02)


@pytest.fixture
def site(database: str, tmp_path: Path) -> Iterator[Site]:
    """Run all that is needed but workers."""
    with ExitStack() as stack:
        server = stack.enter_context(server_process(*RENDERING))
        temporal = TemporalServer(tmp_path, stack.enter_context(reserved_port()))
        stack.callback(temporal.kill)
        temporal.start()
        running = Site(database, temporal, server, tmp_path)
        yield running
        for worker in running.workers:
            worker.kill()
            worker.wait()


def test_a_catalog_is_bought_once_whatever_temporal_forgets(site: Site) -> None:
    """It is converted and counted; without its workflows it is known all the same; and no history has a secret."""
    catalog = site.catalog(12)
    worker = site.work()
    assert site.convert(catalog) == {"succeeded": 12}
    history = asyncio.run(events(site.temporal.address))
    assert site.ledger in history
    for secret in (KEY, site.database, "CRUN_LABEL"):
        assert secret not in history
    asyncio.run(forget(site.temporal.address))
    assert site.convert(catalog) == {"succeeded": 12}
    assert site.bought() == site.server.stats()["charged"] == 12
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(PATIENCE) == 0, site.log()


@pytest.mark.matrix
def test_workers_and_temporal_may_be_killed(site: Site) -> None:
    """Another worker goes on with what the dead one has submitted, and Temporal with what it has written down."""
    catalog = site.catalog(60)
    first = site.work()
    with subprocess.Popen(
        site.command("start", catalog, "--ledger", site.ledger), env=site.environment, stdout=subprocess.DEVNULL
    ) as started:
        assert started.wait(PATIENCE) == 0
    site.wait(lambda: site.bought() >= 20)
    site.work()
    first.kill()
    site.temporal.kill()
    site.temporal.start()
    bought = site.bought()
    site.wait(lambda: site.bought() > bought)
    done = site.convert(catalog)  # which waits for the workflow that runs
    assert done.keys() <= {"succeeded", "unknown"}
    assert sum(done.values()) == 60
    assert done.get("unknown", 0) <= 20  # at most what was in flight when the worker was killed
    assert site.bought() == site.server.stats()["charged"]


def test_what_is_running_is_shown_and_stopped(site: Site) -> None:
    """`status` says what a ledger's workflow does, and `stop` lets it end when what is submitted has."""
    site.work()
    site.run("start", site.catalog(TOO_MANY), "--ledger", site.ledger)
    site.wait(lambda: site.bought() >= 5)
    assert site.run("status") == [{"ledger": site.ledger, "state": "working"}]
    site.run("stop", site.ledger)
    site.wait(lambda: site.run("status") == [])
    assert site.bought() < TOO_MANY
