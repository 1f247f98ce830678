"""Calls that wait for the ledger at the same time share one commit, and none of them notices."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
from attrs import define, field

import suno_video_async.ledger.sqlite as sqlite_module
from suno_video_async.errors import BudgetExceeded, LedgerError, LedgerLost
from suno_video_async.ledger.aio import AsyncLedger
from suno_video_async.ledger.copies import Phase
from suno_video_async.ledger.files import mark_alone, read_counter
from suno_video_async.ledger.group_commit import GroupCommit
from suno_video_async.ledger.model import Claim, Ledger, LedgerRow, Transition
from suno_video_async.ledger.sqlite import SqliteLedger
from suno_video_async.ledger.states import State
from suno_video_async.models import VideoTaskId
from tests.ledger.support import (
    FINGERPRINT,
    PROVIDER,
    begin,
    connection,
    everything,
    in_a_file,
    opened,
    reread,
    row_in,
    track,
)
from tests.ledger.test_budget import Full

T = TypeVar("T")


async def rounds() -> None:
    """Let the loop do all that it can do by itself."""
    for _ in range(10):
        await asyncio.sleep(0)


@define(eq=False)
class Thread:
    """A thread that works when the test says so."""

    waiting: list[Callable[[], None]] = field(factory=list[Callable[[], None]])

    def __call__(self, work: Callable[[], T], /) -> asyncio.Future[T]:
        made: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def run() -> None:
            try:
                made.set_result(work())
            except BaseException as error:
                made.set_exception(error)

        self.waiting.append(run)
        return made

    async def work(self) -> None:
        """Make the batch that waits, once the loop has brought all that it brings."""
        await rounds()
        (run,) = self.waiting
        self.waiting.clear()
        run()
        await rounds()


@define(eq=False)
class Commits:
    """Makes no commit, and counts them."""

    made: list[str] = field(factory=list[str])
    error: Exception | None = None

    @contextmanager
    def __call__(self) -> Iterator[None]:
        self.made.append("begin")
        yield
        if self.error is not None:
            raise self.error
        self.made.append("commit")


async def ends(calls: Sequence[asyncio.Task[Any]]) -> list[Any]:
    """Return what calls came to: results, and errors in words."""
    done = await asyncio.gather(*calls, return_exceptions=True)
    return [str(end) if isinstance(end, BaseException) else end for end in done]


def started(group: GroupCommit, *calls: Callable[[], Any]) -> list[asyncio.Task[Any]]:
    """Start calls, in this order."""

    async def wait(call: Any) -> Any:
        return await call

    return [asyncio.create_task(wait(group(call))) for call in calls]


def refused() -> None:
    """Refuse, as the ledger does."""
    raise LedgerError("no")


# The queue


async def test_what_waits_at_the_same_time_is_one_commit() -> None:
    """Calls that come while a batch is made are the next one, in their order, and each has its own result."""
    commits, thread, made = Commits(), Thread(), list[int]()
    group = GroupCommit(commits, thread)
    first = started(group, partial(made.append, 0))
    await rounds()
    later = started(group, partial(made.append, 1), partial(made.append, 2), lambda: "three")
    await thread.work()
    assert (made, [call.done() for call in (*first, *later)]) == ([0], [True, False, False, False])
    await thread.work()
    assert await ends([*first, *later]) == [None, None, None, "three"]
    assert made == [0, 1, 2]
    assert commits.made == ["begin", "commit"], "a call that is alone needs no group"


async def test_no_call_is_answered_before_the_commit() -> None:
    """The results of a batch wait for its commit; where it fails, each call is made once more, by itself."""
    commits, thread, made = Commits(error=LedgerError("full")), Thread(), list[int]()
    group = GroupCommit(commits, thread)
    calls = started(group, partial(made.append, 1), refused, partial(made.append, 2))
    await thread.work()
    assert await ends(calls) == [None, "no", None]
    assert made == [1, 2, 1, 2]
    assert commits.made == ["begin"]


async def test_an_error_is_its_own_callers() -> None:
    """A call that is refused leaves the others of its batch as they are."""
    commits, thread = Commits(), Thread()
    calls = started(GroupCommit(commits, thread), lambda: 1, refused, lambda: 3)
    await thread.work()
    assert await ends(calls) == [1, "no", 3]
    assert commits.made == ["begin", "commit"]


async def test_a_thread_that_breaks_leaves_no_call_waiting() -> None:
    """An error that is not a call's own reaches all that wait for the thread, and the next batch is made."""

    def exit_() -> None:
        raise SystemExit("the thread ends")

    thread = Thread()
    group = GroupCommit(Commits(), thread)
    first, second = group(exit_), group(lambda: 2)
    await thread.work()
    for call in (first, second):
        assert call.outcome is not None
        assert isinstance(call.outcome.error, SystemExit)
    (again,) = started(group, lambda: 3)
    await thread.work()
    assert again.result() == 3


