"""Pictures for the renderer's tests."""

from __future__ import annotations

import numpy as np

from suno_video_async.lyricvideo.render.backdrop import Planes


def empty_planes(width: int, height: int) -> Planes:
    """A black picture without colour."""
    luma, chroma = np.zeros((height, width), np.uint8), np.full((height // 2, width // 2), 128, np.uint8)
    return Planes(luma, chroma, chroma.copy())
