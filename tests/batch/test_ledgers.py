"""Which ledger a conversion keeps, and what the parts of a client that share one buy together."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Awaitable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from suno_video_async import (
    NO_LEDGER,
    AlreadyBoughtError,
    LedgerError,
    Outcome,
    Request,
    SqliteLedger,
    SubmissionUnknown,
    SunoVideoClient,
    SystemClock,
    Track,
    TransportError,
)
from suno_video_async._util.aio import in_place
from suno_video_async.batch.ledgers import is_stream, ledger_beside
from suno_video_async.ledger.model import NoLedger
from suno_video_async.protocol.codec import Operation
from tests.support.clients import TRACK, FakeAPI, client_of
from tests.support.fakes import answer, task_data
from tests.support.virtual import run_virtual

CATALOG = "task_id,suno_id\nm1,s1\nm1,s2\n"


def tracks(count: int, author: str | None = None) -> list[Track]:
    return [Track(task_id="m1", suno_id=f"s{number}", author=author) for number in range(count)]


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    path = tmp_path / "catalog.csv"
    path.write_text(CATALOG, encoding="utf-8")
    return path


async def outcomes_of(client: SunoVideoClient, source: Any, **arguments: Any) -> list[Outcome]:
    async with client.convert(source, **arguments) as outcomes:
        return [outcome async for outcome in outcomes]


def states(outcomes: Iterable[Outcome]) -> list[str]:
    return sorted(outcome.state for outcome in outcomes)


def in_virtual_time(api: Any, work: Any, **options: Any) -> Any:
    """Run `work(client)` with a client over a ledger in memory."""

    async def run() -> Any:
        client, _ = client_of(api, **{"ledger": SqliteLedger(), **options})
        async with client:
            return await work(client)

    return run_virtual(run())


# Which ledger


async def test_a_catalog_in_a_file_that_is_converted_twice_is_paid_once(catalog: Path) -> None:
    """Without `ledger=` it is the command line's, beside the catalog."""
    api = FakeAPI(seconds=0)
    for expected in ("succeeded", "skipped"):
        client, _ = client_of(api, clock=SystemClock(1000))
        async with client:
            assert states(await outcomes_of(client, str(catalog))) == [expected, expected]
            assert (await client.plan(catalog)).done == 2
    assert len(api.created) == 2
    assert catalog.with_name("catalog.ledger.db").exists()


async def test_a_clients_ledger_is_that_of_its_conversions(catalog: Path, tmp_path: Path) -> None:
    """`submit` and `convert` without `ledger=` know of each other, and nothing is kept beside the catalog."""
    api = FakeAPI(seconds=0)
    client, _ = client_of(api, ledger=tmp_path / "l.db", clock=SystemClock(1000))
    async with client:
        await client.generate(TRACK)
        assert states(await outcomes_of(client, [TRACK])) == ["skipped"]
        assert states(await outcomes_of(client, catalog)) == ["skipped", "succeeded"]
        assert (await client.plan([TRACK])).done == 1
    assert len(api.created) == 2
    assert not catalog.with_name("catalog.ledger.db").exists()


async def test_the_same_file_by_another_name_shares_the_writer(tmp_path: Path) -> None:
    """Nothing waits for itself: not by the same path, not by another spelling of it, not through a link."""
    api, path, link = FakeAPI(seconds=0), tmp_path / "l.db", tmp_path / "link.db"
    link.symlink_to(path)
    client, _ = client_of(api, ledger=path, clock=SystemClock(1000))
    async with client:
        for name in (path, tmp_path / ".." / tmp_path.name / "l.db", link, SqliteLedger(path)):
            await outcomes_of(client, [TRACK], ledger=name)
    assert len(api.created) == 1


async def test_another_file_is_opened_for_its_conversion_alone(tmp_path: Path) -> None:
    """It is closed with the conversion, and what it does not know is bought."""
    api, other = FakeAPI(seconds=0), tmp_path / "other.db"
    client, _ = client_of(api, ledger=tmp_path / "l.db", clock=SystemClock(1000))
    async with client:
        await client.generate(TRACK)
        assert states(await outcomes_of(client, [TRACK], ledger=other)) == ["succeeded"]
        second, _ = client_of(api, ledger=other, clock=SystemClock(1000))
        async with second:
            await second.generate(TRACK)
    assert len(api.created) == 2


