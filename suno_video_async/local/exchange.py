"""One request, the call it means, and its answer as plain values, so that the service runs without a network."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Mapping
from enum import Enum, auto
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen

from suno_video_async.local.faults import BALANCE, CREATE, CREDITS, ESTIMATE, INFO, MODELS

#: The longest request body that is read, in bytes.
MAX_BODY = 1024 * 1024

#: The messages of the codes, unless there is a more precise one.
MESSAGES: Mapping[int, str] = {
    200: "success",
    401: "Unauthorized - The API key is missing or wrong",
    402: "Insufficient Credits",
    403: "Forbidden - The API key is disabled",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Payload Too Large",
    415: "Unsupported Media Type",
    422: "Validation Error",
    429: "Rate Limited - Request limit has been exceeded for this resource",
    455: "Service Unavailable - The system is under maintenance",
    500: "Server Error - An unexpected error occurred while processing the request",
    501: "Generation Failed",
    505: "Feature Disabled",
}

_JOB: Final = "/api/v1/client/job/"
MODELS_PATH: Final = _JOB + "Models"

_CALLS: Final[Mapping[str, tuple[str, str]]] = {
    _JOB + CREATE: ("POST", CREATE),
    _JOB + INFO: ("GET", INFO),
    _JOB + ESTIMATE: ("POST", ESTIMATE),
    _JOB + CREDITS: ("POST", CREDITS),
    MODELS_PATH: ("GET", MODELS),
    "/api/v1/client/account/balance": ("GET", BALANCE),
}


@frozen(kw_only=True)
class ServerRequest:
    """One request as the service sees it.

    Attributes:
        path: percent-decoded.
        headers: looked up without regard to case.
        body: at most one byte more than `MAX_BODY`.
        remote: the peer's IP address.
        size: of the picture, in pixels, for orders of the studio's page; the API's own calls cannot set it.
        waited: whether the answer may not come later once more.

    """

    method: str
    path: str
    query: Mapping[str, str] = field(factory=dict[str, str])
    headers: Mapping[str, str] = field(factory=dict[str, str], repr=False)
    body: bytes = b""
    remote: str | None = "127.0.0.1"
    size: tuple[int, int] | None = None
    waited: bool = False

    def header(self, name: str) -> str | None:
        """Return a header's value, or None."""
        value = self.headers.get(name)
        if value is not None:
            return value
        wanted = name.lower()
        return next((value for key, value in self.headers.items() if key.lower() == wanted), None)


class Delivery(Enum):
    """How an answer reaches the client."""

    ANSWER = auto()
    """Whole."""
    CUT = auto()
    """Its first half; then the connection is closed."""
    DROP = auto()
    """Nothing: the connection is closed."""


@frozen
class FilePart:
    """Bytes of a file that are an answer's body."""

    path: Path
    start: int
    length: int


@frozen(kw_only=True)
class Reply:
    """What to answer, and how to deliver it.

    Attributes:
        part: the body, if it is in a file; `body` is empty then.
        padding: number of spaces after the body.
        delay: seconds of the server's clock to wait first.
        prepare: blocks; call it in a thread, then handle the same request again. The other fields are empty.
        wait: likewise, but to be awaited; the request is then handled as one that has waited.

    """

    status: int = 200
    headers: Mapping[str, str] = field(factory=dict[str, str])
    body: bytes = field(default=b"", repr=False)
    part: FilePart | None = None
    padding: int = 0
    delivery: Delivery = Delivery.ANSWER
    delay: float = 0.0
    prepare: Callable[[], object] | None = None
    wait: Callable[[], Coroutine[Any, Any, object]] | None = None

    @property
    def length(self) -> int:
        """Bytes of the body and its padding."""
        return (self.part.length if self.part is not None else len(self.body)) + self.padding


@frozen
class Envelope:
    """The frame of every answer of the API, before it is encoded.

    Attributes:
        status: the HTTP status; refusals may have 200, too.
        headers: besides Content-Type.

    """

    code: int = 200
    message: str = "success"
    data: Any = None
    errors: tuple[str, ...] = ()
    status: int = 200
    headers: Mapping[str, str] = field(factory=dict[str, str])


class Refusal(Exception):  # noqa: N818  it is an answer
    """The request is refused, and nothing was done."""

    def __init__(
        self,
        code: int,
        message: str | None = None,
        *,
        errors: tuple[str, ...] = (),
        retry_after: int | None = None,
        allow: str | None = None,
        status: int = 200,
    ) -> None:
        text = message or MESSAGES.get(code, "Error")
        super().__init__(code, text)
        headers = {"Retry-After": retry_after, "Allow": allow}
        said = {name: str(value) for name, value in headers.items() if value is not None}
        self.envelope: Envelope = Envelope(code, text, None, errors, status, said)


def call_of(method: str, path: str) -> str:
    """Return the call that a method and a path mean.

    Raises:
        Refusal: 404, there is no such path; 405, it takes another method.

    """
    found = _CALLS.get(MODELS_PATH if path.startswith(MODELS_PATH + "/") else path)
    if found is None:
        raise Refusal(404, f"Not Found - {method} is not known here", status=404)
    wanted, call = found
    if method != wanted:
        raise Refusal(405, f"Method Not Allowed - {call} takes {wanted}", status=405, allow=wanted)
    return call


JSON: Final[Mapping[str, str]] = {"Content-Type": "application/json; charset=utf-8"}


def encoded(envelope: Envelope) -> Reply:
    """Return the answer that carries an envelope."""
    content: dict[str, Any] = {"code": envelope.code, "message": envelope.message, "data": envelope.data}
    if envelope.errors:
        content["errors"] = list(envelope.errors)
    return json_reply(content, status=envelope.status, headers=envelope.headers)


def json_reply(content: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """Return `content` as a JSON answer."""
    return Reply(status=status, headers={**JSON, **(headers or {})}, body=json.dumps(content).encode())


def amount(number: float) -> int | float:
    """Return a number of credits as the API prints it: an integer if it is whole."""
    rounded = round(number, 6)
    return int(rounded) if rounded == int(rounded) else rounded
