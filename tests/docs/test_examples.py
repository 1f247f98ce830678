"""The examples of the documentation and of the README run as they stand there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from unittest import SkipTest

import coverage
import pytest
from sybil.example import SybilFailure

from suno_video_async import SystemClock, client
from suno_video_async.observability.log import logger
from suno_video_async.testing import VideoServer, serve
from tests.docs.examples import ROOT, Runner, environment
from tests.support.forking import forking

SCALE = 50.0
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
#: The one command that a second run refuses: the row is not unknown any more.
ONCE = "suno-video unknown resend"
#: Not the track of the example before it, whose ledger is in the same folder.
CATALOG = "task_id,suno_id,author\ntask_harbour01,suno_another_track,Ava\n"


def name_of(page: Path) -> str:
    """Return what a page is called in a test's id."""
    return page.relative_to(ROOT).as_posix()


@pytest.fixture(autouse=True)
def the_log_as_it_was() -> Iterator[None]:
    """Take back what an example does to the log."""
    handlers, level = list(logger.handlers), logger.level
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)


@pytest.fixture
def server() -> Iterator[VideoServer]:
    """A server in a thread of its own: examples bring their own event loops."""
    with serve(render_seconds=20, time_scale=SCALE) as server:
        yield server


@pytest.fixture(scope="module")
def forked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sequence[str]]:
    """Return what runs Python as a fork; nothing if each process is measured from its start."""
    if coverage.Coverage.current() is not None:
        yield ()
        return
    with forking(tmp_path_factory.mktemp("forking")) as forked:
        yield forked


@pytest.fixture
def run(server: VideoServer, forked: Sequence[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    """A runner in a folder of its own, its key and base URL in the environment."""
    home, folder = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CRUN_BASE_URL", server.url)
    monkeypatch.setenv("CRUN_API_KEY", server.api_key)
    monkeypatch.setattr(client, "SystemClock", partial(SystemClock, SCALE))
    return Runner(folder, environment(home, server.url, server.api_key, forked))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_examples_run_and_pay_once(page: Path, run: Runner, server: VideoServer) -> None:
    """Every example of a page does what the page says, and buys no track again when the page is run once more."""
    if page == README:
        (run.folder / "catalog.csv").write_text(CATALOG, encoding="utf-8")
    for example in run.parse(page):
        with suppress(SkipTest):  # one block is left out, and says why
            example.evaluate()
    bought = server.stats()["charged_by_track"]
    for example in run.parse(page):
        if example.region.lexemes.get("arguments") == "output":
            continue  # a second run prints something else
        with suppress(SkipTest, *([SybilFailure] if ONCE in example.parsed else [])):
            example.evaluate()
    assert server.stats()["charged_by_track"] == bought


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_what_is_left_out_says_why(page: Path) -> None:
    """A block that does not run has a reason beside it."""
    skips = re.findall(r"<!-- skip: (.*?) -->", page.read_text(encoding="utf-8"))
    assert [skip for skip in skips if not re.fullmatch(r'next "\w.+"', skip)] == []


def test_examples_stand_on_pages_only() -> None:
    """No docstring has a block of code: none would be run here, nor run twice."""
    found = [
        f"{path.relative_to(ROOT)}: {getattr(node, 'name', 'the module')}"
        for path in (ROOT / "suno_video_async").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and re.search(r">>> |^\s*```|::\n|^\s*\.\. code", ast.get_docstring(node) or "", re.MULTILINE)
    ]
    assert found == []
