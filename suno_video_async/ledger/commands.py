"""What a run does to a ledger in a database: one text of each statement, for every database that has ledgers."""

from __future__ import annotations

import json
import os
import unicodedata
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, cast

from attrs import define, evolve

from suno_video_async.errors import AlreadyBoughtError, BudgetExceeded, LedgerError
from suno_video_async.ledger.model import MICRO, Added, Claim, LedgerRow, Transition, check_move
from suno_video_async.ledger.queries import COLUMNS, FROM, Connection, Cursor, Queries, no_row, row_of
from suno_video_async.ledger.states import UNSETTLED, Cause, State, may_move
from suno_video_async.models import Track, VideoTaskId

#: Rows that one statement inserts: SQLite takes at most 32,766 values.
INSERTED_AT_ONCE = 500
#: The columns of a new row, which is planned.
NEW = "key, task_id, suno_id, author, brand, extra, place, since"
INSERT = f"INSERT INTO rows ({NEW}, run, state)"
ONE_ROW = "(?, ?, ?, ?, ?, ?, ?, ?, ?, 'planned')"
UNLESS_THERE = "ON CONFLICT (key) DO NOTHING"
#: The row of the same song under another author or brand that is bought, if there is one.
OTHERWISE = """(SELECT MIN(o.id) FROM rows o
    WHERE o.suno_id = r.suno_id AND o.task_id = r.task_id AND o.id != r.id
    AND o.state NOT IN ('planned', 'refused'))"""
#: A track's row, and the first one of its song under another author or brand that is bought, or will be in a run.
CLAIMED = f"""SELECT r.key, r.run, {COLUMNS} {FROM} WHERE r.suno_id = ? AND r.task_id = ?
    AND (r.key = ? OR r.state NOT IN ('planned', 'refused') OR (r.state = 'planned' AND r.run = ?))
    ORDER BY r.key = ? DESC, r.id LIMIT 2"""

#: Begins a row that is as it is known, unless its song is bought under another author or brand.
BEGIN_ROW = """UPDATE rows SET state = 'submitting', attempt = ?, reserved = ?, since = ?
    WHERE id = ? AND state = ? AND attempt = ? AND (? OR NOT EXISTS (SELECT 1 FROM rows o
    WHERE o.suno_id = rows.suno_id AND o.task_id = rows.task_id AND o.id != rows.id
    AND o.state NOT IN ('planned', 'refused')))"""
#: Moves a row that is as it is known, in what follows from it.
MOVE_ROW = """UPDATE rows SET state = ?, url = COALESCE(?, url), path = COALESCE(?, path),
    sha256 = COALESCE(?, sha256), cost = ?, reserved = ?, failures = ?, error = ?
    WHERE id = ? AND state = ? AND attempt = ? AND cost = ? AND reserved = ? AND failures = ?"""
#: Only the run moves a row on from these, and nothing else of it changes meanwhile but what `MOVE_ROW` compares.
_RUNS = frozenset({State.SUBMITTING, State.SUBMITTED})


@define(eq=False)
class _Group:
    """The writes that are to be one commit; each of its calls writes in a block of it.

    Attributes:
        db: where they are written.
        begin: begins a transaction that writes.
        translate: raises the `LedgerError` for what the database says.
        begun: whether its transaction has begun.
        is_ours: whether the ledger was found to be this process's, for the intents in it.
        error: why nothing more can be written in it.
        void: whether all of it is undone, so that its calls have to be made again, each by itself.

    """

    db: Connection
    begin: str
    translate: Callable[[BaseException], None]
    begun: bool = False
    is_ours: bool = False
    error: BaseException | None = None
    void: bool = False
    _changes: int = 0

    def __enter__(self) -> Connection:
        if self.error is None and not self.begun:
            try:
                self.db.execute(self.begin)
                self.begun = True
            except BaseException as error:
                self.error = error  # the others need not wait as long once more
        if self.error is not None:
            self.translate(self.error)
            raise self.error
        self._changes = self.db.total_changes
        return self.db

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            # A disk that is full may have undone everything, what others of the group wrote included.
            if self.db.total_changes != self._changes or not self.db.in_transaction:
                self.error, self.void = error, True
            self.translate(error)


