"""How much of the rate limit a catalog uses, and how soon finished videos are noticed, beside a fixed interval.

The real client converts catalogs in virtual time, against a model of the API with the local server's own rate
window (20 requests in 10 s) and a latency of 10 ms each way (`--latency`). Times are model seconds, from the first
to the last request in the server's books; the bound is two requests a track at the rate limit.

Three tables: the gate (durations lognormal, median 65 s, sigma 0.35), other laws of the durations beside an oracle
(the same client, told the true law at every moment), and the calibration of `update.progress`. With `--sockets`
also 1,000 tracks over real sockets at time scale 50, beside two hand-written scripts.

Usage: python -m benchmarks.pacing [--quick] [--jobs 2] [--only gate laws progress] [--rows 1000/100 1/100]
    [--cases "2 % stuck"] [--latency 0.01] [--sockets]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from benchmarks import catalog
from suno_video_async import (
    Answer,
    Limiter,
    RateLimit,
    Request,
    SqliteLedger,
    SunoVideoClient,
    TaskUpdate,
    Track,
)
from suno_video_async.batch import Conversion, Options
from suno_video_async.books import Books
from suno_video_async.finishing import inline
from suno_video_async.local.window import RateWindow
from suno_video_async.pacing.durations import Durations
from suno_video_async.protocol.wire import Operation
from tests.support.virtual import VirtualLoop

KEY = "ak_" + "0" * 32
RATE = RateLimit(20, 10)
LATENCY = 0.01
#: A stuck task ends after an hour; it is left out of the times.
STUCK = 3600.0
#: Real seconds after which a hand-written script is cut.
CUT = 180.0

#: The seconds that the n-th of so many tasks takes.
Law = Callable[[random.Random, int, int], float]


def lognormal(median: float, sigma: float) -> Law:
    """Return the law of one kind of tasks."""
    return lambda rng, _n, _of: median * rng.lognormvariate(0.0, sigma)


def shifting(rng: random.Random, n: int, of: int) -> float:
    """Take three times as long from the middle of the catalog on."""
    return lognormal(65 if n < of / 2 else 195, 0.35)(rng, n, of)


def sometimes_stuck(rng: random.Random, n: int, of: int) -> float:
    """Be stuck in 2 % of the cases."""
    seconds = lognormal(65, 0.35)(rng, n, of)
    return STUCK if rng.random() < 0.02 else seconds


def two_kinds(rng: random.Random, n: int, of: int) -> float:
    """Belong to the short ones or to the long ones."""
    return lognormal(rng.choice((30, 150)), 0.2)(rng, n, of)


USUAL = lognormal(65, 0.35)
LAWS: dict[str, Law] = {
    "usual": USUAL,
    "median 20": lognormal(20, 0.35),
    "median 240": lognormal(240, 0.35),
    "sigma 0.1": lognormal(65, 0.1),
    "sigma 0.8": lognormal(65, 0.8),
    "shift by 3": shifting,
    "2 % stuck": sometimes_stuck,
    "two kinds": two_kinds,
}
#: What an oracle is told instead. Stuck tasks do not count in the times, and the same policy that knew of them
#: would leave the others alone for an hour as well: it would be no oracle, and easy to be as good as.
TOLD = {"2 % stuck": "usual"}


@define
class Server:
    """A model of the API: accepts everything within the rate, and keeps books."""

    law: Law
    tracks: int
    seed: int
    latency: float = LATENCY
    window: RateWindow = field(factory=lambda: RateWindow(RATE.requests, RATE.per))
    ends: list[tuple[float, float]] = field(factory=list[tuple[float, float]])
    noticed: dict[int, float] = field(factory=dict[int, float])
    noticed_early: int = 0
    answers: Counter[int] = field(factory=Counter[int])
    times: list[tuple[float, str]] = field(factory=list[tuple[float, str]])
    rng: random.Random = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.rng = random.Random(f"{self.seed}/durations")

    async def send(self, request: Request) -> Answer:
        """Be a transport."""
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
        if self.window.arrive(now) is not None:
            self.times.append((now, "refused"))
            return 429, None
        if request.operation is Operation.CREATE_TASK:
            seconds = self.law(self.rng, len(self.ends), self.tracks)
            self.ends.append((now + seconds, seconds))
            self.times.append((now, "submitted"))
            return 200, {"task_id": f"v{len(self.ends) - 1}"}
        number = int((request.task_id or "v0")[1:])
        end, seconds = self.ends[number]
        self.times.append((now, "done" if now >= end else "not done"))
        data: dict[str, Any] = {"task_id": f"v{number}", "status": "running"}
        if now >= end:
            result = {"media_urls": [f"https://media.example.test/{number}.mp4"]}
            data |= {"status": "success", "credits": 2, "duration_s": seconds, "result": result}
        return 200, data

    def report(self) -> dict[str, Any]:
        """Return what the books say; stuck tasks do not count in the times."""
        bound = (2 * self.tracks / 20 - 1) * 10
        usual = [number for number, (_, seconds) in enumerate(self.ends) if seconds < STUCK]
        last = max(self.ends[number][0] + self.noticed.get(number, math.inf) for number in usual)
        delays = sorted(self.noticed[number] for number in usual if number in self.noticed)
        return {
            "of_bound": (last - self.latency - self.times[0][0]) / bound if bound > 0 else 0.0,
            "notice": statistics.median(delays),
            "notice_p90": delays[int(0.9 * len(delays))],
            "requests_a_track": len(self.times) / self.tracks,
            "refused": self.answers[429],
            "lost": self.tracks - len(self.noticed),
        }


@define
class Said:
    """Keeps what updates said about progress, to be compared with the truth."""

    server: Server
    shares: list[tuple[float, float]] = field(factory=list[tuple[float, float]])

    def on_update(self, update: TaskUpdate) -> None:
        """Be a hook."""
        if update.progress is not None and not update.is_final:
            _, seconds = self.server.ends[int(update.task_id[1:])]
            self.shares.append((update.progress, update.elapsed / seconds))


@define(eq=False)
class Oracle(Durations):
    """Knows the true law at every moment, and learns nothing.

    A law that shifts is two laws: it goes by the one that most of the tasks alive follow.
    """

    server: Server
    laws: Sequence[Durations]

    @classmethod
    def of(cls, law: str, server: Server) -> Oracle:
        """Return the one for a run."""
        return cls(server, [known(law, part) for part in (0, 1)])

    def __attrs_post_init__(self) -> None:
        self._tell(self.laws[0])

    def _tell(self, law: Durations) -> None:
        if law._hazard is not self._hazard:
            self._hazard, self._pace, self.ends = law._hazard, None, law.ends
            self.version += 1

    def _table(self) -> list[float]:
        return self._hazard

    def ended(self, since: float, age: float) -> None:  # noqa: ARG002  it knows already
        """See whether the law has shifted."""
        half = self.server.tracks // 2
        begun, early = len(self.server.ends), self.server.noticed_early
        late = (begun - half) - (len(self.server.noticed) - early)
        self._tell(self.laws[late > half - early])

    def unfinished(self, since: float, age: float) -> None:
        """Learn nothing."""


@cache
def known(law: str, part: int) -> Durations:
    """Return what 5,000 tasks teach, of the first or the second half of a catalog, all of the same weight."""
    durations, rng = Durations(), random.Random("oracle")
    for number in range(5000):
        durations.ended(0.0, LAWS[TOLD.get(law, law)](rng, number + 5000 * part, 10_000))
        durations._weight = 1.0
    durations.hazard(1.0)
    return durations


async def ours(server: Server, cap: int, oracle: Oracle | None, said: Said | None = None) -> None:
    """Convert a catalog with the client; a single track with `generate`."""
    hooks: list[Any] = [said] if said else []
    client = SunoVideoClient(
        api_key=KEY, base_url="http://127.0.0.1:1", transport=server, max_in_flight=cap, rate=RATE, hooks=hooks
    )
    async with client:
        if oracle is not None:
            running = client._running
            assert running is not None
            running.watcher.schedule.durations = oracle
        if server.tracks == 1:
            await client.generate(Track(task_id="music", suno_id="suno_0"))
            return
        options = Options(output_dir=None, task_timeout=1e6, retry_failed=0, rebuy_changed=False, max_credits=None)
        rows = (Track(task_id="music", suno_id=f"suno_{number}") for number in range(server.tracks))
        async with Conversion(client, rows, Books(SqliteLedger(None), inline), options) as outcomes:
            async for _ in outcomes:
                pass


async def fixed(server: Server, cap: int, interval: float = 5.0) -> None:
    """Poll each task every 5 s, behind our own limiter."""
    limiter, slots = Limiter(RATE), asyncio.Semaphore(cap)

    async def call(operation: Operation, task_id: str | None = None) -> dict[str, Any]:
        place = await limiter.acquire()
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
    law: str
    tracks: int
    cap: int
    seed: int
    latency: float = LATENCY


def run(job: Job) -> dict[str, Any]:
    """Carry out one run in virtual time."""
    server = Server(LAWS[job.law], job.tracks, job.seed, job.latency)
    said = Said(server)
    if job.who == "fixed":
        main = fixed(server, job.cap)
    elif job.who == "progress":
        main = ours(server, job.cap, None, said)
    else:
        main = ours(server, job.cap, Oracle.of(job.law, server) if job.who == "oracle" else None)
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main)
    return server.report() | {"said": said.shares}


@frozen
class Chosen:
    """What is asked for on the command line; no rows or cases are all of them."""

    quick: bool
    latency: float
    rows: Sequence[str]
    cases: Sequence[str]

    def row(self, tracks: int, cap: int) -> bool:
        """Whether a row is asked for."""
        return not self.rows or f"{tracks}/{cap}" in self.rows


def medians(pool: Any, seeds: int, *job: Any) -> dict[str, float]:
    """Return the median of each figure over the seeds; the worst of what must not happen at all."""
    who, law, tracks, cap, latency = job
    reports = pool.map(run, [Job(who, law, tracks, cap, seed, latency) for seed in range(seeds)])
    found = {name: statistics.median(r[name] for r in reports) for name in reports[0] if name != "said"}
    worst = {name: max(r[name] for r in reports) for name in ("refused", "lost")}
    worst["of_bound_most"] = max(r["of_bound"] for r in reports)
    worst["requests_most"] = max(r["requests_a_track"] for r in reports) * tracks
    return found | worst


@frozen
class Gate:
    """What a row of the gate must come to."""

    tracks: int
    cap: int
    seeds: int
    of_bound: float
    notice: float
    requests_a_track: float


GATES = (
    Gate(1000, 1000, 20, 1.03, 60.0, 2.1),
    Gate(1000, 100, 20, 1.18, 40.0, 2.25),
    Gate(10, 100, 200, math.inf, 2.0, math.inf),
    Gate(1, 100, 200, math.inf, 1.0, math.nextafter(40.0, 0.0)),  # under 40
)


def _share(of_bound: float) -> str:
    return f"{of_bound:.3f}" if of_bound else "-"


def gate(pool: Any, chosen: Chosen) -> tuple[list[dict[str, Any]], list[str]]:
    """Measure the rows of the gate; return them, and what was missed."""
    rows, missed = list[dict[str, Any]](), list[str]()
    print(
        f"{'tracks':>7} {'cap':>5} {'who':>6} {'of bound':>9} {'noticed':>9} {'p90':>7} {'requests':>9}"
        f" {'at most':>8} 429 lost"
    )
    for goal in GATES:
        if not chosen.row(goal.tracks, goal.cap):
            continue
        seeds = max(3, goal.seeds // 10) if chosen.quick else goal.seeds
        for who in ("ours", "fixed"):
            found = medians(pool, seeds, who, "usual", goal.tracks, goal.cap, chosen.latency)
            rows.append({"who": who, "tracks": goal.tracks, "cap": goal.cap, "seeds": seeds, **found})
            print(
                f"{goal.tracks:>7} {goal.cap:>5} {who:>6} {_share(found['of_bound']):>9} {found['notice']:>7.1f} s"
                f" {found['notice_p90']:>5.0f} s {found['requests_a_track']:>9.3f} {found['requests_most']:>8.0f}"
                f" {found['refused']:>3.0f} {found['lost']:>4.0f}",
                flush=True,
            )
            if who == "ours":
                bounds = {"of_bound": goal.of_bound, "notice": goal.notice, "refused": 0, "lost": 0}
                bounds["requests_a_track"] = goal.requests_a_track
                name = f"{goal.tracks} tracks, cap {goal.cap}"
                missed += [
                    f"{name}: {key} is {found[key]:.3f}, not {most:g}"
                    for key, most in bounds.items()
                    if found[key] > most
                ]
    return rows, missed


def laws(pool: Any, chosen: Chosen) -> tuple[list[dict[str, Any]], list[str]]:
    """Measure other laws beside the oracle; return the rows, and what was missed."""
    rows, missed = list[dict[str, Any]](), list[str]()
    print(
        f"\n{'law':>12} {'cap':>5} {'of bound':>9} {'worst':>6} {'oracle':>7} {'ratio':>6}"
        f" {'noticed':>9} {'oracle':>8} {'ratio':>6} a track"
    )
    for law in chosen.cases or LAWS:
        for cap in (1000, 100):
            if not chosen.row(1000, cap):
                continue
            seeds = 3 if chosen.quick else 5
            mine, best = (medians(pool, seeds, who, law, 1000, cap, chosen.latency) for who in ("ours", "oracle"))
            ratio, notice = mine["of_bound"] / best["of_bound"], mine["notice"] / best["notice"]
            rows.append(
                {"law": law, "cap": cap, "ratio": ratio, "notice_ratio": notice, "ours": mine, "oracle": best}
            )
            print(
                f"{law:>12} {cap:>5} {mine['of_bound']:>9.3f} {mine['of_bound_most']:>6.2f}"
                f" {best['of_bound']:>7.3f} {ratio:>6.3f} {mine['notice']:>7.1f} s {best['notice']:>6.1f} s"
                f" {notice:>6.2f} {mine['requests_a_track']:>7.3f}",
                flush=True,
            )
            if cap == 1000 and ratio > 1.35:
                missed.append(f"{law}: {ratio:.2f} times the oracle's makespan, not 1.35")
            elif ratio > 1.35:
                print(f"    beside the gate: {ratio:.2f} times the oracle's makespan at cap {cap}")
            if mine["refused"] or mine["lost"]:
                missed.append(f"{law}: refused {mine['refused']}, lost {mine['lost']}")
    return rows, missed


def progress(pool: Any, chosen: Chosen) -> tuple[list[dict[str, Any]], list[str]]:
    """Compare what updates said with the truth, in tenths."""
    seeds = range(2 if chosen.quick else 6)
    jobs = [Job("progress", "usual", 300, cap, seed, chosen.latency) for cap in (20, 50) for seed in seeds]
    tenths: dict[int, list[float]] = {}
    for report in pool.map(run, jobs):
        for said, over in report["said"]:
            tenths.setdefault(min(int(said * 10), 9), []).append(over)
    rows, missed = list[dict[str, Any]](), list[str]()
    print(f"\n{'progress said':>14} {'truly over':>11} {'moments':>8}")
    for tenth, shares in sorted(tenths.items()):
        mean = statistics.fmean(shares)
        rows.append({"said": tenth / 10 + 0.05, "over": mean, "moments": len(shares)})
        print(f"{tenth * 10:>7} to {tenth * 10 + 10:<3} {100 * mean:>9.1f} % {len(shares):>8}")
        if len(shares) > 100 and abs(mean - tenth / 10 - 0.05) > 0.1:
            missed.append(f"progress of {tenth * 10} to {tenth * 10 + 10} % meant {100 * mean:.0f} %")
    return rows, missed


def sockets(tracks: int, scale: float, runs: int) -> list[dict[str, Any]]:
    """Convert over real sockets, beside the two hand-written scripts; those are cut after three minutes."""
    rows = list[dict[str, Any]]()
    print(f"\n{'who':>12} {'done':>5} {'lost':>5} {'charged':>8} {'requests':>9} {'429':>6} {'of bound':>9} cut")
    for name in ("ours", "handwritten", "limited"):
        found = [over_sockets(name, tracks, scale, seed) for seed in range(runs)]
        cut = sum(bool(one.pop("cut")) for one in found)
        # What a script that was cut had done is not known; the books are then those of the moment of the cut.
        keys = sorted(set[str]().union(*found))
        row = {key: statistics.median(one[key] for one in found if key in one) for key in keys}
        rows.append({"who": name, "runs": runs, "cut": cut, **row})
        done, lost = (f"{row[key]:.0f}" if key in row else "-" for key in ("done", "lost"))
        print(
            f"{name:>12} {done:>5} {lost:>5} {row['charged']:>8.0f} {row['requests']:>9.0f}"
            f" {row['refused']:>6.0f} {row['of_bound']:>9.2f} {cut:>3}",
            flush=True,
        )
    return rows


def over_sockets(name: str, tracks: int, scale: float, seed: int) -> dict[str, float]:
    """Return the server's books after one run."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        file = folder / "catalog.csv"
        catalog.write_catalog(file, range(tracks))
        with catalog.server(folder, time_scale=scale, seed=seed, faults="", median=65) as at:
            said = _peer(name, at, file, scale)
            books = at.stats()
    seconds = books["last_request_at"] - books["first_request_at"]
    ended = {} if said is None else {"done": said["done"], "lost": tracks - said["done"]}
    return {
        **ended,
        "cut": said is None,
        "charged": books["charged"],
        "requests": sum(books["requests"].values()),
        "refused": books["refused"].get("429", 0),
        "of_bound": seconds / ((2 * tracks / 20 - 1) * 10),
    }


