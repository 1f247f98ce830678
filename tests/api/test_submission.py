"""Submitting: paid once, whatever happens."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from suno_video_async import (
    Answer,
    AuthenticationError,
    ClientClosedError,
    Hooks,
    InsufficientCreditsError,
    InvalidRequestError,
    LedgerError,
    Limiter,
    RateLimit,
    RateLimitError,
    Request,
    RetryEvent,
    RetryPolicy,
    ServerError,
    SubmissionUnknown,
    SunoVideoClient,
    SunoVideoError,
    SystemClock,
    TaskFailed,
    Track,
    TransportError,
    VideoRequest,
    VideoTaskId,
)
from suno_video_async.polling.submit_queue import SubmitQueue
from suno_video_async.protocol.codec import Operation
from suno_video_async.ratelimit.limiter import Lane, Place
from suno_video_async.testing import RecordingHooks
from tests.support.clients import TRACK, FakeAPI, client_of
from tests.support.fakes import Script, answer, settle, task_data
from tests.support.virtual import run_virtual

ACCEPTED = answer({"task_id": "v1"})


def scripted(*said: Answer | Exception) -> tuple[Callable[[Request], Answer | Exception], list[Operation]]:
    """Return a script that says these things in turn to CreateTask, and what was asked."""
    left, asked = list(said), list[Operation]()

    def script(request: Request) -> Answer | Exception:
        asked.append(request.operation)
        return left.pop(0) if request.operation is Operation.CREATE_TASK else answer(code=500)

    return script, asked


def in_client(
    script: Script, main: Callable[[SunoVideoClient], Coroutine[Any, Any, Any]], **options: Any
) -> tuple[Any, SunoVideoClient]:
    """Run something with an open client in virtual time; return its result and the client, closed."""

    async def run() -> tuple[Any, SunoVideoClient]:
        client, _ = client_of(script, **options)
        async with client:
            return await main(client), client

    return run_virtual(run())


async def accepts_slowly(request: Request) -> Answer:
    """Accept a submission, a second after it was sent."""
    await asyncio.sleep(1)
    return answer({"task_id": "v1"})


async def submit(client: SunoVideoClient) -> Any:
    return await client.submit(TRACK)


def bought(recorded: RecordingHooks) -> list[str]:
    return [event.task_id for event in recorded.submits]


def creates(asked: list[Operation]) -> int:
    return asked.count(Operation.CREATE_TASK)


@pytest.mark.parametrize(
    "first",
    [
        answer(code=429),
        answer(code=429, status=429),
        Answer(429, {}, b"busy"),
        answer(code=455),
        answer(code=500),
        answer(code=500, status=500),
        TransportError("refused", sent=False),
    ],
)
def test_a_submission_goes_again_where_nothing_was_done(first: Answer | Exception) -> None:
    """Refused for now, or never sent: it is backed off and sent once more."""
    script, asked = scripted(first, ACCEPTED)
    task, client = in_client(script, submit)
    assert task.id == "v1"
    assert task.requests >= 2
    assert creates(asked) == 2
    assert client.statistics().resent_after_500 == (isinstance(first, Answer) and b"500" in first.body)


@pytest.mark.parametrize(
    "said",
    [
        TransportError("broke off"),
        answer({}),
        answer({"task_id": "  "}),
        Answer(502, {}, b"<html>"),
        Answer(200, {}, b""),
        Answer(302, {"Location": "https://elsewhere.test/"}, b""),
        answer(code=501),
        answer(code=418),
        answer({"task_id": "v9"}, status=500),
    ],
)
def test_an_unknown_submission_is_never_sent_again(said: Answer | Exception) -> None:
    """It may be paid for, so the caller is told and nothing more is sent; an id in the answer is kept."""
    script, asked = scripted(said, ACCEPTED)

    async def main(client: SunoVideoClient) -> SubmissionUnknown:
        with pytest.raises(SubmissionUnknown) as caught:
            await client.submit(TRACK)
        await asyncio.sleep(3600)
        return caught.value

    error, _ = in_client(script, main)
    assert creates(asked) == 1
    assert error.track == TRACK
    assert error.task_id == ("v9" if isinstance(said, Answer) and b"v9" in said.body else None)


def test_strict_does_not_send_again_after_a_500() -> None:
    """Whoever asks for it gets `SubmissionUnknown` for the API's own 500 too."""
    script, asked = scripted(answer(code=500), ACCEPTED)

    async def main(client: SunoVideoClient) -> None:
        with pytest.raises(SubmissionUnknown, match="500"):
            await client.submit(TRACK)

    in_client(script, main, retry=RetryPolicy(strict=True))
    assert creates(asked) == 1


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (401, AuthenticationError),
        (402, InsufficientCreditsError),
        (403, AuthenticationError),
        (422, InvalidRequestError),
    ],
)
def test_a_refusal_goes_to_the_caller_at_once(code: int, kind: type[SunoVideoError]) -> None:
    """What sending again would not change is not sent again."""
    script, asked = scripted(answer(code=code))

    async def main(client: SunoVideoClient) -> None:
        with pytest.raises(kind):
            await client.submit(TRACK)

    in_client(script, main)
    assert creates(asked) == 1


