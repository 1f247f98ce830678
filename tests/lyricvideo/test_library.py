"""The built-in songs, and libraries made of folders."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from suno_video_async.lyricvideo.errors import LibraryError
from suno_video_async.lyricvideo.folder import FolderLibrary
from suno_video_async.lyricvideo.library import BuiltinLibrary
from suno_video_async.lyricvideo.lyrics import LyricLine, LyricWord, parse_lrc, parse_subtitles, spread_lines
from suno_video_async.lyricvideo.songs import picture
from tests.lyricvideo.songs import write_song


def _song(folder: Path, *, seconds: float = 1.0, **texts: str) -> Path:
    """A track's folder with a silent WAV and text files; `track` stands for track.toml, and so on."""
    write_song(folder, seconds=seconds)
    for name, text in texts.items():
        suffix = {"track": "toml", "lyrics": "lrc"}[name]
        (folder / f"{name}.{suffix}").write_text(text, encoding="utf-8")
    return folder


def test_importing_the_library_needs_no_extra() -> None:
    """The library's module, and listing the built-in songs, load neither NumPy nor PyAV nor Pillow."""
    code = (
        "import sys; from suno_video_async.lyricvideo.library import BuiltinLibrary; BuiltinLibrary().tracks();"
        "print([m for m in ('numpy', 'av', 'PIL', 'uharfbuzz') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_built_in_songs_cover_the_scripts() -> None:
    """There are at least six songs of 20 to 40 s, in Latin, Cyrillic, Greek and Arabic letters."""
    tracks = BuiltinLibrary().tracks()
    assert len({track.task_id for track in tracks}) >= 6
    assert all(20 <= track.duration <= 40 for track in tracks)
    assert {"en", "pt", "uk", "el", "ar"} <= {track.language for track in tracks}


def test_built_in_tracks_are_grouped_and_unique() -> None:
    """Tracks of one music task stand together, at most two, and no two have the same ids."""
    tracks = BuiltinLibrary().tracks()
    tasks = [track.task_id for track in tracks]
    changes = sum(a != b for a, b in pairwise(tasks))
    assert changes == len(set(tasks)) - 1
    assert max(tasks.count(task) for task in tasks) == 2
    assert len({(track.task_id, track.suno_id) for track in tracks}) == len(tracks)
    assert len({track.suno_id for track in tracks}) == len(tracks)


def test_built_in_tracks_are_found_by_both_ids() -> None:
    """`find` gives the track of two matching ids, and None when either belongs to another."""
    library = BuiltinLibrary()
    first, last = library.tracks()[0], library.tracks()[-1]
    assert library.find(first.task_id, first.suno_id) is first
    assert library.find(first.task_id, last.suno_id) is None


def test_built_in_lyrics_are_sung_within_the_song() -> None:
    """Lyrics come in order, at least two seconds apart, and end before the song does."""
    for track in BuiltinLibrary().tracks():
        starts = [line.start for line in track.lyrics]
        assert all(b - a >= 2 for a, b in pairwise(starts)), track.title
        assert all(0 < start < track.duration - 2 for start in starts)


def test_built_in_sound_has_the_stated_length(tmp_path: Path) -> None:
    """The synthesised file is AAC, as long as the track says, not silent, and made only once."""
    library = BuiltinLibrary()
    track = min(library.tracks(), key=lambda track: track.duration)
    path = library.audio(track, tmp_path / "cache")
    with av.open(str(path)) as source:
        stream = source.streams.audio[0]
        assert stream.codec_context.name == "aac"
        loudest = max(float(np.abs(frame.to_ndarray()).max()) for frame in source.decode(stream))
        assert source.duration is not None
        assert abs(source.duration / 1e6 - track.duration) < 0.05
    assert 0.3 < loudest < 1.05
    made = path.stat().st_mtime_ns
    assert library.audio(track, tmp_path / "cache") == path
    assert path.stat().st_mtime_ns == made
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_built_in_covers_are_square_images(tmp_path: Path) -> None:
    """A cover is a sound, square picture of at least 1080 pixels."""
    library = BuiltinLibrary()
    for track in library.tracks():
        with Image.open(library.cover(track, tmp_path)) as cover:
            cover.load()
            assert cover.width == cover.height >= 1080


def test_the_package_contains_the_pictures_of_its_songs_and_no_others(tmp_path: Path) -> None:
    """Each built-in song has a picture, no picture is left over, and together they stay small."""
    library = BuiltinLibrary()
    covers = {library.cover(track, tmp_path) for track in library.tracks()}
    assert covers == set(picture("harbour").parent.iterdir())
    assert sum(cover.stat().st_size for cover in covers) < 250_000


def test_a_track_of_another_library_is_refused(tmp_path: Path) -> None:
    """Asking a library for the sound of a track it does not have is a KeyError that says so."""
    _song(tmp_path / "library" / "task" / "song")
    foreign = FolderLibrary(tmp_path / "library").tracks()[0]
    with pytest.raises(KeyError, match="not a built-in track"):
        BuiltinLibrary().audio(foreign, tmp_path)


def test_lrc_with_several_stamps_offset_and_words() -> None:
    """A line with several stamps is sung as often; a positive offset shows it, and its words, sooner."""
    text = (
        "[ar:Ava]\n[offset:+500]\n\n[00:10.00][01:02.5] Oh  oh\n"
        "[00:05]<00:05.10>First <00:05.9>line\n[00:20.123]\n"
    )
    assert parse_lrc(text).lines == (
        LyricLine(4.5, "First line", (LyricWord(4.6, "First "), LyricWord(5.4, "line"))),
        LyricLine(9.5, "Oh oh"),
        LyricLine(19.623, ""),
        LyricLine(62.0, "Oh oh"),
    )


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "[00:12.00] <00:12.00> Big  old <00:12.50> moon <00:13.00>",
            LyricLine(12, "Big old moon", (LyricWord(12, "Big old "), LyricWord(12.5, "moon"), LyricWord(13, ""))),
        ),
        (
            "[00:12.00]Af<00:12.20>ter<00:12.40>glow",
            LyricLine(12, "Afterglow", (LyricWord(12, "Af"), LyricWord(12.2, "ter"), LyricWord(12.4, "glow"))),
        ),
        (
            "[00:12.00]<00:12.00>Cafe\u0301<00:12.40> <00:12.50>noir",
            LyricLine(12, "Caf\u00e9 noir", (LyricWord(12, "Caf\u00e9 "), LyricWord(12.5, "noir"))),
        ),
    ],
    ids=["words", "syllables", "composed letters"],
)
def test_words_with_times_make_up_their_line(text: str, line: LyricLine) -> None:
    """Words keep the space after them, syllables join, and a stamp at the end says when the last is over."""
    assert parse_lrc(text).lines == (line,)


