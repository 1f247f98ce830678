"""The commands that a report gives can be pasted, and name what is there."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from attrs import evolve

from suno_video_async.cli.app import app
from suno_video_async.cli.group import whole
from suno_video_async.ledger.model import LedgerRow
from suno_video_async.ledger.states import State
from suno_video_async.models import MusicTaskId, SunoId, Track, VideoTaskId
from suno_video_async.report.commands import MOST_IDS, Commands, commands
from suno_video_async.report.facts import Facts, Item


def item(number: int = 1, *, location: str = "", path: Path | None = None, task: str | None = "v1") -> Item:
    """Return a row."""
    track = Track(task_id=MusicTaskId("m1"), suno_id=SunoId(f"s{number}"))
    known = None if task is None else VideoTaskId(task)
    return Item(
        row=LedgerRow(
            id=number, track=track, state=State.UNKNOWN, location=location, path=path, video_task_id=known
        )
    )


def facts(ledger: Path, *items: Item) -> Facts:
    """Return facts of some rows."""
    return Facts(ledger=ledger, provider="", at=0.0, items=items)


def test_words_are_quoted() -> None:
    """Names with spaces, quotes and dollars are one word each for a shell."""
    made = Commands(
        ledger="my $HOME/it's.db", catalog="a b.csv", output_dir="v;rm", base_url="https://x.test/?a&b"
    )
    assert shlex.split(made.convert("--retry-failed", "1")) == [
        *("suno-video", "convert", "a b.csv", "--ledger", "my $HOME/it's.db", "--retry-failed", "1"),
        *("--output-dir", "v;rm", "--base-url", "https://x.test/?a&b"),
    ]


@pytest.mark.parametrize("task", ["v1", "-v1", "--yes", "a b", "$(id)"])
def test_every_command_is_one_that_exists(task: str) -> None:
    """What the page says is understood by the command line, whatever the ids look like."""
    made = Commands(ledger="l.db", catalog="c.csv", output_dir="videos", base_url="http://127.0.0.1:1")
    row = item(3, task=task).row
    fetch = made.fetch([item(3, task=task)])
    assert fetch is not None
    for command in (*made.settle(row), made.list_unknown(), made.convert("--retry-failed", "2"), fetch):
        words = shlex.split(command)
        group = app
        assert words[0] == "suno-video"
        found = whole(app.commands[words[1]])
        rest = words[2:]
        if words[1] == "unknown":
            group = found  # type: ignore[assignment]
            found, rest = group.commands[words[2]], words[3:]
        context = found.make_context(words[1], list(rest), resilient_parsing=False)
        context.close()
        if words[1:3] == ["unknown", "adopt"]:
            assert (context.params["row"], context.params["task_id"]) == (3, task)


def test_an_unknown_row_without_a_task() -> None:
    """Where no task is known its place is kept in capitals."""
    adopt, _, _ = Commands(ledger="l.db", catalog="c.csv").settle(item(3, task=None).row)
    assert adopt.endswith("3 VIDEO_TASK_ID")


def test_the_catalog_is_found_beside_the_ledger(tmp_path: Path) -> None:
    """The catalog is the one that is named, else the one beside the ledger, else the one that rows name."""
    ledger = tmp_path / "songs.ledger.db"
    some = facts(ledger, item(1, location="other.csv, line 2"), item(2, location="track 7"))

    def named(found: Facts, catalog: Path | None = None) -> str:
        return commands(found, catalog=catalog, base_url=None).catalog

    assert named(some) == "other.csv"
    (tmp_path / "other.csv").touch()
    assert named(some) == str(tmp_path / "other.csv")
    (tmp_path / "songs.jsonl").touch()
    assert named(some) == str(tmp_path / "songs.jsonl")
    assert named(some, Path("mine.csv")) == "mine.csv"
    assert named(facts(tmp_path / "app.db", item(1, location="submit"))) == "CATALOG"


def test_the_folder_of_the_newest_video() -> None:
    """Videos go where the last one went; where none is on disk the command leaves that to its default."""
    some = facts(Path("l.db"), item(1, path=Path("old/a.mp4")), item(2, path=Path("new/b.mp4")), item(3))
    assert commands(some, catalog=None, base_url=None).output_dir == "new"
    assert "--output-dir" not in commands(facts(Path("l.db")), catalog=None, base_url=None).convert()


def test_videos_to_fetch() -> None:
    """Many missing videos are fetched a part at a time; without ids there is nothing to fetch."""
    made = Commands(ledger="l.db", catalog="c.csv")
    many = [item(n, task=f"v{n}") for n in range(50)]
    assert shlex.split(made.fetch(many) or "")[-MOST_IDS:] == [f"v{n}" for n in range(MOST_IDS)]
    assert made.fetch([evolve(item(1, task=None))]) is None
