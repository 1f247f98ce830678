"""What a client tells about itself: hooks that cannot break a run, and the logger that all modules share."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from types import TracebackType

from attrs import define, field, frozen

from suno_video_async.errors import (
    DownloadError,
    InvalidRequestError,
    MalformedResponseError,
    NotFoundError,
    SubmissionUnknown,
    SunoVideoError,
    TaskFailed,
)
from suno_video_async.models import TaskUpdate, Track, VideoRequest, VideoTaskId
from suno_video_async.pacing.clock import Clock

logger: logging.Logger = logging.getLogger("suno_video_async")
logger.addHandler(logging.NullHandler())


@define(eq=False, kw_only=True)
class Stage:
    """A part of a track's way, told when it begins and when it ends.

    Attributes:
        name: `"track"` for the whole way; within it `"submit"`, `"follow"` and `"download"`.
        via: what began a whole way: `"convert"`, `"generate"` or `"submit"`.
        parent: the stage that this one is a part of; None for a whole way, and for what is called by itself.
        track: what it is about, as far as known.
        task_id: the video task, once known.
        started: when it began, in Unix seconds of the client's clock.
        seconds: how long it took, of the client's clock; None until the end.
        state: how a whole way ended, in the words of `Outcome.state`; None until the end.
        error: how it went wrong, or None; a cancellation too.

    """

    name: str
    started: float
    via: str | None = None
    parent: Stage | None = None
    track: Track | None = None
    task_id: VideoTaskId | None = None
    seconds: float | None = None
    state: str | None = None
    error: BaseException | None = None
    since: float = field(default=0.0, repr=False)
    """The same as `started`, of the clock's `now`."""


@frozen(kw_only=True)
class RequestEvent:
    """One physical send is over.

    Attributes:
        operation: the call, such as `"TaskInfo"`; `"media"` for the file of a video, which is no call of the API
            and does not count against its limit.
        method: of HTTP.
        url: without its query: what is signed or secret in a URL stands there.
        started: when it was sent, in Unix seconds of the client's clock.
        seconds: how long it took, of the client's clock.
        status: of HTTP; None where no answer came.
        resend: how many times the same thing was sent before.
        waited: seconds that it waited for its place within the limit; None for polls, which wait for nobody.
        task_id: the task that it asks about.
        stage: what it is a part of, if of a track's way.
        error: how it went wrong, or None.

    """

    operation: str
    method: str
    url: str
    started: float
    seconds: float
    status: int | None = None
    resend: int = 0
    waited: float | None = None
    task_id: str | None = None
    stage: Stage | None = None
    error: BaseException | None = None


@frozen(kw_only=True)
class RetryEvent:
    """A call failed and will be tried again after `wait` seconds; `attempt` of them have failed so far.

    `operation` is the call, or `"download"`.
    """

    operation: str
    attempt: int
    wait: float
    error: SunoVideoError


@frozen(kw_only=True)
class SubmitEvent:
    """A submission was accepted: from here on it is paid for.

    One whose answer was lost is told when its callback has brought it back.
    """

    request: VideoRequest
    task_id: VideoTaskId


@frozen(kw_only=True)
class SpendEvent:
    """The API said what a task cost, at the task's end.

    Attributes:
        task_id: the video task.
        track: what it was made from, where that is known.
        credits: what it cost; may be 0 or fractional.
        new: whether this client submitted it. Another one may have told the cost of the others already.

    """

    task_id: VideoTaskId
    track: Track | None
    credits: float
    new: bool


@frozen(kw_only=True)
class PauseEvent:
    """The server asked for less: calls of the `lane` (`"create"` or `"all"`) wait for `seconds`.

    Told once for each refusal. The `wait` of a retry may make the pause longer.
    """

    lane: str
    seconds: float
    error: SunoVideoError


class Hooks:
    """Told what a client does; override what you want to hear.

    The methods are plain functions and run on the event loop, so they must be quick. What they raise is logged and
    changes nothing, `CancelledError` included; `KeyboardInterrupt` and `SystemExit` alone pass.
    """

    def on_begin(self, stage: Stage) -> None:
        """Hear that a part of a track's way begins."""

    def on_end(self, stage: Stage) -> None:
        """Hear that a part of a track's way is over: the same object, with its end."""

    def on_request(self, event: RequestEvent) -> None:
        """Hear that a request was answered, or not."""

    def on_retry(self, event: RetryEvent) -> None:
        """Hear that a call will be tried again."""

    def on_submit(self, event: SubmitEvent) -> None:
        """Hear that a video was bought."""

    def on_update(self, update: TaskUpdate) -> None:
        """Hear what the server said about a followed task, by an answer or a trusted callback."""

    def on_spend(self, event: SpendEvent) -> None:
        """Hear what a task cost."""

    def on_pause(self, event: PauseEvent) -> None:
        """Hear that calls are held up."""


def checked_hooks(hooks: Sequence[Hooks]) -> tuple[Hooks, ...]:
    """Return hooks that can be told.

    Raises:
        TypeError: one has a coroutine function for a method, which nobody would await.

    """
    for hook in hooks:
        for name in (name for name in vars(Hooks) if name.startswith("on_")):
            if inspect.iscoroutinefunction(getattr(hook, name)):
                raise TypeError(
                    f"{type(hook).__name__}.{name} is a coroutine function: hooks are plain functions; start a"
                    " task or fill a queue in one"
                )
    return tuple(hooks)


