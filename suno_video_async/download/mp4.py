"""Checks that an MP4 file can be played: its structure is whole, and the pictures and sounds it lists are in it.

A file is a row of boxes, each with a length and a kind. `moov` describes the tracks: how long each sample is, how
many of them form a chunk, and where in the file each chunk begins. A fragmented file describes some of its samples
in each `moof` instead. The samples themselves lie in `mdat`. Nothing is decoded: what is checked is that every
chunk lies within the file and is not blank (ISO/IEC 14496-12, sections 4.2, 8.7 and 8.8).

The file may come from anywhere: the time that this takes grows with its size, and no box makes it longer.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO

from attrs import define, field, frozen

_NEEDED = frozenset({b"ftyp", b"moov", b"mdat"})
#: A video has a handful of boxes, a fragmented one some thousands; a file with more is not a video.
MOST_BOXES = 100_000
#: The largest description of tracks that is read, in bytes: that of a day of video is smaller.
MOST_INDEX = 32 * 1024 * 1024
#: Interleaved tracks have a chunk or two a second, or one an access; a file with more is not a video.
MOST_CHUNKS = 1_000_000
#: Bytes behind the last box that do not matter: some services append a signature, and some pad to whole blocks.
MOST_TAIL = 4096
#: Bytes at either end of a chunk that tell whether it is blank.
_LOOK = 64

# Flags of `tfhd` and `trun`: which optional fields are there.
_BASE, _DESCRIPTION, _DURATION, _SIZE = 0x1, 0x2, 0x8, 0x10
_MOOF_IS_BASE = 0x20000
_OFFSET, _FIRST_FLAGS, _RUN_DURATION, _RUN_SIZE, _RUN_FLAGS, _RUN_COMPOSITION = (
    0x1,
    0x4,
    0x100,
    0x200,
    0x400,
    0x800,
)


class _NotPlayable(Exception):  # noqa: N818  a finding, not an error
    """What is wrong with the file."""


@frozen
class _Chunk:
    """Some samples of a track that lie together: where, how many bytes, and whether they are pictures.

    The length is 0 where it is not needed: behind such a chunk there is another one of the track.
    """

    start: int
    length: int = 0
    is_video: bool = True


def mp4_problem(file: BinaryIO) -> str | None:
    """Return why an MP4 file cannot be played, or None. Blocks."""
    size, number = file.seek(0, 2), 0
    try:
        for number, chunk in enumerate(_chunks(file, size), 1):
            if number > MOST_CHUNKS:
                return f"it has over {MOST_CHUNKS} chunks"
            _check(file, chunk, size)
    except _NotPlayable as found:
        return str(found)
    return None if number else "no track has samples"


def _check(file: BinaryIO, chunk: _Chunk, size: int) -> None:
    if not 0 <= chunk.start <= size - (chunk.length or 1):
        raise _NotPlayable(f"the samples at {chunk.start} do not end within the file")
    if chunk.is_video:  # silence may be all zeros, but no picture is
        look = min(chunk.length or _LOOK, _LOOK)
        for start in (chunk.start, chunk.start + max(0, chunk.length - look)):
            file.seek(start)
            if not any(file.read(look)):
                raise _NotPlayable(f"the samples at {start} are blank")


def _chunks(file: BinaryIO, size: int) -> Iterator[_Chunk]:
    """Yield where samples lie, by what the boxes say."""
    seen, fragmented = set[bytes](), _Fragmented()
    for kind, start, body, end in _top_level(file, size, seen):
        if kind == b"moov" and kind not in seen:
            moov = _read(file, body, end)
            for trak in _within(moov, b"trak"):
                yield from _chunks_of(_first(trak, b"mdia", b"minf", b"stbl"), _is_video(trak))
            fragmented = _Fragmented.of(moov)
        elif kind == b"moof":
            yield from fragmented.chunks(_read(file, body, end), start)
        seen.add(kind)
    if missing := sorted(kind.decode() for kind in _NEEDED - seen):
        raise _NotPlayable(f"no {', '.join(missing)}")


def _top_level(file: BinaryIO, size: int, seen: set[bytes]) -> Iterator[tuple[bytes, int, int, int]]:
    """Yield the kind of each box of the file, where it begins, where its content begins, and where it ends."""
    position = boxes = 0
    while position < size:
        file.seek(position)
        header = file.read(16)
        length, kind = int.from_bytes(header[:4]), header[4:8]
        least = 8
        if length == 1:
            length, least = int.from_bytes(header[8:16]), 16
        elif length == 0:
            length = size - position
        if position == 0 and kind != b"ftyp":
            raise _NotPlayable(f"it begins with {header[:8]!r}")
        if length < least or position + length > size:
            if size - position <= MOST_TAIL and seen >= _NEEDED:
                return
            raise _NotPlayable(f"the box {kind!r} does not end within the file")
        boxes += 1
        if boxes > MOST_BOXES:
            raise _NotPlayable(f"it has over {MOST_BOXES} boxes")
        yield kind, position, position + least, position + length
        position += length


def _read(file: BinaryIO, start: int, end: int) -> memoryview:
    if end - start > MOST_INDEX:
        raise _NotPlayable(f"its description of the tracks is larger than {MOST_INDEX} bytes")
    file.seek(start)
    return memoryview(file.read(end - start))


def _within(content: memoryview, *path: bytes) -> Iterator[memoryview]:
    """Yield what is in the boxes of the last kind, each within boxes of those before; a broken box ends it."""
    kind, *rest = path
    while len(content) >= 8:
        length, least = int.from_bytes(content[:4]), 8
        if length == 1:
            length, least = int.from_bytes(content[8:16]), 16
        elif length == 0:
            length = len(content)
        if not least <= length <= len(content):
            return
        if bytes(content[4:8]) == kind:
            found = content[least:length]
            if rest:
                yield from _within(found, *rest)
            else:
                yield found
        content = content[length:]


def _first(content: memoryview, *path: bytes) -> memoryview:
    return next(_within(content, *path), memoryview(b""))


def _number(content: memoryview, position: int, width: int = 4) -> int:
    """Return a number; 0 if the content ends before it."""
    field_ = content[position : position + width]
    return int.from_bytes(field_) if len(field_) == width else 0


def _numbers(content: memoryview, position: int, count: int, width: int = 4) -> Iterator[int]:
    """Yield the numbers of a table, as far as they are there."""
    there = max(0, len(content) - position) // width
    table = content[position : position + min(count, there) * width]
    return (number for (number,) in struct.iter_unpack(">Q" if width == 8 else ">I", table))


def _is_video(trak: memoryview) -> bool:
    return bytes(_first(trak, b"mdia", b"hdlr")[8:12]) == b"vide"


def _chunks_of(table: memoryview, is_video: bool) -> Iterator[_Chunk]:
    """Yield the chunks of a track: of the last one the whole extent, of the others where they begin."""
    offsets, width = _first(table, b"stco"), 4
    if not offsets:
        offsets, width = _first(table, b"co64"), 8
    chunks = min(_number(offsets, 4), max(0, len(offsets) - 8) // width)
    samples = _number(_first(table, b"stsz") or _first(table, b"stz2"), 8)
    if not chunks or not samples:
        return
    starts = _numbers(offsets, 8, chunks, width)
    for start in islice(starts, chunks - 1):
        yield _Chunk(start, is_video=is_video)
    length = _length_of_last(table, samples, min(samples, _samples_in_last(table)))
    for start in starts:
        yield _Chunk(start, length, is_video)


def _samples_in_last(table: memoryview) -> int:
    """Return how many samples the last chunk has: what the last entry says applies to all chunks from there on."""
    entries = _first(table, b"stsc")
    count = min(_number(entries, 4), (len(entries) - 8) // 12)
    return _number(entries, 8 + 12 * (count - 1) + 4) if count > 0 else 1


def _length_of_last(table: memoryview, samples: int, last: int) -> int:
    """Return how many bytes the last samples of a track have."""
    sizes = _first(table, b"stsz")
    if not sizes:  # the compact table, of 4, 8 or 16 bits a sample: the largest that they can be does not matter
        return 0
    if every := _number(sizes, 4):
        return every * last
    if len(sizes) < 12 + 4 * samples:
        raise _NotPlayable("the table of sample sizes is cut off")
    return sum(_numbers(sizes, 12 + 4 * (samples - last), last))


@define
class _Fragmented:
    """What `moov` says of all fragments: the usual size of a track's samples, and which tracks are video."""

    sizes: dict[int, int] = field(factory=dict[int, int])
    videos: set[int] = field(factory=set[int])

    @classmethod
    def of(cls, moov: memoryview) -> _Fragmented:
        """Read it."""
        sizes = {_number(trex, 4): _number(trex, 16) for trex in _within(moov, b"mvex", b"trex")}
        headers = (_first(trak, b"tkhd") for trak in _within(moov, b"trak") if _is_video(trak))
        return cls(sizes, {_number(tkhd, 20 if bytes(tkhd[:1]) == b"\x01" else 12) for tkhd in headers})

    def chunks(self, moof: memoryview, base: int) -> Iterator[_Chunk]:
        """Yield the runs of samples that a fragment describes, which begins at `base`."""
        position = base
        for traf in _within(moof, b"traf"):
            tfhd = _first(traf, b"tfhd")
            flags, track = _number(tfhd, 0), _number(tfhd, 4)
            at, start = 8, base if flags & _MOOF_IS_BASE else position
            if flags & _BASE:
                start, at = _number(tfhd, at, 8), at + 8
            at += 4 * (bool(flags & _DESCRIPTION) + bool(flags & _DURATION))
            default = _number(tfhd, at) if flags & _SIZE else self.sizes.get(track, 0)
            position = start
            for trun in _within(traf, b"trun"):
                run = _run(trun, start, position, default)
                position = run.start + run.length
                if run.length:
                    yield _Chunk(run.start, run.length, track in self.videos)


def _run(trun: memoryview, base: int, position: int, default: int) -> _Chunk:
    """Return where the samples of a run lie: from its own offset on, or behind those of the run before."""
    flags, count, at = _number(trun, 0), _number(trun, 4), 8
    if flags & _OFFSET:
        offset = _number(trun, at)
        position, at = base + offset - (offset >> 31 << 32), at + 4  # it has a sign
    at += 4 * bool(flags & _FIRST_FLAGS)
    if not flags & _RUN_SIZE:
        return _Chunk(position, default * count)
    fields = [bool(flags & one) for one in (_RUN_DURATION, _RUN_SIZE, _RUN_FLAGS, _RUN_COMPOSITION)]
    numbers = islice(_numbers(trun, at, count * sum(fields)), fields[0], None, sum(fields))
    return _Chunk(position, sum(numbers))
