"""`suno-video unknown`: submissions that may be paid for, listed and settled by hand."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import click

from suno_video_async.batch.reconcile import Unknowns, unknown_rows
from suno_video_async.cli.errors import Exit, UsageProblem
from suno_video_async.cli.group import Verbs
from suno_video_async.cli.interrupts import Interrupts, run_interruptible
from suno_video_async.cli.options import ClientOptions, Command, client_options, connection_options, output_options
from suno_video_async.cli.output import Output
from suno_video_async.cli.plan import dry_run_option, quote_tracks
from suno_video_async.cli.session import with_client
from suno_video_async.cli.single import checked_id
from suno_video_async.client import SunoVideoClient
from suno_video_async.ledger.model import LedgerRow
from suno_video_async.ledger.states import State

_IN_THE_AIR = "being submitted: in the air while a convert runs, unknown when it was interrupted"


def _ledger_option(command: Command) -> Command:
    return click.option(
        "--ledger",
        type=click.Path(path_type=Path, dir_okay=False),
        required=True,
        metavar="FILE",
        help="The ledger: catalog.ledger.db beside catalog.csv, unless convert was told another one.",
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

    When the answer of a submission is lost, or a run is killed while it waits for one, nobody on this side can
    know whether a video was bought. convert leaves such tracks alone. Look into your account: if there is a task
    for a track, adopt it. If there is none, resend buys the video with the next convert, and drop gives it up.
    """


@unknown_group.command(
    "list",
    short_help="Which tracks may be paid for, since when and why.",
    epilog="\b\nExample:\n  suno-video unknown list --ledger catalog.ledger.db",
)
@_ledger_option
@output_options
def list_command(*, ledger: Path, output: Output) -> int:
    """List the tracks that may be paid for: row, track, since when, why, and an id where one is known.

    Works beside a running convert. The row's number is what the other verbs take.
    """

    async def tell(_: Interrupts) -> int:
        rows = await unknown_rows(ledger)
        for row in rows:
            output.result(_line(row), human=partial(_text, row))
        if not rows and output.human:
            output.note("nothing is unknown")
        return Exit.DONE

    return run_interruptible(tell)


@unknown_group.command(
    "adopt",
    short_help="There is a task for it: follow that.",
    epilog="\b\nExample:\n  suno-video unknown adopt 3 VIDEO_TASK_ID --ledger catalog.ledger.db",
)
@click.argument("row", type=click.IntRange(min=1))
@click.argument("task_id", metavar="VIDEO_TASK_ID")
@_ledger_option
@client_options
def adopt_command(
    *,
    row: int,
    task_id: str,
    ledger: Path,
    connection: ClientOptions,
    output: Output,
) -> int:
    """Take a video task as the one that a ROW bought; the next convert follows it and costs nothing for it.

    The service is asked first: the task must be made from exactly the row's track, author and brand.
    """

    async def adopt(client: SunoVideoClient, _: Interrupts) -> int:
        known = checked_id(task_id)
        async with client.unknowns(ledger) as unknowns:
            settled = await unknowns.adopt(row, known)
        _tell([settled], "is adopted; the next convert follows its task", output)
        return Exit.DONE

    return with_client(connection, output, adopt)


@unknown_group.command(
    "resend",
    short_help="Buy it again, whatever was bought before.",
    epilog="\b\nExamples:\n  suno-video unknown resend 3 4 --ledger catalog.ledger.db --dry-run\n"
    "  suno-video unknown resend 3 4 --ledger catalog.ledger.db",
)
@_rows_argument
@_ledger_option
@click.option("--yes", is_flag=True, help="Do not ask; needed where there is no terminal to ask on.")
@dry_run_option
@connection_options("base_url")
def resend_command(
    *, rows: tuple[int, ...], ledger: Path, yes: bool, dry_run: bool, connection: ClientOptions, output: Output
) -> int:
    """Let the next convert buy the videos of these ROWs. If they were bought, they are then paid for twice.

    Nothing is sent by this command itself. What was set aside for the lost submission counts as spent, since it
    may have been.
    """
    if dry_run:
        found = _unknown_among(rows, ledger)
        return quote_tracks([row.track for row in found], connection, output)
    if not yes and not _confirmed(rows, ledger, output):
        output.note("nothing was changed")
        return Exit.FAILED

    return _settle(
        ledger,
        connection,
        output,
        lambda unknowns: unknowns.resend(*rows),
        "is planned again; the next convert buys it, and it costs credits again",
    )


def _confirmed(rows: Sequence[int], ledger: Path, output: Output) -> bool:
    if not sys.stdin.isatty():
        raise UsageProblem("resending can pay twice: say --yes to do it without being asked")
    found = {row.id: row for row in _unknown_rows(ledger)}
    if not found.keys() >= set(rows):
        return True  # which ends in the error that says which row is not unknown
    for number in dict.fromkeys(rows):
        output.note(_text(found[number]))
    return click.confirm("Each of these is bought again and costs credits again. Go on?", err=True)


def _unknown_among(rows: Sequence[int], ledger: Path) -> list[LedgerRow]:
    """Return the rows of these numbers.

    Raises:
        UsageProblem: one of them is not unknown.

    """
    found = {row.id: row for row in _unknown_rows(ledger)}
    wrong = [str(number) for number in dict.fromkeys(rows) if number not in found]
    if wrong:
        raise UsageProblem(f"not unknown: row {', '.join(wrong)}; suno-video unknown list shows those that are")
    return [found[number] for number in dict.fromkeys(rows)]


def _unknown_rows(ledger: Path) -> Sequence[LedgerRow]:
    found = list[LedgerRow]()

    async def read(_: Interrupts) -> int:
        found.extend(await unknown_rows(ledger))
        return Exit.DONE

    if run_interruptible(read) != Exit.DONE:
        raise click.Abort
    return found


@unknown_group.command(
    "drop",
    short_help="Give it up.",
    epilog="\b\nExample:\n  suno-video unknown drop 3 4 --ledger catalog.ledger.db",
)
@_rows_argument
@_ledger_option
@connection_options("base_url")
def drop_command(*, rows: tuple[int, ...], ledger: Path, connection: ClientOptions, output: Output) -> int:
    """Give the videos of these ROWs up: they count as failed, and no convert buys them any more.

    This cannot be taken back. What was set aside for the lost submission counts as spent, since it may have been.
    """
    return _settle(ledger, connection, output, lambda unknowns: unknowns.drop(*rows), "is given up")


def _settle(
    ledger: Path,
    connection: ClientOptions,
    output: Output,
    decision: Callable[[Unknowns], Awaitable[list[LedgerRow]]],
    words: str,
) -> int:
    """Carry out a decision that needs no answer of the service, which may not even be there."""
    client = connection.client()

    async def settle(_: Interrupts) -> int:
        async with Unknowns(client, ledger) as unknowns:
            settled = await decision(unknowns)
        _tell(settled, words, output)
        return Exit.DONE

    return run_interruptible(settle)


def _tell(rows: Sequence[LedgerRow], words: str, output: Output) -> None:
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
    if row.state is State.SUBMITTING:
        return _IN_THE_AIR
    return row.error[2] if row.error else None


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
