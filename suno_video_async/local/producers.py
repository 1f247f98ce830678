"""What makes the videos: the protocol of a producer, and the simulated one, which only lets time pass."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Protocol

from attrs import frozen

from suno_video_async.clock import Clock, TimerHandle
from suno_video_async.local.media import MediaFile
from suno_video_async.local.orders import Order

#: The longest that a simulated task waits for its turn, in seconds, and the share of its time.
_PENDING_AT_MOST, _PENDING_SHARE = 2.0, 0.1


@frozen
class Failure:
    """Why no video was made; shown to the client."""

    message: str


class Work(Protocol):
    """A video that is being made."""

    @property
    def progress(self) -> float:
        """The share of it that is done, from 0 to 1."""
        ...

    def cancel(self) -> object:
        """Stop it: nothing is called back after that."""
        ...


#: Takes the video, or the reason why there is none; called once, on the event loop.
OnEnd = Callable[[MediaFile | Failure], object]


class Producer(Protocol):
    """Makes the videos of orders."""

    @property
    def needs_known_tracks(self) -> bool:
        """Whether only the library's tracks can be made into videos."""
        ...

    def start(self, order: Order, *, fails: bool, on_running: Callable[[], object], on_end: OnEnd) -> Work:
        """Start a video.

        Args:
            order: what to make.
            fails: end in a failure, regardless of the order.
            on_running: called when work on it starts, before `on_end`.
            on_end: called at the end.

        """
        ...

    def reset(self) -> None:
        """Restart the random numbers."""
        ...

    async def aclose(self) -> None:
        """Return once nothing is running."""
        ...


class SimulatedProducer:
    """Lets tasks take a random time and gives them all the same video.

    Args:
        clock: the server's.
        video: what every task ends with.
        median: seconds that a task takes; the times are lognormal.
        sigma: the standard deviation of the times' logarithm; 0 gives every task the same time.
        seed: makes the times repeatable.

    """

    needs_known_tracks = False

    def __init__(
        self, clock: Clock, video: MediaFile, median: float, *, sigma: float = 0.0, seed: int = 0
    ) -> None:
        self._clock = clock
        self._video = video
        self._median = median
        self._sigma = sigma
        self._seed = seed
        self.reset()

    def start(
        self,
        order: Order,  # noqa: ARG002  any track will do
        *,
        fails: bool,
        on_running: Callable[[], object],
        on_end: OnEnd,
    ) -> Work:
        """Start the timers."""
        seconds = self._median * self._random.lognormvariate(0.0, self._sigma)
        outcome = Failure("Generation Failed") if fails else self._video
        return _Stages(self._clock, seconds, on_running, lambda: on_end(outcome))

    def reset(self) -> None:
        """Restart the sequence of times."""
        self._random = random.Random(f"{self._seed}/durations")

    async def aclose(self) -> None:
        """Do nothing: the service stops the videos that it started."""


class _Stages:
    """Two timers, one after the other."""

    def __init__(
        self, clock: Clock, seconds: float, on_running: Callable[[], object], on_end: Callable[[], object]
    ) -> None:
        self._clock = clock
        pending = min(_PENDING_AT_MOST, seconds * _PENDING_SHARE)
        self._rest = seconds - pending
        self._began: float | None = None
        self._on_running = on_running
        self._on_end = on_end
        self._timer: TimerHandle = clock.call_later(pending, self._run)

    @property
    def progress(self) -> float:
        if self._began is None:
            return 0.0
        return min(1.0, (self._clock.now() - self._began) / self._rest) if self._rest else 1.0

    def cancel(self) -> None:
        self._timer.cancel()

    def _run(self) -> None:
        self._began = self._clock.now()
        self._timer = self._clock.call_later(self._rest, self._on_end)
        self._on_running()
