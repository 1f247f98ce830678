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

    """

    name: str
    unknown: int = 0
    charged: int = 0
    faults: str = ""


#: A well-formed 500 on the second CreateTask: the row goes back to planned and is sent again.
REFUSED = '[[fault]]\non = "CreateTask"\nkind = "code:500"\ncalls = [2]\n'

POINTS = (
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
    Point("planned: before", unknown=1, faults=REFUSED),
    Point("planned: written, not committed", unknown=1, faults=REFUSED),
    Point("planned: committed", faults=REFUSED),
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
    Point("download: renamed"),
    Point("downloaded: before"),
    Point("downloaded: written, not committed"),
    Point("downloaded: committed"),
)

#: Reached by the run that finds what another one left.
RECOVERING = "recovery: written, not committed"
