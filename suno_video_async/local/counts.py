"""What the statistics count."""

from __future__ import annotations

from collections import Counter
from typing import Any

from attrs import define, field


@define
class Tally:
    """What happened to one key, or to all of them.

    Attributes:
        requests: by call, refused ones included.
        refused: by code.
        charged_by_track: by `task_id/suno_id/author/brand`.
        faults: that struck, by kind.
        tasks: created.
        refunded: that failed, and whose credits were given back.

    """

    requests: Counter[str] = field(factory=Counter[str])
    refused: Counter[str] = field(factory=Counter[str])
    charged_by_track: Counter[str] = field(factory=Counter[str])
    faults: Counter[str] = field(factory=Counter[str])
    tasks: int = 0
    refunded: int = 0

    def charge(self, track: str) -> None:
        """Count a task that was created and paid for."""
        self.tasks += 1
        self.charged_by_track[track] += 1

    def data(self) -> dict[str, Any]:
        """Return the counts as JSON has them."""
        return {
            "requests": dict(self.requests),
            "refused": dict(self.refused),
            "charged": self.charged_by_track.total(),
            "tasks": self.tasks,
            "charged_by_track": dict(self.charged_by_track),
            "refunded": self.refunded,
            "faults": dict(self.faults),
        }


@define
class Counts:
    """What happened on the server since its start or its last reset."""

    total: Tally = field(factory=Tally)
    callbacks: Counter[str] = field(factory=Counter[str])
    first_request_at: float | None = None
    last_request_at: float | None = None

    def arrived(self, call: str, now: float) -> None:
        """Count one request of the API."""
        self.total.requests[call] += 1
        self.first_request_at = now if self.first_request_at is None else self.first_request_at
        self.last_request_at = now
