"""The schedule: what places are used for. No event loop is needed."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest

from suno_video_async import RateLimit, VideoTaskId
from suno_video_async.polling.durations import DurationModel
from suno_video_async.polling.schedule import (
    EXPLORE_SHARE,
    KNOWN,
    LEVELS,
    LONGEST_WAIT,
    READS_OF_MANY,
    STARVED_AFTER,
    Backlog,
    Poll,
    PollSchedule,
    Submit,
    Wait,
)
from tests.polling.test_durations import taught

A, B = VideoTaskId("a"), VideoTaskId("b")
RATE = RateLimit(20, 10)
NOTHING, READY, BLOCKED = Backlog(), Backlog(ready=1000), Backlog(blocked=50)


def schedule(model: DurationModel | None = None) -> PollSchedule:
    return PollSchedule(RATE, model or DurationModel())


def first_poll(plan: PollSchedule, backlog: Backlog, start: float = 0.0, step: float = 0.5) -> float:
    """Return when the first poll is sent, with a place free every `step` seconds."""
    now = start
    while now < start + 1e5:
        decision = plan.decide(now, backlog)
        if isinstance(decision, Poll):
            return now
        if isinstance(decision, Submit):
            plan.submitting()
        now += step
    raise AssertionError("never polled")


def test_without_tasks_there_is_nothing_to_wait_for() -> None:
    """The schedule waits until something changes."""
    assert schedule().decide(0.0, NOTHING) == Wait(None)
    assert schedule().decide(0.0, READY) == Submit()
    assert schedule().decide(0.0, BLOCKED) == Wait(None)


def test_a_task_of_a_service_that_takes_no_second_is_first_polled_within_one() -> None:
    """The least time between two polls does not hold up the first one."""
    plan = schedule(taught(median=0.1))
    plan.add(A, 0.0)
    assert first_poll(plan, NOTHING, step=0.1) < 1.0


def test_a_single_task_is_polled_when_it_may_have_ended_and_not_too_often() -> None:
    """A task of about a minute costs under 40 polls and is noticed within two seconds."""
    plan, now, polled = schedule(), 0.0, list[float]()
    plan.add(A, 0.0, interactive=True)
    while now < 66:
        decision = plan.decide(now, NOTHING)
        if isinstance(decision, Poll):
            plan.polling(A, now)
            plan.unfinished(A, now)
            polled.append(now)
        else:
            assert isinstance(decision, Wait)
            assert decision.until is not None
            assert decision.until > now
            now = decision.until
    assert len(polled) < 40
    assert min(b - a for a, b in pairwise(polled)) >= 1
    assert max(b - a for a, b in pairwise(polled) if a > 50) < 3


def test_while_submissions_wait_a_poll_must_be_likely_to_pay() -> None:
    """With a known model a bulk task is polled once nearly all have ended, an interactive one earlier."""
    bulk, interactive = schedule(taught()), schedule(taught())
    bulk.add(A, 0.0)
    interactive.add(A, 0.0, interactive=True)
    late, early = first_poll(bulk, READY), first_poll(interactive, READY)
    assert taught().chance(0.0, late) > 0.9
    assert 0.1 < taught().chance(0.0, early) < 0.25


def test_when_videos_in_flight_are_the_limit_tasks_are_polled_earlier() -> None:
    """The next submission waits for an end to be found, and no place is kept for it."""
    capped, contended = schedule(taught()), schedule(taught())
    capped.add(A, 0.0)
    contended.add(A, 0.0)
    assert first_poll(capped, BLOCKED) < 55
    assert first_poll(contended, READY) > 60


def test_polls_that_probably_pay_are_not_spaced() -> None:
    """While submissions wait for a video to end, less likely polls go at even intervals, and others at once."""
    likely, unlikely = schedule(taught()), schedule(taught())
    for plan, at in ((likely, 90.0), (unlikely, 55.0)):
        for number in range(3):
            plan.add(VideoTaskId(f"v{number}"), 0.0)
        first = plan.decide(at, BLOCKED)
        assert isinstance(first, Poll)
        plan.polling(first.task_id, at)
    assert isinstance(likely.decide(90.0, BLOCKED), Poll)
    assert unlikely.decide(55.0, BLOCKED) == Wait(55.5)


def test_as_long_as_nothing_is_known_a_few_polls_explore() -> None:
    """One place in eight polls a task that may have ended, and the others submit."""
    plan = schedule()
    for number in range(100):
        plan.add(VideoTaskId(f"v{number}"), 0.0)
    decisions = list[object]()
    for _ in range(50):
        decision = plan.decide(90.0, READY)
        decisions.append(type(decision))
        if isinstance(decision, Poll):
            plan.polling(decision.task_id, 90.0)
        else:
            plan.submitting()
    assert decisions.count(Poll) == 50 // EXPLORE_SHARE


def test_little_knowledge_is_enough_to_begin() -> None:
    """With few ends known, a poll needs a lower probability than with many."""
    little, much = taught(20), taught(600)
    assert first_poll(with_task(little), READY) < first_poll(with_task(much), READY) + 10
    assert little.ends < 40


def with_task(model: DurationModel) -> PollSchedule:
    plan = schedule(model)
    plan.add(A, 0.0)
    return plan


def test_at_the_end_of_a_catalog_what_is_left_is_submitted_first() -> None:
    """While the last track runs, there is time for all remaining polls."""
    plan = with_task(taught())
    now = first_poll(plan, READY)
    assert plan.decide(now, Backlog(ready=20)) == Submit()
    assert plan.decide(now, NOTHING) == Poll(A)


def test_spare_places_are_spent_evenly() -> None:
    """Two polls in a row are half a second apart, so that the window is not used up at once."""
    plan = schedule(taught())
    for task in (A, B):
        plan.add(task, 0.0)
    assert isinstance(plan.decide(60.0, NOTHING), Poll)
    plan.polling(A, 60.0)
    assert plan.decide(60.1, NOTHING) == Wait(60.5)
    assert plan.decide(60.5, NOTHING) == Poll(B)


def test_many_tasks_at_the_end_are_not_polled_too_early() -> None:
    """Spare places poll tasks that may have ended; an interactive task is polled earlier."""
    plan = schedule(taught())
    for number in range(30):
        plan.add(VideoTaskId(f"v{number}"), 0.0)
    assert isinstance(plan.decide(50.0, NOTHING), Wait)
    plan.add(A, 0.0, interactive=True)
    plan.decide(1.0, NOTHING)
    assert plan.decide(50.0, NOTHING) == Poll(A)


def test_polls_that_almost_certainly_pay_are_not_spaced_out() -> None:
    """At the end of a catalog all free places poll tasks that have almost certainly ended, the newest first."""
    plan = schedule(taught())
    tasks = [VideoTaskId(f"v{number}") for number in range(30)]
    for task in tasks:
        plan.add(task, 0.0)
    polled = list[VideoTaskId]()
    while isinstance(decision := plan.decide(150.0, NOTHING), Poll):
        polled.append(decision.task_id)
        plan.polling(decision.task_id, 150.0)
    assert polled == tasks[::-1]


def test_the_drain_phase_begins_before_the_model_is_well_known() -> None:
    """A catalog with too few ends for the model is submitted first, and polled once all is submitted."""
    plan = schedule(taught(KNOWN))
    for number in range(90):
        plan.add(VideoTaskId(f"v{number}"), 0.0)
    assert plan.decide(200.0, Backlog(ready=10)) == Submit()
    assert isinstance(plan.decide(200.0, Backlog(ready=400)), Poll)


def test_a_drain_phase_ends_when_more_rows_follow() -> None:
    """If more and more rows follow, polling resumes after the time that the phase was planned to last."""
    plan = schedule(taught())
    plan.add(A, 0.0)
    polled_at = next(at for at in range(130, 1000) if plan.decide(float(at), Backlog(ready=1)) == Poll(A))
    assert 130 + plan.durations.quantile(0.95) < polled_at <= 130 + plan.durations.quantile(0.995)
    assert plan.decide(polled_at + 1.0, Backlog(ready=1000)) == Poll(A)
    assert plan.decide(polled_at + 2.0, Backlog(ready=1)) == Submit()  # a new phase: much was left in between


def test_what_an_earlier_run_saw_does_not_make_the_model_well_known() -> None:
    """The drain phase is as short as without recalled durations."""
    model = DurationModel()
    model.recall([65.0] * 100)
    plan = schedule(model)
    plan.add(A, 0.0)
    beyond = math.ceil(2 * model.quantile(0.9))
    assert model.quantile(0.99) * 2 > beyond
    assert isinstance(plan.decide(1000.0, Backlog(ready=beyond)), Poll)


def test_a_due_task_waits_for_newer_ones_for_a_bounded_time() -> None:
    """Even with a new due task for every place, the oldest one is polled."""
    plan = schedule(taught())
    plan.add(A, 0.0)
    plan.decide(150.0, NOTHING)
    longest = plan.durations.longest()
    for number in range(1000):
        now = 150.0 + number
        plan.add(VideoTaskId(f"v{number}"), now, age=150.0)
        decision = plan.decide(now + 1.0, NOTHING)
        assert isinstance(decision, Poll)
        if decision.task_id == A:
            break
        plan.polling(decision.task_id, now + 1.0)
        plan.remove(decision.task_id)
    assert number == pytest.approx(STARVED_AFTER * longest, abs=3)


def test_a_hinted_task_goes_before_all_due_tasks() -> None:
    """A task with a callback is polled next, although many others have almost certainly ended."""
    plan = schedule(taught())
    for number in range(30):
        plan.add(VideoTaskId(f"v{number}"), 0.0)
    plan.decide(150.0, NOTHING)
    plan.hint(VideoTaskId("v7"), 150.0)
    assert plan.decide(150.0, NOTHING) == Poll(VideoTaskId("v7"))


def test_a_task_of_unknown_age_is_polled_at_once() -> None:
    """After that its age is known; a failed poll is repeated, but not before its time."""
    plan = schedule(taught())
    plan.add(A, 100.0, age=None)
    assert plan.decide(100.0, READY) == Poll(A)
    plan.polling(A, 100.0)
    plan.poll_later(A, 100.0, 107.0)
    assert plan.decide(106.9, READY) == Submit()
    assert plan.decide(107.0, READY) == Poll(A)
    plan.polling(A, 107.0)
    plan.unfinished(A, 107.0, age=60.0)
    assert first_poll(plan, READY, 107.0) > 130.0


def polled_after(age: float | None, model: DurationModel | None = None) -> tuple[float, PollSchedule]:
    """Return how long a task that was seen unfinished at an age is left alone, and the schedule."""
    plan = schedule(model or taught())
    plan.add(A, 100.0, age=None)
    plan.polling(A, 100.0)
    plan.unfinished(A, 100.0, age=age)
    return first_poll(plan, READY, 100.0) - 100.0, plan


@pytest.mark.parametrize("age", [None, 0.0, 60.0, 3600.0, 86_400.0])
def test_a_wrong_age_does_not_hide_an_end(age: float | None) -> None:
    """A task whose age is an hour off is polled as soon as one that is as old as almost all become."""
    wait, plan = polled_after(age)
    assert wait <= 1.05 * plan.durations.longest()


@pytest.mark.parametrize("age", [None, 3600.0])
def test_nothing_is_learned_from_an_age_that_is_in_doubt(age: float | None) -> None:
    """Only the duration counts that the server reports at the end."""
    _, plan = polled_after(age, DurationModel())
    fresh = DurationModel()
    fresh.ended(0.0, 60.0)
    plan.ended(A, 130.0, 60.0)
    assert plan.durations.quantile(0.5) == pytest.approx(fresh.quantile(0.5))
    assert plan.durations.longest() == pytest.approx(fresh.longest())


def test_an_interactive_task_is_polled_beside_a_catalog_that_waits_for_an_end() -> None:
    """Tasks of the catalog that are likelier to have ended do not keep its share of the places from it."""
    plan = schedule(taught())
    plan.add(VideoTaskId("bulk"), 0.0)
    plan.add(A, 5.0, interactive=True)
    assert plan.decide(52.0, BLOCKED) == Poll(A)


def test_interactive_tasks_leave_places_to_others() -> None:
    """At most one place in four goes to interactive tasks while submissions wait."""
    plan = schedule(taught())
    for number in range(40):
        plan.add(VideoTaskId(f"v{number}"), 0.0, interactive=True)
    polled = 0
    for _ in range(40):
        decision = plan.decide(55.0, READY)
        if isinstance(decision, Poll):
            polled += 1
            plan.polling(decision.task_id, 55.0)
        else:
            plan.submitting()
    assert polled == 10


def test_a_stuck_task_is_polled_less_and_less_often() -> None:
    """The wait grows with its age, up to ten minutes, but never exceeds its age by much."""
    plan, now, waits = with_task(taught()), 0.0, list[float]()
    while now < 20_000:
        polled = first_poll(plan, READY, now, step=1.0)
        waits.append(polled - now)
        now = polled
        plan.polling(A, now)
        plan.unfinished(A, now)
    assert 4 * waits[0] < waits[-1] <= LONGEST_WAIT + 1
    assert all(wait <= 2 * sum(waits[:number]) + 200 for number, wait in enumerate(waits))
    assert len(waits) < 60


def test_an_end_is_recorded_and_its_task_removed() -> None:
    """The server's duration is clamped to what was observed; tasks that are not followed are ignored."""
    plan = schedule()
    for duration, now in [(60.0, 70.0), (None, 65.0), (1e9, 66.0)]:
        plan.add(A, 0.0)
        plan.ended(A, now, duration)
        assert A not in plan
    plan.add(A, 0.0, age=None)
    plan.ended(A, 1.0, 55.0)
    plan.add(A, 0.0, age=None)
    plan.ended(A, 1.0, None)
    assert (plan.durations.ends, len(plan)) == (4, 0)
    plan.ended(A, 1.0, 5.0)
    plan.unfinished(A, 1.0)
    plan.poll_later(A, 1.0, 2.0)
    plan.remove(A)
    assert (plan.durations.ends, len(plan)) == (4, 0)


