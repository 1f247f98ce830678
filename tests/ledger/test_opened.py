"""A client opens each ledger once, for all of its parts."""

from __future__ import annotations

from pathlib import Path

import pytest

from suno_video_async.errors import LedgerError
from suno_video_async.ledger.aio import AsyncLedger
from suno_video_async.ledger.opened import OpenLedgers
from suno_video_async.ledger.sqlite import SqliteLedger
from tests.ledger.support import FINGERPRINT, PROVIDER


async def take(ledger: AsyncLedger, must_exist: bool) -> None:
    await ledger.call(ledger.sync.open, provider=PROVIDER, fingerprint=FINGERPRINT, must_exist=must_exist)


async def test_the_last_user_closes_it(path: Path) -> None:
    """Until then it stays open, and counts as shared from the second user on."""
    ledgers = OpenLedgers(take)
    first = await ledgers.acquire(path)
    assert not first.shared
    second = await ledgers.acquire(str(path))
    assert second is first
    assert first.shared
    await ledgers.release(first)
    await first.call(first.sync.totals)
    await ledgers.release(second)
    with pytest.raises(LedgerError, match="is not open"):
        await first.call(first.sync.totals)


async def test_different_ledgers_stay_apart(path: Path) -> None:
    """Files by their places, those in memory by what they are."""
    ledgers, memory = OpenLedgers(take), SqliteLedger()
    opened = [await ledgers.acquire(each) for each in (path, path.with_name("other.db"), memory, SqliteLedger())]
    assert len(set(opened)) == 4
    assert await ledgers.acquire(memory) is opened[2]
    assert await ledgers.acquire(opened[0]) is opened[0]
    await ledgers.release(opened[0])
    await ledgers.release(opened[2])
    for ledger in opened:
        await ledgers.release(ledger)


async def test_one_that_cannot_be_opened_is_nobodys(tmp_path: Path) -> None:
    """It can be tried again."""
    ledgers = OpenLedgers(take)
    for _ in range(2):
        with pytest.raises(LedgerError, match="folder"):
            await ledgers.acquire(tmp_path)
