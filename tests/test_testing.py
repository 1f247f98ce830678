"""The pytest plugin: what an application's tests get."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from suno_video_async import SunoVideoClient, Track
from suno_video_async.local import Fault
from suno_video_async.testing import (
    FakeClock,
    VideoServer,
    assert_charged_once,
    assert_not_charged,
    assert_rate_kept,
    serve,
)

EXAMPLE = Path(__file__).parent / "example_project"
TRACK = Track(task_id="m1", suno_id="s1")


@pytest.fixture(autouse=True)
def no_blocking_calls() -> None:
    """Let a test wait for the server's thread, which takes a moment."""


@pytest.mark.parametrize("how", ["pytest_asyncio", "anyio", "aiohttp", "without_a_loop"])
def test_the_example_project_passes(how: str, tmp_path: Path) -> None:
    """The tests of the example project pass, under each of the plugins that run coroutines."""
    mode = "auto" if how == "aiohttp" else "strict"
    options = ["-c", "pytest.ini", "-o", f"asyncio_mode={mode}", "-p", "no:cacheprovider", "-W", "error"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *options, f"test_{how}.py"],
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
    with pytest.raises(AssertionError, match="1 requests were refused with 429"):
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
