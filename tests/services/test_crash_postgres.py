"""`kill -9` of a process whose ledger is in PostgreSQL, and what the next holder makes of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor

import pytest

from suno_video_async.config import Settings
from suno_video_async.errors import LedgerError
from suno_video_async.ledger.postgres.ledger import PostgresLedger
from tests.crash.__main__ import is_right
from tests.crash.points import HELD, WITHOUT_FILE, Point
from tests.crash.scene import Scene, Stage
from tests.support.keys import KEY
from tests.support.processes import PATIENCE

pytestmark = pytest.mark.services

#: Around the two commits of a submission, and where the session is lost; `nox -s matrix` has all points.
SOME = (
    "submitting: committed",
    "submitted: written, not committed",
    "locks taken",
    "session lost at submitting: committed, not answered",
    "session lost at CreateTask: sent",
    "word left: committed",
)
CHOSEN = tuple(point for point in (*WITHOUT_FILE, *HELD) if str(point) in SOME)


@pytest.fixture(scope="module")
def stage(database: str, tmp_path_factory: pytest.TempPathFactory) -> Generator[Stage, None, None]:
    with Stage(tmp_path_factory.mktemp("crash"), database) as stage:
        yield stage
        assert stage.server.most_in_any_window() <= 20, "a restart must not overrun the window"


def take_over(scene: Scene, gone: threading.Event) -> float:
    """Try to take a ledger that another process holds until it is free; return when that was."""
    ledger = PostgresLedger(str(scene.address))
    provider, fingerprint = Settings.find(KEY, scene.server.url).account
    until = time.monotonic() + PATIENCE
    while ledger.writer() is None and not gone.wait(0.01):  # or the other one would be refused
        assert time.monotonic() < until
    while True:
        try:
            ledger.open(provider=provider, fingerprint=fingerprint, must_exist=True)
        except LedgerError:
            assert time.monotonic() < until
            time.sleep(0.05)
        else:
            ledger.close()
            return time.monotonic()


@pytest.mark.parametrize("point", CHOSEN, ids=str)
def test_restarted_here(stage: Stage, point: Point) -> None:
    """Nothing is bought twice or lost, and only what cannot be known is unknown."""
    assert len(CHOSEN) == len(SOME)
    seen = stage.play(point)
    assert is_right(point, seen), seen


def test_who_waits_takes_over_at_once(stage: Stage) -> None:
    """The session of a process that is killed ends with it, and its locks do."""
    point, scene = next(point for point in CHOSEN if point.name == SOME[0]), stage.scene()
    with ThreadPoolExecutor(1) as pool:
        gone = threading.Event()
        waiting = pool.submit(take_over, scene, gone)
        try:
            died = scene.run(point.name, point.nth) == -9
        finally:
            gone.set()
        dead = time.monotonic()
        assert waiting.result(PATIENCE) - dead < 20, "not by the session's keepalives"
    seen = scene.finish(died)
    assert is_right(point, seen), seen
