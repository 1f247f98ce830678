"""`SunoVideoClient(ledger=…)`: what one process bought, the next one finds."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from blockbuster import BlockBuster

from suno_video_async import (
    AlreadyBoughtError,
    Hooks,
    InsufficientCreditsError,
    InvalidRequestError,
    LedgerError,
    Request,
    SqliteLedger,
    SubmissionUnknown,
    SubmitEvent,
    SunoVideoClient,
    SystemClock,
    TaskFailed,
    Track,
    TransportError,
    VideoTaskId,
)
from suno_video_async.ledger.model import LedgerRow, Transition
from suno_video_async.ledger.states import Cause, State
from suno_video_async.protocol.codec import Operation
from tests.support.clients import TRACK, FakeAPI, client_of
from tests.support.fakes import MP4, Script, answer, task_data
from tests.support.keys import KEY
from tests.support.raw import http, raw_server, says
from tests.support.virtual import run_virtual

ACCOUNT = ("127.0.0.1", SunoVideoClient(api_key=KEY, base_url="http://127.0.0.1:1").account[1])


@asynccontextmanager
async def client_on(path: Path, script: Script, **options: Any) -> AsyncIterator[SunoVideoClient]:
    """Open a client with a ledger in a file, in fast real time."""
    client, _ = client_of(script, ledger=path, clock=SystemClock(1000), **options)
    async with client:
        yield client


def with_ledger(path: Path, look: Callable[[SqliteLedger], Any]) -> Any:
    ledger = SqliteLedger(path)
    ledger.open(provider=ACCOUNT[0], fingerprint=ACCOUNT[1])
    try:
        return look(ledger)
    finally:
        ledger.close()


async def rows(path: Path) -> list[LedgerRow]:
    return list(await asyncio.to_thread(with_ledger, path, lambda ledger: ledger.rows()))


def creates(api: FakeAPI) -> int:
    return len(api.created)


async def test_a_track_is_bought_once_over_many_processes(tmp_path: Path) -> None:
    """The second client returns the task that the first one bought, and its video."""
    api, path = FakeAPI(seconds=0), tmp_path / "l.db"
    async with client_on(path, api) as client:
        video = await (await client.submit(TRACK)).result()
    async with client_on(path, api) as client:
        again = await client.submit(TRACK)
        assert (await again.result()).url == video.url
        assert (await (await client.submit(TRACK)).result()).url == video.url
    assert creates(api) == 1
    (row,) = await rows(path)
    assert (row.state, row.video_task_id, row.cost, row.url) == (State.SUCCEEDED, "v1", 2_000_000, video.url)


class Reader(Hooks):
    """Reads a ledger's rows, beside its writer, when it hears of a purchase."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seen = list[tuple[str, State]]()

    def on_submit(self, event: SubmitEvent) -> None:
        with contextlib.closing(SqliteLedger(self.path)) as ledger:
            ledger.open_to_read()
            self.seen += [(event.task_id, row.state) for row in ledger.rows()]


async def test_hooks_hear_of_what_is_written_down(tmp_path: Path, no_blocking_calls: BlockBuster) -> None:
    """When a hook is notified of a purchase, the ledger has it already."""
    for function in no_blocking_calls.functions.values():
        function.can_block_in("tests/batch/test_single.py", "on_submit")
    reader = Reader(tmp_path / "l.db")
    async with client_on(reader.path, FakeAPI(), hooks=[reader]) as client:
        await client.submit(TRACK)
    assert reader.seen == [("v1", State.SUBMITTED)]


async def test_the_next_process_knows_how_long_tasks_take(tmp_path: Path) -> None:
    """What a ledger's tasks took is recalled when it is opened, and an estimate is there from the start."""

    def fill(ledger: SqliteLedger) -> None:
        for number in range(6):
            row = ledger.claim(Track(task_id="m", suno_id=f"s{number}"), location="").row
            ledger.begin_attempt(row.id, nonce=f"n{number}", at=0.0, reserve=0, budget=None)
            ledger.move(row.id, Transition(state=State.SUBMITTED, video_task_id=VideoTaskId(f"v{number}")))
            ledger.move(row.id, Transition(state=State.SUCCEEDED, took=40.0))

    path = tmp_path / "l.db"
    await asyncio.to_thread(with_ledger, path, fill)
    async with client_on(path, FakeAPI()) as client:
        assert 35 < client._open().usual_duration(0.5) < 46


