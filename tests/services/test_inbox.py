"""What others leave for a worker while it holds a ledger: rows, callbacks and decisions."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from suno_video_async import KeyEntry, LedgerError, Outcome, Track, Worker, load
from suno_video_async.batch.reconcile import leave_decisions
from suno_video_async.clock import SystemClock
from suno_video_async.engines import inbox
from suno_video_async.engines.receiver import NotesReceiver
from suno_video_async.ledger.address import LedgerAddress
from suno_video_async.ledger.model import LedgerRow, all_rows
from suno_video_async.ledger.postgres.ledger import PostgresLedger
from suno_video_async.ledger.postgres.notes import Bell, PostgresNotes
from suno_video_async.ledger.postgres.reader import PostgresReader
from suno_video_async.local import Fault
from suno_video_async.testing import VideoServer, serve
from tests.support.postgres import named
from tests.support.processes import PATIENCE

pytestmark = pytest.mark.services

SCALE = 100.0
#: The answer to the first submission is lost; its task is made and charged.
LOST = Fault(on="CreateTask", kind="drop-after", calls=(1,))
URL = "https://hooks.example/callbacks"


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""

    def wait() -> None:
        until = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < until, "it did not come about in a minute"
            time.sleep(0.05)

    await asyncio.to_thread(wait)


class Scene:
    """A worker of one key, on a ledger of its own."""

    def __init__(self, database: str, server: VideoServer, **options: Any) -> None:
        self.database, self.server = database, server
        self.name = f"test-{uuid4().hex[:12]}"
        self.address = named(database, self.name)
        self.music = f"m-{uuid4().hex}"
        self.outcomes, self.notes = list[Outcome](), list[str]()
        entry = KeyEntry(name="label", api_key_env="CRUN_LABEL", base_url=server.url, ledger=self.name)
        self.worker = Worker(
            database,
            keys=[entry],
            clock=SystemClock(SCALE),
            on_outcome=lambda _, outcome: self.outcomes.append(outcome),
            notify=self.notes.append,
            **options,
        )

    def tracks(self, *suno_ids: str) -> list[Track]:
        """Return tracks that no other ledger has."""
        return [Track(task_id=self.music, suno_id=suno_id) for suno_id in suno_ids]

    def rows(self) -> list[LedgerRow]:
        """Return the ledger's rows."""
        reader = PostgresReader(self.address)
        if not reader.open_to_read():
            return []
        with contextlib.closing(reader):
            return list(all_rows(reader))

    async def until(self, **states: str) -> None:
        """Wait until rows are in these states."""
        await until(lambda: {row.track.suno_id: row.state.value for row in self.rows()} == states)

    def nonce(self) -> str:
        """Return the nonce of the only attempt."""
        with psycopg.connect(self.database) as session:
            ((found,),) = session.execute(f'SELECT nonce FROM "suno_video_{self.name}".attempts').fetchall()
        return str(found)

    def insert(self, suno_id: str) -> None:
        """Do what a team's own INSERT does."""
        with psycopg.connect(self.database, autocommit=True) as session:
            statement = f'INSERT INTO "suno_video_{self.name}".incoming (task_id, suno_id) VALUES (%s, %s)'
            session.execute(statement, (self.music, suno_id))

    def listening(self) -> int:
        """Return how many sessions listen to what is left for the worker."""
        return int(self._of_listening("COUNT(*)"))

    def end_listening(self) -> None:
        """End them."""
        self._of_listening("pg_terminate_backend(pid, 5000)")

    def _of_listening(self, what: str) -> Any:
        with psycopg.connect(self.database, autocommit=True) as session:
            query = f"SELECT {what} FROM pg_stat_activity WHERE query = %s"
            return session.execute(query, (f'LISTEN "suno_video_{self.name}"',)).fetchall()[0][0]

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Let the worker work while the block runs."""
        running = asyncio.ensure_future(self.worker.run())
        try:
            yield
            assert not running.done() or running.result() is None
        finally:
            self.worker.stop()
            await running


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[VideoServer]:
    """Return a local server, whose key is where the worker looks for it."""
    with serve(time_scale=SCALE, render_seconds=30) as running:
        monkeypatch.setenv("CRUN_LABEL", running.api_key)
        yield running


async def test_what_is_added_while_a_worker_runs_is_bought(database: str, server: VideoServer) -> None:
    """Whether it is loaded or inserted, in the middle of a round or while there is nothing to do."""
    scene = Scene(database, server)
    async with scene.working():
        await load(scene.tracks("a"), scene.address)
        await scene.until(a="succeeded")
        await load(scene.tracks("b", "a"), scene.address)
        await scene.until(a="succeeded", b="succeeded")
    assert sorted(outcome.state for outcome in scene.outcomes if outcome.state != "skipped") == ["succeeded"] * 2
    assert (await asyncio.to_thread(server.stats))["charged"] == 2


@pytest.mark.parametrize(("verb", "then"), [("resend", "succeeded"), ("drop", "failed"), ("adopt", "succeeded")])
async def test_a_decision_beside_a_running_worker(
    database: str, server: VideoServer, verb: Any, then: str
) -> None:
    """The worker carries it out with its own ledger, and goes on with the row at once."""
    scene = Scene(database, server)
    await asyncio.to_thread(server.set_faults, LOST)
    async with scene.working():
        await load(scene.tracks("a"), scene.address)
        await scene.until(a="unknown")
        (row,) = await asyncio.to_thread(scene.rows)
        (task,) = (await asyncio.to_thread(server.tasks))["video"]
        task_id = task["task_id"] if verb == "adopt" else None
        await leave_decisions(scene.address, verb, row.id, task_id=task_id)
        await scene.until(a=then)
    assert (await asyncio.to_thread(server.stats))["charged"] == (2 if verb == "resend" else 1)


async def test_word_of_an_earlier_holder_is_taken_while_a_worker_runs(database: str, server: VideoServer) -> None:
    """Its answer came after it had lost the ledger, and the next one had begun by then: the video is finished."""
    scene = Scene(database, server)
    await asyncio.to_thread(server.set_faults, LOST)
    async with scene.working():
        await load(scene.tracks("a"), scene.address)
        await scene.until(a="unknown")
        (task,) = (await asyncio.to_thread(server.tasks))["video"]
        nonce = await asyncio.to_thread(scene.nonce)
        await asyncio.to_thread(PostgresLedger(scene.address).leave, nonce, task["task_id"])
        await scene.until(a="succeeded")
    assert (await asyncio.to_thread(server.stats))["charged"] == 1


async def test_the_worker_looks_as_soon_as_something_is_left(
    database: str, server: VideoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is loaded, inserted and decided is announced: the next look by itself would come in an hour."""
    monkeypatch.setattr(inbox, "EVERY", 3600.0)
    scene = Scene(database, server)
    await asyncio.to_thread(server.set_faults, LOST)
    async with scene.working():
        await load(scene.tracks("a"), scene.address)
        await scene.until(a="unknown")
        await leave_decisions(scene.address, "drop", 1)
        await scene.until(a="failed")
        await asyncio.to_thread(scene.insert, "b")
        await scene.until(a="failed", b="succeeded")


