"""Catalogs: CSV, JSON Lines or a JSON array in, tracks out, a few rows at a time.

A row that cannot be read is yielded as its error, in its place: nothing else is lost because of it.
"""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Iterator, Mapping, Sized
from functools import partial
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import IO, Any, TypeAlias, cast

import anyio
import anyio.to_thread
from attrs import frozen

from suno_video_async._util.aio import in_one_thread
from suno_video_async.errors import CatalogError
from suno_video_async.models import Track

#: What `convert` takes: a file's path, or tracks.
CatalogSource: TypeAlias = "str | PathLike[str] | Iterable[Track] | AsyncIterable[Track]"

_FIELDS = ("task_id", "suno_id", "author", "brand")
_ROWS_AT_ONCE = 200
_CHUNK = 64 * 1024


@frozen
class Row:
    """One row of a catalog.

    Attributes:
        location: the file and line, or the position in an iterable.
        track: the track, or the error that tells why there is none.

    """

    location: str
    track: Track | CatalogError


async def read_rows(source: CatalogSource) -> AsyncGenerator[Row, None]:
    """Yield the rows of a catalog lazily.

    Raises:
        CatalogError: the file as a whole cannot be read: it does not exist, has no header, is empty.

    """
    if isinstance(source, str | PathLike):
        rows = _file_rows(Path(source))
        limiter = anyio.CapacityLimiter(1)  # our own: the application's threads may all wait for these rows
        while batch := await anyio.to_thread.run_sync(partial(_next_rows, rows), limiter=limiter):
            for row in batch:
                yield row
    elif isinstance(source, AsyncIterable):
        number = 0
        async for track in source:
            number += 1
            yield _checked(track, number)
    else:
        for number, track in enumerate(source, 1):
            yield _checked(track, number)


async def count_rows(source: CatalogSource) -> int | None:
    """Return how many rows a catalog has; None where it can be read only once, and has no length.

    Raises:
        CatalogError: the file as a whole cannot be read.

    """
    if not isinstance(source, str | PathLike):
        return len(source) if isinstance(source, Sized) else None
    if await in_one_thread()(partial(_is_stream, Path(source))):
        return None
    rows = 0
    async with contextlib.aclosing(read_rows(source)) as found:
        async for _ in found:
            rows += 1
    return rows


def _is_stream(path: Path) -> bool:
    return path.exists() and not path.is_file()


def _checked(track: object, number: int) -> Row:
    location = f"track {number}"
    if isinstance(track, Track):
        return Row(location, track)
    return Row(location, CatalogError(f"expected a Track, not {type(track).__name__}", location=location))


def _next_rows(rows: Iterator[Row]) -> list[Row]:
    return list(islice(rows, _ROWS_AT_ONCE))


def _file_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a file; `.jsonl` and `.json` by their names, anything else is CSV."""
    found = False
    read = {".jsonl": _jsonl_rows, ".ndjson": _jsonl_rows, ".json": _json_rows}.get(path.suffix.lower(), _csv_rows)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for row in read(file, path.name):
                found = True
                yield row
    except OSError as error:
        raise CatalogError(f"cannot be read: {error.strerror or error}", location=str(path)) from error
    except UnicodeDecodeError as error:
        raise CatalogError(f"is not UTF-8 ({error.reason}): save it as UTF-8", location=path.name) from error
    except csv.Error as error:
        raise CatalogError(f"is not readable as CSV: {error}", location=path.name) from error
    if not found:
        raise CatalogError("is empty: it needs one row a track", location=path.name)


def _csv_rows(file: IO[str], name: str) -> Iterator[Row]:
    reader = csv.reader(file)
    header = [column.strip() for column in next(reader, list[str]())]
    missing = [column for column in ("task_id", "suno_id") if column not in header]
    if header and missing:
        raise CatalogError(
            f"has no column {' and no column '.join(missing)}: the first line must name the columns"
            f" task_id,suno_id[,author,brand,…], not {','.join(header)[:80]}",
            location=name,
        )
    for cells in reader:
        if any(cell.strip() for cell in cells):
            location = f"{name}, line {reader.line_num}"
            yield _csv_row(header, cells, location)


def _csv_row(header: list[str], cells: list[str], location: str) -> Row:
    if len(cells) > len(header):
        problem = f"has {len(cells)} cells for {len(header)} columns: put commas in quotes"
        return Row(location, CatalogError(problem, location=location))
    return _row(dict(zip(header, cells, strict=False)), location)


def _jsonl_rows(file: IO[str], name: str) -> Iterator[Row]:
    for number, line in enumerate(file, 1):
        if line.strip():
            location = f"{name}, line {number}"
            try:
                yield _row(json.loads(line), location)
            except (ValueError, RecursionError) as error:
                yield Row(location, CatalogError(f"is not JSON: {error}", location=location))


def _json_rows(file: IO[str], name: str) -> Iterator[Row]:
    """Read an array an element at a time: only one element and one chunk are in memory."""
    decoder, text, number = json.JSONDecoder(), _skip(file, ""), 0
    if not text.startswith("["):
        raise CatalogError("must be a JSON array of objects", location=name)
    text = _skip(file, text[1:])
    while not text.startswith("]"):
        number += 1
        value, text = _element(decoder, file, text, f"{name}, element {number}")
        yield _row(value, f"{name}, element {number}")
        text = _skip(file, text)
        if text.startswith(","):
            text = _skip(file, text[1:])
        elif not text.startswith("]"):
            raise CatalogError(
                "is not followed by a comma or the end of the array", location=f"{name}, element {number}"
            )


def _element(decoder: json.JSONDecoder, file: IO[str], text: str, location: str) -> tuple[object, str]:
    while True:
        try:
            value, end = decoder.raw_decode(text)
        except (ValueError, RecursionError) as error:
            if not (more := file.read(_CHUNK)):
                raise CatalogError(f"is not JSON: {error}", location=location) from None
            text += more
        else:
            return value, text[end:]


def _skip(file: IO[str], text: str) -> str:
    while not (text := text.lstrip()):
        if not (text := file.read(_CHUNK)):
            return ""
    return text


def _row(fields: object, location: str) -> Row:
    if not isinstance(fields, Mapping):
        return Row(location, CatalogError("must be an object with task_id and suno_id", location=location))
    try:
        return Row(location, _track(cast("Mapping[str, Any]", fields)))
    except (ValueError, TypeError) as error:
        return Row(location, CatalogError(str(error), location=location))


def _track(fields: Mapping[str, Any]) -> Track:
    extra = {name: value for name, value in fields.items() if name not in _FIELDS}
    return Track(
        task_id=fields.get("task_id", ""),
        suno_id=fields.get("suno_id", ""),
        author=fields.get("author"),
        brand=fields.get("brand"),
        extra={name: value if isinstance(value, str) else json.dumps(value) for name, value in extra.items()},
    )
