"""Outages of a catalog's API, in virtual time: few rows become unknown, and the rest is bought once it is back."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from suno_video_async import (
    NO_LEDGER,
    ConfigurationError,
    MalformedResponseError,
    RetryPolicy,
    ServiceUnreachable,
    SystemClock,
    Track,
    TransportError,
)
from suno_video_async.ledger.sqlite import SqliteLedger
from suno_video_async.protocol.codec import Answer, Operation, Request
from suno_video_async.ratelimit.brake import LIMIT
from tests.support.clients import FakeAPI, client_of
from tests.support.fakes import answer
from tests.support.outage import PAGE, World
from tests.support.virtual import run_virtual

#: Rows of a catalog: of those in the middle of which an outage begins, many are not submitted yet.
ROWS = 100


@frozen
class Result:
    """What a catalog came to.

    Attributes:
        states: how many rows ended in each state.
        in_flight: CreateTasks in flight when the outage began.
        sent: CreateTasks sent.
        charged_twice: tracks that were charged more than once.
        stopped_by: what ended the buying.
        raised: what the stream of outcomes ended with.
        asked: questions sent.
        seconds: how long it took.

    """

    states: Counter[str]
    in_flight: int
    sent: int
    charged_twice: int
    stopped_by: object
    raised: Exception | None
    asked: int
    seconds: float


def outage(
    kind: str,
    start: float,
    seconds: float,
    *,
    rows: int = ROWS,
    on: frozenset[Operation] = frozenset(Operation),
    horizon: float = 3600.0,
    **options: Any,
) -> Result:
    """Convert a catalog through an outage; `horizon` is how long the client waits for its end."""
    world = World(kind, start, seconds, on)

    async def main() -> Result:
        began = asyncio.get_running_loop().time()
        client, _ = client_of(world, retry=RetryPolicy(maintenance_horizon=horizon), **options)
        states: Counter[str] = Counter()
        raised: Exception | None = None
        async with client:
            tracks = [Track(task_id="m1", suno_id=f"s{number}") for number in range(rows)]
            async with client.convert(tracks, ledger=NO_LEDGER, task_timeout=horizon + 400.0) as outcomes:
                try:
                    async for outcome in outcomes:
                        states[outcome.state] += 1
                except ConfigurationError as error:
                    raised = error
        charges = Counter(json.loads(body)["input"]["suno_id"] for body in world.api.created)
        twice = sum(number > 1 for number in charges.values())
        seconds = asyncio.get_running_loop().time() - began
        stopped_by = outcomes.stopped_by
        return Result(states, world.in_flight, world.sent, twice, stopped_by, raised, world.asked, seconds)

    return run_virtual(main())


@pytest.mark.parametrize("kind", ["502", "403 page", "cut", "hang", "refused"])
@pytest.mark.parametrize("seconds", [10.0, 600.0])
def test_an_outage_in_the_middle_costs_few_rows_and_the_rest_is_done(kind: str, seconds: float) -> None:
    """Unknown are those in flight and at most five more; nothing is bought twice."""
    came = outage(kind, 30.0, seconds)
    assert came.states["unknown"] <= came.in_flight + LIMIT
    assert came.states["succeeded"] == ROWS - came.states["unknown"]
    assert came.charged_twice == 0
    assert came.stopped_by is None


@pytest.mark.parametrize("kind", ["502", "cut", "hang", "refused"])
def test_an_outage_takes_only_what_is_in_flight_where_there_is_no_limit(kind: str) -> None:
    """Many are in flight by then, and that all of them are unknown does not end the buying."""
    came = outage(kind, 0.9, 10.0, rate=None)
    assert came.in_flight > LIMIT
    assert came.states["unknown"] <= came.in_flight + LIMIT
    assert came.states["succeeded"] == ROWS - came.states["unknown"]
    assert came.charged_twice == 0
    assert came.stopped_by is None


@pytest.mark.parametrize("kind", ["502", "cut", "hang", "refused"])
@pytest.mark.parametrize("seconds", [10.0, 600.0])
def test_an_outage_at_the_start_is_waited_out(kind: str, seconds: float) -> None:
    """The question before the first purchase is asked again; then all is done."""
    came = outage(kind, 0.0, seconds)
    assert came.states == {"succeeded": ROWS}
    assert came.charged_twice == 0


@pytest.mark.parametrize("kind", ["403 page", "redirect", "page", "bad certificate"])
def test_what_is_not_the_api_gets_no_purchase(kind: str) -> None:
    """A wrong URL, a login page, a bad certificate: a clear error, and not one CreateTask."""
    came = outage(kind, 0.0, 1e9, rows=30)
    assert isinstance(came.raised, ConfigurationError)
    assert came.sent == 0
    assert came.states == {"planned": 30}


@pytest.mark.parametrize("kind", ["502", "403 page", "redirect", "page", "bad certificate", "hang"])
def test_an_outage_that_does_not_end_leaves_the_rest_planned(kind: str) -> None:
    """The conversion ends by itself, and says why."""
    came = outage(kind, 30.0, 1e9, horizon=600.0)
    assert came.states["unknown"] <= came.in_flight + LIMIT
    assert came.states["planned"] > 30
    assert sum(came.states.values()) == ROWS
    assert isinstance(came.stopped_by, ServiceUnreachable)


@pytest.mark.parametrize(("kind", "most"), [("bad certificate", 1), ("page", 1), ("502", 99), ("refused", 99)])
def test_the_question_before_the_first_purchase_is_asked_for_all_rows(kind: str, most: int) -> None:
    """A row that waited for its answer does not ask again when none came, nor wait for the same time once more."""
    came = outage(kind, 0.0, 1e9, rows=30, horizon=600.0)
    assert came.states == {"planned": 30}
    assert came.asked <= most
    assert came.seconds < 700.0


def test_submissions_alone_broken_end_the_buying_soon() -> None:
    """Reads work, so each release is tried with one submission: five of them, and no more."""
    came = outage("502", 30.0, 1e9, on=frozenset({Operation.CREATE_TASK}))
    assert came.states["unknown"] <= came.in_flight + LIMIT
    assert isinstance(came.stopped_by, ServiceUnreachable)
    assert "unknown outcomes in a row" in str(came.stopped_by)


def test_the_next_run_begins_with_one_and_stops_at_the_first_unknown(tmp_path: Path) -> None:
    """The stop is in the ledger; a run on which all is well takes it out again."""
    path, sent = tmp_path / "l.db", [0]
    api, broken = FakeAPI(seconds=0.0), True

    def script(request: Request) -> Answer:
        creating = request.operation is Operation.CREATE_TASK
        sent[0] += creating
        return Answer(502, {}, PAGE.encode()) if creating and broken else api(request)

    async def run() -> Counter[str]:
        client, _ = client_of(script, clock=SystemClock(1000))
        tracks = [Track(task_id="m1", suno_id=f"s{number}") for number in range(20)]
        async with client, client.convert(tracks, ledger=path) as outcomes:
            return Counter([str(outcome.state) async for outcome in outcomes])

    assert asyncio.run(run()) == {"unknown": LIMIT, "planned": 20 - LIMIT}
    sent[0] = 0
    assert asyncio.run(run()) == {"unknown": LIMIT + 1, "planned": 20 - LIMIT - 1}
    assert sent[0] == 1
    broken = False
    assert asyncio.run(run()) == {"unknown": LIMIT + 1, "succeeded": 20 - LIMIT - 1}
    ledger = SqliteLedger(path)
    assert ledger.open_to_read()
    assert ledger.fact("out_of_reach") == "no"
    ledger.close()


def test_a_single_submission_waits_for_the_brake_and_no_longer_than_the_horizon() -> None:
    """It learns that nothing was sent."""

    async def main() -> Sequence[Exception]:
        client, _ = client_of(World("502", 0.0, 1e9, frozenset(Operation)))
        errors = list[Exception]()
        async with client:
            for number in range(2):
                try:
                    await client.submit(Track(task_id="m1", suno_id=f"s{number}"))
                except Exception as error:
                    errors.append(error)
        return errors

    first, second = run_virtual(main())
    assert "unexpected response (HTTP 502" in str(first)
    assert isinstance(second, ServiceUnreachable)
    assert not second.sent


def test_an_answer_of_the_api_that_makes_no_sense_does_not_close_the_brake() -> None:
    """An envelope without an id leaves its row unknown; the others go on, and count to five."""

    def script(request: Request) -> Answer:
        return answer({}) if request.operation is Operation.CREATE_TASK else answer({"balance": 1})

    async def main() -> tuple[Mapping[Any, int], object]:
        client, _ = client_of(script)
        tracks = [Track(task_id="m1", suno_id=f"s{number}") for number in range(30)]
        async with client, client.convert(tracks, ledger=NO_LEDGER) as outcomes:
            states = Counter([outcome.state async for outcome in outcomes])
            return states, outcomes.stopped_by

    states, stopped_by = run_virtual(main())
    assert states["unknown"] >= LIMIT
    assert isinstance(stopped_by, ServiceUnreachable)
    assert issubclass(MalformedResponseError, TransportError)
