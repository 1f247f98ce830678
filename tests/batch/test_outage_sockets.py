"""Outages over real sockets: what a gateway, a firewall or a network makes of a catalog, by the server's books."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from types import SimpleNamespace

import aiohttp
import pytest
from attrs import define, field, frozen

from suno_video_async import NO_LEDGER, Conversion, SunoVideoClient, SystemClock, Track
from suno_video_async.api.transport import make_session
from suno_video_async.local import Fault, LocalServer
from suno_video_async.ratelimit.brake import LIMIT

#: Model seconds in a real one: ten seconds of an outage are still many times a trip over the loopback.
SCALE = 60.0
#: What each kind of outage does to which calls. A connection that is cut has let a CreateTask arrive.
KINDS = {
    "502": (("all", "html:502"),),
    "403 page": (("all", "html:403"),),
    "cut": (("CreateTask", "drop-after"), ("all", "drop-before")),
}
#: Otherwise each CreateTask takes a while, so that some are in flight at any moment.
SLOW = Fault(on="CreateTask", kind="slow:3")


@frozen
class Result:
    """What a catalog came to.

    Attributes:
        states: how many rows ended in each state.
        in_flight: CreateTasks in flight when the client could first see the outage.
        sent: CreateTasks that were sent.
        charged: tracks that the server charged.
        twice: those that it charged more than once.
        most: requests in the fullest window.
        stopped_by: what ended the buying.

    """

    states: Counter[str]
    in_flight: int
    sent: int
    charged: int
    twice: int
    most: int
    stopped_by: Exception | None


@define(eq=False)
class Trace:
    """Notes from when to when each CreateTask was in flight, in real seconds of the loop.

    Attributes:
        spans: the begin and the end of each.
        seen: when the first of them ended in another way than with an answer of the API: that closes the brake.

    """

    spans: list[list[float]] = field(factory=list[list[float]])
    seen: float = float("inf")

    def config(self) -> aiohttp.TraceConfig:
        """Return what a session calls."""
        config = aiohttp.TraceConfig()

        async def begin(_: object, request: SimpleNamespace, at: aiohttp.TraceRequestStartParams) -> None:
            request.span = [asyncio.get_running_loop().time(), float("inf")]
            request.creates = at.url.name == "CreateTask"
            if request.creates:
                self.spans.append(request.span)

        async def end(_: object, request: SimpleNamespace, at: object) -> None:
            request.span[1] = asyncio.get_running_loop().time()
            answered = isinstance(at, aiohttp.TraceRequestEndParams) and at.response.status == 200
            if request.creates and not answered:
                self.seen = min(self.seen, request.span[1])

        config.on_request_start.append(begin)
        config.on_request_end.append(end)
        config.on_request_exception.append(end)
        config.freeze()
        return config

    def in_flight(self) -> int:
        """Return how many were in flight when the outage was seen, with one that showed it."""
        return sum(begun <= self.seen <= ended for begun, ended in self.spans)


async def outage(kind: str, start: float, seconds: float, *, rows: int) -> Result:
    """Convert a catalog over the loopback, through an outage."""
    faults = [Fault(on=on, kind=what, during=(start, start + seconds)) for on, what in KINDS[kind]]
    faults.append(SLOW)
    trace = Trace()
    session = make_session()
    session.trace_configs.append(trace.config())
    async with LocalServer(render_seconds=20.0, time_scale=SCALE, faults=faults) as server, session:
        clock = SystemClock(SCALE)
        client = SunoVideoClient(api_key=server.api_key, base_url=server.url, clock=clock, session=session)
        tracks = [Track(task_id="music", suno_id=f"s{number}") for number in range(rows)]
        async with client, client.convert(tracks, ledger=NO_LEDGER) as outcomes:
            states = Counter(await states_of(outcomes))
        books = server.service.stats()
        times = books["charged_by_track"].values()
        return Result(
            states=states,
            in_flight=trace.in_flight(),
            sent=len(trace.spans),
            charged=len(times),
            twice=sum(number > 1 for number in times),
            most=books["max_in_any_window"],
            stopped_by=outcomes.stopped_by,
        )


async def states_of(outcomes: Conversion) -> Sequence[str]:
    """Return how the rows ended."""
    return [str(outcome.state) async for outcome in outcomes]


@pytest.mark.parametrize("kind", KINDS)
async def test_an_outage_in_the_middle_costs_few_rows_and_the_rest_is_done(kind: str) -> None:
    """Unknown are at most those in flight when it was seen and five more; nothing is bought twice."""
    came = await outage(kind, 31.0, 60.0, rows=120)
    assert came.states["unknown"] <= came.in_flight + LIMIT
    assert came.states["succeeded"] == 120 - came.states["unknown"]
    assert (came.twice, came.stopped_by) == (0, None)
    assert came.most <= 20


@pytest.mark.parametrize("kind", ["502", "cut"])
async def test_an_outage_at_the_start_is_waited_out(kind: str) -> None:
    """The free question is asked again until it is answered; then all is bought."""
    came = await outage(kind, 0.0, 60.0, rows=60)
    assert (came.states, came.sent, came.charged) == ({"succeeded": 60}, 60, 60)
