"""A ledger that goes with a session: it is asked for answers, and nothing is sent without a fresh one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from suno_video_async.errors import LedgerError, LedgerLost
from suno_video_async.ledger.aio import AsyncLedger
from suno_video_async.ledger.holding import BETWEEN, EVERY, SILENCE, TRIES, HeldLedger, Holding, leave_word
from suno_video_async.ledger.opened import OpenLedgers
from suno_video_async.ledger.sqlite import SqliteLedger
from suno_video_async.models import VideoTaskId

T = TypeVar("T")


class Session:
    """A session whose answers are told beforehand."""

    def __init__(self, *answers: Exception | None) -> None:
        self.answers = list(answers)
        self.asked = self.cuts = 0
        self.fresh = False
        self.left = list[tuple[str, str]]()

    def ping(self) -> None:
        self.asked += 1
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer
        self.fresh = True

    def is_fresh(self) -> bool:
        return self.fresh

    def cut(self) -> None:
        self.cuts += 1

    def sends_beyond(self) -> float:
        return 0.0

    def leave(self, nonce: str, task_id: VideoTaskId) -> None:
        self.ping()
        self.left.append((nonce, task_id))


class Turns:
    """Time that passes one wait at a time, when the test says so."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self._turn = asyncio.Event()

    async def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)
        turn = self._turn
        await turn.wait()

    async def pass_(self, times: int = 1) -> None:
        for _ in range(times):
            turn, self._turn = self._turn, asyncio.Event()
            turn.set()
            await settled()


async def settled() -> None:
    """Let everything go on as far as it can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def at_once(call: Callable[[], T]) -> T:
    return call()


LOST = LedgerLost("the session has ended")


async def test_the_session_is_asked_each_second_until_it_is_stopped() -> None:
    """Each answer is followed by a wait, and after the end nothing is asked."""
    session, turns, lost = Session(), Turns(), list[LedgerLost]()
    holding = Holding(session, at_once, lost.append, turns)
    await settled()
    assert session.asked == 1
    await turns.pass_(2)
    assert session.asked == 3
    await holding.stop()
    await turns.pass_(3)
    assert (session.asked, lost) == (3, [])


async def test_the_loss_is_reported_once() -> None:
    """A session that has ended is not asked again."""
    session, turns, lost = Session(None, LOST), Turns(), list[LedgerLost]()
    holding = Holding(session, at_once, lost.append, turns)
    await settled()
    await turns.pass_(3)
    assert (lost, session.asked) == ([LOST], 2)
    await holding.stop()


async def test_an_error_that_passes_is_no_loss() -> None:
    """A server that is short of memory is asked again."""
    session, turns, lost = Session(LedgerError("out of memory")), Turns(), list[LedgerLost]()
    holding = Holding(session, at_once, lost.append, turns)
    await settled()
    await turns.pass_(2)
    assert (lost, session.fresh) == ([], True)
    await holding.stop()


async def test_a_session_that_does_not_answer_is_ended() -> None:
    """By turns and not by a deadline: a process that was stopped must not take that for silence."""
    session, turns, lost = Session(), Turns(), list[LedgerLost]()
    answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def silent(call: Callable[[], Any]) -> Awaitable[Any]:
        return answer

    holding = Holding(session, silent, lost.append, turns)
    await settled()
    await turns.pass_(SILENCE - 1)
    assert (session.cuts, turns.slept) == (0, [EVERY] * SILENCE)
    await turns.pass_()
    assert session.cuts == 1
    answer.set_exception(LOST)
    await settled()
    assert lost == [LOST]
    await holding.stop()


async def test_what_is_sent_waits_for_an_answer() -> None:
    """One that comes lets it go in the same step; an error that passes is waited out; the loss is raised."""
    session, turns = Session(LedgerError("out of memory"), None, LOST), Turns()
    holding = Holding(session, at_once, lambda _: None, turns)
    await holding.stop()  # before it has asked
    sent = asyncio.ensure_future(holding.confirm())
    await settled()
    assert (sent.done(), session.asked) == (False, 1)
    await turns.pass_()
    assert sent.done()
    await holding.confirm()
    assert session.asked == 2, "fresh as it is"
    session.fresh = False
    with pytest.raises(LedgerLost, match="has ended"):
        await holding.confirm()


@pytest.mark.parametrize("failures", range(TRIES + 1))
async def test_word_is_left_for_the_next_holder(failures: int) -> None:
    """Over another session, which a server that is just starting again may refuse for a while."""
    session, waits = Session(*[LedgerError("starting up")] * failures), list[float]()

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    left = await leave_word(session, "nonce", VideoTaskId("v1"), at_once, sleep)
    assert (left, session.left) == ((True, [("nonce", "v1")]) if failures < TRIES else (False, []))
    assert waits == [BETWEEN] * min(failures, TRIES - 1)
    assert not await leave_word(SqliteLedger(), "nonce", VideoTaskId("v1"), at_once, sleep), "a file is lost whole"


class Held(SqliteLedger):
    """A ledger in memory that goes with a session."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.ping, self.is_fresh, self.cut = session.ping, session.is_fresh, session.cut
        self.leave, self.sends_beyond = session.leave, session.sends_beyond


def opener() -> Callable[[AsyncLedger, bool], Awaitable[None]]:
    async def take(ledger: AsyncLedger, must_exist: bool) -> None:
        await ledger.open(provider="p", fingerprint="f", must_exist=must_exist)

    return take


async def test_a_ledger_in_a_file_is_always_held() -> None:
    """Its lock is the operating system's, and does not go without the process."""
    ledgers = OpenLedgers(opener())
    ledger = await ledgers.acquire(SqliteLedger())
    assert not isinstance(ledger.sync, HeldLedger)
    assert ledger.is_held()
    assert ledgers.are_held()
    await ledger.confirm()
    await ledgers.confirm()
    await ledgers.release(ledger)


async def test_nothing_is_sent_while_one_of_several_ledgers_is_in_doubt() -> None:
    """All that a client has open are the key's; one that is closed is not asked any more."""
    ledgers = OpenLedgers(opener())
    sessions = [Session(), Session()]
    first, second = [await ledgers.acquire(Held(session)) for session in sessions]
    await settled()
    assert ledgers.are_held()
    sessions[1].fresh = False
    assert not ledgers.are_held()
    await ledgers.confirm()
    assert sessions[1].fresh
    sessions[1].fresh = False
    await ledgers.release(second)
    assert ledgers.are_held()
    await ledgers.release(first)


async def test_what_was_lost_once_stays_lost() -> None:
    """Also after the ledger is closed: another process may have the key."""
    lost = list[LedgerLost]()
    ledgers = OpenLedgers(opener(), lost.append)
    session = Session(None)
    ledger = await ledgers.acquire(Held(session))
    await settled()
    session.fresh, session.answers = False, [LOST, LOST]
    for _ in range(2):
        with pytest.raises(LedgerLost, match="has ended"):
            await ledgers.confirm()
    ledger._lose(LOST)
    assert lost == [LOST]
    await ledgers.release(ledger)
    assert not ledgers.are_held()
    with pytest.raises(LedgerLost):
        await ledgers.confirm()
