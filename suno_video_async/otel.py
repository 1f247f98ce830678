"""OpenTelemetry: spans and metrics of what a client does. Needs the extra `otel`.

Names follow the semantic conventions for HTTP clients (1.23 and later); this package's own begin with
`suno_video.`. All times are by the client's clock, so that they are consistent in accelerated time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from suno_video_async.errors import APIError, MissingExtraError
from suno_video_async.hooks import Hooks, PauseEvent, RequestEvent, RetryEvent, SpendEvent, Stage
from suno_video_async.models import VideoTaskId

try:
    from opentelemetry import metrics, trace
    from opentelemetry.context import Context
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TracerProvider
    from opentelemetry.util.types import AttributeValue
except ImportError as _error:  # pragma: no cover  the tests have it
    raise MissingExtraError("OpenTelemetry is not installed: pip install 'suno-video-async[otel]'") from _error

NAME = "suno_video_async"
#: The version of the semantic conventions whose names are used.
SCHEMA = "https://opentelemetry.io/schemas/1.27.0"
#: The bucket boundaries of the conventions, in seconds.
DURATIONS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
#: Seconds that a call may wait for its place, up to an hour of maintenance; shorter waits are not counted.
WAITS = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
#: Ended tasks whose download, asked for by itself, still finds the span that it belongs to.
REMEMBERED = 1000
_MEDIA = "media"
_ERROR = Status(StatusCode.ERROR)


class OpenTelemetryHooks(Hooks):
    """Makes spans and metrics: `SunoVideoClient(hooks=[OpenTelemetryHooks()])`.

    Each track is one span; below it are its submission, following and download, and below those each request.

    Args:
        tracer_provider: whose tracer makes the spans; None takes the global one.
        meter_provider: whose meter counts; None takes the global one.
        requests: whether each request has a span and is timed; False where an instrumentation of aiohttp does it
            already, or where they cost too much.

    """

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        requests: bool = True,
    ) -> None:
        self._requests = requests
        self._tracer = trace.get_tracer(NAME, tracer_provider=tracer_provider, schema_url=SCHEMA)
        meter = metrics.get_meter(NAME, meter_provider=meter_provider, schema_url=SCHEMA)
        self._spans = WeakKeyDictionary[Stage, Span]()
        self._contexts = WeakKeyDictionary[Stage, Context]()
        self._ended = OrderedDict[VideoTaskId, Context]()
        self._durations = meter.create_histogram(
            "http.client.request.duration",
            unit="s",
            description="Duration of HTTP client requests.",
            explicit_bucket_boundaries_advisory=DURATIONS,
        )
        self._waits = meter.create_histogram(
            "suno_video.place.wait",
            unit="s",
            description="How long calls that had to wait waited for their place within the rate limit.",
            explicit_bucket_boundaries_advisory=WAITS,
        )
        self._tracks = meter.create_counter(
            "suno_video.tracks", unit="{track}", description="Tracks by end state."
        )
        self._credits = meter.create_counter("suno_video.credits", unit="{credit}", description="What tasks cost.")
        self._retries = meter.create_counter(
            "suno_video.retries", unit="{retry}", description="Calls tried again."
        )
        self._pauses = meter.create_counter("suno_video.pauses", unit="{pause}", description="Pauses by refusals.")

    def on_begin(self, stage: Stage) -> None:
        """Start the stage's span."""
        span = self._tracer.start_span(
            f"suno_video.{stage.name}", context=self._parent(stage), start_time=_nanoseconds(stage.started)
        )
        self._spans[stage] = span
        self._contexts[stage] = trace.set_span_in_context(span)

    def on_end(self, stage: Stage) -> None:
        """End the stage's span."""
        if stage.name == "track":
            self._tracks.add(1, {"suno_video.state": stage.state or "unknown", "suno_video.via": stage.via or ""})
        span = self._spans.pop(stage, None)
        if span is None:
            return
        span.set_attributes(_of_stage(stage))
        if stage.error is not None:
            # No message: it may contain anything that a server sent.
            span.set_status(_ERROR)
        span.end(_nanoseconds(stage.started + (stage.seconds or 0.0)))
        context = self._contexts.get(stage.parent or stage)
        if stage.name == "follow" and stage.task_id is not None and context is not None:
            self._remember(stage.task_id, context)

    def on_request(self, event: RequestEvent) -> None:
        """Make the request's span, and time it."""
        if event.waited is not None and event.waited >= WAITS[0]:
            self._waits.record(event.waited, {"suno_video.operation": event.operation})
        if self._requests:
            self._time(event)

    def _time(self, event: RequestEvent) -> None:
        error = event.error
        kind = None if error is None else type(error).__name__
        name, shared, own = _of_request(event.operation, event.method, event.url, event.status, kind)
        span = self._tracer.start_span(
            name,
            context=None if event.stage is None else self._contexts.get(event.stage),
            kind=SpanKind.CLIENT,
            attributes={**own, **_of_send(event)},
            start_time=_nanoseconds(event.started),
        )
        if error is not None:
            span.set_status(_ERROR)
        span.end(_nanoseconds(event.started + event.seconds))
        self._durations.record(event.seconds, shared)

    def on_retry(self, event: RetryEvent) -> None:
        """Count it."""
        kind = type(event.error).__name__
        self._retries.add(1, {"suno_video.operation": event.operation, "error.type": kind})

    def on_spend(self, event: SpendEvent) -> None:
        """Count what it cost."""
        self._credits.add(event.credits, {"suno_video.new": event.new})

    def on_pause(self, event: PauseEvent) -> None:
        """Count it."""
        self._pauses.add(1, {"suno_video.lane": event.lane, "error.type": type(event.error).__name__})

    def _parent(self, stage: Stage) -> Context | None:
        """Return the parent of a stage's span; None for the caller's own span."""
        if stage.parent is not None:
            return self._contexts.get(stage.parent)
        return self._ended.get(stage.task_id) if stage.name == "download" and stage.task_id is not None else None

    def _remember(self, task_id: VideoTaskId, context: Context) -> None:
        self._ended[task_id] = context
        while len(self._ended) > REMEMBERED:
            self._ended.popitem(last=False)


