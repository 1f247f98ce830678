"""A budget that holds when prices rise, differ by track, or are named late."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from suno_video_async import (
    NO_LEDGER,
    APIError,
    BudgetExceeded,
    Conversion,
    Hooks,
    MalformedResponseError,
    NotFoundError,
    Outcome,
    Request,
    SqliteLedger,
    SystemClock,
    Track,
    TransportError,
)
from suno_video_async.batch.budget import Budget
from suno_video_async.batch.pricing import OUTSTANDING, RECENT, Prices, shape_of
from suno_video_async.ledger.aio import AsyncLedger
from suno_video_async.ledger.model import MICRO, LedgerRow
from suno_video_async.ledger.states import State
from suno_video_async.models import VideoRequest
from suno_video_async.protocol import codec
from suno_video_async.protocol.codec import Answer, Operation
from suno_video_async.testing import RecordingHooks
from tests.support.clients import client_of
from tests.support.fakes import answer, task_data
from tests.support.virtual import run_virtual


def tracks(count: int) -> list[Track]:
    return [Track(task_id="m", suno_id=f"s{number}") for number in range(count)]


@define
class Shop:
    """Sells videos at a price of their own, and answers 2 to EstimateTask unless it is told otherwise.

    Attributes:
        price: by the number of the purchase, from 1.
        names: what TaskInfo says is reserved while a task runs, by its price.
        lost: purchases that are charged and whose answer is lost.
        born: the time of each purchase.
        unnamed: the most purchases at once of which TaskInfo has named no price.

    """

    price: Callable[[int], float]
    names: Callable[[float], float | None] = lambda price: price
    estimate: float = 2.0
    seconds: float = 60.0
    lost: tuple[int, ...] = ()
    missing: int = 0
    silent_at_the_end: bool = False
    balance: float = 1000.0
    born: dict[str, float] = field(factory=dict[str, float])
    spent: list[float] = field(factory=list[float])
    asked: list[Request] = field(factory=list[Request])
    open: set[str] = field(factory=set[str])
    unnamed: int = 0

    def __call__(self, request: Request) -> Answer | Exception:
        self.asked.append(request)
        if request.operation is Operation.CREATE_TASK:
            return self._create()
        if request.operation is Operation.TASK_INFO:
            return self._info(request.task_id or "")
        return answer({"estimated_credits": self.estimate, "balance": self.balance, "affordable": True})

    def _create(self) -> Answer | Exception:
        number = len(self.spent) + 1
        self.spent.append(self.price(number))
        if number in self.lost:
            return TransportError("broke off")
        self.born[f"v{number}"] = asyncio.get_running_loop().time()
        self.open.add(f"v{number}")
        self.unnamed = max(self.unnamed, len(self.open))
        return answer({"task_id": f"v{number}"})

    def _info(self, task_id: str) -> Answer:
        if self.missing:
            self.missing -= 1
            return answer(code=404)
        price = self.spent[int(task_id[1:]) - 1]
        if asyncio.get_running_loop().time() - self.born[task_id] >= self.seconds:
            self.open.discard(task_id)
            more: dict[str, Any] = {} if self.silent_at_the_end else {"credits": price}
            return answer(task_data(task_id, "success", duration_s=self.seconds, **more))
        if self.names(price):
            self.open.discard(task_id)
        return answer(task_data(task_id, "running", credits=self.names(price)))


def convert(shop: Shop, count: int, *, hooks: tuple[Hooks, ...] = (), **arguments: Any) -> list[Outcome]:
    """Return all outcomes of a conversion in virtual time."""

    async def run() -> list[Outcome]:
        client, _ = client_of(shop, hooks=hooks, rate=None)
        async with client, client.convert(tracks(count), **{"ledger": NO_LEDGER, **arguments}) as outcomes:
            return [outcome async for outcome in outcomes]

    return run_virtual(run())


def states(outcomes: list[Outcome]) -> dict[str, int]:
    found = [outcome.state for outcome in outcomes]
    return {state: found.count(state) for state in set(found)}


# Pure


def test_the_dearest_of_what_is_known_is_set_aside() -> None:
    """An estimate, a price that a running task reserves and a price in the end all count."""
    prices = Prices()
    prices.estimates[shape_of(tracks(1)[0])] = 5
    assert prices.reservation((False, False)) == 5
    assert prices.note(3)
    assert prices.reservation((False, False)) == 5
    assert prices.note(8)
    assert not prices.note(8)
    assert prices.reservation((False, False)) == 8


def test_a_dear_video_is_forgotten_after_some_others() -> None:
    """The last prices count: one that was dear does not keep the rest from being bought."""
    prices = Prices()
    prices.note(90)
    for _ in range(RECENT - 1):
        assert not prices.note(2)
    assert prices.dearest == 90
    prices.note(2)
    assert prices.dearest == 2


def test_prices_of_earlier_runs_are_older_than_those_of_this_one() -> None:
    """They are forgotten first."""
    prices = Prices()
    prices.note(2)
    prices.recall([90, *[3] * (RECENT - 2)])
    assert prices.dearest == 90
    prices.note(2)
    assert prices.dearest == 3


@pytest.mark.parametrize(("author", "brand"), [(None, None), ("Ava", None), (None, "Acme"), ("Ava", "Acme")])
def test_a_shape_is_what_an_estimate_may_depend_on(author: str | None, brand: str | None) -> None:
    """Whether there is an author and a brand, not which."""
    track = Track(task_id="m", suno_id="s", author=author, brand=brand)
    assert shape_of(track) == (author is not None, brand is not None)


# Whole runs

PRICES: dict[str, Callable[[int], float]] = {
    "as estimated": lambda _: 2,
    "dearer from the first": lambda _: 40,
    "rises after 10": lambda n: 2 if n <= 10 else 40,
    "falls after 3": lambda n: 40 if n <= 3 else 2,
    "by track": lambda n: 1 + (n * 37) % 60,
    "creeps up": lambda n: 2 + n / 4,
    "cheaper": lambda _: 0.5,
}


@pytest.mark.parametrize("kind", PRICES)
@pytest.mark.parametrize("estimate", [0.0, 2.0])
@pytest.mark.parametrize("names", [True, False])
def test_the_overshoot_is_bounded(kind: str, estimate: float, names: bool) -> None:
    """The budget is exceeded at most by four times what the dearest video costs beyond the estimate."""
    shop = Shop(PRICES[kind], names=(lambda price: price) if names else (lambda _: None), estimate=estimate)
    outcomes = convert(shop, 60, max_credits=100)
    assert sum(shop.spent) <= 100 + OUTSTANDING * max(0.0, max(shop.spent) - estimate)
    assert shop.unnamed <= OUTSTANDING
    assert len(outcomes) == 60
    assert set(states(outcomes)) <= {"succeeded", "planned"}
    if states(outcomes).get("planned"):
        assert any(isinstance(outcome.error, BudgetExceeded) for outcome in outcomes)
    else:
        assert kind == "cheaper"


def test_what_taskinfo_understates_comes_on_top() -> None:
    """A task that reserves 1 and costs 2 in the end counts with its estimate: the dearest is set aside."""
    shop = Shop(lambda _: 2, names=lambda _: 1)
    assert states(convert(shop, 100, max_credits=100)) == {"succeeded": 50, "planned": 50}


def test_a_named_price_frees_the_place_for_the_next() -> None:
    """Where TaskInfo names prices, many videos run at once under a budget."""
    shop = Shop(lambda _: 2, seconds=120)
    convert(shop, 30, max_credits=100)
    assert max(shop.born.values()) < 60
    late = Shop(lambda _: 2, names=lambda _: None, seconds=120)
    convert(late, 8, max_credits=100)
    assert max(late.born.values()) >= 120


def test_a_task_that_is_not_found_at_first_is_asked_again() -> None:
    """A 404 right after the creation costs a few seconds, not the task's whole time."""
    shop = Shop(lambda _: 2, seconds=300, missing=4)
    convert(shop, 8, max_credits=100)
    assert max(shop.born.values()) < 30


