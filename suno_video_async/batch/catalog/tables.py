"""Rows under one header line, whatever file they are in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from attrs import define

from suno_video_async.batch.catalog.columns import Layout
from suno_video_async.batch.catalog.delimited import SwallowedRows, read_header
from suno_video_async.batch.catalog.rows import MAX_CELL, Row, RowReader, bad_row, is_absent, text_of
from suno_video_async.errors import CatalogError


@define(eq=False)
class Table:
    """Reads the rows of a table.

    Attributes:
        reader: makes tracks of them.
        layout: of the columns; cells after the last one that has a name are too many.

    """

    reader: RowReader
    layout: Layout

    @classmethod
    def under(cls, header: Sequence[str], reader: RowReader, location: str) -> Table:
        """Return a table with this header line.

        Raises:
            CatalogError: the columns leave a doubt about what is what.

        """
        names = list(header)
        while names and not names[-1].strip():
            del names[-1]
        layout = reader.layout(names)
        layout.check(location)
        reader.check_mapped(location)
        return cls(reader, layout)

    def row(self, cells: Sequence[object], location: str, text: str | None = None) -> Row | None:
        """Read a row; None if all its cells are empty.

        Raises:
            CatalogError: it is the header line again.

        """
        count = len(cells)
        while count and _is_empty(cells[count - 1]):
            count -= 1
        if not count:
            return None
        names = self.layout.names
        self._check_no_header(cells, location)
        if count > len(names):
            problem = f"has {count} cells for {len(names)} columns: put commas in quotes"
            raw = text if text is not None else " | ".join(map(text_of, cells))
            return bad_row(problem, location, text=raw)
        for at, cell in enumerate(cells):
            if isinstance(cell, str) and len(cell) > MAX_CELL:
                problem = f"has a cell of more than {MAX_CELL:,} characters in the column {names[at]}"
                return bad_row(problem, location, text=text)
        return self.reader.values(self.layout, cells, location, text=text)

    def _check_no_header(self, cells: Sequence[object], location: str) -> None:
        for name in ("task_id", "suno_id"):
            at = self.layout.places[name]
            cell = cells[at] if at < len(cells) else None
            if not isinstance(cell, str) or self.reader.rules.field_of(cell[:100]) != name:
                return
        raise CatalogError(
            "is a second header line: catalogs were joined, or the rows sorted with their header",
            location=location,
            fix="remove it, and check that the columns below it are the same",
        )


def csv_rows(lines: Iterator[str], name: str, reader: RowReader, delimiter: str | None) -> Iterator[Row]:
    """Yield the rows of delimited text.

    Raises:
        CatalogError: the rest cannot be read.

    """
    header = read_header(lines, delimiter, reader.rules, name)
    if header is None:
        return
    table = Table.under(next(header.records).cells, reader, name)
    swallowed = SwallowedRows(table.layout, header.delimiter, name)
    for record in header.records:
        swallowed.check(record)
        if row := table.row(record.cells, f"{name}, line {record.line}", record.text):
            yield row


def sheet_rows(records: Iterable[tuple[int, Sequence[object]]], name: str, reader: RowReader) -> Iterator[Row]:
    """Yield the rows of a sheet, given as numbered rows of cells; the first that is not empty has the names.

    Raises:
        CatalogError: the columns leave a doubt about what is what.

    """
    filled = ((number, cells) for number, cells in records if not all(map(_is_empty, cells)))
    first = next(filled, None)
    if first is None:
        return
    table = Table.under([text_of(cell) for cell in first[1]], reader, name)
    for number, cells in filled:
        if row := table.row(cells, f"{name}, row {number}"):
            yield row


def typed_rows(
    names: Sequence[str], rows: Iterable[Sequence[object]], name: str, reader: RowReader
) -> Iterator[Row]:
    """Yield the rows of a table whose columns have their names apart from the rows."""
    return sheet_rows(enumerate(chain([names], rows)), name, reader)


def _is_empty(cell: object) -> bool:
    return not cell.strip() if isinstance(cell, str) else is_absent(cell)
