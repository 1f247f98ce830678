"""Proxies and certificates of a company: read once, used for https alone, and without other passwords."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import ssl
import subprocess
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import aiohttp
import pytest

from suno_video_async import (
    ConfigurationError,
    RetryPolicy,
    SunoVideoClient,
    Timeout,
    TransportError,
    Video,
)
from suno_video_async._util.proxies import Proxies
from suno_video_async.cli.probe import Route, connect
from suno_video_async.config import find_proxies, read_roots
from suno_video_async.download.fetch import PrivateAddressError, PublicResolver
from suno_video_async.protocol import codec
from suno_video_async.task import video_of
from tests.support.fakes import MP4, task_data
from tests.support.keys import KEY

PROXY = "http://proxy.example:3128"
ENVIRONMENT = {
    "HTTPS_PROXY": PROXY,
    "NO_PROXY": "corp.test, .inner.test,10.0.0.0/8,fe80::/10,port.test:8443,*.star.test",
}


@pytest.mark.parametrize(
    ("url", "proxied"),
    [
        ("https://api.crun.ai/x", True),
        ("https://corp.test", False),
        ("https://a.corp.test", False),
        ("https://acorp.test", True),
        ("https://CORP.TEST.", False),
        ("https://a.inner.test", False),
        ("https://b.star.test", False),
        ("https://10.1.2.3", False),
        ("https://11.1.2.3", True),
        ("https://[fe80::1]", False),
        ("https://port.test:8443", False),
        ("https://port.test", True),
        ("https://localhost:1", False),
        ("https://127.0.0.1:1", False),
        ("https://[::1]", False),
        ("http://api.crun.ai", False),
        ("https://", False),
    ],
)
def test_which_urls_go_through_the_proxy(url: str, proxied: bool) -> None:
    """https does, except to this machine and to what NO_PROXY names: hosts, their sub-domains, networks, ports."""
    assert (Proxies.find(None, ENVIRONMENT).of(url) is not None) is proxied


@pytest.mark.parametrize(
    ("given", "environment", "found"),
    [
        (None, {}, None),
        (None, {"https_proxy": "low.test:1", "HTTPS_PROXY": PROXY}, "http://low.test:1"),
        (None, {"HTTP_PROXY": PROXY, "ALL_PROXY": PROXY}, None),
        (None, {"HTTPS_PROXY": PROXY, "no_proxy": "*"}, None),
        ("", {"HTTPS_PROXY": PROXY}, None),
        ("https://other.test", {"HTTPS_PROXY": PROXY, "NO_PROXY": "*"}, "https://other.test"),
    ],
)
def test_where_the_proxy_is_from(given: str | None, environment: dict[str, str], found: str | None) -> None:
    """One that is given overrides the environment with its exceptions; an empty one means none."""
    assert find_proxies(given, environment).of("https://api.test") == found


@pytest.mark.parametrize(
    "url", ["socks5://u:s3cret@p.test", "ftp://u:s3cret@p.test", "http://", "http://u:s3cret@p:x"]
)
@pytest.mark.parametrize("given", [True, False])
def test_a_proxy_that_cannot_be_used(url: str, given: bool) -> None:
    """It is refused at once, without its password in the error."""
    with pytest.raises(ConfigurationError, match="the proxy") as caught:
        find_proxies(url if given else None, {"HTTPS_PROXY": url})
    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in repr(Proxies("http://u:s3cret@p.test"))


async def test_proxy_and_certificates_are_for_the_clients_own_session(tmp_path: Path) -> None:
    """With a session of the user's own they would do nothing, and are refused."""
    async with aiohttp.ClientSession() as session:
        options: list[dict[str, Any]] = [{"proxy": PROXY}, {"ca_file": tmp_path}]
        for more in options:
            with pytest.raises(ConfigurationError, match="set them on yours"):
                SunoVideoClient(api_key=KEY, base_url="http://127.0.0.1:9", session=session, **more)


