"""All benchmarks but the long ones, one after the other: tables, `benchmarks/results.json` and plots.

Usage: python -m benchmarks [NAME ...]
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

#: What is run, and with which arguments.
ALL: dict[str, list[str]] = {
    "imports": [],
    "overhead": [],
    "cost": [],
    "hooks": [],
    "ledger": [],
    "pacing": [],
    "sockets": [],
    "auto": [],
    "shared": [],
    "following": [],
    "catalog": [],
    "reading": [],
    "callbacks": [],
    "faults": [],
    "render": ["--long", "7200"],
    "report": [],
}
RESULTS = Path(__file__).parent / "results.json"


def measure(name: str) -> dict[str, Any]:
    """Run one benchmark, show what it prints, and return its line of JSON."""
    print(f"\n== {name}", flush=True)
    found: dict[str, Any] = {}
    command = [sys.executable, "-m", f"benchmarks.{name}", *ALL[name]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith('{"'):  # and not a dict of Python's
                found = json.loads(line)
            else:
                print(line, end="", flush=True)
    if process.returncode:
        print(f"{name}: a figure was missed")
    # What a benchmark says beside its own figures (the ledger's "tracks", all of the renderer's) is part of them.
    figures = found[name] if set(found) == {name} else found
    return {name: {"held": process.returncode == 0, "figures": figures}}


def main() -> int:
    """Measure what is asked for, keep the rest of the results, and draw."""
    names = sys.argv[1:] or list(ALL)
    results: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    for name in names:
        results |= measure(name)
        RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return subprocess.run([sys.executable, "-m", "benchmarks.plots"], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
