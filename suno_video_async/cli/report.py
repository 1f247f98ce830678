"""`suno-video report`: a ledger as one page to look at."""

from __future__ import annotations

import sys
import time
import webbrowser
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click
from attrs import define, field

from suno_video_async._util.words import many
from suno_video_async.cli.exits import Exit, UsageProblem
from suno_video_async.cli.ledger_options import LedgerChoice, LedgerPath
from suno_video_async.cli.options import rate_options
from suno_video_async.cli.output import Output, redacted
from suno_video_async.cli.values import above_zero
from suno_video_async.config import DEFAULT_BASE_URL
from suno_video_async.models import RateLimit

if TYPE_CHECKING:
    from suno_video_async.report.facts import Facts

#: The output's name that means stdout.
_STDOUT = Path("-")
_LEDGER_SUFFIXES = (".ledger.db", ".db")


@click.command(
    "report",
    epilog="\b\nExamples:\n  suno-video report catalog.ledger.db --open\n"
    "  suno-video report catalog.ledger.db --watch 5 --open\n"
    "  suno-video report catalog.ledger.db -o /var/www/catalog.html --posters 0",
)
@click.argument("ledger", type=LedgerPath())
@click.option(
    "-o",
    "--output",
    "place",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where the page goes, - for stdout; without it, beside the ledger: catalog.report.html.",
)
@click.option(
    "--catalog",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The catalog that the page's commands name; without it, the one beside the ledger.",
)
@rate_options
@click.option(
    "--posters",
    "most",
    type=click.IntRange(min=0),
    default=200,
    show_default=True,
    metavar="N",
    help="Put a still of the first N videos into the page; needs the extra local. Of the others the browser"
    " shows a frame.",
)
@click.option(
    "--watch",
    "every",
    callback=above_zero,
    metavar="SECONDS",
    help="Write the page again every SECONDS while a conversion writes the ledger; an open page follows.",
)
@click.option("--open", "opens", is_flag=True, help="Open the page in the browser.")
@click.option("--force", is_flag=True, help="Replace FILE even if it is not a report.")
@click.option("--json", "as_json", is_flag=True, help="Print the totals as JSON, on a terminal too.")
def report_command(
    *,
    ledger: LedgerChoice,
    place: Path | None,
    catalog: Path | None,
    rate: RateLimit | None,
    read_rate: RateLimit | None,
    most: int,
    every: float | None,
    opens: bool,
    force: bool,
    as_json: bool,
) -> int:
    """Make one HTML page of a LEDGER: totals, cost, pace, what needs a decision, and the videos, which play in it.

    The ledger is only read, beside a running convert too, and after one that was killed. The page asks no server
    for anything; it finds the videos where they were downloaded to. With --watch it is written again until no
    process writes the ledger any more, and an open page follows; Ctrl+C leaves it as it is then.
    """
    output = Output(as_json=as_json)
    to_stdout = place == _STDOUT
    if to_stdout and (opens or as_json or every):
        raise UsageProblem("-o - writes the page to stdout: leave --open, --watch and --json out, or name a file")
    target = Path("report.html") if to_stdout else place or _beside(ledger)
    if not to_stdout:
        _check(target, ledger, force=force)
    report = _Report(ledger, target, output, catalog, (rate, read_rate), most)
    if to_stdout:
        sys.stdout.buffer.write(report.text().encode())
        return Exit.DONE
    if every is None:
        report.write()
        if opens:
            _open(target, output)
        code: int = Exit.DONE
    else:
        code = _watch(report, every, opens=opens)
    report.say()
    return code


def _watch(report: _Report, every: float, *, opens: bool) -> int:
    """Write a report again and again until no process writes the ledger; the last one does not refresh itself."""
    # Help and mistakes do without it.
    from suno_video_async.ledger.address import as_ledger  # noqa: PLC0415  see above

    reader = as_ledger(report.ledger).reader()
    try:
        # Asked before the ledger is read: what its writer wrote last is then in the last page.
        while reader.writer() is not None:
            report.write(refresh=every)
            if opens:
                _open(report.target, report.output)
                opens = False
            time.sleep(every)
    except KeyboardInterrupt:
        report.write()
        return Exit.INTERRUPTED
    report.write()
    if opens:
        _open(report.target, report.output)
    return Exit.DONE


