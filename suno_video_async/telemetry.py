"""What a client tells about itself: hooks that cannot break a run, and stdlib logging."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from attrs import frozen

from suno_video_async.errors import SunoVideoError
from suno_video_async.models import TaskUpdate, VideoRequest, VideoTaskId

logger: logging.Logger = logging.getLogger("suno_video_async")
logger.addHandler(logging.NullHandler())


@frozen(kw_only=True)
class RequestEvent:
    """One physical send is over.

    Attributes:
        operation: the call, such as `"TaskInfo"`.
        seconds: how long it took, of the client's clock.
        error: how it went wrong, or None.

    """

    operation: str
    seconds: float
    error: SunoVideoError | None


@frozen(kw_only=True)
class RetryEvent:
    """A call failed and will be tried again after `wait` seconds; `attempt` of them have failed so far."""

    operation: str
    attempt: int
    wait: float
    error: SunoVideoError


@frozen(kw_only=True)
class SubmitEvent:
    """A submission was accepted: from here on it is paid for."""

    request: VideoRequest
    task_id: VideoTaskId


@frozen(kw_only=True)
class PauseEvent:
    """The server asked for less: calls of the `lane` (`"create"` or `"all"`) wait for `seconds`."""

    lane: str
    seconds: float
    error: SunoVideoError


class Hooks:
    """Told what a client does; override what you want to hear.

    The methods run on the event loop, so they must be quick. An exception in one is logged and changes nothing.
    """

    def on_request(self, event: RequestEvent) -> None:
        """Hear that a request was answered, or not."""

    def on_retry(self, event: RetryEvent) -> None:
        """Hear that a call will be tried again."""

    def on_submit(self, event: SubmitEvent) -> None:
        """Hear that a video was bought."""

    def on_update(self, update: TaskUpdate) -> None:
        """Hear what the server said about a followed task."""

    def on_pause(self, event: PauseEvent) -> None:
        """Hear that calls are held up."""


def tell(hooks: Sequence[Hooks], say: Callable[[Hooks], None]) -> None:
    """Say something to every hook; none of them can break a run."""
    for hook in hooks:
        try:
            say(hook)
        except Exception:
            logger.exception("a hook failed: %r", hook)
