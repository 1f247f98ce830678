"""Following tasks: streams, results, and how the poller handles failures."""

from __future__ import annotations

import asyncio
import gc
import random
import weakref
from collections.abc import Callable, Coroutine
from email.utils import formatdate
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from suno_video_async import (
    NO_LEDGER,
    Answer,
    AuthenticationError,
    ClientClosedError,
    ConfigurationError,
    InvalidRequestError,
    Limiter,
    NotFoundError,
    RateLimit,
    Request,
    SubmissionUnknown,
    SunoVideoClient,
    TaskEndUnknown,
    TaskFailed,
    TaskSnapshot,
    TaskUpdate,
    Track,
    TransportError,
    VideoNotReady,
    VideoTaskId,
    WaitTimeout,
)
from suno_video_async.protocol.codec import Operation
from suno_video_async.ratelimit.limiter import Lane, Place
from suno_video_async.testing import RecordingHooks
from tests.support.clients import TRACK, FakeAPI, client_of
from tests.support.fakes import FakeTransport, Script, WrongClock, answer, settle, task_data
from tests.support.virtual import run_virtual


def in_client(
    script: Script, main: Callable[[SunoVideoClient], Coroutine[Any, Any, Any]], **options: Any
) -> tuple[Any, FakeTransport]:
    async def run() -> tuple[Any, FakeTransport]:
        client, transport = client_of(script, **options)
        async with client:
            return await main(client), transport

    return run_virtual(run())


def now() -> float:
    return asyncio.get_running_loop().time()


def states(*words: str, seconds: float = 10.0) -> Callable[[Request], Answer]:
    """Return an API whose one task shows each of these statuses for a while."""

    def script(request: Request) -> Answer:
        if request.operation is Operation.CREATE_TASK:
            return answer({"task_id": "v1"})
        word = words[min(int(now() / seconds), len(words) - 1)]
        return answer(task_data("v1", word, duration_s=33 if word in {"success", "failed"} else None))

    return script


async def collect(task: Any) -> list[str]:
    return [update.snapshot.raw_status async for update in task]


def test_a_stream_yields_the_state_at_once_then_each_change_and_the_end_last() -> None:
    """Unknown statuses are passed on; an unchanged state is not repeated."""

    async def main(client: SunoVideoClient) -> tuple[list[str], list[float]]:
        task = await client.submit(TRACK)
        updates = [update async for update in task]
        return [u.snapshot.raw_status for u in updates], [u.elapsed for u in updates]

    (words, elapsed), _ = in_client(states("pending", "running", "uploading", "success"), main)
    assert words == ["pending", "running", "uploading", "success"]
    assert elapsed == sorted(elapsed)
    assert elapsed[-1] == 33


def test_the_first_update_of_a_submitted_task_costs_no_wait() -> None:
    """An accepted task is pending, which is known without a poll."""

    async def main(client: SunoVideoClient) -> float:
        task = await client.submit(TRACK)
        async for update in task:
            assert update.status == "pending"
            break
        return now()

    at, transport = in_client(FakeAPI(), main)
    assert at == 0.0
    assert len(transport.sent) == 1


def test_a_finished_task_yields_its_end() -> None:
    """A stream that begins after the end still has the end, and so has every further one."""

    async def main(client: SunoVideoClient) -> list[list[str]]:
        task = client.attach("v1")
        return [await collect(task), await collect(task)]

    words, transport = in_client(states("success"), main)
    assert words == [["success"], ["success"]]
    assert len(transport.sent) == 1


def test_many_consumers_cost_no_more_than_one() -> None:
    """A hundred streams and results of one task share its polls."""

    def run(consumers: int) -> int:
        async def main(client: SunoVideoClient) -> None:
            task = await client.submit(TRACK)
            ends = await asyncio.gather(
                *(collect(task) for _ in range(consumers)), *(task.result() for _ in range(consumers))
            )
            assert all(words == ["pending", "running", "success"] for words in ends[:consumers])

        _, transport = in_client(FakeAPI(seconds=30), main)
        return len(transport.sent)

    assert run(100) == run(1)


def test_a_task_that_has_ended_is_forgotten_without_a_collection_of_garbage() -> None:
    """With thousands of tracks, what waits for the collector would be most of what it has to look at."""

    async def main(client: SunoVideoClient) -> None:
        task = await client.submit(TRACK)
        await task.result()
        await asyncio.sleep(1)
        kept = weakref.ref(task)
        del task
        assert kept() is None

    gc.disable()
    try:
        in_client(FakeAPI(), main)
    finally:
        gc.enable()