def _nanoseconds(unix: float) -> int:
    return int(unix * 1e9)


def _of_stage(stage: Stage) -> dict[str, AttributeValue]:
    """Return a stage's attributes at its end."""
    track = stage.track
    known = {
        "suno_video.via": stage.via,
        "suno_video.state": stage.state,
        "suno_video.task_id": stage.task_id,
        "suno_video.suno_id": None if track is None else track.suno_id,
        "suno_video.music_task_id": None if track is None else track.task_id,
        "error.type": type(stage.error).__name__ if stage.error is not None else None,
    }
    return {name: value for name, value in known.items() if value is not None}


@lru_cache(maxsize=256)  # the API's paths and the ways in which they end are few
def _of_request(
    operation: str, method: str, url: str, status: int | None, error: str | None
) -> tuple[str, Mapping[str, AttributeValue], Mapping[str, AttributeValue]]:
    """Return a span's name, what tells a request from others (few values, for metrics), and that and more."""
    parts = urlsplit(url)
    shared: dict[str, AttributeValue] = {
        "http.request.method": method,
        "server.address": parts.hostname or "",
        "server.port": parts.port or (443 if parts.scheme == "https" else 80),
    }
    if operation != _MEDIA:  # the API's own paths are templates of themselves
        shared["url.template"] = parts.path
    if status is not None:
        shared["http.response.status_code"] = status
    if error is not None:
        shared["error.type"] = error
    name = method if operation == _MEDIA else f"{method} {parts.path}"
    return name, shared, {**shared, "url.full": url, "suno_video.operation": operation}


def _of_send(event: RequestEvent) -> dict[str, AttributeValue]:
    """Return the attributes of a single send."""
    attributes: dict[str, AttributeValue] = {}
    if event.resend:
        attributes["http.request.resend_count"] = event.resend
    if event.task_id is not None:
        attributes["suno_video.task_id"] = event.task_id
    if isinstance(event.error, APIError):
        attributes["suno_video.code"] = event.error.code  # the envelope's, where HTTP's own says 200
    return attributes
