"""`suno-video work`: works keys on ledgers in PostgreSQL, beside other workers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import anyio
import click
from attrs import fields, frozen

from suno_video_async._util.words import many
from suno_video_async.cli.exits import Exit
from suno_video_async.cli.interrupts import Interrupts, run_interruptible
from suno_video_async.cli.ledger_options import LedgerChoice, LedgerPath
from suno_video_async.cli.options import (
    Command,
    Connection,
    Downloads,
    connection_options,
    download_options,
    task_timeout_option,
)
from suno_video_async.cli.output import Output, keep_secret
from suno_video_async.cli.values import not_negative, public_url
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


_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    database_option,
    click.option(
        "--keys",
        type=click.Path(path_type=Path, dir_okay=False),
        required=True,
        metavar="FILE",
        help="Which keys may be used, and where each is: [[key]] tables in TOML. No key is in this file.",
    ),
    click.option(
        "--most-keys",
        type=click.IntRange(min=1),
        metavar="N",
        help="Hold at most N keys; without it, all that are free.",
    ),
    download_options,
    click.option(
        "--max-credits",
        callback=not_negative,
        metavar="N",
        help="Spend at most N credits over the lifetime of the ledgers of all keys together; max_credits in the"
        " table of a key is for its ledger alone.",
    ),
    click.option("--strict", is_flag=True, help="Never submit again after the service's own error 500."),
    click.option(
        "--retry-failed",
        type=click.IntRange(min=0),
        default=0,
        metavar="N",
        help="Buy a track again if its task failed, up to N times; without it, never.",
    ),
    click.option(
        "--callback-url",
        callback=public_url,
        metavar="URL",
        help="The public URL of suno-video receive, which the service calls when a video is finished.",
    ),
    task_timeout_option,
    connection_options("timeout", "proxy", "ca_file", "time_scale"),
)


@frozen(kw_only=True)
class Work:
    """What a worker has, and how it works; see `Worker`."""

    database: LedgerAddress
    keys: Path
    most_keys: int | None
    downloads: Downloads
    max_credits: float | None
    strict: bool
    retry_failed: int
    callback_url: str | None
    task_timeout: float
    connection: Connection

    def entries(self) -> tuple[KeyEntry, ...]:
        """Return its keys, and let none of them be shown. Blocks.

        Raises:
            ConfigurationError: the file of the keys cannot be used.

        """
        from suno_video_async.engines.keys import load_keys  # noqa: PLC0415  help and mistakes do without it

        entries = load_keys(self.keys)
        for entry in entries:
            with suppress(ConfigurationError):  # the worker says so
                keep_secret(entry.api_key())
        return entries

    def common(self, output: Output) -> dict[str, Any]:
        """Return the arguments that `Worker` and `WorkOptions` share."""
        return {
            "callback_url": self.callback_url,
            "max_credits": self.max_credits,
            "strict": self.strict,
            "retry_failed": self.retry_failed,
            "file_name": self.downloads.file_name,
            "sha256": self.downloads.sha256,
            "task_timeout": self.task_timeout,
            "timeout": self.connection.network_timeout(),
            "proxy": self.connection.proxy,
            "ca_file": self.connection.ca_file,
            "clock": SystemClock(self.connection.time_scale),
            "notify": output.note,
        }


def work_options(command: Command) -> Command:
    """Give a command the options of a worker, as `work`, and `output`."""

    @wraps(command)
    def with_work(*arguments: Any, output: Output, **options: Any) -> Any:
        work = Work(**{name: options.pop(name) for name in (field.name for field in fields(Work))})
        return command(*arguments, work=work, output=output, **options)

    decorated: Any = with_work
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return cast("Command", decorated)


@click.command(
    "work",
    epilog="\b\nExamples:\n  suno-video work --database postgresql://db.example/videos --keys keys.toml"
    " --output-dir s3://bucket/videos\n"
    "  suno-video work --database postgresql://db.example/videos --keys keys.toml --most-keys 4 --until-done",
)
@click.option("--until-done", is_flag=True, help="End once the ledgers of all keys want nothing more.")
@work_options
def work_command(*, work: Work, until_done: bool, output: Output) -> int:
    """Work keys on their ledgers in PostgreSQL: buy, follow and download all that is loaded.

    Run it on as many machines as you like: each key is worked by one of them at a time. If that one dies, another
    goes on within seconds, and nothing is paid for twice. suno-video load fills the ledgers, also meanwhile;
    suno-video report, plan and unknown take their addresses.

    The file of --keys has a table a key: name, api_key_env or api_key_file, and optionally base_url, rate,
    read_rate, max_in_flight, max_credits and ledger (the name in the database; without it, the key's).

    SIGTERM or Ctrl+C finishes what is submitted and buys no more; a second one leaves at once. To be killed at any
    time is safe.

    Exit codes, the first that applies: 130 left at once, 2 usage or configuration, 3 out of credits or over the
    budget, 4 another reason for which a key was given up, 0 done or stopped.
    """
    from suno_video_async.engines.worker import Worker  # noqa: PLC0415  help and mistakes do without it

    counts = Counter[str]()
    worker = Worker(
        work.database,
        keys=work.entries(),
        output=work.downloads.output_dir,
        most_keys=work.most_keys,
        until_done=until_done,
        on_outcome=partial(show_outcome, output, counts),
        **work.common(output),
    )
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


def show_outcome(output: Output, counts: Counter[str], entry: KeyEntry, outcome: Outcome) -> None:
    """Count an outcome, and write it."""
    counts[outcome.state] += 1
    named = outcome.track.suno_id if outcome.track is not None else outcome.location
    line = {"key": entry.name, "ledger": entry.ledger, **outcome.record()}
    why = "" if outcome.error is None else f": {outcome.error}"
    output.result(line, human=lambda: f"{entry.name}: {named} {outcome.state}{why}")


def _text(counts: Counter[str]) -> str:
    return f"{many(counts.total(), 'outcome')}: " + ", ".join(
        f"{n} {state}" for state, n in sorted(counts.items())
    )
