"""The unfinished file of a download: how it is resumed, checked and renamed. All calls block."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from io import FileIO
from pathlib import Path

import aiohttp
from attrs import evolve, frozen

from suno_video_async._util.filesystem import boot_id
from suno_video_async.download.mp4 import mp4_problem
from suno_video_async.errors import DownloadError

_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18})", re.ASCII)


@frozen(kw_only=True)
class Saved:
    """A video on disk.

    Attributes:
        sha256: of the whole file, if it was requested.

    """

    path: Path
    sha256: str | None = None


@frozen(kw_only=True)
class Entity:
    """One version of a file at the server, and how much of it was received.

    Attributes:
        etag: its strong ETag; None if this version cannot be requested again.
        length: in bytes, if the server says so.
        start: the position of the first missing byte.

    """

    etag: str | None
    length: int | None
    start: int = 0

    @classmethod
    def of(cls, response: aiohttp.ClientResponse) -> Entity:
        etag = response.headers.get("ETag", "")
        strong = re.fullmatch(r'"[^"\\\x00-\x1f\x7f]{1,200}"', etag) is not None
        return cls(etag=etag if strong else None, length=response.content_length)

    def is_answered_by(self, response: aiohttp.ClientResponse) -> bool:
        """Whether an answer holds the missing part of the same version."""
        match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        found = (int(match[1]), int(match[2])) if match else None
        return found == (self.start, self.length) and response.headers.get("ETag", self.etag) == self.etag

    @property
    def range_headers(self) -> dict[str, str]:
        return {"Range": f"bytes={self.start}-", "If-Range": self.etag or ""}


class PartFile:
    """The unfinished file, and the small file beside it that names its version."""

    def __init__(self, path: Path) -> None:
        self.target = path
        self.path: Path = path.with_name(path.name + ".part")
        self._version_file = path.with_name(path.name + ".part.json")
        self._entity: Entity | None = None
        self._file: FileIO | None = None
        self._lock: int | None = None
        self._taken = self._finished = False

    def open(self, url: str) -> Entity | None:
        """Lock the file, and return the version that it is a part of if the rest can be requested.

        Raises:
            DownloadError: another process is writing it.

        """
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        if not (_locked(descriptor) and self._is_there(descriptor)):
            os.close(descriptor)
            raise DownloadError(f"{self.target} is being downloaded by another process", url=url)
        if sys.platform == "win32":  # there an open file cannot be renamed
            os.close(descriptor)
        else:
            self._lock = descriptor
        self._taken = True
        return self._read()

    def _is_there(self, descriptor: int) -> bool:
        """Whether the opened file is still the unfinished one, not renamed in the meantime."""
        try:
            return os.path.samestat(os.fstat(descriptor), self.path.stat())
        except FileNotFoundError:
            return False

    def _read(self) -> Entity | None:
        try:
            said = json.loads(self._version_file.read_text(encoding="utf-8"))
            entity, size = Entity(etag=said["etag"], length=said["length"]), self.path.stat().st_size
            # After a reboot, what was not synced may be lost.
            if not (isinstance(entity.etag, str) and isinstance(entity.length, int) and said["boot"] == boot_id()):
                return None
        except (OSError, ValueError, TypeError, KeyError):
            return None
        if not 0 < size <= entity.length:
            return None
        self._entity = entity
        # If all bytes are here, the last one is fetched again: an empty range cannot be requested.
        return evolve(entity, start=min(size, entity.length - 1))

    def begin(self, entity: Entity, start: int) -> None:
        """Prepare for writing from `start` on."""
        if start == 0:
            # First remove the version: bytes of another version must never be taken for the rest of this one.
            self._version_file.unlink(missing_ok=True)
            self.path.open("wb").close()
            if entity.etag is not None and entity.length is not None:
                said = {"etag": entity.etag, "length": entity.length, "boot": boot_id()}
                self._version_file.write_text(json.dumps(said), encoding="utf-8")
        else:
            os.truncate(self.path, start)
        self._file = self.path.open("r+b", buffering=0)
        self._file.seek(start)
        self._entity = entity

    def write(self, chunk: bytes) -> None:
        """Write the next bytes."""
        if self._file is not None:
            left = memoryview(chunk)
            while left:  # on an almost full disk, only a part is written
                left = left[self._file.write(left) :]

    def _end_writing(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def forget(self) -> None:
        """Let the next attempt start from scratch."""
        self._entity = None

    def finish(self, url: str, sha256: bool) -> Saved:
        """Check the whole file and rename it."""
        self._end_writing()
        if problem := mp4_problem(self.path):
            self.forget()
            raise DownloadError(f"the downloaded file is not a playable MP4: {problem}", url=url, temporary=True)
        with self.path.open("rb+") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest() if sha256 else None
            os.fsync(file.fileno())
        self._version_file.unlink(missing_ok=True)
        self.path.replace(self.target)
        self._finished = True
        _sync_folder(self.target.parent)
        return Saved(path=self.target, sha256=digest)

    def close(self, keep: bool) -> None:
        """Release the file, and delete what the next attempt cannot use."""
        if not self._taken:
            return
        try:
            self._end_writing()
            resumable = self._entity is not None and self._entity.etag is not None
            if not self._finished and not (keep and resumable):
                self.path.unlink(missing_ok=True)
                self._version_file.unlink(missing_ok=True)
        finally:
            if self._lock is not None:
                os.close(self._lock)


def _locked(descriptor: int) -> bool:
    """Lock a file until this process ends; False if another process holds the lock."""
    if sys.platform != "win32":
        import fcntl  # noqa: PLC0415  not everywhere

        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks
            return True
    return True


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut, if folders can be synced here."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
