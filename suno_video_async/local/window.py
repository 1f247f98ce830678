"""The server's side of the rate limit."""

from __future__ import annotations

from collections import deque

from attrs import define, field

#: Two times that differ by less are the same time: sums of floats differ in their last digits.
_SAME = 1e-9


@define
class RateWindow:
    """Counts one key's requests in a sliding window, exactly and in the order of their arrival.

    A refused request takes no place, but it counts as an arrival. Of older arrivals nothing is kept.

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
        """Record a request; return None where it may pass, or the seconds until a place is free."""
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

    def _forget(self, times: deque[float], now: float) -> None:
        while times and now - times[0] >= self.per - _SAME:
            times.popleft()