def _peer(name: str, at: catalog.Server, file: Path, scale: float) -> dict[str, Any] | None:
    """Return what one of the three said; None where a script was cut."""
    if name == "ours":
        return catalog.ours(at, file, scale)
    try:
        return catalog.handwritten(at, file, scale, f"{name}.py", CUT)
    except subprocess.TimeoutExpired:
        return None


TABLES = {"gate": gate, "laws": laws, "progress": progress}


def main() -> int:
    """Print the tables; return 1 where a figure is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few seeds")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--only", nargs="*", choices=sorted(TABLES), default=list(TABLES))
    rows = [f"{goal.tracks}/{goal.cap}" for goal in GATES]
    parser.add_argument("--rows", nargs="*", choices=rows, default=[], help="only these: tracks/cap")
    parser.add_argument("--cases", nargs="*", choices=list(LAWS), default=[], help="only these laws")
    parser.add_argument("--latency", type=float, default=LATENCY, help="seconds each way")
    parser.add_argument("--sockets", action="store_true", help="also over real sockets")
    parser.add_argument("--tracks", type=int, default=1000, help="of the runs over real sockets")
    parser.add_argument("--runs", type=int, default=3, help="over real sockets")
    args = parser.parse_args()
    chosen = Chosen(args.quick, args.latency, args.rows, args.cases)
    results, missed = dict[str, Any](), list[str]()
    with get_context("fork").Pool(args.jobs) as pool:
        for name in args.only:
            results[name], some = TABLES[name](pool, chosen)
            missed += some
    if args.sockets:
        results["sockets"] = sockets(args.tracks, 50.0, args.runs)
    print(json.dumps({"pacing": results}))
    for line in missed:
        print("missed:", line)
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
