"""The client without async: from scripts, threads, forked processes and beside a running loop."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from types import FrameType
from typing import Any
from unittest import mock

import pytest

from suno_video_async import (
    AuthenticationError,
    CatalogError,
    ClientClosedError,
    ConfigurationError,
    Hooks,
    LedgerError,
    NotFoundError,
    SubmitEvent,
    SystemClock,
    Track,
    WaitTimeout,
)
from suno_video_async._util import loop_thread
from suno_video_async._util.loop_thread import Caller, LoopThread, _Errand
from suno_video_async.blocking import SunoVideoClient
from suno_video_async.testing import VideoServer, assert_charged_once, assert_not_charged
from tests.docs.examples import ROOT
from tests.support.clients import TRACK
from tests.support.keys import KEY
from tests.support.processes import PATIENCE


@pytest.fixture
def no_blocking_calls() -> None:
    """Let a test wait for the client's thread."""


@pytest.fixture
def server(suno_video_server: VideoServer) -> VideoServer:
    return suno_video_server


def client_of(server: VideoServer, **options: Any) -> SunoVideoClient:
    given: dict[str, Any] = {"clock": SystemClock(server.time_scale), **options}
    return SunoVideoClient(api_key=server.api_key, base_url=server.url, **given)


def tracks(count: int) -> list[Track]:
    return [Track(task_id="m", suno_id=f"s{number}") for number in range(count)]


def test_a_video_in_one_call(server: VideoServer, tmp_path: Path) -> None:
    """`generate` buys, follows and downloads."""
    with client_of(server) as client:
        video = client.generate(TRACK, output_dir=tmp_path)
    assert video.path is not None
    assert video.path.exists()


def test_submit_now_and_look_later(server: VideoServer, tmp_path: Path) -> None:
    """`submit` returns the id, which `status`, `result` and `download` take, also in another client."""
    with client_of(server) as client:
        task_id = client.submit(TRACK)
        assert client.status(task_id).task_id == task_id
    with client_of(server) as client:
        with pytest.raises(WaitTimeout):
            client.result(task_id, timeout=0)
        assert client.download(client.result(task_id), tmp_path).exists()


def test_questions_are_answered(server: VideoServer) -> None:
    """Balance, estimate, plan and the tracks of a music task need no `with`."""
    client = client_of(server)
    assert client.balance() > 0
    assert client.estimate(TRACK).affordable
    assert client.plan(iter(tracks(3))).new == 3
    with pytest.raises(NotFoundError):
        client.tracks("m")
    client.close()


def test_a_catalog_is_a_generator_of_outcomes(server: VideoServer, tmp_path: Path) -> None:
    """`convert` yields the outcomes as rows end, and what is missing is bought once when it runs again."""
    for _ in range(2):
        with client_of(server, ledger=tmp_path / "l.db") as client:
            states = {outcome.state for outcome in client.convert(tracks(5))}
    assert states == {"skipped"}
    assert_charged_once(server, tracks(5))


def test_a_ledger_is_resumed(server: VideoServer, tmp_path: Path) -> None:
    """`resume` follows what an earlier client has bought."""
    with client_of(server, ledger=tmp_path / "l.db") as client:
        client.submit(TRACK)
    with client_of(server) as client:
        assert [outcome.state for outcome in client.resume(tmp_path / "l.db")] == ["succeeded"]


def test_rows_are_read_in_the_thread_that_waits(server: VideoServer, tmp_path: Path) -> None:
    """Iterables that belong to their thread, such as cursors and querysets, can be a catalog."""
    readers = set[int]()

    def rows() -> Iterator[dict[str, str]]:
        for number in range(4):
            readers.add(threading.get_ident())
            yield {"task_id": "m", "suno_id": f"s{number}"}

    with client_of(server, ledger=tmp_path / "l.db") as client:
        assert [outcome.state for outcome in client.convert(source=rows())] == ["succeeded"] * 4
    assert readers == {threading.get_ident()}


def test_an_iterable_that_breaks_ends_the_catalog(server: VideoServer, tmp_path: Path) -> None:
    """What was read before goes on to its end, then the error is raised."""

    def rows() -> Iterator[Track]:
        yield TRACK
        raise ZeroDivisionError("rows are out")

    states = list[str]()
    with client_of(server, ledger=tmp_path / "l.db") as client:
        with pytest.raises(ZeroDivisionError, match="rows are out"):
            states.extend(outcome.state for outcome in client.convert(rows()))
        with pytest.raises(CatalogError, match="one row, not a catalog"):
            list(client.convert({"task_id": "m"}))  # type: ignore[dict-item]
    assert_charged_once(server)


