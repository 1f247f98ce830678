"""A conversion under a user's eyes: outcomes out, progress shown, interruptions obeyed, nothing bought lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anyio
from attrs import field, frozen
from rich.table import Table
from rich.text import Text

from suno_video_async.batch import Conversion
from suno_video_async.catalog import CatalogSource
from suno_video_async.cli import failures
from suno_video_async.cli.books import Books, resume_command
from suno_video_async.cli.failures import Exit
from suno_video_async.cli.interrupts import Interrupts
from suno_video_async.cli.output import Output, plain
from suno_video_async.cli.progress import Progress, shown
from suno_video_async.cli.tally import PROBLEMS_SHOWN, Tally, name_of, outcome_line
from suno_video_async.client import DEFAULT_TASK_TIMEOUT, SunoVideoClient
from suno_video_async.errors import SunoVideoError
from suno_video_async.models import Outcome, RateLimit

_STOPPING = "finishing what is submitted, submitting no more; Ctrl+C again leaves now (it goes on without you)"
_PATIENCE = "waiting for the submissions in the air, so that none of them is lost"


@frozen(kw_only=True)
class Job:
    """What to convert, and how it is told.

    Attributes:
        client: not open yet; it must have `books` among its hooks.
        source: the catalog.
        title: its name, for people.
        total: its rows, where they can be counted.
        resume_options: what `suno-video wait` needs to reach the same tasks.
        told: hears of every outcome.
        ephemeral: the service goes away with the command: nothing can be resumed.

    """

    client: SunoVideoClient
    books: Books
    source: CatalogSource
    title: str
    total: int | None
    rate: RateLimit | None
    output_dir: Path | None
    task_timeout: float = DEFAULT_TASK_TIMEOUT
    resume_options: tuple[str, ...] = ()
    told: Callable[[Outcome], object] = field(default=lambda _: None)
    ephemeral: bool = False


async def convert(job: Job, output: Output, interrupts: Interrupts) -> tuple[Tally, dict[str, object]]:
    """Carry out a conversion, tell its outcomes, and return what it came to and its summary.

    Whatever ends it, every task that was submitted is told with its id.
    """
    tally = Tally(job.total)
    started = job.client.clock.now()
    with job.books.listening(), interrupts.meaning(once=None, leave=lambda: output.note(_PATIENCE)):
        try:
            async with job.client:
                await _follow(job, tally, output, interrupts)
        finally:
            # Only now: the answers of submissions that were in the air have come.
            for outcome in job.books.untold():
                _tell(job, tally, output, outcome)
    if interrupts.happened:
        tally.leave_rest_planned()
    return tally, tally.summary(job.client.statistics(), job.client.clock.now() - started)


async def _follow(job: Job, tally: Tally, output: Output, interrupts: Interrupts) -> None:
    if interrupts.happened:
        return
    progress = Progress(title=job.title, tally=tally, statistics=job.client.statistics, rate=job.rate)
    conversion = job.client.convert(job.source, output_dir=job.output_dir, task_timeout=job.task_timeout)
    async with conversion as outcomes, shown(progress, output):
        with anyio.CancelScope() as scope:

            def stop() -> None:
                outcomes.stop()
                progress.word = _STOPPING
                output.note(_STOPPING)

            def leave() -> None:
                output.note("leaving" if job.ephemeral else f"leaving; {_PATIENCE}")
                scope.cancel()

            # Nothing is paid for where the service goes away with the command, so nothing is worth the wait.
            with interrupts.meaning(once=None if job.ephemeral else stop, leave=leave):
                await _take(outcomes, job, tally, output)
    tally.stopped_by = conversion.stopped_by


async def _take(outcomes: Conversion, job: Job, tally: Tally, output: Output) -> None:
    try:
        async for outcome in outcomes:
            _tell(job, tally, output, outcome)
            job.books.ended(outcome)
            if output.gone:
                outcomes.stop()
    except SunoVideoError as error:
        tally.failure = error


def _tell(job: Job, tally: Tally, output: Output, outcome: Outcome) -> None:
    tally.add(outcome)
    job.told(outcome)
    output.result(outcome_line(outcome), human=lambda: None)


def close(job: Job, tally: Tally, summary: dict[str, object], output: Output, interrupts: Interrupts) -> Exit:
    """Tell the summary and what is left to do, and return the exit code."""
    output.result({"summary": summary}, human=lambda: _summary_table(summary))
    if output.human:
        _show_problems(tally, output)
    else:
        output.note(_summary_line(summary))
    if not job.ephemeral:
        _tell_undelivered(job, tally, output)
        _tell_unfinished(job, output)
        _tell_planned(tally, output)
    _tell_end(tally, output)
    return tally.exit_code(interrupted=interrupts.happened)


def _tell_planned(tally: Tally, output: Output) -> None:
    if tally.counts["planned"]:
        output.note(
            f"{tally.counts['planned']} tracks were not submitted: put their lines into a catalog of their own"
            " and convert that (converting this one again would buy the others twice)"
        )


def _tell_end(tally: Tally, output: Output) -> None:
    ending = tally.failure or tally.stopped_by
    if ending is not None:
        output.note(f"stopped: {failures.line(ending)}", style="red")
    if tally.counts["unknown"]:
        output.note(
            f"{tally.counts['unknown']} submissions have an unknown outcome: see in your account whether a task"
            " was made and charged before you submit them again",
            style="red",
        )


def _tell_undelivered(job: Job, tally: Tally, output: Output) -> None:
    if not tally.undelivered:
        return
    folder = [] if job.output_dir is None else ["--output-dir", str(job.output_dir)]
    output.note(
        f"{len(tally.undelivered)} videos are made and paid for, but could not be downloaded; to fetch them: "
        + resume_command(tally.undelivered, options=[*folder, *job.resume_options])
    )


def _tell_unfinished(job: Job, output: Output) -> None:
    unfinished = list(job.books.unfinished)
    if not unfinished:
        return
    folder = [] if job.output_dir is None else ["--output-dir", str(job.output_dir)]
    output.note(
        f"{len(unfinished)} videos are submitted and not finished; they go on at the provider; to follow them: "
        + resume_command(unfinished, options=[*folder, *job.resume_options])
    )


def _summary_line(summary: dict[str, object]) -> str:
    states = ("done", "failed", "refused", "unknown", "submitted", "planned", "skipped")
    counts = ", ".join(f"{summary[name]} {name}" for name in states if summary[name] or name == "done")
    return f"{summary['total']} tracks: {counts}; {summary['requests']} requests, {summary['credits']} credits"


def _summary_table(summary: dict[str, object]) -> Table:
    table = Table(title="summary", show_header=False, title_justify="left")
    table.add_column()
    table.add_column(justify="right")
    always = {"total", "done", "requests", "credits", "seconds"}
    for name, value in summary.items():
        if value or name in always:
            table.add_row(name.replace("_", " "), str(value))
    return table


def _show_problems(tally: Tally, output: Output) -> None:
    """Show what went wrong, a line each: a table would leave no room for the words on a narrow terminal."""
    for outcome in tally.problems:
        what = failures.line(outcome.error) if outcome.error else ""
        what = what.removeprefix(f"{outcome.row}: ")  # a row that is no track names its place by itself
        output.show(Text(plain(f"{name_of(outcome)} {outcome.state}: {what}")))
    if len(tally.problems) == PROBLEMS_SHOWN:
        output.note("there may be more: --json tells all of them")
