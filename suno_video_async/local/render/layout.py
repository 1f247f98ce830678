"""Where things stand in the picture: all lengths derive from its height and width."""

from __future__ import annotations

from attrs import frozen

STROKE = 0.0085
"""From one stroke of a waveform to the next, as a share of the unit."""


@frozen
class Box:
    """A rectangle in pixels."""

    left: int
    top: int
    width: int
    height: int

    @property
    def right(self) -> int:
        return self.left + self.width

    @property
    def bottom(self) -> int:
        return self.top + self.height


@frozen
class Layout:
    """The places and sizes of one video, in pixels; baselines and text sizes are not rounded."""

    width: int
    height: int
    cover: Box
    centre: float
    """The middle of the column that holds cover, title, artist and brand."""
    title_baseline: float
    artist_baseline: float
    brand_baseline: float
    bar: Box
    """How much of the song is over: a thin line, or a waveform where there are no lyrics."""
    panel: Box | None
    """Where the lyrics scroll; None when there are none."""
    unit: float
    """What text sizes are a share of: the height, or less in a narrow picture."""

    @property
    def strokes(self) -> int:
        """Of the waveform."""
        return max(1, self.bar.width // max(2, even(STROKE * self.unit)))

    @property
    def title_em(self) -> float:
        return 0.048 * self.unit

    @property
    def artist_em(self) -> float:
        return 0.0285 * self.unit

    @property
    def brand_em(self) -> float:
        return 0.0168 * self.unit

    @property
    def lyric_em(self) -> float:
        return 0.051 * self.unit

    @property
    def lyric_pitch(self) -> float:
        """From one baseline to the next within a wrapped line."""
        return 1.36 * self.lyric_em

    @property
    def lyric_gap(self) -> float:
        """What separates two lyric lines, on top of the pitch."""
        return 0.74 * self.lyric_em


def even(value: float) -> int:
    """The nearest even number: colour planes have half the resolution."""
    return 2 * round(value / 2)


def lay_out(width: int, height: int, *, lyrics: bool) -> Layout:
    """Side by side in a wide picture, stacked in a tall one; without lyrics the cover stands over a waveform."""
    if width < 1.2 * height:
        return _tall(width, height, lyrics=lyrics)
    side = even(min(0.556 * height, 0.36 * width))
    unit = min(float(height), width / 1.6)
    # As in 16:9, whatever the width: the margins share what the two columns leave.
    left = even(0.1 * width) if lyrics else even((width - side) / 2)
    cover = Box(left, even((0.132 if lyrics else 0.1) * height), side, side)
    panel = None
    if lyrics:
        start = even(left + side + 0.105 * width)
        panel = Box(start, even(0.03 * height), even(width * 0.945) - start, even(0.94 * height))
    return _with_column(width, height, unit, cover, panel)


def _tall(width: int, height: int, *, lyrics: bool) -> Layout:
    unit = min(float(width) * 1.05, height / 1.15)
    side = even(min(0.6 * width, (0.36 if lyrics else 0.5) * height))
    top = even((0.07 if lyrics else 0.18) * height)
    cover = Box(even((width - side) / 2), top, side, side)
    panel = None
    if lyrics:
        start = even(top + side + 0.23 * unit)
        panel = Box(even(0.09 * width), start, even(0.82 * width), even(0.925 * height) - start)
    return _with_column(width, height, unit, cover, panel)


def _with_column(width: int, height: int, unit: float, cover: Box, panel: Box | None) -> Layout:
    centre = cover.left + cover.width / 2
    if panel is None:
        # Whole strokes, of a whole number of pixels: each one is as sharp as the next.
        pitch = max(2, even(STROKE * unit))
        wide = int(min(1.5 * cover.width, 0.86 * width) / pitch) * pitch
        bar = Box(even(centre - wide / 2), even(cover.bottom + 0.162 * unit), wide, max(4, even(0.088 * unit)))
    else:
        bar = Box(cover.left, even(cover.bottom + 0.175 * unit), cover.width, max(2, even(0.0056 * unit)))
    return Layout(
        width=width,
        height=height,
        cover=cover,
        centre=centre,
        title_baseline=cover.bottom + 0.083 * unit,
        artist_baseline=cover.bottom + 0.134 * unit,
        brand_baseline=height - 0.048 * unit,
        bar=bar,
        panel=panel,
        unit=unit,
    )
