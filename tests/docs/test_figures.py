"""The figures that pages tell are those that were measured, so that they cannot grow stale."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from benchmarks.__main__ import RESULTS
from tests.docs.examples import ROOT

Row = dict[str, Any]


def figures() -> dict[str, Any]:
    """Return what the benchmarks measured last, by their names."""
    results: dict[str, dict[str, Any]] = json.loads(RESULTS.read_text(encoding="utf-8"))
    return {name: result["figures"] for name, result in results.items()}


FIGURES = figures()
SOCKETS: dict[str, Row] = {row["who"]: row for row in FIGURES["sockets"]}
CATALOG: dict[str, Row] = {row["name"]: row for row in FIGURES["catalog"]}
OVERHEAD: dict[int, Row] = {row["workers"]: row for row in FIGURES["overhead"]}
GATE: dict[int, Row] = {
    row["cap"]: row
    for row in FIGURES["pacing"]["gate"]
    if row["who"] == "ours" and row["tracks"] == 1000 and "read_rate" not in row
}
IMPORTS: dict[str, Row] = FIGURES["imports"]
NAMES = {"ours": "`suno-video convert`", "handwritten": "the script", "limited": "the same behind aiolimiter"}


def paid_and_lost(row: Row) -> int:
    """Return how many tracks were paid for and not told as done."""
    return int(row["charged"]) - int(row["done"])


def socket_row(who: str) -> str:
    """Return a line of the table of the runs over sockets."""
    row = SOCKETS[who]
    counts = (f"{row[name]:,}" for name in ("done", "lost", "requests", "refused"))
    return f"| {NAMES[who]} | {' | '.join(counts)} | {row['of_bound']:.2f} |"


def catalog_row(who: str) -> str:
    """Return a line of the table of the runs with faults."""
    row = CATALOG[who]
    counts = (f"{row[name]:,}" for name in ("done", "lost", "charged", "requests", "max_in_any_window"))
    return f"| {NAMES[who]} | {' | '.join(counts)} | {row['of_bound']:.2f} |"


COMPARISON, BIG, README = "docs/explanation/comparison.md", "docs/how-to/big-catalog.md", "README.md"
limited, script, ours = SOCKETS["limited"], SOCKETS["handwritten"], SOCKETS["ours"]
TOLD = [
    *((COMPARISON, socket_row(who)) for who in NAMES),
    *((COMPARISON, catalog_row(who)) for who in CATALOG),
    (COMPARISON, f"of those that it lost {paid_and_lost(script)} were paid for"),
    (COMPARISON, f"that is where its {limited['refused']} refusals come from"),
    (
        COMPARISON,
        f"spends {limited['requests'] / 400:.2f} requests on a track where {ours['requests'] / 400:.2f} do",
    ),
    (COMPARISON, f"takes {limited['of_bound']:.2f} times the least time instead of {ours['of_bound']:.2f}"),
    (COMPARISON, f"reached {OVERHEAD[20]['ratio']:.2f} of the calls a second of bare aiohttp with 20 workers"),
    (COMPARISON, f"{OVERHEAD[1]['ratio']:.2f} with one"),
    (COMPARISON, f"takes {IMPORTS['client']['ratio']:.2f} times as long as `import aiohttp`"),
    (BIG, f"a run takes {GATE[1000]['of_bound']:.2f} times that with `--max-in-flight 1000`"),
    (BIG, f"and {GATE[100]['of_bound']:.2f} times with 100"),
    (README, f"loses {CATALOG['handwritten']['lost']} of the same 200"),
    (README, f"{paid_and_lost(CATALOG['handwritten'])} of them paid for"),
    (README, f"400 tracks over real sockets, without faults: {ours['requests']:,} requests, none refused"),
    (README, f"{ours['of_bound']:.2f} times the least time that the rate limit allows"),
    (README, f"takes {limited['of_bound']:.2f} times with {limited['refused']} refusals"),
    (README, f"without one it loses {script['lost']} tracks"),
]


@pytest.mark.parametrize(("page", "words"), TOLD)
def test_a_page_tells_what_was_measured(page: str, words: str) -> None:
    """The words stand on the page, however its lines are broken."""
    text = re.sub(r"\s+", " ", (ROOT / page).read_text(encoding="utf-8"))
    assert words in text


def test_what_is_told_of_ours_without_a_figure() -> None:
    """Where a page says "never" or "none", it was so."""
    assert (CATALOG["ours"]["done"], CATALOG["ours"]["charged"], CATALOG["ours"]["charged_twice"]) == (200, 200, 0)
    assert CATALOG["ours"]["max_in_any_window"] <= 20
    assert ours["refused"] == limited["lost"] == 0
    assert CATALOG["handwritten"]["requests"] > 6 * CATALOG["ours"]["requests"]
