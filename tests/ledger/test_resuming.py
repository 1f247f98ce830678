"""What a second run makes of the ledger of a first."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from suno_video_async import Track
from suno_video_async.ledger.model import Transition
from suno_video_async.ledger.sqlite import SqliteLedger
from suno_video_async.ledger.states import State
from suno_video_async.models import VideoTaskId
from suno_video_async.protocol.codec import Answer, Request
from suno_video_async.testing import FakeClock
from tests.support.clients import FakeAPI, client_of
from tests.support.processes import PATIENCE

TRACKS = [Track(task_id="m1", suno_id=f"s{n}") for n in range(3)]


@pytest.fixture
def submitted(tmp_path: Path) -> Path:
    """Return a ledger that a run left with every track submitted."""
    ledger = SqliteLedger(tmp_path / "l.db")
    provider, fingerprint = client_of(FakeAPI())[0].account
    ledger.open(provider=provider, fingerprint=fingerprint)
    for n, track in enumerate(TRACKS):
        row = ledger.claim(track, location="").row
        ledger.begin_attempt(row.id, nonce=f"n{n}", at=0.0, reserve=0, budget=None)
        ledger.move(row.id, Transition(state=State.SUBMITTED, video_task_id=VideoTaskId(f"v{n}")))
    ledger.close()
    return tmp_path / "l.db"


async def test_each_submitted_row_is_followed_once(submitted: Path) -> None:
    """A row that an earlier run submitted and the catalog still names comes out once, and ends the run well."""
    api = FakeAPI(0.0)
    api.born = {f"v{n}": 0.0 for n in range(3)}
    client, _ = client_of(api)
    async with client, client.convert(TRACKS, ledger=submitted) as outcomes:
        states = [outcome.state async for outcome in outcomes]
    assert states == ["succeeded"] * 3


async def test_a_run_that_is_cancelled_while_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is cancelled while the ledger is opened leaves it closed for the next run."""
    opening, go_on = asyncio.Event(), threading.Event()
    loop, really_open = asyncio.get_running_loop(), SqliteLedger.open

    def slow_open(self: SqliteLedger, **account: Any) -> None:
        loop.call_soon_threadsafe(opening.set)
        assert go_on.wait(PATIENCE)
        really_open(self, **account)
        loop.call_soon_threadsafe(opened.set)

    client, _ = client_of(FakeAPI(0.0))
    opened = asyncio.Event()

    async def convert() -> list[str]:
        async with client.convert(TRACKS, ledger=tmp_path / "l.db") as outcomes:
            return [outcome.state async for outcome in outcomes]

    async with client:
        with monkeypatch.context() as patch:
            patch.setattr(SqliteLedger, "open", slow_open)
            cancelled = asyncio.create_task(convert())
            await opening.wait()
            cancelled.cancel()
            loop.call_soon(go_on.set)
            await asyncio.wait([cancelled])
            await opened.wait()
        assert await convert() == ["succeeded"] * 3


@pytest.fixture(params=[0.0, 10.0, 60.0])
def used(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[float, Path]:
    """Return how many seconds ago a run sent its last request, and its ledger."""
    ledger = SqliteLedger(tmp_path / "l.db")
    provider, fingerprint = client_of(FakeAPI())[0].account
    ledger.open(provider=provider, fingerprint=fingerprint)
    ledger.note_place(FakeClock().time() - request.param)
    ledger.close()
    return request.param, tmp_path / "l.db"


async def test_the_first_request_is_noted_before_it_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is killed right after its first request leaves the time of it to the next one."""
    done, note_place = list[str](), SqliteLedger.note_place

    def noting(self: SqliteLedger, at: float) -> None:
        note_place(self, at)
        done.append("noted")

    class Watched(FakeAPI):
        def __call__(self, request: Request) -> Answer:
            done.append("sent")
            return super().__call__(request)

    monkeypatch.setattr(SqliteLedger, "note_place", noting)
    client, _ = client_of(Watched(0.0))
    async with client, client.convert(TRACKS, ledger=tmp_path / "l.db") as outcomes:
        assert [outcome.state async for outcome in outcomes] == ["succeeded"] * 3
    assert done[:2] == ["noted", "sent"]


async def test_a_restart_within_a_period_begins_with_a_full_window(used: tuple[float, Path]) -> None:
    """Requests of a run that has just died still count; those of long ago do not."""
    age, ledger = used
    client, _ = client_of(FakeAPI(), clock=FakeClock())
    async with client, client.convert([], ledger=ledger):
        limiter = client.statistics().limiter
        assert limiter is not None
        assert limiter.window_used == (20 if age < 15 else 0)
