"""How well the client finds limits that it is not told: `rate="auto"` and `max_in_flight="auto"`.

The real client converts 2,000 tracks in virtual time, against the model of the API that `benchmarks.pacing` uses
(durations lognormal, median 65 s, sigma 0.35, 10 ms each way), with a limit that is hidden from it. Beside it the
same client converts the same catalog with the true limit given. What counts is the ratio of the two times, and the
share of the requests that were refused.

In the last rows the limit halves or doubles when half of the tracks are submitted. A change is *settled* when the
client's own figure is within a tenth of the new limit, and stays there for two periods.

Usage: python -m benchmarks.auto [--quick] [--jobs 2] [--cases 20/10 "20/10, halves"] [--latency 0.01]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import platform
import statistics
import sys
from collections.abc import Sequence
from multiprocessing import get_context
from typing import Any, Literal

from attrs import define, field, frozen

from benchmarks.pacing_model import LATENCY, USUAL, Server
from suno_video_async import Limiter, RateLimit, Request, SqliteLedger, SunoVideoClient, Track
from suno_video_async._util.aio import inline
from suno_video_async.batch.conversion import Conversion
from suno_video_async.batch.options import Options
from suno_video_async.ledger.aio import AsyncLedger
from suno_video_async.local.accounts import RateWindow
from suno_video_async.protocol.codec import Operation
from tests.support.keys import KEY
from tests.support.virtual import VirtualLoop

#: At most so much longer than with the limit given, such a share refused, and so long until a change is settled.
OF_KNOWN, REFUSED, SETTLED = 1.15, 0.01, 60.0
#: A figure is right within this share of the limit.
RIGHT = 0.1
#: Seconds that a figure has to stay right.
STAYS = 20.0
#: Videos in flight where the number is not what is to be found.
MANY = 2000


@frozen
class Hidden:
    """What the server does not tell.

    Attributes:
        requests: the limit in 10 s.
        reads: that of all calls but CreateTask, if they have a window of their own.
        running: the cap on running tasks.
        factor: what the limit is multiplied by when half of the tracks are submitted.

    """

    requests: int
    reads: int | None = None
    running: int | None = None
    factor: float = 1.0


CASES = {
    "5/10": Hidden(5),
    "20/10": Hidden(20),
    "60/10": Hidden(60),
    "200/10": Hidden(200),
    "60/10, reads 100/10": Hidden(60, reads=100),
    "20/10, 30 running": Hidden(20, running=30),
    "60/10, 30 running": Hidden(60, running=30),
    "20/10, halves": Hidden(20, factor=0.5),
    "20/10, doubles": Hidden(20, factor=2.0),
    "60/10, halves": Hidden(60, factor=0.5),
    "60/10, doubles": Hidden(60, factor=2.0),
}


@define
class HiddenServer(Server):
    """The model of the API, with hidden limits."""

    hidden: Hidden = field(kw_only=True)
    limiter: Limiter = field(kw_only=True)
    changed_at: float | None = field(init=False, default=None)
    known: list[tuple[float, int]] = field(init=False, factory=list[tuple[float, int]])

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        reads = self.hidden.reads
        self.window = RateWindow(self.hidden.requests, 10.0)
        self.read_window = self.window if reads is None else RateWindow(reads, 10.0)

    def _answer(self, request: Request, now: float) -> tuple[int, Any]:
        self._note(now)
        if request.operation is Operation.CREATE_TASK and self._is_full(now):
            self.window.arrive(now)
            self.times.append((now, "refused"))
            return 429, None
        return super()._answer(request, now)

    def _note(self, now: float) -> None:
        rate = self.limiter.rate
        assert rate is not None
        if not self.known or self.known[-1][1] != rate.requests:
            self.known.append((now, rate.requests))
        if self.changed_at is None and self.hidden.factor != 1.0 and len(self.ends) >= self.tracks // 2:
            self.changed_at, self.window.limit = now, int(self.hidden.requests * self.hidden.factor)

    def _is_full(self, now: float) -> bool:
        cap = self.hidden.running
        return cap is not None and sum(now < end for end, _ in self.ends) >= cap

    def settled(self) -> float | None:
        """Return the seconds from the change until the client's figure was right, and stayed so."""
        if self.changed_at is None:
            return None
        right = self.hidden.requests * self.hidden.factor
        # The figure of each moment at which it changed, from the change of the limit on.
        since = [requests for at, requests in self.known if at <= self.changed_at][-1:]
        figures = [(self.changed_at, since[0]), *((at, n) for at, n in self.known if at > self.changed_at)]
        ends = [at for at, _ in figures[1:]] + [math.inf]
        begun: float | None = None
        for (at, requests), end in zip(figures, ends, strict=True):
            if abs(requests - right) > RIGHT * right:
                begun = None
                continue
            begun = at if begun is None else begun
            if end - begun >= STAYS:
                return begun - self.changed_at
        return math.inf


@frozen
class Job:
    """One run: with the limits found, or given."""

    case: str
    auto: bool
    tracks: int
    seed: int
    latency: float = LATENCY


