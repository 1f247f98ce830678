"""A long run through a server that misbehaves: memory and descriptors stay flat, no track is lost or paid twice.

The server runs in a process of its own on 127.0.0.1, the client in this one, with its ledger and its videos on
disk and a receiver for callbacks. Each of these happens to 1 % of its calls: answers lost after the charge, a 500
after the charge (`strict`, so that it is not sent again), 429, cut connections, a gateway's 502, videos whose URL
or file comes late. Memory, descriptors and tasks are sampled all the while, and once more when all is done; then
the same catalog is converted again, which has to buy nothing.

20,000 tracks at time scale 12 take half an hour or more. A short run: `--tracks 500 --time-scale 50 --every 0.5`.

Usage: python -m benchmarks.soak [--tracks 20000] [--time-scale 12] [--every 5] [--seed 1] [--folder DIR]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path
from typing import Any

from attrs import asdict, frozen

from benchmarks.callbacks import free_port
from benchmarks.catalog import RATE, server, write_catalog
from benchmarks.million import rss
from suno_video_async import CallbackReceiver, RateLimit, RetryPolicy, SunoVideoClient, SystemClock
from tests.support.processes import ServerProcess

SHARE = 0.01
FAULTS = {
    "CreateTask": ("drop-after", "commit-then-500", "code:429", "drop-before"),
    "TaskInfo": ("drop-after", "code:500", "code:429", "drop-before", "html:502", "late-url:20"),
    "media": ("drop-before", "truncate", "code:503", "late-file:10"),
    "callback": ("duplicate", "slow:30"),
}
#: What a figure may grow by in the second half of a run: memory fragments, and connections come and go.
MOST_GROWTH = {"megabytes": 4.0, "descriptors": 8.0}
#: What there may be more when all is done than before the first row: the open ledger, and a timer or two.
MOST_LEFT = {"descriptors": 8.0, "tasks": 4.0}
#: Real seconds until idle connections are closed, those of the server's callbacks too.
QUIET = 20.0


@frozen
class Sample:
    """What this process holds at one moment.

    Attributes:
        seconds: real seconds since the start.
        rows: outcomes so far.
        megabytes: resident memory.
        descriptors: open file descriptors.
        tasks: tasks of the event loop.

    """

    seconds: float
    rows: int
    megabytes: float
    descriptors: float
    tasks: float


def sample(began: float, rows: int) -> Sample:
    """Look at this process now."""
    descriptors = sum(1 for _ in Path("/proc/self/fd").iterdir())
    return Sample(time.monotonic() - began, rows, rss() / 1e6, descriptors, len(asyncio.all_tasks()))


def growth(samples: Sequence[Sample]) -> dict[str, float]:
    """Return by how much each figure grew in the second half: the slope of a fitted line, times its length."""
    half = samples[len(samples) // 2 :]
    seconds = [one.seconds for one in half]
    return {
        name: statistics.linear_regression(seconds, [getattr(one, name) for one in half]).slope
        * (seconds[-1] - seconds[0])
        for name in MOST_GROWTH
    }


def left(before: Sample, after: Sample) -> dict[str, float]:
    """Return how much more there is of each figure when all is done than before anything was."""
    return {name: getattr(after, name) - getattr(before, name) for name in MOST_LEFT}


def too_much(grown: dict[str, float], most: dict[str, float], what: str) -> list[str]:
    """Return which figures are over what they may be."""
    return [f"{name}: {grown[name]:.1f} {what}" for name, bound in most.items() if grown[name] > bound]


@contextlib.asynccontextmanager
async def sampling(every: float, rows: Callable[[], int], samples: list[Sample]) -> AsyncGenerator[None, None]:
    """Sample this process while the block runs."""
    began = time.monotonic()

    async def keep() -> None:
        while True:
            await asyncio.sleep(every)
            samples.append(sample(began, rows()))
            if len(samples) % 12 == 0:
                now = samples[-1]
                print(
                    f"{now.seconds:>7.0f} s {now.rows:>7} rows {now.megabytes:>7.1f} MB"
                    f" {now.descriptors:>4} descriptors {now.tasks:>4} tasks",
                    flush=True,
                )

    watching = asyncio.create_task(keep())
    try:
        yield
    finally:
        watching.cancel()


@frozen
class Converted:
    """What a conversion came to.

    Attributes:
        states: the state of each track.
        samples: taken while it ran.
        left: what of each figure is left.

    """

    states: dict[str, str]
    samples: list[Sample]
    left: dict[str, float]


async def convert(
    at: ServerProcess, folder: Path, time_scale: float, every: float, quiet: float = 0.0
) -> Converted:
    """Convert the catalog in a folder."""
    port, samples = free_port(), list[Sample]()
    states: dict[str, str] = {}
    async with SunoVideoClient(
        api_key=at.key,
        base_url=at.url,
        rate=RateLimit(RATE, 10),
        clock=SystemClock(time_scale),
        retry=RetryPolicy(strict=True),
    ) as client:
        receiver = CallbackReceiver(client, public_url=f"http://127.0.0.1:{port}/callbacks")
        async with receiver.listen(port=port):
            before = sample(0.0, 0)
            async with (
                sampling(every, lambda: len(states), samples),
                client.convert(
                    folder / "catalog.csv", output_dir=folder / "videos", callbacks=receiver
                ) as outcomes,
            ):
                async for outcome in outcomes:
                    if outcome.track is not None:
                        states[outcome.track.suno_id] = outcome.state
            await asyncio.sleep(quiet)
            after = sample(0.0, len(states))
        if outcomes.stopped_by:
            print(f"stopped by {outcomes.stopped_by}")
        print(f"{dict(Counter(states.values()))}, {client.statistics().requests} requests")
    return Converted(states, samples, left(before, after))


def faults() -> str:
    """Return the rules."""
    rules = ((on, kind) for on, kinds in FAULTS.items() for kind in kinds)
    return "".join(f'[[fault]]\non = "{on}"\nkind = "{kind}"\nrate = {SHARE}\n' for on, kind in rules)


def measure(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Convert twice, and compare with the server's books."""
    write_catalog(folder / "catalog.csv", range(args.tracks))
    with server(folder, time_scale=args.time_scale, seed=args.seed, faults=faults()) as at:
        first = asyncio.run(convert(at, folder, args.time_scale, args.every, QUIET))
        books, times = at.stats(), charges(at)
        again = asyncio.run(convert(at, folder, args.time_scale, args.every))
        bought_again = charges(at).total() - times.total()
    counts, samples = Counter(first.states.values()), first.samples
    final = {"downloaded", "unknown"}
    return {
        "tracks": args.tracks,
        "seconds": samples[-1].seconds,
        "states": dict(counts),
        "again": dict(Counter(again.states.values())),
        "charged": times.total(),
        "twice": sum(count > 1 for count in times.values()),
        "bought_again": bought_again,
        # A track that was paid for comes back by its callback: none of them is left to a person.
        "lost": args.tracks - sum(counts[state] for state in final),
        "charged_but_unknown": sum(first.states[one] == "unknown" for one in times),
        "max_in_any_window": books["max_in_any_window"],
        "faults": books["faults"],
        "growth": growth(samples),
        "left": first.left,
        "first": asdict(samples[0]),
        "middle": asdict(samples[len(samples) // 2]),
        "last": asdict(samples[-1]),
        "most": {name: max(getattr(one, name) for one in samples) for name in MOST_GROWTH | MOST_LEFT},
    }


def charges(at: ServerProcess) -> Counter[str]:
    """Return how often the server charged each track."""
    return Counter(task["param"]["input"]["suno_id"] for task in at.tasks())


def wrong(result: dict[str, Any]) -> list[str]:
    """Return what should not be."""
    names = ("twice", "bought_again", "lost", "charged_but_unknown")
    found = [f"{name}: {result[name]}" for name in names if result[name]]
    if result["max_in_any_window"] > RATE:
        found.append(f"{result['max_in_any_window']} requests in one window")
    grown, remains = result["growth"], result["left"]
    return found + too_much(grown, MOST_GROWTH, "more in the second half") + too_much(remains, MOST_LEFT, "left")


def main() -> int:
    """Print what happened; return 1 where something grew, or a track was lost or paid twice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracks", type=int, default=20_000)
    parser.add_argument("--time-scale", type=float, default=12.0)
    parser.add_argument("--every", type=float, default=5.0, help="real seconds between two samples")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", help="where the ledger and the videos are made")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        result = measure(Path(folder), args)
    print(json.dumps({"soak": result}))
    for problem in (problems := wrong(result)):
        print(problem, file=sys.stderr)
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