async def test_a_call_that_is_not_awaited_is_made() -> None:
    """A call is made whether or not its caller waits for it; an error that it does not wait for is not raised."""
    thread, made = Thread(), list[int]()
    group = GroupCommit(Commits(), thread)
    group(partial(made.append, 1))
    group(refused)
    await thread.work()
    assert made == [1]


async def test_a_cancelled_caller_waits_for_its_call() -> None:
    """A cancellation, however often, comes through only when the call is made."""
    thread, made = Thread(), list[int]()
    (call,) = started(GroupCommit(Commits(), thread), partial(made.append, 1))
    for _ in range(3):
        await rounds()
        call.cancel()
    assert not call.done()
    await thread.work()
    assert made == [1]
    assert call.cancelled()


async def test_a_cancelled_caller_leaves_once_its_call_has_ended() -> None:
    """One cancellation is enough: it arrives after the end of the call."""
    thread = Thread()
    (call,) = started(GroupCommit(Commits(), thread), lambda: 1)
    await rounds()
    call.cancel()
    await rounds()
    assert not call.done()
    await thread.work()
    assert call.cancelled()


async def test_a_call_is_awaited_after_its_end() -> None:
    """A caller that comes late gets the result at once."""
    thread = Thread()
    call = GroupCommit(Commits(), thread)(lambda: 1)
    await thread.work()
    assert await call == 1


def test_each_loop_has_a_queue_of_its_own() -> None:
    """What still waited on a loop that is closed holds up no other one, nor the child of a fork."""
    group = GroupCommit(Commits())

    async def leave() -> None:
        group(lambda: None)

    async def ask() -> int:
        return await group(lambda: 5)

    asyncio.run(leave())
    assert asyncio.run(ask()) == 5


# The ledger


class Watched:
    """A connection that notes where transactions begin and end."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.statements = list[str]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statement: str, *values: Any) -> Any:
        if statement.split(maxsplit=1)[0] in {"BEGIN", "COMMIT", "ROLLBACK"}:
            self.statements.append(statement)
        return self._connection.execute(statement, *values)


@contextmanager
def watched(ledger: SqliteLedger) -> Iterator[list[str]]:
    """Note the transactions of a ledger."""
    own = connection(ledger)
    ledger._connection = seen = Watched(own)
    yield seen.statements
    ledger._connection = own


def test_a_file_is_locked_before_anything_is_written() -> None:
    """What one transaction reads, and then decides by, no other program can change meanwhile."""
    assert SqliteLedger._BEGIN == "BEGIN IMMEDIATE"


def group_of(ledger: SqliteLedger, *calls: Callable[[], Any]) -> list[Any]:
    """Make calls as the ledger's thread does, and return their results and errors."""
    outcomes = GroupCommit(ledger.one_commit)._make(calls)
    return [outcome.error if outcome.error is not None else outcome.result for outcome in outcomes]


def succeed(ledger: SqliteLedger, row: LedgerRow) -> Callable[[], LedgerRow]:
    """Return the call that notes a video."""
    return partial(ledger.move, row.id, Transition(state=State.SUCCEEDED, cost=3))


