"""Runs the cells of a notebook in a real kernel against a local server, and interrupts two of them.

Usage: python -m tests.notebook (needs ipykernel and nbclient; `nox -s notebook` brings them)
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from suno_video_async.testing import VideoServer, serve

# Not installed where only types are checked.
nbformat: Any = import_module("nbformat").v4
nbclient: Any = import_module("nbclient")

#: Real seconds after which a cell has failed.
PATIENCE = 60

OPEN = """
from suno_video_async import SunoVideoClient, SystemClock, Track
client = await SunoVideoClient(ledger="notebook.db", clock=SystemClock({scale})).open()
track = Track(task_id="m1", suno_id="s1", author="<Ava>")
client
"""
GENERATE = "video = await client.generate(track, output_dir='videos')\nvideo"
SUBMIT = "task = await client.submit(Track(task_id='m1', suno_id='s2'))\ntask"
WAIT = "print('waiting')\nawait task.result()"
CONVERT = """
tracks = [Track(task_id="m2", suno_id=str(number)) for number in range(3)]
async with client.convert(tracks, output_dir="videos") as outcomes:
    ended = [outcome async for outcome in outcomes]
ended[0]
"""
CLOSE = "await client.aclose()\nclient"
AGAIN = """
async with SunoVideoClient(ledger="notebook.db", clock=SystemClock({scale})) as other:
    same = await other.submit(track)
assert same.id == video.task_id
"""


class Notebook:
    """Cells that are run one by one, as a person does."""

    def __init__(self, folder: Path) -> None:
        self.book = nbformat.new_notebook()
        resources = {"metadata": {"path": str(folder)}}
        self.client = nbclient.NotebookClient(
            self.book, timeout=PATIENCE, kernel_name="python3", resources=resources
        )

    async def run(self, code: str, *, interrupt_when: Callable[[Any], bool] | None = None) -> dict[str, Any]:
        """Run a new cell and return its outputs by their kind; interrupt it once something is the case."""
        cell = nbformat.new_code_cell(code.strip())
        self.book.cells.append(cell)
        running = asyncio.ensure_future(self.client.async_execute_cell(cell, len(self.book.cells) - 1))
        if interrupt_when is not None:
            while not interrupt_when(cell):
                assert not running.done(), "the cell ended before it could be interrupted"
                await asyncio.sleep(0.02)
            await self.client.km.interrupt_kernel()
            try:
                await running
            except nbclient.exceptions.CellExecutionError as error:
                return {"interrupted": error.ename}
            raise AssertionError("the interruption changed nothing")
        await running
        return {kind: text for output in cell.outputs for kind, text in output.get("data", {}).items()}


async def check(server: VideoServer, folder: Path) -> None:
    """Run the notebook; an assertion tells what does not hold."""
    notebook, scale = Notebook(folder), server.time_scale

    def charged(_: object) -> bool:
        return bool(server.stats()["charged"])

    def waiting(cell: Any) -> bool:
        return bool(cell.outputs)

    async with notebook.client.async_setup_kernel():
        print("opened:", (await notebook.run(OPEN.format(scale=scale)))["text/plain"])
        print("interrupted while it buys:", await notebook.run(GENERATE, interrupt_when=charged))
        shown = (await notebook.run(GENERATE))["text/html"]
        assert '<video controls preload="metadata"' in shown
        assert 'src="videos/s1.mp4"' in shown
        print("gone on with:", sorted(server.stats()["charged_by_track"].items()))
        assert "task " in (await notebook.run(SUBMIT))["text/html"]
        print("interrupted while it waits:", await notebook.run(WAIT, interrupt_when=waiting))
        assert "s2" in (await notebook.run(WAIT))["text/html"]
        assert "downloaded" in (await notebook.run(CONVERT))["text/html"]
        print("closed:", (await notebook.run(CLOSE))["text/plain"])
        await notebook.run(AGAIN.format(scale=scale))
    assert set(server.stats()["charged_by_track"].values()) == {1}
    print("each track was paid for once:", server.stats()["charged"], "charges for 5 tracks")


def main() -> int:
    """Serve, and run the notebook in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder, serve(time_scale=20) as server:
        os.environ |= {"CRUN_API_KEY": server.api_key, "CRUN_BASE_URL": server.url}
        os.environ["IPYTHONDIR"] = os.environ["JUPYTER_CONFIG_DIR"] = folder
        asyncio.run(check(server, Path(folder)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
