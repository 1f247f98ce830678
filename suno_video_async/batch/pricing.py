"""What the next video is taken to cost, from what the API has said so far.

Under a budget each purchase sets an amount aside before it is sent, and the budget holds as long as no video costs
more than that. Three things are known of a price, and each of them can be too low:

- the *estimate*: asked once for each kind of input, so it knows nothing of a price that has risen since, nor of
  one that differs by track;
- what TaskInfo says is *reserved* for a task that is not finished;
- what the *recent* videos cost in the end.

So the dearest of the three is set aside. What is recent are the last `RECENT` prices: one dear video does not hold
up the rest of a catalog for ever.

A rise shows only once a price is named, so the number of purchases whose price is not named yet is bounded: at
most `OUTSTANDING` at once. When a dearer price is named, what is set aside for them rises as well, before another
one is sent. What is spent in the end is therefore at most

    budget + OUTSTANDING x (the dearest price - the dearest reservation)
           + what TaskInfo's reserved credits understate

A row whose outcome is unknown, or that an earlier run left unfinished, does not count among the `OUTSTANDING`, or
four of them would end a run. It is taken to cost as much as the dearest price known; what it really costs beyond
that comes on top.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TypeAlias

import anyio
from attrs import define, field

from suno_video_async.engine import Engine
from suno_video_async.errors import MalformedResponseError
from suno_video_async.ledger.journal import micro
from suno_video_async.models import Estimate, Track

#: The most purchases whose price the API has not named yet.
OUTSTANDING = 4
#: The number of prices that are recent.
RECENT = 20

#: What an estimate may depend on: whether an author and a brand are given.
Shape: TypeAlias = tuple[bool, bool]


def shape_of(track: Track) -> Shape:
    """Return the kind of input that a track is."""
    return track.author is not None, track.brand is not None


@define(eq=False)
class Prices:
    """The prices that are known, in micro-credits. Pure."""

    estimates: dict[Shape, int] = field(factory=dict[Shape, int], init=False)
    _recent: deque[int] = field(factory=lambda: deque[int](maxlen=RECENT), init=False)

    def recall(self, prices: Iterable[int]) -> None:
        """Take over what videos cost in earlier runs, the newest last; this run's prices count as newer."""
        self._recent = deque([*prices, *self._recent], maxlen=RECENT)

    def note(self, price: int) -> bool:
        """Take a price that the API has named; return whether it is dearer than all that are recent."""
        rises = price > self.dearest
        self._recent.append(price)
        return rises

    @property
    def dearest(self) -> int:
        """The dearest recent price; 0 if there is none."""
        return max(self._recent, default=0)

    def reservation(self, shape: Shape) -> int:
        """Return what to set aside for a purchase; its estimate must be known."""
        return max(self.estimates[shape], self.dearest)


@define(eq=False)
class PriceList:
    """Asks for estimates, once for each kind of input."""

    engine: Engine
    prices: Prices = field(factory=Prices)
    _answers: dict[Shape, Estimate] = field(factory=dict[Shape, Estimate], init=False)
    _one: anyio.Lock = field(factory=anyio.Lock, init=False)

    async def learn(self, track: Track) -> Estimate:
        """Know the estimate for a track's kind of input; return the answer that named it.

        Raises:
            APIError: the question was refused.
            TransportError: no readable answer came, or its price makes no sense.

        """
        shape = shape_of(track)
        async with self._one:
            if shape in self._answers:
                return self._answers[shape]
            estimate = await self.engine.estimate(track)
            price = micro(estimate.estimated_credits)
            if price is None:
                raise MalformedResponseError(
                    f"EstimateTask: {estimate.estimated_credits:g} credits for a video make no sense",
                    http_status=200,
                )
            self.prices.estimates[shape], self._answers[shape] = price, estimate
            return estimate
