"""One writer at a time: an operating system's lock on a file of its own, which names its holder."""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path
from weakref import WeakSet

from suno_video_async._util.filesystem import create_private
from suno_video_async.errors import LedgerError

#: What the name of a ledger's lock ends with.
LOCK_SUFFIX = ".lock"


def lock_of(ledger: Path) -> Path:
    """Return where the lock of a ledger is."""
    return ledger.with_name(ledger.name + LOCK_SUFFIX)


class WriterLock:
    """Held while a ledger is open for writing; it goes with its process, however that ends.

    The lock is on `NAME.lock`, never on the database: closing any other descriptor of a locked file would drop
    SQLite's own locks.
    """

    def __init__(self, ledger: Path, shown: Path | None = None) -> None:
        self.path: Path = lock_of(ledger)
        self._ledger = shown or ledger
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            LedgerError: another process has it, or the folder cannot be written.

        """
        try:
            create_private(self.path)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise LedgerError(
                f"the ledger {self._ledger} cannot be written: {error.strerror}", fix="choose another place for it"
            ) from error
        try:
            _lock(descriptor)
        except OSError:
            holder = _holder(descriptor)
            os.close(descriptor)
            raise LedgerError(
                f"the ledger {self._ledger} is being written by {holder}", fix="wait for it to end"
            ) from None
        try:
            os.truncate(descriptor, 0)
            os.write(descriptor, json.dumps({"pid": os.getpid(), "host": platform.node()}).encode())
        except OSError as error:
            os.close(descriptor)
            raise LedgerError(f"the ledger {self._ledger} cannot be written: {error.strerror}") from error
        self._descriptor = descriptor
        _held.add(self)

    def release(self) -> None:
        """Give the lock back; the file stays, or another process could lock a file that is gone."""
        _held.discard(self)
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def held_by(ledger: Path) -> str | None:
    """Return who writes a ledger at present, in words, or None; nothing is made where there is no lock file."""
    try:
        descriptor = os.open(lock_of(ledger.resolve()), os.O_RDWR)
    except OSError:
        return None  # a writer has made the file, and this user may write it
    try:
        _lock(descriptor)
    except OSError:
        return _holder(descriptor)
    finally:
        os.close(descriptor)
    return None


#: The locks that this process holds.
_held = WeakSet[WriterLock]()


def let_go_in_child() -> None:
    """Close what a fork has copied: a child that outlives its parent would keep the ledger locked."""
    for held in tuple(_held):
        held.release()


if hasattr(os, "register_at_fork"):  # pragma: no branch  Windows has no fork
    os.register_at_fork(after_in_child=let_go_in_child)


def _holder(descriptor: int) -> str:
    try:
        said = json.loads(os.read(descriptor, 1000))
        return f"process {said['pid']} on {said['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        # Far behind the text, which others must be able to read.
        os.lseek(descriptor, 1 << 20, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
