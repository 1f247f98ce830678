"""A catalog that was renamed or copied: what another ledger in the folder holds is not bought again."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from suno_video_async import (
    BoughtElsewhereError,
    Outcome,
    SqliteLedger,
    SunoVideoClient,
    SystemClock,
    Track,
    TransportError,
)
from suno_video_async.ledger.model import Totals
from suno_video_async.ledger.neighbours import Holding, Neighbours
from suno_video_async.ledger.states import State
from suno_video_async.protocol.codec import Operation, Request
from tests.support.clients import FakeAPI, client_of
from tests.support.fakes import answer


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    return catalog_of(tmp_path / "catalog.csv", range(4))


def catalog_of(path: Path, numbers: Sequence[int]) -> Path:
    """Write a catalog of tracks of one music task."""
    path.write_text("task_id,suno_id\n" + "".join(f"m1,s{number}\n" for number in numbers), encoding="utf-8")
    return path


def client(api: Any, **options: Any) -> SunoVideoClient:
    return client_of(api, **{"clock": SystemClock(1000), **options})[0]


async def convert(api: Any, source: Path, **arguments: Any) -> list[Outcome]:
    async with client(api) as opened, opened.convert(source, **arguments) as outcomes:
        return sorted(
            [outcome async for outcome in outcomes], key=lambda one: one.track.suno_id if one.track else ""
        )


def states(outcomes: Sequence[Outcome]) -> list[str]:
    return [outcome.state for outcome in outcomes]


async def renamed(path: Path) -> Path:
    return await asyncio.to_thread(path.rename, path.with_name("renamed.csv"))


def fail_all(path: Path) -> None:
    """Let all rows of a ledger have failed."""
    with sqlite3.connect(path) as db:
        db.execute("UPDATE rows SET state = 'failed', failures = 1")
    db.close()


def what_is_in(path: Path) -> tuple[Totals, list[str]]:
    """Return a ledger's sums, and the types of its errors."""
    ledger = SqliteLedger(path)
    assert ledger.open_to_read()
    try:
        return ledger.totals(), [row.error.type for row in ledger.rows() if row.error]
    finally:
        ledger.close()


async def test_a_renamed_catalog_is_not_paid_again(catalog: Path) -> None:
    """Its rows are left planned, with the ledger that has them and what to do; nothing is written about them."""
    api = FakeAPI(seconds=0)
    await convert(api, catalog)
    renamed_catalog = await renamed(catalog)
    for _ in range(2):
        left = await convert(api, renamed_catalog)
        assert states(left) == ["planned"] * 4
        for outcome in left:
            error = outcome.error
            assert isinstance(error, BoughtElsewhereError)
            assert (error.ledger.name, error.state) == ("catalog.ledger.db", "succeeded")
            assert "s" in error.problem
            assert "ignore_other_ledgers=True to buy it" in str(error)
    assert len(api.created) == 4
    with_old = await convert(api, renamed_catalog, ledger=catalog.with_name("catalog.ledger.db"))
    assert states(with_old) == ["skipped"] * 4
    assert states(await convert(api, renamed_catalog, ignore_other_ledgers=True)) == ["succeeded"] * 4
    assert len(api.created) == 8


async def test_in_a_copy_with_other_rows_those_are_bought(catalog: Path) -> None:
    """Half of a catalog's rows are new: the others end as planned, and these go on."""
    api = FakeAPI(seconds=0)
    await convert(api, catalog)
    outcomes = await convert(api, catalog_of(catalog.with_name("copy.csv"), range(2, 6)))
    assert states(outcomes) == ["planned", "planned", "succeeded", "succeeded"]
    assert len(api.created) == 6


async def test_a_song_under_another_author_is_another_track(catalog: Path) -> None:
    """It is compared by its key, as between two catalogs that were meant."""
    api = FakeAPI(seconds=0)
    await convert(api, catalog)
    other = catalog.with_name("other.csv")
    await asyncio.to_thread(other.write_text, "task_id,suno_id,author\nm1,s1,Ava\n", "utf-8")
    assert states(await convert(api, other)) == ["succeeded"]


async def test_a_ledger_that_is_named_is_meant(catalog: Path, tmp_path: Path) -> None:
    """Others are looked at beside the default ledger only; that may be given by its name, too."""
    api = FakeAPI(seconds=0)
    await convert(api, catalog)
    copy = await renamed(catalog)
    for ledger in (tmp_path / "renamed.ledger.db", SqliteLedger(tmp_path / "x" / ".." / "renamed.ledger.db")):
        (tmp_path / "x").mkdir(exist_ok=True)
        assert set(states(await convert(api, copy, ledger=ledger))) <= {"planned", "succeeded"}
    assert states(await convert(api, copy, ledger=tmp_path / "third.db")) == ["succeeded"] * 4


async def test_rows_that_are_not_bought_elsewhere_are_bought(catalog: Path) -> None:
    """Planned and refused rows of another ledger are nobody's purchase."""
    api = FakeAPI(seconds=0)

    def refusing(request: Request) -> Any:
        return answer(code=422) if request.operation is Operation.CREATE_TASK else api(request)

    assert states(await convert(refusing, catalog)) == ["refused"] * 4
    assert states(await convert(api, await renamed(catalog))) == ["succeeded"] * 4


