"""A whole catalog against a server that misbehaves: `suno-video convert` beside what people write by hand.

Each runs against a local server of its own, in another process, with the same seed and the same faults: 429, 455
and 500 at 3 % each on CreateTask and on TaskInfo. Times are in model seconds, from the first to the last request
in the server's books; the bound is two requests a track at the rate limit.

Usage: python -m benchmarks.catalog [--tracks 200] [--time-scale 50] [--seed 1]
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.processes import ServerProcess, server_process

FAULTS = "".join(
    f'[[fault]]\non = "{operation}"\nkind = "code:{code}"\nrate = 0.03\n'
    for operation in ("CreateTask", "TaskInfo")
    for code in (429, 455, 500)
)
RATE, PER = 20, 10
#: Real seconds for one run.
PATIENCE = 300


@contextmanager
def server(
    folder: Path, *, time_scale: float, seed: int, faults: str = FAULTS, median: float = 60, running: int = 100
) -> Iterator[ServerProcess]:
    """Run `suno-video serve` in a process of its own."""
    file = folder / "faults.toml"
    file.write_text(faults, encoding="utf-8")
    options = f"--credits 1000000 --rate {RATE}/{PER} --max-running {running}"
    options += f" --render-seconds {median:g}:0.35"
    options += f" --time-scale {time_scale:g} --seed {seed}"
    with server_process(*options.split(), "--faults", file) as at:
        yield at


def write_catalog(path: Path, numbers: Iterable[int]) -> None:
    """Write a catalog of one music task's tracks."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["task_id", "suno_id"])
        writer.writerows(["music", f"suno_{number}"] for number in numbers)


def run(command: list[str], environment: dict[str, str], patience: float = PATIENCE) -> str:
    """Return what a command prints within so many real seconds; it may end with any code."""
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=patience, check=False
    )
    if not done.stdout.strip():
        raise RuntimeError(f"{command} printed nothing: {done.stderr[-500:]}")
    return done.stdout


def ours(at: ServerProcess, catalog: Path, time_scale: float, *more: str) -> dict[str, Any]:
    """Convert with our command line, and more options of it."""
    options = ["--no-ledger", "--no-download", "--json", "--time-scale", f"{time_scale:g}", *more]
    command = [sys.executable, "-m", "suno_video_async", "convert", str(catalog), *options]
    lines = run(command, {"CRUN_BASE_URL": at.url, "CRUN_API_KEY": at.key}).splitlines()
    summary: dict[str, Any] = json.loads(lines[-1])["summary"]
    return {"done": summary["done"], "lost": summary["total"] - summary["done"], "summary": summary}


def handwritten(
    at: ServerProcess, catalog: Path, time_scale: float, script: str = "handwritten.py", patience: float = PATIENCE
) -> dict[str, Any]:
    """Convert with a script of `benchmarks/peers`."""
    peer = Path(__file__).parent / "peers" / script
    command = [sys.executable, str(peer), at.url, at.key, str(catalog)]
    command += ["--interval", f"{5 / time_scale:g}", "--backoff", f"{1 / time_scale:g}"]
    said: dict[str, Any] = json.loads(run(command, {}, patience))
    return {"done": said["done"], "lost": said["failed"], "summary": said}


def measure(name: str, tracks: int, time_scale: float, seed: int) -> dict[str, Any]:
    """Run one of the two against a fresh server, and read the server's books."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        catalog = folder / "catalog.csv"
        write_catalog(catalog, range(tracks))
        with server(folder, time_scale=time_scale, seed=seed) as at:
            result = (ours if name == "ours" else handwritten)(at, catalog, time_scale)
            books = at.stats()
    seconds = books["last_request_at"] - books["first_request_at"]
    charged = books["charged_by_track"]
    return {
        "name": name,
        **result,
        "charged": books["charged"],
        "charged_twice": sum(count > 1 for count in charged.values()),
        "requests": sum(books["requests"].values()),
        "refused": books["refused"],
        "max_in_any_window": books["max_in_any_window"],
        "seconds": seconds,
        "of_bound": seconds / ((2 * tracks / RATE - 1) * PER),
    }


def main() -> int:
    """Print the table; return 1 where ours loses a track, pays twice or goes over the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracks", type=int, default=200)
    parser.add_argument("--time-scale", type=float, default=50.0)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    results = [measure(name, args.tracks, args.time_scale, args.seed) for name in ("ours", "handwritten")]
    print(
        f"{'':>12} {'done':>5} {'lost':>5} {'charged':>8} {'twice':>6} {'requests':>9} {'window':>7}"
        f" {'of bound':>9}"
    )
    for result in results:
        print(
            "{name:>12} {done:>5} {lost:>5} {charged:>8} {charged_twice:>6} {requests:>9} {max_in_any_window:>7}"
            " {of_bound:>9.2f}   refused {refused}".format(**result)
        )
    print(json.dumps({"catalog": results}))
    mine = results[0]
    perfect = mine["done"] == mine["charged"] == args.tracks and mine["charged_twice"] == 0
    return int(not perfect or mine["max_in_any_window"] > RATE)


if __name__ == "__main__":
    sys.exit(main())
