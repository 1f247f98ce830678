"""The contract that the server hands out: its answers keep to it, and so do the provider's documented bodies."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

import aiohttp
import jsonschema
import pytest
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from suno_video_async.errors import RateLimitError
from suno_video_async.local import ApiKey, Fault, LocalServer, openapi
from suno_video_async.local.exchange import call_of
from suno_video_async.models import RateLimit, RetryPolicy
from suno_video_async.testing import VideoServer
from tests.local.fake_service import JOB, Answered, FakeService
from tests.support.keys import KEY, OTHER_KEY

EXAMPLES = Path(__file__).parent.parent / "protocol" / "examples"
ORDER = {"model": "suno/music-video", "input": {"task_id": "m1", "suno_id": "s1"}}
BALANCE = "/api/v1/client/account/balance"
CALLBACK_URL = "http://127.0.0.1:9/done/0123456789abcdef"
ANSWER = "/responses/200/content/application~1json/schema"
#: Where the schema of each call's answer is.
CALLS = {
    "CreateTask": f"/paths/{JOB.replace('/', '~1')}CreateTask/post{ANSWER}",
    "TaskInfo": f"/paths/{JOB.replace('/', '~1')}TaskInfo/get{ANSWER}",
    "EstimateTask": f"/paths/{JOB.replace('/', '~1')}EstimateTask/post{ANSWER}",
    "estimate-credits": f"/paths/{JOB.replace('/', '~1')}estimate-credits/post{ANSWER}",
    "Models": f"/paths/{JOB.replace('/', '~1')}Models/get{ANSWER}",
    "Models/suno/music-video": f"/paths/{JOB.replace('/', '~1')}Models~1{{model}}/get{ANSWER}",
    "balance": f"/paths/{BALANCE.replace('/', '~1')}/get{ANSWER}",
}
#: The documented bodies, and the call that each answers.
DOCUMENTED = {
    "create_ok": "CreateTask",
    "create_invalid": "CreateTask",
    "create_rate_limited_http200": "CreateTask",
    "info_failed": "TaskInfo",
    "info_music_task": "TaskInfo",
    "info_running": "TaskInfo",
    "info_success": "TaskInfo",
    "info_unknown_status": "TaskInfo",
}


@cache
def contract() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(openapi.contract())
    return found


@cache
def validator(pointer: str) -> jsonschema.Draft202012Validator:
    """Return a validator of the schema at a place in the contract."""
    resource = Resource.from_contents(contract(), default_specification=DRAFT202012)
    registry: Registry[Any] = Registry().with_resource("urn:contract", resource)
    return jsonschema.Draft202012Validator({"$ref": f"urn:contract#{pointer}"}, registry=registry)


def problems(body: object, pointer: str) -> list[str]:
    return [error.message for error in validator(pointer).iter_errors(cast("Any", body))]


def schemas() -> Mapping[str, Any]:
    found: dict[str, Any] = contract()["components"]["schemas"]
    return found


def ask(api: FakeService, call: str, *, key: str | None = KEY, task_id: str = "v1") -> Answered:
    """Make one of the calls."""
    if call == "TaskInfo":
        return api.ask("GET", JOB + call, key=key, task_id=task_id)
    if call.startswith(("Models", "balance")):
        return api.ask("GET", BALANCE if call == "balance" else JOB + call, key=key)
    return api.ask("POST", JOB + call, key=key, body=json.dumps(ORDER).encode())


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_documented_body_keeps_to_the_contract(name: str) -> None:
    """What the provider's documentation shows is what the contract describes."""
    assert problems(json.loads((EXAMPLES / f"{name}.json").read_text()), CALLS[DOCUMENTED[name]]) == []


def test_a_success_without_an_id_breaks_the_contract() -> None:
    """It alone of the documented bodies is not an answer: whether a task exists cannot be known from it."""
    assert problems(json.loads((EXAMPLES / "create_ok_without_id.json").read_text()), CALLS["CreateTask"])
    assert {path.stem for path in EXAMPLES.glob("*.json")} == {*DOCUMENTED, "create_ok_without_id"}


@pytest.mark.parametrize("name", sorted(schemas()))
def test_a_schema_is_one(name: str) -> None:
    """Each is valid JSON Schema, as OpenAPI 3.1 has them."""
    jsonschema.Draft202012Validator.check_schema(schemas()[name])


def test_the_contract_has_every_call() -> None:
    """Its paths and methods are those that the server knows, and each has an id."""
    ids = list[str]()
    for path, methods in contract()["paths"].items():
        for method, operation in methods.items():
            assert call_of(method.upper(), path.replace("{model}", "suno/music-video"))
            ids.append(operation["operationId"])
    assert len(set(ids)) == len(ids) == len(CALLS)


def test_the_contract_is_handed_out_to_anyone() -> None:
    """It needs no key, and is not counted among the calls."""
    api, expected = FakeService(), contract()
    assert api.ask("GET", "/openapi.json", key=None).body == expected
    assert api.service.stats()["requests"] == {}


def test_the_contract_is_read_outside_the_loop() -> None:
    """What blocks is left to a thread, and done once."""
    openapi.contract.cache_clear()
    assert openapi.reply().prepare is openapi.contract
    openapi.contract()
    assert openapi.reply().body == openapi.contract()


async def test_the_contract_is_served() -> None:
    """Over HTTP, too."""
    async with (
        LocalServer(render_seconds=1) as server,
        aiohttp.ClientSession() as session,
        session.get(f"{server.url}/openapi.json") as answer,
    ):
        assert await answer.json() == contract()


