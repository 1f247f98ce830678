"""Which task to ask about next, and when: pure, so that it can be tested and simulated without a loop.

A task is asked about soon after it was submitted, then ever less often as it grows older: the wait is a share of
its age, between two bounds. What a user waits is then a fixed share of a task's duration, whatever that is.
"""

from __future__ import annotations

import heapq
from itertools import count

from attrs import define, field, frozen

from suno_video_async.models import VideoTaskId


@frozen(kw_only=True)
class PollIntervals:
    """How long to wait between two questions about one task, in seconds.

    Args:
        shortest: the least wait, and the one before the first question.
        longest: the most.
        share: of the task's age, in between.

    """

    shortest: float = 1.0
    longest: float = 30.0
    share: float = 0.1


@define
class _Entry:
    since: float
    version: int


@define
class PollSchedule:
    """Knows when each live task is to be asked about; all times are the caller's, in seconds."""

    intervals: PollIntervals = field(factory=PollIntervals)
    _entries: dict[VideoTaskId, _Entry] = field(factory=dict[VideoTaskId, _Entry], init=False)
    _due: list[tuple[float, int, VideoTaskId]] = field(factory=list[tuple[float, int, VideoTaskId]], init=False)
    _versions: count[int] = field(factory=count, init=False, repr=False)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, task_id: object) -> bool:
        return task_id in self._entries

    def add(self, task_id: VideoTaskId, now: float, *, age: float = 0.0, first: float | None = None) -> None:
        """Begin to follow a task that is `age` seconds old; ask first after `first` seconds."""
        self._entries[task_id] = _Entry(now - age, 0)
        self._put(task_id, now + (self.intervals.shortest if first is None else first))

    def remove(self, task_id: VideoTaskId) -> None:
        """Stop following a task; harmless when it is not followed."""
        self._entries.pop(task_id, None)
        self._drop_stale()

    def next_due(self) -> float | None:
        """Return the time of the next question, or None when there is none to come."""
        self._drop_stale()
        return self._due[0][0] if self._due else None

    def take(self, now: float) -> VideoTaskId | None:
        """Return the task to ask about now, if one is due; it is due again only after `asked` or `ask_again`."""
        due = self.next_due()
        if due is None or due > now:
            return None
        return heapq.heappop(self._due)[2]

    def asked(self, task_id: VideoTaskId, now: float) -> None:
        """Note that an unfinished task was asked about: its next question waits a share of its age."""
        if entry := self._entries.get(task_id):
            age = now - entry.since
            wait = min(max(age * self.intervals.share, self.intervals.shortest), self.intervals.longest)
            self._put(task_id, now + wait)

    def ask_again(self, task_id: VideoTaskId, at: float) -> None:
        """Ask about a task at a time of the caller's choice, such as after a failed question."""
        if task_id in self._entries:
            self._put(task_id, at)

    def _put(self, task_id: VideoTaskId, at: float) -> None:
        version = next(self._versions)
        self._entries[task_id].version = version
        heapq.heappush(self._due, (at, version, task_id))

    def _drop_stale(self) -> None:
        """Forget heap entries that were replaced or removed."""
        while self._due:
            _, version, task_id = self._due[0]
            entry = self._entries.get(task_id)
            if entry is not None and entry.version == version:
                return
            heapq.heappop(self._due)