def test_leaving_or_cancelling_a_stream_does_not_affect_others() -> None:
    """A break, a cancellation and a slow reader change nothing for the others; the slow one gets the newest."""

    async def main(client: SunoVideoClient) -> None:
        task = await client.submit(TRACK)
        slow_words: list[str] = []

        async def leave() -> None:
            async for _ in task:
                break

        async def slow() -> None:
            async for update in task:
                slow_words.append(update.snapshot.raw_status)
                await asyncio.sleep(25)

        await leave()
        reader = asyncio.ensure_future(slow())
        doomed = asyncio.ensure_future(collect(task))
        await asyncio.sleep(1)
        doomed.cancel()
        assert await collect(task) == ["pending", "running", "uploading", "success"]
        await reader
        assert slow_words == ["pending", "uploading", "success"]

    in_client(states("pending", "running", "uploading", "success"), main)


def test_a_result_is_the_video() -> None:
    """The URL, the cost and the duration come from the server, the track from the submission."""

    async def main(client: SunoVideoClient) -> None:
        task = await client.submit(TRACK)
        video = await task.result()
        assert (video.url, video.credits, video.took, video.suno_id) == (
            "https://media.example.test/v1.mp4",
            2,
            60,
            "s1",
        )
        assert task.done
        assert "success" in repr(task)
        assert task.video() == video
        attached = await client.attach("v1").result()
        assert attached.suno_id == "s1"

    in_client(FakeAPI(), main)


def test_a_failed_task_raises_what_the_server_says() -> None:
    """`TaskFailed` carries the last snapshot."""
    said = task_data("v1", "failed", result={"code": 501, "message": "Generation Failed"}, credits=0)

    async def main(client: SunoVideoClient) -> None:
        with pytest.raises(TaskFailed, match="501 Generation Failed") as caught:
            await client.attach("v1").result()
        assert caught.value.snapshot.credits == 0

    in_client(lambda _: answer(said), main)


def without_url(task_id: str = "v1", **more: Any) -> dict[str, Any]:
    return {"task_id": task_id, "status": "success", "result": {"code": 200, "media_urls": []}, **more}


def late_url(seconds: float) -> Callable[[Request], Answer]:
    """Return an API whose tasks are done after 10 s, and whose URLs come so many seconds later."""
    born = dict[str, float]()

    def script(request: Request) -> Answer:
        if request.operation is Operation.CREATE_TASK:
            task_id = f"v{len(born) + 1}"
            born[task_id] = now()
            return answer({"task_id": task_id})
        if request.operation is Operation.BALANCE:
            return answer({"balance": 10})
        task_id = request.task_id or ""
        age = now() - born.setdefault(task_id, 0.0)
        if age < 10:
            return answer(task_data(task_id, param={}))
        return answer(
            without_url(task_id) if age < 10 + seconds else task_data(task_id, "success", param={}, duration_s=10)
        )

    return script


def test_success_without_a_url_is_waited_out() -> None:
    """It is an update like any other; the video comes seconds later, and ends the stream."""

    async def main(client: SunoVideoClient) -> Any:
        task = await client.submit(TRACK)
        seen = [(update.status, update.is_final) async for update in task]
        assert (await task.result()).took == 10
        return seen

    seen, transport = in_client(late_url(20), main)
    assert seen == [("pending", False), ("running", False), ("success", False), ("success", True)]
    assert len(transport.sent) < 30


def test_a_caller_waits_for_a_late_video_as_long_as_it_likes() -> None:
    """`result()` ends by its timeout alone; after ten minutes the place in flight is free for another task."""

    async def main(client: SunoVideoClient) -> None:
        task = await client.submit(TRACK)
        with pytest.raises(WaitTimeout):
            await task.result(timeout=500)
        waiting = asyncio.ensure_future(client.submit(Track(task_id="m", suno_id="s2")))
        await asyncio.sleep(100)
        assert not waiting.done()
        await asyncio.sleep(100)
        assert (await waiting).id == "v2"
        with pytest.raises(WaitTimeout):
            await task.result(timeout=1000)
        assert not task.done
        assert (await task.result(timeout=1000)).task_id == "v1"

    _, transport = in_client(late_url(2000), main, max_in_flight=1)
    assert sum(request.task_id == "v1" for request in transport.sent) < 120


def test_a_task_of_a_catalog_is_left_without_its_video_after_ten_minutes() -> None:
    """The row stays submitted, with an error of its own, and has not failed; it took few questions."""

    async def main(client: SunoVideoClient) -> None:
        async with client.convert([TRACK], ledger=NO_LEDGER) as outcomes:
            [outcome] = [outcome async for outcome in outcomes]
        assert (outcome.state, outcome.video_task_id) == ("submitted", "v1")
        assert isinstance(outcome.error, VideoNotReady)
        assert outcome.error.snapshot.awaits_video
        assert 610 <= now() < 660
        assert outcome.requests < 60

    in_client(late_url(10_000), main)


