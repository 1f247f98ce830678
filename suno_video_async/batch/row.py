"""One row of a conversion, from the state that it is in to its end."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import anyio
from attrs import define, evolve, field, frozen

from suno_video_async.api.submission import Submission
from suno_video_async.batch.budget import Budget
from suno_video_async.batch.evidence import confirmed_row, emit_found
from suno_video_async.batch.ledgers import OtherLedgers
from suno_video_async.batch.options import Options
from suno_video_async.batch.outcome import Outcome
from suno_video_async.batch.reach import ReachCheck
from suno_video_async.batch.stop import StopSignal
from suno_video_async.batch.witness import Evidence, Known, Witness
from suno_video_async.callbacks import Inbox
from suno_video_async.download.filenames import marked
from suno_video_async.download.places import Folder
from suno_video_async.engine import Engine
from suno_video_async.errors import (
    AlreadyBoughtError,
    APIError,
    CatalogError,
    ClientClosedError,
    DownloadError,
    InvalidRequestError,
    LedgerError,
    NotFoundError,
    SubmissionUnknown,
    SunoVideoError,
    TaskEndUnknown,
    TaskFailed,
    TransportError,
    VideoNotReady,
    WaitTimeout,
)
from suno_video_async.ledger.aio import AsyncLedger
from suno_video_async.ledger.decision import Action, decide
from suno_video_async.ledger.journal import SubmissionJournal, micro, transition_of
from suno_video_async.ledger.model import AWAITED, MICRO, Claim, LedgerRow, Transition, task_of
from suno_video_async.ledger.register import RowWork
from suno_video_async.ledger.states import Cause, State
from suno_video_async.models import (
    LONGEST_TASK,
    UNKNOWN_GRACE,
    MusicTaskId,
    OutcomeState,
    TaskSnapshot,
    Track,
    Video,
    VideoRequest,
    VideoTaskId,
)
from suno_video_async.observability.log import fields, logger
from suno_video_async.task import VideoTask

#: A submission in doubt waits for its callback twice as long as this share of the tasks takes: one task in a
#: hundred takes longer than the share says.
ALMOST_ALL = 0.99
#: A submission's callback is due once this share of the tasks has ended; the model knows when to within a tenth.
HALF, NEARLY = 0.5, 0.9
#: How often a row is sent in one run where every answer is a 500 and no callback comes.
SENDS_AFTER_500 = 3


@define(eq=False)
class Work:
    """What is known of one row of the run so far."""

    location: str
    started: float
    sends: int = 0
    claimed: RowWork | None = None
    submission: Submission | None = None
    task: VideoTask | None = None

    @property
    def requests(self) -> int:
        """API requests spent on the row in this run."""
        if self.task is not None:
            return self.task.requests
        return self.submission.sends if self.submission is not None else 0


@frozen
class Unclaimed:
    """A track that the ledger could not take in."""

    track: Track
    error: LedgerError


@define(eq=False)
class RowProcessor:
    """Processes rows independently, each to a final state.

    Attributes:
        engine: makes the calls.
        ledger: keeps the rows.
        options: how the catalog is converted.
        inbox: the callbacks of this conversion, if the service calls back.
        stop_signal: whether rows are still submitted.
        others: the ledgers beside the catalog's own; None if they do not matter.

    """

    engine: Engine
    ledger: AsyncLedger
    options: Options
    inbox: Inbox | None
    stop_signal: StopSignal
    others: OtherLedgers | None = None
    _budget: Budget | None = field(init=False)
    _titles: TitleCache = field(init=False)
    _reach: ReachCheck = field(init=False)
    _witness: Witness = field(factory=Witness, init=False)

    def __attrs_post_init__(self) -> None:
        self._titles = TitleCache(self.engine)
        limit = micro(self.options.buying.max_credits)
        self._budget = None if limit is None else Budget(self.engine, self.ledger, limit)
        self._reach = ReachCheck(self.engine)

    async def process(self, claim: Claim | CatalogError | Unclaimed, work: Work) -> Outcome:
        """Bring a row to its end as one stage, for hooks to hear of."""
        track = claim.row.track if isinstance(claim, Claim) else getattr(claim, "track", None)
        with self.engine.reporter.stage("track", via="convert", track=track) as stage:
            try:
                outcome = await self._outcome(claim, work)
            finally:
                stage.task_id = None if work.task is None else work.task.id
                if self._budget is not None and isinstance(claim, Claim):
                    self._budget.leave(claim.row)
            stage.state, stage.error, stage.task_id = outcome.state, outcome.error, outcome.video_task_id
            return outcome

    async def _outcome(self, claim: Claim | CatalogError | Unclaimed, work: Work) -> Outcome:
        if isinstance(claim, CatalogError):
            return Outcome(track=None, state="refused", error=claim)
        if isinstance(claim, Unclaimed):
            self.stop_signal.stop_if_fatal(claim.error)
            return Outcome(track=claim.track, state="planned", error=claim.error)
        try:
            return await self._work_on(claim, work)
        except LedgerError as error:
            self.stop_signal.stop_if_fatal(error)
            known = _known(claim.row, _state_at(error, work))
            task_id = error.task_id if work.task is None else work.task.id
            return evolve(known, video_task_id=known.video_task_id or task_id, error=error)
        except ClientClosedError as error:
            state: OutcomeState = "submitted" if claim.row.state is State.SUBMITTED else "planned"
            return evolve(_known(claim.row, state), error=error)
        except Exception as error:
            # A defect: it must not take the other rows with it, nor be mistaken for an outcome.
            extra = fields("defect", track=claim.row.track, row=work.location, error=error)
            logger.exception("row %s broke off", work.location, extra=extra)
            self.stop_signal.fail(error)
            self.stop_signal.stop()
            defect = SunoVideoError(f"a defect of this library: {error!r}")
            defect.__cause__ = error
            return evolve(_known(claim.row, _state_at(error, work)), error=defect)

    async def read_balance(self) -> None:
        """Read the balance as a witness of what was charged; where nothing answers, there is no reading."""
        before = self._witness.known()
        with contextlib.suppress(SunoVideoError):
            balance = await self.engine.calls.probe()
            after = self._witness.known(sending=len(self.stop_signal.submissions))
            self._witness.read(balance, before=before, after=after)

    async def evidence(self) -> Evidence | None:
        """Return how many of this run's unknown rows the balance explains; None if there is none."""
        if not self._witness.unknown:
            return None
        taken = len(self._witness.readings)
        await self.read_balance()
        if len(self._witness.readings) == taken:
            self._witness.readings.clear()  # without one at the end, the earlier ones say nothing of the end
        return self._witness.evidence(resent=self.engine.statistics.resent_after_500)

    async def _work_on(self, claim: Claim, work: Work) -> Outcome:
        """Do what a row needs, when no other part of the client works on it."""
        if claim.repeated:
            return _known(claim.row, "skipped")
        register, row_id = self.ledger.register, claim.row.id
        work.claimed = await register.begin_when_free(row_id)
        try:
            return await self._continue(await self._current(claim), work)
        finally:
            register.end(row_id)

    async def _current(self, claim: Claim) -> Claim:
        """Return a claim with its row as it stands now: another part of the client may have worked on it."""
        row = await self.ledger.call(self.ledger.sync.row, claim.row.id) if self.ledger.shared else None
        return claim if row is None else evolve(claim, row=evolve(row, track=claim.row.track))

    async def _continue(self, claim: Claim, work: Work) -> Outcome:
        """Do what a row needs next, from the state that it is in."""
        row = claim.row
        match action := self._decide(claim):
            case Action.FOLLOW:
                return await self._follow(row, work)
            case Action.DOWNLOAD:
                return await self._download(_known(row, "succeeded"), row)
            case Action.RESOLVE:
                return await self._find(claim, work)
            case Action.BUY | Action.REPORT_CHANGED if self.stop_signal.stopping:
                outcome = Outcome(track=row.track, state="planned", error=self.stop_signal.reason)
            case Action.BUY:
                bought = await self._buy(claim, work)
                if isinstance(bought, LedgerRow):
                    return await self._follow(bought, work)
                outcome = bought
            case Action.SKIP | Action.LEAVE_FAILED | Action.REPORT_CHANGED:
                return evolve(_known(row, "skipped"), error=_why_left(action, claim))
        return await self._as_it_stands(row, outcome)

    def _decide(self, claim: Claim) -> Action:
        return decide(
            claim.row,
            changed=claim.changed is not None,
            buying=self.options.buying,
            download=self.options.output_dir is not None,
        )

    async def _as_it_stands(self, row: LedgerRow, outcome: Outcome) -> Outcome:
        """Say of a row that was to be bought again, and was not, how it ended before."""
        again = row.state in {State.FAILED, State.REFUSED} and outcome.state == "planned"
        kept = await self.ledger.call(self.ledger.sync.row, row.id) if again else None
        return outcome if kept is None else evolve(_known(kept, _STATES[kept.state]), error=outcome.error)

    async def _buy(self, claim: Claim, work: Work) -> LedgerRow | Outcome:
        """Submit a row, and return it as bought, or else how it ended; its submission is let go with that."""
        try:
            if self.others is not None:
                await self.others.check(claim.row.track, self._expected_file(claim.row.track))
            await self._reach.pass_once()
            if not self._witness.readings:
                self._witness.read(self._reach.balance, before=Known(), after=Known())
            if self._budget is not None:
                await self._budget.admit(claim.row)
            if self.stop_signal.stopping:
                return Outcome(track=claim.row.track, state="planned", error=self.stop_signal.reason)
            journal = self._journal(claim.row, work)
            work.submission = self._submission(journal, work)
            work.sends += 1
            try:
                work.task = await work.submission.wait()
            finally:
                self.stop_signal.release(work.submission)
            work.submission = None
            self._witness.accepted(claim.row.id)
        except LedgerError:
            raise
        except SubmissionUnknown as error:
            row = await self.ledger.call(self.ledger.sync.row, claim.row.id) or claim.row
            self._witness.lost(row.id)
            return await self._resolve_unknown(evolve(claim, row=row), work, error)
        except SunoVideoError as error:
            return self._not_bought(claim.row.track, error)
        row = journal.row
        if self.inbox is not None:
            await self.inbox.catch_up(row)
        return row

    async def _find(self, claim: Claim, work: Work) -> Outcome:
        """Go on with a row of an earlier run that may be bought."""
        work.sends = 1
        row = await confirmed_row(self.engine, self.ledger, claim.row)
        if row.state is State.SUBMITTED:
            return await self._follow(row, work)
        error = SubmissionUnknown(row.track, row.since, row.reason or "interrupted")
        return await self._resolve_unknown(claim, work, error)

    async def _resolve_unknown(self, claim: Claim, work: Work, error: SubmissionUnknown) -> Outcome:
        """Follow a row that may be bought where its callback comes, and buy it where it counts as not bought."""
        if self._budget is not None:
            self._budget.leave(claim.row)  # whatever becomes of it, TaskInfo cannot name its price yet
        row = await self._adopted(claim.row, work)
        if row.state is State.SUBMITTED:
            self._witness.found(row.id)
            emit_found(self.engine, row)
            return await self._follow(row, work)
        if row.state is State.PLANNED:
            if work.sends < SENDS_AFTER_500:
                return await self._continue(evolve(claim, row=row), work)
            return Outcome(track=row.track, state="planned", error=error)
        kept = row.video_task_id or (None if error.task_id is None else VideoTaskId(error.task_id))
        return evolve(_known(row, "unknown"), video_task_id=kept, error=error)

    async def _adopted(self, row: LedgerRow, work: Work) -> LedgerRow:
        """Wait for the callback of a submission in doubt, for as long as one may still come.

        Returns the row as submitted; as planned where none came after a 500, by which the API says that it failed,
        while those of others did; or as unknown still.
        """
        if self.inbox is None:
            return row
        grace = max(UNKNOWN_GRACE, min(2 * self.engine.usual_duration(ALMOST_ALL), LONGEST_TASK))
        left, began, sent_here = grace, self.engine.clock.now(), work.submission is not None
        if not sent_here:  # by clocks that may have been set since
            left = min(max(0.0, row.since + grace - self.engine.clock.time()), grace)
        left = max(left, self.options.unknown_grace or 0.0)
        if (adopted := await self.inbox.adopt(row, left)) is not None:
            return adopted
        awaited = row.error is not None and row.error.type == AWAITED and not self.engine.strict
        # The callback of an earlier run's submission may have come while nothing listened.
        if (
            not awaited
            or not sent_here
            or not self.inbox.callbacks_came(began, NEARLY * self.engine.usual_duration(HALF))
        ):
            return row
        row = await self.ledger.move(row, Transition(state=State.PLANNED, error=row.error), cause=Cause.SILENCE)
        # A callback that came at the last moment has kept it as it was.
        called = None if row.state is State.PLANNED else await self.inbox.adopt(row, 0.0)
        return called or row

    def _journal(self, row: LedgerRow, work: Work) -> SubmissionJournal:
        budget = self._budget
        return SubmissionJournal(
            self.ledger,
            row,
            reserve=(lambda: 0) if budget is None else partial(budget.reservation, row.track),
            budget=None if budget is None else budget.limit,
            rebuy_changed=self.options.buying.rebuy_changed,
            strict=self.engine.strict,
            sent_before=work.sends > 0,
            callback_url=self.inbox.url if self.inbox is not None else None,
            check_others=None if self.others is None else self.others.check,
        )

    def _submission(self, journal: SubmissionJournal, work: Work) -> Submission:
        submission = self.engine.begin(
            VideoRequest(track=journal.row.track),
            refused=self.stop_signal.stop_if_fatal,
            journal=journal,
            bulk=True,
        )
        if work.claimed is not None:
            work.claimed.submit(submission.outcome)
        self.stop_signal.watch(submission)
        return submission

    def _not_bought(self, track: Track, error: SunoVideoError) -> Outcome:
        if isinstance(error, ClientClosedError) and self.stop_signal.stopping:
            return Outcome(track=track, state="planned", error=self.stop_signal.reason)
        if isinstance(error, AlreadyBoughtError):
            return Outcome(track=track, state="skipped", error=error)
        self.stop_signal.stop_if_fatal(error)
        refused = isinstance(error, InvalidRequestError | NotFoundError) and error.operation == "CreateTask"
        return Outcome(track=track, state="refused" if refused else "planned", error=error)

    async def _follow(self, row: LedgerRow, work: Work) -> Outcome:
        work.task = work.task or self.engine.follow(task_of(row), row.track, bulk=True)
        if self._budget is None:
            end = await self._end_of(work.task)
        else:
            end = await self._priced_end_of(row, work.task, self._budget)
        if transition := transition_of(end, now=self.engine.clock.time()):
            row = await self.ledger.settle(row, transition)
        self._witness.ended(row.id, end, unknown=row.state is State.UNKNOWN)
        if self._budget is not None:
            if isinstance(end, Video):
                await self._budget.note_price(row, end.credits)
            self._budget.leave(row)
        if isinstance(end, Video):
            outcome = _known(row, "succeeded")
            return await self._download(outcome, row) if self.options.output_dir else outcome
        if isinstance(end, WaitTimeout):
            self.engine.forget(work.task, end)
        self.stop_signal.stop_if_fatal(end)
        return evolve(_known(row, _STATES[row.state]), error=end)

    async def _priced_end_of(self, row: LedgerRow, task: VideoTask, budget: Budget) -> Video | SunoVideoError:
        """Follow a task to its end; its price is asked for meanwhile."""
        ends: list[Video | SunoVideoError] = []
        async with anyio.create_task_group() as group:
            group.start_soon(budget.ask_price, row, task)
            ends.append(await self._end_of(task))
            group.cancel_scope.cancel()
        return ends[0]

    async def _end_of(self, task: VideoTask) -> Video | SunoVideoError:
        try:
            return await task.result(timeout=self.options.task_timeout)
        except SunoVideoError as error:
            return error

    async def _download(self, outcome: Outcome, row: LedgerRow) -> Outcome:
        """Fetch a finished video; one that cannot be fetched now is fetched by the next run."""
        folder, sha256 = self.options.output_dir or Path(), self.options.sha256
        try:
            name = await self._name(row, folder)
            saved = await self.engine.fetch(_made(outcome), folder, name=name, sha256=sha256)
        except (DownloadError, APIError, TransportError, TaskFailed, TaskEndUnknown, VideoNotReady) as error:
            return evolve(outcome, error=error)
        path, uri, digest = saved.path, saved.uri, saved.sha256
        await self.ledger.settle(row, Transition(state=State.DOWNLOADED, path=path, uri=uri, sha256=digest))
        return evolve(outcome, state="downloaded", path=path, uri=uri, sha256=digest)

    def _expected_file(self, track: Track) -> Path | None:
        """Return the file that a track's video will be, as far as that is known before it is made."""
        template, folder = self.options.file_name, self.options.output_dir
        return folder / template.name(track) if isinstance(folder, Path) and template.needs_track_only else None

    async def _name(self, row: LedgerRow, folder: Folder) -> str:
        """Return the name of a row's file: decided once, and no other row's, nor that of a file that is there."""
        if row.name is not None:
            return row.name
        wanted = await self._wanted_name(row)
        marks = (f"{row.track.key} {number}" for number in itertools.count(1))
        for name in itertools.chain([wanted], (marked(wanted, mark) for mark in marks)):
            is_free = await self.engine.is_free(folder / name, row.video_task_id)
            if is_free and await self.ledger.call(self.ledger.sync.take_name, row.id, name):
                return name
        raise AssertionError("marks do not end")

    async def _wanted_name(self, row: LedgerRow) -> str:
        template, title = self.options.file_name, ""
        if template.needs_title:
            title = await self._titles.of(row.track)
        namesake = await self.ledger.call(self.ledger.sync.has_namesake, row)
        mark, task_id = row.track.key if namesake else None, row.video_task_id or ""
        return template.name(row.track, video_task_id=task_id, title=title, marked_by=mark)


