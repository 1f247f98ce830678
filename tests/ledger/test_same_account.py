"""A key that was changed: the ledger goes on where one of its tasks shows that the account is the same."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from suno_video_async.errors import AnotherKeyError, LedgerError, NotFoundError
from suno_video_async.ledger.aio import AsyncLedger, last_bought
from suno_video_async.ledger.sqlite import SqliteLedger
from suno_video_async.ledger.states import State
from suno_video_async.models import TaskSnapshot, VideoTaskId
from tests.ledger.support import PROVIDER, opened, row_in

NEW = "fedcba9876543210"
Ask = Callable[[VideoTaskId], Awaitable[TaskSnapshot]]


def service(suno_id: str | None) -> Ask:
    """Return a service whose account has the ledger's task, made from this track; None where it has not."""

    async def ask(task_id: VideoTaskId) -> TaskSnapshot:
        if suno_id is None:
            raise NotFoundError("no such task", code=404, http_status=200, operation="TaskInfo")
        made_from = {"task_id": "m1", "suno_id": suno_id}
        return TaskSnapshot(task_id=task_id, status="success", raw={"param": {"input": made_from}})

    return ask


async def go_on(path: Path, ask: Ask | None, *, same_account: bool = True) -> None:
    """Open a ledger with the new key, and close it."""
    ledger = AsyncLedger(SqliteLedger(path, same_account=same_account))
    await ledger.open(provider=PROVIDER, fingerprint=NEW, ask=ask)
    await ledger.close()


def made(path: Path, state: State) -> None:
    """Make a ledger of the old key with one row."""
    ledger = opened(path)
    row_in(ledger, state)
    ledger.close()


def test_a_task_of_the_ledger_is_found(path: Path) -> None:
    """The ledger belongs to the new key from then on, and no longer to the old one."""
    made(path, State.SUBMITTED)
    asyncio.run(go_on(path, service("s1")))
    asyncio.run(go_on(path, None, same_account=False))
    with pytest.raises(AnotherKeyError, match="belongs to another key"):
        opened(path)


@pytest.mark.parametrize("ask", [None, service("s1")])
def test_a_person_says_so_first(path: Path, ask: Ask | None) -> None:
    """Without the switch another key is refused, whatever the service would say."""
    made(path, State.SUBMITTED)
    with pytest.raises(AnotherKeyError, match="same_account=True"):
        asyncio.run(go_on(path, ask, same_account=ask is None))


@pytest.mark.parametrize(
    ("suno_id", "says"), [(None, "this account has no task v1"), ("s9", "its suno_id is 's9', the row's 's1'")]
)
def test_another_account(path: Path, suno_id: str | None, says: str) -> None:
    """A service that does not know the task, or another one by its id, is of another account: nothing changes."""
    made(path, State.SUBMITTED)
    with pytest.raises(LedgerError, match=says):
        asyncio.run(go_on(path, service(suno_id)))
    opened(path).close()


def test_nothing_to_ask_for(path: Path) -> None:
    """A ledger that has bought nothing shows nothing about the account."""
    made(path, State.PLANNED)
    with pytest.raises(LedgerError, match="no task to ask for"):
        asyncio.run(go_on(path, service("s1")))


def test_a_ledger_without_a_file_has_nothing_to_ask_for(path: Path) -> None:
    """If there is no ledger there is no task of it."""
    with pytest.raises(LedgerError, match="there is no ledger"):
        last_bought(SqliteLedger(path))
