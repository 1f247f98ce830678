"""Media in whole and in part, as RFC 9110 has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from suno_video_async.local.exchange import Reply, ServerRequest
from suno_video_async.local.media import MediaFile, MediaStore, answer
from tests.local.fake_service import VIDEO

BYTES = bytes(range(256)) * 4
MODIFIED = "Tue, 20 Jan 2026 09:06:40 GMT"


def get(method: str = "GET", **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return answer(VIDEO, ServerRequest(method=method, path="/media/x.mp4", headers=named))


def test_the_whole_file_comes_with_what_a_resume_needs() -> None:
    """A plain GET has the bytes, the length, an ETag, a date, and says that ranges are understood."""
    reply = get()
    assert (reply.status, reply.body) == (200, BYTES)
    assert reply.headers["Content-Length"] == "1024"
    assert reply.headers["Content-Type"] == "video/mp4"
    assert reply.headers["Accept-Ranges"] == "bytes"
    assert reply.headers["ETag"] == VIDEO.etag
    assert VIDEO.etag.startswith('"')
    assert reply.headers["Last-Modified"] == MODIFIED


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-9", 0, 10),
        ("bytes=1000-", 1000, 1024),
        ("bytes=1000-99999", 1000, 1024),
        ("bytes=-24", 1000, 1024),
        ("bytes=-99999", 0, 1024),
        ("bytes=1023-1023", 1023, 1024),
    ],
)
def test_a_range_is_answered_in_part(asked: str, start: int, end: int) -> None:
    """A range that lies in the file, or reaches out of it, is a 206 with its place."""
    reply = get(Range=asked)
    assert (reply.status, reply.body) == (206, BYTES[start:end])
    assert reply.headers["Content-Range"] == f"bytes {start}-{end - 1}/1024"
    assert reply.headers["Content-Length"] == str(end - start)
    assert reply.headers["ETag"] == VIDEO.etag


@pytest.mark.parametrize("asked", ["bytes=1024-", "bytes=5000-6000", "bytes=-0", "bytes=99999999999999999999-"])
def test_a_range_outside_is_refused(asked: str) -> None:
    """A range beyond the end is a 416 that tells the length."""
    reply = get(Range=asked)
    assert (reply.status, reply.body) == (416, b"")
    assert reply.headers["Content-Range"] == "bytes */1024"


@pytest.mark.parametrize("asked", ["bytes=-", "bytes=9-3", "bytes=0-1,5-6", "items=0-1", "bytes=a-b", "bytes"])
def test_a_range_of_another_form_is_ignored(asked: str) -> None:
    """What is no single range gets the whole file."""
    assert get(Range=asked).status == 200


@pytest.mark.parametrize(
    ("condition", "status"),
    [(VIDEO.etag, 206), (MODIFIED, 206), ('"other"', 200), (f"W/{VIDEO.etag}", 200), ("Tue, 20 Jan 2026", 200)],
)
def test_a_changed_file_is_sent_from_the_start(condition: str, status: int) -> None:
    """If-Range lets a range through only for the same file."""
    assert get(Range="bytes=5-", If_Range=condition).status == status


def test_head_ignores_ranges() -> None:
    """HEAD tells of the whole file."""
    assert get("HEAD", Range="bytes=0-1").status == 200


def test_a_file_on_disk_is_given_by_its_place(tmp_path: Path) -> None:
    """Of a file on disk the answer has the place, not the bytes."""
    path = tmp_path / "video.mp4"
    path.write_bytes(b"0123456789")
    file = MediaFile.of_path(path)
    request = ServerRequest(method="GET", path="/", headers={"range": "bytes=2-5"})
    reply = answer(file, request)
    assert reply.part is not None
    assert (reply.part.path, reply.part.start, reply.part.length, reply.length) == (path, 2, 4, 4)
    assert file.content_type == "video/mp4"


def test_a_file_is_made_when_somebody_asks() -> None:
    """A file of the library is made at its first request; the request is then handled again."""
    store = MediaStore(lambda: "name")
    path = store.add(lambda: VIDEO)
    request = ServerRequest(method="GET", path=path)
    first = store.reply(request)
    assert first is not None
    assert first.prepare is not None
    first.prepare()
    second = store.reply(request)
    assert second is not None
    assert second.body == BYTES


def test_a_file_that_cannot_be_made_is_missing(caplog: pytest.LogCaptureFixture) -> None:
    """What goes wrong in making a file is logged, and the file is not found."""

    def fail() -> MediaFile:
        raise OSError("no such cover")

    store = MediaStore(lambda: "name")
    request = ServerRequest(method="GET", path=store.add(fail))
    first = store.reply(request)
    assert first is not None
    assert first.prepare is not None
    first.prepare()
    assert store.reply(request) is None
    assert "no such cover" in caplog.text
