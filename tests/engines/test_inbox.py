"""What others leave for a holder: what is taken, and what has to wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, closing
from typing import Any, cast

import pytest

from suno_video_async import SqliteLedger, Track
from suno_video_async.engines.inbox import Inbox
from suno_video_async.ledger.address import LedgerAddress
from suno_video_async.ledger.aio import AsyncLedger
from suno_video_async.ledger.model import LedgerRow, Transition
from suno_video_async.ledger.shared import Note
from suno_video_async.ledger.states import State
from tests.ledger.support import FINGERPRINT, PROVIDER
from tests.support.virtual import run_virtual

NONCE = "0" * 32


@pytest.fixture
def leave() -> Iterator[Callable[..., Left]]:
    """Make ledgers in which something was left, and close them in the end."""
    with ExitStack() as stack:
        yield lambda *notes: stack.enter_context(closing(Left(*notes)))


class Left(SqliteLedger):
    """A ledger in memory, in which something was left; its one row is unknown."""

    def __init__(self, *notes: tuple[str, dict[str, Any]]) -> None:
        super().__init__(None)
        self.left = [Note(number, *note) for number, note in enumerate(notes, 1)]
        self.open(provider=PROVIDER, fingerprint=FINGERPRINT)
        row_id = self.claim(Track(task_id="m", suno_id="s"), location="1").row.id
        self.begin_attempt(row_id, nonce=NONCE, at=0.0, reserve=0, budget=None)
        self.lost = self.move(row_id, Transition(state=State.UNKNOWN))

    def has_unclaimed(self) -> bool:
        return False

    def notes(self, *, after: int = 0, limit: int = 100) -> Sequence[Note]:
        return [note for note in self.left if note.id > after][:limit]

    def settle_note(self, note_id: int) -> None:
        self.left = [note for note in self.left if note.id != note_id]


class Others:
    """What an inbox works with, all of it in one: the client, its receiver, and who goes on with rows."""

    def __init__(self, ledger: Left) -> None:
        self.listens = False
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
        return 200


CALLBACK = ("callback", {"nonce": NONCE, "task_id": "v"})
RESEND = ("decision", {"verb": "resend", "row": 1})


def test_a_decision_waits_for_the_callback_about_its_row(leave: Callable[..., Left]) -> None:
    """The callback may find what was bought, which would be bought again."""
    ledger = leave(CALLBACK, RESEND)
    others = Others(ledger)
    run_virtual(others.inbox.take_notes())
    assert (others.resent, len(ledger.left)) == ([], 2)


def test_a_decision_waits_until_its_row_has_gone_on_by_a_callback(leave: Callable[..., Left]) -> None:
    """Then it is known whether there is something left to decide."""
    ledger = leave(CALLBACK, RESEND)
    others = Others(ledger)
    others.listens = True

    async def main() -> None:
        await others.inbox.take_notes()
        await others.inbox.take_notes()
        assert (others.resent, len(ledger.left)) == ([], 1)
        assert not await others.inbox.has_work()
        (end,) = others.going
        end()
        assert await others.inbox.has_work()
        await others.inbox.take_notes()
        assert (others.resent, len(ledger.left)) == ([1], 0)

    run_virtual(main())


def test_what_waits_holds_up_no_other_row(leave: Callable[..., Left]) -> None:
    """However many callbacks wait for the next round."""
    ledger = leave(
        *[("callback", {"nonce": f"{number:032x}", "task_id": "v"}) for number in range(1, 251)], RESEND
    )
    others = Others(ledger)
    run_virtual(others.inbox.take_notes())
    assert (others.resent, len(ledger.left)) == ([1], 250)


def test_a_decision_about_no_row_is_not_waited_with(leave: Callable[..., Left]) -> None:
    """It is reported, and gone."""
    ledger = leave(("decision", {"verb": "resend", "row": ["?"]}), ("decision", {}))
    run_virtual(Others(ledger).inbox.take_notes())
    assert not ledger.left
