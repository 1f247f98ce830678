"""The API's behaviour, call by call, against the contract's words and literals."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from suno_video_async.local import Fault
from suno_video_async.local.exchange import MAX_BODY, ServerRequest
from suno_video_async.local.service import RETENTION
from suno_video_async.local.tasks import FAILED, PENDING, RUNNING, SUCCESS, VideoTask
from suno_video_async.models import RateLimit
from tests.local.fake_service import JOB, VIDEO, Answered, FakeService
from tests.support.keys import KEY, OTHER_KEY

EXAMPLES = Path(__file__).parent.parent / "protocol" / "examples"


def shape(value: Any) -> Any:
    """Return the fields and types of an object, in order."""
    if isinstance(value, dict):
        return [(key, shape(entry)) for key, entry in value.items()]
    return type(value).__name__


def example(name: str) -> Any:
    return json.loads((EXAMPLES / f"{name}.json").read_text())


def test_a_submission_becomes_a_video() -> None:
    """A task is pending, then running, then successful with a URL, in the contract's form at each step."""
    api = FakeService()
    task_id = api.submit(input={"task_id": "m1", "suno_id": "s1", "author": "Ava", "brand": "Acme"}).data[
        "task_id"
    ]
    assert api.info(task_id).data["status"] == "pending"
    api.clock.move(30)
    running = api.info(task_id)
    assert running.data["status"] == "running"
    expected = example("info_running")
    source = expected["data"].pop("source")
    expected["data"] |= {"credits": 2, "source": source}  # what is reserved; the example leaves it out
    assert shape({**running.body, "data": {**running.data, "param": 0}}) == shape(
        {**expected, "data": {**expected["data"], "param": 0}}
    )
    api.clock.move(30)
    done = api.info(task_id)
    assert shape(done.body) == shape(example("info_success"))
    assert done.data["status"] == "success"
    assert done.data["credits"] == 2
    assert done.data["duration_s"] == 60 == done.data["complete_at"] - done.data["create_at"]
    url = done.data["result"]["media_urls"][0]
    assert api.ask("GET", url.removeprefix(api.service.base_url), key=None).reply.body == VIDEO.content


def test_an_answer_to_create_task_has_the_contracts_form() -> None:
    """CreateTask answers with the video task's id and nothing else."""
    api = FakeService(make_id=lambda: "task_12345678")
    assert api.submit().body == example("create_ok")


def test_a_failed_task_is_refunded() -> None:
    """A task that fails says so with 501, costs nothing, and gives its credits back."""
    api = FakeService(credits=10, faults=[Fault(on="CreateTask", kind="fail")])
    task_id = api.submit().data["task_id"]
    assert api.balance() == 8
    api.clock.move(60)
    failed = api.info(task_id)
    expected = example("info_failed")
    assert set(failed.data) == set(expected["data"])
    assert failed.data["result"] == expected["data"]["result"]
    assert failed.data["credits"] == 0
    assert api.balance() == 10
    assert api.service.stats()["refunded"] == 1
    assert api.service.stats()["charged"] == 1


def test_credits_are_charged_at_creation_until_they_run_out() -> None:
    """Each CreateTask takes its cost; one that the balance does not cover is a 402."""
    api = FakeService(credits=5, cost=2)
    assert [api.submit().code for _ in range(3)] == [200, 200, 402]
    assert api.balance() == 1
    assert api.service.stats()["tasks"] == 2
    assert api.balance(key=OTHER_KEY) == 5


def test_fractions_of_credits_add_up() -> None:
    """Three times 0.1 of 0.3 credits can be spent, whatever floats make of it."""
    api = FakeService(credits=0.3, cost=0.1)
    assert [api.submit().code for _ in range(4)] == [200, 200, 200, 402]
    assert api.balance() == 0


@pytest.mark.parametrize("key", [None, "", "ak_wrong", KEY.upper()])
@pytest.mark.parametrize("path", ["CreateTask", "EstimateTask"])
def test_a_missing_or_wrong_key_is_refused(key: str | None, path: str) -> None:
    """Without a known key nothing is done, and the code is 401 in an HTTP 200."""
    api = FakeService()
    answered = api.submit(path, key=key)
    assert (answered.reply.status, answered.code, answered.data) == (200, 401, None)
    assert api.service.stats()["charged"] == 0


