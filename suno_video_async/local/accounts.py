"""Keys, and what belongs to each: credits, a place in the rate window, running tasks."""

from __future__ import annotations

import math
from collections.abc import Sequence

from attrs import define, field

from suno_video_async.models import RateLimit

from .exchange import Refusal, amount
from .window import RateWindow

#: What is measured where no limit is set.
DEFAULT_PER = 10.0


@define(eq=False)
class Account:
    """One key's account.

    Attributes:
        balance: credits.
        running: tasks that have not ended.

    """

    window: RateWindow
    balance: float
    running: int = 0

    def pay(self, cost: float) -> None:
        """Take a task's cost.

        Raises:
            Refusal: 402, the balance is lower than the cost.

        """
        if not self.affords(cost):
            message = f"Insufficient Credits - {amount(cost)} needed, {amount(self.balance)} left"
            raise Refusal(402, message)
        self.balance -= cost

    def affords(self, cost: float) -> bool:
        """Whether the balance covers a cost; sums of fractions may be off in their last digits."""
        return self.balance - cost >= -1e-9


@define
class Accounts:
    """All accounts, by their keys."""

    keys: Sequence[str] = field(repr=False)
    credits: float
    rate: RateLimit | None
    _by_key: dict[str, Account] = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Open every account anew."""
        self._by_key = {key: Account(self._window(), self.credits) for key in self.keys}

    def admit(self, key: str | None, now: float) -> Account:
        """Return the account of a key, whose request has arrived.

        Raises:
            Refusal: 401, there is no such account; 429, it is over the rate limit.

        """
        account = self._by_key.get(key or "")
        if account is None:
            raise Refusal(401)
        wait = account.window.arrive(now)
        if wait is not None:
            raise Refusal(429, retry_after=max(1, math.ceil(wait)))
        return account

    @property
    def max_in_any_window(self) -> int:
        """The largest number of one key's arrivals in any window."""
        return max((account.window.max_in_any_window for account in self._by_key.values()), default=0)

    def _window(self) -> RateWindow:
        if self.rate is None:
            return RateWindow(None, DEFAULT_PER)
        return RateWindow(self.rate.requests, self.rate.per)
