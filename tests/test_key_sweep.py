"""A server that repeats the API key in every place of HTTP: it is in nothing that a user can see or keep."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import logging
import traceback
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from suno_video_async import (
    ClientClosedError,
    ConfigurationError,
    Hooks,
    RateLimit,
    RetryPolicy,
    SunoVideoClient,
    SunoVideoError,
    SystemClock,
    Timeout,
    Track,
    VideoTaskId,
)
from suno_video_async.cli.app import run
from suno_video_async.config import Settings
from tests.cli.conftest import Home, home  # noqa: F401  # pyright: ignore[reportUnusedImport]  a fixture
from tests.support.raw import http, no_tls, raw_server, served_raw
from tests.support.virtual import jump

KEY = "ak_" + "S3cretKey4Sweep" * 2 + "Zz"
#: Enough of the key to make a leak of it.
PIECES = (KEY[:12], KEY[3:15], KEY[-12:])
ESCAPED = "".join(f"\\u{ord(char):04x}" for char in KEY)
TRACK = Track(task_id="m1", suno_id="s1")


def data(answer: object) -> bytes:
    return http(
        json.dumps({"code": 200, "message": KEY, "data": answer}).encode(), Content_Type=f"application/{KEY}"
    )


def chunked(extension: str, trailer: str) -> bytes:
    body = b'{"code":500,"message":"m","data":null}'
    head = f"HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\n{len(body):x};{extension}\r\n".encode()
    return head + body + f"\r\n0\r\n{trailer}\r\n\r\n".encode()


#: Answers by the place that the key is in.
PLACES: dict[str, bytes] = {
    "message": http(
        json.dumps({"code": 422, "message": f"bad {KEY}", "data": None, "errors": [KEY] * 3}).encode()
    ),
    "message, escaped": http(f'{{"code":422,"message":"{ESCAPED}","data":null}}'.encode()),
    "message, other letters": http(json.dumps({"code": 401, "message": KEY.upper(), "data": None}).encode()),
    "message, at the end of what is kept": http(
        json.dumps({"code": 422, "message": "x" * (999 - 15) + KEY, "data": None}).encode()
    ),
    "name": http(json.dumps({"code": 200, "message": "m", "data": {KEY: KEY}}).encode()),
    "code": http(json.dumps({"code": KEY, "message": "m", "data": None}).encode()),
    "id": data({"task_id": KEY}),
    "balance": data({"balance": KEY, "task_id": "v1", "status": KEY, "result": {"message": KEY, "code": KEY}}),
    "URL": data(
        {"task_id": "v1", "status": "success", "result": {"media_urls": [f"http://127.0.0.1:9/{KEY}.mp4"]}}
    ),
    "page": http(f"<html>{KEY}</html>".encode(), f"502 {KEY}", Content_Type=f"text/{KEY}"),
    "headers": http(
        b"{",
        "429 X",
        Retry_After=KEY,
        Date=KEY,
        Content_Type=KEY,
        X_Api_Key=KEY,
        Set_Cookie=f"{KEY}={KEY}; Path=/{KEY}",
    ),
    "redirect": http(b"", "302 Found", Location=f"http://127.0.0.1:9/{KEY}"),
    "encoding": http(KEY.encode(), Content_Encoding=KEY),
    "compressed badly": http(KEY.encode(), Content_Encoding="gzip"),
    "status line": f"HTTP/1.1 abc {KEY}\r\n\r\n".encode(),
    "version": f"HTTP/{KEY} 200 OK\r\n\r\n".encode(),
    "no HTTP": f"{KEY}\r\n\r\n".encode(),
    "header without a colon": f"HTTP/1.1 200 OK\r\nx-api-key {KEY}\r\nContent-Length: 0\r\n\r\n".encode(),
    "header's name": f"HTTP/1.1 500 X\r\n{KEY}: 1\r\nContent-Length: 2\r\n\r\n{{}}".encode(),
    "bad header": f"HTTP/1.1 200 OK\r\nX: {KEY}\0\r\nContent-Length: 0\r\n\r\n".encode(),
    "length": f"HTTP/1.1 200 OK\r\nContent-Length: {KEY}\r\n\r\n".encode(),
    "transfer": f"HTTP/1.1 200 OK\r\nTransfer-Encoding: {KEY}\r\n\r\n".encode(),
    "chunk extension, trailer": chunked(KEY, f"X-Key: {KEY}"),
    "bad chunk": f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{KEY}\r\n".encode(),
    "cut body": f"HTTP/1.1 200 OK\r\nX: {KEY}\r\nContent-Length: 9999\r\n\r\n{KEY}".encode(),
    "cut head": f"HTTP/1.1 200 OK\r\nX: {KEY}".encode(),
    "early hints": f"HTTP/1.1 103 {KEY}\r\nLink: <{KEY}>\r\n\r\n".encode() + http(KEY.encode(), "500 X"),
    "upgrade": f"HTTP/1.1 101 {KEY}\r\nUpgrade: {KEY}\r\nConnection: upgrade\r\n\r\n".encode(),
    "too long": http(KEY.encode() * 40_000),
    "long header": f"HTTP/1.1 200 OK\r\nX: {KEY * 3000}\r\n\r\n".encode(),
}


class Seen(Hooks):
    """Notes what the hooks are given."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def _see(self, event: object) -> None:
        self.seen.append(repr(event))

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("on_"):
            return self._see
        return super().__getattribute__(name)


