"""Processes of `suno-video work`, for tests and benchmarks that kill them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from attrs import frozen

from tests.support.ports import reserved_port
from tests.support.processes import PATIENCE, ROOT, child


class WorkerProcess:
    """A process of `suno-video work`, which downloads nothing.

    Args:
        database: the database's address.
        keys: its `keys.toml`.
        options: more of its command line.
        environment: what is added to the environment, such as the keys.

    """

    def __init__(self, database: str, keys: Path, *options: object, environment: Mapping[str, str]) -> None:
        command = [sys.executable, "-m", "suno_video_async", "work", "--keys", keys, "--no-download", "--json"]
        kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        self.process = subprocess.Popen(
            list(map(str, [*command, *options])),
            env={**kept, "PYTHONPATH": str(ROOT), "SUNO_VIDEO_DATABASE": database, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.outcomes, self.notes = list[dict[str, Any]](), list[str]()
        self._readers = [
            threading.Thread(target=self._read, args=(self.process.stdout, self._outcome)),
            threading.Thread(target=self._read, args=(self.process.stderr, self.notes.append)),
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: Any, take: Any) -> None:
        for line in stream:
            take(line)

    def _outcome(self, line: str) -> None:
        self.outcomes.append(json.loads(line))

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    @property
    def is_waiting(self) -> bool:
        """Whether it has found its key held by another one, last."""
        return bool(self.notes) and "waits for its turn" in self.notes[-1]

    def holds(self, holder: str | None) -> bool:
        """Whether it is the process that holds a ledger."""
        return f"process {self.process.pid} " in f"{holder} "

    def end(self, timeout: float = PATIENCE) -> int:
        """Wait until it has ended, and return its exit code."""
        code = self.process.wait(timeout)
        for reader in self._readers:
            reader.join()
        self.process.stdout.close()  # type: ignore[union-attr]
        self.process.stderr.close()  # type: ignore[union-attr]
        return code

    @property
    def summary(self) -> dict[str, int]:
        """What it said at its end."""
        found: dict[str, int] = self.outcomes[-1]["summary"]
        return found


@contextmanager
def workers() -> Iterator[list[WorkerProcess]]:
    """Yield a list of workers, which are all ended with the block."""
    started = list[WorkerProcess]()
    try:
        yield started
    finally:
        for worker in started:
            worker.process.kill()
            worker.end()


@frozen
class Receiver:
    """A process of `suno-video receive`.

    Attributes:
        url: where it takes callbacks.
        process: the process.

    """

    url: str
    process: subprocess.Popen[str]


@contextmanager
def receiving(database: str, url: str | None = None) -> Iterator[Receiver]:
    """Run `suno-video receive`, at a URL of this machine or at one that nothing listens on at present."""
    with ExitStack() as stack:
        if url is None:
            url = f"http://127.0.0.1:{stack.enter_context(reserved_port())}/callbacks"
        process = stack.enter_context(_receive(database, url))
        wait_until(lambda: process.poll() is not None or _listens(urlsplit(url).port))
        assert process.poll() is None, "it ended before it listened"
        yield Receiver(url, process)


def _receive(database: str, url: str) -> AbstractContextManager[subprocess.Popen[str]]:
    command = (
        "suno_video_async",
        "receive",
        "--callback-url",
        url,
        "--callback-port",
        urlsplit(url).port,
        "--json",
    )
    return child(*command, environment={**os.environ, "SUNO_VIDEO_DATABASE": database})


def _listens(port: int | None) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def wait_until(condition: Callable[[], object], seconds: float = PATIENCE) -> float:
    """Wait until something is so, and return how many seconds that took."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            raise TimeoutError(f"it did not come about in {seconds:g} s")
        time.sleep(0.02)
    return time.monotonic() - began
