"""What is going on in a conversion, collected by hooks: what is in flight since when, and what went wrong."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Sequence

from attrs import define, field, frozen
from rich.text import Text

from suno_video_async.batch.outcome import Outcome
from suno_video_async.cli import errors
from suno_video_async.cli.output import plain
from suno_video_async.cli.tally import PROBLEMS_SHOWN, is_problem, name_of
from suno_video_async.errors import APIError, CatalogError, TaskFailed
from suno_video_async.hooks import Hooks, RetryEvent, SpendEvent, Stage
from suno_video_async.models import TaskUpdate, Track, VideoTaskId

#: How many of the latest problems are kept.
_TROUBLES = 3


@frozen
class InFlight:
    """A task being followed: its name for a person, its age, and its age when last seen unfinished."""

    task_id: VideoTaskId
    name: str
    age: float
    seen: float


@define(eq=False)
class _Followed:
    track: Track | None
    born: float
    seen: float = 0.0


@define(eq=False)
class LiveState(Hooks):
    """Keeps what a live view shows besides the counts; handling an event is cheap.

    Attributes:
        now: returns the client's time.
        downloading: how many videos are being downloaded.
        spent: the cost of the tasks that ended in this run, in credits.
        priced: how many of them reported their cost.
        troubles: the latest problems, the newest last.

    """

    now: Callable[[], float] | None = None
    downloading: int = field(default=0, init=False)
    spent: float = field(default=0.0, init=False)
    priced: int = field(default=0, init=False)
    troubles: deque[str] = field(factory=lambda: deque[str](maxlen=_TROUBLES), init=False)
    _followed: dict[VideoTaskId, _Followed] = field(factory=dict[VideoTaskId, _Followed], init=False)
    _news: list[Text] = field(factory=list[Text], init=False)
    _shown: int = field(default=0, init=False)
    _advised: set[type] = field(factory=set[type], init=False)

    def on_begin(self, stage: Stage) -> None:
        """Record the start of a stage."""
        if stage.name == "download":
            self.downloading += 1
        elif stage.name == "follow" and stage.task_id is not None:
            self._followed[stage.task_id] = _Followed(stage.track, stage.since)

    def on_end(self, stage: Stage) -> None:
        """Record the end of a stage."""
        if stage.name == "download":
            self.downloading -= 1
        elif stage.name == "follow" and stage.task_id is not None:
            self._followed.pop(stage.task_id, None)

    def on_update(self, update: TaskUpdate) -> None:
        """Take a task's age from the server: an earlier run may have submitted it."""
        followed = self._followed.get(update.task_id)
        if followed is not None and self.now is not None:
            followed.born, followed.seen = self.now() - update.elapsed, update.elapsed

    def on_spend(self, event: SpendEvent) -> None:
        """Record the cost of a task."""
        self.spent += event.credits
        self.priced += 1

    def on_retry(self, event: RetryEvent) -> None:
        """Record that a call failed and will be retried."""
        error, named = event.error, errors.retried(event)
        if isinstance(error, APIError):
            named = f"{error.operation}: {error.code} {error.message}"  # the task's id is too long to show
        self.troubles.append(plain(f"{named}; again in {event.wait:.0f} s"))

    def add(self, outcome: Outcome) -> None:
        """Record how a row went wrong, if it did; the first of them are queued for `take_news`."""
        if not is_problem(outcome):
            return
        self.troubles.append(
            plain(f"{_name(outcome.track) or outcome.location} {outcome.state}: {_what(outcome)}")
        )
        self._shown += 1
        if self._shown <= PROBLEMS_SHOWN:
            self._news.append(Text(plain(self._news_of(outcome)), style="red"))
        elif self._shown == PROBLEMS_SHOWN + 1:
            self._news.append(Text("more rows went wrong: --outcomes FILE and --json list all of them"))

    def _news_of(self, outcome: Outcome) -> str:
        """Return how a row went wrong, with advice the first time that an error of its type occurs."""
        kind = type(outcome.error)
        if kind in self._advised:
            return f"{name_of(outcome)} {outcome.state}: {_what(outcome)}"
        self._advised.add(kind)
        return problem_line(outcome)

    def take_news(self) -> Sequence[Text]:
        """Return the queued lines, and empty the queue."""
        news, self._news = self._news, []
        return news

    def slowest(self, most: int) -> list[InFlight]:
        """Return the oldest tasks in flight, the oldest first."""
        now = 0.0 if self.now is None else self.now()
        oldest = heapq.nsmallest(most, self._followed.items(), key=lambda item: item[1].born)
        return [InFlight(task_id, _name(one.track), now - one.born, one.seen) for task_id, one in oldest]


def problem_line(outcome: Outcome) -> str:
    """Return how a row went wrong, and what to do."""
    hint = errors.advice(outcome.error) if outcome.error else None
    return f"{name_of(outcome)} {outcome.state}: {_what(outcome)}" + (f"; {hint}" if hint else "")


def _what(outcome: Outcome) -> str:
    """Return what went wrong with a row, without its place or its task, which are named already."""
    match outcome.error:
        case None:
            return ""
        case CatalogError() as error:
            return f"{error.message}: {error.fix}" if error.fix else error.message
        case TaskFailed() as error:
            return error.reason
        case error:
            return errors.brief(error)


def _name(track: Track | None) -> str:
    """Return a track's name for a person: its title if the catalog has one."""
    if track is None:
        return ""
    return plain(track.extra.get("title") or track.suno_id)
