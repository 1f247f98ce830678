"""`--dry-run`: what a command would buy, and about what it would cost; nothing is bought or written."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
from attrs import field, frozen
from rich.table import Table

from suno_video_async.batch.plan import Count, counted
from suno_video_async.cli.errors import Exit
from suno_video_async.cli.interrupts import Interrupts, run_interruptible
from suno_video_async.cli.options import ClientOptions, Command
from suno_video_async.cli.output import Output
from suno_video_async.cli.run import Buying
from suno_video_async.cli.session import with_client
from suno_video_async.client import SunoVideoClient
from suno_video_async.config import Settings
from suno_video_async.errors import ConfigurationError
from suno_video_async.models import Track

#: How the kinds of rows are said to people.
_WORDS: Mapping[str, str] = {
    "submitted": "bought already, to be followed",
    "done": "done",
    "unknown": "unknown, to be left alone",
    "failed": "failed before",
    "changed": "bought under another author or brand",
    "repeated": "repeated in the catalog",
    "bad_rows": "not readable as tracks",
}


@frozen(kw_only=True)
class Quote:
    """What would be bought.

    Attributes:
        videos: how many.
        credits: what they would cost, by the service's estimate; None where there was no key to ask with.
        balance: the account's credits, likewise.
        left: of the budget, where there is one.
        rows: a catalog's rows by what would become of them.

    """

    videos: int
    credits: float | None = None
    balance: float | None = None
    left: float | None = None
    rows: Mapping[str, int] = field(factory=dict[str, int])

    @property
    def affordable(self) -> bool | None:
        """Whether credits and budget are enough, where they are known."""
        if self.credits is None or self.balance is None:
            return None
        return self.credits <= self.balance and (self.left is None or self.credits <= self.left)

    def line(self) -> dict[str, object]:
        """Return it as a JSON line."""
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
        """Return it for people."""
        table = Table.grid(padding=(0, 1))
        table.add_column(justify="right")
        table.add_column(overflow="fold")
        table.add_row(str(self.videos), "would be bought" if self.videos != 1 else "video would be bought")
        for name, words in _WORDS.items():
            if self.rows.get(name):
                table.add_row(str(self.rows[name]), words)
        if self.credits is None or self.balance is None:
            table.add_row("?", "credits: there is no key to ask the service with (suno-video login)")
        else:
            table.add_row(f"{self.credits:g}", "credits, by the service's estimate")
            enough = "enough" if self.credits <= self.balance else "not enough"
            table.add_row(f"{self.balance:g}", f"credits in the account: {enough}")
        if self.left is not None:
            enough = "" if self.credits is None else f": {'enough' if self.credits <= self.left else 'not enough'}"
            table.add_row(f"{self.left:g}", f"credits left of --max-credits{enough}")
        return table


def dry_run_option(command: Command) -> Command:
    """Give a command `--dry-run`."""
    says = "Only say what would be bought and about what it would cost; nothing is bought or written."
    return click.option("--dry-run", is_flag=True, help=says)(command)


def tell(quote: Quote, output: Output) -> None:
    """Tell a quote."""
    output.result(quote.line(), human=quote.table)
    output.hint("a dry run: nothing was bought")


def of_tracks(tracks: Sequence[Track], reach: ClientOptions, output: Output) -> int:
    """Say what buying these tracks would cost, by the price of the first."""
    if not tracks or not has_key(reach):
        tell(Quote(videos=len(tracks)), output)
        return Exit.DONE

    async def ask(client: SunoVideoClient, _: Interrupts) -> int:
        estimate = await client.estimate(tracks[0])
        cost = round(len(tracks) * estimate.estimated_credits, 6)
        tell(Quote(videos=len(tracks), credits=cost, balance=estimate.balance), output)
        return Exit.DONE

    return with_client(reach, output, ask)


def of_catalog(
    source: Path,
    ledger: Path | None,
    reach: ClientOptions,
    output: Output,
    buying: Buying,
) -> int:
    """Say what converting a catalog would buy, as `convert` would decide it."""
    retry_failed, rebuy_changed, most = buying.retry_failed, buying.rebuy_changed, buying.max_credits
    if not has_key(reach):
        return _of_catalog_without_key(source, ledger, output, buying)

    async def ask(client: SunoVideoClient, _: Interrupts) -> int:
        found = await client.plan(source, ledger=ledger, retry_failed=retry_failed, rebuy_changed=rebuy_changed)
        for problem in found.problems:
            output.note(str(problem))
        names = (*_WORDS, "new", "refused")
        quote = Quote(
            videos=found.buys,
            credits=found.estimated_credits,
            balance=found.balance,
            left=None if most is None else max(0.0, round(most - found.committed, 6)),
            rows={name: getattr(found, name) for name in sorted(names)},
        )
        tell(quote, output)
        return Exit.DONE

    return with_client(reach, output, ask)


def _of_catalog_without_key(source: Path, ledger: Path | None, output: Output, buying: Buying) -> int:
    found, retry_failed, rebuy_changed = list[Count](), buying.retry_failed, buying.rebuy_changed

    async def count(_: Interrupts) -> int:
        found.append(await counted(source, ledger, None, retry_failed=retry_failed, rebuy_changed=rebuy_changed))
        return Exit.DONE

    if code := run_interruptible(count):
        return code
    for problem in found[0].problems:
        output.note(str(problem))
    tell(Quote(videos=found[0].buys, rows=dict(sorted(found[0].rows().items()))), output)
    return Exit.DONE


def has_key(reach: ClientOptions) -> bool:
    """Whether there is a key to ask with; what is wrong with one that is there is for the client to say.

    Raises:
        ConfigurationError: the key or the address cannot be used.

    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the client says the same
            Settings.find(base_url=reach.base_url)
    except ConfigurationError as error:
        if "no API key" in str(error):
            return False
        raise
    return True
