"""What others leave for a holder: what is taken, and what has to wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, closing
from typing import Any, cast

import pytest

from suno_video_async import Track
from suno_video_async.batch.reconcile import Unknowns
from suno_video_async.engines.inbox import Inbox
from suno_video_async.ledger.address import LedgerAddress
from suno_video_async.ledger.aio import AsyncLedger
from suno_video_async.ledger.model import LedgerRow, Transition
from suno_video_async.ledger.opened import OpenLedgers
from suno_video_async.ledger.states import State
from tests.ledger.support import FINGERPRINT, PROVIDER
from tests.support.shared_ledger import SharedInMemory

NONCE = "0" * 32
Leave = Callable[..., Awaitable["Left"]]


@pytest.fixture
def leave() -> Iterator[Leave]:
    """Make ledgers in which something was left, and close them in the end."""
    with ExitStack() as stack:
        yield lambda *notes: asyncio.to_thread(lambda: stack.enter_context(closing(Left(*notes))))


class Left(SharedInMemory):
    """A ledger in which something was left; its one row is unknown."""

    def __init__(self, *notes: tuple[str, dict[str, Any]]) -> None:
        super().__init__()
        self.open(provider=PROVIDER, fingerprint=FINGERPRINT)
        row_id = self.claim(Track(task_id="m", suno_id="s"), location="1").row.id
        self.begin_attempt(row_id, nonce=NONCE, at=0.0, reserve=0, budget=None)
        self.lost = self.move(row_id, Transition(state=State.UNKNOWN))
        for note in notes:
            self.leave_note(*note)


class Others:
    """What an inbox works with, all of it in one: the client, its receiver, and who goes on with rows."""

    def __init__(self, ledger: Left) -> None:
        self.listens, self.status = False, 200
        self.resent = list[int]()
        self.going = list[Callable[[], None]]()
        self._lost = ledger.lost
        self.inbox = Inbox(
            address=LedgerAddress.parse("postgresql://h/d?ledger=l"),
            ledger=AsyncLedger(ledger),
            client=cast("Any", self),
            receiver=cast("Any", self),
            takes_callbacks=lambda: self.listens,
            go_on=lambda _, end: self.going.append(end),
            woken=asyncio.Event(),
            notify=lambda _: None,
        )

    @asynccontextmanager
    async def unknowns(self, _: object) -> AsyncIterator[Others]:
        yield self

    async def resend(self, row_id: int, *, attempt: int | None) -> list[LedgerRow]:
        assert attempt is None
        self.resent.append(row_id)
        return [self._lost]

    async def handle(self, nonce: str, _: object) -> int:
        assert nonce == NONCE
        return self.status

    async def left(self) -> int:
        """Return how many notes are left."""
        return len([note async for note in self.inbox.ledger.notes()])


class Settling(Others):
    """Others that settle rows as a client does, with the ledger that it has open."""

    @asynccontextmanager
    async def unknowns(self, _: object) -> AsyncIterator[Any]:
        async def is_open(*_: object) -> None: ...

        ledgers = OpenLedgers(is_open)
        await ledgers.acquire(self.inbox.ledger)
        async with Unknowns(cast("Any", self), self.inbox.ledger.sync, ledgers) as unknowns:
            yield unknowns


CALLBACK = ("callback", {"nonce": NONCE, "task_id": "v"})
RESEND = ("decision", {"verb": "resend", "row": 1})


async def test_a_decision_waits_for_the_callback_about_its_row(leave: Leave) -> None:
    """The callback may find what was bought, which would be bought again."""
    others = Others(await leave(CALLBACK, RESEND))
    await others.inbox.take_notes()
    assert (others.resent, await others.left()) == ([], 2)


async def test_a_decision_waits_until_its_row_has_gone_on_by_a_callback(leave: Leave) -> None:
    """Then it is known whether there is something left to decide."""
    others = Others(await leave(CALLBACK, RESEND))
    others.listens = True
    await others.inbox.take_notes()
    await others.inbox.take_notes()
    assert (others.resent, await others.left()) == ([], 1)
    assert not await others.inbox.has_work()
    (end,) = others.going
    end()
    assert await others.inbox.has_work()
    await others.inbox.take_notes()
    assert (others.resent, await others.left()) == ([1], 0)


async def test_a_decision_waits_while_its_row_is_worked_on(leave: Leave) -> None:
    """It is no work meanwhile, and the end of the work rings for it."""
    others = Settling(await leave(RESEND))
    register = others.inbox.ledger.register
    register.begin(1)
    await others.inbox.take_notes()
    assert await others.left() == 1
    assert not await others.inbox.has_work()
    assert not others.inbox.woken.is_set()
    register.end(1)
    assert others.inbox.woken.is_set()
    await others.inbox.take_notes()
    assert (len(others.going), await others.left()) == (1, 0)


async def test_what_waits_holds_up_no_other_row(leave: Leave) -> None:
    """However many callbacks wait for the next round."""
    others = Others(
        await leave(
            *[("callback", {"nonce": f"{number:032x}", "task_id": "v"}) for number in range(1, 251)], RESEND
        )
    )
    await others.inbox.take_notes()
    assert (others.resent, await others.left()) == ([1], 250)


async def test_a_decision_about_no_row_is_not_waited_with(leave: Leave) -> None:
    """It is reported, and gone."""
    unknown = ("callback", {"nonce": "1" * 32, "task_id": "v"})
    others = Others(await leave(unknown, ("decision", {"verb": "resend", "row": ["?"]}), ("decision", {})))
    await others.inbox.take_notes()
    assert await others.left() == 1


async def test_a_callback_that_the_ledger_cannot_take_is_kept(leave: Leave) -> None:
    """It is settled once it was taken, or refused for what it says."""
    others = Others(await leave(CALLBACK))
    others.listens, others.status = True, 503
    await others.inbox.take_notes()
    assert await others.left() == 1
    others.status = 409
    await others.inbox.take_notes()
    assert await others.left() == 0