@pytest.mark.parametrize(("code", "kind"), [(429, RateLimitError), (500, ServerError)])
def test_retries_are_used_up_in_the_end(code: int, kind: type[SunoVideoError]) -> None:
    """After all attempts the last refusal is raised, and room in flight is free again."""
    script, asked = scripted(*[answer(code=code)] * 3, ACCEPTED)

    async def main(client: SunoVideoClient) -> None:
        with pytest.raises(kind):
            await client.submit(TRACK)
        assert (await client.submit(TRACK)).id == "v1"

    in_client(script, main, retry=RetryPolicy(attempts=3), max_in_flight=1)
    assert creates(asked) == 4


def test_a_submission_outlives_its_caller() -> None:
    """Cancelled while it is in the air, it is still sent, accepted, told to the hooks, and followed to its end."""
    recorded = RecordingHooks()
    api = FakeAPI(seconds=30)

    async def slow(request: Request) -> Answer:
        await asyncio.sleep(1.0)
        return api(request)

    async def main(client: SunoVideoClient) -> None:
        caller = asyncio.ensure_future(client.submit(TRACK))
        await asyncio.sleep(0.5)
        caller.cancel()
        await settle()
        assert caller.cancelled()
        assert client.statistics().in_flight == 0
        await asyncio.sleep(1.0)
        assert bought(recorded) == ["v1"]
        assert client.statistics().in_flight == 1
        await asyncio.sleep(60)
        assert client.statistics().in_flight == 0

    in_client(slow, main, hooks=[recorded])
    assert len(api.created) == 1


def test_closing_waits_for_the_submission_in_the_air() -> None:
    """`aclose()` returns only when the answer has reached the hooks."""
    recorded = RecordingHooks()

    async def slow(request: Request) -> Answer:
        await asyncio.sleep(20)
        return ACCEPTED

    async def main(client: SunoVideoClient) -> asyncio.Future[Any]:
        caller = asyncio.ensure_future(client.submit(TRACK))
        await asyncio.sleep(1)
        return caller

    caller, _ = in_client(slow, main, hooks=[recorded])
    assert bought(recorded) == ["v1"]
    assert caller.result().id == "v1"


def test_a_cancelled_caller_that_waits_for_its_turn_sends_nothing() -> None:
    """Before the send, and during the backoff, a cancellation ends the submission and frees its room."""
    script, asked = scripted(answer(code=429, Retry_After="30"), ACCEPTED)

    async def main(client: SunoVideoClient) -> None:
        caller = asyncio.ensure_future(client.submit(TRACK))
        await asyncio.sleep(5)
        caller.cancel()
        await asyncio.sleep(100)
        assert creates(asked) == 1
        assert (await client.submit(TRACK)).id == "v1"

    in_client(script, main, max_in_flight=1)


