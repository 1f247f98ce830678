"""A conversion under a user's eyes: outcomes out, progress shown, interruptions obeyed, nothing bought lost."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import AsyncGenerator, Callable
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
from attrs import field, frozen
from rich.table import Table
from rich.text import Text

from suno_video_async.batch.catalog import CatalogSource
from suno_video_async.batch.conversion import Conversion
from suno_video_async.batch.outcome import Outcome
from suno_video_async.callbacks import CallbackReceiver
from suno_video_async.cli import errors
from suno_video_async.cli.errors import Exit, UsageProblem
from suno_video_async.cli.interrupts import Interrupts
from suno_video_async.cli.live.display import Progress, shown
from suno_video_async.cli.live.state import LiveState, problem_line
from suno_video_async.cli.outcome_files import Records
from suno_video_async.cli.output import Output, plain
from suno_video_async.cli.purchases import Purchases, resume_command
from suno_video_async.cli.tally import PROBLEMS_SHOWN, Tally, outcome_line
from suno_video_async.client import DEFAULT_TASK_TIMEOUT, SunoVideoClient
from suno_video_async.download.filenames import DEFAULT_TEMPLATE
from suno_video_async.errors import BudgetExceeded, SunoVideoError
from suno_video_async.ledger.model import LedgerRow, all_rows
from suno_video_async.ledger.sqlite import SqliteLedger
from suno_video_async.ledger.states import State
from suno_video_async.ratelimit.shared import SharedRateLimit

_STOPPING = "finishing what is submitted, submitting no more; Ctrl+C again leaves now (it goes on without you)"
_PATIENCE = "waiting for the submissions in the air, so that none of them is lost"


@frozen(kw_only=True)
class Buying:
    """What may be bought; see `SunoVideoClient.convert`."""

    retry_failed: int = 0
    rebuy_changed: bool = False
    max_credits: float | None = None


@frozen(kw_only=True)
class Naming:
    """How the videos are named, and whether their digests are told; see `SunoVideoClient.convert`."""

    file_name: str = DEFAULT_TEMPLATE
    sha256: bool = False


@frozen(kw_only=True)
class Callbacks:
    """Where the service reaches us, and the port of this machine that it comes out at."""

    url: str
    port: int


@frozen(kw_only=True)
class Job:
    """What to convert, and how it is told.

    Attributes:
        client: not open yet; it must have `books` and `scene` among its hooks.
        scene: what is shown while it runs.
        shared: the client's limiter, where it is shared with other processes.
        source: the catalog.
        title: its name, for people, and in the places of its rows.
        total: its rows, where they can be counted.
        ledger: the file that remembers what was bought; None keeps it in memory.
        buying: what may be bought.
        again: the command as it was given: with a ledger, giving it again goes on.
        resume_options: what another command needs to reach the same tasks.
        records: the files that are written.
        told: hears of every outcome.
        callbacks: how the service calls back; None polls alone.
        unknown_grace: seconds that unknown rows wait for their callbacks, where nothing is bought and the ledger
            alone says what to go on with.
        ephemeral: the service goes away with the command: nothing can be resumed.

    """

    client: SunoVideoClient
    purchases: Purchases
    source: CatalogSource
    title: str
    total: int | None
    output_dir: Path | None
    state: LiveState = field(factory=LiveState)
    task_timeout: float = DEFAULT_TASK_TIMEOUT
    ledger: Path | None = None
    buying: Buying = field(factory=Buying)
    again: tuple[str, ...] = ()
    resume_options: tuple[str, ...] = ()
    records: Records = field(factory=Records)
    told: Callable[[Outcome], object] = field(default=lambda _: None)
    ephemeral: bool = False
    shared: SharedRateLimit | None = None
    callbacks: Callbacks | None = None
    unknown_grace: float | None = None
    naming: Naming = field(factory=Naming)


async def convert(job: Job, output: Output, interrupts: Interrupts) -> tuple[Tally, dict[str, object]]:
    """Carry out a conversion, tell its outcomes, and return what it came to and its summary.

    Whatever ends it, every task that was submitted is told with its id.
    """
    tally = Tally(job.total)
    started = job.client.clock.now()
    with job.purchases.listening(), interrupts.meaning(once=None, leave=lambda: output.note(_PATIENCE)):
        try:
            async with job.shared or contextlib.nullcontext(), job.client:
                await _follow(job, tally, output, interrupts)
        finally:
            # Only now: the answers of submissions that were in the air have come.
            for outcome in job.purchases.untold():
                await _tell(job, tally, output, outcome)
        if interrupts.happened:
            await _tell_rest(job, tally, output)
        await _close_records(job, tally)
    return tally, tally.summary(job.client.statistics(), job.client.clock.now() - started)


@contextlib.asynccontextmanager
async def _receiving(job: Job) -> AsyncGenerator[CallbackReceiver | None, None]:
    """Listen for callbacks while the block runs, where the job has a URL for them."""
    if job.callbacks is None:
        yield None
        return
    receiver = CallbackReceiver(job.client, public_url=job.callbacks.url)
    async with contextlib.AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(receiver.listen(port=job.callbacks.port))
        except OSError as error:
            raise UsageProblem(
                f"cannot listen for callbacks on port {job.callbacks.port}: {error.strerror or error}; nothing was"
                " bought: choose another --callback-port"
            ) from error
        yield receiver


async def _follow(job: Job, tally: Tally, output: Output, interrupts: Interrupts) -> None:
    if interrupts.happened:
        return
    async with _receiving(job) as receiver:
        try:
            await _follow_all(job, receiver, tally, output, interrupts)
        finally:
            if receiver is not None:
                tally.double_charges = receiver.statistics().double_charges


async def _follow_all(
    job: Job, receiver: CallbackReceiver | None, tally: Tally, output: Output, interrupts: Interrupts
) -> None:
    conversion = _begun(job, receiver)
    job.state.now = job.client.clock.now
    progress = Progress(
        title=plain(job.title),
        tally=tally,
        state=job.state,
        client=job.client,
        sums=conversion.credits,
        budget=job.buying.max_credits,
    )
    async with conversion as outcomes, shown(progress, output):
        await _written(tally, job.records.open)
        if tally.failure is not None:
            outcomes.stop()
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
                if interrupts.happened:  # while the ledger was opened, when there was nothing to leave yet
                    leave()
                await _take(outcomes, job, tally, output)
    tally.stopped_by = conversion.stopped_by


def _begun(job: Job, receiver: CallbackReceiver | None) -> Conversion:
    if job.ledger is not None and job.unknown_grace is not None:
        return job.client.resume(
            job.ledger,
            output_dir=job.output_dir,
            task_timeout=job.task_timeout,
            callbacks=receiver,
            unknown_grace=job.unknown_grace,
            file_name=job.naming.file_name,
            sha256=job.naming.sha256,
        )
    return job.client.convert(
        job.source,
        ledger=job.ledger,
        output_dir=job.output_dir,
        task_timeout=job.task_timeout,
        retry_failed=job.buying.retry_failed,
        rebuy_changed=job.buying.rebuy_changed,
        max_credits=job.buying.max_credits,
        callbacks=receiver,
        file_name=job.naming.file_name,
        sha256=job.naming.sha256,
    )


async def _take(outcomes: Conversion, job: Job, tally: Tally, output: Output) -> None:
    try:
        async for outcome in outcomes:
            job.purchases.ended(outcome)
            await _tell(job, tally, output, outcome)
            if output.gone or tally.failure is not None:
                outcomes.stop()
    except SunoVideoError as error:
        tally.failure = tally.failure or error


async def _tell(job: Job, tally: Tally, output: Output, outcome: Outcome) -> None:
    tally.add(outcome)
    job.state.hear(outcome)
    job.told(outcome)
    output.result(outcome_line(outcome), human=lambda: None)
    if job.records.wanted:
        with anyio.CancelScope(shield=True):
            await _written(tally, partial(job.records.take, outcome))


async def _close_records(job: Job, tally: Tally) -> None:
    if job.records.wanted:
        with anyio.CancelScope(shield=True):
            await _written(tally, job.records.close)


async def _written(tally: Tally, write: Callable[[], None]) -> None:
    """Write to a file of the user's; when that fails nothing more is bought, and stdout tells what is left."""
    try:
        await anyio.to_thread.run_sync(write)
    except OSError as error:
        problem = f"the outcomes cannot be written to a file: {error.strerror or error}"
        tally.failure = tally.failure or UsageProblem(problem)


