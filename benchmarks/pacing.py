"""How much of the rate limit a catalog uses, and how soon ended videos are noticed.

The real client, and one that polls at a fixed interval, convert catalogs in virtual time, against a model of the
API with the local server's own rate window (20 requests in 10 s) and a latency of 10 ms each way (`--latency`).
Times are model seconds, from the first to the last request that the server records; the bound is two requests
per track at the rate limit. In the row with a window of its own for reads (10 in 1 s) it is the latest end of a
track, if each was submitted at the earliest moment that the other window allows.

There are three tables: the gate (durations lognormal, median 65 s, sigma 0.35; `knows` is the same client, told
when each task ends: nothing can do better by asking), other distributions compared
with an oracle (the same client, given the true distribution at every moment), and the calibration of
`update.progress`. Over real sockets: `python -m benchmarks.sockets`.

Usage: python -m benchmarks.pacing [--quick] [--jobs 2] [--only gate distributions progress]
    [--rows 1000/100 1000/1000/reads] [--cases "2 % stuck"] [--latency 0.01]
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
import sys
from collections.abc import Sequence
from multiprocessing import get_context
from typing import Any

from attrs import frozen

from benchmarks.pacing_model import DISTRIBUTIONS, LATENCY, Job, run
from suno_video_async import RateLimit


@frozen
class Chosen:
    """The options of the command line; without rows or cases all are measured."""

    quick: bool
    latency: float
    rows: Sequence[str]
    cases: Sequence[str]

    def row(self, name: str) -> bool:
        """Whether a row is selected."""
        return not self.rows or name in self.rows


def medians(pool: Any, seeds: int, *job: Any) -> dict[str, float]:
    """Return the median of each figure over the seeds, and the worst of those that must be 0."""
    who, distribution, tracks, cap, *rest = job
    reports = pool.map(run, [Job(who, distribution, tracks, cap, seed, *rest) for seed in range(seeds)], 1)
    found = {name: statistics.median(r[name] for r in reports) for name in reports[0] if name != "said"}
    worst = {name: max(r[name] for r in reports) for name in ("refused", "lost")}
    worst["of_bound_most"] = max(r["of_bound"] for r in reports)
    worst["requests_most"] = max(r["requests_a_track"] for r in reports) * tracks
    return found | worst


@frozen
class Gate:
    """The bounds of a row of the gate."""

    tracks: int
    cap: int
    seeds: int
    of_bound: float
    notice: float
    requests_a_track: float
    read_rate: RateLimit | None = None

    @property
    def name(self) -> str:
        """The row's name on the command line."""
        return f"{self.tracks}/{self.cap}" + ("" if self.read_rate is None else "/reads")


GATES = (
    Gate(1000, 1000, 20, 1.025, 60.0, 2.1),
    Gate(1000, 100, 20, 1.155, 34.0, 2.25),
    Gate(1000, 1000, 20, 1.03, 5.0, math.inf, RateLimit(10, 1)),
    Gate(10, 100, 200, math.inf, 2.0, math.inf),
    Gate(1, 100, 200, math.inf, 1.0, math.nextafter(40.0, 0.0)),  # under 40
)


def _share(of_bound: float) -> str:
    return f"{of_bound:.3f}" if of_bound else "-"


