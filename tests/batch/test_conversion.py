"""`client.convert()`: a catalog in, one outcome a row out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from suno_video_async import (
    NO_LEDGER,
    AlreadyBoughtError,
    AuthenticationError,
    BudgetExceeded,
    CatalogError,
    ClientClosedError,
    Conversion,
    InsufficientCreditsError,
    LedgerError,
    MaintenanceError,
    Outcome,
    RateLimitError,
    Request,
    SqliteLedger,
    SubmissionUnknown,
    SunoVideoError,
    SystemClock,
    TaskFailed,
    Track,
    TransportError,
    WaitTimeout,
)
from suno_video_async.protocol.codec import Operation
from tests.support.clients import FakeAPI, client_of
from tests.support.fakes import Script, answer, task_data
from tests.support.virtual import run_virtual


def tracks(count: int) -> list[Track]:
    return [Track(task_id="m", suno_id=f"s{number}", extra={"row": str(number)}) for number in range(count)]


def convert(
    script: Script, source: Any, *, options: dict[str, Any] | None = None, **arguments: Any
) -> list[Outcome]:
    """Return all outcomes of a conversion in virtual time."""

    async def run() -> list[Outcome]:
        client, _ = client_of(script, **(options or {}))
        async with (
            client,
            client.convert(source, **{"ledger": NO_LEDGER, **arguments}) as outcomes,
        ):
            return [outcome async for outcome in outcomes]

    return run_virtual(run())


async def convert_file(path: Path) -> list[Outcome]:
    """Return all outcomes of a file, which a thread reads: on a real loop, with a fast clock."""
    client, _ = client_of(FakeAPI(seconds=0), clock=SystemClock(1000))
    async with client, client.convert(path) as outcomes:
        return [outcome async for outcome in outcomes]


async def drain(outcomes: Conversion, *, into: list[str]) -> Exception | None:
    """Collect the states of all outcomes; return what is raised after them."""
    try:
        async for outcome in outcomes:
            into.append(outcome.state)
    except Exception as error:
        return error
    return None


def by_code(refusals: dict[str, Any], api: FakeAPI) -> Script:
    """Return an API that says something else to the submissions of some tracks."""

    def script(request: Request) -> Any:
        if request.operation is Operation.CREATE_TASK:
            body = (request.body or b"").decode()
            for suno_id, said in refusals.items():
                if f'"{suno_id}"' in body:
                    return said
        return api(request)

    return script


def test_every_track_has_one_outcome() -> None:
    """Each is submitted once, followed to its end, and carries its other columns along."""
    api = FakeAPI()
    outcomes = convert(api, tracks(50))
    assert {o.track.suno_id for o in outcomes if o.track} == {f"s{number}" for number in range(50)}
    assert {o.state for o in outcomes} == {"succeeded"}
    assert all(o.track and o.track.extra["row"] == o.track.suno_id[1:] for o in outcomes)
    assert all(o.url and o.credits == 2 and o.requests >= 2 and o.seconds >= 60 for o in outcomes)
    assert len(api.created) == 50


def test_one_failure_stops_nothing() -> None:
    """Refused, unknown, not sent and failed rows are outcomes of their own beside those that work."""
    api = FakeAPI()
    failed = answer({"task_id": "vf"})
    refusals = {
        "s1": answer(code=422),
        "s2": TransportError("broke off"),
        "s3": failed,
        "s4": answer(code=404),
        "s5": TransportError("refused", sent=False),
    }
    script = by_code(refusals, api)

    def with_a_failed_task(request: Request) -> Any:
        return answer(task_data("vf", "failed", credits=0)) if request.task_id == "vf" else script(request)

    outcomes = {str(o.track.suno_id): o for o in convert(with_a_failed_task, tracks(7)) if o.track}
    assert {suno_id: o.state for suno_id, o in outcomes.items()} == {
        "s0": "succeeded",
        "s1": "refused",
        "s2": "unknown",
        "s3": "failed",
        "s4": "refused",
        "s5": "planned",
        "s6": "succeeded",
    }
    assert isinstance(outcomes["s2"].error, SubmissionUnknown)
    assert outcomes["s3"].video_task_id == "vf"
    assert {suno_id: o.requests for suno_id, o in outcomes.items() if suno_id in {"s1", "s2"}} == {
        "s1": 1,
        "s2": 1,
    }
    assert outcomes["s5"].requests > 8  # what was never sent is tried for as long as an outage may last


async def test_a_bad_row_is_an_outcome_of_its_own(tmp_path: Path) -> None:
    """The row, the field and the fix are named; the others go on."""
    catalog = tmp_path / "catalog.csv"
    catalog.write_text("task_id,suno_id,mood\nm,s1,calm\nm,,sad\nm,s2,wild\n", encoding="utf-8")
    outcomes = await convert_file(catalog)
    bad = [o for o in outcomes if o.track is None]
    assert [(o.state, o.location) for o in bad] == [("refused", "catalog.csv, line 3")]
    assert "line 3: suno_id is empty" in str(bad[0].error)
    assert sorted(o.track.extra["mood"] for o in outcomes if o.track) == ["calm", "wild"]


def test_a_track_that_stands_twice_is_bought_once() -> None:
    """The second is skipped, however it is spelt."""
    api = FakeAPI()
    twice = [Track(task_id="m", suno_id="s"), Track(task_id=" m", suno_id="s ", author="", extra={"x": "y"})]
    outcomes = convert(api, twice)
    assert sorted(o.state for o in outcomes) == ["skipped", "succeeded"]
    assert len(api.created) == 1


def test_no_credits_stops_the_submissions_and_nothing_else() -> None:
    """402 comes once, not once a row: what is paid for is followed, the rest stays planned."""
    api = FakeAPI()
    asked = 0

    def script(request: Request) -> Any:
        nonlocal asked
        if request.operation is Operation.CREATE_TASK:
            asked += 1
            if asked > 5:
                return answer(code=402)
        return api(request)

    outcomes = convert(script, tracks(100), options={"max_connections": 1})
    states = [o.state for o in outcomes]
    assert (states.count("succeeded"), states.count("planned")) == (5, 95)
    assert asked == 6
    assert all(isinstance(o.error, InsufficientCreditsError) for o in outcomes if o.state == "planned")


@pytest.mark.parametrize("code", [429, 455])
def test_a_server_that_is_closed_for_long_ends_the_buying(code: int) -> None:
    """No row waits for it; what is submitted is followed until it opens again, and then to its end."""
    api = FakeAPI()
    arrivals = list[tuple[Operation, float]]()
    asked = 0

    def script(request: Request) -> Any:
        nonlocal asked
        now = asyncio.get_running_loop().time()
        arrivals.append((request.operation, now))
        asked += request.operation is Operation.CREATE_TASK
        if asked > 5 and request.operation is Operation.CREATE_TASK:
            return answer(code=code, Retry_After="7200")
        if asked > 5 and now < 7200:
            return answer(code=455, Retry_After=str(7200 - now))
        return api(request)

    async def run() -> tuple[list[Outcome], SunoVideoError | None, float]:
        client, _ = client_of(script, max_connections=1)
        async with client, client.convert(tracks(40), ledger=NO_LEDGER) as outcomes:
            got = [outcome async for outcome in outcomes]
            return got, outcomes.stopped_by, asyncio.get_running_loop().time()

    outcomes, stopped_by, ended = run_virtual(run())
    states = [o.state for o in outcomes]
    assert (states.count("succeeded"), states.count("planned")) == (5, 35)
    assert isinstance(stopped_by, RateLimitError if code == 429 else MaintenanceError)
    assert "closed until" in str(stopped_by)
    assert stopped_by.closed_until is not None
    assert [operation for operation, _ in arrivals].count(Operation.CREATE_TASK) == 6
    assert 7200 <= ended < 7400


def test_a_closed_server_fails_calls_at_once_until_it_opens() -> None:
    """A submission that waits for its place and a later question get the reason; after that time both are sent."""
    api = FakeAPI()

    def script(request: Request) -> Any:
        now = asyncio.get_running_loop().time()
        return answer(code=429, status=429, Retry_After="5000") if now < 100 else api(request)

    async def run() -> tuple[list[Any], list[float]]:
        client, transport = client_of(script, max_connections=1)
        async with client:
            ends: list[Any] = await asyncio.gather(
                *(client.submit(track) for track in tracks(3)), client.balance(), return_exceptions=True
            )
            ends.append((await asyncio.gather(client.balance(), return_exceptions=True))[0])
            assert asyncio.get_running_loop().time() == 0
            await asyncio.sleep(5001)
            assert (await client.submit(tracks(1)[0])).id == "v1"
            return ends, transport.arrivals

    ends, arrivals = run_virtual(run())
    assert all(isinstance(end, RateLimitError) and end.closed_until for end in ends)
    assert [at for at in arrivals if at <= 5000] == [0]


def test_a_rejected_key_ends_the_run_after_what_is_paid_for() -> None:
    """401 stops the submissions, the submitted are followed, and then it is raised."""
    api = FakeAPI()
    asked = 0

    def script(request: Request) -> Any:
        nonlocal asked
        asked += request.operation is Operation.CREATE_TASK
        return answer(code=401) if request.operation is Operation.CREATE_TASK and asked == 4 else api(request)

    async def run() -> list[str]:
        client, _ = client_of(script, max_connections=1)
        states: list[str] = []
        async with client, client.convert(tracks(20), ledger=NO_LEDGER) as outcomes:
            assert isinstance(await drain(outcomes, into=states), AuthenticationError)
            assert isinstance(outcomes.stopped_by, AuthenticationError)
        return states

    states = run_virtual(run())
    assert (states.count("succeeded"), states.count("planned")) == (3, 17)


def test_what_waits_in_the_air_of_submissions_is_bounded() -> None:
    """A catalog without end is pulled from only as room comes free."""
    pulled = 0

    def endless() -> Iterator[Track]:
        nonlocal pulled
        while True:
            pulled += 1
            yield Track(task_id="m", suno_id=f"s{pulled}")

    async def run() -> None:
        client, _ = client_of(FakeAPI(), max_in_flight=5)
        async with client, client.convert(endless(), ledger=NO_LEDGER) as outcomes:
            async for _ in outcomes:
                break
            await asyncio.sleep(10_000)  # nobody takes outcomes any more
            assert pulled < 40

    run_virtual(run())


def test_an_async_iterable_is_a_catalog_too() -> None:
    """Tracks may come from anywhere, one at a time."""

    async def source() -> AsyncIterator[Track]:
        for track in tracks(3):
            await asyncio.sleep(100)
            yield track

    assert [o.state for o in convert(FakeAPI(), source())] == ["succeeded"] * 3


def test_a_source_that_breaks_loses_nothing_before_it() -> None:
    """Its error is raised after the outcomes of what it gave, and a stray value is an outcome of its own."""

    def source() -> Iterator[Any]:
        yield Track(task_id="m", suno_id="s1")
        yield {"task_id": "m"}
        raise KeyError("a defect of the user's")

    async def run() -> list[str]:
        client, _ = client_of(FakeAPI())
        seen: list[str] = []
        async with client, client.convert(source(), ledger=NO_LEDGER) as outcomes:
            assert isinstance(await drain(outcomes, into=seen), KeyError)
        return seen

    assert sorted(run_virtual(run())) == ["refused", "succeeded"]


async def test_a_catalog_that_cannot_be_read_raises(tmp_path: Path) -> None:
    """A missing file is one clear error."""
    with pytest.raises(CatalogError, match=r"none\.csv: cannot be read: No such file"):
        await convert_file(tmp_path / "none.csv")


def test_a_task_that_takes_too_long_is_left_as_submitted() -> None:
    """After `task_timeout` its id is in the outcome and nobody asks about it any more."""

    async def run() -> Outcome:
        client, transport = client_of(FakeAPI(seconds=1e9))
        async with client, client.convert(tracks(1), ledger=NO_LEDGER, task_timeout=600) as outcomes:
            outcome = await anext(aiter(outcomes))
            sent = len(transport.sent)
            await asyncio.sleep(10_000)
            assert len(transport.sent) == sent
            return outcome

    outcome = run_virtual(run())
    assert (outcome.state, outcome.video_task_id, outcome.seconds) == ("submitted", "v1", 600)
    assert isinstance(outcome.error, WaitTimeout)
    with pytest.raises(ValueError, match="task_timeout"):
        convert(FakeAPI(), tracks(1), task_timeout=0)


def test_stop_submits_no_more_and_follows_the_rest() -> None:
    """After `stop()` what is submitted ends as it ends, and the other rows are planned."""

    async def run() -> list[str]:
        client, _ = client_of(FakeAPI(), max_in_flight=3)
        async with client, client.convert(tracks(10), ledger=NO_LEDGER) as outcomes:
            await asyncio.sleep(1)
            outcomes.stop()
            return [outcome.state async for outcome in outcomes]

    states = run_virtual(run())
    assert (states.count("succeeded"), states.count("planned")) == (3, 7)


def test_leaving_early_stops_submitting() -> None:
    """What was not sent is never sent; what was stays paid for and can be attached to."""

    async def run() -> None:
        api = FakeAPI()
        client, _ = client_of(api, max_in_flight=3)
        async with client:
            async with client.convert(tracks(10), ledger=NO_LEDGER) as outcomes:
                async for outcome in outcomes:
                    assert outcome.state == "succeeded"
                    break
            submitted = len(api.created)
            await asyncio.sleep(1000)
            assert len(api.created) == submitted
            assert submitted < 10
            assert (await client.attach("v2").result()).suno_id == "s1"

    run_virtual(run())


def test_closing_the_client_under_a_conversion_is_an_error() -> None:
    """The consumer is told, not left hanging or led to believe that it was all."""

    async def run() -> None:
        client, _ = client_of(FakeAPI())
        async with client:
            conversion = client.convert(tracks(3), ledger=NO_LEDGER)
            await conversion.__aenter__()
            await asyncio.sleep(1)  # all are submitted by then
        with pytest.raises(ClientClosedError, match="while it converted"):
            await anext(aiter(conversion))
        await conversion.__aexit__(None, None, None)

    run_virtual(run())


async def submit_all(path: Path, api: FakeAPI, count: int) -> None:
    """Submit some tracks into a ledger and leave before any of them is over."""
    client, _ = client_of(api, clock=SystemClock(1000))
    async with client, client.convert(tracks(count), ledger=path, task_timeout=1e9):
        while client.statistics().in_flight < count:  # noqa: ASYNC110  no event tells of it
            await asyncio.sleep(0.001)  # leaves the ledger's thread the time that it needs


async def test_what_was_submitted_is_followed_once(tmp_path: Path) -> None:
    """The next run follows each submitted row once, in its catalog or not, and buys nothing again."""
    api = FakeAPI(seconds=1e9)
    await submit_all(tmp_path / "l.db", api, 20)
    api.seconds = 0
    client, _ = client_of(api, clock=SystemClock(1000))
    async with client, client.convert(tracks(10), ledger=tmp_path / "l.db") as outcomes:
        ended = [outcome async for outcome in outcomes]
    assert sorted(str(o.track and o.track.suno_id) for o in ended) == sorted(f"s{n}" for n in range(20))
    assert {o.state for o in ended} == {"succeeded"}
    assert all(o.track and o.track.extra == {"row": o.track.suno_id[1:]} for o in ended)
    assert len(api.created) == 20


async def test_a_ledger_that_breaks_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing more is bought, what is paid for is followed, and the error is raised at the end."""
    begun = 0
    begin = SqliteLedger.begin_attempt

    def broken(self: SqliteLedger, row_id: int, **how: Any) -> int:
        nonlocal begun
        begun += 1
        if begun > 3:
            raise LedgerError("the disk is full")
        return begin(self, row_id, **how)

    monkeypatch.setattr(SqliteLedger, "begin_attempt", broken)
    api, states = FakeAPI(seconds=0), list[str]()
    client, _ = client_of(api, clock=SystemClock(1000), max_connections=1)
    async with client, client.convert(tracks(10), ledger=tmp_path / "l.db") as outcomes:
        assert isinstance(await drain(outcomes, into=states), LedgerError)
    assert len(api.created) == 3
    assert states.count("succeeded") == 3
    assert len(states) == 10


