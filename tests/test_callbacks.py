"""Callbacks: hints that a task is over, and the way back to a submission whose answer was lost."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import gzip
import json
import socket
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from suno_video_async import (
    NO_LEDGER,
    CallbackReceiver,
    LedgerError,
    Outcome,
    RateLimit,
    Request,
    RetryPolicy,
    SqliteLedger,
    SunoVideoClient,
    SystemClock,
    TransportError,
)
from suno_video_async._util.aio import OwnLoop
from suno_video_async.batch.row import SENDS_AFTER_500
from suno_video_async.callbacks import AT_ONCE, AT_ONCE_EACH, CONNECTIONS, MAX_BODY, Inbox
from suno_video_async.errors import MissingExtraError, SubmissionUnknown
from suno_video_async.ledger.aio import AsyncLedger
from suno_video_async.ledger.model import AWAITED, RowError, Transition
from suno_video_async.ledger.states import State
from suno_video_async.models import VideoTaskId
from suno_video_async.protocol.codec import Answer, Operation
from tests.ledger.support import track
from tests.support.clients import FakeAPI, client_of
from tests.support.fakes import WrongClock, answer, settle, task_data
from tests.support.virtual import run_virtual

PUBLIC = "https://me.example.test/callbacks/"
NONCE = "0" * 32


class CallingAPI(FakeAPI):
    """Calls each task's URL when the task ends, as the service does.

    Args:
        seconds: how long tasks run.
        drop: the submissions, counted from 1, whose answers are lost.
        fail: those that are bought and answered with a 500.
        empty: those that are answered with a 500 and not bought.
        silent: those that are never called back.
        forge: a task id that a stranger names twice, before each of them.
        early: call back before the submission is answered.

    """

    def __init__(
        self,
        seconds: float = 60.0,
        *,
        drop: tuple[int, ...] = (),
        fail: tuple[int, ...] = (),
        empty: tuple[int, ...] = (),
        silent: tuple[int, ...] = (),
        forge: str | None = None,
        early: bool = False,
    ) -> None:
        super().__init__(seconds)
        self.drop, self.silent, self.forge, self.early = drop, silent, forge, early
        self.fail, self.empty, self.sent = fail, empty, 0
        self.empty_of = ""  # the track whose submissions are all answered with a 500 and not bought
        self.params: dict[str, dict[str, Any]] = {}
        self.receiver: CallbackReceiver | None = None
        self.answered: list[int] = []
        self.lie = self.media  # where callbacks say that the video is
        self.calls = set[asyncio.Task[None]]()

    def __call__(self, request: Request) -> Any:
        if request.operation is not Operation.CREATE_TASK:
            return super().__call__(request)
        self.sent += 1
        refused = json.loads(request.body or b"{}")["input"]["suno_id"] == self.empty_of
        if self.sent in self.empty or refused:
            return answer(None, code=500)
        said: Answer = super().__call__(request)
        number = len(self.born)
        self.params[f"v{number}"] = json.loads(request.body or b"{}")
        if number not in self.silent and self.receiver is not None:
            if self.early:
                return self._after_the_callback(number, said)
            self._soon(self._call_back(number, self.seconds))
        if number in self.drop:
            return TransportError("the connection broke", sent=True)
        return answer(None, code=500) if self.sent in self.fail else said

    def _soon(self, call: Any) -> None:
        task = asyncio.get_running_loop().create_task(call)
        self.calls.add(task)
        task.add_done_callback(self.calls.discard)

    async def _after_the_callback(self, number: int, said: Answer) -> Answer:
        await self._call_back(number, 0.0)
        return said

    async def _call_back(self, number: int, seconds: float) -> None:
        await asyncio.sleep(seconds)
        nonce = self.params[f"v{number}"]["callback_url"].rsplit("/", 1)[1]
        for task_id in filter(None, (self.forge, self.forge, f"v{number}")):
            body = json.dumps(task_data(task_id, "success", media=self.lie, credits=2)).encode()
            self.answered.append(await self.deliver(nonce, body))

    async def deliver(self, nonce: str, body: bytes) -> int:
        async def read() -> bytes:
            return body

        assert self.receiver is not None
        return await self.receiver.handle(nonce, read)

    def info(self, task_id: str) -> Answer:
        said = super().info(task_id)
        data = json.loads(said.body)["data"]
        return answer({**data, "param": self.params[task_id]})


def converted(
    api: CallingAPI, source: Any, *, rate: Any = None, trust_callbacks: bool = False, **arguments: Any
) -> tuple[list[Outcome], CallbackReceiver]:
    """Convert with callbacks, in virtual time."""

    async def run() -> tuple[list[Outcome], CallbackReceiver]:
        client, _ = client_of(api, rate=rate)
        async with client:
            api.receiver = CallbackReceiver(client, public_url=PUBLIC, trust_callbacks=trust_callbacks)
            async with client.convert(
                source, callbacks=api.receiver, **{"ledger": NO_LEDGER, **arguments}
            ) as outcomes:
                return [outcome async for outcome in outcomes], api.receiver

    return run_virtual(run())


def test_each_submission_names_a_url_of_its_own() -> None:
    """Every attempt has a callback URL below the public one, with a nonce that no other attempt has."""
    api = CallingAPI()
    converted(api, [track(f"s{n}") for n in range(5)])
    urls = {param["callback_url"] for param in api.params.values()}
    assert len(urls) == 5
    assert all(url.startswith(PUBLIC) and len(url) == len(PUBLIC) + 32 for url in urls)


def test_a_callback_is_a_hint_and_taskinfo_the_truth() -> None:
    """What a callback says about a task's end is asked about, and the answer is what counts."""
    api = CallingAPI(seconds=30.0)
    outcomes, receiver = converted(api, [track()])
    assert [(outcome.state, outcome.credits) for outcome in outcomes] == [("succeeded", 2)]
    assert receiver.statistics().accepted == 1
    assert set(api.answered) == {200}


