"""`suno-video render`: videos of your own songs, without a server."""

from __future__ import annotations

import asyncio
import os
import shlex
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click
from attrs import define, field, frozen
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from suno_video_async.cli.demo import check_extra
from suno_video_async.cli.exits import Exit, UsageProblem
from suno_video_async.cli.interrupts import Interrupts, run_interruptible
from suno_video_async.cli.options import font_option, output_options, size_option, writable_folder
from suno_video_async.cli.output import Output, plain, writing_above
from suno_video_async.download.filenames import named_after

if TYPE_CHECKING:
    from suno_video_async.lyricvideo.errors import LibraryError
    from suno_video_async.lyricvideo.folder import FolderLibrary
    from suno_video_async.lyricvideo.library import LibraryTrack
    from suno_video_async.lyricvideo.making import Looks

#: Seconds between two looks at a watched folder.
EVERY = 1.0


@click.command(
    "render",
    epilog="\b\nExamples:\n  suno-video render songs\n  suno-video render songs --size portrait --watch",
)
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--output-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("videos"),
    show_default=True,
    metavar="DIR",
    help="The folder for the videos.",
)
@size_option
@font_option
@click.option("--brand", default="", metavar="TEXT", help="The brand at the edge of the picture.")
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    metavar="N",
    help="Make N videos at once; by default as many as this machine has cores and memory for.",
)
@click.option(
    "--watch", is_flag=True, help="Go on: make the videos of songs that are added or changed, until Ctrl+C."
)
@output_options
def render_command(*, directory: Path, output_dir: Path, output: Output, **options: Any) -> int:
    """Make a lyric video of every song in DIR.

    DIR has one folder per album or music task, with one subfolder per song that holds audio, cover, lyrics and
    track.toml; suno-video library check lists what is wrong in it. A video that is there already and was made of
    the same input is left alone, so the same command goes on after an interruption and makes only what has
    changed.
    """
    check_extra("this command renders videos")
    from suno_video_async.lyricvideo.errors import LibraryError  # noqa: PLC0415  of the `local` extra
    from suno_video_async.lyricvideo.folder import FolderLibrary  # noqa: PLC0415  likewise

    try:
        library = FolderLibrary(directory, lenient=True)
    except LibraryError as error:
        raise UsageProblem(str(error)) from error
    folder = writable_folder(output_dir)
    with TemporaryDirectory(prefix="suno-video-") as drawn:
        studio = _Studio.made(library, folder, Path(drawn), output, **options)
        return run_interruptible(studio.run)


@frozen
class _Made:
    """What came of one song: done, there, failed or interrupted."""

    track: LibraryTrack
    state: str
    path: Path | None = None
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    error: str | None = None


