"""Records for a person: a table, or on a narrow terminal one line for each value."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from attrs import frozen
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from suno_video_async.cli.output import plain

#: Columns of a terminal below which a table would break words and ids in its cells.
_WIDE = 60


@frozen(kw_only=True)
class Records:
    """Some records with the same fields.

    Attributes:
        fields: their names.
        numbers: which of them hold numbers.
        rows: the values, in the order of the fields.
        title: what they are.

    """

    fields: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: Collection[str] = ()
    title: str | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield what a console of this width shows."""
        del console
        if options.max_width >= _WIDE:
            yield self._table()
            return
        for row in self.rows:
            yield self._list(row)
            yield Text()

    def _table(self) -> Table:
        table = Table(title=self.title, title_justify="left")
        for name in self.fields:
            table.add_column(name, overflow="fold", justify="right" if name in self.numbers else "left")
        for row in self.rows:
            table.add_row(*(Text(plain(value)) for value in row))
        return table

    def _list(self, row: Sequence[str]) -> Table:
        grid = Table.grid(padding=(0, 1))
        grid.add_column(style="dim")
        grid.add_column(overflow="fold")
        for name, value in zip(self.fields, row, strict=True):
            grid.add_row(name, Text(plain(value)))
        return grid
