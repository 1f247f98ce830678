"""`suno-video load`: the tracks of a catalog into a ledger, for workers to buy."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from suno_video_async._util.words import many
from suno_video_async.cli.catalogs import catalog_options
from suno_video_async.cli.exits import Exit
from suno_video_async.cli.interrupts import Interrupts, run_interruptible
from suno_video_async.cli.ledger_options import LedgerChoice, LedgerPath
from suno_video_async.cli.options import output_options
from suno_video_async.cli.output import Output

if TYPE_CHECKING:
    from suno_video_async.batch.catalog import CatalogFile
    from suno_video_async.batch.loading import Loaded
    from suno_video_async.errors import CatalogError


@click.command(
    "load",
    epilog="\b\nExamples:\n  suno-video load catalog.csv --ledger postgresql://db.example/videos?ledger=label-1\n"
    "  suno-video load catalog.csv --ledger postgresql://db.example/videos",
)
@click.argument("catalog", type=click.Path(path_type=Path))
@catalog_options
@click.option(
    "--ledger",
    type=LedgerPath(),
    required=True,
    metavar="FILE|URL",
    help="The ledger. A PostgreSQL address without ?ledger=NAME loads each row into the ledger that its column"
    " ledger names.",
)
@output_options
def load_command(*, catalog: Path, source: CatalogFile, ledger: LedgerChoice, output: Output) -> int:
    """Add the tracks of a CATALOG to a ledger. Nothing is bought, and no key is needed.

    The workers of that ledger (suno-video work) buy them; a ledger in PostgreSQL can be loaded while they run.
    Tracks that the ledger has stay as they are, and those that another ledger of the database has are not added:
    loading a catalog again changes nothing.

    Exit codes: 2 usage or configuration, 1 rows that cannot be read or that another ledger has, 0 otherwise.
    """

    async def read(_: Interrupts) -> int:
        from suno_video_async.batch.loading import load  # noqa: PLC0415  help and mistakes do without it

        loaded = await load(source, ledger, on_problem=partial(_show, output))
        output.result({"summary": _summary(loaded)}, human=partial(_text, loaded, catalog))
        return Exit.FAILED if loaded.unreadable or loaded.elsewhere else Exit.DONE

    return run_interruptible(read)


def _show(output: Output, error: CatalogError) -> None:
    output.result({"where": error.location, "error": error.message}, human=lambda: str(error))


def _summary(loaded: Loaded) -> dict[str, object]:
    return {
        "rows": loaded.rows,
        "new": loaded.new,
        "known": loaded.known,
        "elsewhere": dict(loaded.elsewhere),
        "unreadable": loaded.unreadable,
    }


def _text(loaded: Loaded, catalog: Path) -> str:
    parts = [f"{loaded.new} new", f"{loaded.known} known"]
    parts += [f"{number} in the ledger {name}" for name, number in loaded.elsewhere.items()]
    parts += [f"{loaded.unreadable} not loaded"] if loaded.unreadable else []
    return f"{catalog.name}: {many(loaded.rows, 'row')}: {', '.join(parts)}"
