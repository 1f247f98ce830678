"""The age of a task of an earlier run, by clocks that may be wrong."""

from __future__ import annotations

import pytest

from suno_video_async.models import TaskSnapshot, VideoTaskId
from suno_video_async.polling.age import OLDEST, age_of

CREATED = 1_700_000_000.0


def seen(*, created: float | None = CREATED, date: float | None = None) -> TaskSnapshot:
    at = None if date is None else CREATED + date
    return TaskSnapshot(task_id=VideoTaskId("v1"), status="running", create_at=created, answered_at=at)


@pytest.mark.parametrize("wall", [-1e9, -3600.0, 0.0, 40.0, 3600.0, 1e9])
def test_the_servers_own_clock_tells_it(wall: float) -> None:
    """However wrong the clock of this machine is."""
    assert age_of(seen(date=40.0), CREATED + wall) == 40.0


@pytest.mark.parametrize("date", [None, -3600.0, OLDEST + 1, -1.7e9])
def test_without_a_date_that_can_be_this_machines_clock_tells_it(date: float | None) -> None:
    """A date that is missing, from before the task or absurdly late is not used."""
    assert age_of(seen(date=date), CREATED + 50.0) == 50.0


@pytest.mark.parametrize("wall", [-3.0, -3600.0, OLDEST + 1])
def test_what_cannot_be_is_not_an_age(wall: float) -> None:
    """If no clock makes sense, the age is not known."""
    assert age_of(seen(), CREATED + wall) is None
    assert age_of(seen(created=None, date=40.0), CREATED + wall) is None


def test_a_date_has_whole_seconds() -> None:
    """A task that was created within the second of the answer is new."""
    assert age_of(seen(date=-0.9), CREATED) == 0.0
