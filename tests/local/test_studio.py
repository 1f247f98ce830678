"""The studio: what its page gets, what it may do, and who is refused."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from suno_video_async.local.exchange import ServerRequest
from suno_video_async.local.faults import Fault
from suno_video_async.local.keys import ApiKey
from suno_video_async.local.studio import calls
from suno_video_async.lyricvideo.folder import FolderLibrary
from suno_video_async.models import RateLimit
from tests.local.fake_service import until
from tests.local.serving import quick, session_of
from tests.local.studios import HOST, PAGE, SONG, Change, FakeStudio, with_header
from tests.lyricvideo.songs import write_song
from tests.support.keys import KEY, OTHER_KEY

HTML = {"Host": HOST, "Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture
def studio(tmp_path: Path) -> FakeStudio:
    return FakeStudio(tmp_path)


def page(**changes: str) -> ServerRequest:
    return ServerRequest(method="GET", path="/", headers={**HTML, **changes})


# The page


def test_a_browser_gets_the_page(studio: FakeStudio) -> None:
    """A client that accepts HTML gets the page at /."""
    reply = studio.handle(page())
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "text/html; charset=utf-8"
    assert reply.body.startswith(b"<!doctype html>")


@pytest.mark.parametrize(
    ("method", "path", "accept"),
    [
        ("GET", "/", "*/*"),
        ("GET", "/", "application/json"),
        ("POST", "/", "text/html"),
        ("GET", "/x", "text/html"),
    ],
)
def test_a_client_of_the_api_gets_the_api(studio: FakeStudio, method: str, path: str, accept: str) -> None:
    """Whatever is not the page is answered as before, in the API's envelope."""
    request = ServerRequest(method=method, path=path, headers={"Host": HOST, "Accept": accept})
    reply = studio.handle(request)
    assert reply == studio.api.service.handle(request)
    assert (reply.status, json.loads(reply.body)["code"]) == (404, 404)


@pytest.mark.parametrize(
    ("path", "kind", "part"),
    [
        ("/studio/studio.css", "text/css", b"--accent:"),
        ("/studio/studio.js", "text/javascript", b'"use strict"'),
        ("/studio/icon.svg", "image/svg+xml", b"<svg"),
    ],
)
def test_the_files_of_the_page(studio: FakeStudio, path: str, kind: str, part: bytes) -> None:
    """Style sheet, script and icon come from the package."""
    reply = studio.handle(studio.request(path))
    assert reply.headers["Content-Type"].startswith(kind)
    assert part in reply.body


def test_nothing_in_the_page_is_inline(studio: FakeStudio) -> None:
    """The policy allows only files of this server, and no text that becomes HTML or script."""
    reply = studio.handle(page())
    policy = reply.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    for inline in (b"<style", b" style=", b" onclick=", b"javascript:", b"//cdn", b"https://"):
        assert inline not in reply.body
    script = studio.handle(studio.request("/studio/studio.js")).body
    for parses in (b"innerHTML", b"outerHTML", b"insertAdjacentHTML", b"document.write", b"eval("):
        assert parses not in script


def test_no_key_in_anything_that_is_read(studio: FakeStudio) -> None:
    """No key stands in the page, its files, or what it reads."""
    studio.order()
    paths = ["/studio/studio.js", "/studio/library", "/studio/tasks", "/studio/catalog.csv"]
    for request in [page(), *(studio.request(path) for path in paths)]:
        body = studio.handle(request).body
        assert KEY.encode() not in body
        assert OTHER_KEY.encode() not in body
    assert KEY not in repr(studio.studio)


def test_no_answer_may_be_used_by_other_sites(studio: FakeStudio) -> None:
    """No CORS, no sniffing, no other site's window or image."""
    for path in ("/studio/library", "/studio/cover", "/studio/none"):
        headers = studio.handle(studio.request(path, **SONG)).headers
        assert not [name for name in headers if name.lower().startswith("access-control")]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


