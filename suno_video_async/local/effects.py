"""The effect of each kind of fault on an answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from email.utils import formatdate
from typing import Any, Final, cast
from urllib.parse import quote, urlencode

from attrs import evolve

from suno_video_async.local.exchange import MAX_BODY, MESSAGES, Delivery, Envelope, Reply, ServerRequest, encoded
from suno_video_async.local.faults import CREATE, MEDIA, Fault

#: In the query of a redirect that was followed, so that media is not redirected for ever.
REDIRECTED: Final = "redirected"
#: Bytes that `huge-body` adds to media; to answers of the API it adds `MAX_BODY`.
HUGE_MEDIA: Final = 64 * 1024 * 1024
_DROPPED: Final = Reply(status=500, delivery=Delivery.DROP)
_TITLES: Final = {502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Time-out"}


def instead(fault: Fault, request: ServerRequest, now: float) -> Reply:
    """Return the answer of a fault that applies before anything is done; `now` is in Unix seconds."""
    if fault.name == "drop-before":
        return _DROPPED
    if fault.name == "redirect":
        query = urlencode({**request.query, REDIRECTED: "1"})
        return Reply(status=307, headers={"Location": f"{quote(request.path)}?{query}"})
    if fault.name == "html":
        return _page(int(fault.number))
    if fault.on == MEDIA:
        return _page(int(fault.number), _retry_after(fault, now))
    code = int(fault.number)
    status = code if fault.http else 200
    message = MESSAGES.get(code, "Error")
    return encoded(Envelope(code, message, None, (), status, _retry_after(fault, now)))


def _page(status: int, headers: Mapping[str, str] | None = None) -> Reply:
    title = f"{status} {_TITLES.get(status, 'Error')}"
    page = f"<html><head><title>{title}</title></head><body><center><h1>{title}</h1></center></body></html>\n"
    return Reply(status=status, headers={"Content-Type": "text/html", **(headers or {})}, body=page.encode())


def _retry_after(fault: Fault, now: float) -> dict[str, str]:
    if fault.retry_after is None:
        return {}
    if not fault.retry_after_date:
        return {"Retry-After": str(fault.retry_after)}
    # Both dates are ours, so their difference is exact, whatever the speed of the client's clock.
    second = int(now)
    until = second + fault.retry_after
    return {"Date": formatdate(second, usegmt=True), "Retry-After": formatdate(until, usegmt=True)}


def spoiled(fault: Fault, envelope: Envelope) -> Reply:
    """Return the answer of a completed call, changed by a fault."""
    change = _OF_ENVELOPES.get(fault.name)
    if change is not None:
        return encoded(change(fault, envelope))
    return spoiled_delivery(fault, encoded(envelope))


def spoiled_delivery(fault: Fault, reply: Reply) -> Reply:
    """Return an answer whose delivery is changed by a fault."""
    if fault.name == "drop-after":
        return _DROPPED
    if fault.name == "slow":
        return evolve(reply, delay=fault.number)
    if fault.name == "truncate":
        return evolve(reply, delivery=Delivery.CUT)
    if fault.name == "bad-json":
        return evolve(reply, body=reply.body[: len(reply.body) * 2 // 3])
    if fault.name == "huge-body":
        return _huge(fault, reply)
    return reply


def _huge(fault: Fault, reply: Reply) -> Reply:
    padding = HUGE_MEDIA if fault.on == MEDIA else MAX_BODY
    headers = dict(reply.headers)
    if "Content-Length" in headers:
        headers["Content-Length"] = str(reply.length + padding)
    return evolve(reply, padding=padding, headers=headers)


def _commit_then_500(fault: Fault, envelope: Envelope) -> Envelope:  # noqa: ARG001  one form for all
    return Envelope(500, MESSAGES[500], status=500 if fault.http else 200)


def _missing_id(fault: Fault, envelope: Envelope) -> Envelope:  # noqa: ARG001  one form for all
    return evolve(envelope, data={key: value for key, value in _data(envelope).items() if key != "task_id"})


def _wrong_id(fault: Fault, envelope: Envelope) -> Envelope:
    data = _data(envelope)
    # On CreateTask the id names no task at all; on TaskInfo it is another task's.
    wrong = f"{data.get('task_id', '')}-{'lost' if fault.on == CREATE else 'other'}"
    return evolve(envelope, data={**data, "task_id": wrong})


def _unknown_status(fault: Fault, envelope: Envelope) -> Envelope:  # noqa: ARG001  one form for all
    data = dict(_data(envelope))
    data.pop("credits", None)
    unknown = {"status": "uploading", "result": None, "duration_s": None, "complete_at": None}
    return evolve(envelope, data={**data, **unknown, "queue_position": 3})


def _data(envelope: Envelope) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", envelope.data)


_OF_ENVELOPES: Final[Mapping[str, Callable[[Fault, Envelope], Envelope]]] = {
    "commit-then-500": _commit_then_500,
    "missing-id": _missing_id,
    "wrong-id": _wrong_id,
    "unknown-status": _unknown_status,
}
