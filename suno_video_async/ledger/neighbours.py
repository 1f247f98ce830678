"""The other ledgers in a ledger's folder, and which tracks they hold: for a catalog that was renamed or copied.

All of this blocks, and none of it may disturb what uses those files. No database and no log is written, and SQLite
makes no file beside them: a database without a log is opened as `immutable`, one with a log by the index that its
writer keeps, and one whose log has no index is read from a copy elsewhere. A file that is locked, damaged or too
large to copy is left out, with a remark; it costs a moment, and not one for each track.

Databases are found by their names: a file that SQLite may have open in this process must not be opened in another
way (see `files`), and a folder may hold pipes, and thousands of videos.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TypeAlias

from attrs import define, field, frozen

from suno_video_async.ledger.files import has_log, index_of, log_of
from suno_video_async.ledger.lock import LOCK_SUFFIX, lock_of
from suno_video_async.ledger.model import DROPPED, RowError
from suno_video_async.ledger.schema import APPLICATION_ID
from suno_video_async.ledger.states import State

#: What the names of databases end with.
SUFFIXES = (".db", ".sqlite", ".sqlite3")
#: Databases in the folder that are opened.
MAX_DATABASES = 100
#: The largest database that is copied because its log has no index, in bytes.
MAX_COPY = 64 * 1024**2
#: Seconds to wait for a database that is locked, and how often.
LOCKED = 0.2
MAX_FAILURES = 3
#: SQLite's steps for one question, of which an indexed one takes a handful: some seconds of a database that is not
#: what it seems.
MAX_STEPS = 50_000_000

#: Which version of which file something is; empty where there is none.
Version: TypeAlias = tuple[int, ...]

#: The states of a track that is known not to be bought.
_NOT_BOUGHT = frozenset({State.PLANNED, State.REFUSED})


@frozen
class Holding:
    """A track in another ledger that is bought, or may be.

    Attributes:
        ledger: the file of that ledger.
        state: the track's state in it, which a newer version may have another word for.

    """

    ledger: Path
    state: str


@define(eq=False)
class Neighbours:
    """The ledgers beside one, by what they hold at the moment of each question.

    Attributes:
        ledger: the file that they are beside; it need not exist.
        provider: the service whose purchases count; None for any.
        retry_failed: how many failed tasks of a track do not count as bought, because it may be bought again.

    """

    ledger: Path
    provider: str | None = None
    retry_failed: int = 0
    _listed: tuple[int, list[str]] | None = field(default=None, init=False)
    _remarks: list[str] = field(factory=list[str], init=False)
    _remarked: set[str] = field(factory=set[str], init=False)
    _failures: dict[str, int] = field(factory=dict[str, int], init=False)
    _strangers: dict[str, Version] = field(factory=dict[str, Version], init=False)
    _copies: dict[Path, tuple[Version, Path]] = field(factory=dict[Path, tuple[Version, Path]], init=False)
    _folder: tempfile.TemporaryDirectory[str] | None = field(default=None, init=False)

    def holdings(self, keys: Sequence[str]) -> dict[str, Holding]:
        """Return which of these tracks another ledger holds as bought, failed ones included, or as unknown."""
        found = dict[str, Holding]()
        for path in self._databases():
            try:
                states = self._states(path, keys)
            except FileNotFoundError:
                continue  # it was taken away in this moment
            except (sqlite3.DatabaseError, OSError) as error:
                self._note_failure(path, error)
            else:
                self._failures.pop(path.name, None)
                found = {key: Holding(path, state) for key, state in states.items()} | found
        return found

    def remarks(self) -> list[str]:
        """Return what is to be said of the folder, each once."""
        remarks, self._remarks = self._remarks, []
        return remarks

    def close(self) -> None:
        """Delete what was copied."""
        folder, self._folder = self._folder, None
        if folder is not None:
            folder.cleanup()

    def _databases(self) -> list[Path]:
        """Return the databases in the folder: ledgers by their name before others, and newer before older ones."""
        own, found = _version(self.ledger), list[tuple[bool, int, Path]]()
        for name in self._names():
            path = self.ledger.with_name(name)
            version = _version(path)
            if not version or version[:2] == own[:2] or self._strangers.get(name) == version:
                continue
            if self._failures.get(name, 0) < MAX_FAILURES:
                found.append((not _is_named_as_ledger(path), -version[-1], path))
        if len(found) > MAX_DATABASES:
            self._remark(
                f"the folder {self.ledger.parent} holds over {MAX_DATABASES} databases: what those beyond have"
                " bought is not known here"
            )
        return [path for _, _, path in sorted(found)[:MAX_DATABASES]]

    def _names(self) -> Sequence[str]:
        """Return what the databases in the folder are called, which is looked up again when the folder changes."""
        folder = self.ledger.parent
        try:
            changed = folder.stat().st_mtime_ns
            if self._listed is None or self._listed[0] != changed:
                names = set(os.listdir(folder))  # noqa: PTH208  only their names
                named = [name for name in names if name.endswith(SUFFIXES) or f"{name}{LOCK_SUFFIX}" in names]
                self._listed = (changed, [name for name in named if name != self.ledger.name])
        except OSError:
            return ()
        return self._listed[1]

    def _states(self, path: Path, keys: Sequence[str]) -> dict[str, str]:
        """Return the states of tracks in a ledger of the same service; nothing of any other database."""
        real = path.resolve()
        for _ in range(MAX_FAILURES):
            logged = has_log(real)
            try:
                with self._opened(real, logged) as connection:
                    states = self._held(path, connection, keys)
            except sqlite3.DatabaseError:
                if has_log(real) == logged:
                    raise
                continue
            if has_log(real) == logged:
                return states
            # Its writer has come or gone meanwhile, so that it was opened in the wrong way.
        raise sqlite3.DatabaseError("it is opened and closed all the time")

    def _held(self, path: Path, connection: sqlite3.Connection, keys: Sequence[str]) -> dict[str, str]:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        provider = None
        if application == APPLICATION_ID:
            provider = connection.execute("SELECT value FROM meta WHERE name = 'provider'").fetchone()
        if provider is None or self.provider not in {None, provider[0]}:
            self._strangers[path.name] = _version(path)
            return {}
        # Whose key it belongs to does not matter: a music task is of one account, so another key that has bought
        # its track is an earlier one of this account.
        query = "SELECT state, failures, error FROM rows WHERE key = ?"
        rows = ((key, connection.execute(query, (key,)).fetchone()) for key in keys)
        return {key: row[0] for key, row in rows if row is not None and self._counts(*row)}

    def _counts(self, state: str, failures: int, error: str | None) -> bool:
        """Whether a row in this state counts as bought: one that failed does not where it may be bought again."""
        if state == State.FAILED and 0 < failures <= self.retry_failed:
            return error is not None and RowError(*json.loads(error)).type == DROPPED
        return state not in _NOT_BOUGHT

    @contextlib.contextmanager
    def _opened(self, real: Path, logged: bool) -> Generator[sqlite3.Connection, None, None]:
        """Open a database without writing to it."""
        how = "mode=ro" if logged else "immutable=1"
        if logged and not index_of(real).exists():
            real = self._copied(real)
        connection = sqlite3.connect(f"{real.as_uri()}?{how}", uri=True, timeout=LOCKED)
        with contextlib.closing(connection):
            connection.set_progress_handler(lambda: 1, MAX_STEPS)
            yield connection

    def _copied(self, real: Path) -> Path:
        """Return a copy of a database and its log, which nothing has open; one for each version of them."""
        log = log_of(real)
        version = (*_version(real), *_version(log))
        if real not in self._copies or self._copies[real][0] != version:
            if real.stat().st_size + log.stat().st_size > MAX_COPY:
                raise sqlite3.DatabaseError("its log has no index, and it is too large to copy")
            self._folder = self._folder or tempfile.TemporaryDirectory(prefix="suno-video-")
            copy = Path(tempfile.mkdtemp(dir=self._folder.name), real.name)
            shutil.copyfile(real, copy)
            shutil.copyfile(log, log_of(copy))
            self._copies[real] = (version, copy)
        return self._copies[real][1]

    def _note_failure(self, path: Path, error: Exception) -> None:
        """Leave a database out that cannot be read time after time, and say so where it may be a ledger."""
        self._failures[path.name] = self._failures.get(path.name, 0) + 1
        if _is_named_as_ledger(path) or lock_of(path).exists():
            self._remark(f"the ledger {path} cannot be read: what it has bought is not known here ({error})")

    def _remark(self, text: str) -> None:
        if text not in self._remarked:
            self._remarked.add(text)
            self._remarks.append(text)


def _is_named_as_ledger(path: Path) -> bool:
    return path.name.endswith(".ledger.db")


def _version(path: Path) -> Version:
    """Return which version of which file this is: device, inode, size and time of its last change."""
    try:
        facts = path.stat()
    except OSError:
        return ()
    if not stat.S_ISREG(facts.st_mode) or not (facts.st_size or has_log(path)):
        return ()
    return (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns)
