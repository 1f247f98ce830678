"""What goes on in a conversion, heard from hooks: what is in flight since when, and what went wrong."""

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
from suno_video_async.errors import APIError
from suno_video_async.hooks import Hooks, RetryEvent, SpendEvent, Stage
from suno_video_async.models import TaskUpdate, Track, VideoTaskId

#: The newest troubles that are kept.
_TROUBLES = 3


@frozen
class InFlight:
    """A task that is followed: what a person calls it, its age, and that at which it was last seen unfinished."""

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
    """Keeps what a live view shows beside the counts; each event costs it next to nothing.

    Attributes:
        now: the client's time.
        downloading: how many videos are being fetched.
        spent: what the tasks that ended in this run cost, in credits.
        priced: how many of them named their cost.
        troubles: what went wrong last, the newest at the end.

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
        """Note what begins."""
        if stage.name == "download":
            self.downloading += 1
        elif stage.name == "follow" and stage.task_id is not None:
            self._followed[stage.task_id] = _Followed(stage.track, stage.since)

    def on_end(self, stage: Stage) -> None:
        """Note what is over."""
        if stage.name == "download":
            self.downloading -= 1
        elif stage.name == "follow" and stage.task_id is not None:
            self._followed.pop(stage.task_id, None)

    def on_update(self, update: TaskUpdate) -> None:
        """Learn a task's age from the server: an earlier run may have submitted it."""
        followed = self._followed.get(update.task_id)
        if followed is not None and self.now is not None:
            followed.born, followed.seen = self.now() - update.elapsed, update.elapsed

    def on_spend(self, event: SpendEvent) -> None:
        """Note what a task cost."""
        self.spent += event.credits
        self.priced += 1

    def on_retry(self, event: RetryEvent) -> None:
        """Note that a call goes wrong for now."""
        why = errors.brief(event.error)
        named = why if why.startswith(event.operation) else f"{event.operation}: {why}"
        if isinstance(event.error, APIError) and event.error.task_id:
            named = named.replace(f" {event.error.task_id}", "", 1)  # there is no room for it
        self.troubles.append(plain(f"{named}; again in {event.wait:.0f} s"))

    def add(self, outcome: Outcome) -> None:
        """Note how a row went wrong, if it did; the first of them are news for `take_news`."""
        if not is_problem(outcome):
            return
        self.troubles.append(
            plain(f"{_name(outcome.track) or outcome.location} {outcome.state}: {_what(outcome)}")
        )
        self._shown += 1
        if self._shown <= PROBLEMS_SHOWN:
            self._news.append(Text(plain(self._news_of(outcome)), style="red"))
        elif self._shown == PROBLEMS_SHOWN + 1:
            self._news.append(Text("there is more that went wrong: --outcomes FILE and --json tell all of it"))

    def _news_of(self, outcome: Outcome) -> str:
        """Return how a row went wrong, with what to do the first time that it is said."""
        kind = type(outcome.error)
        if kind in self._advised:
            return f"{name_of(outcome)} {outcome.state}: {_what(outcome)}"
        self._advised.add(kind)
        return problem_line(outcome)

    def take_news(self) -> Sequence[Text]:
        """Return what was not taken yet."""
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
    said = errors.brief(outcome.error) if outcome.error else ""
    # A row that is no track names its place by itself, and a failed task its id.
    return said.removeprefix(f"{outcome.location}: ").removeprefix(f"task {outcome.video_task_id} failed: ")


def _name(track: Track | None) -> str:
    """Return what a person calls a track: its title where the catalog has one."""
    if track is None:
        return ""
    return plain(track.extra.get("title") or track.suno_id)
