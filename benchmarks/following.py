"""Ten times as many tasks followed at once: what a task costs in memory and in CPU time.

The real client submits all tasks and follows them to their ends in virtual time, once 1,000 and once 10,000; each
count runs in a process of its own. Nothing may grow faster than n log n.

Usage: python -m benchmarks.following [--tasks 10000]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import math
import subprocess
import sys
import time

from benchmarks.million import rss
from benchmarks.pacing_model import Server, lognormal
from suno_video_async import RateLimit, SunoVideoClient, Track
from tests.support.keys import KEY
from tests.support.virtual import VirtualLoop


async def follow(tasks: int) -> dict[str, float]:
    """Submit `tasks` videos that all run at once, and wait for each."""
    rate = RateLimit(tasks // 20, 10)  # as many requests for each task, however many there are
    server = Server(lognormal(1000, 0.35), tasks, 1)
    server.window.limit = None
    client = SunoVideoClient(
        api_key=KEY,
        base_url="http://127.0.0.1:1",
        transport=server,
        rate=rate,
        max_in_flight=tasks,
        max_connections=tasks,
    )
    gc.collect()
    before, started = rss(), time.process_time()
    async with client:
        tracks = (Track(task_id="music", suno_id=f"suno_{number}") for number in range(tasks))
        running = await asyncio.gather(*(client.submit(track) for track in tracks))
        gc.collect()
        grown = rss() - before
        await asyncio.gather(*(task.result() for task in running))
    return {
        "tasks": tasks,
        "bytes_a_task": grown / tasks,
        "cpu_ms_a_task": (time.process_time() - started) / tasks * 1000,
        "requests_a_task": len(server.times) / tasks,
    }


def measured(tasks: int) -> dict[str, float]:
    """Measure in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.following", "--one", str(tasks)]
    found: dict[str, float] = json.loads(
        subprocess.run(command, capture_output=True, text=True, check=True).stdout
    )
    return found


def main() -> int:
    """Print what a task costs at both counts; return 1 where it grows faster than n log n."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            print(json.dumps(runner.run(follow(args.one))))
        return 0
    few, many = measured(args.tasks // 10), measured(args.tasks)
    allowed = math.log(args.tasks) / math.log(args.tasks / 10)
    growth = {
        "memory": many["bytes_a_task"] / few["bytes_a_task"],
        "cpu": many["cpu_ms_a_task"] / few["cpu_ms_a_task"],
    }
    for found in (few, many):
        print(
            f"{found['tasks']:>7.0f} tasks: {found['bytes_a_task']:6.0f} bytes,"
            f" {found['cpu_ms_a_task']:6.2f} ms CPU and {found['requests_a_task']:.1f} requests each"
        )
    print(f"growth: memory {growth['memory']:.2f}, CPU {growth['cpu']:.2f}; n log n allows {allowed:.2f}")
    print(json.dumps({"following": {"few": few, "many": many, "growth": growth, "allowed": allowed}}))
    return int(max(growth.values()) > allowed)


if __name__ == "__main__":
    sys.exit(main())
