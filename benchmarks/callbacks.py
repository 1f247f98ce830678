"""A catalog whose submissions lose their answers, with callbacks and without.

First, `suno-video convert` against a local server of its own, in another process, which creates and charges 5 % of
the tasks without answering: without callbacks these tracks end as unknown, with them they come back by themselves.
Then a server without faults and as many videos in flight as there are tracks: callbacks that are trusted, that are
hints, and polling alone. Times are in model seconds of the server's books, from the first to the last request.

Usage: python -m benchmarks.callbacks [--tracks 200] [--many 1000] [--time-scale 50] [--seed 1]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.catalog import PER, RATE, Server, ours, server, write_catalog
from suno_video_async import CallbackReceiver, SunoVideoClient, SystemClock, Track

FAULTS = '[[fault]]\non = "CreateTask"\nkind = "drop-after"\nrate = 0.05\n'


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def measure(name: str, tracks: int, time_scale: float, seed: int) -> dict[str, Any]:
    """Convert with callbacks or without against a fresh server, and read the server's books."""
    options: list[str] = []
    if name == "callbacks":
        port = free_port()
        options = ["--callback-url", f"http://127.0.0.1:{port}/callbacks", "--callback-port", str(port)]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        catalog = folder / "catalog.csv"
        write_catalog(catalog, range(tracks))
        with server(folder, time_scale=time_scale, seed=seed, faults=FAULTS) as at:
            summary = ours(at, catalog, time_scale, *options)["summary"]
            books = at.stats()
    seconds = books["last_request_at"] - books["first_request_at"]
    return {
        "name": name,
        "done": summary["done"],
        "unknown": summary["unknown"],
        "charged": books["charged"],
        "charged_twice": sum(count > 1 for count in books["charged_by_track"].values()),
        "requests": sum(books["requests"].values()),
        "refused": sum(books["refused"].values()),
        "max_in_any_window": books["max_in_any_window"],
        "of_bound": seconds / ((2 * tracks / RATE - 1) * PER),
    }


async def convert(at: Server, tracks: int, time_scale: float, receiving: str) -> float:
    """Convert that many tracks; return how many requests it took for each."""
    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(
            SunoVideoClient(api_key=at.key, base_url=at.url, clock=SystemClock(time_scale), max_in_flight=tracks)
        )
        receiver = None
        if receiving != "polling":
            port = free_port()
            public = f"http://127.0.0.1:{port}/callbacks"
            receiver = CallbackReceiver(client, public_url=public, trust_callbacks=receiving == "trusted")
            await stack.enter_async_context(receiver.listen(port=port))
        rows = (Track(task_id="music", suno_id=f"suno_{number}") for number in range(tracks))
        outcomes = await stack.enter_async_context(client.convert(rows, callbacks=receiver))
        done = [outcome.state async for outcome in outcomes].count("succeeded")
        if done != tracks:
            raise RuntimeError(f"{receiving}: {done} of {tracks} done")
        return client.statistics().requests / tracks


def follow(name: str, tracks: int, time_scale: float, seed: int) -> dict[str, Any]:
    """Convert many tracks at once, by one way to hear of their ends."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with server(folder, time_scale=time_scale, seed=seed, faults="", running=tracks) as at:
            requests = asyncio.run(convert(at, tracks, time_scale, name))
            books = at.stats()
    seconds = books["last_request_at"] - books["first_request_at"]
    return {
        "name": name,
        "requests_a_track": requests,
        "refused": sum(books["refused"].values()),
        "seconds": seconds,
        "of_one_request_a_track": seconds / ((tracks / RATE - 1) * PER),
    }


def main() -> int:
    """Print the table; return 1 where callbacks leave a track unknown, or anything is charged twice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracks", type=int, default=200)
    parser.add_argument("--many", type=int, default=1000)
    parser.add_argument("--time-scale", type=float, default=50.0)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    results = [measure(name, args.tracks, args.time_scale, args.seed) for name in ("callbacks", "polling")]
    columns = ("done", "unknown", "charged", "charged_twice", "requests", "max_in_any_window", "refused")
    print(" " * 10, *columns, "of_bound")
    for result in results:
        shown = (f"{result[column]:>{len(column)}}" for column in columns)
        print(f"{result['name']:>10}", *shown, f"{result['of_bound']:>8.2f}")
    many = [follow(name, args.many, args.time_scale, args.seed) for name in ("trusted", "hints", "polling")]
    print(f"\n{args.many} tracks at once: requests a track, refused, seconds, of one request a track")
    for result in many:
        print(
            "{name:>10} {requests_a_track:6.3f} {refused:>5} {seconds:>7.0f}"
            " {of_one_request_a_track:>6.3f}".format(**result)
        )
    print(json.dumps({"callbacks": {"lost answers": results, "at once": many}}))
    perfect = results[0]["done"] == results[0]["charged"] == args.tracks
    return int(not perfect or any(result["charged_twice"] for result in results))


if __name__ == "__main__":
    sys.exit(main())
