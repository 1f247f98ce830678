"""Covers that show things and shapes."""

from __future__ import annotations

import math

import numpy as np
from covers.canvas import SIDE, Canvas, Colour, Floats, rgb


def moon(c: Canvas) -> None:
    c.gradient((0.0, "0c1a26"), (0.6, "14303a"), (1.0, "1e4644"))
    c.stars(120, 0.9, "cfe8df")
    for number in range(9):
        radius = 0.33 + 0.045 * number
        distance = np.abs(np.hypot(c.x - 0.5, c.y - 0.44) - radius)
        ring = np.clip(1.4 - distance * SIDE, 0, 1).astype(np.float32)
        c.fill(ring, "e9cf9a", 0.42 - 0.042 * number)
        angle = 2.4 * number + 0.6
        c.disc(0.5 + radius * math.cos(angle), 0.44 + radius * math.sin(angle), 0.0085, "f3dfb2")
    c.glow(0.5, 0.44, 0.36, "f1dba6", 0.22)
    face = c.round(0.5, 0.44, 0.265)
    c.fill(face, "efdcae")
    for x, y, radius in (
        (0.42, 0.36, 0.052),
        (0.55, 0.31, 0.03),
        (0.60, 0.47, 0.072),
        (0.44, 0.53, 0.04),
        (0.36, 0.46, 0.022),
        (0.53, 0.60, 0.028),
        (0.5, 0.42, 0.016),
    ):
        rim = np.clip((radius - np.hypot(c.x - x, c.y - y)) * SIDE / 5, 0, 1).astype(np.float32)
        c.fill(rim * face, "c9ad78", 0.42)
        inner = np.clip((radius - np.hypot(c.x - x - 0.006, c.y - y - 0.006)) * SIDE / 5, 0, 1).astype(np.float32)
        c.fill(inner * face * rim, "dcc391", 0.55)
    night = np.clip((np.hypot(c.x - 0.40, c.y - 0.36) - 0.27) / 0.13, 0, 1).astype(np.float32)
    c.fill(face * night, "3c3a3c", 0.78)
    for height, colour, phase in ((0.80, "174043", 0.1), (0.87, "0f2d33", 0.55), (0.945, "091d24", 0.3)):
        line = height + c.waves((0.028, 0.9, phase), (0.01, 2.1, phase * 3))
        mask = c.ridge(line, colour)
        c.fill((mask * np.clip(1 - (c.y - line[None, :]) / 0.003, 0, 1)).astype(np.float32), "e9cf9a", 0.55)


def lanterns(c: Canvas) -> None:
    c.gradient((0.0, "120b24"), (0.36, "2b1440"), (0.5, "512048"), bottom=0.5)
    c.stars(70, 0.3)
    c.ridge(0.43 + c.waves((0.03, 0.8, 0.3), (0.012, 2.4, 0.1)), "1d0e2f")
    c.ridge(0.47 + c.waves((0.018, 1.4, 0.7), (0.007, 4.2, 0.5)), "150a24")
    c.gradient((0.5, "3a1a44"), (0.7, "1d1034"), (1.0, "0a0718"), top=0.5)
    lit = [(float(c.noise.random()), 0.515 + 0.012 * number, 0.006 + 0.0009 * number) for number in range(26)]
    lit += [
        (0.17, 0.84, 0.066),
        (0.50, 0.73, 0.05),
        (0.83, 0.86, 0.074),
        (0.72, 0.64, 0.034),
        (0.30, 0.645, 0.032),
    ]
    for x, y, size in sorted(lit, key=lambda item: item[1]):
        colour = ("ff9a3d", "ff7a4d", "ffc04f")[int(x * 97) % 3]
        for step in range(7):
            c.glow(
                x + size * 0.12 * math.sin(step * 2.2),
                y + size * (1.15 + 0.42 * step),
                size * 0.62,
                colour,
                0.34 - 0.045 * step,
                0.3,
            )
        c.glow(x, y, size * 2.3, colour, 0.42)
        if size < 0.03:
            c.disc(x, y, size * 0.62, "ffe0a3")
        else:
            _lotus(c, x, y, size, colour)
    for x, y, size, loud in (
        (0.12, 0.17, 0.05, 0.12),
        (0.33, 0.10, 0.032, 0.16),
        (0.61, 0.2, 0.045, 0.13),
        (0.86, 0.12, 0.036, 0.18),
        (0.76, 0.31, 0.022, 0.2),
        (0.22, 0.32, 0.02, 0.2),
    ):
        c.disc(x, y, size, "ffb26b", loud)


