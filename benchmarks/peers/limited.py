"""The baseline behind an aiolimiter of 20 requests in 10 s (of model time: 10 / scale real seconds).

A peer for benchmarks, run in the same run as the SDK: python limited.py URL KEY CATALOG.csv --concurrency 100 --interval 5
(against a server at time scale S: --interval 5/S --backoff 1/S). Prints one JSON line: done, failed, wall seconds, requests sent, busy answers met. Its weaknesses are real users' (no shared rate
limit, a fixed interval, a slot held for a job's whole life, CreateTask retried); do not improve it, beat it.
"""

import argparse
import asyncio
import collections
import csv
import json
import time

import aiohttp
from aiolimiter import AsyncLimiter
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential


class Busy(Exception):
    """429, 455 or 500: back off and try again."""


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("key")
    parser.add_argument("catalog")
    parser.add_argument("--concurrency", type=int, default=100)
    parser.add_argument("--interval", type=float, default=5.0, help="seconds between two polls of one task")
    parser.add_argument("--backoff", type=float, default=1.0, help="first backoff, seconds")
    parser.add_argument("--attempts", type=int, default=12)
    args = parser.parse_args()
    counts = {"requests": 0, "busy": 0, "done": 0, "failed": 0}
    errors: collections.Counter[str] = collections.Counter()
    slots = asyncio.Semaphore(args.concurrency)
    limiter = AsyncLimiter(20, 10 * args.backoff)  # the first backoff is one model second

    async with aiohttp.ClientSession(args.url, headers={"x-api-key": args.key}) as session:

        @retry(
            retry=retry_if_exception_type((Busy, aiohttp.ClientError, TimeoutError, json.JSONDecodeError)),
            wait=wait_random_exponential(args.backoff, max=60 * args.backoff),
            stop=stop_after_attempt(args.attempts),
        )
        async def call(method: str, path: str, **kwargs: object) -> dict:
            counts["requests"] += 1
            await limiter.acquire()
            async with session.request(method, "/api/v1/client/job/" + path, **kwargs) as answer:
                body = await answer.json(content_type=None)
            if body["code"] in (429, 455, 500):
                counts["busy"] += 1
                raise Busy(body["code"])
            if body["code"] != 200:
                raise RuntimeError(body)
            return body["data"]

        async def convert(row: dict) -> None:
            async with slots:
                try:
                    fields = {name: row[name] for name in ("task_id", "suno_id", "author", "brand") if row.get(name)}
                    payload = {"model": "suno/music-video", "input": fields}
                    task = await call("POST", "CreateTask", json=payload)
                    while True:
                        await asyncio.sleep(args.interval)
                        info = await call("GET", "TaskInfo", params={"task_id": task["task_id"]})
                        if info["status"] in ("success", "failed"):
                            counts["done" if info["status"] == "success" else "failed"] += 1
                            return
                except Exception as error:
                    counts["failed"] += 1
                    errors[type(error).__name__] += 1

        start = time.perf_counter()
        with open(args.catalog, newline="", encoding="utf-8") as file:
            await asyncio.gather(*(convert(row) for row in csv.DictReader(file)))
        print(json.dumps({"wall": round(time.perf_counter() - start, 3), **counts, "errors": errors}))


asyncio.run(main())