def test_breaking_out_leaves_the_conversion(server: VideoServer, tmp_path: Path) -> None:
    """After `break` nothing more is bought or read, and the ledger is free for another run."""
    read = list[Track]()

    def rows() -> Iterator[Track]:
        for track in tracks(1000):
            read.append(track)
            yield track

    with client_of(server, max_in_flight=2) as client:
        for _ in client.convert(rows(), ledger=tmp_path / "l.db"):
            break
        charged, seen = server.stats()["charged"], len(read)
        client.balance()
        assert (server.stats()["charged"], len(read)) == (charged, seen)
        assert seen < 10
        assert next(client.convert(tracks(1), ledger=tmp_path / "l.db"))


def test_arguments_are_checked_at_the_call(server: VideoServer) -> None:
    """A wrong argument is an error where it is given, before anything is asked for."""
    with client_of(server) as client, pytest.raises(ValueError, match="task_timeout"):
        client.convert([], task_timeout=-1)


def test_errors_are_those_of_the_async_client(server: VideoServer, tmp_path: Path) -> None:
    """Their classes are the same, and a client that could not open says why and may be opened later."""
    with (
        SunoVideoClient(api_key=KEY, base_url=server.url) as client,
        pytest.raises(AuthenticationError) as refused,
    ):
        client.balance()
    assert KEY not in "".join(
        traceback.TracebackException.from_exception(refused.value, capture_locals=True).format()
    )
    with pytest.raises(ConfigurationError):
        SunoVideoClient(api_key=KEY, base_url="ftp://x")
    (tmp_path / "l.db").write_text("no ledger")
    client = client_of(server, ledger=tmp_path / "l.db")
    with pytest.raises(LedgerError):
        client.balance()
    (tmp_path / "l.db").unlink()
    with client:
        assert client.balance() > 0


async def test_it_works_beside_a_running_loop(server: VideoServer) -> None:
    """A notebook, or sync code deep in an async app, may call it: it blocks that loop, and works."""
    with client_of(server) as client:
        assert client.generate(TRACK).credits
    assert asyncio.get_running_loop().is_running()


def test_many_threads_share_one_client(server: VideoServer) -> None:
    """The first call of several at once opens it, and each gets its own answer."""
    wanted = tracks(8)
    with client_of(server) as client, ThreadPoolExecutor(8) as threads:
        videos = list(threads.map(client.generate, wanted))
    assert [video.suno_id for video in videos] == [track.suno_id for track in wanted]
    assert_charged_once(server, wanted)


def test_a_closed_client_says_so(server: VideoServer, tmp_path: Path) -> None:
    """Every call raises the same error, closing again is harmless, and one that was never opened closes too."""
    never, client = client_of(server), client_of(server)
    outcomes = client.convert(tracks(3), ledger=tmp_path / "l.db")
    next(outcomes)
    never.close()
    client.close()
    client.close()
    for closed in (never, client):
        with pytest.raises(ClientClosedError, match="the client is closed"):
            closed.balance()
    with pytest.raises(ClientClosedError):
        list(outcomes)


def test_closing_ends_the_waits_of_other_threads(server: VideoServer) -> None:
    """A thread in the middle of a call gets an error; what it bought is paid for once and goes on."""
    submitted = threading.Event()

    class Seen(Hooks):
        def on_submit(self, event: SubmitEvent) -> None:
            submitted.set()

    client = client_of(server, hooks=[Seen()], clock=SystemClock())
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(client.generate, TRACK)
        assert submitted.wait(PATIENCE)
        client.close()
        with pytest.raises(ClientClosedError):
            waiting.result(PATIENCE)
    assert_charged_once(server, [TRACK])


def test_a_hook_that_calls_its_own_client_is_an_error_not_a_deadlock(server: VideoServer) -> None:
    """Hooks run in the client's thread, where a call would wait for itself."""
    said = list[str]()

    class Calls(Hooks):
        def on_submit(self, event: SubmitEvent) -> None:
            for call in (client.balance, client.close):
                with pytest.raises(RuntimeError) as caught:
                    call()
                said.append(str(caught.value))

    with client_of(server, hooks=[Calls()]) as client:
        client.submit(TRACK)
    assert ["own thread" in one for one in said] == [True, True]


