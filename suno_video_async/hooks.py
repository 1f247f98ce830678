"""What a user hears of a client: the hooks, and the events that they are told."""

from __future__ import annotations

import inspect
from collections.abc import Iterable

from attrs import define, field, frozen

from suno_video_async.errors import SunoVideoError
from suno_video_async.models import OutcomeState, TaskUpdate, Track, VideoRequest, VideoTaskId


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
        state: how a whole way ended, as `Outcome.state`; None until the end.
        error: how it went wrong, or None; a cancellation too.

    """

    name: str
    started: float
    since: float = field(repr=False)
    """The same as `started`, of the clock's `now`."""
    via: str | None = None
    parent: Stage | None = None
    track: Track | None = None
    task_id: VideoTaskId | None = None
    seconds: float | None = None
    state: OutcomeState | None = None
    error: BaseException | None = None


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

    def on_price(self, event: PriceEvent) -> None:
        """Hear that a price differs from its estimate."""

    def on_pause(self, event: PauseEvent) -> None:
        """Hear that calls are held up."""


#: The names of all that a hook can be told by.
METHODS: tuple[str, ...] = tuple(name for name in vars(Hooks) if name.startswith("on_"))


def checked_hooks(hooks: Iterable[Hooks]) -> tuple[Hooks, ...]:
    """Return hooks that can be told.

    Raises:
        TypeError: one is no hook, or has a coroutine function for a method, which nobody would await.
        ValueError: one stands there twice, and would hear, and count, everything twice.

    """
    if isinstance(hooks, Hooks):
        raise TypeError(f"hooks is a {type(hooks).__name__}: put it into a list, hooks=[…]")
    checked = list[Hooks]()
    for hook in hooks:
        _check(hook)
        if any(hook is other for other in checked):
            raise ValueError(f"a {type(hook).__name__} is among the hooks twice: it would hear everything twice")
        checked.append(hook)
    return tuple(checked)


def _check(hook: object) -> None:
    if not isinstance(hook, Hooks):
        fix = f"pass an object, {hook.__name__}()" if isinstance(hook, type) else "derive its class from Hooks"
        raise TypeError(f"{hook!r:.80} is no hook: {fix}")
    for name in METHODS:
        if inspect.iscoroutinefunction(getattr(hook, name)):
            raise TypeError(
                f"{type(hook).__name__}.{name} is a coroutine function: hooks are plain functions; start a"
                " task or fill a queue in one"
            )
