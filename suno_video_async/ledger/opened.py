"""The ledgers that a client has open: each of them once, however many parts of the client write it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from suno_video_async._util.aio import in_one_thread, run_to_completion
from suno_video_async.errors import LedgerLost
from suno_video_async.ledger.address import LedgerPlace, as_ledger
from suno_video_async.ledger.aio import AsyncLedger


class OpenLedgers:
    """Opens each ledger for its first user, and closes it after the last.

    Args:
        open_ledger: takes a ledger for writing; the second argument says whether it must exist.
        on_lost: called, with the reason, when the session that one of them goes with has ended.

    """

    def __init__(
        self,
        open_ledger: Callable[[AsyncLedger, bool], Awaitable[None]],
        on_lost: Callable[[LedgerLost], None] = lambda _: None,
    ) -> None:
        self._open_ledger = open_ledger
        self._on_lost = on_lost
        self._lost: LedgerLost | None = None
        self._users = dict[AsyncLedger, int]()
        self._one = asyncio.Lock()

    async def acquire(self, wanted: AsyncLedger | LedgerPlace, *, must_exist: bool = False) -> AsyncLedger:
        """Return a ledger that is open for writing: the one that is open already, where that is the same.

        Args:
            wanted: a file, by whatever name or link; or the ledger itself.
            must_exist: whether it is an error if there is none.

        Raises:
            LedgerError: it cannot be used, or belongs to another account.

        """
        async with self._one:
            ledger = wanted if isinstance(wanted, AsyncLedger) else AsyncLedger(as_ledger(wanted))
            for other in self._users:
                if await in_one_thread()(partial(ledger.sync.is_same, other.sync)):
                    self._users[other] += 1
                    other.shared = True
                    return other
            await self._open_ledger(ledger, must_exist)
            self._users[ledger] = 1
            ledger.on_lost[self._lose] = None
            ledger.hold()
            return ledger

    def are_held(self) -> bool:
        """Whether it is certain that all of them are still this process's. Never blocks."""
        return self._lost is None and (not self._users or all(map(AsyncLedger.is_held, self._users)))

    async def confirm(self) -> None:
        """Return once it is certain that all of them are still this process's; nothing is waited for after that.

        Raises:
            LedgerLost: one is not, or was not.

        """
        while not self.are_held():
            if self._lost is not None:
                raise self._lost.with_traceback(None)
            for ledger in tuple(self._users):
                await ledger.confirm()

    def _lose(self, error: LedgerLost) -> None:
        if self._lost is None:
            self._lost = error
            self._on_lost(error)

    async def release(self, ledger: AsyncLedger) -> None:
        """Release a ledger, even while the caller is being cancelled; the last user closes it."""
        await run_to_completion(self._release(ledger))

    async def _release(self, ledger: AsyncLedger) -> None:
        async with self._one:
            self._users[ledger] -= 1
            if not self._users[ledger]:
                del self._users[ledger]
                await ledger.close()
