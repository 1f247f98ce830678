"""What a catalog's bytes are: packed or not, text or a binary format, in which encoding; names decide nothing."""

from __future__ import annotations

import codecs
import gzip
import io
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from typing import IO, TypeAlias, cast

from attrs import frozen

from suno_video_async.errors import CatalogError

#: Enough to know every format by.
_HEAD = 16
_BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16's, which it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_GZIP, _ZIP, _PARQUET = b"\x1f\x8b", b"PK\x03\x04", b"PAR1"
#: What else arrives under the name of a catalog, and what to do.
_FOREIGN = {
    b"\xd0\xcf\x11\xe0": (
        "an old Excel file (.xls), or has a password",
        "save it as .xlsx without a password",
    ),
    b"%PDF": ("a PDF", "export the table itself as CSV"),
    b"SQLite format 3\0": (
        "an SQLite database",
        "a ledger is named with --ledger; the catalog is the list of tracks",
    ),
    b"BZh": ("packed with bzip2", "unpack it, or pack it with gzip"),
    b"\xfd7zXZ": ("packed with xz", "unpack it, or pack it with gzip"),
    b"\x28\xb5\x2f\xfd": ("packed with zstd", "unpack it, or pack it with gzip"),
    b"7z\xbc\xaf": ("a 7-Zip archive", "unpack it"),
    b"ARROW1": ("an Arrow file", "save it as Parquet"),
}


@frozen
class Workbook:
    """An `.xlsx` file, which can be sought in."""

    file: IO[bytes]


@frozen
class Columnar:
    """A Parquet file, which can be sought in."""

    file: IO[bytes]


Content: TypeAlias = "Workbook | Columnar | io.TextIOWrapper"


class _Prefixed(io.RawIOBase):
    """A stream with what was read of it put back before it."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self._head, self._rest = head, rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast("bytearray", buffer))
        data = self._head[: len(view)] or _some(self._rest, len(view))
        self._head = self._head[len(data) :]
        view[: len(data)] = data
        return len(data)


@contextmanager
def opened(file: IO[bytes], encoding: str | None, location: str) -> Generator[Content, None, None]:
    """Give what is in a file that has just been opened for reading, unbuffered.

    Raises:
        CatalogError: it is something that is not a catalog, or in an encoding that must be named.

    """
    stream, head = _begun(file)
    packed = head.startswith(_GZIP)
    if packed:
        stream, head = _begun(cast("IO[bytes]", gzip.GzipFile(fileobj=stream)))
    if head.startswith((_PARQUET, _ZIP)):
        with _seekable(stream, file, packed=packed) as binary:
            yield Columnar(binary) if head.startswith(_PARQUET) else Workbook(binary)
        return
    for magic, (what, fix) in _FOREIGN.items():
        if head.startswith(magic):
            raise CatalogError(f"is {what}", location=location, fix=fix)
    marked = next((name for bom, name in _BOMS.items() if head.startswith(bom)), None)
    if marked is None and encoding is None and b"\0" in head:
        raise CatalogError(
            "is not UTF-8 text: it contains NUL bytes",
            location=location,
            fix="if it is UTF-16 without a byte order mark, say --encoding utf-16-le or utf-16-be",
        )
    yield io.TextIOWrapper(stream, encoding=marked or encoding or "utf-8", newline="")


def text_encoding(name: str) -> str:
    """Return a text encoding's own name.

    Raises:
        ValueError: Python knows no such encoding of text.

    """
    try:
        "".encode(name)
        return codecs.lookup(name).name
    except (LookupError, UnicodeError, TypeError, ValueError) as error:
        raise ValueError(f"{name!r} is not a text encoding, such as cp1252 or utf-16-le") from error


def _begun(file: IO[bytes]) -> tuple[io.BufferedReader, bytes]:
    """Return a stream and its first bytes, which are still to be read from it."""
    head = b""
    while len(head) < _HEAD and (more := _some(file, _HEAD - len(head))):
        head += more
    return io.BufferedReader(_Prefixed(head, file), 64 * 1024), head


def _some(file: IO[bytes], most: int) -> bytes:
    """Read what is there, without waiting for more."""
    if isinstance(file, io.BufferedIOBase):
        return file.read1(most)
    return file.read(most) or b""


@contextmanager
def _seekable(stream: IO[bytes], file: IO[bytes], *, packed: bool) -> Generator[IO[bytes], None, None]:
    if file.seekable() and not packed:
        file.seek(0)
        with io.BufferedReader(cast("io.RawIOBase", file)) as buffered:
            yield cast("IO[bytes]", buffered)
        return
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(stream, copy)
        copy.seek(0)
        yield cast("IO[bytes]", copy)
