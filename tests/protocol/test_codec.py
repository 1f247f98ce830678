"""The codec against the contract's own bodies, and against anything at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from suno_video_async import (
    APIError,
    AuthenticationError,
    FeatureDisabledError,
    InsufficientCreditsError,
    InvalidRequestError,
    MaintenanceError,
    MalformedResponseError,
    MusicTaskId,
    NotFoundError,
    RateLimitError,
    ServerError,
    SunoVideoError,
    Track,
    TransportError,
    VideoRequest,
    VideoTaskId,
)
from suno_video_async.protocol import codec
from suno_video_async.protocol.codec import Answer, Operation, Request
from suno_video_async.protocol.evidence import lenient_envelope
from suno_video_async.protocol.verdicts import Verdict, verdict

EXAMPLES = Path(__file__).parent / "examples"
VIDEO = VideoTaskId("d6956973-2f17-43d4-8514-af6cc3a2f55d")
TRACK = Track(task_id="task_12345678", suno_id="suno_abc123", author="Ava", brand="Acme Records")
CREATE = codec.create_task(VideoRequest(track=TRACK))
INFO = codec.task_info(VIDEO)


def example(name: str, status: int = 200) -> Answer:
    return Answer(status, {"Content-Type": "application/json"}, (EXAMPLES / name).read_bytes())


def envelope(code: int = 200, status: int = 200, data: Any = None, **headers: str) -> Answer:
    return Answer(status, headers, json.dumps({"code": code, "message": "m", "data": data}).encode())


# What is said


def test_create_task_says_exactly_what_the_contract_shows() -> None:
    """The body has the model, the callback and the four input fields, and nothing else."""
    request = codec.create_task(VideoRequest(track=TRACK, callback_url="https://your-domain.com/api/callback"))
    assert (request.method, request.target) == ("POST", "/api/v1/client/job/CreateTask")
    assert json.loads(request.body or b"") == {
        "model": "suno/music-video",
        "callback_url": "https://your-domain.com/api/callback",
        "input": {
            "task_id": "task_12345678",
            "suno_id": "suno_abc123",
            "author": "Ava",
            "brand": "Acme Records",
        },
    }


def test_absent_credits_and_callback_are_left_out() -> None:
    """What the user does not give is not sent, not even as null."""
    request = codec.estimate_task(VideoRequest(track=Track(task_id="t", suno_id="s", author="  ")))
    assert request.target.endswith("/EstimateTask")
    assert json.loads(request.body or b"") == {
        "model": "suno/music-video",
        "input": {"task_id": "t", "suno_id": "s"},
    }


def test_ids_are_percent_encoded_in_urls() -> None:
    """An opaque id cannot change the URL it stands in."""
    request = codec.task_info(VideoTaskId("a b/c?d=e&f#g%"))
    assert request.target == "/api/v1/client/job/TaskInfo?task_id=a%20b%2Fc%3Fd%3De%26f%23g%25"


def test_text_goes_out_as_utf_8() -> None:
    """Names in any script arrive as they are."""
    body = codec.create_task(VideoRequest(track=Track(task_id="t", suno_id="s", author="نوفا"))).body or b""
    assert "نوفا".encode() in body


# Every body of the contract's examples


def test_create_ok() -> None:
    """An accepted submission gives the video task's id."""
    assert codec.read_created(example("create_ok.json"), CREATE) == "task_12345678"


def test_create_ok_without_id_is_broken() -> None:
    """A success without an id is no success."""
    with pytest.raises(MalformedResponseError, match="1 to 256 printable ASCII"):
        codec.read_created(example("create_ok_without_id.json"), CREATE)


@pytest.mark.parametrize("status", [200, 422])
def test_create_invalid(status: int) -> None:
    """A refusal carries the server's details, in either dress."""
    with pytest.raises(InvalidRequestError) as caught:
        codec.read_created(example("create_invalid.json", status), CREATE)
    assert caught.value.errors == ("input.suno_id: field required",)
    assert caught.value.code == 422
    assert str(caught.value) == "CreateTask: 422 Validation Error (input.suno_id: field required)"


def test_create_rate_limited_in_http_200() -> None:
    """A 429 inside HTTP 200 is a 429."""
    with pytest.raises(RateLimitError) as caught:
        codec.read_created(example("create_rate_limited_http200.json"), CREATE)
    assert (caught.value.code, caught.value.http_status) == (429, 200)


