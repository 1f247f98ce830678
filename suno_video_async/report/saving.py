"""Writes a report's file: atomically, and never over a file that is not a report."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from suno_video_async._util.filesystem import private
from suno_video_async.report.page import GENERATOR

#: The suffixes of a ledger's own files.
_BESIDE = ("", "-wal", "-shm", ".lock")
_READ = 2_000


class NotOursError(Exception):
    """The file may not be replaced; the message says why."""


def check_place(place: Path, ledger: Path | None, *, force: bool) -> None:
    """Refuse to overwrite a file that is not a report. Blocks.

    Raises:
        NotOursError: the place is a folder, one of the ledger's files, or another program's file without `force`.
        OSError: it cannot be read.

    """
    if place.is_dir():
        raise NotOursError(f"{place} is a folder: name a file for the report")
    if place.exists() and not place.is_file():
        raise NotOursError(f"{place} is not a regular file: name one for the report, or - for stdout")
    if ledger is not None and _belongs_to(place, ledger):
        raise NotOursError(f"{place} belongs to the ledger: name another file for the report")
    if place.exists() and not force and not is_report(place):
        raise NotOursError(f"{place} exists and is not a report: name another file, or pass --force")


def _belongs_to(place: Path, ledger: Path) -> bool:
    real, kept = place.resolve(), ledger.resolve()
    same = place.exists() and ledger.exists() and place.samefile(ledger)
    return same or real in {kept.with_name(kept.name + suffix) for suffix in _BESIDE}


def is_report(place: Path) -> bool:
    """Whether a file is a report of this program, or empty. Blocks."""
    with place.open("rb") as file:
        head = file.read(_READ)
    return not head or f'<meta name="generator" content="{GENERATOR}">'.encode() in head


def write(text: str, place: Path) -> int:
    """Write a report's file atomically, and return its size in bytes. Blocks.

    Raises:
        OSError: it cannot be written; an existing file is kept.

    """
    place = place.resolve()  # a link stays a link
    part = place.with_name(f".{place.name}.{os.getpid()}.part")
    encoded = text.encode()
    try:
        with open(part, "xb", opener=private) as file:
            file.write(encoded)
        part.replace(place)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
    return len(encoded)