class Commands(Queries):
    """A ledger that is open to be written, by this process alone."""

    #: Begins a transaction that writes.
    _BEGIN: ClassVar[str]

    _now: Callable[[], float]
    _process: int
    _submissions = 0
    #: The time of the newest request that the open transaction notes.
    _newest_place: float | None = None
    _group: _Group | None = None

    # What differs with the place

    @abstractmethod
    def _refuse_lost(self) -> None:
        """Return if it is still this process's to write.

        Raises:
            LedgerLost: what is bought from now on would be forgotten.

        """

    @abstractmethod
    def _stored(self, path: Path) -> str | bytes:
        """Return a path as it is stored."""

    @abstractmethod
    def _new_id(self, db: Connection, inserted: Cursor, key: str) -> int:
        """Return the number of the row that a statement has inserted."""

    def _kept_place(self, video: Transition) -> str | bytes | None:
        """Return where a video is as it is stored: its path, or its URI elsewhere."""
        return video.uri if video.path is None else self._stored(video.path)

    def _before_intents(self) -> None:
        """Do what is to be done at times, before a transaction that may take in an intent."""

    def _after_intents(self) -> None:
        """Note that a transaction has committed an intent."""

    # What a run does

    def _recover(self, db: Connection) -> None:
        """Nobody knows whether what was being sent when a run was interrupted was bought."""
        error = json.dumps(["Interrupted", None, "the run was interrupted while this was being submitted"])
        db.execute(
            "UPDATE attempts SET state = 'unknown' WHERE state = 'submitting'"
            " AND row_id IN (SELECT id FROM rows WHERE state = 'submitting')"
        )
        db.execute("UPDATE rows SET state = 'unknown', error = ? WHERE state = 'submitting'", (error,))

    def _belong_to(self, db: Connection, account: tuple[str, str] | None) -> None:
        """Note whose the ledger is from now on; None leaves that to who opens it next."""
        if account is not None:
            provider, fingerprint = account
            db.execute(
                "INSERT INTO meta (name, value) VALUES ('provider', ?) ON CONFLICT (name) DO NOTHING", (provider,)
            )
            self._set_meta("fingerprint", fingerprint)

    def begin_run(self) -> int:
        """Return the number of a new run, among others that write the same open ledger."""
        with self._transaction():
            return self._next_run()

    def _next_run(self) -> int:
        run = int(self._meta("run") or 0) + 1
        self._set_meta("run", str(run))
        return run

    def claim(self, track: Track, *, location: str, run: int = 0) -> Claim:
        """Find or make the row of a track."""
        run, key = run or self._run, track.key
        with self._transaction() as db:
            known, changed = self._claimed(db, track, key, run)
            if known is None:
                values = self._values(key, track, location)
                inserted = self._inserted(db, [values], run)
                if inserted.rowcount:
                    *_, place, since = values
                    row = LedgerRow(
                        id=self._new_id(db, inserted, key),
                        track=track,
                        state=State.PLANNED,
                        location=place,
                        since=since,
                    )
                    return Claim(row=row, changed=changed)
                known, changed = self._claimed(db, track, key, run)  # it is being loaded at this very moment
            row, last_run = cast("tuple[LedgerRow, int]", known)
            if last_run == run:
                return Claim(row=row, repeated=True, changed=changed)
            place = _printable(location)
            db.execute(
                "UPDATE rows SET run = ?, place = ?, extra = ? WHERE id = ?",
                (run, place, _columns_of(track), row.id),
            )
            return Claim(row=evolve(row, location=place), changed=changed)

    @staticmethod
    def _claimed(
        db: Connection, track: Track, key: str, run: int
    ) -> tuple[tuple[LedgerRow, int] | None, LedgerRow | None]:
        """Return a track's row with the run that named it last, and the row of its song in `CLAIMED`.

        The track is as the catalog has it now: the ledger may hold other columns of an earlier one.
        """
        known, otherwise = None, None
        values = (track.suno_id, track.task_id, key, run, key)
        for found, last_run, *kept in db.execute(CLAIMED, values).fetchall():
            if found == key:
                known = row_of(kept, track), last_run
            else:
                otherwise = otherwise or row_of(kept)
        return known, otherwise

    def add(self, rows: Sequence[tuple[Track, str]]) -> Added:
        """Commit that tracks, each with its place in a catalog, are wanted; those that it has stay as they are."""
        with self._transaction() as db:
            self._refuse_lost()
            return self._added(db, rows)

    def _added(self, db: Connection, rows: Sequence[tuple[Track, str]]) -> Added:
        keys = [track.key for track, _ in rows]
        values = [self._values(key, *row) for key, row in zip(keys, rows, strict=True)]
        self._stage(db, values)
        elsewhere, others = self._elsewhere(keys), defaultdict[str, list[Track]](list)
        for key, (track, _) in zip(keys, rows, strict=True):
            if key in elsewhere:
                others[elsewhere[key]].append(track)
        return Added(new=self._insert_many(db, values, elsewhere), elsewhere=others)

    def _stage(self, db: Connection, rows: Sequence[tuple[object, ...]]) -> None:
        """Do what takes long before `_elsewhere` holds up others."""

    def _elsewhere(self, keys: Sequence[str]) -> Mapping[str, str]:  # noqa: ARG002  a file has no others beside it
        """Return which of these tracks other ledgers of the same database have, with the names of those."""
        return {}

    def _insert_many(self, db: Connection, rows: Sequence[tuple[object, ...]], but: Collection[str]) -> int:
        """Insert rows, given as values of `NEW`, unless they are there; leave some keys out; return how many."""
        rows = [row for row in rows if row[0] not in but]
        parts = (rows[at : at + INSERTED_AT_ONCE] for at in range(0, len(rows), INSERTED_AT_ONCE))
        return sum(self._inserted(db, part, run=0).rowcount for part in parts)

    def _inserted(self, db: Connection, rows: Sequence[tuple[object, ...]], run: int) -> Cursor:
        values = [value for row in rows for value in (*row, run)]
        return db.execute(_insert(len(rows)), values)

    def _values(self, key: str, track: Track, place: str) -> tuple[Any, ...]:
        """Return the values of the columns `NEW`."""
        return (
            *(key, track.task_id, track.suno_id, track.author or "", track.brand or ""),
            *(_columns_of(track), _printable(place), self._now()),
        )

    def begin_attempt(
        self,
        row_id: int,
        *,
        nonce: str,
        at: float,
        reserve: int,
        budget: int | None,
        rebuy_changed: bool = True,
        known: LedgerRow | None = None,
    ) -> int:
        """Commit that a row's CreateTask is about to be sent, and return the attempt's number."""
        if self._group is None:
            self._before_intents()
        with self._transaction() as db:
            self._refuse_lost_once()
            self._keep_within(budget, reserve)
            row = known
            if (
                row is None
                or row.state is not State.PLANNED
                or not self._is_begun(db, row, at=at, reserve=reserve, rebuy_changed=rebuy_changed)
            ):
                row = self._row_to_begin(db, row_id, rebuy_changed=rebuy_changed)
                self._is_begun(db, row, at=at, reserve=reserve, rebuy_changed=True)
            attempt = row.attempts + 1
            db.execute(
                "INSERT INTO attempts (row_id, n, nonce, state, at) VALUES (?, ?, ?, 'submitting', ?)",
                (row_id, attempt, nonce, at),
            )
            self._newest_place = at
            self._submissions += 1
            self._reserved += reserve
            return attempt

    @staticmethod
    def _is_begun(db: Connection, row: LedgerRow, *, at: float, reserve: int, rebuy_changed: bool) -> bool:
        """Make a row `submitting` if it is as it is known; return whether it was.

        Since it was claimed, another part of this client may have bought the song otherwise.
        """
        values = (row.attempts + 1, reserve, at, row.id, str(row.state), row.attempts, rebuy_changed)
        return db.execute(BEGIN_ROW, values).rowcount > 0

    def _row_to_begin(self, db: Connection, row_id: int, *, rebuy_changed: bool) -> LedgerRow:
        """Return a row that may be submitted, as it stands."""
        query = f"SELECT {COLUMNS}, {OTHERWISE} {FROM} WHERE r.id = ?"
        if (found := db.execute(query, (row_id,)).fetchone()) is None:
            raise no_row(row_id)
        *kept, other = found
        row = row_of(kept)
        if row.state in {State.FAILED, State.REFUSED}:
            # In one step with the attempt: a row that is not begun must not be left as planned.
            check_move(row, State.PLANNED, Cause.RUN)
        else:
            check_move(row, State.SUBMITTING, Cause.RUN)
        if other is not None and not rebuy_changed:
            raise AlreadyBoughtError(row.track, self._need(other).track.key)
        return row

    def _keep_within(self, budget: int | None, reserve: int) -> None:
        """Refuse a purchase that would be over a budget, in the transaction that its intent is committed in."""
        if budget is not None and self._spent + self._reserved + reserve > budget:
            raise BudgetExceeded(
                f"{reserve / MICRO:g} credits more would be over the budget of {budget / MICRO:g}:"
                f" {self._spent / MICRO:g} are spent and {self._reserved / MICRO:g} set aside"
            )

    def reserve(self, row_ids: Collection[int], amount: int, *, lower: bool = False) -> None:
        """Commit what is set aside for rows that are not settled."""
        with self._transaction() as db:
            for row_id in row_ids:
                row = self._need(row_id)
                if row.state in UNSETTLED and (lower or row.reserved < amount):
                    db.execute("UPDATE rows SET reserved = ? WHERE id = ?", (amount, row_id))
                    self._reserved += amount - row.reserved

    def move(
        self,
        row_id: int,
        transition: Transition,
        *,
        cause: Cause = Cause.RUN,
        known: LedgerRow | None = None,
    ) -> LedgerRow:
        """Commit how a row goes on, by the table of moves, and return it."""
        with self._transaction() as db:
            row = known
            if (
                row is None
                or not _may_move_as_known(row, transition, cause)
                or not self._is_moved(db, row, moved := _moved(row, transition, cause), transition)
            ):
                row = self._need(row_id)
                check_move(row, transition.state, cause)
                _check_whole(row, transition)
                if cause is Cause.SILENCE and self.candidate(row_id) is not None:
                    return row
                moved = _moved(row, transition, cause)
                self._is_moved(db, row, moved, transition)
            self._close_attempt(db, row, transition)
            self._note_end(db, row, transition)
            self._spent += moved.cost - row.cost
            self._reserved += moved.reserved - row.reserved
            return moved

    def _is_moved(self, db: Connection, row: LedgerRow, moved: LedgerRow, transition: Transition) -> bool:
        """Move a row on if it is as it is known; return whether it was."""
        place, error = self._kept_place(transition), transition.error
        values = (
            *(str(moved.state), transition.url, place, transition.sha256, moved.cost, moved.reserved),
            *(moved.failures, None if error is None else json.dumps(error)),
            *(row.id, str(row.state), row.attempts, row.cost, row.reserved, row.failures),
        )
        return db.execute(MOVE_ROW, values).rowcount > 0

    def take_name(self, row_id: int, name: str) -> bool:
        """Commit the name of a row's file; False if another row has it, but for case."""
        key = unicodedata.normalize("NFC", name.casefold())  # some file systems do not tell them apart
        with self._transaction() as db:
            if db.execute("SELECT 1 FROM rows WHERE name_key = ? AND id != ?", (key, row_id)).fetchone():
                return False
            db.execute("UPDATE rows SET name = ?, name_key = ? WHERE id = ?", (name, key, row_id))
        return True

    def _close_attempt(self, db: Connection, row: LedgerRow, transition: Transition) -> None:
        if not _closes_attempt(row, transition):
            return
        named = transition.video_task_id
        changed = db.execute(
            "UPDATE attempts SET state = ?, video_task_id = COALESCE(?, video_task_id)"
            " WHERE row_id = ? AND n = ?"
            " AND NOT EXISTS (SELECT 1 FROM attempts other WHERE other.video_task_id = ?"
            " AND (other.row_id != attempts.row_id OR other.n != attempts.n))",
            (str(transition.state), named, row.id, row.attempts, named),
        )
        if named is not None and not changed.rowcount:
            raise LedgerError(f"task {named} belongs to another row of the ledger already")

    @staticmethod
    def _note_end(db: Connection, row: LedgerRow, transition: Transition) -> None:
        if transition.ended is not None or transition.took is not None:
            # A run that was resumed hears of an end late; the server's own date is of another clock than ours.
            ended, took = transition.ended, transition.took
            after = ended if took is None else took
            db.execute(
                "UPDATE attempts SET ended = CASE WHEN at + ? < ? THEN at + ? ELSE ? END, took = ?"
                " WHERE row_id = ? AND n = ?",
                (after, ended, after, ended, took, row.id, row.attempts),
            )

    def note_candidate(self, nonce: str, task_id: VideoTaskId) -> None:
        """Commit which task a callback named for an attempt, before the callback is answered."""
        with self._transaction() as db:
            db.execute("UPDATE attempts SET candidate = ? WHERE nonce = ?", (task_id, nonce))

    def note_fact(self, name: str, value: str) -> None:
        """Commit something that the next run should know."""
        with self._transaction():
            self._set_meta(f"fact.{name}", value)

    def note_place(self, at: float) -> None:
        """Note that a request is being sent."""
        with self._transaction():
            self._refuse_lost()
            self._newest_place = at

    # Beneath

    @contextmanager
    def one_commit(self) -> Generator[None, None, None]:
        """Let the calls that the block makes be one commit, at its end, with one sync.

        A call that is refused, and has not written anything yet, leaves the others as they are.

        Raises:
            LedgerError: nothing is written, and what the calls returned is void: each has to be made by itself.

        """
        self._before_intents()
        db = self._db
        group = _Group(db, self._BEGIN, self._translate)
        with self._all_or_nothing(db):
            self._group = group
            try:
                yield
            finally:
                self._group = None
            if group.void and group.error is not None:
                raise group.error
            if group.begun:
                self._note_and_commit(db)

    def _refuse_lost_once(self) -> None:
        """Return if it is still this process's to write; all that becomes one commit looks once."""
        group = self._group
        if group is None or not group.is_ours:
            self._refuse_lost()
            if group is not None:
                group.is_ours = True

    def _leave_group(self) -> None:
        """Have a call that cannot share a commit made by itself."""
        if self._group is not None:
            self._group.void = True
            self._group.error = LedgerError("this cannot share a commit with other calls")
            raise self._group.error

    def _note_and_commit(self, db: Connection) -> None:
        """Commit the transaction that is open, with the time of the newest of its requests."""
        if self._newest_place is not None:
            self._set_meta("last_place", repr(self._newest_place + self._ahead))
        self._commit(db)

    def _commit(self, db: Connection) -> None:
        """Commit the transaction that is open."""
        db.execute("COMMIT")

    def _transaction(self) -> AbstractContextManager[Connection]:
        """Commit what the block does, or nothing of it."""
        if self._process != os.getpid():
            raise LedgerError(f"the ledger {self.name} was opened before a fork", fix="open it in the child")
        return self._group or self._alone(self._db)

    @contextmanager
    def _alone(self, db: Connection) -> Generator[Connection, None, None]:
        """Commit what the block does by itself."""
        with self._all_or_nothing(db):
            db.execute(self._BEGIN)
            yield db
            self._note_and_commit(db)

    @contextmanager
    def _all_or_nothing(self, db: Connection) -> Generator[None, None, None]:
        """Undo what the block does where it raises, in the sums too; else count what it submitted."""
        before = self._spent, self._reserved, self._submissions
        try:
            yield
        except BaseException as error:
            self._spent, self._reserved, self._submissions = before
            with self._translated():
                if db.in_transaction:
                    db.execute("ROLLBACK")
            self._translate(error)
            raise
        finally:
            self._newest_place = None
        if self._submissions > before[-1]:
            self._after_intents()

    def _set_meta(self, name: str, value: str) -> None:
        self._db.execute(
            "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, value),
        )


