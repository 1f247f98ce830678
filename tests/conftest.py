"""What all tests share: no environment of the user's, and no blocking call on the event loop."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import coverage
import pytest
from blockbuster import BlockBuster, blockbuster_ctx

#: A project of its own, whose tests are run as such.
collect_ignore = ["example_project"]


def pytest_configure() -> None:
    """Keep what is compiled, whatever PYTHONDONTWRITEBYTECODE says: hundreds of processes import the package."""
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Let `-n auto` be two workers a core: half of the time is spent waiting for processes."""
    return 2 * (os.cpu_count() or 1)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    """Save what was measured while xdist still waits: it kills a worker that is 10 s late at its exit."""
    if (measuring := coverage.Coverage.current()) is not None:
        measuring.stop()
        measuring.save()


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Hide the user's key, base URL and home, so that no test can reach the real API."""
    for name in ("CRUN_API_KEY", "CRUN_BASE_URL", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path_factory.mktemp("home"))


@pytest.fixture(autouse=True)
def no_blocking_calls() -> Iterator[BlockBuster]:
    """Fail where library code blocks the event loop."""
    with blockbuster_ctx("suno_video_async") as blockbuster:
        for name, function in blockbuster.functions.items():
            if name.startswith("sqlite3."):  # a ledger in memory runs in place; one in a file never does
                function.can_block_in("suno_video_async/_util/aio.py", {"inline", "in_place"})
            for drawing in ("_needed", "_draw"):  # an import, and writes to a terminal
                function.can_block_in("suno_video_async/progress.py", drawing)
        if coverage.Coverage.current() is not None:  # which takes a lock of its own, as if the measured line did
            blockbuster.functions["threading.Lock.acquire"].deactivate()
        yield blockbuster
