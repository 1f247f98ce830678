"""Hooks: who hears of what, and that nobody can break a run."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from suno_video_async import (
    NO_LEDGER,
    CallbackReceiver,
    ClientClosedError,
    DownloadError,
    Hooks,
    NotFoundError,
    SpendEvent,
    SubmitEvent,
    SunoVideoClient,
    SystemClock,
    TaskSnapshot,
    TransportError,
    Video,
    VideoTaskId,
)
from suno_video_async.testing import RecordingHooks
from tests.ledger.support import track
from tests.support.clients import TRACK, FakeAPI, client_of
from tests.support.fakes import MP4, answer, task_data
from tests.support.keys import KEY
from tests.support.raw import http, raw_server, says
from tests.support.virtual import run_virtual
from tests.test_callbacks import PUBLIC, CallingAPI


class Diary(RecordingHooks):
    """Records all events, and sums up the stages."""

    def ways(self) -> list[tuple[str, str | None, str | None]]:
        """Return each ended stage with its parent's name and its state."""
        return [(one.name, one.parent.name if one.parent else None, one.state) for one in self.ended]


def told(script: Any, main: Callable[[SunoVideoClient], Any], **options: Any) -> Diary:
    """Return what is told while something runs with an open client, in virtual time."""
    diary = Diary()

    async def run() -> None:
        client, _ = client_of(script, hooks=[diary], **options)
        async with client:
            await main(client)

    run_virtual(run())
    assert set(map(id, diary.begun)) == set(map(id, diary.ended))
    return diary


async def bought(client: SunoVideoClient) -> None:
    await (await client.submit(TRACK)).result()


async def converted(client: SunoVideoClient) -> None:
    async with client.convert([TRACK], ledger=NO_LEDGER) as outcomes:
        assert [outcome.state async for outcome in outcomes] == ["succeeded"]


async def generated(client: SunoVideoClient) -> None:
    await client.generate(TRACK)


@pytest.mark.parametrize(("main", "via"), [(bought, "submit"), (converted, "convert"), (generated, "generate")])
def test_one_tracks_way_is_one_stage(main: Callable[[SunoVideoClient], Any], via: str) -> None:
    """Submission and following are parts of one way, whichever call began it, and so are their requests."""
    diary = told(FakeAPI(), main)
    assert diary.ways() == [
        ("submit", "track", None),
        ("follow", "track", None),
        ("track", None, "succeeded"),
    ]
    whole = diary.ended[-1]
    assert (whole.via, whole.track, whole.task_id) == (via, TRACK, "v1")
    first = {("balance", "track")} if via == "convert" else set()
    assert {(one.operation, one.stage.name) for one in diary.requests if one.stage} == first | {
        ("CreateTask", "submit"),
        ("TaskInfo", "follow"),
    }
    assert all(one.stage and whole in {one.stage, one.stage.parent} for one in diary.requests)
    assert whole.seconds == pytest.approx(sum(one.seconds or 0.0 for one in diary.ended[:2]))


@pytest.mark.parametrize("main", [bought, converted, generated])
def test_what_a_task_cost_is_told_once(main: Callable[[SunoVideoClient], Any]) -> None:
    """However a task was submitted, its end tells the credits, with its track."""
    diary = told(FakeAPI(), main)
    assert diary.spends == [SpendEvent(task_id=VideoTaskId("v1"), track=TRACK, credits=2.0, new=True)]
    assert [one.task_id for one in diary.submits] == ["v1"]
    assert diary.updates[-1].status == "success"


def test_a_task_that_others_submitted_is_told_as_such() -> None:
    """An attached task's cost is not new, and no submission is told of it."""
    api = FakeAPI(seconds=0.0)
    api.born["v7"] = 0.0

    async def attached(client: SunoVideoClient) -> None:
        await client.attach("v7").result()

    diary = told(api, attached)
    assert [(one.task_id, one.track, one.credits, one.new) for one in diary.spends] == [("v7", None, 2.0, False)]
    assert diary.submits == []
    assert diary.ways() == [("follow", None, None)]


def test_a_submission_that_its_callback_brings_back_is_told() -> None:
    """A lost answer hides no purchase from the hooks: it is told when it is found."""
    api = CallingAPI(drop=(1,))

    async def main(client: SunoVideoClient) -> None:
        api.receiver = CallbackReceiver(client, public_url=PUBLIC)
        async with client.convert([track()], ledger=NO_LEDGER, callbacks=api.receiver) as outcomes:
            assert [outcome.state async for outcome in outcomes] == ["succeeded"]

    diary = told(api, main, rate=None)
    assert [(one.task_id, one.request.track) for one in diary.submits] == [("v1", track())]
    assert [one.credits for one in diary.spends] == [2.0]