# Who is refused


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda request: evolve(request, remote="203.0.113.9"), id="another machine"),
        pytest.param(with_header("Host", "attacker.test"), id="DNS rebinding"),
        pytest.param(with_header("Origin", "http://attacker.test"), id="a page of another site"),
        pytest.param(with_header("Origin", "null"), id="a page without an origin"),
        pytest.param(with_header("Origin", "http://127.0.0.1:3000"), id="a page of another port"),
        pytest.param(with_header("Sec-Fetch-Site", "cross-site"), id="an image of another site"),
        pytest.param(with_header("X-Forwarded-For", "127.0.0.1"), id="a proxy"),
        pytest.param(with_header("X-Suno-Video-Callback", "1"), id="a callback"),
    ],
)
@pytest.mark.parametrize("path", ["/", "/studio/library", "/studio/tasks", "/studio/video", "/studio/studio.js"])
def test_strangers_read_nothing(studio: FakeStudio, change: Change, path: str) -> None:
    """The page, its files and its calls are for a browser on this machine under its own name."""
    request = change(evolve(studio.request(path), headers=HTML))
    reply = studio.handle(request)
    assert reply.status == 403
    assert b"only" in reply.body or b"not" in reply.body


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(with_header("Origin", None), id="no origin"),
        pytest.param(with_header("Origin", "http://attacker.test"), id="another site"),
        pytest.param(with_header("X-Suno-Studio", None), id="no header of the page"),
        pytest.param(with_header("Content-Type", None), id="no type"),
        pytest.param(with_header("Content-Type", "text/plain"), id="a form's type"),
        pytest.param(with_header("Host", "attacker.test"), id="DNS rebinding"),
        pytest.param(lambda request: evolve(request, remote="203.0.113.9"), id="another machine"),
    ],
)
@pytest.mark.parametrize("path", ["/studio/order", "/studio/key"])
def test_only_the_page_orders(studio: FakeStudio, change: Change, path: str) -> None:
    """What a page of another site can send (CSRF) orders nothing, and gets no key."""
    reply = studio.handle(change(studio.page_posts(path, SONG)))
    assert reply.status == 403
    assert KEY.encode() not in reply.body
    assert studio.api.service.stats()["tasks"] == 0


def test_no_other_site_may_ask_first(studio: FakeStudio) -> None:
    """The question before a request with such a header (preflight) is answered with no."""
    request = evolve(studio.request("/studio/order", "OPTIONS"), headers={"Host": HOST})
    reply = studio.handle(request)
    assert (reply.status, reply.headers["Allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/studio/order", 405),
        ("GET", "/studio/key", 405),
        ("POST", "/studio/tasks", 405),
        ("DELETE", "/studio/video", 405),
        ("HEAD", "/studio/library", 200),
        ("GET", "/studio/", 404),
        ("GET", "/studio/none", 404),
    ],
)
def test_methods_and_paths(studio: FakeStudio, method: str, path: str, expected: int) -> None:
    """Each call has its method; what does not exist is said to be so."""
    request = studio.request(path, method)
    assert studio.handle(evolve(request, headers={**request.headers, **PAGE})).status == expected


def test_reading_the_page_is_no_request_of_the_api(studio: FakeStudio) -> None:
    """The page takes no place in a window, counts nothing, and triggers no fault."""
    before = studio.api.service.stats()
    studio.handle(page())
    for path in ("library", "tasks", "cover"):
        studio.handle(studio.request(f"/studio/{path}", **SONG))
    assert studio.api.service.stats() == before


# The library


def test_the_library(studio: FakeStudio) -> None:
    """The songs come in their order, with what a person knows them by."""
    library = studio.get("/studio/library")
    assert len(library["songs"]) == 9
    first = library["songs"][0]
    assert (first["task_id"], first["suno_id"], first["title"], first["artist"], first["lines"]) == (
        *SONG.values(),
        "Harbour Lights",
        "Nova Quay",
        8,
    )
    assert (library["cost"], library["renders"], library["mistakes"]) == (2, False, [])
    assert library["accounts"] == ["key-1", "key-2"]


def test_covers_are_small(studio: FakeStudio) -> None:
    """A cover is a small picture, whatever its file is, and made once."""
    pytest.importorskip("PIL")
    reply = studio.handle(studio.request("/studio/cover", **SONG))
    assert (reply.status, reply.headers["Content-Type"]) == (200, "image/jpeg")
    assert 1_000 < reply.length < 60_000
    assert studio.studio.handle(studio.request("/studio/cover", **SONG)).part == reply.part


