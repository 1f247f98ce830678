"""One budget for several ledgers of a database: whichever processes hold them, what all of them spend counts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from suno_video_async import Track, load
from suno_video_async.errors import BudgetExceeded, LedgerLost
from suno_video_async.ledger.model import MICRO, Transition
from suno_video_async.ledger.postgres import ledger as ledger_module
from suno_video_async.ledger.postgres import tables
from suno_video_async.ledger.postgres.ledger import PostgresLedger, SharedBudget
from suno_video_async.ledger.states import State
from suno_video_async.models import VideoTaskId
from tests.ledger.support import PROVIDER, track
from tests.support.postgres import named
from tests.support.processes import PATIENCE, server_process
from tests.support.workers import WorkerProcess, workers

pytestmark = pytest.mark.services

#: Bought at 2 credits each, 30 of them fit into it.
BUDGET = 61 * MICRO


@pytest.fixture
def names() -> list[str]:
    """Return the names of two ledgers that do not exist yet."""
    return [f"test-{uuid4().hex[:12]}" for _ in range(2)]


@pytest.fixture
def both(database: str, names: list[str]) -> Iterator[list[PostgresLedger]]:
    """Return two open ledgers of different keys, with one budget."""
    with ExitStack() as stack:
        yield [opened(database, name, names, stack) for name in names]


def opened(database: str, name: str, names: list[str], stack: ExitStack) -> PostgresLedger:
    """Return an open ledger that has a budget with others."""
    ledger = PostgresLedger(named(database, name), shared_budget=SharedBudget(BUDGET, frozenset(names)))
    ledger.open(provider=PROVIDER, fingerprint=f"the key of {name}")
    stack.callback(ledger.close)
    return ledger


def buy(ledger: PostgresLedger, number: int = 0, credits_: int = 2) -> None:
    """Commit that a track is about to be bought."""
    row = ledger.claim(track(f"{ledger.address.name}-{number}"), location="").row
    reserve = credits_ * MICRO
    ledger.begin_attempt(row.id, nonce=uuid4().hex, at=1.0, reserve=reserve, budget=None)


def buy_all(ledger: PostgresLedger) -> int:
    """Buy until the budget is used up; return how many."""
    for number in range(100):
        try:
            buy(ledger, number)
        except BudgetExceeded:
            return number
    return 100


def test_two_holders_at_once_stay_within_one_budget(both: list[PostgresLedger]) -> None:
    """Each intent is committed with the check that it still fits, so the last credit is set aside once."""
    with ThreadPoolExecutor(2) as pool:
        bought = list(pool.map(buy_all, both))
    assert sum(bought) == 30
    assert sum(sum(ledger.sums) for ledger in both) == 60 * MICRO


def test_what_is_not_spent_after_all_is_free_for_the_others(both: list[PostgresLedger]) -> None:
    """A task that cost less than was set aside, and one that was not bought."""
    one, other = both
    assert buy_all(one) == 30
    with pytest.raises(
        BudgetExceeded, match=r"over the budget of 61 for 2 ledgers together: 0 .* this one, 60 by"
    ):
        buy(other)
    first, second, *_ = one.rows()
    one.move(first.id, Transition(state=State.PLANNED))
    one.move(second.id, Transition(state=State.SUBMITTED, video_task_id=VideoTaskId(uuid4().hex)))
    one.move(second.id, Transition(state=State.SUCCEEDED, url="u", cost=1 * MICRO))
    assert buy_all(other) == 2


def test_what_was_spent_before_counts_while_the_ledger_is_not_held(
    database: str, names: list[str], both: list[PostgresLedger]
) -> None:
    """Also where an older version kept no sum; a ledger that does not exist yet has spent nothing."""
    one, other = both
    assert buy_all(one) == 30
    one.close()
    with pytest.raises(BudgetExceeded):
        buy(other)
    with psycopg.connect(database, autocommit=True) as session:
        session.execute(f'DELETE FROM "{one._schema}".meta WHERE name = %s', (tables.COMMITTED,))
    with pytest.raises(BudgetExceeded):
        buy(other)
    other.shared_budget = SharedBudget(BUDGET, frozenset({names[1], "not-there-yet"}))
    assert buy_all(other) == 30


def test_what_is_undone_does_not_count(both: list[PostgresLedger]) -> None:
    """A batch of calls that fails is not committed, and neither is what it had set aside."""
    one, other = both
    with suppress(LedgerLost), one.one_commit():
        buy(one, credits_=60)
        raise LedgerLost("at the last moment")
    buy(one, credits_=1)
    buy(other, credits_=60)
    with pytest.raises(BudgetExceeded):
        buy(one, 1, credits_=1)


def test_a_ledger_that_is_only_loaded_leaves_the_sum_alone(
    database: str, names: list[str], both: list[PostgresLedger]
) -> None:
    """Who loads it does not know what is spent."""
    one, other = both
    buy(one, credits_=60)
    asyncio.run(load([track(f"{names[0]}-more")], named(database, names[0])))
    with pytest.raises(BudgetExceeded):
        buy(other)


def test_tracks_are_not_taken_in_with_the_commit_of_an_intent(database: str, both: list[PostgresLedger]) -> None:
    """Both wait for a lock of the whole database: in one transaction, two holders could block each other."""
    one, _ = both
    with psycopg.connect(database, autocommit=True) as session:
        statement = f'INSERT INTO "{one._schema}".incoming (task_id, suno_id) VALUES (%s, %s)'
        session.execute(statement, (uuid4().hex, "a"))
    with pytest.raises(Exception, match="cannot share a commit"), one.one_commit():
        buy(one)
        one.take_in()
    assert one.take_in() == 1


def test_a_holder_that_stops_in_the_middle_holds_up_the_others_for_a_while_only(
    database: str, names: list[str]
) -> None:
    """The server ends a session that leaves a transaction open, long before the others take theirs for lost."""
    assert ledger_module.WRITER == {"idle_in_transaction_session_timeout": "20000"}
    with ExitStack() as stack:
        stopped = opened(database, names[0], names, stack)
        other = opened(database, names[1], names, stack)
        stopped._select("SELECT set_config('idle_in_transaction_session_timeout', '200', false)")
        with pytest.raises(LedgerLost), stopped.one_commit():
            buy(stopped)
            buy(other)  # waits for its turn


def test_two_workers_stay_within_one_budget(database: str, names: list[str], tmp_path: Path) -> None:
    """Two processes with a key each buy ten videos of 2 credits for 21, say why they stop, and end."""
    for name in names:
        tracks = [Track(task_id=name, suno_id=f"s{number}") for number in range(30)]
        asyncio.run(load(tracks, named(database, name)))
    keys = {f"CRUN_{number}": f"ak_{number:032d}" for number in range(2)}
    server_options = [option for key in keys.values() for option in ("--api-key", key)]
    with (
        server_process(*server_options, "--render-seconds", "30", "--time-scale", 20) as server,
        workers() as all_,
    ):
        (tmp_path / "keys.toml").write_text(
            "".join(
                f'[[key]]\nname = "{name}"\napi_key_env = "{variable}"\nbase_url = "{server.url}"\n'
                for name, variable in zip(names, keys, strict=True)
            )
        )
        start = partial(WorkerProcess, database, tmp_path / "keys.toml", environment=keys)
        options = ("--until-done", "--time-scale", 20, "--max-credits", 21, "--most-keys", 1)
        all_ += [start(*options), start(*options)]
        assert [worker.process.wait(PATIENCE) for worker in all_] == [3, 3]
        assert server.stats()["charged"] == 10
    notes = [note for worker in all_ for note in worker.notes if "given up" in note]
    assert len(notes) == 4  # each worker has tried both keys
    assert all("over the budget of 21 for 2 ledgers together" in note for note in notes)