@pytest.mark.parametrize("status", [200, 502, 503, 504])
def test_a_gateways_page_is_a_broken_answer(status: int) -> None:
    """HTML says nothing about what became of the request."""
    with pytest.raises(MalformedResponseError) as caught:
        codec.read_created(example("gateway_502.html", status), CREATE)
    assert caught.value.http_status == status
    assert caught.value.sent


def test_info_running() -> None:
    """A running task has no end yet."""
    snapshot = codec.read_snapshot(example("info_running.json"), INFO)
    assert (snapshot.status, snapshot.is_final, snapshot.complete_at, snapshot.credits) == (
        "running",
        False,
        None,
        None,
    )
    assert snapshot.create_at == 1768900378
    assert snapshot.input == {"task_id": "task_12345678", "suno_id": "suno_abc123"}


def test_info_success() -> None:
    """A finished task names its video, its cost and how long it took."""
    snapshot = codec.read_snapshot(example("info_success.json"), INFO)
    assert snapshot.is_success
    assert snapshot.is_final
    assert snapshot.media_urls == ("https://media.example.test/videos/d6956973.mp4",)
    assert (snapshot.credits, snapshot.duration_s, snapshot.complete_at) == (2, 63, 1768900441)
    assert (snapshot.provider, snapshot.model_version) == ("Suno", "suno-music-video")


def test_info_failed() -> None:
    """A failed task tells why."""
    snapshot = codec.read_snapshot(example("info_failed.json"), INFO)
    assert snapshot.is_failed
    assert snapshot.is_final
    assert (snapshot.result_code, snapshot.result_message) == (501, "Generation Failed")


def test_info_unknown_status() -> None:
    """A word that we do not know is passed on and is no end; fields that we do not know survive."""
    snapshot = codec.read_snapshot(example("info_unknown_status.json"), INFO)
    assert (snapshot.raw_status, snapshot.status, snapshot.is_final) == ("uploading", "other", False)
    assert snapshot.raw["queue_position"] == 3
    assert snapshot.input == {}


def test_info_music_task() -> None:
    """A finished music task lists its tracks."""
    tracks = codec.read_suno_tracks(example("info_music_task.json"), codec.task_info(MusicTaskId("task_12345678")))
    assert [(t.suno_id, t.title, t.duration) for t in tracks] == [
        ("suno_abc123", "Harbour Lights", 172.4),
        ("suno_abc124", "Harbour Lights", 168.0),
    ]
    assert tracks[0].audio_url == "https://media.example.test/audio/a.mp3"
    assert tracks[1].image_large_url == "https://media.example.test/covers/b_large.jpeg"


def test_every_example_of_the_contract_is_tested() -> None:
    """The folder holds what is tested above, so that a new body is not forgotten."""
    names = {path.name for path in EXAMPLES.iterdir()}
    assert names == {name for name in names if name in Path(__file__).read_text(encoding="utf-8")}
    assert len(names) == 10


# Every row of the contract's table of codes, as (error, verdict on a read, verdict on CreateTask)

CODES = {
    401: (AuthenticationError, Verdict.STOP, Verdict.STOP),
    402: (InsufficientCreditsError, Verdict.STOP, Verdict.STOP),
    403: (AuthenticationError, Verdict.STOP, Verdict.STOP),
    404: (NotFoundError, Verdict.STOP, Verdict.STOP),
    422: (InvalidRequestError, Verdict.STOP, Verdict.STOP),
    429: (RateLimitError, Verdict.RETRY, Verdict.RETRY),
    455: (MaintenanceError, Verdict.RETRY, Verdict.RETRY),
    500: (ServerError, Verdict.RETRY, Verdict.RETRY),
    505: (FeatureDisabledError, Verdict.STOP, Verdict.STOP),
    400: (APIError, Verdict.STOP, Verdict.UNKNOWN),
    405: (APIError, Verdict.STOP, Verdict.UNKNOWN),
    413: (APIError, Verdict.STOP, Verdict.UNKNOWN),
    501: (APIError, Verdict.STOP, Verdict.UNKNOWN),
    0: (APIError, Verdict.STOP, Verdict.UNKNOWN),
}


