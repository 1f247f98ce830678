"""While a server is closed for longer than this library waits, calls end at once instead of waiting for it.

A `Retry-After` beyond the horizon of its kind says so. The limiter pauses until that time: tasks in flight are
polled afterwards. But a caller that waits for one result must not hang for as long.
"""

from __future__ import annotations

from attrs import define, field

from suno_video_async.clock import Clock
from suno_video_async.errors import APIError
from suno_video_async.ratelimit.limiter import Lane


@define(eq=False)
class Closing:
    """Until when each lane is closed, and the error that said so."""

    clock: Clock
    _closed: dict[Lane, tuple[float, APIError]] = field(factory=dict[Lane, tuple[float, APIError]], init=False)

    def __bool__(self) -> bool:
        """Whether any lane was ever closed."""
        return bool(self._closed)

    def note(self, lane: Lane, error: APIError, seconds: float) -> None:
        """Close a lane for `seconds` from now."""
        self._closed[lane] = (self.clock.now() + seconds, error)

    def check(self, lane: Lane) -> None:
        """Return if calls of a lane can be sent or wait for their turn.

        Raises:
            APIError: the server is closed: the error that said so.

        """
        for closed in {Lane.ALL, lane}:
            until, error = self._closed.get(closed, (0.0, None))
            if error is not None and self.clock.now() < until:
                raise error.with_traceback(None)