def test_a_lost_answer_comes_back_by_its_callback() -> None:
    """A submission that was charged and never answered is followed when its callback names its task."""
    api = CallingAPI(drop=(1, 3))
    outcomes, receiver = converted(api, [track(f"s{n}") for n in range(4)])
    assert [outcome.state for outcome in outcomes] == ["succeeded"] * 4
    assert len(api.created) == 4
    assert receiver.statistics().adopted == 2


def test_without_a_callback_a_lost_answer_stays_unknown() -> None:
    """A row whose callback does not come ends as unknown, after a bounded time and without a second charge."""
    api = CallingAPI(drop=(1,), silent=(1,))
    (outcome,), receiver = converted(api, [track()])
    assert outcome.state == "unknown"
    assert isinstance(outcome.error, SubmissionUnknown)
    assert 120 <= (outcome.seconds or 0) < 1200
    assert len(api.created) == 1
    assert receiver.statistics().adopted == 0


def test_a_500_waits_for_its_callback() -> None:
    """A submission that was bought and answered with a 500 is followed when its callback comes."""
    api = CallingAPI(fail=(1, 3))
    outcomes, receiver = converted(api, [track(f"s{n}") for n in range(4)])
    assert [outcome.state for outcome in outcomes] == ["succeeded"] * 4
    assert len(api.created) == 4
    assert receiver.statistics().adopted == 2


def bought_with_500s(
    api: CallingAPI, tracks: int, *, shut_out: bool = False, max_in_flight: int = 100
) -> tuple[dict[str, str], int]:
    """Convert with callbacks that may all be shut out; return the state of each track and the count of resends."""

    async def run() -> tuple[dict[str, str], int]:
        client, _ = client_of(api, rate=RateLimit(20, 10), max_in_flight=max_in_flight)
        async with client:
            api.receiver = None if shut_out else CallbackReceiver(client, public_url=PUBLIC)
            receiver = api.receiver or CallbackReceiver(client, public_url=PUBLIC)
            source = [track(f"s{n}") for n in range(tracks)]
            async with client.convert(source, ledger=NO_LEDGER, callbacks=receiver) as outcomes:
                found = [(outcome.track, outcome.state) async for outcome in outcomes]
            return {one.suno_id: state for one, state in found if one}, client.statistics().resent_after_500

    return run_virtual(run())


def test_a_500_without_a_callback_is_sent_again() -> None:
    """A submission that was answered with a 500, and not called back while others were, is sent again, once."""
    api = CallingAPI(empty=(1,))
    states, resent = bought_with_500s(api, 5)
    assert (set(states.values()), api.sent, resent) == ({"succeeded"}, 6, 1)


