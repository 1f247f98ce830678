"""A conversion whose callback port is attacked: genuine callbacks get through, and nothing grows or is paid twice.

`suno-video convert` runs in a process of its own with callbacks on, against a local server in another one, while
strangers in a third one do one thing each time: nothing; send heads and bodies byte by byte; keep idle connections
open; post forged callbacks; post bombs, of which some know a nonce. Four times a second a genuine callback is
posted and timed, from connecting to its answer; memory and descriptors are read from /proc. Forged callbacks come
until the conversion ends: all 100,000 need a slow one (`forged --time-scale 0.3`).

Usage: python -m benchmarks.strangers [KIND ...] [--tracks 50] [--time-scale 2] [--forged 100000] [--seed 1]
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import gzip
import itertools
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from attrs import field, frozen

from benchmarks.callbacks import free_port
from benchmarks.catalog import server, write_catalog
from tests.support.processes import ServerProcess

#: How many strangers there are of each kind, or callbacks that they forge.
KINDS = {"none": 0, "slow": 60, "idle": 1019, "forged": 100_000, "bombs": 20}
#: Seconds within which half of the genuine callbacks have to be answered.
PROMPT = 2.0
#: The share of genuine callbacks that may be cut off: a port without room closes what has waited longest.
CUT_OFF = 0.05
#: Megabytes and descriptors that the conversion may need: twice the port's connections, as those that are refused
#: stay for a moment, and those that come before it has looked.
MOST = {"megabytes": 150.0, "descriptors": 512.0}
#: Seconds that a genuine callback waits for its answer, and between two of them.
PATIENCE, PAUSE = 30.0, 0.25
#: Connections over which forged callbacks come.
AT_ONCE = 16
#: Seconds after which a stranger gives a connection up.
LINGERING = 60.0
#: 841 bytes of brotli that become a gibibyte of zeros; compressed, as they repeat themselves.
BROTLI = (
    "eNo7//9//Q91hkcbHRS+/5v/////D/4MRxIZG979tQdyHs5n6DisxHD3d/2///8P2zMKtLMy7Pr+/8///+31TAp83A"
    "wl7////P+f/z+Lg4wYw4t7/z///y//j7PBQofhwt7/z///t/8jzFAYwbCg+v95qEUbGBxwWcQ0atGoRUPUInsAVujm"
    "qA=="
)

# The strangers' side


@frozen
class Strangers:
    """Attack a port until they are killed.

    Attributes:
        port: the port.
        number: how many there are, or how many callbacks they forge.
        ledger: where those who know a nonce have it from.

    """

    port: int
    number: int
    ledger: Path

    async def post(self, nonce: str, body: bytes, *headers: str, slowly: int = 0) -> None:
        """Post once; the last `slowly` bytes come one a second."""
        head = "\r\n".join(
            [f"POST /cb/{nonce} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers, "", ""]
        )
        data = head.encode() + body
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(LINGERING):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                try:
                    writer.write(data[: len(data) - slowly])
                    for byte in data[len(data) - slowly :]:
                        await asyncio.sleep(1)
                        writer.write(bytes([byte]))
                        await writer.drain()
                    await reader.read()
                finally:
                    writer.close()

    async def slow(self) -> None:
        """Send half of the heads and half of the bodies byte by byte, again and again."""

        async def one(number: int) -> None:
            while True:
                await self.post(f"{number:032x}", b" " * 100, slowly=50 if number % 2 else 150)
                await asyncio.sleep(0.1)

        await asyncio.gather(*map(one, range(self.number)))

    async def idle(self) -> None:
        """Open connections, say nothing, and open another for each that is closed."""

        async def one() -> None:
            while True:
                with contextlib.suppress(OSError):
                    reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                    try:
                        await reader.read()
                    finally:
                        writer.close()
                await asyncio.sleep(1)

        await asyncio.gather(*(one() for _ in range(self.number)))

    async def forged(self) -> None:
        """Post callbacks with nonces that were never given out, as fast as they are answered."""
        numbers, body = iter(range(self.number)), b'{"task_id": "v1", "status": "failed"}'

        async def some() -> None:
            for number in numbers:
                await self.post(f"{10**12 + number:032x}", body)
                if number % 1000 == 999:
                    print(number + 1, flush=True)

        await asyncio.gather(*(some() for _ in range(AT_ONCE)))
        await asyncio.sleep(3600)

    async def bombs(self) -> None:
        """Post bodies that are small on the wire, or cost much to parse, every second one with a true nonce."""
        every = itertools.cycle(bombs())

        async def one(number: int) -> None:
            while True:
                nonces = [nonce for nonce, _ in attempts(self.ledger)]
                for nonce in (f"{10**12 + number:032x}", *nonces[number : number + 1]):
                    body, *headers = next(every)
                    await self.post(nonce, body, *headers)
                await asyncio.sleep(0.05)

        await asyncio.gather(*map(one, range(self.number)))


def bombs() -> Iterator[tuple[Any, ...]]:
    """Return bodies and what their heads say of them."""
    zeros = bytes(200 << 20)
    yield gzip.compress(zeros, 9), "Content-Encoding: gzip"
    yield zlib.compress(zeros, 9), "Content-Encoding: deflate"
    yield zlib.decompress(base64.b64decode(BROTLI)), "Content-Encoding: br"
    yield gzip.compress(zeros, 9), "Content-Encoding: identity, gzip"
    told = b'{"task_id": "v1", "status": "success", '
    yield (b"[" * 250_000,)
    yield (b'{"a":' * 50_000,)
    yield (told + b'"credits": ' + b"9" * 200_000 + b"}",)
    yield (told + b'"result": {"media_urls": ["https://' + b"a" * 200_000 + b' "]}}',)
    yield (told + b'"result": {"media_urls": [' + b'"https://a/b",' * 17_000 + b'"https://a/b"]}}',)
    yield (told + b'"result": {"message": "' + rb"\u202e" * 40_000 + b'"}}',)


# The other side: a conversion, and those whose callbacks are true


def attempts(ledger: Path) -> list[tuple[str, str]]:
    """Return the nonces of a ledger's attempts, and the tasks that they bought, newest first."""
    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(sqlite3.connect(f"{ledger.as_uri()}?mode=ro", uri=True)) as db,
    ):
        found = db.execute(
            "SELECT nonce, video_task_id FROM attempts WHERE video_task_id NOT NULL ORDER BY at DESC"
        )
        return list(found)
    return []


