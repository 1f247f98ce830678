"""Single submissions with a ledger: `SunoVideoClient(ledger=…)` never buys one track twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import anyio

from suno_video_async.api.submission import Submission
from suno_video_async.clock import Clock
from suno_video_async.errors import (
    AlreadyBoughtError,
    APIError,
    LedgerError,
    SubmissionUnknown,
    SunoVideoError,
    TaskFailed,
)
from suno_video_async.ledger.aio import Books
from suno_video_async.ledger.journal import Entry, ending_of
from suno_video_async.ledger.model import Ending, LedgerRow
from suno_video_async.ledger.states import BOUGHT, State
from suno_video_async.models import TaskSnapshot, Track, Video, VideoRequest, VideoTaskId
from suno_video_async.observability.log import fields, logger
from suno_video_async.task import VideoTask

#: States in which a row's task can be shown again.
_FOUND = frozenset({State.SUBMITTED, State.SUCCEEDED, State.DOWNLOADED, State.FAILED})


class KeptClient(Protocol):
    """What a bookkeeper needs of a client."""

    @property
    def clock(self) -> Clock:
        """The client's time."""
        ...

    @property
    def strict(self) -> bool:
        """Whether a 500 on CreateTask counts as unknown."""
        ...

    def begin(
        self, request: VideoRequest, *, refused: Callable[[APIError], None] = ..., entry: Entry | None
    ) -> Submission:
        """Begin to buy one video."""
        ...

    def follow(self, task_id: VideoTaskId, track: Track) -> VideoTask:
        """Follow a task of the account's own."""
        ...

    def start_soon(self, run: Callable[[], Any]) -> None:
        """Run a coroutine function in the client's own task group."""
        ...


class Bookkeeper:
    """Writes down what `submit` and `generate` buy, and finds again what is bought already."""

    def __init__(self, client: KeptClient, books: Books) -> None:
        self.books = books
        self._client = client
        self._one_claim = anyio.Lock()
        self._submitting = dict[int, Submission]()
        self._settled = dict[VideoTaskId, asyncio.Future[LedgerRow]]()

    async def submit(self, request: VideoRequest) -> VideoTask:
        """Buy a video, or return the task of the one that is bought.

        Raises:
            SubmissionUnknown: it may be bought; `unknowns` of the client decides about it.
            AlreadyBoughtError: it is bought under another author or brand.
            SunoVideoError: as `SunoVideoClient.submit` raises.

        """
        async with self._one_claim:
            claim = await self.books.claim(request.track, where="submit")
            row = claim.row
            submission = self._submitting.get(row.id)
            if submission is None:
                if row.video_task_id is not None and row.state in _FOUND:
                    return self._resumed(row)
                if claim.changed is not None and self._is_bought(claim.changed):
                    raise AlreadyBoughtError(request.track, claim.changed.track.key)
                submission = self._begin(row, request)
        return await submission.wait()

    def _is_bought(self, row: LedgerRow) -> bool:
        return row.state in BOUGHT or row.id in self._submitting

    def _begin(self, row: LedgerRow, request: VideoRequest) -> Submission:
        if row.state in {State.UNKNOWN, State.SUBMITTING}:
            raise SubmissionUnknown(row.track, row.since, row.error[2] if row.error else "interrupted")
        if row.state is State.FAILED or row.failures:
            how = "has failed before" if row.failures else "was given up by hand"
            snapshot = TaskSnapshot(task_id=VideoTaskId("-"), status="failed")
            raise TaskFailed(snapshot, f"{row.track.suno_id} {how} (row {row.id} of the ledger)")
        submission = self._client.begin(request, entry=Entry(self.books, row, strict=self._client.strict))
        self._submitting[row.id] = submission
        submission.outcome.add_done_callback(partial(self._submitted, row))
        # Started now and not by that callback: from one, anyio starts no task where sniffio is installed.
        self._client.start_soon(partial(self._settle_what_is_bought, row, submission))
        return submission

    def _submitted(self, row: LedgerRow, outcome: asyncio.Future[VideoTask | SunoVideoError]) -> None:
        del self._submitting[row.id]
        task = outcome.result()
        if isinstance(task, VideoTask):
            self._settled.setdefault(task.id, asyncio.get_running_loop().create_future())

    async def _settle_what_is_bought(self, row: LedgerRow, submission: Submission) -> None:
        """Settle what was bought, even for a caller who is gone."""
        await asyncio.wait([submission.outcome])
        task = submission.outcome.result()
        if isinstance(task, VideoTask) and not self._settled[task.id].done():
            await self._settle_at_the_end(row, task)

    def _resumed(self, row: LedgerRow) -> VideoTask:
        task = self._client.follow(row.video_task_id or VideoTaskId(""), row.track)
        if row.state is State.SUBMITTED:
            self._settle(row, task)
        elif task.id not in self._settled:
            self._settled[task.id] = asyncio.get_running_loop().create_future()
            self._settled[task.id].set_result(row)
        return task

    def _settle(self, row: LedgerRow, task: VideoTask) -> None:
        if task.id not in self._settled:
            self._settled[task.id] = asyncio.get_running_loop().create_future()
            self._client.start_soon(partial(self._settle_at_the_end, row, task))

    async def _settle_at_the_end(self, row: LedgerRow, task: VideoTask) -> None:
        settled = self._settled[task.id]
        try:
            ending = ending_of(await _end_of(task), now=self._client.clock.time())
            settled.set_result(row if ending is None else await self.books.move(row, ending))
        except LedgerError:
            # The row stays submitted: the next client follows it again.
            logger.exception(
                "the end of task %s could not be written down",
                task.id,
                extra=fields("ledger_failed", track=row.track, task_id=task.id, row=row.where),
            )
        finally:
            if not settled.done():
                settled.cancel()
                del self._settled[task.id]

    async def settled(self, task: VideoTask) -> LedgerRow | None:
        """Wait until the end of a task is written down; None where it could not be."""
        settled = self._settled.get(task.id)
        if settled is None:
            return None
        await asyncio.wait([settled])
        return None if settled.cancelled() else settled.result()

    async def downloaded(self, task: VideoTask, path: Path) -> None:
        """Note that the video of a task is on disk."""
        row = await self.settled(task)
        if row is not None and row.state is State.SUCCEEDED:
            row = await self.books.move(row, Ending(state=State.DOWNLOADED, path=path))
            self._settled[task.id] = asyncio.get_running_loop().create_future()
            self._settled[task.id].set_result(row)


async def _end_of(task: VideoTask) -> Video | SunoVideoError:
    try:
        return await task.result()
    except SunoVideoError as error:
        return error