def test_one_that_was_never_closed_warns(server: VideoServer) -> None:
    """A client that is collected while it is open says so, and its thread ends."""
    client = client_of(server)
    client.balance()
    with pytest.warns(ResourceWarning, match=r"blocking.SunoVideoClient .* was never closed"):
        del client
    gc.collect()
    for thread in threading.enumerate():
        if thread.name == "suno-video-client":
            thread.join(PATIENCE)
            assert not thread.is_alive()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_after_a_fork(server: VideoServer) -> None:
    """An open client is the parent's, and says so in a child; one that was only created opens in the child."""
    created = client_of(server)
    with client_of(server) as opened:
        opened.balance()
        read, write = os.pipe()
        if (child := os.fork()) == 0:
            try:
                said = "no error"
                try:
                    opened.balance()
                except ClientClosedError as error:
                    said = f"{error}, "
                opened.close()
                os.write(write, f"{said}{created.balance() > 0}".encode())
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        os.close(write)
        with os.fdopen(read) as told:
            assert told.read() == (
                "the client was opened before this process was forked: create a new one in the child process, True"
            )
        assert opened.balance() > 0


@pytest.fixture
def loop() -> Iterator[LoopThread]:
    """A loop in a thread of its own."""
    loop = LoopThread("a-loop", nullcontext())
    yield loop
    loop.stop()


def test_a_row_that_is_asked_for_as_soon_as_the_last_one_is_there_is_read(loop: LoopThread) -> None:
    """The loop may ask for the next row before the thread that read the last one goes on."""
    caller, asked = Caller(), threading.Event()

    async def two_rows() -> list[int]:
        first = await caller._ask(lambda: 1)
        second = asyncio.ensure_future(caller._ask(lambda: 2))
        await asyncio.sleep(0)
        asked.set()
        return [first, await second]

    class Slow(_Errand):
        def _send(self, answer: Callable[[], None]) -> None:
            super()._send(answer)
            assert asked.wait(PATIENCE)

    with mock.patch.object(loop_thread, "_Errand", Slow):
        assert caller.wait(loop.start(two_rows)) == [1, 2]


def test_an_interruption_at_any_step_of_the_reading_is_raised_and_ends_it(loop: LoopThread) -> None:
    """It is never swallowed, and the loop never waits for a row that is not coming."""
    steps, interrupted = 0, True
    while interrupted:
        interrupted, rows = read_with_an_interruption(loop, steps)
        assert rows == list(range(len(rows)))
        steps += 1
    assert rows == [0, 1, 2]
    assert steps > 100


def read_with_an_interruption(loop: LoopThread, step: int) -> tuple[bool, list[int]]:
    """Read three rows in a thread, with an interruption before one step; return whether it came, and the rows."""
    caller, left, raised = Caller(), step, False

    async def reading() -> list[int]:
        return [row async for row in caller.read(range(3))]

    def trace(frame: FrameType, event: str, _: object) -> Callable[..., Any] | None:
        nonlocal left
        # In threading a lock of Python's would stay taken; what the garbage collector calls loses its exceptions.
        if frame.f_globals["__name__"].partition(".")[0] not in {"suno_video_async", "asyncio", "concurrent"}:
            return None
        if (event == "line") == (frame.f_code.co_filename == loop_thread.__file__):
            left -= 1
            if left == -1:
                raise KeyboardInterrupt
        return trace

    def work() -> tuple[bool, list[int]]:
        nonlocal raised
        before = sys.gettrace()
        future = loop.start(reading)
        try:
            sys.settrace(trace)
            rows = caller.wait(future)
        except KeyboardInterrupt:
            raised = True
            sys.settrace(before)
            rows = caller.wait(future)
        finally:
            sys.settrace(before)
        assert raised == (left < 0)
        return raised, rows

    threads = ThreadPoolExecutor(1)
    try:
        return threads.submit(work).result(PATIENCE)
    finally:
        threads.shutdown(wait=False)


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
def test_an_interruption_while_a_row_is_read_is_that(
    server: VideoServer, tmp_path: Path, end: type[BaseException]
) -> None:
    """Ctrl+C may come while the caller's own iterable is read: what was read is followed to its end."""

    def rows() -> Iterator[Track]:
        yield TRACK
        raise end

    outcomes = list[str]()
    with client_of(server, ledger=tmp_path / "l.db", rate=None) as client:
        with pytest.raises(end):
            outcomes.extend(outcome.state for outcome in client.convert(rows()))
        assert outcomes in (["planned"], ["succeeded"]) or end is SystemExit  # bought before the stop, or not
        assert [outcome.state for outcome in client.convert([TRACK])] in (["succeeded"], ["skipped"])
    assert_charged_once(server)


