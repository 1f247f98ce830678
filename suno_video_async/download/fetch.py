"""One download from a media server: into `.part`, resumed where the last one broke off, checked, then renamed."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import re
import socket
import ssl
from collections.abc import AsyncGenerator, Generator
from functools import partial
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from attrs import define, field
from yarl import URL

from suno_video_async._util.aio import RunBlocking, in_threads
from suno_video_async._util.netaddr import is_private, without_secrets
from suno_video_async._util.proxies import Proxies
from suno_video_async._util.resolver import ThreadResolver
from suno_video_async._version import USER_AGENT
from suno_video_async.clock import SystemClock
from suno_video_async.download.partial import Entity, PartFile, Saved
from suno_video_async.errors import DownloadError
from suno_video_async.models import Timeout
from suno_video_async.observability.reporter import Reporter, RequestTrace
from suno_video_async.protocol.codec import retry_after

#: The largest file that is accepted, to protect the user's disk; lyric videos are far smaller.
MAX_BYTES = 8 * 1024**3
MAX_REDIRECTS = 3
#: A whole download may take this many times the network timeout: an hour by default.
SLOWEST = 60
#: Downloads at once, over connections separate from the API's.
DOWNLOADS = 8
_CHUNK = 256 * 1024

#: Labels that name a compression; others, such as `aws-chunked`, `utf-8` or `binary`, change nothing.
_COMPRESSED = re.compile(r"\b(?:x-)?(?:gzip|compress|deflate|br|zstd|dcb|dcz)\b", re.IGNORECASE)
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_BUSY_STATUS = frozenset({408, 425, 429})
#: Errors of a full disk, for which retrying does not help.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@define
class MediaFetcher:
    """Downloads videos.

    Attributes:
        session: sends no API key by itself.
        timeout: `connect` bounds the connection and `total` each wait for more bytes, in real seconds.
        local: accept plain http and addresses of this machine and its network, because the API itself is there.
        reporter: reports each request.
        proxies: say through what a URL is fetched.
        run_blocking: runs what goes to disk beside the event loop, and always to completion: a cancellation must
            not overtake it, nor leave open what it opened.

    """

    session: aiohttp.ClientSession
    timeout: Timeout
    local: bool = False
    reporter: Reporter = field(factory=lambda: Reporter((), SystemClock()))
    run_blocking: RunBlocking = field(factory=lambda: in_threads(DOWNLOADS))
    proxies: Proxies = field(factory=Proxies, kw_only=True)

    async def download(
        self, url: str, path: Path, *, mark: str = "", sha256: bool = False, resend: int = 0
    ) -> Saved:
        """Download a video; nothing appears at `path` until the whole file is checked.

        A file that is at `path` already is never replaced: the video gets a marked name beside it, unless both are
        the same.

        If a download breaks off, what was received stays beside `path` as `.part`, provided that the server
        named a version of the file (a strong ETag). The next call, even of another process, fetches the rest.

        Args:
            url: the video's.
            path: of the finished file.
            mark: what the name is marked by where another file has it, such as the task's id.
            sha256: also compute the file's digest.
            resend: the number of earlier attempts, for the reporter.

        Raises:
            DownloadError: it cannot be fetched or written, is not a whole MP4 file, or is already being fetched.

        """
        try:
            await self.run_blocking(partial(path.parent.mkdir, parents=True, exist_ok=True))
            with _one_at_a_time(path, url):
                return await self._download(url, PartFile(path, mark), sha256=sha256, resend=resend)
        except aiohttp.InvalidURL as error:
            raise DownloadError("the video's URL cannot be used", url=url) from error
        except (aiohttp.ClientError, TimeoutError) as error:
            if isinstance(error, OSError) and isinstance(error.__cause__, PrivateAddressError):
                raise DownloadError(str(error.__cause__), url=url) from error
            raise DownloadError(
                f"the download broke off: {type(error).__name__}", url=url, temporary=True
            ) from error
        except (ValueError, UnicodeError) as error:
            raise DownloadError("the video's URL cannot be used", url=url) from error
        except OSError as error:
            raise DownloadError(f"{path} cannot be written: {error.strerror or error}", url=url) from error

    async def _download(self, url: str, part: PartFile, *, sha256: bool, resend: int) -> Saved:
        keep = False
        try:
            have = await self.run_blocking(partial(part.open, url))
            await self._fetch(url, part, have, resend)
            return await self.run_blocking(partial(part.finish, url, sha256))
        except DownloadError as error:
            keep = error.temporary
            raise
        except OSError as error:
            keep = error.errno not in _FULL
            raise
        except (aiohttp.ClientError, TimeoutError, asyncio.CancelledError):
            keep = True
            raise
        finally:
            with contextlib.suppress(OSError):
                await self.run_blocking(partial(part.close, keep))

    async def _fetch(self, url: str, part: PartFile, have: Entity | None, resend: int) -> None:
        for hop in range(MAX_REDIRECTS + 1):
            self._check_url(url, redirected=hop > 0)
            headers = {
                "Accept-Encoding": "identity",
                "User-Agent": USER_AGENT,
                **(have.range_headers if have else {}),
            }
            async with self._get(url, headers, resend + hop) as response:
                if response.status in _REDIRECTS and "Location" in response.headers:
                    url = _redirected(url, response.headers["Location"])
                    continue
                if response.status == 416 and have is not None:
                    have = None  # another entity, and a shorter one
                    continue
                await self._save(response, part, have, url)
                return
        raise DownloadError(f"more than {MAX_REDIRECTS} redirects", url=url, stale_url=True)

    @contextlib.asynccontextmanager
    async def _get(
        self, url: str, headers: dict[str, str], resend: int
    ) -> AsyncGenerator[aiohttp.ClientResponse, None]:
        """Request a URL once, and report it when its body was read."""
        # Slowly dripping bytes keep each wait short, so the whole download is bounded, too.
        limits = aiohttp.ClientTimeout(
            total=SLOWEST * self.timeout.total, connect=self.timeout.connect, sock_read=self.timeout.total
        )
        with RequestTrace(self.reporter, resend).sending("media", "GET", without_secrets(url)) as trace:
            async with self.session.get(
                URL(url, encoded=True),
                timeout=limits,
                proxy=self.proxies.of(url),
                headers=headers,
                # What a session of the user's own may have set otherwise.
                allow_redirects=False,
                raise_for_status=False,
                auto_decompress=False,
            ) as response:
                trace.status = response.status
                yield response

    def _check_url(self, url: str, *, redirected: bool) -> None:
        parts = urlsplit(url)
        problem = None
        if parts.scheme != "https" and not (self.local and parts.scheme == "http"):
            problem = f"has {f'the scheme {parts.scheme}' if parts.scheme else 'no scheme'}, not https"
        elif is_private(parts.hostname) and not self.local:
            problem = f"leads to {parts.hostname}, which is not a public address"
        if problem is not None:
            raise DownloadError(f"the video's URL {problem}", url=url, stale_url=redirected)

    async def _save(self, response: aiohttp.ClientResponse, part: PartFile, have: Entity | None, url: str) -> None:
        if response.status not in {200, 206} or (response.status == 206 and have is None):
            raise _refused(response, url)
        if compression := _COMPRESSED.search(response.headers.get("Content-Encoding", "")):
            raise DownloadError(f"the video is compressed ({compression[0]}), which was not requested", url=url)
        if response.status == 206 and have is not None:
            if not have.is_answered_by(response):
                part.forget()
                raise DownloadError(
                    "the media server sent another part of the file than requested", url=url, temporary=True
                )
            entity, start = have, have.start
        else:
            entity, start = Entity.of(response), 0
        if entity.length is not None and entity.length > MAX_BYTES:
            raise DownloadError(f"the video is larger than {MAX_BYTES} bytes", url=url)
        head = b"" if start else await _head(response.content)
        if not start and head[4:] != b"ftyp":  # before a part that was received earlier is overwritten
            sent = f"something that begins with {head!r}" if head else "an empty answer"
            raise DownloadError(f"the media server sent {sent}, not a video", url=url, stale_url=True)
        await self.run_blocking(partial(part.begin, entity, start))
        await self.run_blocking(partial(part.write, head))
        received = start + len(head)
        async for chunk in response.content.iter_chunked(_CHUNK):
            received += len(chunk)
            if received > MAX_BYTES:
                raise DownloadError(f"the video is larger than {MAX_BYTES} bytes", url=url)
            await self.run_blocking(partial(part.write, chunk))
        if entity.length is not None and received != entity.length:
            raise DownloadError(f"received {received} of {entity.length} bytes", url=url, temporary=True)


class PrivateAddressError(OSError):
    """A media server's name resolves to this machine or its network."""


