"""A service that is out of reach for a weekend, and the holder that waits for it, in virtual time."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import NoReturn

import pytest

from suno_video_async import KeyEntry, LedgerError, RateLimit, SunoVideoClient, Track
from suno_video_async._util.aio import in_place
from suno_video_async.engines import holder
from suno_video_async.engines.holder import Holder, WorkOptions
from suno_video_async.ledger.address import LedgerAddress
from suno_video_async.ledger.model import all_rows
from suno_video_async.ledger.postgres import Bell
from suno_video_async.ledger.shared import Note
from suno_video_async.ledger.sqlite import SqliteLedger
from suno_video_async.protocol.codec import Operation
from suno_video_async.ratelimit.brake import LIMIT
from tests.support.fakes import FakeTransport
from tests.support.keys import KEY
from tests.support.outage import World
from tests.support.virtual import run_virtual

#: From Friday evening to Monday morning.
WEEKEND = 62 * 3600.0
ROWS = 60
#: In the middle of the first submissions.
BEGIN = 0.7


class Shared(SqliteLedger):
    """A ledger in memory, for which others have inserted tracks; it remembers how its rows ended."""

    states: Counter[str]

    def take_in(self, limit: int = 500) -> int:
        if not self.rows(limit=limit):
            self.add([(Track(task_id="m1", suno_id=f"s{number}"), "") for number in range(ROWS)])
        return 0

    def has_unclaimed(self) -> bool:
        return bool(self._select("SELECT EXISTS (SELECT 1 FROM rows WHERE state = 'planned' AND run = 0)")[0][0])

    def notes(self, limit: int = 100) -> Sequence[Note]:
        return [][:limit]

    def close(self) -> None:
        self.states = Counter(row.state.value for row in all_rows(self))
        super().close()


def refuse(_: Bell) -> NoReturn:
    raise LedgerError("nothing can be heard")


def states_after(world: World, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Let a holder work through an outage, and return the states of its rows."""
    ledger = Shared()
    monkeypatch.setenv("CRUN_LABEL", KEY)
    monkeypatch.setattr(holder, "EVERY", 300.0)
    monkeypatch.setattr(holder, "PostgresLedger", lambda *_, **__: ledger)
    monkeypatch.setattr(holder, "in_one_thread", lambda: in_place)
    monkeypatch.setattr(holder, "SunoVideoClient", partial(SunoVideoClient, transport=FakeTransport(world)))
    monkeypatch.setattr(Bell, "open", refuse)
    entry = KeyEntry(
        name="label", api_key_env="CRUN_LABEL", base_url="http://127.0.0.1:1", rate=RateLimit(20, 100)
    )
    database = LedgerAddress.parse("postgresql://h/d")
    run_virtual(Holder(entry, database, WorkOptions(notify=lambda _: None), until_done=True).run())
    return ledger.states


@pytest.mark.parametrize("kind", ["502", "cut"])
def test_a_weekend_out_of_reach_costs_few_rows(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most five are unknown, nothing is bought twice, and the rest is done on Monday."""
    world = World(kind, BEGIN, WEEKEND, frozenset(Operation))
    states = states_after(world, monkeypatch)
    assert states["unknown"] <= LIMIT
    assert states["succeeded"] == ROWS - states["unknown"]
    assert charged_once(world)


def charged_once(world: World) -> bool:
    """Whether no track was bought twice."""
    return len(world.api.created) == len({json.loads(body)["input"]["suno_id"] for body in world.api.created})
