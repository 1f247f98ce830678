"""Calls become `Request` values; `Answer` values become models, or one of our errors and nothing else.

Sources: the provider's documentation for the paths, bodies and codes; several public clients for the fact that
refusals also arrive as HTTP 200 with another `code`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from enum import StrEnum
from functools import lru_cache
from itertools import takewhile
from typing import Any, NoReturn, cast
from urllib.parse import quote

from attrs import define, evolve, frozen

from suno_video_async._util.text import one_line
from suno_video_async.errors import (
    APIError,
    AuthenticationError,
    FeatureDisabledError,
    InsufficientCreditsError,
    InvalidRequestError,
    MaintenanceError,
    MalformedResponseError,
    NotFoundError,
    RateLimitError,
    ServerError,
    TransportError,
)
from suno_video_async.models import (
    Estimate,
    MusicTaskId,
    SunoId,
    SunoTrack,
    TaskSnapshot,
    VideoRequest,
    VideoTaskId,
    video_task_id,
)
from suno_video_async.protocol.evidence import created_id, lenient_envelope
from suno_video_async.protocol.media_urls import MAX_URL, usable_url

MODEL = "suno/music-video"
#: No answer of this API comes near it; a longer one is refused before it is read whole.
MAX_BODY = 1024 * 1024

#: The code of a generation that failed; documented for a task's result and for TaskInfo's own answer.
GENERATION_FAILED = 501
#: Text of the server that is kept: of a message, and of each detail.
MAX_TEXT = 1000
#: Details that are kept of one refusal.
MAX_DETAILS = 20
#: Media URLs that are kept of one task.
MAX_URLS = 16
#: Bytes of an answer that are kept as `raw`; of a longer one only the beginning of each part is.
MAX_KEPT = 64 * 1024
#: How deep objects and lists may be in each other in what is kept of a longer one.
MAX_DEPTH = 6

_JSON = json.JSONDecoder()
#: What JSON may have around a value.
_BLANKS = " \t\n\r"
_JOB = "/api/v1/client/job/"
#: Made once: `json.dumps` makes an encoder at each call that has options.
_json = json.JSONEncoder(ensure_ascii=False).encode
#: What stands in a URL as it is.
_PLAIN = re.compile(r"[A-Za-z0-9_.~-]+")
_SECONDS = re.compile(r"[0-9]{1,2000}(?:\.[0-9]{0,30})?", re.ASCII)
#: What is kept first of a long answer, in this order.
_KNOWN = {name: place for place, name in enumerate(("task_id", "status", "param", "result"))}


class Operation(StrEnum):
    """The API's calls, by the names the API gives them."""

    CREATE_TASK = "CreateTask"
    TASK_INFO = "TaskInfo"
    ESTIMATE_TASK = "EstimateTask"
    ESTIMATE_CREDITS = "estimate-credits"
    BALANCE = "balance"


@frozen
class Request:
    """One call, ready to be sent.

    Attributes:
        target: path and query, percent-encoded.
        body: JSON in UTF-8, or None.
        task_id: the task asked about, for errors.

    """

    operation: Operation
    method: str
    target: str
    body: bytes | None = None
    task_id: str | None = None


@define  # made for every request: frozen ones take four times as long
class Answer:
    """One answer: HTTP status, headers (looked up without regard to case), whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


# Encoding


def create_task(request: VideoRequest) -> Request:
    """Return the call that buys a video."""
    return Request(Operation.CREATE_TASK, "POST", _JOB + "CreateTask", _submission(request))


def called_back(request: Request, url: str) -> Request:
    """Return a CreateTask with this callback URL: each attempt has its own."""
    body = {**json.loads(request.body or b"{}"), "callback_url": url}
    return evolve(request, body=_json(body).encode())


def read_callback(body: bytes) -> TaskSnapshot:
    """Return what a callback says: the data of a TaskInfo, bare or in the envelope. It is not to be trusted.

    Raises:
        MalformedResponseError: it is neither.

    """
    said = _object(body)
    data = _mapping(said.get("data")) if "code" in said else said
    return snapshot(data if len(body) <= MAX_KEPT else _beginning(data), asked=None)


def estimate_task(request: VideoRequest) -> Request:
    """Return the call that asks what a video would cost."""
    return Request(Operation.ESTIMATE_TASK, "POST", _JOB + "EstimateTask", _submission(request))


def estimate_credits(request: VideoRequest) -> Request:
    """Return the call that asks for the price alone, which servers without EstimateTask have."""
    return Request(Operation.ESTIMATE_CREDITS, "POST", _JOB + "estimate-credits", _submission(request))


@lru_cache(maxsize=4096)
def task_info(task_id: VideoTaskId | MusicTaskId) -> Request:
    """Return the call that asks how a task of any model stands; a task is asked about many times."""
    quoted = task_id if _PLAIN.fullmatch(task_id) else quote(task_id, safe="")  # that takes 20 times as long
    return Request(Operation.TASK_INFO, "GET", f"{_JOB}TaskInfo?task_id={quoted}", task_id=task_id)


def balance() -> Request:
    """Return the call that asks for the account's credits."""
    return Request(Operation.BALANCE, "GET", "/api/v1/client/account/balance")


