"""Lyric videos: timing, text, and what happens to broken inputs. Small pictures, short sounds."""

from __future__ import annotations

import struct
import threading
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import av
import numpy as np
import pytest
from av.stream import Disposition
from PIL import Image

from suno_video_async.lyricvideo.library import BuiltinLibrary
from suno_video_async.lyricvideo.lyrics import LyricLine
from suno_video_async.lyricvideo.render import RenderCancelled, RenderError, RenderJob, RenderResult, audio, render
from suno_video_async.lyricvideo.render.layout import lay_out
from suno_video_async.lyricvideo.render.scene import LYRIC, Gain, Scene
from suno_video_async.lyricvideo.render.text import SUBROWS, Style, Typesetter, clean
from tests.lyricvideo.pictures import empty_planes

WORDS = ("Slow down, stay here", "Oh, we are the afterglow", "نحن وهج المساء الأخير", "Світло над мостом")


def write_audio(path: Path, seconds: float, *, codec: str = "libmp3lame", rate: int = 44100) -> Path:
    """A quiet tone in the format that the suffix says."""
    samples = (0.1 * np.sin(2 * np.pi * 220 * np.arange(round(seconds * rate)) / rate)).astype(np.float32)
    output: Any = av.open(str(path), "w", format={".aac": "adts", ".m4a": "ipod"}.get(path.suffix))
    with output:
        stream = output.add_stream(codec, rate=rate)
        stream.codec_context.layout = "stereo"
        for start in range(0, samples.size, rate):
            part = np.stack([samples[start : start + rate]] * 2)
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def assets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a short MP3, a long one, and a cover."""
    folder = tmp_path_factory.mktemp("assets")
    write_audio(folder / "short.mp3", 3.3)
    write_audio(folder / "long.mp3", 40.0)
    across = np.linspace(40, 220, 300, dtype=np.uint8)
    pixels = np.stack([np.tile(across, (300, 1)), np.tile(across[:, None], (1, 300)), np.full((300, 300), 90)], 2)
    Image.fromarray(pixels.astype(np.uint8)).save(folder / "cover.png")
    return folder


def job(assets: Path, audio: str | Path = "short.mp3", **changes: Any) -> RenderJob:
    """A small job; `changes` are arguments of `RenderJob`."""
    lyrics = tuple(LyricLine(0.4 + 0.9 * at, text) for at, text in enumerate(WORDS))
    facts: dict[str, Any] = {
        "audio": assets / audio,
        "cover": assets / "cover.png",
        "title": "Afterglow",
        "artist": "Nova Quay",
        "brand": "Studio",
        "lyrics": lyrics,
        "width": 320,
        "height": 180,
    }
    return RenderJob(**{**facts, **changes})


def boxes(path: Path) -> list[str]:
    """The names of an MP4's outermost boxes, in order."""
    data, at, names = path.read_bytes(), 0, []
    while at < len(data):
        size, name = struct.unpack(">I4s", data[at : at + 8])
        names.append(name.decode())
        at += size
    return names


def lengths(path: Path) -> tuple[float, float]:
    """The duration in seconds of the picture and of the sound."""
    with av.open(str(path)) as source:
        found = []
        for stream in (source.streams.video[0], source.streams.audio[0]):
            assert stream.duration is not None
            assert stream.time_base is not None
            found.append(float(stream.duration * stream.time_base))
        return found[0], found[1]


def pictures(path: Path) -> tuple[list[float], list[np.ndarray[Any, Any]]]:
    """The times and the luma planes of all encoded frames."""
    times, planes = [], []
    with av.open(str(path)) as source:
        for frame in source.decode(video=0):
            assert frame.time is not None
            times.append(frame.time)
            planes.append(frame.to_ndarray()[: frame.height].astype(int))
    return times, planes


@pytest.fixture(scope="module")
def made(assets: Path) -> RenderResult:
    """One video that several tests look at."""
    return render(job(assets), assets / "made.mp4", threads=1)


