"""Whether the service can be reached at all: one connection, without a request."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

from attrs import frozen

from suno_video_async.cli import errors
from suno_video_async.cli.errors import UsageProblem
from suno_video_async.models import Timeout

#: Seconds between the attempts to connect before anything is bought.
BACKOFF = (0.25, 0.5, 1.0)


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


async def connect(base_url: str, timeout: Timeout) -> Connected:
    """Connect once, with TLS where the address wants it, and close the connection.

    Raises:
        OSError: no connection came up, or in time, or TLS failed; `failure` puts it into words.

    """
    parts = urlsplit(base_url)
    secure = parts.scheme == "https"
    began = time.monotonic()
    async with asyncio.timeout(timeout.connect):
        _, writer = await asyncio.open_connection(
            parts.hostname, parts.port or (443 if secure else 80), ssl=secure or None
        )
    seconds = time.monotonic() - began
    secured = writer.get_extra_info("ssl_object") if secure else None
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    if secured is None:
        return Connected(seconds=seconds)
    return Connected(seconds=seconds, protocol=secured.version(), certificate=secured.getpeercert())


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


async def check_reachable(base_url: str, timeout: Timeout) -> None:
    """Connect before anything is bought, so that a wrong address is reported at once and not by every track.

    Raises:
        UsageProblem: the service cannot be reached.

    """
    for wait in (*BACKOFF, None):
        try:
            await connect(base_url, timeout)
        except OSError as error:
            if wait is None or isinstance(error, TimeoutError | ssl.SSLError):
                raise UsageProblem(
                    f"{base_url} cannot be reached: {failure(error, timeout)}; nothing was bought: check the"
                    " network, and --base-url or CRUN_BASE_URL"
                ) from error
            await asyncio.sleep(wait)
        else:
            return