def test_a_task_of_another_key_is_not_found() -> None:
    """A key sees its own video tasks only, and the library's music tasks as everyone does."""
    api = FakeService()
    task_id = api.submit().data["task_id"]
    assert api.info(task_id, key=OTHER_KEY).code == 404
    assert api.info("nonsense").code == 404
    assert api.info("task_harbour01", key=OTHER_KEY).code == 200


def test_task_info_without_an_id_is_refused() -> None:
    """TaskInfo names the missing field."""
    assert FakeService().info("").body["errors"] == ["task_id: field required"]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"input": {"task_id": "m1"}}, "input.suno_id: field required"),
        ({"input": {"suno_id": "s1"}}, "input.task_id: field required"),
        ({"input": {"task_id": " ", "suno_id": "s1"}}, "input.task_id: field required"),
        ({"input": {"task_id": 5, "suno_id": "s1"}}, "input.task_id: must be a string"),
        ({"input": {"task_id": "m" * 257, "suno_id": "s1"}}, "input.task_id: must be a string of at most 256"),
        ({"input": {"task_id": "m1", "suno_id": "s1", "author": "é" * 51}}, "input.author: at most 50 characters"),
        ({"input": {"task_id": "m1", "suno_id": "s1", "brand": "b" * 51}}, "input.brand: at most 50 characters"),
        ({"input": {"task_id": "m1", "suno_id": "s1", "brand": ["b"]}}, "input.brand: must be a string"),
        ({"input": None}, "input: field required"),
        ({"input": "m1"}, "input: must be an object"),
        ({"model": "suno/music"}, "model: must be 'suno/music-video'"),
        ({"callback_url": "ftp://example.test/"}, "callback_url: must be an http(s) URL"),
        ({"callback_url": "http://"}, "callback_url: must be an http(s) URL"),
        ({"callback_url": "http://a b/"}, "callback_url: must be an http(s) URL"),
        ({"callback_url": 5}, "callback_url: must be an http(s) URL"),
    ],
)
def test_wrong_fields_are_named(changes: dict[str, Any], error: str) -> None:
    """A 422 names the field, charges nothing, and EstimateTask refuses the same."""
    api = FakeService()
    answered = api.submit(**changes)
    assert (answered.reply.status, answered.code, answered.body["message"]) == (200, 422, "Validation Error")
    assert len(answered.body["errors"]) == 1
    assert answered.body["errors"][0].startswith(error)
    assert api.submit("EstimateTask", **changes).body["errors"] == answered.body["errors"]
    assert api.service.stats()["tasks"] == 0


def test_the_contracts_example_of_a_refused_submission() -> None:
    """A missing suno_id is answered with the very bytes' content of the contract's example."""
    assert FakeService().submit(input={"task_id": "m1"}).body == example("create_invalid")


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b'"text"', b"null"])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    """Whatever stands in the body, the answer is a 422 that names the body."""
    answered = FakeService().ask("POST", JOB + "CreateTask", body=body)
    assert answered.code == 422
    assert answered.body["errors"][0].startswith("body: ")


def test_fifty_characters_are_enough_for_everyone_and_nulls_are_absent() -> None:
    """The longest credits pass, null counts as absent, and TaskInfo repeats what was given."""
    api = FakeService()
    given = {"task_id": "m1", "suno_id": "s1", "author": "é" * 50, "brand": None}
    task_id = api.submit(input=given, callback_url=None).data["task_id"]
    assert api.info(task_id).data["param"] == {"model": "suno/music-video", "callback_url": None, "input": given}