def test_a_cover_is_itself_without_the_extra(studio: FakeStudio, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what makes a small copy, the cover is sent as it is."""

    def missing(*_: object) -> None:
        raise ImportError

    monkeypatch.setattr("suno_video_async.local.studio.shelf._write_small", missing)
    assert studio.handle(studio.request("/studio/cover", **SONG)).headers["Content-Type"] == "image/webp"


def test_an_unknown_song_has_nothing(studio: FakeStudio) -> None:
    """Cover, audio and lyrics of a song that does not exist are 404."""
    for what in ("cover", "audio", "lyrics"):
        assert studio.handle(studio.request(f"/studio/{what}", task_id="m", suno_id="s")).status == 404


def test_lyrics(studio: FakeStudio) -> None:
    """Lyrics come with their times."""
    lyrics = studio.get("/studio/lyrics", **SONG)
    assert len(lyrics["lyrics"]) == 8
    start, text = lyrics["lyrics"][0]
    assert 0 < start < 30
    assert isinstance(text, str)
    assert (lyrics["mistakes"], lyrics["warnings"]) == ([], [])


def test_the_warnings_of_library_check(tmp_path: Path) -> None:
    """A song of a folder comes with what `library check` says about it, without the folder's path."""
    folder = write_song(tmp_path / "songs" / "m1" / "s1")
    (folder / "lyrics.lrc").write_text("[00:00.10]A line\n[00:99:99]odd\n[00:50.00]Too late\n")
    (folder / "unused.pdf").write_text("")
    studio = FakeStudio(tmp_path / "made", library=FolderLibrary(tmp_path / "songs"))
    lyrics = studio.get("/studio/lyrics", task_id="m1", suno_id="s1")
    assert any("after the song's end" in mistake for mistake in lyrics["mistakes"])
    assert any(warning.startswith("s1/") for warning in lyrics["warnings"])
    assert str(tmp_path) not in json.dumps(lyrics)


def test_songs_that_are_left_out_are_named(tmp_path: Path) -> None:
    """The page says which songs have a mistake, and what it is."""
    write_song(tmp_path / "songs" / "m1" / "good")
    (write_song(tmp_path / "songs" / "m1" / "bad") / "audio.wav").write_bytes(b"no sound")
    studio = FakeStudio(tmp_path / "made", library=FolderLibrary(tmp_path / "songs", lenient=True))
    library = studio.get("/studio/library")
    assert [song["suno_id"] for song in library["songs"]] == ["good"]
    assert len(library["mistakes"]) == 1
    assert "bad" in library["mistakes"][0]


def test_a_changed_library_is_news(tmp_path: Path) -> None:
    """After a change, the page hears that it has to read the library again; songs that stay keep their files."""
    write_song(tmp_path / "songs" / "m1" / "s1")
    library = FolderLibrary(tmp_path / "songs")
    studio = FakeStudio(tmp_path / "made", library=library)
    seen = studio.get("/studio/tasks")
    write_song(tmp_path / "songs" / "m1" / "s2")
    library.refresh()
    studio.studio.refresh_library()
    news = studio.get("/studio/tasks", since=seen["state"])
    assert news["library"] == seen["library"] + 1
    assert len(studio.get("/studio/library")["songs"]) == 2
    (tmp_path / "songs" / "m1" / "s1" / "track.toml").write_text('title = "Dawn"')
    (tmp_path / "songs" / "m1" / "s2" / "audio.wav").unlink()
    library.refresh()
    studio.studio.refresh_library()
    assert [song["title"] for song in studio.get("/studio/library")["songs"]] == ["Dawn"]


def test_the_catalog(studio: FakeStudio) -> None:
    """The library is a catalog as `suno-video tracks --csv` prints it."""
    reply = studio.handle(studio.request("/studio/catalog.csv"))
    lines = reply.body.decode().splitlines()
    assert lines[:2] == [
        "task_id,suno_id,author,brand,title",
        "task_harbour01,suno_8f3c2b7a51d94e06,,,Harbour Lights",
    ]
    assert len(lines) == 10


# Orders


async def test_an_order_becomes_a_video(studio: FakeStudio) -> None:
    """An order of the page is waiting, then running, then a video that can be fetched in parts."""
    task_id = studio.order(author=" Ava ", brand="")["data"]["task_id"]
    [task] = studio.get("/studio/tasks")["tasks"]
    assert (task["id"], task["title"], task["author"], task["brand"]) == (task_id, "Harbour Lights", " Ava ", None)
    assert (task["status"], task["video"], task["credits"], task["account"]) == ("pending", False, 2, "key-1")
    [task] = await studio.after(30)
    assert task["status"] == "running"
    assert 0.4 < studio.get("/studio/tasks")["live"][task_id] < 0.6
    [task] = await studio.after(40)
    assert (task["status"], task["video"]) == ("success", True)
    assert studio.get("/studio/tasks")["live"] == {}
    asked = studio.request("/studio/video", task=task_id)
    assert studio.handle(asked).headers["Content-Type"] == "video/mp4"
    part = studio.handle(evolve(asked, headers={**asked.headers, "Range": "bytes=10-19"}))
    assert (part.status, part.length) == (206, 10)


def test_an_order_is_a_request_of_its_account(studio: FakeStudio) -> None:
    """It is charged and counted as every client's, to the account that is named, or the first."""
    studio.order()
    studio.order(account="key-2")
    keys = studio.api.service.stats()["keys"]
    assert [keys[name]["requests"] for name in ("key-1", "key-2")] == [{"CreateTask": 1}, {"CreateTask": 1}]
    assert [keys[name]["balance"] for name in ("key-1", "key-2")] == [998, 998]


def test_the_rate_limit_holds_for_the_page(tmp_path: Path) -> None:
    """One order too many is refused with the seconds to wait."""
    studio = FakeStudio(tmp_path, rate=RateLimit(1, 10))
    assert studio.order()["code"] == 200
    reply = studio.handle(studio.page_posts("/studio/order", SONG))
    assert (json.loads(reply.body)["code"], reply.headers["Retry-After"]) == (429, "10")


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"credits": 1.0}, 402),
        ({"keys": [ApiKey(key=KEY, disabled=True)]}, 403),
        ({"keys": [ApiKey(key=KEY, feature_off=True)]}, 505),
        ({"faults": [Fault(on="CreateTask", kind="code:500")]}, 500),
    ],
)
def test_what_the_api_refuses_is_refused(tmp_path: Path, options: dict[str, Any], code: int) -> None:
    """Credits, switched off keys and faults are as for every client."""
    assert FakeStudio(tmp_path, **options).order()["code"] == code