async def test_tracks_without_any_ledger_are_warned_of_once() -> None:
    """The warning says what to do, and points at the caller."""
    client, _ = client_of(FakeAPI(seconds=0), clock=SystemClock(1000))
    async with client:
        with pytest.warns(UserWarning, match=r"running it again pays again.*NO_LEDGER") as caught:
            assert states(await outcomes_of(client, tracks(3))) == ["succeeded"] * 3
    assert [each.filename for each in caught] == [__file__]


async def test_no_ledger_keeps_nothing_and_says_nothing(catalog: Path) -> None:
    """It goes before the client's ledger and before the default one."""
    api = FakeAPI(seconds=0)
    client, _ = client_of(api, ledger=SqliteLedger(), clock=SystemClock(1000))
    async with client:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for _ in range(2):
                assert states(await outcomes_of(client, catalog, ledger=NO_LEDGER)) == ["succeeded"] * 2
        assert (await client.plan(catalog, ledger=NO_LEDGER)).new == 2
    assert len(api.created) == 4
    assert sorted(each.name for each in catalog.parent.iterdir()) == ["catalog.csv"]
    assert repr(NoLedger.NO_LEDGER) == "NO_LEDGER"


async def test_a_place_that_cannot_be_written_is_named(catalog: Path) -> None:
    """Nothing is bought then."""
    api = FakeAPI()
    catalog.with_name("catalog.ledger.db.lock").mkdir()
    client, _ = client_of(api, clock=SystemClock(1000))
    async with client:
        with pytest.raises(LedgerError, match=r"catalog\.ledger\.db cannot be written.*choose another place"):
            await outcomes_of(client, catalog)
    assert not api.created


def test_the_default_ledger_is_named_after_the_catalog() -> None:
    """One function for the command line and for Python."""
    names = ("a.csv", "a.JSONL", "a.tracks", "a")
    assert [ledger_beside(Path("d") / name).name for name in names] == [
        *("a.ledger.db", "a.ledger.db", "a.tracks.ledger.db", "a.ledger.db")
    ]
    assert [is_stream(Path(name)) for name in ("/dev/stdin", "/proc/self/fd/0", "no-such.csv", "/")] == [
        *(True, True, False, False)
    ]