def _lotus(c: Canvas, x: float, y: float, size: float, colour: Colour) -> None:
    """A floating paper lantern: petals around a flame."""
    for number, angle in enumerate((-1.15, 1.15, -0.72, 0.72, -0.3, 0.3, 0.0)):
        tip = (x + 1.25 * size * math.sin(angle), y - 0.85 * size * math.cos(angle) + 0.15 * size)
        left = (x + 0.62 * size * math.sin(angle - 0.5), y + 0.1 * size)
        right = (x + 0.62 * size * math.sin(angle + 0.5), y + 0.1 * size)
        base = (x + 0.3 * size * math.sin(angle), y + 0.52 * size)
        c.polygon(
            [tip, right, base, left],
            ("c2333f", "c2333f", "e0524a", "e0524a", "f47a55", "f47a55", "ffa868")[number],
        )
    c.polygon(
        [
            (x - 0.78 * size, y + 0.3 * size),
            (x + 0.78 * size, y + 0.3 * size),
            (x + 0.45 * size, y + 0.62 * size),
            (x - 0.45 * size, y + 0.62 * size),
        ],
        "7c1f38",
    )
    c.glow(x, y - 0.12 * size, size * 0.75, colour, 0.6)
    c.glow(x, y - 0.15 * size, size * 0.24, "fff6d8", 1.0, 1.6)


def bauhaus(c: Canvas) -> None:
    c.pixels[:] = rgb("f1e7d3")
    ink, red, blue, yellow, cream = "1c1b1d", "d8392b", "1f4e9c", "f0b323", "f1e7d3"
    cell = 0.25
    plan = (
        ("quarter0", blue, yellow),
        ("disc", cream, red),
        ("stripes", cream, ink),
        ("half0", yellow, ink),
        ("rings", cream, ink),
        ("quarter3", red, cream),
        ("square", yellow, blue),
        ("quarter1", cream, red),
        ("half1", blue, cream),
        ("dots", cream, ink),
        ("quarter2", ink, yellow),
        ("disc", red, cream),
        ("stripes", yellow, red),
        ("quarter0", cream, ink),
        ("rings", blue, cream),
        ("quarter3", cream, blue),
    )
    for number, (kind, ground, paint) in enumerate(plan):
        left, top = (number % 4) * cell, (number // 4) * cell
        inside = ((c.x >= left) & (c.x < left + cell) & (c.y >= top) & (c.y < top + cell)).astype(np.float32)
        c.fill(inside, ground)
        c.fill(_tile(c, kind, left, top, cell) * inside, paint)
    c.polygon([(0, 0.992), (0.992, 0), (1, 0), (1, 0.008), (0.008, 1), (0, 1)], red)
    c.disc(0.5, 0.5, 0.085, ink)
    below = np.clip((c.y - c.x) * SIDE * 0.7 + 0.5, 0, 1, dtype=np.float32)
    c.fill(c.round(0.5, 0.5, 0.06) * below, yellow)


def _tile(c: Canvas, kind: str, left: float, top: float, cell: float) -> Floats:
    x, y = (c.x - left) / cell, (c.y - top) / cell
    soft = SIDE * cell
    if kind.startswith("quarter"):
        corner = int(kind[-1])
        shape = 1.0 - np.hypot(x - corner % 2, y - corner // 2)
    elif kind.startswith("half"):
        flat = (y - 0.5) if kind.endswith("0") else (x - 0.5)
        shape = np.minimum(0.5 - np.hypot(x - 0.5, y - 0.5), flat)
    elif kind == "rings":
        shape = (
            0.055
            - np.abs((np.hypot(x - 0.5, y - 0.5) % 0.16) - 0.08)
            + np.minimum(0, 0.46 - np.hypot(x - 0.5, y - 0.5))
        )
    elif kind == "stripes":
        shape = 0.05 - np.abs((x % 0.2) - 0.1) + 0 * y
    elif kind == "dots":
        shape = 0.075 - np.hypot((x % 0.25) - 0.125, (y % 0.25) - 0.125)
    elif kind == "square":
        shape = 0.28 - np.maximum(np.abs(x - 0.5), np.abs(y - 0.5))
    else:
        shape = 0.36 - np.hypot(x - 0.5, y - 0.5)
    return np.clip(shape * soft + 0.5, 0, 1).astype(np.float32)
