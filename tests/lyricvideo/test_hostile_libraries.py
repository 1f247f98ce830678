"""Folders that somebody made to break the server: each song has a clear error, the others are made into videos."""

from __future__ import annotations

import asyncio
import gzip
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from suno_video_async import InvalidRequestError, RateLimit, SunoVideoClient, TaskFailed, Track
from suno_video_async.local import LocalServer
from suno_video_async.local.orders import Order
from suno_video_async.local.service import ApiService
from suno_video_async.local.tasks import MusicTasks
from suno_video_async.local.watching import LibraryWatch
from suno_video_async.lyricvideo.check import check_library
from suno_video_async.lyricvideo.folder import FolderLibrary
from suno_video_async.lyricvideo.songfolder import SongFolder
from tests.lyricvideo.songs import write_song, write_sound

SECRET = "root:x:0:0"


def _png(width: int, height: int, rows: bytes) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def _huge_picture(song: Path) -> None:
    (song / "cover.png").write_bytes(_png(40_000, 40_000, zlib.compress(bytes(1000))))


def _hundred_megapixels(song: Path) -> None:
    rows = zlib.compressobj()
    line = bytes(10_001)
    data = b"".join(rows.compress(line) for _ in range(10_000)) + rows.flush()
    (song / "cover.png").write_bytes(_png(10_000, 10_000, data))


def _zipped_picture(song: Path) -> None:
    (song / "cover.png").write_bytes(gzip.compress(bytes(20_000_000)))


def _cut_picture(song: Path) -> None:
    (song / "cover.png").write_bytes(_png(200, 200, zlib.compress(bytes(100))))


def _empty_picture(song: Path) -> None:
    (song / "cover.jpg").touch()


def _text_as_picture(song: Path) -> None:
    (song / "cover.svg").write_text("<svg/>")


def _long_line(song: Path) -> None:
    (song / "lyrics.lrc").write_text("[00:00.10]" + "la " * 300_000)


def _huge_lyrics(song: Path) -> None:
    (song / "lyrics.txt").write_text("la " * 3_400_000)


def _many_lines(song: Path) -> None:
    (song / "lyrics.srt").write_text("1\n00:00:00,100 --> 00:00:00,200\nla\n\n" * 20_000)


def _no_sound(song: Path) -> None:
    (song / "audio.wav").write_bytes(b"RIFF\xff\xff\xff\xffWAVE")


def _noise_as_sound(song: Path) -> None:
    (song / "audio.wav").unlink()
    (song / "audio.mp3").write_bytes(bytes(range(7, 255)) * 400)


def _empty_sound(song: Path) -> None:
    (song / "audio.wav").write_bytes(b"")


def _playlist_as_sound(song: Path) -> None:
    (song / "audio.wav").unlink()
    (song / "audio.m3u8").write_text("#EXTM3U\n#EXTINF:9,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n")


def _list_of_files_as_sound(song: Path) -> None:
    write_sound(song.parents[2] / "outside.wav", 30.0)
    (song / "audio.wav").write_text(f"ffconcat version 1.0\nfile {song.parents[2] / 'outside.wav'}\n")


def _linked_sound(song: Path) -> None:
    (song / "audio.wav").unlink()
    (song / "audio.wav").symlink_to("/etc/passwd")


def _linked_lyrics(song: Path) -> None:
    (song / "lyrics.txt").symlink_to("/etc/passwd")


def _linked_facts(song: Path) -> None:
    (song / "track.toml").symlink_to("../../../secret.toml")


def _looping_link(song: Path) -> None:
    (song / "lyrics.txt").symlink_to("lyrics.txt")


def _pipe_as_sound(song: Path) -> None:
    (song / "audio.wav").unlink()
    os.mkfifo(song / "audio.wav")


def _pipe_as_lyrics(song: Path) -> None:
    os.mkfifo(song / "lyrics.lrc")


def _folder_as_sound(song: Path) -> None:
    (song / "audio.wav").unlink()
    (song / "audio.wav").mkdir()


def _line_break_in_the_name(song: Path) -> None:
    song.rename(song.with_name("bad\nERROR: all is lost"))


