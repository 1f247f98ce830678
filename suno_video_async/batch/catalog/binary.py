"""Catalogs in Excel workbooks and Parquet files, through the extras `excel` and `parquet`."""

from __future__ import annotations

import datetime
import re
import warnings
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib import import_module
from itertools import islice
from typing import IO, Any, TypeAlias

from suno_video_async.batch.catalog.rows import Row, RowReader, Unusable
from suno_video_async.batch.catalog.tables import sheet_rows, typed_rows
from suno_video_async.errors import CatalogError, MissingExtraError

#: Digits that a number of a spreadsheet keeps.
_EXACT = 15
_PLAIN = frozenset({"General", "0", "@"})
_ROWS_AT_ONCE = 1000
#: Columns of a sheet that can be a catalog's.
_MOST_COLUMNS = 1000
_FORMULA = re.compile(rb"<(?:\w+:)?f[ >/]")
_MERGED = re.compile(rb'<(?:\w+:)?mergeCell [^>]*?ref="([A-Z]+)(\d+):([A-Z]+)(\d+)"')

#: Merged cells of one row that have no value of their own: the first and last column, and their name.
Merged: TypeAlias = tuple[int, int, str]


def load(module: str, extra: str, what: str) -> Any:
    """Import a module of an extra.

    Raises:
        MissingExtraError: it is not installed.

    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{what} needs {module.partition('.')[0]}, which is not installed:"
            f" pip install 'suno-video-async[{extra}]'"
        ) from error


@contextmanager
def _translated(what: str, name: str) -> Generator[None, None, None]:
    """Translate whatever a damaged file breaks: zip, XML, numbers, pages."""
    try:
        yield
    except (CatalogError, MissingExtraError, GeneratorExit):
        raise
    except Exception as error:
        raise CatalogError(f"is not readable as {what}: {error}", location=name) from error


# Excel


@contextmanager
def _workbook(openpyxl: Any, file: IO[bytes], name: str, *, results: bool) -> Generator[Any, None, None]:
    """Open a workbook: with the results of its formulas, or with the formulas."""
    with warnings.catch_warnings(), _translated("an Excel workbook", name):
        warnings.simplefilter("ignore")  # of styles and extensions, which are not read
        book = openpyxl.load_workbook(file, read_only=True, data_only=results)
    try:
        yield book
    finally:
        book.close()


def xlsx_rows(file: IO[bytes], name: str, reader: RowReader) -> Iterator[Row]:
    """Yield the rows of the one sheet of a workbook that names the columns of a catalog.

    Raises:
        CatalogError: the workbook cannot be read, or it leaves a doubt about what is what.
        MissingExtraError: openpyxl is not installed.

    """
    open_workbook = partial(_workbook, load("openpyxl", "excel", "an Excel catalog"), file, name)
    with ExitStack() as stack, _translated("an Excel workbook", name):
        sheet = _catalog_sheet(stack.enter_context(open_workbook(results=True)), name, reader)
        merged, has_formulas = _marks(sheet)
        formulas = None
        if has_formulas:  # a second reading: a cell has its result or its formula
            again = stack.enter_context(open_workbook(results=False))[sheet.title]
            again.reset_dimensions()
            formulas = iter(again.iter_rows())
        yield from sheet_rows(_cells(sheet, formulas, merged), name, reader)


def _catalog_sheet(workbook: Any, name: str, reader: RowReader) -> Any:
    found = [sheet for sheet in workbook.worksheets if _names_ids(sheet, reader)]
    shown = [sheet for sheet in found if sheet.sheet_state == "visible"] or found
    if len(shown) > 1:
        raise CatalogError(
            f"has several sheets of tracks: {', '.join(sheet.title for sheet in shown)}",
            location=name,
            fix="save the one that is meant as a file of its own",
        )
    sheet = (shown or workbook.worksheets)[0]
    sheet.reset_dimensions()
    return sheet


def _names_ids(sheet: Any, reader: RowReader) -> bool:
    sheet.reset_dimensions()  # some programs write wrong ones, and what is beyond them would not be read
    for row in islice(sheet.iter_rows(values_only=True), 100):
        if any(cell is not None for cell in row):
            return {"task_id", "suno_id"} <= {reader.rules.field_of(str(cell)) for cell in row}
    return False


def _marks(sheet: Any) -> tuple[Mapping[int, Sequence[Merged]], bool]:
    """Return the merged cells of each row, and whether there is any formula."""
    merged, has_formulas = dict[int, list[Merged]](), False
    with sheet._get_source() as source:
        for chunk in _chunks(source):
            has_formulas = has_formulas or _FORMULA.search(chunk) is not None
            for left, top, right, bottom in _MERGED.findall(chunk):
                where = b"%s%s:%s%s" % (left, top, right, bottom)
                for row in range(int(top), int(bottom) + 1):
                    first = _column(left) + (row == int(top))  # the corner has the value
                    merged.setdefault(row, []).append((first, _column(right), where.decode()))
    return merged, has_formulas


def _chunks(source: IO[bytes]) -> Iterator[bytes]:
    """Yield what is read with an overlap, so that no element is cut in all of them."""
    tail = b""
    while chunk := source.read(1 << 20):
        yield tail + chunk
        tail = chunk[-200:]


def _column(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number - 1


def _cells(
    sheet: Any, formulas: Iterator[Sequence[Any]] | None, merged: Mapping[int, Sequence[Merged]]
) -> Iterator[tuple[int, Sequence[object]]]:
    for number, row in enumerate(sheet.iter_rows(), 1):
        values = [_value(cell) for cell in row]
        for at, cell in enumerate(next(formulas, ()) if formulas is not None else ()):
            if cell.data_type == "f":
                _fill(values, at, "is a formula without a result: open the file in Excel and save it")
        for first, last, where in merged.get(number, ()):
            for at in range(first, min(last, _MOST_COLUMNS) + 1):
                _fill(values, at, f"is in the merged cells {where}: unmerge and fill them")
        yield number, values


def _fill(values: list[object], at: int, problem: str) -> None:
    """Put a problem where no value is."""
    values += [None] * (at + 1 - len(values))
    if values[at] is None:
        values[at] = Unusable(problem, "")


def _value(cell: Any) -> object:
    """Return a cell's text, if it is certain what was entered."""
    value = cell.value
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return Unusable("is a truth value: make the column text, and enter it again", str(value).lower())
    if isinstance(value, int | float):
        text = f"{value:.15g}" if isinstance(value, float) else str(value)
        if isinstance(value, int) and len(text.lstrip("-")) <= _EXACT and cell.number_format in _PLAIN:
            return text
        return Unusable(
            f"is the number {text}, which the spreadsheet may have rounded or shows in another way:"
            " make the column text, and enter it again",
            text,
        )
    if isinstance(value, datetime.date | datetime.time | datetime.timedelta):
        return Unusable(
            f"is the date or time {value}, into which the spreadsheet has turned it:"
            " make the column text, and enter it again",
            str(value),
        )
    return str(value)


# Parquet


def parquet_rows(file: IO[bytes], name: str, reader: RowReader) -> Iterator[Row]:
    """Yield the rows of a Parquet file, a batch at a time.

    Raises:
        CatalogError: it cannot be read, or its columns leave a doubt about what is what.
        MissingExtraError: pyarrow is not installed.

    """
    parquet = load("pyarrow.parquet", "parquet", "a Parquet catalog")
    with _translated("Parquet", name):
        opened = parquet.ParquetFile(file)
        names = [str(column) for column in opened.schema_arrow.names]
        yield from typed_rows(names, _records(opened), name, reader)


def _records(opened: Any) -> Iterator[Sequence[object]]:
    for batch in opened.iter_batches(batch_size=_ROWS_AT_ONCE):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
