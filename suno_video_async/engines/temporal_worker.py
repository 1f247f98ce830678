"""What a worker does for the workflows of Temporal: it holds ledgers by keys of `keys.toml`, loads, and counts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import closing
from functools import partial

from attrs import evolve, frozen

from suno_video_async._util.aio import in_one_thread
from suno_video_async.batch.loading import load
from suno_video_async.batch.outcome import Outcome
from suno_video_async.engines.activity import Counts
from suno_video_async.engines.holder import Holder, WorkOptions
from suno_video_async.engines.keys import KeyEntry
from suno_video_async.engines.temporal import Activities, Loading
from suno_video_async.errors import ConfigurationError
from suno_video_async.ledger.address import LedgerAddress, as_ledger


def activities(database: LedgerAddress, keys: Sequence[KeyEntry], options: WorkOptions) -> Activities:
    """Return what a worker does on the ledgers of a database.

    Args:
        database: its address, without a ledger's name.
        keys: those that it has; the workflows know the names of their ledgers only.
        options: how they work.

    """
    work = _Work(database, {entry.ledger: entry for entry in keys}, options)
    return Activities(work.hold, work.load, work.report)


@frozen
class _Work:
    database: LedgerAddress
    entries: dict[str, KeyEntry]
    options: WorkOptions

    async def hold(self, ledger: str, stop: asyncio.Event, counts: Counts) -> None:
        """Convert all that a ledger wants; whether and when that is tried again is the workflow's affair."""
        if ledger not in self.entries:
            raise ConfigurationError(
                f"no key is for the ledger {ledger}",
                fix="add one to keys.toml, the same for all workers of a task queue, and start them again",
            )
        on_outcome = partial(self._count, counts)
        options = evolve(self.options, on_outcome=on_outcome)
        beside = self.entries.keys() - {ledger}
        holder = Holder(self.entries[ledger], self.database, options, beside, until_done=True, waits=False)

        async def obey() -> None:
            await stop.wait()
            holder.stop()

        stopping = asyncio.ensure_future(obey())
        try:
            await holder.run()
        finally:
            stopping.cancel()

    def _count(self, counts: Counts, entry: KeyEntry, outcome: Outcome) -> None:
        counts[outcome.state] += 1
        self.options.on_outcome(entry, outcome)

    async def load(self, catalog: str, ledger: str | None) -> Loading:
        """Load a catalog for one ledger, or for those that its rows name."""
        loaded = await load(catalog, self.database if ledger is None else self.database.named(ledger))
        return Loading(list(loaded.ledgers), loaded.unreadable + sum(loaded.elsewhere.values()))

    async def report(self, ledger: str) -> dict[str, int]:
        """Count the rows of a ledger by their state."""
        return await in_one_thread()(partial(_totals, self.database.named(ledger)))


def _totals(ledger: LedgerAddress) -> dict[str, int]:
    with closing(as_ledger(ledger).reader()) as reader:
        reader.open_to_read(must_exist=True)
        return {state.value: number for state, number in reader.totals().states.items() if number}
