"""Carrying out a conversion: write outcomes, show progress, obey interruptions, lose nothing that was bought."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import AsyncGenerator, Callable, Iterable
from functools import partial
from typing import cast

import anyio
import anyio.to_thread
from attrs import field, frozen
from rich.table import Table
from rich.text import Text

from suno_video_async._util.words import many
from suno_video_async.batch.catalog import CatalogSource
from suno_video_async.batch.conversion import Conversion
from suno_video_async.batch.outcome import Outcome
from suno_video_async.callbacks import CallbackReceiver
from suno_video_async.cli import errors
from suno_video_async.cli.exits import Exit, UsageProblem
from suno_video_async.cli.interrupts import Interrupts
from suno_video_async.cli.ledger_options import LedgerChoice, Trust
from suno_video_async.cli.live.display import Progress, shown
from suno_video_async.cli.live.state import LiveState, problem_line
from suno_video_async.cli.options import Connection, Downloads
from suno_video_async.cli.outcome_files import OutcomeFiles
from suno_video_async.cli.output import Output, plain
from suno_video_async.cli.probe import check_reachable
from suno_video_async.cli.purchases import Purchases, resume_command
from suno_video_async.cli.tally import PROBLEMS_SHOWN, Tally
from suno_video_async.client import SunoVideoClient
from suno_video_async.errors import BudgetExceeded, SunoVideoError
from suno_video_async.ledger.address import as_ledger
from suno_video_async.ledger.decision import Buying
from suno_video_async.ledger.model import NO_LEDGER, LedgerRow, all_rows
from suno_video_async.ledger.states import State
from suno_video_async.models import DEFAULT_TASK_TIMEOUT
from suno_video_async.ratelimit.shared import SharedRateLimit

_STOPPING = "finishing what is submitted, submitting no more; Ctrl+C again leaves now (tasks go on without you)"
_WAITING = "waiting for the submissions in flight, so that none of them is lost"


@frozen(kw_only=True)
class Callbacks:
    """The public URL for callbacks, and the port of this machine that it leads to."""

    url: str
    port: int


@frozen(kw_only=True)
class Job:
    """What to convert, and how to report on it.

    Attributes:
        client: not open yet; `purchases` and `state` must be among its hooks.
        state: what the live view shows.
        shared: the client's limiter, if it is shared with other processes.
        source: the catalog.
        title: its name, for people, and in the locations of its rows.
        total: the number of its rows, if they can be counted.
        downloads: where the videos go.
        ledger: the place that remembers what was bought; None keeps it in memory.
        trust: in spite of what it is taken as it is.
        buying: what may be bought.
        again: the command as it was given: with a ledger, running it again resumes.
        connection: how to reach the same service, for the commands that are suggested.
        files: the files that are written.
        on_outcome: called with every outcome.
        callbacks: how the service calls back; None only polls.
        unknown_grace: seconds to wait for the callbacks of unknown rows, in a run that buys nothing and resumes
            all that the ledger holds; None converts a catalog.
        ephemeral: the service ends with the command: nothing can be resumed.

    """

    client: SunoVideoClient
    purchases: Purchases
    source: CatalogSource
    title: str
    state: LiveState
    total: int | None = None
    downloads: Downloads = field(factory=Downloads)
    task_timeout: float = DEFAULT_TASK_TIMEOUT
    ledger: LedgerChoice | None = None
    trust: Trust = field(factory=Trust)
    buying: Buying = field(factory=Buying)
    again: tuple[str, ...] = ()
    connection: Connection = field(factory=Connection)
    files: OutcomeFiles = field(factory=OutcomeFiles)
    on_outcome: Callable[[Outcome], object] = field(default=lambda _: None)
    ephemeral: bool = False
    shared: SharedRateLimit | None = None
    callbacks: Callbacks | None = None
    unknown_grace: float | None = None

    @property
    def resume_options(self) -> list[str]:
        """The arguments with which another command finishes the same tasks."""
        return [*self.downloads.repeated(), *self.connection.repeated()]


async def run(job: Job, output: Output, interrupts: Interrupts) -> int:
    """Check that the service can be reached, carry out a conversion, and return the exit code."""
    await check_reachable(job.client.base_url, job.connection.network_timeout(), job.connection.route())
    tally, summary = await convert(job, output, interrupts)
    return conclude(job, tally, summary, output, interrupts)


async def convert(job: Job, output: Output, interrupts: Interrupts) -> tuple[Tally, dict[str, object]]:
    """Carry out a conversion, write its outcomes, and return their tally and the summary.

    However it ends, every task that was submitted is written with its id.
    """
    tally = Tally(job.total)
    output.keeps = True
    started = job.client.clock.now()
    with job.purchases.listening(), interrupts.meaning(once=None, leave=lambda: output.note(_WAITING)):
        try:
            async with job.shared or contextlib.nullcontext(), job.client:
                await _follow(job, tally, output, interrupts)
        finally:
            # Only now: submissions that were in flight have been answered.
            for outcome in job.purchases.unreported():
                await _emit(job, tally, output, outcome)
        if interrupts.happened:
            await _emit_rest(job, tally, output)
        elif tally.failure is not None:
            tally.leave_rest_planned()
        await _close_files(job, tally)
    return tally, tally.summary(job.client.statistics(), job.client.clock.now() - started)


@contextlib.asynccontextmanager
async def _receiving(job: Job) -> AsyncGenerator[CallbackReceiver | None, None]:
    """Listen for callbacks while the block runs, if the job has a URL for them."""
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
    conversion = _conversion(job, receiver)
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
        await _write(tally, job.files.open)
        if tally.failure is not None:
            outcomes.stop()
        with anyio.CancelScope() as scope:

            def stop() -> None:
                outcomes.stop()
                progress.word = _STOPPING
                output.note(_STOPPING)

            def leave() -> None:
                output.note("leaving" if job.ephemeral else f"leaving; {_WAITING}")
                scope.cancel()

            # An ephemeral service takes no money, so nothing of it is worth waiting for.
            with interrupts.meaning(once=None if job.ephemeral else stop, leave=leave):
                if interrupts.happened:  # while the ledger was opened, before there was anything to leave
                    leave()
                await _take(outcomes, job, tally, output)
    tally.stopped_by = conversion.stopped_by
    tally.evidence = conversion.evidence


def _conversion(job: Job, receiver: CallbackReceiver | None) -> Conversion:
    if job.ledger is not None and job.unknown_grace is not None:
        return job.client.resume(
            job.trust.ledger(job.ledger),
            output_dir=job.downloads.output_dir,
            task_timeout=job.task_timeout,
            callbacks=receiver,
            unknown_grace=job.unknown_grace,
            file_name=job.downloads.file_name,
            sha256=job.downloads.sha256,
        )
    return job.client.convert(
        job.source,
        ledger=NO_LEDGER if job.ledger is None else job.trust.ledger(job.ledger),
        output_dir=job.downloads.output_dir,
        task_timeout=job.task_timeout,
        retry_failed=job.buying.retry_failed,
        rebuy_changed=job.buying.rebuy_changed,
        ignore_other_ledgers=job.buying.ignore_other_ledgers,
        max_credits=job.buying.max_credits,
        callbacks=receiver,
        file_name=job.downloads.file_name,
        sha256=job.downloads.sha256,
    )


async def _take(outcomes: Conversion, job: Job, tally: Tally, output: Output) -> None:
    try:
        async for outcome in outcomes:
            job.purchases.ended(outcome)
            await _emit(job, tally, output, outcome)
            if output.gone or tally.failure is not None:
                outcomes.stop()
    except SunoVideoError as error:
        tally.failure = tally.failure or error


async def _emit(job: Job, tally: Tally, output: Output, outcome: Outcome) -> None:
    tally.add(outcome)
    job.state.add(outcome)
    job.on_outcome(outcome)
    output.result(outcome.record(), human=lambda: None)
    if job.files.wanted:
        with anyio.CancelScope(shield=True):
            await _write(tally, partial(job.files.take, outcome))


async def _close_files(job: Job, tally: Tally) -> None:
    if job.files.wanted:
        with anyio.CancelScope(shield=True):
            await _write(tally, job.files.close)


async def _write(tally: Tally, write: Callable[[], None]) -> None:
    """Write to one of the user's files; if that fails, nothing more is bought, and stdout has the rest."""
    try:
        await anyio.to_thread.run_sync(write)
    except OSError as error:
        problem = f"the outcomes cannot be written to a file: {error.strerror or error}"
        tally.failure = tally.failure or UsageProblem(problem)


