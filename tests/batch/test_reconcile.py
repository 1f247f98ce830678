"""Unknown rows and what a person can do about them: evidence, or a decision, and nothing else."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from suno_video_async import LedgerError, NotFoundError, SqliteLedger, TaskSnapshot, Track, VideoTaskId
from suno_video_async.batch.reconcile import GIVEN_UP, Unknowns, unknown_rows
from suno_video_async.ledger.model import LedgerRow, RowError, Transition
from suno_video_async.ledger.states import State

SUBMITTED = {"task_id": "m1", "suno_id": "s1", "author": "Zoë", "brand": None}


@define
class Service:
    """Knows video tasks by what they were made from."""

    tasks: dict[str, dict[str, Any] | None] = field(factory=dict[str, Any])
    account: tuple[str, str] = ("127.0.0.1", "f")

    async def status(self, task_id: str) -> TaskSnapshot:
        if task_id not in self.tasks:
            raise NotFoundError("none", code=404, http_status=200, operation="TaskInfo", task_id=task_id)
        raw = {"param": {"model": "suno/music-video", "input": self.tasks[task_id]}}
        return TaskSnapshot(task_id=VideoTaskId(task_id), status="running", raw=raw)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a ledger with rows 1 (by Zoë) and 2 unknown, and row 3 submitted as task v3."""
    ledger = SqliteLedger(tmp_path / "c.db", synchronous="OFF")
    ledger.open(provider="127.0.0.1", fingerprint="f")
    for number, author in ((1, "Zoë"), (2, None), (3, None)):
        track = Track(task_id="m1", suno_id=f"s{number}", author=author)
        ledger.claim(track, location="c.csv")
        ledger.begin_attempt(number, nonce=f"n{number}", at=1.0, reserve=2_000_000, budget=None)
        said = RowError("TransportError", None, "cut")
        ledger.move(
            number,
            Transition(state=State.UNKNOWN, error=said)
            if number < 3
            else Transition(state=State.SUBMITTED, video_task_id=VideoTaskId("v3")),
        )
    ledger.close()
    return tmp_path / "c.db"


async def rows_of(path: Path) -> dict[int, LedgerRow]:
    """Return all rows by their numbers."""
    return await asyncio.to_thread(_read, path)


def _read(path: Path) -> dict[int, LedgerRow]:
    ledger = SqliteLedger(path)
    assert ledger.open_to_read()
    try:
        return {row.id: row for row in ledger.rows()}
    finally:
        ledger.close()


async def test_rows_are_listed(path: Path) -> None:
    """Unknown rows are listed in their order, and no others."""
    async with Unknowns(Service(), path) as unknowns:
        listed = await unknowns.rows()
        assert await unknown_rows(path) == listed
    assert [row.id for row in listed] == [1, 2]


@pytest.mark.parametrize(
    "said",
    [
        SUBMITTED,
        {"task_id": "m1", "suno_id": "s1", "author": "Zoe\u0308"},
        {"task_id": " m1", "suno_id": "s1 ", "author": "Zoë", "brand": "", "more": 1},
    ],
)
async def test_a_task_of_the_row_is_adopted(path: Path, said: dict[str, Any]) -> None:
    """A task that is made from what the row says, absent or empty alike, becomes the row's, at no cost yet."""
    async with Unknowns(Service({"v1": said}), path) as unknowns:
        row = await unknowns.adopt(1, "v1")
    assert (row.state, row.video_task_id, row.error) == (State.SUBMITTED, "v1", None)
    assert (row.cost, row.reserved) == (0, 2_000_000)
    assert (await rows_of(path))[1] == row


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"task_id": "m2"}, "task_id is 'm2', the row's 'm1'"),
        ({"suno_id": "s2"}, "suno_id is 's2', the row's 's1'"),
        ({"author": None}, "author is 'absent', the row's 'Zoë'"),
        ({"author": ""}, "author is 'absent', the row's 'Zoë'"),
        ({"author": "zoë"}, "author is 'zoë', the row's 'Zoë'"),
        ({"brand": "Acme"}, "brand is 'Acme', the row's 'absent'"),
        ({"suno_id": 1}, "suno_id is '1', the row's 's1'"),
    ],
)
async def test_a_task_of_something_else_is_refused(path: Path, change: dict[str, Any], says: str) -> None:
    """A task that differs in any of the four fields is refused by that field, and nothing changes."""
    before = await rows_of(path)
    async with Unknowns(Service({"v1": SUBMITTED | change}), path) as unknowns:
        with pytest.raises(LedgerError, match=says):
            await unknowns.adopt(1, "v1")
    assert await rows_of(path) == before


@pytest.mark.parametrize("said", [None, {}])
async def test_a_task_of_unknown_origin_is_refused(path: Path, said: dict[str, Any] | None) -> None:
    """Where the service does not repeat what a task is made from, it is not taken for the row's."""
    async with Unknowns(Service({"v1": said}), path) as unknowns:
        with pytest.raises(LedgerError, match="does not say"):
            await unknowns.adopt(1, "v1")
    assert (await rows_of(path))[1].state is State.UNKNOWN


async def test_the_task_of_another_row_is_refused(path: Path) -> None:
    """An id that belongs to another row is refused, whatever the service says about it, and nothing changes."""
    before = await rows_of(path)
    async with Unknowns(Service({"v3": SUBMITTED}), path) as unknowns:
        with pytest.raises(LedgerError, match="belongs to another row"):
            await unknowns.adopt(1, "v3")
    assert await rows_of(path) == before