def test_without_a_budget_no_price_is_asked() -> None:
    """Two requests a track, and no estimate."""
    shop = Shop(lambda _: 40)
    assert states(convert(shop, 6)) == {"succeeded": 6}
    assert all(request.operation is not Operation.ESTIMATE_TASK for request in shop.asked)
    assert shop.unnamed == 6


def test_unknown_rows_do_not_hold_the_places() -> None:
    """More lost answers than places leave the run going, and stay set aside."""
    lost = tuple(range(1, 2 * OUTSTANDING, 2))
    outcomes = convert(Shop(lambda _: 2, lost=lost), 30, max_credits=50)
    assert states(outcomes) == {"unknown": OUTSTANDING, "succeeded": 25 - OUTSTANDING, "planned": 5}


def test_without_credits_at_the_end_what_was_set_aside_counts() -> None:
    """The budget holds where the API never names a price."""
    shop = Shop(lambda _: 2, names=lambda _: None, silent_at_the_end=True)
    assert states(convert(shop, 10, max_credits=10)) == {"succeeded": 5, "planned": 5}


def test_a_stop_ends_the_rows_that_wait_for_a_place() -> None:
    """They are planned once the outstanding purchases have ended."""

    async def run() -> list[Outcome]:
        client, _ = client_of(Shop(lambda _: 2, names=lambda _: None), rate=None)
        async with client, client.convert(tracks(20), ledger=NO_LEDGER, max_credits=100) as outcomes:
            ended = [await anext(outcomes)]
            outcomes.stop()
            return [*ended, *[outcome async for outcome in outcomes]]

    found = states(run_virtual(run()))
    assert found["planned"] >= 20 - 2 * OUTSTANDING


