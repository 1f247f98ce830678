"""What a command would buy and what that would cost: `suno-video plan`, and `--dry-run` of other commands."""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from attrs import field, frozen
from rich.table import Table

from suno_video_async._util.words import many
from suno_video_async.cli.catalogs import catalog_options
from suno_video_async.cli.exits import Exit
from suno_video_async.cli.interrupts import Interrupts, run_interruptible
from suno_video_async.cli.ledger_options import (
    LedgerChoice,
    ledger_of,
    ledger_options,
    other_ledgers_option,
    there_is,
)
from suno_video_async.cli.options import Command, Connection, client_options
from suno_video_async.cli.output import Output
from suno_video_async.cli.session import with_client
from suno_video_async.config import Settings
from suno_video_async.errors import CatalogError, MissingKeyError
from suno_video_async.ledger.decision import Buying
from suno_video_async.ledger.model import NO_LEDGER
from suno_video_async.models import Track

if TYPE_CHECKING:
    from suno_video_async.batch.catalog import CatalogFile
    from suno_video_async.client import SunoVideoClient

#: How the kinds of rows are named to people, in this order.
_KINDS: Mapping[str, str] = {
    "submitted": "bought before and not finished: will be followed",
    "done": "done",
    "unknown": "unknown and left alone: see suno-video unknown list",
    "failed": "failed before: bought again only with --retry-failed",
    "changed": "bought under another author or brand: bought again only with --rebuy-changed",
    "elsewhere": "in another ledger in the folder: bought only with --ignore-other-ledgers",
    "repeated": "repeated in the catalog",
    "bad_rows": "not readable as tracks",
}


@frozen(kw_only=True)
class Quote:
    """What would be bought, and what it would cost.

    Attributes:
        videos: how many.
        credits: their price by the service's estimate; None without a key to ask with.
        balance: the account's credits; None without a key.
        left: of the budget, if there is one.
        rows: how many rows of the catalog there are of each kind; empty without a catalog.

    """

    videos: int
    credits: float | None = None
    balance: float | None = None
    left: float | None = None
    rows: Mapping[str, int] = field(factory=dict[str, int])

    @property
    def affordable(self) -> bool | None:
        """Whether credits and budget are enough, if they are known."""
        if self.credits is None or self.balance is None:
            return None
        return self.credits <= self.balance and (self.left is None or self.credits <= self.left)

    def line(self) -> dict[str, object]:
        """Return the JSON line."""
        return {
            "dry_run": True,
            "would_buy": self.videos,
            "estimated_credits": self.credits,
            "balance": self.balance,
            "affordable": self.affordable,
            **({} if self.left is None else {"budget_left": self.left}),
            **self.rows,
        }

    def table(self) -> Table:
        """Return the table for people."""
        table = Table.grid(padding=(0, 1))
        table.add_column(justify="right")
        table.add_column(overflow="fold")
        table.add_row(str(self.videos), "would be bought" if self.videos != 1 else "video would be bought")
        for name, words in _KINDS.items():
            if self.rows.get(name):
                table.add_row(str(self.rows[name]), words)
        if self.credits is None or self.balance is None:
            table.add_row("?", "credits: there is no key to ask the service with (suno-video login)")
        else:
            table.add_row(f"{self.credits:g}", "credits, by the service's estimate")
            table.add_row(f"{self.balance:g}", f"credits in the account: {_enough(self.credits, self.balance)}")
        if self.left is not None:
            enough = "" if self.credits is None else f": {_enough(self.credits, self.left)}"
            table.add_row(f"{self.left:g}", f"credits left of --max-credits{enough}")
        return table

    def show(self, output: Output) -> int:
        """Write the quote as the command's result."""
        output.result(self.line(), human=self.table)
        output.hint("nothing was bought: this only says what would be")
        return Exit.DONE


def _enough(price: float, credits_: float) -> str:
    return "enough" if price <= credits_ else "not enough"


