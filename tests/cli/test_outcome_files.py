"""The files of `--outcomes` and `--failed` are for their owner alone, and may be pipes."""

from __future__ import annotations

import json
import os
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from suno_video_async import Outcome, Track
from suno_video_async.cli.outcome_files import OutcomeFiles
from tests.support.processes import PATIENCE

OUTCOME = Outcome(track=Track(task_id="m", suno_id="s"), state="planned")


@pytest.fixture
def _open_umask() -> Iterator[None]:
    """Let new files be readable for all, unless they are made otherwise."""
    before = os.umask(0)
    yield
    os.umask(before)


def written(files: OutcomeFiles) -> None:
    """Write one outcome as a run does."""
    files.check()
    files.open()
    files.take(OUTCOME)
    files.close()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.skipif(sys.platform == "win32", reason="modes of files are another system's")
@pytest.mark.usefixtures("_open_umask")
@pytest.mark.parametrize("name", ["o.jsonl", "o.csv", "o.parquet"])
def test_new_files_are_for_their_owner_alone(tmp_path: Path, name: str) -> None:
    """They have the URLs of the videos, from which anyone could fetch them."""
    outcomes, failed = tmp_path / name, tmp_path / "f.csv"
    written(OutcomeFiles(outcomes=outcomes, failed=failed))
    assert {mode(outcomes), mode(failed)} == {0o600}


@pytest.mark.skipif(sys.platform == "win32", reason="modes of files are another system's")
@pytest.mark.parametrize("name", ["o.jsonl", "o.csv", "o.parquet"])
def test_what_its_owner_opened_stays_open(tmp_path: Path, name: str) -> None:
    """The mode of a file that exists is its owner's."""
    path = tmp_path / name
    path.touch()
    path.chmod(0o664)
    written(OutcomeFiles(outcomes=path))
    assert mode(path) == 0o664


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("name", ["o.jsonl", "o.csv"])
def test_outcomes_can_go_into_a_pipe(tmp_path: Path, name: str) -> None:
    """It is opened once: to open it for a check would end it for its reader, and the run would hang."""
    path, read = tmp_path / name, list[str]()
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: read.append(path.read_text()), daemon=True)
    reader.start()
    written(OutcomeFiles(outcomes=path))
    reader.join(PATIENCE)
    (text,) = read
    assert "m,s" in text if name == "o.csv" else json.loads(text)["state"] == "planned"
