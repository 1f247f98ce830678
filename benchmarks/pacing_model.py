"""A model of the API in virtual time, for the benchmarks of pacing.

It has distributions of durations, a server, and the clients that convert. The server has the local server's own
rate window and a latency each way. `Oracle` replaces what the client learns: it knows the true distribution at
every moment.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from attrs import define, field, frozen

from suno_video_async import (
    Answer,
    Hooks,
    Limiter,
    RateLimit,
    Request,
    SqliteLedger,
    SunoVideoClient,
    TaskUpdate,
    Track,
)
from suno_video_async._util.aio import inline
from suno_video_async.batch.conversion import Conversion
from suno_video_async.batch.options import Options
from suno_video_async.ledger.aio import AsyncLedger
from suno_video_async.local.accounts import RateWindow
from suno_video_async.polling.durations import DurationModel, HazardCurve
from suno_video_async.polling.schedule import Backlog, Decision, Poll, PollSchedule, Submit, Wait
from suno_video_async.protocol.codec import Operation
from suno_video_async.ratelimit.limiter import Lane
from tests.support.keys import KEY
from tests.support.virtual import VirtualLoop

RATE = RateLimit(20, 10)
LATENCY = 0.01
#: A stuck task ends after an hour; it does not count in the times.
STUCK = 3600.0
#: Returns the seconds that the n-th of a number of tasks takes.
Distribution = Callable[[random.Random, int, int], float]


def lognormal(median: float, sigma: float) -> Distribution:
    """Return the distribution of one kind of tasks."""
    return lambda rng, _n, _of: median * rng.lognormvariate(0.0, sigma)


def shifting(rng: random.Random, n: int, of: int) -> float:
    """Return three times the duration from the middle of the catalog on."""
    return lognormal(65 if n < of / 2 else 195, 0.35)(rng, n, of)


def sometimes_stuck(rng: random.Random, n: int, of: int) -> float:
    """Return the duration of a stuck task in 2 % of the cases."""
    seconds = lognormal(65, 0.35)(rng, n, of)
    return STUCK if rng.random() < 0.02 else seconds


def two_kinds(rng: random.Random, n: int, of: int) -> float:
    """Return a short duration or a long one."""
    return lognormal(rng.choice((30, 150)), 0.2)(rng, n, of)


USUAL = lognormal(65, 0.35)
DISTRIBUTIONS: dict[str, Distribution] = {
    "usual": USUAL,
    "median 20": lognormal(20, 0.35),
    "median 240": lognormal(240, 0.35),
    "sigma 0.1": lognormal(65, 0.1),
    "sigma 0.8": lognormal(65, 0.8),
    "shift by 3": shifting,
    "2 % stuck": sometimes_stuck,
    "two kinds": two_kinds,
}
#: The distribution that an oracle gets instead. Stuck tasks do not count in the times, and an oracle that knew of
#: them would wait an hour for ordinary late tasks as well, which would make it easy to match.
ORACLE_INSTEAD = {"2 % stuck": "usual"}


@define
class Server:
    """A model of the API: accepts everything within the rate, and counts."""

    distribution: Distribution
    tracks: int
    seed: int
    latency: float = LATENCY
    read_rate: RateLimit | None = None
    window: RateWindow = field(factory=lambda: RateWindow(RATE.requests, RATE.per))
    read_window: RateWindow = field(init=False)
    ends: list[tuple[float, float]] = field(factory=list[tuple[float, float]])
    noticed: dict[int, float] = field(factory=dict[int, float])
    noticed_early: int = 0
    answers: Counter[int] = field(factory=Counter[int])
    times: list[tuple[float, str]] = field(factory=list[tuple[float, str]])
    rng: random.Random = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.rng = random.Random(f"{self.seed}/durations")
        reads = self.read_rate
        self.read_window = self.window if reads is None else RateWindow(reads.requests, reads.per)

    async def send(self, request: Request) -> Answer:
        """Answer a request, as a transport does."""
        await asyncio.sleep(self.latency)
        code, data = self._answer(request, asyncio.get_running_loop().time())
        self.answers[code] += 1
        await asyncio.sleep(self.latency)
        if isinstance(data, dict) and data.get("status") == "success":
            number = int(data["task_id"][1:])
            if number not in self.noticed:
                self.noticed[number] = asyncio.get_running_loop().time() - self.ends[number][0]
                self.noticed_early += number < self.tracks // 2
        return Answer(200, {}, json.dumps({"code": code, "message": "", "data": data}).encode())

    def _answer(self, request: Request, now: float) -> tuple[int, Any]:
        window = self.window if request.operation is Operation.CREATE_TASK else self.read_window
        if window.arrive(now) is not None:
            self.times.append((now, "refused"))
            return 429, None
        if request.operation is Operation.CREATE_TASK:
            seconds = self.distribution(self.rng, len(self.ends), self.tracks)
            self.ends.append((now + seconds, seconds))
            self.times.append((now, "submitted"))
            return 200, {"task_id": f"v{len(self.ends) - 1}"}
        if request.operation is Operation.BALANCE:  # asked once, before the first purchase
            self.times.append((now, "balance"))
            return 200, {"balance": 1e9}
        number = int((request.task_id or "v0")[1:])
        end, seconds = self.ends[number]
        self.times.append((now, "done" if now >= end else "not done"))
        data: dict[str, Any] = {"task_id": f"v{number}", "status": "running"}
        if now >= end:
            result = {"media_urls": [f"https://media.example.test/{number}.mp4"]}
            data |= {"status": "success", "credits": 2, "duration_s": seconds, "result": result}
        return 200, data

    def report(self) -> dict[str, Any]:
        """Return the figures of the run; stuck tasks do not count in the times."""
        usual = [number for number, (_, seconds) in enumerate(self.ends) if seconds < STUCK]
        last = max(self.ends[number][0] + self.noticed.get(number, math.inf) for number in usual)
        bound = self._bound(usual)
        delays = sorted(self.noticed[number] for number in usual if number in self.noticed)
        return {
            "of_bound": (last - self.latency - self.times[0][0]) / bound if bound > 0 else 0.0,
            "notice": statistics.median(delays),
            "notice_p90": delays[int(0.9 * len(delays))],
            "requests_a_track": len(self.times) / self.tracks,
            "refused": self.answers[429],
            "lost": self.tracks - len(self.noticed),
        }

    def _bound(self, usual: Sequence[int]) -> float:
        """Return the lower bound of the makespan.

        In one window each track needs two requests. Submissions alone need one each, and then the videos have to
        end: the last of them in the order in which they were submitted, each at the earliest moment of its place.
        """
        if self.read_rate is None:
            return (2 * self.tracks / RATE.requests - 1) * RATE.per
        return max(number // RATE.requests * RATE.per + self.ends[number][1] for number in usual)


@define
class Said(Hooks):
    """Records the progress that updates report, to be compared with the truth."""

    server: Server
    shares: list[tuple[float, float]] = field(factory=list[tuple[float, float]])

    def on_update(self, update: TaskUpdate) -> None:
        """Record the progress of a running task."""
        if update.progress is not None and not update.is_final:
            _, seconds = self.server.ends[int(update.task_id[1:])]
            self.shares.append((update.progress, update.elapsed / seconds))


@define(eq=False)
class Oracle(DurationModel):
    """Knows the true distribution at every moment, and learns nothing.

    A distribution that shifts counts as two: the oracle uses that of most of the unfinished tasks.
    """

    server: Server
    models: Sequence[DurationModel]

    @classmethod
    def of(cls, distribution: str, server: Server) -> Oracle:
        """Return the oracle for a run."""
        return cls(server, [known(distribution, part) for part in (0, 1)])

    def __attrs_post_init__(self) -> None:
        self._use(self.models[0])

    def _use(self, model: DurationModel) -> None:
        if model.curve() is not self._curve:
            self._curve, self.ends = model.curve(), model.ends
            self.version += 1

    def curve(self) -> HazardCurve:
        """Return the true one."""
        return self._curve

    def ended(self, since: float, age: float) -> None:  # noqa: ARG002  it is known already
        """Switch to the second model once most unfinished tasks follow it."""
        half = self.server.tracks // 2
        begun, early = len(self.server.ends), self.server.noticed_early
        late = (begun - half) - (len(self.server.noticed) - early)
        self._use(self.models[late > half - early])

    def unfinished(self, since: float, age: float) -> None:
        """Learn nothing."""


@cache
def known(distribution: str, part: int) -> DurationModel:
    """Return the model of 5,000 tasks, of the first or the second half of a catalog, all with the same weight."""
    durations, rng = DurationModel(), random.Random("oracle")
    for number in range(5000):
        durations.ended(
            0.0, DISTRIBUTIONS[ORACLE_INSTEAD.get(distribution, distribution)](rng, number + 5000 * part, 10_000)
        )
        durations._weight = 1.0
    durations.curve()
    return durations


@define(eq=False)
class Knowing(PollSchedule):
    """Knows when each task ends: it polls none too early, and submits first once all polls fit into the rest."""

    server: Server = field(kw_only=True)

    def decide(self, now: float, backlog: Backlog) -> Decision:
        """Poll the task that ended first, or submit."""
        ends = {
            task_id: self.server.ends[int(task_id[1:])][0] - self.server.latency
            for task_id, live in self._live.items()
            if not live.being_polled
        }
        left = len(self._live) + backlog.ready + backlog.blocked + backlog.unread
        is_draining = left * RATE.per < RATE.requests * self.durations.quantile(0.99)
        first = min(ends, key=lambda task_id: ends[task_id], default=None)
        if first is not None and ends[first] <= now and not (backlog.ready and is_draining):
            return Poll(first)
        if backlog.ready:
            return Submit()
        return Wait(None if first is None else max(ends[first], now))


async def ours(
    server: Server, cap: int, oracle: Oracle | None, said: Said | None = None, *, knows: bool = False
) -> None:
    """Convert a catalog with the client; a single track with `generate`."""
    hooks = [said] if said else []
    client = SunoVideoClient(
        api_key=KEY,
        base_url="http://127.0.0.1:1",
        transport=server,
        max_in_flight=cap,
        rate=RATE,
        read_rate=server.read_rate,
        hooks=hooks,
    )
    async with client:
        if oracle is not None:
            client._open().poller.schedule.durations = oracle
        if knows:
            client._open().poller.schedule = Knowing(RATE, known("usual", 0), server=server)
        if server.tracks == 1:
            await client.generate(Track(task_id="music", suno_id="suno_0"))
            return
        options = Options(task_timeout=1e6)
        rows = [Track(task_id="music", suno_id=f"suno_{number}") for number in range(server.tracks)]
        async with Conversion(client._open(), rows, AsyncLedger(SqliteLedger(None), inline), options) as outcomes:
            async for _ in outcomes:
                pass


async def fixed(server: Server, cap: int, interval: float = 5.0) -> None:
    """Poll each task every 5 s, behind our own limiter."""
    limiter, slots = Limiter(RATE, read_rate=server.read_rate), asyncio.Semaphore(cap)

    async def call(operation: Operation, task_id: str | None = None) -> dict[str, Any]:
        place = await limiter.acquire(Lane.CREATE if operation is Operation.CREATE_TASK else Lane.READ)
        answer = await server.send(Request(operation, "GET", "/", task_id=task_id))
        limiter.release(place)
        data: dict[str, Any] = json.loads(answer.body)["data"]
        return data

    async def one() -> None:
        async with slots:
            task_id = (await call(Operation.CREATE_TASK))["task_id"]
            status = ""
            while status != "success":
                await asyncio.sleep(interval)
                status = (await call(Operation.TASK_INFO, task_id))["status"]

    await asyncio.gather(*(one() for _ in range(server.tracks)))


@frozen
class Job:
    """One run."""

    who: str
    distribution: str
    tracks: int
    cap: int
    seed: int
    latency: float = LATENCY
    read_rate: RateLimit | None = None


def run(job: Job) -> dict[str, Any]:
    """Run one job in virtual time."""
    server = Server(DISTRIBUTIONS[job.distribution], job.tracks, job.seed, job.latency, job.read_rate)
    said = Said(server)
    if job.who == "fixed":
        main = fixed(server, job.cap)
    elif job.who == "knows":
        main = ours(server, job.cap, None, knows=True)
    elif job.who == "progress":
        main = ours(server, job.cap, None, said)
    else:
        main = ours(server, job.cap, Oracle.of(job.distribution, server) if job.who == "oracle" else None)
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main)
    return server.report() | {"said": said.shares}
