"""Where a catalog comes from, and the options that say how it is to be read."""

from __future__ import annotations

from functools import wraps
from pathlib import Path
from typing import Any, cast

import click

from suno_video_async.cli.exits import UsageProblem
from suno_video_async.cli.options import Command
from suno_video_async.cli.output import say

#: The catalog's name that means stdin.
STDIN = Path("-")
_OPTIONS = (
    click.option(
        "--delimiter",
        metavar="C",
        help="What is between the cells of CSV: one character, or the word tab. Else the header line decides.",
    ),
    click.option(
        "--encoding",
        metavar="NAME",
        help="The encoding of a text that is not UTF-8 and has no byte order mark, such as cp1252.",
    ),
    click.option(
        "--map",
        "mapped",
        multiple=True,
        metavar="COLUMN=FIELD",
        help="Take COLUMN for FIELD, which is task_id, suno_id, author or brand. Repeatable.",
    ),
    click.option(
        "--ignore-column",
        "ignored",
        multiple=True,
        metavar="NAME",
        help="Column NAME is not the author or the brand, although it may look like it; it is passed on as your"
        " other columns are. Repeatable.",
    ),
)


def catalog_options(command: Command) -> Command:
    """Give a command that takes a CATALOG the options to read it; it gets the file as `source`, too."""

    @wraps(command)
    def with_source(
        *arguments: Any,
        catalog: Path,
        delimiter: str | None,
        encoding: str | None,
        mapped: tuple[str, ...],
        ignored: tuple[str, ...],
        **options: Any,
    ) -> Any:
        from suno_video_async.batch.catalog import CatalogFile  # noqa: PLC0415  help and mistakes do without it

        try:
            source = CatalogFile(
                catalog_source(catalog),
                delimiter=delimiter,
                encoding=encoding,
                columns=dict(map(_pair, mapped)),
                ignore_columns=ignored,
            )
        except ValueError as error:
            raise UsageProblem(str(error)) from None
        source.notify = say
        return command(*arguments, catalog=catalog, source=source, **options)

    decorated = cast("Command", with_source)
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


def _pair(text: str) -> tuple[str, str]:
    column, equals, name = text.rpartition("=")
    if not equals:
        raise ValueError(f"--map takes COLUMN=FIELD, such as artist=author, not {text!r}")
    return column, name


def is_stream(catalog: Path) -> bool:
    """Whether a catalog is not a file of its own: stdin, a pipe, a device."""
    from suno_video_async.batch import ledgers  # noqa: PLC0415  help and mistakes do without it

    return catalog == STDIN or ledgers.is_stream(catalog)


def catalog_source(catalog: Path) -> Path:
    """Return where a catalog is read from; `-` is stdin."""
    return Path("/dev/stdin") if catalog == STDIN else catalog
