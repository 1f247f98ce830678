"""Ids that stood in the answer to a submission, in a ledger: asked about in the same run, and in a later one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from suno_video_async import (
    Answer,
    LedgerError,
    Outcome,
    Request,
    SqliteLedger,
    SubmissionUnknown,
    SystemClock,
    TaskEndUnknown,
    Track,
    VideoNotReady,
)
from suno_video_async.ledger.model import LedgerRow, Transition
from suno_video_async.ledger.states import Cause
from suno_video_async.protocol.codec import Operation
from tests.support.clients import TRACK, client_of
from tests.support.fakes import answer, task_data

NAMED = answer({"task_id": "v1"}, code=409)


class API:
    """Answers each CreateTask in turn, and every question alike."""

    def __init__(self, *created: Answer, info: Answer | Callable[[], Answer]) -> None:
        self.created = list(created)
        self.creates = 0
        self.info = info

    def __call__(self, request: Request) -> Answer:
        if request.operation is Operation.CREATE_TASK:
            self.creates += 1
            return self.created.pop(0)
        if request.operation is not Operation.TASK_INFO:
            return answer({"balance": 9})
        return self.info if isinstance(self.info, Answer) else self.info()


def found(status: str = "success", suno_id: str = "s1", **more: Any) -> Answer:
    return answer(task_data("v1", status, param={"input": {"suno_id": suno_id}}, **more))


async def convert(api: API, path: Path, *tracks: Track, speed: float = 1000) -> list[Outcome]:
    client, _ = client_of(api, clock=SystemClock(speed))
    async with client, client.convert(tracks or [TRACK], ledger=path) as outcomes:
        return [outcome async for outcome in outcomes]


def _rows(path: Path) -> list[LedgerRow]:
    ledger = SqliteLedger(path)
    ledger.open_to_read()
    try:
        return list(ledger.rows())
    finally:
        ledger.close()


async def rows(path: Path) -> list[LedgerRow]:
    return await asyncio.to_thread(_rows, path)


async def test_the_same_run_goes_on_with_the_task(tmp_path: Path) -> None:
    """It is bought once and made, and the ledger knows its task."""
    api, path = API(NAMED, info=found()), tmp_path / "l.db"
    [outcome] = await convert(api, path)
    assert (outcome.state, outcome.video_task_id, api.creates) == ("succeeded", "v1", 1)
    assert [(row.state, row.video_task_id) for row in await rows(path)] == [("succeeded", "v1")]


async def test_a_later_run_asks_again_and_never_buys(tmp_path: Path) -> None:
    """Not found at first, the row is unknown with its id; once TaskInfo knows the task, it is followed."""
    api, path = API(NAMED, info=answer(code=404)), tmp_path / "l.db"
    for _ in range(2):
        [outcome] = await convert(api, path)
        assert (outcome.state, outcome.video_task_id) == ("unknown", "v1")
        assert isinstance(outcome.error, SubmissionUnknown)
    api.info = found()
    [outcome] = await convert(api, path)
    assert (outcome.state, api.creates) == ("succeeded", 1)


async def test_a_single_submission_asks_again_too(tmp_path: Path) -> None:
    """`submit` of an unknown row with an id returns its task once it is confirmed."""
    api, path = API(NAMED, info=found(suno_id="s2")), tmp_path / "l.db"
    for info, error in ((found(suno_id="s2"), SubmissionUnknown), (answer(code=404), SubmissionUnknown)):
        api.info = info
        client, _ = client_of(api, clock=SystemClock(1000), ledger=path)
        async with client:
            with pytest.raises(error) as caught:
                await client.submit(TRACK)
            assert caught.value.task_id == "v1"
    api.info = found()
    client, _ = client_of(api, clock=SystemClock(1000), ledger=path)
    async with client:
        both = await asyncio.gather(client.submit(TRACK), client.submit(TRACK))
        assert {(await task.result()).task_id for task in both} == {"v1"}
    assert api.creates == 1


@pytest.mark.parametrize("second", [NAMED, answer({"task_id": "v1"})])
async def test_the_task_of_another_row_is_not_taken(tmp_path: Path, second: Answer) -> None:
    """The second row is unknown, with the id in its error, and the run goes on."""
    api, path = API(answer({"task_id": "v1"}), second, info=found()), tmp_path / "l.db"
    assert [outcome.state for outcome in await convert(api, path)] == ["succeeded"]
    [outcome] = await convert(api, path, Track(task_id="m1", suno_id="s2"))
    assert outcome.state == "unknown"
    assert "v1, which is row 1's already" in str(outcome.error)
    first, other = await rows(path)
    assert (first.state, other.state, other.video_task_id) == ("succeeded", "unknown", None)
    assert other.error is not None
    assert "v1" in other.error.message


async def test_leaving_a_conversion_ends_the_question(tmp_path: Path) -> None:
    """The row stays unknown with its id, for a later run."""
    asked = asyncio.Event()

    def info() -> Answer:
        asked.set()
        return answer(code=404)

    api, path = API(NAMED, info=info), tmp_path / "l.db"
    client, _ = client_of(api)
    async with client, client.convert([TRACK], ledger=path):
        await asked.wait()
    assert [(row.state, row.video_task_id) for row in await rows(path)] == [("unknown", "v1")]


async def test_stopping_does_not_end_the_question(tmp_path: Path) -> None:
    """A conversion that submits no more still finds out what it has bought."""
    asked = list[None]()
    api, path = API(NAMED, info=found()), tmp_path / "l.db"
    client, _ = client_of(api, clock=SystemClock(1000))
    async with client, client.convert([TRACK], ledger=path) as outcomes:

        def info() -> Answer:
            outcomes.stop()
            asked.append(None)
            return answer(code=404) if len(asked) == 1 else found()

        api.info = info
        assert [outcome.state async for outcome in outcomes] == ["succeeded"]


async def test_a_ledger_that_breaks_then_says_what_was_bought(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the task; the row is unknown with its id, and a later run finds it."""
    api, path = API(NAMED, info=found()), tmp_path / "l.db"
    move = SqliteLedger.move

    def full(self: SqliteLedger, row_id: int, transition: Transition, *, cause: Cause, **how: Any) -> LedgerRow:
        if cause is Cause.EVIDENCE:
            raise LedgerError("the disk is full")
        return move(self, row_id, transition, cause=cause, **how)

    with monkeypatch.context() as patched:
        patched.setattr(SqliteLedger, "move", full)
        client, _ = client_of(api, clock=SystemClock(1000))
        async with client, client.convert([TRACK], ledger=path) as outcomes:
            with pytest.raises(LedgerError, match="accepted as task v1") as caught:
                async for outcome in outcomes:
                    assert outcome.state == "unknown"
            assert caught.value.sent
    [outcome] = await convert(api, path)
    assert (outcome.state, api.creates) == ("succeeded", 1)


