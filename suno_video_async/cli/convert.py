"""`suno-video convert`: a catalog in, videos out."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import click
from attrs import evolve, frozen

from suno_video_async.batch.catalog import count_rows
from suno_video_async.cli import dryrun, errors
from suno_video_async.cli import run as conversion
from suno_video_async.cli.dryrun import dry_run_option
from suno_video_async.cli.errors import UsageProblem
from suno_video_async.cli.interrupts import Interrupts, run_interruptible
from suno_video_async.cli.live.state import LiveState
from suno_video_async.cli.options import (
    ClientOptions,
    above_zero,
    callback_port_option,
    catalog_source,
    client_options,
    is_stream,
    ledger_of,
    ledger_options,
    naming_options,
    not_negative,
    output_dir_option,
    public_url,
    rate_option,
    writable_folder,
)
from suno_video_async.cli.outcome_files import Records
from suno_video_async.cli.output import Output
from suno_video_async.cli.purchases import Purchases
from suno_video_async.client import DEFAULT_TASK_TIMEOUT
from suno_video_async.clock import SystemClock
from suno_video_async.models import RateLimit, RetryPolicy, Timeout
from suno_video_async.ratelimit.shared import SharedRateLimit

#: Attempts to reach the service before anything is bought, and the first real wait between them, in seconds.
REACH_ATTEMPTS, REACH_BACKOFF = 4, 0.25


@frozen(kw_only=True)
class ConvertOptions:
    """What the user asked `convert` for."""

    catalog: Path
    streamed: bool
    ledger: Path | None
    output_dir: Path | None
    naming: conversion.Naming
    buying: conversion.Buying
    records: Records
    again: tuple[str, ...]
    rate: RateLimit
    share_limit: Path | None
    callbacks: conversion.Callbacks | None
    max_in_flight: int
    strict: bool
    task_timeout: float
    reach: ClientOptions


@click.command(
    "convert",
    epilog="\b\nExamples:\n  suno-video convert catalog.csv --dry-run\n"
    "  suno-video convert catalog.csv --output-dir videos\n"
    "  suno-video convert catalog.csv --max-credits 50 --outcomes outcomes.jsonl --failed failed.csv\n"
    "  suno-video convert failed.csv --ledger catalog.ledger.db --retry-failed 1",
)
@click.argument("catalog", type=click.Path(path_type=Path))
@ledger_options
@output_dir_option(says="The folder for the videos, {suno_id}.mp4 each.")
@naming_options
@click.option("--no-download", is_flag=True, help="Make the videos, print their URLs, download nothing.")
@click.option(
    "--max-credits",
    callback=not_negative,
    metavar="N",
    help="Spend at most N credits over the ledger's whole life; what is not settled counts with its estimate.",
)
@click.option(
    "--retry-failed",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Buy a track again whose task failed, up to N times; without it, never.",
)
@click.option(
    "--rebuy-changed",
    is_flag=True,
    help="Buy a song again that is bought under another author or brand; without it, it is skipped and told.",
)
@click.option(
    "--outcomes",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the JSON line of each track to FILE too, as it ends; each run begins the file anew.",
)
@click.option(
    "--failed",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="At the end, write the tracks that failed, were refused or not submitted to FILE: a CSV catalog to"
    " convert again, with all your columns, and state and error.",
)
@dry_run_option
@rate_option()
@click.option(
    "--share-limit",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Share the rate with the other processes of this machine that name the same FILE and use the same key.",
)
@click.option(
    "--callback-url",
    callback=public_url,
    metavar="URL",
    help="Let the service call URL, below which this command is reached from outside, when a video is over: it is"
    " noticed at once, and a submission whose answer was lost comes back by itself.",
)
@callback_port_option
@click.option(
    "--max-in-flight",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    metavar="N",
    help="At most N unfinished videos at once.",
)
@click.option("--strict", is_flag=True, help="Never submit again after the service's own error 500.")
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
def convert_command(
    context: click.Context,
    *,
    catalog: Path,
    ledger: Path | None,
    no_ledger: bool,
    output_dir: Path,
    file_name: str,
    sha256: bool,
    no_download: bool,
    max_credits: float | None,
    retry_failed: int,
    rebuy_changed: bool,
    outcomes: Path | None,
    failed: Path | None,
    dry_run: bool,
    rate: RateLimit,
    share_limit: Path | None,
    callback_url: str | None,
    callback_port: int,
    max_in_flight: int,
    strict: bool,
    task_timeout: float,
    base_url: str | None,
    timeout: float | None,
    time_scale: float,
    output: Output,
) -> int:
    """Make a music video of every track of a CATALOG.

    CATALOG is a CSV file whose first line names its columns (task_id,suno_id, and if you like author,brand and
    columns of your own), a JSON Lines file (.jsonl) or a JSON array (.json); - is CSV from stdin. task_id is the
    music task, suno_id the track in it: suno-video tracks lists them.

    What is bought is written down in a ledger before it is sent: catalog.ledger.db beside catalog.csv, unless
    --ledger names another file. However a run ends, the same command goes on where it stopped, and buys only what
    is missing: tracks that are over are skipped, those that are bought are followed. Whether a submission was
    accepted can be unknown, as when its answer is lost: such a track is not sent again by itself, and suno-video
    unknown settles it. A ledger belongs to one account, and one command at a time writes it.

    The key is read from CRUN_API_KEY, or from ~/.crun/.env. Ctrl+C once finishes what is submitted; twice, or
    SIGTERM, leaves it to the provider, and the same command comes back to it.

    Exit codes, the first that applies: 130 interrupted, 2 usage or configuration, 3 out of credits or over the
    budget, 4 tracks left unknown, submitted or not submitted, 1 tracks failed or were refused, 0 all done.
    """
    reach = ClientOptions(base_url=base_url, timeout=timeout, time_scale=time_scale)
    kept = ledger_of(catalog, ledger, no_ledger=no_ledger)
    buying = conversion.Buying(retry_failed=retry_failed, rebuy_changed=rebuy_changed, max_credits=max_credits)
    if dry_run:
        return dryrun.of_catalog(catalog_source(catalog), kept, reach, output, buying)
    options = ConvertOptions(
        catalog=catalog_source(catalog),
        streamed=is_stream(catalog),
        ledger=kept,
        output_dir=None if no_download else output_dir,
        naming=conversion.Naming(file_name=file_name, sha256=sha256),
        buying=buying,
        records=Records(outcomes=outcomes, failed=failed),
        again=("suno-video", *(context.find_root().obj or ["convert", str(catalog)])),
        rate=rate,
        share_limit=share_limit,
        callbacks=None if callback_url is None else conversion.Callbacks(url=callback_url, port=callback_port),
        max_in_flight=max_in_flight,
        strict=strict,
        task_timeout=task_timeout,
        reach=reach,
    )
    job, base_url = _job(options), options.reach.resolved_base_url()
    options.records.check(CATALOG=catalog, **{"--ledger": options.ledger, "--share-limit": options.share_limit})
    if options.output_dir is not None:
        writable_folder(options.output_dir)
    return run_interruptible(partial(_convert, options, base_url, job, output))


def _job(options: ConvertOptions) -> conversion.Job:
    purchases, state = Purchases(), LiveState()
    share = options.share_limit
    clock = SystemClock(options.reach.time_scale)
    limiter = None if share is None else SharedRateLimit(share, options.rate, clock=clock)
    client = options.reach.client(
        hooks=[purchases, state],
        retry=RetryPolicy(strict=options.strict),
        rate=options.rate,
        max_in_flight=options.max_in_flight,
        limiter=limiter,
    )
    return conversion.Job(
        client=client,
        shared=limiter,
        purchases=purchases,
        state=state,
        source=options.catalog,
        title=options.catalog.name,
        total=None,
        output_dir=options.output_dir,
        naming=options.naming,
        task_timeout=options.task_timeout,
        ledger=options.ledger,
        buying=options.buying,
        again=options.again,
        records=options.records,
        callbacks=options.callbacks,
        resume_options=tuple(options.reach.repeated()),
    )


async def _convert(
    options: ConvertOptions, base_url: str, job: conversion.Job, output: Output, interrupts: Interrupts
) -> int:
    """Check all that can be checked before anything is bought, then convert."""
    job = evolve(job, total=None if options.streamed else await count_rows(options.catalog))
    await check_reachable(base_url, options.reach.network_timeout())
    tally, summary = await conversion.convert(job, output, interrupts)
    return conversion.close(job, tally, summary, output, interrupts)


async def check_reachable(base_url: str, timeout: Timeout) -> None:
    """Connect once, without a request, so that a wrong address is said before every track tries it for minutes.

    Raises:
        UsageProblem: nothing answers there.

    """
    parts = urlsplit(base_url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    for attempt in range(1, REACH_ATTEMPTS + 1):
        try:
            async with asyncio.timeout(timeout.connect):
                _, writer = await asyncio.open_connection(parts.hostname, port)
        except TimeoutError:
            raise _unreachable(base_url, f"no connection within {timeout.connect:g} s") from None
        except OSError as error:
            if attempt == REACH_ATTEMPTS:
                raise _unreachable(base_url, errors.os_reason(error) or str(error)) from error
            await asyncio.sleep(REACH_BACKOFF * 2 ** (attempt - 1))
        else:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            return


def _unreachable(base_url: str, reason: str) -> UsageProblem:
    return UsageProblem(
        f"{base_url} cannot be reached: {reason}; nothing was bought: check the network, and --base-url or"
        " CRUN_BASE_URL"
    )
