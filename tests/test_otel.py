"""OpenTelemetry: one track's way under one span, the conventions' names, and no secrets."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import define
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from suno_video_async import NO_LEDGER, RateLimit, RateLimitError, SunoVideoClient, Track, otel
from suno_video_async.local import Fault
from suno_video_async.otel import DURATIONS, SCHEMA, OpenTelemetryHooks
from suno_video_async.protocol.codec import Operation
from suno_video_async.testing import VideoServer
from tests.support.clients import FakeAPI, client_of
from tests.support.fakes import answer
from tests.support.keys import KEY
from tests.support.virtual import run_virtual

TRACK = Track(task_id="task_1", suno_id="suno_1", author="Ava")


@define
class Seen:
    """What the SDK has exported."""

    spans_: InMemorySpanExporter
    reader: InMemoryMetricReader
    tracers: TracerProvider
    meters: MeterProvider
    hooks: OpenTelemetryHooks

    def spans(self, name: str | None = None) -> list[ReadableSpan]:
        """Return the ended spans in the order of their ends."""
        return [one for one in self.spans_.get_finished_spans() if name in {None, one.name}]

    def metrics(self) -> dict[str, Any]:
        """Return the points of each metric by its name."""
        found = json.loads(self.reader.get_metrics_data().to_json())  # type: ignore[union-attr]
        listed = [one for scope in found["resource_metrics"][0]["scope_metrics"] for one in scope["metrics"]]
        return {one["name"]: one["data"]["data_points"] for one in listed}


@pytest.fixture
def seen() -> Iterator[Seen]:
    """Hooks with an SDK of their own."""
    exporter, reader, tracers = InMemorySpanExporter(), InMemoryMetricReader(), TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    meters = MeterProvider(metric_readers=[reader])
    hooks = OpenTelemetryHooks(tracer_provider=tracers, meter_provider=meters)
    yield Seen(exporter, reader, tracers, meters, hooks)
    meters.shutdown()
    tracers.shutdown()


@pytest.fixture
def no_blocking_calls() -> None:
    """Let a test wait for the server's thread, which takes a moment."""


async def generated(client: SunoVideoClient, folder: Path) -> None:
    await client.generate(TRACK, output_dir=folder)


async def converted(client: SunoVideoClient, folder: Path) -> None:
    async with client.convert([TRACK], ledger=NO_LEDGER, output_dir=folder) as outcomes:
        assert [outcome.state async for outcome in outcomes] == ["downloaded"]


@pytest.mark.parametrize("main", [generated, converted])
async def test_one_track_is_one_span(
    main: Any, seen: Seen, suno_video_server: VideoServer, tmp_path: Path
) -> None:
    """Submission, following and download are below one span, and each request below its part."""
    async with suno_video_server.client(hooks=[seen.hooks]) as client:
        await main(client, tmp_path)
    (whole,) = seen.spans("suno_video.track")
    assert whole.context is not None
    assert whole.parent is None
    assert whole.kind is SpanKind.INTERNAL
    parts = {one.name: one for one in seen.spans() if one.parent and one.parent.span_id == whole.context.span_id}
    asked = "GET /api/v1/client/account/balance"  # a conversion's free question before it buys
    assert set(parts) - {asked} == {"suno_video.submit", "suno_video.follow", "suno_video.download"}
    names = {one.context.span_id: one.name for one in parts.values() if one.context}
    below = {
        (names.get(one.parent.span_id, whole.name), one.name)
        for one in seen.spans()
        if one.parent and one.kind is SpanKind.CLIENT
    }
    assert below - {("suno_video.track", asked)} == {
        ("suno_video.submit", "POST /api/v1/client/job/CreateTask"),
        ("suno_video.follow", "GET /api/v1/client/job/TaskInfo"),
        ("suno_video.download", "GET"),
    }
    assert {one.context.trace_id for one in seen.spans() if one.context} == {whole.context.trace_id}
    said = dict(whole.attributes or {})
    assert (said["suno_video.state"], said["suno_video.suno_id"]) == ("downloaded", "suno_1")
    assert all(one.start_time <= one.end_time for one in seen.spans() if one.start_time and one.end_time)


