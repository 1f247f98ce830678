"""Temporal's servers for tests: programs of two wheels of `nox -s services`; nothing is downloaded."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.service import RPCError


def program(name: str) -> str:
    """Return the path of `temporal` or `temporal-test-server`; without it the test is skipped, or fails in CI."""
    path = Path(sys.executable).parent / name
    if not path.exists():
        missing = pytest.fail if os.environ.get("CI") else pytest.skip
        missing(f"{name} not found: run nox -s services")
    return str(path)


class TemporalServer:
    """A development server with a file, which can be killed and started again at the same address.

    Args:
        folder: for its file.
        port: what it listens on.

    """

    def __init__(self, folder: Path, port: int) -> None:
        self.port = port
        self.address = f"127.0.0.1:{self.port}"
        self._file = folder / "temporal.db"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and return once it answers."""
        command = [program("temporal"), "server", "start-dev", "--headless", "--ip", "127.0.0.1"]
        command += ["--port", str(self.port), "--db-filename", str(self._file), "--log-level", "never"]
        environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        self._process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        asyncio.run(self._answers())

    async def _answers(self) -> None:
        for _ in range(600):
            try:
                client = await Client.connect(self.address)
                await client.count_workflows()
            except (RuntimeError, RPCError):
                await asyncio.sleep(0.1)
            else:
                return
        pytest.fail("Temporal's development server did not start")

    def kill(self) -> None:
        """End it as a power cut does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


async def events(address: str) -> str:
    """Return all that Temporal has written down, with the content of each payload as it is."""
    client = await Client.connect(address)
    said = list[str]()
    async for execution in client.list_workflows():
        handle = client.get_workflow_handle(execution.id, run_id=execution.run_id)
        said += [str(event) async for event in handle.fetch_history_events()]
    return "\n".join(said)


async def forget(address: str) -> None:
    """Delete all workflows that have ended, as a retention period does."""
    client = await Client.connect(address)
    while found := [execution async for execution in client.list_workflows()]:
        for execution in found:
            request = DeleteWorkflowExecutionRequest(
                namespace="default",
                workflow_execution=WorkflowExecution(workflow_id=execution.id, run_id=execution.run_id),
            )
            with contextlib.suppress(RPCError):  # it is gone already, and only the list does not know it
                await client.workflow_service.delete_workflow_execution(request)
        await asyncio.sleep(0.2)
