"""Servers, disks and callers that mean no good: nothing hangs, and one odd row takes no other with it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from suno_video_async import (
    NO_LEDGER,
    ClientClosedError,
    DownloadError,
    LedgerError,
    MalformedResponseError,
    Outcome,
    Request,
    SqliteLedger,
    SunoVideoClient,
    SystemClock,
    Track,
    Video,
    VideoRequest,
    VideoTaskId,
)
from suno_video_async._util.aio import run_to_completion
from suno_video_async.batch.row import RowProcessor
from suno_video_async.ledger.model import Claim
from suno_video_async.models import TaskSnapshot
from suno_video_async.protocol.codec import Operation
from tests.support.clients import TRACK, FakeAPI, client_of
from tests.support.fakes import MP4, Script, answer, settle, task_data
from tests.support.keys import KEY
from tests.support.raw import http, raw_server, says
from tests.support.virtual import run_virtual


def tracks(count: int) -> list[Track]:
    return [Track(task_id="m", suno_id=f"s{number}") for number in range(count)]


def outcomes_of(script: Script, count: int, **arguments: Any) -> list[Outcome]:
    async def run() -> list[Outcome]:
        client, _ = client_of(script)
        async with (
            client,
            client.convert(tracks(count), **{"ledger": NO_LEDGER, **arguments}) as outcomes,
        ):
            return [outcome async for outcome in outcomes]

    return run_virtual(run())


def finished(**more: Any) -> Script:
    """Return an API whose tasks are over at once, with odd values in their answers."""
    made = 0

    def script(request: Request) -> Any:
        nonlocal made
        if request.operation is Operation.CREATE_TASK:
            made += 1
            return answer({"task_id": f"v{made}"})
        if request.operation is Operation.TASK_INFO:
            return answer({**task_data(request.task_id or "", "success"), **more})
        return answer({"estimated_credits": 1e308, "balance": 1, "affordable": True})

    return script


@pytest.mark.parametrize("credits_", [1e308, 10**18, -5, float("nan")])
def test_a_senseless_cost_counts_as_not_said(credits_: float) -> None:
    """The video is there; what it cost is not known."""
    assert {o.state for o in outcomes_of(finished(credits=credits_), 3)} == {"succeeded"}


def test_a_senseless_estimate_leaves_rows_planned() -> None:
    """No row is bought on it, and each says why."""
    outcomes = outcomes_of(finished(), 3, max_credits=10)
    assert {o.state for o in outcomes} == {"planned"}
    assert all(isinstance(o.error, MalformedResponseError) for o in outcomes)


def test_an_estimate_that_failed_is_asked_for_again() -> None:
    """A refusal of EstimateTask refuses no track, and the next row asks anew."""
    api, refused = FakeAPI(), [answer(code=404), answer(code=422)]

    def script(request: Request) -> Any:
        return refused.pop() if request.operation is Operation.ESTIMATE_TASK and refused else api(request)

    states = sorted(o.state for o in outcomes_of(script, 5, max_credits=100))
    assert states == ["planned", "planned", "succeeded", "succeeded", "succeeded"]


def test_one_task_for_two_submissions_is_unknown() -> None:
    """A server that answers an id twice hangs nobody: the second submission's outcome is not known."""

    def script(request: Request) -> Any:
        return answer(task_data("v1", "success") if request.task_id else {"task_id": "v1"})

    outcomes = outcomes_of(script, 3)
    assert sorted(o.state for o in outcomes) == ["succeeded", "unknown", "unknown"]
    assert any("another submission's already" in str(o.error) for o in outcomes)