def test_silence_is_no_evidence_where_no_callback_gets_through() -> None:
    """What was bought and answered with a 500 is never bought again while all callbacks are shut out."""
    api = CallingAPI(fail=(1, 2, 3, 4, 5))
    states, resent = bought_with_500s(api, 8, shut_out=True)
    assert sorted(states.values()) == ["succeeded"] * 3 + ["unknown"] * 5
    assert (api.sent, len(api.born), resent) == (8, 8, 0)


@pytest.mark.parametrize("by", [-7200.0, 7200.0])
@pytest.mark.parametrize("answered", ["drop", "empty"])
def test_a_clock_that_is_set_changes_no_wait_for_a_callback(answered: str, by: float) -> None:
    """Neither is a submission sent again at once, nor does its row wait for hours."""
    api, clock = CallingAPI(silent=(1,), **{answered: (1,)}), WrongClock()  # type: ignore[arg-type]

    def script(request: Request) -> Any:
        if request.operation is Operation.CREATE_TASK:
            clock.wrong_by = by
        return api(request)

    async def run() -> float:
        client, _ = client_of(script, clock=clock)
        async with client:
            api.receiver = CallbackReceiver(client, public_url=PUBLIC)
            async with client.convert([track()], ledger=NO_LEDGER, callbacks=api.receiver) as outcomes:
                (outcome,) = [outcome async for outcome in outcomes]
            return outcome.seconds or 0.0

    assert 120 < run_virtual(run()) < 1200


def test_a_callback_that_came_while_the_process_stood_still_counts() -> None:
    """The end of the wait is due together with the callback, and the row is not sent again."""
    api = CallingAPI(seconds=119.0, fail=(1,))

    async def deliver_late(number: int, seconds: float) -> None:
        await asyncio.sleep(seconds)
        asyncio.get_running_loop()._virtual.now += 3600  # type: ignore[attr-defined]  # blocked
        await settle(10)  # it is read, round by round
        await CallingAPI._call_back(api, number, 0.0)

    api._call_back = deliver_late  # type: ignore[method-assign]
    (outcome,), receiver = converted(api, [track()])
    assert (outcome.state, api.sent, receiver.statistics().adopted) == ("succeeded", 1, 1)


def test_a_500_for_ever_is_left_unknown() -> None:
    """A catalog that only gets 500s, and so no callback, is submitted once: nothing shows what was bought."""
    api = CallingAPI(empty=tuple(range(1, 20)))
    states, _ = bought_with_500s(api, 2)
    assert (set(states.values()), api.sent) == ({"unknown"}, 2)


def test_a_500_again_and_again_ends_as_planned() -> None:
    """A track that gets 500s while others are called back is left planned after a bounded number of them."""
    api = CallingAPI()
    api.empty_of = "s0"
    states, _ = bought_with_500s(api, 300, max_in_flight=10)
    assert states.pop("s0") == "planned"
    assert set(states.values()) == {"succeeded"}
    assert api.sent == 299 + SENDS_AFTER_500


def test_a_strict_client_never_sends_again_after_a_500() -> None:
    """With `strict` a 500 that no callback follows ends as unknown."""
    api = CallingAPI(empty=(1,))

    async def run() -> Outcome:
        client, _ = client_of(api, retry=RetryPolicy(strict=True))
        async with client:
            api.receiver = CallbackReceiver(client, public_url=PUBLIC)
            async with client.convert([track()], ledger=NO_LEDGER, callbacks=api.receiver) as outcomes:
                (outcome,) = [outcome async for outcome in outcomes]
            return outcome

    assert run_virtual(run()).state == "unknown"
    assert api.sent == 1


def test_another_tracks_task_is_not_adopted(caplog: pytest.LogCaptureFixture) -> None:
    """A callback that names a task of another track is not believed, and the true one after it is."""
    api = CallingAPI(drop=(2,), forge="elsewhere")
    api.born["elsewhere"], api.params["elsewhere"] = 0.0, {"input": {"task_id": "m1", "suno_id": "other"}}
    outcomes, _ = converted(api, [track("s1"), track("s2")])
    assert sorted((outcome.track.suno_id, outcome.video_task_id) for outcome in outcomes if outcome.track) == [
        ("s1", "v2"),
        ("s2", "v3"),
    ]
    assert "was not believed" in caplog.text


