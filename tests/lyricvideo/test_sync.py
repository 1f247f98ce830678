"""Sound and picture together: a click is heard when the word is lit that has its time."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from suno_video_async.lyricvideo.lyrics import LyricLine, LyricWord
from suno_video_async.lyricvideo.render import RenderJob, render

_CLICKS = (1.0, 2.5)
_SECONDS = 3.7
_FPS = 100


def _clicks(path: Path, codec: str, rate: int) -> None:
    """Write silence with a click of four milliseconds at each of the times."""
    samples = np.zeros(round(_SECONDS * rate), np.float32)
    click = 0.8 * np.sin(2 * np.pi * 2000 * np.arange(rate // 250) / rate)
    for at in _CLICKS:
        samples[round(at * rate) : round(at * rate) + click.size] = click
    output: Any = av.open(str(path), "w", format={".m4a": "ipod"}.get(path.suffix))
    with output:
        stream = output.add_stream(codec, rate=rate, options={"strict": "experimental"})
        stream.codec_context.layout = "stereo"
        resampler = av.AudioResampler(format=stream.codec_context.format, layout="stereo", rate=rate)
        for start in range(0, samples.size, 1024):
            part = np.ascontiguousarray(np.stack([samples[start : start + 1024]] * 2))
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            for piece in resampler.resample(frame):
                output.mux(stream.encode(piece))
        output.mux(stream.encode(None))


def _heard(path: Path) -> list[float]:
    """When the clicks of a video are heard, in seconds."""
    heard: list[float] = []
    with av.open(str(path)) as source:
        for frame in source.decode(audio=0):
            assert frame.time is not None
            for at in np.flatnonzero(np.abs(frame.to_ndarray()[0]) > 0.2):
                seconds = frame.time + float(at) / frame.sample_rate
                if not heard or seconds - heard[-1] > 0.5:
                    heard.append(seconds)
    return heard


def _seen(path: Path) -> list[float]:
    """When the left and the right half of the lyrics begin to light up, in seconds."""
    times, pictures = list[float](), list[npt.NDArray[np.int64]]()
    with av.open(str(path)) as source:
        for frame in source.decode(video=0):
            assert frame.time is not None
            times.append(frame.time)
            pictures.append(frame.to_ndarray(format="gray").astype(np.int64))
    lit = np.flatnonzero((pictures[-1] - pictures[90])[:, 160:].sum(axis=0) > 100) + 160
    middle = (lit[0] + lit[-1]) // 2
    # From a still picture shortly before each word on.
    return [
        next(
            time
            for time, picture in zip(times, pictures, strict=True)
            if time > at - 0.2 and (picture - pictures[round((at - 0.2) * _FPS)])[:, columns].sum() > 60
        )
        for at, columns in zip(_CLICKS, (slice(lit[0], middle - 8), slice(middle + 8, lit[-1])), strict=True)
    ]


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [
        ("song.mp3", "libmp3lame", 44100),
        ("slow.mp3", "libmp3lame", 22050),
        ("song.m4a", "aac", 44100),
        ("song.flac", "flac", 48000),
        ("song.ogg", "vorbis", 44100),
        ("song.opus", "libopus", 48000),
        ("song.wav", "pcm_s16le", 44100),
        ("fine.wav", "pcm_s16le", 96000),
    ],
)
def test_a_click_is_heard_when_its_word_is_lit(tmp_path: Path, name: str, codec: str, rate: int) -> None:
    """Sound and light are both within ten milliseconds of the time, and the video is as long as the song."""
    _clicks(tmp_path / name, codec, rate)
    Image.new("RGB", (64, 64)).save(tmp_path / "cover.png")
    words = (LyricWord(_CLICKS[0], "MMMM "), LyricWord(_CLICKS[1], "MMMM"))
    job = RenderJob(
        audio=tmp_path / name,
        cover=tmp_path / "cover.png",
        title="",
        artist="",
        brand="",
        lyrics=(LyricLine(0.3, "MMMM MMMM", words),),
        width=320,
        height=180,
        fps=_FPS,
        every_frame=True,
    )
    made = render(job, tmp_path / "video.mp4")
    assert _heard(made.path) == pytest.approx(_CLICKS, abs=0.010)
    # A letter takes a moment to be brighter than before; a word is never lit before it is heard.
    assert _seen(made.path) == pytest.approx([at + 0.010 for at in _CLICKS], abs=0.0101)
    assert made.duration == pytest.approx(_SECONDS, abs=0.020)