def _submission(request: VideoRequest) -> bytes:
    track = request.track
    body: dict[str, Any] = {"model": MODEL}
    if request.callback_url is not None:
        body["callback_url"] = request.callback_url
    fields = {"task_id": track.task_id, "suno_id": track.suno_id, "author": track.author, "brand": track.brand}
    body["input"] = {name: value for name, value in fields.items() if value is not None}
    return _json(body).encode()


# Decoding


def read_created(answer: Answer, request: Request) -> VideoTaskId:
    """Return the video task's id that CreateTask answered with.

    Raises:
        APIError: the submission was refused.
        MalformedResponseError: the answer is broken, or is a refusal that names a task: whether a task was created
            is unknown, and `task_id` is the id that it contains.

    """
    try:
        return video_task_id(_data(answer, request).get("task_id"))
    except ValueError as error:
        _broken(answer, request, reason=str(error))
    except APIError as refusal:
        if _evidence(answer, request) is None:
            raise
        _broken(answer, request, reason=f"a refusal that names a task ({refusal})")


def read_snapshot(answer: Answer, request: Request) -> TaskSnapshot:
    """Return what TaskInfo says. A 501 of the answer itself means that the task has failed.

    Raises:
        APIError: the question was refused.
        MalformedResponseError: the answer is broken, or about another task.

    """
    try:
        return snapshot(_data(answer, request), asked=request.task_id, answer=answer)
    except APIError as error:
        if error.code != GENERATION_FAILED or request.task_id is None:
            raise
        data = _mapping(_envelope(answer, request).get("data"))
        if "status" in data:
            return snapshot(data, asked=request.task_id, answer=answer)
        failed = {"status": "failed", "result": {"code": error.code, "message": error.message}}
        return snapshot({"task_id": request.task_id, **failed}, asked=request.task_id)


def snapshot(data: Mapping[str, Any], *, asked: str | None, answer: Answer | None = None) -> TaskSnapshot:
    """Return the model of a TaskInfo `data` object.

    Args:
        data: the object.
        asked: the task it must be about, or None to accept any.
        answer: what it came in.

    Raises:
        MalformedResponseError: no id, another id than asked, or no status.

    """
    task_id, status = data.get("task_id"), data.get("status")
    http_status = 200 if answer is None else answer.status
    if asked is not None and task_id != asked:
        raise MalformedResponseError(
            f"TaskInfo: asked about {asked}, answered about {_brief(task_id)}",
            http_status=http_status,
            from_api=True,
        )
    try:
        known_id = video_task_id(task_id) if asked is None else VideoTaskId(asked)
    except ValueError as error:
        raise MalformedResponseError(f"TaskInfo: {error}", http_status=http_status, from_api=True) from None
    if not isinstance(status, str) or not status.strip():
        raise MalformedResponseError(
            f"TaskInfo {known_id}: no status but {_brief(status)}", http_status=http_status, from_api=True
        )
    result = _mapping(data.get("result"))
    return TaskSnapshot(
        task_id=known_id,
        status=_text(status) or "\ufffd",
        provider=_text(data.get("provider")),
        model_version=_text(data.get("model_version")),
        create_at=_number(data.get("create_at")),
        complete_at=_number(data.get("complete_at")),
        duration_s=_number(data.get("duration_s")),
        credits=_number(data.get("credits")),
        result_code=_code(result.get("code")),
        result_message=_text(result.get("message")),
        media_urls=_media_urls(result.get("media_urls")),
        raw=data if answer is None or len(answer.body) <= MAX_KEPT else _beginning(data),
        answered_at=None if answer is None else answered_at(answer.headers),
    )


def read_suno_tracks(answer: Answer, request: Request) -> tuple[SunoTrack, ...]:
    """Return the tracks of a finished music task; entries without a `suno_id` are left out.

    Raises:
        APIError: the question was refused.
        MalformedResponseError: the answer is broken, or about another task.

    """
    found = snapshot(_data(answer, request), asked=request.task_id, answer=answer)
    listed: object = _mapping(found.raw.get("result")).get("suno_data")
    entries = cast("list[object]", listed) if isinstance(listed, list) else []
    tracks = (_suno_track(MusicTaskId(found.task_id), _mapping(entry)) for entry in entries)
    return tuple(track for track in tracks if track is not None)


