"""`suno-video tracks`: the tracks of music tasks, as a list or as a catalog."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from suno_video_async.cli.exits import Exit, UsageProblem
from suno_video_async.cli.interrupts import Interrupts
from suno_video_async.cli.options import Connection, client_options
from suno_video_async.cli.output import Output, plain
from suno_video_async.cli.records import Records
from suno_video_async.cli.session import with_client
from suno_video_async.config import is_loopback
from suno_video_async.models import SunoTrack, music_task_id, normalised

if TYPE_CHECKING:
    from suno_video_async.client import SunoVideoClient


@click.command(
    "tracks",
    epilog="\b\nExamples:\n  suno-video tracks task_12345678 --csv > catalog.csv\n  suno-video tracks album/song",
)
@click.argument("music_task_ids", metavar="[MUSIC_TASK_ID[/SUNO_ID]]...", nargs=-1)
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV: a catalog for suno-video convert.")
@client_options
def tracks_command(
    *,
    music_task_ids: tuple[str, ...],
    as_csv: bool,
    connection: Connection,
    output: Output,
) -> int:
    """List the tracks of finished music tasks.

    With --csv the list is a catalog: optionally fill in the columns author and brand, and convert it. An id may be
    of a music task, or of one of its tracks as suno-video library check lists it. Without ids all tracks are
    listed; only a local server can do that.
    """

    async def tracks(client: SunoVideoClient, _: Interrupts) -> int:
        found = list[SunoTrack]()
        for asked in music_task_ids or await _all_music_tasks(client.base_url):
            task_id, slash, suno_id = asked.partition("/")
            try:
                listed = await client.tracks(music_task_id(task_id))
            except ValueError as error:
                raise UsageProblem(f"{plain(asked)[:80]!r} cannot be a music task's id: {error}") from error
            if slash:
                listed = tuple(track for track in listed if track.suno_id == normalised(suno_id))
            if not listed:
                output.note(f"{asked} has no tracks: it is not finished, or not a music task")
            found.extend(listed)
        _print_tracks(found, output, as_csv=as_csv)
        return Exit.DONE if found else Exit.FAILED

    return with_client(connection, output, tracks)


async def _all_music_tasks(base_url: str) -> list[str]:
    """Return the ids of all music tasks of a local server.

    Raises:
        UsageProblem: the API is not a local server.

    """
    import aiohttp  # noqa: PLC0415  slow to import, and only needed here

    problem = "name the music tasks, as in suno-video tracks task_12345678: only a local server can list them all"
    if not is_loopback(urlsplit(base_url).hostname or ""):
        raise UsageProblem(problem)
    # A server of this machine needs no proxy, and this call no key.
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(10)) as session:
        try:
            async with session.get(f"{base_url}/_local/tasks", allow_redirects=False) as answer:
                listed: Any = await answer.json()
                return [str(task["task_id"]) for task in listed["music"]]
        except (aiohttp.ClientError, TimeoutError, ValueError, TypeError, KeyError) as error:
            raise UsageProblem(problem) from error


def _print_tracks(tracks: Sequence[SunoTrack], output: Output, *, as_csv: bool) -> None:
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


def _track_table(tracks: Sequence[SunoTrack]) -> Records:
    return Records(
        fields=("task_id", "suno_id", "title", "seconds"),
        numbers=("seconds",),
        rows=[
            (
                *(track.task_id, track.suno_id, track.title or ""),
                "" if track.duration is None else f"{track.duration:.0f}",
            )
            for track in tracks
        ],
    )


def _csv(tracks: Sequence[SunoTrack]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["task_id", "suno_id", "author", "brand", "title"])
    writer.writerows([track.task_id, track.suno_id, "", "", plain(track.title or "")] for track in tracks)
    return text.getvalue()
