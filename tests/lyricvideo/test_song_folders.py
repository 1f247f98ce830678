"""Folders of songs as phones, Macs, players and people leave them."""

from __future__ import annotations

import io
import struct
import unicodedata
import wave
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image, ImageCms

from suno_video_async.lyricvideo import songfolder
from suno_video_async.lyricvideo.check import check_library
from suno_video_async.lyricvideo.errors import LibraryError
from suno_video_async.lyricvideo.folder import FolderLibrary
from suno_video_async.lyricvideo.library import LibraryTrack
from suno_video_async.lyricvideo.render.audio import measure
from suno_video_async.lyricvideo.render.backdrop import open_cover
from suno_video_async.lyricvideo.render.errors import RenderError
from tests.lyricvideo.songs import write_song, write_sound


def _one(root: Path) -> LibraryTrack:
    """The only track of a library."""
    (track,) = FolderLibrary(root).tracks()
    return track


def _picture(path: Path, colour: tuple[int, int, int] = (200, 30, 30), **options: Any) -> None:
    noise = np.random.default_rng(1).integers(-20, 20, (300, 300, 3))
    pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(path, **options)


@pytest.mark.parametrize("name", ["lyrics.LRC", "Lyrics.lrc", "song.lrc", "AUDIO.lrc", "lyrics.vtt", "lyrics.TXT"])
def test_lyrics_are_found_under_their_usual_names(tmp_path: Path, name: str) -> None:
    """In any case; a file that can be nothing else may have any name."""
    folder = write_song(tmp_path / "task" / "song", seconds=3.0)
    (folder / name).write_text("[00:00.50]la")
    assert [line.text for line in _one(tmp_path).lyrics] == ["la"]


@pytest.mark.parametrize(
    "name", ["Cover.JPG", "cover.jpeg", "folder.jpg", "Folder.PNG", "front.webp", "album.jfif"]
)
def test_covers_are_found_under_their_usual_names(tmp_path: Path, name: str) -> None:
    """As players and shops call them."""
    folder = write_song(tmp_path / "task" / "song")
    _picture(folder / name, format="JPEG")
    library = FolderLibrary(tmp_path)
    assert library.cover(library.tracks()[0], tmp_path / "drawn").name == name


def test_one_audio_file_may_have_any_name(tmp_path: Path) -> None:
    """Several may not."""
    folder = tmp_path / "task" / "song"
    folder.mkdir(parents=True)
    write_sound(folder / "My Song.wav", 2.0)
    assert _one(tmp_path).duration == 2.0
    write_sound(folder / "Other.wav", 2.0)
    with pytest.raises(LibraryError, match=r"more than one audio: My Song\.wav, Other\.wav"):
        FolderLibrary(tmp_path)


def test_what_is_not_read_is_named(tmp_path: Path) -> None:
    """Files of operating systems are not worth a word."""
    folder = write_song(tmp_path / "task" / "song", seconds=3.0)
    (folder / "lyrics.lrc").write_text("[00:00.50]la")
    for name in ("lyrics.txt", "notes.md", "Thumbs.db", ".DS_Store", "desktop.ini", "audio.wav.part"):
        (folder / name).write_text("one")
    checked = check_library(tmp_path)
    assert checked.mistakes == ()
    assert [warning.problem for warning in checked.warnings] == [
        "has files that are not used: lyrics.txt, notes.md"
    ]
    assert [line.text for line in checked.tracks[0].lyrics] == ["la"]


def test_ids_and_folders_are_compared_in_one_form(tmp_path: Path) -> None:
    """A Mac writes composed letters as two characters; a space at the end is of no meaning."""
    name = "Café Über"
    write_song(tmp_path / unicodedata.normalize("NFD", "tâche") / unicodedata.normalize("NFD", f"{name} "))
    library = FolderLibrary(tmp_path)
    assert (library.tracks()[0].task_id, library.tracks()[0].suno_id) == ("tâche", name)
    found = library.find(unicodedata.normalize("NFD", "tâche"), f" {name}")
    assert found is library.tracks()[0]


def test_a_mistake_is_found_by_the_id_in_any_form(tmp_path: Path) -> None:
    """As the song would be."""
    (tmp_path / unicodedata.normalize("NFD", "tâche") / "leer").mkdir(parents=True)
    library = FolderLibrary(tmp_path, lenient=True)
    assert "has no audio" in (library.problem("tâche", "leer ") or "")


@pytest.mark.parametrize(
    ("encoding", "text"),
    [("cp1251", "Привет"), ("gb18030", "你好世界"), ("shift_jis", "こんにちは"), ("utf-16-le", "hello")],
)
def test_lyrics_in_a_named_encoding(tmp_path: Path, encoding: str, text: str) -> None:
    """No guessing: track.toml says which."""
    folder = write_song(tmp_path / "task" / "song")
    (folder / "lyrics.lrc").write_bytes(f"[00:00.50]{text}".encode(encoding))
    (folder / "track.toml").write_text(f'encoding = "{encoding}"')
    assert [line.text for line in _one(tmp_path).lyrics] == [text]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_lyrics_that_show_their_encoding(tmp_path: Path, encoding: str) -> None:
    """By a byte order mark, or by a zero in every other byte."""
    folder = write_song(tmp_path / "task" / "song")
    (folder / "lyrics.lrc").write_bytes("[00:00.50]hello\r\n".encode(encoding))
    assert [line.text for line in _one(tmp_path).lyrics] == ["hello"]