def test_a_task_with_another_callback_url_is_not_adopted() -> None:
    """A task of the same track that was submitted by somebody else is not taken for the row's own."""
    api = CallingAPI(drop=(1,))
    info = api.info

    def elsewhere(task_id: str) -> Answer:
        api.params[task_id] = {**api.params[task_id], "callback_url": "https://elsewhere.example.test/x"}
        return info(task_id)

    api.info = elsewhere  # type: ignore[method-assign]
    (outcome,), _ = converted(api, [track()])
    assert outcome.state == "unknown"


def test_a_task_that_cannot_be_asked_about_is_not_adopted() -> None:
    """A callback that names a task which the account does not have changes nothing."""
    api = CallingAPI(drop=(1,), forge="v9")
    api.info = lambda task_id: answer(None, code=404)  # type: ignore[method-assign]
    (outcome,), _ = converted(api, [track()])
    assert outcome.state == "unknown"


@pytest.mark.parametrize(("trusting", "most"), [(True, 1.25), (False, 2.2)])
def test_requests_a_track_while_callbacks_flow(trusting: bool, most: float) -> None:
    """A trusted callback spares the question; one that is only a hint costs a single one."""
    api = CallingAPI(seconds=65.0)
    outcomes, _ = converted(
        api, [track(f"s{n}") for n in range(200)], rate=RateLimit(20, 10), trust_callbacks=trusting
    )
    assert {outcome.state for outcome in outcomes} == {"succeeded"}
    assert sum(outcome.requests for outcome in outcomes) < most * 200


def test_polling_takes_over_where_callbacks_stop(caplog: pytest.LogCaptureFixture) -> None:
    """A run whose callbacks stop in the middle ends as it would without them, and says so once."""
    api = CallingAPI(seconds=65.0, silent=tuple(range(60, 201)))
    outcomes, _ = converted(
        api, [track(f"s{n}") for n in range(200)], rate=RateLimit(20, 10), trust_callbacks=True
    )
    assert {outcome.state for outcome in outcomes} == {"succeeded"}
    assert max(outcome.seconds or 0.0 for outcome in outcomes) < 400
    assert caplog.text.count("callbacks have stopped coming") == 1


def test_a_trusted_callback_may_not_name_a_strange_host() -> None:
    """A video on a host that TaskInfo never named is asked about, whatever the callback says."""
    api = CallingAPI(seconds=30.0)
    api.lie = "https://evil.example.test"
    outcomes, _ = converted(api, [track(f"s{n}") for n in range(10)], trust_callbacks=True)
    assert {outcome.url and outcome.url.split("/")[2] for outcome in outcomes} == {"media.example.test"}


def test_a_callback_before_the_answer_counts() -> None:
    """A callback that comes before the answer of its own submission is looked at once that is there."""
    api = CallingAPI(seconds=0.0, early=True)
    outcomes, _ = converted(api, [track()])
    assert [outcome.state for outcome in outcomes] == ["succeeded"]
    assert api.answered == [200]


@pytest.fixture
def interrupted(tmp_path: Path) -> Path:
    """Return the ledger of a run that was killed while it submitted, and whose callback was taken."""
    ledger = SqliteLedger(tmp_path / "catalog.db")
    provider, fingerprint = client_of(FakeAPI())[0].account
    ledger.open(provider=provider, fingerprint=fingerprint)
    row = ledger.claim(track(), location="catalog.csv:2").row
    ledger.begin_attempt(row.id, nonce=NONCE, at=0.0, reserve=0, budget=None)
    ledger.note_candidate(NONCE, VideoTaskId("v1"))
    ledger.claim(track("planned"), location="catalog.csv:3")
    ledger.close()
    return tmp_path / "catalog.db"


async def test_a_crashed_submission_comes_back_in_the_next_run(interrupted: Path) -> None:
    """What an earlier run left unknown is adopted when a callback has named its task."""
    api = CallingAPI(seconds=0.0)
    api.born["v1"] = 0.0
    wanted = {"task_id": track().task_id, "suno_id": track().suno_id}
    api.params["v1"] = {"callback_url": PUBLIC + NONCE, "input": wanted}
    client, _ = client_of(api, clock=SystemClock(1000))
    async with client:
        receiver = CallbackReceiver(client, public_url=PUBLIC)
        async with client.convert([track()], ledger=interrupted, callbacks=receiver) as outcomes:
            states = [(outcome.state, outcome.video_task_id) async for outcome in outcomes]
    assert states == [("succeeded", "v1")]
    assert api.created == []