class PublicResolver(AbstractResolver):
    """Resolves names to public addresses only: a server must not lead its users into their own networks.

    Args:
        exception: the proxy's name, which may well be in that network.

    """

    def __init__(self, exception: str | None = None) -> None:
        self._resolver = ThreadResolver()
        self._exception = exception

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the public addresses of a host.

        Raises:
            PrivateAddressError: it has no public address.

        """
        found = await self._resolver.resolve(host, port, family)
        public = [one for one in found if host == self._exception or not is_private(one["host"])]
        if found and not public:
            raise PrivateAddressError(f"the video's URL leads to {host}, which has no public address")
        return public

    async def close(self) -> None:
        """Close the resolver."""
        await self._resolver.close()


def make_media_session(
    connector: aiohttp.BaseConnector | None = None,
    *,
    local: bool,
    roots: ssl.SSLContext | None = None,
    proxies: Proxies | None = None,
) -> aiohttp.ClientSession:
    """Return a session for downloads: a pool of its own, no cookies, and public addresses only unless `local`.

    Args:
        connector: of a session of the user's own, which is used as it is and not closed.
        local: whether the API is on this machine or in its network.
        roots: what TLS trusts; None for what the machine does.
        proxies: through what videos are fetched.

    """
    if connector is not None:
        jar = aiohttp.DummyCookieJar()
        return aiohttp.ClientSession(connector=connector, connector_owner=False, cookie_jar=jar)
    resolver = ThreadResolver() if local else PublicResolver(None if proxies is None else proxies.host)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=DOWNLOADS, resolver=resolver, ssl=roots or True),
        cookie_jar=aiohttp.DummyCookieJar(),
    )


#: The files that are being fetched in this process.
_BUSY = set[Path]()


@contextlib.contextmanager
def _one_at_a_time(path: Path, url: str) -> Generator[None, None, None]:
    """Refuse to fetch one file twice at once: two would write one part."""
    if path in _BUSY:
        raise DownloadError(f"{path} is being downloaded already", url=url)
    _BUSY.add(path)
    try:
        yield
    finally:
        _BUSY.discard(path)


def _redirected(url: str, location: str) -> str:
    there = urljoin(url, location)
    if urlsplit(url).scheme == "https" and urlsplit(there).scheme != "https":
        raise DownloadError("the media server redirects from https to http", url=url, stale_url=True)
    return there


async def _head(content: aiohttp.StreamReader) -> bytes:
    """Return the first 8 bytes of a body: the length and the type of a video's first box."""
    try:
        return await content.readexactly(8)
    except asyncio.IncompleteReadError as error:
        return error.partial


def _refused(response: aiohttp.ClientResponse, url: str) -> DownloadError:
    """Return the error for an answer without the file.

    Media servers have no common status for a file that is late or a URL that has expired: some answer 404 or 403,
    others 400, 401, 410 or 498. All that is not trouble of the server itself counts as that.
    """
    status = response.status
    if status in _BUSY_STATUS or status >= 500:
        wait, said = retry_after(response.headers), f"the media server answered {status}"
        return DownloadError(said, url=url, status=status, temporary=True, retry_after=wait)
    said = f"the media server answered {status}: the video is not there yet, or its URL has expired"
    return DownloadError(said, url=url, status=status, stale_url=True)