async def test_what_was_submitted_is_followed_by_the_next_process(tmp_path: Path) -> None:
    """A client that closes before the end leaves the row submitted; the next one settles it."""
    api, path = FakeAPI(seconds=1e9), tmp_path / "l.db"
    async with client_on(path, api) as client:
        await client.submit(TRACK)
    assert (await rows(path))[0].state is State.SUBMITTED
    api.seconds = 0
    async with client_on(path, api) as client:
        assert (await client.generate(TRACK)).task_id == "v1"
    assert creates(api) == 1


async def test_callers_of_one_track_share_one_purchase(tmp_path: Path) -> None:
    """However many submit the same track at once, one CreateTask is sent and all get its task."""
    api = FakeAPI(seconds=0)

    async def slow(request: Request) -> Any:
        await asyncio.sleep(0.01)
        return api(request)

    async with client_on(tmp_path / "l.db", slow) as client:
        tasks = await asyncio.gather(*(client.submit(TRACK) for _ in range(10)))
        assert len({task.id for task in tasks}) == 1
    assert creates(api) == 1


async def test_an_unknown_submission_stays_unknown(tmp_path: Path) -> None:
    """The next client refuses to send it, until a person decides."""
    api, path = FakeAPI(seconds=0), tmp_path / "l.db"

    def broken(request: Request) -> Any:
        return TransportError("broke off") if request.operation is Operation.CREATE_TASK else api(request)

    async with client_on(path, broken) as client:
        with pytest.raises(SubmissionUnknown):
            await client.submit(TRACK)
    async with client_on(path, api) as client:
        with pytest.raises(SubmissionUnknown, match="broke off"):
            await client.submit(TRACK)
    assert creates(api) == 0

    def resend(ledger: SqliteLedger) -> None:
        ledger.move(1, Transition(state=State.PLANNED), cause=Cause.PERSON)

    await asyncio.to_thread(with_ledger, path, resend)
    async with client_on(path, api) as client:
        await client.generate(TRACK)
    assert creates(api) == 1


async def test_a_refused_track_may_be_submitted_again(tmp_path: Path) -> None:
    """Nothing was bought, so nothing stands in the way."""
    api, path = FakeAPI(seconds=0), tmp_path / "l.db"
    refusing = True

    def script(request: Request) -> Any:
        return answer(code=422) if refusing and request.operation is Operation.CREATE_TASK else api(request)

    async with client_on(path, script) as client:
        with pytest.raises(InvalidRequestError):
            await client.submit(TRACK)
        refusing = False
        await client.generate(TRACK)
    assert [row.state for row in await rows(path)] == [State.SUCCEEDED]


async def test_a_failed_track_is_not_bought_again(tmp_path: Path) -> None:
    """The failed task is shown again; one that was given up by hand says so."""
    path = tmp_path / "l.db"

    def failing(request: Request) -> Any:
        if request.operation is Operation.CREATE_TASK:
            return answer({"task_id": "v1"})
        return answer(task_data("v1", "failed", credits=0, result={"code": 501, "message": "no"}))

    async with client_on(path, failing) as client:
        for _ in range(2):
            with pytest.raises(TaskFailed, match="501 no"):
                await client.generate(TRACK)
    assert [(row.state, row.failures, row.cost) for row in await rows(path)] == [(State.FAILED, 1, 0)]

    def given_up(ledger: SqliteLedger) -> None:
        row = ledger.claim(Track(task_id="m", suno_id="s2"), location="").row
        ledger.begin_attempt(row.id, nonce="n2", at=0.0, reserve=0, budget=None)
        ledger.move(row.id, Transition(state=State.UNKNOWN))
        ledger.move(row.id, Transition(state=State.FAILED), cause=Cause.PERSON)

    await asyncio.to_thread(with_ledger, path, given_up)
    async with client_on(path, failing) as client:
        with pytest.raises(TaskFailed, match="given up by hand"):
            await client.submit(Track(task_id="m", suno_id="s2"))