def undocumented(answer: Any) -> Iterator[str]:
    """Yield the fields of an answer that the contract does not name."""
    named = {name for schema in schemas().values() for name in _names(schema)}
    todo = [answer]
    while todo:
        one = todo.pop()
        if isinstance(one, dict):
            fields = cast("dict[str, Any]", one)
            yield from fields.keys() - named
            todo += [value for name, value in fields.items() if name != "input_schema"]
        elif isinstance(one, list):
            todo += one


def _names(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        fields = cast("dict[str, Any]", schema)
        yield from fields.get("properties", {})
        for value in fields.values():
            yield from _names(value)


@pytest.mark.parametrize("call", CALLS)
def test_an_answer_keeps_to_the_contract(call: str) -> None:
    """Each call's success has its form, and no field that the contract does not name."""
    api = FakeService()
    answered = ask(api, call, task_id=api.submit().data["task_id"])
    assert answered.code == 200
    assert problems(answered.body, CALLS[call]) == []
    assert list(undocumented(answered.body)) == []


@pytest.mark.parametrize("fails", [False, True])
def test_a_task_keeps_to_the_contract_all_its_life(fails: bool) -> None:
    """Pending, running and at its end, and so does its callback in both forms."""
    faults = [Fault(on="CreateTask", kind="fail")] if fails else []
    for form in ("plain", "enveloped"):
        api = FakeService(faults=faults, callback_form=form)
        task_id = api.submit(callback_url=CALLBACK_URL).data["task_id"]
        for _ in range(4):
            info = api.info(task_id)
            assert problems(info.body, CALLS["TaskInfo"]) == []
            api.clock.move(20)
        assert info.data["status"] == ("failed" if fails else "success")
        (due,) = api.callbacks
        body = json.loads(due.body)
        assert problems(body, "/components/schemas/" + ("Task" if form == "plain" else "TaskAnswer")) == []
        assert (body if form == "plain" else body["data"]) == info.data


#: What is refused, by its code: the service's options, the call, and what is asked before.
REFUSALS: dict[int, tuple[dict[str, Any], str, int]] = {
    401: ({"keys": [OTHER_KEY]}, "balance", 0),
    402: ({"credits": 1}, "CreateTask", 0),
    403: ({"keys": [ApiKey(key=KEY, disabled=True)]}, "balance", 0),
    404: ({}, "TaskInfo", 0),
    422: ({}, "TaskInfo?", 0),
    429: ({"rate": RateLimit(1, 10)}, "Models", 1),
    505: ({"keys": [ApiKey(key=KEY, feature_off=True)]}, "EstimateTask", 0),
}


@pytest.mark.parametrize("http_refusals", [False, True])
@pytest.mark.parametrize("code", REFUSALS)
def test_a_refusal_keeps_to_the_contract(code: int, http_refusals: bool) -> None:
    """Its code is in the body, and with `http_refusals` it is the HTTP status as well."""
    options, call, before = REFUSALS[code]
    api = FakeService(http_refusals=http_refusals, **options)
    for _ in range(before):
        ask(api, call)
    answered = ask(api, call) if call != "TaskInfo?" else api.ask("GET", JOB + "TaskInfo")
    assert answered.code == code
    assert answered.reply.status == (code if http_refusals else 200)
    assert problems(answered.body, "/components/schemas/Refusal") == []
    assert problems(answered.body, CALLS[call.removesuffix("?")]) == []


def test_too_many_running_tasks_are_refused_by_status() -> None:
    """The cap on running tasks is a 429 like the rate's."""
    api = FakeService(http_refusals=True, max_running=1)
    assert [api.submit().reply.status for _ in range(2)] == [200, 429]


URLS = {
    None: True,
    "": True,
    "http://127.0.0.1:9": True,
    "HTTPS://example.test/ä?b#c": True,
    "https://example.test/\U000a6424": True,  # not assigned, so not printable
    "https://": False,
    "ftp://example.test": False,
    "https://example.test/a b": False,
    "https://example.test/\x9f": False,
    "https://example.test/\nx": False,
    "https://" + "x" * 2040: True,
    "https://" + "x" * 2041: False,
}


@pytest.mark.parametrize("url", URLS, ids=ascii)
def test_server_and_contract_agree_on_callback_urls(url: str | None) -> None:
    """What the one accepts, the other describes."""
    order = {**ORDER, "callback_url": url}
    assert (problems(order, "/components/schemas/Order") == []) is URLS[url]
    assert (FakeService().submit(callback_url=url).code == 200) is URLS[url]


def test_an_empty_callback_url_is_none() -> None:
    """As in documented example bodies: nothing is sent, and TaskInfo says null."""
    api = FakeService()
    task_id = api.submit(callback_url="").data["task_id"]
    api.clock.move(1000)
    assert api.callbacks == []
    assert api.info(task_id).data["param"]["callback_url"] is None


@pytest.mark.parametrize("name", ["/", "//", "suno"])
def test_a_model_that_does_not_exist(name: str) -> None:
    """A slash too many names no model, and not the list of them."""
    assert FakeService().ask("GET", f"{JOB}Models/{name}").code == 404


def test_a_form_of_callbacks_that_does_not_exist() -> None:
    """It is refused before anything listens."""
    with pytest.raises(ValueError, match='callback_form must be "plain" or "enveloped"'):
        LocalServer(callback_form="bare")  # type: ignore[arg-type]


@pytest.mark.suno_video_server(http_refusals=True, rate=RateLimit(1, 86_400))
async def test_the_client_reads_refusals_by_status(suno_video_server: VideoServer) -> None:
    """It raises the same error as for a refusal in an HTTP 200."""
    async with suno_video_server.client(rate=None, retry=RetryPolicy(attempts=1)) as client:
        await client.balance()
        with pytest.raises(RateLimitError) as refused:
            await client.balance()
    assert refused.value.http_status == 429
