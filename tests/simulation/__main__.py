"""`python -m tests.simulation`: one seed, or many."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing import get_context

from tests.simulation.plants import PLANTS, SHARED_PLANTS, planted
from tests.simulation.run import Report, cheap_garbage, simulate
from tests.simulation.scenario import Scenario
from tests.simulation.shared import simulate_shared
from tests.simulation.shared_scenario import SharedScenario


def main() -> int:
    """Run what the command line says; return 1 where a seed fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--seed", type=int, help="run one seed")
    which.add_argument("--seeds", default="0:1000", help="run the seeds FIRST:END")
    parser.add_argument("--shared", action="store_true", help="let workers share a ledger in PostgreSQL")
    parser.add_argument("--trace", action="store_true", help="print everything that happens")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the first failing seed")
    parser.add_argument(
        "--plant", choices=sorted({**PLANTS, **SHARED_PLANTS}), help="put a bug in, and see how many seeds find it"
    )
    options = parser.parse_args()
    with planted(options.plant):
        if options.seed is not None:
            return _one(options)
        first, _, end = options.seeds.partition(":")
        return _many(range(int(first), int(end)), options)


def _one(options: argparse.Namespace) -> int:
    seed: int = options.seed
    report = (simulate_shared if options.shared else simulate)(seed, trace=options.trace)
    if options.trace:
        print(SharedScenario.of(seed) if options.shared else Scenario.of(seed))
        print("\n".join(report.trace))
    print(f"seed {seed}: {report.violation or 'all holds'}")
    return report.violation is not None


def _many(seeds: range, options: argparse.Namespace) -> int:
    started, met, failed, count = time.monotonic(), Counter[str](), 0, 0
    slowest = (0.0, 0)
    for report in _reports(simulate_shared if options.shared else simulate, seeds, options.jobs):
        count += 1
        met += report.met
        slowest = max(slowest, (report.seconds, report.seed))
        if report.violation is not None:
            failed += 1
            print(f"seed {report.seed}: {report.violation}")
            shared = " --shared" if options.shared else ""
            print(f"  again: python -m tests.simulation{shared} --seed {report.seed} --trace", flush=True)
            if not options.keep_going:
                break
    minutes = (time.monotonic() - started) / 60
    for name, number in sorted(met.items()):
        print(f"{number:9,d}  {name}")
    print(f"the slowest seed is {slowest[1]}, with {slowest[0]:.1f} s")
    print(f"{count:,d} seeds, {failed} failed, {count / minutes:,.0f} a minute")
    return failed > 0


def _reports(run: Callable[[int], Report], seeds: range, jobs: int) -> Iterator[Report]:
    with cheap_garbage():
        if jobs == 1:
            yield from map(run, seeds)
            return
        with get_context("fork").Pool(jobs) as pool:  # forked: planted bugs go along
            yield from pool.imap(run, seeds, chunksize=10)


if __name__ == "__main__":
    sys.exit(main())
