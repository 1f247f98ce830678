"""What a server's or a stranger's text can do: nothing to a terminal or a log, and little to time and memory."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suno_video_async import APIError, MalformedResponseError, MusicTaskId, VideoTaskId
from suno_video_async._util.text import escaped_json, is_safe, one_line
from suno_video_async.protocol import codec
from suno_video_async.protocol.codec import MAX_BODY, MAX_DETAILS, MAX_KEPT, MAX_TEXT, Answer
from suno_video_async.protocol.evidence import created_id, lenient_envelope
from suno_video_async.protocol.media_urls import usable_url

EVIL = "\x1b]0;PWNED\x07\x1b[31m\r\nFORGED\x9b31m\u202eM\u2066\u2028\ud800"
INFO = codec.task_info(VideoTaskId("v1"))


def answer(data: Any, **envelope: Any) -> Answer:
    return Answer(200, {}, json.dumps({"code": 200, "message": "m", "data": data, **envelope}).encode())


@given(st.text())
def test_one_line_is_one_safe_line(text: str) -> None:
    """No text has a line break, a control character, a lone surrogate or a change of direction afterwards."""
    line = one_line(text)
    assert is_safe(line)
    assert len(line.splitlines()) < 2
    line.encode()
    assert one_line(line) == line


@pytest.mark.parametrize("text", ["Ava & Söhne", "愛のうた", "👩‍👩‍👧 família", "می‌خواهم", "nb sp"])
def test_writing_stays_as_it_is(text: str) -> None:
    """Letters, emoji and the invisible characters that join them are kept."""
    assert one_line(text) == text


def test_a_long_text_is_cut_with_a_sign() -> None:
    """What is left out of a long text is shown by an ellipsis."""
    assert one_line("abcdef", 4) == "abc…"
    assert one_line("abcd", 4) == "abcd"


@given(st.text())
def test_escaped_json_is_the_same_value(text: str) -> None:
    """The escapes change how a value is written, and not the value."""
    escaped = escaped_json(json.dumps(text, ensure_ascii=False))
    assert is_safe(escaped)
    assert json.loads(escaped) == text


def test_every_text_of_a_snapshot_is_one_safe_line() -> None:
    """Words and messages of a task cannot act on what they are shown on."""
    data = {"task_id": "v1", "status": EVIL, "provider": EVIL, "model_version": EVIL, "result": {"message": EVIL}}
    found = codec.read_snapshot(answer(data), INFO)
    assert all(map(is_safe, (found.raw_status, found.provider or "", found.model_version or "")))
    assert "FORGED" in (found.result_message or "")
    assert is_safe(repr(found.result_message))


def test_a_status_of_nothing_visible_is_shown_as_unknown() -> None:
    """A status that consists of changes of direction is one that this version does not know."""
    found = codec.read_snapshot(answer({"task_id": "v1", "status": "\u202e"}), INFO)
    assert (found.raw_status, found.status) == ("\ufffd", "other")


def test_a_refusals_text_is_safe_and_bounded() -> None:
    """A refusal's message and details can neither forge a line nor fill the memory."""
    body = {"code": 422, "message": EVIL + "x" * 10_000, "data": None, "errors": [EVIL + "y" * 10_000] * 100}
    with pytest.raises(APIError) as caught:
        codec.read_snapshot(Answer(422, {}, json.dumps(body).encode()), INFO)
    error = caught.value
    assert is_safe(str(error))
    assert is_safe(repr(error))
    assert len(error.message) <= MAX_TEXT
    assert (len(error.errors), max(map(len, error.errors)) <= MAX_TEXT) == (MAX_DETAILS, True)


@pytest.mark.parametrize("number", [2**63, -(2**63), 10**300])
def test_a_code_that_no_database_can_hold_is_none(number: int) -> None:
    """A result's code is an integer of at most 64 bits, or left out; an envelope with another is broken."""
    found = codec.read_snapshot(answer({"task_id": "v1", "status": "failed", "result": {"code": number}}), INFO)
    assert found.result_code is None
    with pytest.raises(MalformedResponseError):
        codec.read_snapshot(answer(None, code=number), INFO)


