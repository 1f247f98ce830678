"""`Holder`: one key at work, on its ledger in PostgreSQL, for as long as this process holds both.

It converts what the ledger wants, in rounds, and takes what other processes leave for it; see `inbox`.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from os import PathLike
from typing import Any, cast

import anyio
from anyio.abc import TaskGroup
from attrs import define, field, frozen

from suno_video_async._util.aio import in_one_thread
from suno_video_async.batch.conversion import Conversion
from suno_video_async.batch.outcome import Outcome
from suno_video_async.callbacks import CallbackReceiver
from suno_video_async.client import SunoVideoClient
from suno_video_async.clock import Clock
from suno_video_async.engines.inbox import EVERY, Inbox, set_within
from suno_video_async.engines.keys import KeyEntry
from suno_video_async.engines.supervision import Again, closed_for, wait_after, when_again
from suno_video_async.errors import LedgerLost, SunoVideoError
from suno_video_async.hooks import Hooks
from suno_video_async.ledger.address import LedgerAddress
from suno_video_async.ledger.aio import AsyncLedger
from suno_video_async.ledger.journal import micro
from suno_video_async.ledger.postgres.ledger import PostgresLedger, SharedBudget
from suno_video_async.models import RetryPolicy, Timeout, Track
from suno_video_async.observability.log import logger


@frozen(kw_only=True)
class WorkOptions:
    """How keys work; see `SunoVideoClient.convert` for what is of the same name there.

    Attributes:
        strict: whether a 500 counts as unknown; see `RetryPolicy`.
        callback_url: the public URL of `suno-video receive`; None only polls.
        max_credits: the most to spend over the life of a holder's ledger and of those beside it, together.
        hooks: receive the clients' events.
        clock: the clients' time.
        on_outcome: called with each outcome and its key.
        notify: called with what a person should know: a key that is taken, lost, or stopped, and why.

    """

    output_dir: str | PathLike[str] | None = None
    callback_url: str | None = None
    max_credits: float | None = None
    retry_failed: int = 0
    strict: bool = False
    file_name: str | None = None
    sha256: bool = False
    task_timeout: float | None = None
    timeout: Timeout | None = None
    proxy: str | None = field(default=None, repr=False)
    ca_file: str | PathLike[str] | None = None
    hooks: tuple[Hooks, ...] = ()
    clock: Clock | None = None
    on_outcome: Callable[[KeyEntry, Outcome], object] = field(default=lambda _, __: None)
    notify: Callable[[str], object] = field(default=logger.warning)

    def of_conversion(self, entry: KeyEntry) -> Mapping[str, Any]:
        """Return the arguments of `convert` for a key."""
        budgets = [most for most in (entry.max_credits, self.max_credits) if most is not None]
        given = {
            "output_dir": self.output_dir,
            "max_credits": min(budgets, default=None),
            "retry_failed": self.retry_failed,
            "file_name": self.file_name,
            "sha256": self.sha256,
            "task_timeout": self.task_timeout,
        }
        return {name: value for name, value in given.items() if value is not None}


@define(eq=False)
class Holder:
    """Works one key on its ledger; several can share an event loop, but two of the same key exclude each other.

    Attributes:
        entry: the key.
        database: the database's address, without a ledger's name.
        options: how it works.
        beside: the names of the ledgers that share its budget.
        until_done: whether it ends once its ledger wants nothing more.
        waits: whether it waits by itself, and keeps the ledger, after an error for which a later run is the
            answer; otherwise `run` raises it, for a supervisor that waits.
        is_held: whether it holds its ledger at present.
        stopping: whether it buys no more.
        woken: set when what waits for the next round has to look up.
        conversions: those that are running.

    """

    entry: KeyEntry
    database: LedgerAddress
    options: WorkOptions = field(factory=WorkOptions)
    beside: Collection[str] = ()
    until_done: bool = False
    waits: bool = True
    is_held: bool = field(default=False, init=False)
    stopping: bool = field(default=False, init=False)
    woken: asyncio.Event = field(factory=asyncio.Event, init=False)
    conversions: list[Conversion] = field(factory=list[Conversion], init=False)

    @property
    def address(self) -> LedgerAddress:
        """The ledger's address."""
        return self.database.named(self.entry.ledger)

    def stop(self) -> None:
        """Buy no more; `run` returns when what is submitted is finished."""
        self.stopping = True
        self.woken.set()
        for conversion in self.conversions:
            conversion.stop()

    async def run(self) -> None:
        """Hold the ledger and work, until it is done or stopped; a cancellation leaves at once.

        What is submitted then stays paid for, and is followed by the next holder.

        Raises:
            LedgerInUse: another process holds the ledger, or works with the key.
            LedgerLost: the session with the database has ended.
            SunoVideoError: what the key or the ledger cannot go on after; see `supervision`.

        """
        key = await in_one_thread()(self.entry.api_key)
        ledger = AsyncLedger(PostgresLedger(self.address, shared_budget=self._shared_budget()))
        client = SunoVideoClient(
            api_key=key,
            base_url=self.entry.base_url,
            rate=self.entry.rate,
            read_rate=self.entry.read_rate,
            max_in_flight=self.entry.max_in_flight,
            retry=RetryPolicy(strict=self.options.strict),
            timeout=self.options.timeout,
            proxy=self.options.proxy,
            ca_file=self.options.ca_file,
            hooks=self.options.hooks,
            clock=self.options.clock,
            ledger=cast("Any", ledger),  # open for this one, and asked here, too
        )
        del key
        try:
            async with client:
                self.is_held = True
                self.options.notify(f"key {self.entry.name}: works on the ledger {self.entry.ledger}")
                url = self.options.callback_url
                receiver = None if url is None else CallbackReceiver(client, public_url=url)
                await _Work(self, client, ledger, receiver).run()
        finally:
            self.is_held = False

    def _shared_budget(self) -> SharedBudget | None:
        limit = micro(self.options.max_credits)
        return None if limit is None else SharedBudget(limit, frozenset({self.entry.ledger, *self.beside}))


