"""The account behind each key: its credits, rate window, running tasks and counts."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Sequence
from typing import Any

from attrs import define, field

from suno_video_async._util.words import many
from suno_video_async.local.exchange import Refusal, amount
from suno_video_async.local.keys import ApiKey
from suno_video_async.models import RateLimit

#: The window in which requests are counted if no limit is set, in seconds.
DEFAULT_PER = 10.0


#: Two times that differ by less are the same time: sums of floats differ in their last digits.
_SAME = 1e-9


@define
class RateWindow:
    """Counts one key's requests in a sliding window, exactly and in the order of their arrival.

    A refused request takes no place, but it counts as an arrival. Older arrivals are dropped.

    Args:
        limit: requests in any half-open window of `per` seconds, or None for any number.
        per: the window's length in seconds.

    """

    limit: int | None
    per: float
    #: The largest number of arrivals in any window so far, refused ones included.
    max_in_any_window: int = field(default=0, init=False)
    _admitted: deque[float] = field(factory=deque[float], init=False, repr=False)
    _arrivals: deque[float] = field(factory=deque[float], init=False, repr=False)

    def arrive(self, now: float) -> float | None:
        """Record a request; return None if it may pass, or the seconds until a place is free."""
        self._forget(self._arrivals, now)
        self._arrivals.append(now)
        self.max_in_any_window = max(self.max_in_any_window, len(self._arrivals))
        if self.limit is None:
            return None
        self._forget(self._admitted, now)
        if len(self._admitted) >= self.limit:
            return self._admitted[0] + self.per - now
        self._admitted.append(now)
        return None

    def in_use(self, now: float) -> int:
        """Return how many requests the window holds."""
        times = self._arrivals if self.limit is None else self._admitted
        self._forget(times, now)
        return len(times)

    def _forget(self, times: deque[float], now: float) -> None:
        while times and now - times[0] >= self.per - _SAME:
            times.popleft()


@define
class Tally:
    """Counts for one key, or for all of them.

    Attributes:
        requests: by call, refused ones included.
        refused: by code.
        charged_by_track: by `task_id/suno_id/author/brand`.
        faults: that occurred, by kind.
        tasks: created.
        refunded: that failed, and whose credits were given back.

    """

    requests: Counter[str] = field(factory=Counter[str])
    refused: Counter[str] = field(factory=Counter[str])
    charged_by_track: Counter[str] = field(factory=Counter[str])
    faults: Counter[str] = field(factory=Counter[str])
    tasks: int = 0
    refunded: int = 0

    def charge(self, track: str) -> None:
        """Count a task that was created and paid for."""
        self.tasks += 1
        self.charged_by_track[track] += 1

    def data(self) -> dict[str, Any]:
        """Return the counts for JSON."""
        return {
            "requests": dict(self.requests),
            "refused": dict(self.refused),
            "charged": self.charged_by_track.total(),
            "tasks": self.tasks,
            "charged_by_track": dict(self.charged_by_track),
            "refunded": self.refunded,
            "faults": dict(self.faults),
        }


@define(eq=False)
class Account:
    """One key's account.

    Attributes:
        name: the key's name; the key itself is not kept here.
        window: of all calls, or of CreateTask alone.
        reads: the window of all other calls, if they have their own.
        balance: credits.
        max_running: tasks that may run at once.
        running: unfinished tasks.

    """

    name: str
    window: RateWindow
    balance: float
    max_running: int
    reads: RateWindow | None = None
    disabled: bool = False
    feature_off: bool = False
    running: int = 0
    tally: Tally = field(factory=Tally, repr=False)

    def admit(self, now: float, *, creates: bool) -> None:
        """Admit a request that has arrived.

        Args:
            now: the time.
            creates: whether it is a CreateTask.

        Raises:
            Refusal: 403, the key is disabled; 429, it is over the rate limit.

        """
        if self.disabled:
            raise Refusal(403)
        wait = (self.window if creates or self.reads is None else self.reads).arrive(now)
        if wait is not None:
            raise Refusal(429, retry_after=max(1, math.ceil(wait)))

    def begin(self, cost: float) -> None:
        """Charge a task, and count it as running.

        Raises:
            Refusal: 429, the maximum number of tasks is running; 402, the balance is lower than the cost.

        """
        if self.running >= self.max_running:
            raise Refusal(429, f"Rate Limited - {many(self.max_running, 'task is', 'tasks are')} running already")
        if not self.affords(cost):
            message = f"Insufficient Credits - {amount(cost)} needed, {amount(self.balance)} left"
            raise Refusal(402, message)
        self.balance -= cost
        self.running += 1

    def check_feature(self) -> None:
        """Refuse a call that makes videos if the feature is switched off.

        Raises:
            Refusal: 505.

        """
        if self.feature_off:
            raise Refusal(505)

    def affords(self, cost: float) -> bool:
        """Whether the balance covers a cost; sums of fractions may be off in their last digits."""
        return self.balance - cost >= -1e-9

    def data(self) -> dict[str, Any]:
        """Return the statistics of the key."""
        return {
            **self.tally.data(),
            "balance": amount(self.balance),
            "running": self.running,
            "max_in_any_window": self.window.max_in_any_window,
            **({} if self.reads is None else {"max_reads_in_any_window": self.reads.max_in_any_window}),
        }


@define
class Accounts:
    """All accounts, by their keys.

    Attributes:
        keys: with their names.
        credits, rate, max_running, read_rate: the defaults for keys that set none of their own.

    """

    keys: Sequence[ApiKey] = field(repr=False)
    credits: float
    rate: RateLimit | None
    max_running: int
    read_rate: RateLimit | None = None
    _by_key: dict[str, Account] = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Open every account afresh."""
        self._by_key = {key.key: self._open(key) for key in self.keys}

    def find(self, key: str | None) -> Account | None:
        """Return the account of a key, if there is one."""
        return self._by_key.get(key or "")

    @property
    def opened(self) -> tuple[Account, ...]:
        """The accounts, in the order of their keys."""
        return tuple(self._by_key.values())

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the keys, in their order."""
        return tuple(account.name for account in self._by_key.values())

    @property
    def max_in_any_window(self) -> int:
        """The largest number of one key's arrivals in any window."""
        return max((account.window.max_in_any_window for account in self._by_key.values()), default=0)

    @property
    def max_reads_in_any_window(self) -> int | None:
        """The same of the reads; None if no key has a window for them."""
        return max(
            (account.reads.max_in_any_window for account in self._by_key.values() if account.reads is not None),
            default=None,
        )

    def data(self) -> dict[str, Any]:
        """Return the statistics of each key, by its name."""
        return {account.name: account.data() for account in self._by_key.values()}

    def _open(self, key: ApiKey) -> Account:
        rate = self.rate if key.rate == "default" else key.rate
        reads = self.read_rate if key.read_rate == "default" else key.read_rate
        return Account(
            name=key.name or "",
            window=RateWindow(None, DEFAULT_PER) if rate is None else RateWindow(rate.requests, rate.per),
            reads=None if reads is None else RateWindow(reads.requests, reads.per),
            balance=self.credits if key.credits is None else key.credits,
            max_running=key.max_running or self.max_running,
            disabled=key.disabled,
            feature_off=key.feature_off,
        )


@define
class Counts:
    """What happened on the server since its start or its last reset."""

    total: Tally = field(factory=Tally)
    callbacks: Counter[str] = field(factory=Counter[str])
    first_request_at: float | None = None
    last_request_at: float | None = None

    def arrived(self, call: str, now: float) -> None:
        """Count one request of the API."""
        self.total.requests[call] += 1
        self.first_request_at = now if self.first_request_at is None else self.first_request_at
        self.last_request_at = now
