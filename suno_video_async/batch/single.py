"""Single submissions with a ledger: `SunoVideoClient(ledger=…)` never buys one track twice."""

from __future__ import annotations

import asyncio
from functools import partial
from os import PathLike
from weakref import WeakKeyDictionary

import anyio
from attrs import evolve

from suno_video_async.api.submission import Submission
from suno_video_async.batch.evidence import confirmed_row
from suno_video_async.download.partial import Saved
from suno_video_async.download.places import folder_of
from suno_video_async.engine import Engine
from suno_video_async.errors import (
    AlreadyBoughtError,
    BudgetExceeded,
    ClientClosedError,
    LedgerError,
    SubmissionUnknown,
    SunoVideoError,
    TaskFailed,
)
from suno_video_async.ledger.aio import AsyncLedger
from suno_video_async.ledger.decision import Action, decide
from suno_video_async.ledger.journal import SubmissionJournal, transition_of
from suno_video_async.ledger.model import Claim, LedgerRow, Transition, task_of
from suno_video_async.ledger.register import RowWork
from suno_video_async.ledger.states import BOUGHT, State
from suno_video_async.models import TaskSnapshot, Track, Video, VideoRequest, VideoTaskId
from suno_video_async.observability.log import fields, logger
from suno_video_async.task import VideoTask

#: States in which a row's task is shown again, even while a conversion works on the row.
_FOUND = frozenset({State.SUBMITTED, State.SUCCEEDED, State.DOWNLOADED})