@cache
def _insert(number: int) -> str:
    """Return the statement that inserts so many rows, of `INSERTED_AT_ONCE` at most, unless they are there."""
    return f"{INSERT} VALUES {', '.join([ONE_ROW] * number)} {UNLESS_THERE}"


def _columns_of(track: Track) -> str:
    return json.dumps(dict(track.extra)) if track.extra else "{}"


def _printable(place: str) -> str:
    return place.encode(errors="backslashreplace").decode()


def _check_whole(row: LedgerRow, transition: Transition) -> None:
    """Refuse a move that would leave a row without what its new state needs."""
    if transition.state is State.SUBMITTING:
        raise LedgerError(f"row {row.id} becomes submitting by an attempt", fix="use begin_attempt")
    if transition.state is State.SUBMITTED and transition.video_task_id is None and row.video_task_id is None:
        raise LedgerError(f"row {row.id} cannot be submitted without a task's id")


def _closes_attempt(row: LedgerRow, transition: Transition) -> bool:
    """Whether a move says what a row's last attempt came to."""
    return row.state in {State.SUBMITTING, State.UNKNOWN} or transition.state is State.UNKNOWN


def _may_move_as_known(row: LedgerRow, transition: Transition, cause: Cause) -> bool:
    """Whether a row need not be read again before a move, if it is as it is known."""
    whole = transition.state is not State.SUBMITTED or transition.video_task_id is not None
    return whole and cause is Cause.RUN and row.state in _RUNS and may_move(row.state, transition.state)


