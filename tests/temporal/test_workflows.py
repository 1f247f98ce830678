"""The workflows alone: Temporal's test server skips the waits, and a function of the test does the holding."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from pathlib import Path

import pytest
from attrs import define, field
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

from suno_video_async import errors
from suno_video_async.engines import activity, temporal
from suno_video_async.engines.holder import WorkOptions
from suno_video_async.engines.keys import KeyEntry
from suno_video_async.engines.temporal import (
    Activities,
    CatalogWorkflow,
    ConvertWorkflow,
    Held,
    Loading,
    workflow_id,
)
from suno_video_async.engines.temporal_worker import activities
from suno_video_async.ledger.address import LedgerAddress
from tests.support.keys import KEY
from tests.temporal.programs import program

pytestmark = pytest.mark.services


@pytest.fixture
async def environment(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[WorkflowEnvironment]:
    """Run Temporal's test server, and let workers look every 20 ms whether they are to end."""
    for module in (activity, temporal):
        monkeypatch.setattr(module, "BEAT", 0.02)
    server = program("temporal-test-server")
    async with await WorkflowEnvironment.start_time_skipping(test_server_existing_path=server) as running:
        yield running


@define
class Script:
    """What happens each time when a ledger is held: an error is raised, a function is awaited, None just ends."""

    steps: list[Exception | Callable[[asyncio.Event], Awaitable[object]] | None]
    clock: Callable[[], Awaitable[datetime]]
    at: list[datetime] = field(factory=list)
    made: int = 3
    reports: dict[str, int] = field(factory=lambda: {"downloaded": 3})
    began: asyncio.Event = field(factory=asyncio.Event)

    async def hold(self, ledger: str, stop: asyncio.Event, counts: Counter[str]) -> None:
        """Do what the next step says."""
        self.at.append(await self.clock())
        step = self.steps.pop(0) if self.steps else None
        self.began.set()
        if isinstance(step, Exception):
            raise step
        if step is not None:
            await step(stop)
        counts["downloaded"] += self.made

    async def load(self, catalog: str, ledger: str | None) -> Loading:
        """Say where the rows went; one is bad."""
        return Loading([ledger]) if ledger else Loading(["acme", "best"], not_loaded=catalog == "bad.csv")

    async def report(self, ledger: str) -> dict[str, int]:
        """Count rows."""
        return self.reports

    @property
    def waits(self) -> list[int]:
        """The seconds between the steps, rounded."""
        return [
            round((later - earlier).total_seconds()) for earlier, later in zip(self.at, self.at[1:], strict=False)
        ]

    def activities(self) -> Activities:
        """Return what a worker does."""
        return Activities(self.hold, self.load, self.report)


async def converted(environment: WorkflowEnvironment, script: Script) -> Held:
    """Return how a ledger's workflow ends."""
    async with temporal.working(environment.client, script.activities(), most_keys=2):
        return await (await temporal.start(environment.client, "acme")).result()


async def never(_: asyncio.Event) -> None:
    """Work until the end of time."""
    await asyncio.Event().wait()


async def test_what_a_ledger_wants_is_counted(environment: WorkflowEnvironment) -> None:
    """A workflow ends with the outcomes of its holding."""
    script = Script([], environment.get_current_time)
    assert await converted(environment, script) == Held({"downloaded": 3})


async def test_a_lost_ledger_is_held_again_at_once(environment: WorkflowEnvironment) -> None:
    """After a lost session, or a database out of reach, another attempt comes within seconds, however often."""
    lost = [errors.LedgerLost("lost"), errors.LedgerError("busy", temporary=True)] * 5
    script = Script([*lost], environment.get_current_time)
    await converted(environment, script)
    assert len(script.at) == 11
    assert max(script.waits) <= 2


