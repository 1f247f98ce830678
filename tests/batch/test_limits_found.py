"""Conversions that find the limits of the key: in virtual time, against a server that hides them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from benchmarks.auto import Hidden, HiddenServer, Job, run
from benchmarks.pacing_model import lognormal
from suno_video_async import (
    Limiter,
    LimitsFound,
    RateLimit,
    SharedRateLimit,
    SqliteLedger,
    SunoVideoClient,
    Track,
)
from suno_video_async._util.aio import inline
from suno_video_async.batch.conversion import Conversion
from suno_video_async.batch.options import Options
from suno_video_async.ledger.aio import LIMITS, AsyncLedger
from suno_video_async.testing import RecordingHooks
from tests.support.keys import KEY
from tests.support.virtual import run_virtual


@pytest.mark.parametrize("case", ["5/10", "60/10, reads 100/10", "20/10, halves"])
def test_no_track_is_lost_for_the_search(case: str) -> None:
    """Whatever the limit, each track becomes a video: a refused submission is sent again."""
    found = run(Job(case, auto=True, tracks=30, seed=1))
    assert found["lost"] == 0


@pytest.mark.parametrize("case", ["60/10, 30 running"])
def test_the_cap_is_found_and_kept(case: str) -> None:
    """With `max_in_flight="auto"` a cap on running tasks costs a handful of refusals, and no more."""
    found = run(Job(case, auto=True, tracks=40, seed=1))
    assert 29 <= found["cap"] <= 31
    assert found["refused"] <= 20


class Ledger(SqliteLedger):
    """A ledger in memory whose facts outlive it."""

    def __init__(self, facts: dict[str, str]) -> None:
        super().__init__(None)
        self.facts = facts
        self.notes = list[str]()

    def fact(self, name: str) -> str | None:
        return self.facts.get(name)

    def note_fact(self, name: str, value: str) -> None:
        self.facts[name] = value
        self.notes.append(name)


async def convert(
    facts: dict[str, str], tracks: int, *, ledger: Ledger | None = None, recorded: RecordingHooks | None = None
) -> tuple[LimitsFound | None, int]:
    """Convert some tracks; return what was found, and how many requests were refused."""
    limiter = Limiter("auto")
    server = HiddenServer(lognormal(65, 0.35), tracks, 1, hidden=Hidden(60), limiter=limiter)
    client = SunoVideoClient(
        api_key=KEY,
        base_url="http://127.0.0.1:1",
        transport=server,
        max_in_flight=500,
        limiter=limiter,
        hooks=[] if recorded is None else [recorded],
    )
    async with client:
        rows = [Track(task_id="music", suno_id=f"suno_{number}") for number in range(tracks)]
        kept = AsyncLedger(ledger or Ledger(facts), inline)
        async with Conversion(client._open(), rows, kept, Options(task_timeout=1e6)) as outcomes:
            async for _ in outcomes:
                pass
        return client.limits_found, server.answers[429]


def test_the_next_run_begins_with_what_was_found() -> None:
    """The limits are kept in the ledger: the second run uses them at once, and nothing is refused."""
    facts: dict[str, str] = {}

    async def main() -> None:
        found, refused = await convert(facts, 100)
        assert found == LimitsFound(rate=RateLimit(60, 10))
        assert refused > 0
        await asyncio.sleep(60.0)
        again, refused = await convert(facts, 30)
        assert again == found
        assert refused == 0

    run_virtual(main())


def test_each_change_is_reported_once() -> None:
    """A hook hears of a limit when it was measured, not of each step of the climb to it."""
    recorded = RecordingHooks()

    async def main() -> None:
        await convert({}, 150, recorded=recorded)

    run_virtual(main())
    assert recorded.limits == [LimitsFound(rate=RateLimit(60, 10))]


def test_what_was_found_is_written_when_it_changes() -> None:
    """A limit that stays the same is written once, however long the run."""
    ledger = Ledger({})

    async def main() -> None:
        await convert({}, 150, ledger=ledger)

    run_virtual(main())
    assert ledger.notes.count(LIMITS) == 1


def test_processes_that_share_a_limit_find_no_cap(tmp_path: Path) -> None:
    """The videos of the others run as well, and this one does not count them."""
    limiter = SharedRateLimit(tmp_path / "limit.db", "auto")
    with pytest.raises(ValueError, match="name a number"):
        SunoVideoClient(api_key=KEY, base_url="http://127.0.0.1:1", max_in_flight="auto", limiter=limiter)


def test_a_cap_is_found_only_with_a_rate_that_is_found() -> None:
    """With a rate that is given a refusal of CreateTask could not be told from the window's."""
    with pytest.raises(ValueError, match='needs rate="auto"'):
        SunoVideoClient(api_key=KEY, base_url="http://127.0.0.1:1", max_in_flight="auto")
