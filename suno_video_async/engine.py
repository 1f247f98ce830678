"""What a client is while it is open: session, calls, poller and ledger, on one event loop, and what they do.

A module of its own, which is imported when a client opens: a program that only imports the package pays
for what a client is described by.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
import warnings
from collections.abc import Callable
from functools import partial
from os import PathLike
from typing import Any

import aiohttp
import anyio
from attrs import define, field, frozen

from suno_video_async._util.aio import in_one_thread, run_to_completion
from suno_video_async._util.background import Background
from suno_video_async._util.proxies import Proxies
from suno_video_async.api.calls import Calls, CallStatistics
from suno_video_async.api.submission import Desk, Submission
from suno_video_async.api.transport import AiohttpTransport, Transport, make_session
from suno_video_async.clock import Clock
from suno_video_async.config import Settings, read_roots
from suno_video_async.download.downloader import Downloads
from suno_video_async.download.fetch import make_media_session
from suno_video_async.download.partial import Saved
from suno_video_async.download.places import Folder
from suno_video_async.errors import (
    APIError,
    ClientClosedError,
    LedgerError,
    MalformedResponseError,
    SunoVideoError,
)
from suno_video_async.hooks import SubmitEvent
from suno_video_async.ledger.address import LedgerPlace
from suno_video_async.ledger.aio import LIMITS, AsyncLedger
from suno_video_async.ledger.journal import SubmissionJournal
from suno_video_async.ledger.opened import OpenLedgers
from suno_video_async.models import (
    Estimate,
    LimitsFound,
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
)
from suno_video_async.observability.log import fields, logger
from suno_video_async.observability.reporter import Reporter
from suno_video_async.polling.durations import RECALLED, DurationModel
from suno_video_async.polling.forecast import Forecast, forecast
from suno_video_async.polling.poller import Poller
from suno_video_async.polling.schedule import PollSchedule
from suno_video_async.protocol import codec
from suno_video_async.protocol.verdicts import is_absent
from suno_video_async.ratelimit.limiter import Lane, RateLimiter
from suno_video_async.task import TaskFeed, VideoTask


@frozen(kw_only=True, eq=False)
class ClientOptions:
    """What a client was made with; `SunoVideoClient` explains its arguments."""

    settings: Settings
    clock: Clock
    limiter: RateLimiter
    reporter: Reporter
    max_in_flight: int
    auto_in_flight: bool = False
    timeout: Timeout
    retry: RetryPolicy
    ledger: LedgerPlace | None
    session: aiohttp.ClientSession | None
    transport: Transport | None
    proxies: Proxies = field(factory=Proxies)
    ca_file: str | PathLike[str] | None = None


@define(eq=False, repr=False)
class Engine:
    """An open client.

    What is above it, such as a conversion, is given this; it knows nothing of what is above it.

    Attributes:
        options: what the client was made with.
        statistics: what the calls came to.
        calls: sends them.
        poller: follows the tasks.
        ledger: the client's own ledger, where there is one.
        ledgers: all that are open, the client's own and those of its conversions.
        closed: whether it has been closed.
        broken: why it cannot go on, if its background work broke off.

    """

    options: ClientOptions

    statistics: CallStatistics = field(factory=CallStatistics, init=False)
    calls: Calls = field(init=False)
    poller: Poller = field(init=False)
    ledger: AsyncLedger | None = field(default=None, init=False)
    ledgers: OpenLedgers = field(init=False)
    closed: bool = field(default=False, init=False)
    broken: SunoVideoError | None = field(default=None, init=False)
    _loop: asyncio.AbstractEventLoop = field(init=False)
    _session: aiohttp.ClientSession = field(init=False)
    _downloads: Downloads = field(init=False)
    _durations: DurationModel = field(factory=DurationModel, init=False)
    _slots: anyio.Semaphore = field(init=False)
    _desk: Desk = field(init=False)
    _background: Background = field(factory=lambda: Background(_log_defect), init=False)
    _submissions: dict[Submission, None] = field(factory=dict[Submission, None], init=False)  # in their order

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"{len(self._submissions)} submissions"
        return f"<Engine {self.options.settings.base_url} {state}>"

    # Opening and closing

    async def open(self) -> None:
        """Open the ledger, begin the background work and make what carries the calls."""
        self._loop = running_loop()
        options = self.options
        if not options.settings.is_given:
            for problem in await in_one_thread()(options.settings.key_file_problems):
                warnings.warn(str(problem), UserWarning, stacklevel=3)
        roots = None
        if options.ca_file is not None:
            roots = await in_one_thread()(partial(read_roots, options.ca_file))
        await options.limiter.open()
        self.ledgers = OpenLedgers(self.open_ledger, self._end_all)
        self._make_parts(roots)
        try:
            if options.ledger is not None:
                self.ledger = await self.ledgers.acquire(options.ledger)
            await self._background.open("suno-video-client", self._break_off)
        except BaseException:
            await run_to_completion(self._close_parts())
            raise
        self._background.start_essential(self.poller.run)
        if self.ledger is not None:
            self._background.start_soon(self._note_places, self.ledger)

    def _make_parts(self, roots: ssl.SSLContext | None) -> None:
        options, settings = self.options, self.options.settings
        session = self._session = options.session or make_session(roots)
        transport = options.transport or AiohttpTransport(
            settings.base_url,
            settings.api_key,
            timeout=options.timeout,
            session=session,
            proxy=options.proxies.of(settings.base_url),
            may_send=self.ledgers.are_held,
        )
        self.calls = Calls(
            transport=transport,
            limiter=options.limiter,
            clock=options.clock,
            policy=options.retry,
            reporter=options.reporter,
            base_url=settings.base_url,
            rng=random.Random(),
            confirm=self.ledgers.confirm,
            statistics=self.statistics,
        )
        slots = self._slots = anyio.Semaphore(options.max_in_flight, fast_acquire=True)
        schedule = PollSchedule(self.rate, self._durations, read_rate=options.limiter.read_rate)
        self.poller = Poller(
            self.calls,
            schedule,
            blocked=lambda: slots.statistics().tasks_waiting,
            finds_cap=options.auto_in_flight,
        )
        self.calls.in_flight = self.poller.__len__
        self.calls.on_closed = self.poller.fail_submissions
        self._desk = Desk(
            calls=self.calls,
            slots=slots,
            submit_place=self.poller.submit_place,
            accepted=self._accepted,
            bought=self.emit_submit,
            unfinished=self._submissions,
        )
        make_media = partial(make_media_session, local=settings.is_local, roots=roots, proxies=options.proxies)
        self._downloads = Downloads(
            session=options.session,
            make_session=make_media,
            proxies=options.proxies,
            timeout=options.timeout,
            local=settings.is_local,
            clock=options.clock,
            longest=options.retry.max_retry_after,
            status=self.status,
            reporter=options.reporter,
        )

    def _break_off(self, error: Exception) -> None:
        """Give all that wait for the background work the reason why it has ended."""
        broken = ClientClosedError(f"the client's background work broke off ({error!r}): open a new client")
        broken.__cause__ = error
        self._end_all(broken)

    def _end_all(self, reason: SunoVideoError) -> None:
        """End all use of the API, but for what is in flight; also where a ledger is lost, and with it the key."""
        self.broken = reason
        self.poller.fail_submissions(reason)
        self.poller.stop(reason)
        for submission in list(self._submissions):
            submission.break_off(reason)

    async def aclose(self) -> None:
        """Wait for the submissions in flight, and close everything; a cancellation does not interrupt it."""
        self.on_own_loop()
        self.closed = True
        await run_to_completion(self._close())

    async def _close(self) -> None:
        for submission in list(self._submissions):
            submission.abandon()
        await self.calls.aclose()
        for submission in list(self._submissions):
            submission.leave()
            await asyncio.wait([submission.running])
        await self._background.aclose()
        self.poller.stop(ClientClosedError("the client was closed while the task was followed"))
        if self.ledger is not None:
            with contextlib.suppress(LedgerError):
                await self.ledger.call(self.ledger.sync.note_place, self.clock.time())
        await self._close_parts()

    async def _close_parts(self) -> None:
        if self.ledger is not None:
            await self.ledgers.release(self.ledger)
        await self._downloads.aclose()
        if self._session is not self.options.session:
            await self._session.close()

    async def _note_places(self, ledger: AsyncLedger) -> None:
        if (period := self.longest_period) is not None:
            try:
                await ledger.keep_places(self.clock, period, self.settled_limits)
            except LedgerError:
                logger.exception("the ledger cannot keep the time of the requests", extra=fields("ledger_failed"))

    def checked(self) -> Engine:
        """Return itself, to be used now and here.

        Raises:
            ClientClosedError: it is closed.
            RuntimeError: this is another event loop than it was opened on.

        """
        if self.closed:
            raise ClientClosedError("the client is closed")
        self.on_own_loop()
        if self.broken is not None:
            raise self.broken.with_traceback(None)
        return self

    def on_own_loop(self) -> None:
        """Return if this is the event loop that it was opened on.

        Raises:
            RuntimeError: it is another one.

        """
        if running_loop() is not self._loop:
            raise RuntimeError(
                "a SunoVideoClient belongs to the event loop it was opened on: open one on this loop"
            )

    # What it was made with

    @property
    def clock(self) -> Clock:
        """The client's time."""
        return self.options.clock

    @property
    def reporter(self) -> Reporter:
        """What notifies the hooks."""
        return self.options.reporter

    @property
    def account(self) -> tuple[str, str]:
        """The provider and a fingerprint of the key: whose ledger a ledger is. The key cannot be told from it."""
        return self.options.settings.account

    @property
    def strict(self) -> bool:
        """Whether a 500 on CreateTask counts as unknown."""
        return self.options.retry.strict

    @property
    def rate(self) -> RateLimit | None:
        """The window of the key, or of the submissions where reads have their own."""
        return self.options.limiter.rate

    @property
    def longest_period(self) -> float | None:
        """The period of the longest window of the key; None if nothing is bounded."""
        limiter = self.options.limiter
        return max((rate.per for rate in (limiter.rate, limiter.read_rate) if rate is not None), default=None)

    def settled_limits(self) -> LimitsFound | None:
        """Return the limits that were found; None while a higher one is being tried, or if they are given."""
        found = self.options.limiter.found
        return None if found is None or found.climbing else found

    async def open_ledger(self, ledger: AsyncLedger, must_exist: bool = False) -> None:
        """Open a ledger as this account's, and take from it what bears on the pace.

        The window begins full where another process has just used it, and later where that may still be sending,
        since it has lost the ledger and may not know; how long tasks take is recalled. That this
        process uses it is noted before its first request, for the one after it.

        Raises:
            LedgerError: it cannot be used, or belongs to another account.

        """
        provider, fingerprint = self.checked().account
        try:
            await ledger.open(provider=provider, fingerprint=fingerprint, ask=self.status, must_exist=must_exist)
            last = await ledger.call(ledger.sync.last_place)
            durations = await ledger.call(ledger.sync.durations, RECALLED)
            limits = await ledger.call(ledger.sync.fact, LIMITS)
            if self.longest_period is not None:
                await ledger.call(ledger.sync.note_place, self.clock.time())
        except BaseException:
            await ledger.close()
            raise
        self.options.limiter.recall(LimitsFound.load(limits, self.clock.time()))
        period, beyond = self.longest_period, ledger.sends_beyond()
        if last is not None and period is not None and self.clock.time() - last < 1.5 * period + beyond:
            self.options.limiter.assume_used()
            if beyond:
                self.options.limiter.pause(Lane.ALL, beyond + period)
        self._durations.recall(durations)

    # Buying

    def begin(
        self,
        request: VideoRequest,
        *,
        refused: Callable[[APIError], None] = lambda _: None,
        journal: SubmissionJournal | None = None,
        bulk: bool = False,
    ) -> Submission:
        """Begin a submission, and return it to be waited for.

        Those with `bulk` let interactive ones go first, and their tasks are polled when a poll is likely to pay.
        """
        self.checked()
        return Submission(self._desk, request, refused=refused, journal=journal, bulk=bulk)

    def _accepted(self, submission: Submission, task_id: VideoTaskId) -> VideoTask:
        """Follow the task that a submission has become."""
        if self.poller.find(task_id) is not None:
            task = self.poller.take_over(
                task_id, submission.request.track, sends=submission.sends, on_end=self._slots.release
            )
            if task is None:
                raise MalformedResponseError(
                    f"CreateTask: task {task_id} is another submission's already", http_status=200
                )
            return task
        feed = TaskFeed(self.clock)
        feed.requests = submission.sends
        # A new task is pending, by the contract: its first update needs no question.
        feed.publish(TaskUpdate(snapshot=TaskSnapshot(task_id=task_id, status="pending"), elapsed=0.0))
        task = VideoTask(task_id, feed, submission.request.track)
        self.poller.follow(task, feed, own=True, new=True, bulk=submission.bulk, on_end=self._slots.release)
        return task

    def emit_submit(self, request: VideoRequest, task_id: VideoTaskId) -> None:
        """Notify the hooks that a video was bought."""
        if self.reporter.hooks:
            event = SubmitEvent(request=request, task_id=task_id)
            self.reporter.emit(lambda hook: hook.on_submit(event))

    # Following

    def follow(
        self, task_id: VideoTaskId, track: Track | None, *, own: bool = True, bulk: bool = False
    ) -> VideoTask:
        """Follow a task, or return the handle of one that is followed.

        "Not found" is waited out as after a submission, where it is `own`: this account's by its own ledger.
        """
        self.checked()
        if (task := self.poller.find(task_id)) is not None:
            return task
        feed = TaskFeed(self.clock)
        task = VideoTask(task_id, feed, track)
        self.poller.follow(task, feed, own=own, bulk=bulk)
        return task

    def forget(self, task: VideoTask, error: SunoVideoError) -> None:
        """Stop following a task; its consumers get `error`. It goes on at the provider."""
        self.checked().poller.forget(task, error)

    def hint(self, task_id: VideoTaskId) -> None:
        """Poll a followed task soon: an untrusted source says that it has ended."""
        if not self.closed:
            self.poller.hint(task_id)

    def believe(self, snapshot: TaskSnapshot) -> bool:
        """Take an end as a callback reports it; False if it cannot be trusted and has to be polled."""
        return not self.closed and self.poller.believe(snapshot)

    def usual_duration(self, share: float) -> float:
        """Return the seconds within which this share of the tasks ends, as far as it is known."""
        return self.poller.schedule.durations.quantile(share)

    def forecast(self, waiting: int) -> Forecast:
        """Say how long it takes until `waiting` more tracks, and all that are followed, have ended."""
        schedule = self.poller.schedule
        return forecast(
            schedule.durations,
            waiting=waiting,
            ages=schedule.ages(self.clock.now()),
            rate=self.rate,
            read_rate=self.options.limiter.read_rate,
            max_in_flight=self.options.max_in_flight,
        )

    # Asking and fetching

    async def status(self, task_id: VideoTaskId) -> TaskSnapshot:
        """Ask once about a task."""
        return await self.checked().calls.read(codec.task_info(task_id), codec.read_snapshot)

    async def look(self, task_id: VideoTaskId) -> TaskSnapshot:
        """Ask once about a followed task ahead of the schedule, which takes the answer as one of its own."""
        snapshot = await self.status(task_id)
        self.poller.observe(snapshot)
        return snapshot

    async def tracks(self, task_id: MusicTaskId) -> tuple[SunoTrack, ...]:
        """Ask what the tracks of a music task are."""
        return await self.checked().calls.read(codec.task_info(task_id), codec.read_suno_tracks)

    async def estimate(self, track: Track) -> Estimate:
        """Ask what a video would cost, by the call that the server has."""
        request, calls = VideoRequest(track=track), self.checked().calls
        try:
            return await calls.read(codec.estimate_task(request), codec.read_estimate)
        except (APIError, MalformedResponseError) as error:
            if not is_absent(error):
                raise
            absent = error
        try:
            price = await calls.read(codec.estimate_credits(request), codec.read_estimated_credits)
        except (APIError, MalformedResponseError) as error:
            raise (absent if is_absent(error) else error) from None
        credits_ = await self.balance()
        return Estimate(estimated_credits=price, balance=credits_, affordable=price <= credits_)

    async def balance(self) -> float:
        """Ask for the account's credits."""
        return await self.checked().calls.read(codec.balance(), codec.read_balance)

    async def fetch(
        self, video: Video, output_dir: Folder, *, name: str | None = None, sha256: bool = False
    ) -> Saved:
        """Fetch one video."""
        downloads = self.checked()._downloads
        with self.reporter.stage("download", task_id=video.task_id):
            return await downloads.fetch(video, output_dir, name=name, sha256=sha256)

    async def is_free(self, place: Folder, task_id: VideoTaskId | None) -> bool:
        """Whether a task's video can be put into a place: nothing else is there, or is being downloaded to it."""
        return await self.checked()._downloads.is_free(place, task_id)

    def start_soon(self, run: Callable[[], Any]) -> None:
        """Run a coroutine function in the client's own task group."""
        self.checked()._background.start_soon(run)


def _log_defect(message: str) -> None:
    logger.exception(message, extra=fields("defect"))


def running_loop() -> asyncio.AbstractEventLoop:
    """Return the event loop that runs here.

    Raises:
        RuntimeError: none does, or none of asyncio's.

    """
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            "a SunoVideoClient needs a running asyncio loop: use it inside asyncio.run(main()); under anyio choose"
            " backend='asyncio', for it does not run on trio"
        ) from None
