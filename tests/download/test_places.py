"""What `output_dir` may name, and what of it may not be said."""

from __future__ import annotations

import itertools
import os
import stat
import tempfile
from pathlib import Path

import pytest

from suno_video_async._util.netaddr import is_uri
from suno_video_async.download.places import StorePath, candidates, folder_of
from suno_video_async.download.store import open_store, problem_with, staged, staging_folder, written


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/", "s3://bucket"),
        ("S3://Bucket.of-mine/a/b/", "s3://Bucket.of-mine/a/b"),
        ("gs://bucket/2026 spring/ü", "gs://bucket/2026 spring/ü"),
        ("az://container/a%20b", "az://container/a%20b"),
        ("memory://x/a:b", "memory://x/a:b"),
    ],
)
def test_a_url_names_a_folder_in_a_store(text: str, uri: str) -> None:
    """Its key is taken as it is written, as the stores' own tools take it."""
    place = folder_of(text)
    assert isinstance(place, StorePath)
    assert (str(place), os.fspath(place), (place / "v.mp4").uri) == (uri, uri, f"{uri}/v.mp4")


@pytest.mark.parametrize(
    "text",
    [
        *("s3://", "s3:///videos", "s3://b/../other", "s3://b/./x", "s3://b/a//c", "s3://b/a\nb", "s3://ü/x"),
        *("s3://user:pw-secret@b/x", "s3://b/x?token=pw-secret", "gs://b/x#pw-secret", "s3://b/" + "x" * 701),
        *("file://host/videos", "file:///a?x=1", "file://", "file://localhost"),
    ],
)
def test_a_url_that_names_no_folder_is_refused(text: str) -> None:
    """Nothing leads out of the folder, and secrets in a URL are not repeated."""
    with pytest.raises(ValueError, match=r".+") as refused:
        folder_of(text)
    assert "pw-secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "path"), [("file:///srv/my%20videos", "/srv/my videos"), ("file://localhost/srv", "/srv")]
)
def test_a_file_url_names_a_folder_of_this_machine(text: str, path: str) -> None:
    """It is that folder, with all that holds for folders."""
    assert folder_of(text) == Path(path)


def test_marked_names_stay_in_the_folder() -> None:
    """Each is another one, and of the same folder."""
    names = [one.uri for one in itertools.islice(candidates(StorePath("s3", "b", "v/a.mp4"), "task"), 4)]
    assert names[0] == "s3://b/v/a.mp4"
    assert len(set(names)) == 4
    assert all(name.startswith("s3://b/v/a") and name.endswith(".mp4") for name in names)


@pytest.mark.parametrize(
    ("text", "expected"), [("s3://b/x", True), (str(Path("s3://b/x")), False), ("C:/x", False)]
)
def test_a_path_is_not_taken_for_a_uri(text: str, expected: bool) -> None:
    """A ledger keeps both in one column: no path has two slashes after a colon."""
    assert is_uri(text) is expected


def test_videos_on_their_way_are_this_users_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where another has made the folder, or a link of its name, a new one is made."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    first = staging_folder()
    assert first == staging_folder()
    assert stat.S_IMODE(first.stat().st_mode) == 0o700
    first.chmod(0o755)
    assert staging_folder() != first
    first.rmdir()
    first.symlink_to(tmp_path)
    assert staging_folder() != first


def test_a_video_on_its_way_has_a_name_of_its_own() -> None:
    """Whatever its place is called, and for each task another."""
    place = StorePath("s3", "b", "v/a\ud800.mp4")
    names = {staged(Path("t"), one, task) for one in (place, place / "x") for task in ("1", "2")}
    assert len(names) == 4


def test_metadata_is_plain() -> None:
    """An odd id of a task is written in printable ASCII."""
    assert written("a/ü\n") == "a%2F%C3%BC%0A"


def test_a_store_that_cannot_be_opened_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is known before anything is bought."""
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    problem = problem_with(StorePath("az", "container", "x"))
    assert problem is not None
    assert "Account must be specified" in problem
    assert problem_with(StorePath("memory", "fine", "x")) is None


def test_the_environment_says_how_a_store_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its settings of connections hold, though this package has one of its own."""
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_TIMEOUT", "7s")
    options = getattr(open_store(StorePath("s3", "bucket")), "client_options")  # noqa: B009  not in every type
    assert options == {"timeout": "7s", "allow_http": "true"}
