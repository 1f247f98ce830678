"""`suno-video demo`: a server, songs and a client of its own, and real videos at the end."""

from __future__ import annotations

import shlex
import shutil
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click
from attrs import define, field, frozen

from suno_video_async._util.words import many
from suno_video_async.batch.outcome import Outcome
from suno_video_async.cli.exits import Exit
from suno_video_async.cli.interrupts import Interrupts, run_interruptible
from suno_video_async.cli.live.state import LiveState
from suno_video_async.cli.options import Downloads, output_options, writable_folder
from suno_video_async.cli.output import Output
from suno_video_async.cli.purchases import Purchases
from suno_video_async.cli.records import Records
from suno_video_async.errors import MissingExtraError
from suno_video_async.hooks import Hooks
from suno_video_async.models import SunoTrack, Track
from suno_video_async.ratelimit.limiter import Limiter

if TYPE_CHECKING:
    from suno_video_async.client import SunoVideoClient
    from suno_video_async.local import LocalServer
    from suno_video_async.lyricvideo.library import Library

_BRAND = "suno-video demo"
_SIZES = {"small": (640, 360), "medium": (960, 540), "large": (1280, 720)}
#: Packages of the `local` extra; without one of them nothing can be rendered.
_NEEDED = ("av", "bidi", "numpy", "PIL", "uharfbuzz")
#: Seconds by which a video may differ from its song: the last frame, and the sound's padding.
_TOLERANCE = 2.0


@click.command("demo", epilog="\b\nExample:\n  suno-video demo --output-dir suno-video-demo")
@click.option(
    "--output-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("suno-video-demo"),
    show_default=True,
    metavar="DIR",
    help="The folder for the videos.",
)
@click.option(
    "--size", type=click.Choice(list(_SIZES)), default="large", show_default=True, help="Of the pictures."
)
@output_options
def demo_command(*, output_dir: Path, size: str, output: Output) -> int:
    """Make lyric videos of a few built-in songs, without an account.

    Starts the local server on a free port, converts its whole catalog with the same client that your own tracks
    would go through, and leaves one MP4 a song. It takes about a minute; nothing leaves this machine, and your own
    key is not used.
    """
    check_extra("the demo renders videos")
    return run_interruptible(partial(_demo, writable_folder(output_dir), _SIZES[size], output))


