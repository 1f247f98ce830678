"""A server in one process, runs that die in others, and what ledger, server and disk say afterwards."""

from __future__ import annotations

import hashlib
import itertools
import os
import subprocess
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from attrs import define, field, frozen

import suno_video_async
from suno_video_async.config import Settings
from suno_video_async.ledger.address import as_ledger
from suno_video_async.ledger.model import LedgerRow, Transition
from suno_video_async.ledger.states import Cause, State
from suno_video_async.models import VideoTaskId
from tests.crash.child import ENDS, SCALE, Job, as_line
from tests.crash.points import Point
from tests.support.keys import KEY
from tests.support.ledger_files import changed, image_of, lost, opened, put
from tests.support.mp4 import problem_of
from tests.support.postgres import named
from tests.support.processes import ServerProcess, child, server_process

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
        died: whether the run ended by SIGKILL.
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
    music_task: str = field(init=False, factory=lambda: f"m{next(_music_tasks)}")

    @property
    def ledger(self) -> Path | str:
        """The ledger's file, or its address."""
        return self.address or self.folder / "catalog.db"

    @property
    def videos(self) -> Path:
        """The folder for the videos."""
        return self.folder / "videos"

    def run(self, point: str | None = None, nth: int = 1, *, checkpoint_after: int | None = None) -> int:
        """Convert the catalog, to its end or to a point."""
        return self.runs.run(
            Job(
                url=self.server.url,
                key=KEY,
                ledger=str(self.ledger),
                folder=str(self.videos),
                tracks=[(self.music_task, f"s{n}") for n in range(self.size)],
                point=point,
                nth=nth,
                connections=self.connections,
                one_by_one=point is not None and self.connections == 1,
                checkpoint_after=checkpoint_after,
            )
        )

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
        assert self.notified() <= {row.video_task_id for row in self.rows()}, "hooks hear of what is written down"
        forgotten = self.forgets()
        left = [row for row in self.rows() if row.state in {State.SUBMITTING, State.UNKNOWN}]
        assert self.run() == 0
        rows = self.rows()
        unknown = [row for row in rows if row.state is State.UNKNOWN]
        assert {row.id for row in unknown} == {row.id for row in left}, "unknown is what was being submitted"
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
        wanted = {row.path for row in rows if row.state is State.DOWNLOADED}
        found = set(self.videos.iterdir()) if self.videos.exists() else set[Path]()
        problems = [f"{path} is missing" for path in wanted - found]
        problems += [f"{path} is left over" for path in found - wanted]
        whole = wanted & found
        problems += [f"{path}: {problem}" for path in whole if path and (problem := problem_of(path))]
        if len({hashlib.sha256(path.read_bytes()).hexdigest() for path in whole if path}) > 1:
            problems.append("the same video has different bytes")
        return problems


class Stage:
    """Gives every scene a server and the runs; the ledgers are files, or in a database."""

    def __init__(self, folder: Path, database: str | None = None) -> None:
        self.folder = folder
        self.database = database
        self._stack = ExitStack()
        self._shared: Server | None = None
        self._runs: Runs | None = None
        self._scenes = itertools.count(1)

    def __enter__(self) -> Stage:
        self._shared = self._stack.enter_context(serving())
        self._runs = self._stack.enter_context(runs())
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

    def play(self, point: Point) -> Seen:
        """Crash at a point, and see what comes of it."""
        if not point.faults:
            return self._play(self.scene(connections=TRACKS if point.at_once else 1), point)
        faults = self.folder / "faults.toml"
        faults.write_text(point.faults)
        with serving(faults) as server:
            return self._play(self.scene(server), point)

    @staticmethod
    def _play(scene: Scene, point: Point) -> Seen:
        if point.after is not None:
            scene.run(point.after, 3)
        return scene.finish(scene.run(point.name, point.nth, checkpoint_after=point.checkpoint_after) == -9)