def test_a_repeated_line_repeats_the_times_of_its_words() -> None:
    """The stamps of words belong to the first time the line is sung; the others move with it."""
    first, second = parse_lrc("[00:10.00][00:30.00]<00:10.50>Oh <00:11.00>moon").lines
    assert [word.start for word in first.words] == [10.5, 11.0]
    assert [word.start for word in second.words] == [30.5, 31.0]


def test_lrc_offset_never_leads_before_the_song() -> None:
    """A line that the offset would move before the beginning starts at 0."""
    assert parse_lrc("[offset: 3000]\n[00:01.00]Hey").lines == (LyricLine(0.0, "Hey"),)


def test_srt_pauses_clear_the_stage() -> None:
    """SubRip captions become lines; a long pause after one adds an empty line."""
    text = "1\n00:00:01,500 --> 00:00:03,000\n<i>One</i>\ntwo\n\n2\n00:00:09,000 --> 00:00:10,000\n1999\n"
    assert parse_subtitles(text).lines == (
        LyricLine(1.5, "One two"),
        LyricLine(3.0, ""),
        LyricLine(9.0, "1999"),
        LyricLine(10.0, ""),
    )


def test_untimed_lyrics_are_spread_over_the_song() -> None:
    """Plain text gets rising times within the song, without its section headings."""
    lines = spread_lines("[Verse 1]\nA short line\n\nA rather longer line than that\n", 60.0).lines
    assert [line.text for line in lines] == ["A short line", "A rather longer line than that"]
    assert 0 < lines[0].start < lines[1].start < 60


def test_a_folder_of_songs(tmp_path: Path) -> None:
    """A folder's tracks take their facts from track.toml, or from the folder's name, in order."""
    _song(
        tmp_path / "task_b" / "one",
        track='title = "Über"\nartist = "Ava"\nsuno_id = "s-1"\nlanguage = "de"',
        lyrics="[00:00.50]Hallo",
    )
    _song(tmp_path / "task_a" / "two", seconds=2.5)
    (tmp_path / ".hidden").mkdir()
    library = FolderLibrary(tmp_path)
    first, second = library.tracks()
    assert (first.task_id, first.suno_id, first.title, first.duration) == ("task_a", "two", "two", 2.5)
    assert (second.task_id, second.suno_id, second.title, second.artist) == ("task_b", "s-1", "Über", "Ava")
    assert second.lyrics == (LyricLine(0.5, "Hallo"),)
    assert library.find("task_b", "s-1") is second
    assert library.audio(second, tmp_path / "cache") == tmp_path / "task_b" / "one" / "audio.wav"


@pytest.mark.parametrize(("said", "size"), [("portrait", (1080, 1920)), ("640x360", (640, 360))])
def test_a_song_may_have_a_size_of_its_own(tmp_path: Path, said: str, size: tuple[int, int]) -> None:
    """By name or in pixels."""
    _song(tmp_path / "task" / "song", track=f'size = "{said}"')
    assert FolderLibrary(tmp_path).tracks()[0].size == size


def test_a_missing_cover_is_drawn(tmp_path: Path) -> None:
    """A track without a cover gets one, outside the library, the same every time."""
    folder = _song(tmp_path / "library" / "task" / "song")
    library = FolderLibrary(tmp_path / "library")
    first = library.cover(library.tracks()[0], tmp_path / "a").read_bytes()
    assert library.cover(library.tracks()[0], tmp_path / "b").read_bytes() == first
    assert sorted(path.name for path in folder.iterdir()) == ["audio.wav"]


