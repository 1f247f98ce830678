"""`suno-video library check`."""

from __future__ import annotations

import wave
from pathlib import Path

from tests.cli.conftest import Home


def song(folder: Path, *, lyrics: str = "", toml: str = "") -> Path:
    """Write a song of two seconds."""
    folder.mkdir(parents=True)
    with wave.open(str(folder / "audio.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(2 * 8000 * 2))
    if lyrics:
        (folder / "lyrics.lrc").write_text(lyrics, encoding="utf-8")
    if toml:
        (folder / "track.toml").write_text(toml, encoding="utf-8")
    return folder


def test_a_good_folder(home: Home) -> None:
    """Each song is listed with its length and its lines."""
    song(home.folder / "songs" / "album" / "one", lyrics="[00:01.00]Hello", toml='title = "One"')
    ran = home.run("library", "check", "songs", "--json")
    assert (ran.code, ran.lines()) == (
        0,
        [{"task_id": "album", "suno_id": "one", "title": "One", "artist": "", "duration": 2.0, "lines": 1}],
    )
    assert "1 song, 0 mistakes" in ran.err


def test_every_mistake_is_named(home: Home) -> None:
    """All mistakes come out at once, with file and line, and the other songs are still listed."""
    album = home.folder / "songs" / "album"
    song(album / "good")
    song(album / "late", lyrics="[00:05.00]Too late")
    song(album / "odd", lyrics="[00:01.00]\U00033080")
    song(album / "toml", toml="title = 3")
    song(album / "stamp", lyrics="[00:01.00]Fine\nNot fine")
    (song(album / "cover") / "cover.png").write_bytes(b"no image")
    (album / "empty").mkdir()
    ran = home.run("library", "check", "songs", "--json")
    mistakes = {
        (Path(line["file"]).relative_to(album.resolve()).as_posix(), line["line"]): line["problem"]
        for line in ran.lines()
        if "problem" in line
    }
    assert ran.code == 1
    found = [line["suno_id"] for line in ran.lines() if "suno_id" in line]
    assert found == ["cover", "good", "late", "odd", "stamp"]
    songs = {("late", None), ("odd", None), ("cover", None), ("empty", None)}
    assert mistakes.keys() == songs | {("toml/track.toml", 1)}
    assert "stamp/lyrics.lrc:2: has no time stamp and is left out: 'Not fine'" in ran.err
    assert "comes after the song's end" in mistakes["late", None]
    assert "U+33080" in mistakes["odd", None]
    assert "not an image" in mistakes["cover", None]


def test_what_is_no_folder(home: Home) -> None:
    """A path that is not a folder is a usage error."""
    ran = home.run("library", "check", "nowhere")
    assert ran.code == 2
    assert "is not a folder" in ran.err
