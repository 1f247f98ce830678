"""Lists of tables in TOML files: `[[fault]]`, `[[key]]`."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

T = TypeVar("T")


def load_tables(path: Path, name: str, read: Callable[[Mapping[str, Any]], T], error: type[ValueError]) -> list[T]:
    """Return what `read` makes of each table `[[name]]` of a file. Blocks.

    Args:
        path: the file.
        name: of the tables; there must be nothing else in the file.
        read: takes the fields of a table; to an `error` that it raises the file and the table are added.
        error: raised if the file or a table in it cannot be used.

    """
    tables = _tables(path, name, error)
    found = list[T]()
    for at, table in enumerate(tables, 1):
        try:
            found.append(read(_fields(table, name, error)))
        except error as problem:
            raise error(f"{path}: {name} {at}: {problem}") from None
    return found


def _fields(table: object, name: str, error: type[ValueError]) -> Mapping[str, Any]:
    if not isinstance(table, dict):
        raise error(f"is not a table; begin it with [[{name}]]")
    return cast("dict[str, Any]", table)


def _tables(path: Path, name: str, error: type[ValueError]) -> list[object]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as problem:
        raise error(f"{path}: cannot be read: {problem.strerror or problem}") from problem
    except ValueError as problem:  # of the encoding, or of TOML
        raise error(f"{path}: is not valid TOML: {problem}; correct it") from problem
    tables = content.get(name, [])
    unknown = sorted(set(content) - {name})
    if unknown or not isinstance(tables, list):
        named = unknown[0] if unknown else name
        raise error(f"{path}: {named!r} is not a list of tables; begin each of them with [[{name}]]")
    return cast("list[object]", tables)


def check_fields(table: Mapping[str, Any], known: Sequence[str], error: type[ValueError]) -> None:
    """Refuse an unknown field.

    Raises:
        ValueError: of the type `error`.

    """
    for name in table:
        if name not in known:
            raise error(f"{name}: unknown field; the fields are {', '.join(known)}")
