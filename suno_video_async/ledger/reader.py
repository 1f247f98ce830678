"""What can be asked of a ledger in SQLite, beside its writer or by the writer itself."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from suno_video_async._util.words import many
from suno_video_async.errors import LedgerError
from suno_video_async.ledger.copies import doubt_about_content
from suno_video_async.ledger.lock import held_by
from suno_video_async.ledger.queries import Queries, no_ledger, sums
from suno_video_async.ledger.schema import MIGRATIONS, examine, read_only, translate, translated, up_to_date


class SqliteReader(Queries):
    """A ledger in SQLite that is open to be read.

    Args:
        path: the file; None is in memory.

    """

    _SNAPSHOT = "BEGIN"
    _SAME_SUNO_ID = "suno_id = ? COLLATE NOCASE"

    def __init__(self, path: str | PathLike[str] | None) -> None:
        super().__init__()
        self.path: Path | None = None if path is None else Path(path)

    @property
    def name(self) -> str:
        """The file, or that there is none."""
        return str(self.path or "in memory")

    def _translate(self, error: BaseException) -> None:
        translate(self.path, error)

    @property
    def newest_schema(self) -> int:
        """The version of the schema that this program writes."""
        return len(MIGRATIONS)

    def writer(self) -> str | None:
        """Return who writes the file at present, in words, or None."""
        return None if self.path is None else held_by(self.path)

    def open_to_read(self, account: tuple[str, str] | None = None, *, must_exist: bool = False) -> bool:
        """Open it beside its writer; return False if there is no such ledger yet.

        A ledger of an older version stays as it is: what is read is a copy in memory, brought up to date. Of one
        that may lack what was bought it is warned: nothing is bought by reading.

        Args:
            account: the provider and the fingerprint that it must belong to; None for any.
            must_exist: whether it is an error if there is none.

        Raises:
            LedgerError: the file is not a ledger of ours, or of another account, or cannot be read.

        """
        if self._connection is not None:
            raise LedgerError(f"{self!r} is open already")
        with translated(self.path):
            facts = None if self.path is None else examine(self.path, account)
            if facts is not None and (doubt := doubt_about_content(facts)):
                warnings.warn(f"the ledger {self.path} {doubt.problem}: {doubt.check}", UserWarning, stacklevel=2)
            if self.path is None or facts is None or not facts.exists:
                if must_exist:
                    raise no_ledger(self.path)
                return False
            self._connection = up_to_date(read_only(self.path))
            (self._spent, self._reserved) = sums(self._connection)
        return True

    def problems(self) -> Sequence[str]:
        """Return what a thorough look at the whole file finds wrong with it; of a large one that takes a while."""
        found = [str(line) for (line,) in self._select("PRAGMA integrity_check(5)") if line != "ok"]
        strays = self._select("PRAGMA foreign_key_check")
        return [
            *found,
            *([many(len(strays), "attempt belongs to no row", "attempts belong to no row")] if strays else []),
        ]

    def schema_version(self) -> int:
        """Return the version of the file's schema; one that is older than `MIGRATIONS` is updated by a writer."""
        return int(self._select("PRAGMA user_version")[0][0])