def test_the_picture_lasts_as_long_as_the_sound(made: RenderResult) -> None:
    """Picture, sound and the result agree within 50 ms on the length of the song."""
    picture, sound = lengths(made.path)
    assert abs(picture - 3.3) < 0.05
    assert abs(sound - 3.3) < 0.05
    assert abs(made.duration - 3.3) < 0.05
    assert made.frames == 99


def test_the_file_shows_its_cover(made: RenderResult) -> None:
    """Players find the cover among the file's facts, and the video is still the first stream."""
    with av.open(str(made.path)) as source:
        picture, cover = source.streams.video
        assert picture.codec_context.name == "h264"
        assert Disposition.attached_pic in cover.disposition
        shown: Any = next(iter(source.decode(cover)))
        image = shown.to_image()
    assert image.size == (300, 300)
    left, right = (image.getpixel((column, 150)) for column in (10, 290))
    assert isinstance(left, tuple)
    assert isinstance(right, tuple)
    assert left[0] < 60
    assert right[0] > 200


def test_the_index_comes_before_the_data(made: RenderResult) -> None:
    """`moov` stands before `mdat`, so a player starts before it has the whole file."""
    names = boxes(made.path)
    assert names.index("moov") < names.index("mdat")


def test_only_changed_frames_are_encoded_at_exact_times(assets: Path, made: RenderResult) -> None:
    """Encoded frames lie on the timeline's grid, at most half a second apart; the rest repeat the one before."""
    times, some = pictures(made.path)
    full = render(job(assets, every_frame=True), assets / "every.mp4", threads=1)
    all_times, every = pictures(full.path)
    assert full.encoded == full.frames == len(every) == 99
    assert len(times) == made.encoded < 0.9 * made.frames
    assert np.allclose(np.array(times) * 30, np.rint(np.array(times) * 30), atol=1e-3)
    assert max(b - a for a, b in pairwise(times)) <= 0.5 + 1e-6
    for at, picture in zip(all_times, every, strict=True):
        shown = max(index for index, start in enumerate(times) if start <= at + 1e-6)
        assert np.abs(picture - some[shown]).mean() < 1.5


def test_the_sound_is_measured_once(assets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of a file is read for that: once a frame, the time would grow with the square of a song's length."""
    measure = Mock(wraps=audio.measure)
    monkeypatch.setattr(audio, "measure", measure)
    assert render(job(assets), assets / "measured.mp4", threads=1).frames > 1
    assert measure.call_count == 1


def test_key_frames_come_every_ten_seconds(assets: Path) -> None:
    """A long hold still has a key frame at least every ten seconds, and two frames a second."""
    result = render(job(assets, "long.mp3", lyrics=()), assets / "keys.mp4", threads=1)
    with av.open(str(result.path)) as source:
        packets = [packet for packet in source.demux(video=0) if packet.size]
        keys = [float(p.pts * p.time_base) for p in packets if p.is_keyframe and p.pts is not None]
    assert keys == [0.0, 10.0, 20.0, 30.0]
    assert len(packets) == result.encoded >= 80


def test_the_sound_of_aac_is_copied(assets: Path) -> None:
    """AAC goes into the video packet by packet, from MP4 and from a bare stream; the rest becomes AAC."""
    for name in ("copy.m4a", "copy.aac"):
        write_audio(assets / name, 2.0, codec="aac")
        result = render(job(assets, name), assets / "copied.mp4", threads=1)
        contents = []
        for path in (assets / name, result.path):
            with av.open(str(path)) as source:
                packets = [bytes(packet) for packet in source.demux(audio=0) if packet.size]
                contents.append([packet[7:] if packet[:1] == b"\xff" else packet for packet in packets])
        assert contents[0] == contents[1]
        assert abs(lengths(result.path)[0] - lengths(result.path)[1]) < 0.05


@pytest.mark.parametrize(("name", "codec", "rate"), [("a.wav", "pcm_s16le", 22050), ("a.flac", "flac", 48000)])
def test_other_sounds_become_aac(assets: Path, name: str, codec: str, rate: int) -> None:
    """WAV and FLAC of other rates are encoded to AAC of the same length."""
    output: Any = av.open(str(assets / name), "w")
    with output:
        stream = output.add_stream(codec, rate=rate)
        stream.codec_context.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, rate), np.int16), format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    result = render(job(assets, name), assets / "other.mp4", threads=1)
    picture, sound = lengths(result.path)
    assert abs(picture - 1.0) < 0.05
    assert abs(sound - 1.0) < 0.05
    with av.open(str(result.path)) as source:
        assert source.streams.audio[0].codec_context.name == "aac"


