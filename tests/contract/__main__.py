"""Lets schemathesis call a local server by the contract that it serves, at random and along the links.

Usage: python -m tests.contract [OPTION of `schemathesis run`]... (`nox -s contract` brings it)
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from suno_video_async.testing import serve

#: Test cases of an operation in each phase.
EXAMPLES = 60
#: With refusals in an HTTP 200, what checks that a bad call is refused by its status has nothing to look at.
BY_STATUS = ("negative_data_rejection", "missing_required_header", "ignored_auth", "ensure_resource_availability")


def check(arguments: Sequence[str], *, http_refusals: bool) -> bool:
    """Check a new server; return whether it did everything right, and all calls were made."""
    with serve(
        http_refusals=http_refusals, rate=None, credits=1e9, max_running=1_000_000, render_seconds=600
    ) as server:
        command = [
            *(str(Path(sys.executable).with_name("schemathesis")), "run", f"{server.url}/openapi.json"),
            *("--header", f"x-api-key: {server.api_key}", "--max-examples", str(EXAMPLES)),
            *("--continue-on-failure", "--no-color"),
            *(() if http_refusals else ("--exclude-checks", ",".join(BY_STATUS))),
            *arguments,
        ]
        print(f"A server that refuses by {'HTTP status' if http_refusals else 'code in an HTTP 200'}:", flush=True)
        code = subprocess.run(command, check=False).returncode
        books = server.stats()
    answered = books["requests"]["TaskInfo"] - books["refused"].get("404", 0)
    print(f"requests {books['requests']}, refused {books['refused']}, tasks {books['tasks']}\n", flush=True)
    return code == 0 and books["tasks"] > 0 and answered > 0


def main(arguments: Sequence[str]) -> int:
    """Check a server that refuses by HTTP status, and one that refuses in an HTTP 200."""
    went_well = [check(arguments, http_refusals=by_status) for by_status in (True, False)]
    return 0 if all(went_well) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