def test_a_defect_in_one_row_takes_no_other_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other rows end as they end, and the defect is raised after them."""

    async def run() -> tuple[list[str], Exception | None]:
        client, _ = client_of(FakeAPI())
        states: list[str] = []
        retry = RowProcessor._continue

        async def broken(rows: RowProcessor, claim: Claim, work: Any) -> Outcome:
            if claim.row.track.suno_id == "s2":
                raise KeyError("a defect")
            return await retry(rows, claim, work)

        monkeypatch.setattr(RowProcessor, "_continue", broken)
        async with client, client.convert(tracks(5), ledger=NO_LEDGER) as outcomes:
            try:
                async for outcome in outcomes:
                    states.append(f"{outcome.track and outcome.track.suno_id} {outcome.state}")
            except KeyError as error:
                return states, error
        return states, None

    states, error = run_virtual(run())
    assert isinstance(error, KeyError)
    assert len(states) == 5
    assert "s2 planned" in states


# Media servers


@pytest.mark.parametrize("url", ["http://a:99999999/x", "http://[::1/x", "http://☃️..x/", "http://", "no url"])
async def test_a_url_that_is_none(url: str, tmp_path: Path) -> None:
    """Whatever a server names as the video's URL, it is a `DownloadError`; so is where it redirects to."""
    async with (
        raw_server(says(http(b"", "302 Found", Location=url.encode("ascii", "replace").decode()))) as server,
        SunoVideoClient(api_key=KEY, base_url=server.url, clock=SystemClock(1000)) as client,
    ):
        for start in (url, server.url):
            snapshot = TaskSnapshot(task_id=VideoTaskId("v"), status="success")
            video = Video(task_id=snapshot.task_id, url=start, suno_id="s", snapshot=snapshot)
            with pytest.raises(DownloadError):
                await client.download(video, tmp_path)


async def test_a_download_that_broke_off_is_tried_again(tmp_path: Path) -> None:
    """Two broken answers are followed by a third try, at a distance; after each 404 a fresh URL is asked for."""
    said = [http(MP4)[:-9], http(b"", "503 Busy"), http(MP4)]

    async def behave(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said.pop(0))
        await writer.drain()
        writer.close()

    snapshot = TaskSnapshot(task_id=VideoTaskId("v"), status="success")
    async with (
        raw_server(behave) as server,
        SunoVideoClient(api_key=KEY, base_url=server.url, clock=SystemClock(1000)) as client,
    ):
        video = Video(task_id=snapshot.task_id, url=server.url, suno_id="s", snapshot=snapshot)
        assert (await client.download(video, tmp_path)).name == "s.mp4"
        fresh = {"code": 200, "message": "success", "data": task_data("v", "success", media=server.url)}
        said += [http(b"", "404 Gone"), http(json.dumps(fresh).encode())] * 2 + [http(MP4)]
        assert (await client.download(video, tmp_path)).name == "s.mp4"
    assert not said