def test_the_built_in_songs_have_all_glyphs(assets: Path) -> None:
    """Every character of every built-in song can be drawn."""
    for track in BuiltinLibrary().tracks():
        setter = Typesetter()
        for text in (track.title, track.artist, *(line.text for line in track.lyrics)):
            assert setter.shape(text, LYRIC).width > 0
        assert setter.missing == (), track.title


def test_missing_glyphs_are_named(assets: Path) -> None:
    """Characters that no font has are left out of the picture and named in the result, once."""
    lyrics = (LyricLine(0.0, "Love \U00033080 and \U00033080"),)
    result = render(job(assets, lyrics=lyrics, title="\U00032000"), assets / "missing.mp4", threads=1)
    assert set(result.missing_glyphs) == {"\U00032000", "\U00033080"}
    assert len(result.missing_glyphs) == 2


def test_right_to_left_text_is_in_visual_order() -> None:
    """Arabic runs from the right, a number within it stays in order, brackets are mirrored."""
    setter, style = Typesetter(), Style(600)
    line = setter.shape("نعم (12)", style)
    assert line.rtl
    mixed = setter.shape("ab نعم", style, rtl=False)
    assert not mixed.rtl
    digits = setter.shape("12", style)
    # On screen the line reads, from the left: bracket, 1, 2, bracket, space, the word.
    faces = [glyph.face for glyph in line.glyphs]
    assert line.glyphs[0].x < line.glyphs[-1].x
    assert [glyph.index for glyph in line.glyphs if glyph.index in {g.index for g in digits.glyphs}] == [
        glyph.index for glyph in digits.glyphs
    ] or faces[0] == faces[-1]
    latin = setter.shape("abc", style)
    assert setter.shape("abc", style, rtl=True).glyphs == latin.glyphs


def test_arabic_letters_join() -> None:
    """Joined, a word has other letter forms than its letters apart, and is narrower than they are."""
    setter, style = Typesetter(), Style(600)
    word = setter.shape("بيت", style)
    apart = [setter.shape(letter, style) for letter in "بيت"]
    assert {glyph.index for glyph in word.glyphs} != {g.index for line in apart for g in line.glyphs}
    assert word.width < sum(line.width for line in apart)


def test_right_to_left_lyrics_stand_at_the_right(assets: Path) -> None:
    """A right-to-left line touches the panel's right edge, a left-to-right one its left edge."""
    layout = lay_out(640, 360, lyrics=True)
    assert layout.panel is not None
    middle = layout.panel.left + layout.panel.width // 2
    for text, right in (("نحن هنا", True), ("Nós aqui", False)):
        result = render(
            job(assets, lyrics=(LyricLine(0.0, text),), width=640, height=360), assets / "side.mp4", threads=1
        )
        lit = pictures(result.path)[1][-1] > 200
        lit[:, : layout.panel.left - 4] = False
        assert (lit[:, middle:].sum() > 30) == right
        assert (lit[:, :middle].sum() > 30) != right


def _scene(lyrics: Sequence[LyricLine], height: int = 720) -> Scene:
    width = height * 16 // 9
    layout = lay_out(width, height, lyrics=True)
    return Scene(layout, empty_planes(width, height), lyrics, Typesetter(), duration=60.0)


def test_lines_break_alike_at_every_size() -> None:
    """360p, 720p and 1080p break the lyrics at the same words."""
    text = "Burning when the sun goes low and nothing beautiful should ever have to end tonight"
    lyrics = [LyricLine(1.0, text), LyricLine(5.0, " ".join(WORDS))]
    broken = [[[len(row.glyphs) for row in rows] for rows in _scene(lyrics, h).lines] for h in (360, 720, 1080)]
    assert broken[0] == broken[1] == broken[2]
    assert len(broken[0][0]) >= 2


