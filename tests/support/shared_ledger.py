"""A ledger in memory in which other processes leave something, as they do in a database."""

from __future__ import annotations

from collections.abc import Sequence

from suno_video_async.ledger.model import LedgerRow
from suno_video_async.ledger.shared import SharedCommands
from suno_video_async.ledger.sqlite import SqliteLedger


class SharedInMemory(SharedCommands, SqliteLedger):
    """The notes are left and taken by the statements of a ledger in PostgreSQL; nothing else is left."""

    def __init__(self) -> None:
        super().__init__(None)

    def open(self, *, provider: str, fingerprint: str, must_exist: bool = False, proven: bool = False) -> None:
        super().open(provider=provider, fingerprint=fingerprint, must_exist=must_exist, proven=proven)
        self._db.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, kind, content, UNIQUE (kind, content))")

    def take_in(self, limit: int = 500) -> int:
        return 0

    def take_word(self) -> Sequence[LedgerRow]:
        return ()
