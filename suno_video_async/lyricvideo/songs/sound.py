"""Audio files of the built-in songs, through PyAV."""

from __future__ import annotations

import zlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from suno_video_async.lyricvideo.songs.scores import Score
from suno_video_async.lyricvideo.songs.synth import RATE, synthesise


def write_song(score: Score, name: str, path: Path) -> None:
    """Synthesise a song and write it as AAC in an MP4 file; the name seeds its noise."""
    samples = synthesise(score, seed=zlib.crc32(name.encode()))
    # `Any`: PyAV's annotations of outputs are incomplete.
    output: Any = av.open(str(path), "w", format="ipod", options={"movflags": "+faststart"})
    with output:
        stream = output.add_stream("aac", rate=RATE, options={"aac_coder": "fast"})
        stream.bit_rate = 192_000
        stream.codec_context.layout = "stereo"
        for start in range(0, samples.shape[1], RATE):
            part = np.ascontiguousarray(samples[:, start : start + RATE])
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="stereo")
            frame.sample_rate = RATE
            frame.pts, frame.time_base = start, Fraction(1, RATE)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
