"""`client.plan()`: what a conversion would come to, asked without buying anything."""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import anyio
from attrs import define, field, frozen

from suno_video_async._util.aio import in_one_thread, inline
from suno_video_async.batch.catalog import CatalogSource, Row, read_rows
from suno_video_async.batch.ledgers import neighbours_of, report_remarks
from suno_video_async.batch.pricing import RECENT, PriceList, Prices, Shape, shape_of
from suno_video_async.engine import Engine
from suno_video_async.errors import CatalogError, InvalidRequestError, NotFoundError
from suno_video_async.ledger.address import LedgerPlace, as_ledger
from suno_video_async.ledger.decision import MISSING, Action, Buying, decide
from suno_video_async.ledger.model import MICRO, LedgerReader, all_rows
from suno_video_async.ledger.neighbours import Holding, Neighbours
from suno_video_async.ledger.states import BOUGHT, State
from suno_video_async.models import Estimate, Track

#: Bad rows whose errors are kept; all are counted.
MAX_PROBLEMS = 20
#: Rows for one hop to the ledger's thread.
_AT_ONCE = 200
#: Tracks of one shape that are asked about, where the service refuses the ones before.
_SAMPLES = 3

_KINDS = {
    State.PLANNED: "new",
    State.REFUSED: "refused",
    State.SUBMITTING: "unknown",
    State.UNKNOWN: "unknown",
    State.SUBMITTED: "submitted",
    State.SUCCEEDED: "done",
    State.DOWNLOADED: "done",
    State.FAILED: "failed",
}


@frozen(kw_only=True)
class Plan:
    """What converting a catalog would come to; every row of it is counted once.

    Attributes:
        new: tracks that are not bought, and would be.
        done: tracks whose videos are made.
        submitted: tracks that are bought and not over; they would be followed.
        unknown: tracks that may be bought, those that are being sent right now included; they would be left alone.
        failed: tracks that failed, which are bought again with `retry_failed` only, or were given up.
        refused: tracks that the service refused before; they would be submitted again.
        changed: tracks that are bought, or stand further up, under another author or brand; they are bought with
            `rebuy_changed` only.
        elsewhere: tracks that another ledger in the folder holds as bought or as unknown; they are bought with
            `ignore_other_ledgers` only.
        other_ledgers: the files of those ledgers.
        repeated: rows whose track stands further up in the catalog.
        bad_rows: rows that cannot be read as tracks.
        problems: the first of their errors.
        buys: how many of all these would be bought: the new and the refused ones, and those that failed or changed
            where that was asked for.
        committed: credits that the ledger counts as spent or set aside so far.
        estimated_credits: what would be bought would cost together, each at its estimate or at the dearest recent
            price of the ledger, whichever is more: what a budget sets aside.
        balance: the account's credits.
        affordable: whether they are enough.

    """

    new: int
    done: int
    submitted: int
    unknown: int
    failed: int
    refused: int
    changed: int
    elsewhere: int
    repeated: int
    bad_rows: int
    problems: tuple[CatalogError, ...] = field(repr=False)
    buys: int
    committed: float
    estimated_credits: float
    balance: float
    affordable: bool
    other_ledgers: tuple[Path, ...] = ()


async def plan(
    engine: Engine,
    source: CatalogSource,
    ledger: LedgerPlace | None = None,
    buying: Buying = MISSING,
) -> Plan:
    """Say what a conversion would come to; nothing is bought and nothing is written.

    The price is asked once for each shape of input, which is at most four questions.

    Args:
        engine: an open client's.
        source: the catalog, as for `convert`.
        ledger: the ledger's file, which may be in use by a running conversion, or not exist yet; None for none.
        buying: what may be bought.

    Raises:
        CatalogError: the catalog as a whole cannot be read.
        LedgerError: the file is no ledger, or cannot be read.
        APIError: a question was refused.
        TransportError: no readable answer came.

    """
    count = await counted(source, ledger, engine.account, buying)
    prices, balance = Prices(), None
    prices.recall(count.recent)
    price_list = PriceList(engine, prices)
    for samples in count.samples.values():
        balance = (await _learned(price_list, samples)).balance
    if balance is None:
        balance = await engine.balance()
    cost = sum(number * prices.reservation(shape) for shape, number in count.shapes.items()) / MICRO
    return Plan(
        **count.rows(),
        problems=tuple(count.problems),
        buys=count.buys,
        committed=count.committed / MICRO,
        estimated_credits=cost,
        balance=balance,
        affordable=cost <= balance,
        other_ledgers=count.other_ledgers,
    )