def test_an_unknown_last_word_without_a_url_is_an_error_of_its_own() -> None:
    """It has ended, and may be paid for: reported at once, with the word, and never as failed."""

    async def main(client: SunoVideoClient) -> None:
        with pytest.raises(TaskEndUnknown, match="expired") as caught:
            await client.attach("v1").result()
        assert now() < 1
        assert caught.value.snapshot.task_id == "v1"
        assert client.statistics().in_flight == 0

    in_client(lambda _: answer(task_data("v1", "expired", complete_at=5)), main)


def test_an_unknown_last_word_with_a_url_is_a_video() -> None:
    """What counts is the video."""
    said = {**task_data("v1", "success"), "status": "finished", "complete_at": 5}

    async def main(client: SunoVideoClient) -> str:
        return (await client.attach("v1").result()).url

    assert in_client(lambda _: answer(said), main)[0].endswith("v1.mp4")


@pytest.mark.parametrize("said", [{"suno_id": "s2"}, {"suno_id": "s1", "task_id": "another"}])
def test_another_tracks_task_is_not_taken_for_ours(said: dict[str, Any]) -> None:
    """TaskInfo says what a task is made from: a wrong id ends the following, and what was bought is unknown."""

    def script(request: Request) -> Answer:
        if request.operation is Operation.CREATE_TASK:
            return answer({"task_id": "v1"})
        return answer(task_data("v1", "success", param={"input": said}))

    async def main(client: SunoVideoClient) -> None:
        task = await client.submit(TRACK)
        with pytest.raises(SubmissionUnknown, match="of another track") as caught:
            await task.result()
        assert caught.value.task_id == "v1"
        assert client.statistics().in_flight == 0
        assert await client.attach("v1").result()

    in_client(script, main)


@pytest.mark.parametrize(
    "param", [None, {}, {"input": "s2"}, {"input": {"suno_id": 2}}, {"input": {"suno_id": " s1 ", "task_id": ""}}]
)
def test_what_is_unreadable_does_not_disagree(param: Any) -> None:
    """Absent, of another type, or with spaces around: the task is taken for what CreateTask said it is."""

    def script(request: Request) -> Answer:
        if request.operation is Operation.CREATE_TASK:
            return answer({"task_id": "v1"})
        return answer(task_data("v1", "success", param=param))

    async def main(client: SunoVideoClient) -> str:
        return (await (await client.submit(TRACK)).result()).task_id

    assert in_client(script, main)[0] == "v1"


def test_a_wait_that_ends_first_carries_the_last_state() -> None:
    """`WaitTimeout` has the id and the newest update; the task goes on and can be waited for again."""

    async def main(client: SunoVideoClient) -> None:
        task = await client.submit(TRACK)
        with pytest.raises(WaitTimeout) as caught:
            await task.result(timeout=20)
        assert now() == 20
        assert isinstance(caught.value, TimeoutError)
        assert caught.value.task_id == "v1"
        assert caught.value.last is not None
        assert caught.value.last.status == "running"
        with pytest.raises(RuntimeError, match="is not over"):
            task.video()
        assert (await task.result(timeout=100)).task_id == "v1"

    in_client(FakeAPI(), main)


def test_not_found_right_after_creation_is_waited_out() -> None:
    """The task appears after half a minute; consumers do not see the 404s."""
    api = FakeAPI(seconds=90)

    def script(request: Request) -> Answer:
        if request.operation is Operation.TASK_INFO and now() < 30:
            return answer(code=404)
        return api(request)

    async def main(client: SunoVideoClient) -> list[str]:
        return await collect(await client.submit(TRACK))

    assert in_client(script, main)[0][-1] == "success"


def test_not_found_is_believed_in_the_end() -> None:
    """Three answers over a minute are enough for the client's own task; for another one a single answer is."""

    def script(request: Request) -> Answer:
        return answer({"task_id": "v1"}) if request.operation is Operation.CREATE_TASK else answer(code=404)

    async def main(client: SunoVideoClient) -> tuple[float, float]:
        with pytest.raises(NotFoundError):
            await client.attach("v2").result()
        foreign = now()
        task = await client.submit(TRACK)
        with pytest.raises(NotFoundError):
            await task.result()
        assert "NotFoundError" in repr(task)
        return foreign, now()

    (foreign, own), transport = in_client(script, main)
    assert foreign == 0
    assert 60 <= own < 90
    assert len(transport.sent) >= 5


