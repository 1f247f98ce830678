"""Cells between delimiters, strictly: a quotation mark that is never closed must not swallow the rows after it.

Python's own `csv` either guesses where quotes end or does not say where they began, and its limit on a cell's
length belongs to the whole process.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from attrs import define, field, frozen

from suno_video_async.batch.catalog.columns import DELIMITERS, ColumnRules, Layout
from suno_video_async.batch.catalog.rows import MAX_CELL
from suno_video_async.errors import CatalogError

_SEP = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
_BREAK = re.compile(r"\r\n|\r|\n")
#: Records of several lines before the first of one line that are kept to be compared with it.
_WAITING = 100
#: A header may have line breaks in quotes; more lines than this are a mark that was never closed.
_HEADER_LINES = 50


@frozen
class Record:
    """One record.

    Attributes:
        line: the line on which it begins.
        cells: what is between the delimiters, without quotation marks.
        text: the record as it is in the file, at most as long as one cell may be.
        opened: by cell, the line of the quotation mark before one that goes over several lines.

    """

    line: int
    cells: list[str]
    text: str
    opened: dict[int, int] = field(factory=dict[int, int])


@define(eq=False)
class _Quoted:
    """Reads a record that has quotation marks, a line at a time."""

    delimiter: str
    location: str
    cells: list[str] = field(factory=list[str], init=False)
    opened: int | None = field(default=None, init=False)
    spread: dict[int, int] = field(factory=dict[int, int], init=False)
    _parts: list[str] = field(factory=list[str], init=False)
    _size: int = field(default=0, init=False)

    def feed(self, line: str, number: int) -> bool:
        """Read the next line; return whether the record ends with it."""
        at, end = 0, len(line.rstrip("\r\n"))
        while True:
            if self.opened is None:
                mark = self._blanks(line, at, end)
                if mark >= end or line[mark] != '"':
                    stop = line.find(self.delimiter, at, end)
                    self.cells.append(line[at : end if stop < 0 else stop])
                    if stop < 0:
                        return True
                    at = stop + 1
                    continue
                self.opened, at = number, mark + 1
            at = self._quoted(line, at)
            if at < 0:
                return False
            at = self._blanks(line, at, end)
            self._close(number)
            if at >= end:
                return True
            if line[at] != self.delimiter:
                self._refuse(number)
            self.opened, at = None, at + 1

    def _close(self, number: int) -> None:
        if self.opened is not None and self.opened != number:
            self.spread[len(self.cells)] = self.opened
        self.cells.append("".join(self._parts))
        self._parts, self._size = [], 0

    def _quoted(self, line: str, at: int) -> int:
        """Read on inside quotation marks; return where they end, or -1 if not on this line."""
        while (close := line.find('"', at)) >= 0:
            doubled = line.startswith('"', close + 1)
            self._keep(line[at : close + doubled])
            if not doubled:
                return close + 1
            at = close + 2
        self._keep(line[at:])
        return -1

    def _keep(self, part: str) -> None:
        if self._size <= MAX_CELL:  # what is longer is a bad row, or a mark that is never closed
            self._parts.append(part)
            self._size += len(part)

    def _blanks(self, line: str, at: int, end: int) -> int:
        while at < end and line[at] in " \t" and line[at] != self.delimiter:
            at += 1
        return at

    def _refuse(self, number: int) -> None:
        raise CatalogError(
            f"has text after the end of a cell in quotation marks, and the mark that opened it is in line"
            f" {self.opened}",
            location=f"{self.location}, line {number}",
            fix=QUOTES,
        )


QUOTES = 'write a quotation mark inside a cell twice, as in "the ""best"" song", and close each cell\'s own'


def records(lines: Iterable[str], delimiter: str, location: str, *, number: int = 0) -> Iterator[Record]:
    """Split lines into records.

    Args:
        lines: with their line breaks.
        delimiter: what is between two cells.
        location: the file's name.
        number: the lines before them.

    Raises:
        CatalogError: a quotation mark is never closed, or is not where it can be; with the line where it opened.

    """
    source = enumerate(lines, number + 1)
    for begun, line in source:
        if '"' not in line:
            bare = line.rstrip("\r\n")
            yield Record(begun, bare.split(delimiter), bare)
            continue
        record, text, size = _Quoted(delimiter, location), [line], len(line)
        done = record.feed(line, begun)
        while not done:
            at, more = next(source, (0, ""))
            if not at:
                raise never_closed(record.opened, location)
            if size <= MAX_CELL:
                text.append(more)
                size += len(more)
            done = record.feed(more, at)
        yield Record(begun, record.cells, "".join(text).rstrip("\r\n"), record.spread)


def never_closed(line: int | None, location: str) -> CatalogError:
    """Return the error of a quotation mark that swallows what follows."""
    return CatalogError(
        "has a quotation mark that is never closed: the rows after it would be lost in one cell",
        location=f"{location}, line {line}",
        fix=QUOTES,
    )


@define(eq=False)
class SwallowedRows:
    """Looks for rows inside of cells: two stray quotation marks look like one pair around what is between them.

    A line of a cell is a row if it has ids like those of its own record, or of one before or after it, in their
    columns. A record of several lines that does not fit the columns is not right either, nor is a delimiter in one
    of its fields.
    """

    layout: Layout
    delimiter: str
    location: str
    _known: Record | None = field(default=None, init=False)
    _waiting: list[Record] = field(factory=list[Record], init=False)

    def check(self, record: Record) -> None:
        """Check a record.

        Raises:
            CatalogError: a cell of it, or of one before it, holds rows.

        """
        if record.opened:
            self._check_fit(record)
            self._compare(record, record)
            if self._known is not None:
                self._compare(record, self._known)
            elif len(self._waiting) < _WAITING:
                self._waiting.append(record)
        else:
            self._known = record
            while self._waiting:
                self._compare(self._waiting.pop(), record)

    def _check_fit(self, record: Record) -> None:
        cells, places = record.cells, self.layout.places
        ids = [places["task_id"], places["suno_id"]]
        if any(cell.strip() for cell in cells[len(self.layout.names) :]) or not all(
            at < len(cells) and cells[at].strip() for at in ids
        ):
            raise CatalogError(
                "has a cell that goes over several lines, and does not fit the columns: a stray quotation mark may"
                f" have joined rows; the first one is in line {min(record.opened.values())}",
                location=f"{self.location}, line {record.line}",
                fix=QUOTES,
            )
        for at in places.values():
            if at in record.opened and self.delimiter in cells[at].strip():
                raise never_closed(record.opened[at], self.location)

    def _compare(self, record: Record, known: Record) -> None:
        places = [self.layout.places[name] for name in ("task_id", "suno_id")]
        ids = [known.cells[at] if at < len(known.cells) else "" for at in places]
        for at, opened in record.opened.items():
            for cells in _lines_of(record.cells, at, self.delimiter, places):
                pairs = zip(places, ids, strict=True)
                if all(place < len(cells) and _alike(cells[place], one) for place, one in pairs):
                    raise never_closed(opened, self.location)


def _lines_of(cells: Sequence[str], at: int, delimiter: str, ids: Sequence[int]) -> Iterator[list[str]]:
    """Yield the lines of a cell as the records that they may be; before the first are the cells before it."""
    first, *middle = (line.split(delimiter) for line in _BREAK.split(cells[at]))
    if min(ids) >= at:  # otherwise these are the ids of the record itself
        yield [*cells[:at], *first]
    yield from middle


def _alike(text: str, mine: str) -> bool:
    """Whether a text may be an id like that of the record."""
    text, mine = text.strip().strip('"'), mine.strip()
    if text == mine:
        return bool(text)
    if not text or not len(mine) / 2 <= len(text) <= len(mine) * 2:
        return False
    return _shape(text) == _shape(mine) and any(not mark.isalpha() for mark in text)


def _shape(text: str) -> str:
    return re.sub(r"[^\W_]+", "x", text)


@define(eq=False)
class Header:
    """The first record of a catalog, and how the rest is to be split.

    Attributes:
        delimiter: what is between two cells.
        records: the records, beginning with the header itself.

    """

    delimiter: str
    records: Iterator[Record]


def read_header(lines: Iterator[str], given: str | None, rules: ColumnRules, location: str) -> Header | None:
    """Find the delimiter by the header line alone; None if there is no line with anything on it.

    Args:
        lines: the file's.
        given: the delimiter that the caller names.
        rules: what the caller says about columns.
        location: the file's name.

    Raises:
        CatalogError: a quotation mark in the header is never closed.

    """
    number, line = _first(lines, 0)
    if line is not None and (sep := _SEP.fullmatch(line.strip("\r\n"))):
        given = given or sep[1]
        number, line = _first(lines, number)
    if line is None:
        return None
    head = [line]
    while "".join(head).count('"') % 2 and len(head) < _HEADER_LINES and (more := next(lines, None)) is not None:
        head.append(more)
    delimiter = given or max(DELIMITERS, key=lambda mark: _fits(head, mark, rules))
    return Header(delimiter, records(chain(head, lines), delimiter, location, number=number - 1))


def _first(lines: Iterator[str], number: int) -> tuple[int, str | None]:
    for line in lines:
        number += 1
        if line.strip():
            return number, line
    return number, None


def _fits(head: Sequence[str], delimiter: str, rules: ColumnRules) -> tuple[int, int]:
    """Return how many of the ids a delimiter finds, and how many columns."""
    try:
        cells = next(records(head, delimiter, "")).cells
    except CatalogError:
        return 0, 0
    found = {rules.field_of(cell) for cell in cells}
    return len(found & {"task_id", "suno_id"}), len(cells)
