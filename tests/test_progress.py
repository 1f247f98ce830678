"""Progress bars: right totals, the states that a person asks for, and no harm to the outcomes."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.progress import Progress

from suno_video_async import NO_LEDGER, MissingExtraError, Outcome, Track
from suno_video_async.progress import Shown, rich_progress, tqdm_progress
from tests.support.clients import FakeAPI, client_of
from tests.support.fakes import answer
from tests.support.virtual import run_virtual

TRACKS = [Track(task_id="m", suno_id=str(number)) for number in range(4)]


class Screen(io.StringIO):
    """What tqdm draws on."""

    def last(self) -> str:
        """Return the bar as it was left."""
        return self.getvalue().replace("\n", "").rpartition("\r")[2].strip()


def converted(source: Any, show: Callable[[Any], Shown], leave_after: int = 99) -> list[str]:
    """Convert a catalog of which track 3 is refused, with its outcomes passing by a bar."""
    api = FakeAPI()

    async def main() -> list[str]:
        client, _ = client_of(
            lambda request: answer(code=422) if b'"3"' in (request.body or b"") else api(request)
        )
        states = list[str]()
        async with client, client.convert(source, ledger=NO_LEDGER) as outcomes:
            with show(outcomes) as shown:
                async for outcome in shown:
                    states.append(outcome.state)
                    if len(states) == leave_after:
                        break
        return states

    return run_virtual(main())


async def tracks() -> AsyncIterator[Track]:
    for track in TRACKS:
        yield track


def generated() -> Iterator[Track]:
    yield from TRACKS


@pytest.mark.parametrize(("source", "total"), [(TRACKS, "4/4"), (tracks, "4track"), (generated, "4track")])
def test_tqdm_shows_what_has_come_out(source: Any, total: str) -> None:
    """Where the number of rows is known it is the total; every outcome comes through, in its order."""
    screen = Screen()
    catalog = source() if callable(source) else source
    states = converted(catalog, lambda outcomes: tqdm_progress(outcomes, file=screen, mininterval=0))
    assert sorted(states) == ["refused", "succeeded", "succeeded", "succeeded"]
    assert total in screen.last()
    assert "done=3, refused=1" in screen.last()


def test_a_given_total_counts() -> None:
    """Who knows better says so; a total that was too low grows."""
    screen = Screen()
    converted(tracks(), lambda outcomes: tqdm_progress(outcomes, total=10, file=screen, mininterval=0))
    assert "4/10" in screen.last()
    screen = Screen()
    converted(tracks(), lambda outcomes: tqdm_progress(outcomes, total=2, file=screen, mininterval=0))
    assert "4/4" in screen.last()


async def test_the_rows_of_a_file_are_counted(tmp_path: Path) -> None:
    """A catalog in a file is read through; a stream is not, for it can be read once only."""
    catalog = tmp_path / "catalog.csv"
    catalog.write_text("task_id,suno_id\nm,1\nm,\nm,3\n", encoding="utf-8")
    client, _ = client_of(FakeAPI())
    async with client:
        assert await client.convert(catalog).count() == 3
        assert await client.convert(str(catalog)).count() == 3
        assert await client.resume(tmp_path / "l.db").count() is None
        if sys.platform != "win32":
            os.mkfifo(tmp_path / "pipe.csv")
            assert await client.convert(tmp_path / "pipe.csv").count() is None


def test_rich_draws_a_task_of_ones_own() -> None:
    """A running `Progress` gets one task with total, counts and states; it is left running."""
    progress = Progress(console=Console(file=io.StringIO()), auto_refresh=False)
    with progress:
        converted(TRACKS, lambda outcomes: rich_progress(outcomes, progress, description="videos"))
        (task,) = progress.tasks
        assert (task.completed, task.total, task.description) == (4, 4, "videos: 3 done, 1 refused")
        assert progress.live.is_started


def test_rich_draws_by_itself(capsys: pytest.CaptureFixture[str]) -> None:
    """Without one, a bar is drawn, and taken down at the end."""
    converted(tracks(), rich_progress)
    assert "3 done" in capsys.readouterr().out


def test_a_loop_that_is_left_closes_its_bar() -> None:
    """Leaving early, and a cancellation, close the bar and pass on."""
    screen = Screen()
    assert len(converted(TRACKS, lambda outcomes: tqdm_progress(outcomes, file=screen), leave_after=2)) == 2
    assert screen.getvalue().endswith("\n")


async def test_a_cancellation_passes_through() -> None:
    """A consumer that is cancelled while it waits is cancelled, once, with its bar closed."""
    screen, waiting = Screen(), asyncio.Event()

    async def never() -> AsyncIterator[Outcome]:
        waiting.set()
        await asyncio.sleep(3600)
        yield Outcome(track=None, state="planned")

    async def consume() -> None:
        async for _ in tqdm_progress(never(), file=screen):
            raise AssertionError("nothing comes")

    task = asyncio.ensure_future(consume())
    await asyncio.wait_for(waiting.wait(), 60)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert screen.getvalue().endswith("\n")


def test_a_screen_that_is_gone_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The bar is given up with a warning; all outcomes come out."""

    class Gone(Screen):
        def write(self, text: str, /) -> int:
            if self.tell() > 10:
                raise BrokenPipeError
            return super().write(text)

    caplog.set_level(logging.WARNING)
    states = converted(TRACKS, lambda outcomes: tqdm_progress(outcomes, file=Gone(), mininterval=0))
    assert len(states) == 4
    assert [record.__dict__["event"] for record in caplog.records] == ["progress_failed"]


@pytest.mark.parametrize(
    ("show", "module", "extra"),
    [(tqdm_progress, "tqdm.auto", "tqdm"), (rich_progress, "rich.progress", "cli")],
)
def test_what_is_missing_is_named(
    show: Callable[[Any], Shown], module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the extra the error has the line that installs it."""
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"pip install 'suno-video-async\[{extra}\]'"):
        show(tracks())


def test_a_console_that_is_gone_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """So it is with rich, whose bar of one's own is taken down."""
    progress = Progress(console=Console(file=io.StringIO()), auto_refresh=False)

    def break_down(*_: object, **__: object) -> None:
        raise BrokenPipeError

    progress.update = break_down  # type: ignore[method-assign]
    caplog.set_level(logging.WARNING)
    with progress:
        assert len(converted(TRACKS, lambda outcomes: rich_progress(outcomes, progress))) == 4
    assert [record.__dict__["event"] for record in caplog.records] == ["progress_failed"]