def test_a_budget_stops_the_submissions() -> None:
    """Reservations count before anything is sent; one estimate serves all tracks of a shape."""
    api, estimates = FakeAPI(), list[Request]()

    def script(request: Request) -> Any:
        if request.operation is Operation.ESTIMATE_TASK:
            estimates.append(request)
        return api(request)

    outcomes = convert(script, tracks(10), max_credits=7)
    states = [outcome.state for outcome in outcomes]
    assert (states.count("succeeded"), states.count("planned")) == (3, 7)
    assert {type(o.error) for o in outcomes if o.state == "planned"} == {BudgetExceeded}
    assert len(estimates) == 1
    assert len(api.created) == 3


async def test_failed_tracks_are_tried_again_only_when_asked(tmp_path: Path) -> None:
    """`retry_failed=1` buys a second task for a track that failed once, and no third."""
    bought = 0

    def failing(request: Request) -> Any:
        nonlocal bought
        if request.operation is Operation.CREATE_TASK:
            bought += 1
            return answer({"task_id": f"v{bought}"})
        return answer(task_data(request.task_id or "", "failed", credits=0))

    async def run(retry_failed: int) -> str:
        client, _ = client_of(failing, clock=SystemClock(1000))
        arguments: dict[str, Any] = {"ledger": tmp_path / "l.db", "retry_failed": retry_failed}
        async with (
            client,
            client.convert(tracks(1), **{"ledger": NO_LEDGER, **arguments}) as outcomes,
        ):
            return (await anext(aiter(outcomes))).state

    assert [await run(times) for times in (0, 0, 1, 1, 2)] == ["failed", "skipped", "failed", "skipped", "failed"]
    assert bought == 3


