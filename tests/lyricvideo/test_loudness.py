"""The sound of a video is as loud as the song."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from suno_video_async.lyricvideo.render import RenderJob, render

_RATE = 48000


def _song(path: Path, codec: str, channels: int) -> None:
    """Write a loud second, near full scale, and a quiet one, of a tone with some breath, as any instrument has."""
    at = np.arange(2 * _RATE) / _RATE
    breath = 0.01 * np.random.default_rng(1).standard_normal(at.size)
    tone = (np.sin(2 * np.pi * 440 * at) + breath) * np.where(at < 1, 0.9, 0.05)
    layout = {1: "mono", 2: "stereo"}[channels]
    output: Any = av.open(str(path), "w")
    with output:
        stream = output.add_stream(codec, rate=_RATE)
        stream.codec_context.layout = layout
        if codec == "libmp3lame":
            stream.bit_rate = 192_000
        resampler = av.AudioResampler(format=stream.codec_context.format, layout=layout, rate=_RATE)
        samples = np.ascontiguousarray(np.stack([tone] * channels), np.float32)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = _RATE, 0, Fraction(1, _RATE)
        for piece in resampler.resample(frame):
            output.mux(stream.encode(piece))
        output.mux(stream.encode(None))


def _levels(path: Path) -> npt.NDArray[np.float64]:
    """The level of the loud and of the quiet half, in decibels below full scale: a row a channel."""
    with av.open(str(path)) as source:
        resampler = av.AudioResampler(format="fltp", layout=source.streams.audio[0].layout, rate=_RATE)
        parts = [part.to_ndarray() for frame in source.decode(audio=0) for part in resampler.resample(frame)]
    samples = np.concatenate(parts, axis=1).astype(np.float64)
    halves = [samples[:, _RATE // 4 : _RATE * 3 // 4], samples[:, _RATE * 5 // 4 : _RATE * 7 // 4]]
    levels: npt.NDArray[np.float64] = np.stack(
        [10 * np.log10(np.mean(half**2, axis=1)) for half in halves], axis=1
    )
    return levels


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
    ("name", "codec"), [("song.wav", "pcm_s16le"), ("song.flac", "flac"), ("song.mp3", "libmp3lame")]
)
def test_a_song_that_is_encoded_anew_keeps_its_level(tmp_path: Path, name: str, codec: str, channels: int) -> None:
    """Loud and quiet parts, of one channel or two, stay as loud as they are within a tenth of a decibel."""
    _song(tmp_path / name, codec, channels)
    Image.new("RGB", (64, 64)).save(tmp_path / "cover.png")
    job = RenderJob(
        audio=tmp_path / name,
        cover=tmp_path / "cover.png",
        title="",
        artist="",
        brand="",
        lyrics=(),
        width=128,
        height=96,
        fps=5,
    )
    made = render(job, tmp_path / "video.mp4", threads=1)
    before, after = _levels(tmp_path / name), _levels(made.path)
    assert before.shape == after.shape == (channels, 2)
    assert after == pytest.approx(before, abs=0.1)
