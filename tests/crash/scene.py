"""A server in one process, runs that die in others, and what ledger, server and disk say afterwards."""

from __future__ import annotations

import hashlib
import itertools
import os
import signal
import subprocess
import threading
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

from attrs import define, evolve, field, frozen

import suno_video_async
from suno_video_async.config import Settings
from suno_video_async.ledger.address import as_ledger
from suno_video_async.ledger.model import LedgerRow, Transition
from suno_video_async.ledger.postgres.ledger import PostgresLedger
from suno_video_async.ledger.postgres.reader import PostgresReader
from suno_video_async.ledger.states import Cause, State
from suno_video_async.models import VideoTaskId
from tests.crash.child import ENDS, LOST, SCALE, Job, as_line
from tests.crash.points import Point
from tests.support.keys import KEY
from tests.support.ledger_files import changed, image_of, lost, opened, put
from tests.support.mp4 import problem_of
from tests.support.postgres import named
from tests.support.processes import PATIENCE, ServerProcess, child, server_process

TRACKS = 6
ROOT = Path(suno_video_async.__file__).parent.parent
_music_tasks = itertools.count(1)


@frozen
class Server(ServerProcess):
    """The local server, and what it says of tracks."""

    def books(self) -> Mapping[str, int]:
        """Return how often each track was charged."""
        return {str(name): int(times) for name, times in self.stats()["charged_by_track"].items()}

    def most_in_any_window(self) -> int:
        """Return the largest number of requests that ever arrived within one period."""
        return int(self.stats()["max_in_any_window"])

    def task_of(self, task_id: str, suno_id: str) -> str:
        """Return the video task that a track was bought as."""
        wanted = {"task_id": task_id, "suno_id": suno_id}
        found = [task["task_id"] for task in self.tasks() if wanted.items() <= task["param"]["input"].items()]
        assert len(found) == 1, found
        return str(found[0])


@contextmanager
def serving(faults: Path | None = None) -> Generator[Server, None, None]:
    """Run a server with simulated rendering."""
    options = ["--render-seconds", "20:0.35", "--time-scale", SCALE, "--seed", 1]
    money = ["--credits", 1_000_000, "--api-key", KEY]
    injected = [] if faults is None else ["--faults", faults]
    with server_process(*options, *money, *injected) as server:
        yield Server(server.url, KEY)


class Runs:
    """Runs that may die."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, job: Job) -> int:
        """Do a job in a process of its own and return how it ended: 0, or minus the signal."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(as_line(job))
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@contextmanager
def runs() -> Generator[Runs, None, None]:
    """Make ready to run jobs."""
    with child("tests.crash.child", environment={**os.environ, "HOME": "/nonexistent"}) as process:
        yield Runs(process)


@frozen(kw_only=True)
class Seen:
    """What came of one crash.

    Attributes:
        died: whether the run ended by SIGKILL, or by the loss of its ledger where that is the point.
        unknown: rows that are unknown: those that a dead run left in `submitting`, and no other.
        unknown_charged: how many of them the server has charged.
        charged: tracks that the server has charged.
        charged_twice: tracks that it has charged more than once.
        lost: tracks that are in no final state and not unknown.
        broken: what is wrong with the files on disk.
        forgotten: whether the ledger of the dead run was taken for whole without its log, though it was not.
        settled: how many tracks are on disk, each charged once, after a person resolved the unknown ones.

    """

    died: bool
    unknown: int
    unknown_charged: int
    charged: int
    charged_twice: int
    lost: int
    broken: Sequence[str]
    forgotten: bool
    settled: int


