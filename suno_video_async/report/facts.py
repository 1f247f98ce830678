"""A ledger's contents for a report, as one value. Reading changes nothing, and does not block a writer."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from os import PathLike
from pathlib import Path

from attrs import define, evolve, field, frozen

from suno_video_async.batch.witness import FACT, Evidence, still_open
from suno_video_async.ledger.address import LedgerAddress, as_ledger, sealed
from suno_video_async.ledger.model import AttemptTimes, LedgerReader, LedgerRow, RowError, all_rows
from suno_video_async.ledger.states import State
from suno_video_async.models import Track
from suno_video_async.report.reasons import Reason, Reasons

#: Maximum rows that are listed one by one: a larger page would not open. Sums and reasons count all of them.
MOST_LISTED = 50_000

#: Columns of a catalog that may hold a song's title, in the order of preference.
_TITLES = ("title", "name", "song")

MADE = (State.SUCCEEDED, State.DOWNLOADED)
MAY_BE_BOUGHT = (State.UNKNOWN, State.SUBMITTING)


@frozen(kw_only=True)
class Item:
    """One row, with the times of its newest submission.

    Attributes:
        sends: how often it was submitted.
        submitted: Unix seconds; None if it never was.
        ended: Unix seconds; None if it has not ended, or the time was not recorded.
        took: seconds; as the service reports them, else from the submission to the end.

    """

    row: LedgerRow
    sends: int = 0
    submitted: float | None = None
    ended: float | None = None
    took: float | None = None


@frozen(kw_only=True)
class Facts:
    """Everything that a report shows.

    Attributes:
        ledger: the file or the address, as it was named.
        provider: the service's address.
        at: when it was read, in Unix seconds.
        items: the rows in their order, at most `MOST_LISTED`.
        states: how many rows are in each state.
        spent: micro-credits.
        wasted: those of them that tasks without a video cost.
        reserved: micro-credits reserved for unsettled submissions.
        unknown: all rows that may have been bought, each of which needs a decision.
        evidence: what the balance says about the unknown rows.
        reasons: what stopped the other rows, the most frequent first.
        sent: Unix seconds of all submissions, in order.
        ended: Unix seconds of all known ends, in order.
        took: seconds of all tasks with a known duration, in order.
        undated: ended tasks whose end was not recorded.

    """

    ledger: Path | LedgerAddress
    provider: str
    at: float
    items: tuple[Item, ...] = ()
    states: Mapping[State, int] = field(factory=dict[State, int])
    spent: int = 0
    wasted: int = 0
    reserved: int = 0
    unknown: tuple[Item, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    reasons: tuple[Reason, ...] = ()
    sent: tuple[float, ...] = ()
    ended: tuple[float, ...] = ()
    took: tuple[float, ...] = ()
    undated: int = 0

    @property
    def folder(self) -> Path:
        """The folder of the ledger's file; the current one if it is in no file."""
        return self.ledger.parent if isinstance(self.ledger, Path) else Path()

    @property
    def total(self) -> int:
        """How many rows there are."""
        return sum(self.states.values())

    @property
    def made(self) -> int:
        """How many videos were made."""
        return sum(self.states.get(state, 0) for state in MADE)

    @property
    def to_buy(self) -> int:
        """How many rows the next run buys: planned and refused ones."""
        return self.states.get(State.PLANNED, 0) + self.states.get(State.REFUSED, 0)

    @property
    def price(self) -> float | None:
        """The average micro-credits of a video; None if none was made or no price is known."""
        useful = self.spent - self.wasted
        return useful / self.made if self.made and useful else None


def title_of(track: Track) -> str:
    """Return the catalog's title of a track, or an empty string."""
    named = {name.lower(): value for name, value in track.extra.items()}
    return next((named[name] for name in _TITLES if named.get(name)), "")


def read(
    ledger: LedgerAddress | str | PathLike[str], *, now: float | None = None, clean: Callable[[str], str] = str
) -> Facts:
    """Read a consistent snapshot of a ledger, even while another process writes it. Blocks.

    Args:
        ledger: its file or its address.
        now: Unix seconds; None for the system's time.
        clean: removes from a text what must not be shown.

    Raises:
        LedgerError: it does not exist, is not a ledger, is of a newer version, or is damaged.

    """
    ledger = sealed(ledger)
    reader = as_ledger(ledger).reader()
    try:
        reader.open_to_read(must_exist=True)
        with reader.at_one_moment():
            place = ledger if isinstance(ledger, LedgerAddress) else Path(ledger)
            return _facts(reader, place, time.time() if now is None else now, clean)
    finally:
        reader.close()


