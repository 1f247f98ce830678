"""Checks the structure of an MP4 file, to find out whether it is complete."""

from __future__ import annotations

from pathlib import Path

_NEEDED = {b"ftyp", b"moov", b"mdat"}
#: A video has a handful of boxes, a fragmented one some thousands; a file with more is not a video.
MOST_BOXES = 100_000


def mp4_problem(path: Path) -> str | None:
    """Return what is wrong with the structure of an MP4 file, or None. Blocks.

    Every top-level box must lie within the file, `ftyp` must be the first, and `moov` and `mdat` must be there.
    """
    size, position, seen, boxes = path.stat().st_size, 0, set[bytes](), 0
    with path.open("rb") as file:
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
                return f"it begins with {header[:8]!r}"
            if length < least or position + length > size:
                return f"the box {kind!r} does not end within the file"
            boxes += 1
            if boxes > MOST_BOXES:
                return f"it has over {MOST_BOXES} boxes"
            seen.add(kind)
            position += length
    missing = sorted(kind.decode() for kind in _NEEDED - seen)
    return f"no {', '.join(missing)}" if missing else None