def test_a_caller_that_leaves_right_before_the_send_gives_the_place_back() -> None:
    """It has its place, and is no longer wanted: nothing is sent, and the next one has the whole window."""
    script, asked = scripted(ACCEPTED)

    async def main(client: SunoVideoClient) -> None:
        engine = client._engine
        assert engine is not None
        acquire = SubmitQueue.acquire

        async def leaving(queue: SubmitQueue, **how: Any) -> Any:
            granted = await acquire(queue, **how)
            for submission in engine._submissions:
                submission.leave()
            return granted

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(SubmitQueue, "acquire", leaving)
            with pytest.raises(ClientClosedError, match="given up before it was sent"):
                await client.submit(TRACK)
        limiter = client.statistics().limiter
        assert limiter is not None
        assert (creates(asked), limiter.in_flight, limiter.window_used) == (0, 0, 0)
        assert (await client.submit(TRACK)).id == "v1"

    in_client(script, main)


def test_a_failed_send_is_not_repeated_for_a_caller_who_left() -> None:
    """A refusal that arrives after the cancellation is the end of it."""
    asked: list[Request] = []

    async def slow(request: Request) -> Answer:
        asked.append(request)
        await asyncio.sleep(1)
        return answer(code=429)

    async def main(client: SunoVideoClient) -> None:
        caller = asyncio.ensure_future(client.submit(TRACK))
        await asyncio.sleep(0.5)
        caller.cancel()
        await asyncio.sleep(100)

    in_client(slow, main)
    assert len(asked) == 1


def test_max_in_flight_bounds_unfinished_videos() -> None:
    """The third of three waits until one of two videos is done, not until a request is."""
    api = FakeAPI(seconds=30)

    async def main(client: SunoVideoClient) -> list[float]:
        await asyncio.gather(*(client.submit(TRACK) for _ in range(3)))
        return list(api.born.values())

    born, _ = in_client(api, main, max_in_flight=2)
    assert born[0] == born[1] == 0
    assert 30 <= born[2] < 36


def test_closing_frees_those_who_wait_for_room() -> None:
    """Nobody hangs on a client that is gone."""
    api = FakeAPI(seconds=30)

    async def run() -> None:
        client, _ = client_of(api, max_in_flight=1)
        async with client:
            await client.submit(TRACK)
            waiting = asyncio.ensure_future(client.submit(TRACK))
            await settle()
        with pytest.raises(ClientClosedError):
            await waiting

    run_virtual(run())


def test_a_429_on_create_with_tasks_in_flight_holds_up_submissions_only() -> None:
    """It may be the cap on running tasks: questions go on, and one of them frees a place."""
    api = FakeAPI(seconds=10)
    refused_until = 40.0

    def script(request: Request) -> Answer:
        api.now = asyncio.get_running_loop().time()
        if request.operation is Operation.CREATE_TASK and api.born and api.now < refused_until:
            return answer(code=429, Retry_After="45")
        return api(request)

    async def main(client: SunoVideoClient) -> tuple[float, float]:
        first = await client.submit(TRACK)
        second = asyncio.ensure_future(client.submit(TRACK))
        await first.result()
        done = asyncio.get_running_loop().time()
        await second
        return done, asyncio.get_running_loop().time()

    (done, second), client = in_client(script, main)
    assert 10 <= done < 15
    assert 45 <= second < 46
    assert client.statistics().refused_429 == 1


def test_hooks_hear_of_retries_and_cannot_break_anything() -> None:
    """A hook that raises is logged, the run goes on, and the others still hear."""

    class Broken(Hooks):
        def on_retry(self, event: RetryEvent) -> None:
            raise KeyError("a defect of the user's")

    script, _ = scripted(answer(code=429), answer(code=455), answer(code=500), ACCEPTED)
    recorded = RecordingHooks()
    in_client(script, submit, hooks=[Broken(), recorded])
    heard = [(event.operation, event.attempt) for event in recorded.retries]
    assert heard[:3] == [("CreateTask", 1), ("CreateTask", 2), ("CreateTask", 3)]


class BrokenLimiter(Limiter):
    """A shared limit whose file went away."""

    async def acquire(self, lane: Lane = Lane.READ) -> Place:
        raise LedgerError("the limit's file is gone")


