"""`suno-video receive`: receives the callbacks of workers, and leaves them for the holders of their ledgers."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial

import click

from suno_video_async._util.words import many
from suno_video_async.cli.exits import Exit, UsageProblem
from suno_video_async.cli.interrupts import Interrupts, run_interruptible
from suno_video_async.cli.options import callback_port_option, output_options
from suno_video_async.cli.output import Output
from suno_video_async.cli.values import public_url
from suno_video_async.cli.work import database_option
from suno_video_async.ledger.address import LedgerAddress


@click.command(
    "receive",
    epilog="\b\nExample:\n  suno-video receive --database postgresql://db.example/videos"
    " --callback-url https://hooks.example/callbacks",
)
@database_option
@click.option(
    "--callback-url",
    callback=public_url,
    required=True,
    metavar="URL",
    help="The public URL of this command: the same as that of suno-video work.",
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Listen on ADDRESS, such as 0.0.0.0 in a container.",
)
@callback_port_option
@output_options
def receive_command(
    *, database: LedgerAddress, callback_url: str, host: str, callback_port: int, output: Output
) -> int:
    """Receive the service's callbacks for suno-video work, and leave them for the workers. No key is needed.

    Each callback is committed to the database before it is answered, so it is not lost if no worker runs at that
    moment, or if this command is killed. Run as many of them as you like, behind one URL.

    It runs until it is interrupted. Exit codes: 2 usage or configuration, 0 otherwise.
    """
    return run_interruptible(partial(_receive, database, callback_url, (host, callback_port), output))


async def _receive(
    database: LedgerAddress, url: str, place: tuple[str, int], output: Output, interrupts: Interrupts
) -> int:
    from suno_video_async.engines.receiver import NotesReceiver  # noqa: PLC0415  help and mistakes do without it

    receiver, ended = NotesReceiver(database, public_url=url), asyncio.Event()
    host, port = place
    try:
        async with contextlib.AsyncExitStack() as stack:
            # Before it listens: interrupted while it starts, it ends like one that has received nothing.
            stack.enter_context(interrupts.meaning(once=None, leave=ended.set))
            try:
                port = await stack.enter_async_context(receiver.listen(host, port))
            except OSError as error:
                raise UsageProblem(f"cannot listen on port {port} of {host}: {error.strerror or error}") from error
            output.note(f"receiving callbacks on port {port} of {host}")
            await ended.wait()
    finally:
        await receiver.aclose()
    statistics = receiver.statistics()
    output.result(
        {"summary": {"accepted": statistics.accepted, "refused": statistics.refused}},
        human=lambda: f"{many(statistics.accepted, 'callback')} accepted, {statistics.refused} refused",
    )
    return Exit.DONE