async def test_a_resumed_row_is_told(tmp_path: Path) -> None:
    """A row of an earlier run is one way without a submission; its cost is told at its end."""
    ledger, api, known = tmp_path / "l.db", FakeAPI(seconds=60.0), asyncio.Event()

    class Told(Hooks):
        def on_submit(self, event: SubmitEvent) -> None:
            known.set()

    first, _ = client_of(api, hooks=[Told()])
    async with first, first.convert([TRACK], ledger=ledger):
        await known.wait()
    api.seconds = 0.0
    diary = Diary()
    second, _ = client_of(api, clock=SystemClock(1000), hooks=[diary])
    async with second, second.resume(ledger) as outcomes:
        assert [outcome.state async for outcome in outcomes] == ["succeeded"]
    assert diary.ways() == [("follow", "track", None), ("track", None, "succeeded")]
    assert [(one.task_id, one.new) for one in diary.spends] == [("v1", False)]


def test_sends_are_counted_and_timed() -> None:
    """A call that is sent again says how often it was sent before, its HTTP status and its wait for a place."""
    said = [answer({"balance": 1}), answer(code=455), answer(code=429, status=429)]

    async def main(client: SunoVideoClient) -> None:
        await client.balance()

    diary = told(lambda _: said.pop(), main)
    assert [(one.operation, one.method, one.resend, one.status) for one in diary.requests] == [
        ("balance", "GET", 0, 429),
        ("balance", "GET", 1, 200),
        ("balance", "GET", 2, 200),
    ]
    assert diary.requests[0].url == "http://127.0.0.1:1/api/v1/client/account/balance"
    assert [one.waited is not None for one in diary.requests] == [True] * 3
    assert [one.attempt for one in diary.retries] == [1, 2]
    assert len(diary.pauses) == 2  # one for each refusal


def test_a_failed_poll_counts_as_a_resend() -> None:
    """A poll after one that failed is told as sent again, without a wait: nobody waited."""
    said = [answer(task_data("v1", "success", credits=0)), TransportError("gone"), answer({"task_id": "v1"})]
    diary = told(lambda _: said.pop(), bought)
    assert [(one.operation, one.resend, one.waited is None) for one in diary.requests] == [
        ("CreateTask", 0, False),
        ("TaskInfo", 0, True),
        ("TaskInfo", 1, True),
    ]
    assert [one.credits for one in diary.spends] == [0.0]


def test_a_request_that_is_cut_short_is_told() -> None:
    """The end of a client cuts a read short; its hooks hear of it."""

    async def never(_: Any) -> Any:
        await asyncio.sleep(3600)

    async def main(client: SunoVideoClient) -> None:
        asking = asyncio.ensure_future(client.balance())
        await asyncio.sleep(1)
        await client.aclose()
        await asyncio.gather(asking, return_exceptions=True)

    diary = told(never, main)
    assert [type(one.error) for one in diary.requests] == [asyncio.CancelledError]


def test_a_refused_submission_ends_its_way() -> None:
    """What was not bought ends as refused, with the error."""

    async def main(client: SunoVideoClient) -> None:
        with pytest.raises(NotFoundError):
            await client.submit(TRACK)

    diary = told(lambda _: answer(code=404), main)
    assert diary.ways() == [("submit", "track", None), ("track", None, "refused")]
    assert all(isinstance(one.error, NotFoundError) for one in diary.ended)


async def test_downloads_are_told_without_the_query_of_their_urls(tmp_path: Path) -> None:
    """The file's requests and retries are told; a signature in a URL is not."""
    diary, said = Diary(), [http(b"", "503 Busy"), http(MP4)]
    snapshot = TaskSnapshot(task_id=VideoTaskId("v"), status="success")

    async def behave(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said.pop(0))

    clock = SystemClock(1000)
    async with (
        raw_server(behave) as server,
        SunoVideoClient(api_key=KEY, base_url=server.url, hooks=[diary], clock=clock) as client,
    ):
        signed = Video(task_id=snapshot.task_id, url=f"{server.url}/v.mp4?sig=secret", snapshot=snapshot)
        await client.download(signed, tmp_path)
    assert [(one.operation, one.url, one.resend, one.status) for one in diary.requests] == [
        ("media", f"{server.url}/v.mp4", 0, 503),
        ("media", f"{server.url}/v.mp4", 1, 200),
    ]
    assert [(one.operation, one.attempt) for one in diary.retries] == [("download", 1)]
    assert diary.ways() == [("download", None, None)]


