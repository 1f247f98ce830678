"""`suno-video render`: own songs to videos in one command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from suno_video_async.cli.app import app
from suno_video_async.download.filenames import named_after
from suno_video_async.lyricvideo.folder import FolderLibrary
from suno_video_async.lyricvideo.making import names_of, shared_threads, workers
from tests.lyricvideo.songs import write_song

SIZE = ("--size", "160x96")


def _render(*arguments: str | Path) -> tuple[int, list[dict[str, object]]]:
    """Run the command, and return its exit code and its lines of JSON."""
    done = CliRunner().invoke(app, ["render", *map(str, arguments), "--json", *SIZE], standalone_mode=False)
    assert done.exception is None, done.output
    code = done.return_value
    return code, [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    """Two songs."""
    for name in ("one", "two"):
        folder = write_song(tmp_path / "songs" / "album" / name, cover=True)
        (folder / "lyrics.lrc").write_text("[00:00.20]la")
    return tmp_path / "songs"


def test_every_song_becomes_a_video_and_none_is_made_twice(songs: Path, tmp_path: Path) -> None:
    """Run again, what is there and was made of the same input is left alone; what has changed is made again."""
    videos = tmp_path / "videos"
    (songs / "album" / "two" / "cover.png").unlink()  # one is drawn
    code, lines = _render(songs, "--output-dir", videos)
    assert code == 0
    assert {(line["suno_id"], line["state"]) for line in lines} == {("one", "done"), ("two", "done")}
    assert sorted(path.name for path in videos.iterdir()) == ["one.mp4", "two.mp4"]
    before = {path.name: path.stat().st_mtime_ns for path in videos.iterdir()}
    code, lines = _render(songs, "--output-dir", videos)
    assert (code, {line["state"] for line in lines}) == (0, {"there"})
    assert {path.name: path.stat().st_mtime_ns for path in videos.iterdir()} == before
    (songs / "album" / "one" / "lyrics.lrc").write_text("[00:00.20]lo")
    code, lines = _render(songs, "--output-dir", videos)
    assert {(line["suno_id"], line["state"]) for line in lines} == {("one", "done"), ("two", "there")}


def test_a_bad_song_is_left_out_and_the_others_are_made(songs: Path, tmp_path: Path) -> None:
    """With exit code 1, and a line that says what is wrong."""
    (songs / "album" / "bad").mkdir()
    code, lines = _render(songs, "--output-dir", tmp_path / "videos")
    assert code == 1
    assert [line["problem"] for line in lines if line["state"] == "left_out"] == [
        "has no audio; put the song there as audio.mp3 (or .m4a, .wav, …)"
    ]
    assert [line["state"] for line in lines].count("done") == 2


def test_a_file_of_somebody_else_is_not_replaced(songs: Path, tmp_path: Path) -> None:
    """That song fails, with what to do."""
    videos = tmp_path / "videos"
    videos.mkdir()
    (videos / "one.mp4").write_bytes(b"mine")
    code, lines = _render(songs, "--output-dir", videos)
    assert code == 1
    (failed,) = (line for line in lines if line["state"] == "failed")
    assert "one.mp4 was not made by this command; move it, or name another folder" in str(failed["error"])
    assert (videos / "one.mp4").read_bytes() == b"mine"


def test_a_folder_that_is_none_is_a_usage_error(tmp_path: Path) -> None:
    """Before anything is made."""
    done = CliRunner().invoke(app, ["render", str(tmp_path / "none")], standalone_mode=False)
    assert "is not a folder" in str(done.exception)


def test_songs_of_one_title_get_names_of_their_own(tmp_path: Path) -> None:
    """Also if they differ only in case, as some file systems do not."""
    for album, title in (("a", "Song"), ("b", "song"), ("c", "Other")):
        (write_song(tmp_path / album / "x") / "track.toml").write_text(f'title = "{title}"')
    names = names_of(FolderLibrary(tmp_path).tracks(), named_after)
    assert names == {("a", "x"): "Song (a x).mp4", ("b", "x"): "song (b x).mp4", ("c", "x"): "Other.mp4"}


def test_as_many_at_once_as_the_machine_bears() -> None:
    """By its cores and its memory, at least one."""
    assert [workers(8, 16e9), workers(8, 2e9), workers(4, 0), workers(2, 1e8)] == [8, 3, 4, 1]
    assert [shared_threads(1, 2), shared_threads(2, 2), shared_threads(1, 16), shared_threads(4, 16)] == [
        2,
        1,
        4,
        4,
    ]