@pytest.mark.parametrize(
    ("wish", "error"),
    [
        ({"size": "huge"}, "size: must be landscape"),
        ({"size": 5}, "size: must be a string"),
        ({"account": "none"}, "account: there is no such account"),
        ({"author": "x" * 51}, "input.author: at most 50 characters"),
        ({"suno_id": " "}, "input.suno_id: field required"),
        ({"x" * 100: None}, "x" * 40 + ": must be a string"),
    ],
)
def test_a_wrong_order_names_its_field(studio: FakeStudio, wish: dict[str, Any], error: str) -> None:
    """What cannot be ordered is a 422 with the field."""
    answer = studio.order(**wish)
    assert answer["code"] == 422
    assert answer["errors"][0].startswith(error)


@pytest.mark.parametrize(
    ("body", "code"), [(b"{", 422), (b"[]", 422), (b"x" * 1024 * 1025, 413), (b"[" * 9_999, 422)]
)
def test_a_broken_order(studio: FakeStudio, body: bytes, code: int) -> None:
    """A body that is not an object in JSON is refused."""
    reply = studio.handle(evolve(studio.page_posts("/studio/order", {}), body=body))
    assert json.loads(reply.body)["code"] == code


def test_a_size_goes_with_the_order(tmp_path: Path) -> None:
    """The size that is chosen in the page is that of the video, if the server renders."""
    for renders, size in ((True, (1080, 1920)), (False, None)):
        studio = FakeStudio(tmp_path, renders=renders)
        task_id = studio.order(size="portrait")["data"]["task_id"]
        assert studio.api.service.videos[task_id].order.size == size
    assert studio.get("/studio/tasks")["tasks"][0]["size"] is None


