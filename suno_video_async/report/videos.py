"""The videos on disk: where a page finds them, and a still of each."""

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
        path: where it is looked for.
        href: its address for the page, percent-encoded: relative to the page's folder where that is possible.
        size: in bytes; None where it is not there.

    """

    path: Path
    href: str
    size: int | None


def files(facts: Facts, *, page: Path) -> Mapping[int, File]:
    """Return the files of the rows that have one, by the rows' numbers. Blocks.

    A path that is not absolute is looked for from here, then from the ledger's folder: runs keep it as named.

    Args:
        facts: what the ledger tells.
        page: where the page will be.

    """
    folder = _absolute(page).parent
    known = ((item.row.id, item.row.path) for item in facts.items)
    return {number: _file(path, facts.ledger, folder) for number, path in known if path is not None}


def _file(path: Path, ledger: Path, folder: Path) -> File:
    for place in _places(path, ledger):
        if (size := _size(place)) is not None:
            return File(path=place, href=href(place, folder), size=size)
    return File(path=path, href=href(_absolute(path), folder), size=None)


def _places(path: Path, ledger: Path) -> Iterable[Path]:
    yield _absolute(path)
    if not path.is_absolute():
        yield _absolute(ledger.parent / path)


def _absolute(path: Path) -> Path:
    """Return a path from the root, by its names alone as a browser goes: links are not followed."""
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
    # A name with a colon in it would be taken for a scheme without the dot.
    return "./" + quote_from_bytes(os.fsencode(relative.as_posix()), safe="/")
