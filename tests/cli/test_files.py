"""How `convert` names the videos, and what it says of them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from suno_video_async.local import Fault
from tests.cli.conftest import Home
from tests.cli.serving import served


def library_catalog(home: Home, count: int) -> Path:
    """Write a catalog of tracks of the built-in library, whose titles the server knows."""
    with served() as server:
        music = server.tasks()["music"]
    tracks = [(task["task_id"], track["suno_id"]) for task in music for track in task["tracks"]][:count]
    lines = ["task_id,suno_id,album", *(f"{task_id},{suno_id},First Light" for task_id, suno_id in tracks)]
    path = home.folder / "catalog.csv"
    path.write_text("\n".join(lines))
    return path


def test_names_and_digests(home: Home) -> None:
    """Files are named by the template, their digests told, and the title costs one request for each music task."""
    catalog = library_catalog(home, 3)
    with served() as server:
        ran = home.run(
            *("convert", catalog, "--output-dir", "v", "--file-name", "{extra[album]} - {title} [{suno_id}]"),
            *("--sha256", "--json", "--base-url", server.url, "--time-scale", 20),
        )
        requests = server.stats()["requests"]
    assert ran.code == 0, ran.err
    for outcome in ran.outcomes():
        path = Path(outcome["path"])
        assert path.name.startswith("First Light - ")
        assert path.name.endswith(f" [{outcome['track']['suno_id']}].mp4")
        assert len(path.name) > len(f"First Light -  [{outcome['track']['suno_id']}].mp4")
        assert outcome["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert len(list((home.folder / "v").iterdir())) == 3
    again = home.run("convert", catalog, "--output-dir", "v", "--json", "--base-url", server.url)
    assert again.code == 2  # the server is gone, and nothing is asked
    assert requests["CreateTask"] == 3


@pytest.mark.parametrize(
    ("template", "fix"), [("{author}", "add {suno_id} to it"), ("{suno_id}{x}", "{x} is not a field")]
)
def test_a_template_that_cannot_work(home: Home, template: str, fix: str) -> None:
    """A template that would lose files is a usage error, before anything is opened."""
    ran = home.run("convert", home.catalog("s1"), "--file-name", template)
    assert ran.code == 2
    assert fix in " ".join(ran.err.split())


def test_a_url_that_runs_out_is_asked_for_again(home: Home) -> None:
    """A video whose URL has expired is downloaded from a fresh one, without a person and without a purchase."""
    with served(faults=[Fault(on="media", kind="expire-url", calls=(1,))]) as server:
        ran = home.run(
            *("convert", home.catalog("s1"), "--output-dir", "v", "--json"),
            *("--base-url", server.url, "--time-scale", 20),
        )
        charged = server.stats()["charged"]
    assert (ran.code, charged) == (0, 1), ran.err
    assert [path.name for path in (home.folder / "v").iterdir()] == ["s1.mp4"]
