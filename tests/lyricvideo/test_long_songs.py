"""Songs of hours take no more memory than songs of minutes."""

from __future__ import annotations

import threading
import tracemalloc
import wave
from pathlib import Path
from typing import Any

import av

from suno_video_async.lyricvideo.lyrics import LyricLine
from suno_video_async.lyricvideo.render.audio import Sound
from suno_video_async.lyricvideo.render.layout import lay_out
from suno_video_async.lyricvideo.render.scene import Scene
from suno_video_async.lyricvideo.render.text import Typesetter
from suno_video_async.lyricvideo.render.waveform import loudness
from tests.lyricvideo.pictures import empty_planes

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
    """Lines that are out of sight keep no picture: six times as many lines take less than a tenth more."""
    few, many = _peak_of_painting(10), _peak_of_painting(60)
    assert many < 1.1 * few


def _peak_of_listening(path: Path, seconds: int) -> int:
    """The most bytes that are taken while the waveform of silence is made."""
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(1)
        sound.setframerate(2000)
        sound.writeframes(b"\x80" * 2000 * seconds)
    tracemalloc.start()
    try:
        assert loudness(path, 50, threading.Event()).size == 50
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_listening_to_a_long_song_keeps_no_sound(tmp_path: Path) -> None:
    """The waveform of an instrumental is made frame by frame: more of it takes less than a byte a sample."""
    _peak_of_listening(tmp_path / "song.wav", 5)  # what is loaded once
    short, long = (_peak_of_listening(tmp_path / "song.wav", seconds) for seconds in (20, 100))
    assert long - short < 80 * 2000


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
