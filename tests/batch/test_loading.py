"""`load`: a catalog into a ledger, without an API key."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

import pytest

from suno_video_async import (
    CatalogError,
    LedgerError,
    Loaded,
    Outcome,
    SqliteLedger,
    SunoVideoClient,
    SystemClock,
    Track,
    load,
)
from suno_video_async.batch import loading
from tests.ledger.support import names_in
from tests.support.clients import FakeAPI, client_of


def tracks(count: int) -> list[Track]:
    """Return tracks."""
    return [Track(task_id="m1", suno_id=f"s{number}", extra={"isrc": str(number)}) for number in range(count)]


def names(path: Path) -> list[str]:
    """Return the tracks of a ledger that no process has open."""
    return names_in(SqliteLedger(path).reader())


async def outcomes_of(client: SunoVideoClient, ledger: Path) -> list[Outcome]:
    """Convert all that a ledger wants."""
    async with client.convert(None, ledger=ledger) as outcomes:
        return [outcome async for outcome in outcomes]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where a ledger is to be."""
    return tmp_path / "l.db"


async def test_what_is_loaded_is_bought_by_the_next_conversion_of_the_ledger(path: Path) -> None:
    """A ledger that was made without a key is of the account that opens it first."""
    assert await load(tracks(3), path) == Loaded(rows=3, new=3)
    api = FakeAPI(seconds=0)
    client, _ = client_of(api, clock=SystemClock(1000))
    async with client:
        outcomes = await outcomes_of(client, path)
    assert sorted((outcome.state, outcome.location) for outcome in outcomes) == [
        ("succeeded", f"track {number}") for number in (1, 2, 3)
    ]
    assert len(api.created) == 3
    assert await asyncio.to_thread(names, path) == ["s0 succeeded", "s1 succeeded", "s2 succeeded"]


async def test_what_is_loaded_again_is_reported_and_stays_as_it_is(path: Path) -> None:
    """It is not bought again, though it is twice in the catalog."""
    await load(tracks(2), path)
    client, _ = client_of(FakeAPI(seconds=0), clock=SystemClock(1000))
    async with client:
        await outcomes_of(client, path)
    assert await load([*tracks(3), *tracks(1)], path) == Loaded(rows=4, new=1, known=3)
    assert await asyncio.to_thread(names, path) == ["s0 succeeded", "s1 succeeded", "s2 planned"]


async def test_rows_are_committed_so_many_at_a_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalog may have a million rows: what is read is never all of it."""
    monkeypatch.setattr(loading, "BATCH", 1000)
    sizes = list[int]()
    add = SqliteLedger.add

    def noted(self: SqliteLedger, rows: list[tuple[Track, str]]) -> object:
        sizes.append(len(rows))
        return add(self, rows)

    def counted() -> Iterable[Track]:
        for track in tracks(2300):
            assert len(sizes) == int(track.suno_id[1:]) // 1000
            yield track

    monkeypatch.setattr(SqliteLedger, "add", noted)
    assert await load(counted(), path) == Loaded(rows=2300, new=2300)
    assert sizes == [1000, 1000, 300]


async def test_a_row_that_cannot_be_read_is_reported_and_the_others_are_loaded(path: Path) -> None:
    """As for a conversion."""
    problems = list[CatalogError]()
    rows = [{"task_id": "m1"}, {"task_id": "m1", "suno_id": "s1"}]
    assert await load(rows, path, on_problem=problems.append) == Loaded(rows=2, new=1, unreadable=1)
    assert [problem.location for problem in problems] == ["track 1"]


async def test_what_was_read_of_a_broken_catalog_is_loaded(path: Path) -> None:
    """Loading the rest later changes nothing about it."""

    def broken() -> Iterable[Track]:
        yield from tracks(2)
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        await load(broken(), path)
    assert await asyncio.to_thread(names, path) == ["s0 planned", "s1 planned"]


async def test_a_ledger_that_is_being_written_is_loaded_by_its_own_client(path: Path) -> None:
    """A file has one writer, which is this client."""
    client, _ = client_of(FakeAPI(seconds=0), clock=SystemClock(1000), ledger=path)
    async with client:
        assert await client.load(tracks(1)) == Loaded(rows=1, new=1)
        assert await client.load(tracks(2), path) == Loaded(rows=2, new=1, known=1)
        with pytest.raises(LedgerError, match="written"):
            await load(tracks(1), path)


async def test_a_client_loads_another_ledger_than_its_own(path: Path) -> None:
    """It need not have one."""
    client, _ = client_of(FakeAPI(seconds=0), clock=SystemClock(1000))
    async with client:
        assert await client.load(tracks(1), path) == Loaded(rows=1, new=1)
        with pytest.raises(ValueError, match="load needs a ledger"):
            await client.load(tracks(1))
    assert await asyncio.to_thread(names, path) == ["s0 planned"]


async def test_what_another_ledger_has_is_reported_and_not_added(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ledgers in one database know of each other; a file's do not, so one of them is made up."""
    first, second = tracks(2)
    monkeypatch.setattr(SqliteLedger, "_elsewhere", lambda _, keys: dict.fromkeys(keys[:1], "other"))
    problems = list[CatalogError]()
    loaded = await load([first, second], path, on_problem=problems.append)
    assert loaded == Loaded(rows=2, new=1, elsewhere={"other": 1})
    assert [str(problem) for problem in problems] == ["track 1: the ledger other has s0 already"]
    assert await asyncio.to_thread(names, path) == ["s1 planned"]
