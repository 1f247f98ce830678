"""How far a conversion is, on stderr: redrawn on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial

import anyio
import anyio.to_thread
from attrs import define, field
from rich.console import Console, Group
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType
from rich.text import Text

from suno_video_async.cli.live import frame as view
from suno_video_async.cli.live.frame import Frame, about
from suno_video_async.cli.live.state import LiveState
from suno_video_async.cli.output import Output, speaking_above
from suno_video_async.cli.tally import Tally
from suno_video_async.client import ClientStatistics, SunoVideoClient
from suno_video_async.clock import Clock, SystemClock

#: Real seconds between two drawings, between two looks ahead, and between two lines where nothing can be redrawn.
REDRAW, FORESEE, REPEAT = 0.25, 1.0, 30.0
#: Real seconds that the last frame may take to be written.
CLOSING = 2.0
#: Tasks that are shown as the slowest, and the share of all that counts as most.
_SLOWEST = 3


@define(eq=False, kw_only=True)
class Progress:
    """The state of a conversion, as a person sees it.

    Attributes:
        title: what is going on.
        tally: what has come out.
        scene: what goes on.
        client: asked for its state; it must be open.
        sums: returns the credits spent and reserved over the ledger's life, where it knows them.
        budget: the most credits.
        clock: the time of a person who looks on.
        word: a last line, such as what an interruption led to.

    """

    title: str
    tally: Tally
    state: LiveState
    client: SunoVideoClient
    sums: Callable[[], tuple[float, float] | None] = lambda: None
    budget: float | None = None
    clock: Clock = field(factory=SystemClock)
    word: str = field(default="", init=False)
    _began: float | None = field(default=None, init=False)
    _foreseen: tuple[float, str | None, float | None, float | None] | None = field(default=None, init=False)

    def states(self) -> dict[str, int]:
        """Return how many tracks stand where; what is nought is left out."""
        counts, in_flight, downloading = self.tally.counts, self._statistics.in_flight, self.state.downloading
        states = {
            "waiting": self._waiting(in_flight + downloading),
            "in flight": in_flight,
            "downloading": downloading,
            "done": self.tally.done - len(self.tally.undelivered),
            "not downloaded": len(self.tally.undelivered),
        }
        rest = ("failed", "refused", "unknown", "submitted", "planned", "skipped")
        return {name: n for name, n in (states | {name: counts[name] for name in rest}).items() if n > 0}

    @property
    def _statistics(self) -> ClientStatistics:
        return self.client.statistics()

    def _waiting(self, live: int) -> int:
        return 0 if self.tally.total is None else max(0, self.tally.total - self.tally.ended - live)

    def frame(self) -> Frame:
        """Return all that there is to see."""
        now, states = self._statistics, self.states()
        if self._began is None:
            self._began = self.client.clock.now()
        left, stuck_after, usual = self._ahead(states.get("waiting", 0))
        spent, reserved = self._money(now.in_flight)
        limiter = now.limiter
        return Frame(
            title=self.title,
            ended=self.tally.ended,
            total=self.tally.total,
            states=states,
            elapsed=self.client.clock.now() - self._began,
            left=left,
            rate=self.client.rate,
            used=limiter.window_used if limiter else 0,
            requests=now.requests,
            refused=now.refused_429,
            paused_for=limiter.paused_for if limiter else 0.0,
            spent=spent,
            reserved=reserved,
            budget=self.budget,
            slowest=self.state.slowest(_SLOWEST),
            stuck_after=stuck_after,
            usual=usual,
            troubles=tuple(self.state.troubles),
            word=self.word,
        )

    def _ahead(self, waiting: int) -> tuple[str | None, float | None, float | None]:
        """Return the forecast in words, and the ages of a stuck and of a usual task; looked at now and then."""
        now = self.clock.now()
        if self._foreseen is None or now - self._foreseen[0] >= FORESEE:
            self._foreseen = (now, *self._foresee(0 if self.word else waiting))
        return self._foreseen[1:]

    def _foresee(self, waiting: int) -> tuple[str | None, float | None, float | None]:
        ahead = self.client.forecast(waiting)
        if not ahead.known:
            told = waiting and ahead.seconds >= 1  # of those in flight alone nothing is known
            return (f"at least {about(ahead.seconds)} left" if told else None), None, None
        words = f"about {about(ahead.seconds)} left" if ahead.seconds > 0 else ""
        if self.tally.total is None and words:
            words += " for what is in flight"
        if ahead.stuck:
            words = f"{words}, but for {ahead.stuck} stuck" if words else f"only the {ahead.stuck} stuck are left"
        return words or None, ahead.stuck_after, ahead.usual

    def _money(self, in_flight: int) -> tuple[float, float]:
        """Return the credits spent and reserved: the ledger's where there is a budget, else those of this run."""
        sums = self.sums() if self.budget is not None else None
        if sums is not None:
            return sums
        each = self.state.spent / self.state.priced if self.state.priced else 0.0
        return self.state.spent, in_flight * each

    def line(self) -> str:
        """Return the most of it in one line."""
        seen = self.frame()
        of = "" if seen.total is None else f" of {seen.total}"
        states = ", ".join(f"{n} {name}" for name, n in seen.states.items())
        used = "" if seen.rate is None else f", {seen.used} of {seen.rate.requests} in use"
        left = f"; {seen.left}" if seen.left else ""
        return f"{seen.ended}{of} tracks over ({states or 'starting'}); {seen.requests} requests{used}{left}"


