"""What each kind of fault does: to the answer, and to the account behind it."""

from __future__ import annotations

import json
from email.utils import parsedate_to_datetime

import pytest

from suno_video_async.local import Fault
from suno_video_async.local.effects import dated
from suno_video_async.local.exchange import MAX_BODY, Delivery, Reply
from suno_video_async.models import RateLimit
from tests.local.fake_service import Answered, FakeService


def striking(kind: str, on: str = "CreateTask", **options: object) -> FakeService:
    """Return a service whose first call of an operation is struck."""
    rule = {"on": on, "kind": kind, "calls": (1,), **options}
    return FakeService(faults=[Fault(**rule)], credits=10)  # type: ignore[arg-type]  # options are of many types


def charged(api: FakeService) -> int:
    count: int = api.service.stats()["charged"]
    assert api.balance() == 10 - 2 * count
    return count


@pytest.mark.parametrize("code", [401, 402, 403, 404, 422, 429, 455, 500, 501, 505, 400, 777])
def test_a_code_comes_in_an_http_200(code: int) -> None:
    """`code:N` refuses in an envelope, charges nothing, and the next call passes."""
    api = striking(f"code:{code}")
    answered = api.submit()
    assert (answered.reply.status, answered.code, answered.data) == (200, code, None)
    assert answered.body["message"]
    assert charged(api) == 0
    assert api.service.stats()["refused"] == {str(code): 1}
    assert api.service.stats()["faults"] == {f"code:{code}": 1}
    assert api.submit().code == 200


def test_a_code_can_be_the_http_status_too() -> None:
    """With `http` the status is the code, and `retry_after` becomes the header."""
    answered = striking("code:455", http=True, retry_after=30).submit()
    assert (answered.reply.status, answered.code) == (455, 455)
    assert answered.reply.headers["Retry-After"] == "30"


@pytest.mark.parametrize("on", ["CreateTask", "media"])
def test_a_wait_can_be_a_date(on: str) -> None:
    """With `retry_after_date` the header is an HTTP date, exactly that many seconds after the answer's own."""
    api = striking("code:503", on, retry_after=90, retry_after_date=True)
    answered = api.submit()
    api.clock.move(60)
    headers = (media(api) if on == "media" else answered).reply.headers
    until, date = (parsedate_to_datetime(headers[name]) for name in ("Retry-After", "Date"))
    assert (until - date).total_seconds() == 90
    assert headers["Date"].endswith(" GMT")


def test_dropped_before_nothing_is_done() -> None:
    """`drop-before` closes the connection; there is no task and no charge."""
    api = striking("drop-before")
    assert api.submit().reply.delivery is Delivery.DROP
    assert charged(api) == 0


def test_dropped_after_the_task_exists() -> None:
    """`drop-after` closes the connection, too, and the task is made and paid for."""
    api = striking("drop-after")
    assert api.submit().reply.delivery is Delivery.DROP
    assert charged(api) == 1
    api.clock.move(60)
    assert api.service.tasks()["video"][0]["status"] == "success"


@pytest.mark.parametrize(("http", "status"), [(False, 200), (True, 500)])
def test_committed_and_then_a_500(http: bool, status: int) -> None:
    """`commit-then-500` says 500 in good form, and the task is made and paid for."""
    api = striking("commit-then-500", http=http)
    answered = api.submit()
    assert (answered.reply.status, answered.code, answered.data) == (status, 500, None)
    assert charged(api) == 1


def test_a_gateways_page() -> None:
    """`html:N` answers with a page and that status; nothing is done."""
    api = striking("html:502")
    reply = api.submit().reply
    assert (reply.status, reply.headers["Content-Type"]) == (502, "text/html")
    assert b"<h1>502 Bad Gateway</h1>" in reply.body
    assert charged(api) == 0


@pytest.mark.parametrize("on", ["CreateTask", "TaskInfo"])
def test_json_that_is_cut(on: str) -> None:
    """`bad-json` ends in the middle; on CreateTask the task is made."""
    api = striking("bad-json", on)
    answered = api.submit() if on == "CreateTask" else api.info(api.submit().data["task_id"])
    with pytest.raises(json.JSONDecodeError):
        _ = answered.body
    assert answered.reply.delivery is Delivery.ANSWER
    assert charged(api) == 1


def test_an_answer_without_its_id() -> None:
    """`missing-id` leaves the id out and everything else in."""
    api = striking("missing-id")
    assert api.submit().body == {"code": 200, "message": "success", "data": {}}
    assert charged(api) == 1
    api = striking("missing-id", "TaskInfo")
    task_id = api.submit().data["task_id"]
    spoiled = api.info(task_id).data
    assert {"task_id": task_id, **spoiled} == api.info(task_id).data


