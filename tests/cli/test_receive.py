"""`suno-video receive`, without a database: how it ends."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from suno_video_async.cli.interrupts import Interrupts
from suno_video_async.cli.receive import receive_command
from suno_video_async.engines.receiver import NotesReceiver


def test_an_interruption_while_it_starts_ends_it_as_one_that_has_received_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says so with its summary, as it does later, and exits with 0."""
    started: list[Interrupts] = []
    init = Interrupts.__init__

    def remembered(self: Interrupts) -> None:
        init(self)
        started.append(self)

    @asynccontextmanager
    async def slow(receiver: NotesReceiver, host: str, port: int) -> AsyncGenerator[int, None]:
        started[0].interrupt()
        yield port

    monkeypatch.setattr(Interrupts, "__init__", remembered)
    monkeypatch.setattr(NotesReceiver, "listen", slow)
    arguments = [
        "--database",
        "postgresql://127.0.0.1/none",
        "--callback-url",
        "https://hooks.example/callbacks",
        "--json",
    ]
    assert receive_command.main(arguments, standalone_mode=False) == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == {"summary": {"accepted": 0, "refused": 0}}