# What the ledger holds


def run_on(path: Path, shop: Shop, count: int, **arguments: Any) -> Conversion:
    """Return a conversion that has ended, with a ledger in a file."""

    async def run() -> Conversion:
        client, _ = client_of(shop, clock=SystemClock(1000), rate=None)
        async with client, client.convert(tracks(count), ledger=path, **arguments) as outcomes:
            async for _ in outcomes:
                pass
            return outcomes

    return asyncio.run(run())


def rows(path: Path) -> dict[str, LedgerRow]:
    ledger = SqliteLedger(path)
    assert ledger.open_to_read()
    found = {str(row.track.suno_id): row for row in ledger.rows()}
    ledger.close()
    return found


def test_a_dearer_price_raises_what_is_set_aside_for_unknown_rows(tmp_path: Path) -> None:
    """A row that may be charged counts with the dearest price known, in the ledger."""
    shop = Shop(lambda n: 2 if n == 1 else 40, lost=(1,), seconds=0)
    run_on(tmp_path / "l.db", shop, 2, max_credits=100)
    unknown = next(row for row in rows(tmp_path / "l.db").values() if row.state is State.UNKNOWN)
    assert unknown.reserved == 40 * MICRO


def test_what_an_earlier_run_left_is_set_aside_for(tmp_path: Path) -> None:
    """A run without a budget sets nothing aside; one with a budget does so for what is not settled."""
    shop = Shop(lambda _: 2, lost=(1, 2, 3), seconds=0)
    run_on(tmp_path / "l.db", shop, 3)
    assert [row.reserved for row in rows(tmp_path / "l.db").values()] == [0, 0, 0]
    conversion = run_on(tmp_path / "l.db", shop, 6, max_credits=10)
    assert len(shop.spent) == 5
    assert isinstance(conversion.stopped_by, BudgetExceeded)


def test_the_prices_of_earlier_runs_count(tmp_path: Path) -> None:
    """A second run knows from the ledger that videos cost more than is estimated, and does not overshoot."""
    shop = Shop(lambda _: 40, seconds=0)
    run_on(tmp_path / "l.db", shop, 1)
    run_on(tmp_path / "l.db", shop, 9, max_credits=100)
    assert sum(shop.spent) == 80


async def test_a_named_price_frees_its_place_once() -> None:
    """What names nothing leaves it taken, and so does a second purchase of the same row."""
    client, _ = client_of(Shop(lambda _: 2))
    async with client:
        ledger = AsyncLedger(SqliteLedger())
        await client._open().open_ledger(ledger)
        budget = Budget(client._open(), ledger, 100 * MICRO)
        row = (await ledger.call(ledger.sync.claim, tracks(1)[0], location="")).row
        await budget.admit(row)
        await budget.admit(row)
        assert budget._places.value == OUTSTANDING - 1
        assert not await budget.note_price(row, 0)
        assert not await budget.note_price(row, None)
        assert budget._places.value == OUTSTANDING - 1
        assert await budget.note_price(row, 3)
        assert budget._places.value == OUTSTANDING
        budget.leave(row)
        assert budget._places.value == OUTSTANDING
        await ledger.close()