def test_a_client_cannot_set_the_size(studio: FakeStudio) -> None:
    """The API's own CreateTask does not know the field."""
    made = studio.api.submit(input={**SONG, "size": "portrait"}, size="portrait").data["task_id"]
    assert studio.api.service.videos[made].order.size is None


def test_an_unknown_video(studio: FakeStudio) -> None:
    """A task that does not exist, or has no video yet, has no file."""
    task_id = studio.order()["data"]["task_id"]
    for name in ("none", task_id):
        assert studio.handle(studio.request("/studio/video", task=name)).status == 404


async def test_media_faults_do_not_reach_the_page(tmp_path: Path) -> None:
    """Faults of media are for clients: the page plays, and uses none of them up."""
    studio = FakeStudio(tmp_path, faults=[Fault(on="media", kind="code:500")])
    task_id = studio.order()["data"]["task_id"]
    await studio.after(100)
    assert studio.handle(studio.request("/studio/video", task=task_id)).status == 200
    assert studio.api.service.stats()["faults"] == {}


# The key


def test_a_key_that_was_made_up_can_be_copied(studio: FakeStudio) -> None:
    """The page's own call gets the key, which is never part of an address."""
    reply = studio.handle(studio.page_posts("/studio/key", {}))
    assert json.loads(reply.body) == {"url": "http://127.0.0.1", "key": KEY}
    assert reply.headers["Cache-Control"] == "no-store"


def test_a_key_that_was_given_is_not_given_out(tmp_path: Path) -> None:
    """A key of the owner's own, which may open more than this server, stays with its owner."""
    studio = FakeStudio(tmp_path, made_up=False)
    assert json.loads(studio.handle(studio.page_posts("/studio/key", {})).body)["key"] is None


@pytest.mark.parametrize(("keys", "gives"), [((), True), ((KEY,), False)])
async def test_the_server_knows_which_key_it_made_up(keys: tuple[str, ...], gives: bool) -> None:
    """Over a socket: the key of a server without --api-key is given out, another one is not."""
    async with quick(api_keys=keys) as server, session_of(server) as session:
        headers = {**PAGE, "Origin": server.url}
        async with session.post("/studio/key", json={}, headers=headers) as response:
            assert (await response.json())["key"] == (server.api_key if gives else None)


# News


async def test_only_what_changed_is_sent(studio: FakeStudio) -> None:
    """After the first answer, a page gets the tasks that have changed since."""
    first, second = (studio.order()["data"]["task_id"] for _ in range(2))
    seen = studio.get("/studio/tasks")
    assert seen["all"]
    assert [task["id"] for task in seen["tasks"]] == [second, first]
    third = studio.order()["data"]["task_id"]
    news = studio.get("/studio/tasks", since=seen["state"])
    assert (news["all"], [task["id"] for task in news["tasks"]], news["total"]) == (False, [third], 3)
    await studio.after(100)
    assert len(studio.get("/studio/tasks", since=news["state"])["tasks"]) == 3


@pytest.mark.parametrize("since", ["", "other.1", "x", ".", "9", "other.x"])
def test_a_state_that_means_nothing_gets_everything(studio: FakeStudio, since: str) -> None:
    """A page of an earlier server reads all tasks again."""
    studio.order()
    assert studio.get("/studio/tasks", since=since)["all"]


def test_after_a_reset_everything_is_read_again(studio: FakeStudio) -> None:
    """The tasks that a page still shows are gone."""
    studio.order()
    seen = studio.get("/studio/tasks")
    studio.api.service.reset()
    assert studio.get("/studio/tasks", since=seen["state"])["tasks"] == []
    assert studio.get("/studio/tasks", since=seen["state"])["all"]


