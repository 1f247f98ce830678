"""`suno-video library`: checks your own songs for the local server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from suno_video_async._util.words import many
from suno_video_async.cli.exits import Exit, UsageProblem
from suno_video_async.cli.group import Verbs
from suno_video_async.cli.options import font_option, output_options
from suno_video_async.cli.output import Output, plain

if TYPE_CHECKING:
    from suno_video_async.lyricvideo.errors import LibraryError
    from suno_video_async.lyricvideo.library import LibraryTrack


@click.group("library", cls=Verbs)
def library_group() -> None:
    """Check a folder of your own songs before suno-video serve --library turns them into videos."""


@library_group.command(
    "check",
    short_help="List the mistakes in a folder of songs.",
    epilog="\b\nExample:\n  suno-video library check songs",
)
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@font_option
@output_options
def check_command(*, directory: Path, fonts: tuple[Path, ...], output: Output) -> int:
    """List the songs in DIR, and every mistake with its file, its line and what to do.

    DIR has one folder per music task, with one subfolder per track that holds audio, cover, lyrics and track.toml.
    Exit code 1 if there is a mistake; lines of lyrics that are left out and files that are not used are warnings.
    """
    # Imported here, since the other commands do not need it.
    from suno_video_async.lyricvideo.check import check_library  # noqa: PLC0415  of the `local` extra
    from suno_video_async.lyricvideo.errors import LibraryError  # noqa: PLC0415  of the `local` extra

    try:
        checked = check_library(directory, fonts)
    except LibraryError as error:
        raise UsageProblem(str(error)) from error
    for track in checked.tracks:
        output.result(_line(track), human=lambda track=track: _text(track))  # type: ignore[misc]
    for mistake in checked.mistakes:
        output.result(_mistake(mistake), human=lambda mistake=mistake: plain(str(mistake)))  # type: ignore[misc]
    for warning in checked.warnings:
        output.note(f"warning: {warning}")
    for note in checked.unseen:
        output.note(f"not checked: {note}")
    output.hint(f"{many(len(checked.tracks), 'song')}, {many(len(checked.mistakes), 'mistake')}")
    return Exit.FAILED if checked.mistakes else Exit.DONE


def _line(track: LibraryTrack) -> dict[str, object]:
    return {
        "task_id": track.task_id,
        "suno_id": track.suno_id,
        "title": track.title,
        "artist": track.artist,
        "duration": round(track.duration, 3),
        "lines": len(track.lyrics),
    }


def _text(track: LibraryTrack) -> str:
    minutes, seconds = divmod(round(track.duration), 60)
    words = many(len(track.lyrics), "line") if track.lyrics else "no lyrics"
    return plain(f"{track.task_id}/{track.suno_id}  {track.title}  {minutes}:{seconds:02}  {words}")


def _mistake(mistake: LibraryError) -> dict[str, object]:
    return {"file": str(mistake.path), "line": mistake.line, "problem": mistake.problem}