def _suno_track(task_id: MusicTaskId, data: Mapping[str, Any]) -> SunoTrack | None:
    suno_id = _text(data.get("suno_id"))
    if not suno_id:
        return None
    return SunoTrack(
        task_id=task_id,
        suno_id=SunoId(suno_id),
        title=_text(data.get("title")),
        audio_url=usable_url(data.get("suno_audio_url")),
        image_url=usable_url(data.get("suno_image_url")),
        image_large_url=usable_url(data.get("suno_image_large_url")),
        duration=_number(data.get("duration")),
        raw=data,
    )


def read_balance(answer: Answer, request: Request) -> float:
    """Return the account's credits.

    Raises:
        APIError: the question was refused.
        MalformedResponseError: the answer is broken.

    """
    return _required_number(_data(answer, request), "balance", answer, request)


def read_estimate(answer: Answer, request: Request) -> Estimate:
    """Return what a submission would cost.

    Raises:
        APIError: the question was refused.
        MalformedResponseError: the answer is broken.

    """
    data = _data(answer, request)
    credits_ = _required_number(data, "estimated_credits", answer, request)
    balance_ = _required_number(data, "balance", answer, request)
    affordable = data.get("affordable")
    return Estimate(
        estimated_credits=credits_,
        balance=balance_,
        affordable=affordable if isinstance(affordable, bool) else balance_ >= credits_,
    )


def read_estimated_credits(answer: Answer, request: Request) -> float:
    """Return the price that estimate-credits names.

    Raises:
        APIError: the question was refused.
        MalformedResponseError: the answer is broken.

    """
    return _required_number(_data(answer, request), "credits", answer, request)


# The envelope

_ERRORS: Mapping[int, type[APIError]] = {
    401: AuthenticationError,
    402: InsufficientCreditsError,
    403: AuthenticationError,
    404: NotFoundError,
    422: InvalidRequestError,
    429: RateLimitError,
    455: MaintenanceError,
    500: ServerError,
    505: FeatureDisabledError,
}


def _data(answer: Answer, request: Request) -> Mapping[str, Any]:
    """Return the envelope's `data` of a success: HTTP 2xx and code 200, nothing less."""
    envelope = _envelope(answer, request)
    code: int | None = envelope.get("code")
    data: Mapping[str, Any] | None = envelope.get("data")
    ok = 200 <= answer.status < 300
    own_word = ok or (answer.status >= 400 and code == answer.status)
    if answer.status == 429 or (code is not None and code != 200 and own_word):
        _refuse(answer, request, envelope, 429 if answer.status == 429 else cast("int", code))
    if not ok or code != 200 or data is None:
        _broken(answer, request)
    return data


def _object(body: bytes) -> Mapping[str, Any]:
    """Return the body as a JSON object, or `{}` when it is none."""
    try:
        text = body.decode().strip(_BLANKS)
        parsed, end = _JSON.raw_decode(text)
    except (ValueError, RecursionError):
        return {}
    return _mapping(parsed) if end == len(text) else {}


def _envelope(answer: Answer, request: Request) -> Mapping[str, Any]:
    """Return the body as an envelope, or `{}` when it is not one; an answer to a question is read leniently."""
    envelope = _object(answer.body)
    if _is_envelope(envelope):
        return envelope
    if request.operation is Operation.CREATE_TASK:
        return {}
    lenient = {"message": "", **lenient_envelope(answer.body, answer.headers.get("Content-Type", ""))}
    if not isinstance(lenient["message"], str):
        lenient["message"] = ""
    return lenient if _is_envelope(lenient) else {}


def _is_envelope(envelope: Mapping[str, Any]) -> bool:
    data = envelope.get("data")
    if not isinstance(envelope.get("message"), str) or not (data is None or isinstance(data, dict)):
        return False
    return _code(envelope.get("code")) is not None


def _refuse(answer: Answer, request: Request, envelope: Mapping[str, Any], code: int) -> NoReturn:
    listed: object = envelope.get("errors")
    errors = cast("list[object]", listed) if isinstance(listed, list) else []
    raise _ERRORS.get(code, APIError)(
        _text(envelope.get("message")) or f"HTTP {answer.status}",
        code=code,
        http_status=answer.status,
        operation=request.operation.value,
        errors=[text for text in map(_text, errors[:MAX_DETAILS]) if text],
        retry_after=retry_after(answer.headers),
        task_id=request.task_id,
    )