def test_wrapping_keeps_the_words_and_the_width() -> None:
    """Wrapped rows fit, are balanced, and hold every letter; one endless word is cut."""
    setter = Typesetter()
    rows = setter.wrap("Nothing beautiful should ever have to end", LYRIC, 12.0)
    assert [row.width <= 12.0 for row in rows] == [True] * 2
    assert min(row.width for row in rows) > 0.6 * max(row.width for row in rows)
    endless = setter.wrap("a" * 60, LYRIC, 12.0)
    assert all(row.width <= 12.0 for row in endless)
    assert sum(len(row.glyphs) for row in endless) == 60
    assert setter.wrap("  ", LYRIC, 12.0) == ()


def test_an_overlong_title_shrinks_then_ends_in_an_ellipsis() -> None:
    """A title a little too long is set smaller; a far too long one is cut and fits."""
    setter = Typesetter()
    whole, scale = setter.shorten("Afterglow", LYRIC, 20.0)
    assert scale == 1.0
    tight, scale = setter.shorten("Afterglow", LYRIC, whole.width * 0.8)
    assert scale == pytest.approx(0.8)
    assert len(tight.glyphs) == len(whole.glyphs)
    cut, scale = setter.shorten("Afterglow " * 9, LYRIC, 10.0)
    assert cut.width * scale <= 10.0
    ellipsis = setter.shape("…", LYRIC).glyphs[0].index
    assert cut.glyphs[-1].index == ellipsis


def test_text_is_drawn_where_it_is_told() -> None:
    """A mask has its ink on the baseline, between the line's left edge and its width."""
    setter = Typesetter()
    line = setter.shape("HHH", LYRIC)
    mask = setter.draw([(line, 10.0, 50.0)], 40.0, (120, 60)).reshape(60, SUBROWS, 120).mean(axis=1)
    rows, columns = np.nonzero(mask > 127)
    assert rows.max() == 49
    assert columns.min() >= 10
    assert columns.max() <= 10 + line.width * 40
    assert 26 <= rows.max() - rows.min() + 1 <= 32


def test_control_characters_are_dropped() -> None:
    """Line breaks become spaces, control characters go, and letters are composed."""
    assert clean(" a\tb\n\x07c e\u0301 ") == "a b c é"


def test_the_scroll_eases_and_lights_the_current_line() -> None:
    """Between two lines the view moves without a jump, slower at both ends, and the light moves along."""
    scene = _scene([LyricLine(1.0, "one"), LyricLine(5.0, "two"), LyricLine(9.0, "")])
    states = [scene.state(at / 60) for at in range(720)]
    offsets = np.array([state.offset for state in states])
    steps = np.diff(offsets)
    assert (steps >= 0).all()
    moving = np.nonzero(steps)[0]
    assert 4.6 < moving[0] / 60 < moving[-1] / 60 < 5.5
    assert steps[moving[0]] < steps.max() / 3 > steps[moving[-1]]
    assert states[4 * 60].gains == (Gain(0, 256, 0),)
    assert states[7 * 60].gains == (Gain(1, 256, 0),)
    assert states[-1].gains == ()
    assert scene.state(3.0).offset == scene.state(4.0).offset


def test_a_song_without_lyrics_has_its_cover_in_the_middle() -> None:
    """Without lyrics the cover is centred and there is no panel; with them it stands at the left."""
    alone, beside = lay_out(1280, 720, lyrics=False), lay_out(1280, 720, lyrics=True)
    assert alone.panel is None
    assert alone.cover.left + alone.cover.right == 1280
    assert beside.panel is not None
    assert beside.cover.right < beside.panel.left
    assert beside.panel.right < 1280