@pytest.mark.parametrize(
    "trouble", [answer(code=500), answer(code=455), TransportError("x"), Answer(502, {}, b"")]
)
def test_temporary_failures_never_fail_a_task(trouble: Answer | Exception) -> None:
    """However long polls fail, the task is polled again until it ends."""
    api = FakeAPI()

    def script(request: Request) -> Answer | Exception:
        return trouble if request.operation is Operation.TASK_INFO and now() < 2000 else api(request)

    async def main(client: SunoVideoClient) -> float:
        task = await client.submit(TRACK)
        await task.result()
        return now()

    assert 2000 <= in_client(script, main)[0] < 2300


def test_an_answer_about_another_task_is_not_taken() -> None:
    """A confused server never ends a task with another one's state."""
    confused = answer(task_data("v2", "failed"))
    api = FakeAPI()

    def script(request: Request) -> Answer:
        return confused if request.operation is Operation.TASK_INFO and now() < 50 else api(request)

    async def main(client: SunoVideoClient) -> list[str]:
        return await collect(await client.submit(TRACK))

    assert in_client(script, main)[0][-1] == "success"


def test_a_rejected_key_ends_the_following_of_all() -> None:
    """A 401 is never retried: every consumer gets the error."""
    api = FakeAPI()

    def script(request: Request) -> Answer:
        return answer(code=401) if request.operation is Operation.TASK_INFO else api(request)

    async def main(client: SunoVideoClient) -> None:
        tasks = [await client.submit(TRACK) for _ in range(3)]
        for task in tasks:
            with pytest.raises(AuthenticationError):
                await task.result()
            with pytest.raises(AuthenticationError):
                await collect(task)
        assert client.statistics().in_flight == 0

    in_client(script, main)


def test_a_refused_poll_ends_one_task() -> None:
    """422 about one task is that task's error alone."""
    api = FakeAPI()

    def script(request: Request) -> Answer:
        return answer(code=422) if request.task_id == "v1" else api(request)

    async def main(client: SunoVideoClient) -> None:
        one, two = [await client.submit(TRACK) for _ in range(2)]
        with pytest.raises(InvalidRequestError):
            await one.result()
        assert (await two.result()).task_id == "v2"

    in_client(script, main)


def test_closing_the_client_ends_streams_with_an_error() -> None:
    """A consumer of a closed client gets an error instead of waiting for ever."""

    async def run() -> None:
        client, _ = client_of(FakeAPI())
        async with client:
            task = await client.submit(TRACK)
            reader = asyncio.ensure_future(collect(task))
            await asyncio.sleep(1)
        with pytest.raises(ClientClosedError, match="while the task was followed"):
            await reader

    run_virtual(run())


def test_attaching_twice_gives_one_handle() -> None:
    """A task is followed once, however often it is attached to."""

    async def main(client: SunoVideoClient) -> None:
        task = await client.submit(TRACK)
        assert client.attach(task.id) is task
        with pytest.raises(ValueError, match="1 to 256"):
            client.attach(" ")

    in_client(FakeAPI(), main)


def test_elapsed_of_an_attached_task_runs_from_its_creation() -> None:
    """The age of a task that was submitted elsewhere comes from the server."""

    async def main(client: SunoVideoClient) -> TaskUpdate:
        async for update in client.attach("v1"):
            return update
        raise AssertionError("no update")

    async def run() -> float:
        client, _ = client_of(lambda _: answer(task_data("v1", "running", create_at=client.clock.time() - 100)))
        async with client:
            return (await main(client)).elapsed

    assert abs(run_virtual(run()) - 100) < 5


@pytest.mark.parametrize("wrong_by", [-7200.0, 0.0, 7200.0])
def test_elapsed_does_not_depend_on_the_clock_of_this_machine(wrong_by: float) -> None:
    """The server's own times tell it, and the time since then: a clock that is set meanwhile changes nothing."""
    clock, server = WrongClock(), 1_700_000_000.0
    clock.wrong_by = wrong_by

    def script(_: Request) -> Answer:
        status = "running" if now() < 60 else "uploading"
        return answer(
            task_data("v1", status, create_at=server - 100), Date=formatdate(server + now(), usegmt=True)
        )

    async def run() -> list[float]:
        client, _ = client_of(script, clock=clock)
        async with client:
            elapsed = list[float]()
            async for update in client.attach("v1"):
                elapsed.append(update.elapsed - now())
                clock.wrong_by += 3600
                if len(elapsed) == 2:
                    return elapsed
            raise AssertionError("no update")

    assert run_virtual(run()) == [pytest.approx(100, abs=2)] * 2


