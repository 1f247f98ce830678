"""`suno-video demo` with real rendering, and what a person sees on a narrow terminal."""

from __future__ import annotations

import io
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

from suno_video_async.cli import demo
from suno_video_async.cli.app import app
from suno_video_async.cli.demo import next_steps, program
from suno_video_async.cli.group import whole
from suno_video_async.cli.records import Records
from suno_video_async.local import Fault
from suno_video_async.lyricvideo import library
from tests.cli.conftest import Home
from tests.cli.serving import served
from tests.cli.terminals import on_terminal
from tests.support.mp4 import problem_of


class _TwoSongs(library.BuiltinLibrary):
    """The built-in songs of one music task: enough to see that it works."""

    def tracks(self) -> Sequence[library.LibraryTrack]:
        first = super().tracks()[0]
        return [track for track in super().tracks() if track.task_id == first.task_id]


def test_the_demo_makes_checked_videos(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any key, the demo renders its catalog through the real client and checks each video."""
    monkeypatch.delenv("CRUN_API_KEY")
    monkeypatch.setenv("CRUN_BASE_URL", "https://nowhere.invalid")
    monkeypatch.setattr(library, "BuiltinLibrary", _TwoSongs)
    monkeypatch.setitem(demo._SIZES, "small", (160, 96))
    ran = home.run("demo", "--size", "small")
    videos = [Path(line["path"]) for line in ran.outcomes()]
    assert ran.code == 0
    assert len(videos) == 2
    assert all(problem_of(home.folder / video) is None for video in videos)
    assert all(line["track"]["author"] and line["extra"]["title"] for line in ran.outcomes())
    assert "2 videos, all checked" in ran.err
    assert all(line in ran.err for line in next_steps(program()))
    assert ran.summary()["refused_429"] == 0


def test_what_to_do_next_can_be_pasted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its commands name this program as the shell finds it, and each of them exists with its options."""
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "my env" / "suno-video")])
    monkeypatch.setenv("PATH", str(tmp_path))
    here = program()
    assert shlex.split(here) == sys.argv
    commands = [one for line in next_steps(here) if here in line for one in line.split(": ")[-1].split(" && ")]
    called = [shlex.split(one.partition(" >")[0])[1:] for one in commands]
    assert [words[0] for words in called] == ["serve", "tracks", "convert", "login"]
    for name, *words in called:
        whole(app.commands[name]).make_context(name, words)


def test_a_program_on_the_path_is_called_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed command needs no path, and a module needs its Python."""
    script = tmp_path / "suno-video"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", [str(script)])
    assert program() == "suno-video"
    monkeypatch.setattr(sys, "argv", ["/somewhere/suno_video_async/__main__.py"])
    assert program() == f"{shlex.quote(sys.executable)} -m suno_video_async"


@pytest.mark.parametrize("width", [40, 80])
def test_records_fit_a_terminal(width: int) -> None:
    """No id is broken on 40 columns: a table becomes a list."""
    console = Console(width=width, file=io.StringIO())
    row = ("task_harbour01", "suno_8f3c2b7a51d94e06", "Harbour Lights", "61")
    console.print(Records(fields=("task_id", "suno_id", "title", "seconds"), numbers=("seconds",), rows=[row]))
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(value in said for value in row)
    assert max(map(len, said.splitlines())) <= width


@pytest.mark.parametrize("colour", [True, False])
def test_a_narrow_terminal(home: Home, colour: bool) -> None:
    """On 40 columns a person sees progress, a summary and each problem, without colours if so wished."""
    faults = [Fault(on="CreateTask", kind="code:422", calls=(2,))]
    with served(faults=faults) as server:
        arguments = ("convert", home.catalog("s1", "s2"), "--base-url", server.url, "--time-scale", 20)
        code, said = on_terminal(home, 40, *arguments, **({} if colour else {"NO_COLOR": "1"}))
    drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said)
    assert code == 1
    assert "2/2" in drawn
    assert "summary" in drawn
    assert "refused: CreateTask: 422" in " ".join(drawn.split())
    assert "Traceback" not in drawn
    assert '"summary"' not in drawn
    assert max(len(line) for line in drawn.splitlines() if "│" in line) <= 40
    assert bool(re.search(r"\x1b\[(3|9)[0-9]m", said)) == colour


def test_json_on_a_terminal(home: Home) -> None:
    """With --json a terminal gets the JSON lines, and nothing is drawn over them."""
    with served() as server:
        arguments = ("convert", home.catalog("s1"), "--base-url", server.url, "--time-scale", 20, "--json")
        code, said = on_terminal(home, 80, *arguments)
    assert code == 0
    assert said.splitlines()[0].startswith('{"row": ')
    assert "\x1b" not in said