def test_an_answer_with_another_id() -> None:
    """`wrong-id` answers about a task that was not asked about, and that nobody knows."""
    api = striking("wrong-id")
    wrong = api.submit().data["task_id"]
    assert charged(api) == 1
    assert api.info(wrong).code == 404
    api = striking("wrong-id", "TaskInfo")
    task_id = api.submit().data["task_id"]
    assert api.info(task_id).data["task_id"] != task_id
    assert api.info(task_id).data["task_id"] == task_id


def test_a_status_nobody_knows() -> None:
    """`unknown-status` has the form of the contract's example, even where the task has ended."""
    api = striking("unknown-status", "TaskInfo")
    task_id = api.submit().data["task_id"]
    api.clock.move(60)
    data = api.info(task_id).data
    assert (data["status"], data["result"], data["complete_at"], data["queue_position"]) == (
        "uploading",
        None,
        None,
        3,
    )
    assert "credits" not in data
    assert api.info(task_id).data["status"] == "success"


@pytest.mark.parametrize("on", ["CreateTask", "TaskInfo"])
def test_a_slow_answer_is_a_good_one(on: str) -> None:
    """`slow:S` only delays, by the server's clock."""
    api = striking("slow:2.5", on)
    answered = api.submit() if on == "CreateTask" else api.info("x")
    assert answered.reply.delay == 2.5
    assert answered.code == (200 if on == "CreateTask" else 404)


def test_an_answer_that_is_far_too_long() -> None:
    """`huge-body` is good JSON, and longer than any answer may be."""
    api = striking("huge-body")
    answered = api.submit()
    assert answered.code == 200
    assert answered.reply.length > MAX_BODY
    assert charged(api) == 1


def test_a_redirect_does_nothing() -> None:
    """`redirect` points somewhere else, keeping the question; nothing is done."""
    api = striking("redirect", "TaskInfo")
    reply = api.info("a b&c").reply
    assert reply.status == 307
    assert reply.headers["Location"] == "/api/v1/client/job/TaskInfo?task_id=a+b%26c&redirected=1"
    api = striking("redirect")
    api.submit()
    assert charged(api) == 0


def test_an_answer_that_breaks_off() -> None:
    """`truncate` is delivered in half; the task is made."""
    api = striking("truncate")
    assert api.submit().reply.delivery is Delivery.CUT
    assert charged(api) == 1


def test_a_task_that_is_doomed() -> None:
    """`fail` takes the submission as usual; the task fails in the end, and is refunded."""
    api = striking("fail")
    task_id = api.submit().data["task_id"]
    api.clock.move(60)
    data = api.info(task_id).data
    assert (data["status"], data["result"]["code"], data["credits"]) == ("failed", 501, 0)
    assert api.balance() == 10


def test_the_window_counts_what_faults_strike() -> None:
    """A struck call takes its place in the rate window; one over the limit is a 429 and strikes nothing."""
    rule = Fault(on="CreateTask", kind="drop-before")
    api = FakeService(faults=[rule], rate=RateLimit(2, per=10))
    assert [api.submit().reply.delivery for _ in range(3)] == [Delivery.DROP, Delivery.DROP, Delivery.ANSWER]
    assert api.service.stats()["max_in_any_window"] == 3
    assert api.service.stats()["faults"] == {"drop-before": 2}


def test_a_refused_submission_is_struck_too() -> None:
    """A fault on the answer also meets refusals; what needs data leaves them alone."""
    for kind, delivery in (("drop-after", Delivery.DROP), ("missing-id", Delivery.ANSWER)):
        api = striking(kind)
        assert api.submit(input={}).reply.delivery is delivery
        assert charged(api) == 0


def media(api: FakeService) -> Answered:
    """Ask for the first video."""
    url = api.service.tasks()["video"][0]["result"]["media_urls"][0]
    return api.ask("GET", url.removeprefix(api.service.base_url), key=None)


@pytest.mark.parametrize(
    ("kind", "status", "delivery", "delay"),
    [
        ("code:503", 503, Delivery.ANSWER, 0),
        ("html:502", 502, Delivery.ANSWER, 0),
        ("redirect", 307, Delivery.ANSWER, 0),
        ("drop-before", 500, Delivery.DROP, 0),
        ("drop-after", 500, Delivery.DROP, 0),
        ("truncate", 200, Delivery.CUT, 0),
        ("slow:3", 200, Delivery.ANSWER, 3),
    ],
)
def test_faults_of_media(kind: str, status: int, delivery: Delivery, delay: float) -> None:
    """Media has faults of its own; the next request is answered well."""
    api = striking(kind, "media")
    api.submit()
    api.clock.move(60)
    reply = media(api).reply
    assert (reply.status, reply.delivery, reply.delay) == (status, delivery, delay)
    assert media(api).reply.status == 200