async def test_a_ledger_is_gone_on_with_without_a_catalog(interrupted: Path) -> None:
    """`resume` follows what is submitted, waits for what is unknown, and buys nothing that is planned."""
    api = CallingAPI(seconds=0.0)
    wanted = {"task_id": track().task_id, "suno_id": track().suno_id}
    api.params["v1"], api.born["v1"] = {"callback_url": PUBLIC + NONCE, "input": wanted}, 0.0
    client, _ = client_of(api, clock=SystemClock(1000))
    async with client:
        receiver = CallbackReceiver(client, public_url=PUBLIC)
        async with client.resume(interrupted, callbacks=receiver, unknown_grace=1.0) as outcomes:
            states = [(outcome.state, outcome.video_task_id) async for outcome in outcomes]
    assert states == [("succeeded", "v1")]
    assert api.created == []


@pytest.fixture
def waited_out(tmp_path: Path) -> Path:
    """Return a ledger with a row that was answered with a 500 long ago, and never called back."""
    ledger = SqliteLedger(tmp_path / "l.db")
    provider, fingerprint = client_of(FakeAPI())[0].account
    ledger.open(provider=provider, fingerprint=fingerprint)
    row = ledger.claim(track(), location="").row
    ledger.begin_attempt(row.id, nonce=NONCE, at=0.0, reserve=0, budget=None)
    ledger.move(row.id, Transition(state=State.UNKNOWN, error=RowError(AWAITED, 500, "500")))
    ledger.close()
    return tmp_path / "l.db"


async def test_a_500_that_nobody_listened_for_stays_unknown(waited_out: Path) -> None:
    """A row whose callback may have come while nothing received it is not taken as not bought."""
    api = CallingAPI()
    client, _ = client_of(api, clock=SystemClock(1000))
    async with client:
        receiver = CallbackReceiver(client, public_url=PUBLIC)
        async with client.resume(waited_out, callbacks=receiver, unknown_grace=0.0) as outcomes:
            assert [outcome.state async for outcome in outcomes] == ["unknown"]
    assert api.sent == 0


class Told:
    """A client that notes what it is told."""

    def __init__(self) -> None:
        self.clock = SystemClock()
        self.hints: list[str] = []

    def hint(self, task_id: VideoTaskId) -> None:
        self.hints.append(task_id)

    @staticmethod
    def believe(snapshot: Any) -> bool:
        raise AssertionError("nothing is believed here")

    async def status(self, task_id: VideoTaskId) -> Any:
        raise AssertionError("nothing is asked here")


class Scene:
    """A receiver over a ledger in memory with one row, whose attempt has the nonce `NONCE`."""

    def __init__(self) -> None:
        self.client = Told()
        self.receiver = CallbackReceiver(self.client, public_url=PUBLIC)
        self.ledger = SqliteLedger()
        self.ledger.open(provider="p", fingerprint="f")
        self.row = self.ledger.claim(track(), location="").row
        self.ledger.begin_attempt(self.row.id, nonce=NONCE, at=0.0, reserve=0, budget=None)
        self.inbox = Inbox(self.receiver, AsyncLedger(self.ledger), self.client, Told.believe)
        self.inbox.open()

    def submitted(self) -> None:
        self.ledger.move(self.row.id, Transition(state=State.SUBMITTED, video_task_id=VideoTaskId("v1")))

    def call(self, body: bytes | Callable[[], Awaitable[bytes]], nonce: str = NONCE) -> int:
        async def read() -> bytes:
            return body if isinstance(body, bytes) else await body()

        self.receiver._own_loop = OwnLoop("CallbackReceiver")  # each call is on a loop of its own
        return run_virtual(self.receiver.handle(nonce, read))


@pytest.fixture
def scene() -> Iterator[Scene]:
    """Return a receiver and the ledger that it looks into."""
    scene = Scene()
    yield scene
    scene.ledger.close()


@pytest.fixture
def followed(scene: Scene) -> Scene:
    """Return a scene whose submission was accepted."""
    scene.submitted()
    return scene


def said(task_id: str = "v1") -> bytes:
    return json.dumps(task_data(task_id, "success")).encode()


