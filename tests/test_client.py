"""The client's life, its single calls, and what it never tells."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import Any

import pytest

import suno_video_async
from suno_video_async import (
    Answer,
    APIError,
    ClientClosedError,
    ConfigurationError,
    Limiter,
    NotFoundError,
    RateLimit,
    Request,
    ServerError,
    SunoVideoClient,
    Track,
    TransportError,
)
from suno_video_async.models import Timeout
from suno_video_async.protocol.codec import Operation
from suno_video_async.testing import RecordingHooks
from tests.support.clients import TRACK, FakeAPI, client_of
from tests.support.fakes import FakeTransport, answer, most_in_any_window, settle, task_data
from tests.support.keys import KEY
from tests.support.virtual import run_virtual


def test_single_calls() -> None:
    """Balance, estimate, status and tracks each ask once and return their model."""
    music = {"suno_data": [{"suno_id": "s1", "title": "Harbour Lights"}]}

    def script(request: Request) -> Any:
        if request.task_id == "m1":
            return answer({"task_id": "m1", "status": "success", "result": music})
        if request.task_id:
            return answer(task_data(request.task_id))
        return answer({"balance": 12.5, "estimated_credits": 2, "affordable": True})

    async def main() -> None:
        client, transport = client_of(script)
        async with client:
            assert await client.balance() == 12.5
            assert (await client.estimate(TRACK)).estimated_credits == 2
            assert (await client.status("v1")).status == "running"
            assert [track.title for track in await client.tracks("m1")] == ["Harbour Lights"]
            assert [request.operation for request in transport.sent] == [
                "balance",
                "EstimateTask",
                "TaskInfo",
                "TaskInfo",
            ]
            for call, says in ((client.status, "1 to 256"), (client.tracks, "task_id is empty")):
                with pytest.raises(ValueError, match=says):
                    await call("")

    run_virtual(main())


def test_reads_are_tried_again() -> None:
    """429, 455, 500 and a broken connection are temporary; a 404 is not."""
    said: list[Answer | Exception] = [answer(code=429), answer(code=455), answer(code=500)]
    said += [TransportError("x"), answer({"balance": 1})]

    async def main() -> None:
        client, transport = client_of(lambda _: said.pop(0))
        async with client:
            assert await client.balance() == 1
            assert len(transport.sent) == 5
            said.append(answer(code=404))
            with pytest.raises(NotFoundError):
                await client.status("v1")
            said.extend([answer(code=500)] * 20)
            with pytest.raises(ServerError):
                await client.balance()
            assert len(said) == 12

    run_virtual(main())


def test_a_refusal_pauses_every_caller() -> None:
    """After one 429 nothing is sent until its `Retry-After` is over, and then one request probes."""
    refused = [answer(code=429, Retry_After="30")]
    recorded = RecordingHooks()

    async def main() -> FakeTransport:
        client, transport = client_of(
            lambda _: refused.pop() if refused else answer({"balance": 1}), hooks=[recorded]
        )
        async with client:
            first = asyncio.ensure_future(client.balance())
            await asyncio.sleep(1)
            await asyncio.gather(first, *(client.balance() for _ in range(5)))
        return transport

    arrivals = run_virtual(main()).arrivals
    assert arrivals[0] == 0
    assert all(30 <= time < 31 for time in arrivals[1:])
    assert (recorded.pauses[0].lane, recorded.pauses[0].seconds) == ("all", 30)


@pytest.mark.parametrize(
    ("operation", "code", "lane"),
    [
        (Operation.CREATE_TASK, 429, "create"),
        (Operation.BALANCE, 429, "read"),
        (Operation.CREATE_TASK, 455, "all"),
        (Operation.BALANCE, 455, "all"),
    ],
)
def test_with_a_window_for_reads_a_refusal_pauses_its_own_lane(operation: Operation, code: int, lane: str) -> None:
    """A 429 is about the window of the call that got it; maintenance is for all."""
    refused, recorded, api = [answer(code=code, Retry_After="30")], RecordingHooks(), FakeAPI()

    def script(request: Request) -> Answer:
        return refused.pop() if refused and request.operation is operation else api(request)

    async def main() -> dict[Operation, float]:
        client, transport = client_of(script, hooks=[recorded], read_rate=RateLimit(10, 1))
        async with client:
            begin = client.submit(TRACK) if operation is Operation.CREATE_TASK else client.balance()
            first = asyncio.ensure_future(begin)
            await asyncio.sleep(1)
            await asyncio.gather(first, client.balance(), client.submit(Track(task_id="m", suno_id="other")))
        sent = zip(transport.sent, transport.arrivals, strict=True)
        return {request.operation: at for request, at in sent if 1 <= at < 40 and request.task_id is None}

    at = run_virtual(main())
    assert (recorded.pauses[0].lane, recorded.pauses[0].seconds) == (lane, 30)
    assert (at[Operation.CREATE_TASK] >= 30) is (lane != "read")
    assert (at[Operation.BALANCE] >= 30) is (lane != "create")


def test_the_window_holds_through_a_storm_of_cancellations() -> None:
    """A cancelled caller never cuts a send short, so the server never counts 21 in ten seconds."""

    async def main() -> None:
        api = FakeAPI()
        transport = FakeTransport(api, travel=lambda: 0.4)
        client = SunoVideoClient(api_key=KEY, base_url="http://127.0.0.1:1", transport=transport)
        async with client:
            for _ in range(30):
                callers = [asyncio.ensure_future(client.balance()) for _ in range(20)]
                await asyncio.sleep(0.2)
                for caller in callers:
                    caller.cancel()
                await asyncio.sleep(1)
        assert len(transport.arrivals) >= 60
        assert len(transport.arrivals) == len(transport.sent)
        assert most_in_any_window(transport.arrivals, 10) == 20

    run_virtual(main())


def test_clients_can_share_a_limiter() -> None:
    """Two clients of one key on one loop keep one window."""

    async def main() -> None:
        limiter = Limiter(RateLimit(20, 10))
        (one, first), (two, second) = (client_of(FakeAPI(), limiter=limiter) for _ in range(2))
        async with one, two:
            await asyncio.gather(*(client.balance() for _ in range(30) for client in (one, two)))
        assert most_in_any_window(first.arrivals + second.arrivals, 10) == 20

    run_virtual(main())


def test_hooks_hear_of_requests() -> None:
    """Each physical send is told with its length and its error."""
    recorded = RecordingHooks()
    said = [answer(code=404), answer({"balance": 1})]

    async def main() -> None:
        client, _ = client_of(lambda _: said.pop(), hooks=[recorded])
        async with client:
            await client.balance()
            with pytest.raises(NotFoundError):
                await client.status("v1")

    run_virtual(main())
    assert [(event.operation, type(event.error)) for event in recorded.requests] == [
        ("balance", type(None)),
        ("TaskInfo", NotFoundError),
    ]


# The client's life


def test_it_is_opened_once_and_closed_as_often_as_you_like() -> None:
    """Before, after and a second time, the error says what to do."""

    async def main() -> None:
        client, _ = client_of(FakeAPI())
        with pytest.raises(ClientClosedError, match="not open yet: use `async with"):
            await client.balance()
        await client.aclose()
        async with client:
            assert "0 in flight" in repr(client)
            with pytest.raises(ClientClosedError, match="opened only once"):
                await client.__aenter__()
        await client.aclose()
        assert "closed" in repr(client)
        for call in (client.balance(), client.submit(TRACK)):
            with pytest.raises(ClientClosedError, match="is closed"):
                await call
        with pytest.raises(ClientClosedError, match="opened only once"):
            await client.__aenter__()

    run_virtual(main())


def test_it_may_be_left_from_another_task() -> None:
    """Fixtures and frameworks enter in one task and leave in another."""

    async def main() -> None:
        client, _ = client_of(FakeAPI())
        await asyncio.create_task(client.__aenter__())
        assert await client.balance() == 12.5
        await asyncio.create_task(client.__aexit__(None, None, None))

    run_virtual(main())


def test_a_leaked_client_warns() -> None:
    """Who forgets to close hears of it, as with files."""

    async def main() -> None:
        client, _ = client_of(FakeAPI())
        await client.__aenter__()
        with pytest.warns(ResourceWarning, match="was never closed"):
            client.__del__()
        await client.aclose()
        gc.collect()

    run_virtual(main())


def test_another_loop_is_told_so() -> None:
    """A client belongs to the loop it was opened on."""

    async def main() -> None:
        client, _ = client_of(FakeAPI())
        async with client:

            def elsewhere() -> None:
                with pytest.raises(RuntimeError, match="belongs to the event loop"):
                    asyncio.run(client.balance())

            await asyncio.to_thread(elsewhere)

    asyncio.run(main())


async def never(request: Request) -> Any:
    """Give no answer to a request."""
    await asyncio.sleep(1e6)


@pytest.mark.parametrize("rate", [RateLimit(20, 10), None])
def test_closing_cuts_reads_and_leaves_no_task(rate: RateLimit | None) -> None:
    """A read in flight does not hold up the end, and nothing of the client goes on afterwards."""

    async def main() -> None:
        client, _ = client_of(never, rate=rate)
        async with client:
            reader = asyncio.ensure_future(client.balance())
            client.attach("v1")
            await settle()
        assert asyncio.get_running_loop().time() < 1
        with pytest.raises(ClientClosedError, match="cut short by the end of the client"):
            await reader
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_virtual(main())


@pytest.mark.parametrize("cancelled", ["before", "meanwhile"])
def test_a_caller_that_is_cancelled_while_the_client_closes_stays_cancelled(cancelled: str) -> None:
    """Without a window both end the same task, and the caller's own end goes on."""

    async def main() -> None:
        client, _ = client_of(never, rate=None)
        async with client:
            reader = asyncio.ensure_future(client.balance())
            await settle()
            if cancelled == "before":
                reader.cancel()
            closing = asyncio.ensure_future(client.aclose())
            while not reader.cancelling():
                await settle(1)
            if cancelled == "meanwhile":
                reader.cancel()
            await closing
        with pytest.raises(asyncio.CancelledError):
            await reader

    run_virtual(main())


