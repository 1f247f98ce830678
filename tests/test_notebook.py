"""What notebooks show: everything escaped, nothing secret, and the video in place."""

from __future__ import annotations

import base64
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from suno_video_async import (
    Outcome,
    SystemClock,
    TaskSnapshot,
    TaskUpdate,
    Track,
    Video,
    VideoTask,
    VideoTaskId,
    notebook,
)
from suno_video_async.errors import APIError, DownloadError, SunoVideoError
from suno_video_async.task import TaskFeed
from tests.support.fakes import MP4

HOSTILE = "<script>alert('&\"')</script>"
URL = "https://user:pw@media.example.test/v.mp4?sig=s3cret"
SNAPSHOT = TaskSnapshot(
    task_id=VideoTaskId("v<1>"), status="success", credits=2.0, media_urls=(URL,), result_message=HOSTILE
)


class Page(HTMLParser):
    """Reads what a browser would show."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data + " "

    def source(self) -> str | None:
        """Return where the video comes from."""
        return next((given["src"] for tag, given in self.tags if tag == "video"), None)


def task(error: Exception | None = None) -> VideoTask:
    """A task of an author with a hostile name; it runs, or can no longer be followed."""
    feed, task_id = TaskFeed(SystemClock()), VideoTaskId("v<1>")
    snapshot = TaskSnapshot(task_id=task_id, status="running")
    feed.publish(TaskUpdate(snapshot=snapshot, elapsed=12.5, progress=0.25, eta=30.0))
    if error is not None:
        feed.fail(error)
    return VideoTask(task_id, feed, Track(task_id="m", suno_id="s", author=HOSTILE))


VALUES: dict[str, Any] = {
    "task": task(),
    "failed task": task(APIError(HOSTILE, code=404, http_status=404, operation="TaskInfo")),
    "new task": VideoTask(VideoTaskId("v"), TaskFeed(SystemClock()), None),
    "update": TaskUpdate(snapshot=SNAPSHOT, elapsed=3.0, progress=1.0, eta=0.0),
    "snapshot": SNAPSHOT,
    "video": Video(task_id=VideoTaskId("v"), url=URL, suno_id=HOSTILE, snapshot=SNAPSHOT),
    "outcome": Outcome(
        track=Track(task_id="m", suno_id=HOSTILE, author="עדן"),
        state="failed",
        location="catalog.csv, line 7",
        url=URL,
        error=DownloadError(HOSTILE * 100, url=URL),
    ),
    "outcome of no track": Outcome(track=None, state="refused", error=SunoVideoError(HOSTILE)),
}


@pytest.mark.parametrize("name", VALUES)
def test_a_page_shows_each_value(name: str) -> None:
    """Tags are closed, nothing of a stranger's becomes a tag, nothing secret is shown, and it stays small."""
    html = VALUES[name]._repr_html_()
    page = Page(html)
    assert page.open == []
    assert {tag for tag, _ in page.tags} <= {"div", "code", "b", "table", "tr", "td", "progress"}
    assert not [secret for secret in ("s3cret", "pw@") if secret in html]
    assert len(html) < 4000
    assert page.text.strip()


@pytest.mark.parametrize(
    "url", ["HTTPS://media.test/v?sig=s3cret", "see https://media.test/v?sig=s3cret", "https://[v?s3cret"]
)
def test_a_url_is_shown_without_its_query_wherever_it_stands(url: str) -> None:
    """However it is spelt, in a message too, and where it is none."""
    snapshot = TaskSnapshot(task_id=VideoTaskId("v"), status="failed", result_message=url)
    assert "s3cret" not in snapshot._repr_html_()


def test_colours_and_bars_say_how_it_stands() -> None:
    """A running task has a bar and what is to go; a failure stands out and has its message."""
    running, lost = Page(VALUES["task"]._repr_html_()), Page(VALUES["failed task"]._repr_html_())
    assert ("progress", {"max": "1", "value": "0.250"}) in running.tags
    assert "to go, s 30" in running.text
    assert "APIError: TaskInfo: 404" in lost.text
    assert "#e5534b" in VALUES["outcome"]._repr_html_()
    assert "#2da44e" in VALUES["snapshot"]._repr_html_()


def test_a_video_below_the_notebook_plays_from_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page refers to the file, by a path that a browser reads as one."""
    monkeypatch.chdir(tmp_path)
    path = Path("videos") / "no 1?.mp4"
    path.parent.mkdir()
    path.write_bytes(MP4)
    video = Video(task_id=VideoTaskId("v"), url=URL, path=path, snapshot=SNAPSHOT)
    assert Page(video._repr_html_()).source() == "videos/no%201%3F.mp4"
    outcome = Outcome(track=None, state="downloaded", path=path.absolute())
    assert Page(outcome._repr_html_()).source() == "videos/no%201%3F.mp4"


def test_a_video_elsewhere_is_in_the_page_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small one is; of a big one, and of one that is gone, the path stands there."""
    path = tmp_path / "v.mp4"
    path.write_bytes(MP4)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    outcome = Outcome(track=None, state="downloaded", path=path)
    kind, _, data = (Page(outcome._repr_html_()).source() or "").partition(",")
    assert (kind, base64.b64decode(data)) == ("data:video/mp4;base64", MP4)
    monkeypatch.setattr(notebook, "EMBEDDED", 10)
    assert Page(outcome._repr_html_()).source() is None
    path.unlink()
    gone = Page(outcome._repr_html_())
    assert gone.source() is None
    assert str(path) in gone.text