async def test_a_request_is_told_by_the_conventions(seen: Seen, suno_video_server: VideoServer) -> None:
    """Span kind, attributes and the histogram have the names and buckets of HTTP clients."""
    async with suno_video_server.client(hooks=[seen.hooks]) as client:
        await client.balance()
    (span,) = seen.spans()
    host, port = suno_video_server.url.removeprefix("http://").split(":")
    path = "/api/v1/client/account/balance"
    shared = {
        "http.request.method": "GET",
        "server.address": host,
        "server.port": int(port),
        "url.template": path,
        "http.response.status_code": 200,
    }
    assert (span.name, span.kind, span.status.status_code) == (f"GET {path}", SpanKind.CLIENT, StatusCode.UNSET)
    full = {"url.full": suno_video_server.url + path, "suno_video.operation": "balance"}
    assert dict(span.attributes or {}) == {**shared, **full}
    metrics = seen.metrics()
    (point,) = metrics["http.client.request.duration"]
    assert (point["attributes"], tuple(point["explicit_bounds"])) == (shared, DURATIONS)
    (scope,) = {one.instrumentation_scope.schema_url for one in seen.spans() if one.instrumentation_scope}
    assert scope == SCHEMA


def test_requests_may_be_left_to_others(seen: Seen) -> None:
    """Without its requests a track is still one span, with its parts; no request has a span or is timed."""
    hooks = OpenTelemetryHooks(tracer_provider=seen.tracers, meter_provider=seen.meters, requests=False)

    async def main() -> None:
        client, _ = client_of(FakeAPI(), hooks=[hooks])
        async with client:
            await client.generate(TRACK)

    run_virtual(main())
    assert [one.name for one in seen.spans()] == ["suno_video.submit", "suno_video.follow", "suno_video.track"]
    assert set(seen.metrics()) == {"suno_video.tracks", "suno_video.credits"}


def test_waits_for_a_place_are_told(seen: Seen) -> None:
    """A call that had to wait for its place within the limit says how long; one that had not, does not count."""

    async def main() -> None:
        client, _ = client_of(FakeAPI(), hooks=[seen.hooks], rate=RateLimit(1, per=10))
        async with client:
            await client.balance()
            await client.balance()

    run_virtual(main())
    (point,) = seen.metrics()["suno_video.place.wait"]
    assert (point["attributes"], point["count"]) == ({"suno_video.operation": "balance"}, 1)
    assert point["sum"] == pytest.approx(10)


@pytest.mark.suno_video_server(faults=[Fault(on="CreateTask", kind="code:429", calls=(1,))])
async def test_metrics_of_a_track(seen: Seen, suno_video_server: VideoServer, tmp_path: Path) -> None:
    """End states, credits, retries and pauses are counted, each once."""
    async with suno_video_server.client(hooks=[seen.hooks]) as client:
        await converted(client, tmp_path)
    metrics = seen.metrics()
    assert {
        name: [(one["attributes"], one["value"]) for one in metrics[name]]
        for name in metrics
        if "place" not in name and "duration" not in name
    } == {
        "suno_video.tracks": [({"suno_video.state": "downloaded", "suno_video.via": "convert"}, 1)],
        "suno_video.credits": [({"suno_video.new": True}, 2.0)],
        "suno_video.retries": [({"suno_video.operation": "CreateTask", "error.type": "RateLimitError"}, 1)],
        "suno_video.pauses": [({"suno_video.lane": "all", "error.type": "RateLimitError"}, 1)],
    }


def test_a_refusal_in_a_200_is_an_error(seen: Seen) -> None:
    """The span of a refused request says so, and its resend is counted; no message is repeated."""
    said = [answer({"balance": 1}), answer(code=429, message="slow down, sir")]

    async def main() -> None:
        client, _ = client_of(lambda _: said.pop(), hooks=[seen.hooks])
        async with client:
            await client.balance()

    run_virtual(main())
    refused, again = seen.spans()
    assert (refused.status.status_code, refused.status.description) == (StatusCode.ERROR, None)
    told = dict(refused.attributes or {})
    names = ("http.response.status_code", "error.type", "suno_video.code")
    assert [told[name] for name in names] == [200, RateLimitError.__name__, 429]
    assert dict(again.attributes or {})["http.request.resend_count"] == 1
    assert "sir" not in "".join(one.to_json() for one in seen.spans())