@pytest.mark.parametrize(("code", "row"), CODES.items())
@pytest.mark.parametrize("as_status", [False, True])
def test_codes(code: int, row: tuple[type[APIError], Verdict, Verdict], as_status: bool) -> None:
    """Each code is its own error with its own verdict, in HTTP 200 and as the HTTP status."""
    kind, on_read, on_create = row
    status = code if as_status and code else 200
    with pytest.raises(APIError) as read:
        codec.read_suno_tracks(envelope(code, status), INFO)
    with pytest.raises(APIError) as created:
        codec.read_created(envelope(code, status), CREATE)
    assert type(read.value) is type(created.value) is kind
    assert (read.value.code, read.value.http_status, read.value.task_id) == (code, status, VIDEO)
    assert verdict(Operation.TASK_INFO, read.value) is on_read
    assert verdict(Operation.ESTIMATE_TASK, read.value) is on_read
    assert verdict(Operation.CREATE_TASK, created.value) is on_create


def test_strict_treats_a_500_on_create_as_unknown() -> None:
    """Whoever wants to pay once at any price does not send again after a 500; reads do."""
    error = ServerError("m", code=500, http_status=200, operation="CreateTask")
    assert verdict(Operation.CREATE_TASK, error, strict=True) is Verdict.UNKNOWN
    assert verdict(Operation.TASK_INFO, error, strict=True) is Verdict.RETRY


@pytest.mark.parametrize(
    ("error", "on_read", "on_create"),
    [
        (TransportError("refused", sent=False), Verdict.RETRY, Verdict.RETRY),
        (TransportError("broke off"), Verdict.RETRY, Verdict.UNKNOWN),
        (MalformedResponseError("a page", http_status=502), Verdict.RETRY, Verdict.UNKNOWN),
        (SunoVideoError("of another kind"), Verdict.STOP, Verdict.STOP),
    ],
)
def test_transport_verdicts(error: SunoVideoError, on_read: Verdict, on_create: Verdict) -> None:
    """A submission goes again only when no byte of it left."""
    assert verdict(Operation.BALANCE, error) is on_read
    assert verdict(Operation.CREATE_TASK, error) is on_create


@pytest.mark.parametrize(
    "body", [b"", b"busy", b"<html>", b'{"code": 200, "message": "", "data": {"task_id": null}}']
)
def test_http_429_with_any_body_is_a_429(body: bytes) -> None:
    """Whoever sits in front of the API may say it too."""
    with pytest.raises(RateLimitError) as caught:
        codec.read_created(Answer(429, {"Retry-After": "7"}, body), CREATE)
    assert caught.value.retry_after == 7


@pytest.mark.parametrize(
    ("status", "code"), [(500, 200), (404, 200), (502, 429), (401, 500), (302, 200), (302, 302)]
)
def test_a_status_that_disagrees_with_its_code_is_broken(status: int, code: int) -> None:
    """An HTTP error with another code than its own tells nothing; an id in it is kept for the ledger."""
    with pytest.raises(MalformedResponseError) as caught:
        codec.read_created(envelope(code, status, {"task_id": "video_1"}), CREATE)
    assert caught.value.task_id == "video_1"
    with pytest.raises(MalformedResponseError):
        codec.read_snapshot(envelope(code, status, {"task_id": VIDEO, "status": "success"}), INFO)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"code": "200", "message": "m", "data": {}}',
        b'{"code": true, "message": "m", "data": {}}',
        b'{"code": 200, "data": {"task_id": "x"}}',
        b'{"code": 200, "message": "m", "data": [1]}',
        b'{"code": 200, "message": "m", "data": null}',
        b'{"code": 200, "message": "m"}',
        b'{"code": 500, "message": null, "data": null}',
    ],
)
def test_a_body_that_is_no_envelope_is_broken(body: bytes) -> None:
    """Nothing short of the envelope counts as an answer of the API."""
    with pytest.raises(MalformedResponseError):
        codec.read_created(Answer(200, {}, body), CREATE)


@pytest.mark.parametrize(
    ("code", "read"),
    [
        *[(" 200\n", 200), (" " * 9 + "200", 200), ("0" * 9 + "200", 200), ("\x1d200", 200)],
        *[("9" * 5000, 999_999_999), ("0", "0"), (" ", " "), ("²", "²"), ("", "")],
    ],
)
def test_a_code_that_is_a_text(code: str, read: object) -> None:
    """It is read whatever is around its digits, and is never more than a wrong code."""
    assert lenient_envelope(json.dumps({"code": code}).encode())["code"] == read