@click.command(
    "plan",
    epilog="\b\nExample:\n  suno-video plan catalog.csv",
)
@click.argument("catalog", type=click.Path(path_type=Path))
@catalog_options
@ledger_options
@other_ledgers_option
@client_options
def plan_command(
    *,
    catalog: Path,
    source: CatalogFile,
    ledger: LedgerChoice | None,
    no_ledger: bool,
    ignore_other_ledgers: bool,
    connection: Connection,
    output: Output,
) -> int:
    """Say what converting a CATALOG would buy and cost; nothing is bought.

    Each row of the catalog is looked up in the ledger that convert would use, even while a convert is running, and
    the service is asked for the price of what is missing. suno-video convert --dry-run says the same for a run
    with other options. Without a key the rows are counted, and the price stays unknown.

    The exit code says whether the questions were answered, not whether the credits are enough.
    """
    kept = ledger_of(catalog, ledger, no_ledger=no_ledger)
    if ledger is not None and not there_is(ledger):
        output.note(f"there is no ledger {ledger} yet: nothing counts as bought")
    buying = Buying(ignore_other_ledgers=ignore_other_ledgers)
    return quote_catalog(source, kept, connection, output, buying)


def dry_run_option(command: Command) -> Command:
    """Give a command `--dry-run`."""
    says = "Only say what would be bought and about what it would cost; nothing is bought or written."
    return click.option("--dry-run", is_flag=True, help=says)(command)


def quote_tracks(tracks: Sequence[Track], connection: Connection, output: Output) -> int:
    """Say what buying these tracks would cost, by the price of the first."""
    if not tracks or not _has_key(connection):
        return Quote(videos=len(tracks)).show(output)

    async def ask(client: SunoVideoClient, _: Interrupts) -> int:
        estimate = await client.estimate(tracks[0])
        cost = round(len(tracks) * estimate.estimated_credits, 6)
        return Quote(videos=len(tracks), credits=cost, balance=estimate.balance).show(output)

    return with_client(connection, output, ask)


def quote_catalog(
    source: CatalogFile, ledger: LedgerChoice | None, connection: Connection, output: Output, buying: Buying
) -> int:
    """Say what converting a catalog would buy, as `convert` would decide it."""

    async def ask(client: SunoVideoClient, _: Interrupts) -> int:
        plan = await client.plan(
            source,
            ledger=NO_LEDGER if ledger is None else ledger,
            retry_failed=buying.retry_failed,
            rebuy_changed=buying.rebuy_changed,
            ignore_other_ledgers=buying.ignore_other_ledgers,
        )
        _note_others(plan.elsewhere, plan.other_ledgers, output)
        _note_problems(plan.problems, plan.bad_rows, output)
        most = buying.max_credits
        return Quote(
            videos=plan.buys,
            credits=plan.estimated_credits,
            balance=plan.balance,
            left=None if most is None else max(0.0, round(most - plan.committed, 6)),
            rows={name: getattr(plan, name) for name in ("new", "refused", *_KINDS)},
        ).show(output)

    async def count(_: Interrupts) -> int:
        from suno_video_async.batch.plan import counted  # noqa: PLC0415  help and mistakes do without it

        found = await counted(source, ledger, None, buying)
        _note_others(found.rows()["elsewhere"], found.other_ledgers, output)
        _note_problems(found.problems, found.rows()["bad_rows"], output)
        return Quote(videos=found.buys, rows=found.rows()).show(output)

    return with_client(connection, output, ask) if _has_key(connection) else run_interruptible(count)


def _note_others(number: int, ledgers: Sequence[Path], output: Output) -> None:
    """Say which other ledgers hold tracks of the catalog."""
    if number:
        named = " or ".join(f"--ledger {shlex.quote(str(ledger))}" for ledger in ledgers)
        output.note(
            f"{many(number, 'track is', 'tracks are')} bought or unknown in another ledger in the folder, as if"
            f" the catalog had been renamed or copied: {named} continues with that"
        )


def _note_problems(problems: Sequence[CatalogError], bad_rows: int, output: Output) -> None:
    for problem in problems:
        output.note(str(problem))
    if bad_rows > len(problems):
        output.note(f"and {many(bad_rows - len(problems), 'more row')} that cannot be read")


def _has_key(connection: Connection) -> bool:
    """Whether there is a key to ask with.

    Raises:
        ConfigurationError: the key or the address cannot be used.

    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the client says the same
            Settings.find(base_url=connection.base_url)
    except MissingKeyError:
        return False
    return True