async def _tell_rest(job: Job, tally: Tally, output: Output) -> None:
    """Tell what was bought by earlier runs and left by this one, and count the rest as planned."""
    if job.ledger is not None:
        for row in await anyio.to_thread.run_sync(_submitted, job.ledger):
            ours = row.location.startswith(f"{job.title}, ")  # the ledger may serve other catalogs, too
            if ours and row.video_task_id is not None and not job.purchases.is_told(row.video_task_id):
                left = Outcome(
                    track=row.track, state="submitted", location=row.location, video_task_id=row.video_task_id
                )
                await _tell(job, tally, output, left)
    tally.leave_rest_planned()


def _submitted(path: Path) -> list[LedgerRow]:
    ledger = SqliteLedger(path)
    try:
        return list(all_rows(ledger, State.SUBMITTED)) if ledger.open_to_read() else []
    finally:
        ledger.close()


def close(job: Job, tally: Tally, summary: dict[str, object], output: Output, interrupts: Interrupts) -> Exit:
    """Tell the summary and what is left to do, and return the exit code."""
    output.result({"summary": summary}, human=lambda: _summary_table(summary))
    if not output.human:
        output.hint(_summary_line(summary))
    elif not output.live:  # where it is live, they were told as they came
        _show_problems(tally, output)
    if not job.ephemeral:
        if job.ledger is None:
            _tell_undelivered(job, tally, output)
            _tell_unfinished(job, output)
            _tell_planned(tally, output)
        else:
            _tell_again(job, tally, output)
        _tell_failed_catalog(job, output)
    _tell_end(job, tally, output)
    return tally.exit_code(interrupted=interrupts.happened)


