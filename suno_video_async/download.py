"""A finished video to disk: to `.part` first, checked, then renamed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import aiohttp
import anyio
import anyio.to_thread
from yarl import URL

from suno_video_async.errors import DownloadError
from suno_video_async.models import Timeout

#: What a user's disk is protected from: no lyric video comes near it.
MAX_BYTES = 8 * 1024**3
MAX_REDIRECTS = 3
#: How many times the network's timeout a whole download may take: an hour by default.
SLOWEST = 60
#: Names that Windows keeps for devices.
_RESERVED = re.compile(r"con|prn|aux|nul|com[0-9]|lpt[0-9]", re.IGNORECASE)
_CHUNK = 256 * 1024
_BOXES_NEEDED = {b"ftyp", b"moov", b"mdat"}


def file_name(suno_id: str, *, marked_by: str | None = None) -> str:
    """Return a safe name for a track's video.

    Args:
        suno_id: the track's id; what no file system would take in it is replaced, and a hash then keeps it apart.
        marked_by: the track's key, where another track of the run has the same `suno_id`.

    """
    safe = re.sub(r"[^A-Za-z0-9_-]", "_", suno_id)[:100]
    if marked_by is not None or safe != suno_id:
        safe += "-" + hashlib.sha256((marked_by or suno_id).encode()).hexdigest()[:8]
    return f"{'track-' if _RESERVED.fullmatch(safe) else ''}{safe}.mp4"


async def download(
    session: aiohttp.ClientSession, url: str, path: Path, *, timeout: Timeout, allow_http: bool = False
) -> Path:
    """Fetch a video and return its path; nothing stands at `path` until the whole file is checked.

    Args:
        session: sends no API key by itself.
        url: the video's.
        path: where it is to stand.
        timeout: `connect` bounds the connection and `total` each wait for more bytes, in real seconds.
        allow_http: accept plain http, as when the API itself is on this machine.

    Raises:
        DownloadError: it cannot be fetched, or is no whole MP4 file.

    """
    part = path.with_name(path.name + ".part")
    try:
        await anyio.Path(path.parent).mkdir(parents=True, exist_ok=True)
        await _fetch(session, url, part, timeout, allow_http=allow_http)
        await anyio.to_thread.run_sync(_check_and_rename, part, path, url)
    except aiohttp.InvalidURL as error:
        raise DownloadError("the video's URL cannot be used", url=url) from error
    except (aiohttp.ClientError, TimeoutError) as error:
        raise DownloadError(f"the download broke off: {type(error).__name__}", url=url, temporary=True) from error
    except (ValueError, UnicodeError) as error:
        raise DownloadError("the video's URL cannot be used", url=url) from error
    except OSError as error:
        raise DownloadError(f"{path} cannot be written: {error.strerror or error}", url=url) from error
    finally:
        with anyio.CancelScope(shield=True), contextlib.suppress(OSError):
            await anyio.Path(part).unlink()
    return path


async def _fetch(
    session: aiohttp.ClientSession, url: str, part: Path, timeout: Timeout, *, allow_http: bool
) -> None:
    # A drip of bytes keeps every single wait short: the whole has a bound of its own.
    limits = aiohttp.ClientTimeout(total=SLOWEST * timeout.total, connect=timeout.connect, sock_read=timeout.total)
    for _ in range(MAX_REDIRECTS + 1):
        _check_url(url, allow_http=allow_http)
        headers = {"Accept-Encoding": "identity"}
        async with session.get(
            URL(url, encoded=True), timeout=limits, allow_redirects=False, headers=headers
        ) as response:
            if response.status in {301, 302, 303, 307, 308} and "Location" in response.headers:
                url = urljoin(url, response.headers["Location"])
                continue
            if response.status != 200:
                said = f"the media server answered {response.status}"
                again = response.status == 429 or response.status >= 500
                raise DownloadError(said, url=url, status=response.status, temporary=again)
            await _save(response, part, url)
            return
    raise DownloadError(f"more than {MAX_REDIRECTS} redirects", url=url)


def _check_url(url: str, *, allow_http: bool) -> None:
    scheme = urlsplit(url).scheme
    if scheme != "https" and not (allow_http and scheme == "http"):
        raise DownloadError(f"the video's URL is {scheme or 'no'} URL, not https", url=url)


async def _save(response: aiohttp.ClientResponse, part: Path, url: str) -> None:
    length, received = response.content_length, 0
    async with await anyio.open_file(part, "wb") as file:
        async for chunk in response.content.iter_chunked(_CHUNK):
            received += len(chunk)
            if received > MAX_BYTES:
                raise DownloadError(f"the video is over {MAX_BYTES} bytes", url=url)
            await file.write(chunk)
    if length is not None and received != length:
        raise DownloadError(f"{received} bytes came of {length}", url=url, temporary=True)


def _check_and_rename(part: Path, path: Path, url: str) -> None:
    if problem := mp4_problem(part):
        raise DownloadError(f"what came is no playable MP4: {problem}", url=url, temporary=True)
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    part.replace(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a power cut, where folders can be synced at all."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def mp4_problem(path: Path) -> str | None:
    """Return what is wrong with the structure of an MP4 file, or None.

    Every top-level box must lie within the file, and `ftyp`, `moov` and `mdat` must be among them.
    """
    size, position, seen = path.stat().st_size, 0, set[bytes]()
    with path.open("rb") as file:
        while position < size:
            file.seek(position)
            header = file.read(16)
            length, kind = int.from_bytes(header[:4]), header[4:8]
            if length == 1:
                length = int.from_bytes(header[8:16])
            elif length == 0:
                length = size - position
            if position == 0 and kind != b"ftyp":
                return f"it begins with {header[:8]!r}"
            if length < 8 or position + length > size:
                return f"the box {kind!r} does not end within the file"
            seen.add(kind)
            position += length
    missing = sorted(kind.decode() for kind in _BOXES_NEEDED - seen)
    return f"no {', '.join(missing)}" if missing else None
