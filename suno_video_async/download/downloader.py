"""Downloads of a client's videos: retried if that can help, with a fresh URL where the old one has expired."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import aiohttp
import anyio

from suno_video_async._util.aio import in_threads
from suno_video_async._util.proxies import Proxies
from suno_video_async.clock import Clock
from suno_video_async.download.fetch import DOWNLOADS, MediaFetcher, make_media_session
from suno_video_async.download.filenames import file_name, marked
from suno_video_async.download.partial import Saved, is_free
from suno_video_async.download.places import Folder, StorePath, candidates
from suno_video_async.download.store import StoreProblem, Stores, staged, staging_folder, written
from suno_video_async.errors import DownloadError, SunoVideoError, TransportError, VideoNotReady
from suno_video_async.hooks import RetryEvent
from suno_video_async.models import TaskSnapshot, Timeout, Video, VideoTaskId
from suno_video_async.observability.reporter import Reporter
from suno_video_async.task import video_of

#: Seconds to wait before each further try: an expired URL is replaced at once, a file that is late takes a while.
WAITS = (0.0, 2.0, 5.0, 10.0, 15.0)
#: How many names a video is tried under in a store.
MOST_NAMES = 20


class Downloads:
    """Downloads the videos of a client, over connections separate from the API's and without the API key.

    Args:
        session: a session of the user's own; its connector is used.
        make_session: makes one for its connector, or for None with a connector of its own.
        proxies: say through what a video is fetched.
        timeout, local: as for `MediaFetcher`.
        clock: times the waits between retries.
        longest: the maximum `Retry-After` of a media server, in seconds.
        status: returns the snapshot of a task, for a fresh URL.
        reporter: reports each request and each retry.

    """

    def __init__(
        self,
        *,
        session: aiohttp.ClientSession | None,
        make_session: Callable[[aiohttp.BaseConnector | None], aiohttp.ClientSession] | None = None,
        proxies: Proxies | None = None,
        timeout: Timeout,
        local: bool,
        clock: Clock,
        longest: float,
        status: Callable[[VideoTaskId], Awaitable[TaskSnapshot]],
        reporter: Reporter,
    ) -> None:
        self._given = session
        self._make_session = make_session or partial(make_media_session, local=local)
        self._proxies = proxies or Proxies()
        self._own: aiohttp.ClientSession | None = None
        self._timeout = timeout
        self._local = local
        self._clock = clock
        self._longest = longest
        self._status = status
        self._reporter = reporter
        # A connection pool has a queue, too, but a wait there is taken off the time to connect.
        self._queue = anyio.CapacityLimiter(_room(session))
        self._run_blocking = in_threads(DOWNLOADS)
        self._underway = dict[tuple[Folder, VideoTaskId, bool], asyncio.Future[Saved | SunoVideoError]]()
        self._stores = Stores()
        self._staging: Path | None = None

    async def fetch(self, video: Video, folder: Folder, *, name: str | None = None, sha256: bool = False) -> Saved:
        """Download a video; see `SunoVideoClient.fetch`. A second caller for the same file waits for the first."""
        name = name or file_name(video.suno_id or video.task_id)
        if Path(name).name != name:
            raise DownloadError(f"{name!r} is not a plain file name", url=video.url)
        if any(path == folder / name and task != video.task_id for path, task, _ in self._underway):
            name = marked(name, video.task_id)
        key = (folder / name, video.task_id, sha256)
        while (other := self._underway.get(key)) is not None:
            await asyncio.wait([other])
            if not other.cancelled():
                return _value(other.result())
        done = self._underway[key] = asyncio.get_running_loop().create_future()
        try:
            done.set_result(await self._bring(video, folder / name, sha256=sha256))
        except SunoVideoError as error:
            done.set_result(error)
        finally:
            del self._underway[key]
            if not done.done():  # this caller was cancelled; the next waiting one takes over
                done.cancel()
        return _value(done.result())

    async def is_free(self, place: Folder, task_id: VideoTaskId | None) -> bool:
        """Whether a task's video can be put into a place: nothing else is there, or is being downloaded to it.

        A link counts as a file. In a store, the task's own video may be there already.

        Raises:
            DownloadError: a store cannot be asked.

        """
        if isinstance(place, Path):
            return await self._run_blocking(partial(is_free, place))
        try:
            found = await self._stores.find(place)
        except StoreProblem as problem:
            raise DownloadError(str(problem), url=str(place)) from None
        return found is None or (task_id is not None and found.task == written(task_id))

    async def _bring(self, video: Video, place: Folder, *, sha256: bool) -> Saved:
        if isinstance(place, Path):
            return await self._fetch(video, place, sha256=sha256)
        try:
            return await self._store(video, place, sha256=sha256)
        except StoreProblem as problem:
            raise DownloadError(str(problem), url=video.url) from None

    async def _store(self, video: Video, place: StorePath, *, sha256: bool) -> Saved:
        """Put a video into a store, unless it is there; it is downloaded and checked on this machine before."""
        stores, task = self._stores, written(video.task_id)
        if self._staging is None:
            self._staging = await self._run_blocking(staging_folder)
        here, digest = staged(self._staging, place, video.task_id), ""
        remove = partial(here.unlink, missing_ok=True)
        await self._run_blocking(remove)  # what a process left that was killed during its upload
        try:
            for target in itertools.islice(candidates(place, video.task_id), MOST_NAMES):
                found = await stores.find(target)
                if found is None or found.task is None:  # else it says whose it is
                    if not digest:
                        digest = (await self._fetch(video, here, sha256=True)).sha256 or ""
                    async with self._queue:
                        found = await stores.put(here, target, task=task, sha256=digest)
                if found is not None and found.task == task:
                    return Saved(uri=target.uri, sha256=found.sha256 if sha256 else None)
        finally:
            await self._run_blocking(remove)
        raise DownloadError(f"{place} and {MOST_NAMES - 1} other names are taken in the store", url=video.url)

    async def _fetch(self, video: Video, path: Path, *, sha256: bool) -> Saved:
        server, url = self._server(), video.url
        waits, tries = iter(WAITS), 0
        while True:
            try:
                async with self._queue:
                    return await server.download(url, path, mark=video.task_id, sha256=sha256, resend=tries)
            except DownloadError as error:
                wait = next(waits, None) if error.temporary else None
                if wait is None:
                    raise
                tries, stale = tries + 1, error.stale_url
                wait = max(wait, min(error.retry_after or 0.0, self._longest))
                self._tell_retry(tries, wait, error)
            await self._clock.sleep(wait)
            if stale:
                # Without an answer, the file may still come to the URL that is known.
                with contextlib.suppress(VideoNotReady, TransportError):
                    url = video_of(await self._status(video.task_id)).url

    def _tell_retry(self, attempt: int, wait: float, error: DownloadError) -> None:
        event = RetryEvent(operation="download", attempt=attempt, wait=wait, error=error)
        self._reporter.emit(lambda hook: hook.on_retry(event))

    def _server(self) -> MediaFetcher:
        if self._own is None:
            # Headers, cookies and passwords of the user's session are not for the hosts that videos are on.
            self._own = self._make_session(getattr(self._given, "connector", None))
        return MediaFetcher(
            *(self._own, self._timeout, self._local, self._reporter, self._run_blocking), proxies=self._proxies
        )

    async def aclose(self) -> None:
        """Close the session that was made here."""
        if self._own is not None:
            await self._own.close()


def _room(session: aiohttp.ClientSession | None) -> int:
    """Return how many downloads go at once: no more than a session of the user's own has connections for."""
    connector: aiohttp.BaseConnector | None = getattr(session, "connector", None)  # a test's session may have none
    bounds = (connector.limit, connector.limit_per_host) if connector is not None else ()
    return min([DOWNLOADS, *filter(None, bounds)])


def _value(outcome: Saved | SunoVideoError) -> Saved:
    if isinstance(outcome, SunoVideoError):
        raise outcome
    return outcome