def test_without_a_rate_no_poll_is_held_back() -> None:
    """No places need to be kept free, nor for submissions; a task is still polled at most once a second."""
    plan = PollSchedule(None, taught())
    plan.add(A, 0.0)
    assert first_poll(plan, BLOCKED) < 45
    plan.polling(A, 45.0)
    plan.unfinished(A, 45.0)
    assert isinstance(plan.decide(45.5, NOTHING), Wait)
    assert isinstance(plan.decide(60.0, NOTHING), Poll)
    assert plan.decide(60.0, Backlog(ready=1)) == Poll(A)


@pytest.mark.parametrize(("cap", "makespan", "requests"), [(300, 1.15, 2.3), (60, 1.85, 3.0)])
def test_a_whole_catalog_takes_little_more_than_two_requests_a_track(
    cap: int, makespan: float, requests: float
) -> None:
    """In a simulation of the window and of the server, the bounds of both hold with some room."""
    took, sent = simulate(300, cap)
    assert took < makespan * 300
    assert sent < requests * 300


def simulate(tracks: int, cap: int, seed: int = 1) -> tuple[float, int]:
    """Return the seconds and the requests of a catalog, with a place free every half second."""
    rng, plan = random.Random(seed), schedule()
    ends, submitted, done, sent, now = dict[VideoTaskId, tuple[float, float]](), 0, 0, 0, 0.0
    while done < tracks:
        room = cap - (submitted - done)
        left = tracks - submitted
        decision = plan.decide(now, Backlog(min(left, room), max(left - room, 0)))
        sent += not isinstance(decision, Wait)
        if isinstance(decision, Submit):
            task = VideoTaskId(f"v{submitted}")
            seconds = 65 * math.exp(rng.gauss(0, 0.35))
            submitted += 1
            ends[task] = (now + seconds, seconds)
            plan.submitting()
            plan.add(task, now)
        elif isinstance(decision, Poll):
            plan.polling(decision.task_id, now)
            end, seconds = ends[decision.task_id]
            if end <= now:
                plan.ended(decision.task_id, now, seconds)
                done += 1
            else:
                plan.unfinished(decision.task_id, now)
        now += RATE.per / RATE.requests
    return now, sent


