"""Words that light up letter by letter as they are sung, if the lyrics time each word."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from attrs import frozen

from suno_video_async.lyricvideo.lyrics import LyricWord
from suno_video_async.lyricvideo.render.text import Line

SWEEP = 0.7
"""Seconds in which a word lights up from its first to its last letter, at most: a held note stays lit."""
SOFT = 0.16
"""Seconds in which one letter lights up."""
TICKS = 120
"""Steps a second in which the light moves."""


@frozen(eq=False)
class Highlight:
    """When each column of each row of a line lights up.

    Columns are counted as the mask of the line counts them.
    """

    _times: npt.NDArray[np.float32]
    _begins: tuple[float, ...]
    _ends: tuple[float, ...]

    def tick(self, at: float) -> int:
        """The step of the light at a time in seconds; it stays the same while nothing changes."""
        number = bisect_right(self._begins, at) - 1
        if number < 0:
            return int(self._begins[0] * TICKS)
        return int(min(at, self._ends[number] + 1 / TICKS) * TICKS + 1e-6)

    def light(self, tick: int) -> npt.NDArray[np.uint16]:
        """How far each column of each row is lit at a step, 0 to 256."""
        share = (np.float32(tick / TICKS) - self._times) / np.float32(SOFT)
        light: npt.NDArray[np.uint16] = np.rint(np.clip(share, 0.0, 1.0) * 256).astype(np.uint16)
        return light


def highlight(
    words: Sequence[LyricWord],
    rows: Sequence[Line],
    lefts: Sequence[float],
    em: float,
    columns: int,
    *,
    others: int = 0,
) -> Highlight | None:
    """Spread the times of words over the letters of a line.

    Args:
        words: the line's, in order.
        rows: the line as it was broken.
        lefts: where each row begins, in columns.
        em: columns an em.
        columns: how many there are.
        others: rows below them that light up as a whole when the line begins.

    Returns:
        None if words have no times.

    """
    sweeps = tuple(_sweeps(words))
    if not sweeps:
        return None
    letters = [begin + seconds * at / size for begin, seconds, size in sweeps for at in range(size)]
    times = np.full((len(rows) + others, columns), sweeps[0][0], np.float32)
    for number, (row, left) in enumerate(zip(rows, lefts, strict=True)):
        for glyph in sorted(row.glyphs, key=lambda glyph: glyph.x):
            # Up to the next glyph, which overwrites the rest: a letter has one time from edge to edge.
            letter = min(row.start + glyph.cluster, len(letters) - 1)
            times[number, max(0, round(left + glyph.x * em)) :] = letters[letter]
    ends = tuple(begin + seconds + SOFT for begin, seconds, _ in sweeps)
    return Highlight(times, tuple(begin for begin, _, _ in sweeps), ends)


def _sweeps(words: Sequence[LyricWord]) -> Iterator[tuple[float, float, int]]:
    """Each word's begin, the seconds in which it lights up, and its number of characters."""
    for word, following in zip(words, [*words, None][1:], strict=True):
        if word.text:
            seconds = min(SWEEP, following.start - word.start) if following else SWEEP
            yield word.start, max(0.0, seconds), len(word.text)