@pytest.mark.parametrize(("key", "problem"), [("nonsense", "unknown encoding"), ("rot13", "unknown encoding")])
def test_an_unknown_encoding_is_a_mistake(tmp_path: Path, key: str, problem: str) -> None:
    """Also one that is no encoding of text."""
    folder = write_song(tmp_path / "task" / "song")
    (folder / "track.toml").write_text(f'encoding = "{key}"')
    with pytest.raises(LibraryError, match=problem):
        FolderLibrary(tmp_path)


def _with_tags(path: Path, **tags: str) -> None:
    with av.open(str(path), "w") as target:
        stream = target.add_stream("libmp3lame", rate=44100)
        stream.codec_context.layout = "mono"
        target.metadata.update(tags)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.int16), format="s16", layout="mono")
        frame.sample_rate = 44100
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            target.mux(packet)


def test_title_and_artist_come_from_the_audio_or_the_lyrics(tmp_path: Path) -> None:
    """Unless track.toml says; the lyrics come last, before the folder's name."""
    folder = tmp_path / "task" / "song"
    folder.mkdir(parents=True)
    _with_tags(folder / "audio.mp3", title="Tagged", artist="Ava")
    (folder / "lyrics.lrc").write_text("[ti:Lyric]\n[ar:Lyricist]\n[00:00.50]la")
    assert (_one(tmp_path).title, _one(tmp_path).artist) == ("Tagged", "Ava")
    (folder / "track.toml").write_text('title = "Said"')
    assert (_one(tmp_path).title, _one(tmp_path).artist) == ("Said", "Ava")
    _with_tags(folder / "audio.mp3")
    (folder / "track.toml").unlink()
    assert (_one(tmp_path).title, _one(tmp_path).artist) == ("Lyric", "Lyricist")


def test_the_cover_comes_from_the_audio(tmp_path: Path) -> None:
    """If the folder has none."""
    folder = tmp_path / "task" / "song"
    folder.mkdir(parents=True)
    picture = io.BytesIO()
    Image.new("RGB", (64, 64), (10, 200, 10)).save(picture, "JPEG", quality=95)
    with av.open(str(folder / "audio.m4a"), "w", format="mp4") as target:
        sound = target.add_stream("aac", rate=44100)
        cover = target.add_stream("mjpeg", rate=1)
        cover.width = cover.height = 64
        cover.pix_fmt = "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        target.start_encoding()
        packet = av.Packet(picture.getvalue())
        packet.stream, packet.pts, packet.dts, packet.time_base = cover, 0, 0, Fraction(1, 1000)
        target.mux(packet)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        for one in [*sound.encode(frame), *sound.encode(None)]:
            target.mux(one)
    library = FolderLibrary(tmp_path)
    path = library.cover(library.tracks()[0], tmp_path / "made")
    assert open_cover(path).image.getpixel((3, 3)) == pytest.approx((10, 200, 10), abs=3)


def _wav(path: Path, *, states: int, holds: int, extra: bytes = b"") -> None:
    sound = b"\1\0" * (holds // 2)
    head = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16) + extra
    body = head + b"data" + struct.pack("<I", states) + sound
    path.write_bytes(b"RIFF" + struct.pack("<I", (len(body) + 4) & 0xFFFFFFFF) + b"WAVE" + body)


@pytest.mark.parametrize(
    ("states", "cut"), [(32_000, False), (0xFFFFFFFF, False), (960_000, True), (33_000, False)]
)
def test_the_length_of_a_wav_is_what_it_holds(tmp_path: Path, states: int, cut: bool) -> None:
    """What it states is only compared: less is a mistake of the check, and the video is made with a note."""
    folder = tmp_path / "task" / "song"
    folder.mkdir(parents=True)
    _wav(folder / "audio.wav", states=states, holds=32_000)
    checked = check_library(tmp_path)
    assert checked.tracks[0].duration == pytest.approx(2.0, abs=0.07)
    assert [mistake.problem for mistake in checked.mistakes] == (
        ["states 60.0 s and holds 2.0 s; is the file complete?"] if cut else []
    )
    assert checked.tracks[0].notes == (
        ("the audio states 60.0 s and holds 2.0 s; is the file complete?",) if cut else ()
    )


@pytest.mark.parametrize(
    "content",
    [
        b"RIFF\x24\x00\x00\x00WAVE",
        b"RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00"
        + bytes(4)
        + b"\x80>\x00\x00\x02\x00\x10\x00"
        b"data\x10\x00\x00\x00" + bytes(16),
        b"RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00@\x1f\x00\x00\x80>\x00\x00\x02\x00\x10\x00"
        b"LIST \xa1\x07\x00xxxxxxxxxx",
    ],
    ids=["no chunk", "rate 0", "cut within a list"],
)
def test_a_broken_wav_is_that_songs_mistake(tmp_path: Path, content: bytes) -> None:
    """The others are read."""
    write_song(tmp_path / "task" / "good")
    bad = tmp_path / "task" / "bad"
    bad.mkdir()
    (bad / "audio.wav").write_bytes(content)
    checked = check_library(tmp_path)
    assert [track.suno_id for track in checked.tracks] == ["good"]
    assert [mistake.path.parent.name for mistake in checked.mistakes] == ["bad"]


