"""Which of a task's media is its video: by the ending of a URL's path, as nothing else is said about it."""

from __future__ import annotations

from collections.abc import Sequence

VIDEO = frozenset({"mp4", "m4v", "mov", "webm", "mkv"})
#: Covers, soundtracks and texts, which some services list beside the video.
NO_VIDEO = frozenset(
    {
        *("jpg", "jpeg", "png", "webp", "gif", "avif", "heic", "bmp", "svg", "ico"),
        *("mp3", "wav", "m4a", "aac", "flac", "ogg", "oga", "opus"),
        *("json", "txt", "lrc", "srt", "vtt", "html", "xml"),
    }
)


def first_video(urls: Sequence[str]) -> str | None:
    """Return the first URL that ends like a video, else the first that may be one; None if none may be."""
    endings = [_ending(url) for url in urls]
    for url, ending in zip(urls, endings, strict=True):
        if ending in VIDEO:
            return url
    return next((url for url, ending in zip(urls, endings, strict=True) if ending not in NO_VIDEO), None)


def _ending(url: str) -> str:
    # `urlsplit` takes five times as long, and each answer with a video is looked at.
    path = url.partition("#")[0].partition("?")[0].partition("://")[2].partition("/")[2]
    name = path.rpartition("/")[2]
    return name.rpartition(".")[2].lower() if "." in name else ""
