"""The logger shared by all modules, and the fields of its records."""

from __future__ import annotations

import logging

from suno_video_async.errors import APIError, DownloadError, MalformedResponseError, SubmissionUnknown
from suno_video_async.models import Track

logger: logging.Logger = logging.getLogger("suno_video_async")
logger.addHandler(logging.NullHandler())


def fields(
    event: str,
    *,
    track: Track | None = None,
    error: BaseException | None = None,
    operation: str | None = None,
    method: str | None = None,
    url: str | None = None,
    music_task_id: str | None = None,
    suno_id: str | None = None,
    task_id: str | None = None,
    row: str | None = None,
    state: str | None = None,
    attempt: int | None = None,
    wait: float | None = None,
    seconds: float | None = None,
    http_status: int | None = None,
    lane: str | None = None,
    credits: float | None = None,  # noqa: A002  the name of the field
    path: str | None = None,
    hook: str | None = None,
) -> dict[str, object]:
    """Return a record's `extra` fields; unknown ones are left out.

    None of the names is one of `logging.LogRecord`'s own, and all values are text or numbers.

    Args:
        event: what happened, in a word that does not change.
        track: gives `music_task_id` and `suno_id`.
        error: gives `error`, the name of its type, and its facts about the call.
        operation: the call, `"media"` or `"download"`.
        method: the HTTP method.
        url: without its query: that part may be signed or secret.
        music_task_id: what the video is made from.
        suno_id: the track inside it.
        task_id: the video task.
        row: the row's location in its catalog.
        state: its current or final state.
        attempt: how many times it was tried.
        wait: seconds until it is retried, or until calls resume.
        seconds: how long it took.
        http_status: the status of the answer.
        lane: which calls wait.
        credits: what a task cost.
        path: a file, or a folder.
        hook: the type of a hook.

    """
    if track is not None:
        music_task_id, suno_id = track.task_id, track.suno_id
    known: dict[str, object] = {
        "event": event,
        "operation": operation,
        "method": method,
        "url": url,
        "music_task_id": music_task_id,
        "suno_id": suno_id,
        "task_id": task_id,
        "row": row,
        "state": state,
        "attempt": attempt,
        "wait": wait,
        "seconds": seconds,
        "http_status": http_status,
        "lane": lane,
        "credits": credits,
        "path": path,
        "hook": hook,
    }
    given = {name: value for name, value in known.items() if value is not None}
    return {**_of_error(error), **given}


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