async def test_the_worker_listens_again_where_that_has_ended(
    database: str, server: VideoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And looks then for what it has not heard meanwhile."""
    monkeypatch.setattr(inbox, "EVERY", 3600.0)
    monkeypatch.setattr(inbox, "LISTEN_AGAIN", 0.05)
    scene = Scene(database, server)
    async with scene.working():
        await until(lambda: scene.listening() == 1)
        await asyncio.to_thread(scene.end_listening)
        await load(scene.tracks("a"), scene.address)
        await scene.until(a="succeeded")


async def test_what_cannot_be_heard_is_found_nevertheless(
    database: str, server: VideoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker looks at intervals, too: a lost notification does not matter."""

    def refuse(_: Bell) -> int:
        raise LedgerError("no session is left")

    monkeypatch.setattr(Bell, "open", refuse)
    monkeypatch.setattr(inbox, "EVERY", 0.05)
    scene = Scene(database, server)
    async with scene.working():
        await load(scene.tracks("a"), scene.address)
        await scene.until(a="succeeded")
        await asyncio.to_thread(scene.insert, "b")
        await scene.until(a="succeeded", b="succeeded")


async def test_a_loop_that_waits_for_no_sockets_of_others(
    database: str, server: VideoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows: there the intervals have to do."""

    def refuse(*_: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(asyncio.get_running_loop(), "add_reader", refuse, raising=False)
    monkeypatch.setattr(inbox, "EVERY", 0.05)
    scene = Scene(database, server)
    async with scene.working():
        await load(scene.tracks("a"), scene.address)
        await scene.until(a="succeeded")


async def test_a_decision_that_makes_no_sense_is_reported(database: str, server: VideoServer) -> None:
    """It is not tried again, and nothing changes."""
    scene = Scene(database, server)
    async with scene.working():
        await load(scene.tracks("a"), scene.address)
        await scene.until(a="succeeded")
        with pytest.raises(LedgerError, match="row 1 is not unknown"):
            await leave_decisions(scene.address, "drop", 1)
        ledger = PostgresLedger(scene.address)
        await asyncio.to_thread(ledger.open_to_load)
        for content in ({"verb": "drop", "row": 1}, {"verb": "praise", "row": 1}, {}):
            await asyncio.to_thread(ledger.leave_note, "decision", content)
        await asyncio.to_thread(ledger.leave_note, "rumour", {})
        await until(lambda: not ledger.notes())
        await asyncio.to_thread(ledger.close)
    assert [note for note in scene.notes if "not taken" in note] == [
        "key label: a decision was not taken: row 1 (a) is not unknown but succeeded",
        "key label: a decision was not taken: this version does not know 'praise'",
        "key label: a decision was not taken: 'row'",
        "key label: a rumour was not taken: a note of a kind that this version does not know: rumour",
    ]


async def test_a_callback_that_another_process_receives(database: str, server: VideoServer) -> None:
    """A submission whose answer was lost is found again by it, though the holder listens to nothing."""
    scene = Scene(database, server, callback_url=URL)
    await asyncio.to_thread(server.set_faults, LOST)
    receiver = NotesReceiver(LedgerAddress.parse(database), public_url=URL)
    async with scene.working(), receiver.listen(port=0) as port:
        await load(scene.tracks("a"), scene.address)
        await until(lambda: bool(server.tasks()["video"]))
        (task,) = (await asyncio.to_thread(server.tasks))["video"]
        nonce = await asyncio.to_thread(scene.nonce)
        body = {"task_id": task["task_id"], "status": "success"}
        assert await asyncio.to_thread(post, port, nonce, body) == 200
        assert await asyncio.to_thread(post, port, nonce, body) == 200
        assert await asyncio.to_thread(post, port, "0" * 32, body) == 404
        await scene.until(a="succeeded")
    await receiver.aclose()
    assert receiver.statistics().accepted == 2
    assert (await asyncio.to_thread(server.stats))["charged"] == 1


def post(port: int, nonce: str, body: object) -> int:
    """Call back, and return the status of the answer."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/callbacks/{nonce}", json.dumps(body).encode())
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_callbacks_go_on_after_the_session_has_ended(database: str, address: str, ledger: PostgresLedger) -> None:
    """A restart of the database loses none."""
    notes = PostgresNotes(LedgerAddress.parse(database))
    assert notes.ledger_of("0" * 32) is None
    notes._connection.cut()  # type: ignore[union-attr]
    with pytest.raises(LedgerError):
        notes.ledger_of("0" * 32)
    assert notes.ledger_of("0" * 32) is None
    notes.leave_callback(ledger._schema, "1" * 32, "v1")  # type: ignore[arg-type]
    assert [note.content for note in ledger.notes()] == [{"nonce": "1" * 32, "task_id": "v1"}]
    notes.close()


def test_a_worker_says_which_address_or_number_is_wrong(tmp_path: Path) -> None:
    """Before anything is held."""
    for database, words in [
        ("postgresql://h/d?ledger=a", "it names a ledger"),
        ("mysql://h/d", r"a ledger is a file, or postgresql://"),
    ]:
        with pytest.raises(ValueError, match=words):
            Worker(database, keys=[])
    with pytest.raises(ValueError, match="most_keys must be at least 1"):
        Worker("postgresql://h/d", keys=[], most_keys=0)
