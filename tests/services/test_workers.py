"""Workers on one database: who holds a key, who goes on, and what others leave for the holder."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest

from suno_video_async import Track, load
from suno_video_async.ledger.model import LedgerRow, all_rows
from suno_video_async.ledger.postgres.reader import PostgresReader
from tests.support import postgres
from tests.support.keys import KEY
from tests.support.processes import PATIENCE, ServerProcess, server_process
from tests.support.workers import WorkerProcess, wait_until, workers

pytestmark = pytest.mark.services

SCALE = 5
#: What the server of these tests does with the lifetime of a task: half a minute, on its own clock.
RENDERING = ("--render-seconds", "30:0.3", "--time-scale", SCALE, "--api-key", KEY)


def tracks(count: int, first: int = 0) -> list[Track]:
    """Return tracks of one music task."""
    return [Track(task_id="m", suno_id=f"s{number}") for number in range(first, first + count)]


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


def worker(database: str, keys: Path, *options: object) -> WorkerProcess:
    """Start a worker of these tests' key."""
    environment = {"CRUN_LABEL": KEY}
    return WorkerProcess(database, keys, "--time-scale", SCALE, *options, environment=environment)


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


def has_bought(server: ServerProcess, videos: int) -> bool:
    """Whether more videos than that are bought."""
    return bool(server.stats()["charged"] > videos)


def assert_paid_once(server: ServerProcess, tracks: int) -> None:
    """Nothing is charged twice, nothing is lost, and the limit is kept."""
    stats = server.stats()
    assert set(stats["charged_by_track"].values()) == {1}
    assert len(stats["charged_by_track"]) == tracks
    assert stats["max_in_any_window"] <= 20


def test_another_worker_goes_on_when_the_holder_is_killed(
    database: str, name: str, keys: Path, server: ServerProcess
) -> None:
    """It holds the key at once, and what was submitted is followed and not bought again."""
    seconds = list[float]()
    with workers() as started:
        alive = [worker(database, keys) for _ in range(3)]
        started.extend(alive)
        for first in (0, 30):
            wait_until(lambda: sum(worker.is_waiting for worker in alive) == len(alive) - 1)
            holds = next(worker for worker in alive if worker.holds(holder(database, name)))
            bought = server.stats()["charged"]
            asyncio.run(load(tracks(30, first), postgres.named(database, name)))
            wait_until(partial(has_bought, server, bought + 3))
            alive.remove(holds)
            holds.send(signal.SIGKILL)
            seconds.append(wait_until(lambda: any(worker.holds(holder(database, name)) for worker in alive)))
        wait_until(lambda: states(database, name).keys() <= {"succeeded", "unknown"})
        alive[0].send(signal.SIGTERM)
        assert alive[0].process.wait(PATIENCE) == 0
    done = states(database, name)
    assert done.get("unknown", 0) <= 40  # at most what one window lets be in flight when a holder is killed
    assert sum(done.values()) == 60
    assert_paid_once(server, server.stats()["charged"])
    assert done["succeeded"] <= server.stats()["charged"] <= 60
    assert max(seconds) < 20, "not by the session's keepalives, nor by the age of a heartbeat"


def test_a_worker_that_is_terminated_finishes_what_is_submitted(
    database: str, name: str, keys: Path, server: ServerProcess
) -> None:
    """It buys no more, says so, and another one goes on with the rest."""
    asyncio.run(load(tracks(200), postgres.named(database, name)))
    with workers() as started:
        started.append(worker(database, keys))
        wait_until(lambda: server.stats()["charged"] > 10)
        started[0].send(signal.SIGTERM)
        assert started[0].process.wait(PATIENCE) == 0
    done = states(database, name)
    assert done.keys() == {"planned", "succeeded"}
    assert any("finishing what is submitted" in note for note in started[0].notes)
    assert started[0].summary["succeeded"] == done["succeeded"] == server.stats()["charged"]


def test_a_strict_worker_submits_nothing_again_after_an_error_500(
    database: str, name: str, tmp_path: Path
) -> None:
    """The service had charged that track: it is unknown, and not bought twice."""
    faults, keys = tmp_path / "faults.toml", tmp_path / "keys.toml"
    faults.write_text('[[fault]]\non = "CreateTask"\nkind = "commit-then-500"\ncalls = [2]\n')
    asyncio.run(load(tracks(5, first=1000), postgres.named(database, name)))
    with server_process(*RENDERING, "--faults", faults) as server, workers() as started:
        keys.write_text(
            f'[[key]]\nname = "label"\napi_key_env = "CRUN_LABEL"\nbase_url = "{server.url}"\nledger = "{name}"\n'
        )
        started.append(worker(database, keys, "--until-done", "--strict"))
        assert started[0].process.wait(PATIENCE) == 0
        assert_paid_once(server, 5)
    assert states(database, name) == {"succeeded": 4, "unknown": 1}