@pytest.mark.parametrize("task_id", [None, 7, "", " ", "x" * 257, "ü", "a\nb", "\x7f", {"id": 1}])
def test_an_invalid_id_is_no_id(task_id: object) -> None:
    """An id is 1 to 256 printable ASCII characters, or the outcome is unknown."""
    with pytest.raises(MalformedResponseError):
        codec.read_created(envelope(data={"task_id": task_id}), CREATE)


def test_an_answer_about_another_task_is_broken() -> None:
    """A task never takes another one's state."""
    with pytest.raises(MalformedResponseError, match="asked about"):
        codec.read_snapshot(envelope(data={"task_id": "other", "status": "success"}), INFO)


@pytest.mark.parametrize("status", [None, "", " ", 7])
def test_a_snapshot_needs_a_status(status: object) -> None:
    """Without a word for the state there is no state."""
    with pytest.raises(MalformedResponseError, match="no status"):
        codec.read_snapshot(envelope(data={"task_id": VIDEO, "status": status}), INFO)


def test_a_snapshot_of_a_callback_needs_an_id() -> None:
    """Where no task was asked about, the answer must name one."""
    assert codec.snapshot({"task_id": "v1", "status": "running"}, asked=None).task_id == "v1"
    with pytest.raises(MalformedResponseError, match="printable ASCII"):
        codec.snapshot({"status": "running"}, asked=None)


@pytest.mark.parametrize("word", ["SUCCESS", "Success", "success"])
def test_status_is_compared_without_regard_to_case(word: str) -> None:
    """The status decides, however it is written, and is passed on as it came."""
    snapshot = codec.read_snapshot(
        envelope(data={"task_id": VIDEO, "status": word, "result": {"code": 501}}), INFO
    )
    assert snapshot.is_success
    assert (snapshot.raw_status, snapshot.status) == (word, "success")


@pytest.mark.parametrize(
    "urls",
    [
        None,
        "https://a.test/x",
        [],
        [None],
        [""],
        ["ftp://a.test/x"],
        ["javascript:x"],
        ["https://"],
        ["https://a b"],
        ["https://[bad"],
        ["https://a.test:port/x"],
        ["https://a.test/\n"],
        ["https://a.test/\ud800"],
        ["https://" + "ü" * 64 + ".test/"],
        ["https://a\u2017b.test/", "https://a\u00b4b.test/"],  # two lines below a space, and an accent over one
        ["https://ü@a.test/"],
        ["https://a.test/" + "x" * 9000],
    ],
)
def test_unusable_media_urls_are_none(urls: object) -> None:
    """What cannot be fetched is not a media URL."""
    data = {"task_id": VIDEO, "status": "success", "result": {"media_urls": urls}}
    assert codec.read_snapshot(envelope(data=data), INFO).media_urls == ()


@pytest.mark.parametrize(
    ("said", "used"),
    [
        ("https://a.test/my video.mp4", "https://a.test/my%20video.mp4"),
        (" HTTPS://a.test/v.mp4 ", "https://a.test/v.mp4"),
        ("https://a.test/Größe.mp4?t=ü#f", "https://a.test/Gr%C3%B6%C3%9Fe.mp4?t=%C3%BC#f"),
        ("https://a.test/a%20b+c.mp4?sig=a%2Fb%3D&x=%7E", "https://a.test/a%20b+c.mp4?sig=a%2Fb%3D&x=%7E"),
        ("https://bücher.test:8443/v", "https://xn--bcher-kva.test:8443/v"),
        ("http://[::1]:80/v", "http://[::1]:80/v"),
    ],
)
def test_a_media_url_is_percent_encoded_and_its_signature_kept(said: str, used: str) -> None:
    """Spaces and letters beyond ASCII are encoded; what is encoded already stays as it is."""
    data = {"task_id": VIDEO, "status": "success", "result": {"media_urls": [said]}}
    assert codec.read_snapshot(envelope(data=data), INFO).media_urls == (used,)


# Evidence of a task in an answer that does not plainly accept

NAMED = b'{"code": 200, "message": "m", "data": {"task_id": "v1"}}'


