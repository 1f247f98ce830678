"""A disk that fills up under the ledger: rows are reported once, no known task is lost, nothing is paid twice."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.cli.conftest import Home
from tests.cli.serving import served
from tests.support.processes import PATIENCE

#: Many more than a ledger of these sizes can hold, however few pages its log takes.
TRACKS = tuple(f"s{number}" for number in range(150))


@pytest.mark.skipif(sys.platform == "win32", reason="there is no limit on the size of files")
@pytest.mark.parametrize("kilobytes", [130, 250, 400])
def test_a_row_is_reported_once_however_full_the_disk_is(home: Home, kilobytes: int) -> None:
    """Whichever write fails, a claim, an intent, an answer or an end: what was charged is reported with its id."""
    with served(render_seconds=3.0, time_scale=100.0, rate=None) as server:
        reach = ("--base-url", server.url, "--time-scale", 100, "--rate", "1000/1", "--no-download", "--json")
        arguments = home.child_arguments("convert", home.catalog(*TRACKS), *reach)
        limited = ["sh", "-c", f'ulimit -f {2 * kilobytes}; exec "$@"', "sh", *arguments]
        ran = subprocess.run(
            limited, cwd=home.folder, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        lines = [json.loads(line) for line in ran.stdout.splitlines()]
        outcomes, summary = lines[:-1], lines[-1]["summary"]
        reported = {line["track"]["suno_id"]: line for line in outcomes}
        charged = {task["param"]["input"]["suno_id"]: task["task_id"] for task in server.tasks()["video"]}
        again = home.run("convert", "catalog.csv", *reach)
        counts = server.stats()["charged_by_track"]
    assert (ran.returncode, "disk I/O error" in ran.stderr or "is full" in ran.stderr) == (2, True)
    assert len(outcomes) == len(reported) > 0
    assert {name: line["video_task_id"] for name, line in reported.items() if line["video_task_id"]} == charged
    assert summary["planned"] == len(TRACKS) - len(charged)
    assert again.code in {0, 4}
    assert set(counts.values()) == {1}