def test_a_hinted_task_is_polled_next() -> None:
    """It is polled before further submissions; once, and only if it is followed."""
    plan = schedule(taught())
    plan.add(A, 0.0)
    plan.add(B, 0.0)
    assert plan.decide(5.0, READY) == Submit()
    plan.hint(B, 5.0)
    plan.hint(VideoTaskId("c"), 5.0)
    assert plan.decide(5.0, READY) == Poll(B)
    plan.polling(B, 5.0)
    plan.unfinished(B, 5.0)
    assert plan.decide(7.0, READY) == Submit()


def test_a_task_that_is_not_followed_is_ignored() -> None:
    """An answer may come after the following has ended; it makes nothing due."""
    plan = schedule(taught())
    for late in (plan.hint, plan.unfinished):
        late(A, 5.0)
    for later in (plan.poll_later, plan.poll_at):
        later(A, 5.0, 6.0)
    assert plan.ages(7.0) == []
    assert plan.decide(7.0, NOTHING) == Wait(None)


def test_a_hint_during_a_poll_counts_after_it() -> None:
    """The pending answer may be older than the end, so the task is polled once more."""
    plan = schedule(taught())
    plan.add(A, 0.0)
    plan.polling(A, 5.0)
    plan.hint(A, 5.0)
    plan.unfinished(A, 5.0)
    assert plan.decide(7.0, READY) == Poll(A)