@pytest.mark.parametrize("content", [None, "", "no PEM"])
def test_certificates_that_cannot_be_read(tmp_path: Path, content: str | None) -> None:
    """A file that is missing, or has no certificate, is named in the error."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigurationError, match=r"ca\.pem"):
        read_roots(path)


async def test_the_proxys_own_name_may_be_private(monkeypatch: pytest.MonkeyPatch) -> None:
    """A media host must be public; the proxy that leads to it need not be."""

    async def found(*_: object, **__: object) -> list[Any]:
        return [{"host": "10.0.0.1"}]

    resolver = PublicResolver("proxy.corp")
    inner = resolver._resolver  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(inner, "resolve", found)
    assert [one["host"] for one in await resolver.resolve("proxy.corp")] == ["10.0.0.1"]
    with pytest.raises(PrivateAddressError):
        await resolver.resolve("media.test")


# Over sockets

HOST = "api.example.test"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with a key and a certificate that nothing trusts."""
    if (openssl := shutil.which("openssl")) is None:
        pytest.skip("openssl is not installed")
    path = tmp_path_factory.mktemp("tls") / "own.pem"
    names = f"subjectAltName=DNS:{HOST},DNS:media.example.test"
    made = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", f"/CN={HOST}"]
    subprocess.run(
        [*made, "-addext", names, "-keyout", path, "-out", f"{path}.c"], check=True, capture_output=True
    )
    path.write_text(path.read_text() + Path(f"{path}.c").read_text())
    return path


Handler: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Network:
    """A proxy, and behind it one TLS server that has every name."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.heads: list[str] = []
        self.answer = "200 Connection established"
        self.proxy = ""
        self._port = 0
        self._handlers = set[asyncio.Task[Any]]()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(head)
            balance = json.dumps({"code": 200, "message": "", "data": {"balance": 7}}).encode()
            kind, body = ("video/mp4", MP4) if ".mp4" in head else ("application/json", balance)
            writer.write(
                f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            )
            writer.write(body)
            await writer.drain()

    async def tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.asked.append(head)
        writer.write(f"HTTP/1.1 {self.answer}\r\n\r\n".encode())
        await writer.drain()
        if self.answer.startswith("200"):
            inner = await asyncio.open_connection("127.0.0.1", self._port)
            try:
                await asyncio.gather(_copy(reader, inner[1]), _copy(inner[0], writer))
            finally:
                inner[1].transport.abort()

    def ending(self, handle: Handler) -> Handler:
        """Return a handler that leaves no connection open, also one that its client has not closed by the end."""

        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._handlers.add(task)
            try:
                with contextlib.suppress(asyncio.CancelledError, asyncio.IncompleteReadError, ConnectionError):
                    await handle(reader, writer)
            finally:
                writer.transport.abort()
                self._handlers.discard(task)

        return handler

    async def end(self) -> None:
        """End what clients keep open: aiohttp 3.12 does not wait for its TLS connections to be closed."""
        while self._handlers:
            for task in self._handlers:
                task.cancel()
            await asyncio.wait(self._handlers)

    @contextlib.asynccontextmanager
    async def up(self, certificate: Path) -> AsyncGenerator[Network, None]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        await asyncio.to_thread(context.load_cert_chain, certificate)
        server = await asyncio.start_server(self.ending(self.serve), "127.0.0.1", 0, ssl=context)
        proxy = await asyncio.start_server(self.ending(self.tunnel), "127.0.0.1", 0)
        async with server, proxy:
            self._port = server.sockets[0].getsockname()[1]
            self.proxy = f"http://user:pass%20word@127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
            try:
                yield self
            finally:
                await self.end()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@pytest.fixture
async def network(certificate: Path) -> AsyncIterator[Network]:
    """Return a running network."""
    async with Network().up(certificate) as running:
        yield running


def client_of(network: Network, ca_file: Path | None, **options: Any) -> SunoVideoClient:
    return SunoVideoClient(
        api_key=KEY,
        base_url=f"https://{HOST}",
        ca_file=ca_file,
        timeout=Timeout(connect=30, total=60),
        retry=RetryPolicy(attempts=1),
        **options,
    )


def video_on(media: str) -> Video:
    return video_of(codec.snapshot(task_data("v1", "success", media=media), asked=None))


@pytest.mark.parametrize("given", [True, False], ids=["argument", "environment"])
async def test_calls_and_videos_go_through_the_proxy(
    network: Network, certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: bool
) -> None:
    """The API and the media host are reached through it, its password goes to it alone, and netrc's to nobody."""
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine {HOST} login n password netrc\nmachine media.example.test login n password netrc\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTPS_PROXY", "http://elsewhere.invalid" if given else network.proxy)
    async with client_of(network, certificate, **({"proxy": network.proxy} if given else {})) as client:
        monkeypatch.setenv("HTTPS_PROXY", "http://elsewhere.invalid")  # it was read already
        assert await client.balance() == 7
        video = video_on("https://media.example.test")
        assert (await client.download(video, tmp_path / "videos")).read_bytes() == MP4
    assert [head.split(" ")[1] for head in network.asked] == [f"{HOST}:443", "media.example.test:443"]
    assert all("Basic dXNlcjpwYXNzIHdvcmQ=" in head for head in network.asked)
    assert not any("Authorization" in head for head in network.heads)
    assert KEY not in "".join(network.asked) + network.heads[1]


