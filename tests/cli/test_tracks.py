"""The tracks of music tasks, as a list and as a catalog."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from suno_video_async.testing import VideoServer
from tests.cli.conftest import Home, Ran
from tests.cli.serving import served


@pytest.fixture
def server() -> Generator[VideoServer, None, None]:
    with served() as running:
        yield running


def ask(home: Home, server: VideoServer, *arguments: object) -> Ran:
    return home.run(*arguments, "--base-url", server.url, "--time-scale", 20)


def test_tracks_make_a_catalog(home: Home, server: VideoServer) -> None:
    """The CSV of tracks is a catalog that convert reads, with the titles carried along."""
    music = server.tasks()["music"][0]
    listed = ask(home, server, "tracks", music["task_id"])
    written = ask(home, server, "tracks", music["task_id"], "--csv")
    (home.folder / "c.csv").write_text(written.out, encoding="utf-8")
    converted = ask(home, server, "convert", "c.csv", "--no-download")
    assert listed.code == written.code == converted.code == 0
    assert [line["suno_id"] for line in listed.lines()] == [track["suno_id"] for track in music["tracks"]]
    assert {line["extra"]["title"] for line in converted.outcomes()} == {
        track["title"] for track in music["tracks"]
    }


def test_tracks_without_ids_lists_all_of_a_local_server(home: Home, server: VideoServer) -> None:
    """As a catalog, too; one track is named as the check of a library lists it."""
    listed = ask(home, server, "tracks")
    expected = [
        (task["task_id"], track["suno_id"]) for task in server.tasks()["music"] for track in task["tracks"]
    ]
    assert listed.code == 0
    assert [(line["task_id"], line["suno_id"]) for line in listed.lines()] == expected
    one = ask(home, server, "tracks", "/".join(expected[-1]))
    assert [(line["task_id"], line["suno_id"]) for line in one.lines()] == expected[-1:]


def test_only_a_local_server_lists_all_tracks(home: Home) -> None:
    """Elsewhere ids are needed; nothing is asked."""
    ran = home.run("tracks", "--base-url", "https://api.example.com")
    assert ran.code == 2
    assert "name the music tasks" in ran.err