def test_a_link_to_a_catalog_has_the_ledger_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both names pay once; but the link keeps one that it has, and one that cannot be written is not begun."""
    folder = tmp_path / "songs"
    folder.mkdir()
    files, link = folder / "file.csv", tmp_path / "link.csv"
    files.touch()
    link.symlink_to("songs/file.csv")
    assert ledger_beside(link) == ledger_beside(files) == folder / "file.ledger.db"
    monkeypatch.setattr("os.access", lambda *_: False)
    assert ledger_beside(link) == tmp_path / "link.ledger.db"
    (folder / "file.ledger.db").touch()
    assert ledger_beside(link) == folder / "file.ledger.db"
    (tmp_path / "link.ledger.db").touch()
    assert ledger_beside(link) == tmp_path / "link.ledger.db"


async def test_a_catalog_and_a_link_to_it_in_another_folder_pay_once(catalog: Path, tmp_path: Path) -> None:
    """One ledger serves both names."""
    api, link = FakeAPI(seconds=0), tmp_path / "elsewhere" / "link.csv"
    link.parent.mkdir()
    link.symlink_to(catalog)
    client, _ = client_of(api, clock=SystemClock(1000))
    async with client:
        first, second = await outcomes_of(client, link), await outcomes_of(client, catalog)
    assert len(api.created) == len(first) == len(second)


# Several at the same time


def test_two_conversions_at_once_buy_a_track_once() -> None:
    """Both report each row; the second one waits for the first."""
    api = FakeAPI()

    async def work(client: SunoVideoClient) -> Any:
        return await asyncio.gather(outcomes_of(client, tracks(30)), outcomes_of(client, reversed(tracks(30))))

    first, second = in_virtual_time(api, work)
    assert len(api.created) == 30
    assert len(first) == len(second) == 30
    assert states([*first, *second]) == ["skipped"] * 30 + ["succeeded"] * 30


@pytest.mark.parametrize("conversion_first", [True, False])
def test_a_conversion_and_a_submission_buy_a_track_once(conversion_first: bool) -> None:
    """`submit` returns the task of the one that was first, and does not wait for its end."""
    api = FakeAPI()

    async def work(client: SunoVideoClient) -> Any:
        converting: Awaitable[list[Outcome]]
        if conversion_first:
            converting = asyncio.ensure_future(outcomes_of(client, tracks(5)))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            task = await client.submit(tracks(5)[4])
        else:
            submitting = asyncio.ensure_future(client.submit(tracks(5)[4]))
            converting = asyncio.ensure_future(outcomes_of(client, tracks(5)))
            task = await submitting
        assert not task.done
        (video, outcomes) = await asyncio.gather(task.result(), converting)
        return video, outcomes

    video, outcomes = in_virtual_time(api, work)
    assert len(api.created) == len(outcomes) == 5
    assert {outcome.state for outcome in outcomes} <= {"succeeded", "skipped"}
    assert video.task_id in {outcome.video_task_id for outcome in outcomes}


def test_a_song_under_two_authors_is_bought_once_in_two_conversions() -> None:
    """The ledger decides in the moment of the purchase; the other one is skipped and says why."""
    api = FakeAPI()

    async def work(client: SunoVideoClient) -> Any:
        return await asyncio.gather(
            outcomes_of(client, tracks(20, author="Ava")), outcomes_of(client, tracks(20, author="Ben"))
        )

    first, second = in_virtual_time(api, work)
    assert len(api.created) == 20
    assert states([*first, *second]) == ["skipped"] * 20 + ["succeeded"] * 20
    skipped = [outcome for outcome in (*first, *second) if outcome.state == "skipped"]
    assert all(isinstance(outcome.error, AlreadyBoughtError) for outcome in skipped)


def test_another_parts_budget_is_not_a_submissions() -> None:
    """Who joins a submission that its conversion's budget does not allow buys the track himself."""
    api = FakeAPI()

    async def work(client: SunoVideoClient) -> Any:
        converting = asyncio.ensure_future(outcomes_of(client, tracks(1), max_credits=1))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task = await client.submit(tracks(1)[0])
        return await task.result(), await converting

    video, (outcome,) = in_virtual_time(api, work)
    assert len(api.created) == 1
    assert video.task_id == "v1"
    assert outcome.state in {"planned", "succeeded"}


def test_a_submission_waits_for_a_row_that_its_conversion_leaves() -> None:
    """A conversion that is stopped before it sends leaves the row, and `submit` buys it."""
    api = FakeAPI()

    async def work(client: SunoVideoClient) -> Any:
        async with client.convert(tracks(1)) as outcomes:
            await asyncio.sleep(0)
            task = asyncio.ensure_future(client.submit(tracks(1)[0]))
            await asyncio.sleep(0)
            outcomes.stop()
            return (await task).id

    assert in_virtual_time(api, work) == "v1"
    assert len(api.created) == 1


def test_a_refusal_reaches_all_who_wait_for_the_submission() -> None:
    """The error of a joined submission is that of each caller."""

    async def work(client: SunoVideoClient) -> Any:
        return await asyncio.gather(*(client.submit(TRACK) for _ in range(3)), return_exceptions=True)

    errors = in_virtual_time(lambda request: answer(code=422), work)
    assert [type(error).__name__ for error in errors] == ["InvalidRequestError"] * 3


def test_what_another_part_of_the_client_works_on_is_not_picked_up() -> None:
    """A conversion reports its own rows, and those that an earlier run has left."""
    api = FakeAPI()

    async def work(client: SunoVideoClient) -> Any:
        task = await client.submit(TRACK)
        async with client.convert(tracks(3)) as outcomes:
            await anext(outcomes)
            other = await outcomes_of(client, [Track(task_id="m2", suno_id="other")])
        return other, task

    other, task = in_virtual_time(api, work)
    assert [outcome.track.suno_id for outcome in other if outcome.track] == ["other"]
    assert task.done


