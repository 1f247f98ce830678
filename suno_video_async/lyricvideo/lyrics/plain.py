"""Lyrics without times, spread over a song."""

from __future__ import annotations

from collections.abc import Iterable

from suno_video_async.lyricvideo.lyrics.headings import is_credit, sung
from suno_video_async.lyricvideo.lyrics.model import LyricLine, Lyrics, Oddities, decoded, numbered


def spread_lines(text: str, duration: float) -> Lyrics:
    """Give each line a share of the song by its length; headings and credits at the begin and end are left out.

    Args:
        text: of the lyrics.
        duration: of the song in seconds.

    Raises:
        LyricsError: no line can be used.

    """
    oddities = Oddities()
    lines = [(number, " ".join(decoded(sung(line)).split())) for number, line in numbered(text, oddities)]
    kept = without_credits([entry for entry in lines if entry[1]], oddities)
    return oddities.result(spread([line for _, line in kept], duration), spread=True)


def spread(lines: list[str], duration: float) -> Iterable[LyricLine]:
    """Lines with times by their lengths."""
    weights = [12 + len(line) for line in lines]
    # Songs begin and end with music.
    start, span = 0.06 * duration, 0.88 * duration
    passed, total = 0, sum(weights)
    for line, weight in zip(lines, weights, strict=True):
        yield LyricLine(round(start + span * passed / total, 2), line)
        passed += weight


def without_credits(lines: list[tuple[int, str]], oddities: Oddities) -> list[tuple[int, str]]:
    """Leave out the credits before the first line that is sung, and after the last one."""
    first, last = 0, len(lines)
    while first < last and is_credit(lines[first][1]):
        first += 1
    while last > first and is_credit(lines[last - 1][1]):
        last -= 1
    if first == last:  # a song made of nothing else: these lines are sung
        return lines
    for number, line in [*lines[:first], *lines[last:]]:
        oddities.add(number, f"is a credit and not shown: {line[:60]!r}; put it into track.toml if it is to be")
    return lines[first:last]
