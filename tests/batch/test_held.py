"""A ledger that goes with a session, in virtual time: without it nothing is sent, and its loss ends all."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import pytest

from suno_video_async import SunoVideoClient, Track
from suno_video_async._util.aio import in_place
from suno_video_async.errors import LedgerLost, TransportError
from suno_video_async.ledger.aio import AsyncLedger
from suno_video_async.ledger.journal import SubmissionJournal
from suno_video_async.ledger.model import LedgerRow, Transition
from suno_video_async.ledger.sqlite import SqliteLedger
from suno_video_async.ledger.states import Cause
from suno_video_async.models import VideoTaskId
from suno_video_async.protocol.codec import Answer, Operation, Request
from tests.support.clients import FakeAPI, client_of
from tests.support.virtual import run_virtual

T = TypeVar("T")

TRACKS = [Track(task_id="m", suno_id=f"s{number}") for number in range(60)]


class HeldLedger(SqliteLedger):
    """A ledger whose session leaves everything without an answer for a while, or ends."""

    def __init__(self, *, silent: tuple[float, float] = (math.inf, math.inf), ends: float = math.inf) -> None:
        super().__init__()
        self.silent, self.ends = silent, ends
        self.confirmed = 0.0
        self.left = dict[str, str]()
        self.refuses_results = False
        self.beyond, self.is_used = 0.0, False

    @property
    def at(self) -> float:
        return asyncio.get_running_loop().time()

    def ping(self) -> None:
        if self.at >= self.ends:
            raise LedgerLost("the session has ended")
        self.confirmed = self.at

    def is_fresh(self) -> bool:
        return self.at - self.confirmed < 5.0 and self.at < self.ends

    def cut(self) -> None:
        self.ends = self.at

    def sends_beyond(self) -> float:
        return self.beyond

    def last_place(self) -> float | None:
        return math.inf if self.is_used else super().last_place()

    def leave(self, nonce: str, task_id: VideoTaskId) -> None:
        self.left[task_id] = nonce

    def move(
        self, row_id: int, transition: Transition, *, cause: Cause = Cause.RUN, known: LedgerRow | None = None
    ) -> LedgerRow:
        if self.refuses_results:
            raise LedgerLost("the session has ended")
        return super().move(row_id, transition, cause=cause, known=known)

    async def run(self, call: Callable[[], T]) -> T:
        """Run a call once the session answers again."""
        begun, end = self.silent
        if begun <= self.at < end:
            await asyncio.sleep(end - self.at)
        return await in_place(call)


class Arrivals:
    """Notes when each request is sent."""

    def __init__(self) -> None:
        self.api = FakeAPI(seconds=20.0)
        self.times: list[tuple[float, Operation]] = []

    def __call__(self, request: Request) -> Answer:
        self.times.append((asyncio.get_running_loop().time(), request.operation))
        return self.api(request)


def converted(ledger: HeldLedger) -> tuple[Counter[str], list[float], Exception | None]:
    """Return the states of a conversion's rows, when something was sent, and what the outcomes ended with."""
    arrivals = Arrivals()

    async def run() -> tuple[Counter[str], Exception | None]:
        client, _ = client_of(arrivals)
        states, raised = Counter[str](), None
        kept: Any = AsyncLedger(ledger, ledger.run)
        async with client, client.convert(TRACKS, ledger=kept) as outcomes:
            try:
                async for outcome in outcomes:
                    states[outcome.state] += 1
            except LedgerLost as error:
                raised = error
            await asyncio.sleep(60)  # nothing is sent later either
        return states, raised

    states, raised = run_virtual(run())
    return states, [at for at, _ in arrivals.times], raised


def test_nothing_is_sent_until_a_silent_session_has_answered() -> None:
    """Then the conversion goes on as if nothing had been: no answer was lost, no row is unknown."""
    states, sent, raised = converted(HeldLedger(silent=(12.0, 30.0)))
    assert not [at for at in sent if 17.0 <= at < 30.0], "its last answer was older than five seconds"
    assert [at for at in sent if at >= 30.0]
    assert (states, raised) == ({"succeeded": 60}, None)


@pytest.mark.parametrize(("beyond", "first"), [(0.0, 10.0), (5.0, 15.0)])
def test_a_holder_that_may_still_be_sending_is_waited_for(beyond: float, first: float) -> None:
    """One that has lost the ledger may not know it for seconds: the window begins when its last request is out."""
    ledger = HeldLedger()
    ledger.beyond, ledger.is_used = beyond, True
    states, sent, _ = converted(ledger)
    assert min(sent) == pytest.approx(first)
    assert states == {"succeeded": 60}


def test_the_loss_of_the_session_ends_all_use_of_the_api() -> None:
    """Each row has an outcome, the loss is raised after them, and what is submitted is not polled any more."""
    states, sent, raised = converted(HeldLedger(ends=12.0))
    assert max(sent) < 12.0
    assert states.total() == 60
    assert states["submitted"]
    assert states["planned"]
    assert isinstance(raised, LedgerLost)


@pytest.mark.parametrize("task_id", [VideoTaskId("v1"), None])
async def test_an_answer_after_the_loss_is_left_for_the_next_holder(
    task_id: VideoTaskId | None,
) -> None:
    """With the nonce of its attempt, over another session; of one that was not sent no word is needed."""
    ledger = HeldLedger()
    kept = AsyncLedger(ledger, in_place)
    await kept.open(provider="p", fingerprint="f")
    claim = await kept.call(ledger.claim, TRACKS[0], location="")
    journal = SubmissionJournal(kept, claim.row)
    await journal.record_intent(0.0)
    ledger.refuses_results = True
    error = None if task_id else TransportError("not sent", sent=False)
    with pytest.raises(LedgerLost):
        await journal.record_result(task_id, error)
    ((nonce,),) = await kept.call(ledger._select, "SELECT nonce FROM attempts")
    assert ledger.left == ({task_id: nonce} if task_id else {})
    await kept.close()


def test_a_catalog_that_waits_for_more_does_not_keep_a_conversion_whose_ledger_is_lost() -> None:
    """It ends in seconds; what the rows before came to is known."""

    async def endless() -> AsyncIterator[Track]:
        yield TRACKS[0]
        await asyncio.Event().wait()

    async def run() -> tuple[list[str], float]:
        client, _ = client_of(FakeAPI(seconds=60.0))
        kept: Any = AsyncLedger(HeldLedger(ends=12.0), in_place)
        states = list[str]()
        async with client, client.convert(endless(), ledger=kept) as outcomes:
            with pytest.raises(LedgerLost):
                async for outcome in outcomes:
                    states.append(outcome.state)
            return states, asyncio.get_running_loop().time()

    states, ended = run_virtual(run())
    assert states == ["submitted"]
    assert 12.0 < ended < 20.0


async def lost_client() -> SunoVideoClient:
    """Return an open client whose own ledger is lost in a second."""
    client, _ = client_of(FakeAPI(seconds=20.0), ledger=HeldLedger(ends=1.0))
    return await client.__aenter__()


def test_the_loss_of_a_clients_own_ledger_ends_the_client() -> None:
    """What it is asked for from then on says why, and it is closed as ever."""

    async def run() -> None:
        client = await lost_client()
        task = await client.submit(TRACKS[0])
        with pytest.raises(LedgerLost, match="the session has ended"):
            await task.result()
        for _ in range(2):
            with pytest.raises(LedgerLost, match="the session has ended"):
                await client.submit(TRACKS[1])
            with pytest.raises(LedgerLost):
                await client.balance()
        await client.aclose()

    run_virtual(run())
