"""A defect, or a shortage of the machine, is the own of the submission or task that meets it."""

from __future__ import annotations

import asyncio
import errno
import json
from pathlib import Path
from typing import Any

import pytest

from suno_video_async import (
    NO_LEDGER,
    ClientClosedError,
    Conversion,
    Request,
    SunoVideoClient,
    SunoVideoError,
    Track,
    TransportError,
)
from suno_video_async._util.background import Background
from suno_video_async.protocol.codec import Operation
from tests.support.clients import TRACK, FakeAPI, client_of
from tests.support.processes import PATIENCE, child
from tests.support.virtual import run_virtual

SHORTAGE = OSError(errno.EMFILE, "Too many open files")
OTHER = Track(task_id="m", suno_id="other")


def never() -> Any:
    raise SHORTAGE


async def fail_once(*_: Any, **__: Any) -> Any:
    raise SHORTAGE


def not_sent_first() -> Any:
    """Return an API that the first submission does not reach."""
    api, first = FakeAPI(), True

    def script(request: Request) -> Any:
        nonlocal first
        if request.operation is Operation.CREATE_TASK and first:
            first = False
            return TransportError("no connection", sent=False)
        return api(request)

    return script


def test_a_submission_that_breaks_off_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its caller gets the reason, nothing was bought for it, and the next submission works."""

    async def run() -> None:
        client, transport = client_of(not_sent_first())
        async with client:
            with monkeypatch.context() as patched:
                patched.setattr("suno_video_async.api.calls.retry_after_failure", fail_once)
                with pytest.raises(SunoVideoError, match=r"s1 broke off: .*Too many open files") as caught:
                    await client.submit(TRACK)
            assert caught.value.__cause__ is SHORTAGE
            assert (await client.submit(OTHER)).id == "v1"
            assert len(transport.sent) >= 2

    run_virtual(run())


def test_a_row_that_breaks_off_leaves_the_others_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stays planned, and all others are made."""
    monkeypatch.setattr("suno_video_async.api.calls.retry_after_failure", fail_once)

    async def run() -> list[str]:
        client, _ = client_of(not_sent_first())
        source = [Track(task_id="m", suno_id=f"s{number}") for number in range(10)]
        async with client, client.convert(source, ledger=NO_LEDGER) as outcomes:
            return [outcome.state async for outcome in outcomes]

    states = run_virtual(run())
    assert (states.count("succeeded"), states.count("planned")) == (9, 1)


def test_a_followed_task_that_breaks_off_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its consumers get the reason instead of waiting for ever; other tasks are followed to their ends."""

    async def run() -> None:
        client, _ = client_of(FakeAPI())
        async with client:
            poller, broken = engine_of(client).poller, await client.submit(TRACK)
            other, observe = await client.submit(OTHER), poller.observe
            poller_class = type(poller)
            monkeypatch.setattr(
                poller_class,
                "observe",
                lambda self, snapshot: never() if snapshot.task_id == broken.id else observe(snapshot),
            )
            with pytest.raises(SunoVideoError, match=r"following task v1 broke off: .*Too many open files"):
                await broken.result()
            assert (await other.result()).task_id == other.id
            poller._on_answer(broken.id, Any)  # an answer of no kind at all, and nothing to end

    run_virtual(run())


def test_all_that_wait_get_the_reason_when_the_background_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing hangs: not a task, not a submission, not a conversion; and the client says why it cannot go on."""

    async def run() -> None:
        client, _ = client_of(FakeAPI(), max_in_flight=1)
        async with client:
            poller, task = engine_of(client).poller, await client.submit(TRACK)
            waiting = asyncio.ensure_future(client.submit(OTHER))
            async with client.convert([OTHER], ledger=NO_LEDGER) as outcomes:
                await asyncio.sleep(1)
                monkeypatch.setattr(type(poller), "_decision", lambda _: never())
                poller._wake.set()
                waiters: list[Any] = [
                    task.result(),
                    waiting,
                    drained(outcomes),
                    client.submit(TRACK),
                    client.balance(),
                ]
                ends = [await asyncio.gather(waiter, return_exceptions=True) for waiter in waiters]
            for [end] in ends:
                assert isinstance(end, ClientClosedError)
                assert "Too many open files" in str(end)

    run_virtual(run())


async def test_background_work_begins_before_it_is_given_any() -> None:
    """Use before the opening is an error in words; a defect of one part is logged, and the others go on."""
    logged = list[str]()
    background, ended = Background(logged.append), asyncio.Event()
    with pytest.raises(RuntimeError, match="has not begun"):
        background.start_soon(fail_once)
    await background.open("test", lambda _: None)
    background.start_soon(fail_once)
    await asyncio.sleep(0)

    async def other() -> None:
        ended.set()

    background.start_soon(other)
    await ended.wait()
    await background.aclose()
    assert logged == ["a part of the client's background work broke off"]


async def drained(outcomes: Conversion) -> None:
    async for _ in outcomes:
        pass


def engine_of(client: SunoVideoClient) -> Any:
    return client._engine


def test_nothing_is_imported_once_a_conversion_runs(tmp_path: Path) -> None:
    """An import in an error path fails when descriptors run out, or while the package is being upgraded."""
    with child("tests.support.late_imports", tmp_path) as program:
        printed = json.loads(program.communicate(timeout=PATIENCE)[0])
    assert printed == {"ended": 60, "imported": []}
