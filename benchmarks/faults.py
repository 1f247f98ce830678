"""A thousand tracks against a server that does everything wrong, strictly: none lost, none paid for twice.

Every kind of fault strikes 2 % of the CreateTasks and of the TaskInfos, over real sockets. Afterwards each track
is final or unknown. Then the server's own books tell what a person would find out: unknown rows that it charged
are adopted, the others are sent again, until everything is done.

Usage: python -m benchmarks.faults [--tracks 1000] [--time-scale 50] [--seed 1]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.catalog import server
from suno_video_async import RateLimit, RetryPolicy, SunoVideoClient, SystemClock, Timeout, Track
from tests.support.processes import ServerProcess

RATE = 0.02
ON_BOTH = (
    *("code:429", "code:455", "code:500", "html:502", "drop-before"),
    *("bad-json", "slow:5", "huge-body", "redirect", "truncate"),
)
ON_CREATE = ("drop-after", "commit-then-500", "missing-id", "wrong-id", "fail")
ON_INFO = ("unknown-status", "wrong-id")


def faults() -> str:
    """Return the rules: every kind at `RATE`."""
    rules = [("CreateTask", kind) for kind in ON_BOTH + ON_CREATE] + [
        ("TaskInfo", kind) for kind in ON_BOTH + ON_INFO
    ]
    return "".join(f'[[fault]]\non = "{on}"\nkind = "{kind}"\nrate = {RATE}\n' for on, kind in rules)


async def convert(
    at: ServerProcess, ledger: Path, tracks: int, time_scale: float, *, retry_failed: int = 0
) -> Counter[str]:
    """Convert strictly; return how many rows ended in which state."""
    states = Counter[str]()
    async with SunoVideoClient(
        api_key=at.key,
        base_url=at.url,
        rate=RateLimit(20, 10),
        clock=SystemClock(time_scale),
        retry=RetryPolicy(strict=True),
        timeout=Timeout(connect=2, total=5),
    ) as client:
        catalog = [Track(task_id="music", suno_id=f"suno_{number}") for number in range(tracks)]
        async with client.convert(catalog, ledger=ledger, retry_failed=retry_failed) as outcomes:
            async for outcome in outcomes:
                states[outcome.state] += 1
        print(f"{dict(states)}, {client.statistics().requests} requests")
    return states


async def settle(at: ServerProcess, ledger: Path) -> tuple[int, int]:
    """Decide about the unknown rows as a person would who can see the server's books."""
    with urllib.request.urlopen(f"{at.url}/_local/tasks", timeout=60) as answer:  # noqa: ASYNC210  nothing else runs
        bought = {task["param"]["input"]["suno_id"]: task["task_id"] for task in json.load(answer)["video"]}
    adopted = resent = 0
    async with (
        SunoVideoClient(api_key=at.key, base_url=at.url, retry=RetryPolicy(backoff=0.05)) as client,
        client.unknowns(ledger) as unknowns,
    ):
        for row in await unknowns.rows():
            if task_id := bought.get(row.track.suno_id):
                await unknowns.adopt(row.id, task_id)
                adopted += 1
            else:
                await unknowns.resend(row.id)
                resent += 1
    return adopted, resent


def charged(at: ServerProcess) -> Counter[int]:
    """Return how many tracks were charged how often."""
    return Counter(at.stats()["charged_by_track"].values())


def measure(tracks: int, time_scale: float, seed: int) -> dict[str, Any]:
    """Run it all; the first run is the one that counts."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        with server(Path(folder), time_scale=time_scale, seed=seed, faults=faults()) as at:
            first = asyncio.run(convert(at, path, tracks, time_scale))
            first_charged, most = charged(at), at.stats()["max_in_any_window"]
            rounds, states = list[dict[str, int]](), first
            # Faults go on, so what is sent again can be unknown again; a few rounds settle everything.
            while states["unknown"] + states["planned"] and len(rounds) < 10:
                adopted, resent = asyncio.run(settle(at, path))
                states = asyncio.run(convert(at, path, tracks, time_scale))
                rounds.append({"adopted": adopted, "resent": resent, **states})
            return {
                "tracks": tracks,
                "first": dict(first),
                "first_charged": {str(times): count for times, count in first_charged.items()},
                "max_in_any_window": most,
                "rounds": rounds,
                "charged": {str(times): count for times, count in charged(at).items()},
                "faults": at.stats()["faults"],
            }


def main() -> int:
    """Print what happened; return 1 where a track was charged twice, lost or not settled."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracks", type=int, default=1000)
    parser.add_argument("--time-scale", type=float, default=50.0)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    result = measure(args.tracks, args.time_scale, args.seed)
    print(json.dumps({"faults": result}))
    final = {"succeeded", "failed", "unknown"}
    lost = args.tracks - sum(count for state, count in result["first"].items() if state in final)
    last = result["rounds"][-1] if result["rounds"] else result["first"]
    unsettled = last.get("unknown", 0) + last.get("planned", 0)
    return int(bool(lost or unsettled or any(int(times) > 1 for times in result["charged"])))


if __name__ == "__main__":
    sys.exit(main())