class Records(logging.Handler):
    """Formats every record of the process, with the local variables of its traceback."""

    def __init__(self) -> None:
        super().__init__(1)
        self.text = io.StringIO()

    def emit(self, record: logging.LogRecord) -> None:
        self.text.write(f"{record.getMessage()} {record.__dict__!r}\n")
        if record.exc_info and record.exc_info[1] is not None:
            self.text.write(shown(record.exc_info[1]))


@pytest.fixture
def records() -> Iterator[Records]:
    """Return all that is logged by anything, at every level."""
    handler, root = Records(), logging.getLogger()
    loggers = [
        root,
        logging.getLogger("suno_video_async"),
        logging.getLogger("asyncio"),
        logging.getLogger("aiohttp"),
    ]
    levels = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(1)
    root.addHandler(handler)
    yield handler
    root.removeHandler(handler)
    for one, level in zip(loggers, levels, strict=True):
        one.setLevel(level)


def shown(error: BaseException) -> str:
    """Return an error, its causes and contexts with tracebacks and local variables, without the tests' own."""
    text = list[str]()
    seen = set[int]()
    todo: list[BaseException | None] = [error]
    while todo:
        one = todo.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        text += [str(one), repr(one), repr(one.args), repr(vars(one))]
        found = traceback.TracebackException.from_exception(one, capture_locals=True)
        for frame in found.stack:
            if "/tests/" not in frame.filename:
                text += [f"{frame.name} {name} = {value}" for name, value in (frame.locals or {}).items()]
        todo += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]
    return "\n".join(text)


def assert_no_key(text: str) -> None:
    for piece in PIECES:
        at = text.lower().find(piece.lower())
        assert at < 0, text[max(0, at - 300) : at + 60]


Call = Callable[[SunoVideoClient, Path], Awaitable[object]]


async def converted(client: SunoVideoClient, folder: Path) -> object:
    async with client.convert([TRACK], output_dir=folder, task_timeout=5.0) as outcomes:
        return [outcome async for outcome in outcomes]


CALLS: dict[str, Call] = {
    "status": lambda client, _: client.status(VideoTaskId("v1")),
    "submit": lambda client, _: client.submit(TRACK),
    "convert": converted,
}


async def outcome_of(url: str, folder: Path, call: Call, *, session: aiohttp.ClientSession | None = None) -> str:
    """Return all that a call leaves to see and to keep."""
    hooks, clock = Seen(), SystemClock(100)
    client = SunoVideoClient(
        api_key=KEY,
        base_url=url,
        timeout=Timeout(connect=30, total=60),
        retry=RetryPolicy(attempts=2, horizon=5, maintenance_horizon=5),
        rate=None,
        ledger=folder / "l.db",
        hooks=[hooks],
        clock=clock,
        session=session,
    )
    text = [repr(client)]
    try:
        async with client:
            text.append(repr(await call(client, folder)))
            text += [repr(client), repr(client.statistics())]
    except SunoVideoError as error:
        text.append(shown(error))
    text += hooks.seen
    text += [
        path.read_bytes().decode("latin1") for path in await asyncio.to_thread(lambda: list(folder.rglob("*.*")))
    ]
    return "\n".join(text)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
