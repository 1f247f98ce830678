"""The pytest plugin: what an application's tests get."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from suno_video_async import (
    FeatureDisabledError,
    InsufficientCreditsError,
    InvalidRequestError,
    SunoVideoClient,
    Track,
)
from suno_video_async.hooks import PriceEvent
from suno_video_async.local import ApiKey, Fault, FaultError
from suno_video_async.testing import (
    FakeClock,
    RecordingHooks,
    VideoServer,
    assert_charged_once,
    assert_fault_struck,
    assert_not_charged,
    assert_rate_kept,
    serve,
)

EXAMPLE = Path(__file__).parent / "example_project"
TRACK, OTHER = Track(task_id="m1", suno_id="s1"), Track(task_id="m1", suno_id="s2")


@pytest.fixture(autouse=True)
def no_blocking_calls() -> None:
    """Let a test wait for the server's thread, which takes a moment."""


@pytest.mark.parametrize("hows", ["pytest_asyncio customers", "anyio", "aiohttp", "without_a_loop"])
def test_the_example_project_passes(hows: str) -> None:
    """The tests of the example project pass, under each of the plugins that run coroutines."""
    mode = "auto" if hows == "aiohttp" else "strict"
    files = [f"test_{how}.py" for how in hows.split()]
    options = ["-c", "pytest.ini", "-o", f"asyncio_mode={mode}", "-p", "no:cacheprovider", "-W", "error"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *options, *files],
        cwd=EXAMPLE,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


async def test_faults_can_be_changed(suno_video_server: VideoServer, suno_video_client: SunoVideoClient) -> None:
    """What goes wrong can be set between two calls, and taken back."""
    suno_video_server.set_faults(Fault(on="CreateTask", kind="code:429", calls=[1]))
    async with suno_video_client as client:
        await client.generate(TRACK)
    assert suno_video_server.stats()["refused"] == {"429": 1}
    assert [task["status"] for task in suno_video_server.tasks()["video"]] == ["success"]
    with pytest.raises(AssertionError, match="1 request was refused with 429"):
        assert_rate_kept(suno_video_server)
    suno_video_server.reset()
    assert suno_video_server.tasks()["video"] == []
    assert "VideoServer http://127.0.0.1:" in repr(suno_video_server)


async def test_assertions_say_what_is_wrong(
    suno_video_server: VideoServer, suno_video_client: SunoVideoClient
) -> None:
    """An assertion that does not hold names the track and how often it was charged."""
    with pytest.raises(AssertionError, match="nothing was charged"):
        assert_charged_once(suno_video_server)
    assert_not_charged(suno_video_server)
    async with suno_video_client as client:
        for _ in range(2):
            await client.generate(TRACK)
    with pytest.raises(AssertionError, match="m1/s1// was charged 2 times"):
        assert_charged_once(suno_video_server, [TRACK])
    with pytest.raises(AssertionError, match="m1/s2// was charged 0 times"):
        assert_charged_once(suno_video_server, [Track(task_id="m1", suno_id="s2")])
    with pytest.raises(AssertionError, match="charged: m1/s1//"):
        assert_not_charged(suno_video_server)
    assert_not_charged(suno_video_server, [Track(task_id="m1", suno_id="s2")])


async def test_a_failed_assertion_shows_the_books(
    suno_video_server: VideoServer, suno_video_client: SunoVideoClient
) -> None:
    """Beside what is wrong it shows what was charged, asked and refused, and which faults struck."""
    suno_video_server.set_faults(Fault(on="CreateTask", kind="code:422", calls=[2]))
    async with suno_video_client as client:
        await client.submit(TRACK)
        with pytest.raises(InvalidRequestError):
            await client.submit(OTHER)
    with pytest.raises(AssertionError) as caught:
        assert_charged_once(suno_video_server, [TRACK, OTHER])
    said = str(caught.value).splitlines()
    assert said[:3] == [
        "m1/s2// was charged 0 times",
        "charged, by task_id/suno_id/author/brand:",
        "  1 x m1/s1//",
    ]
    assert said[3].startswith("requests: {'CreateTask': 2")
    assert said[4:] == ["refused: {'422': 1}", "faults: {'code:422': 1}"]
    assert_fault_struck(suno_video_server, "code:422")
    assert_fault_struck(suno_video_server, "code:422", times=1)
    with pytest.raises(AssertionError, match=r"^code:422 struck 1 times, not 2\n"):
        assert_fault_struck(suno_video_server, "code:422", times=2)
    with pytest.raises(AssertionError, match=r"^drop-after struck 0 times\n"):
        assert_fault_struck(suno_video_server, "drop-after")


