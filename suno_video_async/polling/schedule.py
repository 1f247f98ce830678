"""What to do with a place in the window: submit the next track, ask about which task, or wait.

Pure: no loop, no clock, no I/O; all times are the caller's, in seconds. `docs/explanation/pacing.md` explains the
policy. In short: asking about a task is worth what the chance is that it has ended since the last look. Each live
task rises through *priority levels* of such chances as it grows older; the level that it needs to be asked about
depends on what else the place could be used for.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_right
from collections import deque
from itertools import chain, count
from operator import itemgetter
from typing import TypeAlias

from attrs import define, field, frozen

from suno_video_async.models import RateLimit, VideoTaskId
from suno_video_async.polling.durations import DurationModel

#: The levels of its level: the chance that a task has ended since it was last looked at.
LEVELS = (0.025, 0.08, 0.15, 0.25, 0.4, 0.55, 0.7, 0.8, 0.88, 0.945)
#: Where a question must pay: a submission waits for the place. Little knowledge errs on the late side.
NEAR_CERTAIN, CONTENDED_EARLY = len(LEVELS) - 1, LEVELS.index(0.8)
#: Submissions wait for a video to end, none for a place: the lower, the more places went by unused.
CAPPED = tuple(map(LEVELS.index, (0.8, 0.8, 0.7, 0.55, 0.4, 0.25, 0.15, 0.025)))
#: Nothing waits: the place would be left unused. With many tasks alive even then a question should have a chance.
SPARE, SPARE_OF_MANY = 0, LEVELS.index(0.7)
#: Somebody waits for this very task beside a catalog: at most one place in `INTERACTIVE_SHARE` goes to such.
INTERACTIVE, INTERACTIVE_SHARE = LEVELS.index(0.15), 4
#: As long as next to nothing is known: ask where most may be done, with one place in `EXPLORE_SHARE`.
EXPLORE, EXPLORE_SHARE = LEVELS.index(0.7), 5
#: The periods over which it is counted how many places went by unused: places come free in bursts.
LOOKED_BACK = 3
#: From how many ends on the model is known at all, and well.
KNOWN, WELL_KNOWN = 10, 40
#: The share of the tasks that the end of a catalog is planned for; the last few may come after it. The less is
#: known of the model, the longer the longest may take by it: then the share is smaller.
DRAIN_SHARES = ((WELL_KNOWN, 0.99), (KNOWN, 0.98), (0, 0.9))
#: Two questions about one task are at least so many seconds apart.
SHORTEST = 1.0
#: Callbacks flow when this share of the last ends was announced by one, counted from so few on: a task without one
#: is then asked about only when almost all others are over at its age.
ANNOUNCED, ANNOUNCED_FROM, ANNOUNCED_SHARE = 20, 5, 0.85
#: Whatever callbacks say, they cause at most one question about a task in so many seconds.
HINTED_AGAIN = 30.0
#: After a change of the model all tasks are placed anew, at most so many for each question: the work stays linear.
REVIEWED = 20

#: Above all of them: whoever must not wait for those who come later. From the highest level a task gets there
#: after so many times as long as tasks take at the most.
URGENT, STARVED_AFTER = len(LEVELS), 1.5

#: Rounding must not leave a task a hair below a level whose time has come.
_ROUNDING = 1e-9
_LEVEL_HAZARDS = tuple(-math.log1p(-chance) for chance in LEVELS)


@frozen
class Poll:
    """Poll this task."""

    task_id: VideoTaskId


@frozen
class Submit:
    """Submit the next track."""


@frozen
class Wait:
    """Nothing is worth a request before `until`; None where nothing will be."""

    until: float | None


Decision: TypeAlias = Poll | Submit | Wait


@frozen
class Backlog:
    """What waits to be submitted.

    Attributes:
        ready: submissions that wait for a place in the window alone.
        blocked: those that wait for a video to end first, as `max_in_flight` are unfinished.

    """

    ready: int = 0
    blocked: int = 0


@define(eq=False)
class _Live:
    """A task that is followed."""

    task_id: VideoTaskId
    born: float
    interactive: bool
    age_known: bool
    seen_age: float = 0.0  # its age when it was last seen unfinished
    not_before: float = -math.inf
    level: int = -1
    due: float = math.inf  # when it was next to surely over
    hinted: bool = False
    announced: bool = False
    being_polled: bool = False
    ticket: int = -1


@define(eq=False)
class _PriorityLevels:
    """Tasks by the level that they have reached.

    On one level the first to arrive is the first to go, but on the highest one the last. All there are next to
    sure to have ended: when they wait because submissions go first, it is better that a few wait long than that
    all do. Above it is a place for those who have waited long enough, again in the order of their arrival.
    """

    levels: list[dict[VideoTaskId, None]] = field(factory=lambda: [{} for _ in range(URGENT + 1)])

    def put(self, live: _Live, level: int) -> None:
        if level != live.level:
            self.drop(live)
            live.level = level
            if level >= 0:
                self.levels[level][live.task_id] = None

    def drop(self, live: _Live) -> None:
        if live.level >= 0:
            del self.levels[live.level][live.task_id]
            live.level = -1

    def highest(self, floor: int) -> tuple[int, VideoTaskId] | None:
        # As high as the highest level, and no higher: interactive tasks have levels of their own.
        for task_id in chain(self.levels[URGENT], reversed(self.levels[URGENT - 1])):
            return URGENT - 1, task_id
        for level in range(URGENT - 2, floor - 1, -1):
            for task_id in self.levels[level]:
                return level, task_id
        return None


@define(eq=False)
class PollSchedule:
    """Decides about places in the window, for all live tasks of a client.

    Args:
        rate: what the key may send; None for no bound.
        durations: how long tasks take, as far as it is known.

    """

    rate: RateLimit | None = None
    durations: DurationModel = field(factory=DurationModel)
    _live: dict[VideoTaskId, _Live] = field(factory=dict[VideoTaskId, _Live], init=False)
    _promotions: list[tuple[float, int, VideoTaskId]] = field(
        factory=list[tuple[float, int, VideoTaskId]], init=False, repr=False
    )
    _bulk: _PriorityLevels = field(factory=_PriorityLevels, init=False, repr=False)
    _interactive: _PriorityLevels = field(factory=_PriorityLevels, init=False, repr=False)
    _tickets: count[int] = field(factory=count, init=False, repr=False)
    _polled_at: float = field(default=-math.inf, init=False)
    _since_poll: int = field(default=0, init=False)
    _since_interactive: int = field(default=INTERACTIVE_SHARE, init=False)
    _used: deque[float] = field(init=False, repr=False)
    _drain_until: float | None = field(default=None, init=False)
    _model_version: int = field(default=0, init=False, repr=False)
    _announced: deque[bool] = field(factory=lambda: deque[bool](maxlen=ANNOUNCED), init=False, repr=False)
    _called_back: bool = field(default=False, init=False)
    _polled_since_review: int = field(default=0, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._used = deque(maxlen=LOOKED_BACK * self.rate.requests if self.rate is not None else 1)

    def __len__(self) -> int:
        return len(self._live)

    def __contains__(self, task_id: object) -> bool:
        return task_id in self._live

    @property
    def called_back(self) -> bool:
        """Whether callbacks flow, so that polls rest."""
        return self._called_back

    def ages(self, now: float) -> list[tuple[float, float]]:
        """Return of each task its age, and that at which it was last seen unfinished, in seconds."""
        return [(now - live.born, live.seen_age) for live in self._live.values()]

    # What happens to tasks

    def add(self, task_id: VideoTaskId, now: float, *, age: float | None = 0.0, interactive: bool = False) -> None:
        """Begin to follow a task.

        Args:
            task_id: the task.
            now: the time.
            age: its age; None where that is not known: it is then asked about as soon as possible.
            interactive: its caller waits for this one task, while other work goes on.

        """
        self.remove(task_id)
        live = self._live[task_id] = _Live(task_id, now - (age or 0.0), interactive, age_known=age is not None)
        self._requeue(live, now, now if age is None else now + SHORTEST)

    def remove(self, task_id: VideoTaskId) -> None:
        """Stop following a task; harmless when it is not followed."""
        if (live := self._live.pop(task_id, None)) is not None:
            self._levels_of(live).drop(live)

    def ended(self, task_id: VideoTaskId, now: float, duration: float | None) -> None:
        """Learn that a task is over, and stop following it.

        Args:
            task_id: the task.
            now: the time.
            duration: what the server says that it took; believed as far as it agrees with what was seen.

        """
        if (live := self._live.get(task_id)) is None:
            return
        if live.age_known:
            age = max(now - live.born, live.seen_age)
            self.durations.ended(
                live.seen_age, age if duration is None else min(max(duration, live.seen_age), age)
            )
        elif duration is not None:
            self.durations.ended(0.0, duration)
        self.remove(task_id)
        self._note_announcement(live.announced)

    def _note_announcement(self, announced: bool) -> None:
        """Learn whether callbacks flow: polling takes over where they stop."""
        self._announced.append(announced)
        known = len(self._announced) >= ANNOUNCED_FROM
        called_back = known and sum(self._announced) >= ANNOUNCED_SHARE * len(self._announced)
        if called_back != self._called_back:
            self._called_back = called_back
            self._model_version, self._polled_since_review = -1, len(self._live)  # all are placed anew

    def unfinished(self, task_id: VideoTaskId, now: float, *, age: float | None = None) -> None:
        """Learn that a task is not over.

        Args:
            task_id: the task.
            now: the time.
            age: its age, where the server has told it; None where it is known.

        """
        if (live := self._live.get(task_id)) is not None:
            if age is not None:
                live.born = now - age
            live.age_known = True
            seen = max(now - live.born, live.seen_age)
            self.durations.unfinished(live.seen_age, seen)
            live.seen_age = seen
            self._requeue(live, now, now + SHORTEST)

    def hint(self, task_id: VideoTaskId, now: float) -> None:
        """Learn from somebody who is not to be trusted that a task is over: it is the next to be asked about."""
        if (live := self._live.get(task_id)) is not None:
            live.hinted = live.announced = True
            if not live.being_polled:
                self._set_level(live, now)

    def poll_later(self, task_id: VideoTaskId, now: float, at: float) -> None:
        """Ask about a task, but not before `at`, such as after a failed question."""
        if (live := self._live.get(task_id)) is not None:
            self._requeue(live, now, at)

    # Decisions

    def decide(self, now: float, backlog: Backlog) -> Decision:
        """Say what a place in the window is best used for now; a question counts when it is sent: see `polling`."""
        self._promote(now)
        if not backlog.ready:
            self._drain_until = None
        if not backlog.ready and not backlog.blocked:
            return self._idle(now)
        if (ask := self._paying(now, backlog) or self._interactive_due()) is not None:
            return Poll(ask)
        return Submit() if backlog.ready else Wait(self._next_change(now))

    def polling(self, task_id: VideoTaskId, now: float) -> None:
        """Note that a question is being sent: its task waits for `ended`, `unfinished` or `poll_later`."""
        live = self._live[task_id]
        self._use(now)
        self._polled_at, self._since_poll = now, 0
        if live.interactive:
            self._since_interactive = 0
        self._polled_since_review += 1
        self._levels_of(live).drop(live)
        live.being_polled, live.hinted, live.due = True, False, math.inf
        live.ticket = -1

    def submitting(self, now: float) -> None:
        """Note that a submission is being sent."""
        self._use(now)
        self._since_poll += 1

    def _use(self, now: float) -> None:
        self._since_interactive += 1
        self._used.append(now)

    def _idle(self, now: float) -> Decision:
        """Spend what nobody else needs, evenly: a window used up at once would leave its rest blind.

        What is next to sure to pay leaves none blind, and waiting would only make the end later.
        """
        if (sure := self._highest(NEAR_CERTAIN)) is not None:
            return Poll(sure)
        many = self.rate is not None and len(self._live) > self.rate.requests
        ask = self._highest(SPARE_OF_MANY if many else SPARE, interactive=SPARE)
        if ask is None:
            return Wait(self._next_change(now))
        at = self._polled_at + self._place
        return Poll(ask) if now >= at else Wait(at)

    def _paying(self, now: float, backlog: Backlog) -> VideoTaskId | None:
        """Return the task that a question is likely enough to pay for, while submissions wait."""
        if not backlog.ready:
            return self._highest(CAPPED[self._unused(now)])
        if self._is_draining(now, backlog):
            return None
        if self.durations.ends >= KNOWN:
            return self._highest(NEAR_CERTAIN if self.durations.ends >= WELL_KNOWN else CONTENDED_EARLY)
        return self._highest(EXPLORE) if self._since_poll >= EXPLORE_SHARE - 1 else None

    def _highest(self, floor: int, *, interactive: int | None = None) -> VideoTaskId | None:
        """Return the task that stands highest on either; interactive tasks may have a floor of their own."""
        tops = (
            self._interactive.highest(floor if interactive is None else interactive),
            self._bulk.highest(floor),
        )
        found = [top for top in tops if top is not None]
        return max(found, key=itemgetter(0))[1] if found else None

    def _unused(self, now: float) -> int:
        """Return how far the price of a place has fallen, by the share of places that went by unused."""
        if self.rate is None:
            return len(CAPPED) - 1
        period = LOOKED_BACK * self.rate.per
        while self._used and self._used[0] <= now - period:
            self._used.popleft()
        unused = 1 - len(self._used) / (LOOKED_BACK * self.rate.requests)
        return min(int(unused * len(CAPPED)), len(CAPPED) - 1)

    def _interactive_due(self) -> VideoTaskId | None:
        top = self._interactive.highest(INTERACTIVE) if self._since_interactive >= INTERACTIVE_SHARE - 1 else None
        return top[1] if top is not None else None

    def _is_draining(self, now: float, backlog: Backlog) -> bool:
        """Whether all that is left to ask fits into the time that the last track to be submitted takes anyway.

        Of a catalog no more is known than the rows in the room: when more follow, it was not the drain phase,
        and it ends after the time that it was planned for.
        """
        if self.rate is None:
            return False
        # What was recalled from earlier runs makes the model no better known than a few ends do.
        seen = self.durations.ends - self.durations.recalled
        planned_for = next(share for ends, share in DRAIN_SHARES if seen >= ends)
        left = len(self._live) + backlog.ready + backlog.blocked
        # A few that are stuck do not make the end long.
        seconds = min(self.durations.quantile(planned_for), self.durations.longest())
        if left * self.rate.per >= self.rate.requests * seconds:
            self._drain_until = None
            return False
        if self._drain_until is None:
            self._drain_until = now + seconds
        return now < self._drain_until

    @property
    def _place(self) -> float:
        """The seconds that one place stands for."""
        return self.rate.per / self.rate.requests if self.rate is not None else 0.0

    def _next_change(self, now: float) -> float | None:
        """Return when the next task is promoted, or a bounded time later: shares come free without a promotion."""
        if not self._live:
            return None
        promotion = self._promotions[0][0] if self._promotions else math.inf
        return min(promotion, now + max(self._place, SHORTEST))

    # Priority levels

    def _levels_of(self, live: _Live) -> _PriorityLevels:
        return self._interactive if live.interactive else self._bulk

    def _requeue(self, live: _Live, now: float, not_before: float) -> None:
        """Put a task that was asked about back on its level."""
        live.being_polled = False
        live.not_before = not_before
        self._set_level(live, now)

    def _set_level(self, live: _Live, now: float) -> None:
        """Put a task on its present level, and note when it reaches the next one."""
        model = self.durations
        seen_age, longest = model.hazard(live.seen_age), model.longest()
        # Whatever the model says, no task is left alone for longer than it took to look at it last.
        latest = live.born + max(longest, 2 * live.seen_age)
        if now < live.not_before:
            level, at = -1, live.not_before
        elif live.hinted or not live.age_known:
            level, at = URGENT, math.inf
        elif live.due < math.inf:
            at = live.due + STARVED_AFTER * longest
            level, at = (NEAR_CERTAIN, at) if now < at else (URGENT, math.inf)
        elif now >= latest:
            level, at = URGENT, math.inf
        elif self._called_back:
            level, at = -1, latest
        else:
            level = bisect_right(_LEVEL_HAZARDS, model.hazard(now - live.born) - seen_age + _ROUNDING) - 1
            if level == NEAR_CERTAIN:
                live.due, at = now, now + STARVED_AFTER * longest
            else:
                at = min(live.born + model.age_at(seen_age + _LEVEL_HAZARDS[level + 1]), latest)
        self._levels_of(live).put(live, level)
        live.ticket = next(self._tickets)
        if at < math.inf:
            heapq.heappush(self._promotions, (at, live.ticket, live.task_id))

    def _promote(self, now: float) -> None:
        """Promote the tasks whose time has come; set all levels again when the model has changed."""
        if self._model_version != self.durations.version and self._polled_since_review * REVIEWED >= len(
            self._live
        ):
            self._review(now)
        while self._promotions:
            at, ticket, task_id = self._promotions[0]
            live = self._live.get(task_id)
            if live is not None and live.ticket == ticket:
                if at > now:
                    return
                heapq.heappop(self._promotions)
                self._set_level(live, now)
            else:
                heapq.heappop(self._promotions)

    def _review(self, now: float) -> None:
        self._model_version, self._polled_since_review = self.durations.version, 0
        self._promotions.clear()
        for live in self._live.values():
            if not live.being_polled and live.level < URGENT:
                self._set_level(live, now)