# Told once


def test_a_price_that_differs_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """By a hook and by one line of the log, with both figures."""
    recorded = RecordingHooks()
    convert(Shop(lambda _: 40), 30, max_credits=1000, hooks=(recorded,))
    (event,) = recorded.prices
    assert (event.estimated, event.credits, event.track.task_id) == (2, 40, "m")
    lines = [record.getMessage() for record in caplog.records if "instead of the estimated" in record.getMessage()]
    assert len(lines) == 1
    assert "costs 40 credits instead of the estimated 2" in lines[0]


def test_a_price_as_estimated_is_not_told() -> None:
    """Nor what TaskInfo leaves out."""
    recorded = RecordingHooks()
    convert(Shop(lambda _: 2), 5, max_credits=1000, hooks=(recorded,))
    convert(Shop(lambda _: 2, names=lambda _: None), 5, max_credits=1000, hooks=(recorded,))
    assert recorded.prices == []


# estimate-credits, where EstimateTask is not there

ABSENT = {
    "404 in an envelope": answer(code=404),
    "404 as its status": answer(code=404, status=404),
    "405": answer(code=405, status=405),
    "501": answer(code=501, status=501),
    "404 page": Answer(404, {"Content-Type": "text/html"}, b"<h1>Not Found</h1>"),
    "404 of a framework": Answer(404, {"Content-Type": "application/json"}, b'{"detail":"Not Found"}'),
    "501 page": Answer(501, {}, b"Unsupported method"),
    "a page for everything": Answer(200, {"Content-Type": "text/html"}, b"<h1>Home</h1>"),
}


def estimates(first: Answer, then: Answer) -> tuple[Any, list[str]]:
    """Return what an estimate came to, and the calls that were made for it."""
    calls = list[str]()

    def script(request: Request) -> Answer:
        calls.append(request.operation.value)
        said = {Operation.ESTIMATE_TASK: first, Operation.ESTIMATE_CREDITS: then}
        return said.get(request.operation) or answer({"balance": 9})

    async def run() -> Any:
        client, _ = client_of(script)
        async with client:
            try:
                return await client.estimate(tracks(1)[0])
            except (APIError, MalformedResponseError) as error:
                return error

    return run_virtual(run()), calls


@pytest.mark.parametrize("kind", ABSENT)
def test_estimate_credits_answers_where_estimatetask_is_not_there(kind: str) -> None:
    """At once, with the balance from its own call."""
    estimate, calls = estimates(ABSENT[kind], answer({"credits": 3, "estimated": True}))
    assert (estimate.estimated_credits, estimate.balance, estimate.affordable) == (3, 9, True)
    assert calls == ["EstimateTask", "estimate-credits", "balance"]


def test_a_refusal_is_not_an_absence() -> None:
    """A 422 is about the track, and asked nowhere else."""
    error, calls = estimates(answer(code=422), answer({"credits": 3}))
    assert (error.code, calls) == (422, ["EstimateTask"])


def test_a_track_that_neither_call_knows_is_refused_by_the_first() -> None:
    """A 404 of both is about what was asked."""
    error, calls = estimates(answer(code=404, message="no such task"), answer(code=404, message="neither"))
    assert isinstance(error, NotFoundError)
    assert (error.message, calls) == ("no such task", ["EstimateTask", "estimate-credits"])


def test_a_refusal_of_the_second_call_is_told() -> None:
    """It answers the question, and the first one does not."""
    error, _ = estimates(answer(code=404), answer(code=422, message="no such model"))
    assert error.message == "no such model"


def test_the_question_has_the_body_of_a_submission() -> None:
    """As the contract has it."""
    asked = codec.estimate_credits(VideoRequest(track=tracks(1)[0]))
    assert (asked.method, asked.target) == ("POST", "/api/v1/client/job/estimate-credits")
    assert json.loads(asked.body or b"") == {
        "model": "suno/music-video",
        "input": {"task_id": "m", "suno_id": "s0"},
    }
