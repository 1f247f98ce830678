"""The order in which tasks have changed."""

from __future__ import annotations

from suno_video_async.local import changes
from suno_video_async.local.changes import Changes


def test_the_newest_change_comes_first() -> None:
    """Each task comes once, by its newest change."""
    seen = Changes()
    start = seen.now
    for task_id in ("a", "b", "a", "c"):
        seen.note(task_id)
    assert seen.since(start) == ["c", "a", "b"]
    assert seen.since(seen.now) == []


def test_a_forgotten_task_is_no_change() -> None:
    """A task that does not exist any more is not reported."""
    seen = Changes()
    start = seen.now
    seen.note("a")
    seen.forget("a")
    seen.forget("b")
    assert seen.since(start) == []


def test_only_so_many_are_remembered() -> None:
    """Who has seen less than what is remembered gets None, and reads everything."""
    seen = Changes()
    start = seen.now
    for n in range(changes.REMEMBERED + 1):
        seen.note(str(n))
    assert seen.since(start) is None
    known = seen.since(f"{seen.epoch}.1")
    assert known is not None
    assert len(known) == changes.REMEMBERED


def test_a_waiter_is_called_until_it_leaves() -> None:
    """Every change and every reset wakes who waits."""
    seen, calls = Changes(), list[int]()
    leave = seen.subscribe(lambda: calls.append(1))
    seen.note("a")
    seen.touch()
    seen.clear()
    assert (len(calls), seen.waiting) == (3, 1)
    leave()
    seen.note("a")
    assert (len(calls), seen.waiting) == (3, 0)
