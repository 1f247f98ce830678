"""`SunoVideoClient`: everything a user does begins here."""

from __future__ import annotations

import asyncio
import contextlib
import random
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import aiohttp
import anyio
import anyio.to_thread
from anyio.abc import TaskGroup
from attrs import evolve, field, frozen

from suno_video_async.errors import (
    APIError,
    ClientClosedError,
    LedgerError,
    MalformedResponseError,
    SunoVideoError,
)
from suno_video_async.filenames import DEFAULT_TEMPLATE, NameTemplate
from suno_video_async.finishing import to_the_end
from suno_video_async.hooks import Hooks, SubmitEvent, checked_hooks
from suno_video_async.logs import fields, logger
from suno_video_async.models import (
    UNKNOWN_GRACE,
    Estimate,
    MusicTaskId,
    RateLimit,
    RetryPolicy,
    SunoTrack,
    TaskSnapshot,
    TaskUpdate,
    Timeout,
    Track,
    Video,
    VideoRequest,
    VideoTaskId,
    video_task_id,
)
from suno_video_async.pacing.clock import Clock, SystemClock
from suno_video_async.pacing.limiter import DEFAULT_RATE, Limiter, LimiterStatistics, RateLimiter
from suno_video_async.settings import Settings
from suno_video_async.task import VideoTask
from suno_video_async.telemetry import Reporter

if TYPE_CHECKING:  # imported where they are used: half of what an import would cost
    from suno_video_async.batch import Conversion, Options
    from suno_video_async.bookkeeper import Bookkeeper
    from suno_video_async.books import Books
    from suno_video_async.callbacks import CallbackReceiver
    from suno_video_async.calls import Calls, Entry
    from suno_video_async.catalog import CatalogSource
    from suno_video_async.download import Downloads, Saved
    from suno_video_async.ledger.base import Ledger
    from suno_video_async.ledger.sqlite import SqliteLedger
    from suno_video_async.pacing.durations import Durations
    from suno_video_async.pacing.forecast import Forecast
    from suno_video_async.planning import Plan
    from suno_video_async.submission import Submission
    from suno_video_async.transport import Transport
    from suno_video_async.unknowns import Unknowns
    from suno_video_async.watcher import Watcher

#: Six hours: no video takes that long, and a run always ends.
DEFAULT_TASK_TIMEOUT = 6 * 3600.0


@frozen(kw_only=True)
class ClientStatistics:
    """A client's state at one moment.

    Attributes:
        requests: physical sends of API calls, refused ones included; downloads are no API calls.
        refused_429: how many of them were over the rate limit.
        resent_after_500: submissions that were sent again after the server's own 500.
        in_flight: tasks that are followed.
        limiter: the limiter's state; None while the client is not open.

    """

    requests: int
    refused_429: int
    resent_after_500: int
    in_flight: int
    limiter: LimiterStatistics | None


@frozen(kw_only=True)
class _Running:
    """What exists only while the client is open, bound to one event loop."""

    loop: asyncio.AbstractEventLoop
    session: aiohttp.ClientSession
    calls: Calls
    watcher: Watcher
    downloads: Downloads
    slots: anyio.Semaphore
    group: TaskGroup
    owner: asyncio.Task[None]
    closing: asyncio.Event
    keeper: Bookkeeper | None
    submissions: set[Submission] = field(factory=set["Submission"])


