"""What TaskInfo says about an id that stood in an answer to CreateTask which did not plainly accept it.

Such an id is evidence of a task that may be paid for (contract, "Paying once"): if the task is of the submitted
track, or does not say of which, the submission counts as accepted. Otherwise it stays unknown, and the id is kept.
"""

from __future__ import annotations

from suno_video_async.api.calls import Calls
from suno_video_async.errors import NotFoundError, SunoVideoError, TaskEndUnknown
from suno_video_async.models import TaskSnapshot, Track, VideoTaskId
from suno_video_async.protocol import codec
from suno_video_async.protocol.origin import NOT_FOUND_AGAIN, Absence, disagreement
from suno_video_async.task import failure_of


async def evidence_problem(calls: Calls, task_id: VideoTaskId, track: Track, *, patient: bool) -> str | None:
    """Ask about a task; return why it does not count as what was bought for a track, or None if it does.

    Args:
        calls: how the question is sent.
        task_id: the task that an answer to CreateTask named.
        track: what was submitted.
        patient: whether the submission is so recent that a 404 may be too early to be believed.

    """
    absence = Absence()
    while True:
        try:
            snapshot = await calls.read(codec.task_info(task_id), codec.read_snapshot)
        except NotFoundError as error:
            if not patient or absence.is_believed(calls.clock.now()):
                return str(error)
        except SunoVideoError as error:
            return str(error)
        else:
            return disagreement(snapshot, track) or _end_problem(snapshot)
        await calls.clock.sleep(NOT_FOUND_AGAIN)


def _end_problem(snapshot: TaskSnapshot) -> str | None:
    """Return why following an ended task would leave its submission as unknown as it is."""
    error = failure_of(snapshot)
    return str(error) if isinstance(error, TaskEndUnknown) else None
