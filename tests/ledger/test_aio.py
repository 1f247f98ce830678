"""The ledger from the event loop: threads, cancellations, and what becomes of a submission."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from suno_video_async.errors import (
    APIError,
    APITimeoutError,
    AuthenticationError,
    BudgetExceeded,
    InvalidRequestError,
    LedgerError,
    MalformedResponseError,
    NotFoundError,
    RateLimitError,
    ServerError,
    SunoVideoError,
    TaskFailed,
    TransportError,
    WaitTimeout,
)
from suno_video_async.ledger.address import as_ledger
from suno_video_async.ledger.aio import AsyncLedger
from suno_video_async.ledger.journal import SubmissionJournal, described, micro, transition_of
from suno_video_async.ledger.model import MICRO, Transition
from suno_video_async.ledger.sqlite import SqliteLedger
from suno_video_async.ledger.states import Cause, State
from suno_video_async.models import TaskSnapshot, Video, VideoTaskId
from tests.ledger.support import FINGERPRINT, PROVIDER, row_in, track

TASK = VideoTaskId("v1")


async def open_ledger(path: Path | None = None) -> AsyncLedger:
    """Return the open ledger of the tests' account."""
    ledger = AsyncLedger(SqliteLedger(path))
    await ledger.call(ledger.sync.open, provider=PROVIDER, fingerprint=FINGERPRINT)
    return ledger


def test_what_is_taken_for_a_ledger(path: Path) -> None:
    """A ledger is given as it is, as a path in either form, or as None for one in memory."""
    mine = SqliteLedger()
    assert as_ledger(mine) is mine
    for given in (path, str(path)):
        made = as_ledger(given)
        assert isinstance(made, SqliteLedger)
        assert made.path == path
    in_memory = as_ledger(None)
    assert isinstance(in_memory, SqliteLedger)
    assert in_memory.path is None


async def test_all_that_can_be_asked(path: Path) -> None:
    """Rows, sums and the last request's time come from a ledger in a file without blocking the loop."""
    ledger = await open_ledger(path)
    assert await ledger.call(ledger.sync.last_place) is None
    await ledger.call(ledger.sync.note_place, 5.0)
    assert await ledger.call(ledger.sync.last_place) == 5.0
    rows = [(await ledger.call(ledger.sync.claim, track(f"s{n}"), location="")).row for n in range(3)]
    assert [row async for row in ledger.rows(State.PLANNED)] == rows
    assert [row async for row in ledger.rows(State.FAILED)] == []
    assert [row async for row in ledger.untouched(State.PLANNED)] == []
    assert (await ledger.call(ledger.sync.totals)).states == {State.PLANNED: 3}
    await ledger.close()
    again = await open_ledger(path)
    assert [row async for row in again.untouched(State.PLANNED)] == rows
    assert await again.call(again.sync.row, rows[1].id) == rows[1]
    assert await again.call(again.sync.row, 99) is None
    await again.close()