def check_extra(what: str) -> None:
    """Check that the packages for rendering are there.

    Args:
        what: says what they are for.

    Raises:
        MissingExtraError: they are not.

    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f"{what}, and {', '.join(missing)} is not installed: pip install 'suno-video-async[cli,local]'"
        )


async def _demo(folder: Path, size: tuple[int, int], output: Output, interrupts: Interrupts) -> int:
    from suno_video_async.cli import run  # noqa: PLC0415  help does without it
    from suno_video_async.local import LocalServer  # noqa: PLC0415  the other commands do without it
    from suno_video_async.lyricvideo.library import BuiltinLibrary  # noqa: PLC0415  likewise

    library = BuiltinLibrary()
    async with LocalServer(library=library, size=size) as server:
        output.hint(f"a local server listens on {server.url}")
        limiter = Limiter()  # one for both clients: the server counts the requests per key
        songs = await _songs(server, library, limiter)
        shelf = _Shelf(output=output, songs=songs)
        purchases, state = Purchases(), LiveState()
        job = run.Job(
            client=await _client(server, limiter, purchases, state),
            purchases=purchases,
            state=state,
            source=[song.ordered for song in songs.values()],
            title="demo",
            total=len(songs),
            downloads=Downloads(output_dir=folder),
            on_outcome=shelf.outcomes.append,
            ephemeral=True,
        )
        tally, summary = await run.convert(job, output, interrupts)
    await shelf.check()
    code = run.conclude(job, tally, summary, output, interrupts)
    return shelf.close(folder, code)


async def _client(server: LocalServer, limiter: Limiter, *hooks: Hooks) -> SunoVideoClient:
    """Return a client of the demo's server: never with the user's own key or address."""
    import anyio.to_thread  # noqa: PLC0415  see above

    from suno_video_async.client import SunoVideoClient  # noqa: PLC0415  likewise

    make = partial(SunoVideoClient, api_key=server.api_key, base_url=server.url, limiter=limiter, hooks=hooks)
    return await anyio.to_thread.run_sync(make)  # a client looks for a key file


@frozen
class _Song:
    """A song, and the track that was ordered of it."""

    listed: SunoTrack
    ordered: Track


async def _songs(server: LocalServer, library: Library, limiter: Limiter) -> dict[str, _Song]:
    """List the server's songs as a client does, and sign each with its artist; by the tracks' keys."""
    artists = {(track.task_id, track.suno_id): track.artist for track in library.tracks()}
    songs = dict[str, _Song]()
    async with await _client(server, limiter) as client:
        for task_id in dict.fromkeys(track.task_id for track in library.tracks()):
            for listed in await client.tracks(task_id):
                ordered = Track(
                    task_id=listed.task_id,
                    suno_id=listed.suno_id,
                    author=artists.get((listed.task_id, listed.suno_id)),
                    brand=_BRAND,
                    extra={"title": listed.title or ""},
                )
                songs[ordered.key] = _Song(listed, ordered)
    return songs


def program() -> str:
    """Return how this command is called again in the same shell."""
    called = sys.argv[0]
    if Path(called).stem not in {"suno-video", "suno-video-async"}:
        return f"{shlex.quote(sys.executable)} -m suno_video_async"
    known = shutil.which(Path(called).name)
    return Path(called).name if known and Path(known).samefile(called) else shlex.quote(called)


def next_steps(suno_video: str) -> list[str]:
    """Return what to do after the demo, with lines that can be pasted into a shell."""
    return [
        "next, the same service on this machine to try things on; in one terminal:",
        f"{suno_video} serve --api-key test",
        "and in another one:",
        "export CRUN_BASE_URL=http://127.0.0.1:8555 CRUN_API_KEY=test",
        f"{suno_video} tracks --csv > catalog.csv && {suno_video} convert catalog.csv",
        f"or your own tracks, with the key of your account: {suno_video} login",
    ]


@define(eq=False, kw_only=True)
class _Shelf:
    """The demo's videos: what came of each song, and whether it is what it should be."""

    output: Output
    songs: dict[str, _Song]
    outcomes: list[Outcome] = field(factory=list[Outcome], init=False)
    broken: list[str] = field(factory=list[str], init=False)

    async def check(self) -> None:
        """Open each video: it must have a picture and a sound, and be as long as its song."""
        for outcome in self.outcomes:
            song = self.songs.get(outcome.track.key) if outcome.track else None
            if outcome.path is None or song is None:
                continue
            import anyio.to_thread  # noqa: PLC0415  see above

            problem = await anyio.to_thread.run_sync(_problem, outcome.path, song.listed.duration)
            if problem:
                self.broken.append(f"{outcome.path} is not right: {problem}")

    def close(self, folder: Path, code: Exit) -> Exit:
        """Show the videos and where to go next, and return the exit code."""
        if self.output.human:
            self.output.show(self._table())
        for problem in self.broken:
            self.output.note(problem, style="red")
        if code is not Exit.DONE or self.broken:
            return code or Exit.FAILED
        self.output.hint(f"{many(len(self.outcomes), 'video')}, all checked: {shlex.quote(str(folder))}")
        for line in next_steps(program()):
            self.output.hint(line)
        return code

    def _table(self) -> Records:
        return Records(
            title="videos",
            fields=("title", "state", "seconds", "requests", "file", "MB"),
            numbers=("seconds", "requests", "MB"),
            rows=[
                (
                    outcome.track.extra.get("title", "") if outcome.track else "",
                    outcome.state,
                    f"{outcome.seconds:.1f}",
                    str(outcome.requests),
                    outcome.path.name if outcome.path else "",
                    f"{outcome.path.stat().st_size / 1e6:.1f}" if outcome.path else "",
                )
                for outcome in self.outcomes
            ],
        )


def _problem(path: Path, seconds: float | None) -> str | None:
    """Return what is wrong with a video of a song that takes `seconds`, or None."""
    import av  # noqa: PLC0415  of the `local` extra
    from av.error import FFmpegError  # noqa: PLC0415  likewise

    try:
        with av.open(str(path)) as video:
            if not video.streams.video or not video.streams.audio:
                return "it lacks a picture or a sound"
            long = (video.duration or 0) / 1e6
    except FFmpegError as error:
        return f"it cannot be opened: {error}"
    if seconds is not None and abs(long - seconds) > _TOLERANCE:
        return f"it takes {long:.1f} s, its song {seconds:.1f} s"
    return None
