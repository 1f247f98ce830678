"""What the parts of a conversion share: its options, what it asks of a client, and when it stops."""

from __future__ import annotations

import math
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

import anyio
from attrs import Attribute, define, field, frozen

from suno_video_async.books import Books, micro
from suno_video_async.calls import Entry
from suno_video_async.errors import (
    APIError,
    AuthenticationError,
    BudgetExceeded,
    FeatureDisabledError,
    InsufficientCreditsError,
    LedgerError,
    MalformedResponseError,
    SunoVideoError,
)
from suno_video_async.filenames import NameTemplate
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
from suno_video_async.pacing.clock import Clock
from suno_video_async.partfile import Saved
from suno_video_async.submission import Submission
from suno_video_async.task import VideoTask
from suno_video_async.telemetry import Reporter

#: Music tasks whose titles are remembered, since the tracks of one stand together in a catalog.
TITLES = 100


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


@define(eq=False)
class Prices:
    """What videos cost: one question for each distinct shape of input."""

    client: BatchClient
    _known: dict[tuple[bool, bool], int] = field(factory=dict[tuple[bool, bool], int], init=False)
    _one: anyio.Lock = field(factory=anyio.Lock, init=False)

    async def of(self, track: Track) -> int:
        """Return the estimated micro-credits of a track's video."""
        shape = (track.author is None, track.brand is None)
        async with self._one:
            if shape not in self._known:
                estimate = await self.client.estimate(track)
                cost = micro(estimate.estimated_credits)
                if cost is None:
                    raise MalformedResponseError(
                        f"EstimateTask: {estimate.estimated_credits:g} credits for a video make no sense",
                        http_status=200,
                    )
                self._known[shape] = cost
        return self._known[shape]


@define(eq=False)
class Titles:
    """What songs are called: one question for each music task, as long as it is remembered."""

    client: BatchClient
    _known: dict[MusicTaskId, dict[str, str]] = field(factory=dict[MusicTaskId, dict[str, str]], init=False)
    _one: anyio.Lock = field(factory=anyio.Lock, init=False)

    async def of(self, track: Track) -> str:
        """Return a song's title, empty where it has none."""
        async with self._one:
            if track.task_id not in self._known:
                found = await self.client.tracks(track.task_id)
                while len(self._known) >= TITLES:
                    self._known.pop(next(iter(self._known)))
                self._known[track.task_id] = {str(one.suno_id): one.title or "" for one in found}
            return self._known[track.task_id].get(track.suno_id, "")
