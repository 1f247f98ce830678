"""Conversions under Temporal: it places them on workers, starts them again, and shows what they do.

The workflow of a ledger holds it through one activity, which works for as long as the ledger wants something. Who
works, and when, is Temporal's affair. What is bought is in the ledger alone, and its locks say who may write it:
so nothing is bought twice, whatever Temporal repeats or forgets. Payloads are names and numbers, never a key.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeAlias

from temporalio import activity, workflow
from temporalio.client import Client, WorkflowHandle
from temporalio.common import RetryPolicy, WorkflowIDConflictPolicy
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from suno_video_async._util.words import many
from suno_video_async.engines.activity import BEAT, Counts, Ending, beating, failure
from suno_video_async.engines.supervision import Again, closed_for, wait_after, when_again

TASK_QUEUE = "suno-video"
#: Seconds without a sign of life after which a worker counts as dead.
HEARTBEAT = 15
#: Seconds that a worker has at its end for the answers to submissions in flight.
GRACE = 120

#: Works for the ledger of a name, and counts outcomes by state: until it wants nothing more; if the event is set,
#: until what is submitted has ended; if it is cancelled, no longer. It raises what stopped it.
Hold: TypeAlias = Callable[[str, asyncio.Event, Counts], Coroutine[Any, Any, None]]
#: Loads a catalog for the ledger of a name, or for those that its rows name.
Load: TypeAlias = "Callable[[str, str | None], Coroutine[Any, Any, Loading]]"
#: Returns how many rows of the ledger of a name are in which state.
Report: TypeAlias = Callable[[str], Coroutine[Any, Any, dict[str, int]]]

#: An activity lasts as long as it shows signs of life, and is tried again for as long as that may help.
_OPTIONS: Any = {
    "start_to_close_timeout": timedelta(days=3650),
    "heartbeat_timeout": timedelta(seconds=HEARTBEAT),
    "retry_policy": RetryPolicy(initial_interval=timedelta(seconds=1), backoff_coefficient=1.0),
    "cancellation_type": workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
}


@dataclass
class Held:
    """How a holding ended: the outcomes by state, and what stopped it, if a later run is the answer."""

    counts: dict[str, int] = field(default_factory=dict[str, int])
    stopped: str | None = None
    closed_for: float = 0.0  # seconds, if the service has said so


@dataclass
class Loading:
    """The ledgers that a catalog names, and how many of its rows were not loaded."""

    ledgers: list[str]
    not_loaded: int = 0


def workflow_id(ledger: str) -> str:
    """Return the id of a ledger's workflow: there is one at a time."""
    return f"suno-video/{ledger}"


async def start(
    client: Client, ledger: str, task_queue: str = TASK_QUEUE
) -> WorkflowHandle[ConvertWorkflow, Held]:
    """Start a ledger's workflow; one that runs looks at the ledger once more before its end."""
    return await client.start_workflow(
        ConvertWorkflow.run,
        ledger,
        id=workflow_id(ledger),
        task_queue=task_queue,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        start_signal="loaded",
    )


@workflow.defn
class ConvertWorkflow:
    """Converts all that a ledger wants, however long that takes and whatever happens to workers meanwhile."""

    def __init__(self) -> None:
        self._ending: Ending = ""
        self._loaded = False
        self._state = "working"

    @workflow.run
    async def run(self, ledger: str, stops: int = 0) -> Held:
        """Hold the ledger of a name until it wants nothing more; `stops` in a row were for the service's sake."""
        while True:
            self._loaded = False
            held = await self._hold(ledger)
            if held.stopped is not None and not self._ending:
                stops = 1 if held.counts.get("downloaded") or held.counts.get("succeeded") else stops + 1
                await self._wait(max(wait_after(stops), held.closed_for), held.stopped)
            elif not self._loaded:
                return held
            if self._ending:
                return held
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(args=[ledger, stops])

    async def _hold(self, ledger: str) -> Held:
        queue = f"{workflow.info().task_queue}-keys"
        holding: workflow.ActivityHandle[Held]
        holding = workflow.start_activity_method(Activities.hold, ledger, task_queue=queue, **_OPTIONS)
        await workflow.wait_condition(lambda: holding.done() or self._ending != "")
        if not holding.done():
            holding.cancel()
        try:
            return await holding
        except ActivityError as error:
            if not isinstance(error.cause, CancelledError):
                raise
            return Held()

    async def _wait(self, seconds: float, why: str) -> None:
        self._state = f"waiting until {workflow.now() + timedelta(seconds=seconds):%F %T} UTC: {why}"
        with contextlib.suppress(asyncio.TimeoutError):
            await workflow.wait_condition(lambda: self._ending != "", timeout=seconds)
        self._state = "working"

    @workflow.signal
    def loaded(self) -> None:
        """Look at the ledger once more before the end: it has new rows."""
        self._loaded = True

    @workflow.signal
    def stop(self) -> None:
        """Submit no more, follow what is submitted to its end, and end."""
        self._ending = self._ending or "stop"

    @workflow.signal
    def detach(self) -> None:
        """End now: what is submitted goes on at the provider, and the next start follows it."""
        self._ending = "detach"

    @workflow.query
    def ending(self) -> Ending:
        """Return how it is to end."""
        return self._ending

    @workflow.query
    def state(self) -> str:
        """Return what it does, in words."""
        return {"": self._state, "stop": "stopping", "detach": "leaving"}[self._ending]


