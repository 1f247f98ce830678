"""`client.convert()`: a catalog in, outcomes out as each row ends, and a ledger that is true at every moment."""

from __future__ import annotations

import asyncio
import contextlib
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from os import PathLike
from types import TracebackType
from typing import Any, TypeAlias

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from suno_video_async._util.aio import Children, in_one_thread, inline, run_to_completion
from suno_video_async.batch.catalog import CatalogFile, CatalogSource, Row, count_rows, read_rows
from suno_video_async.batch.ledgers import GivenLedger, OtherLedgers, choose_ledger, neighbours_of
from suno_video_async.batch.options import Options
from suno_video_async.batch.outcome import Outcome, with_row
from suno_video_async.batch.row import RowProcessor, Unclaimed, Work
from suno_video_async.batch.stop import StopSignal
from suno_video_async.batch.witness import FACT, Evidence, to_fact
from suno_video_async.callbacks import CallbackReceiver, Inbox
from suno_video_async.engine import Engine
from suno_video_async.errors import CatalogError, ClientClosedError, LedgerError, LedgerLost, SunoVideoError
from suno_video_async.ledger.aio import AsyncLedger
from suno_video_async.ledger.model import MICRO, Claim, LedgerRow
from suno_video_async.ledger.states import State
from suno_video_async.models import Track
from suno_video_async.ratelimit.brake import Phase

#: Waits until the ledger has taken in a row.
Claiming: TypeAlias = "Callable[[], Coroutine[Any, Any, Claim | CatalogError | Unclaimed]]"
#: Works on one row, which stands at a place in a catalog.
Handle: TypeAlias = "Callable[[Claiming, str], Coroutine[Any, Any, None]]"


#: The ledger's note that a run was stopped because the API was out of reach.
OUT_OF_REACH = "out_of_reach"
#: Seconds for rows to end by themselves once the ledger is lost, before they are cancelled.
AFTER_LOSS = 5.0
#: Rows that `convert(None)` takes from the ledger: first what is, or may be, paid for, then what may be bought.
#: One that is being submitted is another part's of the client.
_PAID, _TO_BUY = (State.SUBMITTED, State.UNKNOWN), (State.PLANNED, State.REFUSED, State.FAILED)
#: The warning for a conversion without a ledger whose caller did not ask for that.
FORGETS = (
    "this conversion keeps no ledger: what it buys is not remembered, and running it again pays again; name a file"
    " with ledger=, or pass ledger=NO_LEDGER if that is what you want"
)


