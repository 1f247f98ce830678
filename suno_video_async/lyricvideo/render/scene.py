"""What moves: lyrics that scroll with easing, and the progress bar, drawn straight into YUV planes.

`Scene.state` says what a moment looks like, cheaply; two equal states are the same picture. `Scene.paint`
draws one. White has no colour, so text pulls the colour planes towards their middle.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from attrs import define, field, frozen

from suno_video_async.lyricvideo.lyrics import LyricLine
from suno_video_async.lyricvideo.render.backdrop import Plane, Planes
from suno_video_async.lyricvideo.render.highlight import Highlight, highlight
from suno_video_async.lyricvideo.render.layout import Box, Layout
from suno_video_async.lyricvideo.render.text import SUBROWS, Line, Mask, Style, Typesetter
from suno_video_async.lyricvideo.render.waveform import capsules

LYRIC = Style(700, 26.0)
OTHER = Style(450, 26.0)
"""Of a translation or transcription below its line."""

SCROLL = 0.62
"""Seconds a line takes to move into place."""
LEAD = 0.30
"""Seconds before its time that a line begins to move: it is in place when it is sung."""
BRISK = 300.0
"""Quarter pixels a second from which on the scroll goes by whole pixels, which are quicker to encode."""
DIM = 0.37
"""Brightness of a line that is not being sung."""
UNSUNG = 0.24
"""Brightness of a line that is lit word by word before its first word, between dim (0) and bright (1)."""
ABOVE, BELOW = 0.24, 0.42
"""The shares of the panel in which lines come in and go out; the current one is in the middle of the rest."""
ROOMY = 18.0
"""Ems of a panel's height from which on these shares hold; a lower panel has smaller ones."""

_Wide = npt.NDArray[np.uint16]
"""Coverage 0..255 with room for a product."""

_WHITE = 235
_GREY = 128


@frozen
class Gain:
    """The brightness of a line, 0 to 256, and how far its words are lit, where they have times."""

    line: int
    gain: int
    tick: int


@frozen
class State:
    """Everything in which the pictures of two moments can differ."""

    offset: int
    """How far the lyrics have scrolled, in quarter pixels."""
    gains: tuple[Gain, ...]
    """Those of the lines in sight that are not merely dim."""
    bar: int
    """Filled length of the progress bar, in quarter pixels."""


@frozen
class _Move:
    """From `start` on, for `seconds`, the view moves to line `to`; None lights no line."""

    start: float
    seconds: float
    origin: float
    target: float
    before: int | None
    to: int | None


@define
class _Entry:
    """A lyric line: its rows, the place in the scroll (quarter pixels), and its masks while in sight."""

    rows: tuple[Line, ...]
    top: int
    height: int
    highlight: Highlight | None
    masks: dict[tuple[int, int], tuple[int, _Wide]] = field(factory=dict[tuple[int, int], tuple[int, _Wide]])
    drawn: Mask | None = None
    span: tuple[int, int] = (0, 0)


def ease(x: float) -> float:
    """Slow, fast, slow: 0 to 1 with no jerk at either end."""
    x = min(1.0, max(0.0, x))
    return x * x * x * (x * (6.0 * x - 15.0) + 10.0)


def _slope(x: float) -> float:
    """How steep `ease` is."""
    x = min(1.0, max(0.0, x))
    return 30.0 * (x * (1.0 - x)) ** 2