def test_an_interactive_task_is_not_starved_by_a_catalog() -> None:
    """Its submission goes next, and its task is polled early, while a catalog uses the full limit."""
    api = FakeAPI(seconds=60, rng=random.Random(1))

    async def main(client: SunoVideoClient) -> tuple[float, float]:
        rows = [Track(task_id="m", suno_id=f"s{n}") for n in range(400)]
        loop = asyncio.get_running_loop()
        async with client.convert(rows, ledger=NO_LEDGER) as outcomes:
            async for _ in outcomes:
                break
            started = loop.time()
            task = await client.submit(Track(task_id="m", suno_id="mine"))
            submitted = loop.time()
            await task.result()
            return submitted - started, loop.time() - submitted

    (waited, took), _ = in_client(api, main, max_in_flight=400)
    assert waited <= 10.1
    assert took < 60 + 30


def test_progress_and_eta_are_reported_once_something_is_known() -> None:
    """None at first; then a share that never decreases, and 1 at the end."""
    api = FakeAPI(seconds=60)

    async def main(client: SunoVideoClient) -> list[TaskUpdate]:
        first = await client.submit(TRACK)
        await asyncio.sleep(30)
        assert first.latest is not None
        assert first.latest.progress is None
        for number in range(6):
            task = await client.submit(Track(task_id="m", suno_id=f"n{number}"))
            await task.result()
        last = await client.submit(Track(task_id="m", suno_id="last"))
        seen = list[TaskUpdate]()
        while not last.done:
            await asyncio.sleep(1)
            if last.latest is not None and (not seen or seen[-1] is not last.latest):
                seen.append(last.latest)
        return seen

    seen, _ = in_client(api, main)
    reported = [update.progress for update in seen if update.progress is not None]
    assert reported == sorted(reported)
    assert reported[-1] == 1.0
    running = [update for update in seen if update.progress is not None and not update.is_final]
    assert running
    for update in running:
        assert update.eta is not None
        assert abs(update.elapsed + update.eta - 60) < 12


@pytest.mark.parametrize("known", [False, True])
def test_updates_tick_between_polls_without_a_request(known: bool) -> None:
    """A display gets one a second, ending with the end, for as many requests as the stream of changes."""

    def run(every: float | None) -> tuple[list[TaskUpdate], list[float], int]:
        async def main(client: SunoVideoClient) -> tuple[list[TaskUpdate], list[float]]:
            for number in range(6 if known else 0):
                await (await client.submit(Track(task_id="m", suno_id=f"n{number}"))).result()
            seen, times = list[TaskUpdate](), list[float]()
            task = await client.submit(TRACK)
            async for update in task if every is None else task.updates(every):
                seen.append(update)
                times.append(now())
            return seen, times

        (seen, times), transport = in_client(FakeAPI(seconds=60), main)
        return seen, times, len(transport.sent)

    seen, times, requests = run(1.0)
    changes, _, requests_without = run(None)
    assert requests == requests_without
    assert max(b - a for a, b in pairwise(times)) <= 1.0 + 1e-6
    assert len(seen) >= 60 > len(changes)
    assert [update.elapsed for update in seen[:-1]] == sorted(update.elapsed for update in seen[:-1])
    assert seen[-1].is_final
    assert [update.is_final for update in seen].count(True) == 1
    if known:
        reported = [update.progress or 0.0 for update in seen]
        assert reported == sorted(reported)
        assert len(set(reported)) > 50
        etas = [update.eta or 0.0 for update in seen]
        assert etas[0] > 50
        assert etas[0] > etas[20] > etas[40]
    else:
        assert {update.progress for update in seen[:-1]} == {None}


def test_a_slow_consumer_of_ticks_gets_the_newest() -> None:
    """What it missed is not queued; each update is of the moment at which it is taken."""

    async def main(client: SunoVideoClient) -> list[tuple[float, float]]:
        task, taken = await client.submit(TRACK), list[tuple[float, float]]()
        async for update in task.updates(every=1.0):
            taken.append((now(), update.elapsed))
            await asyncio.sleep(10)
        return taken

    taken, _ = in_client(FakeAPI(seconds=60), main)
    assert len(taken) <= 9
    assert all(at == pytest.approx(elapsed) for at, elapsed in taken[:-1])


def test_ticks_begin_with_the_first_answer() -> None:
    """Of a task that was submitted elsewhere nothing is known before it, and its age counts from then on."""

    async def main(client: SunoVideoClient) -> list[TaskUpdate]:
        return [update async for update in client.attach("v1").updates(every=2.0)]

    seen, _ = in_client(states("running", "success", seconds=21), main)
    assert seen[0].status == "running"
    assert len(seen) > 5


def test_ticks_end_with_the_error_that_ends_the_following() -> None:
    """As the stream of changes does."""

    async def main(client: SunoVideoClient) -> None:
        task = await client.submit(TRACK)
        ticks = task.updates()
        await anext(ticks)
        await client.aclose()
        with pytest.raises(ClientClosedError):
            await anext(ticks)

    in_client(FakeAPI(), main)


