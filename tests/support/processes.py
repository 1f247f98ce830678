"""A local server in a process of its own, as `suno-video serve` runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import frozen

import suno_video_async

ROOT = Path(suno_video_async.__file__).parent.parent
#: Seconds after which what a test waits for is taken to hang: far more than a busy machine needs.
PATIENCE = 300.0


@frozen
class ServerProcess:
    """A running server.

    Attributes:
        url: its address.
        key: the API key that it made up; empty if it was given one.

    """

    url: str
    key: str

    def stats(self) -> dict[str, Any]:
        """Return the server's own books."""
        return self._ask("stats")

    def tasks(self) -> list[dict[str, Any]]:
        """Return the TaskInfo data of all video tasks."""
        tasks: list[dict[str, Any]] = self._ask("tasks")["video"]
        return tasks

    def _ask(self, what: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/_local/{what}", timeout=PATIENCE) as answer:
            said: dict[str, Any] = json.load(answer)
        return said


@contextmanager
def child(*arguments: object, environment: Mapping[str, str] = os.environ) -> Iterator[subprocess.Popen[str]]:
    """Run a module of this checkout, without a proxy; it is ended with the block."""
    kept = {name: value for name, value in environment.items() if not name.lower().endswith("_proxy")}
    with subprocess.Popen(
        [sys.executable, "-m", *map(str, arguments)],
        env={**kept, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def server_process(*options: object) -> Iterator[ServerProcess]:
    """Serve on a free port, with the options of `suno-video serve`."""
    with child("suno_video_async", "serve", "--port", 0, *options) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said.startswith("listening on "), f"the server did not start; it said {said!r}"
        words = said.split()
        yield ServerProcess(url=words[2], key=words[-1] if "api key" in said else "")