def test_a_conversion_ends_a_row_that_a_later_part_has_ended() -> None:
    """`generate` and a conversion follow the same task: whoever writes its end first, both have the video."""
    api = FakeAPI()

    async def work(client: SunoVideoClient) -> Any:
        return await asyncio.gather(client.generate(TRACK), outcomes_of(client, [TRACK]), client.generate(TRACK))

    video, (outcome,), again = in_virtual_time(api, work)
    assert video.task_id == again.task_id == outcome.video_task_id == "v1"
    assert outcome.error is None
    assert len(api.created) == 1


# What a ledger wants


async def test_convert_none_is_all_that_the_ledger_wants(tmp_path: Path) -> None:
    """What was planned is bought; what is done is not named."""
    api, path = FakeAPI(seconds=0), tmp_path / "l.db"
    client, _ = client_of(api, ledger=path, clock=SystemClock(1000))
    async with client:
        assert states(await outcomes_of(client, tracks(4), max_credits=4)) == [
            *["planned"] * 2,
            *["succeeded"] * 2,
        ]
    client, _ = client_of(api, clock=SystemClock(1000))
    async with client:
        conversion = client.convert(None, ledger=path)
        assert await conversion.count() is None
        assert conversion.credits() is None
        async with conversion as outcomes:
            assert states([outcome async for outcome in outcomes]) == ["succeeded"] * 2
            assert conversion.credits() == (8, 0)
        with pytest.raises(ValueError, match="name one with ledger="):
            client.convert(None)
    assert len(api.created) == 4


class FailingAPI(FakeAPI):
    """Accepts everything; each task runs for a minute, then fails."""

    def info(self, task_id: str) -> Any:
        status = "failed" if self.now - self.born[task_id] >= self.seconds else "running"
        return answer(task_data(task_id, status, param=self.inputs[task_id], credits=0))


def test_what_is_paid_for_comes_before_what_may_be_bought() -> None:
    """Then by row; and a row is named once, though it has failed by the time that its turn to be bought comes."""
    api, ledger = FailingAPI(), SqliteLedger()
    claimed = list[str]()

    async def work(client: SunoVideoClient) -> list[Outcome]:
        for track in tracks(2):
            await in_place(partial(ledger.claim, track, location=""))
        paid = await client.submit(Track(task_id="m1", suno_id="paid"))
        claim = ledger.claim

        def noted(track: Track, **place: Any) -> Any:
            claimed.append(track.suno_id)
            return claim(track, **place)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ledger, "claim", noted)
            found = await outcomes_of(client, None)
        assert paid.done
        return found

    outcomes = in_virtual_time(api, work, ledger=ledger, max_in_flight=1)
    assert claimed[0] == "paid"
    assert sorted(outcome.track.suno_id for outcome in outcomes if outcome.track) == ["paid", "s0", "s1"]
    assert states(outcomes) == ["failed"] * 3


def test_what_a_ledger_may_still_buy_is_left_alone_after_a_stop() -> None:
    """There may be a million rows: none of them is named, and none is written."""
    api, ledger = FakeAPI(), SqliteLedger()

    async def work(client: SunoVideoClient) -> list[Outcome]:
        for track in tracks(1500):
            await in_place(partial(ledger.claim, track, location=""))
        async with client.convert(None) as outcomes:
            first = await anext(outcomes)
            outcomes.stop()
            return [first, *[outcome async for outcome in outcomes]]

    outcomes = in_virtual_time(api, work, ledger=ledger, max_in_flight=10)
    assert states(outcomes).count("succeeded") == len(api.created)
    assert len(outcomes) < 50


async def test_the_unknown_rows_of_a_clients_own_ledger_can_be_settled(tmp_path: Path) -> None:
    """Nothing waits for itself here, either."""
    api, broken = FakeAPI(seconds=0), True

    def script(request: Request) -> Any:
        lost = broken and request.operation is Operation.CREATE_TASK
        return TransportError("broke off") if lost else api(request)

    client, _ = client_of(script, ledger=tmp_path / "l.db", clock=SystemClock(1000))
    async with client:
        with pytest.raises(SubmissionUnknown):
            await client.submit(TRACK)
        async with client.unknowns(tmp_path / "l.db") as unknowns:
            (row,) = await unknowns.rows()
            await unknowns.resend(row.id)
        broken = False
        assert (await client.generate(TRACK)).task_id == "v1"