class SingleSubmissions:
    """Single submissions; with a ledger it writes down what they buy, and finds again what is bought already."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._one_claim = anyio.Lock()
        #: By the handle: what is kept of a task goes with the last one that the caller keeps.
        self._settled = WeakKeyDictionary[VideoTask, asyncio.Future[LedgerRow]]()

    async def submit(self, request: VideoRequest) -> VideoTask:
        """Buy a video, or return the task of the one that is bought.

        Raises:
            SubmissionUnknown: it may be bought; `unknowns` of the client decides about it.
            AlreadyBoughtError: it is bought under another author or brand.
            SunoVideoError: as `SunoVideoClient.submit` raises.

        """
        ledger = self._engine.ledger
        if ledger is None:
            return await self._engine.begin(request).wait()
        asked = False
        while True:
            async with self._one_claim:
                claim = await ledger.call(ledger.sync.claim, request.track, location="submit")
                row, work = claim.row, ledger.register.find(claim.row.id)
                may_ask = not asked and row.state is State.UNKNOWN and row.video_task_id is not None
                if row.state in _FOUND or (work is None and not may_ask):
                    begun = self._decided(ledger, claim, request)
                    break
            if work is None:
                asked = True
                await confirmed_row(self._engine, ledger, row)
            elif (task := await self._joined(work)) is not None:
                self._settle(ledger, row, task)
                return task
        return begun if isinstance(begun, VideoTask) else await begun.wait()

    def _decided(self, ledger: AsyncLedger, claim: Claim, request: VideoRequest) -> VideoTask | Submission:
        """Do what is to be done next with a track: show its task again, begin to buy it, or raise why neither."""
        row = claim.row
        match decide(row, changed=claim.changed is not None and self._is_bought(ledger, claim.changed)):
            case Action.FOLLOW | Action.DOWNLOAD | Action.SKIP:
                return self._resumed(ledger, row)
            case Action.LEAVE_FAILED if row.state is State.FAILED and row.video_task_id is not None:
                return self._resumed(ledger, row)
            case Action.LEAVE_FAILED:
                how = "has failed before" if row.failures else "was given up by hand"
                snapshot = TaskSnapshot(task_id=VideoTaskId("-"), status="failed")
                raise TaskFailed(snapshot, f"{row.track.suno_id} {how} (row {row.id} of the ledger)")
            case Action.RESOLVE:
                reason = row.reason or "interrupted"
                raise SubmissionUnknown(row.track, row.since, reason, task_id=row.video_task_id)
            case Action.REPORT_CHANGED:
                raise AlreadyBoughtError(row.track, (claim.changed or row).track.key)
            case Action.BUY:
                return self._begin(ledger, row, request)

    async def _joined(self, work: RowWork) -> VideoTask | None:
        """Wait for what another caller or a conversion makes of a row; None if it is free again and not bought."""
        outcome = await work.submission()
        if outcome is None:
            return None
        end: VideoTask | SunoVideoError = await asyncio.shield(outcome)
        if isinstance(end, VideoTask):
            return end
        if not isinstance(end, BudgetExceeded | ClientClosedError):
            raise end
        await work.until_ended()  # the other's budget or end is not this caller's
        self._engine.checked()
        return None

    async def generate(
        self, track: Track, output_dir: str | PathLike[str] | None, wait_at_most: float | None
    ) -> Video:
        """Submit, follow and download, and note each in the ledger."""
        engine = self._engine
        folder = None if output_dir is None else folder_of(output_dir)  # before anything is bought
        with engine.reporter.stage("track", via="generate", track=track) as stage:
            task = await self.submit(VideoRequest(track=track))
            stage.task_id = task.id
            video = await task.result(wait_at_most)
            stage.state = "succeeded"
            ledger = engine.checked().ledger
            if ledger is not None:
                await self._settled_row(task)
            if folder is None:
                return video
            saved = await engine.fetch(video, folder)
            stage.state = "downloaded"
            if ledger is not None:
                await self._downloaded(ledger, task, saved)
            return evolve(video, path=saved.path, uri=saved.uri)

    @staticmethod
    def _is_bought(ledger: AsyncLedger, row: LedgerRow) -> bool:
        return row.state in BOUGHT or ledger.register.find(row.id) is not None

    def _begin(self, ledger: AsyncLedger, row: LedgerRow, request: VideoRequest) -> Submission:
        submission = self._engine.begin(
            request, journal=SubmissionJournal(ledger, row, strict=self._engine.strict)
        )
        ledger.register.begin(row.id).submit(submission.outcome)
        ledger.register.end(row.id)
        submission.outcome.add_done_callback(self._submitted)
        # Started now and not by that callback: from one, anyio starts no task where sniffio is installed.
        self._engine.start_soon(partial(self._settle_what_is_bought, ledger, row, submission))
        return submission

    def _submitted(self, outcome: asyncio.Future[VideoTask | SunoVideoError]) -> None:
        task = outcome.result()
        if isinstance(task, VideoTask):
            self._settled.setdefault(task, asyncio.get_running_loop().create_future())

    async def _settle_what_is_bought(self, ledger: AsyncLedger, row: LedgerRow, submission: Submission) -> None:
        """Settle what was bought, even for a caller who is gone."""
        await asyncio.wait([submission.outcome])
        task = submission.outcome.result()
        if isinstance(task, VideoTask) and not self._settled[task].done():
            await self._settle_at_the_end(ledger, row, task)

    def _resumed(self, ledger: AsyncLedger, row: LedgerRow) -> VideoTask:
        task = self._engine.follow(task_of(row), row.track)
        if row.state is State.SUBMITTED:
            self._settle(ledger, row, task)
        elif task not in self._settled:
            self._settled[task] = asyncio.get_running_loop().create_future()
            self._settled[task].set_result(row)
        return task

    def _settle(self, ledger: AsyncLedger, row: LedgerRow, task: VideoTask) -> None:
        if task not in self._settled:
            self._settled[task] = asyncio.get_running_loop().create_future()
            self._engine.start_soon(partial(self._settle_at_the_end, ledger, row, task))

    async def _settle_at_the_end(self, ledger: AsyncLedger, row: LedgerRow, task: VideoTask) -> None:
        settled = self._settled[task]
        try:
            transition = transition_of(await _end_of(task), now=self._engine.clock.time())
            row = evolve(row, video_task_id=task.id)
            row = row if transition is None else await ledger.settle(row, transition)
            if not settled.done():
                settled.set_result(row)
        except LedgerError:
            # The row stays submitted: the next client follows it again.
            logger.exception(
                "the end of task %s could not be written down",
                task.id,
                extra=fields("ledger_failed", track=row.track, task_id=task.id, row=row.location),
            )
        finally:
            if not settled.done():
                settled.cancel()
                del self._settled[task]

    async def _settled_row(self, task: VideoTask) -> LedgerRow | None:
        """Wait until the end of a task is written down; None where it could not be."""
        settled = self._settled.get(task)
        if settled is None:
            return None
        await asyncio.wait([settled])
        return None if settled.cancelled() else settled.result()

    async def _downloaded(self, ledger: AsyncLedger, task: VideoTask, saved: Saved) -> None:
        """Note where the video of a task is."""
        row = await self._settled_row(task)
        if row is not None and row.state is State.SUCCEEDED:
            row = await ledger.settle(row, Transition(state=State.DOWNLOADED, path=saved.path, uri=saved.uri))
            self._settled[task] = asyncio.get_running_loop().create_future()
            self._settled[task].set_result(row)


async def _end_of(task: VideoTask) -> Video | SunoVideoError:
    try:
        return await task.result()
    except SunoVideoError as error:
        return error
