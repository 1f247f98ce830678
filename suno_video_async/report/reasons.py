"""Why rows have no video yet: errors that differ only in ids and numbers count as one reason."""

from __future__ import annotations

import re
from enum import StrEnum

from attrs import define, field, frozen

from suno_video_async.ledger.model import DROPPED, LedgerRow
from suno_video_async.ledger.states import State

#: Maximum row numbers listed for a reason.
MOST_NAMED = 12
#: Characters of an error that are examined, and that are shown.
_MOST_READ, MOST_SHOWN = 2_000, 300
_VARYING = re.compile(
    r"""(?:https?://\S+)|(?:"[^"]*")|(?:(?<!\w)'[^']*'(?!\w))|(?:[^\s:;,()]*[0-9_-][^\s:;,()]*)""", re.VERBOSE
)


class Way(StrEnum):
    """How to resolve a reason."""

    RETRY = "retry"
    """Buy it again, at a new cost."""
    AGAIN = "again"
    """Run the same command again: nothing was bought."""
    NEVER = "never"
    """Do nothing: it was given up by hand."""


@frozen(kw_only=True)
class Reason:
    """One reason, and the rows that it stopped.

    Attributes:
        state: of its rows.
        kind: the error's type.
        code: the service's code, if there is one.
        words: the error's message in the first of its rows, without that row's ids.
        count: how many rows.
        rows: the numbers of the first of them.
        cost: micro-credits that they cost.
        failures: the maximum number of failed tasks of any of them.

    """

    state: State
    kind: str
    code: int | None
    words: str
    count: int
    rows: tuple[int, ...]
    cost: int
    failures: int

    @property
    def way(self) -> Way:
        """How to resolve it."""
        if self.state is not State.FAILED:
            return Way.AGAIN
        return Way.NEVER if self.kind == DROPPED else Way.RETRY


@define(eq=False)
class _Gathered:
    words: str
    count: int = 0
    rows: list[int] = field(factory=list[int])
    cost: int = 0
    failures: int = 0


@define(eq=False)
class Reasons:
    """Groups rows by what stopped them."""

    _found: dict[tuple[State, str, int | None, str], _Gathered] = field(
        factory=dict[tuple[State, str, "int | None", str], _Gathered], init=False
    )

    def add(self, row: LedgerRow) -> None:
        """Add a row; it is ignored if nothing stopped it."""
        if row.state not in {State.FAILED, State.REFUSED} and (
            row.state is not State.PLANNED or row.error is None
        ):
            return
        kind, code, words = row.error or ("no reason known", None, "")
        found = self._found.setdefault(
            (row.state, kind, code, normal(words, row)), _Gathered(without_ids(words, row))
        )
        found.count += 1
        found.cost += row.cost
        found.failures = max(found.failures, row.failures)
        if len(found.rows) < MOST_NAMED:
            found.rows.append(row.id)

    def ordered(self) -> tuple[Reason, ...]:
        """Return the reasons: failed ones before refused ones before planned ones, the most frequent first."""
        order = [State.FAILED, State.REFUSED, State.PLANNED]
        reasons = [
            Reason(
                state=state,
                kind=kind,
                code=code,
                words=found.words,
                count=found.count,
                rows=tuple(found.rows),
                cost=found.cost,
                failures=found.failures,
            )
            for (state, kind, code, _), found in self._found.items()
        ]
        return tuple(sorted(reasons, key=lambda reason: (order.index(reason.state), -reason.count)))


def normal(words: str, row: LedgerRow) -> str:
    """Return an error's message without what differs from row to row: ids, numbers, quoted text and URLs."""
    return " ".join(_VARYING.sub("…", without_ids(words, row)).split())


def without_ids(words: str, row: LedgerRow) -> str:
    """Return the examined part of an error's message, without the ids of its row."""
    words = words[:_MOST_READ]
    for own in (row.video_task_id, row.track.suno_id, row.track.task_id):
        if own and len(own) > 2:
            words = words.replace(own, "…")
    return words