@pytest.mark.parametrize("lyrics", [True, False])
@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize(
    "size", [(1280, 720), (1920, 1080), (1080, 1920), (1080, 1080), (1080, 1350), (2560, 1080)]
)
def test_nothing_stands_on_something_else(size: tuple[int, int], rows: int, lyrics: bool) -> None:
    """Cover, title, artist, bar, lyrics and brand have places of their own within the picture, in every layout."""
    layout = lay_out(*size, lyrics=lyrics, title_rows=rows)
    words, bar, cover = layout.words, layout.bar, layout.cover
    top = words.title_baseline - layout.title_pitch * (rows - 1) - 0.75 * layout.title_em
    if words.centred:
        assert cover.bottom < top
    else:
        assert cover.top < top
        assert cover.right < words.left
    assert words.title_baseline + 0.25 * layout.title_em < words.artist_baseline - 0.75 * layout.artist_em
    assert words.artist_baseline + 0.25 * layout.artist_em < bar.top
    assert 0 < words.left < words.left + words.width < size[0]
    assert 0 < bar.left < bar.right < size[0]
    brand = layout.brand_baseline
    assert 0.02 * size[1] < brand - layout.brand_em < brand < 0.98 * size[1]
    assert brand < cover.top or brand - layout.brand_em > bar.bottom
    if layout.panel is not None:
        assert layout.panel.right < size[0]
        assert layout.panel.bottom < size[1]
        assert layout.panel.left > cover.right or layout.panel.top > max(bar.bottom, cover.bottom)


def test_a_tall_picture_leaves_room_for_what_players_draw() -> None:
    """Short videos have names and buttons over their top, bottom and right: no lyric and no title lies there."""
    layout = lay_out(1080, 1920, lyrics=True)
    assert layout.panel is not None
    assert layout.brand_baseline - layout.brand_em > 0.08 * 1920
    assert layout.panel.bottom < 0.9 * 1920
    assert layout.panel.right < 0.89 * 1080


def test_a_long_title_takes_two_rows(assets: Path) -> None:
    """It is not made smaller, and what two rows do not hold ends in an ellipsis."""
    setter = Typesetter()
    assert len(setter.block("Afterglow", LYRIC, 10.0, 2)) == 1
    assert len(setter.block("Afterglow of another evening", LYRIC, 10.0, 2)) == 2
    cut = setter.block("Afterglow " * 9, LYRIC, 10.0, 2)
    assert [row.width <= 10.0 for row in cut] == [True, True]
    assert cut[-1].glyphs[-1].index == setter.shape("…", LYRIC).glyphs[0].index
    short, long = (
        pictures(render(job(assets, title=title, lyrics=()), assets / "title.mp4", threads=1).path)[1][-1]
        for title in ("I", "Afterglow of another evening that went on for so long")
    )
    assert (long > 200).sum() > (short > 200).sum()


def test_the_last_line_comes_as_slowly_as_any() -> None:
    """Even where it begins when the song is said to be over, as in files that do not say how long they are."""
    scene = _scene([LyricLine(50.0, "one"), LyricLine(65.0, "two")])
    offsets = np.array([scene.state(64.0 + at / 60).offset for at in range(120)])
    assert np.count_nonzero(np.diff(offsets)) > 15


def test_a_line_too_tall_to_be_bright_moves_by_rows() -> None:
    """All of a very long line is once in the bright part, and the next line comes on time."""
    scene = _scene([LyricLine(1.0, "Every window holds a morning " * 12), LyricLine(21.0, "two")])
    offsets = [scene.state(at / 10).offset for at in range(220)]
    assert len(scene.lines[0]) > 8
    seen = sorted(set(offsets))
    assert len({offset for offset in seen if offsets.count(offset) > 10}) > 4
    assert all(scene.state(at).gains[-1].line == 0 for at in range(2, 20))
    assert scene.state(21.5).gains[-1] == Gain(1, 256, 0)


@pytest.mark.parametrize(("width", "height"), [(180, 320), (240, 240), (640, 180), (96, 96)])
def test_other_shapes_render(assets: Path, width: int, height: int) -> None:
    """Upright, square, very wide and tiny pictures render too."""
    short = tuple(LyricLine(0.0, word) for word in WORDS)
    result = render(job(assets, lyrics=short, width=width, height=height, fps=10), assets / "shape.mp4", threads=1)
    with av.open(str(result.path)) as source:
        assert (source.streams.video[0].width, source.streams.video[0].height) == (width, height)


