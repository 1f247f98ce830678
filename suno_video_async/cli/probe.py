"""Whether the service can be reached at all: one connection, without a request."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from attrs import field, frozen

from suno_video_async._util.proxies import Proxies
from suno_video_async._util.text import one_line
from suno_video_async.cli import errors
from suno_video_async.cli.exits import UsageProblem
from suno_video_async.config import read_roots
from suno_video_async.models import Timeout

#: Seconds between the attempts to connect before anything is bought.
BACKOFF = (0.25, 0.5, 1.0)
#: Seconds until the next address of a host is tried beside the one before.
HEAD_START = 0.25


@frozen(kw_only=True)
class Connected:
    """A connection that came up.

    Attributes:
        seconds: how long that took.
        protocol: the version of TLS; None without TLS.
        certificate: the server's, as `ssl.SSLSocket.getpeercert` returns it.

    """

    seconds: float
    protocol: str | None = None
    certificate: Mapping[str, object] | None = None


@frozen
class Route:
    """How the service is reached.

    Attributes:
        proxies: say through what.
        ca_file: certificates to trust beside the machine's.

    """

    proxies: Proxies = field(factory=Proxies)
    ca_file: Path | None = None

    def roots(self) -> ssl.SSLContext:
        """Return what TLS trusts. Blocks."""
        return ssl.create_default_context() if self.ca_file is None else read_roots(self.ca_file)


async def connect(base_url: str, timeout: Timeout, route: Route | None = None) -> Connected:
    """Connect once, with TLS where the address wants it, and close the connection.

    Raises:
        ConfigurationError: the certificates to trust cannot be read.
        OSError: no connection came up, or in time, or TLS failed; `failure` puts it into words.

    """
    parts, route = urlsplit(base_url), route or Route()
    roots = await asyncio.to_thread(route.roots) if parts.scheme == "https" else None
    host, port = parts.hostname or "", parts.port or (443 if roots else 80)
    began = time.monotonic()
    async with asyncio.timeout(timeout.connect):
        if (proxy := route.proxies.of(base_url)) is None:
            # As aiohttp does: an address that leads nowhere, as IPv6 may, does not hold up the next one for long.
            _, writer = await asyncio.open_connection(host, port, ssl=roots, happy_eyeballs_delay=HEAD_START)
        else:
            writer = await _tunnel(proxy, host, port)
            await writer.start_tls(roots or ssl.create_default_context(), server_hostname=host)
    secure, seconds = roots is not None, time.monotonic() - began
    secured = writer.get_extra_info("ssl_object") if secure else None
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    if secured is None:
        return Connected(seconds=seconds)
    return Connected(seconds=seconds, protocol=secured.version(), certificate=secured.getpeercert())


async def _tunnel(proxy: str, host: str, port: int) -> asyncio.StreamWriter:
    """Let a proxy connect, and return the connection."""
    parts = urlsplit(proxy)
    tls = await asyncio.to_thread(ssl.create_default_context) if parts.scheme == "https" else None
    reader, writer = await asyncio.open_connection(
        parts.hostname, parts.port or (443 if tls else 80), ssl=tls, happy_eyeballs_delay=HEAD_START
    )
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if parts.username is not None:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        lines.append(f"Proxy-Authorization: Basic {base64.b64encode(user.encode()).decode()}")
    writer.write("\r\n".join([*lines, "", ""]).encode())
    said = "nothing"
    try:
        said = (await reader.readuntil(b"\r\n\r\n")).partition(b"\r")[0].decode("latin1")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        pass
    finally:
        accepted = said.split(" ")[1:2] == ["200"]
        if not accepted:
            writer.close()
    if not accepted:
        raise ConnectionRefusedError(f"the proxy {parts.hostname} answered {one_line(said, 80)}")
    return writer


def failure(error: OSError, timeout: Timeout) -> str:
    """Return why `connect` failed, in a few words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error.reason or type(error).__name__})"
    if isinstance(error, socket.gaierror):
        return "there is no such name, or DNS does not answer"
    if isinstance(error, TimeoutError) and error.errno is None:
        return f"no connection within {timeout.connect:g} s"
    return errors.os_reason(error) or str(error)


async def check_reachable(base_url: str, timeout: Timeout, route: Route | None = None) -> None:
    """Connect before anything is bought, so that a wrong address is reported at once and not by every track.

    Raises:
        UsageProblem: the service cannot be reached.

    """
    for wait in (*BACKOFF, None):
        try:
            await connect(base_url, timeout, route)
        except OSError as error:
            if wait is None or isinstance(error, TimeoutError | ssl.SSLError):
                raise UsageProblem(
                    f"{base_url} cannot be reached: {failure(error, timeout)}; nothing was bought: check the"
                    " network, and --base-url or CRUN_BASE_URL"
                ) from error
            await asyncio.sleep(wait)
        else:
            return
