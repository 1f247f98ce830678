"""The order in a CreateTask, checked field by field."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, cast

from attrs import frozen

from suno_video_async.local.exchange import MAX_BODY, Refusal, ServerRequest

MODEL = "suno/music-video"
MAX_CREDIT_LENGTH = 50
MAX_ID_LENGTH = 256
_MAX_URL_LENGTH = 2048

_FORMS = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})
#: As `openapi.json` has it: whatever is neither a space nor a control character.
_URL = re.compile(r"[Hh][Tt][Tt][Pp][Ss]?://[^\s\x00-\x1f\x7f-\x9f/?#][^\s\x00-\x1f\x7f-\x9f]*")

#: What `Models/suno/music-video` says.
MODEL_DATA: Mapping[str, Any] = {
    "model": MODEL,
    "name": "Suno Music Video",
    "provider": "Suno",
    "type": "video",
    "input_schema": {
        "type": "object",
        "required": ["task_id", "suno_id"],
        "properties": {
            "task_id": {"type": "string", "minLength": 1, "description": "a finished music task"},
            "suno_id": {"type": "string", "minLength": 1, "description": "one track of that task"},
            "author": {"type": "string", "maxLength": MAX_CREDIT_LENGTH, "description": "shown as the artist"},
            "brand": {"type": "string", "maxLength": MAX_CREDIT_LENGTH, "description": "shown as a watermark"},
        },
    },
}


@frozen(kw_only=True)
class Order:
    """A video to be made.

    Attributes:
        given: the input as it was submitted.
        size: of the picture, in pixels; None for the song's or the server's.

    """

    task_id: str
    suno_id: str
    author: str | None = None
    brand: str | None = None
    callback_url: str | None = None
    given: Mapping[str, str | None]
    size: tuple[int, int] | None = None

    @property
    def param(self) -> dict[str, Any]:
        """The submission as TaskInfo repeats it."""
        return {"model": MODEL, "callback_url": self.callback_url, "input": dict(self.given)}

    @property
    def track(self) -> str:
        """The track's name in the statistics: an absent field is an empty part."""
        return "/".join((self.task_id, self.suno_id, self.author or "", self.brand or ""))


def check_form(request: ServerRequest) -> None:
    """Refuse a body that is a form, or compressed. Other types pass: many clients name none, or plain text.

    Raises:
        Refusal: 415.

    """
    kind = (request.header("Content-Type") or "").partition(";")[0].strip().lower()
    if kind in _FORMS:
        raise Refusal(415, f"Unsupported Media Type - send application/json, not {kind}", status=415)
    packed = (request.header("Content-Encoding") or "identity").strip().lower()
    if packed != "identity":
        raise Refusal(415, "Unsupported Media Type - send the body as it is, without Content-Encoding", status=415)


def read_order(body: bytes) -> Order:
    """Return the order that a body holds.

    Raises:
        Refusal: 422 with one line for each wrong field, or 413.

    """
    content = json_object(body)
    errors: list[str] = []
    if content.get("model") != MODEL:
        errors.append(f"model: must be {MODEL!r}" if "model" in content else "model: field required")
    callback_url = _callback_url(content.get("callback_url"), errors)
    given = content.get("input")
    if not isinstance(given, dict):
        errors.append("input: field required" if given is None else "input: must be an object")
        raise Refusal(422, errors=tuple(errors))
    fields = _fields(cast("Mapping[str, object]", given), errors)
    if errors:
        raise Refusal(422, errors=tuple(errors))
    return Order(
        task_id=fields["task_id"] or "",
        suno_id=fields["suno_id"] or "",
        author=fields.get("author"),
        brand=fields.get("brand"),
        callback_url=callback_url,
        given=fields,
    )


def json_object(body: bytes) -> Mapping[str, object]:
    """Return the object in a body.

    Raises:
        Refusal: 413 or 422.

    """
    if len(body) > MAX_BODY:
        raise Refusal(413, f"Payload Too Large - at most {MAX_BODY} bytes", status=413)
    try:
        content: object = json.loads(body.decode())
    except (ValueError, RecursionError):
        raise Refusal(422, errors=("body: not valid JSON",)) from None
    if not isinstance(content, dict):
        raise Refusal(422, errors=("body: must be an object",))
    return cast("Mapping[str, object]", content)


def _callback_url(value: object, errors: list[str]) -> str | None:
    if value is None or value == "":  # as in documented example bodies
        return None
    if isinstance(value, str) and len(value) <= _MAX_URL_LENGTH and _URL.fullmatch(value):
        return value
    errors.append(f"callback_url: must be an http(s) URL of at most {_MAX_URL_LENGTH} characters")
    return None


def _fields(given: Mapping[str, object], errors: list[str]) -> dict[str, str | None]:
    """Return the known fields that were given, in the order of the contract."""
    fields: dict[str, str | None] = {}
    for name in ("task_id", "suno_id"):
        value = given.get(name)
        if value is None or (isinstance(value, str) and not value.strip()):
            errors.append(f"input.{name}: field required")
        elif not isinstance(value, str) or len(value) > MAX_ID_LENGTH:
            errors.append(f"input.{name}: must be a string of at most {MAX_ID_LENGTH} characters")
        else:
            fields[name] = value
    for name in ("author", "brand"):
        value = given.get(name)
        if value is not None and not isinstance(value, str):
            errors.append(f"input.{name}: must be a string")
        elif value is not None and len(value) > MAX_CREDIT_LENGTH:
            errors.append(f"input.{name}: at most {MAX_CREDIT_LENGTH} characters")
        elif name in given:
            fields[name] = value
    return fields
