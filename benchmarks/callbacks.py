"""A catalog whose submissions lose their answers, with callbacks and without.

First, `suno-video convert` against a local server of its own, in another process, which creates and charges 5 % of
the tasks without answering: without callbacks these tracks end as unknown, with them they come back by themselves.
Then a server without faults and as many videos in flight as there are tracks: callbacks that are trusted, that are
hints, and polling alone. Times are in model seconds of the server's books, from the first to the last request.

Then all that can go wrong with callbacks at once, each to a sixth of them, with lost answers and errors 500; and a
flood of forged ones, with the memory that it takes.

Usage: python -m benchmarks.callbacks [--tracks 200] [--many 1000] [--forged 100000] [--time-scale 50] [--seed 1]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.catalog import PER, RATE, ours, server, write_catalog
from suno_video_async import NO_LEDGER, CallbackReceiver, SunoVideoClient, SystemClock, Track
from suno_video_async.callbacks import Inbox
from suno_video_async.ledger.address import as_ledger
from suno_video_async.ledger.aio import AsyncLedger
from suno_video_async.ledger.journal import SubmissionJournal
from suno_video_async.ledger.model import Transition
from suno_video_async.ledger.states import State
from suno_video_async.local import Fault, LocalServer
from tests.support.processes import ServerProcess

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


async def storm(tracks: int, time_scale: float, seed: int) -> dict[str, Any]:
    """Convert while everything goes wrong with callbacks; tell apart the rows whose true one never came."""
    kinds = ("slow:30", "early", "duplicate", "never", "truncate", "forge")
    # The first rule that strikes counts: so each kind has a sixth of the callbacks, and none is left out.
    rates = [1 / (len(kinds) - earlier) for earlier in range(len(kinds))]
    faults = [Fault(on="callback", kind=kind, rate=rate) for kind, rate in zip(kinds, rates, strict=True)]
    faults += [Fault(on="CreateTask", kind=kind, rate=0.05) for kind in ("drop-after", "commit-then-500")]
    port = free_port()
    async with (
        LocalServer(render_seconds=(65.0, 0.35), time_scale=time_scale, seed=seed, faults=faults) as server,
        SunoVideoClient(api_key=server.api_key, base_url=server.url, clock=SystemClock(time_scale)) as client,
    ):
        receiver = CallbackReceiver(client, public_url=f"http://127.0.0.1:{port}/callbacks")
        rows = [Track(task_id="music", suno_id=f"suno_{number}") for number in range(tracks)]
        async with (
            receiver.listen(port=port),
            client.convert(rows, ledger=NO_LEDGER, callbacks=receiver) as outcomes,
        ):
            states = {outcome.track.suno_id: outcome.state async for outcome in outcomes if outcome.track}
        books, videos = server.service.stats(), server.service.tasks()["video"]
        silent = {
            task.order.suno_id
            for task in server.service._videos.values()
            if task.callback_fault is not None and task.callback_fault.name == "never"
        }
    times = Counter(video["param"]["input"]["suno_id"] for video in videos)
    return {
        "done": sum(state == "succeeded" for state in states.values()),
        "unknown": sum(state == "unknown" for state in states.values()),
        "unknown_though_called": sum(states[one] == "unknown" for one in states.keys() - silent),
        "charged": books["charged"],
        "twice": sum(count > 1 for count in times.values()),
        "twice_though_called": sum(times[one] > 1 for one in times.keys() - silent),
        "requests": sum(books["requests"].values()),
        "max_in_any_window": books["max_in_any_window"],
        "adopted": receiver.statistics().adopted,
        "double_charges_told": receiver.statistics().double_charges,
        "refused_callbacks": receiver.statistics().refused,
        "faults": books["faults"],
    }


def memory() -> float:
    """Return this process's resident memory in MB."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