class Defective(Hooks):
    """Raises wherever it is told something."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        for name in (name for name in vars(Hooks) if name.startswith("on_")):
            setattr(self, name, self.fail)

    def fail(self, _: object) -> None:
        raise self.error


@pytest.mark.parametrize("error", [KeyError("a defect"), asyncio.CancelledError(), GeneratorExit()])
def test_no_hook_breaks_a_run(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a hook raises is logged; the run goes on and the next hook hears all."""
    diary = Diary()

    async def run() -> None:
        said = [answer({"balance": 1}), answer(code=429)]
        api = FakeAPI()
        client, _ = client_of(
            lambda request: said.pop() if said else api(request), hooks=[Defective(error), diary]
        )
        async with client:
            await client.balance()
            await converted(client)

    caplog.set_level(logging.ERROR)
    run_virtual(run())
    assert diary.ways()[-1] == ("track", None, "succeeded")
    assert all((diary.requests, diary.retries, diary.submits, diary.updates, diary.spends, diary.pauses))
    assert "a hook failed: Defective" in caplog.text


def test_an_interrupt_passes_through_a_hook() -> None:
    """Ctrl+C and `sys.exit()` are not swallowed."""
    client, _ = client_of(FakeAPI(), hooks=[Defective(KeyboardInterrupt())])
    with pytest.raises(KeyboardInterrupt):
        client._options.reporter.emit(lambda hook: hook.on_submit(SubmitEvent.__new__(SubmitEvent)))


def test_a_coroutine_function_is_refused() -> None:
    """Nobody would await it: the message names the method and what to do."""

    class Awaited(Hooks):
        async def on_submit(self, event: SubmitEvent) -> None:  # type: ignore[override]
            """Never run."""

    with pytest.raises(TypeError, match=r"Awaited.on_submit is a coroutine function.*start a task"):
        client_of(FakeAPI(), hooks=[Awaited()])


async def test_a_download_that_fails_is_told(tmp_path: Path) -> None:
    """A video that cannot be saved ends its stage with the error."""
    diary = Diary()
    snapshot = TaskSnapshot(task_id=VideoTaskId("v"), status="success")
    async with (
        raw_server(says(http(b"a video"))) as server,
        SunoVideoClient(api_key=KEY, base_url=server.url, hooks=[diary]) as client,
    ):
        broken = Video(task_id=snapshot.task_id, url=server.url + "/v.mp4", snapshot=snapshot)
        (tmp_path / "taken").touch()
        with pytest.raises(DownloadError):
            await client.download(broken, tmp_path / "taken")
    assert [type(one.error).__name__ for one in diary.ended] == ["DownloadError"]


def test_what_is_no_hook_is_refused() -> None:
    """What cannot be told is named with the fix; and what stands there twice, for it would count twice."""
    diary = Diary()
    for hooks, said in [
        ([Diary], r"pass an object, Diary\(\)"),
        ([print], "derive its class from Hooks"),
        (diary, r"put it into a list, hooks=\[…\]"),
    ]:
        with pytest.raises(TypeError, match=said):
            client_of(FakeAPI(), hooks=hooks)
    with pytest.raises(ValueError, match="a Diary is among the hooks twice"):
        client_of(FakeAPI(), hooks=[diary, diary])


def test_a_hook_may_start_a_way_of_its_own() -> None:
    """What a hook's task buys is a way of its own, and no part of what the hook was told of."""
    diary = Diary()
    tasks = list[asyncio.Task[None]]()

    async def run() -> None:
        class Encore(Hooks):
            def on_submit(self, event: SubmitEvent) -> None:
                if not tasks:
                    tasks.append(asyncio.ensure_future(again()))

        async def again() -> None:
            await (await client.submit(track("2"))).result()

        client, _ = client_of(FakeAPI(), hooks=[Encore(), diary])
        async with client:
            await client.generate(TRACK)
            await asyncio.gather(*tasks)

    run_virtual(run())
    assert [(one.name, one.via, one.parent) for one in diary.ended if one.name == "track"] == [
        ("track", "generate", None),
        ("track", "submit", None),
    ]


def test_a_hook_may_close_the_client() -> None:
    """Everybody who waits hears that the client was closed; what was bought is told, and nothing hangs."""
    diary = Diary()
    closing = list[asyncio.Task[None]]()

    async def run() -> None:
        class Closing(Hooks):
            def on_submit(self, event: SubmitEvent) -> None:
                closing.append(asyncio.ensure_future(client.aclose()))

        client, _ = client_of(FakeAPI(), hooks=[Closing(), diary])
        async with client:
            with pytest.raises(ClientClosedError):
                await client.generate(TRACK)
            await asyncio.gather(*closing)

    run_virtual(run())
    assert [one.task_id for one in diary.submits] == ["v1"]
    assert diary.ways()[-1] == ("track", None, "submitted")


def test_a_stage_lasts_from_its_beginning() -> None:
    """However long the loop has run before, a way takes as long as its parts do, one after the other."""

    async def late(client: SunoVideoClient) -> None:
        await asyncio.sleep(1000)
        await generated(client)

    submitted, followed, whole = (one.seconds or 0.0 for one in told(FakeAPI(seconds=50), late).ended)
    assert submitted == pytest.approx(0, abs=1)
    assert 50 <= followed < 100
    assert whole == pytest.approx(submitted + followed)
