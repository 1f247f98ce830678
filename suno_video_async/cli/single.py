"""The commands for single tasks: `submit`, `status`, `balance`, `watch`, `wait`, `download`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import click
from attrs import define, evolve, field
from rich.table import Table
from rich.text import Text

from suno_video_async._util.words import many
from suno_video_async.batch.outcome import Outcome
from suno_video_async.cli import errors
from suno_video_async.cli.exits import Exit, UsageProblem
from suno_video_async.cli.interrupts import Interrupts
from suno_video_async.cli.options import Connection, check_writable, client_options, output_dir_option
from suno_video_async.cli.output import Output, plain
from suno_video_async.cli.plan import dry_run_option, quote_tracks
from suno_video_async.cli.purchases import Purchases, resume_command
from suno_video_async.cli.session import with_client
from suno_video_async.cli.tally import Tally
from suno_video_async.download.filenames import file_name
from suno_video_async.download.places import Folder
from suno_video_async.errors import NotFoundError, SunoVideoError, TaskEndUnknown, TaskFailed
from suno_video_async.hooks import Hooks, SubmitEvent
from suno_video_async.models import (
    MusicTaskId,
    OutcomeState,
    SunoId,
    TaskSnapshot,
    TaskUpdate,
    Track,
    Video,
    video_task_id,
)

if TYPE_CHECKING:
    from suno_video_async.client import SunoVideoClient


@define(eq=False)
class _PrintsId(Hooks):
    """Prints the id of a bought task as soon as it is known, even after the user has interrupted the command."""

    output: Output

    def on_submit(self, event: SubmitEvent) -> None:
        track = event.request.track
        line = {"video_task_id": event.task_id, "track": {"task_id": track.task_id, "suno_id": track.suno_id}}
        self.output.result(line, human=lambda: Text(event.task_id))
        self.output.hint(f"submitted; to follow it: suno-video watch {event.task_id}")


@click.command(
    "submit",
    epilog="\b\nExamples:\n  suno-video submit task_12345678 suno_abc123 --dry-run\n"
    "  suno-video submit task_12345678 suno_abc123 --author Ava --brand 'Acme Records'",
)
@click.argument("task_id")
@click.argument("suno_id")
@click.option("--author", metavar="NAME", help="Shown as the artist; at most 50 characters.")
@click.option("--brand", metavar="NAME", help="Shown as a watermark; at most 50 characters.")
@click.option("--callback-url", metavar="URL", help="The service calls this URL when the video is finished.")
@dry_run_option
@client_options
def submit_command(
    *,
    task_id: str,
    suno_id: str,
    author: str | None,
    brand: str | None,
    callback_url: str | None,
    dry_run: bool,
    connection: Connection,
    output: Output,
) -> int:
    """Buy the video of one track, and print the video's task id.

    TASK_ID is the finished music task, SUNO_ID the track in it (suno-video tracks lists them). This costs credits.
    """
    track = _track(task_id, suno_id, author, brand)
    if dry_run:
        return quote_tracks([track], connection, output)

    async def submit(client: SunoVideoClient, _: Interrupts) -> int:
        try:
            await client.submit(track, callback_url)
        except ValueError as error:
            raise UsageProblem(str(error)) from error
        return Exit.DONE

    output.keeps = True
    purchases = Purchases()
    with purchases.listening():
        code = with_client(connection, output, submit, _PrintsId(output))
    for error in purchases.unclaimed:
        output.note(errors.line(error))
    return code


def _track(task_id: str, suno_id: str, author: str | None, brand: str | None) -> Track:
    try:
        return Track(task_id=MusicTaskId(task_id), suno_id=SunoId(suno_id), author=author, brand=brand)
    except ValueError as error:
        raise UsageProblem(str(error)) from error


@click.command("status", epilog="\b\nExample:\n  suno-video status VIDEO_TASK_ID")
@click.argument("video_task_id")
@client_options
def status_command(*, video_task_id: str, connection: Connection, output: Output) -> int:
    """Print the current state of a video.

    The exit code says whether the query succeeded, not whether the video did.
    """

    async def status(client: SunoVideoClient, _: Interrupts) -> int:
        snapshot = await client.status(checked_id(video_task_id))
        output.result(_status_line(snapshot), human=lambda: _status_table(snapshot))
        return Exit.DONE

    return with_client(connection, output, status)


def checked_id(task_id: str) -> str:
    """Return `task_id` if it has the form of a task id.

    Raises:
        UsageProblem: it does not.

    """
    if not (
        0 < len(task_id) <= 256 and task_id.isascii() and task_id.isprintable() and task_id.strip() == task_id
    ):
        raise UsageProblem(
            f"{task_id[:80]!r} cannot be a task's id: those are 1 to 256 printable ASCII characters"
        )
    return task_id


def _status_line(snapshot: TaskSnapshot) -> dict[str, object]:
    return {
        "video_task_id": snapshot.task_id,
        "status": snapshot.raw_status,
        "final": snapshot.is_final,
        "url": snapshot.video_url,
        "create_at": snapshot.create_at,
        "complete_at": snapshot.complete_at,
        "duration_s": snapshot.duration_s,
        "credits": snapshot.credits,
        "message": snapshot.result_message,
    }


def _status_table(snapshot: TaskSnapshot) -> Table:
    table = Table.grid(padding=(0, 1))
    for name, value in _status_line(snapshot).items():
        if value is not None and name != "final":
            table.add_row(name.replace("_", " "), Text(plain(str(value)), overflow="fold"))
    return table


@click.command("balance", epilog="\b\nExample:\n  suno-video balance")
@client_options
def balance_command(*, connection: Connection, output: Output) -> int:
    """Print the account's credits."""

    async def balance(client: SunoVideoClient, _: Interrupts) -> int:
        credits_ = await client.balance()
        output.result({"balance": credits_}, human=lambda: Text(many(credits_, "credit")))
        return Exit.DONE

    return with_client(connection, output, balance)


