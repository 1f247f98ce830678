"""The names of the files of a conversion: each decided once, and never that of another file."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from suno_video_async import NO_LEDGER, Outcome, SqliteLedger, Track
from suno_video_async.batch.options import Options
from suno_video_async.download.filenames import file_name, marked
from suno_video_async.download.places import folder_of
from suno_video_async.local import Fault
from suno_video_async.testing import VideoServer, assert_charged_once, serve
from tests.support.clients import FakeAPI, client_of


@pytest.fixture
def server() -> Iterator[VideoServer]:
    with serve(render_seconds=1, time_scale=1000, rate=None) as server:
        yield server


def convert(server: VideoServer, folder: Path, *tracks: Track, **options: Any) -> list[Outcome]:
    """Return the outcomes of tracks whose videos go to a folder."""

    async def run() -> list[Outcome]:
        given = {"output_dir": folder, "task_timeout": 300, **options}
        async with server.client() as client, client.convert(tracks, **given) as outcomes:
            return [outcome async for outcome in outcomes]

    return asyncio.run(run())


def song(suno_id: str = "song", **more: Any) -> Track:
    return Track(task_id="m", suno_id=suno_id, **more)


def test_two_ledgers_share_a_folder(server: VideoServer, tmp_path: Path) -> None:
    """The same song under another author is another video, though its ledger knows nothing of the first."""
    (one,) = convert(server, tmp_path / "v", song(author="Ava"), ledger=tmp_path / "a.db")
    assert one.path == tmp_path / "v" / "song.mp4"
    before = one.path.stat().st_ino
    (other,) = convert(server, tmp_path / "v", song(author="Bob"), ledger=tmp_path / "b.db")
    assert other.path == tmp_path / "v" / marked("song.mp4", f"{song(author='Bob').key} 1")
    assert one.path.stat().st_ino == before


def test_a_file_of_the_users_own_is_kept(server: VideoServer, tmp_path: Path) -> None:
    """Whatever has a video's name keeps it."""
    (tmp_path / "mine.mp4").write_text("my holiday film")
    (outcome,) = convert(server, tmp_path, song("mine"), ledger=tmp_path / "a.db")
    assert (outcome.state, (tmp_path / "mine.mp4").read_text()) == ("downloaded", "my holiday film")
    assert outcome.path is not None
    assert outcome.path.exists()


def test_names_of_one_ledger_never_meet(server: VideoServer, tmp_path: Path) -> None:
    """Neither the id that another row's mark makes, nor ids that differ in case, nor those of one hash."""
    first, second = song("x", author="A"), song("x", author="B")
    third = song(file_name("x", marked_by=second.key).removesuffix(".mp4"))
    tracks = [first, second, third, song("X"), song("Ä"), song("ä")]
    outcomes = convert(server, tmp_path / "v", *tracks, ledger=tmp_path / "a.db", rebuy_changed=True)
    names = {outcome.path.name.casefold() for outcome in outcomes if outcome.path}
    assert (len(names), {outcome.state for outcome in outcomes}) == (len(tracks), {"downloaded"})


def test_a_name_that_was_decided_is_kept(tmp_path: Path) -> None:
    """A row whose download broke off goes on under its name, and a row in between does not take it."""
    late = [Fault(on="media", kind="code:503", http=True)]
    with serve(render_seconds=1, time_scale=1000, rate=None, faults=late) as server:
        (left,) = convert(server, tmp_path / "v", song("x"), ledger=tmp_path / "a.db")
        assert left.state == "succeeded"
        server.set_faults()
        (other,) = convert(server, tmp_path / "v", song("X"), ledger=tmp_path / "a.db")
        (done,) = convert(server, tmp_path / "v", song("x"), ledger=tmp_path / "a.db", file_name="{suno_id} new")
        assert done.path == tmp_path / "v" / "x.mp4"
        assert other.path not in {None, done.path}
        assert_charged_once(server, [song("x"), song("X")])


def test_a_file_that_took_a_decided_name_is_kept(tmp_path: Path) -> None:
    """What came between two runs is not this row's; the same video is, and is kept once."""
    late = [Fault(on="media", kind="code:503", http=True)]
    with serve(render_seconds=1, time_scale=1000, rate=None, faults=late) as server:
        convert(server, tmp_path, song("x"), song("y"), ledger=tmp_path / "a.db")
        server.set_faults()
        (kept,) = convert(server, tmp_path / "v", song("z"), ledger=tmp_path / "b.db")
        assert kept.path is not None
        (tmp_path / "x.mp4").write_text("theirs")
        os.link(kept.path, tmp_path / "y.mp4")
        kept.path.unlink()
        done = convert(server, tmp_path, song("x"), song("y"), ledger=tmp_path / "a.db")
    paths = {str(outcome.track.suno_id): outcome.path for outcome in done if outcome.track}
    assert (tmp_path / "x.mp4").read_text() == "theirs"
    assert paths["y"] == tmp_path / "y.mp4"
    assert paths["x"] not in {None, tmp_path / "x.mp4"}


