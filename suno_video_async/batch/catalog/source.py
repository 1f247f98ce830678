"""Where rows come from: a file, whatever is in it, or the caller's own tracks and mappings."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Iterator, Mapping, Sized
from functools import partial
from itertools import chain, islice
from os import PathLike
from pathlib import Path
from typing import Any, TextIO, TypeAlias, cast

import anyio
import anyio.to_thread
from attrs import define, field, frozen

from suno_video_async._util.aio import in_one_thread
from suno_video_async.batch.catalog.binary import parquet_rows, xlsx_rows
from suno_video_async.batch.catalog.columns import ColumnRules
from suno_video_async.batch.catalog.content import Columnar, Workbook, opened, text_encoding
from suno_video_async.batch.catalog.objects import json_lines, json_rows
from suno_video_async.batch.catalog.rows import Row, RowReader, bad_row
from suno_video_async.batch.catalog.tables import csv_rows
from suno_video_async.errors import CatalogError
from suno_video_async.models import Track
from suno_video_async.observability.log import fields, logger

#: One row of a caller's own: a track, or its fields by name.
CatalogRow: TypeAlias = "Track | Mapping[Any, Any]"
#: What `convert` takes: a file, or rows.
CatalogSource: TypeAlias = "CatalogFile | str | PathLike[str] | Iterable[CatalogRow] | AsyncIterable[CatalogRow]"

_ROWS_AT_ONCE = 200
_CHUNK = 64 * 1024
_ENDS = ("\r", "\n")
_PLACEHOLDERS = "are placeholders such as nan or NULL, and count as absent"
#: How the rows of data frames are got, by the library that a frame is of.
_FRAMES = {
    "pandas": '.to_dict("records")',
    "polars": ".iter_rows(named=True)",
    "pyarrow": ".to_pylist()",
}


@frozen(kw_only=True)
class Survey:
    """What is in a catalog that was read through once.

    Attributes:
        rows: how many rows it has.
        unreadable: how many of them are not tracks.
        placeholders: how many authors and brands are placeholders such as `nan`, and count as absent.

    """

    rows: int
    unreadable: int
    placeholders: int


def _delimiter(value: str | None) -> str | None:
    known = {"tab": "\t", "\\t": "\t"}
    mark = value if value is None else known.get(value.lower(), value)
    if mark is not None and (len(mark) != 1 or mark in '"\r\n' or mark.isalnum()):
        raise ValueError(f"a delimiter is one character such as ; or |, or the word tab, not {value!r}")
    return mark


def _encoding(value: str | None) -> str | None:
    return None if value is None else text_encoding(value)


@define(eq=False, init=False)
class CatalogFile:
    """A catalog in a file, and how to read it where the file does not say so itself.

    It is a path wherever one is expected. What should be known before anything is bought goes to `notify`: the
    package's logger, unless you set another function.

    Args:
        path: the file: CSV with any usual delimiter, JSON Lines, a JSON array, Excel (`.xlsx`) or Parquet, packed
            with gzip or not. What it is, is seen by its content.
        delimiter: what is between two cells of CSV; None finds it by the header line.
        encoding: of text without a byte order mark; None is UTF-8.
        columns: which columns are which fields, such as `{"artist": "author"}`.
        ignore_columns: columns that are not an author or a brand although their names look like it.

    Raises:
        ValueError: an argument makes no sense.

    """

    path: Path
    delimiter: str | None
    encoding: str | None
    rules: ColumnRules
    notify: Callable[[str], object] = field(repr=False)
    _known: tuple[tuple[int, ...], Survey] | None = field(repr=False)

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        delimiter: str | None = None,
        encoding: str | None = None,
        columns: Mapping[str, str] | None = None,
        ignore_columns: Iterable[str] = (),
    ) -> None:
        self.path = Path(path)
        self.delimiter = _delimiter(delimiter)
        self.encoding = _encoding(encoding)
        self.rules = ColumnRules.of(columns or {}, ignore_columns)
        self.notify = logger.warning
        self._known = None

    def __fspath__(self) -> str:
        return os.fspath(self.path)

    @property
    def name(self) -> str:
        """The file's name, as the locations of rows have it."""
        return self.path.name

    @property
    def is_stream(self) -> bool:
        """Whether it can be read only once, as a pipe."""
        return self.path.exists() and not self.path.is_file()

    def survey(self) -> Survey | None:
        """Read the file through and return what is in it; None if it can be read only once. Blocks.

        A file that has not changed since is not read again.

        Raises:
            CatalogError: the file as a whole cannot be read.
            MissingExtraError: it is in a format whose extra is not installed.

        """
        if self.is_stream:
            return None
        identity = self._identity()
        if self._known is None or self._known[0] != identity:
            reader, rows, unreadable = RowReader(self.rules), 0, 0
            for row in self.rows(reader):
                rows += 1
                unreadable += isinstance(row.track, CatalogError)
            self._known = identity, Survey(rows=rows, unreadable=unreadable, placeholders=reader.placeholders)
        return self._known[1]

    def _identity(self) -> tuple[int, ...]:
        try:
            found = self.path.stat()
        except OSError as error:
            raise self._unreadable(error) from error
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns

    def _unreadable(self, error: OSError) -> CatalogError:
        return CatalogError(f"cannot be read: {error.strerror or error}", location=str(self.path))

    def rows(self, reader: RowReader | None = None) -> Iterator[Row]:
        """Yield the rows lazily. Blocks.

        Raises:
            CatalogError: the file as a whole cannot be read: it does not exist, has no header, is empty.
            MissingExtraError: it is in a format whose extra is not installed.

        """
        found = False
        try:
            with self.path.open("rb", buffering=0) as file:
                for row in self._rows(cast("Any", file), reader or RowReader(self.rules)):
                    found = True
                    yield row
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            problem = f"is a damaged gzip file: {error}"
            raise CatalogError(problem, location=self.name, fix="pack or download it again") from error
        except OSError as error:
            raise self._unreadable(error) from error
        except UnicodeError as error:
            reason = error.reason if isinstance(error, UnicodeDecodeError) else error
            raise CatalogError(
                f"is not {(self.encoding or 'UTF-8').upper()} ({reason})",
                location=self.name,
                fix="save it as UTF-8, or name its encoding, such as --encoding cp1252",
            ) from error
        if not found:
            raise CatalogError("is empty: it needs one row a track", location=self.name)

    def _rows(self, file: Any, reader: RowReader) -> Iterator[Row]:
        with opened(file, self.encoding, self.name) as content:
            if isinstance(content, Workbook):
                yield from xlsx_rows(content.file, self.name, reader)
            elif isinstance(content, Columnar):
                yield from parquet_rows(content.file, self.name, reader)
            else:
                yield from self._text_rows(content, reader)

    def _text_rows(self, file: TextIO, reader: RowReader) -> Iterator[Row]:
        suffixes = [suffix.lower() for suffix in self.path.suffixes if suffix.lower() != ".gz"]
        suffix = suffixes[-1] if suffixes else ""
        head = [file.readline(_CHUNK)]  # all rows of a JSON array may be on one line
        while head[-1] and not head[-1].strip():
            head.append(file.readline(_CHUNK))
        first = head[-1].lstrip()[:1]
        if first != "[":
            head[-1] += file.readline() if not head[-1].endswith(_ENDS) else ""
        lines = chain(head, file)
        if first and first in "[{":
            yield from json_rows(file, head, self.name, reader)
        elif suffix in {".jsonl", ".ndjson"}:
            yield from json_lines(lines, self.name, reader)
        elif suffix == ".json" and first:
            raise CatalogError("must be a JSON array of objects, or one object a line", location=self.name)
        elif first == "<":
            raise CatalogError("is a web page or XML, not a catalog", location=self.name, fix="download it again")
        else:
            yield from csv_rows(lines, self.name, reader, self.delimiter)


