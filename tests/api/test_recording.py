"""What a submission came to is written down for as long as the ledger may still take it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from suno_video_async.api.calls import RECORDING, Calls, Result
from suno_video_async.errors import LedgerError


class Ledger:
    """A journal and a clock: its ledger fails so often, and each wait takes its time."""

    def __init__(self, failures: int, *, temporary: bool) -> None:
        self.failures, self.temporary, self.time = failures, temporary, 0.0

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds

    async def record_result(self, *_: object) -> None:
        self.failures -= 1
        if self.failures >= 0:
            raise LedgerError("the disk is full", temporary=self.temporary)


async def record(ledger: Ledger, *, closed: bool = False) -> None:
    """Write down that a submission was accepted."""
    client: Any = SimpleNamespace(clock=ledger, closed=closed)
    journal: Any = ledger
    await Calls._record(client, journal, Result(None, None))


async def test_it_is_tried_until_there_is_room() -> None:
    """A lock or a full disk that passes leaves nothing unknown."""
    ledger = Ledger(5, temporary=True)
    await record(ledger)
    assert (ledger.failures, ledger.time) == (-1, 5.0)


async def test_it_ends() -> None:
    """A disk that stays full does not keep a run for ever."""
    ledger = Ledger(1000, temporary=True)
    with pytest.raises(LedgerError):
        await record(ledger)
    assert ledger.time == RECORDING


@pytest.mark.parametrize(("temporary", "closed"), [(False, False), (True, True)])
async def test_it_is_not_tried_again(temporary: bool, closed: bool) -> None:
    """What cannot pass is not waited for, and neither does a client that closes wait."""
    ledger = Ledger(1, temporary=temporary)
    with pytest.raises(LedgerError):
        await record(ledger, closed=closed)
    assert ledger.time == 0.0