def test_while_callbacks_work_only_late_tasks_are_polled() -> None:
    """Announced ends make polls unnecessary; ends that are not announced bring them back."""
    plan, polling = schedule(taught()), schedule(taught())
    polling.add(A, 0.0)
    usual = first_poll(polling, NOTHING)
    for number in range(5):
        plan.add(VideoTaskId(f"t{number}"), 0.0)
        plan.hint(VideoTaskId(f"t{number}"), 60.0)
        plan.ended(VideoTaskId(f"t{number}"), 60.0, 60.0)
    plan.add(A, 0.0)
    assert first_poll(plan, NOTHING) > 2 * usual
    plan.ended(A, 300.0, 65.0)
    plan.add(B, 0.0)
    assert first_poll(plan, NOTHING) < 1.5 * usual


def test_the_ages_of_followed_tasks() -> None:
    """Each task has an age, and the age at which it was last seen unfinished; an ended task has none."""
    plan = schedule()
    plan.add(VideoTaskId("a"), 100.0)
    plan.add(VideoTaskId("b"), 90.0, age=5.0)
    plan.unfinished(VideoTaskId("a"), 110.0)
    assert plan.ages(120.0) == [(20.0, 10.0), (35.0, 0.0)]
    plan.ended(VideoTaskId("a"), 120.0, None)
    assert plan.ages(120.0) == [(35.0, 0.0)]


