"""`client.convert()`: a catalog in, outcomes out as each row ends."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Protocol

import anyio
from anyio.abc import TaskGroup
from attrs import define, evolve

from suno_video_async.catalog import CatalogSource, Row, read_rows
from suno_video_async.download import file_name
from suno_video_async.errors import (
    APIError,
    AuthenticationError,
    CatalogError,
    ClientClosedError,
    DownloadError,
    FeatureDisabledError,
    InsufficientCreditsError,
    MaintenanceError,
    RateLimitError,
    ServerError,
    SubmissionUnknown,
    SunoVideoError,
    TaskFailed,
    TransportError,
    WaitTimeout,
)
from suno_video_async.models import Outcome, Track, Video, VideoRequest
from suno_video_async.pacing.clock import Clock
from suno_video_async.submission import Submission
from suno_video_async.task import VideoTask

#: Downloads at once, beside the videos in flight: they do not count against the API's limit.
DOWNLOADS = 4


class BatchClient(Protocol):
    """What a conversion needs of a client."""

    @property
    def clock(self) -> Clock:
        """The client's time."""
        ...

    @property
    def max_in_flight(self) -> int:
        """The most unfinished videos."""
        ...

    def begin(self, request: VideoRequest, *, refused: Callable[[APIError], None]) -> Submission:
        """Begin to buy one video."""
        ...

    async def download(self, video: Video, output_dir: str | PathLike[str], *, name: str | None = None) -> Path:
        """Fetch one video."""
        ...

    def forget(self, task: VideoTask, error: SunoVideoError) -> None:
        """Stop following a task."""
        ...

    def start_soon(self, run: Callable[[], object]) -> None:
        """Run a coroutine function in the client's own task group."""
        ...


@define(eq=False)
class _Progress:
    """What is known of one row so far."""

    row: Row
    started: float
    task: VideoTask | None = None


