"""`suno-video doctor`: checks this machine and the service, and prints one line per check."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table
from rich.text import Text

from suno_video_async.cli.exits import Exit
from suno_video_async.cli.interrupts import Interrupts, run_interruptible
from suno_video_async.cli.ledger_options import LedgerChoice, LedgerPath
from suno_video_async.cli.options import Connection, connection_options, output_dir_option
from suno_video_async.cli.output import Output, plain
from suno_video_async.config import Settings
from suno_video_async.download.places import Folder
from suno_video_async.errors import ConfigurationError
from suno_video_async.ledger.address import LedgerAddress

if TYPE_CHECKING:
    from suno_video_async.cli.doctor.machine import Check

_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red", "skip": "dim"}
#: A placeholder for the key if only the address is needed; it is never sent.
_NO_KEY = "ak_" + "-" * 32


@click.command(
    "doctor",
    epilog="\b\nExamples:\n  suno-video doctor\n  suno-video doctor catalog.ledger.db --output-dir videos",
)
@click.argument("ledger", required=False, type=LedgerPath())
@output_dir_option(says="The folder that videos would be saved to.")
@click.option("--offline", is_flag=True, help="Do not contact the service: check only this machine.")
@connection_options("base_url", "timeout", "proxy", "ca_file")
def doctor_command(
    *,
    ledger: LedgerChoice | None,
    output_dir: Folder,
    offline: bool,
    connection: Connection,
    output: Output,
) -> int:
    """Check what a conversion needs: Python, key, host, clock, disk, extras and, if named, a LEDGER.

    Prints one line per check, and what to do if something is wrong. The service gets one request that costs
    nothing; nothing is bought or changed. A ledger can be checked while a convert is running.

    Exit code 1 if a check fails, else 0.
    """
    # Help and mistakes do without these.
    from suno_video_async.cli.doctor import machine  # noqa: PLC0415  see above
    from suno_video_async.cli.doctor.machine import skip  # noqa: PLC0415  likewise
    from suno_video_async.cli.doctor.service import check_service  # noqa: PLC0415  likewise

    report = _Report(output)
    report.add(machine.check_python())
    found, settings = machine.check_key(connection.base_url)
    report.add(found)
    if offline:
        report.add([skip("host", "not checked: --offline")])
    elif (address := settings or _address(connection.base_url)) is not None:

        async def ask(_: Interrupts) -> int:
            timeout, route = connection.network_timeout(), connection.route()
            async for check in check_service(address, timeout, route, with_key=settings is not None):
                report.add([check])
            return Exit.DONE

        if code := run_interruptible(ask):
            return code
    report.add([machine.check_output(output_dir, offline=offline)])
    if not isinstance(ledger, LedgerAddress):
        folder = Path() if ledger is None else ledger.parent
        report.add([machine.check_folder("ledger folder", folder, for_ledger=True)])
    report.add(machine.check_extras())
    if ledger is not None:
        report.add(machine.check_ledger(ledger, settings))
    return Exit.FAILED if report.failed else Exit.DONE


def _address(base_url: str | None) -> Settings | None:
    """Return settings with the address but no real key; None if the address cannot be used."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Settings.find(_NO_KEY, base_url)
    except ConfigurationError:
        return None  # reported by the key's check


class _Report:
    """Prints checks as they complete."""

    def __init__(self, output: Output) -> None:
        self.failed = False
        self._output = output

    def add(self, checks: Iterable[Check]) -> None:
        """Print some checks."""
        for check in checks:
            self.failed = self.failed or check.status == "fail"
            line = {"check": check.name, "status": check.status, "text": plain(check.text), "fix": check.fix}
            self._output.result(line, human=lambda check=check: _text(check))  # type: ignore[misc]


def _text(check: Check) -> Table:
    """Return a check for a person: long text wraps within its own column, on narrow terminals too."""
    table = Table.grid(padding=(0, 1))
    table.add_column(width=4)
    table.add_column(width=13)
    table.add_column(overflow="fold")
    text = Text(plain(check.text))
    if check.fix:
        text.append(f"\n{plain(check.fix)}", style="yellow")
    table.add_row(Text(check.status, style=_STYLES[check.status]), check.name, text)
    return table
