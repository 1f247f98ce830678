"""Defects that the simulation has found and that are not mended yet: hidden here, so that it finds others.

Each entry goes when its defect is mended; `--unmask NAME` shows it meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from suno_video_async import ClientClosedError, Conversion, Outcome, SunoVideoClient
from suno_video_async.calls import Calls, Result
from suno_video_async.models import TaskSnapshot, VideoTaskId
from suno_video_async.pacing.limiter import Place
from suno_video_async.protocol.wire import Answer, Request

T = TypeVar("T")

#: Name of each: what is wrong.
KNOWN = {
    "pick-up": "rows that the catalog names are picked up a second time, while their claims still wait",
    "window": "requests after a note of a place that was followed by silence are unknown to the next process",
    "entering": "a client whose __aenter__ is cancelled leaves its background task behind",
    "closing": "the watcher goes on asking while the client is being closed, and after",
    "follow": "a submitted row that comes up while the client is being closed raises an ExceptionGroup",
    "left-open": "a conversion whose __aenter__ is interrupted leaves its ledger open and locked",
    "estimates": "questions for the cost outlive the conversion that asked them",
}

#: What is hidden now.
hidden = set(KNOWN)


class PatientConversion(Conversion):
    """Waits with the pick-up until every row of the catalog is claimed; takes its estimates with it."""

    unclaimed: Callable[[], bool] = staticmethod(lambda: False)

    async def _pick_up(self, group: Any, handle: Any) -> None:
        while "pick-up" in hidden and self.unclaimed():  # noqa: ASYNC110  there is no event to wait for
            await asyncio.sleep(0.001)
        await super()._pick_up(group, handle)

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

    async def _run(self, send: Any) -> None:
        try:
            await super()._run(send)
        finally:
            estimates = list(self._estimates.values()) if "estimates" in hidden else []
            for task in estimates:
                task.cancel()
                task.add_done_callback(lambda task: task.cancelled() or task.exception())


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


async def enter(client: SunoVideoClient) -> None:
    """Open a client, not to be interrupted."""
    if "entering" not in hidden:
        await client.__aenter__()
        return
    entering = asyncio.ensure_future(client.__aenter__())
    try:
        await asyncio.shield(entering)
    except asyncio.CancelledError:
        await entering
        await client.aclose()
        raise