def _evidence(answer: Answer, request: Request) -> VideoTaskId | None:
    """Return the id in an answer to CreateTask that did not plainly accept it."""
    if request.operation is not Operation.CREATE_TASK:
        return None
    return created_id(answer.body, answer.headers.get("Content-Type", ""), request.body)


def with_evidence(failure: TransportError, part: Answer, request: Request) -> TransportError:
    """Return why there is no whole answer to a request, with the id in the part that arrived, if there is one."""
    if (task_id := _evidence(part, request)) is None:
        return failure
    return MalformedResponseError(str(failure), http_status=part.status, task_id=task_id, from_api=True)


def _broken(answer: Answer, request: Request, *, reason: str | None = None) -> NoReturn:
    kind = answer.headers.get("Content-Type", "unknown type")
    reason = reason or f"{len(answer.body)} bytes of {kind:.60}"
    task_id = _evidence(answer, request)
    raise MalformedResponseError(
        f"{request.operation}: unexpected response (HTTP {answer.status}, {reason})",
        http_status=answer.status,
        task_id=task_id,
        from_api=task_id is not None or bool(_envelope(answer, request)),
    )


@lru_cache(maxsize=16)
def _unix_seconds(date: str) -> float | None:
    """Return an HTTP date as Unix seconds; many answers come in one second."""
    try:
        said = parsedate_to_datetime(date)
    except (ValueError, TypeError, OverflowError):
        return None
    return None if said.tzinfo is None else said.timestamp()


def answered_at(headers: Mapping[str, str]) -> float | None:
    """Return the Unix seconds of the server's clock when it answered, if it said so."""
    return _unix_seconds(headers.get("Date", ""))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that `Retry-After` asks to wait, fractions too, or None.

    A date is taken against the answer's own `Date`: the two clocks need not agree with ours.
    """
    value = headers.get("Retry-After", "").strip()
    if _SECONDS.fullmatch(value):
        return min(float(value), 999_999_999.0)
    wanted, sent = _unix_seconds(value), answered_at(headers)
    return None if wanted is None or sent is None else max(0.0, wanted - sent)


# Values out of JSON that can be anything


def _mapping(value: Any) -> Mapping[str, Any]:
    # A `cast` would be a call for each of several objects of every answer.
    return value if isinstance(value, dict) else {}  # pyright: ignore[reportUnknownVariableType]


def _text(value: object) -> str | None:
    """Return a string as one line that can be printed and stored, and is not too long."""
    if not isinstance(value, str):
        return None
    return value if value.isprintable() and len(value) <= MAX_TEXT else one_line(value, MAX_TEXT)


def _beginning(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the beginning of each part of a long answer: a hundred of them would fill the memory."""
    left = MAX_KEPT

    def cut(value: object, depth: int) -> object:
        nonlocal left
        left -= 64  # about what a value takes beside its text
        if isinstance(value, str):
            kept = value[: max(0, min(MAX_URL, left))]
            left -= len(kept)
            return kept
        if depth and isinstance(value, dict):
            return items(cast("dict[str, object]", value).items(), depth)
        if depth and isinstance(value, list):
            listed = cast("list[object]", value)
            return [cut(one, depth - 1) for one in takewhile(lambda _: left > 0, listed)]
        return value if isinstance(value, bool | float) else _code(value)

    def items(pairs: Iterable[tuple[str, object]], depth: int) -> dict[str, object]:
        return {name[:MAX_TEXT]: cut(value, depth - 1) for name, value in takewhile(lambda _: left > 0, pairs)}

    return items(sorted(data.items(), key=lambda pair: _KNOWN.get(pair[0], len(_KNOWN))), MAX_DEPTH)


def _number(value: object) -> float | None:
    if type(value) is float:
        return value if math.isfinite(value) else None
    try:
        return float(value) if type(value) is int else None
    except OverflowError:
        return None


def _code(value: object) -> int | None:
    """Return an integer that a database can hold."""
    return value if type(value) is int and abs(value) < 2**63 else None


def _required_number(data: Mapping[str, Any], name: str, answer: Answer, request: Request) -> float:
    number = _number(data.get(name))
    if number is None:
        raise MalformedResponseError(
            f"{request.operation}: {name} is {_brief(data.get(name))}, not a number",
            http_status=answer.status,
            from_api=True,
        )
    return number


def _media_urls(value: object) -> tuple[str, ...]:
    """Return the usable URLs, percent-encoded, in the server's order."""
    if not isinstance(value, list):
        return ()
    return tuple(filter(None, map(usable_url, cast("list[object]", value)[:MAX_URLS])))


def _brief(value: object) -> str:
    """Return a short, printable form of anything, for messages."""
    return ascii(value)[:80] if isinstance(value, str | int | float | None) else f"a {type(value).__name__}"