async def read_rows(source: CatalogSource) -> AsyncGenerator[Row, None]:
    """Yield the rows of a catalog lazily; a file is read through once before.

    Raises:
        CatalogError: the file as a whole cannot be read: it does not exist, has no header, is empty; or the rows
            are not what one would think.
        MissingExtraError: the file is in a format whose extra is not installed.

    """
    reader = RowReader()
    if isinstance(source, str | PathLike | CatalogFile):
        catalog = _file(source)
        reader = RowReader(catalog.rules)
        limiter = anyio.CapacityLimiter(1)  # our own: the application's threads may all wait for these rows
        survey = await anyio.to_thread.run_sync(catalog.survey, limiter=limiter)
        if survey is not None and survey.placeholders:
            catalog.notify(f"{catalog.name}: {survey.placeholders} authors and brands {_PLACEHOLDERS}")
        rows = catalog.rows(reader)
        while batch := await anyio.to_thread.run_sync(partial(_next_rows, rows), limiter=limiter):
            if survey is None and reader.has_news:
                catalog.notify(f"{catalog.name}: authors and brands {_PLACEHOLDERS}")
            for row in batch:
                yield row
        return
    number = 0
    if isinstance(source, AsyncIterable):
        async for item in source:
            number += 1
            yield _item(item, number, reader)
    else:
        check_rows(source)
        for number, item in enumerate(source, 1):
            yield _item(item, number, reader)


async def count_rows(source: CatalogSource) -> int | None:
    """Return how many rows a catalog has; None if it can be read only once, and has no length.

    Raises:
        CatalogError: the file as a whole cannot be read.
        MissingExtraError: the file is in a format whose extra is not installed.

    """
    if not isinstance(source, str | PathLike | CatalogFile):
        return len(source) if isinstance(source, Sized) else None
    survey = await in_one_thread()(_file(source).survey)
    return None if survey is None else survey.rows


def _file(source: str | PathLike[str] | CatalogFile) -> CatalogFile:
    return source if isinstance(source, CatalogFile) else CatalogFile(source)


def _next_rows(rows: Iterator[Row]) -> list[Row]:
    return list(islice(rows, _ROWS_AT_ONCE))


def check_rows(source: object) -> None:
    """Check that an iterable is not one of something else than rows.

    Raises:
        CatalogError: it is a data frame, or a single row.

    """
    kind = type(source)
    library = kind.__module__.partition(".")[0]
    if library in _FRAMES:
        frame = f"{library}'s {kind.__name__}"
        raise CatalogError(f"{frame} is not rows", fix=f"pass its rows: frame{_FRAMES[library]}")
    if isinstance(source, Mapping):
        raise CatalogError("a mapping is one row, not a catalog", fix="pass a list of rows")


def _item(item: object, number: int, reader: RowReader) -> Row:
    location = f"track {number}"
    if isinstance(item, Track):
        return Row(location, item)
    if not isinstance(item, Mapping):
        return bad_row(f"expected a Track or a mapping, not {type(item).__name__}", location)
    row = reader.mapping(cast("Mapping[str, object]", item), location)
    if reader.has_news:
        logger.warning(
            "%s: authors and brands %s", location, _PLACEHOLDERS, extra=fields("placeholders", row=location)
        )
    return row