@pytest.mark.parametrize(
    ("status", "kind", "body"),
    [
        (200, "", b"\xef\xbb\xbf" + NAMED),
        (200, "", NAMED.replace(b'"m"', b'"\xe6\x88"')),
        (200, "", NAMED.replace(b'"m"', b'"a\nb"')),
        (200, "", NAMED.replace(b'"m"', b"null")),
        (200, "", NAMED.replace(b'"message": "m", ', b"")),
        (200, "", NAMED.replace(b"200", b'"200"')),
        (200, "", NAMED.replace(b"200", b"200.0")),
        (200, "", NAMED.replace(b"200", b"0")),
        (200, "", NAMED.replace(b"200", b"201")),
        (200, "", NAMED.replace(b'{"task_id": "v1"}', b'[{"task_id": "v1"}]')),
        (200, "", NAMED.replace(b"task_id", b"taskId")),
        (200, "", NAMED + b"<b>Notice</b>"),
        (200, "", b"Notice: x" + NAMED),
        (200, "", NAMED[:-2]),
        (200, "application/json; charset=gbk", NAMED.decode().replace('"m"', '"成功"').encode("gbk")),
        (200, "application/json; charset=utf-16", NAMED.decode().encode("utf-16")),
        (200, "application/json; charset=idna", NAMED[:-1]),
        *((code, "", NAMED.replace(b"200", str(code).encode())) for code in (401, 402, 409, 422, 429, 455, 500)),
        (429, "text/html", b'<pre>{"task_id":"v1"}</pre>'),
    ],
)
def test_an_id_in_any_answer_to_create_task_is_evidence(status: int, kind: str, body: bytes) -> None:
    """The task may exist: the outcome is unknown, and the id is kept to ask about."""
    with pytest.raises(MalformedResponseError) as caught:
        codec.read_created(Answer(status, {"Content-Type": kind}, body), CREATE)
    assert caught.value.task_id == "v1"
    assert verdict(Operation.CREATE_TASK, caught.value) is Verdict.UNKNOWN


def test_a_numeric_id_is_evidence() -> None:
    """An id that came as a number can still be asked about."""
    with pytest.raises(MalformedResponseError) as caught:
        codec.read_created(envelope(data={"task_id": 71}), CREATE)
    assert caught.value.task_id == "71"


@pytest.mark.parametrize("data", [None, {"input": {"task_id": "task_12345678"}}, {"task_id": "ü"}])
def test_the_music_tasks_id_is_not_evidence(data: object) -> None:
    """A refusal that repeats what was asked for stays a refusal."""
    with pytest.raises(InvalidRequestError):
        codec.read_created(envelope(422, 422, data), CREATE)


# Questions are read leniently

INFO_BODY = json.dumps({"code": 200, "message": "m", "data": {"task_id": VIDEO, "status": "running"}}).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"\xef\xbb\xbf" + INFO_BODY,
        INFO_BODY.replace(b'"m"', b'"\xe6\x88"'),
        INFO_BODY.replace(b'"m"', b"null"),
        INFO_BODY.replace(b'"message": "m", ', b""),
        INFO_BODY.replace(b"200", b'"200"'),
        INFO_BODY.replace(b"200", b"200.0"),
        INFO_BODY + b"<br />",
    ],
)
def test_an_odd_dress_does_not_hide_a_state(body: bytes) -> None:
    """A question costs nothing: its answer counts if it can be read."""
    assert codec.read_snapshot(Answer(200, {}, body), INFO).status == "running"


@pytest.mark.parametrize("body", [b"", b"[1]", b"{", INFO_BODY.replace(b"200", b"true"), b"[" * 100_000])
def test_what_cannot_be_read_is_still_broken(body: bytes) -> None:
    """Leniency has an end: without a code there is no answer."""
    with pytest.raises(MalformedResponseError, match="unexpected response"):
        codec.read_snapshot(Answer(200, {}, body), INFO)


@pytest.mark.parametrize("status", [200, 501])
def test_a_501_of_the_answer_itself_is_a_failed_task(status: int) -> None:
    """Documented for TaskInfo: without data the task has failed, with code 501."""
    snapshot = codec.read_snapshot(envelope(501, status), INFO)
    assert (snapshot.is_failed, snapshot.result_code, snapshot.result_message) == (True, 501, "m")


def test_the_data_of_a_501_counts() -> None:
    """Where the answer's data is a readable task, its own status decides."""
    assert (
        codec.read_snapshot(envelope(501, 200, {"task_id": VIDEO, "status": "running"}), INFO).status == "running"
    )
    with pytest.raises(MalformedResponseError, match="asked about"):
        codec.read_snapshot(envelope(501, 200, {"task_id": "other", "status": "failed"}), INFO)