@pytest.mark.parametrize("every", [None, 1.0])
def test_updates_are_over_after_their_error(every: float | None) -> None:
    """A consumer that takes the error for one of many, and asks for the next update, does not wait for ever."""

    async def main(client: SunoVideoClient) -> list[TaskUpdate]:
        task = await client.submit(TRACK)
        updates = aiter(task) if every is None else task.updates(every)
        await anext(updates)
        await client.aclose()
        with pytest.raises(ClientClosedError):
            await anext(updates)
        return [update async for update in updates]

    assert in_client(FakeAPI(), main)[0] == []


@pytest.mark.parametrize("every", [0, -1, float("inf"), float("nan")])
def test_ticks_have_a_period(every: float) -> None:
    """Zero would never let anything else run, and without an end there would be none."""

    async def main(client: SunoVideoClient) -> None:
        with pytest.raises(ValueError, match="every must be a number of seconds above 0, not"):
            (await client.submit(TRACK)).updates(every)

    in_client(FakeAPI(), main)


class BreakingLimiter(Limiter):
    """Grants places until a lane breaks, as a shared rate limit does when its file can no longer be used."""

    broken: Lane | None = None

    async def acquire(self, lane: Lane = Lane.READ) -> Place:
        if lane is self.broken:
            raise ConfigurationError("the rate limit's file cannot be used")
        return await super().acquire(lane)


def test_a_broken_limiter_fails_all_that_wait_for_it() -> None:
    """Waiting submissions and followed tasks get its error, nothing is sent, and it may recover."""

    async def run() -> None:
        limiter = BreakingLimiter()
        client, transport = client_of(FakeAPI(), limiter=limiter)
        async with client:
            task = await client.submit(TRACK)
            sent, limiter.broken = len(transport.sent), Lane.READ
            tracks = [Track(task_id="m", suno_id=f"s{number}") for number in range(3)]
            ends = await asyncio.gather(*map(client.submit, tracks), task.result(), return_exceptions=True)
            assert [str(end) for end in ends] == ["the rate limit's file cannot be used"] * 4
            assert (len(transport.sent), client.statistics().in_flight) == (sent, 0)
            limiter.broken = None
            assert (await client.generate(TRACK)).task_id == "v2"

    run_virtual(run())


def paused_create(after: Callable[[], None] = lambda: None) -> Script:
    """Return an API that refuses the second CreateTask once: too many tasks are running."""
    api, creations = FakeAPI(), list[Request]()

    def script(request: Request) -> Answer:
        if request.operation is Operation.CREATE_TASK:
            creations.append(request)
            if len(creations) == 2:
                after()
                return answer(code=429, status=429, Retry_After="20")
        return api(request)

    return script


def test_a_submission_goes_on_when_the_pause_of_createtask_ends() -> None:
    """Meanwhile the running task is polled; the pause begins with the refusal."""

    async def main(client: SunoVideoClient) -> float:
        first = await client.submit(TRACK)
        second = await client.submit(Track(task_id="m", suno_id="s2"))
        waited = now()
        await asyncio.gather(first.result(), second.result())
        return waited

    waited, transport = in_client(paused_create(), main)
    assert 20 <= waited < 25
    during = [request for request, at in zip(transport.sent, transport.arrivals, strict=True) if 1 < at < waited]
    assert {request.operation for request in during} == {Operation.TASK_INFO}


def test_a_limiter_that_breaks_during_a_pause_of_createtask_fails_all_submissions() -> None:
    """The one that was refused, and those that have not been sent."""

    async def run() -> None:
        limiter = BreakingLimiter()
        client, transport = client_of(
            paused_create(lambda: setattr(limiter, "broken", Lane.CREATE)), limiter=limiter
        )
        async with client:
            task = await client.submit(TRACK)
            tracks = [Track(task_id="m", suno_id=f"s{number}") for number in range(3)]
            refused = asyncio.ensure_future(client.submit(tracks[0]))
            await settle()
            ends = await asyncio.gather(
                refused, *map(client.submit, tracks[1:]), task.result(), return_exceptions=True
            )
            assert [type(end) for end in ends] == [ConfigurationError] * 4
        creations = [request for request in transport.sent if request.operation is Operation.CREATE_TASK]
        assert len(creations) == 2

    run_virtual(run())


def test_a_place_that_is_no_longer_needed_goes_back_unused() -> None:
    """The submission that it was for has been cancelled meanwhile."""

    async def run() -> None:
        limiter = Limiter(RateLimit(1, 10))
        client, transport = client_of(FakeAPI(), limiter=limiter)
        async with client:
            place = await limiter.acquire()
            waiting = asyncio.ensure_future(client.submit(TRACK))
            await settle()
            waiting.cancel()
            await settle()
            limiter.release(place, sent=False)
            await settle()
            assert limiter.statistics().window_used == 0
        assert transport.sent == []

    run_virtual(run())


