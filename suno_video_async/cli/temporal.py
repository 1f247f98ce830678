"""`suno-video temporal`: workers under Temporal, and what they are to convert."""

from __future__ import annotations

from collections import Counter
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

import anyio
import anyio.to_thread
import click
from attrs import frozen

from suno_video_async.cli.exits import Exit, UsageProblem
from suno_video_async.cli.group import Verbs
from suno_video_async.cli.interrupts import Interrupts, run_interruptible
from suno_video_async.cli.options import Command, output_options
from suno_video_async.cli.output import Output, keep_secret
from suno_video_async.cli.work import show_outcome, work_options

if TYPE_CHECKING:
    from temporalio.client import Client

    from suno_video_async.cli.work import Work

#: The queue of the workflows, and the address where a development server listens.
TASK_QUEUE, ADDRESS = "suno-video", "127.0.0.1:7233"


@frozen(kw_only=True)
class Temporal:
    """Where Temporal is."""

    address: str | None
    namespace: str | None
    task_queue: str

    async def connect(self) -> Client:
        """Return a client; what the options leave out, Temporal's environment variables and config file say.

        Raises:
            UsageProblem: it cannot be reached.

        """
        try:
            from temporalio.client import Client  # noqa: PLC0415  help and mistakes do without it
            from temporalio.envconfig import ClientConfig  # noqa: PLC0415
        except ImportError as error:
            raise UsageProblem(
                f"Temporal's SDK cannot be imported ({error}): pip install 'suno-video-async[temporal]'"
            ) from None
        config: dict[str, Any] = {**ClientConfig.load_client_connect_config()}
        if config.get("api_key"):
            keep_secret(config["api_key"])
        address = self.address or config.get("target_host") or ADDRESS
        config["target_host"] = address
        if self.namespace is not None:
            config["namespace"] = self.namespace
        try:
            return await Client.connect(**config)
        except (RuntimeError, ValueError) as error:
            raise UsageProblem(
                f"Temporal cannot be reached at {address} ({str(error).splitlines()[0]}): check --address, or"
                " TEMPORAL_ADDRESS"
            ) from error


def temporal_options(command: Command) -> Command:
    """Give a command `--address`, `--namespace` and `--task-queue`, as `temporal`."""

    @wraps(command)
    def with_temporal(
        *arguments: Any, address: str | None, namespace: str | None, task_queue: str, **options: Any
    ) -> Any:
        return command(
            *arguments,
            temporal=Temporal(address=address, namespace=namespace, task_queue=task_queue),
            **options,
        )

    decorated = cast("Command", with_temporal)
    for option in (
        click.option(
            "--task-queue",
            default=TASK_QUEUE,
            show_default=True,
            metavar="NAME",
            help="The queue; all its workers have the same keys.",
        ),
        click.option(
            "--namespace", metavar="NAME", help="The namespace, instead of TEMPORAL_NAMESPACE or default."
        ),
        click.option(
            "--address",
            metavar="HOST:PORT",
            help=f"Where Temporal is, instead of TEMPORAL_ADDRESS or {ADDRESS}.",
        ),
    ):
        decorated = option(decorated)
    return decorated


@click.group("temporal", cls=Verbs)
def temporal_group() -> None:
    """Let Temporal place ledgers on workers, start again what dies, and show it in its web page.

    What is bought is in the ledgers in PostgreSQL alone: Temporal may be killed, or lose its history, and nothing
    is paid for twice. TLS and keys for Temporal are taken from its own TEMPORAL_… variables and its config file.
    """


@temporal_group.command(
    "worker",
    short_help="Hold ledgers as Temporal says.",
    epilog="\b\nExample:\n  suno-video temporal worker --database postgresql://db.example/videos --keys keys.toml"
    " --output-dir s3://bucket/videos",
)
@temporal_options
@work_options
def worker_command(*, temporal: Temporal, work: Work, output: Output) -> int:
    """Hold the ledgers that workflows ask for, at most N of them with --most-keys, and load catalogs for them.

    Run it on as many machines as you like, with the same keys.toml on each. If one dies, its ledgers are at
    another within about 20 seconds. SIGTERM or Ctrl+C leaves them to the others at once.
    """
    return run_interruptible(partial(_worker, temporal, work, output))


async def _worker(temporal: Temporal, work: Work, output: Output, interrupts: Interrupts) -> int:
    client = await temporal.connect()
    from suno_video_async.engines.holder import WorkOptions  # noqa: PLC0415  likewise
    from suno_video_async.engines.temporal import working  # noqa: PLC0415  once it is known to be installed
    from suno_video_async.engines.temporal_worker import activities  # noqa: PLC0415

    counts, ended = Counter[str](), anyio.Event()
    entries = await anyio.to_thread.run_sync(work.entries)
    options = WorkOptions(
        output_dir=work.downloads.output_dir,
        on_outcome=partial(show_outcome, output, counts),
        **work.common(output),
    )
    most = work.most_keys or len(entries)
    with interrupts.meaning(once=ended.set, leave=ended.set):
        done = activities(work.database, entries, options)
        async with working(client, done, most_keys=most, task_queue=temporal.task_queue):
            output.note(f"works for the task queue {temporal.task_queue}, for up to {most} ledgers at a time")
            await ended.wait()
            output.note("leaving the ledgers to other workers")
    return Exit.DONE


