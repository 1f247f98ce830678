"""Progress bars for the outcomes of a conversion: tqdm's (extra `tqdm`) and rich's (extra `cli`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import suppress
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from suno_video_async.batch.conversion import Conversion
from suno_video_async.batch.outcome import Outcome
from suno_video_async.errors import MissingExtraError
from suno_video_async.observability.log import fields, logger

if TYPE_CHECKING:
    from rich.progress import Progress

_DONE = ("downloaded", "succeeded")
_REST = ("failed", "refused", "unknown", "submitted", "planned", "skipped")


class _Bar(Protocol):
    """What is drawn."""

    def show(self, ended: int, total: int | None, states: dict[str, int]) -> None:
        """Draw the progress."""
        ...

    def close(self) -> None:
        """Finish the bar in its current state."""
        ...

    def give_up(self) -> None:
        """Stop drawing."""
        ...


class Shown:
    """Passes outcomes on unchanged while a bar shows them: `async for outcome in tqdm_progress(outcomes): …`.

    The bar is closed with the last outcome, and with whatever ends the iteration, a cancellation too. Used as
    `with tqdm_progress(outcomes) as shown:` it is closed where a loop is left early as well. A bar that fails is
    given up, and the outcomes go on.
    """

    def __init__(
        self, outcomes: AsyncIterable[Outcome], total: int | None, make: Callable[[int | None], _Bar]
    ) -> None:
        self._source = outcomes
        self._outcomes = aiter(outcomes)
        self._total = total
        self._make = make
        self._bar: _Bar | None = None
        self._counts = Counter[str]()
        self._begun = False

    def __enter__(self) -> Shown:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __aiter__(self) -> AsyncIterator[Outcome]:
        return self

    async def __anext__(self) -> Outcome:
        """Return the next outcome, and move the bar."""
        try:
            if not self._begun:
                await self._begin()
            outcome = await anext(self._outcomes)
        except BaseException:
            self.close()
            raise
        self._counts[outcome.state] += 1
        self._draw(self._show)
        return outcome

    def close(self) -> None:
        """Finish the bar in its current state; closing twice is harmless."""
        if self._bar is not None:
            self._draw(self._bar.close)
            self._bar = None

    async def _begin(self) -> None:
        self._begun = True
        if self._total is None and isinstance(self._source, Conversion):
            self._total = await self._source.count()
        self._draw(self._open)

    def _open(self) -> None:
        self._bar = self._make(self._total)

    def _show(self) -> None:
        if self._bar is not None:
            ended = self._counts.total()
            if self._total is not None:  # what an earlier run submitted comes out, too
                self._total = max(self._total, ended)
            self._bar.show(ended, self._total, _states(self._counts))

    def _draw(self, draw: Callable[[], None]) -> None:
        """Draw; an error in the display must not stop the conversion."""
        try:
            draw()
        except Exception as error:
            bar, self._bar = self._bar, None
            if bar is not None:
                bar.give_up()
            logger.warning("the progress bar failed", exc_info=True, extra=fields("progress_failed", error=error))


def tqdm_progress(outcomes: AsyncIterable[Outcome], *, total: int | None = None, **options: Any) -> Shown:
    """Show outcomes on a tqdm bar, in a terminal or a notebook.

    Args:
        outcomes: of a conversion.
        total: how many there will be; None counts the rows of the conversion's catalog where it is a file or has a
            length, and shows no total otherwise.
        options: for `tqdm`, such as `desc` or `file`.

    Raises:
        MissingExtraError: tqdm is not installed.

    """
    tqdm: Any = _needed("tqdm.auto", "tqdm").tqdm
    return Shown(outcomes, total, lambda rows: _Tqdm(tqdm(total=rows, **{"unit": "track", **options})))


def rich_progress(
    outcomes: AsyncIterable[Outcome],
    progress: Progress | None = None,
    *,
    total: int | None = None,
    description: str = "tracks",
) -> Shown:
    """Show outcomes on a rich bar.

    Args:
        outcomes: of a conversion.
        progress: a running `rich.progress.Progress` of your own, which gets a task; None draws one of its own.
        total: how many there will be; None as for `tqdm_progress`.
        description: the text before the counts.

    Raises:
        MissingExtraError: rich is not installed.

    """
    rich: Any = _needed("rich.progress", "cli")
    return Shown(
        outcomes, total, lambda rows: _Rich(progress or rich.Progress(), progress is None, description, rows)
    )


class _Tqdm:
    def __init__(self, bar: Any) -> None:
        self._bar = bar

    def show(self, ended: int, total: int | None, states: dict[str, int]) -> None:
        self._bar.total = total
        self._bar.set_postfix(states, refresh=False)
        self._bar.update(ended - self._bar.n)

    def close(self) -> None:
        self._bar.close()

    def give_up(self) -> None:
        self._bar.disable = True  # or it draws once more when it is collected


class _Rich:
    def __init__(self, progress: Progress, own: bool, description: str, total: int | None) -> None:
        self._progress = progress
        self._own = own
        self._description = description
        if own:
            progress.start()
        self._task = progress.add_task(description, total=total)

    def show(self, ended: int, total: int | None, states: dict[str, int]) -> None:
        said = ", ".join(f"{count} {state}" for state, count in states.items())
        self._progress.update(self._task, completed=ended, total=total, description=f"{self._description}: {said}")

    def close(self) -> None:
        self._progress.stop_task(self._task)
        if self._own:
            self._progress.stop()

    def give_up(self) -> None:
        with suppress(Exception):
            self.close()


def _states(counts: Counter[str]) -> dict[str, int]:
    """Return the number of outcomes by state, successes first, without zeros."""
    found = {"done": sum(counts[state] for state in _DONE)} | {state: counts[state] for state in _REST}
    return {state: count for state, count in found.items() if count}


def _needed(module: str, extra: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        name = module.partition(".")[0]
        raise MissingExtraError(f"{name} is not installed: pip install 'suno-video-async[{extra}]'") from error
