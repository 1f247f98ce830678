"""What a track costs: the processor's time of `convert` without a rate, beside a bare aiohttp loop.

The loop sends the same requests, a CreateTask and a TaskInfo a track, with as many tracks in flight and as many
connections, reads the answers as JSON, and keeps nothing. The server answers from a process of its own; each run
is a fresh process, whose own user and system time is taken, after one that warms up. The runs alternate; figures
are the medians of the pairs. Where `strace` is installed, one more run counts the synchronisations of the file
ledger.

There are two servers. One answers as fast as it can, in a tenth of the time that a loop takes to ask: so the
tracks a second are what one processor manages, and their ratio is that of the processor times, turned over. The
other takes `--answer-after` milliseconds for each answer: there the tracks a second show whether the connections
are used.

Usage: python -m benchmarks.cost [--pairs 5] [--tracks 5000] [--in-flight 500] [--connections 20]
    [--answer-after 20]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, cast

import aiohttp

from benchmarks.overhead import served
from suno_video_async import NO_LEDGER, SunoVideoClient, Track
from tests.support.keys import KEY

#: The most processor time a track and the least tracks a second, as multiples of the bare loop's.
HELD = {"memory": (1.8, 0.9), "file": (3.0, 0.8)}
#: The most synchronisations a track of the file ledger.
MOST_SYNCS = 0.5
PATH = "/api/v1/client/job/"
CREATE = {"model": "suno/music-video"}


def track(number: int) -> Track:
    """Return a track of the catalog."""
    return Track(task_id=f"task_{number // 2:08}", suno_id=f"suno_{number:08}", author="Ava")


def asked(number: int) -> dict[str, Any]:
    """Return the body of a track's CreateTask."""
    wanted = track(number)
    return {**CREATE, "input": {"task_id": wanted.task_id, "suno_id": wanted.suno_id, "author": wanted.author}}


# The server


def _envelope(data: object) -> bytes:
    body = json.dumps({"code": 200, "message": "success", "data": data}).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Mon, 23 Nov 2026 10:00:00 GMT\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


class _Server(asyncio.Protocol):
    """Makes a task of each CreateTask, which has ended well when it is asked about.

    Args:
        seconds: how long it takes for each answer.

    """

    numbers = count(1)
    made: dict[str, object] = {}  # noqa: RUF012  of the process

    def __init__(self, seconds: float = 0.0) -> None:
        self._seconds = seconds

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        self._rest += data
        while b"\r\n\r\n" in self._rest:
            head, _, rest = self._rest.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            size = int(length[1]) if length else 0
            if len(rest) < size:
                return
            self._rest = rest[size:]
            answer = _envelope(self._data(head.split(b" ", 2)[1].decode(), rest[:size]))
            if self._seconds:
                asyncio.get_running_loop().call_later(self._seconds, self._answer, answer)
            else:
                self._answer(answer)

    def _answer(self, answer: bytes) -> None:
        self._transport.write(answer)

    def _data(self, target: str, body: bytes) -> object:
        if "CreateTask" in target:
            task_id = f"d6956973-2f17-43d4-8514-{next(self.numbers):012}"
            self.made[task_id] = json.loads(body)["input"]
            return {"task_id": task_id}
        if "TaskInfo" not in target:
            return {"credits": 1e6, "balance": 1e6}
        task_id = target.rpartition("=")[2]
        return {
            "task_id": task_id,
            "provider": "Suno",
            "model_version": "suno-music-video",
            "status": "success",
            "param": {"model": "suno/music-video", "callback_url": None, "input": self.made.pop(task_id)},
            "create_at": 1795428000,
            "result": {
                "code": 200,
                "message": "success",
                "media_urls": [f"https://media.example.test/{task_id}.mp4"],
            },
            "duration_s": 0,
            "complete_at": 1795428000,
            "credits": 2,
            "source": "api",
        }


# One run


async def bare(url: str, args: argparse.Namespace) -> int:
    """Send the requests of all tracks, and return how many came to a video."""
    tracks, connections = asyncio.Semaphore(args.in_flight), asyncio.Semaphore(args.connections)
    headers = {"x-api-key": KEY}
    made = 0

    async def call(session: aiohttp.ClientSession, method: str, path: str, body: object = None) -> Any:
        async with connections, session.request(method, url + PATH + path, headers=headers, json=body) as response:
            return json.loads(await response.read())["data"]

    async def convert(session: aiohttp.ClientSession, number: int) -> None:
        nonlocal made
        try:
            created = await call(session, "POST", "CreateTask", asked(number))
            info = await call(session, "GET", f"TaskInfo?task_id={created['task_id']}")
            made += info["status"] == "success"
        finally:
            tracks.release()

    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
        asyncio.TaskGroup() as group,
    ):
        for number in range(args.tracks):
            await tracks.acquire()
            group.create_task(convert(session, number))
    return made


