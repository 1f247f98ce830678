"""Whether a task is what the submission of a track bought, by what TaskInfo answers about it.

TaskInfo repeats in `param.input` what was submitted. That *disagrees* only where it can be read and names another
music task or track; an API that says nothing about it does not disagree. A "not found" is believed only if it
lasts: a task can be missing for a moment right after its creation (an assumption of ours).
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import define

from suno_video_async.models import TaskSnapshot, Track, normalised

#: How many answers "not found" about a task of our own, over how many seconds, are believed.
NOT_FOUND_ANSWERS, NOT_FOUND_SECONDS = 3, 60.0
#: Seconds between two of these answers.
NOT_FOUND_AGAIN = NOT_FOUND_SECONDS / NOT_FOUND_ANSWERS


@define
class Absence:
    """The answers "not found" about one task, in a row."""

    answers: int = 0
    since: float = 0.0

    def is_believed(self, now: float) -> bool:
        """Count one more of them, and return whether they are believed now."""
        if self.answers == 0:
            self.since = now
        self.answers += 1
        return self.answers >= NOT_FOUND_ANSWERS and now - self.since >= NOT_FOUND_SECONDS


def disagreement(snapshot: TaskSnapshot, track: Track) -> str | None:
    """Return how a task is certainly not of a track, or None where nothing speaks against it."""
    for name, mine in (("task_id", track.task_id), ("suno_id", track.suno_id)):
        said: object = snapshot.input.get(name)
        its = normalised(said) if isinstance(said, str) else ""
        if its and its != mine:
            return f"task {snapshot.task_id} is of another track: its {name} is {its[:80]!r}, not {mine!r}"
    return None


def differences(snapshot: TaskSnapshot, track: Track) -> Iterator[str]:
    """Yield each part of what was submitted that is not exactly what the track says."""
    wanted = {"task_id": track.task_id, "suno_id": track.suno_id, "author": track.author, "brand": track.brand}
    for name, mine in wanted.items():
        said: object = snapshot.input.get(name)
        its = normalised(said) if isinstance(said, str) else said
        if (its if its is not None else "") != (mine or ""):
            yield f"its {name} is {str(its or 'absent')[:80]!r}, the row's {mine or 'absent'!r}"