def test_several_writes_are_one_commit(ledger: SqliteLedger) -> None:
    """An intent, a result, an end and a new row are one transaction, and all are in the file afterwards."""
    planned, going, bought = (
        row_in(ledger, state, f"s{n}", reserve=4)
        for n, state in enumerate((State.PLANNED, State.SUBMITTING, State.SUBMITTED))
    )
    accepted = Transition(state=State.SUBMITTED, video_task_id=VideoTaskId("mine"))
    with watched(ledger) as statements:
        number, moved, done, claim = group_of(
            ledger,
            partial(begin, ledger, planned, reserve=9),
            partial(ledger.move, going.id, accepted),
            succeed(ledger, bought),
            partial(ledger.claim, track("s9"), location=""),
        )
    assert statements == [ledger._BEGIN, "COMMIT"]
    assert number == 1
    assert (moved.state, done.state) == (State.SUBMITTED, State.SUCCEEDED)
    assert isinstance(claim, Claim)
    reader = ledger.reader()
    assert reader.open_to_read()
    assert [row.state for row in reader.rows()] == [
        *(State.SUBMITTING, State.SUBMITTED, State.SUCCEEDED, State.PLANNED)
    ]
    assert reader.sums == ledger.sums == (3, 13)
    reader.close()


def test_questions_alone_begin_no_transaction(ledger: SqliteLedger) -> None:
    """A batch that only reads locks nothing."""
    row = row_in(ledger, State.SUBMITTED)
    with watched(ledger) as statements:
        assert group_of(ledger, partial(ledger.row, row.id), ledger.last_place) == [row, 2000.0]
    assert statements == []


def test_a_refusal_leaves_the_others(ledger: SqliteLedger) -> None:
    """A move that is not allowed, or a budget that is used up, undoes nothing of the same commit."""
    first, second = (row_in(ledger, State.PLANNED, f"s{n}") for n in range(2))
    bought = row_in(ledger, State.SUBMITTED, "s2")
    with watched(ledger) as statements:
        one, two, three, four = group_of(
            ledger,
            partial(begin, ledger, first, reserve=6, budget=10),
            partial(begin, ledger, second, reserve=6, budget=10),
            partial(ledger.move, second.id, Transition(state=State.DOWNLOADED)),
            succeed(ledger, bought),
        )
    assert statements == [ledger._BEGIN, "COMMIT"]
    assert one == 1
    assert isinstance(two, BudgetExceeded), "a budget holds within one commit, too"
    assert isinstance(three, LedgerError)
    assert four.state is State.SUCCEEDED
    assert ledger.sums == (3, 6)


def test_a_write_that_fails_halfway_undoes_nothing_of_others(ledger: SqliteLedger) -> None:
    """A result that names another row's task is refused after it was written: the others are made once more."""
    taken = row_in(ledger, State.SUBMITTED, "s1")
    going, planned = row_in(ledger, State.SUBMITTING, "s2"), row_in(ledger, State.PLANNED, "s3")
    wrong = Transition(state=State.SUBMITTED, video_task_id=taken.video_task_id)
    with watched(ledger) as statements:
        number, error = group_of(
            ledger, partial(begin, ledger, planned, reserve=9), partial(ledger.move, going.id, wrong)
        )
    assert number == 1
    assert "belongs to another row" in str(error)
    assert reread(ledger, going).state is State.SUBMITTING
    assert ledger.sums == (0, 9), "counted once"
    assert statements[:2] == [ledger._BEGIN, "ROLLBACK"]
    assert statements[2:] == [ledger._BEGIN, "COMMIT", ledger._BEGIN, "ROLLBACK"]


