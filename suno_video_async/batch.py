"""`client.convert()`: a catalog in, outcomes out as each row ends, and a ledger that is true at every moment."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from functools import partial
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TypeAlias

import anyio
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from attrs import Attribute, define, evolve, field, frozen

from suno_video_async.books import Books, ending_of, micro
from suno_video_async.callbacks import CallbackReceiver
from suno_video_async.calls import Entry
from suno_video_async.catalog import CatalogSource, Row, count_rows, read_rows
from suno_video_async.download import Saved
from suno_video_async.errors import (
    AlreadyBoughtError,
    APIError,
    AuthenticationError,
    BudgetExceeded,
    CatalogError,
    ClientClosedError,
    DownloadError,
    FeatureDisabledError,
    InsufficientCreditsError,
    InvalidRequestError,
    LedgerError,
    MalformedResponseError,
    NotFoundError,
    SubmissionUnknown,
    SunoVideoError,
    TaskFailed,
    TransportError,
    WaitTimeout,
)
from suno_video_async.filenames import NameTemplate
from suno_video_async.finishing import to_the_end
from suno_video_async.hooks import SubmitEvent
from suno_video_async.ledger.base import AWAITED, MICRO, Claim, Ending, LedgerRow, is_given_up
from suno_video_async.ledger.sqlite import SqliteLedger
from suno_video_async.logs import fields, logger
from suno_video_async.models import (
    UNKNOWN_GRACE,
    Estimate,
    MusicTaskId,
    Outcome,
    RateLimit,
    SunoTrack,
    TaskSnapshot,
    Track,
    Video,
    VideoRequest,
    VideoTaskId,
)
from suno_video_async.pacing.clock import Clock
from suno_video_async.protocol.lifecycle import Cause, State
from suno_video_async.submission import Submission
from suno_video_async.task import VideoTask, video_of
from suno_video_async.telemetry import Reporter

#: Downloads at once, beside the videos in flight: they do not count against the API's limit.
DOWNLOADS = 4
#: A submission in doubt waits for its callback twice as long as this share of the tasks takes: one task in a
#: hundred takes longer than the share says.
ALMOST_ALL = 0.99
#: Music tasks whose titles are remembered, since the tracks of one stand together in a catalog.
TITLES = 100
#: How often a row is sent in one run where every answer is a 500 and no callback comes.
SENDS_AFTER_500 = 3

#: Works on one row, which stands at a place in a catalog.
Handle: TypeAlias = "Callable[[Claim | CatalogError | _Unclaimed, str], Coroutine[Any, Any, None]]"


class BatchClient(Protocol):
    """What a conversion needs of a client."""

    @property
    def clock(self) -> Clock:
        """The client's time."""
        ...

    @property
    def reporter(self) -> Reporter:
        """Tells the hooks."""
        ...

    @property
    def max_in_flight(self) -> int:
        """The most unfinished videos."""
        ...

    @property
    def strict(self) -> bool:
        """Whether a 500 on CreateTask counts as unknown."""
        ...

    @property
    def rate(self) -> RateLimit | None:
        """The window of the key."""
        ...

    async def open_books(self, books: Books) -> None:
        """Open a ledger as this account's."""
        ...

    def begin(
        self,
        request: VideoRequest,
        *,
        refused: Callable[[APIError], None],
        entry: Entry | None,
        patient: bool,
    ) -> Submission:
        """Begin to buy one video."""
        ...

    def follow(self, task_id: VideoTaskId, track: Track, *, patient: bool) -> VideoTask:
        """Follow a task of the account's own."""
        ...

    def forget(self, task: VideoTask, error: SunoVideoError) -> None:
        """Stop following a task."""
        ...

    async def status(self, task_id: VideoTaskId) -> TaskSnapshot:
        """Ask once about a task."""
        ...

    def usual_duration(self, share: float) -> float:
        """Return the seconds within which this share of the tasks ends."""
        ...

    async def estimate(self, track: Track) -> Estimate:
        """Ask what a video would cost."""
        ...

    async def fetch(
        self, video: Video, output_dir: str | PathLike[str], *, name: str | None = None, sha256: bool = False
    ) -> Saved:
        """Fetch one video."""
        ...

    async def tracks(self, task_id: MusicTaskId) -> tuple[SunoTrack, ...]:
        """Ask what the tracks of a music task are."""
        ...

    def start_soon(self, run: Callable[[], object]) -> None:
        """Run a coroutine function in the client's own task group."""
        ...


