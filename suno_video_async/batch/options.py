"""What the parts of a conversion share: its options, what it asks of a client, and when it stops."""

from __future__ import annotations

import math
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

from attrs import Attribute, define, field, frozen

from suno_video_async.api.submission import Submission
from suno_video_async.clock import Clock
from suno_video_async.download.filenames import NameTemplate
from suno_video_async.download.partial import Saved
from suno_video_async.errors import (
    APIError,
    AuthenticationError,
    BudgetExceeded,
    FeatureDisabledError,
    InsufficientCreditsError,
    LedgerError,
    SunoVideoError,
)
from suno_video_async.ledger.aio import Books
from suno_video_async.ledger.journal import Entry
from suno_video_async.models import (
    Estimate,
    MusicTaskId,
    RateLimit,
    SunoTrack,
    TaskSnapshot,
    Track,
    Video,
    VideoRequest,
    VideoTaskId,
)
from suno_video_async.observability.reporter import Reporter
from suno_video_async.task import VideoTask


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
class Halt:
    """Whether and why a conversion submits no more.

    Attributes:
        stopping: no row is submitted any more.
        reason: what stopped it, where no person did.
        failure: what is raised at the end of the outcomes.

    """

    stopping: bool
    reason: SunoVideoError | None = None
    failure: Exception | None = None
    _submissions: set[Submission] = field(factory=set[Submission], init=False)

    @property
    def submissions(self) -> list[Submission]:
        """What is being submitted."""
        return list(self._submissions)

    def watch(self, submission: Submission) -> None:
        """Give a submission up when it is stopped, unless it is over."""
        self._submissions.add(submission)
        submission.outcome.add_done_callback(lambda _: self._submissions.discard(submission))
        if self.stopping:  # while the ledger was asked
            submission.abandon()

    def stop(self) -> None:
        """Submit no more."""
        self.stopping = True
        for submission in self._submissions:
            submission.abandon()

    def fail(self, error: Exception) -> None:
        """Let an error be raised at the end of the outcomes: the first one."""
        self.failure = self.failure or error

    def stop_if_hopeless(self, error: Exception) -> None:
        """Stop for a reason that no other row can help; what a person can mend with money is not raised."""
        if isinstance(error, AuthenticationError | FeatureDisabledError | LedgerError):
            self.fail(error)
        elif not isinstance(error, InsufficientCreditsError | BudgetExceeded):
            return
        self.reason = self.reason or error
        self.stop()
