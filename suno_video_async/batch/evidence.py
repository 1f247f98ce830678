"""Unknown rows that have an id: it stood in the answer to their submission, and TaskInfo may confirm it now."""

from __future__ import annotations

from suno_video_async.api.evidence import evidence_problem
from suno_video_async.engine import Engine
from suno_video_async.errors import LedgerError
from suno_video_async.ledger.aio import AsyncLedger
from suno_video_async.ledger.model import LedgerRow, Transition
from suno_video_async.ledger.states import Cause, State
from suno_video_async.models import VideoRequest
from suno_video_async.protocol.origin import NOT_FOUND_SECONDS


async def confirmed_row(engine: Engine, ledger: AsyncLedger, row: LedgerRow) -> LedgerRow:
    """Return an unknown row as submitted if TaskInfo confirms the id that it has; else return it as it is."""
    if row.state is not State.UNKNOWN or row.video_task_id is None:
        return row
    recent = abs(engine.clock.time() - row.since) < NOT_FOUND_SECONDS
    calls = engine.checked().calls
    if await evidence_problem(calls, row.video_task_id, row.track, patient=recent) is not None:
        return row
    transition = Transition(state=State.SUBMITTED, video_task_id=row.video_task_id)
    try:
        confirmed = await ledger.move(row, transition, cause=Cause.EVIDENCE)
    except LedgerError:
        now = await ledger.call(ledger.sync.row, row.id)
        if now is None or now.state is State.UNKNOWN:
            raise
        return now  # another caller who asked was faster
    emit_found(engine, confirmed)
    return confirmed


def emit_found(engine: Engine, row: LedgerRow) -> None:
    """Report the submission of a row whose answer did not accept it, and whose task has been found."""
    if row.video_task_id is not None:
        engine.emit_submit(VideoRequest(track=row.track), row.video_task_id)