async def test_an_unknown_end_leaves_the_row_unknown(tmp_path: Path) -> None:
    """With its id, in every run, until TaskInfo says something else; never failed, never bought again."""
    ended = found("expired", complete_at=1)
    api, path = API(answer({"task_id": "v1"}), info=ended), tmp_path / "l.db"
    [first], [second] = await convert(api, path), await convert(api, path)
    assert (first.state, second.state) == ("unknown", "unknown")
    assert isinstance(first.error, TaskEndUnknown)
    assert [(row.state, row.video_task_id, row.failures) for row in await rows(path)] == [("unknown", "v1", 0)]
    api.info = found()
    assert [outcome.state for outcome in await convert(api, path)] == ["succeeded"]
    assert api.creates == 1


async def test_another_tracks_task_leaves_the_row_unknown(tmp_path: Path) -> None:
    """The first TaskInfo of a task that CreateTask named plainly says whose it is."""
    api, path = API(answer({"task_id": "v1"}), info=found(suno_id="s9")), tmp_path / "l.db"
    [outcome] = await convert(api, path)
    assert (outcome.state, outcome.video_task_id) == ("unknown", "v1")
    assert [(row.state, row.video_task_id) for row in await rows(path)] == [("unknown", "v1")]


async def test_a_late_video_is_asked_for_in_each_run(tmp_path: Path) -> None:
    """The row is left submitted, is not failed, and the run in which the URL has come finishes it."""
    late = answer({"task_id": "v1", "status": "success", "result": {"media_urls": []}})
    api, path = API(answer({"task_id": "v1"}), info=late), tmp_path / "l.db"
    for _ in range(2):
        [outcome] = await convert(api, path, speed=5000)
        assert outcome.state == "submitted"
        assert isinstance(outcome.error, VideoNotReady)
    api.info = found()
    assert [outcome.state for outcome in await convert(api, path)] == ["succeeded"]
    assert api.creates == 1
