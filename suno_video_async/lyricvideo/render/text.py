"""Text to pixels: bidirectional order, shaping, wrapping and coverage masks.

Everything up to the mask is measured in ems, from unhinted outlines at a fixed optical size, so a line
wraps alike at every video size.
"""

from __future__ import annotations

import importlib
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from attrs import evolve, field, frozen

from suno_video_async.lyricvideo.render.breaking import Atom, atoms, clusters, rows
from suno_video_async.lyricvideo.render.emoji import paint
from suno_video_async.lyricvideo.render.fonts import FONT_FILES, Faces, is_coloured
from suno_video_async.lyricvideo.scripts import VARIANTS, cjk_region

# Neither library ships type information; through `Any` they need no ignore at each call.
_hb: Any = importlib.import_module("uharfbuzz")
_bidi: Any = importlib.import_module("bidi.algorithm")

Mask = npt.NDArray[np.uint8]

SUBROWS: Final = 4
"""Mask rows per pixel row: the scroll moves in steps of a quarter of a pixel."""

_CURSIVE: Final = frozenset({"Arab", "Syrc", "Mong", "Nkoo", "Adlm", "Mand"})
# Unicode TR9, rule X9: these do not take part in the ordering of what is around them.
_UNORDERED: Final = frozenset({"RLE", "LRE", "RLO", "LRO", "PDF", "BN", "RLI", "LRI", "FSI", "PDI"})


@frozen
class Style:
    """How a text is set: weight, optical size in points, and extra space between letters in ems."""

    weight: int
    optical_size: float = 28.0
    tracking: float = 0.0


@frozen
class Glyph:
    """One glyph of a face (a number of `Faces`) at a position in ems, y upwards.

    `cluster` is the place in the text of the first character that it draws.
    """

    face: int
    index: int
    x: float
    y: float
    cluster: int


@frozen
class Line:
    """A shaped line in visual order, from left to right; width in ems.

    `start` is the place of its first character in the text that it was broken from.
    """

    style: Style
    glyphs: tuple[Glyph, ...]
    width: float
    rtl: bool
    start: int = 0


@frozen
class _Run:
    """A stretch of one direction, one script and one face, in logical order."""

    start: int
    end: int
    level: int
    face: int
    script: str | None


