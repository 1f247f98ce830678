"""The outage brake's decisions, and the waiting for it."""

from __future__ import annotations

from suno_video_async.ratelimit.brake import AHEAD, FAILED_READS, LIMIT, Brake, Pass, Phase


def begun(brake: Brake) -> Pass:
    given = brake.begin()
    assert given is not None
    return given


def tripped(brake: Brake) -> None:
    brake.out_of_reach(begun(brake), "HTTP 502", unknown=True)


def test_an_unknown_outcome_holds_all_until_a_read_and_then_one_goes_alone() -> None:
    """Held, trial, released: in this order and not otherwise."""
    brake = Brake()
    tripped(brake)
    assert (brake.phase, brake.begin()) == (Phase.HELD, None)
    brake.read()
    trial = begun(brake)
    assert (brake.phase, brake.begin()) == (Phase.TRIAL, None)
    brake.read()
    assert brake.begin() is None
    brake.created(trial, accepted=True)
    assert brake.phase is Phase.RELEASED
    assert brake.unknown == 0


def test_a_trial_that_is_not_answered_holds_again() -> None:
    """One answered read is not enough: the gateway may answer reads alone."""
    brake = Brake()
    tripped(brake)
    brake.read()
    tripped(brake)
    assert (brake.phase, brake.unknown) == (Phase.HELD, 2)


def test_a_trial_that_was_not_used_can_be_taken_again() -> None:
    """A submission that was given up does not keep the others out for ever."""
    brake = Brake()
    tripped(brake)
    brake.read()
    brake.give_back(begun(brake))
    assert begun(brake)


def test_what_was_in_flight_when_it_began_is_not_counted() -> None:
    """An answer lost to an outage is nobody's choice; one that was asked for in the outage is."""
    brake = Brake()
    early = begun(brake)
    brake.created(begun(brake), accepted=True)
    late = begun(brake)
    brake.out_of_reach(early, "HTTP 502", unknown=True)
    assert (brake.unknown, brake.closings, brake.phase) == (0, 1, Phase.HELD)
    brake.out_of_reach(late, "HTTP 502", unknown=True)
    assert (brake.unknown, brake.closings) == (1, 1)


def test_an_answer_to_an_old_submission_does_not_release() -> None:
    """A straggler that was answered says nothing of the present; its acceptance still resets the count."""
    brake = Brake()
    old = begun(brake)
    tripped(brake)
    brake.created(old, accepted=True)
    assert (brake.phase, brake.unknown) == (Phase.HELD, 0)


def test_a_refusal_releases_without_resetting_the_count() -> None:
    """An envelope shows that the API is there; only an accepted submission shows that buying works."""
    brake = Brake()
    tripped(brake)
    brake.read()
    brake.created(begun(brake), accepted=False)
    assert (brake.phase, brake.unknown) == (Phase.RELEASED, 1)


def test_not_sent_holds_and_is_not_counted() -> None:
    """A connection that does not come up is an outage, and nothing is lost by it."""
    brake = Brake()
    brake.out_of_reach(begun(brake), "HTTP 502", unknown=False)
    assert (brake.phase, brake.unknown) == (Phase.HELD, 0)


def test_so_many_unknown_outcomes_exhaust_it() -> None:
    """Where reads work and submissions do not, the buying ends; doubt in an envelope counts, too."""
    brake = Brake()
    for _ in range(LIMIT - 1):
        tripped(brake)
        brake.read()
    assert not brake.exhausted
    brake.doubt("no id")
    assert brake.exhausted


def test_half_open_means_one_alone_and_one_unknown_outcome() -> None:
    """As after a run that was stopped here."""
    brake = Brake()
    brake.begin_half_open()
    trial = begun(brake)
    assert brake.begin() is None
    brake.out_of_reach(trial, "HTTP 502", unknown=True)
    assert brake.exhausted


def test_reads_that_fail_in_a_row_hold_submissions() -> None:
    """One lost answer is nothing; three without a word of the API between them are an outage."""
    brake = Brake()
    for _ in range(FAILED_READS - 1):
        brake.read_failed("HTTP 502")
    brake.read()
    for _ in range(FAILED_READS):
        assert brake.phase is Phase.RELEASED
        brake.read_failed("HTTP 502")
    assert (brake.phase, brake.unknown) == (Phase.HELD, 0)


def test_few_begin_without_an_answer_between_them() -> None:
    """A hung server takes in no more than these; an answer to one of them lets as many begin again."""
    brake = Brake()
    given = [begun(brake) for _ in range(AHEAD)]
    brake.read()
    assert brake.begin() is None
    brake.created(given[0], accepted=True)
    assert begun(brake)


def test_a_stream_without_a_window_is_as_wide_as_it_was_answered() -> None:
    """Answers that come together count one by one there; a failure makes it narrow again."""
    brake = Brake(paced=False)
    for _ in range(4):
        given = [begun(brake) for _ in range(AHEAD)]
        for one in given:
            brake.created(one, accepted=True)
    wide = [begun(brake) for _ in range(5 * AHEAD)]
    assert brake.begin() is None
    for one in wide:
        brake.give_back(one)
    brake.read_failed("HTTP 502")
    assert [brake.begin() is None for _ in range(AHEAD + 1)] == [False] * AHEAD + [True]


def test_a_stream_that_is_lost_at_once_does_not_end_the_buying() -> None:
    """It counts as much as a burst does; each trial after it counts, too, until there have been enough."""
    brake = Brake(paced=False)
    for one in [begun(brake) for _ in range(AHEAD)]:
        brake.created(one, accepted=True)
    stream = [begun(brake) for _ in range(2 * AHEAD)]
    for one in stream:
        brake.out_of_reach(one, "no answer in time", unknown=True)
    assert brake.unknown == AHEAD
    for _ in range(LIMIT - AHEAD):
        assert not brake.exhausted
        brake.read()
        brake.out_of_reach(begun(brake), "no answer in time", unknown=True)
    assert brake.exhausted


def test_what_began_and_is_over_without_an_answer_blocks_nothing() -> None:
    """Where nothing is in flight that could be answered, one more may begin."""
    brake = Brake()
    given = [begun(brake) for _ in range(AHEAD)]
    for one in given:
        brake.give_back(one)
    assert begun(brake)


def test_listeners_hear_of_every_change() -> None:
    """So that what waits looks again."""
    heard: list[Phase] = []
    brake = Brake()
    brake.listeners[lambda: heard.append(brake.phase)] = None
    tripped(brake)
    brake.read()
    brake.created(begun(brake), accepted=True)
    assert heard == [Phase.HELD, Phase.TRIAL, Phase.RELEASED]
