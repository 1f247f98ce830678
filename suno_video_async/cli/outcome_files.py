"""The files that a conversion writes: its outcomes as they come, and a catalog of the tracks without a video."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

from attrs import define, field

from suno_video_async.batch.outcome import Outcome
from suno_video_async.cli import errors
from suno_video_async.cli.errors import UsageProblem
from suno_video_async.cli.output import plain, redacted
from suno_video_async.cli.tally import PROBLEMS_SHOWN, outcome_line
from suno_video_async.errors import BoughtElsewhereError

#: The states in the catalog of `--failed`: converting any other again could pay twice, as could what another
#: ledger holds.
_RETRYABLE = frozenset({"failed", "refused", "planned"})
_FIELDS = ("task_id", "suno_id", "author", "brand")
_ADDED = ("state", "error")


@define(eq=False, kw_only=True)
class OutcomeFiles:
    """Writes outcomes to files. Its calls block, but for the attributes.

    Attributes:
        outcomes: the file of JSON lines; None for none.
        failed: the catalog of the tracks without a video; None for none.
        kept: how many rows are in it, by state.
        unreadable: how many rows are left out because they are not tracks.
        named: the locations of the first of those.

    """

    outcomes: Path | None = None
    failed: Path | None = None
    kept: dict[str, int] = field(factory=dict[str, int], init=False)
    unreadable: int = field(default=0, init=False)
    named: list[str] = field(factory=list[str], init=False)
    _lines: IO[str] | None = field(default=None, init=False)
    _spool: IO[str] | None = field(default=None, init=False)
    _extra: dict[str, None] = field(factory=dict[str, None], init=False)

    @property
    def wanted(self) -> bool:
        """Whether there is anything to write."""
        return self.outcomes is not None or self.failed is not None

    def check(self, **taken: Path | None) -> None:
        """Check, before anything is bought, that the files can be written and overwrite no other file of the run.

        Args:
            taken: other files of the run, by the names of their options.

        Raises:
            UsageProblem: they cannot, or would.

        """
        files = {"--outcomes": self.outcomes, "--failed": self.failed}
        others = dict(taken)
        for name, path in files.items():
            if path is None:
                continue
            for other, its in others.items():
                if its is not None and _same(path, its):
                    raise UsageProblem(f"{name} would overwrite {other} ({its}): name another file")
            others[name] = path
            _check_writable(name, path)

    def open(self) -> None:
        """Start the files empty; only once the ledger is locked: another run may be writing them until then."""
        if self.outcomes is not None:
            self._lines = self.outcomes.open("w", encoding="utf-8", errors="backslashreplace")
        if self.failed is not None:
            # The columns are known only at the end, and a whole catalog may not fit in memory.
            self._spool = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115  closed in `close`

    def take(self, outcome: Outcome) -> None:
        """Write one outcome."""
        if self._lines is not None:
            self._lines.write(redacted(json.dumps(outcome_line(outcome), ensure_ascii=False)) + "\n")
            self._lines.flush()
        if self._spool is not None:
            self._keep(outcome, self._spool)

    def _keep(self, outcome: Outcome, spool: IO[str]) -> None:
        if outcome.track is None:
            self.unreadable += 1
            if outcome.location is not None and len(self.named) < PROBLEMS_SHOWN:
                self.named.append(outcome.location)
        elif outcome.state in _RETRYABLE and not isinstance(outcome.error, BoughtElsewhereError):
            self.kept[outcome.state] = self.kept.get(outcome.state, 0) + 1
            track = outcome.track
            self._extra.update(dict.fromkeys(track.extra))
            fields = {"task_id": track.task_id, "suno_id": track.suno_id}
            credit = {"author": track.author or "", "brand": track.brand or ""}
            error = "" if outcome.error is None else plain(errors.brief(outcome.error))
            row = {**track.extra, **fields, **credit, "state": outcome.state, "error": error}
            spool.write(json.dumps(row) + "\n")

    def close(self) -> None:
        """Write the catalog, of which only the head is left if every track has its video, and close the files."""
        lines, spool = self._lines, self._spool
        self._lines = self._spool = None
        if lines is not None:
            lines.close()
        if spool is not None and self.failed is not None:
            with spool:
                spool.seek(0)
                extra = [name for name in self._extra if name not in (*_FIELDS, *_ADDED)]
                _write_catalog(self.failed, [*_FIELDS, *extra, *_ADDED], map(json.loads, spool))


def _write_catalog(path: Path, columns: list[str], rows: Iterable[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()


def _check_writable(option: str, path: Path) -> None:
    existed = path.exists()
    try:
        with path.open("a", encoding="utf-8"):
            pass
        if not existed:
            path.unlink()
    except OSError as error:
        raise UsageProblem(
            f"{path} cannot be written: {error.strerror or error}; name another file with {option}"
        ) from error