def test_a_body_that_is_too_long_is_refused() -> None:
    """More than a mebibyte is a 413."""
    answered = FakeService().ask("POST", JOB + "CreateTask", body=b" " * (MAX_BODY + 1))
    assert (answered.reply.status, answered.code) == (413, 413)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", JOB + "ModelsX"),
        ("GET", "/api/v2/client/job/TaskInfo"),
    ],
)
def test_other_paths_are_not_found(method: str, path: str) -> None:
    """What the API does not have is a 404 in an envelope."""
    answered = FakeService().ask(method, path)
    assert (answered.reply.status, answered.code) == (404, 404)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", JOB + "CreateTask", "POST"),
        ("PUT", JOB + "EstimateTask", "POST"),
        ("POST", JOB + "TaskInfo", "GET"),
        ("HEAD", JOB + "TaskInfo", "GET"),
        ("DELETE", JOB + "Models", "GET"),
        ("POST", JOB + "Models/suno/music-video", "GET"),
        ("POST", "/api/v1/client/account/balance", "GET"),
    ],
)
def test_another_method_is_not_allowed(method: str, path: str, allowed: str) -> None:
    """A path of the API under another method is a 405, which names the right one; nothing is done."""
    api = FakeService()
    answered = api.ask(method, path)
    assert (answered.reply.status, answered.code, answered.data) == (405, 405, None)
    assert answered.reply.headers["Allow"] == allowed
    assert api.service.stats()["refused"] == {"405": 1}
    assert api.service.stats()["requests"] == {}


@pytest.mark.parametrize("path", ["CreateTask", "EstimateTask"])
@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("Content-Type", "application/json", 200),
        ("content-type", "application/json; charset=UTF-8", 200),
        ("Content-Type", "text/plain", 200),
        ("Content-Type", "application/x-www-form-urlencoded", 415),
        ("Content-Type", "Multipart/Form-Data; boundary=x", 415),
        ("Content-Encoding", "identity", 200),
        ("Content-Encoding", "gzip", 415),
    ],
)
def test_forms_and_packed_bodies_are_refused(path: str, name: str, value: str, code: int) -> None:
    """A body that a browser's form sends, or a packed one, is a 415; other types are taken as JSON."""
    api = FakeService()
    body = json.dumps({"model": "suno/music-video", "input": {"task_id": "m1", "suno_id": "s1"}}).encode()
    headers = {"x-api-key": KEY, name: value}
    request = ServerRequest(method="POST", path=JOB + path, headers=headers, body=body)
    answered = Answered(api.service.handle(request))
    assert (answered.reply.status, answered.code) == (code, code)
    assert api.service.stats()["charged"] == (code == 200 and path == "CreateTask")


def test_unknown_fields_are_ignored() -> None:
    """Fields that the contract does not have are no error, and TaskInfo does not repeat them."""
    api = FakeService()
    given = {"task_id": "m1", "suno_id": "s1", "mood": "blue"}
    task_id = api.submit(input=given, webhook={"url": 1}).data["task_id"]
    assert api.info(task_id).data["param"]["input"] == {"task_id": "m1", "suno_id": "s1"}


def test_a_callback_url_may_be_as_long_as_urls_are() -> None:
    """2048 characters pass and one more does not; port, query and upper case are part of a URL."""
    api = FakeService()
    url = "HTTPS://example.test:8443/done?a=1&b=%20#x"
    assert api.submit(callback_url=url).code == 200
    longest = url + "x" * (2048 - len(url))
    assert [api.submit(callback_url=one).code for one in (longest, longest + "x")] == [200, 422]


def test_a_video_can_be_fetched_for_a_fortnight() -> None:
    """After 14 days, or what the server was told, a video is gone; its task and newer videos stay."""
    api = FakeService(retention=1000.0)
    first = api.submit().data["task_id"]
    api.clock.move(600)
    second = api.submit().data["task_id"]
    api.clock.move(459)

    def get(task_id: str) -> int:
        url = api.info(task_id).data["result"]["media_urls"][0]
        return api.ask("GET", url.removeprefix(api.service.base_url), key=None).reply.status

    assert [get(first), get(second)] == [200, 200]
    api.clock.move(1)
    assert [get(first), get(second)] == [404, 200]
    assert api.info(first).data["status"] == "success"
    assert RETENTION == 14 * 24 * 3600


def test_an_estimate_tells_the_cost_and_the_balance() -> None:
    """EstimateTask charges nothing and says whether the balance covers a task."""
    api = FakeService(credits=3, cost=2)
    assert api.submit("EstimateTask").data == {"estimated_credits": 2, "balance": 3, "affordable": True}
    api.submit()
    assert api.submit("EstimateTask").data == {"estimated_credits": 2, "balance": 1, "affordable": False}


