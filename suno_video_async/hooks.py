"""Hooks, and the events that a client reports to them."""

from __future__ import annotations

import inspect
from collections.abc import Iterable

from attrs import define, field, frozen

from suno_video_async.errors import SunoVideoError
from suno_video_async.models import LimitsFound, OutcomeState, TaskUpdate, Track, VideoRequest, VideoTaskId


@define(eq=False, kw_only=True)
class Stage:
    """A stage in the processing of a track, reported when it begins and when it ends.

    Attributes:
        name: `"track"` for the whole processing; within it `"submit"`, `"follow"` and `"download"`.
        via: what started a whole processing: `"convert"`, `"generate"` or `"submit"`.
        parent: the stage that this one is a part of; None for a whole processing, and for a separate call.
        track: the track, if known.
        task_id: the video task, once known.
        started: when it began, in Unix seconds of the client's clock.
        seconds: how long it took, by the client's clock; None until the end.
        state: how a whole processing ended, as `Outcome.state`; None until the end.
        error: the error that ended it, including a cancellation, or None.

    """

    name: str
    started: float
    since: float = field(repr=False)
    """The same as `started`, by the clock's `now`."""
    via: str | None = None
    parent: Stage | None = None
    track: Track | None = None
    task_id: VideoTaskId | None = None
    seconds: float | None = None
    state: OutcomeState | None = None
    error: BaseException | None = None


@frozen(kw_only=True)
class RequestEvent:
    """One physical send has finished.

    Attributes:
        operation: the call, such as `"TaskInfo"`; `"media"` for the file of a video, which is not an API call
            and does not count against its limit.
        method: the HTTP method.
        url: without its query: that part may be signed or secret.
        started: when it was sent, in Unix seconds of the client's clock.
        seconds: how long it took, by the client's clock.
        status: the HTTP status; None if no answer came.
        resend: how many times the same request was sent before.
        waited: seconds that it waited for its place within the limit; None for polls, which do not queue.
        task_id: the task that it queries.
        stage: the stage that it belongs to, if any.
        error: the error, or None.

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

    One whose answer was lost is reported when its callback has resolved it.
    """

    request: VideoRequest
    task_id: VideoTaskId


@frozen(kw_only=True)
class SpendEvent:
    """The API reported the cost of a task, at the task's end.

    Attributes:
        task_id: the video task.
        track: what it was made from, if known.
        credits: what it cost; may be 0 or fractional.
        new: whether this client submitted it. Another client may already have reported the cost of the others.

    """

    task_id: VideoTaskId
    track: Track | None
    credits: float
    new: bool


@frozen(kw_only=True)
class PriceEvent:
    """A video costs something else than the estimate that it was bought on; reported once for each conversion.

    Only a conversion with a budget asks for estimates.

    Attributes:
        task_id: the video task.
        track: what it is made from.
        estimated: the estimate, in credits.
        credits: the price that TaskInfo names.

    """

    task_id: VideoTaskId
    track: Track
    estimated: float
    credits: float


@frozen(kw_only=True)
class PauseEvent:
    """The server asked to slow down: calls of the `lane` (`"create"`, `"read"` or `"all"`) wait for `seconds`.

    Reported once for each refusal. The `wait` of a retry may make the pause longer.
    """

    lane: str
    seconds: float
    error: SunoVideoError


class Hooks:
    """Receives the events of a client; override the methods that you need.

    The methods are plain functions and run on the event loop, so they must be quick. What they raise is logged and
    changes nothing, `CancelledError` included; only `KeyboardInterrupt` and `SystemExit` propagate.
    """

    def on_begin(self, stage: Stage) -> None:
        """Called when a stage begins."""

    def on_end(self, stage: Stage) -> None:
        """Called when a stage ends, with the same object, now complete."""

    def on_request(self, event: RequestEvent) -> None:
        """Called when a request was answered, or failed."""

    def on_retry(self, event: RetryEvent) -> None:
        """Called when a call will be retried."""

    def on_submit(self, event: SubmitEvent) -> None:
        """Called when a video was bought."""

    def on_update(self, update: TaskUpdate) -> None:
        """Called with each state of a followed task, from an answer or a trusted callback."""

    def on_spend(self, event: SpendEvent) -> None:
        """Called when the cost of a task is known."""

    def on_price(self, event: PriceEvent) -> None:
        """Called when a price differs from its estimate."""

    def on_pause(self, event: PauseEvent) -> None:
        """Called when calls are paused."""

    def on_limits(self, found: LimitsFound) -> None:
        """Called when the limits of the key were found, known from an earlier run, or have changed."""


#: The names of all hook methods.
METHODS: tuple[str, ...] = tuple(name for name in vars(Hooks) if name.startswith("on_"))


def checked_hooks(hooks: Iterable[Hooks]) -> tuple[Hooks, ...]:
    """Return valid hooks.

    Raises:
        TypeError: one is not a hook, or has a coroutine function as a method, which would never be awaited.
        ValueError: one is listed twice, and would receive, and count, everything twice.

    """
    if isinstance(hooks, Hooks):
        raise TypeError(f"hooks is a {type(hooks).__name__}: put it into a list, hooks=[…]")
    checked = list[Hooks]()
    for hook in hooks:
        _check(hook)
        if any(hook is other for other in checked):
            raise ValueError(
                f"a {type(hook).__name__} is among the hooks twice: it would receive everything twice"
            )
        checked.append(hook)
    return tuple(checked)


def _check(hook: object) -> None:
    if not isinstance(hook, Hooks):
        fix = f"pass an object, {hook.__name__}()" if isinstance(hook, type) else "derive its class from Hooks"
        raise TypeError(f"{hook!r:.80} is not a hook: {fix}")
    for name in METHODS:
        if inspect.iscoroutinefunction(getattr(hook, name)):
            raise TypeError(
                f"{type(hook).__name__}.{name} is a coroutine function: hooks are plain functions; start a"
                " task or fill a queue in one"
            )