async def flood(forged: int) -> dict[str, Any]:
    """Send forged and malformed callbacks to a receiver with one finished row, from eight connections."""
    port, at_once = free_port(), 8
    async with (
        LocalServer(render_seconds=1.0, time_scale=50.0) as server,
        SunoVideoClient(api_key=server.api_key, base_url=server.url, clock=SystemClock(50.0)) as client,
        aiohttp.ClientSession() as session,
    ):
        receiver = CallbackReceiver(client, public_url=f"http://127.0.0.1:{port}/callbacks")
        ledger = AsyncLedger(as_ledger(None))
        await client._open().open_ledger(ledger)
        row = (await ledger.call(ledger.sync.claim, Track(task_id="music", suno_id="s"), location="")).row
        nonce = (
            await SubmissionJournal(ledger, row, callback_url=lambda nonce: nonce).record_intent(
                client.clock.time()
            )
            or ""
        )
        task = await client.submit(row.track)
        await task.result()
        await ledger.move(row, Transition(state=State.SUBMITTED, video_task_id=task.id))
        await ledger.move(row, Transition(state=State.SUCCEEDED, url="https://media.test/v.mp4"))
        engine = client._open()
        Inbox(receiver, ledger, engine, engine.believe).open()
        requests, answers = client.statistics().requests, Counter[int]()
        data = json.dumps({"task_id": "forged", "status": "failed", "create_at": 1}).encode()
        true = data.replace(b"forged", task.id.encode())
        bodies = [
            (nonce, data),
            (nonce, true),
            (nonce, b"<html>"),
            (nonce, b" " * 300_000),
            ("f" * 32, data),
            ("x", data),
        ]

        async def post(numbers: Iterable[int]) -> None:
            for number in numbers:
                which, body = bodies[number % len(bodies)]
                url = f"http://127.0.0.1:{port}/callbacks/{which}"
                async with session.post(url, data=body) as response:
                    answers[response.status] += 1

        async def send(first: int, end: int) -> float:
            numbers = iter(range(first, end))
            await asyncio.gather(*(post(numbers) for _ in range(at_once)))
            return memory()

        async with receiver.listen(port=port):
            began = time.monotonic()
            before = memory()
            after = [await send(0, forged // 10), await send(forged // 10, forged)]
            seconds = time.monotonic() - began
        result = {
            "answers": dict(sorted(answers.items())),
            "mb_before": before,
            "mb_after_a_tenth": after[0],
            "mb_after_all": after[1],
            "requests_caused": client.statistics().requests - requests,
            "state": str((await ledger.call(ledger.sync.row, row.id) or row).state),
            "seconds": seconds,
        }
        await ledger.close()
        return result


class Timed(CallbackReceiver):
    """Notes when the last callback came, by the system's clock."""

    last = 0.0

    async def handle(self, nonce: str, read: Callable[[], Awaitable[bytes]], *, encoding: str = "") -> int:
        self.last = time.monotonic()
        return await super().handle(nonce, read, encoding=encoding)


async def convert(at: ServerProcess, tracks: int, time_scale: float, receiving: str) -> tuple[float, float | None]:
    """Convert that many tracks; return requests a track, and model seconds from the last callback to the end."""
    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(
            SunoVideoClient(api_key=at.key, base_url=at.url, clock=SystemClock(time_scale), max_in_flight=tracks)
        )
        receiver = None
        if receiving != "polling":
            port = free_port()
            public = f"http://127.0.0.1:{port}/callbacks"
            receiver = Timed(client, public_url=public, trust_callbacks=receiving == "trusted")
            await stack.enter_async_context(receiver.listen(port=port))
        rows = (Track(task_id="music", suno_id=f"suno_{number}") for number in range(tracks))
        outcomes = await stack.enter_async_context(client.convert(rows, ledger=NO_LEDGER, callbacks=receiver))
        done = [outcome.state async for outcome in outcomes].count("succeeded")
        if done != tracks:
            raise RuntimeError(f"{receiving}: {done} of {tracks} done")
        late = None if receiver is None else (time.monotonic() - receiver.last) * time_scale
        return client.statistics().requests / tracks, late


def follow(name: str, tracks: int, time_scale: float, seed: int) -> dict[str, Any]:
    """Convert many tracks at once, by one way to hear of their ends."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with server(folder, time_scale=time_scale, seed=seed, faults="", running=tracks) as at:
            requests, late = asyncio.run(convert(at, tracks, time_scale, name))
            books, created = at.stats(), [task["create_at"] for task in at.tasks()]
    seconds = books["last_request_at"] - books["first_request_at"]
    return {
        "name": name,
        "requests_a_track": requests,
        "refused": sum(books["refused"].values()),
        "seconds": seconds,
        "of_one_request_a_track": seconds / ((tracks / RATE - 1) * PER),
        "submitted_of_bound": (max(created) - min(created)) / ((tracks / RATE - 1) * PER),
        "after_the_last_callback": late,
    }


def main() -> int:
    """Print the table; return 1 where callbacks leave a track unknown, or anything is charged twice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracks", type=int, default=200)
    parser.add_argument("--many", type=int, default=1000)
    parser.add_argument("--forged", type=int, default=100_000)
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
    print(f"\n{args.many} tracks at once: requests a track, refused, seconds, of one request a track,")
    print("the last submission of its bound, model seconds from the last callback to the last outcome")
    for result in many:
        print(
            "{name:>10} {requests_a_track:6.3f} {refused:>5} {seconds:>7.0f}"
            " {of_one_request_a_track:>6.3f} {submitted_of_bound:>6.3f} {after_the_last_callback}".format(**result)
        )
    stormy = asyncio.run(storm(args.tracks, args.time_scale, args.seed))
    print(f"\nall that goes wrong with callbacks at once, {args.tracks} tracks:")
    print(*(f"{name} {value}" for name, value in stormy.items()), sep="\n")
    flooded = asyncio.run(flood(args.forged))
    print(f"\n{args.forged} forged callbacks:")
    print(*(f"{name} {value}" for name, value in flooded.items()), sep="\n")
    found = {"lost answers": results, "at once": many, "storm": stormy, "flood": flooded}
    print(json.dumps({"callbacks": found}))
    perfect = results[0]["done"] == results[0]["charged"] == args.tracks
    wrong = stormy["unknown_though_called"] or stormy["twice_though_called"] or flooded["state"] != "succeeded"
    return int(bool(not perfect or wrong or any(result["charged_twice"] for result in results)))


if __name__ == "__main__":
    sys.exit(main())