class Conversion:
    """A running conversion: `async with client.convert(…) as outcomes: async for outcome in outcomes: …`.

    Rows are pulled from the catalog as room comes free; what is in flight, and as many finished rows as there are
    places for videos, is all that is ever held. Leaving the block early stops submitting and following; what was
    submitted stays paid for, stands in the ledger, and is followed again by the next run.
    """

    _ledger: AsyncLedger  # these are made when the conversion is entered
    _inbox: Inbox | None
    _others: OtherLedgers | None
    _run_id: int
    _rows: RowProcessor

    def __init__(
        self,
        engine: Engine,
        source: CatalogSource | None,
        ledger: GivenLedger,
        options: Options,
        callbacks: CallbackReceiver | None = None,
    ) -> None:
        self._engine = engine
        if isinstance(source, str | PathLike) and not isinstance(source, CatalogFile):
            source = CatalogFile(source)  # one object, so that the file is read through only once
        self._source = source
        self._given_ledger = ledger
        self._options = options
        self._callbacks = callbacks
        self._out_of_reach = False
        self._is_claimed = self._is_unclaimed = False  # whether a row could be claimed, and whether one could not
        self._stop_signal = StopSignal(stopping=options.unknown_grace is not None)
        #: What the balance says about the rows that this run left unknown; None until its end.
        self.evidence: Evidence | None = None
        self._scope = anyio.CancelScope()
        self._ended = anyio.Event()
        self._room = anyio.Semaphore(2 * engine.options.max_in_flight, fast_acquire=True)
        self._outcomes: MemoryObjectReceiveStream[Outcome] | None = None

    async def __aenter__(self) -> Conversion:
        """Open the ledger and begin.

        Raises:
            LedgerError: the ledger cannot be used, or belongs to another account.

        """
        if self._outcomes is not None:
            raise RuntimeError("a conversion can be entered only once; create a new one")
        choice = await choose_ledger(self._source, self._given_ledger, self._engine.ledger)
        if choice.forgets:
            warnings.warn(FORGETS, UserWarning, stacklevel=2)
        ledger = self._ledger = await self._engine.ledgers.acquire(choice.ledger)
        send, self._outcomes = anyio.create_memory_object_stream[Outcome](self._engine.options.max_in_flight)
        try:
            self._run_id = await ledger.begin_run()
            inbox = self._inbox = self._inbox_of(ledger)
            if inbox is not None:
                inbox.check_loop()
            others = self._others = await self._other_ledgers(ledger)
            self._rows = RowProcessor(self._engine, ledger, self._options, inbox, self._stop_signal, others)
            self._engine.start_soon(partial(self._run, send))
        except BaseException:  # such as that it was closed while the ledger was opened
            send.close()
            self._outcomes.close()
            await self._engine.ledgers.release(ledger)
            raise
        if inbox is not None:
            inbox.open()
        return self

    async def _other_ledgers(self, ledger: AsyncLedger) -> OtherLedgers | None:
        beside = partial(neighbours_of, self._source, ledger.sync, self._engine.account, self._options.buying)
        run_blocking = in_one_thread() if isinstance(self._source, str | PathLike) else inline
        found = await run_blocking(beside)
        return None if found is None else OtherLedgers(found)

    def _inbox_of(self, ledger: AsyncLedger) -> Inbox | None:
        receiver, engine = self._callbacks, self._engine
        return None if receiver is None else Inbox(receiver, ledger, engine, engine.believe)

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._engine.on_own_loop()
        self._scope.cancel()
        try:
            await run_to_completion(self._ended.wait())
        finally:  # it raises what cancelled it meanwhile
            self._receiving.close()

    def __aiter__(self) -> AsyncIterator[Outcome]:
        return self

    async def __anext__(self) -> Outcome:
        """Return the next outcome.

        Raises:
            CatalogError: the catalog as a whole cannot be read; raised after the outcomes of what could.
            AuthenticationError: 401 or 403; raised after the outcomes of all that was submitted before.
            FeatureDisabledError: 505; likewise.
            LedgerError: the ledger broke; likewise.

        """
        self._engine.on_own_loop()
        receiving = self._receiving
        try:
            try:
                return receiving.receive_nowait()  # `receive` goes through the loop even if there is one
            except anyio.WouldBlock:
                return await receiving.receive()
        except anyio.ClosedResourceError:
            raise ClientClosedError("the conversion was left: it has no more outcomes") from None
        except anyio.EndOfStream:
            failure, self._stop_signal.failure = self._stop_signal.failure, None
            if failure is not None:
                raise failure from None
            raise StopAsyncIteration from None

    async def count(self) -> int | None:
        """Return how many rows the catalog has, as far as that can be known before they are read.

        A file is read through, and what has a length is asked for it; None for all else, such as a ledger's rows.

        Raises:
            CatalogError: the file cannot be read as a whole.

        """
        source = self._source
        return None if source is None or self._options.unknown_grace is not None else await count_rows(source)

    def stop(self) -> None:
        """Submit no more; what is submitted is followed to its end, the rest of the rows end as `planned`."""
        self._stop_signal.stop()

    @property
    def stopped_by(self) -> SunoVideoError | None:
        """What ended the submissions before the catalog's end, such as `InsufficientCreditsError`."""
        return self._stop_signal.reason

    def credits(self) -> tuple[float, float] | None:
        """Return the credits spent and reserved over the ledger's life; None before the conversion is entered."""
        if self._outcomes is None:
            return None
        spent, reserved = self._ledger.sync.sums
        return spent / MICRO, reserved / MICRO

    @property
    def _receiving(self) -> MemoryObjectReceiveStream[Outcome]:
        if self._outcomes is None:
            raise RuntimeError("a conversion is entered first: async with client.convert(…) as outcomes:")
        return self._outcomes

    # The run

    async def _run(self, send: MemoryObjectSendStream[Outcome]) -> None:
        self._ledger.on_lost[self._lose] = None
        try:
            await self._recall_reach()
            with self._scope:
                async with anyio.create_task_group() as background:
                    background.start_soon(self._note_places)
                    background.start_soon(self._read_after_outages)
                    async with Children() as rows:
                        handle = partial(self._handle, send)
                        await self._pull(rows, handle)
                        await self._pick_up(rows, handle, self._left())
                    background.cancel_scope.cancel()
                await self._testify()
        except Exception as error:
            self._stop_signal.failure = error
        except BaseException:
            self._stop_signal.failure = self._engine.broken or ClientClosedError(
                "the client was closed while it converted a catalog"
            )
            raise
        finally:
            with anyio.CancelScope(shield=True):
                await self._close_ledger()
            send.close()
            self._ended.set()

    def _lose(self, error: LedgerLost) -> None:
        """End: rows in flight by themselves, what waits for the catalog or for a callback soon after."""
        self._stop_signal.stop_if_fatal(error)
        self._scope.deadline = anyio.current_time() + AFTER_LOSS

    async def _close_ledger(self) -> None:
        """Let the submissions in flight reach the ledger before it is closed."""
        if self._inbox is not None:
            self._inbox.close()
        for submission in self._stop_signal.submissions:
            submission.leave()
            await asyncio.wait([submission.outcome])
        try:
            await self._note_reach()
            await self._ledger.call(self._ledger.sync.note_place, self._engine.clock.time())
        except LedgerLost as error:  # after the last submission: the next run must not buy it all again
            self._stop_signal.stop_if_fatal(error)
        except LedgerError:
            pass
        if self._others is not None:
            await self._others.close()
        self._ledger.on_lost.pop(self._lose, None)
        self._ledger.end_run(self._run_id)
        await self._engine.ledgers.release(self._ledger)

    async def _read_after_outages(self) -> None:
        """Read the balance whenever the brake has opened again."""
        brake, opened, held = self._engine.options.limiter.brake, asyncio.Event(), False

        def note() -> None:
            nonlocal held
            was_held, held = held, brake.phase is not Phase.RELEASED
            if was_held and not held:
                opened.set()

        brake.listeners[note] = None
        try:
            while True:
                await opened.wait()
                opened.clear()
                await self._rows.read_balance()
        finally:
            del brake.listeners[note]

    async def _testify(self) -> None:
        """Write down what the balance says about the rows that this run leaves unknown."""
        self.evidence = await self._rows.evidence()
        if self.evidence is not None:
            with contextlib.suppress(LedgerError):
                ledger = self._ledger.sync
                earlier = await self._ledger.call(ledger.fact, FACT)
                await self._ledger.call(ledger.note_fact, FACT, to_fact(earlier, self.evidence))

    async def _recall_reach(self) -> None:
        """Begin carefully where an earlier run was stopped because the API was out of reach."""
        brake = self._engine.options.limiter.brake
        self._out_of_reach = await self._ledger.call(self._ledger.sync.fact, OUT_OF_REACH) == "yes"
        if self._out_of_reach or brake.exhausted:
            brake.begin_half_open()

    async def _note_reach(self) -> None:
        """Let the next run know whether this one was stopped because the API was out of reach."""
        now = self._engine.options.limiter.brake.exhausted
        if now != self._out_of_reach:
            await self._ledger.call(self._ledger.sync.note_fact, OUT_OF_REACH, "yes" if now else "no")

    async def _pull(self, group: Children, handle: Handle) -> None:
        try:
            source = self._wanted() if self._source is None else read_rows(self._source)
            async with contextlib.aclosing(source) as rows, self._counted() as row_is_read:
                async for row in rows:
                    row_is_read()
                    await self._room.acquire()
                    claiming = self._claiming(row)
                    if not self._is_claimed:  # a ledger that takes no row is given no more of them
                        claiming = partial(_as_it_is, await claiming())
                    group.start(partial(handle, claiming, row.location))
                    if self._is_unclaimed:
                        break
        except Exception as error:
            # The source is broken from here on; what was pulled from it before goes on to its end.
            self._stop_signal.stop_if_fatal(error)
            self._stop_signal.fail(error)

    @asynccontextmanager
    async def _counted(self) -> AsyncGenerator[Callable[[], None], None]:
        """Let the schedule know how many rows are still to be read, if they can be counted; yield what counts."""
        poller, left = self._engine.poller, 0
        with contextlib.suppress(Exception):  # reading the rows says what is wrong
            left = await self.count() or 0

        def row_is_read() -> None:
            nonlocal left
            if left:
                left, poller.unread = left - 1, poller.unread - 1

        poller.unread += left
        try:
            yield row_is_read
        finally:
            poller.unread -= left

    async def _wanted(self) -> AsyncGenerator[Row, None]:
        """Yield what the ledger holds and is not done, as a catalog of its tracks; what is paid for first."""
        made = () if self._options.output_dir is None else (State.SUCCEEDED,)
        async for row in self._ledger.rows(*_PAID, *made):
            yield Row(row.location, row.track)
        async for row in self._ledger.rows(*_TO_BUY):
            if self._stop_signal.stopping:
                return  # it stays as it is, without a write for each of what may be a million rows
            yield Row(row.location, row.track)

    def _claiming(self, row: Row) -> Claiming:
        """Start to claim a row, and return what waits for that.

        Started here and not in the row's own task: the ledger makes calls in the order in which they are started,
        so it is certain afterwards which of its rows the catalog did not name. Not waited for here: rows that come
        at the same time are claimed in one commit.
        """
        if isinstance(row.track, CatalogError):
            return partial(_as_it_is, row.track)
        claim = self._ledger.call(self._ledger.sync.claim, row.track, location=row.location, run=self._run_id)
        return partial(self._claimed, row.track, claim)

    async def _claimed(self, track: Track, claiming: Awaitable[Claim]) -> Claim | Unclaimed:
        try:
            claim = await claiming
        except LedgerError as error:
            self._is_unclaimed = True
            return Unclaimed(track, error)
        self._is_claimed = True
        return claim

    def _left(self) -> AsyncGenerator[LedgerRow, None]:
        """Return the rows to go on with that no catalog names: they are paid for."""
        if self._options.unknown_grace is None:
            return self._ledger.untouched(State.SUBMITTED)
        made = () if self._options.output_dir is None else (State.SUCCEEDED,)
        return self._ledger.rows(State.SUBMITTED, State.UNKNOWN, *made)

    async def _pick_up(self, group: Children, handle: Handle, rows: AsyncGenerator[LedgerRow, None]) -> None:
        try:
            async for row in rows:
                if self._options.unknown_grace is None and self._ledger.register.find(row.id) is not None:
                    continue  # another part of this client is on it
                await self._room.acquire()
                group.start(partial(handle, partial(_as_it_is, Claim(row=row)), row.location))
        except LedgerError as error:
            self._stop_signal.stop_if_fatal(error)

    async def _note_places(self) -> None:
        period = self._engine.longest_period
        if period is not None and self._ledger is not self._engine.ledger:  # the client sees to its own
            try:
                await self._ledger.keep_places(self._engine.clock, period, self._engine.settled_limits)
            except LedgerError as error:
                self._stop_signal.stop_if_fatal(error)

    async def _handle(self, send: MemoryObjectSendStream[Outcome], claiming: Claiming, location: str) -> None:
        work = Work(location, self._engine.clock.now())
        try:
            claim = await claiming()
            del claiming  # the call of the ledger, and all that it was made with
            if self._source is None and isinstance(claim, Claim) and claim.repeated:
                return  # it was paid for, and has failed or was not bought after all: its outcome says so
            outcome = await self._rows.process(claim, work)
            seconds = self._engine.clock.now() - work.started
            outcome = with_row(outcome, work.location, requests=work.requests, seconds=seconds)
            try:
                send.send_nowait(outcome)  # `send` goes through the loop even if there is room
            except anyio.WouldBlock:
                await send.send(outcome)
        finally:
            self._room.release()


async def _as_it_is(claim: Claim | CatalogError | Unclaimed) -> Claim | CatalogError | Unclaimed:
    """Return a row for which the ledger need not be asked."""
    return claim