@define
class Scene:
    """One catalog, its ledger and its folder."""

    server: Server
    runs: Runs
    folder: Path
    size: int = TRACKS
    connections: int = 1
    address: str | None = None
    bucket: Any = None
    music_task: str = field(init=False, factory=lambda: f"m{next(_music_tasks)}")

    @property
    def ledger(self) -> Path | str:
        """The ledger's file, or its address."""
        return self.address or self.folder / "catalog.db"

    @property
    def videos(self) -> Path:
        """The folder for the videos, or for what came of those in a store."""
        return self.folder / "videos"

    def job(self) -> Job:
        """Return what converts the catalog to its end."""
        return Job(
            url=self.server.url,
            key=KEY,
            ledger=str(self.ledger),
            folder=str(self.videos) if self.bucket is None else f"s3://{self.bucket.name}/{self.music_task}",
            notes=f"{self.videos}.notes",
            tracks=[(self.music_task, f"s{n}") for n in range(self.size)],
            connections=self.connections,
        )

    def run(self, point: str | None = None, nth: int = 1, **more: Any) -> int:
        """Convert the catalog, to its end or to a point."""
        one_by_one = self.connections == 1 and (point is not None or "lose" in more)
        return self.runs.run(evolve(self.job(), point=point, nth=nth, one_by_one=one_by_one, **more))

    def take_over(self, others: Runs, gone: threading.Event) -> int:
        """Convert the catalog to its end in another process, as soon as the one that holds the ledger ends."""
        ledger = PostgresLedger(str(self.address))
        while ledger.writer() is None and not gone.wait(0.01):  # or the first one would be refused
            pass
        return others.run(evolve(self.job(), waits=True))

    def rows(self) -> Sequence[LedgerRow]:
        """Return what the ledger has."""
        ledger = as_ledger(self.ledger)
        if not ledger.open_to_read():
            return ()
        try:
            return ledger.rows()
        finally:
            ledger.close()

    def notified(self) -> set[str]:
        """Return the tasks that the hooks of all runs were notified of."""
        notes = Path(f"{self.videos}.notes")
        return set(notes.read_text(encoding="utf-8").split()) if notes.exists() else set()

    def charged(self, row: LedgerRow) -> int:
        """Return how often the server charged a row's track."""
        return self.server.books().get(f"{row.track.task_id}/{row.track.suno_id}//", 0)

    def finish(self, died: bool) -> Seen:
        """Run to the end, look, let a person resolve what is unknown, and run again."""
        words = set[str]() if self.address is None else self.words()
        named = {row.video_task_id for row in self.rows()} | words
        assert self.notified() <= named, "hooks hear of what is written down"
        forgotten = self.forgets()
        left = [row for row in self.rows() if row.state in {State.SUBMITTING, State.UNKNOWN}]
        assert self.run() == 0
        rows = self.rows()
        unknown = [row for row in rows if row.state is State.UNKNOWN]
        assert {row.id for row in unknown} <= {row.id for row in left}, "unknown is what was being submitted"
        assert len(unknown) >= len(left) - len(words), (
            "what is unknown stays so, but where word of its task was left"
        )
        charged = {row.id: self.charged(row) for row in rows}
        broken = self.broken(rows)
        if unknown:
            self._resolve(unknown)
            assert self.run() == 0
        return Seen(
            died=died,
            unknown=len(unknown),
            unknown_charged=sum(charged[row.id] for row in unknown),
            charged=sum(times > 0 for times in charged.values()),
            charged_twice=sum(times > 1 for times in charged.values()),
            lost=self.size - sum(row.state in ENDS for row in rows),
            broken=broken or self.broken(self.rows()),
            forgotten=forgotten,
            settled=sum(row.state is State.DOWNLOADED and self.charged(row) == 1 for row in self.rows()),
        )

    def words(self) -> set[str]:
        """Return the tasks of which word was left for the next holder."""
        reader = PostgresReader(str(self.address))
        if not reader.open_to_read():
            return set()
        try:
            return {str(task_id) for (task_id,) in reader._select("SELECT task_id FROM inbox")}
        finally:
            reader.close()

    def forgets(self) -> bool:
        """Whether a run that finds the ledger without its log takes it, and buys something again."""
        if isinstance(self.ledger, str):
            return False
        whole = image_of(self.ledger)
        files = changed("without its log", whole, None)
        if files is None:
            return False
        before = {row.track: row.state.value for row in self.rows()}
        put(self.ledger, files)
        after = opened(self.ledger, KEY, self.server.url)
        put(self.ledger, whole)
        return after is not None and lost(before, after) is not None

    def _resolve(self, unknown: Sequence[LedgerRow]) -> None:
        """Do what a person does who looks into the account: adopt what was bought, send again what was not."""
        ledger = as_ledger(self.ledger)
        provider, fingerprint = Settings.find(KEY, self.server.url).account
        ledger.open(provider=provider, fingerprint=fingerprint)
        try:
            for row in unknown:
                if self.charged(row):
                    task = VideoTaskId(self.server.task_of(row.track.task_id, row.track.suno_id))
                    transition = Transition(state=State.SUBMITTED, video_task_id=task)
                else:
                    transition = Transition(state=State.PLANNED)
                ledger.move(row.id, transition, cause=Cause.PERSON)
        finally:
            ledger.close()

    def broken(self, rows: Sequence[LedgerRow]) -> Sequence[str]:
        """Return what is wrong with the files: one whole video for each downloaded row, and nothing else."""
        if self.bucket is not None:
            return self._broken_in_the_store(rows)
        wanted = {row.path for row in rows if row.state is State.DOWNLOADED}
        found = set(self.videos.iterdir()) if self.videos.exists() else set[Path]()
        problems = [f"{path} is missing" for path in wanted - found]
        problems += [f"{path} is left over" for path in found - wanted]
        whole = wanted & found
        problems += [f"{path}: {problem}" for path in whole if path and (problem := problem_of(path))]
        if len({hashlib.sha256(path.read_bytes()).hexdigest() for path in whole if path}) > 1:
            problems.append("the same video has different bytes")
        return problems

    def _broken_in_the_store(self, rows: Sequence[LedgerRow]) -> Sequence[str]:
        wanted = {row.uri for row in rows if row.state is State.DOWNLOADED}
        found = list(self.bucket.objects.filter(Prefix=f"{self.music_task}/"))
        problems = [
            f"{uri} is missing or left over" for uri in wanted ^ {f"s3://{x.bucket_name}/{x.key}" for x in found}
        ]
        if len({hashlib.sha256(one.get()["Body"].read()).hexdigest() for one in found}) > 1:
            problems.append("the same video has different bytes")
        return problems