def test_a_limiter_that_breaks_is_told_to_all_who_wait() -> None:
    """Whoever submits or follows gets its error, and nothing waits for ever."""

    async def main(client: SunoVideoClient) -> None:
        followed = client.attach("v9")
        for waiting in (client.submit(TRACK), followed.result()):
            with pytest.raises(LedgerError, match="is gone"):
                await waiting

    in_client(FakeAPI(), main, limiter=BrokenLimiter())


def envelope(code: object = 200, message: object = "success", *, status: int = 200, dress: bytes = b"") -> Answer:
    body = json.dumps({"code": code, "message": message, "data": {"task_id": "v1"}}).encode()
    return Answer(status, {}, dress + body)


def naming(first: Answer, info: Callable[[], Answer]) -> tuple[Script, list[Operation]]:
    """Return an API that answers CreateTask with this and TaskInfo with that, and what was asked."""
    asked = list[Operation]()

    def script(request: Request) -> Answer:
        asked.append(request.operation)
        return first if request.operation is Operation.CREATE_TASK else info()

    return script, asked


def of_track(**input_: Any) -> Answer:
    return answer(task_data("v1", "success", param={"input": input_}))


@pytest.mark.parametrize(
    "said",
    [
        envelope(409, "already exists", status=409),
        envelope(429),
        envelope(402, status=402),
        envelope(422),
        envelope(500),
        envelope(message=None),
        envelope("200"),
        envelope(0),
        envelope(dress=b"\xef\xbb\xbf"),
        Answer(502, {}, b'<html>{"task_id": "v1"}'),
        Answer(200, {}, b'{"code": 200, "message": "\xff", "data": {"taskId": "v1"}}'),
    ],
)
@pytest.mark.parametrize("input_", [{}, {"task_id": "m1", "suno_id": " s1"}])
def test_an_id_in_any_answer_is_asked_about(said: Answer, input_: dict[str, str]) -> None:
    """Where the task is this track's, or does not say whose, it is accepted after all; nothing is sent again."""
    script, asked = naming(said, lambda: of_track(**input_))
    recorded = RecordingHooks()

    async def main(client: SunoVideoClient) -> str:
        return (await (await client.submit(TRACK)).result()).task_id

    assert in_client(script, main, hooks=[recorded])[0] == "v1"
    assert bought(recorded) == ["v1"]
    assert creates(asked) == 1


@pytest.mark.parametrize(
    ("info", "says", "seconds"),
    [
        (of_track(suno_id="s2"), "of another track", 0),
        (answer(code=404), "404", 60),
        (answer(code=401), "401", 0),
        (answer(task_data("v1", "expired", complete_at=1)), "expired", 0),
    ],
)
def test_an_id_that_is_not_confirmed_leaves_it_unknown(info: Answer, says: str, seconds: float) -> None:
    """Another track's, not found for a minute, or of an unclear end: unknown with its id."""
    script, asked = naming(envelope(409), lambda: info)

    async def main(client: SunoVideoClient) -> float:
        caller = asyncio.ensure_future(client.submit(TRACK))
        await asyncio.sleep(max(0.5, seconds - 1))
        assert caller.done() == (seconds == 0)
        with pytest.raises(SubmissionUnknown, match=says) as caught:
            await caller
        assert caught.value.task_id == "v1"
        return asyncio.get_running_loop().time()

    ended, _ = in_client(script, main, max_in_flight=1)
    assert seconds <= ended < seconds + 25
    assert creates(asked) == 1


def test_a_failed_task_of_this_track_was_bought() -> None:
    """What TaskInfo says of it is the end of the task, and not of the submission."""
    script, _ = naming(envelope(409), lambda: answer(task_data("v1", "failed", param={})))

    async def main(client: SunoVideoClient) -> None:
        with pytest.raises(TaskFailed):
            await (await client.submit(TRACK)).result()

    in_client(script, main)