async def test_a_changed_author_is_bought_only_when_asked(tmp_path: Path) -> None:
    """The same song under another author is reported, and bought with `rebuy_changed`."""
    api = FakeAPI(seconds=0)
    variants = [Track(task_id="m", suno_id="s"), Track(task_id="m", suno_id="s", author="Ava")]

    async def run(**options: Any) -> list[Outcome]:
        client, _ = client_of(api, clock=SystemClock(1000))
        async with client, client.convert(variants, ledger=tmp_path / "l.db", **options) as outcomes:
            return sorted([outcome async for outcome in outcomes], key=lambda outcome: outcome.state)

    skipped, succeeded = await run()
    assert (skipped.state, succeeded.state) == ("skipped", "succeeded")
    assert isinstance(skipped.error, AlreadyBoughtError)
    assert [outcome.state for outcome in await run(rebuy_changed=True)] == ["skipped", "succeeded"]
    assert len(api.created) == 2


async def test_a_retry_that_the_budget_stopped_is_not_made_later(tmp_path: Path) -> None:
    """A failed row stays failed until a retry is really begun, and no later run buys it unasked."""
    path, bought = tmp_path / "l.db", list[str]()

    def failing(request: Request) -> Any:
        if request.operation is Operation.CREATE_TASK:
            bought.append(f"v{len(bought) + 1}")
            return answer({"task_id": bought[-1]})
        if request.operation is Operation.ESTIMATE_TASK:
            return answer({"estimated_credits": 2, "balance": 9, "affordable": True})
        return answer(task_data(request.task_id or "", "failed", credits=1))

    async def run(**options: Any) -> Outcome:
        client, _ = client_of(failing, clock=SystemClock(1000))
        async with client, client.convert(tracks(1), ledger=path, **options) as outcomes:
            return await anext(outcomes)

    assert (await run()).state == "failed"
    stopped = await run(retry_failed=1, max_credits=2)
    assert (stopped.state, type(stopped.error)) == ("failed", BudgetExceeded)
    skipped = await run()
    assert (skipped.state, type(skipped.error)) == ("skipped", TaskFailed)
    client, _ = client_of(failing, clock=SystemClock(1000), ledger=path)
    async with client:
        with pytest.raises(TaskFailed):
            await client.generate(tracks(1)[0])
    assert bought == ["v1"]