@temporal_group.command(
    "start",
    short_help="Load and convert catalogs, or convert ledgers.",
    epilog="\b\nExamples:\n  suno-video temporal start /shared/catalog.csv --ledger label-1 --wait\n"
    "  suno-video temporal start --ledger label-1",
)
@click.argument("catalogs", nargs=-1, metavar="[CATALOG]…", type=click.Path(path_type=Path))
@click.option(
    "--ledger",
    metavar="NAME",
    help="The ledger of the catalogs; without it, each row names one in the column ledger. Without a CATALOG, the"
    " ledger to convert.",
)
@click.option(
    "--wait",
    is_flag=True,
    help="Wait for the end, and print how many rows of each ledger are in which state; without a CATALOG, the"
    " outcomes of this run.",
)
@temporal_options
@output_options
def start_command(
    *, catalogs: tuple[Path, ...], ledger: str | None, wait: bool, temporal: Temporal, output: Output
) -> int:
    """Start a workflow for each CATALOG: load it, convert its ledgers, report.

    The workers read the files, so the paths must be the same for them. Without a CATALOG, the ledger's workflow is
    started, or looks once more at what suno-video load has added.

    Exit codes: 2 usage or configuration; with --wait also 1 if a workflow failed; 0 otherwise.
    """
    if not catalogs and ledger is None:
        raise UsageProblem("name a CATALOG, or a ledger with --ledger NAME")
    return run_interruptible(partial(_start, catalogs, ledger, wait, temporal, output))


async def _start(
    catalogs: tuple[Path, ...], ledger: str | None, wait: bool, temporal: Temporal, output: Output, _: Interrupts
) -> int:
    client = await temporal.connect()
    from temporalio.client import WorkflowFailureError, WorkflowHandle  # noqa: PLC0415  as above

    from suno_video_async.engines.temporal import CatalogWorkflow, start  # noqa: PLC0415

    handles = list[WorkflowHandle[Any, Any]]()
    for catalog in catalogs:
        path = str(await anyio.Path(catalog).absolute())
        started = await client.start_workflow(
            CatalogWorkflow.run,
            args=[path, ledger],
            id=f"suno-video-catalog/{catalog.name}/{uuid4().hex[:8]}",
            task_queue=temporal.task_queue,
        )
        handles.append(started)
    if not catalogs and ledger is not None:
        handles.append(await start(client, ledger, temporal.task_queue))
    code = Exit.DONE
    for handle in handles:
        output.result({"workflow": handle.id}, human=partial(str, handle.id))
        if not wait:
            continue
        try:
            result = await handle.result()
        except WorkflowFailureError as error:
            code = Exit.FAILED
            output.note(f"{handle.id} failed: {error.cause}", style="red")
        else:
            output.result({"workflow": handle.id, "result": _plain(result)}, human=partial(str, _plain(result)))
    return code


def _plain(result: Any) -> dict[str, Any]:
    """Return the counts of a catalog's ledgers, or those of one ledger."""
    return dict(getattr(result, "counts", result))


@temporal_group.command(
    "stop",
    short_help="End the workflow of a ledger.",
    epilog="\b\nExample:\n  suno-video temporal stop label-1",
)
@click.argument("ledgers", nargs=-1, required=True, metavar="LEDGER…")
@click.option("--detach", is_flag=True, help="End now; what is submitted is followed after the next start.")
@temporal_options
@output_options
def stop_command(*, ledgers: tuple[str, ...], detach: bool, temporal: Temporal, output: Output) -> int:
    """Buy no more for a LEDGER: its workflow ends when what is submitted is finished.

    Exit codes: 2 usage or configuration, or no workflow runs for a LEDGER; 0 otherwise.
    """
    return run_interruptible(partial(_stop, ledgers, detach, temporal, output))


async def _stop(ledgers: tuple[str, ...], detach: bool, temporal: Temporal, output: Output, _: Interrupts) -> int:
    client = await temporal.connect()
    from temporalio.service import RPCError  # noqa: PLC0415  as above

    from suno_video_async.engines.temporal import workflow_id  # noqa: PLC0415

    for ledger in ledgers:
        try:
            await client.get_workflow_handle(workflow_id(ledger)).signal("detach" if detach else "stop")
        except RPCError as error:
            raise UsageProblem(f"{ledger}: its workflow cannot be stopped: {error.message}") from error
        output.hint(f"{ledger}: {'leaving' if detach else 'stopping'}")
    return Exit.DONE


@temporal_group.command("status", short_help="Say what the workflows do.")
@temporal_options
@output_options
def status_command(*, temporal: Temporal, output: Output) -> int:
    """Print what the workflow of each ledger does: working, waiting until when and why, or stopping."""
    return run_interruptible(partial(_status, temporal, output))


async def _status(temporal: Temporal, output: Output, _: Interrupts) -> int:
    client = await temporal.connect()
    from temporalio.service import RPCError  # noqa: PLC0415  as above

    running = 'WorkflowType = "ConvertWorkflow" AND ExecutionStatus = "Running"'
    found = 0
    async for execution in client.list_workflows(running):
        found += 1
        ledger = execution.id.partition("/")[2]
        handle = client.get_workflow_handle(execution.id, run_id=execution.run_id)
        try:
            state = str(await handle.query("state"))
        except RPCError as error:  # such as that no worker answers
            state = f"unknown: {error.message}"
        output.result({"ledger": ledger, "state": state}, human=partial("{}: {}".format, ledger, state))
    if not found:
        output.hint("no ledger is being converted")
    return Exit.DONE
