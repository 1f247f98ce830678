"""The states of a row of work, and the moves between them, as a table.

A row is one track. What it must never do is be bought twice, so the moves are few:

- A row is `submitting` from the durable commit before its CreateTask is sent until the outcome is committed. A row
  that is found in this state by another process was interrupted: whether it was bought is not known.
- Back to `planned` goes only what is known not to have been bought: no byte left, or the server refused. The
  process that sent it knows; no other does, which is why `unknown` has no such move but by a person's hand, or
  if the server answered with an error 500 and no callback came within the time that almost all tasks take.
- `unknown` ends by evidence (`adopt`, a callback, or an id in the answer: a task was found that is this row's) or
  by decision (`resend`, `drop`).
- A refused row cost nothing, so the next run may try it again; a failed one only if the caller asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class State(StrEnum):
    """What is known about a row."""

    PLANNED = "planned"
    """Not bought, and to be bought."""
    SUBMITTING = "submitting"
    """Its CreateTask is about to be sent, or in flight."""
    SUBMITTED = "submitted"
    """Bought: its video task is known and not over."""
    SUCCEEDED = "succeeded"
    """The video is made."""
    DOWNLOADED = "downloaded"
    """The video is on disk."""
    FAILED = "failed"
    """The task ended without a video, or a person gave the row up."""
    REFUSED = "refused"
    """The server does not take it; nothing was bought."""
    UNKNOWN = "unknown"
    """It may be bought."""


class Cause(StrEnum):
    """Who makes a move."""

    RUN = "run"
    """The process that works on the row."""
    RECOVERY = "recovery"
    """A later process, on what an interrupted one left."""
    PERSON = "person"
    """Somebody who looked and decided."""
    CALLBACK = "callback"
    """A callback that named a task, which TaskInfo confirmed."""
    EVIDENCE = "evidence"
    """An id in the answer to the submission, which TaskInfo did not disown."""
    SILENCE = "silence"
    """No callback came, in good time, for a submission that the server answered with a 500."""


#: (from, to): who may make the move.
MOVES: Mapping[tuple[State, State], frozenset[Cause]] = {
    (State.PLANNED, State.SUBMITTING): frozenset({Cause.RUN}),
    (State.SUBMITTING, State.SUBMITTED): frozenset({Cause.RUN}),
    (State.SUBMITTING, State.PLANNED): frozenset({Cause.RUN}),
    (State.SUBMITTING, State.REFUSED): frozenset({Cause.RUN}),
    (State.SUBMITTING, State.UNKNOWN): frozenset({Cause.RUN, Cause.RECOVERY}),
    (State.SUBMITTED, State.SUCCEEDED): frozenset({Cause.RUN}),
    (State.SUBMITTED, State.FAILED): frozenset({Cause.RUN}),
    (State.SUBMITTED, State.UNKNOWN): frozenset({Cause.RUN}),
    (State.SUCCEEDED, State.DOWNLOADED): frozenset({Cause.RUN}),
    (State.REFUSED, State.PLANNED): frozenset({Cause.RUN}),
    (State.FAILED, State.PLANNED): frozenset({Cause.RUN}),
    (State.UNKNOWN, State.SUBMITTED): frozenset({Cause.PERSON, Cause.CALLBACK, Cause.EVIDENCE}),
    (State.UNKNOWN, State.PLANNED): frozenset({Cause.PERSON, Cause.SILENCE}),
    (State.UNKNOWN, State.FAILED): frozenset({Cause.PERSON}),
}

#: A row in one of these has been bought, or may have been.
BOUGHT = frozenset(
    {State.SUBMITTING, State.SUBMITTED, State.SUCCEEDED, State.DOWNLOADED, State.FAILED, State.UNKNOWN}
)

#: What a row in one of these cost is not known yet: an amount is set aside for it.
UNSETTLED = frozenset({State.SUBMITTING, State.SUBMITTED, State.UNKNOWN})


def may_move(old: State, new: State, cause: Cause = Cause.RUN) -> bool:
    """Whether a row may go from `old` to `new` by `cause`."""
    return cause in MOVES.get((old, new), frozenset())
