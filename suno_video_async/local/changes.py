"""The order in which tasks have changed, so that a page can ask for what is new, and wait for it."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from itertools import takewhile
from typing import Final

from attrs import define, field

#: Changed tasks that are remembered: a reader that has seen less of them reads everything again.
REMEMBERED: Final = 2_000


def _new_epoch() -> str:
    return secrets.token_hex(4)


@define(eq=False)
class Changes:
    """Numbers the changes of tasks.

    Attributes:
        number: of the newest change.
        epoch: differs after every reset, and for every server: numbers of another epoch mean nothing.

    """

    number: int = 0
    epoch: str = field(factory=_new_epoch)
    _seen: dict[str, int] = field(factory=dict[str, int], repr=False)
    _oldest: int = 0
    _waiting: set[Callable[[], object]] = field(factory=set[Callable[[], object]], repr=False)

    @property
    def now(self) -> str:
        """The present state, to be given to `since`."""
        return f"{self.epoch}.{self.number}"

    @property
    def waiting(self) -> int:
        """How many wait for the next change."""
        return len(self._waiting)

    def note(self, task_id: str) -> None:
        """Record that a task has changed."""
        self.number += 1
        self._seen.pop(task_id, None)  # to the end
        self._seen[task_id] = self.number
        if len(self._seen) > REMEMBERED:
            self._oldest = self._seen.pop(next(iter(self._seen)))
        self._wake()

    def forget(self, task_id: str) -> None:
        """Forget a task that does not exist any more."""
        self._seen.pop(task_id, None)

    def clear(self) -> None:
        """Forget all tasks; every state that was read so far is outdated."""
        self.number = self._oldest = 0
        self.epoch = _new_epoch()
        self._seen.clear()
        self._wake()

    def touch(self) -> None:
        """Record that something else than a task has changed."""
        self.number += 1
        self._wake()

    def since(self, state: str) -> list[str] | None:
        """Return the tasks that have changed since a state, the newest first; None if that is not known."""
        epoch, _, number = state.partition(".")
        if epoch != self.epoch or not number.isdecimal() or int(number[:18]) < self._oldest:
            return None
        known = int(number[:18])
        return list(takewhile(lambda task_id: self._seen[task_id] > known, reversed(self._seen)))

    def subscribe(self, wake: Callable[[], object]) -> Callable[[], object]:
        """Have a function called at each change; return what ends that."""
        self._waiting.add(wake)
        return lambda: self._waiting.discard(wake)

    def _wake(self) -> None:
        for wake in tuple(self._waiting):
            wake()
