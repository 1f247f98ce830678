"""Folders of songs for tests."""

from __future__ import annotations

import wave
from pathlib import Path

from PIL import Image


def write_sound(path: Path, seconds: float = 1.0) -> None:
    """Write a silent WAV."""
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(int(8000 * seconds) * 2))


def write_song(folder: Path, *, seconds: float = 1.0, cover: bool = False) -> Path:
    """Make a track's folder with a silent WAV; to draw the cover that is not there takes longer than to render."""
    folder.mkdir(parents=True)
    write_sound(folder / "audio.wav", seconds)
    if cover:
        Image.new("RGB", (64, 64)).save(folder / "cover.png")
    return folder
