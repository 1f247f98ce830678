"""A process that converts a catalog and dies at a named point, without any help of the library's.

`python -m tests.crash.child` reads one JSON job a line, forks for each, and prints how the fork ended: it dies by
SIGKILL as any process would, and the imports are paid for once.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
from aiohttp import http_writer
from attrs import asdict, frozen

import suno_video_async.download.fetch as media
import suno_video_async.download.partial as partfile
from suno_video_async import Hooks, SubmitEvent, SunoVideoClient, Timeout, Track
from suno_video_async.api.transport import AiohttpTransport
from suno_video_async.clock import SystemClock
from suno_video_async.download.places import StorePath
from suno_video_async.download.store import Found, Stores
from suno_video_async.errors import LedgerInUse, LedgerLost
from suno_video_async.ledger import commands, files, sqlite
from suno_video_async.ledger.commands import Commands
from suno_video_async.ledger.copies import Counter, Mark, Phase
from suno_video_async.ledger.group_commit import GroupCommit, _outcome_of
from suno_video_async.ledger.model import LedgerRow, Transition
from suno_video_async.ledger.postgres.ledger import PostgresLedger
from suno_video_async.ledger.postgres.session import Session
from suno_video_async.ledger.sqlite import SqliteLedger
from suno_video_async.ledger.states import State
from suno_video_async.protocol.codec import Answer, Operation, Request
from tests.crash.points import RECOVERING

#: Model seconds in a real one, for the server and the client alike.
SCALE = 400.0
#: What a run imports late: five times the work of the rest of it, which each fork would do again.
LATE = (
    *("anyio._backends._asyncio", "encodings.ascii"),
    *("suno_video_async.batch.conversion", "suno_video_async.engine", "suno_video_async.batch.single"),
)
#: As a point: whichever is reached.
ANY = "any"
#: How a run ends whose ledger was lost.
LOST = 3


@frozen(kw_only=True)
class Job:
    """One run.

    Attributes:
        point: where to die; None runs to the end.
        nth: at which time that the point is reached.
        notes: the file for what hooks are notified of; by default beside the folder.
        connections: the most requests in the air.
        one_by_one: a row begins when the one before it has ended, so that one point has one outcome.
        lose: where the ledger's session is ended, at the same `nth` time; a later point then counts from there.
        waits: whether it waits until no other process holds the ledger.
        checkpoint_after: as in `Point`.

    """

    url: str
    key: str
    ledger: str
    folder: str
    tracks: Sequence[tuple[str, str]]
    point: str | None = None
    nth: int = 1
    notes: str | None = None
    connections: int = 1
    one_by_one: bool = False
    lose: str | None = None
    waits: bool = False
    checkpoint_after: int | None = None


class Points:
    """Counts how often a point is reached, and ends the process there, or before that the ledger's session."""

    def __init__(self, wanted: str | None, nth: int, lose: str | None = None) -> None:
        self._wanted = lose or wanted
        self._left = nth
        self._then = wanted
        self._loses = lose is not None
        self.waiting: list[str] | None = None
        #: Whether what a submission came to is not committed yet: on a busy machine its task is polled earlier.
        self.is_submitting = False
        self.session: Session | None = None
        self._ended: Session | None = None

    def reach(self, name: str) -> None:
        """Die here, if this is where; what is committed with others is so only when the whole commit is."""
        if self.waiting is not None and name.endswith(": committed"):
            self.waiting.append(name)
            return
        if self._wanted not in {name, ANY} or (self._wanted == name and self._is_early(name)):
            return
        self._left -= 1
        if self._left == 0 and self._loses:
            self._wanted, self._left, self._loses = self._then, 1, False
            self._end_session()
        elif self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def _is_early(self, name: str) -> bool:
        return self.is_submitting and name.startswith("TaskInfo: ")

    def has_ended(self, session: Session) -> bool:
        """Whether this has ended a session."""
        return session is self._ended

    def _end_session(self) -> None:
        """Do what a restart of the database's server does."""
        assert self.session is not None
        self._ended = self.session
        info = self.session.connection.info
        with psycopg.connect(info.dsn, password=info.password, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", (info.backend_pid,))


_operation: ContextVar[Operation | None] = ContextVar("operation", default=None)


def _around(points: Points, owner: Any, name: str, before: str | None = None, after: str | None = None) -> None:
    """Wrap a blocking function."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if before is not None:
            points.reach(before)
        result = original(*args, **kwargs)
        if after is not None:
            points.reach(after)
        return result

    setattr(owner, name, wrapped)


def arm(points: Points) -> None:
    """Put every point into the code that reaches it."""
    _around(points, Commands, "claim", "claim: before", "claim: committed")
    _around(points, Commands, "_inserted", after="claim: written, not committed")
    _around(points, Commands, "_recover", after=RECOVERING)
    _around(points, partfile.PartFile, "finish", "download: part whole", "download: renamed")
    _around(points, os, "fsync", after="download: part synced")
    _around(points, os, "link", after="download: has both names")
    _arm_stores(points)
    _arm_ledger(points)
    _arm_session(points)
    _arm_group_commit(points)
    _arm_ledger_files(points)
    _arm_requests(points)
    _arm_downloads(points)


def _arm_ledger(points: Points) -> None:
    begin, move = Commands.begin_attempt, Commands.move
    close_attempt, set_meta = Commands._close_attempt, Commands._set_meta
    beginning = False

    def beginning_attempt(self: Commands, row_id: int, **more: Any) -> int:
        nonlocal beginning
        points.reach("submitting: before")
        beginning = True
        number = begin(self, row_id, **more)
        points.is_submitting = True
        points.reach("submitting: committed")
        return number

    def moving(self: Commands, row_id: int, transition: Transition, **more: Any) -> LedgerRow:
        points.reach(f"{transition.state}: before")
        row = move(self, row_id, transition, **more)
        points.is_submitting = False
        points.reach(f"{transition.state}: committed")
        return row

    def closing_attempt(self: Commands, db: Any, row: LedgerRow, transition: Transition) -> None:
        close_attempt(self, db, row, transition)
        points.reach(f"{transition.state}: written, not committed")

    def setting_meta(self: Commands, name: str, value: str) -> None:
        nonlocal beginning
        set_meta(self, name, value)
        if beginning and name == "last_place":  # the last that is written before an intent is committed
            beginning = False
            points.reach("submitting: written, not committed")

    Commands.begin_attempt = beginning_attempt  # type: ignore[method-assign]
    Commands.move = moving  # type: ignore[method-assign]
    Commands._close_attempt = closing_attempt  # type: ignore[method-assign]
    Commands._set_meta = setting_meta  # type: ignore[method-assign]


def _arm_session(points: Points) -> None:
    """Put in the points at which a ledger is taken in a database, and at which its session may be lost."""
    open_, execute, move = PostgresLedger.open, Session.execute, Commands.move
    begin, examine = Commands.begin_attempt, PostgresLedger._examine
    committing: str | None = None

    def opening(self: PostgresLedger, **more: Any) -> None:
        open_(self, **more)
        assert isinstance(self._connection, Session)
        points.session = self._connection

    def examining(self: PostgresLedger, *args: Any, **more: Any) -> bool:
        points.reach("locks taken")
        return examine(self, *args, **more)

    def executing(self: Session, statement: str, values: Sequence[Any] = (), /) -> Any:
        cursor = execute(self, statement, values)
        if statement == "COMMIT" and committing is not None:
            points.reach(f"{committing}: committed, not answered")
            if points.has_ended(self):
                return execute(self, "SELECT 1")  # which finds out
        return cursor

    def beginning(self: Commands, *args: Any, **more: Any) -> int:
        nonlocal committing
        committing = "submitting"
        try:
            return begin(self, *args, **more)
        finally:
            committing = None

    def moving(self: Commands, row_id: int, transition: Transition, **more: Any) -> LedgerRow:
        nonlocal committing
        committing = transition.state
        try:
            return move(self, row_id, transition, **more)
        finally:
            committing = None

    _around(points, PostgresLedger, "leave", "word left: before", "word left: committed")
    for owner, name, replacement in (
        (PostgresLedger, "open", opening),
        (PostgresLedger, "_examine", examining),
        (Session, "execute", executing),
        (Commands, "begin_attempt", beginning),
        (Commands, "move", moving),
    ):
        setattr(owner, name, replacement)


def _arm_group_commit(points: Points) -> None:
    """Put in the points at which several writes become one commit."""
    one_commit, end_write = Commands.one_commit, commands._Group.__exit__

    @contextmanager
    def committing(self: Commands) -> Iterator[None]:
        waiting = points.waiting = []
        with one_commit(self):
            yield
            points.reach("batch: written, not committed")
        points.waiting = None
        points.reach("batch: committed, not answered")
        for name in waiting:
            points.reach(name)

    def written(self: commands._Group, kind: Any, error: BaseException | None, trace: Any) -> None:
        end_write(self, kind, error, trace)
        if error is None:
            points.reach("batch: one write of several")

    Commands.one_commit = committing  # type: ignore[method-assign]
    commands._Group.__exit__ = written  # type: ignore[method-assign]


def _arm_ledger_files(points: Points) -> None:
    """Put in the points at which a ledger is opened, checkpointed and closed."""
    live, period, mark = SqliteLedger._go_live, SqliteLedger._begin_period, SqliteLedger._set_mark
    rename, counter, alone = Path.replace, files.write_counter, files.mark_alone
    checkpoint = SqliteLedger._checkpoint_at_times
    doing: str | None = None

    def reach(what: str) -> None:
        if doing is not None:
            points.reach(f"{doing}: {what}")

    def going_live(self: SqliteLedger) -> None:
        nonlocal doing
        doing = "opening"
        live(self)
        reach("live")
        doing = None

    def beginning_period(self: SqliteLedger, file: Path, phase: Phase) -> bool:
        nonlocal doing
        doing = "closing" if phase is Phase.CLOSED else "checkpoint"
        reach("before the mark")
        done = period(self, file, phase)
        reach("checkpointed")
        doing = None
        return done

    def checkpointing(self: SqliteLedger) -> None:
        before = self._checkpointed
        checkpoint(self)
        if self._mark.phase is Phase.LIVE and self._checkpointed > before:
            points.reach("checkpoint: live")

    def setting_mark(self: SqliteLedger, new: Mark) -> None:
        mark(self, new)
        reach("marked")

    def writing_counter(path: Path, written: Counter) -> None:
        counter(path, written)
        reach("counter written")

    def renaming(self: Path, target: Any) -> Path:
        reach("counter not renamed")
        return rename(self, target)

    def reading_alone(path: Path) -> Mark | None:
        if doing == "opening":
            reach("checkpointed")
        found = alone(path)
        if doing == "opening":
            reach("verified")
        return found

    _around(points, SqliteLedger, "_prepare", "opening: before the mark", "opening: mark committed")
    for owner, name, replacement in (
        (SqliteLedger, "_go_live", going_live),
        (SqliteLedger, "_begin_period", beginning_period),
        (SqliteLedger, "_checkpoint_at_times", checkpointing),
        (SqliteLedger, "_set_mark", setting_mark),
        (Path, "replace", renaming),
        (sqlite, "write_counter", writing_counter),
        (sqlite, "mark_alone", reading_alone),
    ):
        setattr(owner, name, replacement)


def _arm_requests(points: Points) -> None:
    send, connect = AiohttpTransport.send, aiohttp.TCPConnector.connect
    start, write_eof = aiohttp.ClientResponse.start, http_writer.StreamWriter.write_eof

    async def sending(self: AiohttpTransport, request: Request) -> Answer:
        _operation.set(request.operation)
        points.reach(f"{request.operation}: before the connection")
        answer = await send(self, request)
        points.reach(f"{request.operation}: answer read")
        if request.operation is Operation.TASK_INFO and b'"success"' in answer.body.partition(b'"status"')[2][:16]:
            points.reach("TaskInfo: success seen")
        return answer

    async def connecting(self: aiohttp.TCPConnector, *args: Any, **kwargs: Any) -> Any:
        connection = await connect(self, *args, **kwargs)
        points.reach(f"{_operation.get()}: connected")
        return connection

    async def starting(self: aiohttp.ClientResponse, connection: Any) -> aiohttp.ClientResponse:
        response = await start(self, connection)
        points.reach(f"{_operation.get()}: answer arrives")
        return response

    async def writing(self: http_writer.StreamWriter, chunk: bytes = b"") -> None:
        await write_eof(self, chunk)
        points.reach(f"{_operation.get()}: sent")

    AiohttpTransport.send = sending  # type: ignore[method-assign]
    aiohttp.TCPConnector.connect = connecting  # type: ignore[method-assign, assignment]
    aiohttp.ClientResponse.start = starting  # type: ignore[method-assign]
    http_writer.StreamWriter.write_eof = writing  # type: ignore[method-assign]


def _arm_downloads(points: Points) -> None:
    download = media.MediaFetcher.download

    async def fetching(*args: Any, **kwargs: Any) -> partfile.Saved:
        points.reach("download: before")
        return await download(*args, **kwargs)

    begin, write = partfile.PartFile.begin, partfile.PartFile.write

    def beginning(part: Any, *args: Any) -> None:
        begin(part, *args)
        points.reach("download: part begun")

    def writing(part: Any, chunk: bytes) -> None:
        half = len(chunk) // 2
        write(part, chunk[:half])
        points.reach("download: part half written")
        write(part, chunk[half:])

    media.MediaFetcher.download = fetching  # type: ignore[method-assign]
    partfile.PartFile.begin = beginning  # type: ignore[method-assign, assignment]
    partfile.PartFile.write = writing  # type: ignore[method-assign, assignment]


def _arm_stores(points: Points) -> None:
    create = Stores._create

    async def creating(self: Stores, file: Path, place: StorePath, video: Found) -> bool:
        done = await create(self, file, place, video)
        points.reach("store: put done")
        return done

    Stores._create = creating  # type: ignore[method-assign]


@frozen
class Notes(Hooks):
    """Writes down what the hooks are notified of, beside the ledger."""

    path: Path

    def on_submit(self, event: SubmitEvent) -> None:
        """Note a task that was bought."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{event.task_id}\n")


