"""The balance as a witness of what was charged."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from suno_video_async import Request, SqliteLedger, SystemClock, Track, TransportError
from suno_video_async.batch.reconcile import balance_evidence
from suno_video_async.batch.witness import (
    FACT,
    KEPT,
    Evidence,
    Known,
    Reading,
    Witness,
    from_fact,
    judge,
    still_open,
    to_fact,
)
from suno_video_async.errors import SunoVideoError, TaskFailed
from suno_video_async.ledger.model import MICRO
from suno_video_async.models import TaskSnapshot, VideoTaskId
from suno_video_async.protocol.codec import Operation
from suno_video_async.task import video_of
from tests.support.clients import client_of
from tests.support.fakes import answer, task_data

LESS, MORE = "it fell by less than the known purchases cost", "it fell by more than they could have cost"
ODD = "what it fell by is not a multiple of the price"


def reading(balance: float, cost: float = 0, running: int = 0, unknown: int = 0) -> Reading:
    known = Known(cost=round(cost * MICRO), running=running, unknown=unknown)
    return Reading(balance=round(balance * MICRO), before=known, after=known)


START = reading(100)


@pytest.mark.parametrize(
    ("readings", "prices", "resent", "expected"),
    [
        pytest.param([START, reading(74, cost=20, unknown=5)], [2], 0, (3, 3), id="three of five"),
        pytest.param([START, reading(80, cost=20, unknown=5)], [2], 0, (0, 0), id="none"),
        pytest.param([START, reading(70, cost=20, unknown=5)], [2], 0, (5, 5), id="all"),
        pytest.param([START, reading(73.99, cost=20, unknown=5)], [2], 0, (3, 3), id="rounded"),
        pytest.param([START, reading(66, cost=20, running=4, unknown=5)], [2], 0, (3, 3), id="some are running"),
        pytest.param([START, reading(74, cost=20, unknown=5)], [2, 3], 0, (2, 3), id="prices differ"),
        pytest.param([START, reading(64, cost=20, unknown=5)], [2], 0, MORE, id="somebody else spends"),
        pytest.param([START, reading(100, cost=20, unknown=5)], [2], 0, LESS, id="it does not move"),
        pytest.param([START, reading(120, cost=20, unknown=5)], [2], 0, LESS, id="credits are added"),
        pytest.param([START, reading(75, cost=20, unknown=5)], [2], 0, ODD, id="not a multiple"),
        pytest.param(
            [START, reading(92, cost=4), reading(74, cost=20, unknown=5)], [2], 0, MORE, id="by itself, at first"
        ),
        pytest.param(
            [START, reading(96, cost=4, unknown=5), reading(74, cost=20, unknown=5)], [2], 0, (3, 3), id="late"
        ),
        pytest.param(
            [START, reading(74, cost=20, unknown=5)],
            [2],
            1,
            "1 submission was sent again after an error 500",
            id="resent",
        ),
        pytest.param(
            [START, reading(94, unknown=5)],
            [],
            0,
            "no accepted submission of this run named a price to compare with",
            id="nothing to compare with",
        ),
        pytest.param(
            [START], [2], 0, "it could not be read before the first purchase and at the end", id="one reading"
        ),
    ],
)
def test_what_the_balance_explains(
    readings: list[Reading], prices: list[int], resent: int, expected: tuple[int, int] | str
) -> None:
    """A number, a range, or why it cannot tell."""
    rows = (1, 2, 3, 4, 5)
    found = judge(readings, [price * MICRO for price in prices], rows, resent=resent)
    doubt = expected if isinstance(expected, str) else ""
    least, most = (0, 0) if isinstance(expected, str) else expected
    assert found == Evidence(rows=rows, least=least, most=most, doubt=doubt)


def test_a_purchase_during_the_question_is_no_contradiction() -> None:
    """What was accepted between the question and its answer may be in the balance or not."""
    before, after = Known(cost=2 * MICRO, unknown=1), Known(cost=2 * MICRO, running=1, unknown=2)
    for balance in (98, 96, 94):
        during = Reading(balance=balance * MICRO, before=before, after=after)
        end = reading(92, cost=6, unknown=1)
        assert judge([START, during, end], [2 * MICRO], [7]) == Evidence(rows=(7,), least=1, most=1)


def test_the_words() -> None:
    """One number, a range, or the reason."""
    assert str(Evidence(rows=(1,), least=3, most=3)) == "the balance explains 3 of them"
    assert str(Evidence(rows=(1,), least=2, most=3)) == "the balance explains 2 to 3 of them"
    assert str(Evidence(rows=(1,), doubt="why")) == "the balance cannot tell which of them were charged: why"


def test_evidence_is_kept_for_the_last_runs() -> None:
    """What a ledger keeps comes back as it was, and is shown as long as one of its rows is unknown."""
    fact = None
    for number in range(KEPT + 3):
        fact = to_fact(fact, Evidence(rows=(number, 100), least=1, most=2))
    kept = from_fact(fact)
    assert [one.rows[0] for one in kept] == list(range(3, KEPT + 3))
    assert still_open(fact, {5}) == [Evidence(rows=(5, 100), least=1, most=2)]
    assert still_open(fact, set()) == still_open(None, {5}) == []


def failed(cost: float | None) -> TaskFailed:
    return TaskFailed(TaskSnapshot(task_id=VideoTaskId("v"), status="failed", credits=cost))


def test_what_a_witness_collects() -> None:
    """Purchases run until their cost is named; lost ones that are found count as bought."""
    witness = Witness()
    witness.read(None, before=Known(), after=Known())
    assert witness.readings == []
    for row in (1, 2, 3):
        witness.accepted(row)
    witness.lost(4)
    witness.lost(5)
    witness.found(5)
    witness.found(9)
    assert witness.known(sending=2) == Known(cost=0, running=4, unknown=3)
    snapshot = TaskSnapshot(
        task_id=VideoTaskId("v"), status="success", credits=2, media_urls=("https://cdn.test/v.mp4",)
    )
    witness.ended(1, video_of(snapshot), unknown=False)
    witness.ended(2, failed(0), unknown=False)
    witness.ended(3, SunoVideoError("gone"), unknown=True)
    witness.ended(5, SunoVideoError("too long"), unknown=False)
    assert witness.known() == Known(cost=2 * MICRO, running=1, unknown=2)


@pytest.mark.parametrize(("own", "cost"), [(False, 0), (True, None)])
def test_a_refund_of_unknown_size_leaves_it_open(own: bool, cost: float | None) -> None:
    """A task of an earlier run that failed, or one that does not say what it cost, moves the balance unseen."""
    witness = Witness()
    if own:
        witness.accepted(1)
    witness.lost(2)
    witness.ended(1, failed(cost), unknown=False)
    assert "refunded" in witness.evidence(resent=0).doubt


def test_a_run_says_how_many_unknown_rows_were_charged(tmp_path: Path) -> None:
    """Of four lost answers two were charged: the run, and later the ledger, know so."""
    path, balance, made = tmp_path / "l.db", [100.0], [0]

    def script(request: Request) -> Any:
        if request.operation is Operation.CREATE_TASK:
            made[0] += 1
            lost = made[0] in {2, 4, 6, 8}
            balance[0] -= 0 if made[0] in {2, 6} else 2
            return TransportError("broke off") if lost else answer({"task_id": f"v{made[0]}"})
        if request.operation is Operation.TASK_INFO:
            return answer(task_data(request.task_id or "", "success", credits=2))
        return answer({"balance": balance[0]})

    async def run() -> Evidence | None:
        client, _ = client_of(script, clock=SystemClock(1000), rate=None)
        tracks = [Track(task_id="m", suno_id=f"s{number}") for number in range(12)]
        async with client, client.convert(tracks, ledger=path) as outcomes:
            states = [outcome.state async for outcome in outcomes]
        assert states.count("unknown") == 4
        return outcomes.evidence

    evidence = asyncio.run(run())
    assert evidence is not None
    assert (len(evidence.rows), evidence.least, evidence.most, evidence.doubt) == (4, 2, 2, "")
    assert asyncio.run(balance_evidence(path)) == [evidence]
    ledger = SqliteLedger(path)
    assert ledger.open_to_read()
    assert from_fact(ledger.fact(FACT)) == [evidence]
    ledger.close()