async def _emit_rest(job: Job, tally: Tally, output: Output) -> None:
    """Write what earlier runs bought and this one did not get to, and count the rest as planned."""
    if job.ledger is not None:
        for row in await anyio.to_thread.run_sync(_submitted, job.ledger):
            ours = row.location.startswith(f"{job.title}, ")  # the ledger may serve other catalogs, too
            if ours and row.video_task_id is not None and not job.purchases.is_reported(row.video_task_id):
                left = Outcome(
                    track=row.track, state="submitted", location=row.location, video_task_id=row.video_task_id
                )
                await _emit(job, tally, output, left)
    tally.leave_rest_planned()


def _submitted(place: LedgerChoice) -> list[LedgerRow]:
    ledger = as_ledger(place).reader()
    try:
        return list(all_rows(ledger, State.SUBMITTED)) if ledger.open_to_read() else []
    finally:
        ledger.close()


def conclude(job: Job, tally: Tally, summary: dict[str, object], output: Output, interrupts: Interrupts) -> Exit:
    """Write the summary and what is left to do, and return the exit code."""
    output.result({"summary": summary}, human=lambda: _summary_table(summary))
    if not output.human:
        output.hint(_summary_line(summary))
    elif not output.live:  # the live view has shown them already
        _show_problems(tally, output)
    if not job.ephemeral:
        if job.ledger is None:
            _note_left_without_ledger(job, tally, output)
        else:
            _note_left(job, tally, output)
        _note_failed_catalog(job, output)
        _say_where(job, tally, output)
    if found := str(job.client.limits_found or ""):
        output.hint(f"limit found: {found}")
    _note_end(job, tally, output)
    return tally.exit_code(interrupted=interrupts.happened)


