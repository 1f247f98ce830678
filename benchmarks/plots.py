"""Draws what the pacing does, and how it compares, into `docs/images/`.

Usage: python -m benchmarks.plots
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

from benchmarks.auto import CASES, Job, run
from benchmarks.pacing_model import USUAL, Server, ours
from tests.support.virtual import VirtualLoop

mpl.use("Agg")

from matplotlib import pyplot as plt

IMAGES = Path(__file__).parents[1] / "docs" / "images"
COLOURS = {"submitted": "#4269d0", "done": "#3ca951", "not done": "#ff725c"}
WORDS = {"submitted": "submissions", "done": "polls of ended tasks", "not done": "polls of unfinished tasks"}


def policy() -> None:
    """Draw the requests of two catalogs over time, in tens of seconds."""
    figure, both = plt.subplots(2, 1, figsize=(9, 5.2), sharex=True, layout="constrained")
    for axes, cap in zip(both, (1000, 100), strict=True):
        server = Server(USUAL, 1000, 1)
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(ours(server, cap, None))
        start = server.times[0][0]
        edges = range(0, int(server.times[-1][0] - start) + 20, 10)
        kinds = [[at - start for at, what in server.times if what == kind] for kind in COLOURS]
        axes.hist(kinds, bins=list(edges), stacked=True, color=list(COLOURS.values()), label=list(WORDS.values()))
        axes.set_title(f"1,000 tracks, at most {cap} videos in flight", fontsize=10, loc="left")
        axes.set_ylabel("requests in 10 s")
        axes.spines[["top", "right"]].set_visible(False)
    both[0].legend(ncols=3, frameon=False, fontsize=9, loc="lower right", bbox_to_anchor=(1, 1))
    both[1].set_xlabel("seconds")
    figure.savefig(IMAGES / "pacing-policy.png", dpi=110)


def comparison(rows: list[dict[str, Any]]) -> None:
    """Draw the makespan, the wait and the requests of both policies."""
    titles = {
        "of_bound": "makespan / bound",
        "notice": "seconds until noticed",
        "requests_a_track": "requests a track",
    }
    figure, axes = plt.subplots(1, 3, figsize=(9, 2.9), layout="constrained")
    names = [f"{row['tracks']:,} tracks\ncap {row['cap']:,}" for row in rows if row["who"] == "ours"]
    for panel, (key, title) in zip(axes, titles.items(), strict=True):
        for place, (who, colour) in enumerate((("ours", "#4269d0"), ("fixed", "#9c9c9c"))):
            values = [row[key] for row in rows if row["who"] == who and row[key]]  # small ones have no bound
            label = "learning schedule" if who == "ours" else "every 5 s, FIFO"
            bars = panel.bar(
                [n + 0.38 * place for n in range(len(values))], values, 0.36, color=colour, label=label
            )
            panel.bar_label(bars, fmt="%.3g", fontsize=7)
        panel.set_title(title, fontsize=10)
        panel.set_xticks([n + 0.19 for n in range(len(values))], names[: len(values)], fontsize=6.5)
        panel.spines[["top", "right"]].set_visible(False)
    axes[1].set_yscale("log")
    axes[1].legend(frameon=False, fontsize=8)
    figure.savefig(IMAGES / "pacing-comparison.png", dpi=110)


def peers(rows: list[dict[str, Any]]) -> None:
    """Draw what became of a catalog over real sockets, beside hand-written scripts."""
    words = {"ours": "suno-video convert", "handwritten": "hand-written", "limited": "the same behind\naiolimiter"}
    titles = {
        "of_bound": "makespan / bound",
        "lost": "tracks lost",
        "requests": "requests",
        "refused": "refused (429)",
    }
    figure, axes = plt.subplots(1, 4, figsize=(9, 2.4), layout="constrained", sharey=True)
    for panel, (key, title) in zip(axes, titles.items(), strict=True):
        # A script that was cut never told what it had done.
        values = [row.get(key, 0) for row in rows]
        labels = [
            f"{row[key]:.3g}" if key == "of_bound" else f"{row[key]:,.0f}" if key in row else "?" for row in rows
        ]
        bars = panel.barh(range(len(rows)), values, color=["#4269d0", "#9c9c9c", "#c4c4c4"][: len(rows)])
        panel.bar_label(bars, labels, fontsize=7, padding=2)
        panel.margins(x=0.25)
        panel.set_title(title, fontsize=10)
        panel.set_yticks(range(len(rows)), [words[row["who"]] for row in rows], fontsize=8)
        panel.tick_params(axis="x", labelsize=7)
        panel.spines[["top", "right"]].set_visible(False)
    axes[0].invert_yaxis()
    figure.savefig(IMAGES / "pacing-peers.png", dpi=110)


def searches() -> None:
    """Draw the limit that the client has found over time, beside the hidden one, with the refused requests."""
    cases = ("60/10", "20/10, halves", "20/10, doubles")
    figure, panels = plt.subplots(1, len(cases), figsize=(9, 2.8), layout="constrained")
    for axes, case in zip(panels, cases, strict=True):
        hidden, found = CASES[case], run(Job(case, auto=True, tracks=400, seed=1))
        began, seconds = found["began"], found["seconds"]
        moments, figures = zip(*[(at - began, requests) for at, requests in found["known"]], strict=True)
        axes.step([*moments, seconds], [*figures, figures[-1]], where="post", color="#4269d0", label="found")
        changed = (found["changed_at"] or began) - began
        limits = [hidden.requests, *[hidden.requests * hidden.factor] * 2]
        axes.step([0, changed, seconds], limits, where="post", color="#9c9c9c", ls=":", label="hidden")
        at = [moment - began for moment in found["refusals"]]
        axes.plot(at, [0] * len(at), "|", color="#ff725c", ms=9, label="refused")
        axes.set_ylim(0, 1.15 * max(*limits, *figures))
        axes.set_title(case.replace("/10", " in 10 s"), fontsize=10, loc="left")
        axes.set_xlabel("seconds", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("requests in 10 s", fontsize=8)
    panels[0].legend(frameon=False, fontsize=8, loc="lower right")
    figure.savefig(IMAGES / "pacing-auto.png", dpi=110)


def main() -> int:
    """Draw all pictures for which there are results."""
    policy()
    searches()
    results: dict[str, Any] = json.loads((Path(__file__).parent / "results.json").read_text(encoding="utf-8"))
    gate = results.get("pacing", {}).get("figures", {}).get("gate")
    for name, rows, draw in (
        ("pacing", gate, comparison),
        ("sockets", results.get("sockets", {}).get("figures"), peers),
    ):
        if rows:
            draw(rows)
        else:
            print(f"no picture of {name}: it was not measured")
    return 0


if __name__ == "__main__":
    sys.exit(main())
