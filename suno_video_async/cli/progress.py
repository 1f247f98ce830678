"""How far a conversion is, on stderr: redrawn on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress

from attrs import define, field
from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from suno_video_async.cli.output import Output
from suno_video_async.cli.tally import Tally
from suno_video_async.client import ClientStatistics
from suno_video_async.models import RateLimit

#: Real seconds between two drawings, and between two lines where nothing can be redrawn.
REDRAW, REPEAT = 0.25, 30.0

_COLOURS = {"failed": "red", "refused": "red", "unknown": "bold red", "not downloaded": "red"}


@define(eq=False, kw_only=True)
class Progress:
    """The state of a conversion, as a person sees it.

    Attributes:
        title: what is going on.
        tally: what has come out.
        statistics: asks the client for its state.
        rate: the limit, to compare with.
        word: a last line, such as what an interruption led to.

    """

    title: str
    tally: Tally
    statistics: Callable[[], ClientStatistics]
    rate: RateLimit | None
    word: str = field(default="", init=False)

    def states(self) -> dict[str, int]:
        """Return how many tracks stand where, the usual way of a track first; what is nought is left out."""
        counts, in_flight = self.tally.counts, self.statistics().in_flight
        waiting = None if self.tally.total is None else self.tally.total - self.tally.ended - in_flight
        states = {
            "waiting": max(0, waiting or 0),
            "in flight": in_flight,
            "done": self.tally.done,
            "not downloaded": len(self.tally.undelivered),
        }
        rest = ("failed", "refused", "unknown", "submitted", "planned", "skipped")
        return {name: n for name, n in (states | {name: counts[name] for name in rest}).items() if n}

    def requests(self) -> str:
        """Return how many requests were sent, and how much of the limit is in use."""
        now = self.statistics()
        limiter = now.limiter
        if limiter is None or self.rate is None:
            return f"{now.requests} requests"
        paused = f", paused by the server for {limiter.paused_for:.0f} s" if limiter.paused_for else ""
        return f"{now.requests} requests, {limiter.window_used} of {self.rate.requests} in use{paused}"

    def line(self) -> str:
        """Return all of it in one line."""
        of = "" if self.tally.total is None else f" of {self.tally.total}"
        states = ", ".join(f"{n} {name}" for name, n in self.states().items())
        return f"{self.tally.ended}{of} tracks over ({states or 'starting'}); {self.requests()}"

    def __rich__(self) -> RenderableType:
        """Return it as a few lines that fit a narrow terminal."""
        states = Text("  ").join(
            Text(f"{n} {name}", style=_COLOURS.get(name, "")) for name, n in self.states().items()
        )
        lines: list[RenderableType] = [_bar(self.title, self.tally), states, Text(self.requests(), style="dim")]
        if self.word:
            lines.append(Text(self.word, style="yellow"))
        return Group(*lines)


def _bar(title: str, tally: Tally) -> Table:
    of = "" if tally.total is None else f"/{tally.total}"
    grid = Table.grid(expand=True, padding=(0, 1))
    grid.add_column(no_wrap=True, overflow="ellipsis")
    grid.add_column(ratio=1, min_width=8)
    grid.add_column(no_wrap=True, justify="right")
    total = None if tally.total is None else float(max(1, tally.total))
    grid.add_row(Text(title), ProgressBar(total=total, completed=float(tally.ended)), Text(f"{tally.ended}{of}"))
    return grid


@asynccontextmanager
async def shown(progress: Progress, output: Output) -> AsyncGenerator[None, None]:
    """Show progress while the block runs."""
    # Drawn from the event loop, not from a thread of rich's: the client's state belongs to the loop. stdout is
    # left alone, because results go there.
    live = Live(
        progress,
        console=output.notes,
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    draw = _redraw(live) if output.live else _repeat(progress, output)
    if output.live:
        live.start()
    drawing = asyncio.create_task(draw)
    try:
        yield
    finally:
        drawing.cancel()
        with suppress(asyncio.CancelledError):
            await drawing
        if output.live:
            live.stop()


async def _redraw(live: Live) -> None:
    while True:
        live.refresh()
        await asyncio.sleep(REDRAW)


async def _repeat(progress: Progress, output: Output) -> None:
    while True:
        await asyncio.sleep(REPEAT)
        output.note(progress.line())
