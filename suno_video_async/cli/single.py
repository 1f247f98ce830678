"""The commands that ask one thing: `submit`, `status`, `tracks`, `balance`."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import click
from attrs import define
from rich.table import Table
from rich.text import Text

from suno_video_async.cli import dryrun, errors
from suno_video_async.cli.dryrun import dry_run_option
from suno_video_async.cli.errors import Exit, UsageProblem
from suno_video_async.cli.interrupts import Interrupts
from suno_video_async.cli.options import ClientOptions, client_options
from suno_video_async.cli.output import Output, plain
from suno_video_async.cli.purchases import Purchases
from suno_video_async.cli.session import with_client
from suno_video_async.client import SunoVideoClient
from suno_video_async.hooks import Hooks, SubmitEvent
from suno_video_async.models import MusicTaskId, SunoId, SunoTrack, TaskSnapshot, Track


@define(eq=False)
class _TellsId(Hooks):
    """Tells the id of what is bought the moment it is known, even to a user who has interrupted the command."""

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
@click.option("--callback-url", metavar="URL", help="The service calls this URL of yours when the video is over.")
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
    base_url: str | None,
    timeout: float | None,
    time_scale: float,
    output: Output,
) -> int:
    """Buy the video of one track, and print the video's task id.

    TASK_ID is the finished music task, SUNO_ID the track in it (suno-video tracks lists them). This costs credits.
    """
    track = _track(task_id, suno_id, author, brand)
    reach = ClientOptions(base_url=base_url, timeout=timeout, time_scale=time_scale)
    if dry_run:
        return dryrun.of_tracks([track], reach, output)

    async def submit(client: SunoVideoClient, _: Interrupts) -> int:
        try:
            await client.submit(track, callback_url)
        except ValueError as error:
            raise UsageProblem(str(error)) from error
        return Exit.DONE

    purchases = Purchases()
    with purchases.listening():
        code = with_client(reach, output, submit, _TellsId(output))
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
def status_command(
    *, video_task_id: str, base_url: str | None, timeout: float | None, time_scale: float, output: Output
) -> int:
    """Ask once how a video stands.

    The exit code tells whether the question was answered, not how the video stands.
    """

    async def status(client: SunoVideoClient, _: Interrupts) -> int:
        snapshot = await client.status(checked_id(video_task_id))
        output.result(_status_line(snapshot), human=lambda: _status_table(snapshot))
        return Exit.DONE

    return with_client(ClientOptions(base_url=base_url, timeout=timeout, time_scale=time_scale), output, status)


def checked_id(task_id: str) -> str:
    """Return an id that a task can have.

    Raises:
        UsageProblem: no task can have it.

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
        "url": snapshot.media_urls[0] if snapshot.media_urls else None,
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


@click.command(
    "tracks",
    epilog="\b\nExample:\n  suno-video tracks task_12345678 --csv > catalog.csv",
)
@click.argument("music_task_ids", metavar="MUSIC_TASK_ID...", nargs=-1, required=True)
@click.option("--csv", "as_csv", is_flag=True, help="A catalog for suno-video convert.")
@client_options
def tracks_command(
    *,
    music_task_ids: tuple[str, ...],
    as_csv: bool,
    base_url: str | None,
    timeout: float | None,
    time_scale: float,
    output: Output,
) -> int:
    """List the tracks of finished music tasks.

    With --csv the list is a catalog: fill in the columns author and brand if you like, and convert it.
    """

    async def tracks(client: SunoVideoClient, _: Interrupts) -> int:
        found = list[SunoTrack]()
        for music_task_id in music_task_ids:
            listed = await client.tracks(checked_id(music_task_id))
            if not listed:
                output.note(f"{music_task_id} has no tracks: it is not finished, or no music task")
            found.extend(listed)
        _tell_tracks(found, output, as_csv=as_csv)
        return Exit.DONE if found else Exit.FAILED

    return with_client(ClientOptions(base_url=base_url, timeout=timeout, time_scale=time_scale), output, tracks)


def _tell_tracks(tracks: Sequence[SunoTrack], output: Output, *, as_csv: bool) -> None:
    if as_csv:
        output.text(_csv(tracks))
    elif output.human:
        output.show(_track_table(tracks))
    else:
        for track in tracks:
            output.result(_track_line(track), human=lambda: None)


def _track_line(track: SunoTrack) -> dict[str, object]:
    return {
        "task_id": track.task_id,
        "suno_id": track.suno_id,
        "title": track.title,
        "duration": track.duration,
        "audio_url": track.audio_url,
        "image_url": track.image_url,
    }


def _track_table(tracks: Sequence[SunoTrack]) -> Table:
    table = Table()
    for column in ("task_id", "suno_id", "title", "seconds"):
        table.add_column(column, overflow="fold", justify="right" if column == "seconds" else "left")
    for track in tracks:
        seconds = "" if track.duration is None else f"{track.duration:.0f}"
        table.add_row(Text(track.task_id), Text(plain(track.suno_id)), Text(plain(track.title or "")), seconds)
    return table


def _csv(tracks: Sequence[SunoTrack]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["task_id", "suno_id", "author", "brand", "title"])
    writer.writerows([track.task_id, track.suno_id, "", "", plain(track.title or "")] for track in tracks)
    return text.getvalue()


@click.command("balance", epilog="\b\nExample:\n  suno-video balance")
@client_options
def balance_command(*, base_url: str | None, timeout: float | None, time_scale: float, output: Output) -> int:
    """Print the account's credits."""

    async def balance(client: SunoVideoClient, _: Interrupts) -> int:
        credits_ = await client.balance()
        output.result({"balance": credits_}, human=lambda: Text(f"{credits_:g} credits"))
        return Exit.DONE

    return with_client(ClientOptions(base_url=base_url, timeout=timeout, time_scale=time_scale), output, balance)
