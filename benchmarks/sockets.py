"""A catalog over real sockets, on a server without faults: `suno-video convert` beside two scripts.

One script is what people write by hand, the other the same behind aiolimiter. Each has a fresh server in another
process. Times are in model seconds, from the first to the last request in the server's books; the bound is two
requests a track at the rate limit. What a track costs in real time (some milliseconds of two processes) counts as
the time scale does: at 50 a window of 10 s is 0.2 s, at 10 it is one second.

Usage: python -m benchmarks.sockets [--tracks 400] [--time-scale 10] [--runs 3]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import catalog
from tests.support.processes import ServerProcess

#: The most that ours may take, as a multiple of the bound.
MOST = 1.04
#: The most videos at once, ours' and the server's.
RUNNING = 1000
#: Real seconds after which a script is stopped.
CUT = 240.0


def measure(tracks: int, scale: float, runs: int) -> list[dict[str, Any]]:
    """Convert with each of the three in turn; the scripts are stopped after `CUT` seconds."""
    rows = list[dict[str, Any]]()
    print(f"\n{'who':>12} {'done':>5} {'lost':>5} {'charged':>8} {'requests':>9} {'429':>6} {'of bound':>9} cut")
    for name in ("ours", "handwritten", "limited"):
        found = [one_run(name, tracks, scale, seed) for seed in range(runs)]
        cut = sum(bool(one.pop("cut")) for one in found)
        # What a stopped script had done is unknown; the server's counts are then those of that moment.
        keys = sorted(set[str]().union(*found))
        row = {key: statistics.median(one[key] for one in found if key in one) for key in keys}
        rows.append({"who": name, "runs": runs, "cut": cut, **row})
        done, lost = (f"{row[key]:.0f}" if key in row else "-" for key in ("done", "lost"))
        print(
            f"{name:>12} {done:>5} {lost:>5} {row['charged']:>8.0f} {row['requests']:>9.0f}"
            f" {row['refused']:>6.0f} {row['of_bound']:>9.2f} {cut:>3}",
            flush=True,
        )
    return rows


def one_run(name: str, tracks: int, scale: float, seed: int) -> dict[str, float]:
    """Return the server's counts after one run."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        file = folder / "catalog.csv"
        catalog.write_catalog(file, range(tracks))
        with catalog.server(folder, time_scale=scale, seed=seed, faults="", median=65, running=RUNNING) as at:
            said = _peer(name, at, file, scale)
            books = at.stats()
    seconds = books["last_request_at"] - books["first_request_at"]
    ended = {} if said is None else {"done": said["done"], "lost": tracks - said["done"]}
    return {
        **ended,
        "cut": said is None,
        "charged": books["charged"],
        "requests": sum(books["requests"].values()),
        "refused": books["refused"].get("429", 0),
        "of_bound": seconds / ((2 * tracks / 20 - 1) * 10),
    }


def _peer(name: str, at: ServerProcess, file: Path, scale: float) -> dict[str, Any] | None:
    """Return what one of the three reported; None if a script was stopped."""
    if name == "ours":
        return catalog.ours(at, file, scale, "--max-in-flight", str(RUNNING))
    try:
        return catalog.handwritten(at, file, scale, f"{name}.py", CUT)
    except subprocess.TimeoutExpired:
        return None


def main() -> int:
    """Print the table; return 1 if a figure is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracks", type=int, default=400)
    parser.add_argument("--time-scale", type=float, default=10.0)
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    rows = measure(args.tracks, args.time_scale, args.runs)
    print(json.dumps({"sockets": rows}))
    ours = rows[0]
    return int(ours["done"] < args.tracks or ours["refused"] > 0 or ours["of_bound"] > MOST)


if __name__ == "__main__":
    sys.exit(main())
