"""What a submission came to is written down for as long as the ledger may still take it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from suno_video_async import Answer
from suno_video_async.api.calls import RECORDING, Calls, Result
from suno_video_async.engines.supervision import Again, when_again
from suno_video_async.errors import LedgerError, LedgerLost
from suno_video_async.ledger.model import LedgerRow, Transition
from suno_video_async.ledger.sqlite import SqliteLedger
from suno_video_async.ledger.states import Cause
from tests.support.clients import TRACK, client_of
from tests.support.fakes import HastyClock, answer
from tests.support.virtual import run_virtual


class Journal:
    """A journal whose ledger fails so often."""

    def __init__(self, failures: int, *, temporary: bool) -> None:
        self.failures, self.temporary = failures, temporary

    async def record_result(self, *_: object) -> None:
        self.failures -= 1
        if self.failures >= 0:
            raise LedgerError("the disk is full", temporary=self.temporary)


async def record(journal: Any, clock: HastyClock, *, closed: bool = False) -> None:
    """Write down that a submission was accepted."""
    client: Any = SimpleNamespace(clock=clock, closed=closed)
    await Calls._record(client, journal, Result(None, None))


async def test_it_is_tried_until_there_is_room() -> None:
    """A lock or a full disk that passes leaves nothing unknown."""
    journal, clock = Journal(5, temporary=True), HastyClock()
    await record(journal, clock)
    assert (journal.failures, clock.slept) == (-1, [1.0] * 5)


async def test_it_ends() -> None:
    """A disk that stays full does not keep a run for ever."""
    clock = HastyClock()
    with pytest.raises(LedgerError):
        await record(Journal(1000, temporary=True), clock)
    assert sum(clock.slept) == RECORDING


@pytest.mark.parametrize(("temporary", "closed"), [(False, False), (True, True)])
async def test_it_is_not_tried_again(temporary: bool, closed: bool) -> None:
    """What cannot pass is not waited for, and neither does a client that closes wait."""
    clock = HastyClock()
    with pytest.raises(LedgerError):
        await record(Journal(1, temporary=temporary), clock, closed=closed)
    assert clock.slept == []


class Full(SqliteLedger):
    """A ledger that takes intents and no results."""

    def move(
        self, row_id: int, transition: Transition, *, cause: Cause = Cause.RUN, known: LedgerRow | None = None
    ) -> LedgerRow:
        raise LedgerError("the disk is full")


@pytest.mark.parametrize(
    ("said", "came"),
    [
        (answer({"task_id": "v1"}), "accepted as task v1"),
        (answer(code=422, message="no such song"), "answered with: CreateTask: 422 no such song"),
    ],
)
def test_a_ledger_that_takes_no_result_does_not_hide_what_was_bought(
    said: Answer, came: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its error says that the submission was sent and what came of it, with the task's id; the log has it too."""

    async def run() -> LedgerError:
        client, _ = client_of(lambda _: said, ledger=Full())
        async with client:
            with pytest.raises(LedgerError) as caught:
                await client.submit(TRACK)
            return caught.value

    error = run_virtual(run())
    assert (error.sent, error.task_id) == (True, "v1" if "v1" in came else None)
    assert f"the disk is full (the submission was sent and {came}" in str(error)
    assert f"a submission was sent and {came}" in caplog.text


@pytest.mark.parametrize("failure", [LedgerLost("the session has ended"), LedgerError("busy", temporary=True)])
def test_why_a_ledger_took_no_result_decides_what_a_supervisor_does(failure: LedgerError) -> None:
    """A ledger that is lost, or out of reach for a while, is taken again, by whichever part fails first."""

    class Failing(SqliteLedger):
        def move(
            self, row_id: int, transition: Transition, *, cause: Cause = Cause.RUN, known: LedgerRow | None = None
        ) -> LedgerRow:
            raise failure

    async def run() -> LedgerError:
        client, _ = client_of(lambda _: answer({"task_id": "v1"}), ledger=Failing())
        async with client:
            with pytest.raises(LedgerError) as caught:
                await client.submit(TRACK)
            return caught.value

    error = run_virtual(run())
    assert (type(error), error.temporary) == (type(failure), failure.temporary)
    assert when_again(error) is Again.SOON