#: The outcome of a row that a run leaves in a state.
_STATES: Mapping[State, OutcomeState] = {
    State.PLANNED: "planned",
    State.SUBMITTING: "unknown",
    State.SUBMITTED: "submitted",
    State.SUCCEEDED: "succeeded",
    State.DOWNLOADED: "downloaded",
    State.FAILED: "failed",
    State.REFUSED: "refused",
    State.UNKNOWN: "unknown",
}


def _known(row: LedgerRow, state: OutcomeState) -> Outcome:
    """Return an outcome with what the ledger knows."""
    return Outcome(
        track=row.track,
        state=state,
        video_task_id=row.video_task_id,
        url=row.url,
        path=row.path,
        uri=row.uri,
        sha256=row.sha256,
        credits=row.cost / MICRO if row.cost else None,
    )


def _why_left(action: Action, claim: Claim) -> SunoVideoError | None:
    """Return why nothing is done with a row, unless its video is there."""
    row = claim.row
    if action is Action.REPORT_CHANGED:
        return AlreadyBoughtError(row.track, (claim.changed or row).track.key)
    if action is Action.LEAVE_FAILED:
        snapshot = TaskSnapshot(task_id=row.video_task_id or VideoTaskId("-"), status="failed")
        return TaskFailed(snapshot, row.reason or "failed in an earlier run")
    return None


