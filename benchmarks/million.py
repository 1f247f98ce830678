"""A million tracks through `convert`, with the SQLite ledger and a simulated API in virtual time.

What has to hold: memory stays flat, whatever the length of the catalog. Each track is claimed, submitted, polled
and settled as always; only the network and the waiting are simulated, and commits are not synced.

Usage: python -m benchmarks.million [--tracks 1000000] [--report 100000]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from suno_video_async import Answer, RateLimit, Request, SqliteLedger, SunoVideoClient, Track
from suno_video_async._util.aio import inline
from suno_video_async.batch.conversion import Conversion
from suno_video_async.batch.options import Options
from suno_video_async.ledger.aio import AsyncLedger
from suno_video_async.protocol.codec import Operation
from tests.support.keys import KEY
from tests.support.virtual import VirtualLoop

MOST_RSS_MB = 300


class _API:
    """Accepts everything; a task's id says when it was born, so that nothing has to be remembered."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._count = 0

    async def send(self, request: Request) -> Answer:
        now = asyncio.get_running_loop().time()
        if request.operation is Operation.CREATE_TASK:
            self._count += 1
            return _answer({"task_id": f"{self._count}-{now:.3f}"})
        task_id = request.task_id or ""
        data: dict[str, object] = {"task_id": task_id, "status": "running"}
        if now - float(task_id.split("-")[1]) >= self._seconds:
            result = {"media_urls": [f"https://media.example.test/{task_id}.mp4"]}
            data |= {"status": "success", "credits": 2, "duration_s": self._seconds, "result": result}
        return _answer(data)


def _answer(data: object) -> Answer:
    return Answer(200, {}, json.dumps({"code": 200, "message": "success", "data": data}).encode())


def _tracks(count: int) -> Iterator[Track]:
    for number in range(count):
        yield Track(task_id="music", suno_id=f"suno_{number}")


def rss() -> int:
    """Return the bytes in memory."""
    with Path("/proc/self/statm").open(encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


async def convert(path: Path, count: int, report: int) -> list[tuple[int, float]]:
    """Convert a catalog; return the memory in use (MB) after every `report` outcomes."""
    client = SunoVideoClient(
        api_key=KEY,
        base_url="http://127.0.0.1:1",
        transport=_API(60.0),
        rate=RateLimit(40, 10),
        max_in_flight=100,
    )
    options = Options(task_timeout=1e6)
    ledger = AsyncLedger(SqliteLedger(path, synchronous="OFF"), inline)
    states, memory = Counter[str](), list[tuple[int, float]]()
    started = time.perf_counter()
    async with client, Conversion(client._open(), _tracks(count), ledger, options) as outcomes:
        async for outcome in outcomes:
            states[outcome.state] += 1
            done = states.total()
            if done % report == 0:
                memory.append((done, rss() / 1e6))
                print(
                    f"{done:>9} tracks  {memory[-1][1]:6.1f} MB  {time.perf_counter() - started:7.1f} s",
                    flush=True,
                )
    if states != {"succeeded": count}:
        raise RuntimeError(f"not every track succeeded: {states}")
    return memory


def main() -> int:
    """Print what it took; return 1 where memory grows or is over its bound."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracks", type=int, default=1_000_000)
    parser.add_argument("--report", type=int, default=100_000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        started = time.perf_counter()
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            memory = runner.run(partial(convert, path, args.tracks, args.report)())
        seconds, size = time.perf_counter() - started, path.stat().st_size
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    growth = memory[-1][1] - memory[0][1]
    result = {
        "tracks": args.tracks,
        "seconds": round(seconds, 1),
        "ms_a_track": round(seconds / args.tracks * 1000, 3),
        "ledger_bytes_a_track": round(size / args.tracks, 1),
        "peak_rss_mb": round(peak, 1),
        "growth_mb_after_first_report": round(growth, 1),
    }
    print(json.dumps({"million": result}))
    return int(peak > MOST_RSS_MB or growth > 0.1 * memory[0][1])


if __name__ == "__main__":
    sys.exit(main())
