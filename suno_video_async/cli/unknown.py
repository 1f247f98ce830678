"""`suno-video unknown`: list the submissions that may have been paid for, and settle them by hand."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Literal

import click

from suno_video_async.cli.exits import Exit, UsageProblem
from suno_video_async.cli.group import Verbs
from suno_video_async.cli.interrupts import Interrupts, run_interruptible
from suno_video_async.cli.ledger_options import LedgerChoice, LedgerPath, Trust, accept_ledger_option
from suno_video_async.cli.options import Command, Connection, client_options, connection_options, output_options
from suno_video_async.cli.output import Output
from suno_video_async.cli.plan import dry_run_option, quote_tracks
from suno_video_async.cli.session import with_client
from suno_video_async.cli.single import checked_id
from suno_video_async.ledger.address import LedgerAddress, as_ledger
from suno_video_async.ledger.model import LedgerRow
from suno_video_async.ledger.states import State

if TYPE_CHECKING:
    from suno_video_async.batch.reconcile import Unknowns
    from suno_video_async.client import SunoVideoClient
    from suno_video_async.ledger.model import Ledger

_SUBMITTING = "being submitted: in flight while a convert is running, unknown if it was interrupted"


def _ledger_option(command: Command) -> Command:
    return click.option(
        "--ledger",
        type=LedgerPath(dir_okay=False),
        required=True,
        metavar="FILE|URL",
        help="The ledger: catalog.ledger.db beside catalog.csv, unless convert was given another one.",
    )(command)


def _rows_argument(command: Command) -> Command:
    return click.argument("rows", metavar="ROW...", nargs=-1, required=True, type=click.IntRange(min=1))(command)


@click.group(
    "unknown",
    cls=Verbs,
    epilog="\b\nExamples:\n  suno-video unknown list --ledger catalog.ledger.db\n"
    "  suno-video unknown adopt 3 VIDEO_TASK_ID --ledger catalog.ledger.db\n"
    "  suno-video unknown resend 4 5 --ledger catalog.ledger.db\n"
    "  suno-video unknown drop 6 --ledger catalog.ledger.db",
)
def unknown_group() -> None:
    """Settle submissions whose outcome is unknown.

    When the answer to a submission is lost, or a run is killed while waiting for it, the client cannot know
    whether a video was bought. convert does not submit such tracks again. Check your account: if there is a task
    for a track, adopt it. If there is none, resend lets the next convert buy the video, and drop gives it up.
    """


@unknown_group.command(
    "list",
    short_help="List the tracks that may have been paid for.",
    epilog="\b\nExample:\n  suno-video unknown list --ledger catalog.ledger.db",
)
@_ledger_option
@output_options
def list_command(*, ledger: LedgerChoice, output: Output) -> int:
    """List the tracks that may have been paid for: row, track, since when, why, and the task id if known.

    This works while a convert is running. The other verbs take the row's number.
    """

    async def show(_: Interrupts) -> int:
        from suno_video_async.batch.reconcile import balance_evidence, unknown_rows  # noqa: PLC0415  help and mistakes do without it

        rows = await unknown_rows(ledger)
        evidence = await balance_evidence(ledger)
        for row in rows:
            said = next((one for one in reversed(evidence) if row.id in one.rows), None)
            line = {**_line(row), "balance": None if said is None else str(said)}
            output.result(line, human=partial(_text, row))
        for one in evidence:
            numbers = ", ".join(map(str, one.rows))
            output.note(f"rows {numbers} ({len(one.rows)} unknown after one run): {one}")
        if not rows and output.human:
            output.note("nothing is unknown")
        return Exit.DONE

    return run_interruptible(show)


@unknown_group.command(
    "adopt",
    short_help="A task exists: follow it.",
    epilog="\b\nExample:\n  suno-video unknown adopt 3 VIDEO_TASK_ID --ledger catalog.ledger.db",
)
@click.argument("row", type=click.IntRange(min=1))
@click.argument("task_id", metavar="VIDEO_TASK_ID")
@_ledger_option
@accept_ledger_option
@client_options
def adopt_command(
    *,
    row: int,
    task_id: str,
    ledger: LedgerChoice,
    accept_ledger: bool,
    connection: Connection,
    output: Output,
) -> int:
    """Record a video task as the one that ROW bought; the next convert follows it at no extra cost.

    The task is looked up first: it must have been made from exactly the row's track, author and brand.
    """

    if _is_held(ledger):
        return _leave(ledger, output, "adopt", row, task_id=str(checked_id(task_id)))

    async def adopt(client: SunoVideoClient, _: Interrupts) -> int:
        known = checked_id(task_id)
        async with client.unknowns(Trust(accept=accept_ledger).ledger(ledger)) as unknowns:
            settled = await unknowns.adopt(row, known)
        _print([settled], "is adopted; the next convert follows its task", output)
        return Exit.DONE

    return with_client(connection, output, adopt)


@unknown_group.command(
    "resend",
    short_help="Buy it again, even if it was bought before.",
    epilog="\b\nExamples:\n  suno-video unknown resend 3 4 --ledger catalog.ledger.db --dry-run\n"
    "  suno-video unknown resend 3 4 --ledger catalog.ledger.db",
)
@_rows_argument
@_ledger_option
@accept_ledger_option
@click.option("--yes", is_flag=True, help="Do not ask for confirmation; required if stdin is not a terminal.")
@dry_run_option
@connection_options("base_url")
def resend_command(
    *,
    rows: tuple[int, ...],
    ledger: LedgerChoice,
    accept_ledger: bool,
    yes: bool,
    dry_run: bool,
    connection: Connection,
    output: Output,
) -> int:
    """Let the next convert buy the videos of these ROWs. If they were bought already, they are paid for twice.

    This command itself sends nothing. The credits reserved for the lost submission count as spent, since they may
    have been.
    """
    if dry_run:
        found = _unknown_among(rows, ledger)
        return quote_tracks([row.track for row in found], connection, output)
    if not yes and not _confirmed(rows, ledger, output):
        output.note("nothing was changed")
        return Exit.FAILED
    if _is_held(ledger):
        return _leave(ledger, output, "resend", *rows)
    return _settle(
        Trust(accept=accept_ledger).ledger(ledger),
        connection,
        output,
        lambda unknowns: unknowns.resend(*rows),
        "is planned again; the next convert buys it, and it costs credits again",
    )


def _confirmed(rows: Sequence[int], ledger: LedgerChoice, output: Output) -> bool:
    if not sys.stdin.isatty():
        raise UsageProblem("resending can pay twice: pass --yes to do it without confirmation")
    found = {row.id: row for row in _unknown_rows(ledger)}
    if not found.keys() >= set(rows):
        return True  # the caller then fails with an error that names the row
    for number in dict.fromkeys(rows):
        output.note(_text(found[number]))
    return click.confirm("Each of these is bought again and costs credits again. Continue?", err=True)


def _unknown_among(rows: Sequence[int], ledger: LedgerChoice) -> list[LedgerRow]:
    """Return the rows with these numbers.

    Raises:
        UsageProblem: one of them is not unknown.

    """
    found = {row.id: row for row in _unknown_rows(ledger)}
    wrong = [str(number) for number in dict.fromkeys(rows) if number not in found]
    if wrong:
        raise UsageProblem(f"not unknown: row {', '.join(wrong)}; suno-video unknown list shows those that are")
    return [found[number] for number in dict.fromkeys(rows)]


def _unknown_rows(ledger: LedgerChoice) -> Sequence[LedgerRow]:
    found = list[LedgerRow]()

    async def read(_: Interrupts) -> int:
        from suno_video_async.batch.reconcile import unknown_rows  # noqa: PLC0415  see above

        found.extend(await unknown_rows(ledger))
        return Exit.DONE

    if run_interruptible(read) != Exit.DONE:
        raise click.Abort
    return found


@unknown_group.command(
    "drop",
    short_help="Give the video up.",
    epilog="\b\nExample:\n  suno-video unknown drop 3 4 --ledger catalog.ledger.db",
)
@_rows_argument
@_ledger_option
@accept_ledger_option
@connection_options("base_url")
def drop_command(
    *, rows: tuple[int, ...], ledger: LedgerChoice, accept_ledger: bool, connection: Connection, output: Output
) -> int:
    """Give up the videos of these ROWs: they count as failed, and convert never buys them again.

    This cannot be undone. The credits reserved for the lost submission count as spent, since they may have been.
    """
    if _is_held(ledger):
        return _leave(ledger, output, "drop", *rows)
    kept = Trust(accept=accept_ledger).ledger(ledger)
    return _settle(kept, connection, output, lambda unknowns: unknowns.drop(*rows), "is given up")


def _settle(
    ledger: Ledger,
    connection: Connection,
    output: Output,
    decision: Callable[[Unknowns], Awaitable[list[LedgerRow]]],
    words: str,
) -> int:
    """Carry out a decision that needs no answer from the service, so that it works offline."""
    client = connection.client()

    async def settle(_: Interrupts) -> int:
        from suno_video_async.batch.reconcile import Unknowns  # noqa: PLC0415  see above

        async with Unknowns(client, ledger) as unknowns:
            settled = await decision(unknowns)
        _print(settled, words, output)
        return Exit.DONE

    return run_interruptible(settle)


def _is_held(ledger: LedgerChoice) -> bool:
    """Whether a process holds a ledger at present that others can leave decisions for."""
    return isinstance(ledger, LedgerAddress) and as_ledger(ledger).reader().writer() is not None


def _leave(
    ledger: LedgerChoice,
    output: Output,
    verb: Literal["adopt", "resend", "drop"],
    *rows: int,
    task_id: str | None = None,
) -> int:
    """Leave a decision for the worker that holds the ledger."""

    async def leave(_: Interrupts) -> int:
        from suno_video_async.batch.reconcile import leave_decisions  # noqa: PLC0415  see above

        _print(
            await leave_decisions(ledger, verb, *dict.fromkeys(rows), task_id=task_id),
            f"is left to the worker that holds the ledger, to {verb} it; unknown list shows what came of it",
            output,
        )
        return Exit.DONE

    return run_interruptible(leave)


def _print(rows: Sequence[LedgerRow], words: str, output: Output) -> None:
    for row in rows:
        output.result(_line(row), human=partial(_done, row, words))


def _done(row: LedgerRow, words: str) -> str:
    return f"row {row.id} ({row.track.suno_id}) {words}"


def _line(row: LedgerRow) -> dict[str, object]:
    track = row.track
    return {
        "row": row.id,
        "track": {
            "task_id": track.task_id,
            "suno_id": track.suno_id,
            "author": track.author,
            "brand": track.brand,
        },
        "where": row.location,
        "state": row.state.value,
        "since": round(row.since, 3),
        "reason": _reason(row),
        "video_task_id": row.video_task_id,
    }


def _reason(row: LedgerRow) -> str | None:
    return _SUBMITTING if row.state is State.SUBMITTING else row.reason


def _moment(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).astimezone().isoformat(" ", "seconds")
    except (OverflowError, ValueError, OSError):  # a clock that ran fast
        return f"{seconds:.0f}"


def _text(row: LedgerRow) -> str:
    track = row.track
    signed = ", ".join(part for part in (track.author, track.brand) if part)
    since = _moment(row.since)
    kept = f"; its task may be {row.video_task_id}" if row.video_task_id else ""
    return (
        f"row {row.id}: {track.task_id} {track.suno_id}{f' ({signed})' if signed else ''}, {row.location},"
        f" since {since}: {_reason(row) or 'no reason known'}{kept}"
    )
