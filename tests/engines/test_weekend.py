"""The holder in virtual time: it waits for a service that is out of reach, and for what it has set going."""

from __future__ import annotations

import asyncio
import json
import math
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import NoReturn

import anyio
import pytest

from suno_video_async import KeyEntry, LedgerError, RateLimit, SunoVideoClient, Track
from suno_video_async._util.aio import in_place
from suno_video_async.clock import SystemClock
from suno_video_async.engines import holder, inbox
from suno_video_async.engines.holder import Holder, WorkOptions
from suno_video_async.engines.inbox import Inbox
from suno_video_async.ledger import opened
from suno_video_async.ledger.address import LedgerAddress
from suno_video_async.ledger.model import Attempt, all_rows
from suno_video_async.ledger.postgres.notes import Bell
from suno_video_async.ledger.shared import Note
from suno_video_async.ledger.states import State
from suno_video_async.protocol.codec import Answer, Operation, Request
from suno_video_async.ratelimit.brake import LIMIT
from tests.support.clients import FakeAPI
from tests.support.fakes import FakeTransport, Script, answer
from tests.support.keys import KEY
from tests.support.outage import TRAVEL, World
from tests.support.shared_ledger import SharedInMemory
from tests.support.virtual import run_virtual

#: From Friday evening to Monday morning.
WEEKEND = 62 * 3600.0
ROWS = 60
#: Seconds between two looks of a holder at what others have left.
EVERY = 300.0
#: Seconds for which a database takes no callback; not a multiple of those.
BUSY = 3610.0


class Weekend(World):
    """An API that is out of reach from its tenth submission on, which is in flight then."""

    def __init__(self, kind: str, on: frozenset[Operation] = frozenset(Operation)) -> None:
        super().__init__(kind, math.inf, WEEKEND, on)

    async def __call__(self, request: Request) -> Answer:
        if self.sent == 10 and self.start == math.inf:
            now = asyncio.get_running_loop().time() + TRAVEL / 2
            self.start, self.end = now, now + WEEKEND
        return await super().__call__(request)


class Shared(SharedInMemory):
    """A ledger in memory, for which others have inserted tracks; it remembers how its rows ended."""

    states: Counter[str]
    tracks = ROWS

    def take_in(self, limit: int = 500) -> int:
        if self.row(1) is None:
            self.add([(Track(task_id="m1", suno_id=f"s{number}"), "") for number in range(self.tracks)])
        return 0

    def close(self) -> None:
        self.states = Counter(row.state.value for row in all_rows(self))
        super().close()


class OneTime(SystemClock):
    """A wall clock that goes with the loop's time."""

    def time(self) -> float:
        return 1e9 + self.now()


def refuse(_: Bell) -> NoReturn:
    raise LedgerError("nothing can be heard")


def states_after(
    script: Script, monkeypatch: pytest.MonkeyPatch, ledger: Shared | None = None, callback_url: str | None = None
) -> Counter[str]:
    """Let a holder work until it is done, as through an outage, and return the states of its rows."""
    ledger = ledger or Shared()
    monkeypatch.setenv("CRUN_LABEL", KEY)
    for module in (holder, inbox):
        monkeypatch.setattr(module, "EVERY", EVERY)
    for module in (holder, inbox, opened):  # no time passes while a thread is waited for
        monkeypatch.setattr(module, "in_one_thread", lambda: in_place)
    monkeypatch.setattr(inbox, "LISTEN_AGAIN", WEEKEND)
    monkeypatch.setattr(holder, "PostgresLedger", lambda *_, **__: ledger)
    monkeypatch.setattr(holder, "SunoVideoClient", partial(SunoVideoClient, transport=FakeTransport(script)))
    monkeypatch.setattr(Bell, "open", refuse)
    entry = KeyEntry(
        name="label", api_key_env="CRUN_LABEL", base_url="http://127.0.0.1:1", rate=RateLimit(20, 1000)
    )
    database = LedgerAddress.parse("postgresql://h/d")
    options = WorkOptions(notify=lambda _: None, clock=OneTime(), callback_url=callback_url)
    run_virtual(Holder(entry, database, options, until_done=True).run())
    return ledger.states


@pytest.mark.parametrize("kind", ["502", "cut"])
def test_a_weekend_out_of_reach_costs_few_rows(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most five are unknown, nothing is bought twice, and the rest is done on Monday."""
    world = Weekend(kind)
    states = states_after(world, monkeypatch)
    assert 0 < states["unknown"] <= LIMIT
    assert states["succeeded"] == ROWS - states["unknown"]
    assert charged_once(world)


class Decided(Shared):
    """A ledger of two tracks; once the first is unknown, it is decided to buy it again."""

    tracks = 2
    left = 1

    def notes(self, *, after: int = 0, limit: int = 100) -> Sequence[Note]:
        row = self.row(1)
        is_left = self.left > after and row is not None and row.state is State.UNKNOWN
        return [Note(1, "decision", {"verb": "resend", "row": 1})][: limit * is_left]

    def settle_note(self, note_id: int) -> None:
        self.left -= note_id


def test_a_holder_ends_what_a_decision_has_set_going(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not done when its round is: the row began later, and is followed to its end."""
    api = FakeAPI(seconds=1000)

    def lose_first(request: Request) -> Answer:
        said = api(request)
        is_first = request.operation is Operation.CREATE_TASK and len(api.created) == 1
        return answer({}) if is_first else said

    assert states_after(lose_first, monkeypatch, Decided()) == {"succeeded": 2}


class Busy(Shared):
    """A ledger without tracks, and with a callback that its database cannot take for long."""

    tracks = 0
    rounds = 0
    ended = math.inf

    def open(self, *, provider: str, fingerprint: str, must_exist: bool = False, proven: bool = False) -> None:
        super().open(provider=provider, fingerprint=fingerprint, must_exist=must_exist, proven=proven)
        self.leave_note("callback", {"nonce": "0" * 32, "task_id": "v"})

    def begin_run(self) -> int:
        self.rounds += 1
        assert self.rounds < 100, "one round follows the other"
        return super().begin_run()

    def attempt(self, nonce: str) -> Attempt | None:
        if asyncio.get_running_loop().time() < BUSY:
            raise LedgerError("the database is busy", temporary=True)
        return super().attempt(nonce)

    def close(self) -> None:
        self.ended = asyncio.get_running_loop().time()
        super().close()


def test_a_holder_waits_with_a_callback_that_its_ledger_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks again at its usual times, and is not done before the callback was taken."""
    ledger = Busy()
    states_after(FakeAPI(), monkeypatch, ledger, "https://hooks.example")
    assert ledger.ended >= BUSY
    assert ledger.rounds <= BUSY / EVERY + 2


def test_a_bell_wakes_a_holder_that_waits_with_a_callback(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not wait for its next usual look."""

    async def listen(self: Inbox) -> None:
        await asyncio.sleep(BUSY)
        self._ring()
        await anyio.sleep_forever()

    monkeypatch.setattr(Inbox, "listen", listen)
    ledger = Busy()
    states_after(FakeAPI(), monkeypatch, ledger, "https://hooks.example")
    assert ledger.ended == BUSY


def charged_once(world: World) -> bool:
    """Whether no track was bought twice."""
    return len(world.api.created) == len({json.loads(body)["input"]["suno_id"] for body in world.api.created})
