"""A finished video to disk: to `.part` first, resumed where it broke off, checked, then renamed."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import json
import os
import re
import socket
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from functools import partial
from io import FileIO
from pathlib import Path
from typing import TypeVar
from urllib.parse import urljoin, urlsplit

import aiohttp
import anyio
import anyio.to_thread
from aiohttp.abc import AbstractResolver, ResolveResult
from attrs import define, evolve, field, frozen
from yarl import URL

from suno_video_async.addresses import is_private, without_secrets
from suno_video_async.disks import boot_id
from suno_video_async.errors import DownloadError
from suno_video_async.filenames import file_name
from suno_video_async.finishing import to_the_end
from suno_video_async.hooks import RetryEvent
from suno_video_async.models import TaskSnapshot, Timeout, Video, VideoTaskId
from suno_video_async.mp4 import mp4_problem
from suno_video_async.pacing.clock import Clock, SystemClock
from suno_video_async.protocol.wire import retry_after
from suno_video_async.task import video_of
from suno_video_async.telemetry import About, Reporter

#: What a user's disk is protected from: no lyric video comes near it.
MAX_BYTES = 8 * 1024**3
MAX_REDIRECTS = 3
#: How many times the network's timeout a whole download may take: an hour by default.
SLOWEST = 60
#: Seconds before a download that broke off is tried again.
WAITS = (1.0, 5.0)
#: What a media server says when a URL has run out; TaskInfo has a fresh one.
EXPIRED = frozenset({403, 404, 410})
#: Connections for downloads; they are not the API's.
CONNECTIONS = 8
_CHUNK = 256 * 1024

T = TypeVar("T")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18})", re.ASCII)
#: What the operating system says when there is no room, for which trying again does not help.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@frozen(kw_only=True)
class Saved:
    """A video on disk.

    Attributes:
        sha256: of the whole file, where it was asked for.

    """

    path: Path
    sha256: str | None = None


@define
class MediaServer:
    """How videos are fetched.

    Attributes:
        session: sends no API key by itself.
        timeout: `connect` bounds the connection and `total` each wait for more bytes, in real seconds.
        local: whether plain http and addresses of this machine and its network are accepted, as when the API
            itself is there.
        reporter: tells of each send.

    """

    session: aiohttp.ClientSession
    timeout: Timeout
    local: bool = False
    reporter: Reporter = field(factory=lambda: Reporter((), SystemClock()))

    async def download(self, url: str, path: Path, *, sha256: bool = False, resend: int = 0) -> Saved:
        """Fetch a video; nothing stands at `path` until the whole file is checked.

        What has come of a download that breaks off stays beside it as `.part`, if the server has named a version
        of the file that can be asked for again; the next call, of another process too, fetches the rest.

        Args:
            url: the video's.
            path: where it is to stand.
            sha256: also compute the file's digest.
            resend: how many times it was tried before, for what is told.

        Raises:
            DownloadError: it cannot be fetched or written, is no whole MP4 file, or is being fetched already.

        """
        try:
            await anyio.Path(path.parent).mkdir(parents=True, exist_ok=True)
            with _one_at_a_time(path, url):
                return await self._download(url, _Part(path), sha256=sha256, resend=resend)
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

    async def _download(self, url: str, part: _Part, *, sha256: bool, resend: int) -> Saved:
        keep = False
        try:
            have = await _in_a_thread(partial(part.open, url))
            await self._fetch(url, part, have, resend)
            return await _in_a_thread(partial(part.finish, url, sha256))
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
                await _in_a_thread(partial(part.close, keep))

    async def _fetch(self, url: str, part: _Part, have: _Entity | None, resend: int) -> None:
        for hop in range(MAX_REDIRECTS + 1):
            self._check_url(url)
            headers = {"Accept-Encoding": "identity", **(have.asked_for if have else {})}
            async with self._get(url, headers, resend + hop) as response:
                if response.status in _REDIRECTS and "Location" in response.headers:
                    url = _redirected(url, response.headers["Location"])
                    continue
                if response.status == 416 and have is not None:
                    have = None  # another entity, and a shorter one
                    continue
                await self._save(response, part, have, url)
                return
        raise DownloadError(f"more than {MAX_REDIRECTS} redirects", url=url)

    @contextlib.asynccontextmanager
    async def _get(
        self, url: str, headers: dict[str, str], resend: int
    ) -> AsyncGenerator[aiohttp.ClientResponse, None]:
        """Ask for a URL once, and tell of it when its body is read."""
        # A drip of bytes keeps every single wait short: the whole has a bound of its own.
        limits = aiohttp.ClientTimeout(
            total=SLOWEST * self.timeout.total, connect=self.timeout.connect, sock_read=self.timeout.total
        )
        with self.reporter.sending("media", "GET", without_secrets(url), About(resend)) as sending:
            async with self.session.get(
                URL(url, encoded=True), timeout=limits, allow_redirects=False, headers=headers
            ) as response:
                sending.status = response.status
                yield response

    def _check_url(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "https" and not (self.local and parts.scheme == "http"):
            raise DownloadError(f"the video's URL is {parts.scheme or 'no'} URL, not https", url=url)
        if is_private(parts.hostname) and not self.local:
            raise DownloadError(f"the video's URL leads to {parts.hostname}, which is no public address", url=url)

    async def _save(self, response: aiohttp.ClientResponse, part: _Part, have: _Entity | None, url: str) -> None:
        if response.status not in {200, 206} or (response.status == 206 and have is None):
            raise _refused(response, url)
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise DownloadError("the video comes compressed, though that was not asked for", url=url)
        if response.status == 206 and have is not None:
            if not _is_asked_for(response, have):
                part.forget()
                raise DownloadError(
                    "the media server answers with another part than asked for", url=url, temporary=True
                )
            entity, start = have, have.start
        else:
            entity, start = _Entity.of(response), 0
        if entity.length is not None and entity.length > MAX_BYTES:
            raise DownloadError(f"the video is over {MAX_BYTES} bytes", url=url)
        await _in_a_thread(partial(part.begin, entity, start))
        received = start
        async for chunk in response.content.iter_chunked(_CHUNK):
            received += len(chunk)
            if received > MAX_BYTES:
                raise DownloadError(f"the video is over {MAX_BYTES} bytes", url=url)
            await _in_a_thread(partial(part.write, chunk))
        if entity.length is not None and received != entity.length:
            raise DownloadError(f"{received} bytes came of {entity.length}", url=url, temporary=True)


@frozen(kw_only=True)
class _Entity:
    """One version of a file at the server, and how much of it is here.

    Attributes:
        etag: its strong tag, or None where it cannot be asked for again.
        length: its bytes, where the server says so.
        start: from where on it is missing.

    """

    etag: str | None
    length: int | None
    start: int = 0

    @classmethod
    def of(cls, response: aiohttp.ClientResponse) -> _Entity:
        etag = response.headers.get("ETag", "")
        strong = re.fullmatch(r'"[^"\\\x00-\x1f\x7f]{1,200}"', etag) is not None
        return cls(etag=etag if strong else None, length=response.content_length)

    @property
    def asked_for(self) -> dict[str, str]:
        return {"Range": f"bytes={self.start}-", "If-Range": self.etag or ""}


class _Part:
    """The unfinished file beside a video, and the small one that says what it is a part of. Its calls block."""

    def __init__(self, path: Path) -> None:
        self.target = path
        self.path = path.with_name(path.name + ".part")
        self._said = path.with_name(path.name + ".part.json")
        self._entity: _Entity | None = None
        self._file: FileIO | None = None
        self._lock: int | None = None
        self._taken = self._finished = False

    def open(self, url: str) -> _Entity | None:
        """Take the file, and return what is here of it where the rest can be asked for.

        Raises:
            DownloadError: another process is writing it.

        """
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        if not (_locked(descriptor) and self._is_there(descriptor)):
            os.close(descriptor)
            raise DownloadError(f"{self.target} is being downloaded by another process", url=url)
        if sys.platform == "win32":  # there an open file cannot be renamed
            os.close(descriptor)
        else:
            self._lock = descriptor
        self._taken = True
        return self._read()

    def _is_there(self, descriptor: int) -> bool:
        """Whether the file has not become the video since it was opened."""
        try:
            return os.path.samestat(os.fstat(descriptor), self.path.stat())
        except FileNotFoundError:
            return False

    def _read(self) -> _Entity | None:
        try:
            said = json.loads(self._said.read_text(encoding="utf-8"))
            entity, size = _Entity(etag=said["etag"], length=said["length"]), self.path.stat().st_size
            # What was not synced may not have outlived the machine's boot.
            if not (isinstance(entity.etag, str) and isinstance(entity.length, int) and said["boot"] == boot_id()):
                return None
        except (OSError, ValueError, TypeError, KeyError):
            return None
        if not 0 < size <= entity.length:
            return None
        self._entity = entity
        # The last byte is fetched again where all are here: an empty range cannot be asked for.
        return evolve(entity, start=min(size, entity.length - 1))

    def begin(self, entity: _Entity, start: int) -> None:
        """Make ready to write from `start` on."""
        if start == 0:
            # First what it was a part of: no other file's bytes may ever pass for the rest of this one.
            self._said.unlink(missing_ok=True)
            self.path.open("wb").close()
            if entity.etag is not None and entity.length is not None:
                said = {"etag": entity.etag, "length": entity.length, "boot": boot_id()}
                self._said.write_text(json.dumps(said), encoding="utf-8")
        else:
            os.truncate(self.path, start)
        self._file = self.path.open("r+b", buffering=0)
        self._file.seek(start)
        self._entity = entity

    def write(self, chunk: bytes) -> None:
        """Write what comes next."""
        if self._file is not None:
            left = memoryview(chunk)
            while left:  # a disk that is almost full takes a part
                left = left[self._file.write(left) :]

    def _end_writing(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def forget(self) -> None:
        """Let the next try begin anew."""
        self._entity = None

    def finish(self, url: str, sha256: bool) -> Saved:
        """Check the whole file and give it its name."""
        self._end_writing()
        if problem := mp4_problem(self.path):
            self.forget()  # the next try begins anew
            raise DownloadError(f"what came is no playable MP4: {problem}", url=url, temporary=True)
        with self.path.open("rb+") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest() if sha256 else None
            os.fsync(file.fileno())
        self._said.unlink(missing_ok=True)
        self.path.replace(self.target)
        self._finished = True
        _sync_folder(self.target.parent)
        return Saved(path=self.target, sha256=digest)

    def close(self, keep: bool) -> None:
        """Let go of the file, and take away what is of no use to the next try."""
        if not self._taken:
            return
        try:
            self._end_writing()
            resumable = self._entity is not None and self._entity.etag is not None
            if not self._finished and not (keep and resumable):
                self.path.unlink(missing_ok=True)
                self._said.unlink(missing_ok=True)
        finally:
            if self._lock is not None:
                os.close(self._lock)


class Downloads:
    """Fetches the videos of a client, over connections of its own: they are not the API's, and carry no key.

    Args:
        session: a session of the user's own; None makes one where it is first needed.
        timeout: as `MediaServer` has it.
        local: likewise.
        clock: times the waits between tries.
        longest: the most seconds that a media server may ask to wait.
        status: asks how a task stands, for a fresh URL.
        reporter: tells of each send and each retry.

    """

    def __init__(
        self,
        *,
        session: aiohttp.ClientSession | None,
        timeout: Timeout,
        local: bool,
        clock: Clock,
        longest: float,
        status: Callable[[VideoTaskId], Awaitable[TaskSnapshot]],
        reporter: Reporter,
    ) -> None:
        self._given = session
        self._own: aiohttp.ClientSession | None = None
        self._timeout = timeout
        self._local = local
        self._clock = clock
        self._longest = longest
        self._status = status
        self._reporter = reporter

    async def fetch(self, video: Video, folder: Path, *, name: str | None = None, sha256: bool = False) -> Saved:
        """Fetch a video; see `SunoVideoClient.fetch`."""
        name = name or file_name(video.suno_id or video.task_id)
        if Path(name).name != name:
            raise DownloadError(f"{name!r} is not a plain file name", url=video.url)
        server, url, fresh = self._server(), video.url, False
        waits, tries = iter(WAITS), 0
        while True:
            try:
                return await server.download(url, folder / name, sha256=sha256, resend=tries)
            except DownloadError as error:
                tries += 1
                if error.status in EXPIRED and not fresh:
                    self._tell_retry(tries, 0.0, error)
                    fresh, url = True, video_of(await self._status(video.task_id)).url
                    continue
                wait = next(waits, None) if error.temporary else None
                if wait is None:
                    raise
                wait = max(wait, min(error.retry_after or 0.0, self._longest))
                self._tell_retry(tries, wait, error)
            await self._clock.sleep(wait)

    def _tell_retry(self, attempt: int, wait: float, error: DownloadError) -> None:
        event = RetryEvent(operation="download", attempt=attempt, wait=wait, error=error)
        self._reporter.tell(lambda hook: hook.on_retry(event))

    def _server(self) -> MediaServer:
        session = self._given or self._own
        if session is None:
            session = self._own = make_media_session(local=self._local)
        return MediaServer(session, self._timeout, self._local, self._reporter)

    async def aclose(self) -> None:
        """Close what was made here."""
        if self._own is not None:
            await self._own.close()


class PrivateAddressError(OSError):
    """A media server's name leads to this machine, or to the network around it."""


