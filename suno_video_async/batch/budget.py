"""A budget that holds: who may buy next, and what is set aside. `pricing` has the theory."""

from __future__ import annotations

import contextlib

import anyio
from attrs import define, field

from suno_video_async.batch.pricing import OUTSTANDING, RECENT, PriceList, Prices, shape_of
from suno_video_async.engine import Engine
from suno_video_async.errors import SunoVideoError
from suno_video_async.hooks import PriceEvent
from suno_video_async.ledger.aio import AsyncLedger
from suno_video_async.ledger.journal import micro
from suno_video_async.ledger.model import MICRO, LedgerRow
from suno_video_async.ledger.states import UNSETTLED
from suno_video_async.models import Track
from suno_video_async.observability.log import fields, logger
from suno_video_async.task import VideoTask

#: Seconds before each question for the price of a new task: it may be "not found" for a moment.
ASKED_AFTER = (0.0, 5.0, 15.0)


@define(eq=False)
class Budget:
    """The budget of one conversion.

    Attributes:
        engine: asks for prices.
        ledger: keeps what is set aside.
        limit: micro-credits for the ledger's whole life.

    """

    engine: Engine
    ledger: AsyncLedger
    limit: int
    _prices: Prices = field(init=False)
    _list: PriceList = field(init=False)
    _places: anyio.Semaphore = field(factory=lambda: anyio.Semaphore(OUTSTANDING), init=False)
    _outstanding: set[int] = field(factory=set[int], init=False)
    _named: set[int] = field(factory=set[int], init=False)
    _begun: bool = field(default=False, init=False)
    _beginning: anyio.Lock = field(factory=anyio.Lock, init=False)
    _told: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._list = PriceList(self.engine)
        self._prices = self._list.prices

    async def admit(self, row: LedgerRow) -> None:
        """Wait until one more purchase may be outstanding, and know its estimate; `leave` must follow.

        Raises:
            APIError: the estimate was refused.
            TransportError: no readable estimate came.
            LedgerError: the ledger broke.

        """
        if row.id in self._outstanding:
            return
        await self._places.acquire()
        self._outstanding.add(row.id)
        await self._list.learn(row.track)
        await self._begin(row.track)

    def reservation(self, track: Track) -> int:
        """Return the micro-credits to set aside for a row that was admitted, as of now."""
        return self._prices.reservation(shape_of(track))

    async def ask_price(self, row: LedgerRow, task: VideoTask) -> None:
        """Ask for the price of a new purchase, ahead of the polls, since others wait until it is named."""
        if row.id not in self._outstanding:
            return
        for seconds in ASKED_AFTER:
            await self.engine.clock.sleep(seconds)
            # What goes wrong here the poller and the row's own end meet, too.
            with contextlib.suppress(SunoVideoError):
                snapshot = await self.engine.look(task.id)
                if not snapshot.is_final and await self.note_price(row, snapshot.credits):
                    return

    async def note_price(self, row: LedgerRow, credits_: float | None) -> bool:
        """Take the price that the API names for a row's video; return whether it does. 0 is no price.

        Raises:
            LedgerError: the ledger broke; the place is still taken.

        """
        price = micro(credits_)
        if not price:
            return False
        rises = self._prices.note(price)
        self._named.add(row.id)
        self._report(row, price)
        # Set aside before the place is free for another purchase.
        with anyio.CancelScope(shield=True):
            if row.state in UNSETTLED:
                await self._reserve({row.id}, max(price, self._estimate(row) or 0), lower=True)
            if rises:
                await self._raise_to(price)
        self._free_place(row)
        return True

    def leave(self, row: LedgerRow) -> None:
        """Let another purchase be outstanding in place of this one, whatever became of it."""
        self._named.discard(row.id)
        self._free_place(row)

    def _free_place(self, row: LedgerRow) -> None:
        if row.id in self._outstanding:
            self._outstanding.remove(row.id)
            self._places.release()

    async def _begin(self, track: Track) -> None:
        """Recall once what videos cost before, and raise what earlier runs set aside."""
        async with self._beginning:
            if not self._begun:
                self._prices.recall(await self.ledger.call(self.ledger.sync.prices, RECENT))
                await self._raise_to(self.reservation(track))
                self._begun = True

    async def _raise_to(self, amount: int) -> None:
        """Set at least so much aside for each row that may be charged and whose price is not named."""
        unsettled = {row.id async for row in self.ledger.rows(*UNSETTLED)}
        await self._reserve(unsettled - self._named, amount)

    async def _reserve(self, row_ids: set[int], amount: int, *, lower: bool = False) -> None:
        await self.ledger.call(self.ledger.sync.reserve, row_ids, amount, lower=lower)

    def _estimate(self, row: LedgerRow) -> int | None:
        return self._prices.estimates.get(shape_of(row.track))

    def _report(self, row: LedgerRow, price: int) -> None:
        estimate = self._estimate(row)
        if self._told or estimate is None or estimate == price or row.video_task_id is None:
            return
        self._told = True
        event = PriceEvent(
            task_id=row.video_task_id, track=row.track, estimated=estimate / MICRO, credits=price / MICRO
        )
        logger.warning(
            "the video of %s costs %g credits instead of the estimated %g; the dearest price known is set aside"
            " for the next ones",
            *(row.track.suno_id, event.credits, event.estimated),
            extra=fields("price", track=row.track, task_id=row.video_task_id, credits=event.credits),
        )
        self.engine.reporter.emit(lambda hook: hook.on_price(event))
