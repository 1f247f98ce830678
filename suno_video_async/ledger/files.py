"""The files of a ledger on disk: what is beside the database, and whether they are the ones that were opened.

The database file is opened by SQLite alone. POSIX drops all locks that a process has on a file when it closes
*any* descriptor of it; SQLite knows that, and keeps a descriptor open as long as one of its own connections has
a lock. That includes an `immutable` connection, which looks at the file without its log: it is as safe as any
other one.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

from attrs import define, field

from suno_video_async._util.filesystem import create_private, is_mount_point, network_file_system
from suno_video_async.ledger.copies import Counter, Facts, Mark

#: The name of the mark in `meta`.
MARK = "mark"


def log_of(path: Path) -> Path:
    """Return where SQLite keeps the write-ahead log of a database."""
    return path.with_name(path.name + "-wal")


def index_of(path: Path) -> Path:
    """Return where SQLite keeps the index of a write-ahead log, while anything has the database open."""
    return path.with_name(path.name + "-shm")


def counter_of(path: Path) -> Path:
    """Return where it is kept what a ledger was when it was last written."""
    return path.with_name(path.name + ".run")


def has_log(path: Path) -> bool:
    """Whether the log beside a database holds anything: a mere reader makes an empty log."""
    try:
        return log_of(path).stat().st_size > 0
    except OSError:
        return False


def read_counter(path: Path) -> Counter | None:
    """Return what was last written here, if that was kept."""
    try:
        return Counter.parse(counter_of(path).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def write_counter(path: Path, counter: Counter) -> None:
    """Keep what was last written, whole or not at all."""
    file_name = counter_of(path)
    new = file_name.with_name(file_name.name + ".new")
    create_private(new)
    with new.open("w", encoding="ascii") as file:
        file.write(f"{counter}\n")
        file.flush()
        os.fsync(file.fileno())
    new.replace(file_name)


def note_submissions(path: Path, counter: Counter) -> None:
    """Write a counter over the one of the same period, without a sync.

    A power cut may undo this, and what cannot be written stays as it was: an older counter only believes more than
    this one would.
    """
    with contextlib.suppress(OSError):
        descriptor = os.open(counter_of(path), os.O_WRONLY)
        try:
            os.write(descriptor, f"{counter}\n".encode("ascii"))
        finally:
            os.close(descriptor)


def read_mark(connection: sqlite3.Connection) -> Mark:
    """Return the mark that a connection sees."""
    found = connection.execute("SELECT value FROM meta WHERE name = ?", (MARK,)).fetchone()
    return Mark.parse(None if found is None else str(found[0]))


def mark_alone(path: Path) -> Mark | None:
    """Return the mark of the database file without its log, or None where it cannot be read alone."""
    if not path.exists():
        return Mark()
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
        with contextlib.closing(connection):
            begun = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone()
            return read_mark(connection) if begun else Mark()
    except sqlite3.DatabaseError:
        return None


def facts_of_place(path: Path) -> Facts:
    """Return what is to be known before a ledger is written there; nothing is made."""
    try:
        links = path.stat().st_nlink
    except OSError:
        links = 1
    return Facts(links=links, is_mount=is_mount_point(path), network=network_file_system(path.parent))


@define
class Identity:
    """Which files were opened, to see that they are still the ones that have their names."""

    _files: dict[Path, tuple[int, int]] = field(factory=dict[Path, tuple[int, int]], init=False)

    def keep(self, *paths: Path) -> None:
        """Take these files as they are now."""
        for path in paths:
            found = path.stat()
            self._files[path] = (found.st_dev, found.st_ino)

    def lost(self) -> tuple[Path, str] | None:
        """Return the first file that is not there any more, or is another one, and which of the two."""
        for path, known in self._files.items():
            try:
                found = path.stat()
            except OSError:
                return path, "is gone"
            if (found.st_dev, found.st_ino) != known:
                return path, "is another file"
        return None
