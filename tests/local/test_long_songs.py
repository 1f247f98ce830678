"""Songs of hours take no more memory than songs of minutes."""

from __future__ import annotations

import threading
import tracemalloc
import wave
from pathlib import Path
from typing import Any

import av
import pytest

from suno_video_async.local.lyrics import LyricLine
from suno_video_async.local.render.audio import Sound
from suno_video_async.local.render.layout import lay_out
from suno_video_async.local.render.scene import Scene
from suno_video_async.local.render.text import Typesetter
from suno_video_async.local.render.waveform import loudness

from .pictures import empty_planes

_SIZE = (128, 96)


def _peak_of_painting(lines: int) -> int:
    """The most bytes that are taken while all lines of a song are painted, one after the other."""
    lyrics = [LyricLine(4.0 * number, "Every window holds a morning") for number in range(lines)]
    planes = empty_planes(*_SIZE)
    scene = Scene(lay_out(*_SIZE, lyrics=True), empty_planes(*_SIZE), lyrics, Typesetter(), duration=4.0 * lines)
    tracemalloc.start()
    try:
        for number in range(lines):
            scene.paint(planes, scene.state(4.0 * number + 0.2))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_painting_two_hours_takes_no_more_than_painting_minutes() -> None:
    """Lines that are out of sight keep no picture: ten times as many lines take less than a tenth more."""
    few, many = _peak_of_painting(12), _peak_of_painting(120)
    assert many < 1.1 * few


@pytest.fixture
def long(tmp_path: Path) -> Path:
    """Ten minutes of silence in a small file."""
    path = tmp_path / "song.wav"
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(1)
        sound.setframerate(2000)
        sound.writeframes(b"\x80" * 2000 * 60 * 10)
    return path


def test_listening_to_a_long_song_keeps_no_sound(long: Path) -> None:
    """The waveform of an instrumental is made frame by frame."""
    tracemalloc.start()
    try:
        heights = loudness(long, 50, threading.Event())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert heights.size == 50
    assert peak < long.stat().st_size  # as floats it would be four times the file


def test_the_sound_waits_for_the_picture(tmp_path: Path) -> None:
    """The encoder of the sound stops ahead of the picture instead of filling the memory."""
    with wave.open(str(tmp_path / "song.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(32000)
        sound.writeframes(bytes(32000 * 60 * 2))
    sound_in = Sound(tmp_path / "song.wav", threading.Event())
    output: Any = av.open(str(tmp_path / "out.mp4"), "w")
    sound_in.attach(output)
    sound_in.start()
    packets = list(sound_in.take(1.0))
    assert 1.0 <= sound_in.seconds < 1.2
    assert len(packets) < 40
    sound_in.close()
    output.close()