class PublicResolver(AbstractResolver):
    """Finds public addresses only: what a server names must not lead into the network of its user."""

    def __init__(self) -> None:
        self._resolver = aiohttp.DefaultResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the public addresses of a host.

        Raises:
            PrivateAddressError: it has others only.

        """
        found = await self._resolver.resolve(host, port, family)
        public = [one for one in found if not is_private(one["host"])]
        if found and not public:
            raise PrivateAddressError(f"the video's URL leads to {host}, which has no public address")
        return public

    async def close(self) -> None:
        """Let go of what resolves."""
        await self._resolver.close()


def make_media_session(*, local: bool) -> aiohttp.ClientSession:
    """Return a session for downloads: a pool of its own, no cookies, and public addresses only unless `local`."""
    resolver = None if local else PublicResolver()
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=CONNECTIONS, resolver=resolver),
        cookie_jar=aiohttp.DummyCookieJar(),
    )


async def _in_a_thread(call: Callable[[], T]) -> T:
    """Run a call that blocks, to its end: whoever cancels must not overtake it, nor leave what it has opened."""
    return await to_the_end(anyio.to_thread.run_sync(call))


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
        raise DownloadError("the media server redirects from https to http", url=url)
    return there


def _refused(response: aiohttp.ClientResponse, url: str) -> DownloadError:
    again = response.status == 429 or response.status >= 500
    wait = retry_after(response.headers) if again else None
    said = f"the media server answered {response.status}"
    return DownloadError(said, url=url, status=response.status, temporary=again, retry_after=wait)


def _is_asked_for(response: aiohttp.ClientResponse, have: _Entity) -> bool:
    """Whether a part of a file is what is missing of the same version."""
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    found = (int(match[1]), int(match[2])) if match else None
    return found == (have.start, have.length) and response.headers.get("ETag", have.etag) == have.etag


def _locked(descriptor: int) -> bool:
    """Take a file for this process, which goes with it, however that ends; False where another process has it."""
    if sys.platform != "win32":
        import fcntl  # noqa: PLC0415  not everywhere

        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks
            return True
    return True


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a power cut, where folders can be synced at all."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
