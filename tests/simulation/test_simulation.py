"""The real client against the real server's behaviour, in virtual time, over many seeds."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.simulation.plants import planted
from tests.simulation.run import simulate
from tests.simulation.scenario import MEDDLING

#: A process that is dropped closes nothing, and what it had open says so.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
)

EVENTS = {f"event {what}" for what in ("crash", "cancel", "stop", "leave", "close", "jump", "freeze", "copy")}
MEDDLED = {f"ledger {how}: refused" for how in MEDDLING}
ROWS = {f"rows {state}" for state in ("planned", "submitted", "succeeded", "failed", "unknown")}
CALLED = {"unknown submitted by callback", "unknown planned by silence"}
#: Enough to meet every fault, and quick enough for every change; in parts, that they may be run side by side.
#: `nox -s simulate` runs many.
SEEDS = {
    range(50): EVENTS | ROWS | MEDDLED | {"unknown submitted by callback", "windows of reads", "limits changed"},
    range(90, 130): EVENTS | CALLED,
}
#: Seeds that find a planted bug, and how many of them in a row it may take.
FOUND_AT = {
    "resend-after-timeout": 0,
    "commit-late": 1,
    "one-too-many": 8,
    "reads-unbounded": 14,
    "adopt-unchecked": 146,
    "window-from-send": 8,
    "absent-differs": 0,
    "forget-interrupted": 6,
    "ignore-evidence": 50,
    "reopen-for-all": 119,
    "late-url-failed": 10,
    "log-not-missed": 6,
    "ignore-rise": 553,
    "answered-too-early": 4,
    "climb-after-refusal": 25,
}
IN_A_ROW = 10


@pytest.mark.parametrize(("seeds", "expected"), SEEDS.items(), ids=map(str, SEEDS))
def test_nothing_is_lost_and_nothing_is_bought_twice(seeds: range, expected: set[str]) -> None:
    """Whatever goes wrong, in whatever order, every check holds; and much does go wrong."""
    met = Counter[str]()
    for seed in seeds:
        report = simulate(seed)
        assert report.violation is None, f"{report.violation}: python -m tests.simulation --seed {seed} --trace"
        met += report.met
    assert met.keys() >= expected
    assert met["crashes"] > len(seeds) / 10
    assert len([name for name in met if name.startswith(("CreateTask ", "TaskInfo "))]) > 30


def test_a_seed_is_the_same_each_time() -> None:
    """The same seed gives the same run, to the last line of its trace."""
    for seed in (*range(3, 8), 13, 31, 48):  # the last ones have several submissions to abandon
        first, again = simulate(seed, trace=True), simulate(seed, trace=True)
        assert first.trace == again.trace
        assert first.trace


@pytest.mark.parametrize("name", FOUND_AT)
def test_a_planted_bug_is_found(name: str) -> None:
    """The checks see a bug that is put in on purpose, within a few seeds."""
    with planted(name):
        first = FOUND_AT[name]
        assert any(simulate(seed).violation for seed in range(first, first + IN_A_ROW))