@define(eq=False, kw_only=True)
class _Studio:
    """Makes the videos of a library, several at once."""

    library: FolderLibrary
    folder: Path
    #: For covers that are drawn, or taken out of an audio file.
    drawn: Path
    output: Output
    looks: Looks
    brand: str
    jobs: int
    threads: int
    watch: bool
    _stop: threading.Event = field(factory=threading.Event)
    _bars: Progress | None = None
    _told: set[str] = field(factory=set[str])
    _failed: int = 0
    #: What was made of each song: the track, since it changes with what its files say.
    _known: dict[tuple[str, str], object] = field(factory=dict[tuple[str, str], object])

    @classmethod
    def made(
        cls,
        library: FolderLibrary,
        folder: Path,
        drawn: Path,
        output: Output,
        *,
        size: tuple[int, int],
        fonts: tuple[Path, ...],
        brand: str,
        jobs: int | None,
        watch: bool,
    ) -> _Studio:
        from suno_video_async.lyricvideo.making import Looks, shared_threads, workers  # noqa: PLC0415  of the `local` extra

        cores = _cores()
        jobs = jobs or workers(cores, _free_memory())
        return cls(
            library=library,
            folder=folder,
            drawn=drawn,
            output=output,
            looks=Looks(size=size, fonts=fonts),
            brand=brand,
            jobs=jobs,
            threads=shared_threads(jobs, cores),
            watch=watch,
        )

    async def run(self, interrupts: Interrupts) -> int:
        """Make all videos, and return the exit code."""
        import anyio.to_thread  # noqa: PLC0415  help and mistakes do without it

        pool = ThreadPoolExecutor(self.jobs, thread_name_prefix="suno-video-render")
        try:
            with interrupts.meaning(once=self._stop.set, leave=self._stop.set), self._live():
                await self._pass(pool)
                while self.watch and not self._stop.is_set():
                    await asyncio.sleep(EVERY)
                    if await anyio.to_thread.run_sync(self.library.refresh):
                        await self._pass(pool)
        finally:
            await anyio.to_thread.run_sync(pool.shutdown)
        if interrupts.happened and not self.watch:
            self.output.hint("interrupted; run it again to go on: the videos that are there are not made again")
            return Exit.INTERRUPTED
        where = shlex.quote(os.fspath(self.folder))
        self.output.hint(f"the videos are in {where}")
        return Exit.FAILED if self._failed or self.library.mistakes else Exit.DONE

    async def _pass(self, pool: ThreadPoolExecutor) -> None:
        """Make the videos of all songs that have none of their present input."""
        from suno_video_async.lyricvideo.making import names_of  # noqa: PLC0415  of the `local` extra

        for mistake in self.library.mistakes:
            self._leave_out(mistake)
        tracks = self.library.tracks()
        names = names_of(tracks, named_after)
        loop = asyncio.get_running_loop()
        waiting = [
            loop.run_in_executor(pool, self._make, track, self.folder / names[track.task_id, track.suno_id])
            for track in tracks
        ]
        for made in asyncio.as_completed(waiting):
            self._report(await made)

    def _make(self, track: LibraryTrack, target: Path) -> _Made:
        """Make one video; in a thread of the pool."""
        from suno_video_async.lyricvideo.making import notes_on, render_job, render_once  # noqa: PLC0415  of the `local` extra
        from suno_video_async.lyricvideo.render.errors import RenderCancelled  # noqa: PLC0415  likewise

        if self._stop.is_set():
            return _Made(track, "interrupted")
        began = time.monotonic()
        with self._bar(track) as progress:
            try:
                job = render_job(self.library, track, self.drawn, self.looks, brand=self.brand)
                result = render_once(job, target, threads=self.threads, cancelled=self._stop, on_progress=progress)
            except RenderCancelled:
                return _Made(track, "interrupted")
            except Exception as error:  # whatever is wrong with one song, the others are made
                return _Made(track, "failed", error=str(error) or type(error).__name__)
        if result is None:
            return _Made(track, "there", target)
        return _Made(track, "done", target, time.monotonic() - began, notes_on(track, result))

    def _report(self, made: _Made) -> None:
        key = (made.track.task_id, made.track.suno_id)
        if made.state == "interrupted" or (made.state == "there" and self._known.get(key) == made.track):
            return
        self._known[key] = made.track
        self._failed += made.state == "failed"
        line = {
            "task_id": made.track.task_id,
            "suno_id": made.track.suno_id,
            "title": made.track.title,
            "state": made.state,
            "path": os.fspath(made.path) if made.path else None,
            "seconds": round(made.seconds, 3),
            "notes": list(made.notes),
            "error": made.error,
        }
        self.output.result(line, human=lambda: _text(made))

    def _leave_out(self, mistake: LibraryError) -> None:
        if str(mistake) not in self._told:
            self._told.add(str(mistake))
            line = {
                "state": "left_out",
                "file": str(mistake.path),
                "line": mistake.line,
                "problem": mistake.problem,
            }
            self.output.result(line, human=lambda: plain(f"left out: {mistake}"))

    @contextmanager
    def _live(self) -> Generator[None, None, None]:
        """Show a bar for each video that is being made, if the terminal can."""
        if not self.output.live:
            yield
            return
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self.output.notes, transient=True) as bars:
            self._bars = bars
            with writing_above(bars.console.print):
                yield
        self._bars = None

    @contextmanager
    def _bar(self, track: LibraryTrack) -> Generator[Callable[[float], object] | None, None, None]:
        bars = self._bars
        if bars is None:
            yield None
            return
        task = bars.add_task(plain(track.title)[:40], total=1.0)

        def show(share: float) -> None:
            bars.update(task, completed=share)

        try:
            yield show
        finally:
            bars.remove_task(task)


def _text(made: _Made) -> str:
    name = f"{made.track.task_id}/{made.track.suno_id}  {made.track.title}"
    if made.state == "failed":
        return f"failed  {name}: {made.error}"
    spent = f"  in {made.seconds:.1f} s" if made.state == "done" else "  was there"
    notes = "".join(f"; {note}" for note in made.notes)
    return f"{made.path}  {name}{spent}{notes}"


def _cores() -> int:
    """The cores that this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed is not None else os.cpu_count() or 1


def _free_memory() -> float:
    """Bytes that are free on this machine; 0 if the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(float(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError, IndexError):
        return 0.0