def test_a_501_to_another_question_is_an_error() -> None:
    """Only TaskInfo speaks of a generation."""
    with pytest.raises(APIError, match="501"):
        codec.read_balance(envelope(501), codec.balance())
    with pytest.raises(APIError, match="501"):
        codec.read_suno_tracks(envelope(501), codec.task_info(MusicTaskId(VIDEO)))


def test_values_of_the_wrong_kind_are_absent() -> None:
    """A number that is none is not known, rather than wrong."""
    data: dict[str, Any] = {
        "task_id": VIDEO,
        "status": "running",
        "credits": True,
        "duration_s": "12",
        "create_at": float("nan"),
        "complete_at": 10**400,
        "provider": 7,
        "result": [1],
    }
    snapshot = codec.read_snapshot(envelope(data=data), INFO)
    known = (snapshot.credits, snapshot.duration_s, snapshot.create_at, snapshot.complete_at, snapshot.provider)
    assert known == (None, None, None, None, None)


def test_lone_surrogates_become_printable() -> None:
    """JSON can carry text that no terminal and no file takes; it is replaced."""
    body = rb'{"code": 422, "message": "bad \ud800 name", "data": null, "errors": ["\udfff", 7]}'
    with pytest.raises(InvalidRequestError) as caught:
        codec.read_created(Answer(200, {}, body), CREATE)
    str(caught.value).encode()
    assert caught.value.errors == ("\ufffd",)


def test_tracks_without_an_id_are_left_out() -> None:
    """A track that cannot be named cannot be converted."""
    music = MusicTaskId("m1")
    listed = [None, {}, {"suno_id": ""}, {"suno_id": "s", "suno_audio_url": "no url"}]
    data = {"task_id": "m1", "status": "success", "result": {"suno_data": listed}}
    tracks = codec.read_suno_tracks(envelope(data=data), codec.task_info(music))
    assert [(track.suno_id, track.audio_url) for track in tracks] == [("s", None)]
    none = codec.read_suno_tracks(envelope(data={"task_id": "m1", "status": "running"}), codec.task_info(music))
    assert none == ()


def test_balance() -> None:
    """The balance is a number, or the answer is broken."""
    assert codec.read_balance(envelope(data={"balance": 12.5}), codec.balance()) == 12.5
    with pytest.raises(MalformedResponseError, match="balance is None"):
        codec.read_balance(envelope(data={}), codec.balance())


def test_estimate() -> None:
    """An estimate has the cost, the balance and whether it suffices; the last can be told from the others."""
    request = codec.estimate_task(VideoRequest(track=TRACK))
    said = codec.read_estimate(envelope(data={"estimated_credits": 2, "balance": 1, "affordable": False}), request)
    assert (said.estimated_credits, said.balance, said.affordable) == (2, 1, False)
    assert codec.read_estimate(envelope(data={"estimated_credits": 2, "balance": 3}), request).affordable