@click.command("watch", epilog="\b\nExample:\n  suno-video watch VIDEO_TASK_ID")
@click.argument("task_id", metavar="VIDEO_TASK_ID")
@client_options
def watch_command(*, task_id: str, connection: Connection, output: Output) -> int:
    """Print each change of a video's state until it is finished.

    The exit code is 0 if the video was made and 1 if it failed. Ctrl+C stops watching; the video continues.
    """

    async def watch(client: SunoVideoClient, _: Interrupts) -> int:
        await client.status(checked_id(task_id))  # fails fast if the service cannot be reached
        async for update in client.attach(task_id):
            output.result(_update_line(update), human=partial(_update_text, update))
            if update.is_final:
                from suno_video_async.task import video_of  # noqa: PLC0415  help and mistakes do without it

                video_of(update.snapshot)
        return Exit.DONE

    return with_client(connection, output, watch)


def _update_line(update: TaskUpdate) -> dict[str, object]:
    return {
        "video_task_id": update.task_id,
        "status": update.snapshot.raw_status,
        "final": update.is_final,
        "elapsed": round(update.elapsed, 3),
        "progress": update.progress,
        "eta": update.eta,
        "url": update.snapshot.video_url,
        "message": update.snapshot.result_message,
    }


def _update_text(update: TaskUpdate) -> str:
    progress = "" if update.progress is None else f" about {update.progress:.0%}"
    url = f" {update.snapshot.video_url}" if update.snapshot.video_url else ""
    return f"{update.elapsed:8.1f} s  {update.snapshot.raw_status}{progress}{url}"


@click.command(
    "wait",
    epilog="\b\nExample:\n  suno-video wait VIDEO_TASK_ID --output-dir videos",
)
@click.argument("task_ids", metavar="VIDEO_TASK_ID...", nargs=-1, required=True)
@output_dir_option(None, says="Download the videos to this folder; without it, print their URLs.")
@client_options
def wait_command(
    *,
    task_ids: tuple[str, ...],
    output_dir: Folder | None,
    connection: Connection,
    output: Output,
) -> int:
    """Wait for videos submitted earlier, and print each one as it finishes.

    Exit codes: 0 all were made, 1 some failed, 4 some could not be followed to the end, 130 interrupted. Ctrl+C
    stops waiting; the videos continue.
    """
    waiting = _Waiting(output=output, output_dir=output_dir, left=list(dict.fromkeys(map(checked_id, task_ids))))
    folder = [] if output_dir is None else ["--output-dir", str(output_dir)]
    if output_dir is not None:
        check_writable(output_dir)
    code = with_client(connection, output, waiting.run)
    if waiting.left and code == Exit.INTERRUPTED:
        again = resume_command(waiting.left, options=[*folder, *connection.repeated()])
        output.note(
            f"{many(len(waiting.left), 'video continues', 'videos continue')} at the provider; to follow: {again}"
        )
    return code


