"""Shows a conversion's progress on stderr: redrawn on a terminal, elsewhere a line now and then."""

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

from suno_video_async._util.words import many
from suno_video_async.cli.live import frame as view
from suno_video_async.cli.live.frame import Frame, about
from suno_video_async.cli.live.state import LiveState
from suno_video_async.cli.output import Output, writing_above
from suno_video_async.cli.tally import Tally
from suno_video_async.client import ClientStatistics, SunoVideoClient
from suno_video_async.clock import Clock, SystemClock

#: Real seconds between two frames, between two forecasts, and between two lines where nothing can be redrawn.
REDRAW, FORESEE, REPEAT = 0.25, 1.0, 30.0
#: Maximum real seconds for writing the last frame.
CLOSING = 2.0
#: How many of the slowest tasks are shown.
_SLOWEST = 3


@define(eq=False, kw_only=True)
class Progress:
    """The state of a conversion, as a person sees it.

    Attributes:
        title: the heading.
        tally: the outcomes so far.
        state: what is in progress.
        client: the client whose statistics are shown; it must be open.
        sums: returns the credits spent and reserved over the ledger's lifetime, or None if not known.
        budget: the maximum credits.
        clock: the real time, which paces the redrawing.
        word: a last line, such as the effect of an interruption.

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
        """Return the number of tracks in each state, without zeros."""
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
        """Return the current frame."""
        now, states = self._statistics, self.states()
        if self._began is None:
            self._began = self.client.clock.now()
        left, stuck_after, usual = self._ahead(states.get("waiting", 0))
        spent, reserved = self._money(now.in_flight)
        limiter = now.limiter
        return Frame(
            title=self.title,
            ended=self.tally.ended - self.tally.counts["planned"],  # those wait for another run
            total=self.tally.total,
            states=states,
            elapsed=self.client.clock.now() - self._began,
            left=left,
            rate=self.client.rate,
            used=limiter.window_used if limiter else 0,
            read_rate=self.client.read_rate,
            reads_used=(limiter.reads_used if limiter else None) or 0,
            found=str(self.client.limits_found or ""),
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
        """Return the forecast in words, and the ages of a stuck and of a usual task; refreshed now and then."""
        now = self.clock.now()
        if self._foreseen is None or now - self._foreseen[0] >= FORESEE:
            self._foreseen = (now, *self._foresee(0 if self.word else waiting))
        return self._foreseen[1:]

    def _foresee(self, waiting: int) -> tuple[str | None, float | None, float | None]:
        ahead = self.client.forecast(waiting)
        if not ahead.known:
            useful = waiting and ahead.seconds >= 1  # about those in flight alone, nothing is known
            return (f"at least {about(ahead.seconds)} left" if useful else None), None, None
        words = f"about {about(ahead.seconds)} left" if ahead.seconds > 0 else ""
        if self.tally.total is None and words:
            words += " for what is in flight"
        if ahead.stuck:
            words = f"{words}, but for {ahead.stuck} stuck" if words else f"only the {ahead.stuck} stuck are left"
        return words or None, ahead.stuck_after, ahead.usual

    def _money(self, in_flight: int) -> tuple[float, float]:
        """Return the credits spent and reserved: the ledger's if there is a budget, else those of this run."""
        sums = self.sums() if self.budget is not None else None
        if sums is not None:
            return sums
        each = self.state.spent / self.state.priced if self.state.priced else 0.0
        return self.state.spent, in_flight * each

    def line(self) -> str:
        """Return a summary of the frame in one line."""
        seen = self.frame()
        of = "" if seen.total is None else f" of {seen.total}"
        states = ", ".join(f"{n} {name}" for name, n in seen.states.items())
        used = "" if seen.rate is None else f", {seen.used} of {seen.rate.requests} in use"
        used += "" if seen.read_rate is None else f", {seen.reads_used} of {seen.read_rate.requests} reads"
        left = f"; {seen.left}" if seen.left else ""
        requests = many(seen.requests, "request")
        return f"{seen.ended}{of} tracks finished ({states or 'starting'}); {requests}{used}{left}"


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
        with writing_above(screen.above.append):
            try:
                yield
            finally:
                await _cancelled(drawing)
    finally:
        # However the block ended; but a terminal that is paused must not keep the command from exiting.
        with anyio.move_on_after(CLOSING, shield=True), suppress(Exception):
            await _draw(progress, screen)  # the last frame
        with anyio.move_on_after(CLOSING, shield=True), suppress(OSError):
            await anyio.to_thread.run_sync(screen.close, abandon_on_cancel=True)


async def _cancelled(task: asyncio.Task[None]) -> None:
    """Stop drawing; an error in it, such as a closed terminal, must not break a run."""
    task.cancel()
    with suppress(asyncio.CancelledError, Exception):
        await task


async def _redraw(progress: Progress, screen: _Screen) -> None:
    while True:
        await _draw(progress, screen)
        await progress.clock.sleep(REDRAW)


async def _draw(progress: Progress, screen: _Screen) -> None:
    """Draw the newest state.

    The frame is made here, on the event loop, which owns the client's state. A thread writes it: a paused terminal
    (Ctrl+S) must not block the client.
    """
    frame = view.lines(progress.frame(), width=screen.width, height=screen.height, letters=screen.letters)
    screen.above.extend(progress.state.take_news())
    await anyio.to_thread.run_sync(partial(screen.draw, frame), abandon_on_cancel=True)


async def _repeat(progress: Progress, output: Output) -> None:
    while True:
        await progress.clock.sleep(REPEAT)
        output.hint(progress.line())


class _Screen:
    """The bottom lines of a terminal, redrawn in place. Its methods block.

    Attributes:
        above: lines to write above the frame when it is drawn next; nothing else writes to the terminal.

    """

    def __init__(self, console: Console) -> None:
        self.above = deque[Text]()
        self._console = console
        self._drawn = list[int]()
        # stdout is left alone, because results go there.
        self._live = Live(
            console=console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
        )
        # On legacy Windows consoles, and if the locale's encoding is not Unicode.
        self.letters: bool = console.legacy_windows or "utf" not in console.encoding.lower()

    @property
    def width(self) -> int:
        """Usable columns: one stays free, since some terminals wrap there, and two for the `^C` that they echo."""
        return max(1, self._console.width - 3)

    @property
    def height(self) -> int:
        """Usable lines: one stays free for the shell's prompt."""
        return max(1, self._console.height - 1)

    def draw(self, frame: Sequence[Text]) -> None:
        """Draw a frame in place of the last one, and the pending lines above it."""
        self._live.start()
        self._erase_wrapped_lines()
        self._drawn = view.widths(frame)
        self._live.update(Group(*frame))
        self._write_above()
        self._live.refresh()

    def close(self) -> None:
        """Erase the frame, and keep the lines above it."""
        self._erase_wrapped_lines()
        self._write_above()
        self._live.stop()

    def _write_above(self) -> None:
        while self.above:
            self._console.print(self.above.popleft(), soft_wrap=True)

    def _erase_wrapped_lines(self) -> None:
        """Erase the extra lines that the last frame occupies after the terminal became narrower."""
        columns = max(1, self._console.width)
        more = sum(max(0, (cells - 1) // columns) for cells in self._drawn)
        if more:
            wipe = [(ControlType.ERASE_IN_LINE, 2), (ControlType.CURSOR_UP, 1)]
            self._console.control(Control(ControlType.CARRIAGE_RETURN, *(wipe * more)))