async def test_an_expired_url_is_asked_for_again(tmp_path: Path) -> None:
    """A media server's 403 sends a conversion to TaskInfo once, which names a fresh URL."""

    async def behave(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(http(b"", "403 Expired") if b" /old" in head else http(MP4))

    asked = 0
    async with raw_server(behave) as media:

        def script(request: Request) -> Any:
            nonlocal asked
            if request.operation is Operation.CREATE_TASK:
                return answer({"task_id": "v1"})
            asked += 1
            return answer(task_data("v1", "success", media=f"{media.url}/{'old' if asked == 1 else 'new'}"))

        client, _ = client_of(script, clock=SystemClock(1000))
        async with client, client.convert(tracks(1), ledger=NO_LEDGER, output_dir=tmp_path) as outcomes:
            states = [outcome.state async for outcome in outcomes]
    assert states == ["downloaded"]
    assert asked == 2


async def test_songs_of_one_name_have_files_of_their_own(tmp_path: Path) -> None:
    """Two music tasks may use the same `suno_id`: neither overwrites the other's video."""
    api = FakeAPI(seconds=0)
    async with raw_server(says(http(MP4))) as media:
        api.media = media.url
        client, _ = client_of(api, clock=SystemClock(1000))
        catalog = [Track(task_id=name, suno_id="same") for name in ("m1", "m2")]
        async with client, client.convert(catalog, ledger=NO_LEDGER, output_dir=tmp_path) as outcomes:
            paths = {outcome.path async for outcome in outcomes}
    assert len(paths) == 2


# Callers


def _cancel(caller: asyncio.Future[Any], _: object) -> None:
    caller.cancel()


async def test_a_submission_that_ends_in_the_turn_of_its_cancellation_leaves_a_trace(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The caller gets its cancellation, and the log the task's id or what is unknown."""
    scripts: list[tuple[Script, str]] = [(FakeAPI(), "it is task v1"), (lambda _: answer({}), "is unknown")]
    for script, trace in scripts:
        client, _ = client_of(script)
        async with client:
            submission = client._open().begin(VideoRequest(track=TRACK))
            caller = asyncio.ensure_future(submission.wait())
            await asyncio.sleep(0)
            submission.outcome.add_done_callback(partial(_cancel, caller))
            with pytest.raises(asyncio.CancelledError):
                await caller
        assert trace in caplog.text


def test_closing_goes_on_when_it_is_cancelled() -> None:
    """A deadline around the client ends only when everything of it has ended."""

    async def slow(request: Request) -> Any:
        await asyncio.sleep(5)
        return answer({"task_id": "v1"})

    async def main() -> None:
        client, _ = client_of(slow)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2), client:
                caller = asyncio.ensure_future(client.submit(TRACK))
                await settle()
        assert (await caller).id == "v1"
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_virtual(main())


async def test_work_is_done_to_its_end_through_many_cancellations() -> None:
    """`to_the_end` lets the caller's cancellation through only afterwards, and an error of the work not at all."""
    done = list[str]()

    async def work(fails: bool) -> None:
        await asyncio.sleep(0.02)
        done.append("work")
        if fails:
            raise KeyError("of the work")

    for fails in (False, True):
        caller = asyncio.ensure_future(run_to_completion(work(fails)))
        for _ in range(3):
            await asyncio.sleep(0)
            caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
    with pytest.raises(KeyError):
        await run_to_completion(work(True))
    assert done == ["work"] * 3


async def test_a_cancelled_opening_leaves_nothing_open(tmp_path: Path) -> None:
    """Whenever a client with a ledger is cancelled while it opens, the ledger can be taken at once afterwards."""
    for turns in range(12):
        client, _ = client_of(FakeAPI(), ledger=tmp_path / "l.db")
        opening = asyncio.ensure_future(client.__aenter__())
        for _ in range(turns):
            await asyncio.sleep(0)
        opening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await opening
        await client.aclose()
    async with client_of(FakeAPI(), ledger=tmp_path / "l.db")[0]:
        pass
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_conversion_is_entered_once_and_over_when_it_is_left() -> None:
    """Iterating before, entering twice and iterating afterwards each say so."""
    client, _ = client_of(FakeAPI())
    async with client:
        conversion = client.convert(tracks(1), ledger=NO_LEDGER)
        with pytest.raises(RuntimeError, match="entered first"):
            await anext(aiter(conversion))
        async with conversion:
            with pytest.raises(RuntimeError, match="entered only once"):
                await conversion.__aenter__()
        with pytest.raises(ClientClosedError, match="was left"):
            await anext(aiter(conversion))


# Ledgers


async def test_a_ledger_that_takes_no_row_leaves_all_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where even the claim fails nothing was sent, so nothing is unknown; the rest is not pulled."""

    def full(*_: object, **__: object) -> Claim:
        raise LedgerError("the disk is full")

    monkeypatch.setattr(SqliteLedger, "claim", full)
    api, states = FakeAPI(), list[str]()
    client, _ = client_of(api)
    async with client, client.convert(tracks(5), ledger=tmp_path / "l.db") as outcomes:
        with pytest.raises(LedgerError, match="the disk is full"):
            while True:
                states.append((await anext(outcomes)).state)
    assert states == ["planned"]
    assert api.created == []


async def test_a_ledger_that_fails_after_the_send_names_the_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row's outcome is unknown to the ledger, but the error has the id that was bought."""
    move = SqliteLedger.move

    def full(self: SqliteLedger, row_id: int, transition: Any, **how: Any) -> Any:
        if transition.state == "submitted":
            raise LedgerError("the disk is full")
        return move(self, row_id, transition, **how)

    monkeypatch.setattr(SqliteLedger, "move", full)
    client, _ = client_of(FakeAPI(), clock=SystemClock(1000))
    async with client, client.convert(tracks(1), ledger=tmp_path / "l.db") as outcomes:
        outcome = await anext(outcomes)
        with pytest.raises(LedgerError):
            await anext(outcomes)
    assert outcome.state == "unknown"
    assert isinstance(outcome.error, LedgerError)
    assert outcome.error.sent
    assert "accepted as task v1" in str(outcome.error)
