"""Ledgers with a life behind them, for reports."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from suno_video_async.ledger.model import MICRO, RowError, Transition
from suno_video_async.ledger.sqlite import SqliteLedger
from suno_video_async.ledger.states import State
from suno_video_async.models import MusicTaskId, SunoId, Track, VideoTaskId
from tests.ledger.support import connection

PROVIDER = "https://api.example.test"
START = 1_764_100_000.0

_FIRST = ("Harbour", "Paper", "Slow", "Copper", "Northern", "Glass", "Tidal", "Velvet", "Winter", "Salt", "Amber")
_LAST = (
    "Lights",
    "Dunes",
    "River",
    "Atlas",
    "Signal",
    "Garden",
    "Orchard",
    "Weather",
    "Parade",
    "Letters",
    "Tides",
)
_ARTISTS = ["Ava Lindqvist", "Nordlys", "Marisol Vega", "The Lanterns", "Ибрагим Орлов", "فرقة النهر", "Δήμητρα"]
_REASONS = (
    "task {task} failed: 501 the lyrics could not be aligned (segment {n})",
    "task {task} failed: 501 rendering ran out of time after {n} s",
)


def lived_in(path: Path, rows: int, *, seed: int = 1, files: Sequence[Path] = (), troubles: bool = True) -> None:
    """Write a ledger of a catalog that was converted within 20 requests in 10 s, in two runs.

    Args:
        path: the ledger's file.
        rows: how many tracks.
        seed: of the dice.
        files: videos that the rows which are done have, in turn; without any they are named, and not there.
        troubles: whether a few rows failed, were refused, or are unknown.

    """
    dice, now = random.Random(seed), START
    ledger = SqliteLedger(now=lambda: now)  # in memory, which is much faster, and then copied
    ledger.open(provider=PROVIDER, fingerprint="0123456789abcdef")
    for n in range(rows):
        title = f"{dice.choice(_FIRST)} {dice.choice(_LAST)}"
        track = Track(
            task_id=MusicTaskId(f"task_{n // 2:06d}"),
            suno_id=SunoId(f"{dice.getrandbits(64):016x}"),
            author=dice.choice(_ARTISTS),
            brand="Acme Records" if n % 3 else None,
            extra={"title": title, "album": f"Volume {1 + n // 12}"},
        )
        row = ledger.claim(track, location=f"catalog.csv, line {n + 2}").row
        if troubles and n >= rows - rows // 25:
            continue  # not bought yet
        if n == rows * 3 // 5:
            now += 9 * 3600
        now += dice.expovariate(0.97)
        ledger.begin_attempt(row.id, nonce=f"{seed}-{n:030x}", at=now, reserve=2 * MICRO, budget=None)
        fate = dice.random() if troubles else 0.0
        task = VideoTaskId(f"video_{dice.getrandbits(48):012x}")
        if fate > 0.99:
            words = "CreateTask: the connection broke off after the request was sent"
            ledger.move(row.id, Transition(state=State.UNKNOWN, error=RowError("TransportError", None, words)))
            continue
        if fate > 0.975:
            words = f"CreateTask: 422 suno_id {track.suno_id} is not part of music task {track.task_id}"
            ledger.move(row.id, Transition(state=State.REFUSED, error=RowError("InvalidRequestError", 422, words)))
            continue
        ledger.move(row.id, Transition(state=State.SUBMITTED, video_task_id=task))
        if troubles and n >= rows - rows // 16:
            continue  # in flight
        took = dice.lognormvariate(4.5, 0.3)
        ended, cost = now + took, dice.choice((2_000_000, 2_000_000, 2_500_000))
        if fate > 0.945:
            words = dice.choice(_REASONS).format(task=task, n=dice.randrange(90))
            error = RowError("TaskFailed", 501, words)
            ledger.move(row.id, Transition(state=State.FAILED, cost=cost, ended=ended, took=took, error=error))
            continue
        url = f"https://media.example.test/{task}.mp4"
        ledger.move(row.id, Transition(state=State.SUCCEEDED, cost=cost, ended=ended, took=took, url=url))
        if not troubles or n % 40:
            saved = files[n % len(files)] if files else path.parent / "videos" / f"{track.suno_id}.mp4"
            ledger.move(row.id, Transition(state=State.DOWNLOADED, path=saved))
    with closing(sqlite3.connect(path)) as file:
        connection(ledger).backup(file)
        file.execute("PRAGMA journal_mode = WAL")
    ledger.close()
    copied = SqliteLedger(path, now=lambda: now, accept=True)  # marks it as closed
    copied.open(provider=PROVIDER, fingerprint="0123456789abcdef")
    copied.close()
