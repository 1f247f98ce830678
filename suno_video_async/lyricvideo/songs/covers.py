"""Covers for songs that have none: soft colour fields and rings, the same for the same name every time."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

_SIDE: Final = 1200
#: Spread of the grain, which also hides steps in the gradients.
_GRAIN: Final = np.float32(0.012)
_Floats = npt.NDArray[np.float32]


def draw_cover(name: str, path: Path) -> None:
    """Write the cover of a name as a JPEG file."""
    noise = np.random.default_rng(zlib.crc32(name.encode()))
    pixels = _paint(noise)
    pixels += noise.standard_normal((_SIDE, _SIDE, 1), np.float32) * _GRAIN
    picture = Image.fromarray((np.clip(pixels, 0, 1) * 255 + 0.5).astype(np.uint8))
    picture.save(path, "JPEG", quality=94, subsampling=0)


def _paint(noise: np.random.Generator) -> _Floats:
    """Return a picture; positions and sizes are fractions of its side."""
    across = ((np.arange(_SIDE, dtype=np.float32) + 0.5) / _SIDE)[None, :]
    down = across.T
    hue = float(noise.random())
    pixels = np.tile(_colour(hue, 0.55, 0.20), (_SIDE, _SIDE, 1))
    for number in range(6):
        x, y, size = (float(value) for value in noise.random(3))
        tint = _colour(hue + 0.09 * (number - 2.5), 0.72, 0.42 + 0.3 * float(noise.random()))
        square = (across - x) ** 2 + (down - y) ** 2
        _blend(pixels, np.exp(-square / np.float32((0.22 + 0.24 * size) ** 2)) * np.float32(0.85), tint)
    x, y = 0.2 + 0.6 * float(noise.random()), 0.25 + 0.5 * float(noise.random())
    distance, white = np.hypot(across - x, down - y), np.ones(3, np.float32)
    for number in range(14):
        ring = np.clip(1.6 - np.abs(distance - 0.07 * (number + 1)) * _SIDE, 0, 1)
        _blend(pixels, ring * np.float32(0.30 - 0.018 * number), white)
    _blend(pixels, np.clip((0.045 - distance) * _SIDE + 0.5, 0, 1) * np.float32(0.9), white)
    return pixels


def _blend(pixels: _Floats, coverage: npt.NDArray[np.floating], colour: _Floats) -> None:
    pixels += (colour - pixels) * coverage[:, :, None]


def _colour(hue: float, saturation: float, value: float) -> _Floats:
    wheel = np.abs((hue * 6 + np.array([0, 4, 2], np.float32)) % 6 - 3) - 1
    return np.asarray(value * (1 - saturation + saturation * np.clip(wheel, 0, 1)), np.float32)