def size_of(value: Any) -> int:
    """Return about how many bytes a value takes with all that is in it."""
    size = sys.getsizeof(value)
    if isinstance(value, dict):
        return size + sum(size_of(key) + size_of(item) for key, item in value.items())
    return size + sum(map(size_of, value)) if isinstance(value, list) else size


def nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "more",
    [
        {"x": "y" * (MAX_BODY - 1000)},
        {"x": [0] * 300_000},
        {"x": [[]] * 200_000},
        {"x": [{}] * 200_000},
        {"x": [{"a": [1.5, True, None, "b"]}] * 20_000},
        {f"x{n}": n for n in range(60_000)},
        {"x" * 500_000: 1},
        {"x": ["y" * 10_000] * 60},
        {"x": [nested(200)] * 1000},
    ],
    ids=["text", "numbers", "lists", "objects", "mixed", "names", "name", "texts", "deep"],
)
@pytest.mark.parametrize("wrap", [lambda more: more, lambda more: {"result": more}, lambda more: {"extra": more}])
def test_what_is_kept_of_a_long_answer_is_bounded(more: Any, wrap: Callable[[Any], Any]) -> None:
    """Of an answer of a megabyte little more than 64 KB stays in memory, and what the client needs is in it."""
    mine = {"input": {"task_id": "m1", "suno_id": "s1"}}
    data = {**wrap(more), "task_id": "v1", "status": "running", "param": mine}
    found = codec.read_snapshot(answer(data), INFO)
    assert size_of(found.raw) < 10 * MAX_KEPT
    assert (found.input, found.raw["status"]) == (mine["input"], "running")


def test_a_long_callback_is_bounded_as_well() -> None:
    """What a callback says is kept as an answer is."""
    data = {"task_id": "v1", "status": "running", "x": [0] * 60_000}
    assert size_of(codec.read_callback(json.dumps(data).encode()).raw) < 10 * MAX_KEPT


def test_an_ordinary_answer_is_kept_whole() -> None:
    """`raw` of an answer of usual length is what the server said, in its order."""
    data = {"extra": [{"a": "b" * 5000}], "task_id": "v1", "status": "running"}
    assert list(codec.read_snapshot(answer(data), INFO).raw.items()) == list(data.items())


def test_tracks_of_a_long_answer_are_read() -> None:
    """The tracks of a music task are found in an answer that is much longer than usual."""
    tracks = [{"suno_id": f"s{n}", "title": "t", "prompt": "la " * 2000} for n in range(20)]
    data = {"junk": "x" * 200_000, "task_id": "m1", "status": "success", "result": {"suno_data": tracks}}
    found = codec.read_suno_tracks(answer(data), codec.task_info(MusicTaskId("m1")))
    assert [track.suno_id for track in found][:5] == ["s0", "s1", "s2", "s3", "s4"]


def seconds(run: Callable[[], object]) -> float:
    """Return the shortest of a few runs."""
    best = 1e9
    for _ in range(5):
        began = time.process_time()
        run()
        best = min(best, time.process_time() - began)
    return best


@pytest.mark.parametrize(
    "filler", ['"task_id":', '"task_id" ' + " " * 90, '"task_id":"\\\\', "\\u0061", '"', "[", "1"]
)
@pytest.mark.parametrize(
    "read",
    [
        lambda text: created_id(text.encode(), "", b"{}"),
        lambda text: lenient_envelope(text.encode(), ""),
        lambda text: codec.retry_after({"Retry-After": text}),
        usable_url,
        lambda text: usable_url("https://" + text[:8000] + " "),
        one_line,
        lambda text: one_line(text + "\x1b"),
    ],
    ids=["evidence", "envelope", "retry-after", "url", "long-url", "line", "unsafe-line"],
)
def test_reading_takes_linear_time(read: Callable[[str], object], filler: str) -> None:
    """Four times as much text takes at most ten times as long, whatever it consists of."""
    short = filler * (50_000 // len(filler))
    first, fourth = seconds(lambda: read(short)), seconds(lambda: read(short * 4))
    assert fourth < max(0.02, 10 * first)
