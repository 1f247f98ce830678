"""`suno-video listen`: finishes what a ledger's runs have bought, and receives callbacks."""

from __future__ import annotations

from functools import partial

import click

from suno_video_async.cli.exits import UsageProblem
from suno_video_async.cli.interrupts import run_interruptible
from suno_video_async.cli.ledger_options import LedgerChoice, LedgerPath, Trust, there_is, trust_options
from suno_video_async.cli.live.state import LiveState
from suno_video_async.cli.options import (
    Connection,
    Downloads,
    callback_port_option,
    check_writable,
    client_options,
    download_options,
    rate_or_auto_options,
    task_timeout_option,
)
from suno_video_async.cli.output import Output
from suno_video_async.cli.purchases import Purchases
from suno_video_async.cli.values import not_negative, public_url
from suno_video_async.models import UNKNOWN_GRACE
from suno_video_async.ratelimit.limiter import GivenRate


@click.command(
    "listen",
    epilog="\b\nExample:\n  suno-video listen catalog.ledger.db --callback-url https://name.trycloudflare.com/callbacks",
)
@click.argument("ledger", type=LedgerPath())
@click.option(
    "--callback-url",
    callback=public_url,
    required=True,
    metavar="URL",
    help="The public URL of this command: the same as when the videos were bought.",
)
@callback_port_option
@click.option(
    "--wait",
    default=f"{UNKNOWN_GRACE:g}",
    callback=not_negative,
    show_default=True,
    metavar="S",
    help="Wait S seconds for the callbacks of unknown submissions.",
)
@trust_options
@download_options
@rate_or_auto_options
@task_timeout_option
@client_options
@click.pass_context
def listen_command(
    context: click.Context,
    *,
    ledger: LedgerChoice,
    callback_url: str,
    callback_port: int,
    wait: float,
    trust: Trust,
    downloads: Downloads,
    rate: GivenRate,
    read_rate: GivenRate,
    task_timeout: float,
    connection: Connection,
    output: Output,
) -> int:
    """Finish what a LEDGER holds, and receive the service's callbacks; nothing is bought.

    Submitted videos are followed until they finish, then downloaded; so are finished ones that were not downloaded
    yet. A submission whose outcome is unknown is resolved when its callback arrives, or if it arrived while an
    earlier run was listening. No catalog is needed.

    Exit codes are those of convert.
    """
    from suno_video_async.cli.run import Callbacks, Job, run  # noqa: PLC0415  help and mistakes do without it

    if not there_is(ledger):
        raise UsageProblem(f"there is no ledger {ledger}: name the file that convert wrote, catalog.ledger.db")
    if downloads.output_dir is not None:
        check_writable(downloads.output_dir)
    purchases, state = Purchases(), LiveState()
    job = Job(
        client=connection.client(hooks=[purchases, state], rate=rate, read_rate=read_rate),
        connection=connection,
        purchases=purchases,
        state=state,
        source=(),
        title=ledger.name,
        downloads=downloads,
        task_timeout=task_timeout,
        ledger=ledger,
        trust=trust,
        again=("suno-video", *(context.find_root().obj or ["listen", str(ledger)])),
        callbacks=Callbacks(url=callback_url, port=callback_port),
        unknown_grace=wait,
    )
    return run_interruptible(partial(run, job, output))
