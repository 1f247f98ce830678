"""The videos on disk, and where a page finds them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote_from_bytes

from attrs import frozen

from suno_video_async.report.facts import Facts


@frozen(kw_only=True)
class File:
    """One video's file.

    Attributes:
        path: where it is expected.
        href: its address for the page, percent-encoded: relative to the page's folder if possible.
        size: in bytes; None if it is missing.

    """

    path: Path
    href: str
    size: int | None


def files(facts: Facts, *, page: Path) -> Mapping[int, File]:
    """Return the files of the rows that have one, by the rows' numbers. Blocks.

    A relative path is tried from the current folder, then from the ledger's: runs record it as given.

    Args:
        facts: the ledger's contents.
        page: where the page will be written.

    """
    folder = _absolute(page).parent
    known = ((item.row.id, item.row.path) for item in facts.items)
    return {number: _file(path, facts.folder, folder) for number, path in known if path is not None}


def _file(path: Path, kept_in: Path, folder: Path) -> File:
    for place in _places(path, kept_in):
        if (size := _size(place)) is not None:
            return File(path=place, href=href(place, folder), size=size)
    return File(path=path, href=href(_absolute(path), folder), size=None)


def _places(path: Path, kept_in: Path) -> Iterable[Path]:
    yield _absolute(path)
    if not path.is_absolute():
        yield _absolute(kept_in / path)


def _absolute(path: Path) -> Path:
    """Return an absolute path without following links, as a browser resolves it."""
    return Path(os.path.abspath(path))  # noqa: PTH100  `resolve` would follow links


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size if path.is_file() else None
    except OSError:
        return None


def href(path: Path, folder: Path) -> str:
    """Return the address of an absolute path for a page in a folder."""
    try:
        relative = Path(os.path.relpath(path, folder))
    except ValueError:  # on another drive
        return path.as_uri()
    # Without the dot, a name with a colon would be taken for a URL scheme.
    return "./" + quote_from_bytes(os.fsencode(relative.as_posix()), safe="/")
