"""What the ledger costs: CPU and syncs a track, kept in a file (synced at every commit) and in memory.

A catalog is converted over an API that answers at once, in the same process, with the limiter unbounded, so that
what is left is the client and its ledger. The ways alternate within one run. Each run is a process of its own: its
CPU counts SQLite's worker thread too. The syncs of a file are those of the system calls, counted by `strace` in a
run of their own that is not timed (tracing slows it); where there is no strace they are left out. The bare ledger,
driven without a client, tells how much of it is SQLite.

Usage: python -m benchmarks.ledger [--tracks 2000] [--runs 3] [--folder DIR]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from suno_video_async import SunoVideoClient, Track
from suno_video_async.clock import SystemClock
from suno_video_async.ledger.model import NO_LEDGER, Transition
from suno_video_async.ledger.sqlite import SqliteLedger
from suno_video_async.ledger.states import State
from suno_video_async.models import VideoTaskId
from suno_video_async.protocol.codec import Answer, Operation, Request
from tests.support.keys import KEY

WAYS = ("file", "memory", "bare file", "bare memory")
#: A track's first poll comes after some seconds, which are no work: the clock makes them short.
SCALE = 1000.0


class InstantAPI:
    """Accepts every submission, and has every video ready when it is asked about."""

    def __init__(self) -> None:
        self._created = 0

    async def send(self, request: Request) -> Answer:
        """Answer at once."""
        if request.operation is Operation.CREATE_TASK:
            self._created += 1
            return _answer({"task_id": f"v{self._created}"})
        media = [f"https://media.example.test/{request.task_id}.mp4"]
        result = {"code": 200, "message": "success", "media_urls": media}
        return _answer({"task_id": request.task_id, "status": "success", "credits": 2, "result": result})


def _answer(data: object) -> Answer:
    return Answer(200, {}, json.dumps({"code": 200, "message": "success", "data": data}).encode())


def tracks(count: int) -> Iterator[Track]:
    """Yield a catalog."""
    return (Track(task_id=f"m{n}", suno_id=f"s{n}", author="Ava") for n in range(count))


async def convert(path: Path | None, count: int) -> None:
    """Convert a catalog with its ledger in a file, or in memory."""
    client = SunoVideoClient(
        api_key=KEY,
        base_url="http://127.0.0.1:1",
        transport=InstantAPI(),
        rate=None,
        clock=SystemClock(SCALE),
        max_in_flight=100,
    )
    done = 0
    async with client, client.convert(tracks(count), ledger=path or NO_LEDGER) as outcomes:
        async for outcome in outcomes:
            done += outcome.state == "succeeded"
    assert done == count, done


def drive(path: Path | None, count: int) -> None:
    """Make the ledger's calls of a conversion, without a client: four commits a track."""
    ledger = SqliteLedger(path)
    ledger.open(provider="p", fingerprint="f")
    for n, track in enumerate(tracks(count)):
        row = ledger.claim(track, location="catalog.csv:2").row
        ledger.begin_attempt(row.id, nonce=f"{n:032x}", at=0.0, reserve=0, budget=None)
        ledger.move(row.id, Transition(state=State.SUBMITTED, video_task_id=VideoTaskId(f"v{n}")))
        ledger.move(
            row.id, Transition(state=State.SUCCEEDED, url=f"https://media.example.test/v{n}.mp4", cost=2_000_000)
        )
    ledger.close()


def run(way: str, count: int, folder: str) -> None:
    """Do one run in this process and print its CPU and wall milliseconds a track."""
    path = Path(folder) / "ledger.db" if "file" in way else None
    cpu, wall = time.process_time(), time.perf_counter()
    if "bare" in way:
        drive(path, count)
    else:
        asyncio.run(convert(path, count))
    spent = [1000 * took / count for took in (time.process_time() - cpu, time.perf_counter() - wall)]
    print(json.dumps(spent))


def _child(way: str, count: int, folder: str | None, *before: str) -> str:
    with tempfile.TemporaryDirectory(dir=folder) as place:
        words = [
            sys.executable,
            "-m",
            "benchmarks.ledger",
            "--child",
            way,
            "--tracks",
            str(count),
            "--folder",
            place,
        ]
        return subprocess.run([*before, *words], stdout=subprocess.PIPE, text=True, check=True).stdout


def syncs(way: str, count: int, folder: str | None) -> float | None:
    """Return the syncs a track, over those of opening and closing; None where they cannot be counted."""
    strace = shutil.which("strace")
    if strace is None or subprocess.run([strace, "-o", "/dev/null", "true"], check=False).returncode:
        return None
    counted = list[int]()
    with tempfile.TemporaryDirectory() as place:
        trace = Path(place) / "trace"
        for tracks_ in (1, count + 1):
            _child(way, tracks_, folder, strace, "-f", "-e", "trace=fsync,fdatasync", "-o", str(trace))
            # A call that another thread interrupts is printed twice: its beginning is counted.
            counted.append(len(re.findall(r"^\d+ +f(?:data)?sync\(", trace.read_text(), re.MULTILINE)))
    return (counted[1] - counted[0]) / count


def compare(count: int, runs: int, folder: str | None) -> list[dict[str, Any]]:
    """Return the medians of each way, which alternate, and its syncs."""
    spent: dict[str, list[list[float]]] = {way: [] for way in WAYS}
    for number in range(runs):
        for way in WAYS if number % 2 else reversed(WAYS):
            spent[way].append(json.loads(_child(way, count, folder)))
    return [
        {
            "way": way,
            "cpu_ms": statistics.median(cpu for cpu, _ in spent[way]),
            "wall_ms": statistics.median(wall for _, wall in spent[way]),
            "syncs": syncs(way, min(count, 200), folder),
        }
        for way in WAYS
    ]


def main() -> int:
    """Print the table and a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracks", type=int, default=2000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", help="where the files are made: the disk that is measured")
    parser.add_argument("--child", choices=WAYS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        run(args.child, args.tracks, args.folder)
        return 0
    results = compare(args.tracks, args.runs, args.folder)
    print(f"{'ledger':>12} {'CPU ms a track':>15} {'wall ms a track':>16} {'syncs a track':>14}")
    for result in results:
        counted = "-" if result["syncs"] is None else f"{result['syncs']:.2f}"
        print(f"{result['way']:>12} {result['cpu_ms']:>15.3f} {result['wall_ms']:>16.3f} {counted:>14}")
    print(json.dumps({"ledger": results, "tracks": args.tracks}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
