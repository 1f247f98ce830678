"""The simple schedule: pure, no loop."""

from __future__ import annotations

from suno_video_async import VideoTaskId
from suno_video_async.pacing.schedule import PollIntervals, PollSchedule

A, B = VideoTaskId("a"), VideoTaskId("b")


def test_a_new_task_is_asked_about_after_the_shortest_wait() -> None:
    """Nothing is due before, and a task is given out once."""
    schedule = PollSchedule()
    assert schedule.next_due() is None
    assert schedule.take(0.0) is None
    schedule.add(A, 0.0)
    assert (len(schedule), A in schedule, schedule.next_due()) == (1, True, 1.0)
    assert schedule.take(0.9) is None
    assert schedule.take(1.0) == A
    assert schedule.take(1.0) is None


def test_the_wait_is_a_share_of_the_age() -> None:
    """Young tasks are asked about often, old ones seldom, within bounds."""
    schedule = PollSchedule(PollIntervals(shortest=1, longest=30, share=0.1))
    schedule.add(A, 0.0)
    for now, due in [(1.0, 2.0), (50.0, 55.0), (1000.0, 1030.0)]:
        schedule.asked(A, now)
        assert schedule.next_due() == due


def test_an_attached_task_is_asked_about_at_once_and_by_its_age() -> None:
    """A task that is old already is not asked about every second."""
    schedule = PollSchedule()
    schedule.add(A, 100.0, age=200.0, first=0.0)
    assert schedule.take(100.0) == A
    schedule.asked(A, 100.0)
    assert schedule.next_due() == 120.0


def test_the_earliest_due_goes_first() -> None:
    """Among several that are due, the one that waits longest is next."""
    schedule = PollSchedule()
    schedule.add(A, 5.0)
    schedule.add(B, 0.0)
    assert [schedule.take(10.0), schedule.take(10.0), schedule.take(10.0)] == [B, A, None]


def test_a_removed_task_is_never_given_out() -> None:
    """What ended, or was put off, leaves no stale question behind."""
    schedule = PollSchedule()
    schedule.add(A, 0.0)
    schedule.add(B, 0.0)
    schedule.ask_again(A, 60.0)
    schedule.remove(B)
    schedule.remove(B)
    assert schedule.next_due() == 60.0
    schedule.asked(B, 1.0)
    schedule.ask_again(B, 1.0)
    assert schedule.next_due() == 60.0