@in_a_file
@pytest.mark.parametrize("rolls_back", [False, True])
def test_a_disk_that_is_full_at_the_commit(ledger: SqliteLedger, rolls_back: bool) -> None:
    """Each write of the batch has the error, nothing is written or counted, and questions are answered."""
    planned, bought = row_in(ledger, State.PLANNED, "s1"), row_in(ledger, State.SUBMITTED, "s2", reserve=4)
    before, counted = everything(ledger), read_counter(ledger.path or Path())
    full = Full(connection(ledger), rolls_back=rolls_back)
    ledger._connection = full  # type: ignore[assignment]
    calls = (partial(begin, ledger, planned, reserve=9), succeed(ledger, bought), partial(ledger.row, planned.id))
    *errors, row = group_of(ledger, *calls)
    assert [str(error) for error in errors] == [
        f"the ledger {ledger.path} cannot be used: database or disk is full"
    ] * 2
    assert errors[0] is not errors[1]
    assert row == planned, "not as it would have been"
    assert (everything(ledger), ledger.sums) == (before, (0, 4))
    assert read_counter(ledger.path or Path()) == counted
    full.full = False
    assert group_of(ledger, *calls)[0] == 1
    assert ledger.sums == (3, 9)


@in_a_file
def test_a_disk_that_is_full_in_the_middle(ledger: SqliteLedger) -> None:
    """A write for which there is no room has the error, whatever SQLite undoes; those that fit are written."""
    bought = row_in(ledger, State.SUBMITTED)
    (pages,) = connection(ledger).execute("PRAGMA page_count").fetchone()
    connection(ledger).execute(f"PRAGMA max_page_count = {pages}")
    done, error, known = group_of(
        ledger,
        succeed(ledger, bought),
        partial(ledger.claim, track("s" * 20_000), location=""),
        partial(ledger.note_fact, "a", "b"),
    )
    assert done.state is reread(ledger, bought).state is State.SUCCEEDED
    assert error.temporary
    assert (known, ledger.fact("a")) == (None, "b")


def test_a_transaction_that_is_gone_is_noticed(ledger: SqliteLedger) -> None:
    """Where SQLite has undone everything by itself, nothing of the batch counts as written."""
    bought, planned = row_in(ledger, State.SUBMITTED), row_in(ledger, State.PLANNED, "s2")
    calls = list[str]()

    def broken() -> None:
        calls.append("broken")
        with ledger._transaction() as db:
            db.execute("ROLLBACK")  # as at an IO error
            raise sqlite3.OperationalError("disk I/O error")

    done, error, number = group_of(
        ledger, succeed(ledger, bought), broken, partial(begin, ledger, planned, reserve=2)
    )
    assert done.state is reread(ledger, bought).state is State.SUCCEEDED
    assert "disk I/O error" in str(error)
    assert (number, ledger.sums) == (1, (3, 2))
    assert calls == ["broken"] * 2


def test_a_lock_is_waited_for_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program's lock holds a batch up once, not once for each call; each write has an error of its own."""
    monkeypatch.setattr(sqlite_module, "LOCKED", 0.05)
    ledger = opened(path)
    row = row_in(ledger, State.SUBMITTED)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with watched(ledger) as statements:
        first, second, third, known = group_of(
            ledger,
            succeed(ledger, row),
            partial(ledger.note_place, 7.0),
            partial(ledger.note_fact, "a", "b"),
            partial(ledger.row, row.id),
        )
    assert statements == [ledger._BEGIN]
    errors = [first, second, third]
    assert all(isinstance(error, LedgerError) and error.temporary for error in errors)
    assert len(set(map(id, errors))) == 3
    assert known == row
    other.execute("ROLLBACK")
    other.close()
    assert group_of(ledger, succeed(ledger, row), partial(ledger.note_place, 7.0))[1] is None
    ledger.close()


def test_closing_ends_what_shares_a_commit_with_it(path: Path) -> None:
    """A ledger that is closed in a batch has what came before, and is closed as it should."""
    ledger = opened(path)
    row = row_in(ledger, State.SUBMITTED)
    done, closed, late = group_of(ledger, succeed(ledger, row), ledger.close, partial(ledger.note_place, 1.0))
    assert (done.state, closed) == (State.SUCCEEDED, None)
    assert "is not open" in str(late)
    found = mark_alone(path)
    assert found is not None
    assert found.phase is Phase.CLOSED
    again = opened(path)
    assert reread(again, row).state is State.SUCCEEDED
    again.close()