def test_media_that_is_far_too_long() -> None:
    """`huge-body` on media makes the file 64 MiB longer, and says so; nobody holds them in memory."""
    api = striking("huge-body", "media")
    api.submit()
    api.clock.move(60)
    struck, well = media(api).reply, media(api).reply
    assert struck.length == well.length + 64 * 1024 * 1024
    assert struck.headers["Content-Length"] == str(struck.length)
    assert struck.body == well.body


def test_redirected_media_is_found() -> None:
    """Who follows the redirect of media gets it, even where all media is redirected."""
    api = FakeService(faults=[Fault(on="media", kind="redirect")])
    api.submit()
    api.clock.move(60)
    path, _, query = media(api).reply.headers["Location"].partition("?")
    assert query == "redirected=1"
    assert api.ask("GET", path, key=None, redirected="1").reply.status == 200


def test_media_can_ask_to_wait() -> None:
    """`retry_after` goes with media's codes, too."""
    api = striking("code:503", "media", retry_after=4)
    api.submit()
    api.clock.move(60)
    assert media(api).reply.headers["Retry-After"] == "4"


def finished(kind: str) -> tuple[FakeService, str]:
    """Return a service whose TaskInfo is struck every time, and the id of a finished task."""
    api = FakeService(faults=[Fault(on="TaskInfo", kind=kind)])
    task_id = api.submit().data["task_id"]
    api.clock.move(60)
    return api, task_id


def test_a_success_whose_url_comes_late() -> None:
    """`late-url:S` gives the media URLs only S seconds after the success."""
    api, task_id = finished("late-url:30")
    task = api.info(task_id).data
    assert (task["status"], task["result"]["media_urls"]) == ("success", [])
    api.clock.move(31)
    assert len(api.info(task_id).data["result"]["media_urls"]) == 1


def test_an_image_before_the_video() -> None:
    """`image-first` puts the URL of a picture before the video's."""
    api, task_id = finished("image-first")
    image, video = api.info(task_id).data["result"]["media_urls"]
    assert (image[-4:], video[-4:]) == (".jpg", ".mp4")


def test_a_url_with_a_space() -> None:
    """`spaced-url` gives a URL with a space and a letter beyond ASCII; percent-encoded, it leads to the video."""
    api, task_id = finished("spaced-url")
    path, _, query = api.info(task_id).data["result"]["media_urls"][0].partition("?")
    assert query == "name=my söng.mp4"
    assert (
        api.ask("GET", path.removeprefix(api.service.base_url), key=None, name="my söng.mp4").reply.status == 200
    )


def test_a_final_word_that_is_unknown() -> None:
    """`unknown-end` ends a task with another word, and only once it is finished."""
    api = FakeService(faults=[Fault(on="TaskInfo", kind="unknown-end")])
    task_id = api.submit().data["task_id"]
    assert api.info(task_id).data["status"] == "pending"
    api.clock.move(60)
    task = api.info(task_id).data
    assert (task["status"], len(task["result"]["media_urls"])) == ("finished", 1)
    assert task["complete_at"] is not None


def test_times_of_a_wrong_clock() -> None:
    """`clock-offset:S` moves the times of a task, not its duration."""
    api, task_id = finished("clock-offset:-3600")
    shown, true = api.info(task_id).data, api.service.tasks()["video"][0]
    assert {name: true[name] - shown[name] for name in ("create_at", "complete_at", "duration_s")} == {
        "create_at": 3600,
        "complete_at": 3600,
        "duration_s": 0,
    }


def dates(api: FakeService, task_id: str) -> tuple[int, int]:
    """Return by how many seconds a TaskInfo's `Date` is after the server's clock, and after the creation."""
    seen = api.info(task_id)
    date = parsedate_to_datetime(seen.reply.headers["Date"]).timestamp()
    return round(date - int(api.clock.time())), round(date - seen.data["create_at"])


def test_an_answer_has_the_time_of_the_servers_clock() -> None:
    """The clock of a local server may be faster than real time, and its answers agree with its tasks."""
    api, task_id = finished("image-first")
    assert dates(api, task_id) == (0, 60)


def test_a_wrong_clock_agrees_with_itself_and_a_wrong_date_does_not() -> None:
    """`clock-offset:S` moves the answer's `Date` as well, and `date-offset:S` moves nothing else."""
    assert dates(*finished("clock-offset:-3600")) == (-3600, 60)
    assert dates(*finished("date-offset:-3600")) == (-3600, 60 - 3600)


def test_a_clock_that_no_date_can_say_is_left_out() -> None:
    """An HTTP date ends with the year 9999."""
    assert "Date" not in dated(Reply(), 1e12).headers


