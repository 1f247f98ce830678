"""The logger shared by all modules, and the fields of its records."""

from __future__ import annotations

import logging
from typing import TypedDict, Unpack

from suno_video_async.errors import APIError, DownloadError, MalformedResponseError, SubmissionUnknown
from suno_video_async.models import Track

logger: logging.Logger = logging.getLogger("suno_video_async")
logger.addHandler(logging.NullHandler())


class Facts(TypedDict, total=False):
    """What a record can have as fields. None of the names is one of `logging.LogRecord`'s own."""

    track: Track | None
    """Gives `music_task_id` and `suno_id`."""
    error: BaseException | None
    """Gives `error`, the name of its type, and its facts about the call."""
    operation: str | None
    """The call, `"media"` or `"download"`."""
    method: str | None
    """The HTTP method."""
    url: str | None
    """Without its query: that part may be signed or secret."""
    music_task_id: str | None
    """What the video is made from."""
    suno_id: str | None
    """The track inside it."""
    task_id: str | None
    """The video task."""
    row: str | None
    """The row's location in its catalog."""
    state: str | None
    """Its current or final state."""
    attempt: int | None
    """How many times it was tried."""
    wait: float | None
    """Seconds until it is retried, or until calls resume."""
    seconds: float | None
    """How long it took."""
    http_status: int | None
    """The status of the answer."""
    lane: str | None
    """Which calls wait."""
    credits: float | None
    """What a task cost."""
    path: str | None
    """A file, or a folder."""
    hook: str | None
    """The type of a hook."""


def fields(event: str, **facts: Unpack[Facts]) -> dict[str, object]:
    """Return a record's `extra` fields, which are text or numbers; facts that are None are left out.

    Args:
        event: what happened, in a word that does not change.
        facts: what is known of it.

    """
    track, error = facts.pop("track", None), facts.pop("error", None)
    of_track = {} if track is None else {"music_task_id": track.task_id, "suno_id": track.suno_id}
    given = {name: value for name, value in facts.items() if value is not None}
    return {**_of_error(error), "event": event, **given, **of_track}


def _of_error(error: BaseException | None) -> dict[str, object]:
    """Return an error's facts; its message may contain anything, so it is not a field."""
    if error is None:
        return {}
    known: dict[str, object | None] = {"error": type(error).__name__}
    if isinstance(error, APIError):
        known |= {"operation": error.operation, "code": error.code, "http_status": error.http_status}
        known["task_id"] = error.task_id
    elif isinstance(error, MalformedResponseError):
        known |= {"http_status": error.http_status, "task_id": error.task_id}
    elif isinstance(error, SubmissionUnknown):
        known |= {"music_task_id": error.track.task_id, "suno_id": error.track.suno_id, "task_id": error.task_id}
    elif isinstance(error, DownloadError):
        known["http_status"] = error.status
    return {name: value for name, value in known.items() if value is not None}