@asynccontextmanager
async def shown(progress: Progress, output: Output) -> AsyncGenerator[None, None]:
    """Show progress while the block runs."""
    if not output.live:
        drawing = asyncio.create_task(_repeat(progress, output))
        try:
            yield
        finally:
            await _cancelled(drawing)
        return
    screen = _Screen(output.notes)
    drawing = asyncio.create_task(_redraw(progress, screen))
    try:
        with speaking_above(screen.above.append):
            try:
                yield
            finally:
                await _cancelled(drawing)
    finally:
        # Whatever ended the block; but a terminal that is still held up must not keep a user who leaves.
        with anyio.move_on_after(CLOSING, shield=True), suppress(Exception):
            await _draw(progress, screen)  # the last of it
        with anyio.move_on_after(CLOSING, shield=True), suppress(OSError):
            await anyio.to_thread.run_sync(screen.close, abandon_on_cancel=True)


async def _cancelled(task: asyncio.Task[None]) -> None:
    """End a drawing; whatever it met, such as a terminal that is gone, must not break a run."""
    task.cancel()
    with suppress(asyncio.CancelledError, Exception):
        await task


async def _redraw(progress: Progress, screen: _Screen) -> None:
    while True:
        await _draw(progress, screen)
        await progress.clock.sleep(REDRAW)


async def _draw(progress: Progress, screen: _Screen) -> None:
    """Draw the newest state.

    What is drawn is made here, on the event loop, to which the client's state belongs. It is written by a thread:
    a terminal that is held up (Ctrl+S) must not hold up the client.
    """
    frame = view.lines(progress.frame(), width=screen.width, height=screen.height, letters=screen.letters)
    screen.above.extend(progress.state.take_news())
    await anyio.to_thread.run_sync(partial(screen.draw, frame), abandon_on_cancel=True)


async def _repeat(progress: Progress, output: Output) -> None:
    while True:
        await progress.clock.sleep(REPEAT)
        output.hint(progress.line())


class _Screen:
    """The lowest lines of a terminal, drawn over again and again. Its calls block, but for the attributes.

    Attributes:
        above: lines that are to be written above them, with the next frame: nobody else writes to the terminal.

    """

    def __init__(self, console: Console) -> None:
        self.above = deque[Text]()
        self._console = console
        self._drawn = list[int]()
        # stdout is left alone, because results go there.
        self._live = Live(
            console=console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
        )
        # As on Windows' old consoles, and where the locale has no Unicode.
        self.letters: bool = console.legacy_windows or "utf" not in console.encoding.lower()

    @property
    def width(self) -> int:
        """Columns that may be used: the last stays free, since some terminals go on to the next line there."""
        return max(1, self._console.width - 1)

    @property
    def height(self) -> int:
        """Lines that may be used, with one left for the prompt that was there."""
        return max(1, self._console.height - 1)

    def draw(self, frame: Sequence[Text]) -> None:
        """Draw a frame in the place of the last one, and what is to go above it."""
        self._live.start()
        self._make_up_for_wrapping()
        self._drawn = view.widths(frame)
        self._live.update(Group(*frame))
        self._write_above()
        self._live.refresh()

    def close(self) -> None:
        """Take the frame away, and leave what went above it."""
        self._make_up_for_wrapping()
        self._write_above()
        self._live.stop()

    def _write_above(self) -> None:
        while self.above:
            self._console.print(self.above.popleft(), soft_wrap=True)

    def _make_up_for_wrapping(self) -> None:
        """Wipe the lines into which a terminal that became narrower has broken those of the last frame."""
        columns = max(1, self._console.width)
        more = sum(max(0, (cells - 1) // columns) for cells in self._drawn)
        if more:
            wipe = [(ControlType.ERASE_IN_LINE, 2), (ControlType.CURSOR_UP, 1)]
            self._console.control(Control(ControlType.CARRIAGE_RETURN, *(wipe * more)))
