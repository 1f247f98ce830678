"""Options that say which ledger a command uses, and what it is trusted in spite of."""

from __future__ import annotations

import contextlib
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import click
from attrs import frozen

from suno_video_async.cli.catalogs import is_stream
from suno_video_async.cli.exits import UsageProblem
from suno_video_async.cli.options import Command, decorated
from suno_video_async.ledger.address import LedgerAddress, as_ledger, is_address, ledger_at

if TYPE_CHECKING:
    from suno_video_async.ledger.model import Ledger

#: The place of a ledger: a file or an address.
LedgerChoice: TypeAlias = "Path | LedgerAddress"


class LedgerPath(click.Path):
    """Reads the place of a ledger: a path, or an address."""

    def __init__(self, *, dir_okay: bool = True) -> None:
        super().__init__(path_type=Path, dir_okay=dir_okay)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the place."""
        return LedgerAddress.parse(value) if is_address(value) else super().convert(value, param, ctx)


def there_is(ledger: LedgerChoice) -> bool:
    """Whether there is a ledger at a place. Blocks."""
    if isinstance(ledger, Path):
        return ledger.exists()
    with contextlib.closing(as_ledger(ledger).reader()) as reader:
        return reader.open_to_read()


@frozen(kw_only=True)
class Trust:
    """In spite of what a ledger is written; see `SqliteLedger`."""

    accept: bool = False
    same_account: bool = False

    def ledger(self, place: LedgerChoice) -> Ledger:
        """Return a ledger that is not open yet."""
        return ledger_at(place, accept=self.accept, same_account=self.same_account)


def trust_options(command: Command) -> Command:
    """Give a command that buys the switches that take a ledger in spite of a doubt, as `trust`."""

    @wraps(command)
    def with_trust(*arguments: Any, accept_ledger: bool, same_account: bool, **options: Any) -> Any:
        return command(*arguments, trust=Trust(accept=accept_ledger, same_account=same_account), **options)

    return decorated(
        cast("Command", with_trust),
        accept_ledger_option,
        click.option(
            "--same-account",
            is_flag=True,
            help="Go on with the ledger of an earlier key of this account, if one of its tasks is found with this"
            " key.",
        ),
    )


def accept_ledger_option(command: Command) -> Command:
    """Give a command `--accept-ledger`."""
    says = "Take a ledger that was refused as it is, once you have checked what the refusal says."
    return click.option("--accept-ledger", is_flag=True, help=says)(command)


def ledger_options(command: Command) -> Command:
    """Give a command `--ledger` and `--no-ledger`."""
    return decorated(
        command,
        click.option(
            "--ledger",
            type=LedgerPath(dir_okay=False),
            metavar="FILE|URL",
            help="What remembers what was bought: a file, or postgresql://…?ledger=NAME; without it, a file beside"
            " the catalog: catalog.ledger.db for catalog.csv.",
        ),
        click.option("--no-ledger", is_flag=True, help="Keep no ledger: every run buys everything again."),
    )


def other_ledgers_option(command: Command) -> Command:
    """Give a command `--ignore-other-ledgers`."""
    says = "Buy tracks though another ledger in the catalog's folder holds them as bought or unknown."
    return click.option("--ignore-other-ledgers", is_flag=True, help=says)(command)


def ledger_of(catalog: Path, ledger: LedgerChoice | None, *, no_ledger: bool) -> LedgerChoice | None:
    """Return the ledger's place, or None where none is wanted.

    Raises:
        UsageProblem: both are asked for, or there is no place for a ledger beside the catalog.

    """
    if ledger is not None and no_ledger:
        raise UsageProblem("--ledger and --no-ledger exclude each other")
    if ledger is not None or no_ledger:
        return ledger
    if is_stream(catalog):
        raise UsageProblem(
            f"{catalog} is read from a pipe, and there is no place for a ledger beside it: name one with --ledger"
            " FILE to pay only once however often you run this, or say --no-ledger"
        )
    from suno_video_async.batch.ledgers import ledger_beside  # noqa: PLC0415  help and mistakes do without it

    return ledger_beside(catalog)
