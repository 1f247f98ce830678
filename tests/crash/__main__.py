"""Prints the table of crash points: `python -m tests.crash`; with the word postgres, of a ledger in PostgreSQL."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.crash.points import POINTS, WITHOUT_FILE, Point
from tests.crash.scene import TRACKS, Stage
from tests.support.postgres import database


def main(where: str = "file") -> int:
    """Crash at every point; return 1 where something was charged twice, lost or broken."""
    if where == "file":
        return table(POINTS)
    with database() as url:
        return table(WITHOUT_FILE, url)


def table(points: Sequence[Point], url: str | None = None) -> int:
    """Crash at some points, with ledgers in a database, if there is one."""
    wrong = 0
    heads = ("unknown", "of them charged", "charged", "charged twice", "lost", "settled")
    print(f"{'killed at':56}" + "".join(f"{head:>16}" for head in heads))
    with tempfile.TemporaryDirectory() as folder, Stage(Path(folder), url) as stage:
        for point in points:
            seen = stage.play(point)
            numbers = (
                seen.unknown,
                seen.unknown_charged,
                seen.charged,
                seen.charged_twice,
                seen.lost,
                seen.settled,
            )
            print(f"{point!s:56}" + "".join(f"{number:>16}" for number in numbers), flush=True)
            bad = (
                not seen.died
                or seen.forgotten
                or seen.charged_twice
                or seen.lost
                or seen.broken
                or seen.settled != TRACKS
            )
            wrong += bool(bad)
        print(f"most requests in any window, across the restarts: {stage.server.most_in_any_window()} (limit 20)")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
