"""The effect of each kind of fault on an answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from email.utils import formatdate
from typing import Any, Final, cast
from urllib.parse import quote, urlencode

from attrs import evolve

from suno_video_async.local.exchange import (
    MAX_BODY,
    MESSAGES,
    Delivery,
    Envelope,
    Reply,
    ServerRequest,
    amount,
    encoded,
)
from suno_video_async.local.faults import CREATE, MEDIA, Fault

#: In the query of a redirect that was followed, so that media is not redirected for ever.
REDIRECTED: Final = "redirected"
#: Bytes that `huge-body` adds to media; to answers of the API it adds `MAX_BODY`.
HUGE_MEDIA: Final = 64 * 1024 * 1024
_DROPPED: Final = Reply(status=500, delivery=Delivery.DROP)
#: An HTTP date has four digits for the year; the clock of a fast local server soon needs five.
_LAST_DATE: Final = 250e9
_TITLES: Final = {502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Time-out"}


def instead(fault: Fault, request: ServerRequest, now: float) -> Reply:
    """Return the answer of a fault that applies before anything is done; `now` is in Unix seconds."""
    if fault.name in {"drop-before", "hang"}:
        return evolve(_DROPPED, delay=fault.number)
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


def dated(reply: Reply, now: float) -> Reply:
    """Return an answer with the server's time, in Unix seconds, if it has none and a date can say it."""
    if "Date" in reply.headers or not 0 <= now < _LAST_DATE:
        return reply
    return evolve(reply, headers={"Date": formatdate(int(now), usegmt=True), **reply.headers})


def spoiled(fault: Fault, envelope: Envelope, now: float) -> Reply:
    """Return the answer of a completed call, changed by a fault; `now` is in Unix seconds."""
    if fault.name == "date-offset":
        return dated(encoded(envelope), now + fault.number)
    change = _OF_ENVELOPES.get(fault.name)
    if change is not None:
        return encoded(change(fault, envelope))
    see = _OF_TASKS.get(fault.name)
    if see is not None:
        reply = encoded(evolve(envelope, data=see(fault, dict(_data(envelope)), now)))
        return dated(reply, now + fault.number) if fault.name == "clock-offset" else reply
    return spoiled_delivery(fault, encoded(envelope))


def spoiled_delivery(fault: Fault, reply: Reply) -> Reply:
    """Return an answer whose delivery is changed by a fault."""
    if fault.name == "drop-after":
        return _DROPPED
    if fault.name == "slow":
        return evolve(reply, delay=fault.number)
    if fault.name == "truncate":
        return evolve(reply, delivery=Delivery.CUT)
    if fault.name in _OF_BODIES:
        return evolve(reply, body=_OF_BODIES[fault.name](reply.body))
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


def _code_with_data(fault: Fault, envelope: Envelope) -> Envelope:
    code = int(fault.number)
    return evolve(envelope, code=code, message=MESSAGES.get(code, "Error"), status=code if fault.http else 200)


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


def _unknown_end(fault: Fault, task: dict[str, Any], now: float) -> dict[str, Any]:  # noqa: ARG001  one form for all
    return task if task["complete_at"] is None else {**task, "status": "finished"}


def _reserved(fault: Fault, task: dict[str, Any], now: float) -> dict[str, Any]:  # noqa: ARG001  one form for all
    return task if task["complete_at"] is not None else {**task, "credits": amount(fault.number)}


def _no_credits(fault: Fault, task: dict[str, Any], now: float) -> dict[str, Any]:  # noqa: ARG001  one form for all
    return {name: value for name, value in task.items() if name != "credits"}


def _late_url(fault: Fault, task: dict[str, Any], now: float) -> dict[str, Any]:
    ended = task["complete_at"]
    return task if ended is None or now >= ended + fault.number else _with_urls(task, lambda _: [])


def _image_first(fault: Fault, task: dict[str, Any], now: float) -> dict[str, Any]:  # noqa: ARG001  one form for all
    return _with_urls(task, lambda urls: [url.rpartition(".")[0] + ".jpg" for url in urls] + urls)


def _spaced_url(fault: Fault, task: dict[str, Any], now: float) -> dict[str, Any]:  # noqa: ARG001  one form for all
    return _with_urls(task, lambda urls: [f"{url}?name=my söng.mp4" for url in urls])


def _with_urls(task: dict[str, Any], change: Callable[[list[str]], list[str]]) -> dict[str, Any]:
    """Return a task with other media URLs, if it has any."""
    result: dict[str, Any] = task["result"] or {}
    if "media_urls" not in result:
        return task
    return {**task, "result": {**result, "media_urls": change(result["media_urls"])}}


def _clock_offset(fault: Fault, task: dict[str, Any], now: float) -> dict[str, Any]:  # noqa: ARG001  one form for all
    times = {name: task[name] for name in ("create_at", "complete_at") if task[name] is not None}
    return {**task, **{name: at + int(fault.number) for name, at in times.items()}}


#: Changes of the encoded answer.
_OF_BODIES: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "bad-json": lambda body: body[: len(body) * 2 // 3],
    "byte-order-mark": lambda body: b"\xef\xbb\xbf" + body,
    "invalid-byte": lambda body: body.replace(b'"message": "', b'"message": "\xff', 1),
    "null-message": lambda body: re.sub(rb'"message": "(?:[^"\\]|\\.)*"', b'"message": null', body, count=1),
    "text-code": lambda body: re.sub(rb'"code": (\d+)', rb'"code": "\1"', body, count=1),
}
#: Changes of the task that TaskInfo shows.
_OF_TASKS: Final[Mapping[str, Callable[[Fault, dict[str, Any], float], dict[str, Any]]]] = {
    "reserved": _reserved,
    "no-credits": _no_credits,
    "unknown-end": _unknown_end,
    "late-url": _late_url,
    "image-first": _image_first,
    "spaced-url": _spaced_url,
    "clock-offset": _clock_offset,
}
#: Changes of the envelope.
_OF_ENVELOPES: Final[Mapping[str, Callable[[Fault, Envelope], Envelope]]] = {
    "commit-then-500": _commit_then_500,
    "code-with-data": _code_with_data,
    "missing-id": _missing_id,
    "wrong-id": _wrong_id,
    "unknown-status": _unknown_status,
}