def test_a_long_book_is_cut() -> None:
    """Of many tracks the first twenty are shown, and how many more there are."""

    class AsyncLedger(VideoServer):
        def __init__(self) -> None:
            pass

        def stats(self, *, key: str | None = None) -> dict[str, Any]:
            charged = {f"m/s{number}//": 1 for number in range(25)}
            return {"charged_by_track": charged, "max_in_any_window": 21, "refused": {}}

    with pytest.raises(AssertionError) as caught:
        assert_rate_kept(AsyncLedger())
    assert str(caught.value).startswith("21 requests came in one window\n")
    assert str(caught.value).endswith("  1 x m/s19//\n  … and 5 more")


TWO_KEYS = [ApiKey(name="a", credits=2), ApiKey(name="b")]


@pytest.mark.suno_video_server(api_keys=TWO_KEYS)
async def test_each_key_has_its_own_client_faults_and_books(suno_video_server: VideoServer) -> None:
    """A client takes a key by its name; faults and assertions are about one key or about all."""
    server = suno_video_server
    assert list(server.api_keys) == ["a", "b"]
    with server.faults(Fault(on="CreateTask", kind="code:422", key="b", calls=[1])):
        async with server.client(key="a") as a, server.client(key="b") as b:
            await a.submit(TRACK)
            with pytest.raises(InvalidRequestError):
                await b.submit(TRACK)
            await b.submit(OTHER)
            with pytest.raises(InsufficientCreditsError):
                await a.submit(OTHER)
    assert_fault_struck(server, "code:422", times=1, key="b")
    assert_fault_struck(server, "code:422", times=0, key="a")
    assert_charged_once(server, [TRACK], key="a")
    assert_charged_once(server, [OTHER], key="b")
    assert_charged_once(server, [TRACK, OTHER])
    assert_not_charged(server, [TRACK], key="b")
    assert_rate_kept(server, key="a")
    assert (server.stats(key="a")["balance"], server.stats(key="b")["balance"]) == (0, 998)
    with pytest.raises(AssertionError, match="m1/s2// was charged 0 times"):
        assert_charged_once(server, [OTHER], key="a")
    with pytest.raises(AssertionError, match="charged: m1/s2//"):
        assert_not_charged(server, key="b")
    with pytest.raises(AssertionError, match="requests came in one window"):
        assert_rate_kept(server, 1, key="b")
    with pytest.raises(FaultError, match="no key is named 'c'; the names are a, b"):
        server.set_faults(Fault(on="media", kind="truncate", key="c"))


@pytest.mark.suno_video_server(faults=[Fault(on="CreateTask", kind="code:422")])
async def test_faults_of_a_block_end_with_it(
    suno_video_server: VideoServer, suno_video_client: SunoVideoClient
) -> None:
    """While the block runs its faults strike, and afterwards those that the server began with."""
    async with suno_video_client as client:
        with suno_video_server.faults():
            await client.submit(TRACK)
        with (
            suno_video_server.faults(Fault(on="CreateTask", kind="code:505")),
            pytest.raises(FeatureDisabledError),
        ):
            await client.submit(OTHER)
        with pytest.raises(InvalidRequestError):
            await client.submit(OTHER)
    assert_charged_once(suno_video_server, [TRACK])


