"""The loudness of a song over its length: shown for an instrumental in place of lyrics."""

from __future__ import annotations

import contextlib
import threading
from array import array
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from suno_video_async.lyricvideo.render.audio import Sound
from suno_video_async.lyricvideo.render.errors import RenderCancelled

Floats = npt.NDArray[np.float32]

QUIETEST = 0.06
"""The height of silence, as a share of the loudest part's."""


def loudness(path: Path, parts: int, cancelled: threading.Event) -> Floats:
    """Return how loud each of `parts` equal stretches of a song is, from `QUIETEST` to 1.

    Decodes all of it, frame by frame. Raises `RenderError` if it cannot be read, `RenderCancelled` if cancelled.
    """
    energies, seconds = array("d"), array("d")  # hours have hundreds of thousands
    at = 0.0
    with contextlib.closing(Sound(path, cancelled)) as sound:
        for frame in sound.decoded():
            if cancelled.is_set():
                raise RenderCancelled("the render was cancelled")
            energies.append(_energy(frame))
            seconds.append(at)
            at += frame.samples / frame.sample_rate
    return shaped(np.asarray(energies), np.asarray(seconds), at, parts)


def shaped(
    energies: npt.NDArray[np.float64], seconds: npt.NDArray[np.float64], length: float, parts: int
) -> Floats:
    """Average energies by stretch, relative to the loud parts; a stretch without any takes its neighbour's."""
    if not energies.size or not length:
        return np.full(parts, QUIETEST, np.float32)
    places = np.minimum((seconds / length * parts).astype(np.intp), parts - 1)
    counts = np.bincount(places, minlength=parts)
    sums = np.bincount(places, energies, parts)
    filled = np.flatnonzero(counts)
    means = np.interp(np.arange(parts), filled, sums[filled] / counts[filled])
    heights = np.sqrt(means)
    # Not the very loudest: one bang would flatten the rest.
    heights /= max(float(np.quantile(heights, 0.97)), 1e-4)
    return np.clip(heights, QUIETEST, 1.0).astype(np.float32)


def capsules(heights: Floats, size: tuple[int, int]) -> Floats:
    """Draw round-ended strokes of relative heights side by side, around the middle: coverage 0 to 1 of `size`."""
    width, height = size
    pitch = width / heights.size
    x = np.arange(width, dtype=np.float32) + 0.5
    stroke = np.minimum((x / pitch).astype(np.intp), heights.size - 1)
    across = np.abs(x - (stroke + 0.5) * pitch)
    radius = pitch * 0.27
    reach = heights[stroke] * height / 2 - radius
    y = np.abs(np.arange(height, dtype=np.float32) + 0.5 - height / 2)
    along = np.maximum(y[:, None] - np.maximum(reach, 0.0)[None, :], 0.0)
    cover: Floats = np.clip(0.5 + radius - np.hypot(across[None, :], along), 0.0, 1.0, dtype=np.float32)
    return cover


def _energy(frame: Any) -> float:
    """The mean square of a frame's samples, full scale being 1."""
    samples: Any = frame.to_ndarray()
    if samples.dtype.kind in "iu":
        samples = samples / np.iinfo(samples.dtype).max - (samples.dtype.kind == "u")
    return float(np.mean(np.square(np.asarray(samples, np.float32))))
