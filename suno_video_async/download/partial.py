"""The unfinished file of a download: how it is resumed, checked and renamed. All calls block."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import json
import os
import re
import stat
import sys
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

import aiohttp
from attrs import evolve, frozen

from suno_video_async._util.filesystem import boot_id, file_uri
from suno_video_async.download.filenames import marked
from suno_video_async.download.mp4 import mp4_problem
from suno_video_async.errors import DownloadError

_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18})", re.ASCII)

#: What the small file beside the unfinished one holds at most, in bytes.
_MOST_VERSION = 4096
_CHUNK = 1024 * 1024
#: How an operating system refuses to open a link, a folder, a pipe or a device as a plain file.
_NO_PLAIN_FILE = frozenset({errno.ELOOP, errno.EMLINK, errno.EISDIR, errno.ENXIO, errno.ENODEV, errno.EOPNOTSUPP})
#: How a file system says that it cannot sync this at all.
_NO_SYNC = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF})


@frozen(kw_only=True)
class Saved:
    """A video in its place.

    Attributes:
        path: the file; None in an object store.
        uri: the place as text: `file:///…`, or the URL in the store.
        sha256: of the whole video, if it was requested.

    """

    path: Path | None = None
    uri: str = ""
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
    """The unfinished file, and the small file beside it that names its version.

    The folder may be shared with others. So the file is opened without following a link, must be a plain file with
    no other name, and is read, written and checked through its descriptor, whatever happens to its name meanwhile.

    Args:
        path: of the finished file.
        mark: what the name is marked by if another file has it.

    """

    def __init__(self, path: Path, mark: str = "") -> None:
        self.target = path
        self.path: Path = path.with_name(path.name + ".part")
        self._mark = mark
        self._version_file = path.with_name(path.name + ".part.json")
        self._entity: Entity | None = None
        self._file: FileIO | None = None
        self._finished = False

    def open(self, url: str) -> Entity | None:
        """Lock the file, and return the version that it is a part of if the rest can be requested.

        Raises:
            DownloadError: another process is writing it, or something else has its name.

        """
        file = self._opened(url)
        if not (_locked(file.fileno()) and _has_name(file, self.path)):
            file.close()
            raise DownloadError(f"{self.target} is being downloaded by another process", url=url)
        self._file = file
        return self._read(file)

    def _opened(self, url: str) -> FileIO:
        try:
            if (file := self._open_plain()) is not None:
                return file
            if self._was_renamed_half():
                self.path.unlink()
                if (file := self._open_plain()) is not None:
                    return file
        except OSError as error:
            if error.errno not in _NO_PLAIN_FILE:
                raise
        raise DownloadError(f"{self.path} is not a plain file of its own: move it away", url=url)

    def _open_plain(self) -> FileIO | None:
        return open_plain(self.path, os.O_RDWR | os.O_CREAT)

    def _was_renamed_half(self) -> bool:
        """Whether a process ended in the middle of `_rename`: the video has both its names."""
        status = self.path.lstat()
        for target in itertools.islice(self._targets(), 5):
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(target.lstat(), status):
                    return True
        return False

    def _read(self, file: FileIO) -> Entity | None:
        try:
            version = open_plain(self._version_file, os.O_RDONLY)
            if version is None:
                return None
            with version:
                said = json.loads(version.read(_MOST_VERSION))
            entity, size = Entity(etag=said["etag"], length=said["length"]), file.seek(0, os.SEEK_END)
            # After a reboot, what was not synced may be lost.
            if not (isinstance(entity.etag, str) and isinstance(entity.length, int) and said["boot"] == boot_id()):
                return None
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return None
        if not 0 < size <= entity.length:
            return None
        self._entity = entity
        # If all bytes are here, the last one is fetched again: an empty range cannot be requested.
        return evolve(entity, start=min(size, entity.length - 1))

    def begin(self, entity: Entity, start: int) -> None:
        """Prepare for writing from `start` on."""
        file = self._opened_file
        if start == 0:
            # First remove the version: bytes of another version must never be taken for the rest of this one.
            self._version_file.unlink(missing_ok=True)
        file.truncate(start)
        file.seek(start)
        if start == 0 and entity.etag is not None and entity.length is not None:
            said = {"etag": entity.etag, "length": entity.length, "boot": boot_id()}
            with self._version_file.open("x", encoding="utf-8") as version:
                version.write(json.dumps(said))
        self._entity = entity

    def write(self, chunk: bytes) -> None:
        """Write the next bytes."""
        left = memoryview(chunk)
        while left:  # on an almost full disk, only a part is written
            left = left[self._opened_file.write(left) :]

    @property
    def _opened_file(self) -> FileIO:
        if self._file is None:
            raise ValueError("the unfinished file is not open")
        return self._file

    def forget(self) -> None:
        """Let the next attempt start from scratch."""
        self._entity = None

    def finish(self, url: str, sha256: bool) -> Saved:
        """Check the whole file and give it its name, or a marked one if another file has that."""
        file = self._opened_file
        if problem := mp4_problem(file):
            self.forget()
            raise DownloadError(f"the downloaded file is not a playable MP4: {problem}", url=url, temporary=True)
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest() if sha256 else None
        _sync(file.fileno())
        self._version_file.unlink(missing_ok=True)
        if not _has_name(file, self.path):
            raise DownloadError(f"{self.path} was replaced while it was written", url=url)
        target = next(target for target in self._targets() if self._move(file, target))
        self._finished = True
        _sync_folder(target.parent)
        return Saved(path=target, uri=file_uri(target), sha256=digest)

    def _targets(self) -> Iterator[Path]:
        """Yield names for the finished file: its own, then marked ones."""
        yield self.target
        for number in itertools.count(1):
            mark = self._mark if number == 1 else f"{self._mark} {number}"
            yield self.target.with_name(marked(self.target.name, mark))

    def _move(self, file: FileIO, target: Path) -> bool:
        """Give the file a name that no other file has; False if one has it, unless that is the same video."""
        if os.path.lexists(target):
            same = _same_content(file, target)  # that of a process that ended before it could say so
            if same:
                self._release_name(file)
                self.path.unlink()
            return same
        try:
            self._release_name(file)
            _rename(self.path, target)
        except FileExistsError:  # since a moment ago
            return False
        return True

    @staticmethod
    def _release_name(file: FileIO) -> None:
        if sys.platform == "win32":  # there the name of an open file cannot be changed
            file.close()

    def close(self, keep: bool) -> None:
        """Release the file, and delete what the next attempt cannot use."""
        file, self._file = self._file, None
        if file is None:
            return
        try:
            resumable = self._entity is not None and self._entity.etag is not None
            ours = not self._finished and (file.closed or _has_name(file, self.path))
            self._release_name(file)
            if ours and not (keep and resumable):
                self.path.unlink(missing_ok=True)
                self._version_file.unlink(missing_ok=True)
        finally:
            file.close()


def is_free(path: Path) -> bool:
    """Whether a download to a path meets no file there, and none that is in the way of `.part`."""
    if os.path.lexists(path):
        return False
    unfinished = path.with_name(path.name + ".part")
    try:
        part = open_plain(unfinished, os.O_RDWR)
    except OSError:
        return not os.path.lexists(unfinished)
    if part is None:
        return False
    with part:  # of a download that broke off, unless it is locked
        return _locked(part.fileno())


def open_plain(path: Path, flags: int) -> FileIO | None:
    """Open a file, but follow no link and wait for nothing; None if it is not a plain one, or has another name.

    Raises:
        OSError: it cannot be opened.

    """
    # Some of these exist on some systems only; without them, what was opened is still looked at.
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):
        flags |= getattr(os, name, 0)
    descriptor = os.open(path, flags, 0o666)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(descriptor)
        return None
    return FileIO(descriptor, "r+b" if flags & os.O_RDWR else "rb")


def _has_name(file: FileIO, path: Path) -> bool:
    """Whether an open file still has its name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.lstat())
    except FileNotFoundError:
        return False


