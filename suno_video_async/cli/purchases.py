"""What a command has bought, so that no id is lost however it ends."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Generator, Iterable
from contextlib import contextmanager

from attrs import define, field

from suno_video_async.batch.outcome import Outcome
from suno_video_async.errors import SubmissionUnknown
from suno_video_async.hooks import Hooks, SubmitEvent
from suno_video_async.models import Track, VideoTaskId
from suno_video_async.observability.log import logger


@define(eq=False)
class Purchases(Hooks):
    """Keeps what is submitted and has not come out, and the submissions that nobody waits for any more.

    Attributes:
        unfinished: the tasks that are paid for and whose end is not known.
        unclaimed: submissions of unknown outcome that were still in the air when their caller left.

    """

    unfinished: dict[VideoTaskId, Track] = field(factory=dict[VideoTaskId, Track], init=False)
    unclaimed: list[SubmissionUnknown] = field(factory=list[SubmissionUnknown], init=False)
    _told: set[VideoTaskId] = field(factory=set[VideoTaskId], init=False)

    def on_submit(self, event: SubmitEvent) -> None:
        """Note what was bought."""
        self.unfinished[event.task_id] = event.request.track

    def ended(self, outcome: Outcome) -> None:
        """Note an outcome that was told to the user."""
        if outcome.video_task_id is None:
            return
        if outcome.state == "submitted":
            self._told.add(outcome.video_task_id)
        else:
            self.unfinished.pop(outcome.video_task_id, None)

    def is_told(self, task_id: VideoTaskId) -> bool:
        """Whether a task that goes on was told to the user, or is among the `untold`."""
        return task_id in self._told or task_id in self.unfinished

    def untold(self) -> list[Outcome]:
        """Return what the user has not heard of: the tasks that go on, and the submissions of unknown outcome."""
        left = [
            Outcome(track=track, state="submitted", video_task_id=task_id)
            for task_id, track in self.unfinished.items()
            if task_id not in self._told
        ]
        unknown = [
            Outcome(track=error.track, state="unknown", error=error)  # its id, if any, stands in the error
            for error in self.unclaimed
        ]
        return left + unknown

    @contextmanager
    def listening(self) -> Generator[None, None, None]:
        """Hear of the submissions whose callers left: the client can tell those to its log alone."""
        ear = _Ear(self.unclaimed)
        logger.addHandler(ear)
        try:
            yield
        finally:
            logger.removeHandler(ear)


class _Ear(logging.Handler):
    def __init__(self, unclaimed: list[SubmissionUnknown]) -> None:
        super().__init__(logging.WARNING)
        self._unclaimed = unclaimed

    def emit(self, record: logging.LogRecord) -> None:
        values = record.args if isinstance(record.args, tuple) else ()
        self._unclaimed.extend(value for value in values if isinstance(value, SubmissionUnknown))


def resume_command(ids: Iterable[str], *, options: Iterable[str] = ()) -> str:
    """Return the command that follows tasks again."""
    known = list(ids)
    dashes = ["--"] if any(task_id.startswith("-") for task_id in known) else []
    return shlex.join(["suno-video", "wait", *options, *dashes, *known])