def test_opening_shares_no_commit(path: Path) -> None:
    """A ledger that is opened in a batch is open for what comes after."""
    ledger = SqliteLedger(path)
    opening = partial(ledger.open, provider=PROVIDER, fingerprint=FINGERPRINT)
    opened_, claim, again = group_of(ledger, opening, partial(ledger.claim, track(), location=""), opening)
    assert opened_ is None
    assert isinstance(claim, Claim)
    assert "in use" in str(again)
    assert "in use" in str(group_of(ledger, ledger.last_place, opening)[1])
    ledger.close()


@in_a_file
def test_the_counter_is_written_after_the_commit(ledger: SqliteLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A counter that knew of more submissions than the file would have a whole ledger refused."""
    planned = [row_in(ledger, State.PLANNED, f"s{n}") for n in range(3)]
    noted = list[tuple[int, bool]]()

    def note(_: Path, counter: Any) -> None:
        noted.append((counter.submissions, connection(ledger).in_transaction))

    monkeypatch.setattr(sqlite_module, "note_submissions", note)
    group_of(ledger, *(partial(begin, ledger, row) for row in planned))
    assert noted == [(3, False)]


def test_the_log_is_brought_into_the_file_between_commits(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many submissions share a commit, the log is kept short before the next one."""
    monkeypatch.setattr(sqlite_module, "CHECKPOINT_AFTER", 3)
    ledger = opened(path)
    rows = [row_in(ledger, State.PLANNED, f"s{n}") for n in range(7)]
    group_of(ledger, *(partial(begin, ledger, row) for row in rows[:5]))
    before = mark_alone(path)
    group_of(ledger, *(partial(begin, ledger, row) for row in rows[5:]))
    after = mark_alone(path)
    assert before is not None
    assert after is not None
    assert after.period == before.period + 1
    assert len(ledger.rows(State.SUBMITTING)) == 7
    ledger.close()


def test_a_ledger_that_is_lost_begins_nothing(path: Path) -> None:
    """Where the file is gone every intent of a batch is refused, and results are still written down."""
    ledger = opened(path)
    first, second = (row_in(ledger, State.PLANNED, f"s{n}") for n in range(2))
    bought = row_in(ledger, State.SUBMITTED, "s2")
    path.rename(path.with_name("moved.db"))
    one, two, done = group_of(
        ledger, partial(begin, ledger, first), partial(begin, ledger, second), succeed(ledger, bought)
    )
    assert isinstance(one, LedgerLost)
    assert isinstance(two, LedgerLost)
    assert done.state is State.SUCCEEDED
    path.with_name("moved.db").rename(path)
    ledger.close()


def test_a_ledger_in_memory_shares_commits_as_well(memory: SqliteLedger) -> None:
    """Nothing about sharing a commit needs a file."""
    first, second = (row_in(memory, State.PLANNED, f"s{n}") for n in range(2))
    assert group_of(memory, partial(begin, memory, first), partial(begin, memory, second)) == [1, 1]


# From the event loop


async def test_hundreds_of_rows_take_few_commits(path: Path) -> None:
    """What a hundred rows write at the same time is a handful of commits, one after the other in one thread."""
    ledger = AsyncLedger(SqliteLedger(path))
    await ledger.open(provider=PROVIDER, fingerprint=FINGERPRINT)
    threads = set[threading.Thread]()
    sync = cast("SqliteLedger", ledger.sync)

    def claim(n: int) -> Claim:
        threads.add(threading.current_thread())
        return sync.claim(track(f"s{n}"), location="")

    with watched(sync) as statements:
        claims = await asyncio.gather(*(ledger.call(claim, n) for n in range(100)))
        begun = await asyncio.gather(*(ledger.call(begin, sync, claim.row) for claim in claims))
    assert [claim.row.id for claim in claims] == list(range(1, 101))
    assert begun == [1] * 100
    assert statements.count("COMMIT") <= 6
    assert len(threads) == 1
    await ledger.close()


async def test_another_kind_of_ledger_has_a_thread_too() -> None:
    """A ledger that is not kept by SQLite is used beside the event loop, one call at a time."""
    ledger = AsyncLedger(cast("Ledger", object()))
    assert await ledger.call(threading.current_thread) is not threading.main_thread()
