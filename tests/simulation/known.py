"""Defects that the simulation has found and that are not mended yet: hidden here, so that it finds others.

Each entry goes when its defect is mended; `--unmask NAME` shows it meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar
from unittest.mock import patch

import anyio

from suno_video_async import ClientClosedError, Conversion, Outcome, batch, books, client, finishing
from suno_video_async.calls import Calls, Result
from suno_video_async.models import TaskSnapshot, VideoTaskId
from suno_video_async.pacing.limiter import Place
from suno_video_async.protocol.wire import Answer, Request

T = TypeVar("T")

#: Name of each: what is wrong.
KNOWN = {
    "window": "requests after a note of a place that was followed by silence are unknown to the next process",
    "closing": "the watcher goes on asking while the client is being closed, and after",
    "left-open": "a conversion whose client is closed while it is being entered leaves its ledger open and locked",
    "spinning": "to_the_end in a cancelled anyio scope turns the loop round and round until its work is done",
    "follow": "a submitted row that comes up while the client is being closed raises an ExceptionGroup",
}

#: What is hidden now.
hidden = set(KNOWN)


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Do as the library's, but hold off anyio, which would cancel again in every turn of the loop."""
    if "spinning" not in hidden:
        return await finishing.to_the_end(work)
    with anyio.CancelScope(shield=True):
        result = await finishing.to_the_end(work)
    return result  # noqa: RET504  a scope can swallow, says mypy


@contextmanager
def mended() -> Iterator[None]:
    """Hide what no subclass can hide."""
    with ExitStack() as stack:
        for module in (batch, books, client):
            stack.enter_context(patch.object(module, "to_the_end", to_the_end))
        yield


class PatientConversion(Conversion):
    """Notes the time all along, and ends a row whose client is gone."""

    async def _note_places(self) -> None:
        if "window" not in hidden:
            await super()._note_places()
        elif (rate := self._client.rate) is not None:
            while True:
                await self._client.clock.sleep(rate.per / 2)
                await self._books.note_place(self._client.clock.time())

    async def _follow(self, claim: Any, work: Any) -> Outcome:
        try:
            return await super()._follow(claim, work)
        except ClientClosedError as error:
            if "follow" not in hidden:
                raise
            return Outcome(track=claim.row.track, state="submitted", error=error)


class QuietCalls(Calls):
    """Asks nothing more once it is closed."""

    __slots__ = ()

    def ask(self, place: Place, task_id: VideoTaskId, answered: Callable[[Result[TaskSnapshot]], None]) -> None:
        if self.closed and "closing" in hidden:
            self.limiter.release(place, sent=False, answered=False)
        else:
            super().ask(place, task_id, answered)

    async def _attempt(self, request: Request, decode: Callable[[Answer, Request], T]) -> T:
        if "closing" not in hidden:
            return await super()._attempt(request, decode)
        place = await self.limiter.acquire()
        if self.closed:
            self.limiter.release(place, sent=False, answered=False)
            raise ClientClosedError(f"{request.operation}: the client is closed")
        result = await self._start(place, request, decode)
        if result.error is not None:
            raise result.error
        return result.value  # type: ignore[return-value]
