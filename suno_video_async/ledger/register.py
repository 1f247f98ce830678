"""Which rows of an open ledger are being worked on: each by one part of a client at a time.

Several conversions of a client and its `submit` may share one ledger, and name the same track. The first one
works on the row; the others wait for the end of that work, or join its submission, and go on from what the ledger
says then. So a track is bought once, and no row is mistaken for an interrupted one while it is being submitted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any


class RowWork:
    """The work of one part of a client on one row."""

    def __init__(self) -> None:
        self.outcome: asyncio.Future[Any] | None = None
        self._has_ended = False
        self._changed: asyncio.Event | None = None  # made by what waits: few rows are waited for
        self._calls: Mapping[Callable[[], object], None] = {}

    def submit(self, outcome: asyncio.Future[Any]) -> None:
        """Note that the row is being submitted, and what its outcome will be in."""
        self.outcome = outcome
        self._wake()

    def end(self) -> None:
        """Wake everything that waits for the submission or for the end."""
        self._has_ended = True
        self._wake()
        for call in self._calls:
            call()

    def on_end(self, call: Callable[[], object]) -> None:
        """Have something called at the end; twice is once."""
        self._calls = {**self._calls, call: None}

    async def submission(self) -> asyncio.Future[Any] | None:
        """Wait until the row is being submitted, and return the future outcome; None if the work ends without."""
        while self.outcome is None and not self._has_ended:
            await self._change()
        return self.outcome

    async def until_ended(self) -> None:
        """Wait for the end."""
        while not self._has_ended:
            await self._change()

    async def _change(self) -> None:
        self._changed = self._changed or asyncio.Event()
        await self._changed.wait()

    def _wake(self) -> None:
        changed, self._changed = self._changed, None
        if changed is not None:
            changed.set()


class WorkRegister:
    """The rows of one ledger that are being worked on."""

    def __init__(self) -> None:
        self._working = dict[int, RowWork]()

    def find(self, row_id: int) -> RowWork | None:
        """Return the work on a row, if there is any."""
        return self._working.get(row_id)

    def begin(self, row_id: int) -> RowWork:
        """Begin to work on a row that is free."""
        work = self._working[row_id] = RowWork()
        return work

    def end(self, row_id: int) -> None:
        """End the work on a row; while it is still being submitted, that is only when this has an outcome."""
        work = self._working[row_id]

        def free(_: object) -> None:
            del self._working[row_id]
            work.end()

        outcome = work.outcome
        if outcome is None or outcome.done():
            free(outcome)
        else:
            outcome.add_done_callback(free)

    async def begin_when_free(self, row_id: int) -> RowWork:
        """Wait until a row is free, and begin to work on it; `end` must follow."""
        while (other := self.find(row_id)) is not None:
            await other.until_ended()
        return self.begin(row_id)