def _say_where(job: Job, tally: Tally, output: Output) -> None:
    """Say where the videos and the ledger are, and how to look at both."""
    if job.downloads.output_dir is not None and tally.counts["downloaded"]:
        output.hint(f"the videos are in {shlex.quote(str(job.downloads.output_dir))}")
    if job.ledger is not None:
        ledger = shlex.quote(str(job.ledger))
        output.hint(f"the ledger is {ledger}; a page to look at: suno-video report {ledger}")


def _note_left(job: Job, tally: Tally, output: Output) -> None:
    """With a ledger, the same command finishes all that is left."""
    left = {
        "submitted and not finished (which goes on at the provider)": tally.counts["submitted"],
        "made and paid for, but not downloaded": len(tally.undelivered),
        "not submitted": tally.counts["planned"] - tally.elsewhere.total(),
    }
    if words := ", ".join(many(number, f"is {what}", f"are {what}") for what, number in left.items() if number):
        again = "with a higher --max-credits" if isinstance(tally.stopped_by, BudgetExceeded) else "continues"
        output.note(f"of the videos, {words}; the same command {again}: {shlex.join(job.again)}")
    for ledger, number in tally.elsewhere.items():
        more = shlex.join([*job.again, "--ledger", str(ledger)])
        output.note(
            f"{many(number, 'track was', 'tracks were')} not bought, since the ledger {ledger} has"
            f" {'it' if number == 1 else 'them'} as bought or as unknown: this catalog may be a copy. To continue"
            f" with that ledger: {more}; to buy all the same, add --ignore-other-ledgers",
            style="red",
        )


