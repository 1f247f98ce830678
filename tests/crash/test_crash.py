"""`kill -9` at every boundary on the way of a row: nothing is lost, nothing is paid for twice."""

from __future__ import annotations

import signal
import sys
from collections.abc import Generator

import pytest

from tests.crash.child import ANY
from tests.crash.points import POINTS, RECOVERING, Point
from tests.crash.scene import TRACKS, Stage

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="processes are killed by a POSIX signal, and forked"
)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Generator[Stage, None, None]:
    """Share one server and one process that forks: starting them takes longer than a run."""
    with Stage(tmp_path_factory.mktemp("crash")) as stage:
        yield stage
        assert stage.server.most_in_any_window() <= 20, "a restart must not overrun the window"


@pytest.mark.parametrize("point", POINTS, ids=str)
def test_killed_at(stage: Stage, point: Point) -> None:
    """After a crash anywhere a second run ends every row but the one that cannot be known, and buys none twice."""
    seen = stage.play(point)
    assert seen.died, "the point was never reached"
    if not point.at_once:
        assert (seen.unknown, seen.unknown_charged) == (point.unknown, point.charged)
    assert (seen.charged_twice, seen.lost, seen.broken, seen.forgotten) == (0, 0, [], False)
    assert seen.charged == TRACKS - seen.unknown + seen.unknown_charged
    assert seen.settled == TRACKS


def test_killed_again_while_it_recovers(stage: Stage) -> None:
    """A crash in the middle of the recovery from a crash changes nothing about what is unknown."""
    scene = stage.scene()
    assert scene.run("CreateTask: sent", 3) == -signal.SIGKILL
    assert scene.run(RECOVERING) == -signal.SIGKILL
    seen = scene.finish(died=True)
    assert (seen.unknown, seen.unknown_charged) == (1, 1)
    assert (seen.charged_twice, seen.lost, seen.broken, seen.settled) == (0, 0, [], TRACKS)


@pytest.mark.parametrize("nth", [23, 61, 118, 170])
def test_killed_with_many_in_the_air(stage: Stage, nth: int) -> None:
    """With twenty requests at once too, only what was being submitted is unknown, and nothing is bought twice."""
    scene = stage.scene(size=14, connections=20)
    assert scene.run(ANY, nth) == -signal.SIGKILL
    seen = scene.finish(died=True)
    assert (seen.charged_twice, seen.lost, seen.broken, seen.settled) == (0, 0, [], 14)


def test_killed_run_after_run(stage: Stage) -> None:
    """However many runs die one after the other, the next that lives leaves nothing to be done."""
    scene = stage.scene()
    for point in POINTS:
        if not point.faults and point.after is None and not point.at_once:
            scene.run(point.name, 1)
    seen = scene.finish(died=True)
    assert (seen.charged_twice, seen.lost, seen.broken, seen.settled) == (0, 0, [], TRACKS)
