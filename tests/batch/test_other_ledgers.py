"""A ledger of another kind than SQLite's serves as well: nothing outside the ledger package knows the class."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

from suno_video_async import SystemClock, Track
from suno_video_async.batch.reconcile import Unknowns, unknown_rows
from suno_video_async.ledger.model import Ledger, Transition
from suno_video_async.ledger.sqlite import SqliteLedger
from suno_video_async.ledger.states import State
from tests.support.clients import FakeAPI, client_of

TRACKS = [Track(task_id="m", suno_id=f"s{number}") for number in range(3)]


class OtherLedger:
    """Has what the protocol asks for, and nothing else of the ledger that it hands everything to."""

    def __init__(self, path: Path) -> None:
        self._ledger = SqliteLedger(path, synchronous="OFF")

    def __getattr__(self, name: str) -> Any:
        if name not in dir(Ledger):
            raise AttributeError(name)
        return getattr(self._ledger, name)


def other_ledger(path: Path) -> Ledger:
    return cast("Ledger", OtherLedger(path))


async def test_a_conversion_needs_the_protocol_alone(tmp_path: Path) -> None:
    """A catalog is converted, its credits are known meanwhile, and a plan beside it sees what is bought."""
    ledger = other_ledger(tmp_path / "l.db")
    client, _ = client_of(FakeAPI(seconds=0), clock=SystemClock(1000))
    async with client:
        async with client.convert(TRACKS, ledger=ledger) as conversion:
            states = [outcome.state async for outcome in conversion]
            assert conversion.credits() == (6.0, 0.0)
            plan = await client.plan(TRACKS, ledger=ledger)
        assert states == ["succeeded"] * 3
        assert (plan.done, plan.buys, plan.committed) == (3, 0, 6.0)


async def test_unknown_rows_need_the_protocol_alone(tmp_path: Path) -> None:
    """Unknown rows are listed and settled in a ledger of any kind."""

    def put() -> None:
        ledger = SqliteLedger(tmp_path / "l.db")
        ledger.open(provider="127.0.0.1", fingerprint="f")
        row = ledger.claim(TRACKS[0], location="c.csv").row
        ledger.begin_attempt(row.id, nonce="n", at=1.0, reserve=0, budget=None)
        ledger.move(row.id, Transition(state=State.UNKNOWN))
        ledger.close()

    await asyncio.to_thread(put)
    ledger = other_ledger(tmp_path / "l.db")
    (row,) = await unknown_rows(ledger)
    service = type("Service", (), {"account": ("127.0.0.1", "f")})
    async with Unknowns(cast("Any", service()), ledger) as unknowns:
        (moved,) = await unknowns.resend(row.id)
    assert (row.state, moved.state) == (State.UNKNOWN, State.PLANNED)