async def test_a_certificate_that_is_not_trusted_is_not_sent_to(network: Network) -> None:
    """Without the company's certificate nothing is sent."""
    async with client_of(network, None, proxy=network.proxy) as client:
        with pytest.raises(TransportError) as caught:
            await client.balance()
    assert not caught.value.sent
    assert network.heads == []


async def test_the_check_before_a_conversion_takes_the_same_way(network: Network, certificate: Path) -> None:
    """It goes through the proxy, checks the certificate behind it, and says what the proxy answers."""
    timeout, url = Timeout(connect=30, total=60), f"https://{HOST}"
    connected = await connect(url, timeout, Route(Proxies(network.proxy), certificate))
    assert connected.certificate is not None
    with pytest.raises(ssl.SSLCertVerificationError):
        await connect(url, timeout, Route(Proxies(network.proxy)))
    network.answer = "407 Proxy Authentication Required"
    with pytest.raises(ConnectionRefusedError, match=r"answered HTTP/1\.1 407 Proxy"):
        await connect(url, timeout, Route(Proxies(network.proxy), certificate))
    assert "pass" not in repr(Proxies(network.proxy))


async def test_a_dead_address_does_not_hold_up_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next address of a host is tried beside one that does not answer."""
    given: dict[str, Any] = {}

    async def opened(*_: object, **options: Any) -> Any:
        given.update(options)
        raise ConnectionRefusedError

    monkeypatch.setattr(asyncio, "open_connection", opened)
    with pytest.raises(ConnectionRefusedError):
        await connect("https://api.example.test", Timeout())
    assert 0 < given["happy_eyeballs_delay"] < 1


@pytest.mark.parametrize("how", ["auth", "headers", "cookies"])
async def test_a_media_host_gets_nothing_of_a_users_session(how: str, tmp_path: Path, free_media: Any) -> None:
    """Passwords, headers and cookies of a session for the API stay with the API."""
    options: dict[str, Callable[[], dict[str, Any]]] = {
        "auth": lambda: {"headers": {"Authorization": "Basic c2VjcmV0"}},
        "headers": lambda: {"headers": {"X-Secret": "c2VjcmV0"}},
        "cookies": lambda: {"cookies": {"secret": "c2VjcmV0"}, "cookie_jar": aiohttp.CookieJar(unsafe=True)},
    }
    url, heads = free_media
    async with (
        aiohttp.ClientSession(**options[how]()) as session,
        SunoVideoClient(api_key=KEY, base_url="http://127.0.0.1:9", session=session) as client,
    ):
        video = video_on(url)
        await client.download(video, tmp_path)
        assert not session.closed
    assert len(heads) == 1
    assert "c2VjcmV0" not in heads[0]


@pytest.fixture
async def free_media() -> AsyncIterator[tuple[str, list[str]]]:
    """Return a media host on this machine, and the heads of its requests."""
    plain = Network()
    server = await asyncio.start_server(plain.ending(plain.serve), "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", plain.heads
        await plain.end()