class Stage:
    """Gives every scene a server and the runs; ledgers are files, or in a database with a bucket beside it."""

    def __init__(self, folder: Path, database: str | None = None, bucket: Any = None) -> None:
        self.folder = folder
        self.database = database
        self.bucket = bucket
        self._stack = ExitStack()
        self._shared: Server | None = None
        self._runs: Runs | None = None
        self._others: Runs | None = None
        self._scenes = itertools.count(1)

    def __enter__(self) -> Stage:
        self._shared = self._stack.enter_context(serving())
        self._runs = self._stack.enter_context(runs())
        if self.database is not None:
            self._others = self._stack.enter_context(runs())
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def server(self) -> Server:
        """The server that the scenes without faults share."""
        assert self._shared is not None
        return self._shared

    def scene(self, server: Server | None = None, *, size: int = TRACKS, connections: int = 1) -> Scene:
        """Return a catalog of its own."""
        assert self._runs is not None
        folder = self.folder / f"scene{next(self._scenes)}"
        folder.mkdir()
        address = None if self.database is None else named(self.database)
        return Scene(server or self.server, self._runs, folder, size, connections, address)

    def play(self, point: Point, *, another: bool = False) -> Seen:
        """Crash at a point, and see what comes of it; if asked, another process waits to take over."""
        if not point.faults:
            return self._play(self.scene(connections=TRACKS if point.at_once else 1), point, another=another)
        faults = self.folder / "faults.toml"
        faults.write_text(point.faults)
        with serving(faults) as server:
            return self._play(self.scene(server), point, another=another)

    def _play(self, scene: Scene, point: Point, *, another: bool) -> Seen:
        if point.stored:
            scene.bucket = self.bucket
        if point.after is not None:
            scene.run(point.after, 3)
        more: dict[str, Any] = {"checkpoint_after": point.checkpoint_after}
        name, ends = (None, LOST) if point.loses else (point.name, -signal.SIGKILL)
        if point.loses or point.lost_at is not None:
            more["lose"] = point.name if point.loses else point.lost_at
        with ThreadPoolExecutor(1) as pool:
            gone = threading.Event()
            taking = pool.submit(scene.take_over, cast("Runs", self._others), gone) if another else None
            try:
                died = scene.run(name, point.nth, **more) == ends
            finally:
                gone.set()
            assert taking is None or taking.result(PATIENCE) == 0
        return scene.finish(died)