def test_bare_and_in_the_envelope(scene: Scene) -> None:
    """The payload is taken both ways, as often as it comes."""
    scene.submitted()
    wrapped = json.dumps({"code": 200, "message": "success", "data": task_data("v1", "success")}).encode()
    assert [scene.call(said()), scene.call(wrapped), scene.call(said())] == [200, 200, 200]
    assert scene.client.hints == ["v1"] * 3
    assert "3 accepted, 0 refused" in repr(scene.receiver)


@pytest.mark.parametrize(
    ("body", "nonce", "status"),
    [
        (said(), "1" * 32, 404),
        (said(), "short", 404),
        (b"", NONCE, 400),
        (b"<html>", NONCE, 400),
        (b"[]", NONCE, 400),
        (b'{"task_id": "v1"}', NONCE, 400),
        (b'{"code": 200, "data": null}', NONCE, 400),
        (b" " * (MAX_BODY + 1), NONCE, 413),
        (said("v2"), NONCE, 409),
    ],
)
def test_what_is_refused(scene: Scene, body: bytes, nonce: str, status: int) -> None:
    """What does not belong to an attempt, or is no callback, is refused, and causes no question."""
    scene.submitted()
    assert scene.call(body, nonce) == status
    assert scene.client.hints == []
    assert scene.receiver.statistics().refused == 1


def test_a_body_that_does_not_come_is_not_waited_for(scene: Scene) -> None:
    """A sender who stops in the middle gets a 408."""

    async def never() -> bytes:
        await asyncio.sleep(3600)
        return b""

    assert scene.call(never) == 408


def flood(scene: Scene, nonces: list[str]) -> list[int]:
    """Call with these nonces at once, with bodies that come when all have begun; return the sorted statuses."""

    async def run() -> list[int]:
        gate = asyncio.Event()

        async def read() -> bytes:
            await gate.wait()
            return said()

        calls = [asyncio.ensure_future(scene.receiver.handle(nonce, read)) for nonce in nonces]
        await asyncio.sleep(1)
        gate.set()
        return await asyncio.gather(*calls)

    return sorted(run_virtual(run()))


def test_a_flood_is_bounded(scene: Scene) -> None:
    """More callbacks at once than there is room for are told to come again."""
    nonces = [f"{n:032x}" for n in range(AT_ONCE + 1)]
    for n in range(1, AT_ONCE + 1):
        row = scene.ledger.claim(track(f"more{n}"), location="").row
        scene.ledger.begin_attempt(row.id, nonce=nonces[n], at=0.0, reserve=0, budget=None)
    answered = flood(scene, nonces)
    assert (len(answered), answered.count(503)) == (AT_ONCE + 1, 1)


def test_one_nonce_takes_little_room(scene: Scene) -> None:
    """Who has learnt a nonce cannot keep the callbacks of others out with it."""
    assert flood(scene, [NONCE] * AT_ONCE) == [200] * AT_ONCE_EACH + [503] * (AT_ONCE - AT_ONCE_EACH)
    assert scene.call(said()) == 200


@pytest.mark.parametrize("nonce", ["1" * 32, "short"])
def test_a_strangers_body_is_not_read(scene: Scene, nonce: str) -> None:
    """Without a known nonce the answer comes before the body, however slow or large that is."""

    async def never() -> bytes:
        raise AssertionError("it was read")

    assert scene.call(never, nonce) == 404


def test_a_compressed_body_is_refused_unread(scene: Scene) -> None:
    """A body with a `Content-Encoding` is answered with 415, even of a known nonce."""

    async def never() -> bytes:
        raise AssertionError("it was read")

    assert run_virtual(scene.receiver.handle(NONCE, never, encoding="br")) == 415


def test_the_candidate_is_committed_before_the_answer(scene: Scene) -> None:
    """When a callback is answered with 200, the task that it names stands in the ledger."""
    assert scene.call(said()) == 200
    assert scene.ledger.candidate(scene.row.id) == (NONCE, "v1")