@define(eq=False, kw_only=True)
class _Waiting:
    """Follows tasks until they finish, and downloads their videos."""

    output: Output
    output_dir: Folder | None
    left: list[str]
    _tally: Tally = field(factory=Tally, init=False)
    _names: dict[str, str] = field(factory=dict[str, str], init=False)

    async def run(self, client: SunoVideoClient, _: Interrupts) -> int:
        """Wait for all of them."""
        # A single query fails fast if the service cannot be reached; following would keep trying.
        with contextlib.suppress(NotFoundError):  # reported with the others
            await client.status(self.left[0])
        # All are attached before the first one is awaited: the poller owns a task, not its reader.
        running = [asyncio.ensure_future(self._outcome(client, task_id)) for task_id in self.left]
        try:
            for ended in asyncio.as_completed(running):
                self._report(await ended)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        return self._tally.exit_code(interrupted=False)

    def _report(self, outcome: Outcome) -> None:
        self._tally.add(outcome)
        if outcome.video_task_id is not None and outcome.state != "submitted":
            self.left.remove(outcome.video_task_id)
        self.output.result(outcome.record(), human=lambda: _outcome_text(outcome))

    async def _outcome(self, client: SunoVideoClient, task_id: str) -> Outcome:
        outcome = Outcome(track=None, state="submitted", video_task_id=video_task_id(task_id))
        task = client.attach(task_id)
        try:
            video = await task.result()
        except TaskFailed as error:
            track = track_of(error.snapshot)
            return evolve(outcome, track=track, state="failed", error=error, credits=error.snapshot.credits)
        except SunoVideoError as error:
            return evolve(outcome, state=_state_after(error), error=error)
        made = evolve(
            outcome, track=track_of(video.snapshot), state="succeeded", url=video.url, credits=video.credits
        )
        return await self._delivered(client, video, made)

    async def _delivered(self, client: SunoVideoClient, video: Video, outcome: Outcome) -> Outcome:
        if self.output_dir is None:
            return outcome
        try:
            saved = await client.fetch(video, self.output_dir, name=self._name(video))
        except SunoVideoError as error:
            return evolve(outcome, error=error)
        return evolve(outcome, state="downloaded", path=saved.path, uri=saved.uri)

    def _name(self, video: Video) -> str:
        """Return a file name that is unique within this run."""
        suno_id = video.suno_id or video.task_id
        first = self._names.setdefault(suno_id, video.task_id)
        return file_name(suno_id, marked_by=None if first == video.task_id else video.task_id)


def _state_after(error: SunoVideoError) -> OutcomeState:
    """Return how a video stands that is neither made nor failed."""
    if isinstance(error, TaskEndUnknown):
        return "unknown"
    return "failed" if isinstance(error, NotFoundError) else "submitted"


def _outcome_text(outcome: Outcome) -> str:
    if outcome.error is not None:
        return f"{outcome.video_task_id}  {outcome.state}  {errors.line(outcome.error)}"
    return f"{outcome.video_task_id}  {outcome.state}  {outcome.path or outcome.uri or outcome.url}"


def track_of(snapshot: TaskSnapshot) -> Track | None:
    """Return the track that a task was made from, if the server echoes it in full."""
    said: Mapping[str, Any] = snapshot.input
    try:
        return Track(
            task_id=said["task_id"], suno_id=said["suno_id"], author=said.get("author"), brand=said.get("brand")
        )
    except (KeyError, TypeError, ValueError):
        return None


@click.command("download", epilog="\b\nExample:\n  suno-video download VIDEO_TASK_ID --output-dir videos")
@click.argument("task_id", metavar="VIDEO_TASK_ID")
@output_dir_option(says="The folder to save the video to, as {suno_id}.mp4.")
@client_options
def download_command(
    *,
    task_id: str,
    output_dir: Folder,
    connection: Connection,
    output: Output,
) -> int:
    """Download a finished video.

    The file appears under its final name only once it is complete. The service keeps videos for about 14 days.
    """
    check_writable(output_dir)

    async def download(client: SunoVideoClient, _: Interrupts) -> int:
        snapshot = await client.status(checked_id(task_id))
        if not snapshot.is_final and not snapshot.awaits_video:
            raise UsageProblem(
                f"{task_id} is not finished yet ({snapshot.raw_status}):"
                " suno-video wait --output-dir waits and downloads"
            )
        from suno_video_async.task import video_of  # noqa: PLC0415  help and mistakes do without it

        video = video_of(snapshot)
        saved = await client.fetch(video, output_dir)
        outcome = Outcome(
            track=track_of(snapshot),
            state="downloaded",
            video_task_id=snapshot.task_id,
            url=video.url,
            path=saved.path,
            uri=saved.uri,
            credits=video.credits,
        )
        output.result(outcome.record(), human=lambda: str(saved.path or saved.uri))
        return Exit.DONE

    return with_client(connection, output, download)
