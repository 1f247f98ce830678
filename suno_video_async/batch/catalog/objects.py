"""JSON catalogs: objects a line, one after another as `jq` prints them, in an array, or in one object's only list.

Arrays and lines are read an element at a time: only one element and one chunk are in memory.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, TextIO, cast

from attrs import define, field

from suno_video_async.batch.catalog.columns import ColumnRules
from suno_video_async.batch.catalog.rows import Repeating, Row, RowReader, bad_row
from suno_video_async.errors import CatalogError

_CHUNK = 64 * 1024
_BLANKS = re.compile(r"[ \t\r\n]*")
#: Digits of the longest number that Python turns into one; a longer one stays text.
_DIGITS = 4300


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    repeating, counts = Repeating(found), Counter(name for name, _ in pairs)
    repeating.repeated = next(name for name, count in counts.items() if count > 1)
    return repeating


def _integer(text: str) -> int | str:
    return int(text) if len(text) <= _DIGITS else text


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer)


def json_rows(file: TextIO, head: Sequence[str], name: str, reader: RowReader) -> Iterator[Row]:
    """Yield the rows of JSON text.

    Args:
        file: the text.
        head: the lines that have been read of it: the first that is not blank, and those before.
        name: the file's.
        reader: makes tracks of the objects.

    Raises:
        CatalogError: the rest cannot be read.

    """
    if head[-1].lstrip().startswith("["):
        yield from _array(_Values(file, name, "".join(head)), reader)
    else:
        yield from _objects(file, head, name, reader)
    reader.check_mapped(name)


def _objects(file: TextIO, head: Sequence[str], name: str, reader: RowReader) -> Iterator[Row]:
    first, begun, more = _decoded(head[-1]), list(head), ""
    if not _is_row(first, reader.rules):  # a row needs no look at what follows it, which may take its time
        for line in file:
            begun.append(line)
            if more := line.strip():
                break
    if first is None:
        is_lines = not more or more.startswith("{")  # a second line of one object begins otherwise
    else:
        is_lines = bool(more) or _only_list(first, reader.rules, name) is None
    if is_lines:
        yield from json_lines(chain(begun, file), name, reader)
    else:
        yield from _document(_Values(file, name, "".join(begun)), reader)


def json_lines(lines: Iterable[str], name: str, reader: RowReader) -> Iterator[Row]:
    """Yield the rows of JSON Lines; a line that is not JSON is one bad row.

    Raises:
        CatalogError: a row has no author or brand, but a column that may be meant.

    """
    for number, line in enumerate(lines, 1):
        if text := line.strip():
            location = f"{name}, line {number}"
            try:
                value = _DECODER.decode(text)
            except (ValueError, RecursionError) as error:
                yield bad_row(f"is not JSON: {error}", location, text=text)
            else:
                yield reader.mapping(value, location, text=text)


def _decoded(text: str) -> object:
    try:
        return _DECODER.decode(text.strip())
    except (ValueError, RecursionError):
        return None


def _is_row(value: object, rules: ColumnRules) -> bool:
    if not isinstance(value, Mapping):
        return False
    return any(rules.field_of(f"{name}") in {"task_id", "suno_id"} for name in cast("Mapping[str, Any]", value))


def _only_list(value: object, rules: ColumnRules, name: str) -> list[Any] | None:
    """Return the list of objects that an object holds instead of being a row itself; None if it holds none.

    Raises:
        CatalogError: it holds several.

    """
    if not isinstance(value, Mapping) or _is_row(cast("object", value), rules):
        return None
    fields = cast("Mapping[str, Any]", value)
    lists = {key: cast("list[Any]", found) for key, found in fields.items() if _has_objects(found)}
    if len(lists) > 1:
        raise CatalogError(
            f"is one object with several lists: {', '.join(lists)}",
            location=name,
            fix="make an array of the one that is meant, such as with jq .NAME",
        )
    return next(iter(lists.values()), None)


def _has_objects(value: object) -> bool:
    return isinstance(value, list) and any(isinstance(one, Mapping) for one in cast("Sequence[object]", value))


@define(eq=False)
class _Values:
    """Reads JSON values one after another from text, and knows on which line it is."""

    file: TextIO
    name: str
    text: str
    line: int = field(default=1, init=False)
    _at: int = field(default=0, init=False)

    def peek(self) -> str:
        """Skip blanks and return the next character; "" at the end."""
        while True:
            match = _BLANKS.match(self.text, self._at)
            self._go(match.end() if match else self._at)
            if self._at < len(self.text):
                return self.text[self._at]
            if not self._more(_CHUNK):
                return ""

    def skip(self) -> str:
        """Step over one character, and return what `peek` does."""
        self._go(self._at + 1)
        return self.peek()

    def value(self) -> Any:
        """Return the next value.

        Raises:
            ValueError: this is not JSON, even with all the rest of the text.

        """
        size = _CHUNK
        while True:
            try:
                value, end = _DECODER.raw_decode(self.text, self._at)
                if end < len(self.text) or self.text[end - 1] in "}]" or not self._more(size):
                    self._go(end)
                    return value  # a number at the end of a chunk may go on
            except (ValueError, RecursionError) as error:
                if isinstance(error, RecursionError) or not self._more(size):
                    raise ValueError(str(error)) from None
            size *= 2  # or a value that never ends would be read again and again

    def _more(self, size: int) -> bool:
        more = self.file.read(size)
        self.text, self._at = self.text[self._at :] + more, 0
        return bool(more)

    def _go(self, at: int) -> None:
        self.line += self.text.count("\n", self._at, at)
        self._at = at


def _array(values: _Values, reader: RowReader) -> Iterator[Row]:
    """Read an array an element at a time."""
    number, mark = 0, values.skip()
    while mark != "]":
        number += 1
        location = f"{values.name}, line {values.line} (element {number})"
        yield reader.mapping(_next_value(values, location), location)
        mark = values.peek()
        if mark == ",":
            mark = values.skip()
        elif mark != "]":
            raise CatalogError("is not followed by a comma or the end of the array", location=location)
    if values.skip():
        raise _second_document(values)


def _document(values: _Values, reader: RowReader) -> Iterator[Row]:
    """Read objects one after another, or the list that a single one holds."""
    found = None
    while values.peek():
        if found is not None:
            raise _second_document(values)
        line = values.line
        value = _next_value(values, f"{values.name}, line {line}")
        found = _only_list(value, reader.rules, values.name)
        if found is None:
            yield reader.mapping(value, f"{values.name}, line {line}")
        else:
            for number, one in enumerate(found, 1):
                yield reader.mapping(one, f"{values.name}, element {number}")


def _next_value(values: _Values, location: str) -> Any:
    try:
        return values.value()
    except ValueError as error:
        raise CatalogError(f"is not JSON: {error}", location=location) from None


def _second_document(values: _Values) -> CatalogError:
    return CatalogError(
        "begins a second JSON document after the end of the first",
        location=f"{values.name}, line {values.line}",
        fix="make one array of them, or JSON Lines: one object a line",
    )
