"""What an import loads, and what it leaves for later."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import suno_video_async

#: What belongs to extras; none of it may be loaded by the core.
EXTRAS = {"PIL", "av", "bidi", "click", "numpy", "opentelemetry", "rich", "starlette", "uharfbuzz"}
#: What belongs to catalogs, ledgers and failures, in the package and around it.
LATER = {"csv", "sqlite3", "suno_video_async.engine", "suno_video_async.ledger.sqlite", "tenacity"}


def loaded_by(code: str) -> set[str]:
    """Return the modules that a fresh process has loaded after running `code`."""
    # Whoever measures this process has loaded modules of its own.
    code = f"import sys; before = set(sys.modules)\n{code}\n"
    code += "import json; print(json.dumps([*{*sys.modules} - before]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_the_core_loads_nothing_of_the_extras() -> None:
    """All public names together need only the core's dependencies."""
    assert not loaded_by("from suno_video_async import *") & EXTRAS


def test_an_import_of_the_client_leaves_the_rest_for_later() -> None:
    """Who imports the client does not pay for catalogs, ledgers and backing off."""
    assert not loaded_by("from suno_video_async import SunoVideoClient, Track") & LATER


def test_names_that_come_later_are_those_that_type_checkers_see() -> None:
    """The table of homes says what the imports for type checkers say."""
    tree = ast.parse(Path(suno_video_async.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {
        name.name: (node.module or "").removeprefix("suno_video_async.")
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }
    assert seen == vars(suno_video_async)["_HOMES"]


def test_the_version_is_that_of_the_distribution() -> None:
    """What the package says of itself is what pip shows."""
    assert suno_video_async.__version__ == metadata.version("suno-video-async")


def test_dir_names_what_comes_later() -> None:
    """Completion in a shell offers every public name before it was asked for."""
    code = "import suno_video_async as s; assert set(s.__all__) <= set(dir(s)), set(s.__all__) - set(dir(s))"
    loaded_by(code)


def test_a_misspelt_name_is_an_attribute_error() -> None:
    """What is no public name is refused as Python refuses it."""
    with pytest.raises(AttributeError, match=r"module 'suno_video_async' has no attribute 'SunoVideoCleint'"):
        _ = suno_video_async.SunoVideoCleint  # type: ignore[attr-defined]


def test_what_comes_later_does_not_trip_a_guard_against_blocking() -> None:
    """A client that is opened under blockbuster, in a process that has loaded nothing yet, may load the rest."""
    loaded_by(
        """
import asyncio
from blockbuster import blockbuster_ctx
from suno_video_async import NO_LEDGER, SunoVideoClient

async def main():
    async with SunoVideoClient(api_key="ak_" + "0" * 32, base_url="http://127.0.0.1:9") as client:
        async with client.convert([], ledger=NO_LEDGER) as outcomes:
            assert [outcome async for outcome in outcomes] == []
        client.unknowns("ledger.db")

with blockbuster_ctx("suno_video_async") as blockbuster:
    for name, function in blockbuster.functions.items():
        if name.startswith("sqlite3."):  # a ledger in memory runs in place
            function.can_block_in("suno_video_async/_util/aio.py", {"inline", "in_place"})
    asyncio.run(main())
"""
    )


#: What a command imports only once it runs.
HEAVY = {"aiohttp", "anyio", "sqlite3", "suno_video_async.client", "tenacity"}
#: What help needs beside `click`: less than any of these.
HEAVIER_THAN_HELP = HEAVY | {"asyncio", "attr", "importlib.metadata", "logging", "rich"}
COMMAND = """
import contextlib, io
sys.argv[:] = ["suno-video", *{words!r}]
from suno_video_async.cli import main
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    with contextlib.suppress(SystemExit):
        main()
"""


@pytest.mark.parametrize("words", ["--help", "--version", ""])
def test_help_imports_little_beside_click(words: str) -> None:
    """The list of commands and the version are there without any of the commands."""
    assert not loaded_by(COMMAND.format(words=words.split())) & HEAVIER_THAN_HELP


VERBS = (
    "convert",
    "doctor",
    "login",
    "unknown list",
    "serve",
    "submit",
    "render",
    "report",
    "demo",
    "listen",
    "plan",
)


def test_help_and_mistakes_import_no_client() -> None:
    """A command's help, and what is said about a mistake in its options, need nothing that it runs with."""
    asked = [[*verb.split(), word] for verb in VERBS for word in ("--help", "--no-such-option")] + [["covnert"]]
    assert not loaded_by("\n".join(COMMAND.format(words=words) for words in asked)) & HEAVY


def test_completion_imports_no_client() -> None:
    """What a shell asks at each Tab is answered from the options alone."""
    code = "import os; os.environ['_SUNO_VIDEO_COMPLETE'] = 'bash_complete'\n"
    for words, number in (("suno-video con", "1"), ("suno-video convert --ra", "2"), ("suno-video unknown ", "2")):
        code += f"os.environ.update(COMP_WORDS={words!r}, COMP_CWORD={number!r})\n" + COMMAND.format(words=[])
    assert not loaded_by(code) & HEAVY


def test_the_pytest_plugin_imports_nothing_by_itself() -> None:
    """A run of pytest in which no fixture of ours is used imports no more of this package."""
    ours = {name for name in loaded_by("import suno_video_async.testing") if name.startswith("suno_video_async")}
    assert ours == {
        *("suno_video_async", "suno_video_async._startup", "suno_video_async._version", "suno_video_async.testing")
    }