async def convert(job: Job) -> None:
    """Convert the job's tracks, whatever becomes of each, once no other process holds the ledger."""
    while True:
        try:
            return await _convert(job)
        except LedgerInUse:
            if not job.waits:
                raise
        await asyncio.sleep(0.05)


async def _convert(job: Job) -> None:
    turns = asyncio.Semaphore(1 if job.one_by_one else len(job.tracks))

    async def catalog() -> AsyncIterator[Track]:
        for task_id, suno_id in job.tracks:
            await turns.acquire()
            yield Track(task_id=task_id, suno_id=suno_id)

    client = SunoVideoClient(
        api_key=job.key,
        base_url=job.url,
        clock=SystemClock(SCALE),
        timeout=Timeout(connect=30, total=60),
        max_connections=job.connections,
        hooks=[Notes(Path(job.notes or f"{job.folder}.notes"))],
    )
    async with client, client.convert(catalog(), ledger=job.ledger, output_dir=job.folder) as outcomes:
        async for _ in outcomes:
            turns.release()


def run(job: Job) -> None:
    """Do the job in this process."""
    arm(Points(job.point, job.nth, job.lose))
    if job.one_by_one:  # a note of the time that shares a commit with a row would move the checkpoint
        setattr(GroupCommit, "_make", lambda _, calls: [_outcome_of(call) for call in calls])  # noqa: B010  for mypy
    if job.checkpoint_after is not None:
        sqlite.CHECKPOINT_AFTER = job.checkpoint_after
    asyncio.run(convert(job))


def _fork(job: Job) -> int:
    """Do the job in a fork, and return how it ended: 0, or minus the signal."""
    if (pid := os.fork()) == 0:
        try:
            with contextlib.suppress(LedgerLost):
                run(job)
                os._exit(0)
            os._exit(LOST)
        finally:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main() -> None:
    """Fork for each job on stdin."""
    for late in LATE:
        importlib.import_module(late)
    for line in sys.stdin:
        print(_fork(Job(**json.loads(line))), flush=True)


def as_line(job: Job) -> str:
    """Return a job as `main` reads it."""
    return json.dumps(asdict(job)) + "\n"


#: Whatever else a row is in when nothing is left to do, it is lost.
ENDS = frozenset({State.DOWNLOADED, State.FAILED, State.REFUSED, State.UNKNOWN})

if __name__ == "__main__":
    main()
