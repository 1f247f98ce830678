"""Outages over real sockets: what a gateway, a firewall or a network makes of a catalog, by the server's books."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from attrs import define, field, frozen

from suno_video_async import NO_LEDGER, Conversion, SunoVideoClient, SystemClock, Track
from suno_video_async.local import Fault, LocalServer
from suno_video_async.ratelimit.brake import LIMIT, Brake

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
        in_flight: CreateTasks in flight when the client first saw the outage.
        sent: CreateTasks that arrived.
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
class Books:
    """What the brake of a client says.

    Attributes:
        brake: the brake.
        in_flight: CreateTasks that were being sent, or had the right to be, when it first closed.

    """

    brake: Brake
    in_flight: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self.brake.listeners[self._changed] = None

    def _changed(self) -> None:
        if self.brake.closings and not self.in_flight:
            self.in_flight = self.brake.sending + 1  # with the one that closed it


async def outage(kind: str, start: float, seconds: float, *, rows: int) -> Result:
    """Convert a catalog over the loopback, through an outage."""
    faults = [Fault(on=on, kind=what, during=(start, start + seconds)) for on, what in KINDS[kind]]
    faults.append(SLOW)
    async with LocalServer(render_seconds=20.0, time_scale=SCALE, faults=faults) as server:
        client = SunoVideoClient(api_key=server.api_key, base_url=server.url, clock=SystemClock(SCALE))
        tracks = [Track(task_id="music", suno_id=f"s{number}") for number in range(rows)]
        async with client, client.convert(tracks, ledger=NO_LEDGER) as outcomes:
            noted = Books(client._open().calls.limiter.brake)
            states = Counter(await states_of(outcomes))
        books = server.service.stats()
        times = books["charged_by_track"].values()
        return Result(
            states=states,
            in_flight=noted.in_flight,
            sent=books["requests"]["CreateTask"],
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