async def test_another_author_is_not_bought_silently(tmp_path: Path) -> None:
    """The same song with another credit is a second charge, so it is refused with the way to ask for it."""
    api = FakeAPI(seconds=0)
    async with client_on(tmp_path / "l.db", api) as client:
        await client.submit(TRACK)
        for _ in range(2):
            with pytest.raises(AlreadyBoughtError, match="rebuy_changed"):
                await client.submit(Track(task_id="m1", suno_id="s1", author="Ava"))
    assert creates(api) == 1


async def test_a_sibling_that_was_not_bought_stands_in_nobodys_way(tmp_path: Path) -> None:
    """A submission that was refused for lack of credits does not block the same song under another author."""
    api, poor = FakeAPI(seconds=0), True

    def script(request: Request) -> Any:
        return answer(code=402) if poor and request.operation is Operation.CREATE_TASK else api(request)

    async with client_on(tmp_path / "l.db", script) as client:
        with pytest.raises(InsufficientCreditsError):
            await client.submit(Track(task_id="m1", suno_id="s1", author="Ava"))
        poor = False
        await client.generate(TRACK)
    assert creates(api) == 1


async def test_a_ledger_in_use_is_refused(tmp_path: Path) -> None:
    """Two clients never write one ledger."""
    async with client_on(tmp_path / "l.db", FakeAPI()):
        with pytest.raises(LedgerError, match="is being written by process"):
            async with client_on(tmp_path / "l.db", FakeAPI()):
                pass


async def test_a_ledger_that_breaks_while_a_task_ends_leaves_it_submitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The video is delivered all the same, the log says what happened, and the next client settles the row."""
    api, path = FakeAPI(seconds=0), tmp_path / "l.db"
    move = SqliteLedger.move

    def broken(self: SqliteLedger, row_id: int, transition: Transition, **how: Any) -> LedgerRow:
        if transition.state is State.SUCCEEDED:
            raise LedgerError("the disk is full")
        return move(self, row_id, transition, **how)

    monkeypatch.setattr(SqliteLedger, "move", broken)
    async with client_on(path, api) as client:
        assert (await client.generate(TRACK)).task_id == "v1"
        assert "could not be written down" in caplog.text
        assert await client.balance() == 12.5
    monkeypatch.undo()
    assert [row.state for row in await rows(path)] == [State.SUBMITTED]
    async with client_on(path, api) as client:
        await client.generate(TRACK)
    assert creates(api) == 1


async def test_a_download_is_noted(tmp_path: Path) -> None:
    """`generate` with a folder leaves the row downloaded, with the file's path."""
    api, path = FakeAPI(seconds=0), tmp_path / "l.db"
    async with client_on(path, api) as client, raw_server(says(http(MP4))) as media:
        api.media = media.url
        video = await client.generate(TRACK, output_dir=tmp_path)
        again = await client.generate(TRACK, output_dir=tmp_path)
    assert video.path == again.path == tmp_path / "s1.mp4"
    assert [(row.state, row.path) for row in await rows(path)] == [(State.DOWNLOADED, video.path)]


def test_nothing_is_kept_of_tasks_that_no_caller_keeps() -> None:
    """A service that submits tracks for months does not grow with each of them."""

    async def main() -> list[int]:
        client, _ = client_of(FakeAPI(), ledger=SqliteLedger(None))
        counts = list[int]()
        async with client:
            for number in range(30):
                await client.generate(Track(task_id="m1", suno_id=f"s{number}"))
                counts.append(kept())
        return counts

    gc.freeze()  # only what is made from here on is looked at
    counts = run_virtual(main())
    assert counts[-1] <= counts[9]


def kept() -> int:
    """Return how many rows of ledgers are in memory."""
    gc.collect()
    return sum(isinstance(one, LedgerRow) for one in gc.get_objects())
