"""Ledgers for tests, and rows in every state."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from suno_video_async.ledger.commands import Commands
from suno_video_async.ledger.model import LedgerReader, LedgerRow, Transition, all_rows
from suno_video_async.ledger.postgres.ledger import PostgresLedger
from suno_video_async.ledger.schema import APPLICATION_ID, MIGRATIONS
from suno_video_async.ledger.sqlite import SqliteLedger
from suno_video_async.ledger.states import Cause, State
from suno_video_async.models import MusicTaskId, SunoId, Track, VideoTaskId

PROVIDER, FINGERPRINT = "https://api.example.test", "0123456789abcdef"

#: For a test of what only a file does: a disk that is full, what is kept beside it.
in_a_file = pytest.mark.parametrize("ledger", ["file"], indirect=True)

#: How a row comes into each state.
WAYS: dict[State, Sequence[State]] = {
    State.PLANNED: (),
    State.SUBMITTING: (State.SUBMITTING,),
    State.SUBMITTED: (State.SUBMITTING, State.SUBMITTED),
    State.SUCCEEDED: (State.SUBMITTING, State.SUBMITTED, State.SUCCEEDED),
    State.DOWNLOADED: (State.SUBMITTING, State.SUBMITTED, State.SUCCEEDED, State.DOWNLOADED),
    State.FAILED: (State.SUBMITTING, State.SUBMITTED, State.FAILED),
    State.REFUSED: (State.SUBMITTING, State.REFUSED),
    State.UNKNOWN: (State.SUBMITTING, State.UNKNOWN),
}


def track(suno_id: str = "s1", author: str | None = None, brand: str | None = None, **extra: str) -> Track:
    """Return a track of one music task."""
    return Track(task_id=MusicTaskId("m1"), suno_id=SunoId(suno_id), author=author, brand=brand, extra=extra)


def opened(path: Path | None = None, **options: Any) -> SqliteLedger:
    """Return an open ledger of the tests' account."""
    ledger = SqliteLedger(path, now=lambda: 1000.0, **options)
    ledger.open(provider=PROVIDER, fingerprint=FINGERPRINT)
    return ledger


def opened_at(place: Path | str | None) -> Commands:
    """Return an open ledger of the tests' account, in a file, in memory or in PostgreSQL."""
    if not isinstance(place, str):
        return opened(place)
    ledger = PostgresLedger(place, now=lambda: 1000.0)
    ledger.open(provider=PROVIDER, fingerprint=FINGERPRINT)
    return ledger


def names_in(reader: LedgerReader) -> list[str]:
    """Return the tracks of a ledger with their states, asked by a reader that is not open."""
    reader.open_to_read(must_exist=True)
    found = [f"{row.track.suno_id} {row.state}" for row in all_rows(reader)]
    reader.close()
    return found


def begin(ledger: Commands, row: LedgerRow, *, reserve: int = 0, budget: int | None = None) -> int:
    """Begin an attempt, with a nonce that no other has."""
    nonce = f"nonce {row.id} {ledger.totals()} {row.failures} {row.cost}"
    return ledger.begin_attempt(row.id, nonce=nonce, at=2000.0, reserve=reserve, budget=budget)


def transition(state: State, row: LedgerRow) -> Transition:
    """Return a plain ending in a state."""
    task = VideoTaskId(f"v{row.id}") if state is State.SUBMITTED else None
    return Transition(state=state, video_task_id=task)


def row_in(ledger: Commands, state: State, suno_id: str = "s1", *, reserve: int = 0) -> LedgerRow:
    """Return a new row that has come into a state."""
    row = ledger.claim(track(suno_id), location="catalog.csv:2").row
    for step in WAYS[state]:
        if step is State.SUBMITTING:
            begin(ledger, row, reserve=reserve)
            row = reread(ledger, row)
        else:
            row = ledger.move(row.id, transition(step, row))
    assert row.state is state
    return row


def made_by_version(path: Path, version: int) -> Path:
    """Make a ledger of an older version: a video that is made, and a submission of unknown outcome."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        for script in MIGRATIONS[:version]:
            db.executescript(script)
        db.execute(f"PRAGMA user_version = {version}")
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.executemany("INSERT INTO meta VALUES (?, ?)", [("provider", PROVIDER), ("fingerprint", FINGERPRINT)])
        for n, state in enumerate(("succeeded", "unknown"), 1):
            key = track(f"s{n}").key
            values = (n, key, "m1", f"s{n}", "", "", "{}", "catalog.csv, line 2", state, 1, 1, 3, 2000.0)
            db.execute(
                "INSERT INTO rows (id, key, task_id, suno_id, author, brand, extra, place, state, run, attempt,"
                " cost, since) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                values,
            )
            db.execute(
                "INSERT INTO attempts (row_id, n, nonce, state, video_task_id, at) VALUES (?, 1, ?, ?, ?, 2000)",
                (n, f"nonce {n}", state, f"v{n}"),
            )
        db.commit()
    return path


def reread(ledger: Commands, row: LedgerRow) -> LedgerRow:
    """Return a row as it stands now."""
    found = ledger.row(row.id)
    assert found is not None
    return found


def connection(ledger: Commands) -> sqlite3.Connection:
    """Return what an open ledger talks to."""
    assert ledger._connection is not None
    return cast("sqlite3.Connection", ledger._connection)


def everything(ledger: Commands) -> Sequence[Any]:
    """Return all that a ledger holds, and its sums."""
    db = connection(ledger)
    tables = [db.execute(f"SELECT * FROM {name}").fetchall() for name in ("rows", "attempts", "meta")]
    return [*tables, ledger.totals()]


def person(ledger: Commands, row: LedgerRow, state: State) -> LedgerRow:
    """Decide about an unknown row."""
    return ledger.move(row.id, transition(state, row), cause=Cause.PERSON)
