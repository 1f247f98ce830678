"""What all tests share: no environment of the user's, and no blocking call on the event loop."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import coverage
import hypothesis  # noqa: F401  loaded before anything is frozen: it looks for who refers to what it is given
import pytest
from blockbuster import BlockBuster

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler import Scheduling

TESTS = Path(__file__).resolve().parent
#: A project of its own, whose tests are run as such.
collect_ignore = ["example_project"]


def pytest_configure() -> None:
    """Keep what is compiled, whatever PYTHONDONTWRITEBYTECODE says: hundreds of processes import the package."""
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Collect, and keep all that is loaded out of the rounds of the garbage collector: it is there to stay."""
    gc.disable()
    try:
        if [Path(argument).resolve() for argument in session.config.args] == [TESTS]:
            compile_a_part(**getattr(session.config, "workerinput", {}))
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def compile_a_part(workerid: str = "gw0", workercount: int = 1, **_: object) -> None:
    """Import all tests in an order of this worker's own: what is not compiled yet is compiled by one of them."""
    if workercount == 1:
        return
    names = [
        ".".join(path.relative_to(TESTS.parent).with_suffix("").parts) for path in sorted(TESTS.rglob("test_*.py"))
    ]
    first = len(names) * int(workerid.removeprefix("gw")) // workercount
    for name in names[first:] + names[:first]:
        if not name.startswith("tests.example_project"):
            with contextlib.suppress(Exception, pytest.skip.Exception):  # collecting it says what is wrong
                importlib.import_module(name)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Let `-n auto` be two workers a core: half of the time is spent waiting for processes."""
    return 2 * (os.cpu_count() or 1)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    """Give each worker tests that stand together and share fixtures; one that is done takes some of another's."""
    from xdist.scheduler import WorkStealingScheduling  # noqa: PLC0415  workers have no use for it

    return WorkStealingScheduling(config, log) if config.getoption("dist") == "load" else None


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


@pytest.fixture(scope="session")
def blocking_calls() -> BlockBuster:
    """Know all blocking calls, and where they are allowed: finding them takes longer than most tests."""
    blockbuster = BlockBuster("suno_video_async")
    for name, function in blockbuster.functions.items():
        if name.startswith("sqlite3."):  # a ledger in memory runs in place; one in a file never does
            function.can_block_in("suno_video_async/_util/aio.py", {"inline", "in_place"})
        for drawing in ("_needed", "_draw"):  # an import, and writes to a terminal
            function.can_block_in("suno_video_async/progress.py", drawing)
    return blockbuster


@pytest.fixture(autouse=True)
def no_blocking_calls(blocking_calls: BlockBuster) -> Iterator[BlockBuster]:
    """Fail where library code blocks the event loop."""
    allowed = {name: [*function.can_block_functions] for name, function in blocking_calls.functions.items()}
    blocking_calls.activate()
    try:
        if coverage.Coverage.current() is not None:  # which takes a lock of its own, as if the measured line did
            blocking_calls.functions["threading.Lock.acquire"].deactivate()
        yield blocking_calls
    finally:
        blocking_calls.deactivate()
        for name, function in blocking_calls.functions.items():
            function.can_block_functions[:] = allowed[name]
