"""`Outcome`: the result of one row of a catalog."""

from __future__ import annotations

from pathlib import Path

from attrs import field, frozen

from suno_video_async._util.filesystem import file_uri
from suno_video_async.errors import APIError, DownloadError, SubmissionUnknown, SunoVideoError, TaskFailed
from suno_video_async.models import OutcomeState, Track, VideoTaskId
from suno_video_async.notebook import card

_FIELDS = ("task_id", "suno_id", "author", "brand")


@frozen(kw_only=True, slots=False)  # with slots, it takes twice as long to make
class Outcome:
    """How one row of a catalog ended.

    Attributes:
        track: the track, or None when the row could not be read as one.
        state: its final state in this run.
        location: where the row is in its catalog, such as `"catalog.csv, line 7"`.
        path: the video on disk, once downloaded; None in an object store.
        sha256: of that video, where it was asked for.
        credits: what the video cost, when the server said so.
        requests: API requests spent on this row, refused ones included.
        seconds: from the row's start to its end, of the client's clock.
        error: what stopped it, as the exception that `submit` or `result` would have raised.

    """

    track: Track | None
    state: OutcomeState
    location: str | None = None
    video_task_id: VideoTaskId | None = None
    url: str | None = None
    path: Path | None = None
    _uri: str | None = field(default=None, alias="uri", repr=False)
    sha256: str | None = None
    credits: float | None = None
    requests: int = 0
    seconds: float = 0.0
    error: SunoVideoError | None = None

    @property
    def uri(self) -> str | None:
        """Where the video is as text, once downloaded: `file:///…`, or the URL in an object store."""
        return self._uri if self._uri or self.path is None else file_uri(self.path)

    @property
    def ok(self) -> bool:
        """Whether the row has its video: made in this run or before, and saved where that was asked for."""
        return self.error is None and self.state in {"succeeded", "downloaded", "skipped"}

    def record(self) -> dict[str, object]:
        """Return the outcome as the object that the command line writes as a JSON line."""
        track = self.track
        return {
            "row": self.location,
            "track": None if track is None else {name: getattr(track, name) for name in _FIELDS},
            "extra": {} if track is None else dict(track.extra),
            "state": self.state,
            "video_task_id": self.video_task_id or _kept_id(self.error),
            "url": self.url,
            "path": self.uri if self.path is None else str(self.path),
            **({} if self.sha256 is None else {"sha256": self.sha256}),
            "credits": None if self.credits is None else _number(self.credits),
            "error": None if self.error is None else error_record(self.error),
        }

    def _repr_html_(self) -> str:
        track = self.track
        facts = {
            "row": self.location,
            "author": track.author if track else None,
            "brand": track.brand if track else None,
            "task": self.video_task_id,
            "credits": self.credits,
            "requests": self.requests,
            "seconds": self.seconds,
            "url": self.url if self.uri is None else None,
            "file": self.path or self.uri,
            "error": self.error,
        }
        return card(track.suno_id if track else self.location or "row", self.state, facts, path=self.path)


def with_row(outcome: Outcome, location: str, *, requests: int, seconds: float) -> Outcome:
    """Return an outcome with what is known of its row in this run."""
    return Outcome(  # `evolve` takes four times as long
        track=outcome.track,
        state=outcome.state,
        location=location,
        video_task_id=outcome.video_task_id,
        url=outcome.url,
        path=outcome.path,
        uri=outcome._uri,  # pyright: ignore[reportPrivateUsage]  the property would ask for the working directory, on the event loop
        sha256=outcome.sha256,
        credits=outcome.credits,
        requests=requests,
        seconds=seconds,
        error=outcome.error,
    )


def error_record(error: Exception) -> dict[str, object]:
    """Return an error as a value of a JSON line."""
    return {"type": type(error).__name__, "code": _code(error), "message": str(error)}


def _code(error: Exception) -> int | None:
    if isinstance(error, APIError):
        return error.code
    if isinstance(error, TaskFailed):
        return error.snapshot.result_code
    return error.status if isinstance(error, DownloadError) else None


def _kept_id(error: Exception | None) -> str | None:
    """Return the id that was found in the broken answer to an unknown submission, if any."""
    return error.task_id if isinstance(error, SubmissionUnknown) else None


def _number(value: float) -> float | int:
    return int(value) if value.is_integer() else round(value, 6)