def _endless_title(song: Path) -> None:
    (song / "track.toml").write_text(f'title = "{"A" * 500_000}"')


def _bytes_as_facts(song: Path) -> None:
    (song / "track.toml").write_bytes(b'title = "\xff\xfe"')


ATTACKS: dict[Callable[[Path], None], str] = {
    _huge_picture: "too many pixels",
    _hundred_megapixels: "too many pixels",
    _zipped_picture: "not an image",
    _cut_picture: "is damaged",
    _empty_picture: "not an image",
    _text_as_picture: "not a known kind of cover",
    _long_line: "characters on one line",
    _huge_lyrics: "larger than a megabyte",
    _many_lines: "more than 5000 lines",
    _no_sound: "not audio that can be read",
    _noise_as_sound: "not audio that can be read",
    _empty_sound: "not audio that can be read",
    _playlist_as_sound: "not audio that can be read",
    _list_of_files_as_sound: "not audio that can be read",
    _linked_sound: "leads outside the library",
    _linked_lyrics: "leads outside the library",
    _linked_facts: "leads outside the library",
    _looping_link: "leads nowhere",
    _pipe_as_sound: "is not a file",
    _pipe_as_lyrics: "is not a file",
    _folder_as_sound: "is not a file",
    _line_break_in_the_name: "control characters",
    _endless_title: "title has 500000 characters",
    _bytes_as_facts: "not UTF-8",
}