def _facts(ledger: LedgerReader, place: Path | LedgerAddress, now: float, clean: Callable[[str], str]) -> Facts:
    sums = _Sums()
    for item in _items(ledger, sums, clean):
        sums.add(item)
    return Facts(
        ledger=place,
        provider=ledger.provider() or "",
        at=now,
        items=tuple(sums.items),
        states=dict(sums.states),
        spent=sums.spent,
        wasted=sums.wasted,
        reserved=sums.reserved,
        unknown=tuple(sums.unknown),
        evidence=tuple(still_open(ledger.fact(FACT), {item.row.id for item in sums.unknown})),
        reasons=sums.reasons.ordered(),
        sent=tuple(sorted(sums.sent)),
        ended=tuple(sorted(sums.ended)),
        took=tuple(sorted(sums.took)),
        undated=sums.undated,
    )


@define(eq=False)
class _Sums:
    """The totals, added up row by row, so that no more rows are kept than are shown."""

    items: list[Item] = field(factory=list[Item])
    unknown: list[Item] = field(factory=list[Item])
    states: Counter[State] = field(factory=Counter[State])
    reasons: Reasons = field(factory=Reasons)
    spent: int = 0
    wasted: int = 0
    reserved: int = 0
    sent: list[float] = field(factory=list[float])
    ended: list[float] = field(factory=list[float])
    took: list[float] = field(factory=list[float])
    undated: int = 0

    def times(self, attempts: list[AttemptTimes]) -> None:
        """Add the submissions of a row."""
        for attempt in attempts:
            self.sent.append(attempt.at)
            if attempt.ended is not None:
                self.ended.append(attempt.ended)
            if (took := _took(attempt)) is not None:
                self.took.append(took)

    def add(self, item: Item) -> None:
        """Add a row."""
        row = item.row
        self.states[row.state] += 1
        self.spent += row.cost
        self.reserved += row.reserved
        if row.state not in MADE:
            self.wasted += row.cost
        if item.ended is None and (row.state in MADE or (row.state is State.FAILED and row.failures)):
            self.undated += 1
        if row.state in MAY_BE_BOUGHT:
            self.unknown.append(item)
        else:
            self.reasons.add(row)
        if len(self.items) < MOST_LISTED:
            self.items.append(item)


def _items(ledger: LedgerReader, sums: _Sums, clean: Callable[[str], str]) -> Iterator[Item]:
    """Yield the rows with their times; both are read in the order of the rows' numbers."""
    groups = groupby(ledger.times(), key=lambda times: times.row_id)
    number, attempts = _next(groups)
    for row in all_rows(ledger):
        own = list[AttemptTimes]()
        if number == row.id:
            own = attempts
            number, attempts = _next(groups)
        sums.times(own)
        last = own[-1] if own else None
        yield Item(
            row=_cleaned(row, clean),
            sends=len(own),
            submitted=last.at if last else None,
            ended=last.ended if last else None,
            took=_took(last) if last else None,
        )


def _cleaned(row: LedgerRow, clean: Callable[[str], str]) -> LedgerRow:
    """Return a row with its free text cleaned, so that it can be shown."""
    kind, code, words = row.error or ("", None, "")
    track = row.track
    return evolve(
        row,
        track=evolve(
            track,
            task_id=clean(track.task_id),
            suno_id=clean(track.suno_id),
            author=track.author and clean(track.author),
            brand=track.brand and clean(track.brand),
            extra={clean(name): clean(value) for name, value in track.extra.items()},
        ),
        location=clean(row.location),
        url=row.url and clean(row.url),
        error=row.error and RowError(clean(kind), code, clean(words)),
    )


def _next(groups: Iterator[tuple[int, Iterator[AttemptTimes]]]) -> tuple[int | None, list[AttemptTimes]]:
    number, attempts = next(groups, (None, iter(())))
    return number, list(attempts)


def _took(attempt: AttemptTimes) -> float | None:
    if attempt.took is not None:
        return attempt.took
    # Two clocks may disagree: an end before its submission says nothing.
    return attempt.ended - attempt.at if attempt.ended is not None and attempt.ended >= attempt.at else None
