"""Lyrics with their times, as karaoke tools, subtitle editors and exporters write them.

`read_lyrics` goes by what a text holds, not by its file's name: LRC, SubRip, WebVTT or plain text.
"""

from __future__ import annotations

from suno_video_async.lyricvideo.lyrics.lrc import looks_like_lrc, parse_lrc
from suno_video_async.lyricvideo.lyrics.model import (
    LONGEST_LINE,
    MOST_LINES,
    LyricLine,
    Lyrics,
    LyricsError,
    LyricsWarning,
    LyricWord,
)
from suno_video_async.lyricvideo.lyrics.plain import spread_lines
from suno_video_async.lyricvideo.lyrics.subtitles import looks_like_subtitles, parse_subtitles

__all__ = [
    "LONGEST_LINE",
    "MOST_LINES",
    "LyricLine",
    "LyricWord",
    "Lyrics",
    "LyricsError",
    "LyricsWarning",
    "parse_lrc",
    "parse_subtitles",
    "read_lyrics",
    "spread_lines",
]


def read_lyrics(text: str, duration: float) -> Lyrics:
    """Read lyrics of any kind.

    Args:
        text: the file's.
        duration: of the song in seconds; lines without times are spread over it.

    Raises:
        LyricsError: no line of it can be used.

    """
    if looks_like_subtitles(text):
        return parse_subtitles(text)
    if looks_like_lrc(text):
        return parse_lrc(text, duration)
    return spread_lines(text, duration)