async def test_a_row_that_was_given_up_is_not_retried(tmp_path: Path) -> None:
    """A failed row that became unknown in its retry and was dropped stays dropped."""
    path, broken = tmp_path / "l.db", False

    def script(request: Request) -> Any:
        if request.operation is Operation.CREATE_TASK:
            return TransportError("broke off") if broken else answer({"task_id": "v1"})
        return answer(task_data("v1", "failed", credits=0))

    async def run(**options: Any) -> str:
        client, _ = client_of(script, clock=SystemClock(1000))
        async with client, client.convert(tracks(1), ledger=path, **options) as outcomes:
            return (await anext(outcomes)).state

    assert await run() == "failed"
    broken = True
    assert await run(retry_failed=1) == "unknown"
    client, _ = client_of(script)
    async with client, client.unknowns(path) as unknowns:
        await unknowns.drop(1)
    assert await run(retry_failed=9) == "skipped"


def eleven() -> list[Track]:
    return [Track(task_id="m", suno_id=f"s{number}") for number in range(11)]


async def unread_meanwhile(source: Any) -> list[int]:
    """Convert one track after the other, and return how many rows the schedule expects after each."""
    client, _ = client_of(FakeAPI(0.0), max_in_flight=1, rate=None)
    async with client, client.convert(source, ledger=NO_LEDGER) as outcomes:
        return [client._open().poller.unread async for _ in outcomes]


