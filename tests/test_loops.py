"""Wherever a program keeps its event loop: the client works there, or says at once why it does not."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import anyio
import pytest

from suno_video_async import NO_LEDGER, Limiter, SystemClock, Track, VideoTask
from suno_video_async._util.aio import run_to_completion
from suno_video_async.ledger import lock
from suno_video_async.ledger.lock import WriterLock
from suno_video_async.testing import VideoServer
from tests.docs.examples import ROOT
from tests.support.clients import TRACK, FakeAPI, client_of
from tests.support.processes import PATIENCE
from tests.support.virtual import run_virtual

Run = Callable[[Callable[[], Coroutine[Any, Any, None]]], None]


@pytest.fixture
def no_blocking_calls() -> None:
    """Let a test wait for the server's thread, which takes a moment."""


def eagerly(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a program whose tasks begin at once, where this Python can."""
    factory = getattr(asyncio, "eager_task_factory", None)
    if factory is None:
        pytest.skip("eager tasks are new in Python 3.12")
    with asyncio.Runner() as runner:
        runner.get_loop().set_task_factory(factory)
        runner.run(main())


def in_a_runner(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run two programs on one loop, one after the other."""
    with asyncio.Runner() as runner:
        runner.run(main())
        runner.run(main())


def on_uvloop(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a program on uvloop, where there is one."""
    pytest.importorskip("uvloop").run(main())


def on_anyios_uvloop(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a program by anyio, which brings up uvloop."""
    pytest.importorskip("uvloop")
    anyio.run(main, backend_options={"use_uvloop": True})


RUNS: dict[str, Run] = {
    "asyncio": lambda main: asyncio.run(main()),
    "debug": lambda main: asyncio.run(main(), debug=True),
    "runner": in_a_runner,
    "uvloop": on_uvloop,
    "anyio": anyio.run,
    "anyio on uvloop": on_anyios_uvloop,
    "eager": eagerly,
}


@pytest.mark.parametrize("name", RUNS)
def test_a_track_and_a_catalog_on_every_loop(name: str, suno_video_server: VideoServer, tmp_path: Path) -> None:
    """Submission, following, download, a conversion with a ledger and the end work over real sockets."""

    async def main() -> None:
        async with suno_video_server.client() as client:
            video = await client.generate(TRACK, output_dir=tmp_path)
            assert video.path is not None
            tracks = [Track(task_id="m", suno_id=f"{name}-{number}") for number in range(3)]
            async with client.convert(tracks, ledger=tmp_path / "l.db", output_dir=tmp_path) as outcomes:
                assert {outcome.state async for outcome in outcomes} <= {"downloaded", "skipped"}

    RUNS[name](main)
    assert len(list(tmp_path.glob("*.mp4"))) == 4


def test_eager_tasks_leave_nothing_behind() -> None:
    """With tasks that begin, and may end, at once, closing a client still finds nothing to wait for."""

    async def main() -> None:
        client, transport = client_of(FakeAPI(seconds=0.0), clock=SystemClock(1000), rate=None)
        send = transport.script

        async def at_once(request: Any) -> Any:
            return send(request)

        transport.send = at_once  # type: ignore[method-assign]
        async with client:
            await client.generate(TRACK)
            await client.balance()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    eagerly(lambda: asyncio.wait_for(main(), 60))


def test_trio_is_refused_with_a_reason() -> None:
    """Where no asyncio loop runs, as under trio, the error names what is needed."""
    client, _ = client_of(FakeAPI())
    with pytest.raises(RuntimeError, match=r"needs a running asyncio loop.*anyio.*backend=.asyncio"):
        client.__aenter__().send(None)


def test_a_failing_sibling_in_a_task_group_loses_nothing(tmp_path: Path) -> None:
    """Who is cancelled in the middle of a purchase finds it again by its ledger, and pays once."""
    api = FakeAPI(seconds=0.0)
    sending = asyncio.Event()

    async def slowly(request: Any) -> Any:
        sending.set()
        await asyncio.sleep(0.02)
        return api(request)

    async def fail() -> None:
        await sending.wait()
        raise ValueError("a sibling's mistake")

    async def main() -> None:
        client, transport = client_of(slowly, ledger=tmp_path / "l.db", clock=SystemClock(1000))
        async with client:
            with pytest.raises(ExceptionGroup) as caught:
                async with asyncio.TaskGroup() as group:
                    group.create_task(client.generate(TRACK))
                    group.create_task(fail())
            assert [type(error) for error in caught.value.exceptions] == [ValueError]
            video = await client.generate(TRACK)
        assert (video.task_id, len(api.created)) == ("v1", 1)
        assert transport.sent

    asyncio.run(main())


def test_a_timeout_around_a_purchase_loses_nothing() -> None:
    """`asyncio.timeout` ends the wait; what is in the air is bought, followed, and told in the log."""
    api = FakeAPI()
    bought = list[VideoTask]()

    async def slowly(request: Any) -> Any:
        await asyncio.sleep(5)
        return api(request)

    async def main() -> None:
        client, _ = client_of(slowly)
        async with client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(3):
                    bought.append(await client.submit(TRACK))
            await asyncio.sleep(5)
            assert client.statistics().in_flight == 1
            assert (await client.attach("v1").result()).task_id == "v1"

    run_virtual(main())
    assert (bought, len(api.created)) == ([], 1)


def test_two_loops_one_after_the_other() -> None:
    """A program may run its loop anew: each has a client of its own, and a limiter goes along."""
    limiter = Limiter(clock=SystemClock(1000))

    async def main() -> None:
        client, _ = client_of(FakeAPI(seconds=0.0), clock=SystemClock(1000), limiter=limiter)
        async with client:
            await client.generate(TRACK)

    asyncio.run(main())
    asyncio.run(main())
    assert limiter.statistics().in_flight == 0


async def test_a_fixture_may_leave_from_another_task() -> None:
    """A client that one task has opened is closed by another, also where an error goes through both."""
    client, _ = client_of(FakeAPI(seconds=0.0), clock=SystemClock(1000))
    await asyncio.create_task(client.__aenter__())
    conversion = client.convert([TRACK], ledger=NO_LEDGER)
    outcomes = await asyncio.create_task(conversion.__aenter__())
    assert [outcome.state async for outcome in outcomes] == ["succeeded"]
    await asyncio.create_task(conversion.__aexit__(None, None, None))
    await asyncio.create_task(client.__aexit__(ValueError, ValueError(), None))
    assert asyncio.all_tasks() == {asyncio.current_task()}


FORKING = """
import asyncio, os, sys
from suno_video_async import LedgerError, SqliteLedger, SystemClock
from tests.support.clients import TRACK, FakeAPI, client_of

reading, writing = os.pipe()

async def main():
    client, _ = client_of(FakeAPI(seconds=0.0), ledger=sys.argv[1], clock=SystemClock(1000))
    async with client:
        await client.generate(TRACK)
        child = os.fork()
        if child == 0:
            try:
                asyncio.run(client.balance())
            except RuntimeError as error:
                os.write(1, f"child: {error}\\n".encode())
            os.close(writing)
            os.read(reading, 1)  # outlives the parent's ledger
            os._exit(0)
        os.write(1, f"parent: {await client.balance()}\\n".encode())
    again = SqliteLedger(sys.argv[1])
    await asyncio.to_thread(lambda: again.open(provider=client.account[0], fingerprint=client.account[1]))
    os.write(1, b"the ledger is free\\n")
    await asyncio.to_thread(again.close)
    os.close(writing)
    os.waitpid(child, 0)

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_a_fork_disturbs_nobody(tmp_path: Path) -> None:
    """A forked child is told that the client is not its own, and does not hold the ledger when the parent ends."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKING, str(tmp_path / "l.db")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, cwd=ROOT, check=False)
    assert done.stderr == ""
    assert sorted(done.stdout.splitlines()) == [
        "child: a SunoVideoClient belongs to the event loop it was opened on: open one on this loop",
        "parent: 12.5",
        "the ledger is free",
    ]


def test_a_child_lets_go_of_a_lock(tmp_path: Path) -> None:
    """What a fork has copied is closed in the child, and is no lock there."""
    held = WriterLock(tmp_path / "l.db")
    held.acquire()
    lock.let_go_in_child()
    WriterLock(tmp_path / "l.db").acquire()
    held.release()


def test_a_coroutine_whose_loop_has_ended_begins_nothing_on_the_next_one() -> None:
    """A program that stops its loop leaves coroutines, which are collected at any time."""

    async def clean_up() -> None: ...

    async def opens() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await run_to_completion(clean_up())

    opening = opens()
    loop, following = asyncio.new_event_loop(), asyncio.new_event_loop()
    loop.call_soon(opening.send, None)
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    asyncio.set_event_loop(following)
    try:
        with pytest.raises(RuntimeError, match="no running event loop"):
            opening.close()
        assert not asyncio.all_tasks(following)
    finally:
        asyncio.set_event_loop(None)
        following.close()