@workflow.defn
class CatalogWorkflow:
    """Loads a catalog, sees to it that its ledgers are converted, and reports what is in them."""

    @workflow.run
    async def run(self, catalog: str, ledger: str | None = None) -> dict[str, dict[str, int]]:
        """Load a file of the workers, for one ledger or those that its rows name; return the rows by state."""
        args = [catalog, ledger]
        loading: Loading = await workflow.execute_activity_method(Activities.load, args=args, **_OPTIONS)
        names = loading.ledgers
        following = [workflow.execute_activity_method(Activities.follow, name, **_OPTIONS) for name in names]
        ends = await asyncio.gather(*following, return_exceptions=True)
        reports, failures = dict[str, dict[str, int]](), list[str]()
        for name, end in zip(names, ends, strict=True):
            if isinstance(end, BaseException):
                failures.append(f"{name}: {end.__cause__ or end}")
            else:
                reports[name] = end
        if loading.not_loaded:
            lost = many(loading.not_loaded, "row was", "rows were")
            failures.append(f"{lost} not loaded: suno-video load says which, and why")
        if failures:
            raise ApplicationError("; ".join(failures), reports, type="LedgersFailed", non_retryable=True)
        return reports


class Activities:
    """What a worker does for the workflows."""

    def __init__(self, hold: Hold, load: Load, report: Report) -> None:
        self._hold, self._load, self._report = hold, load, report

    @activity.defn
    async def hold(self, ledger: str) -> Held:
        """Work for a ledger for as long as it wants something."""
        stop, counts = asyncio.Event(), Counter[str]()
        try:
            await beating(self._hold(ledger, stop, counts), counts, stop)
        except Exception as error:
            if when_again(error) is not Again.LATER:
                raise failure(error) from None
            return Held(dict(counts), str(error), closed_for(error, time.time()))
        return Held(dict(counts))

    @activity.defn
    async def load(self, catalog: str, ledger: str | None) -> Loading:
        """Load a catalog."""
        try:
            return await beating(self._load(catalog, ledger))
        except Exception as error:
            raise failure(error) from None

    @activity.defn
    async def follow(self, ledger: str) -> dict[str, int]:
        """See to it that all is converted that a ledger holds by now; return how many rows are in which state."""
        try:
            handle = await start(activity.client(), ledger, activity.info().task_queue)
            await beating(handle.result())
            return await beating(self._report(ledger))
        except Exception as error:
            raise failure(error) from None


@contextlib.asynccontextmanager
async def working(
    client: Client, activities: Activities, *, most_keys: int, task_queue: str = TASK_QUEUE
) -> AsyncGenerator[None, None]:
    """Work while the block runs, for up to `most_keys` ledgers at a time; at its end others go on with them."""
    grace = timedelta(seconds=GRACE)
    passed = SandboxRestrictions.default.with_passthrough_modules("suno_video_async")  # it only defines things
    plans = Worker(
        client,
        task_queue=task_queue,
        workflows=[ConvertWorkflow, CatalogWorkflow],
        activities=[activities.load, activities.follow],
        workflow_runner=SandboxedWorkflowRunner(restrictions=passed),
        graceful_shutdown_timeout=grace,
    )
    holdings = Worker(
        client,
        task_queue=f"{task_queue}-keys",
        activities=[activities.hold],
        max_concurrent_activities=most_keys,
        max_heartbeat_throttle_interval=timedelta(seconds=BEAT),  # the wish to end comes with their answers
        graceful_shutdown_timeout=grace,
    )
    async with plans, holdings:
        yield
