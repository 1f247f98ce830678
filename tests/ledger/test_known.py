"""Rows that their caller knows are not read again before a write, and are if they stand otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from attrs import evolve

from suno_video_async.errors import AlreadyBoughtError, LedgerError
from suno_video_async.ledger.commands import Commands
from suno_video_async.ledger.model import LedgerRow, Transition, begun
from suno_video_async.ledger.states import MOVES, Cause, State
from suno_video_async.models import VideoTaskId
from tests.ledger.support import everything, reread, row_in, track, transition

BY_RUNS = [move for move, causes in MOVES.items() if Cause.RUN in causes and move[1] is not State.SUBMITTING]


class Watched:
    """A connection that notes what begins each statement."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.statements = list[str]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statement: str, *values: Any) -> Any:
        self.statements.append(statement.split(maxsplit=1)[0])
        return self._connection.execute(statement, *values)


@contextmanager
def statements_of(ledger: Commands) -> Iterator[list[str]]:
    """Note the statements of a ledger."""
    own: Any = ledger._connection
    seen: Any = Watched(own)
    ledger._connection = seen
    yield seen.statements
    ledger._connection = own


def attempt(ledger: Commands, row: LedgerRow, known: LedgerRow, nonce: str = "n", **options: Any) -> int:
    """Begin an attempt of a row that is known."""
    return ledger.begin_attempt(row.id, nonce=nonce, at=2000.0, reserve=4, budget=None, known=known, **options)


def test_a_row_that_is_as_it_is_known_is_not_read(memory: Commands) -> None:
    """From its claim to its video only writes are left."""
    row = row_in(memory, State.PLANNED)
    with statements_of(memory) as statements:
        row = begun(row, attempt=attempt(memory, row, row), at=2000.0, reserve=4)
        assert reread(memory, row) == row
        statements.clear()
        row = memory.move(row.id, Transition(state=State.SUBMITTED, video_task_id=VideoTaskId("v")), known=row)
        row = memory.move(row.id, Transition(state=State.SUCCEEDED, url="u", cost=3, took=60.0), known=row)
    assert "SELECT" not in statements
    assert reread(memory, row) == row
    assert memory.sums == (3, 0)


@pytest.mark.parametrize(("old", "new"), BY_RUNS)
def test_a_move_comes_to_the_same(memory: Commands, old: State, new: State) -> None:
    """Every move of a run leads to the row that it leads to without what its caller knows."""
    row, other = (row_in(memory, old, suno_id, reserve=5) for suno_id in ("s1", "s2"))
    known = memory.move(row.id, transition(new, row), known=row)
    read = memory.move(other.id, transition(new, other))
    assert known == reread(memory, row)
    assert known == evolve(read, id=row.id, track=row.track, video_task_id=known.video_task_id)


@pytest.mark.parametrize("old", State)
def test_a_row_that_has_gone_on_since_is_read(memory: Commands, old: State) -> None:
    """Whatever its caller takes it for, the table says what becomes of it."""
    row, wrong = row_in(memory, State.SUCCEEDED), evolve(row_in(memory, State.SUBMITTED, "s2"), id=1, state=old)
    before = everything(memory)
    with pytest.raises(LedgerError, match=r"row 1 \(s1\) is succeeded and cannot become failed"):
        memory.move(row.id, Transition(state=State.FAILED), known=wrong)
    with pytest.raises(LedgerError, match=r"row 1 \(s1\) is succeeded and cannot become submitting"):
        attempt(memory, row, wrong)
    assert everything(memory) == before


@pytest.mark.parametrize(
    "wrong", [{"attempts": 2}, {"cost": 1}, {"reserved": 1}, {"failures": 1}], ids=lambda wrong: next(iter(wrong))
)
def test_what_a_move_is_computed_from_is_that_of_the_ledger(memory: Commands, wrong: dict[str, Any]) -> None:
    """Amounts that were set aside since, or an attempt that was begun since, are not overwritten by older ones."""
    row = row_in(memory, State.SUBMITTED, reserve=5)
    failed = memory.move(row.id, Transition(state=State.FAILED), known=evolve(row, **wrong))
    assert failed == reread(memory, row)
    assert (failed.cost, failed.reserved, failed.failures, failed.attempts) == (5, 0, 1, 1)
    assert memory.sums == (5, 0)


def test_an_attempt_has_the_next_number_in_the_ledger(memory: Commands) -> None:
    """A row that was begun and planned again meanwhile is begun as it stands."""
    row = row_in(memory, State.PLANNED)
    assert [attempt(memory, row, row, "a"), memory.move(row.id, Transition(state=State.PLANNED)).attempts] == [
        1,
        1,
    ]
    assert attempt(memory, row, row, "b") == 2


@pytest.mark.parametrize("known", [State.PLANNED, State.REFUSED])
def test_a_song_that_was_bought_otherwise_since_is_not_begun(memory: Commands, known: State) -> None:
    """Another part of the client may have bought it under another author; buying it again can be asked for."""
    row, other = row_in(memory, known), memory.claim(track(author="another"), location="").row
    attempt(memory, other, other)
    before = everything(memory)
    with pytest.raises(AlreadyBoughtError):
        attempt(memory, row, row, "again", rebuy_changed=False)
    assert everything(memory) == before
    assert attempt(memory, row, row, "again", rebuy_changed=True) == row.attempts + 1


def test_a_row_becomes_submitted_with_a_task_only(memory: Commands) -> None:
    """A caller that knows the row is refused like any other."""
    row = row_in(memory, State.SUBMITTING)
    with pytest.raises(LedgerError, match="without a task's id"):
        memory.move(row.id, Transition(state=State.SUBMITTED), known=row)
