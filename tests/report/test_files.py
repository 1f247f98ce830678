"""Where the page finds the videos, their stills, and how the page's own file is written."""

from __future__ import annotations

import builtins
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin

import pytest

from suno_video_async.ledger.model import LedgerRow
from suno_video_async.ledger.states import State
from suno_video_async.models import MusicTaskId, SunoId, Track
from suno_video_async.report import posters as posters_module
from suno_video_async.report.facts import Facts, Item
from suno_video_async.report.posters import available, posters
from suno_video_async.report.saving import NotOursError, check_place, is_report, write
from suno_video_async.report.videos import File, files

OURS = '<!doctype html><meta name="generator" content="suno-video report">'


def found(ledger: Path, page: Path, *paths: Path) -> Sequence[File]:
    """Return the files of rows with these paths."""
    track = Track(task_id=MusicTaskId("m1"), suno_id=SunoId("s1"))
    rows = [LedgerRow(id=n, track=track, state=State.DOWNLOADED, path=path) for n, path in enumerate(paths)]
    items = tuple(Item(row=row) for row in rows)
    return list(files(Facts(ledger=ledger, provider="", at=0.0, items=items), page=page).values())


@pytest.mark.parametrize("name", ["a.mp4", "100% #1?.mp4", "http:x.mp4", "ночь ☾.mp4", 'it\'s "q" <b>.mp4'])
def test_a_browser_finds_the_file(name: str, tmp_path: Path) -> None:
    """A page in any folder names a video so that a browser comes to exactly its file."""
    video = tmp_path / "videos" / name
    video.parent.mkdir()
    video.write_bytes(b"video")
    for folder in (tmp_path, tmp_path / "videos", tmp_path / "out" / "deep er"):
        (file,) = found(tmp_path / "l.db", folder / "report.html", video)
        assert file.size == 5
        base = (folder / "report.html").as_uri()
        assert unquote(urljoin(base, file.href).removeprefix("file://")) == str(video)


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    """A name that is not UTF-8 keeps its bytes."""
    (file,) = found(tmp_path / "l.db", tmp_path / "r.html", tmp_path / os.fsdecode(b"caf\xe9.mp4"))
    assert file.href == "./caf%E9.mp4"


def test_paths_of_a_run_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path is looked for from here and from the ledger's folder; what is nowhere is missing."""
    (tmp_path / "project" / "videos").mkdir(parents=True)
    (tmp_path / "project" / "videos" / "a.mp4").write_bytes(b"1234")
    ledger, page = tmp_path / "project" / "l.db", tmp_path / "project" / "r.html"
    monkeypatch.chdir(tmp_path)
    here, gone = found(ledger, page, Path("videos/a.mp4"), Path("videos/b.mp4"))
    assert (here.href, here.size) == ("./videos/a.mp4", 4)
    assert gone.size is None
    monkeypatch.chdir(tmp_path / "project")
    assert found(ledger, page, Path("videos/a.mp4"))[0].size == 4


def test_another_drive(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where there is no way from the page to the video, its whole address is named."""

    def no_way(*_: object) -> str:
        raise ValueError("on another drive")

    monkeypatch.setattr(os.path, "relpath", no_way)
    (file,) = found(tmp_path / "l.db", tmp_path / "r.html", tmp_path / "a.mp4")
    assert file.href == (tmp_path / "a.mp4").as_uri()


def test_a_disk_that_does_not_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A video on a disk that fails counts as missing."""

    def failing(_: Path) -> bool:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "is_file", failing)
    assert found(tmp_path / "l.db", tmp_path / "r.html", tmp_path / "a.mp4")[0].size is None


# Stills