@frozen
class Typesetter:
    """Shapes text and remembers which characters had no glyph.

    One per render: it is not shared between threads.
    """

    _faces: Faces = field(factory=Faces)
    _sized: dict[tuple[int, Style], Any] = field(factory=dict[tuple[int, Style], Any])
    _scripts: dict[str, str | None] = field(factory=dict[str, str | None])
    _missing: dict[str, None] = field(factory=dict[str, None])

    @classmethod
    def of(cls, language: str, texts: Iterable[str], fonts: Sequence[Path] = ()) -> Typesetter:
        """Make one for these texts, in the forms of letters that their language has.

        Letters are looked for in `fonts` first.
        """
        return cls(Faces(cjk_region(language, texts), tuple(fonts)))

    @property
    def missing(self) -> tuple[str, ...]:
        """The characters met so far that no font can draw, in order of appearance."""
        return tuple(self._missing)

    def shape(self, text: str, style: Style, *, rtl: bool | None = None) -> Line:
        """Shape one line; `rtl` is the direction of the paragraph, by default that of the first letter."""
        text = clean(text)
        base = is_rtl(text) if rtl is None else rtl
        glyphs: list[Glyph] = []
        pen = 0.0
        for run in _visual(self._runs(text, int(base))):
            placed, pen = self._shape_run(text, run, style, pen)
            glyphs += placed
        return Line(style, tuple(glyphs), max(0.0, pen - style.tracking), base)

    def width(self, text: str, style: Style) -> float:
        """The width of a text on one line, in ems."""
        return self.shape(text, style).width

    def wrap(self, text: str, style: Style, width: float) -> tuple[Line, ...]:
        """Break a text into as few lines as fit `width` ems, and balance their lengths."""
        text = clean(text)
        pieces = [piece for atom in atoms(text, self._faces.region) for piece in self._fit(atom, style, width)]
        widths = [self.width(piece.text.rstrip(), style) for piece in pieces]
        space = self.width("x x", style) - self.width("xx", style)
        gaps = [space if piece.text[-1:] == " " else 0.0 for piece in pieces]
        base = is_rtl(text)
        lines: list[Line] = []
        for first, last in rows(pieces, widths, gaps, width):
            row = "".join(piece.text for piece in pieces[first:last])
            start = sum(len(piece.text) for piece in pieces[:first]) + len(row) - len(row.lstrip())
            lines.append(evolve(self.shape(row.strip(), style, rtl=base), start=start))
        return tuple(lines)

    def shorten(self, text: str, style: Style, width: float, *, shrink: float = 0.72) -> tuple[Line, float]:
        """Fit one line into `width` ems: smaller down to `shrink`, then cut with an ellipsis.

        Returns the line and the scale to draw it at.
        """
        line = self.shape(text, style)
        if line.width <= width:
            return line, 1.0
        if line.width * shrink <= width:
            return line, width / line.width
        cut = _cut(text, lambda cut: self.width(cut, style) * shrink <= width)
        return self.shape(cut, style, rtl=line.rtl), shrink

    def block(self, text: str, style: Style, width: float, most: int) -> tuple[Line, ...]:
        """Fit a text into a few rows of `width` ems; what is too long is cut with an ellipsis."""
        lines = self.wrap(text, style, width)
        if len(lines) <= most:
            return lines
        return self.wrap(_cut(text, lambda cut: len(self.wrap(cut, style, width)) <= most), style, width)

    def _fit(self, atom: Atom, style: Style, width: float) -> Iterator[Atom]:
        """Cut a word that is longer than a row between its letters."""
        piece = ""
        if self.width(atom.text.rstrip(), style) <= width:
            yield atom
            return
        for cluster in clusters(atom.text):
            if piece and self.width((piece + cluster).rstrip(), style) > width:
                yield Atom(piece)
                piece = ""
            piece += cluster
        yield Atom(piece, atom.cost)

    def _runs(self, text: str, base: int) -> list[_Run]:
        runs: list[_Run] = []
        for at, (char, level) in enumerate(zip(text, _levels(text, base), strict=True)):
            last = runs[-1] if runs else None
            script = self._script(char) or (last.script if last else None)
            near = last.face if last else None
            following = text[at + 1 : at + 2]
            if unicodedata.category(char) in {"Ps", "Pi"} and following:
                near = self._face(following, near)  # so that a pair of quotation marks is of one face
            face = self._face(char, near, as_emoji=following == "\ufe0f" or _is_pictured(char))
            coloured = is_coloured(self._faces[face])  # a family is one picture of letters of several scripts
            if last and last.level == level and last.face == face and (coloured or last.script in {script, None}):
                runs[-1] = _Run(last.start, at + 1, level, face, script)
            else:
                runs.append(_Run(at, at + 1, level, face, script))
        return runs

    def _script(self, char: str) -> str | None:
        """The script of a letter; None for what all scripts share (digits, punctuation, marks)."""
        if char not in self._scripts:
            buffer = _hb.Buffer()
            buffer.add_str(char)
            buffer.guess_segment_properties()
            self._scripts[char] = buffer.script
        return self._scripts[char]

    def _face(self, char: str, near: int | None, *, as_emoji: bool = False) -> int:
        """The face for a character: what scripts share takes the face of the letter near it, if that has it."""
        if char in VARIANTS:
            return near or 0
        # Figures and Latin letters look the same throughout a song, regardless of their neighbours.
        shared = self._script(char) is None and not (char.isascii() and (near or 0) >= len(FONT_FILES))
        if near is not None and shared and not as_emoji and self._faces.has(near, char):
            return near
        face = self._faces.of(char, as_emoji=as_emoji)
        return face if face is not None else near or 0

    def _font(self, face: int, style: Style) -> Any:
        if (face, style) not in self._sized:
            font = _hb.Font(self._faces[face])
            font.set_variations({"wght": style.weight, "opsz": style.optical_size})
            self._sized[face, style] = font
        return self._sized[face, style]

    def _shape_run(self, text: str, run: _Run, style: Style, pen: float) -> tuple[list[Glyph], float]:
        buffer = _hb.Buffer()
        buffer.add_str(text, run.start, run.end - run.start)
        if run.script:
            buffer.script = run.script
        buffer.direction = "rtl" if run.level % 2 else "ltr"
        buffer.guess_segment_properties()
        font = self._font(run.face, style)
        _hb.shape(font, buffer, {"kern": True, "liga": not style.tracking})
        unit = 1.0 / self._faces[run.face].upem
        spread = 0.0 if run.script in _CURSIVE else style.tracking
        placed: list[Glyph] = []
        for info, position in zip(buffer.glyph_infos, buffer.glyph_positions, strict=True):
            if info.codepoint == 0:
                # Leave it out instead of drawing a box, and name it in the result.
                self._miss(text, info.cluster, run)
                continue
            x, y = pen + position.x_offset * unit, position.y_offset * unit
            placed.append(Glyph(run.face, info.codepoint, x, y, info.cluster))
            pen += position.x_advance * unit + (spread if position.x_advance else 0.0)
        return placed, pen

    def _miss(self, text: str, at: int, run: _Run) -> None:
        """Remember which letters of a cluster the face lacks: it may be only a mark."""
        end = at + len(next(clusters(text[at : run.end])))
        lacking = [char for char in text[at:end] if char not in VARIANTS and not self._faces.has(run.face, char)]
        self._missing.update(dict.fromkeys(lacking or text[at]))

    def draw(self, rows: Sequence[tuple[Line, float, float]], em: float, size: tuple[int, int]) -> Mask:
        """Draw lines at (left, baseline) in pixels, y downwards, into a mask of `size` (width, height).

        The mask has `SUBROWS` rows per pixel row.
        """
        width, height = size[0], size[1] * SUBROWS
        draw = _hb.RasterDraw()
        draw.extents = _hb.RasterExtents(0, 0, width, height, 0)
        pictures: list[tuple[Any, int, float, float]] = []
        for line, left, baseline in rows:
            for glyph in line.glyphs:
                scale = em / self._faces[glyph.face].upem
                x, y = left + glyph.x * em, height - (baseline - glyph.y * em) * SUBROWS
                if is_coloured(self._faces[glyph.face]):
                    pictures.append((self._font(glyph.face, line.style), glyph.index, x, baseline - glyph.y * em))
                    continue
                draw.transform = (scale, 0.0, 0.0, scale * SUBROWS, x, y)
                draw.draw_glyph(self._font(glyph.face, line.style), glyph.index)
        image = draw.render()
        extents = image.extents
        mask = np.zeros((height, width), np.uint8)
        if image.buffer:
            pixels = np.frombuffer(image.buffer, np.uint8).reshape(extents.height, extents.stride)
            mask[:] = pixels[::-1, :width]
        for font, index, x, y in pictures:
            paint(mask, font, index, place=(x, y), em=em, subrows=SUBROWS)
        return mask