def _rename(part: Path, target: Path) -> None:
    """Rename a file, but never over another one.

    Raises:
        FileExistsError: there is one.

    """
    if sys.platform == "win32":
        part.rename(target)
        return
    try:
        os.link(part, target, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:  # a file system where a file has one name only: an empty file takes it first
        os.close(os.open(target, os.O_CREAT | os.O_EXCL, 0o666))
        part.replace(target)
    else:
        part.unlink()


def _same_content(file: FileIO, target: Path) -> bool:
    """Whether another file is the same video."""
    try:
        other = open_plain(target, os.O_RDONLY)
    except OSError:  # a link, a folder
        return False
    if other is None:
        return False
    with other:
        if file.seek(0, os.SEEK_END) != other.seek(0, os.SEEK_END):
            return False
        file.seek(0)
        other.seek(0)
        while chunk := file.read(_CHUNK):
            if other.read(len(chunk)) != chunk:
                return False
    return True


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


def _sync(descriptor: int) -> None:
    """Make what was written survive a power cut, if that is possible here."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut, if folders can be synced here; the video is there in any case."""
    if hasattr(os, "O_DIRECTORY"):
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except PermissionError:  # one may write into it, but not list it
            return
        try:
            _sync(descriptor)
        finally:
            os.close(descriptor)
