"""Several `suno-video convert --share-limit` processes of one key against one local server, within one window.

Each process has a catalog and a ledger of its own; the server runs in another process, without faults and without
a bound on the tasks that run at once. Times are in model seconds, from the first to the last request in its
books. `of_bound` is against two requests a track at the rate limit, as for one process; `of_window` against the
requests that were sent, so it is the limiter's part alone. With --kill one process is killed in the middle and
started again with the same command. Each figure is the median of the runs; of what must not happen at all it is
the worst. A place waits for a look into the shared file, a commit of the ledger and the answer before its period
begins: some 5 ms, which are 1 % of the period at the time scale 20, and would be 2.5 % at 50.

Usage: python -m benchmarks.shared [--tracks 300] [--processes 3] [--time-scale 20] [--runs 3] [--kill]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.catalog import PATIENCE, PER, RATE, server, write_catalog
from tests.support.processes import ServerProcess

#: The most that a run may take, as a multiple of the bound.
MOST = 1.10
#: Tasks of one account that the server lets run at once: no bound.
RUNNING = 10_000


def start(
    at: ServerProcess, folder: Path, catalog: Path, time_scale: float, in_flight: int
) -> subprocess.Popen[str]:
    """Start one conversion."""
    options = ["--share-limit", str(folder / "limit.db"), "--no-download", "--json"]
    options += ["--time-scale", f"{time_scale:g}", "--max-in-flight", str(in_flight)]
    return subprocess.Popen(
        [sys.executable, "-m", "suno_video_async", "convert", str(catalog), *options],
        env={**os.environ, "CRUN_BASE_URL": at.url, "CRUN_API_KEY": at.key},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def catalogs(folder: Path, tracks: int, processes: int) -> list[Path]:
    """Write a catalog for each process, of different tracks."""
    paths = list[Path]()
    for process in range(processes):
        path = folder / f"catalog{process}.csv"
        write_catalog(path, range(process, tracks, processes))
        paths.append(path)
    return paths


def kill_one(at: ServerProcess, victim: subprocess.Popen[str], tracks: int) -> None:
    """Kill a process when about a third of all is bought."""
    while at.stats()["charged"] < tracks / 3 and victim.poll() is None:
        time.sleep(0.01)
    victim.kill()
    victim.communicate()


def summary_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait for a conversion and return its summary."""
    said, errors = process.communicate(timeout=PATIENCE)
    if not said.strip():
        raise RuntimeError(f"a conversion printed nothing: {errors[-500:]}")
    summary: dict[str, Any] = json.loads(said.splitlines()[-1])["summary"]
    return summary


def measure(tracks: int, processes: int, time_scale: float, *, kill: bool) -> dict[str, Any]:
    """Run the processes and read the server's books."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        files = catalogs(folder, tracks, processes)
        in_flight = max(1, tracks // processes)
        with server(folder, time_scale=time_scale, seed=1, faults="", running=RUNNING) as at:
            running = [start(at, folder, file, time_scale, in_flight) for file in files]
            try:
                if kill:
                    kill_one(at, running[0], tracks)
                    running[0] = start(at, folder, files[0], time_scale, in_flight)
                summaries = [summary_of(process) for process in running]
            finally:
                for process in running:
                    process.kill()
            books = at.stats()
    charged = books["charged_by_track"]
    seconds = books["last_request_at"] - books["first_request_at"]
    return {
        "tracks": tracks,
        "processes": processes,
        "killed": int(kill),
        "done": sum(summary["done"] + summary["skipped"] for summary in summaries),
        "unknown": sum(summary["unknown"] for summary in summaries),
        "charged": books["charged"],
        "charged_twice": sum(count > 1 for count in charged.values()),
        "refused": books["refused"],
        "max_in_any_window": books["max_in_any_window"],
        "requests": sum(books["requests"].values()),
        "seconds": seconds,
        "of_bound": seconds / ((2 * tracks / RATE - 1) * PER),
        "of_window": seconds / ((sum(books["requests"].values()) / RATE - 1) * PER),
        "each_took": [summary["seconds"] for summary in summaries],
    }


def holds(result: dict[str, Any], *, kill: bool) -> bool:
    """Whether a run is as it must be, however long it took.

    A submission that was in the air when its process was killed is unknown: it is never sent again by itself.
    """
    whole: bool = result["done"] + (result["unknown"] if kill else 0) == result["tracks"]
    return whole and result["charged_twice"] == 0 and not result["refused"]


def medians(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the medians over the runs; of each refusal and double charge the worst."""
    row: dict[str, Any] = {
        key: statistics.median(one[key] for one in found)
        for key, value in found[0].items()
        if isinstance(value, int | float)
    }
    return row | {
        "done": min(one["done"] for one in found),
        "charged_twice": max(one["charged_twice"] for one in found),
        "max_in_any_window": max(one["max_in_any_window"] for one in found),
        "refused": dict(sum((Counter[str](one["refused"]) for one in found), Counter[str]())),
        "of_bound_each": [one["of_bound"] for one in found],
    }


def main() -> int:
    """Print a line of JSON; return 1 where a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracks", type=int, default=300)
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--time-scale", type=float, default=20.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--kill", action="store_true")
    args = parser.parse_args()
    found = [measure(args.tracks, args.processes, args.time_scale, kill=args.kill) for _ in range(args.runs)]
    result = medians(found)
    print(
        f"{args.tracks} tracks, {args.processes} processes: {result['of_bound']:.3f} of the bound"
        f" ({', '.join(f'{one:.3f}' for one in result['of_bound_each'])}), {result['requests']:.0f} requests,"
        f" at most {result['max_in_any_window']} in a window, {result['refused'] or 0} refused"
    )
    print(json.dumps({"shared": result}))
    whole = all(holds(one, kill=args.kill) for one in found)
    return int(not whole or (not args.kill and result["of_bound"] > MOST))


if __name__ == "__main__":
    sys.exit(main())
