"""Covers that show places."""

from __future__ import annotations

import math

import numpy as np
from covers.canvas import SIDE, Canvas, Colour, Floats, Point, moved, rgb
from PIL import Image, ImageDraw, ImageFilter


def harbour(c: Canvas) -> None:
    c.gradient((0.0, "07122b"), (0.34, "123055"), (0.56, "3c5f7d"), (0.6, "6c7f8c"), bottom=0.6)
    c.stars(150, 0.4)
    c.glow(0.74, 0.2, 0.13, "9fc3e6", 0.22)
    c.disc(0.74, 0.2, 0.042, "f2ead2")
    c.ridge(0.53 + c.waves((0.022, 1.1, 0.1), (0.012, 2.7, 0.4)), "1d3650")
    c.ridge(0.565 + c.waves((0.012, 1.9, 0.6), (0.006, 5.3, 0.2)), "142840")
    c.gradient((0.6, "1b3a56"), (0.75, "0e2440"), (1.0, "060d20"), top=0.6)
    lamps = [(0.05 + 0.083 * number + 0.012 * math.sin(number * 2.4), number) for number in range(12)]
    for x, number in lamps:
        colour = ("ffc46b", "ffd998", "ff9f59")[number % 3]
        tall = 0.1 + 0.05 * math.sin(number * 1.7) ** 2
        for step in range(26):
            share = step / 26
            y = 0.612 + tall * 2.4 * share
            sway = 0.006 * share * math.sin(step * 1.9 + number)
            c.glow(x + sway, y, 0.0105 + 0.006 * share, colour, 0.5 * (1 - share) ** 1.4, 0.28)
    c.block((0, 0.588, 1, 0.604), "08121f")
    for x, number in lamps:
        colour = ("ffc46b", "ffd998", "ff9f59")[number % 3]
        c.block((x - 0.0016, 0.545, x + 0.0016, 0.6), "08121f")
        c.glow(x, 0.545, 0.026, colour, 0.55)
        c.disc(x, 0.545, 0.0065, "fff3d6")
    moon = np.abs(c.x - 0.74) < 0.03 + 0.05 * (c.y - 0.6)
    ripple = np.clip(np.sin(c.y * 520 + 3 * np.sin(c.x * 40)) - 0.35, 0, 1) * (c.y > 0.61) * moon
    c.fill((ripple * np.clip(1.15 - c.y, 0, 1)).astype(np.float32), "d9e4ee", 0.5)
    hull = [(0.25, 0.792), (0.6, 0.786), (0.565, 0.842), (0.29, 0.845)]
    c.glow_out(0.435, 0.852, 0.19, 0.014, 0.6)
    c.polygon(hull, "0a1222")
    c.polygon([(0.25, 0.792), (0.6, 0.786), (0.597, 0.793), (0.253, 0.799)], "b5533c")
    c.polygon([(0.34, 0.79), (0.345, 0.742), (0.445, 0.74), (0.45, 0.79)], "15243a")
    for x in (0.362, 0.396, 0.43):
        c.glow(x, 0.764, 0.022, "ffb95e", 0.5)
        c.block((x - 0.01, 0.753, x + 0.01, 0.775), "ffe0a0", round_by=0.0025)
    c.polygon([(0.492, 0.788), (0.4945, 0.6), (0.4985, 0.6), (0.501, 0.788)], "0a1222")
    c.glow(0.4965, 0.6, 0.03, "ffcf86", 0.8)
    c.disc(0.4965, 0.6, 0.007, "fff6e0")


