"""The follow-up commands that a report shows, ready to be pasted into a shell."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path

from attrs import frozen

from suno_video_async.ledger.model import LedgerRow
from suno_video_async.report.facts import Facts, Item
from suno_video_async.report.reasons import Reason, Way

#: The suffixes of a catalog, in the order in which they are tried beside its ledger.
SUFFIXES = (".csv", ".jsonl", ".json", ".ndjson", ".xlsx", ".parquet", ".tsv")
#: Maximum task ids in one command.
MOST_IDS = 20
_LEDGER = ".ledger.db"


@frozen(kw_only=True)
class Commands:
    """Builds the commands for one ledger.

    Attributes:
        ledger: its file.
        catalog: the catalog's file; a placeholder in capitals if it is not known.
        output_dir: the folder of the videos; None if none was downloaded.
        base_url: the service's address, if it is not the official one.

    """

    ledger: str
    catalog: str
    output_dir: str | None = None
    base_url: str | None = None

    def convert(self, *options: str) -> str:
        """Return the command that continues the conversion."""
        return _joined("convert", self.catalog, "--ledger", self.ledger, *options, *self._folder(), *self._reach())

    def after(self, reason: Reason) -> str | None:
        """Return the command that resolves a reason, if there is one."""
        match reason.way:
            case Way.RETRY:
                return self.convert("--retry-failed", str(max(1, reason.failures)))
            case Way.AGAIN:
                return self.convert()
            case Way.NEVER:
                return None

    def settle(self, row: LedgerRow) -> tuple[str, str, str]:
        """Return the commands that adopt an unknown row's task, buy it again, and give it up."""
        task = row.video_task_id or "VIDEO_TASK_ID"
        dashes = ("--",) if task.startswith("-") else ()
        ends = ("--ledger", self.ledger, *self._reach())
        return (
            _joined("unknown", "adopt", *ends, *dashes, str(row.id), task),
            _joined("unknown", "resend", str(row.id), *ends),
            _joined("unknown", "drop", str(row.id), *ends),
        )

    def list_unknown(self) -> str:
        """Return the command that lists the unknown rows."""
        return _joined("unknown", "list", "--ledger", self.ledger)

    def fetch(self, items: Iterable[Item]) -> str | None:
        """Return the command that downloads some videos again, at most the first `MOST_IDS`."""
        ids = [item.row.video_task_id for item in items if item.row.video_task_id is not None][:MOST_IDS]
        dashes = ("--",) if any(task.startswith("-") for task in ids) else ()
        folder = ("--output-dir", self.output_dir or "videos")
        return _joined("wait", *folder, *self._reach(), *dashes, *ids) if ids else None

    def _folder(self) -> tuple[str, ...]:
        return () if self.output_dir is None else ("--output-dir", self.output_dir)

    def _reach(self) -> tuple[str, ...]:
        return () if self.base_url is None else ("--base-url", self.base_url)


def commands(facts: Facts, *, catalog: Path | None, base_url: str | None) -> Commands:
    """Return the commands for a ledger. Blocks.

    Args:
        facts: the ledger's contents.
        catalog: its catalog; None looks for it beside the ledger, by its name.
        base_url: the service's address, if the commands have to name it.

    """
    return Commands(
        ledger=str(facts.ledger),
        catalog=str(catalog or _catalog_beside(facts) or _named_catalog(facts) or "CATALOG"),
        output_dir=_output_dir(facts),
        base_url=base_url,
    )


def _catalog_beside(facts: Facts) -> Path | None:
    ledger = facts.ledger
    if not isinstance(ledger, Path) or not ledger.name.endswith(_LEDGER):
        return None
    stem = ledger.name.removesuffix(_LEDGER)
    return next(
        (found for suffix in SUFFIXES if (found := ledger.with_name(stem + suffix)).is_file()),
        None,
    )


def _named_catalog(facts: Facts) -> Path | None:
    """Return the catalog that the newest row's location names, beside the ledger if it is there."""
    for item in reversed(facts.items):
        name, comma, _ = item.row.location.rpartition(", ")
        if comma and Path(name).suffix.lower() in SUFFIXES:
            found = facts.folder / Path(name).name
            return found if found.is_file() else Path(name)
    return None


def _output_dir(facts: Facts) -> str | None:
    """Return the folder of the newest video: earlier runs may have used another."""
    for item in reversed(facts.items):
        if item.row.path is not None:
            return str(item.row.path.parent)
        if item.row.uri is not None:
            return item.row.uri.rpartition("/")[0]
    return None


def _joined(*words: str) -> str:
    return shlex.join(["suno-video", *words])
