"""The files that the server serves: videos, audio and covers, whole or in part."""

from __future__ import annotations

import hashlib
import logging
import mimetypes
import re
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path

from attrs import field, frozen

from suno_video_async.local.exchange import FilePart, Reply, ServerRequest
from suno_video_async.observability.log import fields

PREFIX = "/media/"

_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII)
_log = logging.getLogger("suno_video_async.local")


@frozen
class MediaFile:
    """A file to serve: its bytes, or its path.

    Attributes:
        modified: Unix seconds.
        etag: in quotes, as the header has it.
        notes: what viewers should know.

    """

    content: bytes | Path = field(repr=False)
    size: int
    content_type: str
    modified: float
    etag: str
    notes: tuple[str, ...] = ()

    @classmethod
    def of_bytes(cls, content: bytes, content_type: str, modified: float) -> MediaFile:
        """Return a file that is held in memory."""
        etag = f'"{hashlib.sha256(content).hexdigest()[:24]}"'
        return cls(content, len(content), content_type, modified, etag)

    @classmethod
    def of_path(cls, path: Path, notes: tuple[str, ...] = ()) -> MediaFile:
        """Return a file on disk, which must not change from now on. Blocks."""
        found = path.stat()
        kind = mimetypes.guess_type(path.name, strict=False)[0] or "application/octet-stream"
        return cls(path, found.st_size, kind, found.st_mtime, f'"{found.st_mtime_ns:x}-{found.st_size:x}"', notes)


class MediaStore:
    """The files under `/media/`, some of them made only on request.

    Args:
        make_name: returns names that cannot be guessed.

    """

    def __init__(self, make_name: Callable[[], str]) -> None:
        self._make_name = make_name
        self._files: dict[str, MediaFile | Callable[[], MediaFile] | None] = {}
        self._expired: dict[str, int] = {}

    def add(self, file: MediaFile | Callable[[], MediaFile], suffix: str = "") -> str:
        """Give a file, or a blocking function that makes one, a path; return the path."""
        path = f"{PREFIX}{self._make_name()}{suffix}"
        self._files[path] = file
        return path

    def discard(self, path: str) -> None:
        """Stop serving a file."""
        self._files.pop(path, None)

    def renew(self, path: str, status: int) -> str:
        """Give a file another path, and return it; the old path answers with this HTTP status from now on."""
        file = self._files.pop(path, None)
        if file is None:
            return path
        self._expired[path] = status
        return self.add(file, Path(path).suffix)

    def forget_expired(self) -> None:
        """Forget which paths have expired: they become unknown ones."""
        self._expired.clear()

    def reply(self, request: ServerRequest) -> Reply | None:
        """Return the answer to a GET or HEAD, or None if there is no such file."""
        if request.path in self._expired:
            return _expired(request, self._expired[request.path])
        file = self._files.get(request.path)
        if isinstance(file, MediaFile):
            return answer(file, request)
        if file is None:
            return None
        return Reply(prepare=lambda: self._prepare(request.path, file))

    def _prepare(self, path: str, make: Callable[[], MediaFile]) -> None:
        try:
            self._files[path] = make()
        except Exception:  # on any error the file is missing and the server goes on
            _log.exception("a file of the library cannot be served", extra=fields("media_failed", path=path))
            self._files[path] = None


def _expired(request: ServerRequest, status: int) -> Reply:
    """Return the answer of an expired URL: a redirect leads to a page in place of the file."""
    if 300 <= status <= 399 and not request.query:
        return Reply(status=status, headers={"Location": f"{request.path}?expired=1"})
    kind = "text/html" if status <= 399 else "text/plain"
    return Reply(
        status=200 if status <= 399 else status,
        headers={"Content-Type": kind},
        body=b"this URL has expired\n",
    )


def answer(file: MediaFile, request: ServerRequest) -> Reply:
    """Return a file, or the part of it that a Range header asks for."""
    headers = {
        "Content-Type": file.content_type,
        "Accept-Ranges": "bytes",
        "ETag": file.etag,
        "Last-Modified": formatdate(file.modified, usegmt=True),
        "Cache-Control": "private, max-age=1209600",
    }
    wanted = _wanted(file, request, headers["Last-Modified"])
    if wanted is None:
        return _body(file, 0, file.size, Reply(status=200, headers=headers))
    start, end = wanted
    if start >= end:
        headers = {"Content-Range": f"bytes */{file.size}", "Content-Length": "0", "Accept-Ranges": "bytes"}
        return Reply(status=416, headers=headers)
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{file.size}"
    return _body(file, start, end, Reply(status=206, headers=headers))


def _wanted(file: MediaFile, request: ServerRequest, last_modified: str) -> tuple[int, int] | None:
    """Return the requested half-open range, empty if it lies outside the file; None for the whole file.

    A range of another form, several at once too, is ignored, as RFC 9110 allows.
    """
    match = _RANGE.fullmatch((request.header("Range") or "").strip())
    if match is None or request.method != "GET" or match[0] == "bytes=-":
        return None
    condition = request.header("If-Range")
    if condition is not None and condition.strip() not in (file.etag, last_modified):
        return None
    first, last = match[1][:18], match[2][:18]
    if not first:
        return max(0, file.size - int(last)), file.size
    if last and int(last) < int(first):
        return None
    return int(first), min(file.size, int(last) + 1) if last else file.size


def _body(file: MediaFile, start: int, end: int, reply: Reply) -> Reply:
    headers = {**reply.headers, "Content-Length": str(end - start)}
    if isinstance(file.content, bytes):
        return Reply(status=reply.status, headers=headers, body=file.content[start:end])
    return Reply(status=reply.status, headers=headers, part=FilePart(file.content, start, end - start))
