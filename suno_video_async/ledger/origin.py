"""Whether a task is the one that a row bought."""

from __future__ import annotations

from suno_video_async.ledger.model import LedgerRow
from suno_video_async.models import TaskSnapshot
from suno_video_async.protocol.origin import differences


def origin_problem(snapshot: TaskSnapshot, row: LedgerRow) -> str | None:
    """Return why a task cannot be what a row bought, or None where it is made from exactly what the row says."""
    if not snapshot.input:
        return (
            f"the service does not say what task {snapshot.task_id} is made from,"
            f" so that it cannot be taken for row {row.id}"
        )
    found = "; ".join(differences(snapshot, row.track))
    return f"task {snapshot.task_id} is not of row {row.id}: {found}" if found else None