async def test_what_cannot_be_adopted(path: Path) -> None:
    """A row that is not unknown or not there, a task that does not exist and a bad id are refused each by name."""
    async with Unknowns(Service({"v1": SUBMITTED}), path) as unknowns:
        with pytest.raises(LedgerError, match="not unknown but submitted"):
            await unknowns.adopt(3, "v1")
        with pytest.raises(LedgerError, match="no row 9"):
            await unknowns.adopt(9, "v1")
        with pytest.raises(NotFoundError):
            await unknowns.adopt(1, "v9")
        with pytest.raises(ValueError, match="printable ASCII"):
            await unknowns.adopt(1, "ü")


async def test_resent_rows_are_planned(path: Path) -> None:
    """A resent row is planned again, once however often it is named; what was set aside counts as spent."""
    async with Unknowns(Service(), path) as unknowns:
        resent = await unknowns.resend(2, 1, 2)
    assert [(row.id, row.state, row.error) for row in resent] == [
        (2, State.PLANNED, None),
        (1, State.PLANNED, None),
    ]
    assert {(row.cost, row.reserved) for row in resent} == {(2_000_000, 0)}


async def test_dropped_rows_have_failed(path: Path) -> None:
    """A dropped row has failed by a person's hand, which is no failure of a task."""
    async with Unknowns(Service(), path) as unknowns:
        (row,) = await unknowns.drop(1)
        assert [left.id for left in await unknowns.rows()] == [2]
    assert (row.state, row.error, row.failures) == (State.FAILED, GIVEN_UP, 0)


async def test_one_wrong_row_changes_none(path: Path) -> None:
    """When one row is not unknown, none is settled."""
    before = await rows_of(path)
    async with Unknowns(Service(), path) as unknowns:
        with pytest.raises(LedgerError, match="row 3"):
            await unknowns.drop(1, 3)
        with pytest.raises(LedgerError, match="row 3"):
            await unknowns.resend(1, 3)
    assert await rows_of(path) == before


async def test_a_row_that_the_client_works_on_is_left_alone(path: Path) -> None:
    """Such as one whose callback it waits for: that may settle it, and would meet a row that has moved."""
    async with Unknowns(Service({"v1": SUBMITTED}), path) as unknowns:
        register = unknowns._ledger.register
        register.begin(1)
        for decide in (unknowns.adopt(1, "v1"), unknowns.resend(2, 1), unknowns.drop(1)):
            with pytest.raises(LedgerError, match="row 1 is being worked on") as raised:
                await decide
            assert raised.value.temporary
        register.end(1)
        await unknowns.resend(2, 1)
    assert {row.state for row in (await rows_of(path)).values()} == {State.PLANNED, State.SUBMITTED}


async def test_a_decision_is_about_one_submission(path: Path) -> None:
    """One that was made before the row was submitted again is not carried out: that would buy a third video."""
    async with Unknowns(Service(), path) as unknowns:
        with pytest.raises(LedgerError, match=r"row 1 \(s1\) was submitted again since"):
            await unknowns.resend(1, attempt=2)
        await unknowns.resend(1, attempt=1)
    assert (await rows_of(path))[1].state is State.PLANNED


async def test_one_at_a_time(path: Path) -> None:
    """While one holds the ledger another is refused with the pid, but can list; afterwards it is free."""
    async with Unknowns(Service(), path):
        with pytest.raises(LedgerError, match=r"process \d+"):
            await Unknowns(Service(), path).__aenter__()
        assert len(await unknown_rows(path)) == 2
    async with Unknowns(Service(), path) as unknowns:
        assert len(await unknowns.rows()) == 2


async def test_another_account_is_refused(path: Path) -> None:
    """A ledger of another account is not opened."""
    with pytest.raises(LedgerError, match="belongs to another key"):
        await Unknowns(Service(account=("127.0.0.1", "g")), path).__aenter__()


async def test_no_ledger_is_made(tmp_path: Path) -> None:
    """A mistyped path is an error, and no ledger is made there."""
    with pytest.raises(LedgerError, match="there is no ledger"):
        await Unknowns(Service(), tmp_path / "none.db").__aenter__()
    with pytest.raises(LedgerError, match="there is no ledger"):
        await unknown_rows(tmp_path / "none.db")
    assert list(tmp_path.iterdir()) == []


def _interrupt(path: Path) -> None:
    ledger = SqliteLedger(path, synchronous="OFF")
    ledger.open(provider="127.0.0.1", fingerprint="f")
    ledger.claim(Track(task_id="m1", suno_id="s4"), location="c.csv")
    ledger.begin_attempt(4, nonce="n4", at=1.0, reserve=0, budget=None)
    ledger.close()


async def test_what_was_in_the_air_is_listed(path: Path) -> None:
    """A row that an interrupted run was submitting is listed before anybody opens the ledger, then is unknown."""
    await asyncio.to_thread(_interrupt, path)
    assert [row.state for row in await unknown_rows(path)] == [State.UNKNOWN, State.UNKNOWN, State.SUBMITTING]
    async with Unknowns(Service(), path) as unknowns:
        assert [row.id for row in await unknowns.rows()] == [1, 2, 4]