async def test_a_key_that_comes_back(place: bytes, call: Call, tmp_path: Path, records: Records) -> None:
    """Errors, tracebacks with their local variables, logs, hooks, reprs and files are free of it."""

    async def behave(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(place)
        await writer.drain()
        writer.close()

    async with raw_server(behave) as server:
        assert_no_key(await outcome_of(server.url, tmp_path, call))
    gc.collect()
    assert_no_key(records.text.getvalue())


async def reset(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def never(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    jump(60)
    await reader.read()


@pytest.mark.parametrize("call", [CALLS["status"], CALLS["submit"]], ids=["status", "submit"])
@pytest.mark.parametrize("how", ["reset", "silent", "refused", "tls", "name", "middleware"])
async def test_a_connection_that_fails(how: str, call: Call, tmp_path: Path, records: Records) -> None:
    """Errors of connections hold aiohttp's own, with the request's headers; none of it is left on ours."""

    async def breaks(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        raise aiohttp.ClientError(f"{request.headers}")

    async with raw_server(never if how == "silent" else reset) as server, no_tls() as tls:
        urls = {
            "refused": "http://127.0.0.1:9",
            "tls": tls,
            "name": "https://no-such-name.invalid",
        }
        if how == "middleware":
            async with aiohttp.ClientSession(middlewares=[breaks]) as session:
                text = await outcome_of(server.url, tmp_path, call, session=session)
        else:
            text = await outcome_of(urls.get(how, server.url), tmp_path, call)
    gc.collect()
    assert "Error" in text
    assert_no_key(text)
    assert_no_key(records.text.getvalue())


@pytest.mark.parametrize("rate", [None, RateLimit(20, per=10)], ids=["no window", "window"])
@pytest.mark.parametrize("cut", ["closed", "cancelled"])
async def test_a_read_that_is_cut_short(cut: str, rate: RateLimit | None, records: Records) -> None:
    """Neither the client's error nor the cancellation itself leads to frames that hold the request's headers."""
    arrived = asyncio.Event()

    async def hangs(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        await reader.read()

    async with raw_server(hangs) as server:
        client = SunoVideoClient(api_key=KEY, base_url=server.url, rate=rate)
        async with client:
            asked = asyncio.ensure_future(client.status(VideoTaskId("v1")))
            await arrived.wait()
            if cut == "cancelled":
                asked.cancel()
                await asyncio.wait([asked])
        with pytest.raises(ClientClosedError if cut == "closed" else asyncio.CancelledError) as caught:
            await asked
    if cut == "closed":
        assert caught.value.__cause__ is caught.value.__context__ is None
    assert_no_key(shown(caught.value))
    assert_no_key(records.text.getvalue())


@pytest.mark.parametrize(
    "url",
    [KEY, f"https://{KEY}", f"https://x:{KEY}", f"https://api.test/{KEY}", f"https://{KEY}@api.test", f"//{KEY}"],
)
@pytest.mark.parametrize("key", [KEY, "ak_" + "0" * 32], ids=["the-same", "another"])
def test_a_base_url_that_is_the_key(url: str, key: str) -> None:
    """A key in the place of the base URL is refused without being shown, whichever of the two variables has it."""
    environment = {"CRUN_API_KEY": key, "CRUN_BASE_URL": url}
    with pytest.raises(ConfigurationError) as caught:
        Settings.find(environment=environment)
    assert_no_key(shown(caught.value))


@pytest.mark.parametrize(
    "place", ["message", "message, escaped", "page", "status line", "headers", "URL", "cut body"]
)
@pytest.mark.parametrize("where", ["environment", "key file"])
def test_the_command_line(
    place: str,
    where: str,
    home: Home,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """No command shows the key, with and without `--debug`, in JSON and for people, wherever the key is from."""
    if where == "environment":
        monkeypatch.setenv("CRUN_API_KEY", KEY)
    else:
        monkeypatch.delenv("CRUN_API_KEY")
        (home.folder / ".crun").mkdir()
        (home.folder / ".crun" / ".env").write_text(f"CRUN_API_KEY={KEY}\n")
        (home.folder / ".crun" / ".env").chmod(0o600)
    home.catalog("s1")
    with served_raw(PLACES[place]) as url:
        for arguments in (["balance"], ["status", "v1"], ["submit", "m1", "s2"], ["convert", "catalog.csv"]):
            for more in ([], ["--json"]):
                run(["--debug", *arguments, "--base-url", url, "--time-scale", "100000", "--timeout", "60", *more])
    said = capsys.readouterr()
    assert_no_key(said.out + said.err)
    assert "balance" in said.err
    for path in home.folder.iterdir():
        if path.is_file():
            assert_no_key(path.read_bytes().decode("latin1"))