def aurora(c: Canvas) -> None:
    c.gradient((0.0, "050a1c"), (0.45, "0b2036"), (0.7, "16374a"))
    c.stars(420, 0.66, "dfeaff")
    for base, drift, colour, crown, loud in (
        (0.50, 0.1, "3df2a4", "7a4be0", 0.80),
        (0.41, 0.62, "46e6c8", "c04bd0", 0.55),
        (0.56, 0.35, "a6f76a", "2fa8c9", 0.42),
    ):
        foot = base + c.waves((0.055, 0.9, drift), (0.03, 1.7, drift * 2.3), (0.012, 4.1, drift))
        rays = 0.62 + 0.38 * c.waves((0.5, 11.3, drift), (0.3, 23.7, 0.4 + drift), (0.2, 41.0, drift))
        above = foot[None, :] - c.y
        veil = np.where(above > 0, np.exp(-above / 0.15), np.exp(above / 0.012)) * np.clip(rays, 0.1, 1)[None, :]
        blend = np.clip(above / 0.26, 0, 1)[:, :, None]
        tint = rgb(colour) * (1 - blend) + rgb(crown) * blend
        c.pixels += (1 - c.pixels) * tint * (veil * loud).astype(np.float32)[:, :, None]
    peaks = 0.665 + c.waves((0.03, 1.3, 0.2), (0.018, 3.1, 0.5), (0.007, 8.3, 0.1), (0.004, 17.0, 0.3))
    c.ridge(peaks, "07131f")
    shore = int(0.715 * SIDE)
    mirror = c.pixels[shore - 1 : shore - 1 - (SIDE - shore) : -1]
    sway = (5 * np.sin(np.arange(SIDE - shore) * 0.33) * np.linspace(0.3, 2.2, SIDE - shore)).astype(int)
    for row, shift in enumerate(sway):
        c.pixels[shore + row] = (
            np.roll(mirror[row], int(shift), axis=0) * (0.62 - 0.3 * row / (SIDE - shore)) + 0.008
        )
    c.block((0, 0.7135, 1, 0.7165), "8fd8c8", 0.25)
    c.polygon([(0.2, 0.79), (0.565, 0.79), (0.535, 0.826), (0.235, 0.826)], "04080f")
    c.polygon([(0.255, 0.79), (0.265, 0.757), (0.5, 0.757), (0.51, 0.79)], "0b1522")
    c.polygon([(0.31, 0.757), (0.315, 0.732), (0.44, 0.732), (0.445, 0.757)], "0b1522")
    c.polygon([(0.375, 0.732), (0.378, 0.7), (0.405, 0.7), (0.408, 0.732)], "0b1522")
    for deck, first, count in ((0.774, 0.285, 8), (0.745, 0.332, 4)):
        for number in range(count):
            x = first + number * 0.0285
            c.glow(x, deck, 0.014, "ffc163", 0.55)
            c.block((x - 0.007, deck - 0.006, x + 0.007, deck + 0.006), "ffe3ad")
            for step in range(5):
                c.glow(x + 0.003 * (-1) ** step, 0.84 + 0.021 * step, 0.008, "ffb95a", 0.26 - 0.045 * step, 0.5)