def test_a_place_after_a_pause_goes_back_where_nothing_waits_any_more() -> None:
    """The submission was cancelled during the pause of CreateTask; the next one is not held up by it."""

    async def main(client: SunoVideoClient) -> None:
        limiter = client._open().calls.limiter
        limiter.pause(Lane.CREATE, 30.0)
        waiting = asyncio.ensure_future(client.submit(TRACK))
        await asyncio.sleep(1)
        waiting.cancel()
        await asyncio.sleep(60)
        assert limiter.statistics().window_used == 0
        assert (await client.submit(TRACK)).id == "v1"

    _, transport = in_client(FakeAPI(), main)
    assert [request.operation for request in transport.sent].count(Operation.CREATE_TASK) == 1


def test_a_forgotten_task_gives_its_place_in_flight_back_once() -> None:
    """Its consumers get the error; forgetting it again, or an answer that comes later, changes nothing."""
    late = list[Callable[[], None]]()
    api = FakeAPI()

    def script(request: Request) -> Answer:
        if request.operation is Operation.TASK_INFO and request.task_id == "v1":
            late.pop()()
            return answer(code=500)
        return api(request)

    async def main(client: SunoVideoClient) -> None:
        task, error = await client.submit(TRACK), TransportError("given up")
        poller = client._open().poller
        late.append(lambda: poller.forget(task, error))
        with pytest.raises(TransportError, match="given up"):
            await task.result()
        poller.forget(task, error)
        assert client.statistics().in_flight == 0
        second, third = client.submit(TRACK), client.submit(Track(task_id="m", suno_id="s3"))
        assert await (await second).result()
        assert await (await third).result()

    _, transport = in_client(script, main, max_in_flight=1)
    assert [request.task_id for request in transport.sent].count("v1") == 1


def ended(task_id: str, *, host: str = "media.example.test") -> TaskSnapshot:
    """Return the final state of a task as a callback reports it."""
    url = f"https://{host}/{task_id}.mp4"
    return TaskSnapshot(task_id=VideoTaskId(task_id), status="success", media_urls=(url,), duration_s=60)


def test_an_end_from_a_callback_is_accepted_if_its_host_is_known() -> None:
    """It ends the task without a poll; states that are not final and other hosts do not."""

    async def main(client: SunoVideoClient) -> None:
        poller = client._open().poller
        task = await client.submit(TRACK)
        assert not poller.believe(ended(task.id))
        await task.result()
        second = await client.submit(Track(task_id="m", suno_id="s2"))
        assert not poller.believe(TaskSnapshot(task_id=second.id, status="running"))
        assert not poller.believe(ended(second.id, host="elsewhere.example.test"))
        assert not second.done
        assert poller.believe(ended(second.id))
        assert (await second.result()).url == "https://media.example.test/v2.mp4"
        poller.observe(ended("not followed"))

    _, transport = in_client(FakeAPI(), main)
    assert [request.task_id for request in transport.sent].count("v2") == 0


def test_an_end_from_a_callback_is_not_accepted_if_it_is_another_tracks() -> None:
    """What names another track than the one that was bought does not count; the poll says what the end was."""

    async def main(client: SunoVideoClient) -> None:
        poller = client._open().poller
        task = await client.submit(TRACK)
        param = {"input": {"task_id": TRACK.task_id, "suno_id": "another"}}
        said = TaskSnapshot(task_id=task.id, status="failed", raw={"param": param})
        assert not poller.believe(said)
        assert not task.done
        assert await task.result()

    in_client(FakeAPI(), main)


def test_a_hint_polls_a_task_at_most_once_in_half_a_minute() -> None:
    """A hint for a task that is not followed is ignored."""

    async def main(client: SunoVideoClient, *, hinted: bool) -> list[int]:
        task, polls = await client.submit(TRACK), list[int]()
        for _ in range(4):
            if hinted:
                client.hint(task.id)
                client.hint(VideoTaskId("not followed"))
            await asyncio.sleep(1.0)
            polls.append(task.requests - 1)
        return polls

    by_hints, by_itself = (
        in_client(FakeAPI(seconds=1000), partial(main, hinted=hinted))[0] for hinted in (True, False)
    )
    assert (by_hints[0], by_itself[0]) == (1, 0)
    assert by_hints[-1] <= by_itself[-1] + 1