def test_without_a_window_a_cancelled_caller_ends_its_read() -> None:
    """The connection is free for others at once, since no limit counts what the server still has."""

    async def main() -> None:
        client, transport = client_of(never, rate=None)
        async with client:
            reader = asyncio.ensure_future(client.balance())
            await settle()
            reader.cancel()
            await settle()
            assert reader.cancelled()
            assert client._open().calls.limiter.statistics().in_flight == 0
        assert len(transport.sent) == 1

    run_virtual(main())


def test_a_defect_in_a_transport_hangs_nobody() -> None:
    """An exception that no transport should raise still frees the place and ends the call."""

    async def broken(request: Request) -> Any:
        raise KeyError("a defect")

    async def main() -> None:
        client, _ = client_of(broken)
        caught: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: caught.append(context))
        async with client:
            call = asyncio.ensure_future(client.balance())
            await asyncio.sleep(4000)
            with pytest.raises(TransportError, match="cut short"):
                await call
        gc.collect()
        assert any(isinstance(context.get("exception"), KeyError) for context in caught)

    run_virtual(main())


@pytest.mark.parametrize(
    "options", [{"max_in_flight": 0}, {"max_connections": 0}, {"timeout": Timeout(), "max_in_flight": -1}]
)
def test_impossible_bounds_are_refused(options: dict[str, Any]) -> None:
    """A client that could never do anything fails at construction."""
    with pytest.raises(ValueError, match="at least 1"):
        SunoVideoClient(api_key=KEY, **options)


