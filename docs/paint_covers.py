"""Paint the covers of the built-in songs: `python docs/paint_covers.py` writes the package's pictures.

It needs the `local` extra. The painters are in `covers/`; the same painter paints the same picture every time.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Final

from covers.canvas import Canvas
from covers.figures import bauhaus, lanterns, moon
from covers.landscapes import aurora, dunes, forest, harbour, islands, morning

from suno_video_async.lyricvideo.songs import picture

PAINTERS: Final[tuple[Callable[[Canvas], None], ...]] = (
    harbour,
    aurora,
    islands,
    forest,
    morning,
    dunes,
    moon,
    lanterns,
    bauhaus,
)
#: About 211 kB for all nine. No steps show in the gradients; from 80 up, WebP keeps the grain, at twice the size.
QUALITY: Final = 65


def main() -> None:
    """Paint all covers."""
    total = 0
    for paint in PAINTERS:
        canvas = Canvas(seed=zlib.crc32(paint.__name__.encode()))
        paint(canvas)
        path = picture(paint.__name__)
        canvas.image().save(path, "WEBP", quality=QUALITY, method=6)
        total += path.stat().st_size
        print(f"{path.name}: {path.stat().st_size:,} bytes")
    print(f"{len(PAINTERS)} pictures: {total:,} bytes")


if __name__ == "__main__":
    main()