def _made(outcome: Outcome) -> Video:
    """Return the video of a row that is made, as far as the ledger knows it."""
    task_id, url = outcome.video_task_id or VideoTaskId(""), outcome.url or ""
    snapshot = TaskSnapshot(task_id=task_id, status="success", media_urls=(url,))
    suno_id = None if outcome.track is None else outcome.track.suno_id
    return Video(task_id=task_id, url=url, suno_id=suno_id, snapshot=snapshot)


def _state_at(error: Exception, work: Work) -> OutcomeState:
    """Return the state of a row that broke off: what is certain of it."""
    if work.task is not None:
        return "submitted"
    sent = error.sent if isinstance(error, LedgerError) else work.submission is not None
    return "unknown" if sent else "planned"


#: Music tasks whose titles are remembered, since the tracks of one stand together in a catalog.
TITLES = 100


@define(eq=False)
class TitleCache:
    """What songs are called: one question for each music task, as long as it is remembered."""

    engine: Engine
    _known: dict[MusicTaskId, dict[str, str]] = field(factory=dict[MusicTaskId, dict[str, str]], init=False)
    _one: anyio.Lock = field(factory=anyio.Lock, init=False)

    async def of(self, track: Track) -> str:
        """Return a song's title, empty if it has none or cannot be looked up: the video is kept in any case."""
        async with self._one:
            if track.task_id not in self._known:
                try:
                    found = await self.engine.tracks(track.task_id)
                except (APIError, TransportError) as error:
                    extra = fields("title", track=track, error=error)
                    logger.warning("the title of %s is not known: %s", track.suno_id, error, extra=extra)
                    found = ()
                while len(self._known) >= TITLES:
                    self._known.pop(next(iter(self._known)))
                self._known[track.task_id] = {str(one.suno_id): one.title or "" for one in found}
            return self._known[track.task_id].get(track.suno_id, "")
