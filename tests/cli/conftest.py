"""What the tests of the command line share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

import suno_video_async
from suno_video_async.cli.app import run
from tests.support.keys import KEY

ROOT = Path(suno_video_async.__file__).parent.parent


@frozen
class Ran:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    def lines(self) -> list[dict[str, Any]]:
        """Return the JSON lines of stdout."""
        return [json.loads(line) for line in self.out.splitlines()]

    def outcomes(self) -> list[dict[str, Any]]:
        """Return the lines of the tracks."""
        return [line for line in self.lines() if "summary" not in line]

    def summary(self) -> dict[str, Any]:
        """Return the last line, which must be the summary."""
        summary = self.lines()[-1]["summary"]
        assert isinstance(summary, dict)
        return summary


class Home:
    """A user's folder, and the commands that the user runs in it."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys

    def run(self, *arguments: object) -> Ran:
        """Run a command in this process."""
        self._capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        said = self._capsys.readouterr()
        ran = Ran(code, said.out, said.err)
        assert "Traceback" not in ran.err
        assert KEY not in ran.out + ran.err
        return ran

    def catalog(self, *suno_ids: str, name: str = "catalog.csv") -> Path:
        """Write a catalog of tracks of one music task."""
        path = self.folder / name
        path.write_text("".join(f"{line}\n" for line in ("task_id,suno_id", *(f"m1,{one}" for one in suno_ids))))
        return path

    def child_arguments(self, *arguments: object) -> list[str]:
        return [sys.executable, "-m", "suno_video_async", *map(str, arguments)]

    @contextmanager
    def child(self, *arguments: object, **more: str) -> Generator[subprocess.Popen[str], None, None]:
        """Run a command as a process of its own."""
        with subprocess.Popen(
            self.child_arguments(*arguments),
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Home:
    """Return a user's empty folder, with a key in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))  # for children
    monkeypatch.setenv("CRUN_API_KEY", KEY)
    return Home(tmp_path, capsys)