async def counted(
    source: CatalogSource,
    ledger: LedgerPlace | None,
    account: tuple[str, str] | None,
    buying: Buying = MISSING,
) -> Count:
    """Sort a catalog's rows by what would become of them, without asking the service.

    Args:
        source: the catalog.
        ledger: as for `plan`.
        account: whose the ledger must be; None for anybody's.
        buying: what may be bought.

    Raises:
        CatalogError: the catalog as a whole cannot be read.
        LedgerError: the file is no ledger, or cannot be read.

    """
    kept = None if ledger is None else as_ledger(ledger)
    count = Count(None if kept is None else kept.reader(), account, buying)
    run_blocking = inline if kept is None else in_one_thread()
    try:
        await run_blocking(count.open)
        if kept is not None:
            count.neighbours = await run_blocking(partial(neighbours_of, source, kept, account, buying))
        rows = list[Row]()
        async with contextlib.aclosing(read_rows(source)) as found:
            async for row in found:
                rows.append(row)
                if len(rows) == _AT_ONCE:
                    await run_blocking(partial(count.take, rows))
                    rows = []
        await run_blocking(partial(count.take, rows))
        if count.neighbours is not None:
            report_remarks(count.neighbours)
    finally:
        with anyio.CancelScope(shield=True):
            await run_blocking(count.close)
    return count


async def _learned(price_list: PriceList, samples: Sequence[Track]) -> Estimate:
    """Ask about one shape; a track that the service refuses must not hide the price of the others."""
    for track in samples[:-1]:
        with contextlib.suppress(InvalidRequestError, NotFoundError):
            return await price_list.learn(track)
    return await price_list.learn(samples[-1])


@define(eq=False)
class Count:
    """Sorts the rows of a catalog; of what it has seen it keeps digests only. Its calls block."""

    ledger: LedgerReader | None
    account: tuple[str, str] | None
    buying: Buying = MISSING
    neighbours: Neighbours | None = None
    committed: int = field(default=0, init=False)
    recent: Sequence[int] = field(default=(), init=False)
    counts: Counter[str] = field(factory=Counter[str], init=False)
    problems: list[CatalogError] = field(factory=list[CatalogError], init=False)
    shapes: Counter[Shape] = field(factory=Counter[Shape], init=False)
    samples: dict[Shape, list[Track]] = field(factory=dict[Shape, list[Track]], init=False)
    _elsewhere: dict[str, Holding] = field(factory=dict[str, Holding], init=False)
    _others: dict[Path, None] = field(factory=dict[Path, None], init=False)
    _seen: set[bytes] = field(factory=set[bytes], init=False)
    #: By song, the key under which it is bought or came by; empty where there are several.
    _songs: dict[bytes, bytes] = field(factory=dict[bytes, bytes], init=False)

    def open(self) -> None:
        """Open the ledger, if there is one, and learn which songs are bought."""
        if self.ledger is None:
            return
        if not self.ledger.open_to_read(self.account):
            self.ledger = None
            return
        self.committed = sum(self.ledger.sums)
        self.recent = self.ledger.prices(RECENT)
        for row in all_rows(self.ledger, *BOUGHT):
            self._note_song(row.track, _digest(row.track.key))

    def close(self) -> None:
        """Close the ledgers."""
        if self.ledger is not None:
            self.ledger.close()
        if self.neighbours is not None:
            self.neighbours.close()

    @property
    def other_ledgers(self) -> tuple[Path, ...]:
        """The ledgers that hold what would be bought without them."""
        return tuple(self._others)

    @property
    def buys(self) -> int:
        """How many rows would be bought."""
        return self.shapes.total()

    def rows(self) -> dict[str, int]:
        """Return how many rows there are of each kind; each row is in one of them."""
        kinds = (*_KINDS.values(), "changed", "elsewhere", "repeated", "bad_rows")
        return {kind: self.counts[kind] for kind in kinds}

    def take(self, rows: Sequence[Row]) -> None:
        """Count some rows."""
        if self.neighbours is not None:
            keys = [row.track.key for row in rows if isinstance(row.track, Track)]
            self._elsewhere = self.neighbours.holdings(keys)
        for row in rows:
            self.counts[self._kind(row.track)] += 1

    def _kind(self, track: Track | CatalogError) -> str:
        """Return which count a row belongs to; the price of what would be bought is added."""
        if isinstance(track, CatalogError):
            if len(self.problems) < MAX_PROBLEMS:
                self.problems.append(track)
            return "bad_rows"
        key = _digest(track.key)
        if key in self._seen:
            return "repeated"
        self._seen.add(key)
        row = None if self.ledger is None else self.ledger.find(track)
        changed = self._note_song(track, key)
        action = decide(row, changed=changed, buying=self.buying)
        if action is Action.BUY and (holding := self._elsewhere.get(track.key)) is not None:
            self._others[holding.ledger] = None
            return "elsewhere"
        if action is Action.BUY:
            self._price(track)
        if action is Action.LEAVE_FAILED:
            return "failed"
        kind = _KINDS[State.PLANNED if row is None else row.state]
        return "changed" if changed and kind in {"new", "refused"} else kind

    def _note_song(self, track: Track, key: bytes) -> bool:
        """Note a song, and return whether it is known under another key."""
        song = _digest(f"{track.task_id}\n{track.suno_id}")
        before = self._songs.setdefault(song, key)
        if before != key:
            self._songs[song] = b""
        return before != key

    def _price(self, track: Track) -> None:
        shape = shape_of(track)
        self.shapes[shape] += 1
        samples = self.samples.setdefault(shape, [])
        if len(samples) < _SAMPLES:
            samples.append(track)


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