def _note_left_without_ledger(job: Job, tally: Tally, output: Output) -> None:
    def resumable(ids: Iterable[str], what: str) -> None:
        if known := list(ids):
            again = resume_command(known, options=job.resume_options)
            output.note(f"{many(len(known), 'video is', 'videos are')} {what}: {again}")

    resumable(tally.undelivered, "made and paid for, but could not be downloaded; to fetch the rest")
    resumable(job.purchases.unfinished, "submitted and not finished, which goes on at the provider; to follow")
    if tally.counts["planned"]:
        output.note(
            f"{many(tally.counts['planned'], 'track was', 'tracks were')} not submitted: put what is left into a"
            " catalog of its own and convert that (without a ledger, converting this one again would buy the"
            " others twice)"
        )


def _note_failed_catalog(job: Job, output: Output) -> None:
    """Say what is in the catalog of `--failed`, and how to convert it with the same ledger."""
    files = job.files
    if files.failed is None:
        return
    if files.unreadable:
        output.note(f"rows that could not be read: {files.unreadable}, in {files.failed} with what is wrong")
    if not files.kept:
        return
    ledger = ["--no-ledger"] if job.ledger is None else ["--ledger", str(job.ledger)]
    download = ["--no-download"] if job.downloads.output_dir is None else []
    command = ["suno-video", "convert", str(files.failed), *ledger, *download, *job.resume_options]
    paid = "" if job.ledger is None else ", and needs --retry-failed N"
    failed = f" (another try of what failed is paid for{paid})" if "failed" in files.kept else ""
    output.note(
        f"{many(sum(files.kept.values()), 'track is', 'tracks are')} in {files.failed}; to try again{failed}: "
        + shlex.join(command)
    )


def _note_end(job: Job, tally: Tally, output: Output) -> None:
    ending = tally.failure or tally.stopped_by
    if ending is not None:
        output.note(f"stopped: {errors.line(ending)}", style="red")
    if tally.double_charges:
        output.note(
            f"{many(tally.double_charges, 'track')} may have been charged twice: a submission that counted as"
            " refused or failed was called back after all; the warnings above name the tasks, so that you can ask"
            " for the credits back",
            style="red",
        )
    if tally.counts["unknown"]:
        command = shlex.join(["suno-video", "unknown", "list", "--ledger", str(job.ledger)])
        settle = f"; {command} lists them, and unknown adopt, resend or drop settles each" if job.ledger else ""
        output.note(
            f"{many(tally.counts['unknown'], 'submission has', 'submissions have')} an unknown outcome: see in"
            f" your account whether a task was made and charged before you submit again{settle}{_evidence(tally)}",
            style="red",
        )


def _evidence(tally: Tally) -> str:
    if tally.evidence is None:
        return ""
    return f". Of this run's {len(tally.evidence.rows)} unknown: {tally.evidence}"


def _summary_line(summary: dict[str, object]) -> str:
    states = ("done", "failed", "refused", "unknown", "submitted", "planned", "skipped")
    counts = ", ".join(f"{summary[name]} {name}" for name in states if summary[name] or name == "done")
    total, requests, credits_ = (cast("float", summary[name]) for name in ("total", "requests", "credits"))
    return f"{many(total, 'track')}: {counts}; {many(requests, 'request')}, {many(credits_, 'credit')}"


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
    """Show what went wrong, a line each: a table would leave no room for the text on a narrow terminal."""
    for outcome in tally.problems:
        output.show(Text(plain(problem_line(outcome))))
    if len(tally.problems) == PROBLEMS_SHOWN:
        output.note("there may be more: --json lists all of them")
