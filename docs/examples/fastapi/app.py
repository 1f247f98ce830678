"""Videos as a web service: order, watch and fetch them."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from pydantic import BaseModel, model_validator
from suno_video_async import (
    AlreadyBoughtError,
    APIError,
    BudgetExceeded,
    CallbackReceiver,
    InsufficientCreditsError,
    InvalidRequestError,
    NotFoundError,
    Outcome,
    SubmissionUnknown,
    SunoVideoClient,
    SunoVideoError,
    TaskFailed,
    TaskUpdate,
    Track,
    TransportError,
    VideoTask,
)

from fastapi import Depends, FastAPI, HTTPException, Request

PUBLIC_URL = os.environ.get("PUBLIC_URL", "http://127.0.0.1:8000")
LEDGER, FOLDER = "videos.ledger.db", Path("videos")
#: Seconds after which a web client is asked to try later.
PATIENCE = 20.0

#: What a web client hears of an error: the first line that fits.
STATUS: tuple[tuple[type[SunoVideoError], int], ...] = (
    (InvalidRequestError, 422),  # the API knows no such track
    (InsufficientCreditsError, 402),
    (BudgetExceeded, 402),
    (AlreadyBoughtError, 409),  # under another author
    (SubmissionUnknown, 409),  # it may be bought: see `suno-video unknown`
    (NotFoundError, 404),
    (TaskFailed, 502),
    (APIError, 503),  # busy, or down for maintenance: nothing was bought
    (TransportError, 503),
)


class Song(BaseModel):
    """What is asked for; what no track can be is refused with 422."""

    task_id: str
    suno_id: str
    author: str | None = None

    @model_validator(mode="after")
    def check(self) -> "Song":
        self.track()
        return self

    def track(self) -> Track:
        return Track(
            task_id=self.task_id, suno_id=self.suno_id, author=self.author
        )


class Videos:
    """The open client, and what is known of its videos."""

    def __init__(self, client: SunoVideoClient) -> None:
        self.client = client
        self.tasks: dict[str, VideoTask] = {}
        self.wanted: asyncio.Queue[Track] = asyncio.Queue()
        self.outcomes: dict[str, Outcome] = {}

    async def order(self, track: Track) -> VideoTask:
        """Buy a video, or find the one that is bought.

        What is being sent when the patience ends is followed all the
        same: the same order finds it later.
        """
        async with asyncio.timeout(PATIENCE):
            task = await self.client.submit(track)
        return self.tasks.setdefault(task.id, task)

    async def find(self, task_id: str) -> VideoTask:
        """Return a task, also one that was bought before a restart."""
        if task_id not in self.tasks:
            async with asyncio.timeout(PATIENCE):
                await self.client.status(task_id)  # or NotFoundError
            self.tasks.setdefault(task_id, self.client.attach(task_id))
        return self.tasks[task_id]

    async def make_albums(self, receiver: CallbackReceiver) -> None:
        """Convert queued songs, within the rate limit of all videos."""

        async def wanted() -> AsyncIterator[Track]:
            while True:
                yield await self.wanted.get()

        options: dict[str, Any] = {
            "ledger": LEDGER,
            "output_dir": FOLDER,
            "callbacks": receiver,
        }
        # First what the last run of the app has bought.
        for source in (None, wanted()):
            async with self.client.convert(source, **options) as outcomes:
                async for outcome in outcomes:
                    if outcome.track is not None:
                        suno_id = outcome.track.suno_id
                        self.outcomes[suno_id] = outcome


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with SunoVideoClient(ledger=LEDGER) as client:
        receiver = CallbackReceiver(
            client, public_url=f"{PUBLIC_URL}/callbacks"
        )
        app.mount("/callbacks", receiver.asgi())
        app.state.videos = videos = Videos(client)
        worker = asyncio.create_task(videos.make_albums(receiver))
        try:
            yield
        finally:
            worker.cancel()
            await asyncio.wait([worker])


app = FastAPI(lifespan=lifespan)


def videos_of(request: Request) -> Videos:
    found: Videos = request.app.state.videos
    return found


Here = Annotated[Videos, Depends(videos_of)]


async def task_of(video: str, videos: Here) -> VideoTask:
    try:
        return await videos.find(video)
    except ValueError as error:
        raise HTTPException(404, str(error)) from error


Task = Annotated[VideoTask, Depends(task_of)]


@app.exception_handler(SunoVideoError)
async def refused(_: Request, error: SunoVideoError) -> JSONResponse:
    status = next((n for kind, n in STATUS if isinstance(error, kind)), 500)
    later = {"Retry-After": "60"} if status == 503 else {}
    return JSONResponse({"detail": str(error)}, status, later)


@app.exception_handler(TimeoutError)
async def busy(_: Request, error: TimeoutError) -> JSONResponse:
    del error
    detail = "the API is busy or away: ask again later"
    return JSONResponse({"detail": detail}, 503, {"Retry-After": "60"})


@app.post("/videos", status_code=202)
async def make(song: Song, videos: Here) -> dict[str, str]:
    """Buy one video; the same request again finds it."""
    task = await videos.order(song.track())
    return {"video": task.id}


@app.get("/videos/{video}")
async def look(task: Task) -> dict[str, Any]:
    """Return the state of a video."""
    return state_of(task.latest)


def state_of(update: TaskUpdate | None) -> dict[str, Any]:
    if update is None:
        return {"status": "not seen yet"}
    return {
        "status": update.status,
        "progress": update.progress,
        "eta": update.eta,
    }


@app.get("/videos/{video}/events")
async def events(task: Task) -> StreamingResponse:
    """Stream the state of a video once a second until it ends."""

    async def lines() -> AsyncIterator[str]:
        async for update in task.updates(every=1.0):
            yield f"data: {json.dumps(state_of(update))}\n\n"

    return StreamingResponse(
        lines(),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store"},
    )


@app.get("/videos/{video}/file")
async def file(video: str, task: Task, videos: Here) -> FileResponse:
    """Send the finished video, from this machine's disk."""
    path = FOLDER / "single" / f"{video}.mp4"
    if not path.exists():
        if task.latest is None or not task.latest.is_final:
            raise HTTPException(404, "it is not finished yet")
        made = await task.result()
        path = await videos.client.download(
            made, path.parent, name=path.name
        )
    return FileResponse(path, media_type="video/mp4")


@app.post("/albums", status_code=202)
async def make_album(songs: list[Song], videos: Here) -> dict[str, int]:
    """Queue songs for the conversion that runs as long as the app."""
    for song in songs:
        videos.wanted.put_nowait(song.track())
    return {"queued": len(songs)}


@app.get("/albums/{suno_id}")
async def album_outcome(
    suno_id: str, videos: Here
) -> dict[str, str | None]:
    """Return the outcome of one song of an album."""
    outcome = videos.outcomes.get(suno_id)
    if outcome is None:
        return {"state": "waiting", "path": None}
    path = outcome.path
    return {"state": outcome.state, "path": str(path) if path else None}
