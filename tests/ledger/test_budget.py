"""The arithmetic of the budget, in whole micro-credits."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from suno_video_async.errors import BudgetExceeded, LedgerError
from suno_video_async.ledger.model import MICRO, LedgerRow, Transition
from suno_video_async.ledger.sqlite import SqliteLedger
from suno_video_async.ledger.states import State
from suno_video_async.models import VideoTaskId
from tests.ledger.support import begin, connection, everything, in_a_file, opened, person, reread, row_in, track


def sums(ledger: SqliteLedger) -> tuple[int, int]:
    """Return what is spent and what is set aside, checked against the rows."""
    totals, rows = ledger.totals(), ledger.rows()
    assert totals.spent == sum(row.cost for row in rows)
    assert totals.reserved == sum(row.reserved for row in rows)
    return totals.spent, totals.reserved


def test_a_submission_reserves_and_its_end_settles(memory: SqliteLedger) -> None:
    """A reservation stands until the server names the cost, which then counts instead of it."""
    row = row_in(memory, State.SUBMITTED, reserve=2 * MICRO)
    assert sums(memory) == (0, 2 * MICRO)
    memory.move(row.id, Transition(state=State.SUCCEEDED, cost=1_500_001))
    assert sums(memory) == (1_500_001, 0)
    memory.move(row.id, Transition(state=State.DOWNLOADED))
    assert sums(memory) == (1_500_001, 0)


@pytest.mark.parametrize("end", [State.SUCCEEDED, State.FAILED])
def test_without_a_cost_the_reservation_is_it(memory: SqliteLedger, end: State) -> None:
    """Where the server names no cost, what was set aside counts as spent; a named zero counts as zero."""
    silent, free = (row_in(memory, State.SUBMITTED, suno_id, reserve=7) for suno_id in ("s1", "s2"))
    memory.move(silent.id, Transition(state=end))
    memory.move(free.id, Transition(state=end, cost=0))
    assert sums(memory) == (7, 0)


@pytest.mark.parametrize("end", [State.PLANNED, State.REFUSED])
def test_what_was_not_bought_gives_back(memory: SqliteLedger, end: State) -> None:
    """A submission that was refused or not sent sets nothing aside and costs nothing."""
    row = row_in(memory, State.SUBMITTING, reserve=7)
    memory.move(row.id, Transition(state=end))
    assert sums(memory) == (0, 0)


@pytest.mark.parametrize("way", [(State.SUBMITTING,), (State.SUBMITTING, State.SUBMITTED)])
def test_unknown_keeps(memory: SqliteLedger, way: tuple[State, ...]) -> None:
    """An unknown row keeps its reservation, for it may have to be paid."""
    row = row_in(memory, way[-1], reserve=7)
    memory.move(row.id, Transition(state=State.UNKNOWN))
    assert sums(memory) == (0, 7)


@pytest.mark.parametrize(
    ("decision", "after"), [(State.PLANNED, (7, 0)), (State.FAILED, (7, 0)), (State.SUBMITTED, (0, 7))]
)
def test_a_person_decides(memory: SqliteLedger, decision: State, after: tuple[int, int]) -> None:
    """Sending again and dropping count the reservation as spent, since it may be; adopting keeps it set aside."""
    row = person(memory, row_in(memory, State.UNKNOWN, reserve=7), decision)
    assert sums(memory) == after
    assert row.failures == 0, "a person's decision is no failure of the service"


def test_each_attempt_counts(memory: SqliteLedger) -> None:
    """A row that failed once and was bought again cost both tasks."""
    row = row_in(memory, State.SUBMITTED, reserve=7)
    memory.move(row.id, Transition(state=State.FAILED, cost=5))
    row = memory.move(row.id, Transition(state=State.PLANNED))
    begin(memory, row, reserve=7)
    assert sums(memory) == (5, 7)
    memory.move(row.id, Transition(state=State.SUBMITTED, video_task_id=VideoTaskId("second")))
    row = memory.move(row.id, Transition(state=State.SUCCEEDED, cost=6))
    assert (row.cost, row.failures, sums(memory)) == (11, 1, (11, 0))


def test_the_budget_is_never_passed(memory: SqliteLedger) -> None:
    """What is spent and set aside never passes the budget; an attempt that would leaves no trace."""
    row_in(memory, State.UNKNOWN, "s1", reserve=4)
    done = row_in(memory, State.SUBMITTED, "s2", reserve=4)
    memory.move(done.id, Transition(state=State.SUCCEEDED, cost=3))
    row = memory.claim(track("s3"), location="").row
    before = everything(memory)
    with pytest.raises(BudgetExceeded, match="4e-06 credits more would be over the budget of 1e-05"):
        begin(memory, row, reserve=4, budget=10)
    assert everything(memory) == before
    begin(memory, row, reserve=4, budget=11)
    assert sums(memory) == (3, 8)


@pytest.mark.parametrize(
    ("state", "amount", "lower", "kept"),
    [
        (State.SUBMITTING, 9, False, 9),
        (State.SUBMITTED, 9, False, 9),
        (State.UNKNOWN, 9, False, 9),
        (State.UNKNOWN, 5, False, 7),
        (State.SUBMITTED, 5, True, 5),
        (State.PLANNED, 9, True, 0),
        (State.SUCCEEDED, 9, True, 0),
    ],
)
def test_what_is_set_aside_can_change(
    memory: SqliteLedger, state: State, amount: int, lower: bool, kept: int
) -> None:
    """It rises for what is not settled, and falls only where that is asked for."""
    row = row_in(memory, state, reserve=7)
    spent, before = sums(memory)
    memory.reserve({row.id}, amount, lower=lower)
    assert reread(memory, row).reserved == kept
    assert sums(memory) == (spent, before + kept - row.reserved)


def test_the_last_prices_are_those_of_single_attempts(memory: SqliteLedger) -> None:
    """Rows that cost nothing, failed, or were bought twice tell no price."""
    for n, cost in enumerate([5, 0, 6, 7]):
        row = row_in(memory, State.SUBMITTED, f"s{n}", reserve=1)
        memory.move(row.id, Transition(state=State.SUCCEEDED, cost=cost))
    row = row_in(memory, State.SUBMITTED, "twice", reserve=1)
    row = memory.move(row.id, Transition(state=State.FAILED, cost=3))
    row = memory.move(row.id, Transition(state=State.PLANNED))
    begin(memory, row, reserve=1)
    memory.move(row.id, Transition(state=State.SUBMITTED, video_task_id=VideoTaskId("second")))
    memory.move(row.id, Transition(state=State.SUCCEEDED, cost=3))
    assert memory.prices(9) == [5, 6, 7]
    assert memory.prices(2) == [6, 7]


def test_sums_do_not_drift(memory: SqliteLedger) -> None:
    """A tenth of a credit, ten thousand times, is a thousand credits."""
    for n in range(100):
        row = row_in(memory, State.SUBMITTED, f"s{n}", reserve=MICRO)
        memory.move(row.id, Transition(state=State.SUCCEEDED, cost=MICRO // 10))
    assert sums(memory) == (10 * MICRO, 0)


def test_sums_outlive_the_process(path: Path) -> None:
    """A ledger that is opened again, or only read, knows what was spent and set aside."""
    ledger = opened(path)
    row_in(ledger, State.SUBMITTING, "s1", reserve=4)
    done = row_in(ledger, State.SUBMITTED, "s2", reserve=4)
    ledger.move(done.id, Transition(state=State.SUCCEEDED, cost=3))
    reader = SqliteLedger(path)
    assert reader.open_to_read()
    assert sums(reader) == sums(ledger) == (3, 4)
    reader.close()
    ledger.close()
    again = opened(path)
    assert sums(again) == (3, 4)
    again.close()


class Full:
    """A connection whose commits fail; SQLite itself may have rolled back by then."""

    def __init__(self, connection: sqlite3.Connection, *, rolls_back: bool) -> None:
        self._connection = connection
        self._rolls_back = rolls_back
        self.full = True

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)

    def execute(self, statement: str, *values: object) -> sqlite3.Cursor:
        if statement == "COMMIT" and self.full:
            if self._rolls_back:
                self._connection.execute("ROLLBACK")
            raise sqlite3.OperationalError("database or disk is full")
        return self._connection.execute(statement, *values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "write",
    [
        lambda ledger, planned, submitted: begin(ledger, planned, reserve=9),
        lambda ledger, planned, submitted: ledger.move(submitted.id, Transition(state=State.SUCCEEDED, cost=3)),
        lambda ledger, planned, submitted: ledger.move(submitted.id, Transition(state=State.FAILED)),
        lambda ledger, planned, submitted: ledger.claim(track("s9"), location=""),
        lambda ledger, planned, submitted: ledger.note_place(1.0),
    ],
    ids=["begin", "succeeded", "failed", "claim", "note"],
)
@in_a_file
@pytest.mark.parametrize("rolls_back", [False, True])
def test_a_commit_that_fails(
    ledger: SqliteLedger, write: Callable[[SqliteLedger, LedgerRow, LedgerRow], object], rolls_back: bool
) -> None:
    """When the disk is full nothing is written, the sums stay as they were, and all works again with room."""
    planned = row_in(ledger, State.PLANNED, "s1")
    submitted = row_in(ledger, State.SUBMITTED, "s2", reserve=4)
    before = everything(ledger)
    full = Full(connection(ledger), rolls_back=rolls_back)
    ledger._connection = full  # type: ignore[assignment]
    with pytest.raises(LedgerError, match=r"catalog\.db cannot be used: database or disk is full"):
        write(ledger, planned, submitted)
    assert everything(ledger) == before
    assert sums(ledger) == (0, 4)
    assert reread(ledger, planned) == planned
    full.full = False
    write(ledger, planned, submitted)
    assert everything(ledger) != before