def test_a_broken_ledger_asks_for_the_callback_again(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the ledger cannot take is answered with 503, so that it is sent again."""

    def broken(*_: object) -> None:
        raise LedgerError("the disk is full")

    monkeypatch.setattr(scene.ledger, "note_candidate", broken)
    assert scene.call(said()) == 503


def test_a_second_charge_is_told(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """A callback for an attempt that counted as not bought warns of a double charge."""
    scene.ledger.move(scene.row.id, Transition(state=State.PLANNED))
    assert scene.call(said()) == 200
    assert scene.call(said()) == 200
    assert caplog.text.count("may have been charged twice") == 1
    assert scene.receiver.statistics().double_charges == 1


def test_another_rows_task_is_no_second_charge(scene: Scene) -> None:
    """A callback that names what another row bought is refused, and tells of no double charge."""
    scene.ledger.move(scene.row.id, Transition(state=State.PLANNED))
    other = scene.ledger.claim(track("s2"), location="").row
    scene.ledger.begin_attempt(other.id, nonce="1" * 32, at=0.0, reserve=0, budget=None)
    scene.ledger.move(other.id, Transition(state=State.SUBMITTED, video_task_id=VideoTaskId("v2")))
    assert scene.call(said("v2")) == 409
    assert scene.receiver.statistics().double_charges == 0


def test_an_id_in_a_broken_answer_binds_nobody(scene: Scene) -> None:
    """What a callback names for an unknown attempt counts, whatever id a broken answer had in it."""
    scene.ledger.move(scene.row.id, Transition(state=State.UNKNOWN, video_task_id=VideoTaskId("v7")))
    assert [scene.call(said("v7")), scene.call(said("v1"))] == [200, 200]
    assert scene.ledger.candidate(scene.row.id) == (NONCE, "v1")
    assert scene.receiver.statistics().double_charges == 0


def test_a_closed_ledgers_attempts_are_refused(scene: Scene) -> None:
    """After a conversion its callbacks are no longer taken."""
    assert scene.call(said()) == 200
    scene.inbox.close()
    assert scene.call(said()) == 404


@pytest.mark.parametrize("url", ["me.example.test", "ftp://me.example.test", "https://", "https://me.test/?a=1"])
def test_a_public_url_that_cannot_work(url: str) -> None:
    """A public URL that nobody could call, or that a nonce cannot be added to, is refused at once."""
    with pytest.raises(ValueError, match="must be an http"):
        CallbackReceiver(Told(), public_url=url)


@contextlib.asynccontextmanager
async def listening(scene: Scene) -> AsyncGenerator[int, None]:
    """Let a scene's receiver listen on this event loop; yields the port."""
    scene.receiver._own_loop = OwnLoop("CallbackReceiver")
    async with scene.receiver.listen(port=0) as port:
        yield port


async def status_of(port: int, request: bytes) -> int:
    """Send bytes on a connection of their own; return the status of the answer, 0 where there is none."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    with contextlib.suppress(ConnectionError):
        await writer.drain()
    try:
        head = await reader.read()
    except ConnectionError:
        head = b""
    writer.close()
    return int(head.split(b" ")[1]) if head else 0


def posted(path: str, body: bytes, **headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


@pytest.mark.parametrize("public", [PUBLIC, "https://me.example.test", "https://me.example.test/c%20b"])
async def test_over_http(followed: Scene, public: str) -> None:
    """The receiver listens below the path of its public URL and answers with the status alone."""
    followed.receiver._public = public.rstrip("/")
    path = followed.receiver.url(NONCE).removeprefix("https://me.example.test")
    async with listening(followed) as port:
        assert await status_of(port, posted(path, said())) == 200
        assert await status_of(port, posted(path[:-32] + "1" * 32, said())) == 404
        assert await status_of(port, posted(path, b" " * (MAX_BODY + 2))) == 413
        assert await status_of(port, posted(path + "/more", b"")) == 404
        assert await status_of(port, b"GET " + posted(path, b"")[5:]) == 405


async def test_no_body_is_decompressed(followed: Scene) -> None:
    """A compressed body is refused, and a body that breaks off is answered, both without a word in the log."""
    path = followed.receiver.url(NONCE).removeprefix("https://me.example.test")
    bomb = gzip.compress(bytes(1024 * 1024))
    async with listening(followed) as port:
        assert await status_of(port, posted(path, bomb, Content_Encoding="gzip")) == 415
        chunks = posted(path, b"", Transfer_Encoding="chunked").replace(b"Content-Length: 0\r\n", b"") + b"zz\r\n"
        assert await status_of(port, chunks) == 400


async def test_idle_connections_keep_no_callback_out(followed: Scene) -> None:
    """Strangers who connect and say nothing, or only a part, are closed where there is no room for a callback."""
    path = followed.receiver.url(NONCE).removeprefix("https://me.example.test")
    async with listening(followed) as port:
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2 * CONNECTIONS)]
        for _, writer in idle[::2]:
            writer.write(b"POST /callbacks/")
        assert await status_of(port, posted(path, said())) == 200
        for _, writer in idle:
            writer.close()


async def test_slow_strangers_keep_no_callback_out(followed: Scene) -> None:
    """Bodies that never come are not waited for where their nonce is not known."""
    path = followed.receiver.url(NONCE).removeprefix("https://me.example.test")
    async with listening(followed) as port:
        slow = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2 * AT_ONCE)]
        for number, (_, writer) in enumerate(slow):
            writer.write(posted(f"/callbacks/{number:032x}".replace("00", "11"), b" " * 1000)[:-999])
        assert await status_of(port, posted(path, said())) == 200
        for _, writer in slow:
            writer.close()


@pytest.mark.parametrize("rounds", range(6))
async def test_a_connection_at_the_very_end_is_closed(rounds: int) -> None:
    """Whoever connects while the receiver stops listening is let go of, and leaves nothing open."""
    receiver = CallbackReceiver(Told(), public_url=PUBLIC)
    async with receiver.listen(port=0) as port:
        caller = socket.create_connection(("127.0.0.1", port))
        for _ in range(rounds):
            await asyncio.sleep(0)
    caller.close()
    gc.collect()


@pytest.mark.parametrize(
    ("sent", "arrived", "counts"), [(0.0, 60.0, True), (10.0, 60.0, False), (0.0, 50.0, False)]
)
def test_when_silence_counts(scene: Scene, sent: float, arrived: float, counts: bool) -> None:
    """An attempt's silence counts if another callback came no earlier than its own was due."""

    async def run() -> bool:
        await scene.client.clock.sleep(arrived)
        scene.inbox.note_arrival()
        await scene.client.clock.sleep(1000.0)
        return scene.inbox.callbacks_came(sent, 55.0)

    assert run_virtual(run()) is counts
    assert not Inbox(scene.receiver, AsyncLedger(scene.ledger), scene.client, Told.believe).callbacks_came(
        0.0, 0.0
    )


def test_a_hint_causes_one_question_in_half_a_minute() -> None:
    """However often a running task is called over, it is asked about once in 30 seconds for that."""

    async def asked(hints: int) -> int:
        api = FakeAPI(seconds=10_000.0)
        client, transport = client_of(api)
        async with client:
            task = await client.submit(track())
            await asyncio.sleep(2000)
            before = len(transport.sent)
            for _ in range(hints):
                client.hint(task.id)
                client.hint(VideoTaskId("not followed"))
                await asyncio.sleep(1)
            await asyncio.sleep(60 - hints)
            return len(transport.sent) - before

    quiet, flooded = run_virtual(asked(0)), run_virtual(asked(59))
    assert quiet < flooded <= quiet + 2


def test_a_hint_after_the_end_of_the_client_is_harmless() -> None:
    """A callback that comes when the client is closed changes nothing."""
    client: SunoVideoClient = client_of(FakeAPI())[0]
    client.hint(VideoTaskId("v1"))
    assert client.statistics().in_flight == 0


async def over_asgi(scene: Scene, nonce: str, body: bytes) -> int:
    """POST to the receiver's ASGI application in pieces; return the status."""
    pieces = [body[at : at + 65536] for at in range(0, len(body), 65536)] or [b""]
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": f"/{nonce}", "headers": [], "query_string": b""}
    await scene.receiver.asgi()(scope, receive, send)
    return int(sent[0]["status"])


@pytest.mark.parametrize(
    ("nonce", "body", "status"),
    [(NONCE, said(), 200), ("1" * 32, said(), 404), (NONCE, b" " * 4 * MAX_BODY, 413), (NONCE, b"", 400)],
)
def test_over_asgi(scene: Scene, nonce: str, body: bytes, status: int) -> None:
    """The ASGI application answers as the aiohttp one does, and reads no more than a callback may have."""
    scene.submitted()
    assert run_virtual(over_asgi(scene, nonce, body)) == status


def test_without_starlette(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, the error says what to install."""
    monkeypatch.setitem(sys.modules, "starlette.applications", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'suno-video-async\[asgi\]'"):
        scene.receiver.asgi()