def _above_zero(_: object, attribute: Attribute[Any], value: float | None) -> None:
    if value is not None and not value > 0:
        raise ValueError(f"{attribute.name} must be above 0, not {value!r}")


def _not_negative(_: object, attribute: Attribute[Any], value: float | None) -> None:
    if value is not None and not 0 <= value < math.inf:
        raise ValueError(f"{attribute.name} must not be below 0 or endless, but is {value!r}")


@frozen(kw_only=True)
class Options:
    """How a catalog is converted; see `SunoVideoClient.convert`."""

    output_dir: Path | None
    task_timeout: float = field(validator=_above_zero)
    retry_failed: int = field(validator=_not_negative)
    rebuy_changed: bool
    max_credits: float | None = field(validator=_not_negative)
    file_name: NameTemplate = field(factory=NameTemplate)
    sha256: bool = False
    unknown_grace: float | None = field(default=None, validator=_not_negative)
    """Seconds that unknown rows wait for their callback, however old they are, in a run that buys nothing and
    goes on with all that the ledger holds; None where a catalog says what is wanted."""


@define(eq=False)
class _Work:
    """What is known of one row of the run so far."""

    where: str
    started: float
    sends: int = 0
    submission: Submission | None = None
    task: VideoTask | None = None

    @property
    def requests(self) -> int:
        """API requests spent on the row in this run."""
        if self.task is not None:
            return self.task.requests
        return self.submission.sends if self.submission is not None else 0


@frozen
class _Unclaimed:
    """A track that the ledger could not take in."""

    track: Track
    error: LedgerError


