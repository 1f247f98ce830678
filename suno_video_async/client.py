"""`SunoVideoClient`: everything a user does begins here."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, cast

import aiohttp
from attrs import frozen

from suno_video_async._util.proxies import Proxies
from suno_video_async.batch.options import Options
from suno_video_async.clock import Clock, SystemClock
from suno_video_async.config import Settings, find_proxies
from suno_video_async.download.filenames import DEFAULT_TEMPLATE
from suno_video_async.errors import CatalogError, ClientClosedError, ConfigurationError
from suno_video_async.ledger.address import as_ledger, sealed
from suno_video_async.ledger.decision import Buying
from suno_video_async.models import (
    DEFAULT_RATE,
    DEFAULT_TASK_TIMEOUT,
    UNKNOWN_GRACE,
    Estimate,
    LimitsFound,
    MusicTaskId,
    RateLimit,
    RetryPolicy,
    SunoTrack,
    TaskSnapshot,
    Timeout,
    Track,
    Video,
    VideoRequest,
    VideoTaskId,
    music_task_id,
    video_task_id,
)
from suno_video_async.task import VideoTask

if TYPE_CHECKING:  # imported when a client opens: half of what an import would cost
    from suno_video_async.api.transport import Transport
    from suno_video_async.batch.catalog import CatalogSource
    from suno_video_async.batch.conversion import Conversion
    from suno_video_async.batch.loading import Loaded
    from suno_video_async.batch.plan import Plan
    from suno_video_async.batch.reconcile import Unknowns
    from suno_video_async.batch.single import SingleSubmissions
    from suno_video_async.callbacks import CallbackReceiver
    from suno_video_async.download.partial import Saved
    from suno_video_async.engine import Engine
    from suno_video_async.hooks import Hooks
    from suno_video_async.ledger.address import LedgerPlace
    from suno_video_async.ledger.model import NoLedger
    from suno_video_async.polling.forecast import Forecast
    from suno_video_async.ratelimit.limiter import GivenRate, LimiterStatistics, RateLimiter

#: The most unfinished videos if their number is found: more would only take memory.
AUTO_IN_FLIGHT = 2000


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


class SunoVideoClient:
    """An open connection to the music-video API, within its rate limit.

    Use it as `async with SunoVideoClient() as client:`, on one event loop. All arguments are keyword-only.

    Args:
        api_key: the account's key; None looks for `CRUN_API_KEY` in the environment, then in `~/.crun/.env`.
        base_url: the API's origin; None looks for `CRUN_BASE_URL` likewise. Plain http is for this machine only.
        timeout: of the network, in real seconds.
        rate: what the key may send; None for no bound. `"auto"` finds it, from 20 in 10 s on, for which up to one
            request in a hundred is refused; likewise `read_rate`.
        read_rate: a window of its own for all calls but CreateTask; `rate` is then for CreateTask alone. None for
            one window for all calls.
        max_connections: the maximum number of requests in flight.
        max_in_flight: the most unfinished videos of this client's own; `submit` waits for room. `"auto"` finds how
            many the server lets run; it needs `rate="auto"`, and a limit that no other process shares.
        retry: how failures are tried again.
        ledger: a file (or a `Ledger`) in which `submit`, `generate` and `convert` keep what they buy: a track that
            is in it is not bought again. A conversion may name another one.
        session: an `aiohttp.ClientSession` of your own; it is used as it is, and not closed. Videos are downloaded
            over its connector, without its headers, cookies and passwords.
        proxy: the URL of an HTTP proxy for https; None looks for `HTTPS_PROXY` and `NO_PROXY` in the environment,
            once, and `""` uses none. A session of your own has its own.
        ca_file: a PEM file with certificates to trust beside the machine's, such as a company's own.
        transport: what carries the API's calls instead of aiohttp, as in tests.
        limiter: what several clients of one key share, instead of the rates and `max_connections`: a `Limiter` on
            this loop, or a `SharedRateLimit` over processes. It is not closed.
        clock: the time of the window, the backoff, the polls and the waits.
        hooks: receive the client's events.

    Raises:
        ConfigurationError: no key, or a base URL that it cannot be sent to.
        TypeError: a hook is none, or has a coroutine function for a method.
        ValueError: a hook is passed twice, or `max_in_flight` is below 1.

    """

    _single: SingleSubmissions  # made when the client opens

    def __init__(
        self,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        timeout: Timeout | None = None,
        rate: GivenRate = DEFAULT_RATE,
        read_rate: GivenRate = None,
        max_connections: int = 20,
        max_in_flight: int | Literal["auto"] = 100,
        retry: RetryPolicy | None = None,
        ledger: LedgerPlace | None = None,
        session: aiohttp.ClientSession | None = None,
        proxy: str | None = None,
        ca_file: str | PathLike[str] | None = None,
        transport: Transport | None = None,
        limiter: RateLimiter | None = None,
        clock: Clock | None = None,
        hooks: Sequence[Hooks] = (),
    ) -> None:
        ledger = sealed(ledger)
        auto_in_flight = max_in_flight == "auto"
        if max_in_flight == "auto":
            if limiter is None and rate != "auto":
                raise ValueError('max_in_flight="auto" needs rate="auto": a given rate tells no refusal apart')
            from suno_video_async.ratelimit.shared import SharedRateLimit  # noqa: PLC0415  it needs SQLite

            if isinstance(limiter, SharedRateLimit):
                raise ValueError(
                    'max_in_flight="auto" cannot be found with a SharedRateLimit: the videos of the other'
                    " processes run as well; name a number"
                )
            max_in_flight = AUTO_IN_FLIGHT
        if max_in_flight < 1:
            raise ValueError(f"max_in_flight must be at least 1, not {max_in_flight}")
        settings = Settings.find(api_key, base_url)
        if session is not None and (proxy or ca_file is not None):
            raise ConfigurationError("proxy and ca_file are for the client's own session: set them on yours")
        proxies = find_proxies(proxy) if session is None else _proxies_of(session)
        # Most of the package is behind these.
        from suno_video_async.engine import ClientOptions  # noqa: PLC0415
        from suno_video_async.hooks import checked_hooks  # noqa: PLC0415
        from suno_video_async.observability.reporter import Reporter  # noqa: PLC0415
        from suno_video_async.ratelimit.limiter import Limiter  # noqa: PLC0415

        self.clock: Clock = clock or SystemClock()
        self.max_in_flight = max_in_flight
        self._options = ClientOptions(
            settings=settings,
            clock=self.clock,
            limiter=limiter
            or Limiter(rate, read_rate=read_rate, max_connections=max_connections, clock=self.clock),
            reporter=Reporter(checked_hooks(hooks), self.clock),
            max_in_flight=max_in_flight,
            auto_in_flight=auto_in_flight,
            timeout=timeout or Timeout(),
            retry=retry or RetryPolicy(),
            ledger=ledger,
            session=session,
            transport=transport,
            proxies=proxies,
            ca_file=ca_file,
        )
        self._engine: Engine | None = None
        self._opening = False

    def __repr__(self) -> str:
        engine = self._engine
        state = "not open" if engine is None else "closed" if engine.closed else f"{len(engine.poller)} in flight"
        return f"<SunoVideoClient {self._options.settings.base_url} {state}>"

    def __del__(self, _warn: Callable[..., Any] = warnings.warn) -> None:
        engine = getattr(self, "_engine", None)
        if engine is not None and not engine.closed:
            _warn(f"{self!r} was never closed: use `async with`, or await aclose()", ResourceWarning, source=self)

    @property
    def base_url(self) -> str:
        """The API's origin that this client talks to."""
        return self._options.settings.base_url

    # Opening and closing

    async def __aenter__(self) -> SunoVideoClient:
        from suno_video_async.batch.single import SingleSubmissions  # noqa: PLC0415  most of the package is behind these
        from suno_video_async.engine import Engine  # noqa: PLC0415

        if self._engine is not None or self._opening:
            raise ClientClosedError("a client can be opened only once; create a new one")
        engine = Engine(self._options)
        self._opening = True
        try:
            await engine.open()
        finally:
            self._opening = False
        self._engine, self._single = engine, SingleSubmissions(engine)
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
        """Close the client; submissions in flight are awaited, at most for the network's timeout.

        Tasks that are not over go on at the provider; `attach` follows them again. Closing twice is harmless.

        Raises:
            RuntimeError: this is another event loop than the client was opened on.

        """
        if self._engine is not None and not self._engine.closed:
            await self._engine.aclose()

    def _open(self) -> Engine:
        if self._engine is None:
            raise ClientClosedError("the client is not open yet: use `async with SunoVideoClient() as client:`")
        return self._engine.checked()

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
        self._open()
        return await self._single.submit(VideoRequest(track=track, callback_url=callback_url))

    def attach(self, task_id: VideoTaskId | str, *, track: Track | None = None) -> VideoTask:
        """Follow a video task that was submitted elsewhere, or before.

        Args:
            task_id: the **video** task's id, as CreateTask answered it.
            track: what it was made from, if you know it.

        Raises:
            ValueError: this cannot be such an id.

        """
        return self._open().follow(video_task_id(task_id), track, own=False)

    async def status(self, task_id: VideoTaskId | str) -> TaskSnapshot:
        """Ask once how a video task stands.

        Raises:
            ValueError: this cannot be a task's id.
            NotFoundError: the account has no such task.
            APIError: the question was refused.
            TransportError: no readable answer came.

        """
        return await self._open().status(video_task_id(task_id))

    async def tracks(self, task_id: MusicTaskId | str) -> tuple[SunoTrack, ...]:
        """Return the tracks of a finished **music** task; none while it is not finished.

        Raises:
            ValueError: this cannot be a task's id.
            NotFoundError: the account has no such task.
            APIError: the question was refused.
            TransportError: no readable answer came.

        """
        return await self._open().tracks(music_task_id(task_id))

    async def estimate(self, track: Track) -> Estimate:
        """Ask what a video of this track would cost; nothing is bought.

        Raises:
            APIError: the question was refused.
            TransportError: no readable answer came.

        """
        return await self._open().estimate(track)

    async def balance(self) -> float:
        """Return the account's credits.

        Raises:
            APIError: the question was refused.
            TransportError: no readable answer came.

        """
        return await self._open().balance()

    # Whole ways

    async def generate(
        self,
        track: Track,
        *,
        output_dir: str | PathLike[str] | None = None,
        timeout: float | None = DEFAULT_TASK_TIMEOUT,
    ) -> Video:
        """Submit, follow and, with `output_dir`, download: the video's `path` then is the file, `uri` its place.

        Args:
            track: what to make a video of.
            output_dir: the folder for `{suno_id}.mp4`, or the URL of a store as for `convert`; None downloads
                nothing.
            timeout: seconds to wait for the video after the submission.

        Raises:
            TaskFailed: the task ended without a video.
            WaitTimeout: the wait ended first; the task goes on.
            DownloadError: the video is made and paid for, but could not be fetched.
            SunoVideoError: as `submit` raises.

        """
        self._open()
        return await self._single.generate(track, output_dir, timeout)

    async def download(self, video: Video, output_dir: str | PathLike[str], *, name: str | None = None) -> Path:
        """Fetch a finished video into a folder and return the file's path.

        The file appears under its name only when it is whole; the API key is not sent along.

        Args:
            video: what `task.result()` returned.
            output_dir: the folder; made when it does not exist.
            name: the file's name, without a folder; None is `{suno_id}.mp4`.

        Raises:
            DownloadError: it could not be fetched or written, or is not a complete MP4 file.

        """
        from suno_video_async.download.places import folder_of  # noqa: PLC0415  as in `__aenter__`

        folder = folder_of(output_dir)
        if not isinstance(folder, Path):
            raise ValueError(f"download returns the path of a file: use fetch for {folder}, and take its `uri`")  # noqa: TRY004  of the right type
        saved = await self.fetch(video, folder, name=name)
        return saved.path or folder

    async def fetch(
        self, video: Video, output_dir: str | PathLike[str], *, name: str | None = None, sha256: bool = False
    ) -> Saved:
        """As `download`, also into an object store, and say more of the file.

        A file that is late, an expired URL and a download that broke off are tried again, up to five times within
        32 seconds: with a fresh URL from the service where the old one has no video, and from where it broke off
        where the media server can do that.

        Args:
            video: what `task.result()` returned.
            output_dir: the folder, made when it does not exist, or the URL of a store, as for `convert`.
            name: the file's name, without a folder; None is `{suno_id}.mp4`.
            sha256: also compute the file's digest.

        Raises:
            DownloadError: it could not be fetched or written, or is not a complete MP4 file.
            TaskFailed: the URL has no video, and the task is now said to have failed.
            APIError: the URL has no video, and the question for a fresh one was refused.
            TransportError: the URL has no video, and no readable answer came to the question for a fresh one.

        """
        from suno_video_async.download.places import folder_of  # noqa: PLC0415  as in `__aenter__`

        return await self._open().fetch(video, folder_of(output_dir), name=name, sha256=sha256)

    def convert(
        self,
        source: CatalogSource | None,
        *,
        ledger: LedgerPlace | NoLedger | None = None,
        output_dir: str | PathLike[str] | None = None,
        task_timeout: float = DEFAULT_TASK_TIMEOUT,
        retry_failed: int = 0,
        rebuy_changed: bool = False,
        ignore_other_ledgers: bool = False,
        max_credits: float | None = None,
        callbacks: CallbackReceiver | None = None,
        file_name: str = DEFAULT_TEMPLATE,
        sha256: bool = False,
    ) -> Conversion:
        """Turn a catalog into videos.

        Use it as `async with client.convert("catalog.csv", output_dir="videos/") as outcomes:`, then
        `async for outcome in outcomes:`; they come as each row ends.

        Args:
            source: the path of a CSV, JSON Lines or JSON file, or tracks from an iterable or an async iterable;
                None is all that the ledger holds and is not done: what is paid for first, then by row, a page at
                a time. After a stop, what it may still buy is left as it is, without an outcome.
            ledger: the file that remembers what was bought, so that running again buys only what is missing. None
                is the client's own ledger; if it has none, for a catalog in a file `catalog.ledger.db` beside
                `catalog.csv`, as on the command line; for other tracks memory, which a warning says. `NO_LEDGER`
                remembers nothing, and says nothing. Conversions of a client may share a ledger, also at the same
                time: a track that several name is bought once.
            output_dir: the folder for the videos, or the URL of one in an object store (`s3://`, `gs://`, `az://`;
                `file://` is a folder); None downloads nothing. A store needs the extra `store`, and takes its
                credentials from the environment.
            task_timeout: seconds after which an unfinished task is left as `submitted`.
            retry_failed: how many failed tasks of a track are followed by another, paid one.
            rebuy_changed: buy a song again that is bought under another author or brand.
            ignore_other_ledgers: buy tracks though another ledger in the folder has them as bought or as unknown.
                Without it they end as `planned` with a `BoughtElsewhereError`, so that a catalog that was renamed
                or copied is not paid for again. It matters only if the ledger is the one beside the catalog.
            max_credits: the most to spend over the ledger's whole life; what is not settled counts with the
                dearest price known. Prices that rise can exceed it by a bounded amount.
            callbacks: a receiver of this client's: each attempt gets a URL of its own at it, a finished video is
                noticed when it is called, and a submission whose answer was lost is found again by its callback.
            file_name: how the videos are named, without `.mp4`: a template of `{suno_id}`, `{video_task_id}` (one
                of the two must be in it), `{task_id}`, `{author}`, `{brand}`, `{title}` (which costs one request
                for each music task) and `{extra[column]}` of the catalog's own columns.
            sha256: compute the digest of each file that is downloaded, for outcomes and ledger.

        Raises:
            ValueError: an argument makes no sense.

        """
        if source is None and ledger is None and self._options.ledger is None:
            raise ValueError("convert(None) takes its tracks from a ledger: name one with ledger=")
        ledger = sealed(ledger)
        options = Options(
            output_dir=output_dir,
            task_timeout=task_timeout,
            buying=Buying(
                retry_failed=retry_failed,
                rebuy_changed=rebuy_changed,
                ignore_other_ledgers=ignore_other_ledgers,
                max_credits=max_credits,
            ),
            file_name=file_name,
            sha256=sha256,
        )
        return self._conversion(source, ledger, callbacks, options)

    async def load(
        self,
        source: CatalogSource,
        ledger: LedgerPlace | None = None,
        *,
        on_problem: Callable[[CatalogError], object] = lambda _: None,
    ) -> Loaded:
        """Add the tracks of a catalog to a ledger, for `convert(None)` or a worker to buy; nothing is bought now.

        `suno_video_async.load` does the same without a client, and without an API key.

        Args:
            source: as for `convert`.
            ledger: as for `suno_video_async.load`; None is the client's own.
            on_problem: likewise.

        Raises:
            CatalogError: the catalog as a whole cannot be read; what was read before is loaded.
            LedgerError: the ledger cannot be used; likewise.
            ValueError: the client has no ledger, and none is given.

        """
        from suno_video_async._util.aio import in_one_thread  # noqa: PLC0415  as in `__aenter__`
        from suno_video_async.batch.loading import load, load_into  # noqa: PLC0415

        own, place = self._open().ledger, sealed(ledger)
        if place is None and own is None:
            raise ValueError("load needs a ledger: name one, or give the client one with ledger=")
        if own is not None and (
            place is None or await in_one_thread()(partial(own.sync.is_same, as_ledger(place)))
        ):
            return await load_into(source, lambda rows: own.call(own.sync.add, rows), on_problem)
        return await load(source, cast("LedgerPlace", place), on_problem=on_problem)

    def resume(
        self,
        ledger: LedgerPlace,
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
            ledger: the ledger, or its file; no other client may be writing it.
            output_dir: as for `convert`; None downloads nothing.
            task_timeout: seconds after which an unfinished task is left as `submitted`.
            callbacks: a receiver of this client's.
            unknown_grace: seconds that an unknown row waits for its callback, where there is a receiver.
            file_name: as for `convert`.
            sha256: as for `convert`.

        Raises:
            ValueError: an argument makes no sense.

        """
        ledger = sealed(ledger)
        options = Options(
            output_dir=output_dir,
            task_timeout=task_timeout,
            file_name=file_name,
            sha256=sha256,
            unknown_grace=unknown_grace,
        )
        return self._conversion((), ledger, callbacks, options)

    def _conversion(
        self,
        source: CatalogSource | None,
        ledger: LedgerPlace | NoLedger | None,
        callbacks: CallbackReceiver | None,
        options: Options,
    ) -> Conversion:
        from suno_video_async.batch.conversion import Conversion  # noqa: PLC0415  as in `__aenter__`

        return Conversion(self._open(), source, ledger, options, callbacks)

    async def plan(
        self,
        source: CatalogSource,
        *,
        ledger: LedgerPlace | NoLedger | None = None,
        retry_failed: int = 0,
        rebuy_changed: bool = False,
        ignore_other_ledgers: bool = False,
    ) -> Plan:
        """Say what converting a catalog would come to; nothing is bought and nothing is written.

        The price is asked once for each distinct shape of input, not once a row.

        Args:
            source: the catalog, as for `convert`.
            ledger: as for `convert`; its file may be in use by a running conversion, or not exist yet.
            retry_failed: as for `convert`: failed tracks that would be bought again count with their price.
            rebuy_changed: as for `convert`, likewise.
            ignore_other_ledgers: as for `convert`, likewise.

        Raises:
            CatalogError: the catalog as a whole cannot be read.
            LedgerError: the file is not a ledger, or cannot be read.
            APIError: a question was refused.
            TransportError: no readable answer came.

        """
        from suno_video_async.batch.ledgers import planned_ledger  # noqa: PLC0415  as in `__aenter__`
        from suno_video_async.batch.plan import plan  # noqa: PLC0415

        ledger = sealed(ledger)
        engine = self._open()
        kept = await planned_ledger(source, ledger, engine.ledger)
        buying = Buying(
            retry_failed=retry_failed, rebuy_changed=rebuy_changed, ignore_other_ledgers=ignore_other_ledgers
        )
        return await plan(engine, source, kept, buying)

    def unknowns(self, ledger: LedgerPlace) -> Unknowns:
        """Open a ledger to settle its unknown rows: `async with client.unknowns("l.db") as unknowns:`.

        Args:
            ledger: the ledger, or its file; no other client may be writing it, but this one may.

        """
        from suno_video_async.batch.reconcile import Unknowns  # noqa: PLC0415  as in `__aenter__`

        ledger = sealed(ledger)
        engine = self._open()
        return Unknowns(engine, ledger, engine.ledgers)

    # State

    def statistics(self) -> ClientStatistics:
        """Return the state of this moment."""
        engine = self._engine
        if engine is None:
            return ClientStatistics(requests=0, refused_429=0, resent_after_500=0, in_flight=0, limiter=None)
        return ClientStatistics(
            requests=engine.statistics.requests,
            refused_429=engine.statistics.refused_429,
            resent_after_500=engine.statistics.resent_after_500,
            in_flight=len(engine.poller),
            limiter=None if engine.closed else self._options.limiter.statistics(),
        )

    def forecast(self, waiting: int = 0) -> Forecast:
        """Say how long it takes until `waiting` more tracks, and all that are followed, have ended: an estimate.

        It is made of the durations that were seen so far, the rate and `max_in_flight`.

        Args:
            waiting: tracks that are still to be submitted.

        """
        return self._open().forecast(waiting)

    @property
    def account(self) -> tuple[str, str]:
        """The provider and a fingerprint of the key: whose ledger a ledger is. The key cannot be told from it."""
        return self._options.settings.account

    @property
    def rate(self) -> RateLimit | None:
        """The window of the key, or of the submissions where reads have their own."""
        return self._options.limiter.rate

    @property
    def read_rate(self) -> RateLimit | None:
        """The window of the reads; None where all calls share one."""
        return self._options.limiter.read_rate

    @property
    def limits_found(self) -> LimitsFound | None:
        """The limits that were found so far by being refused; None if they are given."""
        return self._options.limiter.found

    # For a receiver of callbacks

    def hint(self, task_id: VideoTaskId) -> None:
        """Poll a followed task soon, at most once in 30 seconds: an untrusted source says that it has ended."""
        if self._engine is not None:
            self._engine.hint(task_id)


def _proxies_of(session: aiohttp.ClientSession) -> Proxies:
    """Return the proxies of a user's session, for downloads, which have a session of their own."""
    if getattr(session, "trust_env", False):
        return find_proxies(None)
    default = getattr(session, "_default_proxy", None)  # there is no public name
    return Proxies(None if default is None else str(default))
