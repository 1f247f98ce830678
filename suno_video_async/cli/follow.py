"""The commands that follow videos to their end: `watch`, `wait`, `download`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click
from attrs import define, evolve, field

from suno_video_async.batch.outcome import Outcome
from suno_video_async.batch.row import DOWNLOADS
from suno_video_async.cli import errors
from suno_video_async.cli.errors import Exit, UsageProblem
from suno_video_async.cli.interrupts import Interrupts
from suno_video_async.cli.options import ClientOptions, client_options, output_dir_option, writable_folder
from suno_video_async.cli.output import Output
from suno_video_async.cli.purchases import resume_command
from suno_video_async.cli.session import with_client
from suno_video_async.cli.single import checked_id
from suno_video_async.cli.tally import Tally, outcome_line
from suno_video_async.client import SunoVideoClient
from suno_video_async.download.filenames import file_name
from suno_video_async.errors import NotFoundError, SunoVideoError, TaskFailed
from suno_video_async.models import OutcomeState, TaskSnapshot, TaskUpdate, Track, Video, video_task_id
from suno_video_async.task import video_of


@click.command("watch", epilog="\b\nExample:\n  suno-video watch VIDEO_TASK_ID")
@click.argument("task_id", metavar="VIDEO_TASK_ID")
@client_options
def watch_command(
    *, task_id: str, base_url: str | None, timeout: float | None, time_scale: float, output: Output
) -> int:
    """Print each change of a video's state until it is over.

    The exit code is 0 when the video is made and 1 when it failed. Ctrl+C leaves; the video goes on.
    """

    async def watch(client: SunoVideoClient, _: Interrupts) -> int:
        await client.status(checked_id(task_id))  # gives up soon where the service is not there at all
        async for update in client.attach(task_id):
            output.result(_update_line(update), human=partial(_update_text, update))
            if update.is_final:
                video_of(update.snapshot)
        return Exit.DONE

    return with_client(ClientOptions(base_url=base_url, timeout=timeout, time_scale=time_scale), output, watch)


def _update_line(update: TaskUpdate) -> dict[str, object]:
    urls = update.snapshot.media_urls
    return {
        "video_task_id": update.task_id,
        "status": update.snapshot.raw_status,
        "final": update.is_final,
        "elapsed": round(update.elapsed, 3),
        "progress": update.progress,
        "eta": update.eta,
        "url": urls[0] if urls else None,
        "message": update.snapshot.result_message,
    }


def _update_text(update: TaskUpdate) -> str:
    progress = "" if update.progress is None else f" about {update.progress:.0%}"
    url = f" {update.snapshot.media_urls[0]}" if update.snapshot.media_urls else ""
    return f"{update.elapsed:8.1f} s  {update.snapshot.raw_status}{progress}{url}"


@click.command(
    "wait",
    short_help="Wait for videos that were submitted before.",
    epilog="\b\nExample:\n  suno-video wait VIDEO_TASK_ID --output-dir videos",
)
@click.argument("task_ids", metavar="VIDEO_TASK_ID...", nargs=-1, required=True)
@output_dir_option(None, says="Download the videos into this folder; without it their URLs are printed.")
@client_options
def wait_command(
    *,
    task_ids: tuple[str, ...],
    output_dir: Path | None,
    base_url: str | None,
    timeout: float | None,
    time_scale: float,
    output: Output,
) -> int:
    """Wait for videos that were submitted before, and print them as they end.

    Exit codes: 0 all are made, 1 some failed, 4 some could not be followed to their end, 130 interrupted. Ctrl+C
    leaves; the videos go on.
    """
    reach = ClientOptions(base_url=base_url, timeout=timeout, time_scale=time_scale)
    waiting = _Waiting(output=output, output_dir=output_dir, left=list(dict.fromkeys(map(checked_id, task_ids))))
    folder = [] if output_dir is None else ["--output-dir", str(writable_folder(output_dir))]
    code = with_client(reach, output, waiting.run)
    if waiting.left and code == Exit.INTERRUPTED:
        again = resume_command(waiting.left, options=[*folder, *reach.repeated()])
        output.note(f"{len(waiting.left)} videos go on at the provider; to follow them: {again}")
    return code


@define(eq=False, kw_only=True)
class _Waiting:
    """Follows tasks to their ends, and downloads their videos."""

    output: Output
    output_dir: Path | None
    left: list[str]
    _tally: Tally = field(factory=Tally, init=False)
    _downloads: asyncio.Semaphore = field(factory=lambda: asyncio.Semaphore(DOWNLOADS), init=False)
    _names: dict[str, str] = field(factory=dict[str, str], init=False)

    async def run(self, client: SunoVideoClient, _: Interrupts) -> int:
        """Wait for all of them."""
        # A first question alone gives up soon where the service is not there at all; following would go on.
        with contextlib.suppress(NotFoundError):  # told with the others
            await client.status(self.left[0])
        # All are attached before the first of them is awaited: a task belongs to the poller, not to its reader.
        running = [asyncio.ensure_future(self._outcome(client, task_id)) for task_id in self.left]
        try:
            for ended in asyncio.as_completed(running):
                self._tell(await ended)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        return self._tally.exit_code(interrupted=False)

    def _tell(self, outcome: Outcome) -> None:
        self._tally.add(outcome)
        if outcome.video_task_id is not None and outcome.state != "submitted":
            self.left.remove(outcome.video_task_id)
        self.output.result(outcome_line(outcome), human=lambda: _outcome_text(outcome))

    async def _outcome(self, client: SunoVideoClient, task_id: str) -> Outcome:
        outcome = Outcome(track=None, state="submitted", video_task_id=video_task_id(task_id))
        task = client.attach(task_id)
        try:
            video = await task.result()
        except TaskFailed as error:
            track = track_of(error.snapshot)
            return evolve(outcome, track=track, state="failed", error=error, credits=error.snapshot.credits)
        except SunoVideoError as error:
            state: OutcomeState = "failed" if isinstance(error, NotFoundError) else "submitted"
            return evolve(outcome, state=state, error=error)
        made = evolve(
            outcome, track=track_of(video.snapshot), state="succeeded", url=video.url, credits=video.credits
        )
        return await self._delivered(client, video, made)

    async def _delivered(self, client: SunoVideoClient, video: Video, outcome: Outcome) -> Outcome:
        if self.output_dir is None:
            return outcome
        try:
            async with self._downloads:
                path = await client.download(video, self.output_dir, name=self._name(video))
        except SunoVideoError as error:
            return evolve(outcome, error=error)
        return evolve(outcome, state="downloaded", path=path)

    def _name(self, video: Video) -> str:
        """Return a file name that no other video of this run has."""
        suno_id = video.suno_id or video.task_id
        first = self._names.setdefault(suno_id, video.task_id)
        return file_name(suno_id, marked_by=None if first == video.task_id else video.task_id)


def _outcome_text(outcome: Outcome) -> str:
    if outcome.error is not None:
        return f"{outcome.video_task_id}  {outcome.state}  {errors.line(outcome.error)}"
    return f"{outcome.video_task_id}  {outcome.state}  {outcome.path or outcome.url}"


def track_of(snapshot: TaskSnapshot) -> Track | None:
    """Return the track that a task was made from, where the server repeats it in full."""
    said: Mapping[str, Any] = snapshot.input
    try:
        return Track(
            task_id=said["task_id"], suno_id=said["suno_id"], author=said.get("author"), brand=said.get("brand")
        )
    except (KeyError, TypeError, ValueError):
        return None


@click.command("download", epilog="\b\nExample:\n  suno-video download VIDEO_TASK_ID --output-dir videos")
@click.argument("task_id", metavar="VIDEO_TASK_ID")
@output_dir_option(says="The folder for the video, {suno_id}.mp4.")
@client_options
def download_command(
    *,
    task_id: str,
    output_dir: Path,
    base_url: str | None,
    timeout: float | None,
    time_scale: float,
    output: Output,
) -> int:
    """Fetch a video that is made.

    The file appears under its name only when it is whole. The service keeps videos for about 14 days.
    """
    writable_folder(output_dir)

    async def download(client: SunoVideoClient, _: Interrupts) -> int:
        snapshot = await client.status(checked_id(task_id))
        if not snapshot.is_final:
            raise UsageProblem(
                f"{task_id} is not over yet ({snapshot.raw_status}): suno-video wait --output-dir does both"
            )
        video = video_of(snapshot)
        path = await client.download(video, output_dir)
        outcome = Outcome(
            track=track_of(snapshot),
            state="downloaded",
            video_task_id=snapshot.task_id,
            url=video.url,
            path=path,
            credits=video.credits,
        )
        output.result(outcome_line(outcome), human=lambda: str(path))
        return Exit.DONE

    return with_client(ClientOptions(base_url=base_url, timeout=timeout, time_scale=time_scale), output, download)
