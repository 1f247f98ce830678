"""The covers of the built-in songs: each its own design."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

from suno_video_async.lyricvideo.songs.canvas import Canvas
from suno_video_async.lyricvideo.songs.figures import abstract, bauhaus, lanterns, moon
from suno_video_async.lyricvideo.songs.landscapes import aurora, dunes, forest, harbour, islands, morning

DESIGNS: Final[dict[str, Callable[[Canvas], None]]] = {
    "harbour": harbour,
    "aurora": aurora,
    "islands": islands,
    "forest": forest,
    "morning": morning,
    "dunes": dunes,
    "moon": moon,
    "lanterns": lanterns,
    "bauhaus": bauhaus,
}


def draw_cover(design: str, path: Path) -> None:
    """Write a design as a JPEG; an unknown name gets an abstract cover of its own, the same every time."""
    canvas = Canvas(seed=zlib.crc32(design.encode()))
    DESIGNS.get(design, abstract)(canvas)
    canvas.image().save(path, "JPEG", quality=94, subsampling=0)
