"""`suno-video plan`: what a conversion would buy, and whether the credits are enough."""

from __future__ import annotations

from pathlib import Path

import click
from rich.table import Table

from suno_video_async.batch.plan import Plan
from suno_video_async.cli.errors import Exit
from suno_video_async.cli.interrupts import Interrupts
from suno_video_async.cli.options import (
    ClientOptions,
    catalog_source,
    client_options,
    ledger_of,
    ledger_options,
)
from suno_video_async.cli.output import Output
from suno_video_async.cli.session import with_client
from suno_video_async.client import SunoVideoClient

#: How a plan's numbers are said to people, in their order.
_WORDS = {
    "new": "to be bought",
    "refused": "refused before, to be tried again",
    "submitted": "bought, to be followed",
    "done": "done",
    "failed": "failed, bought again only with --retry-failed",
    "unknown": "unknown: see suno-video unknown list",
    "changed": "bought under another author or brand, bought again only with --rebuy-changed",
    "repeated": "repeated in the catalog",
    "bad_rows": "not readable as tracks",
}


@click.command(
    "plan",
    short_help="Say what a CATALOG would buy and cost.",
    epilog="\b\nExample:\n  suno-video plan catalog.csv",
)
@click.argument("catalog", type=click.Path(path_type=Path))
@ledger_options
@client_options
def plan_command(
    *,
    catalog: Path,
    ledger: Path | None,
    no_ledger: bool,
    base_url: str | None,
    timeout: float | None,
    time_scale: float,
    output: Output,
) -> int:
    """Say what converting a CATALOG would buy and cost; nothing is bought.

    Each row of the catalog is looked up in the ledger that convert would use, beside a running convert too, and
    the service is asked for the price of what is missing.

    The exit code tells whether the questions were answered, not whether the credits are enough.
    """
    source, kept = catalog_source(catalog), ledger_of(catalog, ledger, no_ledger=no_ledger)
    if ledger is not None and not ledger.exists():
        output.note(f"there is no ledger {ledger} yet: nothing counts as bought")

    async def ask(client: SunoVideoClient, _: Interrupts) -> int:
        found = await client.plan(source, ledger=kept)
        for problem in found.problems:
            output.note(str(problem))
        if found.bad_rows > len(found.problems):
            output.note(f"and {found.bad_rows - len(found.problems)} more rows that cannot be read")
        output.result(_line(found), human=lambda: _table(found))
        return Exit.DONE

    return with_client(ClientOptions(base_url=base_url, timeout=timeout, time_scale=time_scale), output, ask)


def _line(found: Plan) -> dict[str, object]:
    """Return a plan as its JSON line."""
    return {
        "new": found.new,
        "done": found.done,
        "submitted": found.submitted,
        "unknown": found.unknown,
        "failed": found.failed,
        "refused": found.refused,
        "changed": found.changed,
        "repeated": found.repeated,
        "bad_rows": found.bad_rows,
        "estimated_credits": found.estimated_credits,
        "balance": found.balance,
        "affordable": found.affordable,
    }


def _table(found: Plan) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right")
    table.add_column(overflow="fold")
    line = _line(found)
    for name, words in _WORDS.items():
        if line[name] or name == "new":
            table.add_row(str(line[name]), words)
    table.add_row(f"{found.estimated_credits:g}", "credits, by the service's estimate")
    enough = "enough" if found.affordable else "not enough"
    table.add_row(f"{found.balance:g}", f"credits in the account: {enough}")
    return table
