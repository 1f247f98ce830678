"""Group commit: calls that wait for the ledger at the same time share one transaction and one sync.

A sync takes milliseconds, and with hundreds of rows in flight many more calls come to wait meanwhile. So one
thread does all writing, and takes all that waits at once. A ledger in memory is written in the same way in the
event loop itself, which spares each call a transaction of its own:

    waiting  ->  made in one transaction, in their order  ->  committed and synced  ->  answered, all together

- No call is answered before what it wrote is on disk, and calls are made in the order in which they were started.
- A call that is refused has an error of its own, and the other calls of its batch do not.
- Where the commit fails, nothing of it was written. Then every call is made once more, each in a transaction of
  its own, so that each meets what is wrong itself. Whatever cannot share a commit is done in the same way.
- A caller that is cancelled waits for its call nevertheless: it may be committed by then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Generic, Protocol, TypeVar

from attrs import define, field

from suno_video_async._util.aio import in_one_thread, run_to_completion

T = TypeVar("T")

#: Rounds of the event loop for which a batch is kept open: answers that came together lead to calls within these.
ROUNDS = 3


class InThread(Protocol):
    """Runs one function after the other beside the event loop."""

    def __call__(self, work: Callable[[], T], /) -> asyncio.Future[T]:
        """Start one."""
        ...


@define  # frozen ones take four times as long to make
class Outcome:
    """What a call has come to: its result, or its error."""

    result: Any = None
    error: BaseException | None = None


@define(eq=False)
class Call(Generic[T]):
    """A call that was started; its caller awaits it once, and to its end, even while being cancelled.

    Attributes:
        make: makes it.
        outcome: what it has come to, once it has ended.

    """

    make: Callable[[], T]
    outcome: Outcome | None = field(default=None, init=False)
    _ended: asyncio.Future[None] | None = field(default=None, init=False)

    def __await__(self) -> Generator[Any, None, T]:
        if self.outcome is None:
            try:
                yield from self._ends()
            except asyncio.CancelledError:
                yield from run_to_completion(self._ends()).__await__()
                raise
        outcome: Any = self.outcome  # by now there is one
        if outcome.error is not None:
            raise outcome.error
        result: T = outcome.result
        return result

    def _ends(self) -> asyncio.Future[None]:
        """Return a future that is done at the end; a cancellation of its caller takes it along."""
        self._ended = asyncio.get_running_loop().create_future()
        if self.outcome is not None:
            self._ended.set_result(None)
        return self._ended

    def end(self, outcome: Outcome) -> None:
        """Answer the caller."""
        self.outcome = outcome
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)


class GroupCommit:
    """Runs blocking calls in a thread of its own; those that wait at the same time share one commit.

    Args:
        one_commit: makes one commit of what its block writes; where it raises, nothing was written.
        in_thread: runs the work; None for a thread of its own.

    """

    def __init__(
        self, one_commit: Callable[[], AbstractContextManager[None]], in_thread: InThread | None = None
    ) -> None:
        self._one_commit = one_commit
        self._given_thread = in_thread
        self._loop: asyncio.AbstractEventLoop | None = None

    def __call__(self, make: Callable[[], T], /) -> Call[T]:
        """Start a call."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # what waited on another one, or before a fork, is not answered any more
            self._loop, self._busy = loop, False
            self._waiting = list[Call[Any]]()
            self._in_thread = self._given_thread or _one_thread()
        call = Call(make)
        self._waiting.append(call)
        if not self._busy:
            self._begin_batch(loop)
        return call

    def _begin_batch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let what waits be made, once the next rounds of the loop have started all that they start."""
        self._busy = True
        loop.call_soon(self._hand_over, loop, ROUNDS)

    def _hand_over(self, loop: asyncio.AbstractEventLoop, rounds: int) -> None:
        if rounds > 1:
            loop.call_soon(self._hand_over, loop, rounds - 1)
            return
        calls, self._waiting = self._waiting, []
        outcomes = list[Outcome]()
        made = self._in_thread(lambda: outcomes.extend(self._make([call.make for call in calls])))
        made.add_done_callback(lambda made: self._end(calls, outcomes, made))

    def _make(self, calls: Sequence[Callable[[], Any]]) -> Sequence[Outcome]:
        """Make calls in one commit, or else each in its own; in the thread."""
        if len(calls) > 1:
            try:
                with self._one_commit():
                    outcomes = [_outcome_of(call) for call in calls]
            except Exception:  # noqa: S110  whatever it is, the calls meet it themselves
                pass
            else:
                return outcomes
        return [_outcome_of(call) for call in calls]

    def _end(self, calls: Sequence[Call[Any]], outcomes: Sequence[Outcome], made: asyncio.Future[None]) -> None:
        error = asyncio.CancelledError() if made.cancelled() else made.exception()
        # A loop that ends cancels what waits for the thread, whose outcomes are there nevertheless.
        for call, outcome in zip(calls, outcomes or [Outcome(error=error)] * len(calls), strict=True):
            call.end(outcome)
        # Those who were answered call again in the next round: their calls go with the next batch.
        self._busy = False
        if self._waiting:
            self._begin_batch(made.get_loop())


def _outcome_of(call: Callable[[], Any]) -> Outcome:
    try:
        return Outcome(call())
    except Exception as error:
        return Outcome(error=error)


def _one_thread() -> InThread:
    """Return what runs one function at a time in a worker thread of the event loop."""
    run_blocking = in_one_thread()

    def in_thread(work: Callable[[], T], /) -> asyncio.Future[T]:
        return asyncio.ensure_future(run_blocking(work))

    return in_thread
