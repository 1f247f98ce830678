"""What the account's balance says about the rows whose outcome is unknown. Evidence for a person, never an action.

The balance falls with every purchase. What it fell by, beyond what the purchases that are known have cost, are the
unknown rows that were charged:

    explained = (balance at the start - balance at a reading - cost of the known purchases) / price

This is only worth something where the balance moves with the purchases and with nothing else. The submissions
that were accepted in the same run show whether it does: they name the price, and the fall must cover their cost.
If it does not, or if it is more than all unknown rows together could cost, another program spent, credits were
added, or the balance lags behind. Then the balance cannot tell, and the evidence says why.

Where prices differ, or a task is not finished and its cost not known, the answer is a range.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Sequence
from typing import Any

from attrs import asdict, define, field, frozen

from suno_video_async._util.words import many
from suno_video_async.errors import SunoVideoError, TaskFailed
from suno_video_async.ledger.journal import micro
from suno_video_async.ledger.model import MICRO
from suno_video_async.models import Video

#: The name of the fact in the ledger that holds the evidence, and for how many runs it is kept.
FACT, KEPT = "balance_evidence", 20
#: Micro-credits by which balances may be rounded.
ROUNDING = MICRO // 100


@frozen(kw_only=True)
class Known:
    """What was known of a run's purchases at one moment.

    Attributes:
        cost: micro-credits of its purchases, as far as named.
        running: its purchases whose cost was not known.
        unknown: its submissions whose outcome was unknown, those that were being sent included.

    """

    cost: int = 0
    running: int = 0
    unknown: int = 0


@frozen(kw_only=True)
class Reading:
    """The balance in micro-credits, and what was known right before it was asked for and right after."""

    balance: int
    before: Known = Known()
    after: Known = Known()


@frozen(kw_only=True)
class Evidence:
    """How many of a run's unknown rows the balance explains.

    Attributes:
        rows: the ledger's numbers of the rows.
        least, most: how many of them were charged.
        doubt: why the balance cannot tell; empty if it can.

    """

    rows: tuple[int, ...] = ()
    least: int = 0
    most: int = 0
    doubt: str = ""

    def __str__(self) -> str:
        if self.doubt:
            return f"the balance cannot tell which of them were charged: {self.doubt}"
        number = str(self.least) if self.least == self.most else f"{self.least} to {self.most}"
        return f"the balance explains {number} of them"


def judge(
    readings: Sequence[Reading], prices: Collection[int], rows: Sequence[int], *, resent: int = 0
) -> Evidence:
    """Return what the readings of one run say, the first of which was taken before the first purchase.

    Args:
        readings: in their order.
        prices: what the accepted submissions of the run cost, in micro-credits.
        rows: the rows that are unknown.
        resent: submissions that were sent again after a 500, which may have been charged as well.

    """
    numbers, named = tuple(rows), [price for price in prices if price > 0]
    doubt = ""
    if len(readings) < 2:
        doubt = "it could not be read before the first purchase and at the end"
    elif not named:
        doubt = "no accepted submission of this run named a price to compare with"
    elif resent:
        doubt = f"{many(resent, 'submission was', 'submissions were')} sent again after an error 500"
    least = most = 0
    for reading in () if doubt else readings[1:]:
        least, most = _charged(readings[0].balance - reading.balance, reading, min(named), max(named))
        doubt = doubt or _doubt(least, most, reading.after.unknown)
    if doubt:
        return Evidence(rows=numbers, doubt=doubt)
    return Evidence(rows=numbers, least=max(0, least), most=min(most, len(numbers)))


def _charged(fall: int, reading: Reading, cheapest: int, dearest: int) -> tuple[int, int]:
    """Return how many unknown submissions a fall of the balance explains, at least and at most."""
    before, after = reading.before, reading.after
    low = fall - after.cost - after.running * dearest - ROUNDING
    high = fall - before.cost - before.running * cheapest + ROUNDING
    return math.ceil(low / dearest), math.floor(high / cheapest)


def _doubt(least: int, most: int, unknown: int) -> str:
    if most < 0:
        return "it fell by less than the known purchases cost"
    if least > unknown:
        return "it fell by more than they could have cost"
    return "what it fell by is not a multiple of the price" if least > most else ""


def to_fact(earlier: str | None, evidence: Evidence) -> str:
    """Return the ledger's fact with the evidence of one more run."""
    kept = [*from_fact(earlier), evidence][-KEPT:]
    return json.dumps([asdict(one) for one in kept])


def from_fact(fact: str | None) -> list[Evidence]:
    """Return the evidence that a ledger holds, the newest last."""
    listed: list[dict[str, Any]] = json.loads(fact) if fact else []
    kept: list[Evidence] = []
    for one in listed:
        facts: dict[str, Any] = {**one, "rows": tuple(one["rows"])}
        kept.append(Evidence(**facts))
    return kept


def still_open(fact: str | None, unknown: Collection[int]) -> list[Evidence]:
    """Return the evidence of a ledger that is about at least one row that is still unknown."""
    return [one for one in from_fact(fact) if not set(one.rows).isdisjoint(unknown)]


@define(eq=False)
class Witness:
    """Collects what is known of one run's purchases, and the balances that were read beside it."""

    readings: list[Reading] = field(factory=list[Reading], init=False)
    unknown: set[int] = field(factory=set[int], init=False)
    _running: set[int] = field(factory=set[int], init=False)
    _cost: int = field(default=0, init=False)
    _prices: set[int] = field(factory=set[int], init=False)
    _refunded: bool = field(default=False, init=False)

    def known(self, sending: int = 0) -> Known:
        """Return what is known now, beside so many submissions that are being sent."""
        return Known(cost=self._cost, running=len(self._running), unknown=len(self.unknown) + sending)

    def read(self, balance: float | None, *, before: Known, after: Known) -> None:
        """Take a reading of the balance, in credits; None is none."""
        if (amount := micro(balance)) is not None:
            self.readings.append(Reading(balance=amount, before=before, after=after))

    def accepted(self, row_id: int) -> None:
        """Note that this run bought a row."""
        self.unknown.discard(row_id)
        self._running.add(row_id)

    def lost(self, row_id: int) -> None:
        """Note that a row of this run is unknown."""
        self._running.discard(row_id)
        self.unknown.add(row_id)

    def found(self, row_id: int) -> None:
        """Note that a callback named the task of a row that this run had lost."""
        if row_id in self.unknown:
            self.accepted(row_id)

    def ended(self, row_id: int, end: Video | SunoVideoError, *, unknown: bool) -> None:
        """Note how a row was left: with a cost, unknown again, or unfinished."""
        own = row_id in self._running
        if unknown and own:
            self.lost(row_id)
        if not isinstance(end, Video | TaskFailed):
            return
        cost = micro(end.credits if isinstance(end, Video) else end.snapshot.credits)
        if isinstance(end, TaskFailed) and (not own or cost is None):
            self._refunded = True
        if own and cost is not None:
            self._running.discard(row_id)
            self._cost += cost
            if isinstance(end, Video):
                self._prices = {min(cost, *self._prices), max(cost, *self._prices)} if self._prices else {cost}

    def evidence(self, *, resent: int) -> Evidence:
        """Return what the balance says by now."""
        rows = sorted(self.unknown)
        if self._refunded:
            return Evidence(rows=tuple(rows), doubt="a task failed, and it is not known what was refunded for it")
        return judge(self.readings, self._prices, rows, resent=resent)
