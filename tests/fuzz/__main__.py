"""Fuzz the parsers of text from outside: `python -m tests.fuzz [--seconds N] [--engine NAME] [--keep] [TARGET…]`.

Each target gets N seconds from Hypothesis, which varies known inputs, and N from atheris, which follows the
branches that an input reaches; where atheris is not installed, only the former. What a parser does not survive is
printed.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, TypeAlias

from tests.fuzz.inputs import vary
from tests.fuzz.targets import TARGETS, keep, kept

#: Inputs are at most so long; what takes long to read is looked for by tests/fuzz/test_fuzz.py.
LONGEST = 4096
#: Seconds that one input may take.
SLOWEST = 10
#: A file, and two lines of it that follow one another.
Step: TypeAlias = tuple[str, int, int]
#: Inputs that are kept for each target, and how long each may be.
KEPT, KEPT_LENGTH = 60, 600


def by_hypothesis(name: str, seconds: float) -> tuple[int, str | None]:
    """Return how many inputs were tried, and what one of them raised."""
    end, tried, round_ = time.monotonic() + seconds, 0, 0
    while time.monotonic() < end:
        round_ += 1
        count, problem = vary(TARGETS[name], [*TARGETS[name].seeds, *kept(name)], seed=round_, end=end)
        tried += count
        if problem is not None:
            return tried, problem
    return tried, None


def by_atheris(name: str, seconds: float, *, keeping: bool) -> tuple[int, str | None]:
    """Return how many inputs were tried, and what one of them raised."""
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder, "corpus")
        corpus.mkdir()
        for number, seed in enumerate([*TARGETS[name].seeds, *kept(name)]):
            (corpus / str(number)).write_bytes(seed)
        options = (
            f"-max_len={LONGEST}",
            f"-timeout={SLOWEST}",
            f"-artifact_prefix={folder}/",
            "-rss_limit_mb=1024",
        )
        done = _child(name, corpus, f"-max_total_time={round(seconds)}", "-print_final_stats=1", *options)
        tried = [int(line.split()[-1]) for line in done.stderr.splitlines() if "number_of_executed_units" in line]
        if done.returncode != 0:
            found = [path.read_bytes() for path in Path(folder).iterdir() if path.is_file()]
            return sum(tried), f"{found[:1]!r}\n{done.stdout[-3000:]}{done.stderr[-1500:]}"
        if keeping:
            keep(name, reduced(name, [path.read_bytes() for path in corpus.iterdir()]))
        return sum(tried), None


def reduced(name: str, inputs: Iterable[bytes]) -> list[bytes]:
    """Return the inputs that reach a step from line to line which no shorter one and none of the seeds does."""
    known, kept_ones = set[Step](), list[bytes]()
    for data in TARGETS[name].seeds:
        known |= steps(TARGETS[name].run, data)
    for data in sorted(set(inputs), key=lambda one: (len(one), one)):
        if len(data) <= KEPT_LENGTH and len(kept_ones) < KEPT:
            new = steps(TARGETS[name].run, data) - known
            known |= new
            if new:
                kept_ones.append(data)
    return kept_ones


def steps(run: Callable[[bytes], None], data: bytes) -> set[Step]:
    """Return the steps from line to line of the package that an input makes."""
    seen, before = set[Step](), dict[FrameType, int]()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if "suno_video_async" not in frame.f_code.co_filename:
            return None
        seen.add((frame.f_code.co_filename, before.get(frame, 0), frame.f_lineno))
        before[frame] = frame.f_lineno
        return trace

    sys.settrace(trace)
    try:
        run(data)
    finally:
        sys.settrace(None)
    return seen


def _child(name: str, corpus: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.fuzz.guided", name, str(corpus), *options]
    return subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz what is asked for, print a line for each target, and return 1 if a parser did not survive."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"default: all of {', '.join(TARGETS)}")
    parser.add_argument("--seconds", type=float, default=60, help="for each target and engine; default 60")
    parser.add_argument("--engine", choices=("hypothesis", "atheris"), help="default: both")
    parser.add_argument(
        "--keep", action="store_true", help="put inputs that reach something new into tests/fuzz/seeds"
    )
    options = parser.parse_args(arguments)
    if unknown := set(options.targets) - set(TARGETS):
        parser.error(f"no target {', '.join(sorted(unknown))}: choose of {', '.join(TARGETS)}")
    logging.disable(logging.CRITICAL)
    engines = [options.engine] if options.engine else ["hypothesis", "atheris"]
    if "atheris" in engines and importlib.util.find_spec("atheris") is None:
        print("atheris is not installed: Hypothesis only")
        engines.remove("atheris")
    failed = False
    for name in options.targets or TARGETS:
        for engine in engines:
            if engine == "atheris":
                tried, problem = by_atheris(name, options.seconds, keeping=options.keep)
            else:
                tried, problem = by_hypothesis(name, options.seconds)
            failed = failed or problem is not None
            print(f"{name:10} {engine:10} {tried:9} inputs {'FAILED' if problem else 'ok'}", flush=True)
            if problem is not None:
                print(problem, flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
