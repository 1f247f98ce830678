"""What telemetry costs: `status()` calls a second without hooks, with one that is idle, and with OpenTelemetry.

Each is compared with the same client whose reporter is a stub: no hooks, no log, nothing to say about a request.
What is left of telemetry in that client are two calls of empty functions a request, whose time is measured and
printed, too. OpenTelemetry runs with its SDK: each span is recorded, and exported into memory by itself. "No
requests" is `OpenTelemetryHooks(requests=False)`. "SDK alone" is what no code of this package can avoid where
requests are told: a hook that makes one bare span and one bare measurement for each. Where that is under the
floor, so is OpenTelemetry with requests.

All talk to the server of `benchmarks.overhead`, which answers canned bytes from its own process, with the limiter
unbounded. The two of a pair alternate within one run; the figure is the median of the ratios of the pairs.

Usage: python -m benchmarks.hooks [--pairs 41] [--calls 200] [--workers 1 20]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import timeit
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

from attrs import evolve
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from benchmarks.overhead import TASK_ID, Canned, _rate, served
from suno_video_async import Hooks, RequestEvent, SunoVideoClient
from suno_video_async.otel import OpenTelemetryHooks
from tests.support.keys import KEY

FLOORS = {"off": 0.97, "idle hook": 0.85, "no requests": 0.85, "OpenTelemetry": 0.85}
NAMES = (*FLOORS, "SDK alone")


class Stub:
    """A reporter that says nothing."""

    hooks = ()

    def trace(self, *_: object, **__: object) -> None:
        """Say nothing about a request."""


class Deaf(Hooks):
    """A hook that does nothing."""


class SDKAlone(Hooks):
    """The least that a span and a measurement cost."""

    def __init__(self, tracers: TracerProvider, meters: MeterProvider) -> None:
        self._tracer = tracers.get_tracer("bare")
        self._histogram = meters.get_meter("bare").create_histogram("bare")

    def on_request(self, event: RequestEvent) -> None:
        """Make both."""
        self._tracer.start_span("bare").end()
        self._histogram.record(event.seconds)


class Telemetry:
    """OpenTelemetry's SDK with everything recorded, in memory."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.meters = MeterProvider(metric_readers=[InMemoryMetricReader()])
        self.hooks, self.without_requests = (
            OpenTelemetryHooks(tracer_provider=self.tracers, meter_provider=self.meters, requests=requests)
            for requests in (True, False)
        )

    def empty(self) -> int:
        """Forget the spans; return how many there were."""
        spans = len(self.exporter.get_finished_spans())
        self.exporter.clear()
        return spans

    def shutdown(self) -> None:
        """End both providers."""
        self.tracers.shutdown()
        self.meters.shutdown()


def stubbed(client: SunoVideoClient) -> SunoVideoClient:
    """Take telemetry out of a client that is not open yet."""
    reporter: Any = Stub()  # what a call asks of it
    client._options = evolve(client._options, reporter=reporter)
    return client


async def compare(port: int, *, pairs: int, calls: int, workers: int) -> dict[str, Any]:
    """Return the medians of the rates, and of their ratios to the rate of the client that has no telemetry."""
    telemetry = Telemetry()

    def client(*hooks: Hooks) -> SunoVideoClient:
        url, most = f"http://127.0.0.1:{port}", max(20, workers)
        return SunoVideoClient(api_key=KEY, base_url=url, rate=None, max_connections=most, hooks=hooks)

    async with AsyncExitStack() as stack:
        bare = await stack.enter_async_context(stubbed(client()))
        others = {
            "off": await stack.enter_async_context(client()),
            "idle hook": await stack.enter_async_context(client(Deaf())),
            "no requests": await stack.enter_async_context(client(telemetry.without_requests)),
            "OpenTelemetry": await stack.enter_async_context(client(telemetry.hooks)),
            "SDK alone": await stack.enter_async_context(client(SDKAlone(telemetry.tracers, telemetry.meters))),
        }

        async def rate(one: SunoVideoClient) -> float:
            return await _rate(lambda: one.status(TASK_ID), calls, workers)

        rates: dict[str, list[tuple[float, float]]] = {name: [] for name in others}
        for number in range(pairs + 1):
            for name, other in others.items():
                first, second = (bare, other) if number % 2 else (other, bare)
                one, two = await rate(first), await rate(second)
                rates[name].append((one, two) if first is bare else (two, one))
            assert telemetry.empty() == 2 * (calls // workers * workers)
    telemetry.shutdown()
    return {
        "workers": workers,
        "stubbed": statistics.median(rate for pairs_ in rates.values() for rate, _ in pairs_[1:]),
        **{name: statistics.median(mine for _, mine in rates[name][1:]) for name in rates},
        "ratios": {  # the first pair warms up
            name: statistics.median(mine / theirs for theirs, mine in rates[name][1:]) for name in rates
        },
    }


def microseconds(run: Callable[[], object]) -> float:
    """Return how long one run takes, the best of five."""
    return min(timeit.repeat(run, number=100_000, repeat=5)) * 10


def what_is_left(reporter: Any) -> Callable[[], object]:
    """Return what one call asks of a reporter."""

    def ask() -> None:
        if reporter.hooks:
            raise AssertionError("there are no hooks here")
        reporter.trace(0, since=0.0)

    return ask


def main() -> int:
    """Print the table; return 1 where a ratio is under its floor."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=41)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 20])
    args = parser.parse_args()
    with served(Canned) as port:
        results = [
            asyncio.run(compare(port, pairs=args.pairs, calls=args.calls, workers=workers))
            for workers in args.workers
        ]
    print(f"{'workers':>8} {'stubbed /s':>11}" + "".join(f" {name + ' /s':>17} {'ratio':>6}" for name in NAMES))
    for result in results:
        row = "".join(f" {result[name]:>17.0f} {result['ratios'][name]:>6.3f}" for name in NAMES)
        print(f"{result['workers']:>8} {result['stubbed']:>11.0f}{row}")
    print("floors: " + ", ".join(f"{name} {floor}" for name, floor in FLOORS.items()))
    asked = {
        "stub": microseconds(what_is_left(Stub())),
        "off": microseconds(what_is_left(SunoVideoClient(api_key=KEY)._options.reporter)),
    }
    print(f"what a call asks of the reporter: {asked['off']:.2f} µs when off, {asked['stub']:.2f} µs of the stub")
    print(json.dumps({"hooks": {"compared": results, "microseconds": asked}}))
    return int(any(one["ratios"][name] < floor for one in results for name, floor in FLOORS.items()))


if __name__ == "__main__":
    sys.exit(main())
