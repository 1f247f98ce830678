"""How old a task is that another run has submitted, by clocks that may be wrong.

The server's own clock tells it best: when it answered, beside when it created the task. Without the first, the
clock of this machine has to do. Either may be hours off, so a result that cannot be is not used.
"""

from __future__ import annotations

from suno_video_async.models import TaskSnapshot

#: An HTTP date has whole seconds, and so may `create_at`: a task may look this much younger than new.
ROUNDING = 2.0
#: The API forgets what is older, in seconds (an assumption of the contract).
OLDEST = 14 * 86_400.0


def age_of(snapshot: TaskSnapshot, wall: float) -> float | None:
    """Return the age of a task in seconds when a snapshot of it came, or None if no clock tells it.

    Args:
        snapshot: what the server said.
        wall: Unix seconds by the clock of this machine.

    """
    if snapshot.create_at is None:
        return None
    for now in (snapshot.answered_at, wall):
        if now is not None and -ROUNDING <= now - snapshot.create_at <= OLDEST:
            return max(0.0, now - snapshot.create_at)
    return None