async def test_an_outage_is_waited_out_for_longer_each_time(environment: WorkflowEnvironment) -> None:
    """After the brake's stop: ten minutes, doubling to an hour."""
    script = Script([errors.ServiceUnreachable("five unknown in a row")] * 5, environment.get_current_time)
    await converted(environment, script)
    assert [wait // 60 for wait in script.waits] == [10, 20, 40, 60, 60]


async def test_a_run_that_made_videos_begins_the_waits_again(environment: WorkflowEnvironment) -> None:
    """The next outage is another one."""
    outage = errors.ServiceUnreachable("five unknown in a row")
    script = Script([outage, outage, outage], environment.get_current_time)
    hold = script.hold

    async def made_before(ledger: str, stop: asyncio.Event, counts: Counter[str]) -> None:
        counts["downloaded"] += len(script.at) == 2
        await hold(ledger, stop, counts)

    async with temporal.working(
        environment.client, Activities(made_before, script.load, script.report), most_keys=1
    ):
        await (await temporal.start(environment.client, "acme")).result()
    assert [wait // 60 for wait in script.waits] == [10, 20, 10]


async def test_a_closed_service_is_left_alone_until_it_opens(environment: WorkflowEnvironment) -> None:
    """It has said for how long: three hours here."""
    closed = errors.MaintenanceError("closed", code=455, http_status=200, operation="CreateTask")
    closed.closed_until = time.time() + 3 * 3600
    script = Script([closed], environment.get_current_time)
    await converted(environment, script)
    assert script.waits[0] == pytest.approx(3 * 3600, abs=60)


@pytest.mark.parametrize(
    "error",
    [
        errors.AuthenticationError("no", code=401, http_status=200, operation="CreateTask"),
        errors.FeatureDisabledError("off", code=505, http_status=200, operation="CreateTask"),
        errors.BudgetExceeded("over the budget"),
        errors.AnotherKeyError("of another account"),
        errors.LedgerError("of a newer version"),
        errors.ConfigurationError("rate"),
    ],
)
async def test_what_a_person_has_to_mend_ends_the_workflow(
    environment: WorkflowEnvironment, error: Exception
) -> None:
    """It fails at once, and says why."""
    script = Script([error], environment.get_current_time)
    with pytest.raises(WorkflowFailureError) as failed:
        await converted(environment, script)
    cause = failed.value.cause.__cause__
    assert isinstance(cause, ApplicationError)
    assert (cause.type, cause.message) == (type(error).__name__, str(error))
    assert len(script.at) == 1


async def test_a_defect_is_not_quoted(environment: WorkflowEnvironment) -> None:
    """The message of an error that is not ours may say anything, a key too: it stays in the worker's log."""
    script = Script([ValueError("ak_secret")], environment.get_current_time)
    with pytest.raises(WorkflowFailureError):
        await converted(environment, script)
    assert "ak_secret" not in await history(environment.client, workflow_id("acme"))


async def history(client: Client, workflow: str) -> str:
    """Return all that Temporal has written down about a workflow."""
    return str([event async for event in client.get_workflow_handle(workflow).fetch_history_events()])


async def test_stop_lets_what_is_submitted_end(environment: WorkflowEnvironment) -> None:
    """The holding goes on until it has drained, and its outcomes count."""
    script = Script([asyncio.Event.wait], environment.get_current_time)
    async with temporal.working(environment.client, script.activities(), most_keys=1):
        handle = await temporal.start(environment.client, "acme")
        await script.began.wait()
        await handle.signal(ConvertWorkflow.stop)
        assert await handle.result() == Held({"downloaded": 3})


@pytest.mark.parametrize("first_stopped", [False, True])
async def test_detach_leaves_at_once(environment: WorkflowEnvironment, first_stopped: bool) -> None:
    """Whatever is in flight goes on elsewhere, also if it was to drain before."""
    script = Script([never], environment.get_current_time)
    async with temporal.working(environment.client, script.activities(), most_keys=1):
        handle = await temporal.start(environment.client, "acme")
        await script.began.wait()
        if first_stopped:
            await handle.signal(ConvertWorkflow.stop)
            assert await handle.query(ConvertWorkflow.state) == "stopping"
        await handle.signal(ConvertWorkflow.detach)
        assert await handle.result() == Held()


async def test_a_wait_says_what_it_is_for_and_ends_with_stop(environment: WorkflowEnvironment) -> None:
    """A query shows why nothing happens, before the wait ends."""
    script = Script([errors.ServiceUnreachable("five unknown in a row")], environment.get_current_time)
    async with temporal.working(environment.client, script.activities(), most_keys=1):
        handle = await temporal.start(environment.client, "acme")
        waits = re.compile(r"waiting until \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC: five unknown in a row")
        while not waits.fullmatch(await handle.query(ConvertWorkflow.state)):
            await script.began.wait()
        await handle.signal(ConvertWorkflow.stop)
        assert (await handle.result()).stopped == "five unknown in a row"
    assert len(script.at) == 1


async def test_rows_that_are_added_are_not_missed(environment: WorkflowEnvironment) -> None:
    """Started again while it runs, a ledger is held once more: a second workflow never works beside the first."""

    async def add(_: asyncio.Event) -> None:
        await temporal.start(environment.client, "acme")

    script = Script([add], environment.get_current_time)
    await converted(environment, script)
    assert len(script.at) == 2


async def test_a_catalog_is_loaded_converted_and_counted(environment: WorkflowEnvironment) -> None:
    """Each ledger that its rows went to has a workflow, and the end says what is in them."""
    script = Script([], environment.get_current_time)
    working = temporal.working(environment.client, script.activities(), most_keys=2)
    with environment.auto_time_skipping_disabled():  # it would skip while one workflow waits for another
        async with working:
            found = await environment.client.execute_workflow(
                CatalogWorkflow.run, args=["catalog.csv"], id="catalog", task_queue=temporal.TASK_QUEUE
            )
            assert found == {"acme": {"downloaded": 3}, "best": {"downloaded": 3}}
            assert await environment.client.get_workflow_handle(workflow_id("best")).result()


async def test_a_ledger_that_fails_fails_its_catalog_by_name(environment: WorkflowEnvironment) -> None:
    """The other ledger is converted all the same."""
    refused = errors.AuthenticationError("no", code=401, http_status=200, operation="CreateTask")
    script = Script([refused], environment.get_current_time)
    working = temporal.working(environment.client, script.activities(), most_keys=1)
    with environment.auto_time_skipping_disabled():
        async with working:
            with pytest.raises(WorkflowFailureError) as failed:
                await environment.client.execute_workflow(
                    CatalogWorkflow.run, args=["catalog.csv"], id="catalog", task_queue=temporal.TASK_QUEUE
                )
    assert re.search("(acme|best): AuthenticationError: CreateTask: 401 no", str(failed.value.cause))
    assert len(script.at) == 2


async def test_rows_that_cannot_be_loaded_fail_their_catalog(environment: WorkflowEnvironment) -> None:
    """What could be loaded is converted before, and counted."""
    script = Script([], environment.get_current_time)
    with environment.auto_time_skipping_disabled():
        async with temporal.working(environment.client, script.activities(), most_keys=1):
            with pytest.raises(WorkflowFailureError) as failed:
                await environment.client.execute_workflow(
                    CatalogWorkflow.run, args=["bad.csv", None], id="catalog", task_queue=temporal.TASK_QUEUE
                )
    assert isinstance(failed.value.cause, ApplicationError)
    assert "1 row was not loaded" in failed.value.cause.message
    assert failed.value.cause.details == ({"acme": {"downloaded": 3}, "best": {"downloaded": 3}},)


async def test_another_worker_goes_on_when_one_is_shut_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """It leaves its ledgers before it ends, so that they are not waited for."""
    monkeypatch.setattr(activity, "BEAT", 0.02)
    server = program("temporal")
    async with await WorkflowEnvironment.start_local(dev_server_existing_path=server) as environment:
        script = Script([never], environment.get_current_time)
        async with temporal.working(environment.client, script.activities(), most_keys=1):
            handle = await temporal.start(environment.client, "acme")
            await script.began.wait()
        async with temporal.working(environment.client, script.activities(), most_keys=1):
            assert await handle.result() == Held({"downloaded": 3})
    assert len(script.at) == 2
    assert script.waits[0] < temporal.HEARTBEAT


async def test_a_ledger_without_a_key_is_for_a_person(environment: WorkflowEnvironment) -> None:
    """A worker says that its keys.toml does not name it."""
    done = activities(LedgerAddress.parse("postgresql://127.0.0.1:9/videos"), [], WorkOptions())
    async with temporal.working(environment.client, done, most_keys=1):
        with pytest.raises(WorkflowFailureError) as failed:
            await (await temporal.start(environment.client, "acme")).result()
    assert "no key is for the ledger acme: add one to keys.toml" in str(failed.value.cause.__cause__)


async def test_temporal_sees_neither_keys_nor_passwords(environment: WorkflowEnvironment, tmp_path: Path) -> None:
    """What it keeps of a database that cannot be reached has the address without its password."""
    (tmp_path / "key").write_text(KEY)
    key = KeyEntry(name="acme", api_key_file=tmp_path / "key", base_url="http://127.0.0.1:9")
    done = activities(LedgerAddress.parse("postgresql://team:hunter2@127.0.0.1:9/videos"), [key], WorkOptions())
    async with temporal.working(environment.client, done, most_keys=1):
        handle = await temporal.start(environment.client, "acme")
        while "cannot be reached" not in (seen := str((await handle.describe()).raw_description)):
            await asyncio.wait([asyncio.ensure_future(asyncio.Event().wait())], timeout=0.05)
        await handle.signal(ConvertWorkflow.stop)
        assert await handle.result() == Held()
    seen += await history(environment.client, workflow_id("acme"))
    assert "team@127.0.0.1:9/videos" in seen
    assert "hunter2" not in seen
    assert KEY not in seen