def gate(pool: Any, chosen: Chosen) -> tuple[list[dict[str, Any]], list[str]]:
    """Measure the rows of the gate; return them, and what was missed."""
    rows, missed = list[dict[str, Any]](), list[str]()
    print(
        f"{'tracks':>7} {'cap':>5} {'who':>6}   {'of bound':>9} {'noticed':>9} {'p90':>7} {'requests':>9}"
        f" {'at most':>8} 429 lost"
    )
    for goal in GATES:
        if not chosen.row(goal.name):
            continue
        seeds = max(3, goal.seeds // 10) if chosen.quick else goal.seeds
        for who in (
            ("ours", "knows", "fixed") if goal.tracks == 1000 and goal.read_rate is None else ("ours", "fixed")
        ):
            found = medians(pool, seeds, who, "usual", goal.tracks, goal.cap, chosen.latency, goal.read_rate)
            reads = {} if goal.read_rate is None else {"read_rate": [goal.read_rate.requests, goal.read_rate.per]}
            rows.append({"who": who, "tracks": goal.tracks, "cap": goal.cap, **reads, "seeds": seeds, **found})
            apart = "/r" if reads else ""
            print(
                f"{goal.tracks:>7} {goal.cap:>5} {who:>6}{apart:2} {_share(found['of_bound']):>9}"
                f" {found['notice']:>7.1f} s"
                f" {found['notice_p90']:>5.0f} s {found['requests_a_track']:>9.3f} {found['requests_most']:>8.0f}"
                f" {found['refused']:>3.0f} {found['lost']:>4.0f}",
                flush=True,
            )
            if who == "ours":
                bounds = {"of_bound": goal.of_bound, "notice": goal.notice, "refused": 0, "lost": 0}
                bounds["requests_a_track"] = goal.requests_a_track
                name = f"{goal.tracks} tracks, cap {goal.cap}" + (", reads apart" if reads else "")
                missed += [
                    f"{name}: {key} is {found[key]:.3f}, not {most:g}"
                    for key, most in bounds.items()
                    if found[key] > most
                ]
    return rows, missed


def distributions(pool: Any, chosen: Chosen) -> tuple[list[dict[str, Any]], list[str]]:
    """Measure other distributions, with the client and the oracle; return the rows, and what was missed."""
    rows, missed = list[dict[str, Any]](), list[str]()
    print(
        f"\n{'distribution':>12} {'cap':>5} {'of bound':>9} {'worst':>6} {'oracle':>7} {'ratio':>6}"
        f" {'noticed':>9} {'oracle':>8} {'ratio':>6} a track"
    )
    for distribution in chosen.cases or DISTRIBUTIONS:
        for cap in (1000, 100):
            if not chosen.row(f"1000/{cap}"):
                continue
            seeds = 3 if chosen.quick else 5
            mine, best = (
                medians(pool, seeds, who, distribution, 1000, cap, chosen.latency) for who in ("ours", "oracle")
            )
            ratio, notice = mine["of_bound"] / best["of_bound"], mine["notice"] / best["notice"]
            rows.append(
                {
                    "distribution": distribution,
                    "cap": cap,
                    "ratio": ratio,
                    "notice_ratio": notice,
                    "ours": mine,
                    "oracle": best,
                }
            )
            print(
                f"{distribution:>12} {cap:>5} {mine['of_bound']:>9.3f} {mine['of_bound_most']:>6.2f}"
                f" {best['of_bound']:>7.3f} {ratio:>6.3f} {mine['notice']:>7.1f} s {best['notice']:>6.1f} s"
                f" {notice:>6.2f} {mine['requests_a_track']:>7.3f}",
                flush=True,
            )
            if cap == 1000 and ratio > 1.35:
                missed.append(f"{distribution}: {ratio:.2f} times the oracle's makespan, not 1.35")
            elif ratio > 1.35:
                print(f"    beside the gate: {ratio:.2f} times the oracle's makespan at cap {cap}")
            if mine["refused"] or mine["lost"]:
                missed.append(f"{distribution}: refused {mine['refused']}, lost {mine['lost']}")
    return rows, missed


def progress(pool: Any, chosen: Chosen) -> tuple[list[dict[str, Any]], list[str]]:
    """Compare reported progress with the truth, in tenths."""
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


TABLES = {"gate": gate, "distributions": distributions, "progress": progress}


def main() -> int:
    """Print the tables; return 1 if a figure is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few seeds")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--only", nargs="*", choices=sorted(TABLES), default=list(TABLES))
    rows = [goal.name for goal in GATES]
    parser.add_argument("--rows", nargs="*", choices=rows, default=[], help="only these: tracks/cap[/reads]")
    parser.add_argument(
        "--cases", nargs="*", choices=list(DISTRIBUTIONS), default=[], help="only these distributions"
    )
    parser.add_argument("--latency", type=float, default=LATENCY, help="seconds each way")
    args = parser.parse_args()
    chosen = Chosen(args.quick, args.latency, args.rows, args.cases)
    results: dict[str, Any] = {"python": platform.python_version()}
    missed = list[str]()
    with get_context("fork").Pool(args.jobs) as pool:
        for name in args.only:
            results[name], some = TABLES[name](pool, chosen)
            missed += some
    print(json.dumps({"pacing": results}))
    for line in missed:
        print("missed:", line)
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