def test_callbacks_that_stop_are_warned_about_once(caplog: pytest.LogCaptureFixture) -> None:
    """After many announced ends some that were not announced mean that callbacks no longer arrive."""

    async def main(client: SunoVideoClient) -> None:
        poller = client._open().poller
        for _ in range(2):
            await client.generate(TRACK)
            for number in range(20):
                task = await client.submit(Track(task_id="m", suno_id=f"s{number}"))
                assert poller.believe(ended(task.id))
            assert poller.schedule.called_back
            for _ in range(4):
                await client.generate(TRACK)
            assert not poller.schedule.called_back

    in_client(FakeAPI(), main)
    assert caplog.text.count("callbacks have stopped coming") == 1


def test_hooks_see_every_update_and_each_cost_once() -> None:
    """The cost of a task comes with its end."""

    async def main(client: SunoVideoClient) -> None:
        await client.generate(TRACK)

    recorded = RecordingHooks()
    in_client(FakeAPI(), main, hooks=[recorded])
    statuses = [update.status for update in recorded.updates]
    assert (set(statuses), statuses[-1]) == ({"pending", "running", "success"}, "success")
    assert [event.credits for event in recorded.spends] == [2]


# Reads with a window of their own

READS: dict[str, Any] = {"rate": RateLimit(1, 10), "read_rate": RateLimit(10, 1)}


def test_submissions_and_polls_do_not_wait_for_each_other() -> None:
    """Each submission goes when its own window lets it, and each end is noticed within a few seconds meanwhile."""

    async def main(client: SunoVideoClient) -> list[float]:
        async def one(number: int) -> float:
            task = await client.submit(Track(task_id="m", suno_id=f"s{number}"))
            await task.result()
            return now()

        return await asyncio.gather(*map(one, range(4)))

    ends, transport = in_client(FakeAPI(15.0), main, **READS)
    sent = [
        at
        for request, at in zip(transport.sent, transport.arrivals, strict=True)
        if request.operation is Operation.CREATE_TASK
    ]
    assert sent == pytest.approx([0.0, 10.0, 20.0, 30.0], abs=0.1)
    assert all(15 <= end - begun < 20 for begun, end in zip(sent, ends, strict=True))


def test_a_pause_of_the_reads_holds_up_no_submission() -> None:
    """A 429 on a poll is about the window of the reads."""

    async def main(client: SunoVideoClient) -> float:
        client._open().calls.limiter.pause(Lane.READ, 100.0)
        await client.submit(TRACK)
        return now()

    at, _ = in_client(FakeAPI(), main, **READS)
    assert at == 0.0


def test_submissions_behind_the_brake_go_on_when_it_opens() -> None:
    """The polls go on meanwhile, and one of them opens it."""
    api, creations = FakeAPI(), list[float]()

    def script(request: Request) -> Answer | Exception:
        if request.operation is Operation.CREATE_TASK:
            creations.append(now())
            if len(creations) == 1:
                return TransportError("cut")
        return api(request)

    async def main(client: SunoVideoClient) -> None:
        tracks = [Track(task_id="m", suno_id=f"s{number}") for number in range(3)]
        ends = await asyncio.gather(*map(client.submit, tracks), return_exceptions=True)
        assert [isinstance(end, SubmissionUnknown) for end in ends] == [True, False, False]

    in_client(script, main, read_rate=RateLimit(10, 1))
    assert len(creations) == 3


def test_without_a_limit_the_connections_are_what_bounds_a_catalog() -> None:
    """Submissions go as answers come, also where those come together, and polls do not wait for submissions."""
    api = FakeAPI(10.0)

    async def answered(request: Request) -> Answer:
        await asyncio.sleep(1.0)
        return api(request)

    async def main(client: SunoVideoClient) -> float:
        rows = [Track(task_id="m", suno_id=f"s{number}") for number in range(400)]
        async with client.convert(rows, ledger=NO_LEDGER) as outcomes:
            assert [outcome.state async for outcome in outcomes] == ["succeeded"] * 400
        return now()

    took, transport = in_client(answered, main, rate=None, max_in_flight=400, max_connections=20)
    assert len(transport.sent) < 2.1 * 400
    assert took < 1.2 * len(transport.sent) / 20  # seconds, at one a connection


def test_both_windows_of_a_client_can_be_seen() -> None:
    """Its rates are those it was made with; without `read_rate` there is one window."""

    async def main(client: SunoVideoClient) -> tuple[RateLimit | None, RateLimit | None, bool]:
        limiter = client.statistics().limiter
        return client.rate, client.read_rate, limiter is not None and limiter.reads_used is not None

    assert in_client(FakeAPI(), main, **READS)[0] == (*READS.values(), True)
    assert in_client(FakeAPI(), main)[0] == (RateLimit(20, 10), None, False)
