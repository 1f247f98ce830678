"""What people do to a ledger's files between two runs, and whether a run then goes on as if nothing were lost."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from suno_video_async.config import Settings
from suno_video_async.errors import LedgerError
from suno_video_async.ledger.sqlite import SqliteLedger
from suno_video_async.models import Track

T = TypeVar("T")
#: The bytes of a ledger's files, by what their names end in; None where there is none.
Image = Mapping[str, bytes | None]

_FILES = ("", "-wal", ".run")


def image_of(path: Path) -> Image:
    """Return the files of a ledger as they are now, as a copy or a power cut finds them."""
    files = {ending: path.with_name(path.name + ending) for ending in _FILES}
    return {ending: file.read_bytes() if file.exists() else None for ending, file in files.items()}


def put(path: Path, image: Image) -> None:
    """Make the files of a ledger, which nothing has open, what they were."""
    path.with_name(path.name + "-shm").unlink(missing_ok=True)  # SQLite makes it again from the log
    for ending, content in image.items():
        file = path.with_name(path.name + ending)
        if content is None:
            file.unlink(missing_ok=True)
        else:
            file.write_bytes(content)


def changed(how: str, now: Image, older: Image | None) -> Image | None:
    """Return the files after somebody has meddled with them; None where there was nothing to meddle with."""
    if now[""] is None:
        return None
    if how == "deleted":
        return {**now, "": None, "-wal": None}
    if how == "without its log":
        return {**now, "-wal": None} if now["-wal"] else None
    if older is None or older[""] is None:
        return None
    if older[".run"] == now[".run"]:
        return None  # of the same period, which nothing can show: a log whose end was cut off looks like that
    if how == "an old copy":
        return {**older, ".run": now[".run"]}
    assert how == "an old file under the newest log"
    return {**now, "": older[""]}


def opened(path: Path, api_key: str, base_url: str) -> Mapping[Track, str] | None:
    """Open a ledger as the next run would; return the states of its rows, or None where it is refused."""
    provider, fingerprint = Settings.find(api_key, base_url).account
    ledger = SqliteLedger(path, synchronous="OFF")
    try:
        ledger.open(provider=provider, fingerprint=fingerprint)
    except LedgerError:
        return None
    try:
        return {row.track: row.state.value for row in ledger.rows()}
    finally:
        ledger.close()


def lost(before: Mapping[T, str], after: Mapping[T, str]) -> T | None:
    """Return a row, by whatever names it, that may be bought and that a ledger does not know as such any more."""
    free = {None, "planned", "refused"}
    return next((key for key, state in before.items() if state not in free and after.get(key) in free), None)