@define(eq=False)
class _Work:
    """Converts what a ledger wants, while its holder has it."""

    holder: Holder
    client: SunoVideoClient
    ledger: AsyncLedger
    receiver: CallbackReceiver | None
    _open: int = field(default=0, init=False)
    _stops: int = field(default=0, init=False)
    _rounds_done: int = field(default=0, init=False)
    _lost: LedgerLost | None = field(default=None, init=False)
    _group: TaskGroup = field(init=False)
    _inbox: Inbox = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._inbox = Inbox(
            address=self.holder.address,
            ledger=self.ledger,
            client=self.client,
            receiver=self.receiver,
            takes_callbacks=lambda: bool(self._open),
            go_on=lambda track, end: self._group.start_soon(self._convert_again, track, end),
            woken=self.holder.woken,
            notify=self._notify,
        )

    @property
    def _options(self) -> WorkOptions:
        return self.holder.options

    async def run(self) -> None:
        """Convert in rounds; take what others leave beside them."""
        self.ledger.on_lost[self._lose] = None
        await self._inbox.take_in()
        failures = list[Exception]()
        async with anyio.create_task_group() as self._group:
            for part in (self._rounds, self._inbox.run, self._inbox.listen):
                self._group.start_soon(self._until_it_ends, part, failures)
        if failures:
            raise failures[0]

    async def _until_it_ends(self, part: Callable[[], Awaitable[None]], failures: list[Exception]) -> None:
        """Run a part, and end the others with it; errors are kept, since a group would hide which they are."""
        try:
            await part()
        except Exception as error:
            failures.append(error)
        self._group.cancel_scope.cancel()

    async def _rounds(self) -> None:
        while not self.holder.stopping:
            done = await self._round()
            if done and self.holder.until_done and await self._is_nothing_left():
                break
            await self._wait_for_work(None if done else wait_after(max(1, self._stops)))
        while self._inbox.is_going:
            await self._pause()

    async def _is_nothing_left(self) -> bool:
        """Whether there is nothing more to do, once what was set going again has ended."""
        await self._inbox.take_in()
        while not await self._inbox.has_work():
            if not self._inbox.is_going:
                return True
            await self._pause()
        return False

    async def _round(self) -> bool:
        """Convert all that the ledger wants; return whether that is everything for now."""
        bought, left = 0, 0
        failure: SunoVideoError | None = None
        try:
            async with self._converting(None) as outcomes:
                await self._inbox.take_notes()  # callbacks can be taken now
                async for outcome in outcomes:
                    bought += outcome.video_task_id is not None and outcome.state != "skipped"
                    left += _is_unfinished(outcome, downloads=self._options.output_dir is not None)
                    if outcome.state != "skipped" or self._rounds_done == 0:
                        self._options.on_outcome(self.holder.entry, outcome)
                failure = outcomes.stopped_by
        except SunoVideoError as error:
            failure = error
        self._rounds_done += 1
        if bought:
            self._stops = 0
        if failure is not None:
            await self._after(failure)
            return False
        self._stops += bool(left)
        return not left

    async def _after(self, failure: SunoVideoError) -> None:
        """Wait, with the ledger, where a later round is the answer; else raise it."""
        if when_again(failure) is not Again.LATER or not self.holder.waits:
            raise failure
        self._stops += 1
        seconds = max(wait_after(self._stops), closed_for(failure, self.client.clock.time()))
        self._notify(f"waits {seconds:.0f} s: {failure}")
        await self._sleep(seconds)
        self._stops = max(1, self._stops)

    async def _wait_for_work(self, at_most: float | None) -> None:
        """Return when there is something to buy, a callback to take, or so many seconds have passed."""
        began = self.client.clock.now()
        if self._inbox.was_refused:  # what is left would be refused again at once
            await self._pause()
        while not self.holder.stopping and not await self._inbox.has_work():
            if at_most is not None and self.client.clock.now() - began >= at_most:
                return
            await self._pause()

    async def _sleep(self, seconds: float) -> None:
        """Wait so many seconds of the client's clock, unless the holder is stopped."""
        until = self.client.clock.now() + seconds
        while not self.holder.stopping and self.client.clock.now() < until:
            await self._pause(until - self.client.clock.now())

    async def _pause(self, seconds: float = math.inf) -> None:
        await set_within(min(seconds, EVERY), self.holder.woken)
        if self._lost is not None:
            raise self._lost

    async def _convert_again(self, track: Track, end: Callable[[], None]) -> None:
        """Go on with one row, in a conversion of its own: the present round has been past it."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(contextlib.suppress(SunoVideoError))  # the round meets it, too
            stack.callback(end)
            async with self._converting([track]) as outcomes:
                async for outcome in outcomes:
                    self._options.on_outcome(self.holder.entry, outcome)

    def _lose(self, error: LedgerLost) -> None:
        self._lost = error
        self.holder.woken.set()

    @contextlib.asynccontextmanager
    async def _converting(self, source: Sequence[Track] | None) -> AsyncGenerator[Conversion, None]:
        conversion = self.client.convert(
            source, callbacks=self.receiver, **self._options.of_conversion(self.holder.entry)
        )
        async with conversion as outcomes:
            self.holder.conversions.append(outcomes)
            self._open += 1
            try:
                if self.holder.stopping:
                    outcomes.stop()
                yield outcomes
            finally:
                self._open -= 1
                self.holder.conversions.remove(outcomes)

    def _notify(self, text: str) -> None:
        self._options.notify(f"key {self.holder.entry.name}: {text}")


def _is_unfinished(outcome: Outcome, *, downloads: bool) -> bool:
    """Whether a later round is to go on with a row."""
    return outcome.state in {"planned", "submitted"} or (downloads and outcome.state == "succeeded")
