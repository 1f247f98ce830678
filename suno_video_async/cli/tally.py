"""Counts a conversion's outcomes, and derives its exit code and summary."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import define, field

from suno_video_async.batch.outcome import Outcome
from suno_video_async.cli import errors
from suno_video_async.cli.exits import Exit
from suno_video_async.errors import BoughtElsewhereError, BudgetExceeded, InsufficientCreditsError, TaskFailed
from suno_video_async.models import VideoTaskId

if TYPE_CHECKING:
    from suno_video_async.batch.witness import Evidence
    from suno_video_async.client import ClientStatistics

#: Problems shown to a person; the JSON lines contain all of them.
PROBLEMS_SHOWN = 20

_LEFT = ("unknown", "submitted", "planned")
_SETTLED = frozenset({"succeeded", "downloaded", "failed"})


@define(eq=False)
class Tally:
    """Counts outcomes.

    Attributes:
        total: the expected number of rows, or None if they cannot be counted beforehand; it grows if submissions
            of an earlier run are resolved, too.
        elsewhere: by ledger, rows that are not bought because it holds them.
        failed_before: rows that are skipped because they failed in an earlier run.
        problems: the first outcomes that went wrong.
        undelivered: the tasks whose videos are made and paid for, but could not be downloaded.
        failure: the error that aborted the conversion, if any.
        stopped_by: the error that stopped the submissions early, if any.
        evidence: what the balance says about the unknown ones.
        double_charges: attempts that counted as not bought, although a callback named a task for them;
            None without callbacks.

    """

    total: int | None = None
    counts: Counter[str] = field(factory=Counter[str], init=False)
    elsewhere: Counter[Path] = field(factory=Counter[Path], init=False)
    failed_before: int = field(default=0, init=False)
    credits: float = field(default=0.0, init=False)
    problems: list[Outcome] = field(factory=list[Outcome], init=False)
    undelivered: list[VideoTaskId] = field(factory=list[VideoTaskId], init=False)
    failure: Exception | None = field(default=None, init=False)
    stopped_by: Exception | None = field(default=None, init=False)
    evidence: Evidence | None = field(default=None, init=False)
    double_charges: int | None = field(default=None, init=False)

    @property
    def ended(self) -> int:
        """How many rows have an outcome."""
        return self.counts.total()

    @property
    def done(self) -> int:
        """How many videos were made."""
        return self.counts["downloaded"] + self.counts["succeeded"]

    def add(self, outcome: Outcome) -> None:
        """Count one outcome."""
        self.counts[outcome.state] += 1
        if isinstance(outcome.error, BoughtElsewhereError) and outcome.state == "planned":
            self.elsewhere[outcome.error.ledger] += 1
        self.failed_before += outcome.state == "skipped" and isinstance(outcome.error, TaskFailed)
        if self.total is not None:
            self.total = max(self.total, self.ended)
        if outcome.state in _SETTLED and outcome.requests:
            # An outcome without requests was settled by an earlier run.
            self.credits += outcome.credits or 0.0
        if outcome.state == "succeeded" and outcome.error is not None and outcome.video_task_id is not None:
            self.undelivered.append(outcome.video_task_id)
        if is_problem(outcome) and len(self.problems) < PROBLEMS_SHOWN:
            self.problems.append(outcome)

    def leave_rest_planned(self) -> None:
        """Count the rows without an outcome as `planned`."""
        if self.total is not None:
            self.counts["planned"] += max(0, self.total - self.ended)

    def exit_code(self, *, interrupted: bool) -> Exit:
        """Return the first exit code that applies."""
        ending = errors.exit_code(self.failure) if self.failure is not None else Exit.DONE
        if interrupted:
            return Exit.INTERRUPTED
        if ending is Exit.USAGE:
            return ending
        if ending is Exit.CREDITS or isinstance(self.stopped_by, InsufficientCreditsError | BudgetExceeded):
            return Exit.CREDITS
        if any(self.counts[state] for state in _LEFT):
            return Exit.LEFT
        if self.counts["failed"] or self.counts["refused"] or self.failed_before or self.undelivered:
            return Exit.FAILED
        return ending

    def summary(self, statistics: ClientStatistics, seconds: float) -> dict[str, object]:
        """Return the summary object that ends the JSON lines."""
        return {
            "total": self.ended,
            "done": self.done,
            "failed": self.counts["failed"],
            "refused": self.counts["refused"],
            "unknown": self.counts["unknown"],
            "submitted": self.counts["submitted"],
            "planned": self.counts["planned"],
            "skipped": self.counts["skipped"],
            "requests": statistics.requests,
            "refused_429": statistics.refused_429,
            "resent_after_500": statistics.resent_after_500,
            **({} if self.double_charges is None else {"double_charges": self.double_charges}),
            "credits": _number(self.credits),
            "seconds": round(seconds, 3),
        }


def is_problem(outcome: Outcome) -> bool:
    """Whether an outcome has to be reported to a person individually."""
    troubled = outcome.error is not None or outcome.state in {"failed", "refused", "unknown"}
    return troubled and outcome.state != "planned"


def name_of(outcome: Outcome) -> str:
    """Return a row's name for a person: its place in the catalog and its track."""
    parts = (outcome.location, outcome.track.suno_id if outcome.track else None)
    return ": ".join(part for part in parts if part) or outcome.video_task_id or "?"


def _number(value: float) -> float | int:
    return int(value) if value.is_integer() else round(value, 6)