#: The stage that the running code is a part of; tasks that it starts inherit it.
_current: ContextVar[Stage | None] = ContextVar("suno_video_async_stage", default=None)


@define(eq=False)
class Reporter:
    """Tells the hooks of a client.

    Attributes:
        hooks: who is told; where there are none, nothing is measured.
        clock: the client's time.

    """

    hooks: Sequence[Hooks]
    clock: Clock

    def tell(self, say: Callable[[Hooks], None]) -> None:
        """Say something to every hook; none of them can break a run."""
        for hook in self.hooks:
            try:
                say(hook)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException:  # nothing is awaited here: a CancelledError is the hook's own, too
                logger.exception("a hook failed: %s", type(hook).__name__)

    def begin(
        self, name: str, *, via: str | None = None, track: Track | None = None, task_id: VideoTaskId | None = None
    ) -> Stage:
        """Begin a stage, as a part of the running one."""
        parent = _current.get()
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
            self.tell(lambda hook: hook.on_begin(stage))
        return stage

    def end(self, stage: Stage, error: BaseException | None = None) -> None:
        """End a stage, and with the following of a single submission its whole way: nobody else knows the end."""
        stage.seconds = self.clock.now() - stage.since
        stage.error = error or stage.error
        if stage.name == "track":
            stage.state = stage.state or _state_after(stage)
        if self.hooks:
            self.tell(lambda hook: hook.on_end(stage))
        whole = stage.parent
        if stage.name == "follow" and whole is not None and whole.via == "submit":
            whole.task_id = stage.task_id
            self.end(whole, error)

    @contextmanager
    def stage(
        self, name: str, *, via: str | None = None, track: Track | None = None, task_id: VideoTaskId | None = None
    ) -> Generator[Stage, None, None]:
        """Make a block, and the tasks that it starts, a stage."""
        stage = self.begin(name, via=via, track=track, task_id=task_id)
        with within(stage):
            try:
                yield stage
            except BaseException as error:
                stage.error = error
                raise
            finally:
                self.end(stage)

    @contextmanager
    def submitting(self, track: Track) -> Generator[Stage, None, None]:
        """Make a block the submission of a track; where it is not part of a whole way, one begins.

        Set `task_id` of the stage where it is accepted: the whole way then ends with the following.
        """
        whole = None if _current.get() is not None else self.begin("track", via="submit", track=track)
        with nullcontext() if whole is None else within(whole):
            stage = self.begin("submit", track=track)
            with within(stage):
                try:
                    yield stage
                except BaseException as error:
                    stage.error = error
                    raise
                finally:
                    self.end(stage)
                    if whole is not None and stage.task_id is None:
                        self.end(whole, stage.error)

    def sending(self, operation: str, method: str, url: str, about: About, task_id: str | None = None) -> Sending:
        """Make a block one physical send; its end is told."""
        return Sending(self, (operation, method, url, task_id), about)

    def about(self, resend: int = 0, *, since: float | None = None, stage: Stage | None = None) -> About | None:
        """Return what is told of a send beside the send itself; None where nobody is told.

        Args:
            resend: how many times it was sent before.
            since: when it began to wait for its place, of the clock's `now`.
            stage: what it is a part of; None for the running one.

        """
        if not self.hooks:
            return None
        return About(resend, None if since is None else self.clock.now() - since, stage)


@contextmanager
def within(stage: Stage) -> Generator[None, None, None]:
    """Make a block a part of a stage."""
    token = _current.set(stage)
    try:
        yield
    finally:
        _current.reset(token)


@define
class About:
    """What a send is, beside a request."""

    resend: int = 0
    waited: float | None = None
    stage: Stage | None = None


class Sending:
    """One physical send, from the moment it leaves; a class, for it is made for every request.

    Attributes:
        status: of HTTP, once an answer came.

    """

    def __init__(self, reporter: Reporter, what: tuple[str, str, str, str | None], about: About) -> None:
        self.status: int | None = None
        self._reporter = reporter
        self._about = about
        self._what = what
        self._started = self._since = 0.0

    def __enter__(self) -> Sending:
        clock = self._reporter.clock
        self._started, self._since = clock.time(), clock.now()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        operation, method, url, task_id = self._what
        if self.status is None and isinstance(error, MalformedResponseError):
            self.status = error.http_status  # its body was not read to the end
        event = RequestEvent(
            operation=operation,
            method=method,
            url=url,
            started=self._started,
            seconds=self._reporter.clock.now() - self._since,
            status=self.status,
            resend=self._about.resend,
            waited=self._about.waited,
            task_id=task_id,
            stage=self._about.stage or _current.get(),
            error=error,
        )
        self._reporter.tell(lambda hook: hook.on_request(event))


def _state_after(stage: Stage) -> str:
    """Return how a whole way ended that nobody has called by a name: it broke off, or its following ended."""
    error = stage.error
    if isinstance(error, SubmissionUnknown):
        return "unknown"
    if isinstance(error, TaskFailed):
        return "failed"
    if stage.task_id is not None:
        return "succeeded" if error is None or isinstance(error, DownloadError) else "submitted"
    return "refused" if isinstance(error, InvalidRequestError | NotFoundError) else "planned"
