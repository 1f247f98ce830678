"""Prints the table of crash points: `python -m tests.crash`; with the word postgres, of a ledger in PostgreSQL."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.crash.points import HELD, POINTS, WITHOUT_FILE, Point
from tests.crash.scene import TRACKS, Seen, Stage
from tests.support.postgres import database
from tests.support.s3 import bucket


def main(where: str = "file") -> int:
    """Crash at every point; return 1 where something was charged twice, lost, broken or unknown without need."""
    with tempfile.TemporaryDirectory() as folder:
        if where == "file":
            with Stage(Path(folder)) as stage:
                return table(stage, POINTS)
        with database() as url, bucket("crash") as store, Stage(Path(folder), url, store) as stage:
            print("restarted here")
            here = table(stage, (*WITHOUT_FILE, *HELD))
            print("another worker takes over")
            return table(stage, (*WITHOUT_FILE, *HELD), another=True) or here


def table(stage: Stage, points: Sequence[Point], *, another: bool = False) -> int:
    """Crash at some points; return 1 where one of them is not as it has to be."""
    wrong = 0
    heads = ("unknown", "of them charged", "charged", "charged twice", "lost", "settled")
    print(f"{'killed at':56}" + "".join(f"{head:>16}" for head in heads))
    for point in points:
        seen = stage.play(point, another=another)
        numbers = (
            *(seen.unknown, seen.unknown_charged, seen.charged),
            *(seen.charged_twice, seen.lost, seen.settled),
        )
        right = is_right(point, seen)
        mark = "" if right else "   <-- not as it has to be"
        print(f"{point!s:56}" + "".join(f"{number:>16}" for number in numbers) + mark, flush=True)
        wrong += not right
    print(f"most requests in any window, across the restarts: {stage.server.most_in_any_window()} (limit 20)")
    return int(wrong > 0 or stage.server.most_in_any_window() > 20)


def is_right(point: Point, seen: Seen) -> bool:
    """Whether what came of a point is what may."""
    unknown = (seen.unknown, seen.unknown_charged)
    bad = not seen.died or seen.forgotten or seen.charged_twice or seen.lost or seen.broken
    return not bad and seen.settled == TRACKS and (point.at_once or unknown == (point.unknown, point.charged))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
