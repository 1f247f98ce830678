"""Files in a folder that others use as well: none of theirs is replaced, followed or written."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from suno_video_async import DownloadError
from suno_video_async.api.transport import make_session
from suno_video_async.download import partial
from suno_video_async.download.fetch import MediaFetcher
from suno_video_async.download.filenames import MOST_BYTES, marked
from suno_video_async.models import Timeout
from tests.support.fakes import MP4
from tests.support.mp4 import movie, path_of
from tests.support.raw import http, raw_server, says

OTHER = movie(b"e" * len(MP4))


async def download(path: Path, content: bytes = MP4, mark: str = "task", **headers: str) -> Path:
    async with raw_server(says(http(content, **headers))) as server, make_session() as session:
        media = MediaFetcher(session, Timeout(connect=30, total=60), local=True)
        return path_of(await media.download(server.url + "/v.mp4", path, mark=mark))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file of someone else's."""
    path = tmp_path / "precious.txt"
    path.write_bytes(b"precious")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of the videos."""
    path = tmp_path / "videos"
    path.mkdir()
    return path


async def test_a_file_that_is_there_is_not_replaced(folder: Path) -> None:
    """The video gets a name that is marked by its task, and the next one of that name another mark."""
    path = folder / "song.mp4"
    path.write_bytes(b"my holiday film")
    first = await download(path)
    assert first == folder / marked("song.mp4", "task")
    second = await download(path, OTHER)
    assert len({path, first, second}) == 3
    assert [one.read_bytes() for one in (path, first, second)] == [b"my holiday film", MP4, OTHER]
    assert len(names(folder)) == 3


async def test_the_same_video_is_kept_once(folder: Path) -> None:
    """After an end between the rename and the ledger's word for it, the file that is there is the video."""
    first = await download(folder / "song.mp4")
    before = first.stat().st_ino
    assert await download(folder / "song.mp4") == first
    assert (names(folder), first.stat().st_ino) == (["song.mp4"], before)


@pytest.mark.parametrize("size", [0, len(MP4), len(MP4) + 1])
async def test_another_file_of_any_size_keeps_its_name(folder: Path, size: int) -> None:
    """Only the very same bytes are the same video."""
    (folder / "song.mp4").write_bytes(b"x" * size)
    assert await download(folder / "song.mp4") != folder / "song.mp4"
    assert (folder / "song.mp4").read_bytes() == b"x" * size


async def test_a_link_or_a_folder_of_that_name_is_left_alone(folder: Path, victim: Path) -> None:
    """Neither is followed, emptied or replaced."""
    (folder / "link.mp4").symlink_to(victim)
    (folder / "same.mp4").symlink_to(await download(folder / "real.mp4"))
    (folder / "folder.mp4").mkdir()
    for name in ("link", "same", "folder"):
        assert await download(folder / f"{name}.mp4") == folder / marked(f"{name}.mp4", "task")
    assert (victim.read_bytes(), (folder / "link.mp4").is_symlink()) == (b"precious", True)


