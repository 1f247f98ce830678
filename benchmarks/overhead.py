"""What the client costs: `status()` calls a second against a bare aiohttp loop that does the same GET.

Both talk to the same server, which answers canned bytes from its own process, with the limiter unbounded. They
alternate within one run; the figure is the median of the ratios of the pairs.

Usage: python -m benchmarks.overhead [--pairs 21] [--calls 400] [--workers 1 20]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from multiprocessing.connection import Connection

import aiohttp

from suno_video_async import SunoVideoClient
from tests.support.keys import KEY

FLOOR = 0.85
TASK_ID = "d6956973-2f17-43d4-8514-af6cc3a2f55d"
PATH = f"/api/v1/client/job/TaskInfo?task_id={TASK_ID}"
BODY = json.dumps(
    {
        "code": 200,
        "message": "success",
        "data": {
            "task_id": TASK_ID,
            "provider": "Suno",
            "model_version": "suno-music-video",
            "status": "success",
            "param": {
                "model": "suno/music-video",
                "callback_url": None,
                "input": {"task_id": "task_12345678", "suno_id": "suno_abc123", "author": "Ava"},
            },
            "create_at": 1768900378,
            "result": {"code": 200, "message": "success", "media_urls": ["https://media.example.test/v.mp4"]},
            "duration_s": 63,
            "complete_at": 1768900441,
            "credits": 2,
            "source": "api",
        },
    }
).encode()
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nDate: Mon, 23 Nov 2026 10:00:00 GMT\r\n"
    b"Content-Length: %d\r\n\r\n" % len(BODY)
) + BODY


class Canned(asyncio.Protocol):
    """Answers every request head with the same bytes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        *requests, self._rest = (self._rest + data).split(b"\r\n\r\n")
        for _ in requests:
            self._transport.write(ANSWER)  # type: ignore[attr-defined]  # a stream transport, as create_server makes


def _serve(ready: Connection, protocol: Callable[[], asyncio.Protocol]) -> None:
    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


@contextmanager
def served(protocol: Callable[[], asyncio.Protocol]) -> Generator[int, None, None]:
    """Run a server that speaks a protocol in a process of its own; yield its port."""
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs, protocol), daemon=True)
    server.start()
    try:
        yield ours.recv()
    finally:
        server.terminate()
        server.join()


async def _rate(call: Callable[[], Awaitable[object]], calls: int, workers: int) -> float:
    """Return calls a second, by `workers` tasks that each call one after the other."""

    async def work() -> None:
        for _ in range(calls // workers):
            await call()

    started = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(workers)))
    return calls / (time.perf_counter() - started)


async def compare(port: int, *, pairs: int, calls: int, workers: int) -> dict[str, float]:
    """Return the medians of the two rates and of their ratios."""
    url = f"http://127.0.0.1:{port}"
    headers = {"x-api-key": KEY}
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
        SunoVideoClient(api_key=KEY, base_url=url, rate=None, max_connections=max(20, workers)) as client,
    ):

        async def bare() -> object:
            async with session.get(url + PATH, headers=headers) as response:
                return json.loads(await response.read())

        async def ours() -> object:
            return await client.status(TASK_ID)

        rates: list[tuple[float, float]] = []
        for number in range(pairs + 1):
            first, second = (bare, ours) if number % 2 else (ours, bare)
            one, two = await _rate(first, calls, workers), await _rate(second, calls, workers)
            rates.append((one, two) if first is bare else (two, one))
    counted = rates[1:]  # the first pair warms up
    return {
        "workers": workers,
        "bare": statistics.median(rate for rate, _ in counted),
        "ours": statistics.median(rate for _, rate in counted),
        "ratio": statistics.median(mine / theirs for theirs, mine in counted),
    }


def main() -> int:
    """Print the table; return 1 where a ratio is under the floor."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=21)
    parser.add_argument("--calls", type=int, default=400)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 20])
    args = parser.parse_args()
    with served(Canned) as port:
        results = [
            asyncio.run(compare(port, pairs=args.pairs, calls=args.calls, workers=workers))
            for workers in args.workers
        ]
    print(f"{'workers':>8} {'bare aiohttp /s':>16} {'status() /s':>12} {'ratio':>6}   (floor {FLOOR})")
    for result in results:
        print("{workers:>8} {bare:>16.0f} {ours:>12.0f} {ratio:>6.3f}".format(**result))
    print(json.dumps({"overhead": results}))
    return int(any(result["ratio"] < FLOOR for result in results))


if __name__ == "__main__":
    sys.exit(main())