@pytest.mark.parametrize(
    ("date", "seconds"),
    [
        ("Mon, 23 Nov 2026 10:00:30 GMT", 1795428030.0),
        ("Mon, 23 Nov 2026 10:00:30", None),
        ("yesterday", None),
        ("Mon, 99 Nov 99999 10:00:30 GMT", None),
        ("", None),
    ],
)
def test_when_the_server_answered(date: str, seconds: float | None) -> None:
    """A snapshot keeps the time of the server's clock, which the ages of tasks are taken by."""
    body = json.dumps({"code": 200, "message": "", "data": {"task_id": VIDEO, "status": "running"}}).encode()
    assert codec.read_snapshot(Answer(200, {"Date": date} if date else {}, body), INFO).answered_at == seconds


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": " 30 "}, 30.0),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "1.5"}, 1.5),
        ({"Retry-After": "2."}, 2.0),
        ({"Retry-After": "1e9"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "٣"}, None),
        ({"Retry-After": "9" * 400}, 999999999.0),
        ({"Retry-After": "Mon, 23 Nov 2026 10:00:30 GMT", "Date": "Mon, 23 Nov 2026 10:00:00 GMT"}, 30.0),
        ({"Retry-After": "Mon, 23 Nov 2026 09:00:00 GMT", "Date": "Mon, 23 Nov 2026 10:00:00 GMT"}, 0.0),
        ({"Retry-After": "Mon, 23 Nov 2026 10:00:30 GMT"}, None),
        ({"Retry-After": "Mon, 23 Nov 2026 10:00:30", "Date": "Mon, 23 Nov 2026 10:00:00 GMT"}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    """Seconds or a date; a date is taken against the answer's own, never against our clock."""
    assert codec.retry_after(headers) == seconds


# Anything at all

FIELDS = (
    *("code", "message", "data", "errors", "task_id", "status", "param", "input", "result", "media_urls"),
    *("suno_data", "suno_id", "credits", "balance", "estimated_credits", "affordable", "duration_s", "create_at"),
)
KEYS = st.sampled_from(FIELDS)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["success", "failed", VIDEO, "https://media.example.test/a.mp4"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(max_size=4), inner, max_size=6),
    max_leaves=12,
)
ENVELOPES = st.fixed_dictionaries(
    {"code": st.sampled_from([*CODES, 200]), "message": st.text(), "data": JSON}, optional={"errors": JSON}
)
BODIES = st.binary() | JSON.map(lambda v: json.dumps(v).encode()) | ENVELOPES.map(lambda v: json.dumps(v).encode())
HEADERS = st.dictionaries(st.sampled_from(["Retry-After", "Date", "Content-Type"]), st.text(max_size=40))
READERS = [
    (codec.read_created, CREATE),
    (codec.read_snapshot, INFO),
    (codec.read_suno_tracks, codec.task_info(MusicTaskId(VIDEO))),
    (codec.read_balance, codec.balance()),
    (codec.read_estimate, codec.estimate_task(VideoRequest(track=TRACK))),
]


@given(status=st.integers(100, 599), headers=HEADERS, body=BODIES, reader=st.sampled_from(READERS))
def test_any_answer_gives_a_model_or_one_of_our_errors(
    status: int, headers: dict[str, str], body: bytes, reader: tuple[Any, Request]
) -> None:
    """No bytes, no status and no JSON make the codec raise anything but this library's errors."""
    read, request = reader
    try:
        read(Answer(status, headers, body), request)
    except SunoVideoError as error:
        str(error).encode()
        verdict(request.operation, error)


@given(data=st.dictionaries(KEYS | st.text(max_size=8), JSON, max_size=8))
def test_unknown_fields_and_unknown_statuses_survive(data: dict[str, Any]) -> None:
    """Whatever else the server says about a task is kept as it came."""
    data = {**data, "task_id": VIDEO, "status": "a new word"}
    snapshot = codec.snapshot(data, asked=VIDEO)
    assert snapshot.raw == data
    assert (snapshot.raw_status, snapshot.status) == ("a new word", "other")
    assert not snapshot.is_final


def test_an_attempts_own_callback_url_is_all_that_changes() -> None:
    """A CreateTask gets the URL of its attempt; what it buys stays as it is."""
    called = codec.called_back(CREATE, "https://me.example.test/x")
    bare, body = json.loads(CREATE.body or b""), json.loads(called.body or b"")
    assert body == {**bare, "callback_url": "https://me.example.test/x"}
    assert evolve(called, body=CREATE.body) == CREATE
    assert codec.called_back(codec.balance(), "https://me.example.test/x").body == (
        b'{"callback_url": "https://me.example.test/x"}'
    )


@pytest.mark.parametrize("wrap", [lambda data: data, lambda data: {"code": 200, "data": data}])
def test_a_callback_comes_bare_or_in_the_envelope(wrap: Callable[[Any], Any]) -> None:
    """Both ways it says the same; what repeats the submission is found in it."""
    data = {"task_id": "v1", "status": "success", "param": {"callback_url": "https://me.example.test/x"}}
    found = codec.read_callback(json.dumps(wrap(data)).encode())
    assert (found.task_id, found.is_success, found.callback_url) == ("v1", True, "https://me.example.test/x")


@pytest.mark.parametrize("body", [b"", b"\xff", b"[1]", b"{}", b'{"code": 200}', b'{"code": 1, "data": [2]}'])
def test_what_is_no_callback_is_refused(body: bytes) -> None:
    """A body without a task's id and status is no callback."""
    with pytest.raises(MalformedResponseError):
        codec.read_callback(body)
