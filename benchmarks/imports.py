"""What the import costs: the core against `import aiohttp` alone, each in fresh processes that alternate.

Seconds are the processor's, of the import statement itself, without the start of the interpreter: a busy machine
then moves both sides alike. The figure is the median of the ratios of the pairs.

Usage: python -m benchmarks.imports [--pairs 31]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys

MOST = 1.25
BARE = "import aiohttp"
#: What is imported, by its name in the table.
OURS = {
    "package": "import suno_video_async",
    "client": "from suno_video_async import SunoVideoClient, Track",
    "all names": "from suno_video_async import *",
}
#: The two that a program begins with are held; all names together are for comparison.
HELD = ("package", "client")
_TIMED = "import time; began = time.process_time(); {}\nprint(time.process_time() - began)"


def seconds(statement: str) -> float:
    """Return how long an import takes in a process of its own."""
    command = [sys.executable, "-c", _TIMED.format(statement)]
    # What is not compiled yet is kept by the first process, or each of them would compile it again.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    return float(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)


def compare(statement: str, pairs: int) -> dict[str, float]:
    """Return the medians of the two and of their ratios."""
    counted = list[tuple[float, float]]()
    for number in range(pairs + 1):
        first, second = (BARE, statement) if number % 2 else (statement, BARE)
        one, two = seconds(first), seconds(second)
        counted.append((one, two) if first is BARE else (two, one))
    del counted[0]  # it may have compiled what the others find compiled
    return {
        "aiohttp": statistics.median(bare for bare, _ in counted),
        "ours": statistics.median(ours for _, ours in counted),
        "ratio": statistics.median(ours / bare for bare, ours in counted),
    }


def main() -> int:
    """Print the table; return 1 where a ratio is over the most."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=31)
    args = parser.parse_args()
    results = {name: compare(statement, args.pairs) for name, statement in OURS.items()}
    print(f"{'import':>10} {'aiohttp ms':>10} {'ours ms':>8} {'ratio':>6}   (most {MOST})")
    for name, result in results.items():
        aiohttp, ours = result["aiohttp"] * 1000, result["ours"] * 1000
        print(f"{name:>10} {aiohttp:>10.1f} {ours:>8.1f} {result['ratio']:>6.3f}")
    print(json.dumps({"imports": results}))
    return int(any(results[name]["ratio"] > MOST for name in HELD))


if __name__ == "__main__":
    sys.exit(main())
