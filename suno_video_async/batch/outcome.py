"""`Outcome`: the result of one row of a catalog."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from suno_video_async.errors import SunoVideoError
from suno_video_async.models import OutcomeState, Track, VideoTaskId
from suno_video_async.notebook import card


@frozen(kw_only=True)
class Outcome:
    """How one row of a catalog ended.

    Attributes:
        track: the track, or None when the row could not be read as one.
        state: its final state in this run.
        location: where the row is in its catalog, such as `"catalog.csv, line 7"`.
        path: the video on disk, once downloaded.
        sha256: of that file, where it was asked for.
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
    sha256: str | None = None
    credits: float | None = None
    requests: int = 0
    seconds: float = 0.0
    error: SunoVideoError | None = None

    @property
    def ok(self) -> bool:
        """Whether the row has its video: made in this run or before, and saved where that was asked for."""
        return self.error is None and self.state in {"succeeded", "downloaded", "skipped"}

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
            "url": self.url if self.path is None else None,
            "file": self.path,
            "error": self.error,
        }
        return card(track.suno_id if track else self.location or "row", self.state, facts, path=self.path)
