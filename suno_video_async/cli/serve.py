"""`suno-video serve`: the local server."""

from __future__ import annotations

import asyncio
import math
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

import click

from suno_video_async.cli.exits import Exit, UsageProblem
from suno_video_async.cli.interrupts import Interrupts, run_interruptible
from suno_video_async.cli.options import font_option, rate_options, size_option
from suno_video_async.cli.values import above_zero, not_negative

#: `"real"`, the seconds of every render, or their median and sigma.
RenderSeconds: TypeAlias = "Literal['real'] | float | tuple[float, float]"


def read_render_seconds(ctx: click.Context, param: click.Parameter, value: str) -> RenderSeconds:
    """Read `real`, `MEAN` or `MEAN:SIGMA`, as a click callback."""
    if value == "real":
        return "real"
    mean, colon, sigma = value.partition(":")
    try:
        numbers = [float(mean), float(sigma)] if colon else [float(mean)]
    except ValueError:
        numbers = [math.nan]
    if not all(number >= 0 and math.isfinite(number) for number in numbers):
        raise click.BadParameter(f"expected real, MEAN or MEAN:SIGMA in seconds, not {value!r}", ctx, param)
    return (numbers[0], numbers[1]) if colon else numbers[0]


@click.command(
    "serve",
    epilog=(
        "\b\nExamples:\n  suno-video serve\n  suno-video serve --library songs --open\n"
        "  suno-video serve --port 0 --render-seconds 60:0.3 --time-scale 100"
    ),
)
@click.option(
    "--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="The address to listen on."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8555,
    show_default=True,
    metavar="PORT",
    help="The port to listen on; 0 picks a free one.",
)
@click.option(
    "--library",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="Your own songs: one folder per music task, one subfolder per track. Without it, a few built-in songs.",
)
@click.option("--api-key", "api_keys", multiple=True, metavar="KEY", help="A key to accept; generated without it.")
@click.option(
    "--keys",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="A TOML file of keys with their own credits and limits.",
)
@click.option("--credits", "credits", callback=above_zero, metavar="N", help="The credits of each account.")
@click.option("--cost", callback=above_zero, metavar="N", help="The credits that a video costs.")
@rate_options
@click.option(
    "--max-running",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    metavar="N",
    help="At most N running tasks at once.",
)
@click.option(
    "--time-scale",
    callback=above_zero,
    default=1.0,
    show_default=True,
    metavar="S",
    help="Run the server's clock S times faster.",
)
@click.option(
    "--render-seconds",
    callback=read_render_seconds,
    default="real",
    show_default=True,
    metavar="real|MEAN[:SIGMA]",
    help="Render, or only wait that long: for load tests.",
)
@click.option(
    "--faults",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="A TOML file of faults to inject.",
)
@click.option(
    "--http-refusals", is_flag=True, help="Refuse by HTTP status, such as 429, not in an HTTP 200 with that code."
)
@click.option(
    "--callback-form",
    type=click.Choice(["plain", "enveloped"]),
    default="plain",
    show_default=True,
    help="Send callbacks as the task alone, or in the envelope of an answer.",
)
@size_option
@font_option
@click.option(
    "--constant-rate",
    is_flag=True,
    help="Encode 30 frames per second, not only those that differ; some editors need it.",
)
@click.option(
    "--grace",
    callback=not_negative,
    default=3.0,
    show_default=True,
    metavar="S",
    help="On shutdown: seconds for answers and callbacks in flight.",
)
@click.option("--open", "opens", is_flag=True, help="Open the studio, the server's page, in the browser.")
@click.option("--seed", type=int, metavar="N", help="Make faults and durations repeatable.")
def serve_command(**options: Any) -> int:
    """Run the service on this machine: for development, tests, and lyric videos of your own.

    It implements the same API as the hosted service and really renders the videos (this needs the extra
    suno-video-async[local]). It prints its address and, if it generated one, the key: pass them to a client as
    CRUN_BASE_URL and CRUN_API_KEY. In a browser on this machine that address is the studio, a page that shows the
    library and makes videos of it. Ctrl+C or SIGTERM stops it gracefully, a second one at once.
    """
    code = run_interruptible(partial(_serve, options))
    return Exit.DONE if code == Exit.INTERRUPTED else code


async def _serve(options: dict[str, Any], interrupts: Interrupts) -> int:
    from suno_video_async.local.command import serve  # noqa: PLC0415  only this command needs it
    from suno_video_async.local.errors import FaultError, LocalServerError  # noqa: PLC0415  likewise
    from suno_video_async.lyricvideo.errors import LibraryError  # noqa: PLC0415  likewise

    stopping, running = asyncio.Event(), asyncio.current_task()

    def leave() -> None:
        if running is not None and stopping.is_set():
            running.cancel()
        stopping.set()

    try:
        with interrupts.meaning(once=None, leave=leave):
            await serve(**options, stopping=stopping, say=click.echo, warn=partial(click.echo, err=True))
    except (FaultError, LocalServerError, LibraryError, ValueError) as error:
        raise UsageProblem(str(error)) from error
    return Exit.DONE