@pytest.mark.parametrize(
    ("toml", "line", "problem"),
    [
        ('artist = "x"\ntitel = "y"', 2, "unknown key 'titel'"),
        ("title = 3", 1, "must be text"),
        ('duration = "long"', 1, "must be seconds"),
        ('size = "tall"', 1, "size must be landscape, portrait, square, or two even"),
        ("title = 'a'\nsize = 1080", 2, "size must be"),
        ('size = "1081x1920"', 1, "size must be"),
        ('title = "a"\n\nartist = ', 3, "not valid TOML"),
    ],
)
def test_mistakes_in_track_toml(tmp_path: Path, toml: str, line: int, problem: str) -> None:
    """A mistake in track.toml is reported with the file, the line and what to write instead."""
    folder = _song(tmp_path / "task" / "song", track=toml)
    with pytest.raises(LibraryError, match=problem) as caught:
        FolderLibrary(tmp_path)
    assert (caught.value.path, caught.value.line) == (folder.resolve() / "track.toml", line)


def test_a_folder_without_songs_is_refused(tmp_path: Path) -> None:
    """No folder, an empty one, and a track without audio are each refused with the way out."""
    with pytest.raises(LibraryError, match="not a folder"):
        FolderLibrary(tmp_path / "nowhere")
    with pytest.raises(LibraryError, match="has no track"):
        FolderLibrary(tmp_path)
    (tmp_path / "task" / "song").mkdir(parents=True)
    with pytest.raises(LibraryError, match=r"has no audio; put the song there"):
        FolderLibrary(tmp_path)


def test_ambiguous_files_are_refused(tmp_path: Path) -> None:
    """Two audio files, an unknown kind of cover, or an id used twice are mistakes."""
    folder = _song(tmp_path / "a" / "task" / "song", lyrics="[00:01]x")
    (folder / "audio.mp3").touch()
    with pytest.raises(LibraryError, match="more than one audio"):
        FolderLibrary(tmp_path / "a")
    (folder / "audio.mp3").unlink()
    (folder / "cover.gif").touch()
    with pytest.raises(LibraryError, match="use PNG, JPEG or WebP"):
        FolderLibrary(tmp_path / "a")
    (folder / "cover.gif").unlink()
    _song(tmp_path / "a" / "task" / "zong", track='suno_id = "song"')
    with pytest.raises(LibraryError, match="give each track its own"):
        FolderLibrary(tmp_path / "a")


def test_nothing_outside_the_folder_is_read(tmp_path: Path) -> None:
    """A symbolic link out of the library is refused: as a track, as a file, also after the scan."""
    outside = _song(tmp_path / "outside" / "song")
    root = tmp_path / "library"
    folder = _song(root / "task" / "song")
    (root / "task" / "link").symlink_to(outside)
    with pytest.raises(LibraryError, match="leads outside"):
        FolderLibrary(root)
    (root / "task" / "link").unlink()
    (folder / "lyrics.txt").symlink_to(outside / "audio.wav")
    with pytest.raises(LibraryError, match="leads outside"):
        FolderLibrary(root)
    (folder / "lyrics.txt").unlink()
    library = FolderLibrary(root)
    (folder / "audio.wav").unlink()
    (folder / "audio.wav").symlink_to(outside / "audio.wav")
    with pytest.raises(LibraryError, match="leads outside"):
        library.audio(library.tracks()[0], tmp_path)


def test_lyrics_in_another_encoding_are_refused(tmp_path: Path) -> None:
    """Lyrics that are not UTF-8 are refused with the line of the first bad byte."""
    folder = _song(tmp_path / "task" / "song")
    (folder / "lyrics.txt").write_bytes("gut\nschön".encode("latin-1"))
    with pytest.raises(
        LibraryError, match=r"save the file as UTF-8, or name its encoding in track\.toml"
    ) as caught:
        FolderLibrary(tmp_path)
    assert caught.value.line == 2


def test_audio_that_is_none_is_refused(tmp_path: Path) -> None:
    """A file that is called audio but holds none is named when the library is made."""
    folder = tmp_path / "task" / "song"
    folder.mkdir(parents=True)
    (folder / "audio.mp3").write_bytes(b"this is no music " * 100)
    with pytest.raises(LibraryError, match="not audio that can be read"):
        FolderLibrary(tmp_path)


def test_every_built_in_track_has_a_cover_and_a_sound_of_its_own(tmp_path: Path) -> None:
    """Each cover differs from the others, and is painted once; one song stands for the sounds."""
    library = BuiltinLibrary()
    covers = [library.cover(track, tmp_path) for track in library.tracks()]
    pictures = {cover.read_bytes() for cover in covers}
    assert len(pictures) == len({cover.name for cover in covers}) >= 6
    shortest = min(library.tracks(), key=lambda track: track.duration)
    with av.open(str(library.audio(shortest, tmp_path))) as sound:
        assert sound.duration is not None
        assert abs(sound.duration / 1e6 - shortest.duration) < 1
