"""Decides what a place in the rate window is used for: submit the next track, poll a task, or wait.

Pure: no event loop, no clock, no I/O; the caller passes all times, in seconds. The policy and its constants are
explained below; `docs/explanation/pacing.md` explains them to users.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from itertools import chain, count
from operator import itemgetter
from typing import TypeAlias

from attrs import define, field, frozen

from suno_video_async.models import RateLimit, VideoTaskId
from suno_video_async.polling.durations import DurationModel, HazardCurve

# The policy
# ==========
#
# What is optimised. The scarce resource is a place in the rate window (20 in 10 s by default). Each track needs
# two of them: its submission, and a poll that finds it finished. So N tracks need 2 N places, and each poll that
# finds a task unfinished wastes one. The goals, in this order: the makespan (when the last track is found
# finished), the delay between the end of a task and the poll that notices it, and the number of requests.
#
# The model. `DurationModel` estimates the cumulative hazard H over the age of a task. If the task was last seen
# unfinished at age c, a poll at age x finds it finished with the probability
#
#     P(c, x) = 1 - exp(-(H(x) - H(c)))
#
# P is what a poll is worth. It only grows while the task is not polled, and drops to 0 with each poll that finds
# the task unfinished.
#
# The rule. A task is polled if P exceeds a floor: what the place is worth to whatever else could use it. Among the
# tasks above the floor, the one with the highest P goes first. There are four cases:
#
#   contended  Submissions wait for a place. A submission is never wasted, so the floor is near 1. Waiting costs
#              nothing here: as long as each place is used for something that pays, the order does not matter for
#              the makespan.
#   draining   The exception: the last submissions. The makespan is at least the duration of the track submitted
#              last, and while that track runs, places go unused. If the polls still to be sent fit into that time,
#              submissions come first and the polls are postponed. A conversion counts the rows of its catalog, if
#              they can be counted, so that the schedule knows how near its end is.
#   capped     Submissions wait for a video to end (`max_in_flight`). One that may go is sent at once: there are
#              only as many as videos have ended. Finding a finished task lets the next one go. So a poll that
#              probably pays is sent at once, and the places that are left are not kept: they go to less likely
#              ones, at even intervals.
#   spare      Nothing waits. Any poll may be sent, evenly spaced: using up the window at once would leave the
#              schedule unable to poll for the rest of the period. Again those that probably pay are not delayed:
#              at the end of a catalog that would only delay the end.
#
# A window of their own for reads. Where the server counts them apart, none of this trade exists: submissions go as
# fast as their window allows, and never wait for a poll. The bound of the makespan is then
#
#     max over i of (when the i-th submission may go + the duration of its task)
#
# with ceil(N / 20) periods of submissions. Polls compete with polls alone. So every place of that window may be
# used, evenly spaced, by the task with the highest P; what a poll costs is only a request. The floor is the lowest
# while submissions wait for a video to end, or if the tasks are no more than the places in a window; otherwise it
# is `READS_OF_MANY`, below which a poll hardly ever pays. Without any limit it is the same, with places that are
# always free.
#
# Levels. Comparing P of all tasks for every place would take time proportional to their number. So P is cut into
# `LEVELS`. The schedule computes when a task reaches the next one, and keeps these times in a heap: a decision
# looks at the levels, not at the tasks.
#
# Where the constants come from. They were chosen with `python -m benchmarks.pacing`: the real client in virtual
# time against a model of the API, with eight distributions of durations (other medians, other spreads, a shift
# during the run, stuck tasks, two kinds of tasks) beside an oracle that knows the true distribution. Its gates
# hold the makespan at 1,000 tracks within 1.025 times the bound without a cap and 1.155 times with a cap of 100,
# and within 1.35 times the oracle's for each distribution. Run it after each change of a constant.
#
# The figures beside the constants show what each is worth. They are means of four seeds with the gate's durations
# (lognormal, median 65 s, sigma 0.35): the makespan divided by its bound, and the median delay until an end is
# noticed. As it is: 1.038 and 62 s for 1,000 tracks without a cap, 1.180 and 35 s with a cap of 100 videos in
# flight, and 1.047 and 69 s for 300 tracks without a cap (single seeds differ by some hundredths, which is why the
# gate takes the median of 20). They were measured with a highest level of 0.945 and a share of 5. Both have
# since become 0.95 and 8, with which the gate gives 1.023 and 63 s for 1,000 tracks without a cap. Such a
# catalog ends with full windows, so what counts is how many it needs: each poll that finds a task unfinished. Now
# that polls that probably pay are not delayed (`SURE`), the gate gives 1.157 and 35 s with a cap of 100.
#
# With a cap of 100 most of the rest is at the end: after the last submission, when nothing can be sent that makes
# the last task end sooner, a catalog takes another 120 s. In between no place goes unused, and a track takes 2.12
# of them, as many as with the best ages for its polls that can be computed for a known distribution.
#
# How much is left. With the true distribution in place of the learned model, the gate's 20 seeds give 1.032 and
# 58 s without a cap (1.023 and 63 s as learned), and 1.155 and 35 s with a cap of 100 (1.157 and 35 s). So a
# better model gains little, and what is left is a trade:
#
#   without a cap  Places become free in bursts, a period apart. So a task's age at its first poll is 110, 120 or
#                  130 s, and of 1,000 such polls 66, 39 or 24 are too early. Twenty more are a window, 0.01 of the
#                  bound. Of 120 seeds other than the gate's (of the schedule alone, without the rest of the
#                  client), 61 % stay within 1.025 with a highest level of 0.95, 54 % with 0.9475 and 49 % with
#                  0.945; the delays are 61.3, 60.5 and 59.6 s (means).
#   with a cap     The window and the cap are both used to the full. By calculation, a first poll that comes a
#                  second sooner is too early more often, and makes the catalog about 0.3 % longer.
#
# Fewer ends until the model is used, more places to explore, a longer memory, a weaker prior, an earlier or later
# drain phase, and a later second poll were tried: they move the figures along these lines, and not beyond.

#: The priority levels, as the probability that a task has ended since it was last seen unfinished. The highest is
#: the floor of big catalogs, and trades the makespan against the delay: for 1,000 tracks 0.9 gives 1.054 and 50 s,
#: 0.98 gives 1.028 and 84 s.
LEVELS = (0.025, 0.08, 0.15, 0.25, 0.4, 0.55, 0.7, 0.8, 0.88, 0.95)
#: The floors while submissions wait for a place: the highest level, and a lower one while the model has seen few
#: ends. A model with few ends is wide and reaches the highest level late: without the lower floor, the slowest
#: tenth of the ends of 1,000 tracks is noticed after 150 s instead of 103 s.
NEAR_CERTAIN, CONTENDED_EARLY = len(LEVELS) - 1, LEVELS.index(0.8)
#: Polls from this level on are sent at once if no submission can use the place; others at even intervals, while
#: submissions wait for a video to end from the level `CAPPED` on. With a lower one, more polls find tasks
#: unfinished and the makespan hardly changes.
SURE, CAPPED = LEVELS.index(0.8), LEVELS.index(0.25)
#: The floors while nothing waits: the lowest level, and a high one with more tasks than places in a window, as
#: each poll then delays another. A low floor there sends more requests (2.28 per track with the cap of 100,
#: instead of 2.25); 0.88 ends 300 tracks later (1.116).
SPARE, SPARE_OF_MANY = 0, LEVELS.index(0.7)
#: The same if reads have a window of their own (20 submissions in 10 s, 10 reads in 1 s, 1,000 tracks without a
#: cap): 0.08 notices an end after 3.4 s and sends 6.5 requests per track, 0.25 after 5.7 s with 4.6, and 0.4 after
#: 8.4 s with 3.5. The makespan is within 0.5 % of its bound with each.
READS_OF_MANY = LEVELS.index(0.15)
#: The floor for interactive tasks (the caller waits for this one) beside a catalog, and their share: at most one
#: place in `INTERACTIVE_SHARE`.
INTERACTIVE, INTERACTIVE_SHARE = LEVELS.index(0.15), 4
#: The floor while almost nothing is known and the prior decides, and the share: one place in `EXPLORE_SHARE` polls
#: to learn. A poll that is too early teaches little, so most places submit. Without these polls 1,000 tracks are
#: all submitted before the first poll, and the median delay is 458 s.
EXPLORE, EXPLORE_SHARE = LEVELS.index(0.7), 8
#: The number of ends from which the model is used at all, and from which it is trusted. 3 and 10 hardly differ;
#: with 40 and 160 the slowest tenth of the ends of 1,000 tracks is noticed after 221 s instead of 103 s.
KNOWN, WELL_KNOWN = 10, 40
#: The drain phase is planned to last as long as this share of the tasks takes, by the number of ends seen. With
#: few ends the tail of the model is the prior's, which is long: the share is then smaller. Without a drain phase
#: the makespan is 1.073 for 1,000 tracks and 1.261 for 300.
DRAIN_SHARES = ((WELL_KNOWN, 0.99), (KNOWN, 0.98), (0, 0.9))
#: The least seconds between two polls of one task.
SHORTEST = 1.0
#: The most seconds that a task which is older than almost all become is left alone: its age may be wrong.
LONGEST_WAIT = 600.0
#: Callbacks are taken to work if `ANNOUNCED_SHARE` of the last `ANNOUNCED` ends were announced by one; at least
#: `ANNOUNCED_FROM` are needed to judge. While they work, a task without a callback is polled only at an age at
#: which almost all have ended.
ANNOUNCED, ANNOUNCED_FROM, ANNOUNCED_SHARE = 20, 5, 0.85
#: Callbacks are not trusted: they cause at most one poll of a task in this many seconds.
HINTED_AGAIN = 30.0
#: After a change of the model all levels are computed again, but at most this many for each poll sent: the work
#: stays proportional to the number of polls.
REVIEWED = 8

#: A level above all others, first come first served: hinted tasks, tasks of unknown age, tasks older than almost
#: all become, and tasks that have been on the highest level for `STARVED_AFTER` times the longest usual duration.
#: That bounds the longest delay; at 0.25 it also undoes the order of the highest level: 300 tracks are noticed
#: after 81 s.
URGENT, STARVED_AFTER = len(LEVELS), 1.5

#: Without these, a hazard and seconds, rounding could leave a task just below a level at the time computed for it.
_ROUNDING, _MOMENT = 1e-9, 1e-6
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
    """Nothing is worth a request before `until`; None if nothing will be until something changes."""

    until: float | None


Decision: TypeAlias = Poll | Submit | Wait


@frozen
class Backlog:
    """The submissions that wait.

    Attributes:
        ready: those that wait only for a place in the window.
        blocked: those that wait for a video to end, because `max_in_flight` are unfinished.
        unread: the rows of catalogs that have not been read yet, as far as they can be counted.

    """

    ready: int = 0
    blocked: int = 0
    unread: int = 0


@define(eq=False)
class _Live:
    """A task that is followed."""

    task_id: VideoTaskId
    born: float
    interactive: bool
    age_known: bool  # well enough to learn from
    seen: bool  # or new, and so to be polled when it may have ended; others are polled at once
    seen_age: float = 0.0  # its age when last seen unfinished
    not_before: float = -math.inf
    level: int = -1
    due: float = math.inf  # when it reached the highest level
    hinted: bool = False
    announced: bool = False
    being_polled: bool = False
    ticket: int = -1


@define(eq=False)
class _PriorityLevels:
    """Tasks by the level that they have reached.

    On each level the task that came first goes first, except on the highest one, where it is the last. The tasks
    there have almost certainly ended, so the order decides only which of them wait longer, and the median delay is
    shorter if a few wait long than if all do. `URGENT` above it bounds that wait.
    """

    levels: list[dict[VideoTaskId, None]] = field(factory=lambda: [{} for _ in range(URGENT + 1)])

    def put(self, live: _Live, level: int) -> None:
        self.drop(live)
        live.level = level
        if level >= 0:
            self.levels[level][live.task_id] = None

    def drop(self, live: _Live) -> None:
        if live.level >= 0:
            del self.levels[live.level][live.task_id]
            live.level = -1

    def highest(self, floor: int) -> tuple[int, VideoTaskId] | None:
        # `URGENT` counts as the highest level: bulk and interactive tasks are compared by it.
        for task_id in chain(self.levels[URGENT], reversed(self.levels[URGENT - 1])):
            return URGENT - 1, task_id
        for level in range(URGENT - 2, floor - 1, -1):
            for task_id in self.levels[level]:
                return level, task_id
        return None


def _spacing(rate: RateLimit | None) -> float:
    """Return the seconds per place at the full rate."""
    return rate.per / rate.requests if rate is not None else 0.0


@define(eq=False)
class PollSchedule:
    """Decides what places in the window are used for, for all unfinished tasks of a client.

    Args:
        rate: the rate limit of the key; None for no limit.
        read_rate: that of the reads, if they have their own: polls then never compete with submissions.
        durations: how long tasks take, as far as known.

    """

    rate: RateLimit | None = None
    durations: DurationModel = field(factory=DurationModel)
    read_rate: RateLimit | None = field(default=None, kw_only=True)
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
    _drain_until: float | None = field(default=None, init=False)
    _model_version: int = field(default=0, init=False, repr=False)
    _announced: deque[bool] = field(factory=lambda: deque[bool](maxlen=ANNOUNCED), init=False, repr=False)
    _called_back: bool = field(default=False, init=False)
    _polled_since_review: int = field(default=0, init=False, repr=False)
    #: The ages at which a task that was never seen unfinished reaches the levels, and the curve that says so.
    _ages: Sequence[float] = field(default=(), init=False, repr=False)
    _aged_by: HazardCurve | None = field(default=None, init=False, repr=False)

    def __len__(self) -> int:
        return len(self._live)

    def __contains__(self, task_id: object) -> bool:
        return task_id in self._live

    @property
    def shared_rate(self) -> RateLimit | None:
        """The window for which submissions and polls compete; None if there is none, or reads have their own."""
        return self.rate if self.read_rate is None else None

    @property
    def called_back(self) -> bool:
        """Whether callbacks work, so that only late tasks are polled."""
        return self._called_back

    def ages(self, now: float) -> list[tuple[float, float]]:
        """Return the age of each task, and the age at which it was last seen unfinished, in seconds."""
        return [(now - live.born, live.seen_age) for live in self._live.values()]

    # Events

    def add(self, task_id: VideoTaskId, now: float, *, age: float | None = 0.0, interactive: bool = False) -> None:
        """Begin to follow a task.

        Args:
            task_id: the task.
            now: the time.
            age: its age; None if unknown: the task is then polled as soon as possible.
            interactive: whether a caller waits for this one task.

        """
        self.remove(task_id)
        known = age is not None
        live = _Live(task_id, now - (age or 0.0), interactive, age_known=known, seen=known)
        self._live[task_id] = live
        self._set_level(live, now)

    def remove(self, task_id: VideoTaskId) -> None:
        """Stop following a task; does nothing if it is not followed."""
        if (live := self._live.pop(task_id, None)) is not None:
            self._levels_of(live).drop(live)

    def ended(self, task_id: VideoTaskId, now: float, duration: float | None) -> None:
        """Record that a task has ended, and stop following it.

        Args:
            task_id: the task.
            now: the time.
            duration: its duration as reported by the server, clamped to what was observed; if its age is not
                known, only this counts.

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
        """Update whether callbacks work; if they stop, all tasks are polled again."""
        self._announced.append(announced)
        known = len(self._announced) >= ANNOUNCED_FROM
        called_back = known and sum(self._announced) >= ANNOUNCED_SHARE * len(self._announced)
        if called_back != self._called_back:
            self._called_back = called_back
            self._model_version, self._polled_since_review = -1, len(self._live)  # force a review

    def unfinished(self, task_id: VideoTaskId, now: float, *, age: float | None = None) -> None:
        """Record that a task is unfinished.

        Args:
            task_id: the task.
            now: the time.
            age: its age, for one that was added without; None if nothing tells it. A greater one than almost all
                tasks become is as likely a wrong clock as a stuck task: it counts as that much, and nothing is
                learned from it.

        """
        if (live := self._live.get(task_id)) is None:
            return
        if not live.seen and age is not None:
            longest = self.durations.longest()
            live.born, live.age_known = now - min(age, longest), age <= longest
        live.seen = True
        seen = max(now - live.born, live.seen_age)
        if live.age_known:
            self.durations.unfinished(live.seen_age, seen)
        live.seen_age = seen
        self._requeue(live, now, now + SHORTEST)

    def hint(self, task_id: VideoTaskId, now: float) -> None:
        """Record an untrusted completion hint; the task is polled next."""
        if (live := self._live.get(task_id)) is not None:
            live.hinted = live.announced = True
            if not live.being_polled:
                self._set_level(live, now)

    def poll_later(self, task_id: VideoTaskId, now: float, at: float) -> None:
        """Poll a task again, not before `at`, such as after a failed poll."""
        if (live := self._live.get(task_id)) is not None:
            self._requeue(live, now, at)

    def poll_at(self, task_id: VideoTaskId, now: float, at: float) -> None:
        """Poll a task next once it is `at`, whatever the model says: it has ended, and its video is to come."""
        if (live := self._live.get(task_id)) is not None:
            live.hinted = True
            self._requeue(live, now, at)

    # Decisions

    def decide(self, now: float, backlog: Backlog) -> Decision:
        """Return the best use of a place in the window now; record it with `polling` or `submitting`.

        Unless reads share a window with submissions, it is about a read: it is never a submission.
        """
        self._promote(now)
        if (shared := self.shared_rate) is None:
            return self._spare(now, self.read_rate, self._reads_floor(backlog))
        if not backlog.ready:
            self._drain_until = None
            return self._without_submissions(now, backlog, shared)
        if (task_id := self._worthwhile(now, backlog, shared) or self._interactive_due()) is not None:
            return Poll(task_id)
        return Submit()

    def polling(self, task_id: VideoTaskId, now: float) -> None:
        """Record that a poll is being sent; `ended`, `unfinished`, `poll_later` or `poll_at` must follow."""
        live = self._live[task_id]
        self._since_interactive += 1
        self._polled_at, self._since_poll = now, 0
        if live.interactive:
            self._since_interactive = 0
        self._polled_since_review += 1
        self._levels_of(live).drop(live)
        live.being_polled, live.hinted, live.due = True, False, math.inf
        live.ticket = -1

    def submitting(self) -> None:
        """Record that a submission is being sent."""
        self._since_interactive += 1
        self._since_poll += 1

    def _reads_floor(self, backlog: Backlog) -> int:
        """Return the floor of polls that compete with other polls alone."""
        if backlog.blocked or self.read_rate is None or len(self._live) <= self.read_rate.requests:
            return SPARE
        return READS_OF_MANY

    def _without_submissions(self, now: float, backlog: Backlog, rate: RateLimit) -> Decision:
        """Use a place that no submission can use, because none waits or all wait for a video to end."""
        if backlog.blocked and self._highest(SURE) is None and (due := self._interactive_due()) is not None:
            return Poll(due)
        return self._spare(now, rate, self._floor(backlog, rate))

    def _floor(self, backlog: Backlog, rate: RateLimit) -> int:
        """Return the floor of polls that compete with other polls alone, in a window for all calls."""
        if backlog.blocked:
            return CAPPED
        return SPARE_OF_MANY if len(self._live) > rate.requests else SPARE

    def _spare(self, now: float, rate: RateLimit | None, floor: int) -> Decision:
        """Use spare places for polls at even intervals, which keeps places for the rest of the period.

        Polls that probably pay are not delayed: they would be sent anyway.
        """
        if (sure := self._highest(SURE)) is not None:
            return Poll(sure)
        task_id = self._highest(floor, interactive=SPARE)
        if task_id is None:
            return Wait(self._next_change(now))
        at = self._polled_at + _spacing(rate)
        return Poll(task_id) if now >= at else Wait(at)

    def _worthwhile(self, now: float, backlog: Backlog, rate: RateLimit) -> VideoTaskId | None:
        """Return the task whose poll is worth a place while submissions wait for one, if any."""
        if backlog.blocked or self._is_draining(now, backlog, rate):
            return None
        if self.durations.ends >= KNOWN:
            return self._highest(NEAR_CERTAIN if self.durations.ends >= WELL_KNOWN else CONTENDED_EARLY)
        return self._highest(EXPLORE) if self._since_poll >= EXPLORE_SHARE - 1 else None

    def _highest(self, floor: int, *, interactive: int | None = None) -> VideoTaskId | None:
        """Return the task on the highest level, if any; `interactive` is the floor of interactive tasks."""
        tops = (
            self._interactive.highest(floor if interactive is None else interactive),
            self._bulk.highest(floor),
        )
        found = [top for top in tops if top is not None]
        return max(found, key=itemgetter(0))[1] if found else None

    def _interactive_due(self) -> VideoTaskId | None:
        top = self._interactive.highest(INTERACTIVE) if self._since_interactive >= INTERACTIVE_SHARE - 1 else None
        return top[1] if top is not None else None

    def _is_draining(self, now: float, backlog: Backlog, rate: RateLimit) -> bool:
        """Whether all remaining polls fit into the time that the track submitted last takes anyway.

        Of a catalog that cannot be counted, only the rows read so far are known. If more follow, this was not the
        end, and the phase ends after the time that it was planned to last.
        """
        # Durations recalled from earlier runs do not count as ends seen.
        seen = self.durations.ends - self.durations.recalled
        planned_for = next(share for ends, share in DRAIN_SHARES if seen >= ends)
        left = len(self._live) + backlog.ready + backlog.blocked + backlog.unread
        # A few stuck tasks do not make the drain phase longer.
        seconds = min(self.durations.quantile(planned_for), self.durations.longest())
        if left * rate.per >= rate.requests * seconds:
            self._drain_until = None
            return False
        if self._drain_until is None:
            self._drain_until = now + seconds
        return now < self._drain_until

    def _next_change(self, now: float) -> float | None:
        """Return when the next task is promoted, or a bounded time from now: floors also fall with time."""
        if not self._live:
            return None
        promotion = self._promotions[0][0] if self._promotions else math.inf
        return min(promotion, now + max(_spacing(self.rate), SHORTEST))

    # Priority levels

    def _levels_of(self, live: _Live) -> _PriorityLevels:
        return self._interactive if live.interactive else self._bulk

    def _requeue(self, live: _Live, now: float, not_before: float) -> None:
        """Put a task back on a level after a poll."""
        live.being_polled = False
        live.not_before = not_before
        self._set_level(live, now)

    def _set_level(self, live: _Live, now: float) -> None:
        """Put a task on its current level, and schedule its promotion to the next one."""
        if now < live.not_before:
            level, at = -1, live.not_before
        elif live.hinted or not live.seen:
            level, at = URGENT, math.inf
        else:
            level, at = self._level_by_model(live, now)
        if level != live.level:
            self._levels_of(live).put(live, level)
        live.ticket = next(self._tickets)
        if at < math.inf:
            heapq.heappush(self._promotions, (at, live.ticket, live.task_id))

    def _level_by_model(self, live: _Live, now: float) -> tuple[int, float]:
        """Return a task's current level by the model, and when it reaches the next one."""
        curve = self.durations.curve()
        longest = curve.longest
        if live.due < math.inf:
            at = live.due + STARVED_AFTER * longest
            return (NEAR_CERTAIN, at) if now < at else (URGENT, math.inf)
        # Whatever the model says, a task is polled by the time its age has doubled since the last poll.
        seen = live.seen_age
        latest = live.born + (max(longest, seen + min(seen, LONGEST_WAIT)) if seen else longest)
        if now >= latest:
            return URGENT, math.inf
        if self._called_back:
            return -1, latest
        level, next_age = self._reached(curve, seen, now - live.born)
        if level == NEAR_CERTAIN:
            live.due = now
            return level, now + STARVED_AFTER * longest
        return level, min(live.born + next_age, latest)

    def _reached(self, curve: HazardCurve, seen_age: float, age: float) -> tuple[int, float]:
        """Return the level of a task at an age, and the age at which it reaches the next one."""
        if not seen_age:  # most tasks: they reach the levels at the same ages, so a review is cheap
            if self._aged_by is not curve:
                ages = (curve.age_at(hazard) for hazard in _LEVEL_HAZARDS)
                self._aged_by, self._ages = curve, (*ages, math.inf)
            level = bisect_right(self._ages, age + _MOMENT) - 1
            return level, self._ages[level + 1]
        seen = curve.hazard(seen_age)
        level = bisect_right(_LEVEL_HAZARDS, curve.hazard(age) - seen + _ROUNDING) - 1
        return level, math.inf if level == NEAR_CERTAIN else curve.age_at(seen + _LEVEL_HAZARDS[level + 1])

    def _promote(self, now: float) -> None:
        """Promote the tasks that are due; compute all levels again if the model has changed."""
        changed = self._model_version != self.durations.version
        if changed and self._polled_since_review * REVIEWED >= len(self._live):
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
            if live.being_polled:
                continue
            if now < live.not_before:  # not polled yet, whatever the model says
                heapq.heappush(self._promotions, (live.not_before, live.ticket, live.task_id))
            elif live.level < URGENT:
                self._set_level(live, now)