class SunoVideoClient:
    """An open connection to the music-video API, within its rate limit.

    Use it as `async with SunoVideoClient() as client:`, on one event loop. All arguments are keyword-only.

    Args:
        api_key: the account's key; None looks for `CRUN_API_KEY` in the environment, then in `~/.crun/.env`.
        base_url: the API's origin; None looks for `CRUN_BASE_URL` likewise. Plain http is for this machine only.
        timeout: of the network, in real seconds.
        rate: what the key may send; None for no bound.
        max_connections: the most requests in the air at once.
        max_in_flight: the most unfinished videos of this client's own; `submit` waits for room.
        retry: how failures are tried again.
        ledger: a file (or a `Ledger`) in which `submit` and `generate` keep what they buy: a track that is in it
            is not bought again. `convert` takes a ledger of its own.
        session: an `aiohttp.ClientSession` of your own; it is used as it is, and not closed.
        transport: what carries the API's calls instead of aiohttp, as in tests.
        limiter: what several clients of one key share, instead of `rate` and `max_connections`: a `Limiter` on
            this loop, or a `SharedRateLimit` over processes. It is not closed.
        clock: the time of the window, the backoff, the polls and the waits.
        hooks: told what the client does.

    Raises:
        ConfigurationError: no key, or a base URL that it cannot be sent to.
        TypeError: a hook is none, or has a coroutine function for a method.
        ValueError: a hook is passed twice, or `max_in_flight` is below 1.

    """

    def __init__(
        self,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        timeout: Timeout | None = None,
        rate: RateLimit | None = DEFAULT_RATE,
        max_connections: int = 20,
        max_in_flight: int = 100,
        retry: RetryPolicy | None = None,
        ledger: Ledger | str | PathLike[str] | None = None,
        session: aiohttp.ClientSession | None = None,
        transport: Transport | None = None,
        limiter: RateLimiter | None = None,
        clock: Clock | None = None,
        hooks: Sequence[Hooks] = (),
    ) -> None:
        from suno_video_async.calls import CallStatistics  # noqa: PLC0415

        if max_in_flight < 1:
            raise ValueError(f"max_in_flight must be at least 1, not {max_in_flight}")
        self._settings = Settings.find(api_key, base_url)
        self.clock: Clock = clock or SystemClock()
        self.max_in_flight = max_in_flight
        self._timeout = timeout or Timeout()
        self._limiter: RateLimiter = limiter or Limiter(rate, max_connections=max_connections, clock=self.clock)
        self._retry = retry or RetryPolicy()
        self._ledger = ledger
        self._session = session
        self._transport = transport
        self.reporter: Reporter = Reporter(checked_hooks(hooks), self.clock)
        self._statistics = CallStatistics()
        self._running: _Running | None = None
        self._durations: Durations | None = None
        self._closed = False

    def __repr__(self) -> str:
        running = self._running
        state = "closed" if self._closed else f"{len(running.watcher)} in flight" if running else "not open"
        return f"<SunoVideoClient {self._settings.base_url} {state}>"

    def __del__(self, _warn: Callable[..., Any] = warnings.warn) -> None:
        if getattr(self, "_running", None) is not None:
            _warn(f"{self!r} was never closed: use `async with`, or await aclose()", ResourceWarning, source=self)

    @property
    def base_url(self) -> str:
        """The API's origin that this client talks to."""
        return self._settings.base_url

    # Opening and closing

    async def __aenter__(self) -> SunoVideoClient:
        from suno_video_async.calls import Calls  # noqa: PLC0415
        from suno_video_async.download import Downloads  # noqa: PLC0415
        from suno_video_async.pacing.durations import Durations  # noqa: PLC0415
        from suno_video_async.pacing.schedule import PollSchedule  # noqa: PLC0415
        from suno_video_async.transport import make_session  # noqa: PLC0415
        from suno_video_async.watcher import Watcher  # noqa: PLC0415

        if self._running is not None or self._closed:
            raise ClientClosedError("a client is opened once: make another one")
        loop = _running_loop()
        durations = self._durations = Durations()
        if not self._settings.is_given:
            for problem in await anyio.to_thread.run_sync(self._settings.key_file_problems):
                warnings.warn(problem, UserWarning, stacklevel=2)
        await self._limiter.open()
        keeper = await self._open_ledger()
        # One task owns the task group from its opening to its end, so that `async with` may be left from another
        # task than it was entered from, as test fixtures and web frameworks do.
        opened: asyncio.Future[TaskGroup] = loop.create_future()
        closing = asyncio.Event()
        owner = loop.create_task(_own_task_group(opened, closing), name="suno-video-client")
        try:
            group = await opened
        except asyncio.CancelledError:
            closing.set()
            if keeper is not None:
                await keeper.books.close()
            raise
        session = self._session or make_session()
        calls = Calls(
            transport=self._transport or self._make_transport(session),
            limiter=self._limiter,
            clock=self.clock,
            policy=self._retry,
            reporter=self.reporter,
            base_url=self.base_url,
            rng=random.Random(),
            statistics=self._statistics,
        )
        slots = anyio.Semaphore(self.max_in_flight)
        watcher = Watcher(
            calls, PollSchedule(self.rate, durations), blocked=lambda: slots.statistics().tasks_waiting
        )
        calls.in_flight = lambda: len(watcher)
        self._running = _Running(
            loop=loop,
            session=session,
            calls=calls,
            watcher=watcher,
            downloads=Downloads(
                session=self._session,
                timeout=self._timeout,
                local=self._settings.is_local,
                clock=self.clock,
                longest=self._retry.max_retry_after,
                status=self.status,
                reporter=self.reporter,
            ),
            slots=slots,
            group=group,
            owner=owner,
            closing=closing,
            keeper=keeper,
        )
        group.start_soon(watcher.run)
        if keeper is not None:
            group.start_soon(self._note_places, keeper.books)
        return self

    async def open(self) -> SunoVideoClient:
        """Open the client and return it, where `async with` cannot be, as in a notebook's cells; `aclose` ends it.

        Raises:
            ClientClosedError: it was opened before.
            LedgerError: its ledger cannot be used.

        """
        return await self.__aenter__()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the client; submissions in the air are waited for, at most for the network's timeout.

        Tasks that are not over go on at the provider; `attach` follows them again. Closing twice is harmless.
        """
        running, self._running = self._running, None
        if running is None:
            return
        self._closed = True
        await to_the_end(self._close(running))

    async def _close(self, running: _Running) -> None:
        for submission in list(running.submissions):
            submission.abandon()
        await running.calls.aclose()
        running.closing.set()
        await asyncio.wait([running.owner])
        running.watcher.stop(ClientClosedError("the client was closed while the task was followed"))
        if running.keeper is not None:
            with contextlib.suppress(LedgerError):
                await running.keeper.books.note_place(self.clock.time())
            await running.keeper.books.close()
        await running.downloads.aclose()
        if running.session is not self._session:
            await running.session.close()

    async def _open_ledger(self) -> Bookkeeper | None:
        if self._ledger is None:
            return None
        from suno_video_async.bookkeeper import Bookkeeper  # noqa: PLC0415
        from suno_video_async.books import Books, as_ledger  # noqa: PLC0415

        books = Books(as_ledger(self._ledger))
        await self.open_books(books)
        return Bookkeeper(self, books)

    async def _note_places(self, books: Books) -> None:
        if self.rate is not None:
            try:
                await books.keep_places(self.clock, self.rate.per)
            except LedgerError:
                logger.exception("the ledger cannot keep the time of the requests", extra=fields("ledger_failed"))

    def _make_transport(self, session: aiohttp.ClientSession) -> Transport:
        from suno_video_async.transport import AiohttpTransport  # noqa: PLC0415

        settings = self._settings
        return AiohttpTransport(settings.base_url, settings.api_key, timeout=self._timeout, session=session)

    def _open(self) -> _Running:
        running = self._running
        if running is None:
            state = (
                "is closed" if self._closed else "is not open yet: use `async with SunoVideoClient() as client:`"
            )
            raise ClientClosedError(f"the client {state}")
        if _running_loop() is not running.loop:
            raise RuntimeError(
                "a SunoVideoClient belongs to the event loop it was opened on: open one on this loop"
            )
        return running

    # Single calls

    async def submit(self, track: Track, callback_url: str | None = None) -> VideoTask:
        """Buy a video: submit one track, when there is room in flight, and return its task.

        Once the request is being sent, a cancellation of the caller does not stop it, and its task is followed.

        Args:
            track: what to make a video of.
            callback_url: a URL of your own that the API calls when the task ends.

        Raises:
            SubmissionUnknown: it was sent, and whether it was accepted cannot be known: it is not sent again.
            APIError: it was refused; nothing was bought.
            TransportError: it could not be sent; nothing was bought.

        """
        request = VideoRequest(track=track, callback_url=callback_url)
        keeper = self._open().keeper
        return await (self.begin(request).wait() if keeper is None else keeper.submit(request))

    def attach(self, task_id: VideoTaskId | str, *, track: Track | None = None) -> VideoTask:
        """Follow a video task that was submitted elsewhere, or before.

        Args:
            task_id: the **video** task's id, as CreateTask answered it.
            track: what it was made from, if you know it.

        Raises:
            ValueError: this cannot be such an id.

        """
        running = self._open()
        known = video_task_id(task_id)
        if (task := running.watcher.find(known)) is not None:
            return task
        task = VideoTask(known, clock=self.clock, track=track)
        running.watcher.follow(task, own=False)
        return task

    async def status(self, task_id: VideoTaskId | str) -> TaskSnapshot:
        """Ask once how a video task stands.

        Raises:
            ValueError: this cannot be a task's id.
            NotFoundError: the account has no such task.
            APIError: the question was refused.
            TransportError: no readable answer came.

        """
        from suno_video_async.protocol import wire  # noqa: PLC0415

        return await self._open().calls.read(wire.task_info(video_task_id(task_id)), wire.read_snapshot)

    async def tracks(self, task_id: MusicTaskId | str) -> tuple[SunoTrack, ...]:
        """Return the tracks of a finished **music** task; none while it is not finished.

        Raises:
            ValueError: this cannot be a task's id.
            NotFoundError: the account has no such task.
            APIError: the question was refused.
            TransportError: no readable answer came.

        """
        from suno_video_async.protocol import wire  # noqa: PLC0415

        request = wire.task_info(MusicTaskId(video_task_id(task_id)))
        return await self._open().calls.read(request, wire.read_suno_tracks)

    async def estimate(self, track: Track) -> Estimate:
        """Ask what a video of this track would cost; nothing is bought.

        Raises:
            APIError: the question was refused.
            TransportError: no readable answer came.

        """
        from suno_video_async.protocol import wire  # noqa: PLC0415

        request = wire.estimate_task(VideoRequest(track=track))
        return await self._open().calls.read(request, wire.read_estimate)

    async def balance(self) -> float:
        """Return the account's credits.

        Raises:
            APIError: the question was refused.
            TransportError: no readable answer came.

        """
        from suno_video_async.protocol import wire  # noqa: PLC0415

        return await self._open().calls.read(wire.balance(), wire.read_balance)

    # Whole ways

    async def generate(
        self,
        track: Track,
        *,
        output_dir: str | PathLike[str] | None = None,
        timeout: float | None = DEFAULT_TASK_TIMEOUT,
    ) -> Video:
        """Submit, follow and, with `output_dir`, download: the video's `path` then is the file.

        Args:
            track: what to make a video of.
            output_dir: the folder for `{suno_id}.mp4`; None downloads nothing.
            timeout: seconds to wait for the video after the submission.

        Raises:
            TaskFailed: the task ended without a video.
            WaitTimeout: the wait ended first; the task goes on.
            DownloadError: the video is made and paid for, but could not be fetched.
            SunoVideoError: as `submit` raises.

        """
        with self.reporter.stage("track", via="generate", track=track) as stage:
            task = await self.submit(track)
            stage.task_id = task.id
            video = await task.result(timeout)
            stage.state = "succeeded"
            keeper = self._open().keeper
            if keeper is not None:
                await keeper.settled(task)
            if output_dir is None:
                return video
            path = await self.download(video, output_dir)
            stage.state = "downloaded"
            if keeper is not None:
                await keeper.downloaded(task, path)
            return evolve(video, path=path)

    async def download(self, video: Video, output_dir: str | PathLike[str], *, name: str | None = None) -> Path:
        """Fetch a finished video into a folder and return the file's path.

        The file appears under its name only when it is whole; the API key is not sent along.

        Args:
            video: what `task.result()` returned.
            output_dir: the folder; made when it does not exist.
            name: the file's name, without a folder; None is `{suno_id}.mp4`.

        Raises:
            DownloadError: it could not be fetched or written, or is no whole MP4 file.

        """
        return (await self.fetch(video, output_dir, name=name)).path

    async def fetch(
        self, video: Video, output_dir: str | PathLike[str], *, name: str | None = None, sha256: bool = False
    ) -> Saved:
        """As `download`, and say more of the file.

        A URL that has run out is asked for again once. What breaks off is tried again, from where it broke off
        where the media server has it so.

        Args:
            video: what `task.result()` returned.
            output_dir: the folder; made when it does not exist.
            name: the file's name, without a folder; None is `{suno_id}.mp4`.
            sha256: also compute the file's digest.

        Raises:
            DownloadError: it could not be fetched or written, or is no whole MP4 file.
            TaskFailed: the URL has run out, and the task names no fresh one.
            APIError: the URL has run out, and the service does not answer for a fresh one.
            TransportError: likewise.

        """
        downloads = self._open().downloads
        with self.reporter.stage("download", task_id=video.task_id):
            return await downloads.fetch(video, Path(output_dir), name=name, sha256=sha256)

    def convert(
        self,
        source: CatalogSource,
        *,
        ledger: Ledger | str | PathLike[str] | None = None,
        output_dir: str | PathLike[str] | None = None,
        task_timeout: float = DEFAULT_TASK_TIMEOUT,
        retry_failed: int = 0,
        rebuy_changed: bool = False,
        max_credits: float | None = None,
        callbacks: CallbackReceiver | None = None,
        file_name: str = DEFAULT_TEMPLATE,
        sha256: bool = False,
    ) -> Conversion:
        """Turn a catalog into videos.

        Use it as `async with client.convert("catalog.csv", output_dir="videos/") as outcomes:`, then
        `async for outcome in outcomes:`; they come as each row ends.

        Args:
            source: the path of a CSV, JSON Lines or JSON file, or tracks from an iterable or an async iterable.
            ledger: the file that remembers what was bought, so that running again buys only what is missing; None
                keeps that in memory.
            output_dir: the folder for the videos; None downloads nothing.
            task_timeout: seconds after which an unfinished task is left as `submitted`.
            retry_failed: how many failed tasks of a track are followed by another, paid one.
            rebuy_changed: buy a song again that is bought under another author or brand.
            max_credits: the most to spend over the ledger's whole life; what is not settled counts with its
                estimate.
            callbacks: a receiver of this client's: each attempt gets a URL of its own at it, a finished video is
                noticed when it is called, and a submission whose answer was lost is found again by its callback.
            file_name: how the videos are named, without `.mp4`: a template of `{suno_id}`, `{video_task_id}` (one
                of the two must be in it), `{task_id}`, `{author}`, `{brand}`, `{title}` (which costs one request
                for each music task) and `{extra[column]}` of the catalog's own columns.
            sha256: compute the digest of each file that is downloaded, for outcomes and ledger.

        Raises:
            ValueError: an argument makes no sense.

        """
        self._open()
        from suno_video_async.batch import Options  # noqa: PLC0415

        options = Options(
            output_dir=None if output_dir is None else Path(output_dir),
            task_timeout=task_timeout,
            retry_failed=retry_failed,
            rebuy_changed=rebuy_changed,
            max_credits=max_credits,
            file_name=NameTemplate(file_name),
            sha256=sha256,
        )
        return self._conversion(source, ledger, options, callbacks)

    def resume(
        self,
        ledger: Ledger | str | PathLike[str],
        *,
        output_dir: str | PathLike[str] | None = None,
        task_timeout: float = DEFAULT_TASK_TIMEOUT,
        callbacks: CallbackReceiver | None = None,
        unknown_grace: float = UNKNOWN_GRACE,
        file_name: str = DEFAULT_TEMPLATE,
        sha256: bool = False,
    ) -> Conversion:
        """Go on with what a ledger's runs have bought, and buy nothing: no catalog is needed.

        Submitted rows are followed, videos that are not on disk are downloaded, and unknown rows wait for their
        callbacks. It is used as `convert` is.

        Args:
            ledger: the ledger, or its file; nobody else may be writing it.
            output_dir: the folder for the videos; None downloads nothing.
            task_timeout: seconds after which an unfinished task is left as `submitted`.
            callbacks: a receiver of this client's.
            unknown_grace: seconds that an unknown row waits for its callback, where there is a receiver.
            file_name: as for `convert`.
            sha256: as for `convert`.

        Raises:
            ValueError: an argument makes no sense.

        """
        self._open()
        from suno_video_async.batch import Options  # noqa: PLC0415

        options = Options(
            output_dir=None if output_dir is None else Path(output_dir),
            task_timeout=task_timeout,
            retry_failed=0,
            rebuy_changed=False,
            max_credits=None,
            file_name=NameTemplate(file_name),
            sha256=sha256,
            unknown_grace=unknown_grace,
        )
        return self._conversion((), ledger, options, callbacks)

    def _conversion(
        self,
        source: CatalogSource,
        ledger: Ledger | str | PathLike[str] | None,
        options: Options,
        callbacks: CallbackReceiver | None,
    ) -> Conversion:
        from suno_video_async.batch import Conversion  # noqa: PLC0415
        from suno_video_async.books import Books, as_ledger  # noqa: PLC0415

        return Conversion(self, source, Books(as_ledger(ledger)), options, callbacks)

    async def plan(
        self,
        source: CatalogSource,
        *,
        ledger: SqliteLedger | str | PathLike[str] | None = None,
        retry_failed: int = 0,
        rebuy_changed: bool = False,
    ) -> Plan:
        """Say what converting a catalog would come to; nothing is bought and nothing is written.

        The price is asked once for each distinct shape of input, not once a row.

        Args:
            source: the catalog, as for `convert`.
            ledger: the ledger's file, which may be in use by a running conversion, or not exist yet.
            retry_failed: as for `convert`: failed tracks that would be bought again count with their price.
            rebuy_changed: as for `convert`, likewise.

        Raises:
            CatalogError: the catalog as a whole cannot be read.
            LedgerError: the file is no ledger, or cannot be read.
            APIError: a question was refused.
            TransportError: no readable answer came.

        """
        self._open()
        from suno_video_async.planning import plan  # noqa: PLC0415

        return await plan(self, source, ledger, retry_failed=retry_failed, rebuy_changed=rebuy_changed)

    def unknowns(self, ledger: Ledger | str | PathLike[str]) -> Unknowns:
        """Open a ledger to settle its unknown rows: `async with client.unknowns("l.db") as unknowns:`.

        Args:
            ledger: the ledger, or its file; nobody else may be writing it.

        """
        self._open()
        from suno_video_async.unknowns import Unknowns  # noqa: PLC0415

        return Unknowns(self, ledger)

    # State

    def statistics(self) -> ClientStatistics:
        """Return the state of this moment."""
        return ClientStatistics(
            requests=self._statistics.requests,
            refused_429=self._statistics.refused_429,
            resent_after_500=self._statistics.resent_after_500,
            in_flight=len(self._running.watcher) if self._running else 0,
            limiter=self._limiter.statistics() if self._running else None,
        )

    def forecast(self, waiting: int = 0) -> Forecast:
        """Say how long it takes until `waiting` more tracks, and all that are followed, are over: an estimate.

        It is made of the durations that were seen so far, the rate and `max_in_flight`.

        Args:
            waiting: tracks that are still to be submitted.

        """
        from suno_video_async.pacing.forecast import forecast  # noqa: PLC0415

        schedule = self._open().watcher.schedule
        return forecast(
            schedule.durations,
            waiting=waiting,
            ages=schedule.ages(self.clock.now()),
            rate=self.rate,
            max_in_flight=self.max_in_flight,
        )

    def usual_duration(self, share: float) -> float:
        """Return the seconds within which this share of the tasks ends, as far as it is known."""
        return self._open().watcher.schedule.durations.quantile(share)

    # For a conversion

    def begin(
        self,
        request: VideoRequest,
        *,
        refused: Callable[[APIError], None] = lambda _: None,
        entry: Entry | None = None,
        patient: bool = False,
    ) -> Submission:
        """Begin a submission in the client's own task group, and return it to be waited for.

        Those that are `patient` let direct ones go first, and their tasks are asked about when it should pay.
        """
        from suno_video_async.submission import Submission  # noqa: PLC0415

        running = self._open()

        def accepted(task_id: VideoTaskId, sends: int) -> VideoTask:
            if running.watcher.find(task_id) is not None:
                raise MalformedResponseError(
                    f"CreateTask: task {task_id} is another submission's already", http_status=200
                )
            task = VideoTask(task_id, clock=self.clock, track=request.track)
            task.requests = sends
            # A new task is pending, by the contract: its first update needs no question.
            task.publish(TaskUpdate(snapshot=TaskSnapshot(task_id=task_id, status="pending"), elapsed=0.0))
            running.watcher.follow(task, own=True, new=True, patient=patient, on_end=running.slots.release)
            event = SubmitEvent(request=request, task_id=task_id)
            self.reporter.tell(lambda hook: hook.on_submit(event))
            return task

        submission = Submission(
            running.calls,
            request,
            slots=running.slots,
            turn=partial(running.watcher.turn, patient=patient),
            accepted=accepted,
            refused=refused,
            entry=entry,
        )
        running.submissions.add(submission)
        submission.outcome.add_done_callback(lambda _: running.submissions.discard(submission))
        running.group.start_soon(submission.run)
        return submission

    def forget(self, task: VideoTask, error: SunoVideoError) -> None:
        """Stop following a task; its consumers get `error`. It goes on at the provider."""
        self._open().watcher.forget(task, error)

    @property
    def account(self) -> tuple[str, str]:
        """The provider and a fingerprint of the key: whose ledger a ledger is. The key cannot be told from it."""
        return self._settings.account

    @property
    def strict(self) -> bool:
        """Whether a 500 on CreateTask counts as unknown."""
        return self._retry.strict

    @property
    def rate(self) -> RateLimit | None:
        """The window of the key."""
        return self._limiter.rate

    async def open_books(self, books: Books) -> None:
        """Open a ledger as this account's, and take from it what bears on the pace.

        The window begins full where another process has just used it; how long tasks take is recalled.

        Raises:
            LedgerError: it cannot be used, or belongs to another account.

        """
        from suno_video_async.pacing.durations import RECALLED  # noqa: PLC0415

        provider, fingerprint = self.account
        try:
            await books.open(provider=provider, fingerprint=fingerprint)
            last = await books.last_place()
            durations = await books.durations(RECALLED)
        except BaseException:
            await books.close()
            raise
        if last is not None and self.rate is not None and self.clock.time() - last < 1.5 * self.rate.per:
            self._limiter.assume_used()
        if self._durations is not None:
            self._durations.recall(durations)

    def follow(self, task_id: VideoTaskId, track: Track, *, patient: bool = False) -> VideoTask:
        """Follow a task of this account's own ledger: "not found" is waited out as after a submission."""
        running = self._open()
        if (task := running.watcher.find(task_id)) is not None:
            return task
        task = VideoTask(task_id, clock=self.clock, track=track)
        running.watcher.follow(task, own=True, patient=patient)
        return task

    def hint(self, task_id: VideoTaskId) -> None:
        """Ask about a followed task soon, at most once in 30 seconds: somebody says that it is over."""
        if self._running is not None:
            self._running.watcher.hint(task_id)

    def believe(self, snapshot: TaskSnapshot) -> bool:
        """Take an end as a callback tells it; False where that cannot be trusted and has to be asked about."""
        return self._running is not None and self._running.watcher.believe(snapshot)

    def start_soon(self, run: Callable[[], Any]) -> None:
        """Run a coroutine function in the client's own task group."""
        self._open().group.start_soon(run)


def _running_loop() -> asyncio.AbstractEventLoop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            "a SunoVideoClient needs a running asyncio loop: use it inside asyncio.run(main()); under anyio choose"
            " backend='asyncio', for it does not run on trio"
        ) from None


async def _own_task_group(opened: asyncio.Future[TaskGroup], closing: asyncio.Event) -> None:
    try:
        async with anyio.create_task_group() as group:
            if not opened.done():
                opened.set_result(group)
            await closing.wait()
            group.cancel_scope.cancel()
    except Exception:
        logger.exception("the client's background work broke off: this is a defect", extra=fields("defect"))
        raise