async def test_a_file_that_appears_at_the_last_moment_is_not_replaced(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name is taken in one step with the look whether it is free."""
    link, made = os.link, list[Path]()

    def linking(part: Path, target: Path, **options: bool) -> None:
        if not made:
            target.write_bytes(b"theirs")
        made.append(target)
        link(part, target, **options)

    monkeypatch.setattr(os, "link", linking)
    assert await download(folder / "song.mp4") == folder / marked("song.mp4", "task")
    assert (folder / "song.mp4").read_bytes() == b"theirs"


def no_second_names(part: Path, target: Path, **_: bool) -> None:
    if target.exists():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


async def test_a_file_system_where_files_have_one_name_will_do(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On FAT and its like, too, a name is taken only if it is free."""
    monkeypatch.setattr(os, "link", no_second_names)
    (folder / "song.mp4").write_bytes(b"theirs")
    paths = [await download(folder / name) for name in ("song.mp4", "free.mp4")]
    assert paths == [folder / marked("song.mp4", "task"), folder / "free.mp4"]
    assert [path.read_bytes() for path in paths] == [MP4, MP4]
    assert len(names(folder)) == 3


def symbolic(part: Path, victim: Path) -> None:
    part.symlink_to(victim)


def hard(part: Path, victim: Path) -> None:
    part.hardlink_to(victim)


def pipe(part: Path, victim: Path) -> None:
    os.mkfifo(part)


def subfolder(part: Path, victim: Path) -> None:
    part.mkdir()


@pytest.mark.parametrize("plant", [symbolic, hard, pipe, subfolder])
async def test_what_is_planted_in_place_of_the_part_is_not_touched(
    folder: Path, victim: Path, plant: Callable[[Path, Path], None]
) -> None:
    """The unfinished file is a plain one without another name, or the download says what is in its place."""
    plant(folder / "song.mp4.part", victim)
    with pytest.raises(
        DownloadError, match=r"song\.mp4\.part is not a plain file of its own: move it away"
    ) as error:
        await asyncio.wait_for(download(folder / "song.mp4"), 60)
    assert not error.value.temporary
    assert (victim.read_bytes(), names(folder)) == (b"precious", ["song.mp4.part"])


@pytest.mark.parametrize("plant", [symbolic, hard])
async def test_a_planted_version_file_is_neither_read_nor_written(
    folder: Path, victim: Path, plant: Callable[[Path, Path], None]
) -> None:
    """The small file beside the part is no way to another file."""
    plant(folder / "song.mp4.part.json", victim)
    assert await download(folder / "song.mp4", ETag='"one"') == folder / "song.mp4"
    assert (victim.read_bytes(), names(folder)) == (b"precious", ["song.mp4"])


async def test_a_part_that_is_replaced_while_it_is_written_is_given_up(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was checked is what gets the name, and a file of another process is not removed."""
    finish = partial.PartFile.finish

    def replaced(part: partial.PartFile, *arguments: object) -> partial.Saved:
        part.path.unlink()
        part.path.write_bytes(b"theirs")
        return finish(part, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(partial.PartFile, "finish", replaced)
    with pytest.raises(DownloadError, match="was replaced while it was written"):
        await download(folder / "song.mp4")
    assert (folder / "song.mp4.part").read_bytes() == b"theirs"


async def test_an_end_between_the_two_halves_of_a_rename_is_mended(folder: Path) -> None:
    """A file that has both names is the finished video."""
    path = await download(folder / "song.mp4")
    (folder / "song.mp4.part").hardlink_to(path)
    assert await download(path) == path
    assert (names(folder), path.stat().st_nlink) == (["song.mp4"], 1)


async def test_two_names_of_a_marked_video_are_mended_too(folder: Path) -> None:
    """Where another file has the plain name, the finished video is found under its marked one."""
    (folder / "song.mp4").write_bytes(b"theirs")
    path = await download(folder / "song.mp4")
    (folder / "song.mp4.part").hardlink_to(path)
    assert await download(folder / "song.mp4") == path
    assert (len(names(folder)), path.stat().st_nlink) == (2, 1)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EOPNOTSUPP])
async def test_a_folder_that_cannot_be_synced_keeps_the_video(
    folder: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Some network and user-space file systems refuse fsync; the video is there all the same."""

    def fsync(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)
    assert (await download(folder / "song.mp4")).read_bytes() == MP4


async def test_a_disk_that_fails_to_sync_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What may be lost is not said to be kept."""

    def fsync(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(DownloadError, match="Input/output error"):
        await download(folder / "song.mp4")


async def test_a_folder_that_cannot_be_listed_will_do(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One may write into a drop box without the right to open it."""
    real = os.open

    def opening(path: str | Path, flags: int, *more: int) -> int:
        if flags & os.O_DIRECTORY:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(path, flags, *more)

    monkeypatch.setattr(os, "open", opening)
    assert await download(folder / "song.mp4") == folder / "song.mp4"


@pytest.mark.parametrize(
    "label", ["", "identity", "Identity", "aws-chunked", "utf-8", "binary", "none", "UTF-8, binary"]
)
async def test_labels_that_mean_nothing_are_ignored(folder: Path, label: str) -> None:
    """Storage services hand out what uploaders wrote into Content-Encoding."""
    assert (await download(folder / "song.mp4", Content_Encoding=label)).read_bytes() == MP4


@pytest.mark.parametrize("label", ["gzip", "x-gzip", "GZIP", "br", "zstd", "deflate", "aws-chunked,gzip"])
async def test_a_compressed_video_is_refused(folder: Path, label: str) -> None:
    """Nothing is unpacked: a small answer could fill the disk."""
    with pytest.raises(DownloadError, match="is compressed"):
        await download(folder / "song.mp4", Content_Encoding=label)
    assert names(folder) == []


@pytest.mark.parametrize("name", ["song.mp4", "ü" * 118 + ".mp4", "a" * (MOST_BYTES - 4) + ".mp4"])
def test_marks_keep_names_apart_and_short(name: str) -> None:
    """A marked name is as safe as any, and another one for each mark."""
    found = {marked(name, mark) for mark in ("a", "b", "a 2")} | {name}
    assert len(found) == 4
    assert all(len(one.encode()) <= MOST_BYTES and one.endswith(".mp4") for one in found)