def _cut(text: str, fits: Callable[[str], bool]) -> str:
    """As many of the first letters as fit with an ellipsis after them."""
    letters = list(clusters(clean(text)))
    low, high = 0, len(letters)

    def first(count: int) -> str:
        return "".join(letters[:count]).rstrip() + "…"

    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(first(middle)) else (low, middle - 1)
    return first(low)


def clean(text: str) -> str:
    """Composed (NFC), on one line, without control characters."""
    text = " ".join(unicodedata.normalize("NFC", text).split())
    return "".join(char for char in text if unicodedata.category(char) not in {"Cc", "Cs", "Co"})


def is_rtl(text: str) -> bool:
    """Whether the first letter with a direction is written from right to left."""
    for char in text:
        kind = unicodedata.bidirectional(char)
        if kind in {"R", "AL", "L"}:
            return kind != "L"
    return False


def _is_pictured(char: str) -> bool:
    """Whether a character is an emoji without being told: those of Unicode's planes of pictures."""
    return "\U0001f000" <= char <= "\U0001faff"


def _levels(text: str, base: int) -> list[int]:
    """The embedding level of each character (Unicode TR9): odd levels run from right to left."""
    ordered = [at for at, char in enumerate(text) if unicodedata.bidirectional(char) not in _UNORDERED]
    storage = _bidi.get_empty_storage()
    storage["base_level"] = base
    storage["base_dir"] = "LR"[base]
    # A letter that Python's Unicode does not know has no direction, with which the algorithm cannot go on.
    known = (text[at] if unicodedata.bidirectional(text[at]) else "\ufffd" for at in ordered)
    _bidi.get_embedding_levels("".join(known), storage)
    _bidi.explicit_embed_and_overrides(storage)
    _bidi.resolve_weak_types(storage)
    _bidi.resolve_neutral_types(storage, False)
    _bidi.resolve_implicit_levels(storage, False)
    levels: list[int] = [-1] * len(text)
    for at, char in zip(ordered, storage["chars"], strict=True):
        levels[at] = int(char["level"])
    before = base
    for at, level in enumerate(levels):
        levels[at] = before = before if level < 0 else level
    return levels


def _visual(runs: Sequence[_Run]) -> list[_Run]:
    """Runs from left to right: every stretch at or above a level is reversed, highest level first (L2)."""
    order = list(runs)
    top = max((run.level for run in order), default=0)
    for level in range(top, 0, -1):
        start = 0
        while start < len(order):
            end = start
            while end < len(order) and order[end].level >= level:
                end += 1
            order[start:end] = order[start:end][::-1]
            start = max(end, start + 1)
    return order