@pytest.mark.parametrize("name", ["suno/music-video", "suno/music-video/"])
def test_models_are_described(name: str) -> None:
    """The only model is listed, and its own page has the fields of its input."""
    api = FakeService()
    listed = api.ask("GET", JOB + "Models").data
    assert listed["total"] == 1
    model = api.ask("GET", JOB + "Models/" + name).data
    assert model == listed["models"][0]
    assert model["input_schema"]["required"] == ["task_id", "suno_id"]
    assert api.ask("GET", JOB + "Models/suno/music").code == 404


def test_a_music_task_lists_its_tracks() -> None:
    """TaskInfo of a music task of the library has the contract's fields and this server's URLs."""
    data = FakeService().info("task_harbour01").data
    expected = example("info_music_task")["data"]
    assert list(data) == list(expected)
    assert set(data["result"]) == set(expected["result"])
    tracks = data["result"]["suno_data"]
    assert len(tracks) == 2
    assert set(expected["result"]["suno_data"][0]) <= set(tracks[0])
    assert tracks[0]["suno_audio_url"].startswith("http://127.0.0.1/media/")


def test_at_most_so_many_tasks_run() -> None:
    """One task over `max_running` is a 429 on CreateTask only, charges nothing, and passes when one has ended."""
    api = FakeService(max_running=2, credits=100)
    assert [api.submit().code for _ in range(3)] == [200, 200, 429]
    assert api.balance() == 96
    assert api.submit(key=OTHER_KEY).code == 200
    api.clock.move(60)
    assert api.submit().code == 200


def test_over_the_limit_everything_is_refused_with_a_wait() -> None:
    """All calls of a key share the window; a 429 tells the seconds until a place is free, and does nothing."""
    api = FakeService(rate=RateLimit(3, per=10))
    assert api.submit().code == 200
    api.clock.move(2.5)
    assert api.balance() == 998
    assert api.info("x").code == 404
    refused = api.submit()
    assert refused.body == example("create_rate_limited_http200")
    assert refused.reply.headers["Retry-After"] == "8"
    assert api.submit(key=OTHER_KEY).code == 200
    api.clock.move(float(refused.reply.headers["Retry-After"]))
    assert api.submit().code == 200
    assert api.service.stats()["charged"] == 3


def test_the_statistics_have_the_fixed_fields() -> None:
    """`stats()` counts calls, refusals, charges by track, and the fullest window."""
    api = FakeService(rate=RateLimit(3, per=10))
    api.submit(input={"task_id": "m1", "suno_id": "s1", "author": "Ava"})
    api.clock.move(1)
    api.submit(input={"task_id": "m1", "suno_id": "s1", "author": "Ava"})
    api.submit(key="wrong")
    api.submit(input={})
    api.info("x")
    api.ask("GET", "/nowhere")
    api.clock.move(2)
    assert api.service.stats() == {
        "requests": {"CreateTask": 4, "TaskInfo": 1},
        "refused": {"401": 1, "422": 1, "429": 1, "404": 1},
        "charged": 2,
        "tasks": 2,
        "charged_by_track": {"m1/s1/Ava/": 2},
        "max_in_any_window": 4,
        "callbacks": {"sent": 0, "failed": 0, "forged": 0},
        "refunded": 0,
        "faults": {},
        "first_request_at": 100.0,
        "last_request_at": 101.0,
        "keys": {
            "key-1": {
                "requests": {"CreateTask": 3, "TaskInfo": 1},
                "refused": {"422": 1, "429": 1},
                "charged": 2,
                "tasks": 2,
                "charged_by_track": {"m1/s1/Ava/": 2},
                "max_in_any_window": 4,
                "refunded": 0,
                "faults": {},
                "balance": 996,
                "running": 2,
            },
            "key-2": {
                "requests": {},
                "refused": {},
                "charged": 0,
                "tasks": 0,
                "charged_by_track": {},
                "max_in_any_window": 0,
                "refunded": 0,
                "faults": {},
                "balance": 1000,
                "running": 0,
            },
        },
    }