class Conversion:
    """A running conversion: `async with client.convert(…) as outcomes: async for outcome in outcomes: …`.

    Rows are pulled from the catalog as room comes free; what is in flight, and as many finished rows as there are
    places for videos, is all that is ever held. Leaving the block early stops submitting and following; what was
    submitted stays paid for, stands in the ledger, and is followed again by the next run.

    Attributes:
        stopped_by: what ended the submissions before the catalog's end, such as `InsufficientCreditsError`.

    """

    def __init__(
        self,
        client: BatchClient,
        source: CatalogSource,
        books: Books,
        options: Options,
        callbacks: CallbackReceiver | None = None,
    ) -> None:
        self.stopped_by: SunoVideoError | None = None
        self._client = client
        self._source = source
        self._books = books
        self._options = options
        self._callbacks = callbacks
        self._stopping = options.unknown_grace is not None
        self._submissions = set[Submission]()
        self._failure: Exception | None = None
        self._scope = anyio.CancelScope()
        self._ended = anyio.Event()
        self._room = anyio.Semaphore(2 * client.max_in_flight)
        self._downloads = anyio.CapacityLimiter(DOWNLOADS)
        self._estimates = dict[tuple[bool, bool], int]()
        self._one_estimate = anyio.Lock()
        self._titles = dict[MusicTaskId, dict[str, str]]()
        self._one_title = anyio.Lock()
        self._outcomes: MemoryObjectReceiveStream[Outcome] | None = None

    async def __aenter__(self) -> Conversion:
        """Open the ledger and begin.

        Raises:
            LedgerError: the ledger cannot be used, or belongs to another account.

        """
        if self._outcomes is not None:
            raise RuntimeError("a conversion is entered once: make another one")
        await self._client.open_books(self._books)
        send, self._outcomes = anyio.create_memory_object_stream[Outcome](self._client.max_in_flight)
        try:
            self._client.start_soon(partial(self._run, send))
        except ClientClosedError:  # closed while the ledger was opened
            send.close()
            self._outcomes.close()
            await self._books.close()
            raise
        if self._callbacks is not None:
            self._callbacks.open(self._books)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._scope.cancel()
        await to_the_end(self._ended.wait())
        self._receiving.close()

    def __aiter__(self) -> AsyncIterator[Outcome]:
        return self

    async def __anext__(self) -> Outcome:
        """Return the next outcome.

        Raises:
            CatalogError: the catalog as a whole cannot be read; raised after the outcomes of what could.
            AuthenticationError: 401 or 403; raised after the outcomes of all that was submitted before.
            FeatureDisabledError: 505; likewise.
            LedgerError: the ledger broke; likewise.

        """
        try:
            return await self._receiving.receive()
        except anyio.ClosedResourceError:
            raise ClientClosedError("the conversion was left: its outcomes are over") from None
        except anyio.EndOfStream:
            if self._failure is not None:
                failure, self._failure = self._failure, None
                raise failure from None
            raise StopAsyncIteration from None

    async def count(self) -> int | None:
        """Return how many rows the catalog has, as far as that can be known before they are read.

        A file is read through, and what has a length is asked for it; None for all else, and for `resume`.

        Raises:
            CatalogError: the file cannot be read as a whole.

        """
        return None if self._options.unknown_grace is not None else await count_rows(self._source)

    def stop(self) -> None:
        """Submit no more; what is submitted is followed to its end, the rest of the rows end as `planned`."""
        self._stopping = True
        for submission in self._submissions:
            submission.abandon()

    def credits(self) -> tuple[float, float] | None:
        """Return the credits spent and set aside over the ledger's life; None where only its file could tell."""
        ledger = self._books.ledger
        if not isinstance(ledger, SqliteLedger):
            return None
        spent, reserved = ledger.sums
        return spent / MICRO, reserved / MICRO

    @property
    def _receiving(self) -> MemoryObjectReceiveStream[Outcome]:
        if self._outcomes is None:
            raise RuntimeError("a conversion is entered first: async with client.convert(…) as outcomes:")
        return self._outcomes

    # The run

    async def _run(self, send: MemoryObjectSendStream[Outcome]) -> None:
        try:
            with self._scope:
                async with anyio.create_task_group() as background:
                    background.start_soon(self._note_places)
                    async with anyio.create_task_group() as rows:
                        handle = partial(self._handle, send)
                        await self._pull(rows, handle)
                        await self._pick_up(rows, handle, self._left())
                    background.cancel_scope.cancel()
        except Exception as error:
            self._failure = error
        except BaseException:
            self._failure = ClientClosedError("the client was closed while it converted a catalog")
            raise
        finally:
            with anyio.CancelScope(shield=True):
                await self._close_books()
            send.close()
            self._ended.set()

    async def _close_books(self) -> None:
        """Let the submissions in the air reach the ledger before it is closed."""
        if self._callbacks is not None:
            self._callbacks.close(self._books)
        for submission in list(self._submissions):
            submission.abandon()
            await asyncio.wait([submission.outcome])
        with contextlib.suppress(LedgerError):
            await self._books.note_place(self._client.clock.time())
        await self._books.close()

    async def _pull(self, group: TaskGroup, handle: Handle) -> None:
        try:
            async with contextlib.aclosing(read_rows(self._source)) as rows:
                async for row in rows:
                    await self._room.acquire()
                    # Claimed here and not in the row's own task: afterwards it is certain which rows of the ledger
                    # the catalog did not name.
                    claim = await self._claimed(row)
                    group.start_soon(handle, claim, row.where)
                    if isinstance(claim, _Unclaimed):
                        break
        except Exception as error:
            # The source is broken from here on; what was pulled from it before goes on to its end.
            self._stop_if_hopeless(error)
            self._failure = self._failure or error

    async def _claimed(self, row: Row) -> Claim | CatalogError | _Unclaimed:
        if isinstance(row.track, CatalogError):
            return row.track
        try:
            claim = await self._books.claim(row.track, where=row.where)
        except LedgerError as error:
            return _Unclaimed(row.track, error)
        # As the catalog has it now: the ledger may hold other columns of an earlier one.
        return evolve(claim, row=evolve(claim.row, track=row.track))

    def _left(self) -> AsyncGenerator[LedgerRow, None]:
        """Return the rows to go on with that no catalog names: they are paid for."""
        if self._options.unknown_grace is None:
            return self._books.untouched(State.SUBMITTED)
        made = () if self._options.output_dir is None else (State.SUCCEEDED,)
        return self._books.in_state(State.SUBMITTED, State.UNKNOWN, *made)

    async def _pick_up(self, group: TaskGroup, handle: Handle, rows: AsyncGenerator[LedgerRow, None]) -> None:
        try:
            async for row in rows:
                await self._room.acquire()
                group.start_soon(handle, Claim(row=row), row.where)
        except LedgerError as error:
            self._stop_if_hopeless(error)

    async def _note_places(self) -> None:
        if (rate := self._client.rate) is not None:
            try:
                await self._books.keep_places(self._client.clock, rate.per)
            except LedgerError as error:
                self._stop_if_hopeless(error)

    async def _handle(
        self, send: MemoryObjectSendStream[Outcome], claim: Claim | CatalogError | _Unclaimed, where: str
    ) -> None:
        work = _Work(where, self._client.clock.now())
        try:
            outcome = await self._told(claim, work)
            await send.send(
                evolve(
                    outcome,
                    row=work.where,
                    seconds=self._client.clock.now() - work.started,
                    requests=work.requests,
                )
            )
        finally:
            self._room.release()

    # One row

    async def _told(self, claim: Claim | CatalogError | _Unclaimed, work: _Work) -> Outcome:
        """Bring a row to its end as one stage, for hooks to hear of."""
        track = claim.row.track if isinstance(claim, Claim) else getattr(claim, "track", None)
        with self._client.reporter.stage("track", via="convert", track=track) as stage:
            try:
                outcome = await self._outcome(claim, work)
            finally:
                stage.task_id = None if work.task is None else work.task.id
            stage.state, stage.error, stage.task_id = outcome.state, outcome.error, outcome.video_task_id
            return outcome

    async def _outcome(self, claim: Claim | CatalogError | _Unclaimed, work: _Work) -> Outcome:
        if isinstance(claim, CatalogError):
            return Outcome(track=None, state="refused", error=claim)
        if isinstance(claim, _Unclaimed):
            self._stop_if_hopeless(claim.error)
            return Outcome(track=claim.track, state="planned", error=claim.error)
        try:
            return await self._go_on(claim, work)
        except LedgerError as error:
            self._stop_if_hopeless(error)
            return evolve(_known(claim.row, _state_at(error, work)), error=error)
        except ClientClosedError as error:
            state = "submitted" if claim.row.state is State.SUBMITTED else "planned"
            return evolve(_known(claim.row, state), error=error)
        except Exception as error:
            # A defect: it must not take the other rows with it, nor be mistaken for an outcome.
            extra = fields("defect", track=claim.row.track, row=work.where, error=error)
            logger.exception("row %s broke off", work.where, extra=extra)
            self._failure = self._failure or error
            self.stop()
            return evolve(_known(claim.row, _state_at(error, work)), error=error)

    async def _go_on(self, claim: Claim, work: _Work) -> Outcome:
        """Do what a row needs, from the state that it is in."""
        row = claim.row
        if claim.repeated or row.state is State.DOWNLOADED:
            return _known(row, "skipped")
        match row.state:
            case State.SUBMITTED:
                return await self._follow(claim, work)
            case State.SUCCEEDED:
                return (
                    await self._download(_known(row, "succeeded"), claim)
                    if self._options.output_dir
                    else (_known(row, "skipped"))
                )
            case State.UNKNOWN | State.SUBMITTING:
                return await self._find(claim, work)
            case _ if row.failures > self._options.retry_failed or is_given_up(row):
                reason = row.error[2] if row.error else "failed in an earlier run"
                snapshot = TaskSnapshot(task_id=row.video_task_id or VideoTaskId("-"), status="failed")
                return evolve(_known(row, "skipped"), error=TaskFailed(snapshot, reason))
            case _:
                return await self._as_it_stands(row, await self._buy(claim, work))

    async def _as_it_stands(self, row: LedgerRow, outcome: Outcome) -> Outcome:
        """Say of a row that was to be bought again, and was not, how it ended before."""
        again = row.state in {State.FAILED, State.REFUSED} and outcome.state == "planned"
        kept = await self._books.row(row.id) if again else None
        return outcome if kept is None else evolve(_known(kept, kept.state.value), error=outcome.error)

    async def _buy(self, claim: Claim, work: _Work) -> Outcome:
        track = claim.row.track
        if self._stopping:
            return Outcome(track=track, state="planned", error=self.stopped_by)
        if claim.changed is not None and not self._options.rebuy_changed:
            error = AlreadyBoughtError(track, claim.changed.track.key)
            return Outcome(track=track, state="skipped", error=error)
        try:
            work.submission = await self._submission(claim.row, sent_before=work.sends > 0)
            work.sends += 1
            work.task = await work.submission.wait()
        except LedgerError:
            raise
        except SubmissionUnknown as error:
            row = await self._books.row(claim.row.id) or claim.row
            return await self._go_on_in_doubt(evolve(claim, row=row), work, error)
        except SunoVideoError as error:
            return self._not_bought(track, error)
        row = evolve(claim.row, state=State.SUBMITTED, video_task_id=work.task.id)
        if self._callbacks is not None:
            await self._callbacks.catch_up(self._books, row)
        return await self._follow(evolve(claim, row=row), work)

    async def _find(self, claim: Claim, work: _Work) -> Outcome:
        """Go on with a row of an earlier run that may be bought."""
        row = claim.row
        work.sends = 1
        error = SubmissionUnknown(row.track, row.since, row.error[2] if row.error else "interrupted")
        return await self._go_on_in_doubt(claim, work, error)

    async def _go_on_in_doubt(self, claim: Claim, work: _Work, error: SubmissionUnknown) -> Outcome:
        """Follow a row that may be bought where its callback comes, and buy it where it counts as not bought."""
        row = await self._adopted(claim.row)
        if row.state is State.SUBMITTED:
            self._tell_bought(row)
            return await self._follow(evolve(claim, row=row), work)
        if row.state is State.PLANNED:
            if work.sends < SENDS_AFTER_500:
                return await self._buy(evolve(claim, row=row), work)
            return Outcome(track=row.track, state="planned", error=error)
        kept = row.video_task_id or (None if error.task_id is None else VideoTaskId(error.task_id))
        return evolve(_known(row, "unknown"), video_task_id=kept, error=error)

    async def _adopted(self, row: LedgerRow) -> LedgerRow:
        """Wait for the callback of a submission in doubt, for as long as one may still come.

        Returns the row as submitted; as planned where none came after a 500, by which the API says that it failed;
        or as unknown still.
        """
        if self._callbacks is None:
            return row
        grace = max(UNKNOWN_GRACE, 2 * self._client.usual_duration(ALMOST_ALL))
        left = max(row.since + grace - self._client.clock.time(), self._options.unknown_grace or 0.0)
        if (adopted := await self._callbacks.adopt(self._books, row, left)) is not None:
            return adopted
        if self._client.strict or row.error is None or row.error[0] != AWAITED:
            return row
        row = await self._books.move(row, Ending(state=State.PLANNED, error=row.error), cause=Cause.SILENCE)
        # A callback that came at the last moment has kept it as it was.
        called = None if row.state is State.PLANNED else await self._callbacks.adopt(self._books, row, 0.0)
        return called or row

    def _tell_bought(self, row: LedgerRow) -> None:
        """Tell of a submission whose answer was lost, and which has come back."""
        if row.video_task_id is not None:
            event = SubmitEvent(request=VideoRequest(track=row.track), task_id=row.video_task_id)
            self._client.reporter.tell(lambda hook: hook.on_submit(event))

    async def _submission(self, row: LedgerRow, *, sent_before: bool) -> Submission:
        reserve = 0 if self._options.max_credits is None else await self._cost(row.track)
        entry = self._books.entry(
            row,
            reserve=reserve,
            most=micro(self._options.max_credits),
            strict=self._client.strict,
            sent_before=sent_before,
            callback_url=self._callbacks.url if self._callbacks is not None else None,
        )
        submission = self._client.begin(
            VideoRequest(track=row.track), refused=self._stop_if_hopeless, entry=entry, patient=True
        )
        self._submissions.add(submission)
        submission.outcome.add_done_callback(lambda _: self._submissions.discard(submission))
        if self._stopping:  # while the ledger was asked
            submission.abandon()
        return submission

    async def _cost(self, track: Track) -> int:
        """Return the estimated micro-credits of a track: one question for each distinct shape of input."""
        shape = (track.author is None, track.brand is None)
        async with self._one_estimate:
            if shape not in self._estimates:
                estimate = await self._client.estimate(track)
                cost = micro(estimate.estimated_credits)
                if cost is None:
                    raise MalformedResponseError(
                        f"EstimateTask: {estimate.estimated_credits:g} credits for a video make no sense",
                        http_status=200,
                    )
                self._estimates[shape] = cost
        return self._estimates[shape]

    def _not_bought(self, track: Track, error: SunoVideoError) -> Outcome:
        if isinstance(error, ClientClosedError) and self._stopping:
            return Outcome(track=track, state="planned", error=self.stopped_by)
        self._stop_if_hopeless(error)
        refused = isinstance(error, InvalidRequestError | NotFoundError) and error.operation == "CreateTask"
        return Outcome(track=track, state="refused" if refused else "planned", error=error)

    def _stop_if_hopeless(self, error: Exception) -> None:
        """Stop for a reason that no other row can help; what a person can mend with money is not raised."""
        if isinstance(error, AuthenticationError | FeatureDisabledError | LedgerError):
            self._failure = self._failure or error
        elif not isinstance(error, InsufficientCreditsError | BudgetExceeded):
            return
        self.stopped_by = self.stopped_by or error
        self.stop()

    async def _follow(self, claim: Claim, work: _Work) -> Outcome:
        row = claim.row
        if row.video_task_id is None:
            raise LedgerError(f"row {row.id} is submitted without a task's id: the ledger is damaged")
        work.task = work.task or self._client.follow(row.video_task_id, row.track, patient=True)
        end: Video | SunoVideoError
        try:
            end = await work.task.result(timeout=self._options.task_timeout)
        except SunoVideoError as error:
            end = error
        if ending := ending_of(end, now=self._client.clock.time()):
            row = await self._books.move(row, ending)
        if isinstance(end, Video):
            outcome = _known(row, "succeeded")
            return await self._download(outcome, claim) if self._options.output_dir else outcome
        if isinstance(end, WaitTimeout):
            self._client.forget(work.task, end)
        self._stop_if_hopeless(end)
        return evolve(_known(row, row.state.value), error=end)

    async def _download(self, outcome: Outcome, claim: Claim) -> Outcome:
        """Fetch a finished video; one that cannot be fetched now is fetched by the next run."""
        row = claim.row
        folder, sha256 = self._options.output_dir or Path(), self._options.sha256
        try:
            name = await self._name(row)
            async with self._downloads:
                saved = await self._client.fetch(_made(outcome), folder, name=name, sha256=sha256)
        except (DownloadError, APIError, TransportError, TaskFailed) as error:
            return evolve(outcome, error=error)
        await self._books.move(row, Ending(state=State.DOWNLOADED, path=saved.path, sha256=saved.sha256))
        return evolve(outcome, state="downloaded", path=saved.path, sha256=saved.sha256)

    async def _name(self, row: LedgerRow) -> str:
        """Return the name of a row's file; no other row of the ledger has it."""
        template, title = self._options.file_name, ""
        if template.needs_title:
            title = await self._title(row.track)
        marked = row.track.key if await self._books.has_namesake(row) else None
        task_id = row.video_task_id or ""
        return template.name(row.track, video_task_id=task_id, title=title, marked_by=marked)

    async def _title(self, track: Track) -> str:
        """Return a song's title, by one question for each of its music tasks in flight."""
        async with self._one_title:
            if track.task_id not in self._titles:
                found = await self._client.tracks(track.task_id)
                while len(self._titles) >= TITLES:
                    self._titles.pop(next(iter(self._titles)))
                self._titles[track.task_id] = {str(one.suno_id): one.title or "" for one in found}
            return self._titles[track.task_id].get(track.suno_id, "")


def _known(row: LedgerRow, state: str) -> Outcome:
    """Return an outcome with what the ledger knows."""
    return Outcome(
        track=row.track,
        state=state,
        video_task_id=row.video_task_id,
        url=row.url,
        path=row.path,
        sha256=row.sha256,
        credits=row.cost / MICRO if row.cost else None,
    )


def _made(outcome: Outcome) -> Video:
    """Return the video of a row that is made, as far as the ledger knows it."""
    task_id, urls = outcome.video_task_id or VideoTaskId(""), (outcome.url or "",)
    return video_of(TaskSnapshot(task_id=task_id, status="success", media_urls=urls), outcome.track)


def _state_at(error: Exception, work: _Work) -> str:
    """Return the state of a row that broke off: what is certain of it."""
    if work.task is not None:
        return "submitted"
    sent = error.sent if isinstance(error, LedgerError) else work.submission is not None
    return "unknown" if sent else "planned"