def _open(target: Path, output: Output) -> None:
    if not webbrowser.open(target.resolve().as_uri()):
        output.note(f"no browser was found: open {target} in one")


def _beside(ledger: LedgerChoice) -> Path:
    if not isinstance(ledger, Path):
        return Path(f"{ledger.name}.report.html")
    stem = next(
        (ledger.name.removesuffix(end) for end in _LEDGER_SUFFIXES if ledger.name.endswith(end)), ledger.name
    )
    return ledger.with_name(f"{stem}.report.html")


def _check(target: Path, ledger: LedgerChoice, *, force: bool) -> None:
    from suno_video_async.report.saving import NotOursError, check_place  # noqa: PLC0415  see above

    try:
        check_place(target, ledger if isinstance(ledger, Path) else None, force=force)
    except NotOursError as error:
        raise UsageProblem(str(error)) from None
    except OSError as error:
        raise _unwritable(target, error) from error


def _write(text: str, target: Path) -> int:
    from suno_video_async.report.saving import write  # noqa: PLC0415  see above

    try:
        return write(text, target)
    except OSError as error:
        raise _unwritable(target, error) from error


def _unwritable(target: Path, error: OSError) -> UsageProblem:
    return UsageProblem(f"{target} cannot be written: {error.strerror or error}: name another file with -o")


@define(eq=False)
class _Report:
    """The report of one ledger, which can be written several times.

    Attributes:
        rates: the limits of submissions and of reads.
        most: maximum number of stills.

    """

    ledger: LedgerChoice
    target: Path
    output: Output
    catalog: Path | None
    rates: tuple[RateLimit | None, RateLimit | None]
    most: int
    _stills: dict[int, bytes | None] = field(factory=dict[int, "bytes | None"], init=False)
    _said: set[str] = field(factory=set[str], init=False)
    _facts: Facts | None = field(default=None, init=False)
    _size: int = field(default=0, init=False)

    def text(self, refresh: float | None = None) -> str:
        """Return the page of what the ledger holds now."""
        # Help and mistakes do without these.
        from suno_video_async.report.commands import commands  # noqa: PLC0415  see above
        from suno_video_async.report.facts import read  # noqa: PLC0415  likewise
        from suno_video_async.report.page import Page, render  # noqa: PLC0415  likewise
        from suno_video_async.report.videos import files  # noqa: PLC0415  likewise

        self._facts = facts = read(self.ledger, clean=redacted)
        found = files(facts, page=self.target)
        videos = {number: file.path for number, file in found.items() if file.size is not None}
        page = Page(
            facts=facts,
            commands=commands(facts, catalog=self.catalog, base_url=_other_service(facts.provider)),
            rate=self.rates[0],
            read_rate=self.rates[1],
            refresh=refresh,
            files=found,
            stills=self._posters(videos),
        )
        return render(page)

    def write(self, refresh: float | None = None) -> None:
        """Replace the file with the page of what the ledger holds now."""
        self._size = _write(self.text(refresh), self.target)

    def say(self) -> None:
        """Print the totals of what was written last."""
        from suno_video_async.report.page import totals  # noqa: PLC0415  see above

        facts = self._facts
        if facts is not None:
            said = {"report": str(self.target), "bytes": self._size, **totals(facts)}
            are = f"{facts.made} of {many(facts.total, 'video')} made"
            self.output.result(said, human=lambda: f"{self.target}: {are}, {self._size / 1e6:.1f} MB")

    def _posters(self, videos: Mapping[int, Path]) -> dict[int, bytes]:
        from suno_video_async.report import posters  # noqa: PLC0415  see above

        if self.most and videos and not posters.available():
            self._note_once("stills of the videos need the extra: pip install 'suno-video-async[local]'")
        elif self.output.live and not self._stills and (stills := min(self.most, len(videos))):
            self._note_once(f"taking stills of {many(stills, 'video')}")
        return posters.posters(videos, most=self.most, taken=self._stills)

    def _note_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self.output.note(text)


def _other_service(provider: str) -> str | None:
    """Return the address that a command has to name; a service on this machine has another port each time."""
    return provider if provider.startswith("http") and provider != DEFAULT_BASE_URL else None
