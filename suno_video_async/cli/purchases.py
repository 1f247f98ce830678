"""What a command has bought, so that no id is lost however the command ends."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterable
from contextlib import AbstractContextManager

from attrs import define, field

from suno_video_async.batch.outcome import Outcome
from suno_video_async.cli.lines import logged
from suno_video_async.errors import SubmissionUnknown
from suno_video_async.hooks import Hooks, SubmitEvent
from suno_video_async.models import Track, VideoTaskId


@define(eq=False)
class Purchases(Hooks):
    """Keeps the submissions without an outcome, and those whose caller no longer waits.

    Attributes:
        unfinished: the tasks that are paid for and not known to have ended.
        unclaimed: submissions of unknown outcome that were still in flight when their caller left.

    """

    unfinished: dict[VideoTaskId, Track] = field(factory=dict[VideoTaskId, Track], init=False)
    unclaimed: list[SubmissionUnknown] = field(factory=list[SubmissionUnknown], init=False)
    _reported: set[VideoTaskId] = field(factory=set[VideoTaskId], init=False)

    def on_submit(self, event: SubmitEvent) -> None:
        """Note what was bought."""
        self.unfinished[event.task_id] = event.request.track

    def ended(self, outcome: Outcome) -> None:
        """Note an outcome that was reported to the user."""
        if outcome.video_task_id is None:
            return
        if outcome.state == "submitted":
            self._reported.add(outcome.video_task_id)
        else:
            self.unfinished.pop(outcome.video_task_id, None)

    def is_reported(self, task_id: VideoTaskId) -> bool:
        """Whether an unfinished task was reported to the user, or is among the `unreported`."""
        return task_id in self._reported or task_id in self.unfinished

    def unreported(self) -> list[Outcome]:
        """Return what was not reported yet: unfinished tasks, and submissions of unknown outcome."""
        left = [
            Outcome(track=track, state="submitted", video_task_id=task_id)
            for task_id, track in self.unfinished.items()
            if task_id not in self._reported
        ]
        unknown = [
            Outcome(track=error.track, state="unknown", error=error)  # its id, if any, is in the error
            for error in self.unclaimed
        ]
        return left + unknown

    def listening(self) -> AbstractContextManager[None]:
        """Collect the submissions whose callers left: the client can report those only to its log."""
        return logged(_Collector(self.unclaimed))


class _Collector(logging.Handler):
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