@pytest.fixture(params=ATTACKS, ids=lambda attack: attack.__name__.strip("_"))
def library(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    """A folder with a good song and a bad one, and what is to be said of it."""
    (tmp_path / "secret.toml").write_text(f'title = "{SECRET}"')
    folder = tmp_path / "library"
    write_song(folder / "task" / "good")
    request.param(write_song(folder / "task" / "bad"))
    return folder, ATTACKS[request.param]


def test_each_is_named_and_the_good_song_stays(library: tuple[Path, str]) -> None:
    """The check names the song and the fault on one line, and nothing from outside the folder."""
    folder, problem = library
    checked = check_library(folder)
    (mistake,) = checked.mistakes
    assert problem in str(mistake)
    assert "bad" in str(mistake)
    assert "\n" not in str(mistake)
    assert SECRET not in str(mistake)
    assert "good" in [track.suno_id for track in checked.tracks]


def _all_attacks(folder: Path) -> None:
    """Every bad song, and a good one, in one folder."""
    write_song(folder / "task" / "good")
    for attack in ATTACKS:
        attack(write_song(folder / "task" / attack.__name__))


async def test_the_server_lives(tmp_path: Path) -> None:
    """An order for a bad song is refused or fails, with the reason; the good one becomes a video all the same."""
    folder = tmp_path / "library"
    await asyncio.to_thread(_all_attacks, folder)
    async with (
        LocalServer(library=folder, size=(128, 96), rate=None) as server,
        SunoVideoClient(api_key=server.api_key, base_url=server.url, rate=RateLimit(1000, per=1)) as client,
    ):

        async def said_of(name: str) -> str:
            try:
                task = await client.submit(Track(task_id="task", suno_id=name))
                return (await task.result()).url
            except (InvalidRequestError, TaskFailed) as error:
                return str(error)

        said = await asyncio.gather(*(said_of(attack.__name__) for attack in ATTACKS))
        done = await said_of("good")
    assert done.startswith("http")
    for text, problem in zip(said, ATTACKS.values(), strict=True):
        # A folder whose name cannot be told is no such track.
        assert problem in text or "no such track" in text
        assert SECRET not in text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_a_folder_without_rights_is_named(tmp_path: Path) -> None:
    """What the user may not read is a mistake of that song only."""
    write_song(tmp_path / "library" / "task" / "good")
    bad = write_song(tmp_path / "library" / "task" / "bad")
    bad.chmod(0)
    try:
        library = FolderLibrary(tmp_path / "library", lenient=True)
    finally:
        bad.chmod(0o755)
    assert "cannot be read" in str(library.mistakes[0])
    assert [track.suno_id for track in library.tracks()] == ["good"]


def test_the_good_song_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look at a folder that has not changed opens no file."""
    write_song(tmp_path / "task" / "good")
    library = FolderLibrary(tmp_path)
    monkeypatch.setattr(SongFolder, "read", lambda *_: pytest.fail("it was read again"))
    assert not library.refresh()


def test_a_mended_song_comes_in_and_a_removed_one_goes(tmp_path: Path) -> None:
    """A look takes over what has changed since the last."""
    song = write_song(tmp_path / "task" / "song")
    write_song(tmp_path / "task" / "other")
    (song / "track.toml").write_text("title = 3")
    library = FolderLibrary(tmp_path, lenient=True)
    problem = library.problem("task", "song")
    assert problem is not None
    assert problem.startswith("task/song/track.toml:1: title must be text")
    (song / "track.toml").write_text("title = 'three'")
    assert library.refresh()
    assert library.problem("task", "song") is None
    assert library.find("task", "song") is not None
    (song / "audio.wav").unlink()
    assert library.refresh()
    assert library.find("task", "song") is None


def test_a_good_song_is_not_refused_for_a_bad_folder_of_its_name(tmp_path: Path) -> None:
    """The id that a good song's track.toml gives counts, whatever the name of a folder beside it says."""
    (write_song(tmp_path / "task" / "a") / "track.toml").write_text('suno_id = "b"')
    (write_song(tmp_path / "task" / "b") / "lyrics.lrc").write_text("no stamp")
    music = MusicTasks(FolderLibrary(tmp_path, lenient=True), lambda track, what: f"/{what}", 0.0)
    assert music.why_unknown(Order(task_id="task", suno_id="b", given={})) is None


async def test_a_new_song_can_be_ordered_while_the_server_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that appears later is offered soon after, in a new music task, too."""
    monkeypatch.setattr("suno_video_async.local.watching.EVERY", 0.001)
    seen = asyncio.Event()
    monkeypatch.setattr("suno_video_async.local.service.ApiService.refresh_library", _telling(seen))
    await asyncio.to_thread(write_song, tmp_path / "task" / "song")
    async with LocalServer(library=tmp_path, render_seconds=0.0) as server:
        await asyncio.to_thread(write_song, tmp_path / "later" / "song")
        await asyncio.wait_for(seen.wait(), 60)
        while len(server.service.tasks()["music"]) < 2:  # it was seen without its sound first
            seen.clear()
            await asyncio.wait_for(seen.wait(), 60)
        names = [task["task_id"] for task in server.service.tasks()["music"]]
    assert sorted(names) == ["later", "task"]


def _telling(seen: asyncio.Event) -> Callable[[ApiService], None]:
    original = ApiService.refresh_library

    def refresh(service: ApiService) -> None:
        original(service)
        seen.set()

    return refresh


def test_a_known_song_keeps_its_urls(tmp_path: Path) -> None:
    """What a client was told of a song stays true when another one comes in."""
    write_song(tmp_path / "task" / "song")
    library = FolderLibrary(tmp_path)
    paths = (f"/{number}" for number in range(100))
    music = MusicTasks(library, lambda track, what: next(paths), 0.0)
    before = music.data("task", "")
    write_song(tmp_path / "a-task" / "song")
    library.refresh()
    music.refresh()
    assert music.data("task", "") == before
    assert music.data("a-task", "") is not None


async def test_a_watch_outlives_a_broken_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An error while looking is logged, and the next look finds what there is."""
    monkeypatch.setattr("suno_video_async.local.watching.EVERY", 0.001)
    await asyncio.to_thread(write_song, tmp_path / "task" / "song")
    library = await asyncio.to_thread(FolderLibrary, tmp_path)
    answers: Iterator[OSError | bool] = iter([OSError("gone"), True])
    looked = asyncio.Event()

    def refresh() -> bool:
        answer = next(answers, False)
        if isinstance(answer, OSError):
            raise answer
        return answer

    monkeypatch.setattr(library, "refresh", refresh)
    watch = LibraryWatch(library, looked.set)
    await asyncio.wait_for(looked.wait(), 60)
    await watch.aclose()
    assert "cannot be read" in caplog.text