def test_a_chunk_of_odd_length_before_the_sound_is_passed(tmp_path: Path) -> None:
    """With its padding, also if it lies."""
    path = tmp_path / "a.wav"
    _wav(path, states=32_000, holds=32_000, extra=b"JUNK\x03\x00\x00\x00abc\x00")
    assert measure(path).stated == 2.0


def test_whatever_a_file_makes_a_decoder_raise_is_that_songs_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception that is nobody's is reported with the folder."""
    write_song(tmp_path / "task" / "song")

    def fail(*_: object) -> None:
        raise ZeroDivisionError("integer division by zero")

    monkeypatch.setattr(songfolder, "_measure", fail)
    (mistake,) = check_library(tmp_path).mistakes
    assert "cannot be read (ZeroDivisionError: integer division by zero)" in str(mistake)


def test_an_mp3_that_was_cut_is_as_long_as_what_is_left(tmp_path: Path) -> None:
    """Its header still states all of it."""
    path = tmp_path / "a.mp3"
    _with_tags(path)
    whole = measure(path)
    assert whole.seconds == pytest.approx(1.0, abs=0.06)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert measure(path).seconds == pytest.approx(0.5, abs=0.1)


def test_without_the_extra_a_wav_is_measured_by_its_size(tmp_path: Path) -> None:
    """And other audio needs its length in track.toml."""
    _wav(tmp_path / "a.wav", states=0x7FFFFFF0, holds=32_000)
    assert songfolder._wav_seconds(tmp_path / "a.wav") == pytest.approx(2.0, abs=0.01)
    (tmp_path / "b.wav").write_bytes(b"RIFF")
    assert songfolder._wav_seconds(tmp_path / "b.wav") == 0.0
    with wave.open(str(tmp_path / "c.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
    assert songfolder._wav_seconds(tmp_path / "c.wav") == 0.0


def test_a_colour_profile_is_honoured(tmp_path: Path) -> None:
    """A picture whose channels are swapped by its profile is drawn as it is meant."""
    lab = ImageCms.createProfile("sRGB")
    data = ImageCms.ImageCmsProfile(lab).tobytes()
    _picture(tmp_path / "plain.png")
    _picture(tmp_path / "same.png", icc_profile=data)
    plain, same = (np.asarray(open_cover(tmp_path / name).image, np.int16) for name in ("plain.png", "same.png"))
    assert np.abs(plain - same).max() <= 2
    _picture(tmp_path / "broken.png", icc_profile=b"no profile")
    assert np.array_equal(np.asarray(open_cover(tmp_path / "broken.png").image), plain)


def test_a_jpeg_that_lacks_its_end_is_used_with_a_note(tmp_path: Path) -> None:
    """Unless most of it is missing."""
    path = tmp_path / "cover.jpg"
    _picture(path, quality=90)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 9 // 10])
    cover = open_cover(path)
    assert cover.image.size == (300, 300)
    assert cover.note.startswith("the cover cover.jpg is cut off: the lowest ")
    path.write_bytes(data[: len(data) // 4])
    with pytest.raises(RenderError, match="damaged"):
        open_cover(path)
    folder = write_song(tmp_path / "library" / "task" / "song")
    (folder / "cover.jpg").write_bytes(data[: len(data) * 9 // 10])
    checked = check_library(tmp_path / "library")
    assert checked.mistakes == ()
    assert "is cut off" in checked.warnings[0].problem


def test_a_font_in_the_folder(tmp_path: Path) -> None:
    """It must be in the folder, and be a font."""
    folder = write_song(tmp_path / "task" / "song")
    (folder / "track.toml").write_text('font = "own.ttf"')
    with pytest.raises(LibraryError, match=r"the font own\.ttf is not in the folder"):
        FolderLibrary(tmp_path)
    (folder / "own.ttf").write_bytes(b"no font")
    assert "is not a font" in str(check_library(tmp_path).mistakes[0])
    (folder / "track.toml").write_text('font = "../../../own.ttf"')
    with pytest.raises(LibraryError, match="leads outside the library"):
        FolderLibrary(tmp_path)


def test_odd_lyrics_are_a_note_on_the_video(tmp_path: Path) -> None:
    """Nothing is left out without a word."""
    folder = write_song(tmp_path / "task" / "song")
    (folder / "lyrics.lrc").write_text("[00:00.50]la\nodd\nodder")
    assert _one(tmp_path).notes == (
        "of the lyrics, line 2 has no time stamp and is left out: 'odd'; to show it, begin it with one such as"
        " [01:23.45], and 1 more; suno-video library check lists them",
    )
