"""The layout of the picture: all lengths derive from its height and width."""

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
class Words:
    """Where title and artist stand: a column in pixels, its text in the middle of it or at its left edge."""

    left: float
    width: float
    centred: bool
    title_baseline: float
    """Of the title's last row; the other one is above it."""
    artist_baseline: float


@frozen
class Layout:
    """The places and sizes of one video, in pixels; baselines and text sizes are not rounded."""

    width: int
    height: int
    cover: Box
    words: Words
    brand_baseline: float
    bar: Box
    """The progress of the song: a thin line, or a waveform if there are no lyrics."""
    panel: Box | None
    """The area of the lyrics; None if there are none."""
    unit: float
    """What text sizes are a share of: the height, or less in a narrow picture."""
    lyric_em: float
    title_rows: int = 1

    @property
    def strokes(self) -> int:
        """Of the waveform."""
        return max(1, self.bar.width // max(2, even(STROKE * self.unit)))

    @property
    def title_em(self) -> float:
        return (0.048 if self.title_rows == 1 else 0.041) * self.unit

    @property
    def title_pitch(self) -> float:
        """From one row of a long title to the next."""
        return 1.24 * self.title_em

    @property
    def artist_em(self) -> float:
        return 0.0285 * self.unit

    @property
    def brand_em(self) -> float:
        return 0.0168 * self.unit

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


def lay_out(width: int, height: int, *, lyrics: bool, title_rows: int = 1) -> Layout:
    """Lyrics beside the cover in a wide picture, below it in a tall one; in a square, the cover beside the title.

    Without lyrics the cover is above a waveform. A title of two rows pushes the rest aside.
    """
    if not lyrics:
        return _alone(width, height, title_rows)
    if width >= 1.2 * height:
        return _wide(width, height, title_rows)
    return _tall(width, height, title_rows) if height > 1.4 * width else _square(width, height, title_rows)


def _wide(width: int, height: int, title_rows: int) -> Layout:
    unit = min(float(height), width / 1.6)
    side = even(min(0.556 * height, 0.36 * width))
    # As in 16:9, regardless of the width: the margins share what the two columns leave.
    cover = Box(even(0.1 * width), even(0.132 * height - 0.03 * unit * (title_rows - 1)), side, side)
    start = even(cover.right + 0.105 * width)
    panel = Box(start, even(0.03 * height), even(width * 0.945) - start, even(0.94 * height))
    words = _below(cover, unit, title_rows, most=0.94 * 2 * (cover.left + side / 2))
    bar = Box(cover.left, even(words.artist_baseline + 0.041 * unit), side, _thin(unit))
    return Layout(
        width=width,
        height=height,
        cover=cover,
        words=words,
        brand_baseline=height - 0.048 * unit,
        bar=bar,
        panel=panel,
        unit=unit,
        lyric_em=0.051 * unit,
        title_rows=title_rows,
    )


def _tall(width: int, height: int, title_rows: int) -> Layout:
    """Nothing that matters lies under what players of short videos draw at the top, the bottom and the right."""
    unit = min(1.05 * width, height / 1.15)
    side = even(min(0.5 * width, 0.29 * height))
    cover = Box(even((width - side) / 2), even(0.112 * height), side, side)
    words = _below(cover, unit, title_rows, most=0.86 * width)
    bar = Box(cover.left, even(words.artist_baseline + 0.041 * unit), side, _thin(unit))
    start = even(bar.bottom + 0.03 * unit)
    panel = Box(even(0.085 * width), start, even(0.795 * width), even(0.885 * height) - start)
    return Layout(
        width=width,
        height=height,
        cover=cover,
        words=words,
        brand_baseline=cover.top - 0.035 * unit,
        bar=bar,
        panel=panel,
        unit=unit,
        lyric_em=0.057 * unit,
        title_rows=title_rows,
    )


def _square(width: int, height: int, title_rows: int) -> Layout:
    unit = min(0.87 * width, height / 1.15)
    edge = even(0.075 * width)
    side = even(0.27 * min(width, height))
    cover = Box(edge, edge, side, side)
    left = cover.right + 0.045 * width
    title = cover.top + 0.4 * side + 0.03 * unit * (title_rows - 1)
    words = Words(left, width - edge - left, False, title, title + 0.052 * unit)
    bar = Box(even(left), even(words.artist_baseline + 0.052 * unit), even(words.width), _thin(unit))
    start = even(cover.bottom + 0.035 * height)
    panel = Box(edge, start, width - 2 * edge, even(0.925 * height) - start)
    return Layout(
        width=width,
        height=height,
        cover=cover,
        words=words,
        brand_baseline=height - 0.042 * unit,
        bar=bar,
        panel=panel,
        unit=unit,
        lyric_em=0.058 * unit,
        title_rows=title_rows,
    )


def _alone(width: int, height: int, title_rows: int) -> Layout:
    wide = width >= 1.2 * height
    unit = min(float(height), width / 1.6) if wide else min(1.05 * width, height / 1.15)
    side = even(min(0.556 * height, 0.36 * width) if wide else min(0.66 * width, 0.5 * height))
    more = 0.03 * unit * (title_rows - 1)
    cover = Box(even((width - side) / 2), even((0.088 if wide else 0.17) * height - more), side, side)
    words = _below(cover, unit, title_rows, most=0.86 * width)
    # Whole strokes, of a whole number of pixels: each one is as sharp as the next.
    pitch = max(2, even(STROKE * unit))
    strokes = int(min(1.5 * side, 0.86 * width) / pitch) * pitch
    bar = Box(
        even((width - strokes) / 2), even(words.artist_baseline + 0.03 * unit), strokes, max(4, even(0.088 * unit))
    )
    return Layout(
        width=width,
        height=height,
        cover=cover,
        words=words,
        brand_baseline=height - 0.048 * unit if width > 0.7 * height else cover.top - 0.035 * unit,
        bar=bar,
        panel=None,
        unit=unit,
        lyric_em=0.051 * unit,
        title_rows=title_rows,
    )


def _below(cover: Box, unit: float, title_rows: int, *, most: float) -> Words:
    """Title and artist centred below the cover, a little wider than it."""
    width = min(1.18 * cover.width, most)
    title = cover.bottom + 0.083 * unit + 0.046 * unit * (title_rows - 1)
    return Words(cover.left + (cover.width - width) / 2, width, True, title, title + 0.051 * unit)


def _thin(unit: float) -> int:
    return max(2, even(0.0056 * unit))