def run(job: Job) -> dict[str, Any]:
    """Run one job in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(convert(job))


async def convert(job: Job) -> dict[str, Any]:
    """Convert a catalog, and return the figures."""
    hidden = CASES[job.case]
    in_flight: int | Literal["auto"] = hidden.running or MANY
    if job.auto:
        limiter = Limiter("auto", read_rate=None if hidden.reads is None else "auto")
        in_flight = "auto" if hidden.running is not None else MANY
    else:
        reads = None if hidden.reads is None else RateLimit(hidden.reads)
        limiter = Limiter(RateLimit(hidden.requests), read_rate=reads)
    server = HiddenServer(USUAL, job.tracks, job.seed, job.latency, hidden=hidden, limiter=limiter)
    client = SunoVideoClient(
        api_key=KEY, base_url="http://127.0.0.1:1", transport=server, max_in_flight=in_flight, limiter=limiter
    )
    async with client:
        options = Options(task_timeout=1e6)
        rows = (Track(task_id="music", suno_id=f"suno_{number}") for number in range(job.tracks))
        async with Conversion(client._open(), rows, AsyncLedger(SqliteLedger(None), inline), options) as outcomes:
            async for _ in outcomes:
                pass
    last = max(server.ends[number][0] + delay for number, delay in server.noticed.items())
    return {
        "seconds": last - server.times[0][0],
        "requests": len(server.times),
        "refused": server.answers[429],
        "lost": job.tracks - len(server.noticed),
        "settled": server.settled(),
        "known": server.known,
        "refusals": [at for at, what in server.times if what == "refused"],
        "began": server.times[0][0],
        "changed_at": server.changed_at,
        "found": limiter.rate.requests if limiter.rate is not None else 0,
        "reads": limiter.read_rate.requests if limiter.read_rate is not None else None,
        "cap": limiter.cap.cap,
    }


def measure(pool: Any, cases: Sequence[str], seeds: int, tracks: int, latency: float) -> list[dict[str, Any]]:
    """Return a row for each case: medians over the seeds, and the worst."""
    rows = list[dict[str, Any]]()
    print(
        f"{'hidden':>20} {'of known':>9} {'worst':>6} {'refused':>8} {'worst':>7} {'settled':>8} {'worst':>7} lost"
    )
    for case in cases:
        changes = CASES[case].factor != 1.0
        jobs = [
            Job(case, auto, tracks, seed, latency)
            for auto in ((True,) if changes else (True, False))
            for seed in range(seeds)
        ]
        reports = pool.map(run, jobs, chunksize=1)
        found, known = reports[:seeds], reports[seeds:]
        ratios = [a["seconds"] / b["seconds"] for a, b in zip(found, known, strict=False)]
        shares = [one["refused"] / one["requests"] for one in found]
        settled = [one["settled"] for one in found if one["settled"] is not None]
        row: dict[str, Any] = {
            "hidden": case,
            "of_known": statistics.median(ratios) if ratios else None,
            "of_known_most": max(ratios, default=None),
            "refused": statistics.median(shares),
            "refused_most": max(shares),
            "settled": statistics.median(settled) if settled else None,
            "settled_most": max(settled, default=None),
            "lost": max(one["lost"] for one in reports),
            "found": statistics.median(one["found"] for one in found),
            "seconds": statistics.median(one["seconds"] for one in found),
        }
        rows.append(row)
        print(
            f"{case:>20} {_or_dash(row['of_known'], '.3f'):>9} {_or_dash(row['of_known_most'], '.3f'):>6}"
            f" {100 * row['refused']:>6.2f} % {100 * row['refused_most']:>5.2f} %"
            f" {_or_dash(row['settled'], '.1f'):>8} {_or_dash(row['settled_most'], '.1f'):>7} {row['lost']:>4}",
            flush=True,
        )
    return rows


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def missed(row: dict[str, Any]) -> list[str]:
    """Return the figures of a row that are not what they should be."""
    bounds = {"of_known": OF_KNOWN, "refused": REFUSED, "settled": SETTLED, "lost": 0}
    return [
        f"{row['hidden']}: {key} is {row[key]:.3f}, not {most:g}"
        for key, most in bounds.items()
        if row[key] is not None and row[key] > most
    ]


def main() -> int:
    """Print the table; return 1 if a figure is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few seeds")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--tracks", type=int, default=2000)
    parser.add_argument("--cases", nargs="*", choices=list(CASES), default=list(CASES))
    parser.add_argument("--latency", type=float, default=LATENCY, help="seconds each way")
    args = parser.parse_args()
    with get_context("fork").Pool(args.jobs) as pool:
        seeds = 2 if args.quick else args.seeds
        rows = measure(pool, args.cases, seeds, args.tracks, args.latency)
    print(
        json.dumps(
            {"auto": {"python": platform.python_version(), "tracks": args.tracks, "seeds": seeds, "rows": rows}}
        )
    )
    lines = [line for row in rows for line in missed(row)]
    for line in lines:
        print("missed:", line)
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main())