@pytest.mark.suno_video_server(credits=7.0, rate=None)
def test_a_marker_says_how_the_server_is_made(suno_video_server: VideoServer) -> None:
    """Options of the marker reach the server."""

    async def balance() -> float:
        async with suno_video_server.client() as client:
            return await client.balance()

    assert asyncio.run(balance()) == 7.0


def test_a_server_that_cannot_start_says_why() -> None:
    """An error of the server's start comes out where it is asked for, and no thread is left."""
    with serve() as server, pytest.raises(OSError, match="in use"), serve(port=int(server.url.rpartition(":")[2])):
        raise AssertionError("it started")


async def test_the_clock_stands_until_it_is_moved(suno_video_clock: FakeClock) -> None:
    """Sleepers and timers wake at their own times, in order, when the clock passes them."""
    clock, woken = suno_video_clock, list[tuple[str, float]]()

    async def sleeper(name: str, *naps: float) -> None:
        for nap in naps:
            await clock.sleep(nap)
            woken.append((name, clock.now()))

    tasks = [asyncio.ensure_future(one) for one in (sleeper("a", 5, 5), sleeper("b", 7))]
    cancelled: Any = clock.call_later(1, lambda: woken.append(("never", 0.0)))
    cancelled.cancel()
    began, unix = clock.now(), clock.time()
    await clock.advance(8)
    assert woken == [("a", began + 5), ("b", began + 7)]
    assert (clock.now(), clock.time(), clock.waiting) == (began + 8, unix + 8, 1)
    assert "1 waiting" in repr(clock)
    tasks[0].cancel()
    await asyncio.wait(tasks)
    assert clock.waiting == 0


def test_the_clock_moves_without_a_loop(suno_video_clock: FakeClock) -> None:
    """Timers are called at their own times, those too that another timer sets."""
    clock, called = suno_video_clock, list[float]()

    def again() -> None:
        called.append(clock.now())
        clock.call_later(3, again)

    began = clock.now()
    clock.call_later(2, again)
    clock.move(9)
    assert [at - began for at in called] == [2, 5, 8]
    assert clock.now() == began + 9


def test_the_books_are_waited_for(suno_video_server: VideoServer) -> None:
    """What another thread buys is seen soon; what does not come ends the wait with the books."""
    server = suno_video_server

    async def buy() -> None:
        async with server.client() as client:
            await client.submit(TRACK)

    buyer = threading.Thread(target=lambda: asyncio.run(buy()))
    buyer.start()
    server.wait_for(lambda books: books["tasks"] == 1)
    buyer.join()
    with pytest.raises(AssertionError, match=r"the books were not as expected within 0.05 s\n[^$]*1 x m1/s1"):
        server.wait_for(lambda books: books["tasks"] == 2, timeout=0.05)


async def test_all_events_are_recorded(suno_video_server: VideoServer) -> None:
    """Each list of the recorder has the events of one method of the hooks."""
    recorded = RecordingHooks()
    suno_video_server.set_faults(Fault(on="CreateTask", kind="code:429", calls=[1]))
    async with suno_video_server.client(hooks=[recorded]) as client:
        video = await client.generate(TRACK)
    assert [event.task_id for event in recorded.submits] == [video.task_id]
    assert recorded.updates[-1].is_final
    assert [event.credits for event in recorded.spends] == [video.credits]
    assert len(recorded.retries) == len(recorded.pauses) == 1
    assert len(recorded.requests) == sum(suno_video_server.stats()["requests"].values())
    assert (
        {stage.name for stage in recorded.begun} == {stage.name for stage in recorded.ended} >= {"track", "submit"}
    )
    recorded.on_price(PriceEvent(task_id=video.task_id, track=TRACK, estimated=1.0, credits=2.0))
    assert [event.credits for event in recorded.prices] == [2.0]


def test_the_books_outlive_the_server() -> None:
    """What was charged can be asked after the block in which the server ran."""

    async def buy(server: VideoServer) -> None:
        async with server.client() as client:
            await client.submit(TRACK)

    with serve() as server:
        asyncio.run(buy(server))
    assert_charged_once(server, [TRACK])
    assert len(server.tasks()["video"]) == 1
