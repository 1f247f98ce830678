"""Emoji: glyphs in colour, as the lightness that the text of a video has.

Text is white, so a picture covers the background by how light it is: it is seen as a photograph without colours.
"""

from __future__ import annotations

import importlib
import io
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

# The library ships no type information; through `Any` it needs no ignore at each call.
_hb: Any = importlib.import_module("uharfbuzz")

_SIDE: Final = 160
"""Pixels of an em in which a glyph made of outlines is painted before it is scaled."""
_FLOOR: Final = 0.25
"""The lightness of black: what is drawn in it must not vanish on a dark background."""


def paint(
    mask: npt.NDArray[np.uint8], font: Any, glyph: int, *, place: tuple[float, float], em: float, subrows: int
) -> None:
    """Paint a glyph into a mask.

    Args:
        mask: of `subrows` rows a pixel.
        font: of the glyph.
        glyph: its number.
        place: its origin in pixels, y downwards.
        em: pixels an em.
        subrows: rows of the mask a pixel.

    """
    extents = font.get_glyph_extents(glyph)
    if extents is None or not extents.width or not extents.height:
        return
    picture = _embedded(font, glyph) or _painted(font, glyph, extents)
    if picture is None:
        return
    scale = em / font.face.upem
    left, top = place[0] + extents.x_bearing * scale, place[1] - extents.y_bearing * scale
    size = max(1, round(extents.width * scale)), max(1, round(-extents.height * scale * subrows))
    _blend(mask, _lightness(picture.resize(size, Image.Resampling.BOX)), round(left), round(top * subrows))


def _embedded(font: Any, glyph: int) -> Image.Image | None:
    """The picture that a font keeps of a glyph."""
    if not font.face.has_color_png:
        return None
    # Renamed in uharfbuzz 0.55, where the older name warns.
    read = getattr(font, "get_glyph_color_png", None)
    blob = read(glyph) if read is not None else _hb.ot_color_glyph_get_png(font, glyph)
    data = bytes(blob.data) if blob is not None else b""
    if not data:
        return None
    with Image.open(io.BytesIO(data), formats=("PNG",)) as picture:
        rgba: Image.Image = picture.convert("RGBA")
        return rgba


def _painted(font: Any, glyph: int, extents: Any) -> Image.Image | None:
    """A glyph of coloured outlines, as a picture of its extents."""
    scale = _SIDE / font.face.upem
    width, height = max(1, round(extents.width * scale)), max(1, round(-extents.height * scale))
    painter = _hb.RasterPaint()
    painter.foreground = _hb.Color(255, 255, 255, 255)
    painter.transform = (
        scale,
        0.0,
        0.0,
        scale,
        -extents.x_bearing * scale,
        (-extents.height - extents.y_bearing) * scale,
    )
    painter.extents = _hb.RasterExtents(0, 0, width, height, 0)
    painter.paint_glyph(font, glyph)
    image = painter.render()
    if image is None or not image.buffer:
        return None
    pixels = np.frombuffer(image.buffer, np.uint8).reshape(image.extents.height, image.extents.stride // 4, 4)
    # Blue first, with the colours multiplied by the opacity, and the first row at the bottom.
    blue, green, red, alpha = (pixels[::-1, :width, channel].astype(np.float32) for channel in range(4))
    solid = np.maximum(alpha, 1.0) / 255.0
    colours = [np.clip(channel / solid, 0, 255) for channel in (red, green, blue)]
    return Image.fromarray(np.stack([*colours, alpha], axis=-1).astype(np.uint8), "RGBA")


def _lightness(picture: Image.Image) -> npt.NDArray[np.uint8]:
    pixels = np.asarray(picture, np.float32)
    light = pixels[..., :3] @ np.array([0.2126, 0.7152, 0.0722], np.float32) / 255.0
    covered: npt.NDArray[np.uint8] = np.rint(pixels[..., 3] * (_FLOOR + (1 - _FLOOR) * light)).astype(np.uint8)
    return covered


def _blend(mask: npt.NDArray[np.uint8], picture: npt.NDArray[np.uint8], left: int, top: int) -> None:
    """Draw a picture into a mask where they overlap."""
    rows = slice(max(0, top), min(mask.shape[0], top + picture.shape[0]))
    columns = slice(max(0, left), min(mask.shape[1], left + picture.shape[1]))
    if rows.start < rows.stop and columns.start < columns.stop:
        cut = picture[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
        np.maximum(mask[rows, columns], cut, out=mask[rows, columns])
