"""`suno-video report`: a ledger as one page to look at."""

from __future__ import annotations

import sys
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

import click

from suno_video_async._util.words import many
from suno_video_async.cli.exits import Exit, UsageProblem
from suno_video_async.cli.options import rate_options
from suno_video_async.cli.output import Output, redacted
from suno_video_async.config import DEFAULT_BASE_URL
from suno_video_async.models import RateLimit

if TYPE_CHECKING:
    from suno_video_async.report.facts import Facts
    from suno_video_async.report.page import Page

#: The output's name that means stdout.
_STDOUT = Path("-")
_LEDGER_SUFFIXES = (".ledger.db", ".db")


@click.command(
    "report",
    epilog="\b\nExamples:\n  suno-video report catalog.ledger.db --open\n"
    "  suno-video report catalog.ledger.db -o /var/www/catalog.html --posters 0",
)
@click.argument("ledger", type=click.Path(path_type=Path))
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
@click.option("--open", "opens", is_flag=True, help="Open the page in the browser.")
@click.option("--force", is_flag=True, help="Replace FILE even if it is not a report.")
@click.option("--json", "as_json", is_flag=True, help="Print the totals as JSON, on a terminal too.")
def report_command(
    *,
    ledger: Path,
    place: Path | None,
    catalog: Path | None,
    rate: RateLimit | None,
    read_rate: RateLimit | None,
    most: int,
    opens: bool,
    force: bool,
    as_json: bool,
) -> int:
    """Make one HTML page of a LEDGER: totals, cost, pace, what needs a decision, and the videos, which play in it.

    The ledger is only read, beside a running convert too, and after one that was killed. The page asks no server
    for anything; it finds the videos where they were downloaded to.
    """
    # Help and mistakes do without these.
    from suno_video_async.report.facts import read  # noqa: PLC0415  see above
    from suno_video_async.report.page import render, totals  # noqa: PLC0415  likewise

    output = Output(as_json=as_json)
    to_stdout = place == _STDOUT
    if to_stdout and (opens or as_json):
        raise UsageProblem("-o - writes the page to stdout: leave --open and --json out, or name a file")
    target = Path("report.html") if to_stdout else place or _beside(ledger)
    if not to_stdout:
        _check(target, ledger, force=force)
    facts = read(ledger, clean=redacted)
    text = render(_page(facts, target, output, catalog=catalog, rates=(rate, read_rate), most=most))
    if to_stdout:
        sys.stdout.buffer.write(text.encode())
        return Exit.DONE
    size = _write(text, target)
    said = {"report": str(target), "bytes": size, **totals(facts)}
    output.result(
        said, human=lambda: f"{target}: {facts.made} of {many(facts.total, 'video')} made, {size / 1e6:.1f} MB"
    )
    if opens and not webbrowser.open(target.resolve().as_uri()):
        output.note(f"no browser was found: open {target} in one")
    return Exit.DONE


def _beside(ledger: Path) -> Path:
    stem = next(
        (ledger.name.removesuffix(end) for end in _LEDGER_SUFFIXES if ledger.name.endswith(end)), ledger.name
    )
    return ledger.with_name(f"{stem}.report.html")


def _check(target: Path, ledger: Path, *, force: bool) -> None:
    from suno_video_async.report.saving import NotOursError, check_place  # noqa: PLC0415  see above

    try:
        check_place(target, ledger, force=force)
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


def _page(
    facts: Facts,
    target: Path,
    output: Output,
    *,
    catalog: Path | None,
    rates: tuple[RateLimit | None, RateLimit | None],
    most: int,
) -> Page:
    from suno_video_async.report import posters  # noqa: PLC0415  see above
    from suno_video_async.report.commands import commands  # noqa: PLC0415  likewise
    from suno_video_async.report.page import Page  # noqa: PLC0415  likewise
    from suno_video_async.report.videos import files  # noqa: PLC0415  likewise

    found = files(facts, page=target)
    videos = {number: file.path for number, file in found.items() if file.size is not None}
    if most and videos and not posters.available():
        output.note("stills of the videos need the extra: pip install 'suno-video-async[local]'")
    elif output.live and (stills := min(most, len(videos))):
        output.note(f"taking stills of {many(stills, 'video')}")
    return Page(
        facts=facts,
        commands=commands(facts, catalog=catalog, base_url=_other_service(facts.provider)),
        rate=rates[0],
        read_rate=rates[1],
        files=found,
        stills=posters.posters(videos, most=most),
    )


def _other_service(provider: str) -> str | None:
    """Return the address that a command has to name; a service on this machine has another port each time."""
    return provider if provider.startswith("http") and provider != DEFAULT_BASE_URL else None