def test_only_the_newest_tasks_are_shown(studio: FakeStudio, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page of many tasks has the newest ones, and their number."""
    monkeypatch.setattr(calls, "MOST_TASKS", 3)
    made = [studio.order()["data"]["task_id"] for _ in range(5)]
    seen = studio.get("/studio/tasks")
    assert [task["id"] for task in seen["tasks"]] == made[:1:-1]
    assert (seen["total"], len(seen["live"])) == (5, 3)


async def test_a_question_waits_for_news(studio: FakeStudio) -> None:
    """Without news the answer comes at the next change, or when the server stops."""
    seen = studio.get("/studio/tasks")
    for happens in (studio.order, studio.studio.refresh_library, studio.studio.stop_waiting):
        request = studio.request("/studio/tasks", since=seen["state"])
        reply = studio.studio.handle(request)
        assert reply.wait is not None
        waiting = asyncio.ensure_future(reply.wait())
        await asyncio.sleep(0)
        assert not waiting.done()
        happens()
        async with asyncio.timeout(60):
            await waiting
        seen = json.loads(studio.studio.handle(evolve(request, waited=True)).body)
    assert studio.studio.handle(studio.request("/studio/tasks", since=seen["state"])).wait is None


async def test_progress_comes_without_a_change(studio: FakeStudio, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a video is being made, the answer comes soon, with its progress."""
    monkeypatch.setattr(calls, "_WAIT_BUSY", 0.0)
    task_id = studio.order()["data"]["task_id"]
    request = studio.request("/studio/tasks", since=studio.get("/studio/tasks")["state"])
    reply = studio.studio.handle(request)
    assert reply.wait is not None
    await reply.wait()
    news = json.loads(studio.studio.handle(evolve(request, waited=True)).body)
    assert (news["tasks"], news["live"]) == ([], {task_id: 0})


async def test_only_so_many_pages_wait(studio: FakeStudio, monkeypatch: pytest.MonkeyPatch) -> None:
    """One page more is asked to come again."""
    monkeypatch.setattr(calls, "MOST_WAITING", 1)
    request = studio.request("/studio/tasks", since=studio.get("/studio/tasks")["state"])
    reply = studio.studio.handle(request)
    assert reply.wait is not None
    waiting = asyncio.ensure_future(reply.wait())
    await asyncio.sleep(0)
    refused = studio.studio.handle(request)
    assert (refused.status, refused.headers["Retry-After"]) == (503, "2")
    studio.order()
    await waiting


async def test_a_page_that_is_gone_waits_no_more() -> None:
    """Its place is another page's at once: who loads the page again and again is not kept out."""
    async with quick() as server:
        async with session_of(server) as session, session.get("/studio/tasks") as response:
            state = (await response.json())["state"]
        for _ in range(3):
            async with session_of(server) as session:
                waiting = asyncio.ensure_future(session.get("/studio/tasks", params={"since": state}))
                await until(lambda: server.service.changes.waiting)
                waiting.cancel()
                await until(lambda: not server.service.changes.waiting)


async def test_a_stop_does_not_wait_for_the_page() -> None:
    """A server that stops answers the pages that wait, and ends at once."""
    async with quick() as server, session_of(server) as session:
        async with session.get("/studio/tasks") as response:
            state = (await response.json())["state"]
        waiting = asyncio.ensure_future(session.get("/studio/tasks", params={"since": state, "books": "0"}))
        await until(lambda: server.service.changes.waiting)
        async with asyncio.timeout(60):
            await server.aclose(grace=60)
            assert (await waiting).status == 200


# The books


def test_the_books(studio: FakeStudio) -> None:
    """Credits, window, charges and faults of each account, without its key."""
    studio.order()
    studio.api.info("none")
    books = studio.get("/studio/tasks")["books"]
    first = books["accounts"][0]
    assert (first["name"], first["balance"], first["running"], first["charged"]) == ("key-1", 998, 1, 1)
    assert first["requests"] == {"CreateTask": 1, "TaskInfo": 1}
    assert first["refused"] == {"404": 1}
    assert first["window"] == {"used": 2, "limit": None, "per": 10.0}


async def test_the_window_empties(tmp_path: Path) -> None:
    """The window counts what the limit still holds."""
    studio = FakeStudio(tmp_path, rate=RateLimit(20, 10))
    studio.order()
    used = [studio.get("/studio/tasks")["books"]["accounts"][0]["window"]["used"]]
    await studio.after(10)
    used.append(studio.get("/studio/tasks")["books"]["accounts"][0]["window"]["used"])
    assert used == [1, 0]
