"""The boundaries between ledger writes, requests and file operations on the way of one row, as a table.

A point is where a process dies. What may be left unknown is decided by the ledger's order alone: from the commit
of `submitting` to the commit of what came of it, nobody knows afterwards; before and after that, everybody does.
"""

from __future__ import annotations

from attrs import frozen


@frozen
class Point:
    """One place to die at.

    Attributes:
        name: what was done last.
        unknown: how many rows are unknown afterwards, where one row is worked on at a time.
        charged: how many of those the server has charged.
        faults: the server's faults, where the point is never reached without one.
        after: where a run before it died, which left one unknown row that is charged.
        nth: at which time that the point is reached; by default with rows before and after the one that it
            happens to.
        checkpoint_after: submissions after which the log is brought into the ledger's file, if not 64.
        at_once: whether the rows are worked on at once; how many are left unknown is then not certain.
        loses: whether the process lives on there, but the session that its ledger goes with is ended.
        lost_at: where that happened before, at the same `nth` time; the process then dies at its first `name`.
        stored: whether the videos go to an object store.

    """

    name: str
    unknown: int = 0
    charged: int = 0
    faults: str = ""
    after: str | None = None
    nth: int = 3
    checkpoint_after: int | None = None
    at_once: bool = False
    loses: bool = False
    lost_at: str | None = None
    stored: bool = False

    def __str__(self) -> str:
        if self.at_once:
            return f"{self.name}, time {self.nth}"
        if self.loses:
            return f"session lost at {self.name}"
        return self.name if self.after is None else f"{self.name}, after {self.after}"


#: A well-formed 500 on the second CreateTask: the row goes back to planned and is sent again.
REFUSED = '[[fault]]\non = "CreateTask"\nkind = "code:500"\ncalls = [2]\n'

#: What happens to a ledger's files when it is opened, when its log is brought into its file, when it is closed.
OPENING = (
    "opening: before the mark",
    "opening: mark committed",
    "opening: checkpointed",
    "opening: verified",
    "opening: counter not renamed",
    "opening: counter written",
    "opening: live",
)
CHECKPOINT = (
    "checkpoint: before the mark",
    "checkpoint: marked",
    "checkpoint: counter not renamed",
    "checkpoint: counter written",
    "checkpoint: checkpointed",
    "checkpoint: live",
)
CLOSING = (
    "closing: before the mark",
    "closing: marked",
    "closing: counter not renamed",
    "closing: counter written",
    "closing: checkpointed",
)
#: What happens where several writes become one commit.
BATCH = ("batch: one write of several", "batch: written, not committed", "batch: committed, not answered")
_SENT = "CreateTask: sent"

POINTS = (
    *(Point(name, nth=1) for name in OPENING),
    *(Point(name, nth=1, after=_SENT, unknown=1, charged=1) for name in OPENING),
    *(Point(name, nth=2, checkpoint_after=2) for name in CHECKPOINT),
    *(Point(name, nth=1) for name in CLOSING),
    *(Point(name, nth=nth, at_once=True) for name in BATCH for nth in (1, 3)),
    Point("claim: before"),
    Point("claim: written, not committed"),
    Point("claim: committed"),
    Point("submitting: before"),
    Point("submitting: written, not committed"),
    Point("submitting: committed", unknown=1),
    Point("CreateTask: before the connection", unknown=1),
    Point("CreateTask: connected", unknown=1),
    Point("CreateTask: sent", unknown=1, charged=1),
    Point("CreateTask: answer arrives", unknown=1, charged=1),
    Point("CreateTask: answer read", unknown=1, charged=1),
    Point("submitted: before", unknown=1, charged=1),
    Point("submitted: written, not committed", unknown=1, charged=1),
    Point("submitted: committed"),
    Point("planned: before", unknown=1, faults=REFUSED, nth=1),
    Point("planned: written, not committed", unknown=1, faults=REFUSED, nth=1),
    Point("planned: committed", faults=REFUSED, nth=1),
    Point("TaskInfo: before the connection"),
    Point("TaskInfo: answer read"),
    Point("TaskInfo: success seen"),
    Point("succeeded: before"),
    Point("succeeded: written, not committed"),
    Point("succeeded: committed"),
    Point("download: before"),
    Point("download: part begun"),
    Point("download: part half written"),
    Point("download: part whole"),
    Point("download: part synced"),
    Point("download: has both names"),
    Point("download: renamed"),
    Point("downloaded: before"),
    Point("downloaded: written, not committed"),
    Point("downloaded: committed"),
)

#: What can happen to a ledger that is not in a file.
WITHOUT_FILE = tuple(point for point in POINTS if point.name not in {*OPENING, *CHECKPOINT, *CLOSING})

#: What can happen to a ledger that goes with a session. An id that comes after its loss is left for the next
#: holder, so that only an intent remains unknown of which its writer never heard that it was committed.
HELD = (
    Point("locks taken", nth=1),
    Point("locks taken", nth=1, after=_SENT, unknown=1, charged=1),
    Point("submitting: written, not committed", loses=True),
    Point("submitting: committed, not answered", loses=True, unknown=1),
    Point("CreateTask: sent", loses=True),
    Point("submitted: written, not committed", loses=True),
    Point("submitted: committed, not answered", loses=True),
    Point("succeeded: committed, not answered", loses=True),
    Point("word left: before", lost_at=_SENT, unknown=1, charged=1),
    Point("word left: committed", lost_at=_SENT),
    Point("store: put done", stored=True),
)

#: Reached by the run that finds what another one left.
RECOVERING = "recovery: written, not committed"