class Uncountable(list[Track]):
    """A sized iterable whose length cannot be had."""

    def __len__(self) -> int:
        raise RuntimeError("cannot be counted")


@pytest.mark.parametrize("source", [(track for track in eleven()), Uncountable(eleven())])
def test_nothing_is_made_up_about_rows_that_cannot_be_counted(source: Any) -> None:
    """All of them are converted, and the schedule knows of those that were read alone."""
    assert run_virtual(unread_meanwhile(source)) == [0] * 11


def test_the_schedule_knows_how_many_rows_are_left_to_be_read(tmp_path: Path) -> None:
    """Those of a list or a file are counted, less those that have been read; at the end none is left."""
    path = tmp_path / "catalog.csv"
    path.write_text("task_id,suno_id\n" + "".join(f"m,{track.suno_id}\n" for track in eleven()))
    for seen in (run_virtual(unread_meanwhile(eleven())), asyncio.run(unread_meanwhile(path))):
        assert 5 < seen[0] < 11
        assert seen == sorted(seen, reverse=True)
        assert seen[-1] == 0


def test_rows_that_are_not_read_any_more_are_not_left() -> None:
    """A conversion that is left early takes its rows out of what the schedule expects."""

    async def main() -> tuple[int, int]:
        client, _ = client_of(FakeAPI(10.0), max_in_flight=1)
        async with client:
            async with client.convert(eleven(), ledger=NO_LEDGER) as outcomes:
                async for _ in outcomes:
                    during = client._open().poller.unread
                    break
            return during, client._open().poller.unread

    during, after = run_virtual(main())
    assert during > 5
    assert after == 0
