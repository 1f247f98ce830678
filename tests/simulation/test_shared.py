"""Workers on one ledger in PostgreSQL, whose sessions are lost, in virtual time."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.simulation.plants import planted
from tests.simulation.shared import simulate_shared

#: A process that is killed closes nothing, and what it had open says so.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
)

#: Quick enough for every change, and each has much in it; `nox -s simulate -- --shared --seeds 0:2000` runs many.
SEEDS = (13, 14, 31, 47, 58, 344)
#: What they meet.
MET = {
    *("holders", "word left", "bells heard", "bells not heard", "callbacks taken"),
    *("decisions carried out: adopt", "decisions carried out: drop", "rows left, since the budget is used up"),
    *("loads that were stopped", "tracks loaded", "tracks loaded that another ledger has"),
}
#: A seed that finds a planted bug, and what the violation says.
FOUND_AT = {
    "second-connection": (4, "which has lost the ledger"),
    "no-ping": (24, "which has lost the ledger"),
    "in-flight-last": (23, "which is in flight"),
    "word-at-opening-only": (23, "though word of its task was left"),
    "next-at-once": (232, "requests in one window"),
    "settled-first": (834, "though a person has decided to adopt it"),
    "own-clocks": (24, "requests in one window"),
    "bell-alone": (252, "waits for 30 s beside the holder"),
    "each-for-itself": (0, "has rows in suno_video_one and in suno_video_two"),
    "budgets-apart": (85, "is spent and set aside, of a budget of"),
}


def test_nothing_is_lost_and_nothing_is_bought_twice() -> None:
    """Whichever holder loses the ledger, at any moment, the next one goes on, and all keep to one limit."""
    met = Counter[str]()
    for seed in SEEDS:
        report = simulate_shared(seed)
        again = f"python -m tests.simulation --shared --seed {seed} --trace"
        assert report.violation is None, f"{report.violation}: {again}"
        met += report.met
    assert met.keys() >= MET
    assert met["holders"] > len(SEEDS)


def test_a_seed_is_the_same_each_time() -> None:
    """The same seed gives the same run, to the last line of its trace."""
    first, again = simulate_shared(62, trace=True), simulate_shared(62, trace=True)
    assert first.trace == again.trace
    assert first.trace


@pytest.mark.parametrize("name", FOUND_AT)
def test_a_planted_bug_is_found(name: str) -> None:
    """The checks see a bug that is put in on purpose, at a seed in which it shows."""
    seed, says = FOUND_AT[name]
    with planted(name):
        assert says in (simulate_shared(seed).violation or "")