async def test_a_file_is_never_written_on_the_loop(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger in a file is used in one other thread at a time, one in memory in place."""
    threads = list[threading.Thread]()
    claim = SqliteLedger.claim

    def watched(self: SqliteLedger, *args: Any, **kwargs: Any) -> Any:
        threads.append(threading.current_thread())
        return claim(self, *args, **kwargs)

    monkeypatch.setattr(SqliteLedger, "claim", watched)
    for ledger in (await open_ledger(path), await open_ledger()):
        await asyncio.gather(*(ledger.call(ledger.sync.claim, track(f"s{n}"), location="") for n in range(5)))
        await ledger.close()
    assert threading.main_thread() not in threads[:5]
    assert set(threads[5:]) == {threading.main_thread()}


async def test_a_cancelled_move_is_made(path: Path) -> None:
    """Whoever leaves while a row is written leaves a whole row."""
    ledger = await open_ledger(path)
    row = (await ledger.call(ledger.sync.claim, track(), location="")).row
    loop = asyncio.get_running_loop()
    with anyio.CancelScope() as scope:
        real = ledger.sync.begin_attempt

        def slow(*args: Any, **kwargs: Any) -> int:
            loop.call_soon_threadsafe(scope.cancel)
            return real(*args, **kwargs)

        ledger.sync.begin_attempt = slow  # type: ignore[method-assign]
        await SubmissionJournal(ledger, row).record_intent(0.0)
    assert scope.cancel_called
    kept = await ledger.call(ledger.sync.row, row.id)
    assert kept is not None
    assert kept.state is State.SUBMITTING
    with anyio.CancelScope() as leaving:
        leaving.cancel()
        await ledger.close()
    with pytest.raises(LedgerError, match="not open"):
        await ledger.call(ledger.sync.totals)


def api(kind: type[APIError], code: int) -> APIError:
    """Return a refusal."""
    return kind("no", code=code, http_status=200, operation="CreateTask")


@pytest.mark.parametrize(
    ("error", "state", "strict_state"),
    [
        (None, State.SUBMITTED, State.SUBMITTED),
        (api(RateLimitError, 429), State.PLANNED, State.PLANNED),
        (api(ServerError, 500), State.PLANNED, State.UNKNOWN),
        (api(AuthenticationError, 401), State.PLANNED, State.PLANNED),
        (api(NotFoundError, 404), State.REFUSED, State.REFUSED),
        (api(InvalidRequestError, 422), State.REFUSED, State.REFUSED),
        (api(APIError, 501), State.UNKNOWN, State.UNKNOWN),
        (TransportError("no connection", sent=False), State.PLANNED, State.PLANNED),
        (TransportError("broke off"), State.UNKNOWN, State.UNKNOWN),
        (APITimeoutError("no answer"), State.UNKNOWN, State.UNKNOWN),
        (MalformedResponseError("a page", http_status=502), State.UNKNOWN, State.UNKNOWN),
    ],
    ids=lambda value: f"{type(value).__name__}{getattr(value, 'code', '')}",
)
@pytest.mark.parametrize("strict", [False, True])
async def test_what_a_submission_came_to(
    error: SunoVideoError | None, state: State, strict_state: State, strict: bool
) -> None:
    """Each outcome of a CreateTask has its state: only what is known not to be bought goes back."""
    ledger = await open_ledger()
    row = (await ledger.call(ledger.sync.claim, track(), location="")).row
    journal = SubmissionJournal(ledger, row, reserve=lambda: 3, strict=strict)
    await journal.record_intent(7.0)
    begun = await ledger.call(ledger.sync.row, row.id)
    assert begun is not None
    assert (begun.state, begun.reserved, begun.since) == (State.SUBMITTING, 3, 7.0)
    await journal.record_result(TASK if error is None else None, error)
    assert journal.row.state is (strict_state if strict else state)
    assert (journal.row.video_task_id == TASK) is (error is None)
    assert journal.row.error == (None if error is None else described(error))
    assert journal.row.reserved == (3 if journal.row.state in {State.SUBMITTED, State.UNKNOWN} else 0)
    await ledger.close()


async def test_an_id_in_a_broken_answer_is_written_down() -> None:
    """The candidate of an unknown submission is kept for whoever looks into it."""
    ledger = await open_ledger()
    journal = SubmissionJournal(ledger, (await ledger.call(ledger.sync.claim, track(), location="")).row)
    await journal.record_intent(0.0)
    await journal.record_result(None, MalformedResponseError("cut off", http_status=200, task_id="v9"))
    assert (journal.row.state, journal.row.video_task_id) == (State.UNKNOWN, "v9")
    row = await ledger.call(
        ledger.sync.move, journal.row.id, Transition(state=State.SUBMITTED), cause=Cause.PERSON
    )
    assert (row.state, row.video_task_id) == (State.SUBMITTED, "v9")
    await ledger.close()


@pytest.mark.parametrize("task_id", [TASK, None])
async def test_a_ledger_that_cannot_take_a_result_says_so(
    task_id: VideoTaskId | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own error comes out; only a task that is another row's already is not the ledger's fault."""
    ledger = await open_ledger()
    journal = SubmissionJournal(ledger, (await ledger.call(ledger.sync.claim, track(), location="")).row)
    await journal.record_intent(0.0)
    refusal = None if task_id else api(RateLimitError, 429)

    def full(*_: Any, **__: Any) -> Any:
        raise LedgerError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(SqliteLedger, "move", full)
        with pytest.raises(LedgerError, match="the disk is full"):
            await journal.record_result(task_id, refusal)
    await journal.record_result(task_id, refusal)
    assert journal.row.state is (State.SUBMITTED if task_id else State.PLANNED)
    await ledger.close()


async def test_a_submission_over_the_budget_is_not_begun() -> None:
    """The budget is asked before a byte leaves; the row stays planned."""
    ledger = await open_ledger()
    row = (await ledger.call(ledger.sync.claim, track(), location="")).row
    with pytest.raises(BudgetExceeded):
        await SubmissionJournal(ledger, row, reserve=lambda: 3, budget=2).record_intent(0.0)
    assert await ledger.call(ledger.sync.row, row.id) == row
    await ledger.close()


async def test_every_attempt_has_a_nonce_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nonces are 128 random bits, new for each attempt, also of one row."""
    nonces = list[str]()
    begin_attempt: Callable[..., int] = SqliteLedger.begin_attempt

    def noted(self: SqliteLedger, row_id: int, *, nonce: str, **more: Any) -> int:
        nonces.append(nonce)
        return begin_attempt(self, row_id, nonce=nonce, **more)

    monkeypatch.setattr(SqliteLedger, "begin_attempt", noted)
    ledger = await open_ledger()
    journal = SubmissionJournal(ledger, (await ledger.call(ledger.sync.claim, track(), location="")).row)
    for _ in range(3):
        await journal.record_intent(0.0)
        await journal.record_result(None, api(RateLimitError, 429))
    await ledger.close()
    assert len(set(nonces)) == 3
    assert {len(bytes.fromhex(nonce)) for nonce in nonces} == {16}


def test_how_a_followed_row_ends() -> None:
    """A video, a failed task and a vanished one move the row; what only ends the following leaves it submitted."""
    snapshot = TaskSnapshot(task_id=TASK, status="failed", credits=0.5, duration_s=90.0)
    video = Video(task_id=TASK, url="https://x.test/v", suno_id=None, credits=2.5, took=90.0, snapshot=snapshot)
    made, failed = transition_of(video, now=1600.0), transition_of(TaskFailed(snapshot), now=1600.0)
    missing = transition_of(api(NotFoundError, 404), now=1600.0)
    assert made == Transition(
        state=State.SUCCEEDED, url="https://x.test/v", cost=2_500_000, ended=1600.0, took=90.0
    )
    assert failed is not None
    assert (failed.state, failed.cost) == (State.FAILED, 500_000)
    assert (failed.ended, failed.took) == (1600.0, 90.0)
    assert missing is not None
    assert (missing.state, missing.error) == (State.UNKNOWN, ("NotFoundError", 404, "CreateTask: 404 no"))
    assert transition_of(WaitTimeout(TASK, None, 1.0), now=1600.0) is None


@pytest.mark.parametrize(
    ("said", "ended", "took"),
    [
        ({}, 2100.0, None),
        ({"duration_s": 90.0}, 2090.0, 90.0),
        ({"create_at": 7e9, "complete_at": 7e9 + 80}, 2080.0, 80.0),
        ({"create_at": 7e9, "complete_at": 7e9 + 80, "duration_s": 90.0}, 2080.0, 80.0),
        ({"create_at": 7e9, "complete_at": 7e9 + 80, "duration_s": 8e7}, 2080.0, 80.0),
        ({"complete_at": 2050.0}, 2100.0, None),
        ({"create_at": 2050.0, "complete_at": 2040.0}, 2100.0, None),
        ({"duration_s": 5000.0}, 2100.0, 5000.0),
        ({"duration_s": -1.0}, 2100.0, None),
        ({"duration_s": float("nan")}, 2100.0, None),
        ({"duration_s": float("inf")}, 2100.0, None),
        ({"duration_s": 1.79e12}, 2100.0, None),
    ],
)
def test_when_a_task_ended(memory: SqliteLedger, said: dict[str, float], ended: float, took: float | None) -> None:
    """A task ended as long after its submission as the service says, by any clock; or when it was heard."""
    row = row_in(memory, State.SUBMITTED)  # sent at 2000
    failed = transition_of(TaskFailed(TaskSnapshot(task_id=TASK, status="failed", **said)), now=2100.0)  # type: ignore[arg-type]
    assert failed is not None
    memory.move(row.id, failed)
    assert [(times.ended, times.took) for times in memory.times()] == [(ended, took)]


def test_credits_in_whole_micro_credits() -> None:
    """Amounts are rounded to a millionth of a credit; what is not known stays so."""
    assert micro(None) is None
    assert micro(0.1 + 0.2) == 300_000
    assert micro(2) == 2 * MICRO