def made_video(path: Path, frames: int = 12, size: tuple[int, int] = (64, 36)) -> Path:
    """Make a small video that gets brighter."""
    av = pytest.importorskip("av")
    import numpy  # noqa: PLC0415

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=4)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.gop_size = 1
        for n in range(frames):
            picture = numpy.full((size[1], size[0], 3), 20 * n, dtype=numpy.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_stills(tmp_path: Path) -> None:
    """A still is a small JPEG of a frame a third into the video; what is no video has none."""
    import io  # noqa: PLC0415

    from PIL import Image  # noqa: PLC0415

    broken, empty = tmp_path / "broken.mp4", tmp_path / "empty.mp4"
    broken.write_bytes(b"not a video" * 100)
    empty.touch()
    videos = {1: made_video(tmp_path / "a.mp4"), 2: broken, 3: empty, 4: tmp_path / "gone.mp4"}
    taken = posters(videos, most=10)
    assert set(taken) == {1}
    image = Image.open(io.BytesIO(taken[1]))
    assert image.size == (320, 180)
    assert 40 <= image.convert("L").getpixel((160, 90)) <= 120  # type: ignore[operator]


def test_as_many_stills_as_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stills are of the first videos, and all together stay within their bytes."""
    video = made_video(tmp_path / "a.mp4")
    videos: Mapping[int, Path] = dict.fromkeys(range(5), video)
    assert set(posters(videos, most=2)) == {0, 1}
    assert posters(videos, most=0) == {}
    one = len(posters(videos, most=1)[0])
    monkeypatch.setattr(posters_module, "MOST_BYTES", 2 * one)
    assert len(posters(videos, most=5)) == 2


def test_a_still_is_taken_once(tmp_path: Path) -> None:
    """What an earlier call has taken, or could not take, is not read again."""
    video = made_video(tmp_path / "a.mp4")
    broken = tmp_path / "b.mp4"
    broken.write_bytes(b"no video")
    taken = dict[int, bytes | None]()
    first = posters({1: video, 2: broken}, most=10, taken=taken)
    video.unlink()
    broken.unlink()
    assert posters({1: video, 2: broken}, most=10, taken=taken) == first
    assert set(first) == {1}


def test_a_file_of_sound_alone(tmp_path: Path) -> None:
    """A file without pictures has no still."""
    av = pytest.importorskip("av")
    import numpy  # noqa: PLC0415

    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44_100)
        frame = av.AudioFrame.from_ndarray(
            numpy.zeros((1, 1024), dtype=numpy.float32), format="fltp", layout="mono"
        )
        frame.sample_rate = 44_100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert posters({1: path}, most=1) == {}


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without PyAV there are no stills, and no error."""
    real = builtins.__import__

    def without(name: str, *arguments: Any, **more: Any) -> Any:
        if name == "av":
            raise ImportError(name)
        return real(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.delitem(sys.modules, "av", raising=False)
    assert not available()
    assert posters({1: tmp_path / "a.mp4"}, most=1) == {}


# The page's own file


def test_a_report_replaces_a_report_alone(tmp_path: Path) -> None:
    """An older report and an empty file are replaced; anything else only by force."""
    ledger, place = tmp_path / "l.db", tmp_path / "r.html"
    check_place(place, ledger, force=False)
    for text in ("", OURS):
        place.write_text(text)
        check_place(place, ledger, force=False)
    place.write_text("<html>my own page")
    with pytest.raises(NotOursError, match="exists and is not a report: name another file, or pass --force"):
        check_place(place, ledger, force=False)
    check_place(place, ledger, force=True)
    with pytest.raises(NotOursError, match="is a folder"):
        check_place(tmp_path, ledger, force=True)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(NotOursError, match="is not a regular file"):
            check_place(tmp_path / "pipe", ledger, force=True)


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", ".lock"])
def test_the_ledger_is_never_replaced(tmp_path: Path, suffix: str) -> None:
    """Neither the ledger nor what stands beside it is written over, by force or by another name."""
    ledger = tmp_path / "l.db"
    ledger.write_text("ledger")
    place = tmp_path / f"l.db{suffix}"
    link = tmp_path / "link.html"
    link.symlink_to(place)
    for name in (place, link, tmp_path / "x" / ".." / f"l.db{suffix}"):
        with pytest.raises(NotOursError, match="belongs to the ledger"):
            check_place(name, ledger, force=True)
    if not suffix:
        hard = tmp_path / "hard.html"
        hard.hardlink_to(ledger)
        with pytest.raises(NotOursError, match="belongs to the ledger"):
            check_place(hard, ledger, force=True)


def test_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be written whole leaves what was there, and nothing beside it."""
    place = tmp_path / "r.html"
    assert write("old", place) == 3
    with monkeypatch.context() as patch:

        def failing(*_: object) -> Path:
            raise OSError(28, "No space left on device")

        patch.setattr(Path, "replace", failing)
        with pytest.raises(OSError, match="No space"):
            write("new", place)
    assert place.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["r.html"]
    assert not is_report(place)


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """A report that is linked to is written where the link leads."""
    real, link = tmp_path / "real.html", tmp_path / "link.html"
    real.write_text(OURS)
    link.symlink_to(real)
    write("new", link)
    assert link.is_symlink()
    assert real.read_text() == "new"