@frozen
class Seen:
    """What was seen of a conversion while it ran.

    Attributes:
        seconds: how long genuine callbacks took, from connecting to the answer.
        statuses: how they were answered; 0 for not at all.
        megabytes: resident memory at most.
        descriptors: open descriptors at most.

    """

    seconds: list[float] = field(factory=list[float])
    statuses: list[int] = field(factory=list[int])
    megabytes: list[float] = field(factory=list[float])
    descriptors: list[float] = field(factory=list[float])


def held(pid: int) -> tuple[float, float]:
    """Return the resident megabytes of a process, and its descriptors."""
    of = Path(f"/proc/{pid}")
    pages = int((of / "statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6, float(sum(1 for _ in (of / "fd").iterdir()))


async def genuine(port: int, nonce: str, task_id: str) -> int:
    """Post a genuine callback; return the status of its answer, or 0."""
    body = json.dumps({"task_id": task_id, "status": "success"}).encode()
    head = f"POST /cb/{nonce} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(head + body)
                answer = await reader.read()
            finally:
                writer.close()
            return int(answer.split(b" ")[1]) if answer else 0
    return 0


async def watch(process: subprocess.Popen[str], port: int, ledger: Path, seen: Seen) -> None:
    """Post genuine callbacks to a conversion and read what it holds, until it ends."""
    for turn in itertools.count():
        await asyncio.sleep(PAUSE)
        if process.poll() is not None:
            return
        with contextlib.suppress(OSError):  # it may just have ended
            megabytes, descriptors = held(process.pid)
            seen.megabytes.append(megabytes)
            seen.descriptors.append(descriptors)
        if known := attempts(ledger):
            began = time.monotonic()
            status = await genuine(port, *known[turn % len(known)])
            seen.seconds.append(time.monotonic() - began)
            seen.statuses.append(status)


def measure(kind: str, args: argparse.Namespace) -> dict[str, Any]:
    """Convert while strangers of a kind attack."""
    port, seen = free_port(), Seen()
    number = args.forged if kind == "forged" else KINDS[kind]
    with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as stack:
        folder = Path(temporary)
        write_catalog(folder / "catalog.csv", range(args.tracks))
        ledger = folder / "catalog.ledger.db"
        at = stack.enter_context(server(folder, time_scale=args.time_scale, seed=args.seed, faults=""))
        attack = [
            sys.executable,
            "-m",
            "benchmarks.strangers",
            "--attack",
            kind,
            str(port),
            str(number),
            str(ledger),
        ]
        sent = (folder / "sent").open("w+")
        strangers = stack.enter_context(subprocess.Popen(attack, stdout=stack.enter_context(sent)))
        stack.callback(strangers.kill)
        process = stack.enter_context(conversion(at, folder, port, args.time_scale))
        stack.callback(process.kill)
        began = time.monotonic()
        output = asyncio.run(_both(process, port, ledger, seen))
        seconds = time.monotonic() - began
        twice = sum(count > 1 for count in at.stats()["charged_by_track"].values())
        callbacks = at.stats()["callbacks"]
        sent.seek(0)
        forged = sent.read().split()
    summary = json.loads(output.splitlines()[-1])["summary"]
    while seen.statuses[-1] in {0, 404}:  # the conversion, and then the port, end a while before the process
        seen.statuses.pop()
        seen.seconds.pop()
    return {
        "kind": kind,
        "strangers": number,
        "forged": int(forged[-1]) if forged else 0,
        "done": summary["done"],
        "lost": summary["total"] - summary["done"],
        "twice": twice,
        "seconds": seconds,
        "answers": dict(Counter(seen.statuses)),
        "genuine": len(seen.statuses),
        "refused": len(seen.statuses) - seen.statuses.count(200),
        "median": statistics.median(seen.seconds),
        "slowest": max(seen.seconds),
        "megabytes": max(seen.megabytes),
        "descriptors": max(seen.descriptors),
        "servers_own": callbacks,
        "requests": summary["requests"],
    }


async def _both(process: subprocess.Popen[str], port: int, ledger: Path, seen: Seen) -> str:
    watching = asyncio.create_task(watch(process, port, ledger, seen))
    output, _ = await asyncio.to_thread(process.communicate)
    await watching
    return output


def conversion(at: ServerProcess, folder: Path, port: int, time_scale: float) -> subprocess.Popen[str]:
    """Start the conversion, whose ledger is beside its catalog."""
    options = ["--no-download", "--json", "--time-scale", f"{time_scale:g}"]
    options += ["--callback-url", f"http://127.0.0.1:{port}/cb", "--callback-port", str(port)]
    return subprocess.Popen(
        [sys.executable, "-m", "suno_video_async", "convert", str(folder / "catalog.csv"), *options],
        env={**os.environ, "CRUN_BASE_URL": at.url, "CRUN_API_KEY": at.key},
        stdout=subprocess.PIPE,
        text=True,
    )


def wrong(result: dict[str, Any]) -> list[str]:
    """Return what should not be."""
    found = [f"{name}: {result[name]}" for name in ("lost", "twice") if result[name]]
    if result["refused"] > CUT_OFF * result["genuine"]:
        found.append(f"genuine callbacks that were not taken: {result['answers']}")
    if result["median"] > PROMPT:
        found.append(f"half of the genuine callbacks took more than {PROMPT:g} s: {result['median']:.1f} s")
    return found + [f"{name}: {result[name]:.0f}" for name, most in MOST.items() if result[name] > most]


def main() -> int:
    """Print the table; return 1 where the conversion was harmed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"default: {', '.join(KINDS)}")
    parser.add_argument("--tracks", type=int, default=50)
    parser.add_argument("--time-scale", type=float, default=2.0)
    parser.add_argument("--forged", type=int, default=KINDS["forged"])
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    columns = ("done", "lost", "twice", "genuine", "refused", "forged")
    print("strangers  ", *columns, "median s  max s     MB descriptors seconds requests")
    results = list[dict[str, Any]]()
    for kind in args.kinds or KINDS:
        result = measure(kind, args)
        results.append(result)
        shown = (f"{result[column]:>{len(column)}}" for column in columns)
        print(
            f"{kind:<6} {result['strangers']:>6}",
            *shown,
            "{median:8.3f} {slowest:6.3f} {megabytes:6.1f} {descriptors:11.0f} {seconds:7.0f} {requests:8}".format(
                **result
            ),
            flush=True,
        )
    print(json.dumps({"strangers": results}))
    for result in results:
        for problem in wrong(result):
            print(f"{result['kind']}: {problem}", file=sys.stderr)
    return int(any(wrong(result) for result in results))


def _attack(kind: str, port: str, number: str, ledger: str) -> None:
    strangers = Strangers(int(port), int(number), Path(ledger))
    ways: dict[str, Callable[[], Awaitable[None]]] = {
        "slow": strangers.slow,
        "idle": strangers.idle,
        "forged": strangers.forged,
        "bombs": strangers.bombs,
    }

    async def attack() -> None:
        await ways[kind]()

    asyncio.run(attack())


if __name__ == "__main__":
    if sys.argv[1:2] == ["--attack"]:
        if sys.argv[2] != "none":
            _attack(*sys.argv[2:])
        sys.exit()
    sys.exit(main())
