"""`suno-video work`: works keys on ledgers in PostgreSQL, beside other workers."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import click

from suno_video_async._util.words import many
from suno_video_async.cli.exits import Exit
from suno_video_async.cli.interrupts import Interrupts, run_interruptible
from suno_video_async.cli.options import (
    Command,
    Connection,
    Downloads,
    LedgerChoice,
    LedgerPath,
    connection_options,
    download_options,
    not_negative,
    public_url,
    task_timeout_option,
)
from suno_video_async.cli.output import Output, keep_secret
from suno_video_async.clock import SystemClock
from suno_video_async.errors import ConfigurationError
from suno_video_async.ledger.address import LedgerAddress

if TYPE_CHECKING:
    from suno_video_async.batch.outcome import Outcome
    from suno_video_async.engines.keys import KeyEntry
    from suno_video_async.engines.worker import Worker

#: Where the database's address is taken from, so that a password in it is in no list of processes.
VARIABLE = "SUNO_VIDEO_DATABASE"
_DRAINING = "finishing what is submitted, buying no more; another signal leaves now (tasks go on without you)"


def database_option(command: Command) -> Command:
    """Give a command `--database`, as `database`, a `LedgerAddress`."""
    return click.option(
        "--database",
        type=LedgerPath(),
        envvar=VARIABLE,
        show_envvar=True,
        required=True,
        callback=_database,
        metavar="URL",
        help="The database of the ledgers: postgresql://USER@HOST/DATABASE.",
    )(command)


def _database(_: click.Context, __: click.Parameter, value: LedgerChoice) -> LedgerAddress:
    if not isinstance(value, LedgerAddress):
        raise click.BadParameter("expected postgresql://USER@HOST/DATABASE")
    if not value.is_database:
        raise click.BadParameter(value.problem or "it names a ledger: leave ?ledger=… out")
    return value


@click.command(
    "work",
    epilog="\b\nExamples:\n  suno-video work --database postgresql://db.example/videos --keys keys.toml"
    " --output-dir s3://bucket/videos\n"
    "  suno-video work --database postgresql://db.example/videos --keys keys.toml --most-keys 4 --until-done",
)
@database_option
@click.option(
    "--keys",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="FILE",
    help="Which keys may be used, and where each is: [[key]] tables in TOML. No key is in this file.",
)
@click.option(
    "--most-keys",
    type=click.IntRange(min=1),
    metavar="N",
    help="Hold at most N keys; without it, all that are free.",
)
@click.option("--until-done", is_flag=True, help="End once the ledgers of all keys want nothing more.")
@download_options
@click.option(
    "--max-credits",
    callback=not_negative,
    metavar="N",
    help="Spend at most N credits over the lifetime of each ledger.",
)
@click.option(
    "--retry-failed",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Buy a track again if its task failed, up to N times; without it, never.",
)
@click.option(
    "--callback-url",
    callback=public_url,
    metavar="URL",
    help="The public URL of suno-video receive, which the service calls when a video is finished.",
)
@task_timeout_option
@connection_options("timeout", "proxy", "ca_file", "time_scale")
def work_command(
    *,
    database: LedgerAddress,
    keys: Path,
    most_keys: int | None,
    until_done: bool,
    downloads: Downloads,
    max_credits: float | None,
    retry_failed: int,
    callback_url: str | None,
    task_timeout: float,
    connection: Connection,
    output: Output,
) -> int:
    """Work keys on their ledgers in PostgreSQL: buy, follow and download all that is loaded.

    Run it on as many machines as you like: each key is worked by one of them at a time. If that one dies, another
    goes on within seconds, and nothing is paid for twice. suno-video load fills the ledgers, also meanwhile;
    suno-video report, plan and unknown take their addresses.

    The file of --keys has a table a key: name, api_key_env or api_key_file, and optionally base_url, rate,
    read_rate, max_in_flight and ledger (the name in the database; without it, the key's).

    SIGTERM or Ctrl+C finishes what is submitted and buys no more; a second one leaves at once. To be killed at any
    time is safe.

    Exit codes, the first that applies: 130 left at once, 2 usage or configuration, 3 out of credits or over the
    budget, 4 another reason for which a key was given up, 0 done or stopped.
    """
    from suno_video_async.engines.worker import Worker  # noqa: PLC0415  help and mistakes do without it

    counts = Counter[str]()
    worker = Worker(
        database,
        keys=keys,
        output=downloads.output_dir,
        callback_url=callback_url,
        most_keys=most_keys,
        until_done=until_done,
        max_credits=max_credits,
        retry_failed=retry_failed,
        file_name=downloads.file_name,
        sha256=downloads.sha256,
        task_timeout=task_timeout,
        timeout=connection.network_timeout(),
        proxy=connection.proxy,
        ca_file=connection.ca_file,
        clock=SystemClock(connection.time_scale),
        on_outcome=partial(_show, output, counts),
        notify=output.note,
    )
    for entry in worker.entries:
        with suppress(ConfigurationError):  # the worker says so
            keep_secret(entry.api_key())
    output.keeps = True
    return run_interruptible(partial(_work, worker, counts, output))


async def _work(worker: Worker, counts: Counter[str], output: Output, interrupts: Interrupts) -> int:
    def drain() -> None:
        output.note(_DRAINING)
        worker.stop()

    try:
        with anyio.CancelScope() as scope, interrupts.meaning(once=drain, leave=scope.cancel, sigterm_too=True):
            await worker.run()
    finally:
        output.result({"summary": dict(counts)}, human=lambda: _text(counts))
    return Exit.INTERRUPTED if scope.cancelled_caught else Exit.DONE


def _show(output: Output, counts: Counter[str], entry: KeyEntry, outcome: Outcome) -> None:
    counts[outcome.state] += 1
    named = outcome.track.suno_id if outcome.track is not None else outcome.location
    line = {"key": entry.name, "ledger": entry.ledger, **outcome.record()}
    why = "" if outcome.error is None else f": {outcome.error}"
    output.result(line, human=lambda: f"{entry.name}: {named} {outcome.state}{why}")


def _text(counts: Counter[str]) -> str:
    return f"{many(counts.total(), 'outcome')}: " + ", ".join(
        f"{n} {state}" for state, n in sorted(counts.items())
    )
