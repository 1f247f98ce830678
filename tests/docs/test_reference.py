"""The reference names everything that there is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import suno_video_async
from suno_video_async import local
from suno_video_async.cli.app import app
from suno_video_async.cli.exits import Exit
from suno_video_async.cli.group import whole
from suno_video_async.ledger.states import MOVES
from suno_video_async.local import LocalServer
from suno_video_async.local.faults import KINDS
from tests.docs.examples import ROOT

REFERENCE = ROOT / "docs" / "reference"
COMMAND_LINE, LOCAL_SERVER = REFERENCE / "command-line.md", REFERENCE / "local-server.md"
LEDGER = ROOT / "docs" / "explanation" / "ledger.md"


def text_of(*pages: Path) -> str:
    """Return what stands on pages."""
    return "\n".join(page.read_text(encoding="utf-8") for page in pages)


@pytest.mark.parametrize("name", sorted({*suno_video_async.__all__, *local.__all__}))
def test_every_public_name_has_an_entry(name: str) -> None:
    """Every name of an `__all__` is documented from its docstring."""
    assert re.search(rf"^\.\. auto\w+:: (\S+\.)?{name}\b", text_of(*REFERENCE.glob("*.md")), re.MULTILINE)


def verbs(group: click.Group, *path: str) -> Iterator[str]:
    """Yield the verbs of a group, and theirs."""
    for name, listed in group.commands.items():
        command = whole(listed)
        yield " ".join((*path, name))
        if isinstance(command, click.Group):
            yield from verbs(command, *path, name)


@pytest.mark.parametrize("verb", sorted(verbs(app)))
def test_every_command_is_shown(verb: str) -> None:
    """The help of every command is shown."""
    assert f".. command-help:: {verb}\n" in text_of(COMMAND_LINE)


@pytest.mark.parametrize("code", list(Exit))
def test_every_exit_code_is_explained(code: Exit) -> None:
    """The table of exit codes has a line for each."""
    assert f"\n| {code.value} | " in text_of(COMMAND_LINE)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_fault_is_explained(kind: str) -> None:
    """Each kind of fault is named."""
    assert re.search(rf"`{kind}(:\w)?`", text_of(LOCAL_SERVER))


async def test_every_figure_of_the_books_is_explained() -> None:
    """The table of `/_local/stats` has each of its fields."""
    async with LocalServer(render_seconds=1) as server:
        missing = [name for name in server.service.stats() if f"`{name}`" not in text_of(LOCAL_SERVER)]
    assert missing == []


def test_every_move_of_a_row_is_explained() -> None:
    """The table of moves has those of the code, made by the same, and no others."""
    lines = re.findall(r"^\| `(\w+)` \| `(\w+)` \| ([\w, ]+) \|", text_of(LEDGER), re.MULTILINE)
    shown = {(old, new): set(causes.split(", ")) for old, new, causes in lines}
    assert shown == {tuple(map(str, move)): set(map(str, causes)) for move, causes in MOVES.items()}
