"""One submission, which outlives its caller once it is being sent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import anyio

from suno_video_async.calls import Calls, Entry
from suno_video_async.errors import APIError, ClientClosedError, SubmissionUnknown, SunoVideoError
from suno_video_async.hooks import Stage
from suno_video_async.logs import fields, logger
from suno_video_async.models import VideoRequest, VideoTaskId
from suno_video_async.pacing.limiter import Place
from suno_video_async.task import VideoTask


class Submission:
    """Carries one CreateTask to its end in the client's own task group.

    The caller awaits `outcome`. When the caller is cancelled, `abandon` ends what has not begun to be sent; a send
    in the air is left to finish, and its task is followed all the same. `sends` counts the physical sends.

    Args:
        calls: how it is sent.
        request: what to buy.
        slots: one is taken before the first send; `accepted` then owns it.
        turn: waits for the place of each send.
        accepted: makes the handle of the new task and begins to follow it.
        refused: told of each refusal, before anything else is sent.
        entry: keeps the books of it.
    """

    def __init__(
        self,
        calls: Calls,
        request: VideoRequest,
        *,
        slots: anyio.Semaphore,
        turn: Callable[[], Awaitable[Place]],
        accepted: Callable[[VideoTaskId, int], VideoTask],
        refused: Callable[[APIError], None],
        entry: Entry | None = None,
    ) -> None:
        self.request = request
        self.outcome: asyncio.Future[VideoTask | SunoVideoError] = asyncio.get_running_loop().create_future()
        self._calls = calls
        self._accepted = accepted
        self._refused = refused
        self._slots = slots
        self._turn = turn
        self._entry = entry
        self._task: VideoTask | None = None
        self._stage: Stage | None = None
        self._wanted = True
        self._claimed = True
        self._in_air = False
        self.sends: int = 0
        self._scope = anyio.CancelScope()

    async def run(self) -> None:
        """Wait for room, then send until it is accepted, refused, unknown or no longer wanted."""
        error: SunoVideoError | None = None
        try:
            with self._scope, self._calls.reporter.submitting(self.request.track) as self._stage:
                await self._slots.acquire()
                try:
                    await self._calls.create(
                        self.request,
                        turn=self._turn,
                        accepted=self._accept,
                        refused=self._refused,
                        sending=self._note_sending,
                        wanted=lambda: self._wanted,
                        entry=self._entry,
                    )
                finally:
                    if self._task is None:
                        self._slots.release()
        except SunoVideoError as raised:
            error = raised
        finally:
            if not self._claimed:
                self._log_unclaimed(error)
            if not self.outcome.done():
                # An error goes first: that of a ledger which could not take the answer has the task's id in it.
                given_up = ClientClosedError("the submission was given up before it was sent")
                self.outcome.set_result(error or self._task or given_up)

    async def wait(self) -> VideoTask:
        """Wait for the end as the caller; a cancelled caller abandons the submission.

        Raises:
            SunoVideoError: no task came of it.

        """
        try:
            outcome = await asyncio.shield(self.outcome)
        except asyncio.CancelledError:
            self._claimed = False
            if self.outcome.done():  # in this very turn of the loop: `run` could not know
                self._log_unclaimed(self.outcome.result())
            self.abandon()
            raise
        if isinstance(outcome, SunoVideoError):
            raise outcome
        return outcome

    def abandon(self) -> None:
        """Do not send, or not again; what is in the air stays there."""
        self._wanted = False
        if not self._in_air:
            self._scope.cancel()

    def _accept(self, task_id: VideoTaskId) -> None:
        self._task = self._accepted(task_id, self.sends)
        if self._stage is not None:
            self._stage.task_id = task_id

    def _note_sending(self, in_air: bool) -> None:
        self._in_air = in_air
        self.sends = self.sends + 1 if in_air else self.sends

    def _log_unclaimed(self, outcome: VideoTask | SunoVideoError | None) -> None:
        """Leave a trace of money that may have been spent for a caller who is gone."""
        track = self.request.track
        if self._task is not None:
            logger.warning(
                "the submission of %s was cancelled too late: it is task %s",
                *(track.suno_id, self._task.id),
                extra=fields("unclaimed", track=track, task_id=self._task.id, state="submitted"),
            )
        elif isinstance(outcome, SubmissionUnknown):
            logger.warning("%s", outcome, extra=fields("unclaimed", error=outcome, state="unknown"))