PROGRAM = """
import logging
import signal
import sys
from suno_video_async import Hooks, RateLimit, SystemClock, Track
from suno_video_async.blocking import SunoVideoClient

logging.basicConfig()
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background inherits that it is ignored

class Says(Hooks):
    def on_submit(self, event):
        print("bought", flush=True)

def rows():
    for number in range(50):
        yield Track(task_id="m", suno_id=f"s{number}")

client = SunoVideoClient(
    ledger="l.db", hooks=[Says()], clock=SystemClock(float(sys.argv[1])), max_in_flight=5
)
states = []
try:
    with client:
        for outcome in client.convert(rows()):
            states.append(outcome.state)
except KeyboardInterrupt:
    print("interrupted", states.count("succeeded"), len(states), flush=True)
"""


def interrupted(server: VideoServer, folder: Path, scale: float, again: str) -> tuple[int, int]:
    """Interrupt a conversion after it has bought three videos; return how many it ended with, and all outcomes."""
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(scale)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "CRUN_BASE_URL": server.url, "CRUN_API_KEY": server.api_key},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None
    assert program.stderr is not None
    guard = threading.Timer(60, program.kill)  # a lost interruption would be found after an hour
    guard.start()
    with program:
        for _ in range(3):
            assert program.stdout.readline() == "bought\n"
        program.send_signal(signal.SIGINT)
        if again:
            assert again in program.stderr.readline()
            program.send_signal(signal.SIGINT)
        said = program.stdout.read().splitlines()[-1].split()
    guard.cancel()
    assert said[0] == "interrupted"
    return int(said[1]), int(said[2])


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
@pytest.mark.suno_video_server(time_scale=20.0)
def test_an_interruption_follows_what_is_in_flight(server: VideoServer, tmp_path: Path) -> None:
    """After one Ctrl+C nothing more is bought, what was bought ends, and then `KeyboardInterrupt` is raised."""
    done, seen = interrupted(server, tmp_path, 20.0, "")
    assert 3 <= done == server.stats()["charged"] <= 6
    assert seen == 50
    assert_charged_once(server)


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
@pytest.mark.suno_video_server(time_scale=1.0, render_seconds=3600)
def test_a_second_interruption_leaves_at_once(server: VideoServer, tmp_path: Path) -> None:
    """After two Ctrl+C the rest is left to the next run, and is in the ledger."""
    done, _ = interrupted(server, tmp_path, 1.0, "interrupted: nothing more is bought")
    assert done == 0
    with client_of(server, ledger=tmp_path / "l.db", rate=None) as client:
        again = client.plan(tracks(5))
    assert_charged_once(server)
    assert again.submitted == server.stats()["charged"]


FORGETFUL = """
from suno_video_async import SystemClock, Track
from suno_video_async.blocking import SunoVideoClient

client = SunoVideoClient(ledger="l.db", clock=SystemClock(100))
client.submit(Track(task_id="m1", suno_id="s1"))
"""


def test_a_program_that_forgets_to_close_its_client_ends(server: VideoServer, tmp_path: Path) -> None:
    """At its exit the client is closed: no thread keeps it alive, and the ledger has what was bought."""
    environment = {"PYTHONPATH": str(ROOT), "CRUN_BASE_URL": server.url, "CRUN_API_KEY": server.api_key}
    subprocess.run(
        [sys.executable, "-c", FORGETFUL],
        cwd=tmp_path,
        env={**os.environ, **environment},
        timeout=PATIENCE,
        check=True,
    )
    with client_of(server, ledger=tmp_path / "l.db", rate=None) as client:
        assert client.plan([TRACK]).submitted == 1


def test_nothing_is_bought_by_a_generator_that_is_not_used(server: VideoServer, tmp_path: Path) -> None:
    """A conversion begins when its first outcome is asked for."""
    with client_of(server, ledger=tmp_path / "l.db") as client:
        client.convert([TRACK])
    assert_not_charged(server)