async def test_a_download_by_itself_finds_its_track(
    seen: Seen, suno_video_server: VideoServer, tmp_path: Path
) -> None:
    """`submit`, `result` and `download`, one after the other, are in one trace below one span."""
    async with suno_video_server.client(hooks=[seen.hooks]) as client:
        video = await (await client.submit(TRACK)).result()
        await client.download(video, tmp_path)
    (whole,), (download,) = seen.spans("suno_video.track"), seen.spans("suno_video.download")
    assert download.parent is not None
    assert whole.context is not None
    assert download.parent.span_id == whole.context.span_id


def test_it_is_below_the_callers_span(seen: Seen) -> None:
    """What the program is doing is the parent of what the client does for it."""

    async def main() -> None:
        client, _ = client_of(FakeAPI(), hooks=[seen.hooks])
        async with client:
            with trace.use_span(seen.tracers.get_tracer("app").start_span("web request"), end_on_exit=True):
                await (await client.submit(TRACK)).result()
                await client.balance()

    run_virtual(main())
    (outer,), (whole,) = seen.spans("web request"), seen.spans("suno_video.track")
    (asked,) = seen.spans("GET /api/v1/client/account/balance")
    assert outer.context is not None
    for inner in (whole, asked):
        assert inner.parent is not None
        assert inner.parent.span_id == outer.context.span_id


def test_a_conversion_is_below_the_span_that_began_it(seen: Seen) -> None:
    """Each track of a catalog is below the span of the code that converts it, whoever takes the outcomes."""

    async def main() -> None:
        client, _ = client_of(FakeAPI(), hooks=[seen.hooks])
        tracks = [Track(task_id="m1", suno_id=f"s{number}") for number in range(5)]
        async with client:
            with trace.use_span(seen.tracers.get_tracer("app").start_span("nightly run"), end_on_exit=True):
                conversion = client.convert(tracks, ledger=NO_LEDGER)
                async with conversion as outcomes:
                    assert len([outcome async for outcome in outcomes]) == 5
            await client.balance()

    run_virtual(main())
    (outer,) = seen.spans("nightly run")
    *_, after = seen.spans("GET /api/v1/client/account/balance")
    assert outer.context is not None
    assert [one.parent.span_id for one in seen.spans("suno_video.track") if one.parent] == [
        outer.context.span_id
    ] * 5
    assert {one.context.trace_id for one in seen.spans() if one.context and one is not after} == {
        outer.context.trace_id
    }
    assert after.parent is None


def test_ended_tracks_are_forgotten(seen: Seen) -> None:
    """However many tracks a client has made, no span is kept open, and few contexts are remembered."""

    async def main() -> None:
        client, _ = client_of(FakeAPI(seconds=1.0), hooks=[seen.hooks], rate=None)
        tracks = (Track(task_id="m", suno_id=str(number)) for number in range(300))
        async with client, client.convert(tracks, ledger=NO_LEDGER) as outcomes:
            assert len([outcome async for outcome in outcomes]) == 300

    run_virtual(main())
    gc.collect()
    assert (len(seen.hooks._spans), len(seen.hooks._contexts)) == (0, 0)
    assert len(seen.spans("suno_video.track")) == 300


def test_only_so_many_ended_tasks_are_remembered(seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest is forgotten first; its download then is a trace of its own."""
    monkeypatch.setattr(otel, "REMEMBERED", 3)

    async def main() -> None:
        client, _ = client_of(FakeAPI(seconds=1.0), hooks=[seen.hooks])
        async with client:
            for number in range(5):
                await client.generate(Track(task_id="m", suno_id=str(number)))

    run_virtual(main())
    assert list(seen.hooks._ended) == ["v3", "v4", "v5"]


def test_no_secret_is_exported(seen: Seen) -> None:
    """Neither the key, nor a callback's URL, nor the query of a signed one is in any span or metric."""
    api = FakeAPI()
    api.media = "https://media.example.test/v.mp4?sig=s3cret&"

    async def main() -> None:
        client, transport = client_of(api, hooks=[seen.hooks])
        async with client:
            await (await client.submit(TRACK, "https://me.example.test/n0nce")).result()
        assert any(request.operation is Operation.TASK_INFO for request in transport.sent)

    run_virtual(main())
    told = "".join(one.to_json() for one in seen.spans()) + json.dumps(seen.metrics())
    assert not [secret for secret in (KEY, "n0nce", "s3cret", "?") if secret in told]


def test_the_core_does_not_import_it() -> None:
    """Who does not ask for OpenTelemetry does not load it."""
    code = (
        "import sys, suno_video_async; print([n for n in sys.modules if n.startswith(('opentelemetry', 'tqdm'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