def test_no_key_is_a_clear_error() -> None:
    """The message names the three places where a key may stand."""
    with pytest.raises(ConfigurationError, match=r"CRUN_API_KEY.*\.crun/\.env.*api_key="):
        SunoVideoClient()


def test_the_key_is_told_to_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """It is in no repr, no exception, no log and no event, even when the server repeats it."""
    caplog.set_level(logging.DEBUG)
    seen, recorded = list[str](), RecordingHooks()

    async def main() -> None:
        client, _ = client_of(lambda _: answer(code=401, message="wrong key [api key]"), hooks=[recorded])
        async with client:
            with pytest.raises(APIError) as caught:
                await client.balance()
            seen.extend(
                [repr(client), repr(client._engine), repr(caught.value), str(caught.value), repr(vars(client))]
            )

    run_virtual(main())
    seen.extend(repr(event) + repr(event.error) + str(event.error) for event in recorded.requests)
    assert len(seen) == 6
    assert not [text for text in [*seen, caplog.text] if KEY in text]


def test_the_public_names_are_sorted_and_exist() -> None:
    """`__all__` is the whole public surface, in order, without private or missing names."""
    names = suno_video_async.__all__
    assert names == sorted(set(names), key=lambda name: (not name.isupper(), name))
    assert not [name for name in names if name.startswith("_") or not hasattr(suno_video_async, name)]