class Scene:
    """The moving parts of one video."""

    def __init__(
        self,
        layout: Layout,
        backdrop: Planes,
        lyrics: Sequence[LyricLine],
        setter: Typesetter,
        *,
        duration: float,
        loudness: npt.NDArray[np.float32] | None = None,
    ) -> None:
        self._layout = layout
        self._setter = setter
        self._backdrop = backdrop
        self._light = np.subtract(_WHITE, backdrop.y, dtype=np.uint16)
        self._duration = max(duration, 0.1)
        panel = layout.panel
        self._panel = panel or Box(0, 0, 0, 0)
        above, below = _margins(self._panel.height / layout.lyric_em)
        self._fade = _fades(self._panel.height, above, below)
        self._clear = (above * self._panel.height, (1.0 - below) * self._panel.height)
        self._entries: list[_Entry] = []
        self._moves: list[_Move] = []
        self._starts: list[float] = []
        if panel is not None:
            self._set_lyrics(sorted(lyrics, key=lambda line: line.start), panel)
        self._bar = _Bar(layout.bar, backdrop, loudness)
        # One step of the bar is at most two pixels, so that a short song's does not jerk.
        self._bar_step = min(0.5, max(0.1, 2.0 * self._duration / layout.bar.width))

    @property
    def lines(self) -> tuple[tuple[Line, ...], ...]:
        """The lyrics as they were broken into rows."""
        return tuple(entry.rows for entry in self._entries)

    def state(self, at: float) -> State:
        """What the picture shows at a time in seconds."""
        tick = math.floor(at / self._bar_step + 1e-6) * self._bar_step
        bar = round(4 * self._layout.bar.width * min(1.0, tick / self._duration))
        index = bisect_right(self._starts, at) - 1
        if index < 0:
            return State(round(self._origin()), (), bar)
        move = self._moves[index]
        passed = (at - move.start) / move.seconds
        done = ease(passed)
        offset = round(move.origin + (move.target - move.origin) * done)
        if abs(move.target - move.origin) * _slope(passed) / move.seconds > BRISK:
            offset = 4 * round(offset / 4)
        gains: list[Gain] = []
        if move.before is not None and done < 1.0 and move.before != move.to:
            gains.append(self._gain(move.before, 1.0 - done, at))
        if move.to is not None:
            gains.append(self._gain(move.to, done if move.before != move.to else 1.0, at))
        return State(offset, tuple(gains), bar)

    def paint(self, planes: Planes, state: State, shown: State | None = None) -> None:
        """Draw a state over the backdrop, which `planes` must hold outside the moving parts.

        If they hold a state already, `shown` is that state: only the differences are drawn.
        """
        rows = self._changed_rows(state, shown)
        if self._entries and rows:
            self._restore(planes, rows)
            gains = {gain.line: gain for gain in state.gains}
            for index, entry in enumerate(self._entries):
                top = entry.top - state.offset
                if top + 4 * entry.height < 0 or top >= 4 * self._panel.height:
                    entry.masks.clear()
                    entry.drawn = None
                    continue
                self._paint_entry(planes, entry, top, gains.get(index, Gain(index, _bright(0.0), 0)), rows)
        if shown is None or shown.bar != state.bar:
            self._bar.paint(planes, state.bar)

    def _changed_rows(self, state: State, shown: State | None) -> range:
        """The rows of the panel, an even number from an even one on, in which two states differ."""
        whole = range(self._panel.height)
        if shown is None or shown.offset != state.offset:
            return whole
        lines = {gain.line for gain in {*state.gains} ^ {*shown.gains}}
        if not lines:
            return range(0)
        entries = [self._entries[line] for line in lines]
        first = min(entry.top for entry in entries) - state.offset
        last = max(entry.top + 4 * entry.height for entry in entries) - state.offset
        return range(max(0, first // 8 * 2), min(whole.stop, -(-last // 8) * 2))

    def _gain(self, line: int, light: float, at: float) -> Gain:
        words = self._entries[line].highlight
        return Gain(line, _bright(light), words.tick(at) if words else 0)

    def _origin(self) -> float:
        return self._moves[0].target if self._moves else 0.0

    def _set_lyrics(self, lyrics: Sequence[LyricLine], panel: Box) -> None:
        layout = self._layout
        em, pitch = layout.lyric_em, layout.lyric_pitch
        top = 0.0
        focus = 0.0
        shown: int | None = None
        for position, lyric in enumerate(lyrics):
            before, origin = shown, focus
            sung = self._setter.wrap(lyric.text, LYRIC, panel.width / em)
            others = [row for text in lyric.others for row in self._setter.wrap(text, OTHER, panel.width / em)]
            rows = (*sung, *others)
            shown = None
            views = [focus]
            if rows:
                block = len(rows) * pitch
                views = self._views(top, block)
                # The mask begins half a line above the block: accents and marks reach far up and down.
                height = math.ceil(block + pitch)
                columns = panel.width + 2 * self._margin
                words = highlight(lyric.words, sung, self._lefts(sung), em, columns, others=len(others))
                self._entries.append(_Entry(rows, round(4 * (top - pitch / 2)), height, words))
                shown = len(self._entries) - 1
                top += block + layout.lyric_gap
            # The duration of the last line is unknown, and of some files, too.
            last = max(self._duration, lyric.start + 3.0 * len(views))
            following = lyrics[position + 1].start if position + 1 < len(lyrics) else last
            each = (following - lyric.start) / len(views)
            for number, focus in enumerate(views):
                begin = lyric.start + number * each - LEAD
                if self._moves:
                    begin = max(begin, self._starts[-1] + self._moves[-1].seconds)
                first = shown == 0 and before is None
                self._starts.append(max(0.0, begin))
                seconds = max(0.08, min(SCROLL, each))
                self._moves.append(
                    _Move(self._starts[-1], seconds, focus if first else origin, focus, before, shown)
                )
                before, origin = shown, focus

    def _views(self, top: float, block: float) -> list[float]:
        """The scroll position while a line is sung; a line too tall to be bright as a whole moves by rows."""
        bright = self._clear[1] - self._clear[0]
        middle = 4.0 * (self._clear[0] + self._clear[1]) / 2
        if block <= bright:
            return [4.0 * (top + block / 2) - middle]
        steps = math.ceil((block - bright) / self._layout.lyric_pitch)
        return [4.0 * (top + bright / 2 + (block - bright) * step / steps) - middle for step in range(steps + 1)]

    def _restore(self, planes: Planes, rows: range) -> None:
        box = self._panel
        for plane, still, shift in _triples(planes, self._backdrop):
            down = slice((box.top + rows.start) >> shift, (box.top + rows.stop) >> shift)
            columns = slice(box.left >> shift, box.right >> shift)
            plane[down, columns] = still[down, columns]

    @property
    def _margin(self) -> int:
        """What letters reach beyond their advance, in pixels."""
        return 2 * math.ceil(0.12 * self._layout.lyric_em)

    def _lefts(self, rows: Sequence[Line]) -> list[float]:
        """The positions of a line's rows in its mask."""
        em, width = self._layout.lyric_em, self._panel.width
        return [self._margin + (width - row.width * em if row.rtl else 0.0) for row in rows]

    def _paint_entry(self, planes: Planes, entry: _Entry, top: int, gain: Gain, rows: range) -> None:
        words = self._word_gains(entry, gain)
        cover, place = self._cover(entry, 0, top, gain, words, rows=rows)
        self._lighten(planes.y, cover, place)
        cover, place = self._cover(entry, 1, top, gain, words, rows=rows)
        self._pale(planes.u, cover, place)
        self._pale(planes.v, cover, place)

    def _cover(
        self, entry: _Entry, shift: int, top: int, gain: Gain, words: _Wide | None, *, rows: range
    ) -> tuple[_Wide, tuple[slice, slice]]:
        """How much of the background the entry hides (0..255), and where in the plane."""
        row, phase = divmod(top, SUBROWS << shift)
        skipped, mask = self._mask(entry, shift, phase)
        row += skipped
        first = max(rows.start >> shift, row)
        last = max(first, min(rows.stop >> shift, row + mask.shape[0]))
        fade = self._fade[shift][first:last]
        cover = mask[first - row : last - row] * ((fade * np.uint16(gain.gain)) >> np.uint16(8))[:, None]
        cover >>= np.uint16(8)
        if words is not None:
            # Each row of the picture belongs to the row of text around it.
            inside = (np.arange(first, last) << shift) - top / 4
            nearest = np.clip(inside / self._layout.lyric_pitch - 0.5, 0, len(entry.rows) - 1).astype(np.intp)
            cover *= words[nearest, :: 1 << shift]
            cover >>= np.uint16(8)
        above, left = self._panel.top >> shift, (self._panel.left + entry.span[0]) >> shift
        return cover, (slice(above + first, above + last), slice(left, left + mask.shape[1]))

    def _word_gains(self, entry: _Entry, gain: Gain) -> _Wide | None:
        """The share (0..256) of the line's brightness that each column of each row has; None: all of it."""
        if entry.highlight is None or gain.gain <= _bright(0.0):
            return None
        self._drawn(entry)  # the span is known from here on
        unsung = _bright(0.0) + (gain.gain - _bright(0.0)) * UNSUNG
        least = round(256 * unsung / gain.gain)
        start = entry.span[0] + self._margin
        light = entry.highlight.light(gain.tick)[:, start : start + entry.span[1] - entry.span[0]]
        return np.uint16(least) + (light * np.uint16(256 - least) >> np.uint16(8))

    def _lighten(self, plane: Plane, cover: _Wide, place: tuple[slice, slice]) -> None:
        """plane += (white - backdrop) * cover; entries never cover the same pixel."""
        cover = cover * self._light[place]
        cover += np.uint16(128)
        cover >>= np.uint16(8)
        area = plane[place]
        np.add(area, cover, out=area, casting="unsafe")

    def _pale(self, plane: Plane, cover: _Wide, place: tuple[slice, slice]) -> None:
        """plane += (grey - plane) * cover, in signed 16-bit integers."""
        area = plane[place]
        pull = np.subtract(_GREY, area, dtype=np.int16)
        pull *= cover.view(np.int16)
        pull += np.int16(128)
        pull >>= np.int16(8)
        # Wraps around at eight bits, which is what adding a negative number must do.
        np.add(area, pull, out=area, casting="unsafe")

    def _mask(self, entry: _Entry, shift: int, phase: int) -> tuple[int, _Wide]:
        key = (shift, phase)
        if key not in entry.masks:
            entry.masks[key] = _settled(self._drawn(entry), shift, phase)
        return entry.masks[key]

    def _drawn(self, entry: _Entry) -> Mask:
        if entry.drawn is None:
            entry.drawn, entry.span = self._draw(entry)
        return entry.drawn

    def _draw(self, entry: _Entry) -> tuple[Mask, tuple[int, int]]:
        """The entry's mask with sub-rows, cut to the columns it uses (an even span)."""
        layout, panel = self._layout, self._panel
        em, pitch = layout.lyric_em, layout.lyric_pitch
        margin = self._margin
        rows: list[tuple[Line, float, float]] = []
        for number, (line, left) in enumerate(zip(entry.rows, self._lefts(entry.rows), strict=True)):
            # 0.36 em: half the height of a capital, so that the line is centred by eye.
            rows.append((line, left, pitch * (number + 1) + 0.36 * em))
        wide = panel.width + 2 * margin
        mask = self._setter.draw(rows, em, (wide, entry.height))
        used = np.flatnonzero(mask.any(axis=0))
        if not used.size:
            return mask[:, :0], (0, 0)
        start = (int(used[0]) // 2) * 2
        end = min(wide, (int(used[-1]) // 2 + 1) * 2)
        return np.ascontiguousarray(mask[:, start:end]), (start - margin, end - margin)


class _Bar:
    """The progress bar: a thin capsule, or the waveform of a loudness; the played part is brighter."""

    def __init__(self, box: Box, backdrop: Planes, loudness: npt.NDArray[np.float32] | None) -> None:
        self._box = box
        size = (box.width, box.height)
        self._shape = _capsule(*size) if loudness is None else capsules(loudness, size)
        self._still = [
            still[box.top >> s : box.bottom >> s, box.left >> s : box.right >> s].astype(np.float32)
            for still, s in ((backdrop.y, 0), (backdrop.u, 1), (backdrop.v, 1))
        ]

    def paint(self, planes: Planes, filled: int) -> None:
        box = self._box
        done = np.clip(filled / 4.0 - np.arange(box.width, dtype=np.float32), 0.0, 1.0)
        alpha = self._shape * (0.16 + 0.56 * done[None, :])
        half = alpha.reshape(box.height // 2, 2, box.width // 2, 2).mean(axis=(1, 3))
        places = ((planes.y, alpha, _WHITE, 0), (planes.u, half, _GREY, 1), (planes.v, half, _GREY, 1))
        for (plane, cover, white, s), still in zip(places, self._still, strict=True):
            area = plane[box.top >> s : box.bottom >> s, box.left >> s : box.right >> s]
            area[:] = np.rint(still + (white - still) * cover)


def _capsule(width: int, height: int) -> npt.NDArray[np.float32]:
    """Coverage 0..1 of a bar with round ends."""
    x = np.arange(width, dtype=np.float32) + 0.5
    y = np.arange(height, dtype=np.float32) + 0.5
    radius = height / 2
    dx = np.maximum(np.abs(x - width / 2) - width / 2 + radius, 0.0)
    distance = np.hypot(dx[None, :], (y - radius)[:, None]) - radius
    shape: npt.NDArray[np.float32] = np.clip(0.5 - distance, 0.0, 1.0, dtype=np.float32)
    return shape


def _bright(light: float) -> int:
    """The brightness, 0 to 256, of a line that is lit by so much, 0 to 1."""
    return round(256 * (DIM + (1.0 - DIM) * light))


def _triples(planes: Planes, still: Planes) -> tuple[tuple[Plane, Plane, int], ...]:
    return (planes.y, still.y, 0), (planes.u, still.u, 1), (planes.v, still.v, 1)


def _margins(ems: float) -> tuple[float, float]:
    """The shares of a panel of this height in which lines come in and go out."""
    share = min(1.0, ems / ROOMY)
    return ABOVE * share, BELOW * share


def _fades(height: int, above: float, below: float) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint16]]:
    """Brightness 0..255 of each row of the panel, for the luma plane and for the colour planes."""
    at = (np.arange(height, dtype=np.float64) + 0.5) / max(1, height)
    comes = np.clip(at / max(above, 1e-3), 0.0, 1.0)
    goes = np.clip((1.0 - at) / max(below, 1e-3), 0.0, 1.0)
    fade = 255.0 * (comes * comes * (3 - 2 * comes)) * (goes * goes * (3 - 2 * goes))
    rows = np.rint(fade).astype(np.uint16)
    return rows, np.rint(fade.reshape(-1, 2).mean(axis=1)).astype(np.uint16)


def _settled(drawn: Mask, shift: int, phase: int) -> tuple[int, _Wide]:
    """Sub-rows averaged to pixel rows at a sub-pixel phase; both axes halved for the colour planes.

    Empty rows above and below are cut off; the first number says how many above.
    """
    unit = SUBROWS << shift
    rows = -(-(drawn.shape[0] + phase) // unit)
    padded = np.zeros((rows * unit, drawn.shape[1]), np.uint8)
    padded[phase : phase + drawn.shape[0]] = drawn
    sums = padded[::unit].astype(np.uint16)
    for row in range(1, unit):
        sums += padded[row::unit]
    if shift:
        sums = sums[:, ::2] + sums[:, 1::2]
    used = np.flatnonzero(sums.any(axis=1))
    first, last = (int(used[0]), int(used[-1]) + 1) if used.size else (0, 0)
    count = unit << shift
    return first, (sums[first:last] + np.uint16(count // 2)) // np.uint16(count)
