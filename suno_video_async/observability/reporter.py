"""Reports a client's events to hooks, which cannot break a run; one of them writes the log."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar, Token
from types import TracebackType

from attrs import define, field

from suno_video_async.clock import Clock
from suno_video_async.errors import (
    DownloadError,
    InvalidRequestError,
    MalformedResponseError,
    NotFoundError,
    SubmissionUnknown,
    TaskFailed,
)
from suno_video_async.hooks import Hooks, PauseEvent, RequestEvent, RetryEvent, SpendEvent, Stage, SubmitEvent
from suno_video_async.models import LimitsFound, OutcomeState, TaskUpdate, Track, VideoTaskId
from suno_video_async.observability.log import fields, logger


class _Log(Hooks):
    """Logs events: costs and delays as `INFO`, each request and update as `DEBUG`."""

    def on_end(self, stage: Stage) -> None:
        whole = stage.name == "track"
        extra = fields(
            "ended" if whole else f"{stage.name}_ended",
            error=stage.error,
            track=stage.track,
            task_id=stage.task_id,
            state=stage.state,
            seconds=stage.seconds,
        )
        what = (stage.track.suno_id if stage.track else stage.task_id, stage.state or stage.name, stage.seconds)
        logger.log(logging.INFO if whole else logging.DEBUG, "%s: %s after %.1f s", *what, extra=extra)

    def on_request(self, event: RequestEvent) -> None:
        if logger.isEnabledFor(logging.DEBUG):
            answer = event.status if event.error is None else f"{event.status or ''} {event.error!r}".strip()
            extra = fields(
                "request",
                error=event.error,
                operation=event.operation,
                method=event.method,
                url=event.url,
                task_id=event.task_id,
                attempt=event.resend + 1,
                wait=event.waited,
                seconds=event.seconds,
                http_status=event.status,
            )
            logger.debug("%s %s: %s in %.3f s", event.method, event.url, answer, event.seconds, extra=extra)

    def on_retry(self, event: RetryEvent) -> None:
        extra = fields(
            "retry", error=event.error, operation=event.operation, attempt=event.attempt, wait=event.wait
        )
        what = (event.operation, event.attempt, event.error, event.wait)
        logger.info("%s failed, try %d: %s; again in %.1f s", *what, extra=extra)

    def on_submit(self, event: SubmitEvent) -> None:
        track = event.request.track
        extra = fields("submitted", operation="CreateTask", track=track, task_id=event.task_id, state="submitted")
        logger.info("%s: bought as task %s", track.suno_id, event.task_id, extra=extra)

    def on_update(self, update: TaskUpdate) -> None:
        task_id, word = update.task_id, update.snapshot.raw_status
        extra = fields("update", task_id=task_id, state=word, seconds=update.elapsed)
        logger.debug("task %s: %s after %.1f s", task_id, word, update.elapsed, extra=extra)

    def on_spend(self, event: SpendEvent) -> None:
        extra = fields("spent", track=event.track, task_id=event.task_id, credits=event.credits)
        logger.info("task %s: cost %g credits", event.task_id, event.credits, extra=extra)

    def on_pause(self, event: PauseEvent) -> None:
        extra = fields("pause", error=event.error, lane=event.lane, wait=event.seconds)
        what = ("all calls wait" if event.lane == "all" else "submissions wait", event.seconds, event.error)
        logger.info("%s for %.1f s: %s", *what, extra=extra)

    def on_limits(self, found: LimitsFound) -> None:
        logger.info("limits of the key: %s", found, extra=fields("limits_found"))


LOG = _Log()

#: The stage that the running code is a part of; tasks that it starts inherit it.
_current: ContextVar[Stage | None] = ContextVar("suno_video_async_stage", default=None)


@define(eq=False)
class Reporter:
    """Reports to the hooks of a client, and to the log.

    Attributes:
        clock: the client's time.

    """

    _own: tuple[Hooks, ...]
    clock: Clock

    @property
    def hooks(self) -> tuple[Hooks, ...]:
        """The hooks to notify; if there are none, nothing is measured."""
        return (LOG, *self._own) if logger.isEnabledFor(logging.INFO) else self._own

    def emit(self, say: Callable[[Hooks], None]) -> None:
        """Notify every hook; none of them can break a run."""
        token = _current.set(None)  # a task that a hook starts is not part of the stage
        try:
            for hook in self.hooks:
                try:
                    say(hook)
                except (KeyboardInterrupt, SystemExit):
                    raise
                except BaseException as error:  # nothing is awaited: a CancelledError is the hook's own, too
                    _complain(hook, error)
        finally:
            _current.reset(token)

    def begin(
        self,
        name: str,
        *,
        via: str | None = None,
        parent: Stage | None = None,
        track: Track | None = None,
        task_id: VideoTaskId | None = None,
    ) -> Stage:
        """Begin a stage, as a part of `parent`, or else of the running one."""
        parent = parent or _current.get()
        if name == "follow" and parent is not None and parent.name == "submit":
            parent = parent.parent  # it begins with the answer of the submission, and outlives it
        stage = Stage(
            name=name,
            via=via,
            parent=parent,
            track=track,
            task_id=task_id,
            started=self.clock.time(),
            since=self.clock.now(),
        )
        if self.hooks:
            self.emit(lambda hook: hook.on_begin(stage))
        return stage

    def end(self, stage: Stage, error: BaseException | None = None) -> None:
        """End a stage; the end of following a single submission also ends its whole processing."""
        stage.error = error or stage.error
        if self.hooks:
            stage.seconds = self.clock.now() - stage.since
            if stage.name == "track":
                stage.state = stage.state or _state_after(stage)
            self.emit(lambda hook: hook.on_end(stage))
        whole = stage.parent
        if stage.name == "follow" and whole is not None and whole.via == "submit":
            whole.task_id = stage.task_id
            self.end(whole, error)

    def stage(
        self, name: str, *, via: str | None = None, track: Track | None = None, task_id: VideoTaskId | None = None
    ) -> StageBlock:
        """Begin a stage that is a block, with the tasks that it starts."""
        return StageBlock(self, self.begin(name, via=via, track=track, task_id=task_id))

    def submitting(self, track: Track) -> StageBlock:
        """Begin the submission of a track, which is a block; outside a `track` stage, begin that one, too.

        Set the stage's `task_id` if it is accepted: the `track` stage then ends with the following.
        """
        whole = None if _current.get() is not None else self.begin("track", via="submit", track=track)
        return StageBlock(self, self.begin("submit", parent=whole, track=track), whole)

    def trace(self, resend: int = 0, *, stage: Stage | None = None) -> RequestTrace | None:
        """Return what reports a send; None if no hook needs it.

        Args:
            resend: how many times it was sent before.
            stage: the stage that it belongs to; None for the running one.

        """
        if not self._own and not logger.isEnabledFor(logging.DEBUG):
            return None
        return RequestTrace(self, resend, stage)


def _complain(hook: Hooks, error: BaseException) -> None:
    """Log that a hook failed; a handler of the log may be what fails."""
    kind = type(hook).__name__
    with suppress(Exception):
        logger.error(
            "a hook failed: %s", kind, exc_info=error, extra=fields("hook_failed", error=error, hook=kind)
        )


@define(eq=False)
class StageBlock:
    """A block that is a stage; a class, because each track has two.

    Attributes:
        stage: the stage; it ends with the block.
        whole: what else ends then, unless the stage has got a task by which it is followed.

    """

    _reporter: Reporter
    stage: Stage
    whole: Stage | None = None
    _token: Token[Stage | None] = field(init=False)

    def __enter__(self) -> Stage:
        self._token = _current.set(self.stage)
        return self.stage

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _current.reset(self._token)
        self._reporter.end(self.stage, error)
        if self.whole is not None and self.stage.task_id is None:
            self._reporter.end(self.whole, self.stage.error)


@define(eq=False)
class RequestTrace:
    """Reports one physical send; a class, because it is created for every request.

    Attributes:
        resend: how many times it was sent before.
        stage: the stage that it belongs to; None for the running one.
        waited: seconds that it waited for its place, where it did.
        status: the HTTP status, once an answer came.

    """

    _reporter: Reporter
    resend: int = 0
    stage: Stage | None = None
    waited: float | None = field(default=None, init=False)
    status: int | None = field(default=None, init=False)
    _made: float = field(init=False)
    _request: tuple[str, str, str, str | None] = field(init=False)
    _started: tuple[float, float] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._made = self._reporter.clock.now()

    def has_place(self) -> None:
        """Note that what waited for its place, since this was made, has it now."""
        self.waited = self._reporter.clock.now() - self._made

    def sending(self, operation: str, method: str, url: str, task_id: str | None = None) -> RequestTrace:
        """Make a block the send of this request; its end is reported."""
        self._request = operation, method, url, task_id
        return self

    def __enter__(self) -> RequestTrace:
        clock = self._reporter.clock
        self._started = clock.time(), clock.now()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        operation, method, url, task_id = self._request
        started, since = self._started
        if self.status is None and isinstance(error, MalformedResponseError):
            self.status = error.http_status  # its body was not read to the end
        event = RequestEvent(
            operation=operation,
            method=method,
            url=url,
            started=started,
            seconds=self._reporter.clock.now() - since,
            status=self.status,
            resend=self.resend,
            waited=self.waited,
            task_id=task_id,
            stage=self.stage or _current.get(),
            error=error,
        )
        self._reporter.emit(lambda hook: hook.on_request(event))


def _state_after(stage: Stage) -> OutcomeState:
    """Return the final state of a `track` stage that has none: it was aborted, or its following ended."""
    error = stage.error
    if isinstance(error, SubmissionUnknown):
        return "unknown"
    if isinstance(error, TaskFailed):
        return "failed"
    if stage.task_id is not None:
        return "succeeded" if error is None or isinstance(error, DownloadError) else "submitted"
    return "refused" if isinstance(error, InvalidRequestError | NotFoundError) else "planned"
