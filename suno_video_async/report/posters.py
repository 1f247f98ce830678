"""A small still of each video, taken by PyAV (extra `local`), as an embeddable JPEG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

#: Width in pixels, and maximum bytes of all stills of a page together.
WIDTH, MOST_BYTES = 320, 12_000_000
_QUALITY = 62
#: The position of the still as a share of the video: after the titles, before the end.
_WHERE = 1 / 3


def available() -> bool:
    """Whether stills can be taken: the extra `local` is installed."""
    try:
        import av  # noqa: F401, PLC0415  # pyright: ignore[reportUnusedImport]
        import PIL.Image  # noqa: F401, PLC0415  # pyright: ignore[reportUnusedImport]
    except ImportError:
        return False
    return True


def posters(
    videos: Mapping[int, Path], *, most: int, threads: int = 4, taken: dict[int, bytes | None] | None = None
) -> dict[int, bytes]:
    """Return stills by the rows' numbers; a video that cannot be read has none. Blocks.

    Args:
        videos: the files by their rows' numbers.
        most: maximum number of stills, of the first files.
        threads: how many are taken at once.
        taken: those of earlier calls, which are not taken again; those of this call are added.

    """
    chosen = list(videos)[:most]
    if not chosen or not available():
        return {}
    taken = {} if taken is None else taken
    missing = [number for number in chosen if number not in taken]
    with ThreadPoolExecutor(threads) as pool:
        taken.update(zip(missing, pool.map(_still_or_none, [videos[number] for number in missing]), strict=True))
    return _within([(number, taken[number]) for number in chosen])


def _within(stills: Sequence[tuple[int, bytes | None]]) -> dict[int, bytes]:
    kept, size = dict[int, bytes](), 0
    for number, still_ in stills:
        if still_ is not None and size + len(still_) <= MOST_BYTES:
            kept[number] = still_
            size += len(still_)
    return kept


def _still_or_none(path: Path) -> bytes | None:
    from av.error import FFmpegError  # noqa: PLC0415  of the `local` extra

    try:
        return still(path)
    except (FFmpegError, OSError, ValueError):
        return None  # not reported: playing the video will show the problem


def still(path: Path) -> bytes | None:
    """Return one frame of a video as a JPEG, or None if it has none.

    Raises:
        av.error.FFmpegError: it cannot be read as a video.

    """
    import av  # noqa: PLC0415  of the `local` extra

    with av.open(str(path)) as container:
        if not container.streams.video:
            return None
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        if container.duration:
            container.seek(int(container.duration * _WHERE))  # to the key frame before: near enough
        frame = next(container.decode(stream), None)
        return None if frame is None else _jpeg(frame)


def _jpeg(frame: Any) -> bytes:
    height = max(2, round(frame.height * WIDTH / max(1, frame.width)))
    image = frame.reformat(width=WIDTH, height=min(height, 2 * WIDTH), format="rgb24").to_image()
    kept = io.BytesIO()
    image.save(kept, "JPEG", quality=_QUALITY, optimize=True)
    return kept.getvalue()
