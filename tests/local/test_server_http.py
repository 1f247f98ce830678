"""The server over real sockets."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from suno_video_async.local import Fault, LocalServer
from suno_video_async.models import RateLimit
from suno_video_async.testing import FakeClock
from tests.local.fake_service import until
from tests.local.serving import CREATE, ORDER, quick, session_of
from tests.support.mp4 import problem_of

INFO = "/api/v1/client/job/TaskInfo"


@pytest.fixture
async def server() -> AsyncIterator[LocalServer]:
    async with quick() as running:
        yield running


@pytest.fixture
async def session(server: LocalServer) -> AsyncIterator[aiohttp.ClientSession]:
    async with session_of(server) as opened:
        yield opened


async def read(response_of: Any) -> tuple[int, Any]:
    async with response_of as response:
        return response.status, await response.json()


async def finished(session: aiohttp.ClientSession, order: Any = ORDER) -> dict[str, Any]:
    """Submit a task and return its data once it has ended."""
    _, created = await read(session.post(CREATE, json=order))
    while True:
        _, body = await read(session.get(INFO, params={"task_id": created["data"]["task_id"]}))
        data: dict[str, Any] = body["data"]
        if data["complete_at"] is not None:
            return data
        await asyncio.sleep(0.005)


async def test_a_video_is_made_and_fetched(
    server: LocalServer, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """A submission ends with a URL of this server, behind which there is a valid MP4, without any key."""
    data = await finished(session)
    url = data["result"]["media_urls"][0]
    assert url.startswith(server.url + "/media/")
    async with aiohttp.ClientSession() as stranger, stranger.get(url) as response:
        assert response.status == 200
        assert response.content_type == "video/mp4"
        content = await response.read()
    path = tmp_path / "video.mp4"
    path.write_bytes(content)
    assert await asyncio.to_thread(problem_of, path) is None


async def test_media_can_be_resumed(session: aiohttp.ClientSession) -> None:
    """Ranges, If-Range, HEAD and a range outside do over HTTP what they should."""
    url = (await finished(session))["result"]["media_urls"][0]
    async with session.head(url) as response:
        size, etag = int(response.headers["Content-Length"]), response.headers["ETag"]
        assert await response.read() == b""
    async with session.get(url) as response:
        whole = await response.read()
        assert len(whole) == size
    async with session.get(url, headers={"Range": "bytes=100-199", "If-Range": etag}) as response:
        assert response.status == 206
        assert response.headers["Content-Range"] == f"bytes 100-199/{size}"
        assert await response.read() == whole[100:200]
    async with session.get(url, headers={"Range": f"bytes={size}-"}) as response:
        assert response.status == 416
        assert response.headers["Content-Range"] == f"bytes */{size}"
    for method, path in (("POST", url), ("GET", url + "x"), ("GET", "/media/../server.py")):
        async with session.request(method, path) as response:
            assert response.status == 404


async def test_media_has_names_nobody_guesses(session: aiohttp.ClientSession) -> None:
    """Two tasks of one track have unrelated media names, of 128 random bits or thereabouts."""
    urls = [(await finished(session))["result"]["media_urls"][0] for _ in range(2)]
    names = [url.rsplit("/", 1)[1].removesuffix(".mp4") for url in urls]
    assert names[0] != names[1]
    assert all(len(name) == 32 for name in names)


async def test_the_answers_are_json_in_an_http_200(session: aiohttp.ClientSession) -> None:
    """A refusal is an HTTP 200 with another code, too, as JSON in UTF-8."""
    async with session.post(CREATE, json={}) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "application/json; charset=utf-8"
        assert (await response.json())["code"] == 422


async def test_header_names_have_no_case(server: LocalServer) -> None:
    """The key is found under any spelling of its header; a wrong one is a 401."""
    async with aiohttp.ClientSession(server.url) as session:
        path = "/api/v1/client/account/balance"
        _, body = await read(session.get(path, headers={"X-API-KEY": server.api_key}))
        assert body["data"] == {"balance": 1000}
        _, body = await read(session.get(path, headers={"x-api-key": "ak_wrong"}))
        assert body["code"] == 401


async def test_ids_come_percent_encoded(session: aiohttp.ClientSession) -> None:
    """An id in a query, or a model in a path, is decoded before it is looked at."""
    status, body = await read(session.get("/api/v1/client/job/Models/suno%2Fmusic-video"))
    assert (status, body["code"], body["data"]["model"]) == (200, 200, "suno/music-video")
    _, body = await read(session.get(INFO, params={"task_id": "ä/&=%"}))
    assert body["code"] == 404


async def test_a_429_says_when_to_come_back() -> None:
    """Over the limit the answer has Retry-After, and the window is the server's own clock's."""
    clock = FakeClock()
    async with quick(rate=RateLimit(2, per=10), clock=clock) as server, session_of(server) as session:
        for _ in range(2):
            assert (await read(session.post(CREATE, json=ORDER)))[1]["code"] == 200
        async with session.post(CREATE, json=ORDER) as response:
            assert (response.status, (await response.json())["code"]) == (200, 429)
            wait = float(response.headers["Retry-After"])
        assert 1 <= wait <= 10
        clock.move(wait)
        assert (await read(session.post(CREATE, json=ORDER)))[1]["code"] == 200


async def test_a_body_that_is_too_long_is_not_read(session: aiohttp.ClientSession, server: LocalServer) -> None:
    """More than a mebibyte is a 413, and the server goes on."""
    status, body = await read(session.post(CREATE, data=io.BytesIO(b" " * (3 * 1024 * 1024))))
    assert (status, body["code"]) == (413, 413)
    assert (await read(session.post(CREATE, json=ORDER)))[1]["code"] == 200
    assert server.service.stats()["tasks"] == 1


async def test_a_client_that_hangs_up_harms_nobody(server: LocalServer, session: aiohttp.ClientSession) -> None:
    """Half a body, and no HTTP at all, end their own connections only."""
    host, port = server.url.removeprefix("http://").split(":")
    for start in (f"POST {CREATE} HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{{", "nonsense\r\n\r\n"):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(start.encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        await reader.read()
    assert (await read(session.post(CREATE, json=ORDER)))[1]["code"] == 200


async def test_the_machines_own_calls(server: LocalServer, session: aiohttp.ClientSession) -> None:
    """`/_local` needs no key, counts nowhere, and answers what the service says."""
    data = await finished(session)
    async with aiohttp.ClientSession(server.url) as keyless:
        status, stats = await read(keyless.get("/_local/stats"))
        assert status == 200
        assert stats == server.service.stats()
        assert stats["requests"]["CreateTask"] == stats["tasks"] == stats["charged"] == 1
        assert stats["charged_by_track"] == {"m1/s1//": 1}
        _, tasks = await read(keyless.get("/_local/tasks"))
        assert tasks["video"] == [data]
        assert tasks["music"][0].keys() == {"task_id", "tracks"}
        assert (await read(keyless.get("/_local/reset")))[0] == 404
        assert (await read(keyless.post("/_local/reset")))[0] == 200
        assert (await read(keyless.get("/_local/tasks")))[1]["video"] == []


async def test_drops_close_the_connection() -> None:
    """Neither drop sends a byte; only one of the two tasks exists."""
    faults = [
        Fault(on="CreateTask", kind="drop-before", calls=(1,)),
        Fault(on="CreateTask", kind="drop-after", calls=(2,)),
    ]
    async with quick(faults=faults) as server, session_of(server) as session:
        for _ in range(2):
            with pytest.raises(aiohttp.ClientConnectionError):
                await session.post(CREATE, json=ORDER)
        assert server.service.stats()["tasks"] == 1


async def test_a_truncated_answer_breaks_off() -> None:
    """The length promises more than comes, on the API and on media."""
    faults = [Fault(on=on, kind="truncate", calls=(1,)) for on in ("CreateTask", "media")]
    async with quick(faults=faults) as server, session_of(server) as session:
        for method, url in (("POST", CREATE), ("GET", None)):
            target = url or (await finished(session))["result"]["media_urls"][0]
            async with session.request(method, target, json=ORDER) as response:
                assert response.status == 200
                with pytest.raises(aiohttp.ClientPayloadError):
                    await response.read()


async def test_other_faults_arrive_over_http() -> None:
    """A page, a status, a huge body and a redirect are what the client gets."""
    faults = [
        Fault(on="TaskInfo", kind="html:502", calls=(1,)),
        Fault(on="TaskInfo", kind="code:455", http=True, retry_after=9, calls=(2,)),
        Fault(on="TaskInfo", kind="huge-body", calls=(3,)),
        Fault(on="TaskInfo", kind="redirect", calls=(4,)),
    ]
    async with quick(faults=faults) as server, session_of(server) as session:

        async def ask() -> tuple[int, Mapping[str, str], bytes]:
            query = {"task_id": "task_harbour01"}
            async with session.get(INFO, params=query, allow_redirects=False) as response:
                return response.status, response.headers, await response.read()

        assert (await ask())[0] == 502
        status, headers, _ = await ask()
        assert (status, headers["Retry-After"]) == (455, "9")
        assert len((await ask())[2]) > 1024 * 1024
        status, headers, _ = await ask()
        assert (status, headers["Location"]) == (307, f"{INFO}?task_id=task_harbour01&redirected=1")


async def test_media_can_be_far_too_long() -> None:
    """`huge-body` on media really sends so much, and the connection can be used again."""
    fault = Fault(on="media", kind="huge-body", calls=(1,))
    async with quick(faults=[fault]) as server, session_of(server) as session:
        url = (await finished(session))["result"]["media_urls"][0]
        received = 0
        async with session.get(url) as response:
            said = int(response.headers["Content-Length"])
            async for chunk in response.content.iter_chunked(1 << 20):
                received += len(chunk)
        async with session.get(url) as response:
            size = len(await response.read())
        assert received == said == size + 64 * 1024 * 1024


async def test_a_slow_answer_takes_the_servers_time() -> None:
    """It comes once a minute of the server's clock has passed; the others are answered meanwhile."""
    clock, faults = FakeClock(), [Fault(on="CreateTask", kind="slow:60")]
    async with quick(faults=faults, clock=clock) as server, session_of(server) as session:
        before = clock.waiting
        slow = asyncio.ensure_future(read(session.post(CREATE, json=ORDER)))
        await until(lambda: clock.waiting > before)
        clock.move(59)
        assert (await read(session.get(INFO, params={"task_id": "x"})))[1]["code"] == 404
        assert not slow.done()
        clock.move(1)
        assert (await slow)[1]["code"] == 200


async def test_faults_are_read_from_a_file(tmp_path: Path) -> None:
    """The server takes the path of a faults file."""
    path = tmp_path / "faults.toml"
    path.write_text('[[fault]]\non = "CreateTask"\nkind = "code:505"\n')
    async with quick(faults=path) as server, session_of(server) as session:
        assert (await read(session.post(CREATE, json=ORDER)))[1]["code"] == 505


async def test_many_requests_a_second(session: aiohttp.ClientSession, server: LocalServer) -> None:
    """A thousand submissions and questions at once are all answered, and counted."""

    async def one(number: int) -> int:
        order = {"model": "suno/music-video", "input": {"task_id": "m", "suno_id": f"s{number}"}}
        code: int = (await read(session.post(CREATE, data=json.dumps(order))))[1]["code"]
        return code

    codes = await asyncio.gather(*(one(number) for number in range(500)))
    assert set(codes) <= {200, 402, 429}
    assert server.service.stats()["requests"] == {"CreateTask": 500}