async def ours(url: str, args: argparse.Namespace, ledger: Path | None) -> int:
    """Convert all tracks, and return how many came to a video."""
    made = 0
    async with (
        SunoVideoClient(
            api_key=KEY,
            base_url=url,
            rate=None,
            max_in_flight=args.in_flight,
            max_connections=args.connections,
        ) as client,
        client.convert(map(track, range(args.tracks)), ledger=ledger or NO_LEDGER) as outcomes,
    ):
        async for outcome in outcomes:
            made += outcome.state == "succeeded"
    return made


def run(who: str, url: str, args: argparse.Namespace) -> dict[str, float]:
    """Return what one run took, in this process."""
    few = argparse.Namespace(**vars(args) | {"tracks": 50})
    with tempfile.TemporaryDirectory() as folder:
        ledger = Path(folder, "ledger.db") if who == "file" else None
        asyncio.run(bare(url, few) if who == "bare" else ours(url, few, ledger and ledger.with_name("few.db")))
        used, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        made = asyncio.run(bare(url, args) if who == "bare" else ours(url, args, ledger))
        took, now = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    if made != args.tracks:
        raise SystemExit(f"{who}: {made} of {args.tracks} tracks")
    cpu = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    return {"cpu_ms": 1000 * cpu / args.tracks, "tracks_a_second": args.tracks / took}


# All runs


def command(who: str, url: str, args: argparse.Namespace) -> list[str]:
    """Return the command of one run in a process of its own."""
    options = ["--tracks", str(args.tracks), "--in-flight", str(args.in_flight)]
    options += ["--connections", str(args.connections), "--one", who, "--url", url]
    return [sys.executable, "-m", "benchmarks.cost", *options]


def measure(who: str, url: str, args: argparse.Namespace) -> dict[str, float]:
    """Return what one run took, in a process of its own."""
    done = subprocess.run(command(who, url, args), check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def compare(who: str, url: str, args: argparse.Namespace) -> dict[str, float]:
    """Return the medians of some pairs, and of their ratios."""
    pairs = list[tuple[dict[str, float], dict[str, float]]]()
    for number in range(args.pairs):
        names = ("bare", who) if number % 2 else (who, "bare")
        found = {name: measure(name, url, args) for name in names}
        pairs.append((found["bare"], found[who]))
    return {
        "cpu_ms": statistics.median(mine["cpu_ms"] for _, mine in pairs),
        "cpu_ms_bare": statistics.median(bare_["cpu_ms"] for bare_, _ in pairs),
        "of_cpu": statistics.median(mine["cpu_ms"] / bare_["cpu_ms"] for bare_, mine in pairs),
        "of_tracks_a_second": statistics.median(
            mine["tracks_a_second"] / bare_["tracks_a_second"] for bare_, mine in pairs
        ),
    }


def synchronisations(url: str, args: argparse.Namespace) -> float | None:
    """Return how often a run with a file ledger synchronises, for each track; None without `strace`."""
    if shutil.which("strace") is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder, "trace")
        traced = ["strace", "-f", "-qq", "-e", "trace=fsync,fdatasync", "-o", str(trace)]
        environment = {**os.environ, "TMPDIR": folder}
        subprocess.run([*traced, *command("file", url, args)], check=True, capture_output=True, env=environment)
        tracks: int = args.tracks
        return len(re.findall(r"\bf(?:data)?sync\(", trace.read_text(encoding="utf-8"))) / tracks


def main() -> int:
    """Print the table; return 1 where a figure is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--tracks", type=int, default=5000)
    parser.add_argument("--in-flight", type=int, default=500)
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--answer-after", type=float, default=20.0, help="in milliseconds")
    parser.add_argument("--only", choices=sorted(HELD))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one is not None:
        print(json.dumps(run(args.one, args.url, args)))
        return 0
    results: dict[str, Any] = {}
    missed = False
    servers = {"at_once": 0.0, "slow": args.answer_after}
    print(f"{'answers':>8} {'ledger':>7} {'CPU ms':>7} {'bare':>6} {'ratio':>6} {'most':>5} {'tracks/s':>9} least")
    for server, milliseconds in servers.items():
        results[server] = {}
        with served(partial(_Server, milliseconds / 1000)) as port:
            url = f"http://127.0.0.1:{port}"
            for who in [args.only] if args.only else HELD:
                one = results[server][who] = compare(who, url, args)
                most, least = HELD[who]
                print(
                    f"{milliseconds:>5g} ms {who:>7} {one['cpu_ms']:>7.2f} {one['cpu_ms_bare']:>6.2f}"
                    f" {one['of_cpu']:>6.2f} {most:>5} {one['of_tracks_a_second']:>9.2f} {least:>5}"
                )
                missed = missed or one["of_cpu"] > most or one["of_tracks_a_second"] < least
            if not milliseconds and not args.only:
                results["syncs_a_track"] = synchronisations(url, args)
    syncs = results.get("syncs_a_track")
    if syncs is not None:
        print(f"{syncs:.2f} synchronisations of the file ledger a track (most {MOST_SYNCS})")
        missed = missed or syncs > MOST_SYNCS
    print(json.dumps({"cost": results}))
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
