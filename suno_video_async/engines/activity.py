"""An activity of Temporal as this package's are: it shows signs of life, ends as asked, and says why it failed.

Three things end one from outside. Its workflow may wish it: to stop, which finishes what is submitted, or to leave
at once. Its worker may end. Or Temporal may have given it to another worker meanwhile, because signs of life did
not reach it: then it must leave, and it must not look done.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, Literal, TypeAlias, TypeVar

from temporalio import activity
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory, FailureError, TemporalError
from temporalio.service import RPCError

from suno_video_async.engines.supervision import FIRST_WAIT, Again, when_again
from suno_video_async.errors import SunoVideoError
from suno_video_async.observability.log import fields, logger

#: Seconds between two signs of life.
BEAT = 5

#: For what is part of the work, such as that another process still has the ledger: no traceback each second.
_QUIET = ApplicationErrorCategory.BENIGN

T = TypeVar("T")
Counts: TypeAlias = Counter[str]
Ending: TypeAlias = Literal["", "stop", "detach"]


async def beating(
    work: Coroutine[Any, Any, T], counts: Counts | None = None, stop: asyncio.Event | None = None
) -> T:
    """Show signs of life while something works, and end it as the activity is to end."""
    working = asyncio.ensure_future(work)
    shutdown = asyncio.ensure_future(activity.wait_for_worker_shutdown())
    waited_for: set[asyncio.Future[Any]] = {working, shutdown}
    try:
        while not working.done():
            activity.heartbeat(dict(counts or {}))
            try:
                await asyncio.wait(waited_for, timeout=BEAT, return_when=asyncio.FIRST_COMPLETED)
            except asyncio.CancelledError:
                if not activity.is_cancelled():
                    raise
            how = "detach" if shutdown.done() else await _asked(with_stop=stop is not None)
            if how == "stop" and stop is not None:
                stop.set()
            elif how == "detach" and shutdown in waited_for:
                working.cancel()
                waited_for.remove(shutdown)
    finally:
        shutdown.cancel()
        working.cancel()
    if not working.cancelled():
        return working.result()
    if _is_wanted():
        raise asyncio.CancelledError
    # If it returned, it would count as done.
    raise ApplicationError("its worker has ended, or has lost contact with Temporal", type="Left", category=_QUIET)


def _is_wanted() -> bool:
    """Whether it is the workflow that wants the activity to end."""
    details = activity.cancellation_details()
    return details is not None and details.cancel_requested


async def _asked(*, with_stop: bool) -> Ending:
    """Return how the activity is to end; the workflow's wish may become more urgent."""
    if not activity.is_cancelled():
        return ""
    if not with_stop or not _is_wanted():
        return "detach"
    ending: Ending = "stop"  # until it can be asked
    with contextlib.suppress(TemporalError):
        handle = activity.client().get_workflow_handle(activity.info().workflow_id or "")
        ending = await handle.query("ending", rpc_timeout=timedelta(seconds=BEAT))
    return ending


def failure(error: Exception) -> Exception:
    """Return an error as Temporal keeps it, and whether and when it tries again."""
    if isinstance(error, FailureError | RPCError):
        return error
    kind = type(error).__name__
    if isinstance(error, WorkflowFailureError):
        cause = error.cause.__cause__ or error.cause
        if isinstance(cause, ApplicationError):
            return ApplicationError(cause.message, type=cause.type, non_retryable=True)
        return ApplicationError(str(cause), type=type(cause).__name__, non_retryable=True)
    if not isinstance(error, SunoVideoError | OSError):  # whose message may say anything
        logger.error("unexpected error", exc_info=error, extra=fields("defect", error=error))
        return ApplicationError("unexpected error: see the worker's log", type=kind, non_retryable=True)
    again = when_again(error)
    return ApplicationError(
        str(error),
        type=kind,
        non_retryable=again is Again.NEVER,
        next_retry_delay=timedelta(seconds=FIRST_WAIT) if again is Again.LATER else None,
        category=_QUIET if again is Again.SOON else ApplicationErrorCategory.UNSPECIFIED,
    )
