"""The log: every record carries its facts under names that are documented, and no secret."""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import suno_video_async
from suno_video_async import NO_LEDGER, Track
from suno_video_async.hooks import METHODS
from suno_video_async.observability.log import Facts, logger
from suno_video_async.observability.reporter import LOG
from suno_video_async.protocol.codec import Answer, Operation, Request
from tests.docs.examples import ROOT
from tests.support.clients import TRACK, FakeAPI, client_of
from tests.support.fakes import answer
from tests.support.keys import KEY
from tests.support.virtual import run_virtual

PACKAGE = Path(suno_video_async.__file__).parent
PAGE = (ROOT / "docs" / "how-to" / "telemetry.md").read_text(encoding="utf-8")
LEVELS = {"debug", "info", "warning", "error", "exception", "critical", "log"}
#: What `fields` takes, and what an error adds.
NAMES = {"event", *Facts.__annotations__} - {"track"} | {"code"}


def logging_calls() -> Iterator[tuple[str, ast.Call]]:
    """Yield every call of the package that makes a record, with its place."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id="logger" | "_log"), attr=level)) if (
                    level in LEVELS
                ):
                    yield f"{path.relative_to(PACKAGE)}:{node.lineno}", node


def facts_calls() -> Iterator[tuple[str, ast.Call]]:
    """Yield every call of `fields`, with its place."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id="fields")):
                    yield f"{path.relative_to(PACKAGE)}:{node.lineno}", node


def test_every_record_of_the_package_has_its_facts() -> None:
    """No call of a logger leaves `extra` out, and what it passes was made by `fields`."""
    calls = dict(logging_calls())
    assert len(calls) >= 20
    bare = [place for place, call in calls.items() if "extra" not in {given.arg for given in call.keywords}]
    made = [given.value for call in calls.values() for given in call.keywords if given.arg == "extra"]
    assert bare == []
    assert all(isinstance(value, ast.Name) or ast.unparse(value).startswith("fields(") for value in made)


def test_every_event_is_explained() -> None:
    """The table of events has each word that the package uses, and no other."""
    used = {
        word.value
        for _, call in facts_calls()
        for word in ast.walk(call.args[0])
        if isinstance(word, ast.Constant) and isinstance(word.value, str)
    } - {"track", "_ended"}
    stages = {"submit_ended", "follow_ended", "download_ended"}
    assert table("event") == used | stages


def test_every_field_is_explained() -> None:
    """The table of fields has each name, and no other."""
    assert table("field") == NAMES


def table(head: str) -> set[str]:
    """Return the words in the first column of the page's table that has this head."""
    lines = PAGE.split(f"\n| {head} |", 1)[1].split("\n\n", 1)[0].splitlines()
    return {word for line in lines[2:] for word in re.findall(r"`(\w+)`", line.split("|")[1])}


def test_no_field_is_one_of_the_records_own() -> None:
    """`logging` refuses such an `extra`, and formatters would overwrite it."""
    own = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}
    assert NAMES.isdisjoint(own)


@pytest.fixture
def records() -> Iterator[list[logging.LogRecord]]:
    """All that is logged, from `DEBUG` on."""
    heard = list[logging.LogRecord]()

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(record)

    ear, before = Ear(), logger.level
    logger.addHandler(ear)
    logger.setLevel(logging.DEBUG)
    yield heard
    logger.setLevel(before)
    logger.removeHandler(ear)


