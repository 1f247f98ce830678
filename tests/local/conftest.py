"""What the tests of the local server share."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp import web

from tests.local.serving import Receiver


@pytest.fixture
def own_temporary_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Let servers make their folders where a test can see them."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def new_threads() -> Callable[[], list[str]]:
    """Return what names the threads of ours that have begun with the test and not ended: others may run longer."""
    before = set(threading.enumerate())
    return lambda: [
        thread.name
        for thread in threading.enumerate()
        if thread not in before and thread.name.startswith("suno-video")
    ]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Run something that takes callbacks."""
    taking = Receiver()
    runner = web.ServerRunner(web.Server(taking.handle, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    taking.url = f"http://127.0.0.1:{runner.addresses[0][1]}/done/nonce"
    yield taking
    await runner.cleanup()
