"""The values that users make themselves."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from suno_video_async import (
    DownloadError,
    Outcome,
    OutcomeState,
    RateLimit,
    RetryPolicy,
    SunoVideoError,
    TaskSnapshot,
    Timeout,
    Track,
    VideoRequest,
    VideoTaskId,
)
from suno_video_async.models import video_task_id


def test_a_tracks_key_is_a_compact_json_array() -> None:
    """The key has the four fields in order, and an empty string for an absent one."""
    assert Track(task_id="t", suno_id="s").key == '["t","s","",""]'
    assert Track(task_id="t", suno_id="s", author="Ñ", brand='"b"').key == '["t","s","Ñ","\\"b\\""]'


def test_spelling_does_not_make_another_track() -> None:
    """White space, an empty credit and Unicode's two spellings of one letter make no difference."""
    plain = Track(task_id="t", suno_id="s", author="é")
    assert Track(task_id=" t ", suno_id="s\n", author=" e\u0301 ", brand=" ") == plain
    assert Track(task_id="t", suno_id="s", author="é", extra={"mood": "calm"}).key == plain.key


@pytest.mark.parametrize("field", ["author", "brand"])
def test_long_credits_are_refused_at_construction(field: str) -> None:
    """51 characters are too many, and the message names the field."""
    plain = Track(task_id="t", suno_id="s")
    fits: Any = {field: "x" * 50}
    too_long: Any = {field: "x" * 51}
    evolve(plain, **fits)
    with pytest.raises(ValueError, match=f"{field} has 51 characters"):
        evolve(plain, **too_long)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"task_id": "", "suno_id": "s"}, "task_id is empty"),
        ({"task_id": "t", "suno_id": " "}, "suno_id is empty"),
        ({"task_id": "t", "suno_id": "a\x00b"}, "suno_id contains characters"),
        ({"task_id": "t", "suno_id": "s", "author": "a\nb"}, "author contains characters"),
    ],
)
def test_unusable_tracks_are_refused(fields: Any, message: str) -> None:
    """The message names the field and what is wrong with it."""
    with pytest.raises(ValueError, match=message):
        Track(**fields)


@pytest.mark.parametrize("value", [None, 7, ["s"]])
def test_ids_and_credits_of_another_type_are_refused(value: object) -> None:
    """Untyped callers hear of it at once."""
    with pytest.raises(TypeError, match="suno_id must be a string"):
        Track(task_id="t", suno_id=value)  # type: ignore[arg-type]  # that is the point
    if value is not None:
        with pytest.raises(TypeError, match="must be strings"):
            Track(task_id="t", suno_id="s", brand=value)  # type: ignore[arg-type]  # that is the point


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=300))
def test_video_task_ids_are_short_printable_ascii(text: str) -> None:
    """1 to 256 printable characters, not blank at an end, are an id; anything else is none."""
    if len(text) <= 256 and text.strip() == text:
        assert video_task_id(text) == text
    else:
        with pytest.raises(ValueError, match="1 to 256"):
            video_task_id(text)


def test_a_callback_url_must_be_one() -> None:
    """What the API could not call is refused before anything is bought."""
    track = Track(task_id="t", suno_id="s")
    assert VideoRequest(track=track, callback_url="https://a.test/x?y=1").callback_url
    with pytest.raises(ValueError, match="callback_url"):
        VideoRequest(track=track, callback_url="example.test/cb")


def test_rates_are_read_from_text() -> None:
    """`20/10` is 20 in 10 seconds, and 10 seconds is what is meant without a period."""
    assert RateLimit.parse("20/10") == RateLimit.parse("20") == RateLimit(20, per=10)
    for text in ("", "x", "0/10", "20/0", "20/-1", "20/10/5", "20/inf", "1.5/10"):
        with pytest.raises(ValueError, match="such as 20/10"):
            RateLimit.parse(text)


def test_a_total_timeout_must_exceed_the_connects() -> None:
    """Only then is a request that ran into the total known to have had a connection."""
    with pytest.raises(ValueError, match="must be longer than connect"):
        Timeout(connect=10, total=10)
    with pytest.raises(ValueError, match="above 0"):
        Timeout(connect=0)
    with pytest.raises(ValueError, match="above 0"):
        RetryPolicy(backoff=float("nan"))


