"""`suno-video listen`: go on with what a ledger's runs have bought, and let the service call."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from suno_video_async.cli import run as conversion
from suno_video_async.cli.convert import check_reachable
from suno_video_async.cli.errors import UsageProblem
from suno_video_async.cli.interrupts import Interrupts, run_interruptible
from suno_video_async.cli.live.state import LiveState
from suno_video_async.cli.options import (
    ClientOptions,
    above_zero,
    callback_port_option,
    client_options,
    naming_options,
    not_negative,
    output_dir_option,
    public_url,
    rate_option,
    writable_folder,
)
from suno_video_async.cli.output import Output
from suno_video_async.cli.purchases import Purchases
from suno_video_async.client import DEFAULT_TASK_TIMEOUT
from suno_video_async.models import UNKNOWN_GRACE, RateLimit


@click.command(
    "listen",
    short_help="Finish what a LEDGER holds, and take callbacks.",
    epilog="\b\nExample:\n  suno-video listen catalog.ledger.db --callback-url https://name.trycloudflare.com/callbacks",
)
@click.argument("ledger", type=click.Path(path_type=Path))
@click.option(
    "--callback-url",
    callback=public_url,
    required=True,
    metavar="URL",
    help="Where the service reaches this command from outside: the same as when the videos were bought.",
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
@output_dir_option(says="The folder for the videos, {suno_id}.mp4 each.")
@naming_options
@click.option("--no-download", is_flag=True, help="Print the videos' URLs, download nothing.")
@rate_option()
@click.option(
    "--task-timeout",
    default=f"{DEFAULT_TASK_TIMEOUT:g}",
    callback=above_zero,
    show_default=True,
    metavar="S",
    help="Leave a video that takes longer than S seconds as submitted.",
)
@client_options
@click.pass_context
def listen_command(
    context: click.Context,
    *,
    ledger: Path,
    callback_url: str,
    callback_port: int,
    wait: float,
    output_dir: Path,
    file_name: str,
    sha256: bool,
    no_download: bool,
    rate: RateLimit,
    task_timeout: float,
    base_url: str | None,
    timeout: float | None,
    time_scale: float,
    output: Output,
) -> int:
    """Finish what a LEDGER holds, and take the service's callbacks; nothing is bought.

    Videos that were submitted are followed to their end and downloaded, as are those that were made and not
    downloaded. A submission whose outcome is unknown is found again when its callback comes, or came while an
    earlier run listened. No catalog is needed.

    Exit codes are those of convert.
    """
    if not ledger.exists():
        raise UsageProblem(f"there is no ledger {ledger}: name the file that convert wrote, catalog.ledger.db")
    folder = None if no_download else writable_folder(output_dir)
    reach = ClientOptions(base_url=base_url, timeout=timeout, time_scale=time_scale)
    purchases, state = Purchases(), LiveState()
    job = conversion.Job(
        client=reach.client(hooks=[purchases, state], rate=rate),
        purchases=purchases,
        state=state,
        source=(),
        title=ledger.name,
        total=None,
        output_dir=folder,
        naming=conversion.Naming(file_name=file_name, sha256=sha256),
        task_timeout=task_timeout,
        ledger=ledger,
        again=("suno-video", *(context.find_root().obj or ["listen", str(ledger)])),
        callbacks=conversion.Callbacks(url=callback_url, port=callback_port),
        unknown_grace=wait,
        resume_options=tuple(reach.repeated()),
    )
    return run_interruptible(partial(_listen, reach, job, output))


async def _listen(reach: ClientOptions, job: conversion.Job, output: Output, interrupts: Interrupts) -> int:
    await check_reachable(reach.resolved_base_url(), reach.network_timeout())
    tally, summary = await conversion.convert(job, output, interrupts)
    return conversion.close(job, tally, summary, output, interrupts)
