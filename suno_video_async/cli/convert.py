"""`suno-video convert`: a catalog in, videos out."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click
from attrs import evolve

from suno_video_async.cli.catalogs import catalog_options, is_stream
from suno_video_async.cli.exits import UsageProblem
from suno_video_async.cli.interrupts import Interrupts, run_interruptible
from suno_video_async.cli.ledger_options import (
    LedgerChoice,
    Trust,
    ledger_of,
    ledger_options,
    other_ledgers_option,
    trust_options,
)
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
from suno_video_async.cli.plan import dry_run_option, quote_catalog
from suno_video_async.cli.purchases import Purchases
from suno_video_async.cli.values import not_negative, parse_in_flight, public_url
from suno_video_async.clock import SystemClock
from suno_video_async.ledger.decision import Buying
from suno_video_async.models import RateLimit, RetryPolicy
from suno_video_async.ratelimit.limiter import GivenRate

if TYPE_CHECKING:
    from suno_video_async.batch.catalog import CatalogFile
    from suno_video_async.cli.run import Job


@click.command(
    "convert",
    epilog="\b\nExamples:\n  suno-video convert catalog.csv --dry-run\n"
    "  suno-video convert catalog.csv --output-dir videos\n"
    "  suno-video convert catalog.csv --max-credits 50 --outcomes outcomes.jsonl --failed failed.csv\n"
    "  suno-video convert failed.csv --ledger catalog.ledger.db --retry-failed 1",
)
@click.argument("catalog", type=click.Path(path_type=Path))
@catalog_options
@ledger_options
@trust_options
@download_options
@click.option(
    "--max-credits",
    callback=not_negative,
    metavar="N",
    help="Spend at most N credits over the ledger's lifetime; unsettled submissions count with their estimate.",
)
@click.option(
    "--retry-failed",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Buy a track again if its task failed, up to N times; without it, never.",
)
@click.option(
    "--rebuy-changed",
    is_flag=True,
    help="Buy a song again if it was bought with another author or brand; without it, it is skipped and reported.",
)
@other_ledgers_option
@click.option(
    "--outcomes",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Also write the JSON line of each track to FILE as it finishes; each run overwrites the file. FILE.csv"
    " and FILE.parquet are tables, written at the end.",
)
@click.option(
    "--failed",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="At the end, write the tracks that failed, were refused or not submitted, and the rows that could not be"
    " read, to FILE: a CSV catalog to convert again, with all your columns plus state and error.",
)
@dry_run_option
@rate_or_auto_options
@click.option(
    "--share-limit",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Share the rate limit with other processes on this machine that name the same FILE and use the same key.",
)
@click.option(
    "--callback-url",
    callback=public_url,
    metavar="URL",
    help="The public URL of this command, which the service calls when a video is finished: completion is noticed"
    " at once, and a submission whose answer was lost is resolved by its callback.",
)
@callback_port_option
@click.option(
    "--max-in-flight",
    callback=parse_in_flight,
    default="100",
    show_default=True,
    metavar="N|auto",
    help="At most N unfinished videos at once; auto, with --rate auto, finds how many the service lets run.",
)
@click.option("--strict", is_flag=True, help="Never submit again after the service's own error 500.")
@task_timeout_option
@client_options
@click.pass_context
def convert_command(
    context: click.Context,
    *,
    catalog: Path,
    source: CatalogFile,
    ledger: LedgerChoice | None,
    no_ledger: bool,
    trust: Trust,
    downloads: Downloads,
    max_credits: float | None,
    retry_failed: int,
    rebuy_changed: bool,
    ignore_other_ledgers: bool,
    outcomes: Path | None,
    failed: Path | None,
    dry_run: bool,
    rate: GivenRate,
    read_rate: GivenRate,
    share_limit: Path | None,
    callback_url: str | None,
    callback_port: int,
    max_in_flight: int | Literal["auto"],
    strict: bool,
    task_timeout: float,
    connection: Connection,
    output: Output,
) -> int:
    """Make a music video of every track in a CATALOG.

    CATALOG is a CSV file whose first line names its columns (task_id,suno_id, and optionally author,brand and your
    own), JSON (objects a line, or an array), an Excel workbook (.xlsx) or a Parquet file, packed with gzip or not;
    - reads it from stdin. task_id is the music task, suno_id the track in it: suno-video tracks lists them. A file
    is read through before anything is bought, and refused if rows would be lost or bought without their author.

    Every submission is recorded in a ledger before it is sent: catalog.ledger.db beside catalog.csv, unless
    --ledger names another file. However a run ends, the same command continues where it stopped, and buys only
    what is missing: finished tracks are skipped, bought ones are followed. Whether a submission was accepted can
    be unknown, for example if its answer is lost: such a track is not submitted again automatically; settle it
    with suno-video unknown. A ledger belongs to one account, and only one command at a time can write to it.

    If you rename or copy a catalog, its ledger keeps its name: tracks that another ledger in the folder holds are
    not bought, and are reported with its name.

    The key is read from CRUN_API_KEY, or from ~/.crun/.env. Ctrl+C once finishes what is submitted; twice, or
    SIGTERM, exits and leaves it to the provider; the same command continues later.

    Exit codes, the first that applies: 130 interrupted, 2 usage or configuration, 3 out of credits or over the
    budget, 4 tracks left unknown, submitted or not submitted, 1 tracks failed or were refused, 0 all done.
    """
    kept = ledger_of(catalog, ledger, no_ledger=no_ledger)
    buying = Buying(
        retry_failed=retry_failed,
        rebuy_changed=rebuy_changed,
        ignore_other_ledgers=ignore_other_ledgers,
        max_credits=max_credits,
    )
    if dry_run:
        return quote_catalog(source, kept, connection, output, buying)
    # Help and mistakes do without these.
    from suno_video_async.cli.outcome_files import OutcomeFiles  # noqa: PLC0415  see above
    from suno_video_async.cli.run import Callbacks, Job  # noqa: PLC0415  likewise
    from suno_video_async.ratelimit.shared import SharedRateLimit  # noqa: PLC0415  likewise

    files = OutcomeFiles(outcomes=outcomes, failed=failed)
    purchases, state = Purchases(), LiveState()
    clock = SystemClock(connection.time_scale)
    if max_in_flight == "auto" and rate != "auto":
        raise UsageProblem("--max-in-flight auto needs --rate auto: a given rate tells no refusal apart")
    limiter = None
    if share_limit is not None:
        if max_in_flight == "auto":
            raise UsageProblem(
                "--max-in-flight auto cannot be found with --share-limit: the videos of the other commands run as"
                " well; name a number"
            )
        limiter = SharedRateLimit(share_limit, _shared(rate), read_rate=read_rate, clock=clock)
    job = Job(
        client=connection.client(
            hooks=[purchases, state],
            retry=RetryPolicy(strict=strict),
            rate=rate,
            read_rate=read_rate,
            max_in_flight=max_in_flight,
            limiter=limiter,
        ),
        connection=connection,
        shared=limiter,
        purchases=purchases,
        state=state,
        source=source,
        title=source.name,
        downloads=downloads,
        task_timeout=task_timeout,
        ledger=kept,
        trust=trust,
        buying=buying,
        again=("suno-video", *(context.find_root().obj or ["convert", str(catalog)])),
        files=files,
        callbacks=None if callback_url is None else Callbacks(url=callback_url, port=callback_port),
    )
    ledger_file = kept if isinstance(kept, Path) else None
    files.check(CATALOG=catalog, **{"--ledger": ledger_file, "--share-limit": share_limit})
    if downloads.output_dir is not None:
        check_writable(downloads.output_dir)
    return run_interruptible(partial(_convert, job, None if is_stream(catalog) else source, output))


def _shared(rate: GivenRate) -> RateLimit | Literal["auto"]:
    if rate is None:
        raise UsageProblem("--rate unlimited leaves no limit to share: leave --share-limit out, or name a rate")
    return rate


async def _convert(job: Job, countable: CatalogFile | None, output: Output, interrupts: Interrupts) -> int:
    from suno_video_async.batch.catalog import count_rows  # noqa: PLC0415  see above
    from suno_video_async.cli.run import run  # noqa: PLC0415  likewise

    total = None if countable is None else await count_rows(countable)
    return await run(evolve(job, total=total), output, interrupts)
