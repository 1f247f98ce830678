"""PURE: one shared window for all calls, or one for submissions and one for reads.

The two know nothing of each other: each has its own places, queue, pauses and probes. Only the connections of an
owner bound both; submissions get theirs first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import define, evolve

from suno_video_async.models import LimitsFound
from suno_video_async.ratelimit.window import Ask, Filled, Paused, Recalled, Released, Reply, Size, Window, Write


@define
class LaneWindows:
    """The windows of one key.

    Outside of it, the places of the window of the reads have negative numbers, so that one number names one place.

    Attributes:
        window: that of all calls, or of the submissions.
        reads: that of all other calls, if they have their own.

    """

    window: Window
    reads: Window | None = None

    @classmethod
    def of(cls, rate: Size, read_rate: Size | None) -> LaneWindows:
        """Return empty windows."""
        whole = read_rate is None
        return cls(Window.of(rate, whole=whole), None if read_rate is None else Window.of(read_rate, whole=False))

    @classmethod
    def full(cls, rate: Size, read_rate: Size | None, now: float, *, skip: int, found: LimitsFound) -> LaneWindows:
        """Return full windows whose new places have numbers beyond `skip`; they begin with limits found before."""
        windows = cls.of(rate, read_rate)
        windows.step(Ask(owner="", now=now, writes=[Recalled(found), Filled(now)]))
        for window in windows._each():
            window.newest += skip
        return windows

    @property
    def seen(self) -> float:
        """The newest time of all askers."""
        return self.window.seen

    def step(self, ask: Ask) -> Reply:
        """Take in what happened, grant what can be granted now, and say when more can be."""
        if self.reads is None:
            return evolve(self.window.step(ask), found=self.found)
        first = self.window.step(_part(ask, reads=False))
        rest = _part(ask, reads=True)
        second = self.reads.step(evolve(rest, room=rest.room - len(first.granted)))
        create, read = (_indices(ask.wants, reads=reads) for reads in (False, True))
        return Reply(
            granted=[
                *((create[index], place) for index, place in first.granted),
                *((read[index], -place) for index, place in second.granted),
            ],
            wake=min(first.wake, second.wake),
            frees=first.frees,
            read_frees=second.frees,
            pauses=_latest(first.pauses, second.pauses),
            rate=first.rate,
            read_rate=second.rate,
            found=self.found,
        )

    @property
    def found(self) -> LimitsFound | None:
        """The limits that were found so far; None if they are given."""
        if all(window.search is None for window in self._each()):
            return None
        return LimitsFound(
            rate=self.window.found,
            read_rate=None if self.reads is None else self.reads.found,
            running=self.window.cap.cap,
            climbing=any(window.climbing for window in self._each()),
        )

    def settled(self) -> dict[int, float]:
        """Return the places whose attempts have ended: nothing takes them out before one `per` after that."""
        reads = {} if self.reads is None else self.reads.settled()
        return {**self.window.settled(), **{-place: ended for place, ended in reads.items()}}

    def lacks(self, settled: Mapping[int, float], now: float) -> bool:
        """Whether places are missing that were settled, and that no program of ours has taken out yet."""

        def is_missing(place: int, ended: float) -> bool:
            window = self.reads if self.reads is not None and place < 0 else self.window
            # Added as `Window` does it: a difference is rounded otherwise.
            return ended + window.rate.per > max(window.seen, now) and abs(place) not in window.uses

        return any(is_missing(place, ended) for place, ended in settled.items())

    def dump(self) -> dict[str, Any]:
        """Return the state as JSON has it; the rates are kept elsewhere."""
        reads = {} if self.reads is None else {"reads": self.reads.dump()}
        return {**self.window.dump(), **reads}

    @classmethod
    def load(cls, rate: Size, read_rate: Size | None, state: dict[str, Any], now: float) -> LaneWindows:
        """Return the state that was dumped, as `Window.load` does.

        Raises:
            AttributeError, KeyError, TypeError, ValueError: this is none.

        """
        reads = None if read_rate is None else Window.load(read_rate, state["reads"], now, whole=False)
        return cls(Window.load(rate, state, now, whole=reads is None), reads)

    def _each(self) -> Iterable[Window]:
        return (self.window,) if self.reads is None else (self.window, self.reads)


def _part(ask: Ask, *, reads: bool) -> Ask:
    """Return what concerns one of the two windows."""
    return evolve(
        ask,
        writes=[_in_part(write, reads=reads) for write in ask.writes if _concerns(write, reads=reads)],
        in_flight=[abs(place) for place in ask.in_flight if (place < 0) is reads],
        wants=[ask.wants[index] for index in _indices(ask.wants, reads=reads)],
    )


def _concerns(write: Write, *, reads: bool) -> bool:
    if isinstance(write, Released):
        return (write.place < 0) is reads
    if isinstance(write, Paused):
        return write.lane != ("CREATE" if reads else "READ")
    return True


def _in_part(write: Write, *, reads: bool) -> Write:
    if isinstance(write, Released):
        return evolve(write, place=abs(write.place))
    if isinstance(write, Recalled) and reads:
        return Recalled(LimitsFound(rate=write.found.read_rate))
    return write


def _indices(wants: Sequence[str], *, reads: bool) -> list[int]:
    return [index for index, lane in enumerate(wants) if (lane == "READ") is reads]


def _latest(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    return {lane: max(one.get(lane, 0.0), other.get(lane, 0.0)) for lane in {**one, **other}}
