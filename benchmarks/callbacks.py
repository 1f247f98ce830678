"""A catalog whose submissions lose their answers, with callbacks and without.

Each run is `suno-video convert` against a local server of its own, in another process, which creates and charges 5 %
of the tasks without answering. Without callbacks these tracks end as unknown; with them they come back by themselves.
Times are in model seconds, from the first to the last request in the server's books.

Usage: python -m benchmarks.callbacks [--tracks 200] [--time-scale 50] [--seed 1]
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.catalog import PER, RATE, ours, server, write_catalog

FAULTS = '[[fault]]\non = "CreateTask"\nkind = "drop-after"\nrate = 0.05\n'


def measure(name: str, tracks: int, time_scale: float, seed: int) -> dict[str, Any]:
    """Convert with callbacks or without against a fresh server, and read the server's books."""
    options: list[str] = []
    if name == "callbacks":
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        options = ["--callback-url", f"http://127.0.0.1:{port}/callbacks", "--callback-port", str(port)]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        catalog = folder / "catalog.csv"
        write_catalog(catalog, range(tracks))
        with server(folder, time_scale=time_scale, seed=seed, faults=FAULTS) as at:
            summary = ours(at, catalog, time_scale, *options)["summary"]
            books = at.stats()
    seconds = books["last_request_at"] - books["first_request_at"]
    return {
        "name": name,
        "done": summary["done"],
        "unknown": summary["unknown"],
        "charged": books["charged"],
        "charged_twice": sum(count > 1 for count in books["charged_by_track"].values()),
        "requests": sum(books["requests"].values()),
        "refused": sum(books["refused"].values()),
        "max_in_any_window": books["max_in_any_window"],
        "of_bound": seconds / ((2 * tracks / RATE - 1) * PER),
    }


def main() -> int:
    """Print the table; return 1 where callbacks leave a track unknown, or anything is charged twice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracks", type=int, default=200)
    parser.add_argument("--time-scale", type=float, default=50.0)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    results = [measure(name, args.tracks, args.time_scale, args.seed) for name in ("callbacks", "polling")]
    columns = ("done", "unknown", "charged", "charged_twice", "requests", "max_in_any_window", "refused")
    print(" " * 10, *columns, "of_bound")
    for result in results:
        shown = (f"{result[column]:>{len(column)}}" for column in columns)
        print(f"{result['name']:>10}", *shown, f"{result['of_bound']:>8.2f}")
    print(json.dumps({"callbacks": results}))
    perfect = results[0]["done"] == results[0]["charged"] == args.tracks
    return int(not perfect or any(result["charged_twice"] for result in results))


if __name__ == "__main__":
    sys.exit(main())