class Conversion:
    """A running conversion: `async with client.convert(…) as outcomes: async for outcome in outcomes: …`.

    Rows are pulled from the catalog as room comes free; what is in flight, and as many finished rows as there are
    places for videos, is all that is ever held. Leaving the block early stops submitting and following; what was
    submitted stays paid for and can be attached to by its id.

    Attributes:
        stopped_by: what ended the submissions before the catalog's end, such as `InsufficientCreditsError`.

    """

    def __init__(
        self,
        client: BatchClient,
        source: CatalogSource,
        *,
        output_dir: str | PathLike[str] | None,
        task_timeout: float,
    ) -> None:
        if not task_timeout > 0:
            raise ValueError(f"task_timeout must be above 0 seconds, not {task_timeout!r}")
        self.stopped_by: SunoVideoError | None = None
        self._client = client
        self._source = source
        self._output_dir = None if output_dir is None else Path(output_dir)
        self._task_timeout = task_timeout
        self._stopping = False
        self._submissions = set[Submission]()
        self._failure: Exception | None = None
        self._scope = anyio.CancelScope()
        self._ended = anyio.Event()
        self._room = anyio.Semaphore(2 * client.max_in_flight)
        self._downloads = anyio.CapacityLimiter(DOWNLOADS)
        self._seen = _Seen()
        self._send, self._outcomes = anyio.create_memory_object_stream[Outcome](client.max_in_flight)

    async def __aenter__(self) -> Conversion:
        self._client.start_soon(self._run)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._scope.cancel()
        with anyio.CancelScope(shield=True):
            await self._ended.wait()
        self._outcomes.close()

    def __aiter__(self) -> AsyncIterator[Outcome]:
        return self

    async def __anext__(self) -> Outcome:
        """Return the next outcome.

        Raises:
            CatalogError: the catalog as a whole cannot be read; raised after the outcomes of what could.
            AuthenticationError: 401 or 403; raised after the outcomes of all that was submitted before.
            FeatureDisabledError: 505; likewise.

        """
        try:
            return await self._outcomes.receive()
        except anyio.EndOfStream:
            if self._failure is not None:
                failure, self._failure = self._failure, None
                raise failure from None
            raise StopAsyncIteration from None

    def stop(self) -> None:
        """Submit no more; what is submitted is followed to its end, the rest of the rows end as `planned`."""
        self._stopping = True
        for submission in self._submissions:
            submission.abandon()

    async def _run(self) -> None:
        try:
            with self._scope:
                async with anyio.create_task_group() as rows:
                    await self._pull(rows)
        except Exception as error:
            self._failure = error
        except BaseException:
            self._failure = ClientClosedError("the client was closed while it converted a catalog")
            raise
        finally:
            self._send.close()
            self._ended.set()

    async def _pull(self, group: TaskGroup) -> None:
        try:
            async with contextlib.aclosing(read_rows(self._source)) as rows:
                async for row in rows:
                    await self._room.acquire()
                    group.start_soon(self._handle, row)
        except Exception as error:
            # The source is broken from here on; what was pulled from it before goes on to its end.
            self._failure = error

    async def _handle(self, row: Row) -> None:
        progress = _Progress(row, self._client.clock.now())
        try:
            outcome = await self._convert(progress)
            await self._send.send(
                evolve(
                    outcome,
                    row=row.where,
                    seconds=self._client.clock.now() - progress.started,
                    requests=progress.task.requests if progress.task else outcome.requests,
                )
            )
        finally:
            self._room.release()

    async def _convert(self, progress: _Progress) -> Outcome:
        track = progress.row.track
        if isinstance(track, CatalogError):
            return Outcome(track=None, state="refused", error=track)
        if not self._seen.add(track):
            return Outcome(track=track, state="skipped")
        if self._stopping:
            return Outcome(track=track, state="planned", error=self.stopped_by)
        submission = self._client.begin(VideoRequest(track=track), refused=self._stop_if_hopeless)
        self._submissions.add(submission)
        try:
            progress.task = await submission.wait()
        except SunoVideoError as error:
            return self._not_submitted(track, error)
        finally:
            self._submissions.discard(submission)
        return await self._follow(track, progress.task)

    def _not_submitted(self, track: Track, error: SunoVideoError) -> Outcome:
        if isinstance(error, ClientClosedError) and self._stopping:
            return Outcome(track=track, state="planned", error=self.stopped_by)
        return Outcome(track=track, state=_state_unsubmitted(error), error=error)

    def _stop_if_hopeless(self, error: SunoVideoError) -> None:
        """Stop for a reason that no other row can help; all but missing credits is raised at the end."""
        if isinstance(error, AuthenticationError | FeatureDisabledError):
            self._failure = self._failure or error
        elif not isinstance(error, InsufficientCreditsError):
            return
        self.stopped_by = self.stopped_by or error
        self.stop()

    async def _follow(self, track: Track, task: VideoTask) -> Outcome:
        outcome = Outcome(track=track, state="submitted", video_task_id=task.id)
        try:
            video = await task.result(timeout=self._task_timeout)
        except TaskFailed as error:
            return evolve(outcome, state="failed", error=error, credits=error.snapshot.credits)
        except SunoVideoError as error:
            if isinstance(error, WaitTimeout):
                self._client.forget(task, error)
            self._stop_if_hopeless(error)
            return evolve(outcome, error=error)
        outcome = evolve(outcome, state="succeeded", url=video.url, credits=video.credits)
        return (
            outcome if self._output_dir is None else await self._download(outcome, track, video, self._output_dir)
        )

    async def _download(self, outcome: Outcome, track: Track, video: Video, folder: Path) -> Outcome:
        name = file_name(track.suno_id, marked_by=track.key if self._seen.shares_its_suno_id(track) else None)
        try:
            async with self._downloads:
                path = await self._client.download(video, folder, name=name)
        except DownloadError as error:
            return evolve(outcome, error=error)
        return evolve(outcome, state="downloaded", path=path)


class _Seen:
    """The tracks that came by: a track that stands twice in a catalog is bought once."""

    def __init__(self) -> None:
        self._keys = set[str]()
        self._first = dict[str, str]()

    def add(self, track: Track) -> bool:
        """Note a track; return False when it came by before."""
        if track.key in self._keys:
            return False
        self._keys.add(track.key)
        self._first.setdefault(track.suno_id, track.key)
        return True

    def shares_its_suno_id(self, track: Track) -> bool:
        """Whether another track took the plain file name of this one's `suno_id`."""
        return self._first.get(track.suno_id) != track.key


def _state_unsubmitted(error: SunoVideoError) -> str:
    """Return the state of a row whose submission ended in `error`."""
    if isinstance(error, SubmissionUnknown):
        return "unknown"
    again = (
        RateLimitError,
        MaintenanceError,
        ServerError,
        TransportError,
        ClientClosedError,
        AuthenticationError,
        FeatureDisabledError,
        InsufficientCreditsError,
    )
    if isinstance(error, again):
        return "planned"
    return "refused" if isinstance(error, APIError) else "planned"