def test_the_input_of_a_snapshot_is_a_mapping_whatever_came() -> None:
    """A server that does not repeat what was submitted gives an empty input."""
    params: list[Any] = [None, [], "x", {"input": None}, {"input": 3}]
    for param in params:
        snapshot = TaskSnapshot(task_id=VideoTaskId("v"), status="running", raw={"param": param})
        assert snapshot.input == {}


@pytest.mark.parametrize(
    ("state", "error", "ok"),
    [
        ("downloaded", None, True),
        ("succeeded", None, True),
        ("succeeded", DownloadError("the disk is full", url="https://x.test/v"), False),
        ("skipped", None, True),
        ("skipped", SunoVideoError("failed in an earlier run"), False),
        ("submitted", None, False),
        ("planned", None, False),
        ("unknown", None, False),
    ],
)
def test_an_outcome_is_ok_when_its_video_is_there(
    state: OutcomeState, error: SunoVideoError | None, ok: bool
) -> None:
    """A row is ok when its video is made, now or before, and nothing went wrong with it."""
    assert Outcome(track=Track(task_id="m", suno_id="s"), state=state, error=error).ok is ok


def said(status: str = "success", *urls: str, **more: object) -> TaskSnapshot:
    return TaskSnapshot(task_id=VideoTaskId("v"), status=status, media_urls=urls, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("urls", "video"),
    [
        ((), None),
        (("https://h.test/cover.jpg",), None),
        (("https://h.test/cover.JPG?x=.mp4", "https://h.test/song.mp3"), None),
        (("https://h.test/cover.png", "https://h.test/v.mp4", "https://h.test/w.mp4"), "https://h.test/v.mp4"),
        (("https://h.test/stream/123", "https://h.test/v.MOV?sig=a.png"), "https://h.test/v.MOV?sig=a.png"),
        (("https://h.test/a.jpeg", "https://h.test/v1.2/file"), "https://h.test/v1.2/file"),
        (("https://h.test/what.ever",), "https://h.test/what.ever"),
    ],
)
def test_the_first_url_that_is_a_video_counts(urls: tuple[str, ...], video: str | None) -> None:
    """Covers and soundtracks are passed over; without a known ending a URL may be a video."""
    assert said("success", *urls).video_url == video
    assert said("success", *urls).awaits_video == (video is None)


def test_when_a_task_has_ended() -> None:
    """Failed; or well, with its video; or by an unknown word that comes with the time of the end."""
    assert said("failed").is_final
    assert said(" Failed ").is_failed
    assert said("success", "https://h.test/v.mp4").is_final
    assert not said("SUCCESS").is_final
    assert said("finished", complete_at=5.0).is_final
    assert not said("finished").is_final
    assert not said("running", complete_at=5.0).is_final


def test_a_music_task_does_not_wait_for_a_video() -> None:
    """It has tracks, and that is its end."""
    music = said(raw={"result": {"suno_data": [{"suno_id": "s"}]}})
    assert music.is_final
    assert not music.awaits_video
    assert not said(raw={"result": {"suno_data": []}}).is_final


@pytest.mark.parametrize(
    ("said", "took"),
    [
        ({}, None),
        ({"duration_s": 63.0}, 63.0),
        ({"create_at": 7e9, "complete_at": 7e9 + 80}, 80.0),
        ({"create_at": 7e9, "complete_at": 7e9 + 80, "duration_s": 8.0}, 8.0),
        ({"create_at": 7e9, "complete_at": 7e9 + 10, "duration_s": 10_000.0}, 10.0),
        ({"create_at": 7e9, "complete_at": 7e9 + 80, "duration_s": 80_000.0}, 80.0),
        ({"create_at": 7e9, "complete_at": 7e9, "duration_s": 63.0}, 63.0),
        ({"create_at": 7e9, "complete_at": 7e9 - 3600, "duration_s": 63.0}, 63.0),
        ({"create_at": 7e9, "complete_at": 7e9, "duration_s": 0.0}, 0.0),
        ({"create_at": 7e9, "duration_s": 21_601.0}, None),
        ({"duration_s": -1.0}, None),
        ({"duration_s": float("nan")}, None),
    ],
)
def test_how_long_a_task_took(said: dict[str, float], took: float | None) -> None:
    """What is longer than a task can take, or than the time between its own two dates, is a mistake."""
    assert TaskSnapshot(task_id=VideoTaskId("v1"), status="success", **said).took == took  # type: ignore[arg-type]
