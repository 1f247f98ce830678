"""Callbacks of the local server, and what goes wrong with them on purpose."""

from __future__ import annotations

import json

import pytest

from suno_video_async.local import Fault
from suno_video_async.local.announcing import AHEAD, CallbackDue
from suno_video_async.local.callbacks import CallbackSender
from suno_video_async.local.exchange import ServerRequest
from tests.local.fake_service import FakeService
from tests.support.fakes import HastyClock

URL = "http://127.0.0.1:9/callbacks/0123456789abcdef"


def called(kind: str, *, seed: int = 0) -> tuple[FakeService, str, list[CallbackDue]]:
    """Run one task whose callback is struck; return its id and what was sent."""
    api = FakeService(faults=[Fault(on="callback", kind=kind)], seed=seed)
    task_id = str(api.submit(callback_url=URL).data["task_id"])
    api.clock.move(1000)
    return api, task_id, api.callbacks


def test_a_callback_that_never_comes() -> None:
    """With `never` nothing is sent, and nothing counted."""
    api, _, sent = called("never")
    assert sent == []
    assert api.service.stats()["callbacks"] == {"sent": 0, "failed": 0, "forged": 0}
    assert api.service.stats()["faults"] == {"never": 1}


def test_a_callback_comes_twice() -> None:
    """With `duplicate` the same is sent twice."""
    _, _, sent = called("duplicate")
    assert len(sent) == 2
    assert sent[0].body == sent[1].body


def test_a_callback_comes_late() -> None:
    """With `slow` it is sent that many seconds later."""
    assert [due.delay for due in called("slow:7")[2]] == [7.0]


def test_a_callback_comes_cut_at_first() -> None:
    """With `truncate` the first try sends half of it, the others all."""
    ((due,)) = called("truncate")[2]
    assert due.first == due.body[: len(due.body) // 2]


def test_a_callback_overtakes_the_answer() -> None:
    """With `early` the task's present state is sent before the answer of CreateTask, which waits; then the end."""
    api = FakeService(faults=[Fault(on="callback", kind="early")])
    answered = api.submit(callback_url=URL)
    assert answered.reply.delay == AHEAD
    assert [json.loads(due.body)["status"] for due in api.callbacks] == ["pending"]
    api.clock.move(1000)
    assert [json.loads(due.body)["status"] for due in api.callbacks] == ["pending", "success"]


def test_strangers_call_before_the_service() -> None:
    """With `forge` three calls come that are not the service's, and then the true one."""
    api, task_id, sent = called("forge")
    guessed, other, garbage, true = sent
    assert guessed.url != URL
    assert guessed.url.rpartition("/")[0] == URL.rpartition("/")[0]
    assert json.loads(other.body)["task_id"] != task_id
    assert other.url == garbage.url == true.url == URL
    assert garbage.body.startswith(b"<html>")
    assert json.loads(true.body) == api.info(task_id).data
    assert [due.tries for due in sent] == [1, 1, 1, 3]
    assert api.service.stats()["callbacks"]["forged"] == 3


def test_forgeries_are_the_same_for_the_same_seed() -> None:
    """What strangers send is decided by the seed."""
    assert called("forge", seed=1)[2][0].url == called("forge", seed=1)[2][0].url
    assert called("forge", seed=1)[2][0].url != called("forge", seed=2)[2][0].url


def test_a_reset_begins_anew() -> None:
    """After a reset strangers send the same again, and what had run out is unknown."""
    api = FakeService(faults=[Fault(on="callback", kind="forge"), Fault(on="media", kind="expire-url")])
    sent = list[str]()
    for _ in range(2):
        task_id = api.submit(callback_url=URL).data["task_id"]
        api.clock.move(1000)
        sent.append(api.callbacks[0].url)
        path = "/media/" + str(api.info(task_id).data["result"]["media_urls"][0]).rpartition("/")[2]
        assert api.service.handle(ServerRequest(method="GET", path=path)).status == 403
        api.service.reset()
        api.callbacks.clear()
        assert api.service.handle(ServerRequest(method="GET", path=path)).status == 404
    assert sent[0] == sent[1]


def test_callbacks_are_counted_by_their_tasks() -> None:
    """`calls` counts the tasks that have a URL for a callback."""
    api = FakeService(faults=[Fault(on="callback", kind="never", calls=[2])])
    api.submit(callback_url=URL)
    api.submit()
    api.submit(callback_url=URL)
    api.submit(callback_url=URL)
    api.clock.move(1000)
    assert len(api.callbacks) == 2


@pytest.mark.parametrize(("first", "expected"), [(None, [b"body"]), (b"bo", [b"bo", b"body"])])
async def test_the_sender_sends_what_it_is_told(first: bytes | None, expected: list[bytes]) -> None:
    """A first try of its own is sent first, and all the rest follows after a refusal."""
    posted: list[bytes] = []
    ended: list[bool] = []

    async def post(url: str, body: bytes) -> int:
        posted.append(body)
        return 200 if body == b"body" else 400

    sender = CallbackSender(HastyClock(), post)
    sender.send(CallbackDue(url=URL, body=b"body", on_end=ended.append, first=first))
    await next(iter(sender._running))
    await sender.aclose()
    assert (posted, ended) == (expected, [True])


def test_a_url_that_has_run_out() -> None:
    """With `expire-url` the video's URL answers with 403 for good, and TaskInfo has a fresh one that works."""
    api = FakeService(faults=[Fault(on="media", kind="expire-url", calls=[1])])
    task_id = api.submit().data["task_id"]
    api.clock.move(1000)

    def path() -> str:
        return "/media/" + str(api.info(task_id).data["result"]["media_urls"][0]).rpartition("/")[2]

    def get(path: str) -> int:
        return api.service.handle(ServerRequest(method="GET", path=path)).status

    old = path()
    assert [get(old), get(old)] == [403, 403]
    assert path() != old
    assert get(path()) == 200


def test_what_is_no_video_does_not_run_out() -> None:
    """A file that no task owns is given out as before."""
    api = FakeService(faults=[Fault(on="media", kind="expire-url")])
    assert api.service.handle(ServerRequest(method="GET", path="/media/nothing")).status == 404