def test_an_id_that_another_submission_follows_is_not_taken_twice() -> None:
    """Two tracks do not share a task: the second one is unknown, with the id."""
    ids = iter([answer({"task_id": "v1"}), envelope(409)])
    script, _ = naming(ACCEPTED, lambda: answer(task_data("v1", param={})))

    def in_turn(request: Request) -> Any:
        return next(ids) if request.operation is Operation.CREATE_TASK else script(request)

    async def main(client: SunoVideoClient) -> None:
        await client.submit(TRACK)
        with pytest.raises(SubmissionUnknown, match="another submission's already") as caught:
            await client.submit(TRACK)
        assert caught.value.task_id == "v1"

    in_client(in_turn, main)


def test_a_task_that_a_caller_attached_before_the_answer_is_the_submissions() -> None:
    """As an application does whose own callback comes first: what was bought is not lost sight of."""
    api, hooks = FakeAPI(), RecordingHooks()

    async def answer_late(request: Request) -> Answer:
        said = api(request)
        await asyncio.sleep(5 if request.operation is Operation.CREATE_TASK else 0)
        return said

    async def main(client: SunoVideoClient) -> None:
        for number in range(3):
            submitting = asyncio.ensure_future(client.submit(Track(task_id="m", suno_id=f"s{number}")))
            await asyncio.sleep(1)
            attached = client.attach(f"v{number + 1}")
            task = await submitting
            assert task is attached
            assert (await task.result()).suno_id == f"s{number}"

    in_client(answer_late, main, max_in_flight=1, hooks=[hooks])
    assert len(hooks.begun) == len(hooks.ended)
    assert [event.new for event in hooks.spends] == [True] * 3


def test_a_caller_who_leaves_does_not_end_the_question() -> None:
    """The task is followed for the caller who is gone; nothing is sent again."""
    begun = list[float]()

    def info() -> Answer:
        begun.append(asyncio.get_running_loop().time())
        return answer(code=404) if begun[-1] < 30 else of_track()

    script, asked = naming(envelope(429), info)

    async def main(client: SunoVideoClient) -> None:
        caller = asyncio.ensure_future(client.submit(TRACK))
        await asyncio.sleep(5)
        caller.cancel()
        await settle()
        assert caller.cancelled()
        await asyncio.sleep(100)
        assert client.statistics().in_flight == 0
        assert begun[-1] > 30

    in_client(script, main)
    assert creates(asked) == 1


def test_a_client_that_closes_meanwhile_leaves_it_unknown(caplog: pytest.LogCaptureFixture) -> None:
    """Its caller gets `SubmissionUnknown` with the id, and never hears that nothing was sent."""
    script, _ = naming(envelope(429), lambda: answer(code=404))

    async def run() -> BaseException | None:
        client, _ = client_of(script)
        async with client:
            caller = asyncio.ensure_future(client.submit(TRACK))
            await asyncio.sleep(5)
        await asyncio.wait([caller])
        return caller.exception()

    error = run_virtual(run())
    assert isinstance(error, SubmissionUnknown)
    assert error.task_id == "v1"


def test_closing_leaves_no_task_behind() -> None:
    """The question whether the API is back is over when `aclose()` returns, however long its clean-up takes."""

    class Lingering(SystemClock):
        async def sleep(self, seconds: float) -> None:
            try:
                await super().sleep(seconds)
            finally:
                await settle()

    async def run() -> None:
        client, _ = client_of(lambda _: Answer(502, {}, b"<html>"), clock=Lingering())
        async with client:
            with pytest.raises(SubmissionUnknown):
                await client.submit(TRACK)
            waiting = asyncio.ensure_future(client.submit(TRACK))
            await settle()
            assert client._open().calls._probe is not None
        assert asyncio.all_tasks() - {waiting} == {asyncio.current_task()}
        with pytest.raises(ClientClosedError):
            await waiting

    run_virtual(run())


