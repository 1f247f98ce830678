"""`suno-video doctor`: what stands between this machine and a good run, one line each."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from suno_video_async.cli.doctor import machine
from suno_video_async.cli.doctor.machine import Check, skip
from suno_video_async.cli.doctor.service import check_service
from suno_video_async.cli.errors import Exit
from suno_video_async.cli.interrupts import Interrupts, run_interruptible
from suno_video_async.cli.options import ClientOptions, connection_options, output_dir_option
from suno_video_async.cli.output import Output, plain
from suno_video_async.config import Settings
from suno_video_async.errors import ConfigurationError

_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red", "skip": "dim"}
#: Stands in for a key where only the address is looked for; it is never sent.
_NO_KEY = "ak_" + "-" * 32


@click.command(
    "doctor",
    short_help="What may be wrong with key, network, clock, disk, ledger.",
    epilog="\b\nExamples:\n  suno-video doctor\n  suno-video doctor catalog.ledger.db --output-dir videos",
)
@click.argument("ledger", required=False, type=click.Path(path_type=Path))
@output_dir_option(says="The folder that videos would go to.")
@click.option("--offline", is_flag=True, help="Ask nobody: look at this machine alone.")
@connection_options("base_url", "timeout")
def doctor_command(
    *,
    ledger: Path | None,
    output_dir: Path,
    offline: bool,
    connection: ClientOptions,
    output: Output,
) -> int:
    """Look at what a conversion needs: Python, key, host, clock, disk, extras and, if named, a LEDGER.

    One line for each, and what to do where it is not well. The service gets one question that costs nothing;
    nothing is bought and nothing is changed. A ledger is looked at beside a running convert too.

    Exit code 1 when something fails, else 0.
    """
    report = _Report(output)
    report.tell(machine.check_python())
    found, settings = machine.check_key(connection.base_url)
    report.tell(found)
    if offline:
        report.tell([skip("host", "not asked: --offline")])
    elif (address := settings or _address(connection.base_url)) is not None:

        async def ask(_: Interrupts) -> int:
            async for check in check_service(address, connection.network_timeout(), with_key=settings is not None):
                report.tell([check])
            return Exit.DONE

        if code := run_interruptible(ask):
            return code
    report.tell([machine.check_folder("output", output_dir, for_ledger=False)])
    report.tell(
        [machine.check_folder("ledger folder", Path() if ledger is None else ledger.parent, for_ledger=True)]
    )
    report.tell(machine.check_extras())
    if ledger is not None:
        report.tell(machine.check_ledger(ledger, settings))
    return Exit.FAILED if report.failed else Exit.DONE


def _address(base_url: str | None) -> Settings | None:
    """Return where the service is when there is no key; None where the address cannot be used."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Settings.find(_NO_KEY, base_url)
    except ConfigurationError:
        return None  # told as the key's problem


class _Report:
    """Tells checks as they come."""

    def __init__(self, output: Output) -> None:
        self.failed = False
        self._output = output

    def tell(self, checks: Iterable[Check]) -> None:
        """Tell some checks."""
        for check in checks:
            self.failed = self.failed or check.status == "fail"
            line = {"check": check.name, "status": check.status, "text": plain(check.text), "fix": check.fix}
            self._output.result(line, human=lambda check=check: _text(check))  # type: ignore[misc]


def _text(check: Check) -> Table:
    """Return a check for people: long words go on below their own beginning, on narrow terminals too."""
    table = Table.grid(padding=(0, 1))
    table.add_column(width=4)
    table.add_column(width=13)
    table.add_column(overflow="fold")
    text = Text(plain(check.text))
    if check.fix:
        text.append(f"\n{plain(check.fix)}", style="yellow")
    table.add_row(Text(check.status, style=_STYLES[check.status]), check.name, text)
    return table
