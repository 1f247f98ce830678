"""Outcomes as a table, for spreadsheets and data frames: CSV, or Parquet through the extra `parquet`."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any, Literal, TypeAlias

from suno_video_async._util.filesystem import private_if_new
from suno_video_async.batch.catalog.binary import load

_FIELDS = ("task_id", "suno_id", "author", "brand")
_REST = ("state", "video_task_id", "url", "path", "sha256", "credits", "error_type", "error_code", "error_message")
_NUMBERS = {"credits": "float64", "error_code": "int64"}
_ROWS_AT_ONCE = 1000

Record: TypeAlias = Mapping[str, Any]
Writer: TypeAlias = Callable[[Path, Sequence[str], Iterable[Record]], None]


def table_writer(path: Path) -> Writer | None:
    """Return what writes a file's kind of table, by its suffix; None for a file of JSON lines.

    Raises:
        MissingExtraError: the extra that writes it is not installed.

    """
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        load("pyarrow.parquet", "parquet", "--outcomes FILE.parquet")
    return {".csv": write_csv, ".parquet": _write_parquet}.get(suffix)


def write_table(write: Writer, path: Path, lines: Iterable[str], extra: Iterable[str]) -> None:
    """Write a table of outcomes.

    Args:
        write: writes it.
        path: the file.
        lines: the JSON lines of the outcomes.
        extra: the names of the catalog's own columns.

    """
    names = _own_names(extra)
    columns = ["row", *_FIELDS, *names.values(), *_REST]
    write(path, columns, (_flat(json.loads(line), names) for line in lines))


def _own_names(extra: Iterable[str]) -> dict[str, str]:
    """Return the names of the catalog's own columns in the table, where those of the outcome are taken."""
    taken, names = {"row", *_FIELDS, *_REST}, dict[str, str]()
    for name in extra:
        own = name
        while own in taken:
            own = f"extra_{own}"
        taken.add(own)
        names[name] = own
    return names


def _flat(record: Record, names: Mapping[str, str]) -> Record:
    error: Record = record["error"] or {}
    track: Record = record["track"] or {}
    extra: Record = record["extra"]
    return {
        **{name: record.get(name) for name in ("row", *_REST)},
        **track,
        **{names[name]: value for name, value in extra.items()},
        **{f"error_{name}": error.get(name) for name in ("type", "code", "message")},
    }


def open_private(path: Path, mode: Literal["w", "a"] = "w") -> IO[str]:
    """Open a file of tracks and of URLs that anyone can fetch: a new one is for its owner alone."""
    return open(path, mode, encoding="utf-8", errors="backslashreplace", newline="\n", opener=private_if_new)


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Record]) -> None:
    """Write rows as CSV, which reads as what was written."""
    with open_private(path) as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        quoting = csv.DictWriter(file, columns, restval="", lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writeheader()
        for (
            row
        ) in rows:  # before Python 3.13, a lone carriage return in a cell is not quoted, and would end its row
            (quoting if any("\r" in f"{value}" for value in row.values()) else writer).writerow(row)


def _write_parquet(path: Path, columns: Sequence[str], rows: Iterable[Record]) -> None:
    arrow = load("pyarrow", "parquet", "--outcomes FILE.parquet")
    parquet = load("pyarrow.parquet", "parquet", "--outcomes FILE.parquet")
    types = {name: getattr(arrow, _NUMBERS.get(name, "string"))() for name in columns}
    schema = arrow.schema(list(types.items()))
    with open(path, "wb", opener=private_if_new) as file, parquet.ParquetWriter(file, schema) as writer:
        for some in _batches(rows):
            arrays = [arrow.array([_writable(row.get(name)) for row in some], types[name]) for name in columns]
            writer.write_batch(arrow.record_batch(arrays, schema=schema))


def _batches(rows: Iterable[Record]) -> Iterator[list[Record]]:
    every = iter(rows)
    while some := list(islice(every, _ROWS_AT_ONCE)):
        yield some


def _writable(value: object) -> object:
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value