def _moved(row: LedgerRow, transition: Transition, cause: Cause) -> LedgerRow:
    """Return a row as it is after a move."""
    cost, reserved = _settled(row, transition, cause)
    is_placed = transition.path is not None or transition.uri is not None
    return LedgerRow(  # `evolve` takes four times as long
        id=row.id,
        track=row.track,
        location=row.location,
        name=row.name,
        attempts=row.attempts,
        since=row.since,
        state=transition.state,
        video_task_id=(_closes_attempt(row, transition) and transition.video_task_id) or row.video_task_id,
        url=row.url if transition.url is None else transition.url,
        path=transition.path if is_placed else row.path,
        uri=(None if transition.path else transition.uri) if is_placed else row.uri,
        sha256=row.sha256 if transition.sha256 is None else transition.sha256,
        cost=cost,
        reserved=reserved,
        failures=row.failures + (transition.state is State.FAILED and cause is Cause.RUN),
        error=transition.error,
    )


def _settled(row: LedgerRow, transition: Transition, cause: Cause) -> tuple[int, int]:
    """Return a row's cost and reservation after a move.

    Where the server names no cost, the reservation is taken for it. A person's decision about an unknown row
    counts its reservation as spent, since it may have been.
    """
    if transition.state in {State.SUCCEEDED, State.FAILED} and row.state is State.SUBMITTED:
        return row.cost + (row.reserved if transition.cost is None else transition.cost), 0
    if cause is Cause.PERSON and transition.state is not State.SUBMITTED:
        return row.cost + row.reserved, 0
    if transition.state in {State.PLANNED, State.REFUSED}:
        return row.cost, 0
    return row.cost, row.reserved