def islands(c: Canvas) -> None:
    field = np.zeros((SIDE, SIDE), np.float32)
    for x, y, size, loud in (
        (0.30, 0.31, 0.15, 1.0),
        (0.44, 0.22, 0.09, 0.7),
        (0.70, 0.62, 0.17, 1.05),
        (0.58, 0.72, 0.10, 0.7),
        (0.20, 0.77, 0.075, 0.86),
        (0.83, 0.22, 0.06, 0.84),
        (0.86, 0.41, 0.035, 0.72),
    ):
        field += np.float32(loud) * np.exp(-((c.x - x) ** 2 + (c.y - y) ** 2) / np.float32(size**2))
    for periods, size in ((5, 0.055), (9, 0.035), (17, 0.016)):
        turn = float(c.noise.random()) * 6.28
        field += (
            np.float32(size)
            * np.sin(periods * 6.28 * (c.x * math.cos(turn) + c.y * math.sin(turn)) + turn)
            * np.sin(periods * 6.28 * (c.y * math.cos(turn) - c.x * math.sin(turn)) + 2 * turn)
        )
    c.gradient((0.0, "0d6e8c"), (1.0, "084f77"))
    steps = (
        (0.14, "1b94a8"),
        (0.23, "35adb5"),
        (0.32, "62c5c1"),
        (0.41, "9adbd0"),
        (0.47, "f4ead0"),
        (0.55, "f0d9a6"),
        (0.62, "8fae5d"),
        (0.74, "6a9450"),
        (0.88, "4d7a49"),
        (1.0, "3a6644"),
    )
    for level, colour in steps:
        slope = 1 / SIDE * 4.5
        mask = np.clip((field - level) / slope * 0.5 + 0.5, 0, 1).astype(np.float32)
        shade = Image.fromarray((moved(mask, 7, 5) * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(9))
        c.fill(np.asarray(shade, np.float32) / np.float32(255) * (1 - mask), "04253f", 0.34)
        c.fill(mask, colour)
    for x, y, turn in ((0.9, 0.88, -0.9), (0.12, 0.53, 0.5), (0.36, 0.9, -0.25)):

        def place(px: float, py: float, x: float = x, y: float = y, turn: float = turn) -> Point:
            return x + 0.8 * (px * math.cos(turn) - py * math.sin(turn)), y + 0.8 * (
                px * math.sin(turn) + py * math.cos(turn)
            )

        for side in (-1, 1):
            c.polygon(
                [
                    place(-0.03, 0),
                    place(-0.10, 0.022 * side),
                    place(-0.098, 0.028 * side),
                    place(-0.02, 0.004 * side),
                ],
                "ffffff",
                0.22,
            )
        c.polygon(
            [
                place(0.03, 0),
                place(0.008, 0.0105),
                place(-0.028, 0.008),
                place(-0.028, -0.008),
                place(0.008, -0.0105),
            ],
            "7b3a2a",
        )
        c.polygon([place(0.02, 0.001), place(-0.02, 0.03), place(-0.016, 0.001)], "ffd34f")


def forest(c: Canvas) -> None:
    c.gradient((0.0, "dfe9f0"), (0.55, "bcd2e0"), (1.0, "8fb0c8"))
    c.glow(0.64, 0.27, 0.3, "fffbe8", 0.75)
    c.disc(0.64, 0.27, 0.125, "fffdf3")
    layers = (
        (0.52, 0.16, 26, "a9c3d4"),
        (0.60, 0.21, 19, "83a6bf"),
        (0.69, 0.28, 13, "5a83a3"),
        (0.80, 0.36, 9, "33607f"),
        (0.93, 0.48, 6, "173d5a"),
    )
    for depth, (foot, tall, count, colour) in enumerate(layers):
        ground = foot + c.waves((0.018, 0.8 + depth * 0.4, depth * 0.3), (0.008, 2.3, depth * 0.7))
        trees: list[list[Point]] = []
        for number in range(count + 1):
            x = (number + 0.55 * float(c.noise.random())) / count
            if depth >= 3 and 0.34 < x < 0.66:
                continue
            size = tall * (0.72 + 0.5 * float(c.noise.random()))
            base = float(ground[min(SIDE - 1, max(0, int(x * SIDE)))]) + 0.02
            for tier in range(4):
                wide = size * (0.12 + 0.055 * tier)
                top = base - size * (1 - tier * 0.2)
                trees.append([(x, top), (x + wide, top + size * 0.34), (x - wide, top + size * 0.34)])
            trees.append(
                [(x - size * 0.025, base - size * 0.1), (x + size * 0.025, base - size * 0.1), (x, base + 0.03)]
            )

        def stand(
            d: ImageDraw.ImageDraw, s: float, trees: list[list[Point]] = trees, ground: Floats = ground
        ) -> None:
            for tree in trees:
                d.polygon([(px * s, py * s) for px, py in tree], fill=255)
            edge = [(column / SIDE * s, float(ground[column]) * s) for column in range(0, SIDE, 8)]
            d.polygon([(0, s), *edge, (s, edge[-1][1]), (s, s)], fill=255)

        mask = c.mask(stand)
        blurred = Image.fromarray((moved(mask, 6 + 3 * depth, 5 + 2 * depth) * 255).astype(np.uint8))
        shade = np.asarray(blurred.filter(ImageFilter.GaussianBlur(8 + 3 * depth)), np.float32) / np.float32(255)
        c.fill(shade * (1 - mask), "0b2438", 0.36)
        c.fill(mask, colour)
        lit = np.clip(mask - moved(mask, 2, 2), 0, 1)
        c.fill(lit, "ffffff", 0.28)
        if depth == 2:
            c.glow(0.5, 0.735, 0.1, "ffcb74", 0.75)
            c.disc(0.5, 0.735, 0.011, "fff2c9")
    for _ in range(240):
        x, y, size = (float(value) for value in c.noise.random(3))
        c.glow(x, y, 0.0016 + 0.0032 * size**3, "ffffff", 0.9)


def morning(c: Canvas) -> None:
    c.gradient((0.0, "6fb7e9"), (0.34, "a9d8f2"), (0.5, "ffe9c7"), (0.54, "ffd9a0"), bottom=0.54)
    c.glow(0.3, 0.42, 0.24, "fff0c0", 0.85)
    c.disc(0.3, 0.42, 0.105, "ffd05e")
    c.gradient((0.54, "2d86c9"), (0.75, "1765ab"), (1.0, "0e4a8a"), top=0.54)
    for number in range(17):
        y = 0.548 + 0.0125 * number
        wide = 0.10 + 0.035 * math.sin(number * 2.1) - 0.0025 * number
        c.block((0.3 - wide, y, 0.3 + wide, y + 0.0042), "ffe3a0", 0.8 - 0.035 * number, round_by=0.002)
    white, shade, blue = "fbf8f1", "cfdbe6", "1f5fbf"

    def house(left: float, top: float, right: float, side: float = 0.05) -> None:
        c.polygon([(left, top), (right, top), (right, 1), (left, 1)], white)
        c.polygon([(left, top), (left + side, top), (left + side, 1), (left, 1)], shade)

    def arch(x: float, y: float, wide: float, tall: float, colour: Colour) -> None:
        c.disc(x, y, wide, colour)
        c.block((x - wide, y, x + wide, y + tall), colour)

    house(0.66, 0.40, 1.0, 0.06)
    dome = np.hypot(c.x - 0.83, c.y - 0.40)
    cap = np.clip((0.118 - dome) * SIDE + 0.5, 0, 1) * (c.y < 0.40)
    c.fill(cap.astype(np.float32), blue)
    c.fill((cap * np.clip((0.80 - c.x) * 9, 0, 1)).astype(np.float32), "123f87", 0.6)
    c.block((0.705, 0.393, 0.955, 0.408), "e6ecf2")
    c.block((0.8275, 0.235, 0.8325, 0.285), white)
    c.block((0.815, 0.248, 0.845, 0.253), white)
    for x in (0.79, 0.88):
        arch(x, 0.485, 0.019, 0.05, blue)
    house(0.50, 0.60, 0.80)
    arch(0.66, 0.70, 0.026, 0.06, blue)
    house(0.76, 0.66, 1.0)
    arch(0.9, 0.79, 0.042, 0.22, "174c9c")
    house(0.34, 0.76, 0.62)
    arch(0.475, 0.85, 0.022, 0.045, blue)
    for step in range(6):
        left, top = 0.30 - 0.055 * step, 0.80 + 0.036 * step
        c.polygon([(left, top), (0.36, top), (0.36, 1), (left, 1)], white)
        c.polygon(
            [(left, top + 0.012), (0.36, top + 0.012), (0.36, top + 0.036), (left, top + 0.036)], shade, 0.75
        )
    for x, y, size in ((0.645, 0.955, 0.05), (0.70, 0.93, 0.06), (0.745, 0.965, 0.045)):
        for _ in range(46):
            angle, reach = float(c.noise.random()) * 6.28, size * float(c.noise.random()) ** 0.6
            colour = ("d6336c", "e8598b", "b81f5a", "3f7d46")[int(c.noise.random() * 4)]
            c.disc(x + reach * math.cos(angle), y + reach * math.sin(angle) * 0.8, 0.009, colour)


def dunes(c: Canvas) -> None:
    c.gradient((0.0, "17123a"), (0.3, "46265c"), (0.5, "a14a5c"), (0.62, "f09a62"), bottom=0.75)
    c.stars(230, 0.4, "ffe9d6")
    c.glow(0.31, 0.23, 0.12, "ffdca8", 0.35)
    c.fill(c.round(0.31, 0.23, 0.06) * (1 - c.round(0.3385, 0.2115, 0.0565)), "fff1d0")
    dunes = (
        (0.60, 0.030, 0.7, 0.05, "c96c55", "8a3f50"),
        (0.66, 0.050, 0.9, 0.42, "d9804f", "843a48"),
        (0.74, 0.065, 0.75, 0.80, "e4934f", "7a3040"),
        (0.85, 0.075, 0.6, 0.22, "f0a854", "6a2638"),
    )
    for height, size, periods, phase, lit, dark in dunes:
        swing = periods * c.x[0] + phase
        saw = np.abs((swing % 1.0) - 0.32) / np.where((swing % 1.0) < 0.32, 0.32, 0.68)
        crest = (height - size * (1 - saw**1.25) + c.waves((0.006, 2.3, phase))).astype(np.float32)
        mask = c.ridge(crest, lit)
        # The lee side of a crest is in shadow; its edge winds down the slope.
        depth = c.y - crest[None, :]
        wind = ((swing[None, :] + depth * 1.1 + 0.03 * np.sin(depth * 22)) % 1.0).astype(np.float32)
        lee = np.clip((wind - 0.32) * 60, 0, 1) * np.clip((0.95 - wind) * 5, 0, 1)
        c.fill((mask * lee).astype(np.float32), dark, 0.86)
        lines = 0.5 + 0.5 * np.sin(depth * 640 + 9 * np.sin(swing[None, :] * 9) + c.x * 30)
        c.fill((mask * lines * (1 - lee) * np.clip(depth * 9, 0, 1)).astype(np.float32), dark, 0.13)
        c.fill((mask * np.clip(1 - depth / 0.004, 0, 1)).astype(np.float32), "ffe0a6", 0.6)
    for number in range(4):
        x, y = 0.56 + 0.052 * number, 0.713 - 0.004 * number
        _camel(c, x, y, 0.034)


def _camel(c: Canvas, x: float, y: float, size: float) -> None:
    def shape(d: ImageDraw.ImageDraw, s: float) -> None:
        def at(px: float, py: float) -> Point:
            return (x + px * size) * s, (y + py * size) * s

        body = [
            at(-0.42, -0.05),
            at(-0.36, -0.36),
            at(-0.16, -0.40),
            at(0.0, -0.66),
            at(0.16, -0.40),
            at(0.34, -0.34),
            at(0.47, -0.46),
            at(0.55, -0.78),
            at(0.60, -0.86),
            at(0.78, -0.82),
            at(0.80, -0.74),
            at(0.66, -0.70),
            at(0.60, -0.36),
            at(0.44, -0.06),
        ]
        d.polygon(body, fill=255)
        for leg, lean in ((-0.36, -0.06), (-0.24, 0.05), (0.26, -0.05), (0.38, 0.06)):
            d.polygon(
                [at(leg, -0.1), at(leg + 0.1, -0.1), at(leg + 0.07 + lean, 0.46), at(leg + 0.02 + lean, 0.46)],
                fill=255,
            )

    c.fill(c.mask(shape), "2a1024")