def test_a_conversion_is_told_in_the_log(records: list[logging.LogRecord]) -> None:
    """Without a hook, the log tells of requests, refusals, purchases, costs and ends, each with its facts."""
    refusals = [answer(code=429, message="slow down")]
    api = FakeAPI()
    api.media = "https://media.example.test/v.mp4?sig=s3cret&"

    async def main() -> None:
        def script(request: Request) -> Answer:
            creating = request.operation is Operation.CREATE_TASK
            return refusals.pop() if refusals and creating else api(request)

        client, _ = client_of(script)
        async with client, client.convert([TRACK], ledger=NO_LEDGER) as outcomes:
            assert [outcome.state async for outcome in outcomes] == ["succeeded"]

    run_virtual(main())
    told = {record.__dict__["event"]: record for record in records}
    assert {"request", "retry", "pause", "submitted", "update", "spent", "ended"} <= set(told)

    def facts(event: str, *names: str) -> list[object]:
        return [vars(told[event])[name] for name in names]

    assert facts("retry", "operation", "attempt", "code", "http_status") == ["CreateTask", 1, 429, 200]
    assert facts("pause", "lane", "error") == ["all", "RateLimitError"]
    assert facts("submitted", "task_id", "suno_id", "music_task_id") == ["v1", "s1", "m1"]
    assert facts("spent", "task_id", "credits", "suno_id") == ["v1", 2.0, "s1"]
    assert facts("ended", "state", "task_id") == ["succeeded", "v1"]
    assert facts("request", "operation", "http_status", "url") == [
        "TaskInfo",
        200,
        "http://127.0.0.1:1/api/v1/client/job/TaskInfo",
    ]
    levels = {event: record.levelname for event, record in told.items()}
    assert (levels["request"], levels["update"], levels["submitted"]) == ("DEBUG", "DEBUG", "INFO")
    everything = "".join(str(vars(record)) + record.getMessage() for record in records)
    assert not [secret for secret in (KEY, "s3cret", "?task_id") if secret in everything]


def test_every_record_at_run_time_has_documented_names(records: list[logging.LogRecord]) -> None:
    """What went wrong carries the error's own facts, and nothing outside of the table."""
    failing = FakeAPI(seconds=0.0)

    async def main() -> None:
        client, _ = client_of(
            lambda request: answer(code=422) if b'"no"' in (request.body or b"") else failing(request)
        )
        async with client:
            tracks = [TRACK, Track(task_id="m1", suno_id="no")]
            async with client.convert(tracks, ledger=NO_LEDGER) as outcomes:
                assert sorted([outcome.state async for outcome in outcomes]) == ["refused", "succeeded"]

    run_virtual(main())
    own = {*vars(logging.makeLogRecord({})), "message", "asctime"}
    extras = [{name: value for name, value in vars(record).items() if name not in own} for record in records]
    assert all("event" in extra and set(extra) <= NAMES for extra in extras)
    assert all(isinstance(value, str | int | float) for extra in extras for value in extra.values())
    (refused,) = [extra for extra in extras if extra.get("state") == "refused"]
    assert (refused["error"], refused["code"], refused["suno_id"]) == ("InvalidRequestError", 422, "no")


def test_a_silent_log_costs_nothing() -> None:
    """Where nobody listens at `INFO`, nobody is told, and nothing is measured."""
    client, _ = client_of(FakeAPI())
    assert not logger.isEnabledFor(logging.INFO)
    assert client._options.reporter.hooks == ()
    assert client._options.reporter.trace() is None


def test_requests_are_measured_only_for_those_who_hear_of_them(caplog: pytest.LogCaptureFixture) -> None:
    """At `INFO` the log hears of what costs or delays; requests are told from `DEBUG` on."""
    client, _ = client_of(FakeAPI())
    caplog.set_level(logging.INFO, logger.name)
    assert client._options.reporter.hooks == (LOG,)
    assert client._options.reporter.trace() is None
    caplog.set_level(logging.DEBUG, logger.name)
    assert client._options.reporter.trace() is not None


def test_the_log_hears_of_everything() -> None:
    """No event of the hooks is forgotten; a beginning is said at its end, and a price is a warning by itself."""
    assert set(METHODS) - set(vars(type(LOG))) == {"on_begin", "on_price"}


def test_a_handler_that_raises_breaks_nothing() -> None:
    """A log that fails is no reason to lose what was bought."""

    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError("the disk is full")

    broken, before = Broken(), logger.level

    async def main() -> None:
        client, _ = client_of(FakeAPI())
        async with client, client.convert([TRACK], ledger=NO_LEDGER) as outcomes:
            assert [outcome.state async for outcome in outcomes] == ["succeeded"]

    logger.addHandler(broken)
    logger.setLevel(logging.DEBUG)
    try:
        run_virtual(main())
    finally:
        logger.setLevel(before)
        logger.removeHandler(broken)
