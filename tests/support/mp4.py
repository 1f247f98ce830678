"""Small MP4 files, whole and broken."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from pathlib import Path

from suno_video_async.download.mp4 import mp4_problem
from suno_video_async.download.partial import Saved


def box(kind: bytes, *bodies: bytes) -> bytes:
    """Return one box of an MP4 file."""
    body = b"".join(bodies)
    return (8 + len(body)).to_bytes(4) + kind + body


def numbers(*values: int) -> bytes:
    """Return numbers as the boxes have them."""
    return struct.pack(f">{len(values)}I", *values)


def trak(
    chunks: Sequence[int], sizes: bytes, *, per_chunk: int = 1, kind: bytes = b"vide", wide: bool = False
) -> bytes:
    """Return the description of a track.

    Args:
        chunks: where they begin.
        sizes: the box of sample sizes.
        per_chunk: samples of a chunk.
        kind: "vide" or "soun".
        wide: whether the places of the chunks have 64 bits.

    """
    if wide:
        places = box(b"co64", numbers(0, len(chunks)), struct.pack(f">{len(chunks)}Q", *chunks))
    else:
        places = box(b"stco", numbers(0, len(chunks), *chunks))
    stbl = box(b"stbl", sizes, box(b"stsc", numbers(0, 1, 1, per_chunk, 1)), places)
    handler = box(b"hdlr", numbers(0, 0), kind, bytes(13))
    return box(b"trak", box(b"tkhd", numbers(0, 0, 0, 1)), box(b"mdia", handler, box(b"minf", stbl)))


def sizes_of(*samples: int, every: int = 0) -> bytes:
    """Return the box of sample sizes; if all have the same one, `every` and how many there are."""
    return box(b"stsz", numbers(0, every, *samples) if every else numbers(0, 0, len(samples), *samples))


FTYP = box(b"ftyp", b"isom")
#: Where the media of a film of these parts begin: right behind the header of `mdat`.
START = len(FTYP) + 8


def film(media: bytes, *tracks: bytes) -> bytes:
    """Return a whole file whose media come before their description."""
    return FTYP + box(b"mdat", media) + box(b"moov", *tracks)


def movie(media: bytes = b"d" * 500) -> bytes:
    """Return a film of one picture."""
    return film(media, trak([START], sizes_of(len(media))))


def problem_of(content: bytes | Path) -> str | None:
    """Return what is wrong with a file."""
    return mp4_problem(io.BytesIO(content if isinstance(content, bytes) else content.read_bytes()))


def path_of(saved: Saved) -> Path:
    """Return the file of a video that was saved to a folder."""
    assert saved.path is not None
    return saved.path
