"""Prints the table of crash points: `python -m tests.crash`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.crash.points import POINTS
from tests.crash.scene import TRACKS, Stage


def main() -> int:
    """Crash at every point; return 1 where something was charged twice, lost or broken."""
    wrong = 0
    heads = ("unknown", "of them charged", "charged", "charged twice", "lost", "settled")
    print(f"{'killed at':56}" + "".join(f"{head:>16}" for head in heads))
    with tempfile.TemporaryDirectory() as folder, Stage(Path(folder)) as stage:
        for point in POINTS:
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
    sys.exit(main())
