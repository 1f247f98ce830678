"""The files that a conversion writes: its outcomes as they come, and a catalog of the tracks without a video."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import IO

from attrs import define, field

from suno_video_async._util.text import escaped_json
from suno_video_async.batch.outcome import Outcome
from suno_video_async.cli import errors
from suno_video_async.cli.exits import UsageProblem
from suno_video_async.cli.outcome_tables import open_private, table_writer, write_csv, write_table
from suno_video_async.cli.output import plain, redacted
from suno_video_async.errors import BoughtElsewhereError, CatalogError

#: The states in the catalog of `--failed`: converting any other again could pay twice, as could what another
#: ledger holds.
_RETRYABLE = frozenset({"failed", "refused", "planned"})
_FIELDS = ("task_id", "suno_id", "author", "brand")
_ADDED = ("state", "error")
#: The column of rows whose cells cannot be told apart.
_TEXT = "unread"


@define(eq=False, kw_only=True)
class OutcomeFiles:
    """Writes outcomes to files. Its calls block, but for the attributes.

    Attributes:
        outcomes: the file of JSON lines, or of a table by its suffix; None for none.
        failed: the catalog of the tracks without a video; None for none.
        kept: how many tracks are in it, by state.
        unreadable: how many rows are in it that are not tracks.

    """

    outcomes: Path | None = None
    failed: Path | None = None
    kept: dict[str, int] = field(factory=dict[str, int], init=False)
    unreadable: int = field(default=0, init=False)
    _lines: IO[str] | None = field(default=None, init=False)
    _spool: IO[str] | None = field(default=None, init=False)
    _extra: dict[str, None] = field(factory=dict[str, None], init=False)
    _columns: dict[str, None] = field(factory=dict[str, None], init=False)

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
            MissingExtraError: a table is to be written whose extra is not installed.

        """
        files = {"--outcomes": self.outcomes, "--failed": self.failed}
        others = dict(taken)
        if self.outcomes is not None:
            table_writer(self.outcomes)
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
            if table_writer(self.outcomes) is None:
                self._lines = open_private(self.outcomes)
            else:
                if not self.outcomes.is_fifo():
                    open_private(self.outcomes).close()  # what an earlier run wrote is not of this one
                self._lines = tempfile.TemporaryFile("w+", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
        if self.failed is not None:
            # The columns are known only at the end, and a whole catalog may not fit in memory.
            self._spool = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115  closed in `close`

    def take(self, outcome: Outcome) -> None:
        """Write one outcome."""
        if self._lines is not None:
            self._lines.write(redacted(escaped_json(json.dumps(outcome.record(), ensure_ascii=False))) + "\n")
            self._lines.flush()
            if outcome.track is not None:
                self._columns.update(dict.fromkeys(outcome.track.extra))
        if self._spool is not None:
            self._keep(outcome, self._spool)

    def _keep(self, outcome: Outcome, spool: IO[str]) -> None:
        track, error = outcome.track, outcome.error
        if isinstance(error, BoughtElsewhereError):
            return
        if track is not None and outcome.state in _RETRYABLE:
            self.kept[outcome.state] = self.kept.get(outcome.state, 0) + 1
            credit = {"author": track.author or "", "brand": track.brand or ""}
            fields = {**track.extra, "task_id": track.task_id, "suno_id": track.suno_id, **credit}
        elif isinstance(error, CatalogError):
            self.unreadable += 1
            # Without ids, a row whose cells cannot be told apart stays one that cannot be read.
            fields = dict(error.fields) if error.text is None else {_TEXT: plain(error.text)}
        else:
            return
        self._extra.update(dict.fromkeys(fields))
        fields |= {"state": outcome.state, "error": "" if error is None else plain(errors.brief(error))}
        spool.write(json.dumps(fields) + "\n")

    def close(self) -> None:
        """Write the catalog, of which only the head is left if every track has its video, and close the files."""
        lines, spool = self._lines, self._spool
        self._lines = self._spool = None
        if lines is not None and self.outcomes is not None:
            with lines:
                if (write := table_writer(self.outcomes)) is not None:
                    lines.seek(0)
                    write_table(write, self.outcomes, lines, self._columns)
        if spool is not None and self.failed is not None:
            with spool:
                spool.seek(0)
                extra = [name for name in self._extra if name not in (*_FIELDS, *_ADDED)]
                write_csv(self.failed, [*_FIELDS, *extra, *_ADDED], map(json.loads, spool))


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()


def _check_writable(option: str, path: Path) -> None:
    if path.is_fifo() and os.access(path, os.W_OK):
        return  # to close a pipe would be its end for what reads it
    existed = path.exists()
    try:
        open_private(path, "a").close()
        if not existed:
            path.unlink()
    except OSError as error:
        raise UsageProblem(
            f"{path} cannot be written: {error.strerror or error}; name another file with {option}"
        ) from error
