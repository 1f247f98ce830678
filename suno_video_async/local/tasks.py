"""Video tasks, and the music tasks they are made from.

A task is `pending` until work on it starts, `running` while its video is made, and ends as `success` or `failed`:

    pending -> running -> success
       |          |
       +----------+-----> failed
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import define, field, frozen

from suno_video_async.local.accounts import Account
from suno_video_async.local.exchange import MESSAGES, amount
from suno_video_async.local.faults import Fault
from suno_video_async.local.orders import Order
from suno_video_async.local.producers import Work
from suno_video_async.lyricvideo.library import Library, LibraryTrack

PENDING, RUNNING, SUCCESS, FAILED = "pending", "running", "success", "failed"

MOVES: Final[Mapping[str, frozenset[str]]] = {
    PENDING: frozenset({RUNNING, FAILED}),
    RUNNING: frozenset({SUCCESS, FAILED}),
    SUCCESS: frozenset(),
    FAILED: frozenset(),
}


@define(eq=False)
class VideoTask:
    """One video task.

    Attributes:
        created, completed: Unix seconds of the server's clock; `completed` is None until the end.
        credits: what is reserved for it, and at the end what it cost; given back when it fails.
        media: the path of its video on this server.
        problem: why it failed.
        notes: what viewers of its video should know.
        began: Unix seconds of the server's clock at which work on it started.
        work: on it, until the end.
        callback_fault: the fault that applies to its callback.

    """

    id: str
    owner: Account = field(repr=False)
    order: Order
    created: float
    credits: float
    status: str = PENDING
    completed: float | None = None
    media: str | None = None
    problem: str | None = None
    notes: tuple[str, ...] = ()
    began: float | None = None
    work: Work | None = field(default=None, repr=False)
    callback_fault: Fault | None = None

    def move(self, status: str) -> None:
        """Change the status.

        Raises:
            ValueError: `MOVES` has no such transition.

        """
        if status not in MOVES[self.status]:
            raise ValueError(f"task {self.id} cannot go from {self.status} to {status}")
        self.status = status

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return not MOVES[self.status]

    def data(self, origin: str) -> dict[str, Any]:
        """Return the `data` of TaskInfo; `origin` begins the media's URLs."""
        created = int(self.created)
        completed = None if self.completed is None else int(self.completed)
        data: dict[str, Any] = {
            "task_id": self.id,
            "provider": "Suno",
            "model_version": "suno-music-video",
            "status": self.status,
            "param": self.order.param,
            "create_at": created,
            "result": self._result(origin),
            "duration_s": None if completed is None else completed - created,
            "complete_at": completed,
            "credits": amount(self.credits),
            "source": "api",
        }
        return data

    def _result(self, origin: str) -> dict[str, Any] | None:
        if self.status == SUCCESS:
            notes = {"notes": list(self.notes)} if self.notes else {}
            return {"code": 200, "message": MESSAGES[200], "media_urls": [f"{origin}{self.media}"], **notes}
        if self.status == FAILED:
            return {"code": 501, "message": self.problem or MESSAGES[501]}
        return None


@frozen
class _ShelvedTrack:
    track: LibraryTrack
    audio: str
    cover: str


class MusicTasks:
    """The library's songs as finished music tasks, which belong to every account.

    Args:
        library: the songs.
        shelve: returns the path on this server for a track's `"audio"` or `"cover"`.
        now: Unix seconds; the songs were made some time before.

    """

    def __init__(self, library: Library, shelve: Callable[[LibraryTrack, str], str], now: float) -> None:
        self._library = library
        self._shelve = shelve
        self._created = int(now) - 86_400
        self._shelved: dict[LibraryTrack, _ShelvedTrack] = {}
        self._tasks: dict[str, list[_ShelvedTrack]] = {}
        self.refresh()

    def refresh(self) -> None:
        """Take over the library's current songs; unchanged ones keep their URLs."""
        tracks = self._library.tracks()
        self._shelved = {track: self._shelved.get(track) or self._shelf(track) for track in tracks}
        self._tasks = {}
        for track, shelved in self._shelved.items():
            self._tasks.setdefault(track.task_id, []).append(shelved)

    def _shelf(self, track: LibraryTrack) -> _ShelvedTrack:
        return _ShelvedTrack(track, self._shelve(track, "audio"), self._shelve(track, "cover"))

    def why_unknown(self, order: Order) -> str | None:
        """Return what is wrong with an order's track, or None if the library has it."""
        if self._library.find(order.task_id, order.suno_id) is not None:
            return None
        problem = self._library.problem(order.task_id, order.suno_id)
        if problem is not None:
            return f"input.suno_id: this track cannot be made into a video: {problem}"
        if order.task_id not in self._tasks:
            return "input.task_id: no such music task"
        return f"input.suno_id: no such track in music task {order.task_id}"

    def data(self, task_id: str, origin: str) -> dict[str, Any] | None:
        """Return the `data` of TaskInfo for a music task, or None if it does not exist."""
        shelved = self._tasks.get(task_id)
        if shelved is None:
            return None
        tracks = [_track_data(entry, origin) for entry in shelved]
        result = {
            "code": 200,
            "message": MESSAGES[200],
            "media_urls": [entry["suno_audio_url"] for entry in tracks],
            "suno_data": tracks,
        }
        settings = {"mode": "custom", "model": "v5", "instrumental": False, "title": shelved[0].track.title}
        return {
            "task_id": task_id,
            "provider": "Suno",
            "model_version": "sunov5",
            "status": SUCCESS,
            "param": {"model": "suno/music-generate", "callback_url": None, "input": settings},
            "create_at": self._created,
            "result": result,
            "duration_s": 86,
            "complete_at": self._created + 86,
            "credits": 12,
            "source": "api",
        }

    def listing(self) -> list[dict[str, Any]]:
        """Return all music tasks and their tracks."""
        return [
            {"task_id": task_id, "tracks": [_listed(entry.track) for entry in shelved]}
            for task_id, shelved in self._tasks.items()
        ]


def _listed(track: LibraryTrack) -> dict[str, Any]:
    return {
        "suno_id": track.suno_id,
        "title": track.title,
        "artist": track.artist,
        "duration": track.duration,
        "language": track.language,
        "tags": track.tags,
    }


def _track_data(entry: _ShelvedTrack, origin: str) -> dict[str, Any]:
    track = entry.track
    return {
        "suno_id": track.suno_id,
        "title": track.title,
        "suno_audio_url": origin + entry.audio,
        "suno_image_url": origin + entry.cover,
        "suno_image_large_url": origin + entry.cover,
        "duration": track.duration,
        "tags": track.tags,
        "lyrics": "\n".join(line.text for line in track.lyrics),
    }
