"""`kill -9` of a process whose ledger is in PostgreSQL, and what the next holder makes of it."""

from __future__ import annotations

import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor

import pytest

from suno_video_async.config import Settings
from suno_video_async.errors import LedgerError
from suno_video_async.ledger.postgres import PostgresLedger
from tests.crash.points import WITHOUT_FILE, Point
from tests.crash.scene import TRACKS, Scene, Stage
from tests.support.keys import KEY

pytestmark = pytest.mark.services

#: Around the two commits of a submission; `python -m tests.crash postgres` has all points.
SOME = (
    "submitting: written, not committed",
    "submitting: committed",
    "submitted: written, not committed",
)


@pytest.fixture(scope="module")
def stage(database: str, tmp_path_factory: pytest.TempPathFactory) -> Generator[Stage, None, None]:
    with Stage(tmp_path_factory.mktemp("crash"), database) as stage:
        yield stage
        assert stage.server.most_in_any_window() <= 20, "a restart must not overrun the window"


def take_over(scene: Scene) -> float:
    """Try to take a ledger that another process holds until it is free; return when that was."""
    ledger = PostgresLedger(str(scene.address))
    provider, fingerprint = Settings.find(KEY, scene.server.url).account
    until = time.monotonic() + 60
    while ledger.writer() is None:  # or the other one would be refused
        assert time.monotonic() < until
        time.sleep(0.05)
    while True:
        try:
            ledger.open(provider=provider, fingerprint=fingerprint, must_exist=True)
        except LedgerError:
            assert time.monotonic() < until
            time.sleep(0.05)
        else:
            ledger.close()
            return time.monotonic()


@pytest.mark.parametrize(
    ("point", "then"),
    [
        *((point, "restarted here") for point in WITHOUT_FILE if point.name in SOME),
        *((point, "another takes over") for point in WITHOUT_FILE if point.name == SOME[1]),
    ],
    ids=str,
)
def test_killed_at(stage: Stage, then: str, point: Point) -> None:
    """Nothing is bought twice or lost, and only what cannot be known is unknown; who waits has it at once."""
    scene = stage.scene()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(take_over, scene) if then == "another takes over" else None
        died = scene.run(point.name, point.nth) == -9
        dead = time.monotonic()
        assert waiting is None or waiting.result(30) - dead < 3
    seen = scene.finish(died)
    assert seen.died, "the point was never reached"
    assert (seen.unknown, seen.unknown_charged) == (point.unknown, point.charged)
    assert (seen.charged_twice, seen.lost, seen.broken, seen.settled) == (0, 0, [], TRACKS)