def test_progress_rises_to_one(assets: Path) -> None:
    """Progress never falls, and ends with 1."""
    seen: list[float] = []
    render(job(assets), assets / "progress.mp4", threads=1, on_progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    assert len(seen) > 20


def test_a_cancelled_render_leaves_no_file(assets: Path, tmp_path: Path) -> None:
    """Cancelling in the middle raises `RenderCancelled` before any more is made, and no file or thread is left."""
    stop, shares = threading.Event(), list[float]()

    def halfway(share: float) -> None:
        shares.append(share)
        if share > 0.3:
            stop.set()

    with pytest.raises(RenderCancelled):
        render(job(assets, "long.mp3"), tmp_path / "a.mp4", threads=1, cancelled=stop, on_progress=halfway)
    assert [share for share in shares if share > 0.3] == shares[-1:]
    assert list(tmp_path.iterdir()) == []
    assert "render-audio" not in [thread.name for thread in threading.enumerate()]


def test_cancelled_before_the_start(assets: Path, tmp_path: Path) -> None:
    """A render that was cancelled before it began does nothing."""
    stop = threading.Event()
    stop.set()
    with pytest.raises(RenderCancelled):
        render(job(assets), tmp_path / "a.mp4", cancelled=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("field", "name", "content", "problem"),
    [
        ("audio", "none.mp3", None, r"the audio none\.mp3 does not exist"),
        ("audio", "text.mp3", b"no music at all " * 500, r"the audio text\.mp3 (cannot be read|is damaged)"),
        ("audio", "empty.wav", b"", r"the audio empty\.wav cannot be read"),
        ("cover", "none.png", None, r"the cover none\.png does not exist"),
        ("cover", "text.png", b"no picture", r"the cover text\.png is not an image"),
        ("cover", "cut.png", "cut", r"the cover cut\.png is damaged"),
        ("audio", "picture.mp3", "cover", r"the audio picture\.mp3"),
    ],
)
def test_broken_inputs_are_render_errors(
    assets: Path, tmp_path: Path, field: str, name: str, content: bytes | str | None, problem: str
) -> None:
    """A missing or broken input is a `RenderError` that names it, and no file is left."""
    whole = (assets / "cover.png").read_bytes()
    known = {"cut": whole[: len(whole) // 2], "cover": whole}
    if content is not None:
        (tmp_path / name).write_bytes(known[content] if isinstance(content, str) else content)
    changes: dict[str, Any] = {field: tmp_path / name}
    with pytest.raises(RenderError, match=problem):
        render(job(assets, **changes), tmp_path / "out.mp4", threads=1)
    assert not list(tmp_path.glob("out*"))


def test_a_target_that_cannot_be_written(assets: Path, tmp_path: Path) -> None:
    """A target below a file is a `RenderError`, not an `OSError`."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(RenderError, match="could not be written"):
        render(job(assets), tmp_path / "file" / "out.mp4", threads=1)


def test_a_truncated_song_renders_to_its_end(assets: Path, tmp_path: Path) -> None:
    """An MP3 that was cut off gives a video as long as what is left of it."""
    data = (assets / "long.mp3").read_bytes()
    (tmp_path / "cut.mp3").write_bytes(data[: len(data) // 10])
    result = render(job(assets, audio=tmp_path / "cut.mp3"), tmp_path / "out.mp4", threads=1)
    picture, sound = lengths(result.path)
    assert 3.5 < sound < 4.5
    assert abs(picture - sound) < 0.05


@pytest.mark.parametrize("change", [{"width": 321}, {"height": 20}, {"fps": 0}])
def test_impossible_jobs_fail_at_construction(assets: Path, change: dict[str, Any]) -> None:
    """Odd or tiny sizes and impossible rates are refused when the job is made."""
    with pytest.raises(ValueError, match="use"):
        job(assets, **change)