def test_the_tasks_are_listed() -> None:
    """`tasks()` has the library's music tasks, and of each video task what TaskInfo says."""
    api = FakeService()
    task_id = api.submit().data["task_id"]
    listed = api.service.tasks()
    assert listed["video"] == [api.info(task_id).data]
    assert listed["music"][0]["task_id"] == "task_harbour01"
    assert {"suno_id", "title"} <= set(listed["music"][0]["tracks"][0])


def test_a_reset_forgets_everything() -> None:
    """After a reset there are no tasks, charges or counts, and what ran before comes to no end."""
    api = FakeService(rate=RateLimit(2, per=10), credits=10)
    begun = FakeService(rate=RateLimit(2, per=10), credits=10).service.stats()
    task_id = api.submit(callback_url="http://127.0.0.1/done").data["task_id"]
    api.submit()
    api.service.reset()
    assert api.service.stats() == begun
    assert api.service.tasks()["video"] == []
    api.clock.move(100)
    assert api.callbacks == []
    assert api.info(task_id).code == 404
    assert api.balance() == 10


def test_a_reset_begins_the_times_anew() -> None:
    """The same seed gives the same durations, after a reset too, and another seed others."""

    def durations(api: FakeService) -> list[int]:
        ids = [api.submit().data["task_id"] for _ in range(5)]
        api.clock.move(10_000)
        found = [api.info(task_id).data["duration_s"] for task_id in ids]
        api.service.reset()
        return found

    api = FakeService(seconds=300, sigma=0.5, seed=1)
    first = durations(api)
    assert len(set(first)) == 5
    assert durations(api) == first
    assert durations(FakeService(seconds=300, sigma=0.5, seed=2)) != first


def test_durations_are_lognormal_around_their_median() -> None:
    """The middle of many durations is the given one, and the spread of their logarithms is sigma."""
    api = FakeService(seconds=100_000, sigma=0.4, max_running=2000, credits=1e6)
    ids = [api.submit().data["task_id"] for _ in range(1000)]
    api.clock.move(1e7)
    logs = sorted(math.log(api.info(task_id).data["duration_s"]) for task_id in ids)
    assert logs[500] == pytest.approx(math.log(100_000), abs=0.06)
    assert (logs[841] - logs[159]) / 2 == pytest.approx(0.4, abs=0.05)


def test_a_callback_is_due_when_a_task_has_ended() -> None:
    """The data of TaskInfo goes once to the URL of the submission, and to none where none was given."""
    api = FakeService()
    task_id = api.submit(callback_url="http://127.0.0.1:9/done?a=1").data["task_id"]
    api.submit()
    assert api.callbacks == []
    api.clock.move(1000)
    [due] = api.callbacks
    assert due.url == "http://127.0.0.1:9/done?a=1"
    assert json.loads(due.body) == api.info(task_id).data


def test_ended_tasks_are_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ended tasks the newest are remembered; the oldest give way, with their media."""
    monkeypatch.setattr("suno_video_async.local.service.KEPT_TASKS", 2)
    api = FakeService()
    ids = []
    for _ in range(3):
        ids.append(api.submit().data["task_id"])
        api.clock.move(60)
    assert [api.info(task_id).code for task_id in ids] == [404, 200, 200]
    assert len(api.service.tasks()["video"]) == 2


def test_a_task_only_moves_forward() -> None:
    """The table of moves admits no way back and none out of an end."""
    api = FakeService()
    api.submit()
    task: VideoTask = next(iter(api.service._videos.values()))
    with pytest.raises(ValueError, match="cannot go from pending to success"):
        task.move(SUCCESS)
    for status in (RUNNING, FAILED):
        task.move(status)
    assert task.ended
    for status in (PENDING, RUNNING, SUCCESS, FAILED):
        with pytest.raises(ValueError, match="cannot go"):
            task.move(status)


def test_no_key_shows_in_a_repr() -> None:
    """What stands in logs and tracebacks has no key in it."""
    api = FakeService()
    api.submit()
    shown = repr(api.service) + repr(api.service._accounts) + repr(api.service._videos)
    assert "kkk" not in shown
