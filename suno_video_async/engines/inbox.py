"""`Inbox`: what other processes leave in a ledger for the one that holds it, taken and dealt with.

Those are tracks that are loaded, callbacks, decisions about unknown rows, and the word of earlier holders.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from typing import Any, cast

import anyio
from attrs import define, field

from suno_video_async._util.aio import in_one_thread, run_to_completion, wait_at_most
from suno_video_async.callbacks import CallbackReceiver
from suno_video_async.client import SunoVideoClient
from suno_video_async.errors import LedgerError, LedgerLost, SunoVideoError
from suno_video_async.ledger.address import LedgerAddress
from suno_video_async.ledger.aio import AsyncLedger
from suno_video_async.ledger.model import LedgerRow
from suno_video_async.ledger.postgres.notes import Bell
from suno_video_async.ledger.register import RowWork
from suno_video_async.ledger.shared import Note, SharedLedger
from suno_video_async.ledger.states import State
from suno_video_async.models import Track
from suno_video_async.observability.log import fields, logger

#: Real seconds between two looks at what other processes have left, where no `NOTIFY` came.
EVERY = 1.0
#: Real seconds after which it listens again, if that cannot be done or has ended.
LISTEN_AGAIN = 15.0
#: What a receiver answers to a callback that the ledger cannot take, which may be taken later.
NOT_NOW = 503
#: Rows that are taken in at a time.
PAGE = 500


@define(eq=False)
class Inbox:
    """Takes what others leave, and does with each what a client does with its own.

    Attributes:
        address: the ledger's.
        ledger: the same, held by this process.
        client: works with it.
        receiver: takes callbacks; None if there are none.
        takes_callbacks: whether a conversion is running that hears of them.
        go_on: called with the track of a row that was set going again, and with what to call once it has ended.
        woken: set when something may have come.
        notify: called with what a person should know.
        was_refused: whether the ledger could not take a note when it was looked at last.

    """

    address: LedgerAddress
    ledger: AsyncLedger
    client: SunoVideoClient
    receiver: CallbackReceiver | None
    takes_callbacks: Callable[[], bool]
    go_on: Callable[[Track, Callable[[], None]], object]
    woken: asyncio.Event
    notify: Callable[[str], object]
    was_refused: bool = field(default=False, init=False)
    #: How often each row was set going that has not ended so far.
    _going: Counter[int] = field(factory=Counter[int], init=False)
    _taking: anyio.Lock = field(factory=anyio.Lock, init=False)
    _rung: asyncio.Event = field(factory=asyncio.Event, init=False)

    @property
    def is_going(self) -> bool:
        """Whether a row goes on that was set going again."""
        return bool(self._going)

    @property
    def _shared(self) -> SharedLedger:
        return cast("SharedLedger", self.ledger.sync)

    async def run(self) -> None:
        """Take what is left, as it comes."""
        while True:
            with _unless_lost():
                await self.take_in()
                await self._take_word()
                await self.take_notes()
            await set_within(EVERY, self._rung)

    async def listen(self) -> None:
        """Look at once when another process has left something; what is not heard is found in time, too."""
        with contextlib.suppress(NotImplementedError):  # a loop that waits for no sockets but its own
            while True:
                with contextlib.suppress(LedgerError):
                    await self._hear()
                await asyncio.sleep(LISTEN_AGAIN)
        await anyio.sleep_forever()

    async def _hear(self) -> None:
        bell, run_blocking = Bell(self.address), in_one_thread()
        loop, ended = asyncio.get_running_loop(), asyncio.Event()

        def hear() -> None:
            try:
                if bell.heard():
                    self._ring()
            except LedgerError:
                loop.remove_reader(descriptor)
                ended.set()

        try:
            descriptor = await run_blocking(bell.open)
            loop.add_reader(descriptor, hear)
            try:
                self._ring()  # for what came before
                await ended.wait()
            finally:
                loop.remove_reader(descriptor)
        finally:
            await run_to_completion(run_blocking(bell.close))

    def _ring(self) -> None:
        self._rung.set()
        self.woken.set()

    async def take_in(self) -> None:
        """Take in the tracks that were loaded."""
        while await self.ledger.call(self._shared.take_in, PAGE) == PAGE:
            pass

    async def _take_word(self) -> None:
        """Follow what an earlier holder has bought whose answer came after it had lost the ledger."""
        for row in await self.ledger.call(self._shared.take_word):
            self._set_going(row)

    async def take_notes(self) -> None:
        """Take callbacks, if they can be taken now, and decisions.

        A decision about a row waits while a callback for it does, or while it goes on because of one: its
        submission may be found, and a row that was found must not be bought again.
        """
        called = set[int | None]()
        async with self._taking, contextlib.aclosing(self.ledger.notes()) as notes:
            self.was_refused = False
            async for note in notes:
                if note.kind == "callback" and not self.takes_callbacks():  # the next round takes it
                    called.add(await self.ledger.called_row(note))
                elif (row_id := _row_of(note)) is None or (row_id not in called and row_id not in self._going):
                    await self._take_now(note)

    async def _take_now(self, note: Note) -> None:
        try:
            row = await self._take(note)
        except _Later:
            self._look_again(note)
            return
        await self.ledger.call(self._shared.settle_note, note.id)
        if row is not None:
            self._set_going(row)

    def _set_going(self, row: LedgerRow) -> None:
        def end() -> None:
            self._going -= Counter([row.id])
            self._ring()

        self._going[row.id] += 1
        self.go_on(row.track, end)

    def _look_again(self, note: Note) -> None:
        """Look as soon as the row is free that a decision is about; where none is, after a while."""
        if (work := self._work_on_row_of(note)) is not None:
            work.on_end(self._ring)
        else:
            self.was_refused = True

    async def _take(self, note: Note) -> LedgerRow | None:
        """Do what a note says; return the row that it has set going again.

        Raises:
            _Later: it cannot be done now, such as while the row is being worked on.

        """
        try:
            if note.kind == "callback":
                return await self._call_back(note.content)
            if note.kind == "decision":
                return await self._decide(note.content)
            problem: object = f"a note of a kind that this version does not know: {note.kind}"
        except (LedgerLost, asyncio.CancelledError):
            raise
        except (SunoVideoError, ValueError, KeyError, TypeError) as error:
            if isinstance(error, LedgerError) and error.temporary:
                raise _Later from error
            problem = error
        self.notify(f"a {note.kind} was not taken: {problem}")
        return None

    async def _call_back(self, content: Mapping[str, Any]) -> LedgerRow | None:
        """Hand on a callback as if it had come here, and say which unknown row it may settle."""
        nonce, task_id = str(content["nonce"]), str(content["task_id"])
        if self.receiver is None:
            return None
        body = json.dumps({"task_id": task_id, "status": "pending"}).encode()
        if await self.receiver.handle(nonce, lambda: _value(body)) == NOT_NOW:
            raise _Later
        attempt = await self.ledger.call(self.ledger.sync.attempt, nonce)
        return attempt.row if attempt is not None and attempt.row.state is State.UNKNOWN else None

    async def _decide(self, content: Mapping[str, Any]) -> LedgerRow | None:
        """Carry out what a person has decided about an unknown row."""
        row_id = int(content["row"])
        attempt = content.get("attempt")  # an older version leaves none
        async with self.client.unknowns(self.ledger.sync) as unknowns:
            match content["verb"]:
                case "adopt":
                    return await unknowns.adopt(row_id, str(content["task_id"]), attempt=attempt)
                case "resend":
                    return (await unknowns.resend(row_id, attempt=attempt))[0]
                case "drop":
                    await unknowns.drop(row_id, attempt=attempt)
                case verb:
                    raise ValueError(f"this version does not know {verb!r}")
        return None

    async def has_work(self) -> bool:
        """Whether there is something to buy, or to take."""
        with _unless_lost():
            if await self.ledger.call(self._shared.has_unclaimed):
                return True
            async with contextlib.aclosing(self.ledger.notes()) as notes:
                async for note in notes:
                    if _row_of(note) not in self._going and self._work_on_row_of(note) is None:
                        return True
        return False

    def _work_on_row_of(self, note: Note) -> RowWork | None:
        """Return the work on the row that a decision is about, if there is any."""
        row_id = _row_of(note)
        return None if row_id is None else self.ledger.register.find(row_id)


def _row_of(note: Note) -> int | None:
    """Return the number of the row that a decision is about."""
    row_id = note.content.get("row")
    return row_id if isinstance(row_id, int) else None


class _Later(Exception):  # noqa: N818  it is no error
    """A note stays where it is for now."""


async def set_within(seconds: float, event: asyncio.Event) -> None:
    """Return when an event is set, or so many seconds have passed; it can be set again then."""
    await wait_at_most(seconds, event)
    event.clear()


async def _value(body: bytes) -> bytes:
    return body


@contextlib.contextmanager
def _unless_lost() -> Generator[None, None, None]:
    """Let pass what the ledger cannot do at the moment; what is lost is lost."""
    try:
        yield
    except LedgerLost:
        raise
    except LedgerError as error:
        logger.warning("what others have left cannot be taken: %s", error, extra=fields("ledger_failed"))
