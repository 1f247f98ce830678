"""Songs without lyrics show how loud they are."""

from __future__ import annotations

import threading
import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from suno_video_async.lyricvideo.render import RenderCancelled
from suno_video_async.lyricvideo.render.layout import Layout, lay_out
from suno_video_async.lyricvideo.render.scene import Scene
from suno_video_async.lyricvideo.render.text import Typesetter
from suno_video_async.lyricvideo.render.waveform import QUIETEST, capsules, loudness, shaped
from tests.lyricvideo.pictures import empty_planes


@pytest.fixture
def half_silent(tmp_path: Path) -> Path:
    """Two seconds of a tone and two of silence, in 16-bit samples."""
    tone = np.sin(2 * np.pi * 220 * np.arange(16000) / 8000) * 20000
    path = tmp_path / "song.wav"
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(np.concatenate([tone, np.zeros(16000)]).astype("<i2").tobytes())
    return path


def test_loud_parts_are_high_and_silence_is_a_dot(half_silent: Path) -> None:
    """Heights are relative to the song's loud parts."""
    heights = loudness(half_silent, 20, threading.Event())
    assert heights[:9] == pytest.approx(np.ones(9), abs=0.02)
    assert heights[11:] == pytest.approx(np.full(9, QUIETEST))


def test_a_cancelled_render_stops_listening(half_silent: Path) -> None:
    """Two hours of song take seconds to hear; whoever cancels does not wait for them."""
    stop = threading.Event()
    stop.set()
    with pytest.raises(RenderCancelled):
        loudness(half_silent, 20, stop)


def test_silence_and_nothing_are_flat() -> None:
    """No song is too quiet or too short to be shown."""
    silent = shaped(np.zeros(50), np.arange(50.0), 50.0, 10)
    assert silent == pytest.approx(np.full(10, QUIETEST))
    assert shaped(np.zeros(0), np.zeros(0), 0.0, 10) == pytest.approx(np.full(10, QUIETEST))


def test_a_stretch_shorter_than_a_frame_takes_its_neighbours_height() -> None:
    """A short song has fewer frames than strokes."""
    heights = shaped(np.array([1.0, 1.0, 1.0]), np.array([0.0, 1.0, 2.0]), 3.0, 12)
    assert heights == pytest.approx(np.ones(12))


def test_strokes_stand_around_the_middle() -> None:
    """A high stroke is higher than a low one, and both are as far above the middle as below."""
    drawn = capsules(np.array([1.0, 0.3], np.float32), (16, 20))
    assert (drawn == drawn[::-1]).all()
    first, second = drawn[:, :8].sum(), drawn[:, 8:].sum()
    assert first > 2 * second > 0
    assert not drawn[:, 7:9].any()


def _panel(layout: Layout, scene: Scene, at: float) -> npt.NDArray[np.int64]:
    planes = empty_planes(layout.width, layout.height)
    scene.paint(planes, scene.state(at))
    box = layout.bar
    return planes.y[box.top : box.bottom, box.left : box.right].astype(np.int64)


@pytest.mark.parametrize("size", [(1280, 720), (720, 1280), (720, 720), (1920, 1080), (320, 180)])
def test_the_waveform_fills_as_the_song_goes_on(size: tuple[int, int]) -> None:
    """Without lyrics the bar is a waveform between the words and the brand, and the played part is brighter."""
    layout = lay_out(*size, lyrics=False)
    assert layout.words.artist_baseline < layout.bar.top < layout.bar.bottom < layout.height
    assert 0 < layout.bar.left < layout.bar.right < layout.width
    heights = np.ones(layout.strokes, np.float32)
    scene = Scene(layout, empty_planes(*size), (), Typesetter(), duration=60.0, loudness=heights)
    half = _panel(layout, scene, 30.0)
    middle = layout.bar.width // 2
    assert half[:, : middle - 4].sum() > 2 * half[:, middle + 4 :].sum() > 0
    assert _panel(layout, scene, 60.0).sum() > half.sum()
