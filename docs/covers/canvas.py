"""The canvas that covers are painted on, with NumPy and Pillow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

SIDE: Final = 1200
_FINE: Final = 2
"""Shapes are drawn this much larger, for smooth edges."""

Floats = npt.NDArray[np.float32]
Colour = str
"""Six hexadecimal digits."""
Point = tuple[float, float]


def rgb(colour: Colour) -> Floats:
    return np.array([int(colour[at : at + 2], 16) / 255 for at in (0, 2, 4)], np.float32)


class Canvas:
    """A square picture in floats; places and sizes are shares of its side, y downwards."""

    def __init__(self, *, seed: int) -> None:
        self.noise: np.random.Generator = np.random.default_rng(seed)
        self.pixels: Floats = np.zeros((SIDE, SIDE, 3), np.float32)
        axis = (np.arange(SIDE, dtype=np.float32) + 0.5) / SIDE
        # numpy's stubs take the sum of float32 and a literal for float64.
        self.x: npt.NDArray[np.float64] = axis[None, :]
        self.y: npt.NDArray[np.float64] = axis[:, None]

    def image(self, grain: float = 0.012) -> Image.Image:
        """The finished picture, with a little grain that also hides steps in gradients."""
        speckle = self.noise.standard_normal((SIDE, SIDE, 1), np.float32) * np.float32(grain)
        return Image.fromarray((np.clip(self.pixels + speckle, 0, 1) * 255 + 0.5).astype(np.uint8))

    def gradient(self, *stops: tuple[float, Colour], top: float = 0.0, bottom: float = 1.0) -> None:
        """Fill the rows from `top` to `bottom`; stops are (height, colour)."""
        first, last = int(top * SIDE), int(bottom * SIDE)
        rows = self.y[first:last, 0]
        at = [stop for stop, _ in stops]
        colours = [rgb(colour) for _, colour in stops]
        for channel in range(3):
            column = np.interp(rows, at, [float(colour[channel]) for colour in colours])
            self.pixels[first:last, :, channel] = column[:, None]

    def mask(self, draw: Callable[[ImageDraw.ImageDraw, float], object], *, blur: float = 0.0) -> Floats:
        """Coverage of what `draw` draws; it gets the drawing and the side in its pixels."""
        sheet = Image.new("L", (SIDE * _FINE, SIDE * _FINE), 0)
        draw(ImageDraw.Draw(sheet), float(SIDE * _FINE))
        sheet = sheet.reduce(_FINE)
        if blur:
            sheet = sheet.filter(ImageFilter.GaussianBlur(blur * SIDE))
        return np.asarray(sheet, np.float32) / np.float32(255)

    def fill(self, mask: Floats, colour: Colour | Floats, strength: float = 1.0) -> None:
        paint = rgb(colour) if isinstance(colour, str) else colour
        self.pixels += (paint - self.pixels) * (mask * np.float32(strength))[:, :, None]

    def polygon(self, points: Sequence[Point], colour: Colour, strength: float = 1.0) -> None:
        """Fill a polygon; only its own rectangle is touched."""
        left, top, right, bottom = _pixels(
            min(x for x, _ in points),
            min(y for _, y in points),
            max(x for x, _ in points),
            max(y for _, y in points),
        )
        if left >= right or top >= bottom:
            return
        sheet = Image.new("L", ((right - left) * _FINE, (bottom - top) * _FINE), 0)
        place = [((x * SIDE - left) * _FINE, (y * SIDE - top) * _FINE) for x, y in points]
        ImageDraw.Draw(sheet).polygon(place, fill=255)
        cover = np.asarray(sheet.reduce(_FINE), np.float32) * np.float32(strength / 255)
        area = self.pixels[top:bottom, left:right]
        area += (rgb(colour) - area) * cover[:, :, None]

    def block(
        self,
        box: tuple[float, float, float, float],
        colour: Colour,
        strength: float = 1.0,
        *,
        round_by: float = 0.0,
    ) -> None:
        """Fill a rectangle (left, top, right, bottom), its corners rounded by a radius."""
        left, top, right, bottom = _pixels(*box)
        x, y = self.x[:, left:right], self.y[top:bottom]
        dx = np.abs(x - (box[0] + box[2]) / 2) - (box[2] - box[0]) / 2 + round_by
        dy = np.abs(y - (box[1] + box[3]) / 2) - (box[3] - box[1]) / 2 + round_by
        distance = np.hypot(np.maximum(dx, 0), np.maximum(dy, 0)) if round_by else np.maximum(dx, dy)
        cover = np.clip((round_by - distance) * SIDE + 0.5, 0, 1, dtype=np.float32) * np.float32(strength)
        area = self.pixels[top:bottom, left:right]
        area += (rgb(colour) - area) * cover[:, :, None]

    def round(self, x: float, y: float, radius: float) -> Floats:
        """Coverage of a disc."""
        distance = np.hypot(self.x - x, self.y - y)
        cover: Floats = np.clip((radius - distance) * SIDE + 0.5, 0, 1, dtype=np.float32)
        return cover

    def disc(self, x: float, y: float, radius: float, colour: Colour, strength: float = 1.0) -> None:
        box = (x - radius, y - radius, x + radius, y + radius)
        self.block(box, colour, strength, round_by=radius)

    def glow(  # noqa: PLR0917 - called a hundred times below, where names would only be noise
        self, x: float, y: float, radius: float, colour: Colour, strength: float, tall: float = 1.0
    ) -> None:
        """Add light that falls off around a point."""
        reach = 3.2 * radius * max(1.0, tall)
        rows = slice(max(0, int((y - reach) * SIDE)), max(0, int((y + reach) * SIDE)))
        columns = slice(max(0, int((x - reach) * SIDE)), max(0, int((x + reach) * SIDE)))
        across, down = (self.x[:, columns] - x) / radius, (self.y[rows] - y) / (radius * tall)
        light = np.exp(-(across**2 + down**2)) * np.float32(strength)
        area = self.pixels[rows, columns]
        area += (1 - area) * light[:, :, None] * rgb(colour)

    def glow_out(self, x: float, y: float, wide: float, tall: float, strength: float) -> None:
        """Take light away around a point: a shadow on water."""
        left, top, right, bottom = _pixels(x - 2.5 * wide, y - 2.5 * tall, x + 2.5 * wide, y + 2.5 * tall)
        across = ((self.x[:, left:right] - x) / wide) ** 4
        down = ((self.y[top:bottom] - y) / tall) ** 2
        self.pixels[top:bottom, left:right] *= 1 - np.float32(strength) * np.exp(-across - down)[:, :, None]

    def stars(self, count: int, bottom: float, colour: Colour = "ffffff") -> None:
        tint = rgb(colour)
        for _ in range(count):
            column = int(self.noise.random() * (SIDE - 4)) + 1
            row = int(self.noise.random() ** 1.3 * bottom * SIDE) + 1
            light = float(0.2 + 0.75 * self.noise.random() ** 3)
            self.pixels[row : row + 2, column : column + 2] += tint * np.float32(light * 0.8)

    def ridge(self, height: Floats, colour: Colour, strength: float = 1.0) -> Floats:
        """Fill below a line; `height` holds its y for every column."""
        mask = np.clip((self.y - height[None, :]) * SIDE + 0.5, 0, 1).astype(np.float32)
        self.fill(mask, colour, strength)
        return mask

    def waves(self, *parts: tuple[float, float, float]) -> Floats:
        """A sum of sines along x, as (size, periods, phase)."""
        line = np.zeros(SIDE, np.float32)
        for size, periods, phase in parts:
            line += np.float32(size) * np.sin(2 * np.pi * (periods * self.x[0] + phase)).astype(np.float32)
        return line


def _pixels(left: float, top: float, right: float, bottom: float) -> tuple[int, int, int, int]:
    """The pixels that a box in shares of the side touches."""
    low = [max(0, int(edge * SIDE) - 1) for edge in (left, top)]
    high = [min(SIDE, int(edge * SIDE) + 2) for edge in (right, bottom)]
    return low[0], low[1], high[0], high[1]


def moved(mask: Floats, down: int, right: int) -> Floats:
    """The mask shifted, its edges repeated."""
    return np.pad(mask, ((down, 0), (right, 0)), mode="edge")[: mask.shape[0], : mask.shape[1]]
