"""The locks that go with a session: who has one, and when its holder counts as gone."""

from __future__ import annotations

import hashlib

from suno_video_async.ledger.queries import Connection

#: Seconds by the server's clock after which a holder that has asked its session nothing is ended by the next one:
#: it asks each second, so its event loop stands still.
STALE = 45.0
#: What says who holds a lock, and for how long nothing was asked.
HOLDER = (
    "SELECT a.application_name, a.pid, EXTRACT(EPOCH FROM clock_timestamp() - a.state_change)"
    " FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
    " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1"
    " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND (l.classid::bigint << 32 | l.objid::bigint) = ?"
)


def lock_number(what: str, name: str) -> int:
    """Return the number of a lock."""
    digest = hashlib.sha256(f"suno-video {what} {name}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def holder_of(session: Connection, number: int) -> str | None:
    """Return who holds a lock, in words."""
    found = session.execute(HOLDER, (number,)).fetchone()
    if found is None:
        return None
    name, pid, _ = found
    ours, _, process = str(name).partition(", ")
    return process if ours == "suno-video" and process else f"session {pid} ({name or 'without a name'})"