@pytest.mark.parametrize(("retry_failed", "expected"), [(0, "planned"), (1, "succeeded")])
async def test_failed_rows_are_bought_again_if_that_was_asked_for(
    catalog: Path, retry_failed: int, expected: str
) -> None:
    """In a renamed catalog as in the old one."""
    api = FakeAPI(seconds=0)
    await convert(api, catalog)
    await asyncio.to_thread(fail_all, catalog.with_name("catalog.ledger.db"))
    outcomes = await convert(api, await renamed(catalog), retry_failed=retry_failed)
    assert states(outcomes) == [expected] * 4


async def test_plan_says_what_another_ledger_holds(catalog: Path) -> None:
    """And that it would not be bought, unless it is to be."""
    api = FakeAPI(seconds=0)
    await convert(api, catalog)
    copy = catalog_of(catalog.with_name("copy.csv"), range(2, 6))
    async with client(api) as opened:
        plan = await opened.plan(copy)
        assert (plan.elsewhere, plan.new, plan.buys, plan.estimated_credits) == (2, 2, 2, 4)
        assert [path.name for path in plan.other_ledgers] == ["catalog.ledger.db"]
        plan = await opened.plan(copy, ignore_other_ledgers=True)
        assert (plan.elsewhere, plan.new, plan.buys, plan.other_ledgers) == (0, 4, 4, ())
        plan = await opened.plan(copy, ledger=catalog.with_name("third.db"))
        assert (plan.elsewhere, plan.buys) == (0, 4)
    assert not copy.with_name("copy.ledger.db").exists()


async def test_two_runs_at_once_with_copies_pay_once(tmp_path: Path) -> None:
    """Each track is bought by at most one of them; the next run of each leaves it at that."""
    api = FakeAPI(seconds=0)
    copies = [catalog_of(tmp_path / f"{name}.csv", range(12)) for name in "ab"]
    first, second = await asyncio.gather(*(convert(api, copy) for copy in copies))
    assert len(api.created) == len(set(api.created))
    for one, other in zip(first, second, strict=True):
        assert {one.state, other.state} <= {"succeeded", "planned"}
        assert (one.state, other.state) != ("succeeded", "succeeded")
    for copy in copies:
        await convert(api, copy)
    assert len(api.created) == len(set(api.created)) == 12


async def test_a_run_that_bought_it_meanwhile_is_noticed_before_the_send(
    catalog: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other ledgers are asked again after the intent is written; the row is then planned, and nothing sent."""
    api, other = FakeAPI(seconds=0), Holding(catalog.with_name("other.ledger.db"), "submitting")
    looks = list[Sequence[str]]()

    def holdings(_: Neighbours, keys: Sequence[str]) -> dict[str, Holding]:
        looks.append(keys)
        return {key: other for key in keys if looks.count(keys) > 1}

    monkeypatch.setattr(Neighbours, "holdings", holdings)
    left = await convert(api, catalog, max_credits=100)
    assert states(left) == ["planned"] * 4
    assert all(isinstance(outcome.error, BoughtElsewhereError) for outcome in left)
    assert len(looks) == 8
    assert api.created == []
    totals, errors = await asyncio.to_thread(what_is_in, catalog.with_name("catalog.ledger.db"))
    assert (totals.states, totals.spent, totals.reserved) == ({State.PLANNED: 4}, 0, 0)
    assert errors == ["BoughtElsewhereError"] * 4


async def test_unknown_rows_of_another_ledger_are_not_bought(catalog: Path) -> None:
    """They may be paid for."""
    api = FakeAPI(seconds=0)

    def losing(request: Request) -> Any:
        return TransportError("cut") if request.operation is Operation.CREATE_TASK else api(request)

    one = catalog_of(catalog, [1])
    assert states(await convert(losing, one)) == ["unknown"]
    (left,) = await convert(api, await renamed(one))
    assert isinstance(left.error, BoughtElsewhereError)
    assert left.error.state == "unknown"


# What is said


async def test_a_video_without_a_ledger_is_worth_a_warning(
    catalog: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The first file is named; its track is bought all the same."""
    api, folder = FakeAPI(seconds=0), tmp_path / "videos"
    folder.mkdir()
    for number in range(3):
        (folder / f"s{number}.mp4").write_bytes(b"")
    await convert(api, catalog, output_dir=folder)
    assert len(api.created) == 4
    (warning,) = [record.message for record in caplog.records if "is there already" in record.message]
    assert str(folder) in warning
    caplog.clear()
    for arguments in ({"ledger": tmp_path / "named.db"}, {"file_name": "{title} {suno_id}"}):
        await convert(api, catalog, output_dir=folder, **arguments)
    assert "is there already" not in caplog.text


async def test_a_database_that_cannot_be_read_is_worth_a_warning(
    catalog: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Once a run, and the run goes on."""
    api = FakeAPI(seconds=0)
    await asyncio.to_thread(catalog.with_name("bad.ledger.db").write_bytes, b"not a database, though it says so")
    assert states(await convert(api, catalog)) == ["succeeded"] * 4
    assert caplog.text.count("bad.ledger.db cannot be read: what it has bought is not known here") == 1
    caplog.clear()
    async with client(api) as opened:
        await opened.plan(catalog_of(catalog.with_name("new.csv"), [7]))
    assert caplog.text.count("bad.ledger.db cannot be read") == 1


async def test_tracks_of_other_sources_have_no_other_ledgers(tmp_path: Path) -> None:
    """Only a catalog in a file has a ledger beside it."""
    api, path = FakeAPI(seconds=0), tmp_path / "a.ledger.db"
    for name in (path, tmp_path / "b.ledger.db"):
        async with (
            client(api) as opened,
            opened.convert([Track(task_id="m1", suno_id="s1")], ledger=name) as found,
        ):
            assert [outcome.state async for outcome in found] == ["succeeded"]
