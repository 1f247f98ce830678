"""Whether a ledger that goes with a session is still this process's: asked each second, and before each send.

The locks of a session keep another process from writing; they do not keep this one from sending. A process that
was stopped for a minute, or cut off from the database, may have lost its locks and not know it yet, while another
one works with the same key. So right before each send, in the same step of the event loop, it is asked how old the
session's last answer is. If that is too old, nothing is sent until the session has answered; if it never does, the
ledger is lost, and with it all use of the API.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol, runtime_checkable

from suno_video_async._util.aio import RunBlocking
from suno_video_async.errors import LedgerError, LedgerLost
from suno_video_async.models import VideoTaskId

#: Seconds between two questions to the session, and how many of them it may leave without an answer.
EVERY, SILENCE = 1.0, 25
#: How often word is left for the next holder, with so many seconds between: a server may just be starting again.
TRIES, BETWEEN = 5, 2.0


@runtime_checkable
class HeldLedger(Protocol):
    """A ledger that is this process's for as long as its session lasts."""

    def ping(self) -> None:
        """Ask the session for an answer. Blocks.

        Raises:
            LedgerLost: it has ended.

        """
        ...

    def is_fresh(self) -> bool:
        """Whether the session has answered so lately that it still has its locks. Never blocks."""
        ...

    def cut(self) -> None:
        """End a session that does not answer: what waits for it fails. Never blocks."""
        ...

    def sends_beyond(self) -> float:
        """Return for how many seconds after this one opened the ledger an earlier holder may still send.

        That is none who has closed it; but one that has lost its session may not know that yet. Never blocks.
        """
        ...

    def leave(self, nonce: str, task_id: VideoTaskId) -> None:
        """Leave word for the next holder of the task that an attempt has become, after the session's end. Blocks.

        Raises:
            LedgerError: that is not possible either, at the moment.

        """
        ...


async def leave_word(
    ledger: object,
    nonce: str,
    task_id: VideoTaskId,
    call: RunBlocking,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> bool:
    """Leave word for the next holder of a ledger that was lost; return whether that was possible."""
    if not isinstance(ledger, HeldLedger):
        return False
    for again in range(TRIES):
        if again:
            await sleep(BETWEEN)
        try:
            await call(partial(ledger.leave, nonce, task_id))
        except LedgerError:
            continue
        return True
    return False


class Holding:
    """Asks a ledger's session for answers until it is stopped, or the ledger is lost.

    Args:
        ledger: the ledger.
        call: runs its blocking calls.
        on_lost: called once, with the reason, when it is lost.
        sleep: waits so many seconds.

    """

    def __init__(
        self,
        ledger: HeldLedger,
        call: RunBlocking,
        on_lost: Callable[[LedgerLost], None],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.is_fresh: Callable[[], bool] = ledger.is_fresh
        self._ledger = ledger
        self._call = call
        self._on_lost = on_lost
        self._sleep = sleep
        self._watching = asyncio.get_running_loop().create_task(self._watch())

    async def stop(self) -> None:
        """Ask no more."""
        self._watching.cancel()
        await asyncio.wait([self._watching])

    async def confirm(self) -> None:
        """Return once the session's last answer is fresh enough; then nothing is waited for any more.

        Raises:
            LedgerLost: there will be none.

        """
        while not self.is_fresh():
            try:
                await self._call(self._ledger.ping)
            except LedgerLost:
                raise
            except LedgerError:  # such as a server that is short of memory
                await self._sleep(EVERY)

    async def _watch(self) -> None:
        while True:
            try:
                await self._ping()
            except LedgerLost as error:
                self._on_lost(error)
                return
            except LedgerError:
                pass
            await self._sleep(EVERY)

    async def _ping(self) -> None:
        """Ask once, and end a session that leaves it without an answer."""
        # By turns and not by a deadline: a process that was stopped meanwhile must not take that for silence.
        pinging = asyncio.ensure_future(self._call(self._ledger.ping))
        pinging.add_done_callback(_retrieved)  # it may end after the watching does
        for _ in range(SILENCE):
            waiting = asyncio.ensure_future(self._sleep(EVERY))
            try:
                await asyncio.wait([pinging, waiting], return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiting.cancel()
            if pinging.done():
                break
        else:
            self._ledger.cut()
        await pinging


def _retrieved(asked: asyncio.Future[None]) -> None:
    _ = asked.cancelled() or asked.exception()