def _tell_again(job: Job, tally: Tally, output: Output) -> None:
    """With a ledger, one thing goes on with all that is left."""
    left = {
        "submitted and not finished (they go on at the provider)": tally.counts["submitted"],
        "made and paid for, but not downloaded": len(tally.undelivered),
        "not submitted": tally.counts["planned"],
    }
    if words := ", ".join(f"{number} are {what}" for what, number in left.items() if number):
        again = "with a higher --max-credits" if isinstance(tally.stopped_by, BudgetExceeded) else "goes on"
        output.note(f"of the videos, {words}; the same command {again}: {shlex.join(job.again)}")


def _tell_failed_catalog(job: Job, output: Output) -> None:
    """Say what stands in the catalog of `--failed`, and how to convert it beside the same ledger."""
    records = job.records
    if records.failed is None:
        return
    if records.unreadable:
        more = records.unreadable - len(records.named)
        named = "; ".join([*records.named, *([f"{more} more"] if more else [])])
        output.note(f"not in {records.failed}, since they are no tracks: {named}")
    if not records.kept:
        return
    ledger = ["--no-ledger"] if job.ledger is None else ["--ledger", str(job.ledger)]
    folder = ["--no-download"] if job.output_dir is None else ["--output-dir", str(job.output_dir)]
    command = ["suno-video", "convert", str(records.failed), *ledger, *folder, *job.resume_options]
    paid = "" if job.ledger is None else ", and needs --retry-failed N"
    failed = f" (another try of what failed is paid for{paid})" if "failed" in records.kept else ""
    output.note(
        f"{sum(records.kept.values())} tracks stand in {records.failed}; to try them again{failed}: "
        + shlex.join(command)
    )


def _tell_planned(tally: Tally, output: Output) -> None:
    if tally.counts["planned"]:
        output.note(
            f"{tally.counts['planned']} tracks were not submitted: put their lines into a catalog of their own"
            " and convert that (without a ledger, converting this one again would buy the others twice)"
        )


def _tell_end(job: Job, tally: Tally, output: Output) -> None:
    ending = tally.failure or tally.stopped_by
    if ending is not None:
        output.note(f"stopped: {errors.line(ending)}", style="red")
    if tally.double_charges:
        output.note(
            f"{tally.double_charges} tracks may have been charged twice: a submission that counted as refused or"
            " failed was called back after all; the warnings above name their tasks, so that you can ask for the"
            " credits back",
            style="red",
        )
    if tally.counts["unknown"]:
        output.note(
            f"{tally.counts['unknown']} submissions have an unknown outcome: see in your account whether a task"
            f" was made and charged before you submit them again{_settling(job)}",
            style="red",
        )


def _settling(job: Job) -> str:
    if job.ledger is None:
        return ""
    command = shlex.join(["suno-video", "unknown", "list", "--ledger", str(job.ledger)])
    return f"; {command} lists them, and unknown adopt, resend or drop settles each"


def _tell_undelivered(job: Job, tally: Tally, output: Output) -> None:
    if not tally.undelivered:
        return
    folder = [] if job.output_dir is None else ["--output-dir", str(job.output_dir)]
    output.note(
        f"{len(tally.undelivered)} videos are made and paid for, but could not be downloaded; to fetch them: "
        + resume_command(tally.undelivered, options=[*folder, *job.resume_options])
    )


def _tell_unfinished(job: Job, output: Output) -> None:
    unfinished = list(job.purchases.unfinished)
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
        output.show(Text(plain(problem_line(outcome))))
    if len(tally.problems) == PROBLEMS_SHOWN:
        output.note("there may be more: --json tells all of them")