@pytest.mark.parametrize("plant", ["link", "pipe", "folder"])
def test_what_is_planted_does_not_cost_the_video(server: VideoServer, tmp_path: Path, plant: str) -> None:
    """Something in the place of the unfinished file is gone around."""
    (tmp_path / "precious").write_text("precious")
    part = tmp_path / "song.mp4.part"
    if plant == "link":
        part.symlink_to(tmp_path / "precious")
    elif plant == "pipe":
        os.mkfifo(part)
    else:
        part.mkdir()
    (outcome,) = convert(server, tmp_path, song(), ledger=tmp_path / "a.db")
    assert (outcome.state, (tmp_path / "precious").read_text()) == ("downloaded", "precious")
    assert outcome.path != tmp_path / "song.mp4"


def test_a_rest_of_an_earlier_download_is_taken_over(server: VideoServer, tmp_path: Path) -> None:
    """A plain unfinished file that no process holds is no reason for another name."""
    (tmp_path / "song.mp4.part").write_bytes(b"half")
    (outcome,) = convert(server, tmp_path, song(), ledger=NO_LEDGER)
    assert outcome.path == tmp_path / "song.mp4"
    assert [path.name for path in tmp_path.iterdir()] == ["song.mp4"]


def test_a_title_that_cannot_be_looked_up_does_not_cost_the_video(tmp_path: Path) -> None:
    """The video is kept, once, under a name without the title."""
    ledger, wanted = tmp_path / "a.db", {"file_name": "{title} {suno_id}"}
    with serve(render_seconds=1, time_scale=1000, rate=None) as server:
        (outcome,) = convert(server, tmp_path / "v", song(), ledger=ledger, **wanted)
        assert (outcome.state, outcome.path) == ("downloaded", tmp_path / "v" / "song.mp4")
        (again,) = convert(server, tmp_path / "v", song(), ledger=ledger, **wanted)
        assert (again.state, len(list((tmp_path / "v").iterdir()))) == ("skipped", 1)


@pytest.mark.parametrize(
    "folder", ["s3:/bucket/videos", "sftp://b", "file:/home/ava/videos", "HTTPS://x.test/", "az:/container"]
)
async def test_a_url_is_not_a_folder(folder: str) -> None:
    """It is refused, before anything is bought, instead of becoming a folder of that name."""
    api = FakeAPI()
    client, _ = client_of(api)
    async with client:
        with pytest.raises(ValueError, match="is a URL, not a folder of this machine"):
            client.convert([song()], ledger=NO_LEDGER, output_dir=folder)
        with pytest.raises(ValueError, match="is a URL, not a folder of this machine"):
            await client.generate(song(), output_dir=Path(folder))
    assert not api.created


@pytest.mark.parametrize("folder", ["videos", "/srv/videos", "C:/videos", "a:b/c", "./s3/x", "x/y://z"])
def test_a_path_is_a_folder(folder: str) -> None:
    """Drives and names with colons are paths like any others."""
    assert folder_of(folder) == Path(folder)
    assert Options(output_dir=folder, task_timeout=1).output_dir == Path(folder)


def test_the_ledger_gives_a_name_once(tmp_path: Path) -> None:
    """Whatever its case, a name is one row's; that row may have it again, or another one."""
    ledger = SqliteLedger(tmp_path / "a.db")
    ledger.open(provider="p", fingerprint="f")
    one, other = (ledger.claim(song(suno_id), location="").row for suno_id in ("a", "b"))
    assert ledger.take_name(one.id, "Straße.mp4")
    assert not ledger.take_name(other.id, "STRASSE.mp4")
    assert ledger.take_name(one.id, "straße.mp4")
    assert ledger.take_name(one.id, "other.mp4")
    assert ledger.take_name(other.id, "STRASSE.mp4")
    ledger.close()
    reader = SqliteLedger(tmp_path / "a.db")
    assert reader.open_to_read()
    assert [row.name for row in reader.rows()] == ["other.mp4", "STRASSE.mp4"]
    reader.close()