@pytest.mark.parametrize("on", ["CreateTask", "TaskInfo"])
def test_a_code_that_comes_with_data(on: str) -> None:
    """`code-with-data:N` does what was asked for, and answers with the data under another code."""
    api = striking("code-with-data:409", on, http=True)
    answered = api.submit()
    if on == "TaskInfo":
        answered = api.info(answered.data["task_id"])
    assert (answered.reply.status, answered.code) == (409, 409)
    assert answered.data["task_id"] == api.service.tasks()["video"][0]["task_id"]
    assert charged(api) == 1


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("byte-order-mark", b'\xef\xbb\xbf{"code": 200'),
        ("invalid-byte", b'"message": "\xffsuccess"'),
        ("null-message", b'"message": null'),
        ("text-code", b'"code": "200"'),
    ],
)
def test_a_body_that_is_not_quite_right(kind: str, found: bytes) -> None:
    """The task is created, and its id is in the body."""
    api = striking(kind)
    body = api.submit().reply.body
    assert found in body
    assert api.service.tasks()["video"][0]["task_id"].encode() in body
    assert charged(api) == 1


def test_prices_that_change() -> None:
    """`price:N` is what a struck task costs, and a struck estimate says."""
    rules = [Fault(on=on, kind="price:7", calls=(2,)) for on in ("CreateTask", "EstimateTask", "estimate-credits")]
    api = FakeService(faults=rules, credits=100)
    for expected in (2, 7, 2):
        before = api.balance()
        assert api.submit("EstimateTask").data["estimated_credits"] == expected
        assert api.submit("estimate-credits").data == {"credits": expected, "estimated": False}
        api.submit()
        assert before - api.balance() == expected


def test_what_a_task_says_that_it_costs() -> None:
    """An unfinished task names what is reserved for it; `reserved:N` another amount, `no-credits` none at all."""
    api = FakeService(
        faults=[
            Fault(on="TaskInfo", kind="reserved:1", calls=[2, 4]),
            Fault(on="TaskInfo", kind="no-credits", calls=[3, 6]),
        ]
    )
    task_id = api.submit().data["task_id"]
    assert [api.info(task_id).data.get("credits") for _ in range(3)] == [2, 1, None]
    api.clock.move(60)
    assert [api.info(task_id).data.get("credits") for _ in range(3)] == [2, 2, None]
    assert api.balance() == 998


def test_a_call_that_is_not_there() -> None:
    """A 404 on EstimateTask is a server without it; estimate-credits still answers."""
    api = FakeService(faults=[Fault(on="EstimateTask", kind="code:404", http=True)])
    assert api.submit("EstimateTask").reply.status == 404
    assert api.submit("estimate-credits").code == 200


@pytest.mark.parametrize("kind", ["html:502", "html:403", "drop-before", "hang:60"])
def test_an_outage(kind: str) -> None:
    """A fault on all calls, for some time: every call fails in it, nothing is done, and later all is well."""
    api = FakeService(faults=[Fault(on="all", kind=kind, during=(10, 70))], credits=10)
    assert api.submit().code == 200
    api.clock.move(10)
    status, delay = int(kind[5:]) if "html" in kind else 500, 60 if "hang" in kind else 0
    for answered in (api.submit(), api.info("any"), api.ask("GET", "/api/v1/client/account/balance")):
        assert (answered.reply.status, answered.reply.delay) == (status, delay)
    api.clock.move(60)
    assert charged(api) == 1


def test_a_file_that_comes_late() -> None:
    """`late-file:S` answers with 404 for S seconds after the success."""
    api = FakeService(faults=[Fault(on="media", kind="late-file:30")])
    api.submit()
    api.clock.move(60)
    assert media(api).reply.status == 404
    api.clock.move(31)
    assert media(api).reply.status == 200


@pytest.mark.parametrize(
    ("kind", "status"), [("expire-url", 403), ("expire-url:498", 498), ("expire-url:200", 200)]
)
def test_how_a_url_expires(kind: str, status: int) -> None:
    """An expired URL answers with the given status; 200 is a page in place of the video."""
    api = striking(kind, "media")
    api.submit()
    api.clock.move(60)
    reply = media(api).reply
    assert (reply.status, reply.headers["Content-Type"]) == (
        status,
        "text/html" if status == 200 else "text/plain",
    )
    assert media(api).reply.headers["Content-Type"] == "video/mp4"


def test_an_expired_url_that_redirects() -> None:
    """With a redirect's status, it leads to a page."""
    api = striking("expire-url:302", "media")
    api.submit()
    api.clock.move(60)
    reply = media(api).reply
    path, _, query = reply.headers["Location"].partition("?")
    assert (reply.status, query) == (302, "expired=1")
    page = api.ask("GET", path, key=None, expired="1").reply
    assert (page.status, page.headers["Content-Type"]) == (200, "text/html")