def test_an_applications_task_factory_makes_the_tasks_of_sends() -> None:
    """Where the loop has a factory of its own, each send comes from it."""
    made = list[str]()

    def factory(loop: asyncio.AbstractEventLoop, coro: Any, **more: Any) -> asyncio.Task[Any]:
        made.append(coro.__qualname__)
        return asyncio.Task(coro, loop=loop, **more)

    async def main(client: SunoVideoClient) -> None:
        asyncio.get_running_loop().set_task_factory(factory)
        task = await client.submit(TRACK)
        await client.status(task.id)

    in_client(FakeAPI(), main)
    assert {"Submission._run", "Calls._send"} <= set(made)


async def test_a_question_after_the_end_returns_its_place() -> None:
    """A closed client sends nothing more, and the place is free for others who share the limit."""
    client, transport = client_of(FakeAPI())
    async with client:
        calls = client._open().calls
        place = await calls.limiter.acquire()
    calls.ask(place, VideoTaskId("v1"), never)
    assert calls.limiter.statistics().window_used == 0
    assert transport.sent == []


def never(result: Any) -> None:
    raise AssertionError


def test_a_caller_who_leaves_at_the_very_end_leaves_a_trace(caplog: pytest.LogCaptureFixture) -> None:
    """Cancelled in the turn of the loop in which the task was accepted: the log names the task, once."""

    async def main(client: SunoVideoClient) -> None:
        caller = asyncio.ensure_future(client.submit(TRACK))
        await asyncio.sleep(0.5)
        (submission,) = client._open()._submissions
        submission.outcome.add_done_callback(lambda _: caller.cancel())
        await asyncio.wait([caller])
        assert caller.cancelled()

    in_client(accepts_slowly, main)
    assert caplog.text.count("was cancelled too late: it is task v1") == 1


def test_a_question_that_waits_for_its_place_is_not_sent_after_the_end() -> None:
    """The place that comes then goes back, for others who share the limit."""

    async def run() -> None:
        limiter = Limiter(RateLimit(1, 10))
        client, transport = client_of(FakeAPI(), limiter=limiter)
        async with client:
            await client.balance()
            waiting = asyncio.ensure_future(client.balance())
            await settle()
        with pytest.raises(ClientClosedError):
            await waiting
        assert limiter.statistics().window_used == 0
        assert len(transport.sent) == 1

    run_virtual(run())


def test_what_is_in_flight_when_the_background_ends_gets_its_own_answer() -> None:
    """The reason why no more is sent goes only to those that are not being sent."""

    async def main(client: SunoVideoClient) -> None:
        caller = asyncio.ensure_future(client.submit(TRACK))
        await asyncio.sleep(0.5)
        (submission,) = client._open()._submissions
        submission.break_off(ClientClosedError("the background work broke off"))
        assert (await caller).id == "v1"

    in_client(accepts_slowly, main)


def test_what_is_in_flight_when_the_loop_ends_is_unknown() -> None:
    """Nothing else cancels a send; whether it was accepted is not known then."""

    async def main(client: SunoVideoClient) -> None:
        caller = asyncio.ensure_future(client.submit(TRACK))
        await asyncio.sleep(0.5)
        (submission,) = client._open()._submissions
        submission.running.cancel()
        with pytest.raises(SubmissionUnknown, match="cut short"):
            await caller

    in_client(accepts_slowly, main)


def test_what_breaks_off_in_flight_is_unknown(caplog: pytest.LogCaptureFixture) -> None:
    """A defect between the send and its answer is not taken for a refusal, and is logged."""
    script, asked = scripted(RuntimeError("a defect"), ACCEPTED)

    async def main(client: SunoVideoClient) -> None:
        with pytest.raises(SubmissionUnknown, match="cut short"):
            await client.submit(TRACK)
        assert creates(asked) == 1

    in_client(script, main)
    assert "CreateTask broke off" in caplog.text


def test_one_that_is_abandoned_before_it_begins_ends_without_a_place() -> None:
    """Its caller gets the same error as one whose submission waited."""

    async def main(client: SunoVideoClient) -> None:
        submission = client._open().begin(VideoRequest(track=TRACK))
        submission.abandon()
        submission.leave()
        with pytest.raises(ClientClosedError, match="given up before it was sent"):
            await submission.wait()

    script, asked = scripted()
    in_client(script, main)
    assert creates(asked) == 0