@pytest.mark.parametrize(
    ("backlog", "first"),
    [
        (Backlog(ready=10), Submit()),
        (Backlog(ready=10, unread=1000), Poll(A)),
        (Backlog(ready=10, blocked=10, unread=1000), Submit()),
    ],
)
def test_the_end_of_a_catalog_is_where_no_row_is_left_to_be_read(backlog: Backlog, first: object) -> None:
    """Before it a poll that pays goes first, unless videos in flight limit the submissions; near it, it waits."""
    plan = schedule(taught(100))
    plan.add(A, 0.0)
    assert plan.decide(200.0, backlog) == first


# Reads with a window of their own


def apart(tasks: int, requests: int = 10) -> PollSchedule:
    """Return a schedule of tasks submitted at 0 whose durations are well known."""
    plan = PollSchedule(RATE, taught(), read_rate=RateLimit(requests, 1))
    for number in range(tasks):
        plan.add(VideoTaskId(f"v{number}"), 0.0)
    return plan


@pytest.mark.parametrize("backlog", [NOTHING, READY, BLOCKED])
def test_a_place_of_the_reads_is_never_used_for_a_submission(backlog: Backlog) -> None:
    """Whatever waits: polls are sent when they pay, and nothing else is."""
    plan = apart(1)
    now, decisions = 0.0, set[type[object]]()
    while now < 100:
        decision = plan.decide(now, backlog)
        decisions.add(type(decision))
        if isinstance(decision, Poll):
            plan.polling(decision.task_id, now)
            plan.unfinished(decision.task_id, now)
        now += 0.1
    assert decisions == {Poll, Wait}


def test_submissions_that_wait_delay_no_poll() -> None:
    """With many of them a task is polled as early as with none; in one window it would be polled late."""
    early = first_poll(apart(1), NOTHING)
    assert first_poll(apart(1), READY) == early
    one_window = schedule(taught())
    one_window.add(A, 0.0)
    assert first_poll(one_window, READY) > early + 20


@pytest.mark.parametrize(
    ("tasks", "backlog", "floor"),
    [(10, NOTHING, 0), (11, NOTHING, READS_OF_MANY), (11, READY, READS_OF_MANY), (11, BLOCKED, 0)],
)
def test_the_more_polls_compete_the_likelier_they_must_be_to_pay(tasks: int, backlog: Backlog, floor: int) -> None:
    """With more tasks than places a poll must be likelier to pay, unless submissions wait for an end."""
    at = first_poll(apart(tasks), backlog, step=0.01)
    assert taught().chance(0.0, at) == pytest.approx(LEVELS[floor], abs=0.01)


def test_polls_are_spread_over_the_window_of_the_reads() -> None:
    """Those that may pay go a tenth of a second apart; those that almost certainly do, at once."""
    for now, gap in ((60.0, 0.1), (200.0, 0.0)):
        plan = apart(3)
        decision = plan.decide(now, NOTHING)
        assert isinstance(decision, Poll)
        plan.polling(decision.task_id, now)
        following = plan.decide(now, NOTHING)
        assert following == Wait(now + gap) if gap else isinstance(following, Poll)
