"""The server as a command: it prints its address, and runs until it is cancelled."""

from __future__ import annotations

import asyncio
import sys
import webbrowser
from collections.abc import Callable, Sequence
from pathlib import Path

import anyio.to_thread

from suno_video_async.local.announcing import CallbackForm
from suno_video_async.local.faults import Fault
from suno_video_async.local.keys import ApiKey, load_keys
from suno_video_async.local.server import LocalServer, RenderSeconds
from suno_video_async.lyricvideo.sizes import Size
from suno_video_async.models import RateLimit

DEFAULT_PORT = 8555
_DEFAULT_RATE = RateLimit(20, per=10)


async def serve(
    *,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    library: Path | None = None,
    api_keys: Sequence[str | ApiKey] = (),
    keys: Path | None = None,
    credits: float | None = None,  # noqa: A002  the word of the contract
    cost: float | None = None,
    rate: RateLimit | None = _DEFAULT_RATE,
    read_rate: RateLimit | None = None,
    max_running: int = 100,
    time_scale: float = 1.0,
    render_seconds: RenderSeconds = "real",
    faults: Path | Sequence[Fault] | None = None,
    seed: int | None = None,
    http_refusals: bool = False,
    callback_form: CallbackForm = "plain",
    size: Size = "landscape",
    constant_rate: bool = False,
    fonts: Sequence[Path] = (),
    grace: float = 0.0,
    opens: bool = False,
    stopping: asyncio.Event | None = None,
    say: Callable[[str], object] | None = None,
    warn: Callable[[str], object] | None = None,
) -> None:
    """Run a local server until cancelled; the arguments are those of `LocalServer`, None for its defaults.

    Args:
        keys: a TOML file of more keys.
        grace: real seconds in which a stopping server may finish its work.
        opens: open the studio in the browser once the server listens.
        stopping: set it to stop the server; if the call is cancelled, the server stops at once.
        say: takes the line with the address; by default it goes to stdout.
        warn: takes a warning; by default it goes to stderr.

    Raises:
        LocalServerError, MissingExtraError, FaultError, LibraryError: as `LocalServer.start`.
        KeysError: the file of keys cannot be used.

    """
    if keys is not None:
        api_keys = (*api_keys, *await anyio.to_thread.run_sync(load_keys, keys))
    server = LocalServer(
        host=host,
        port=port,
        library=library,
        api_keys=api_keys,
        credits=1000.0 if credits is None else credits,
        cost=2.0 if cost is None else cost,
        rate=rate,
        read_rate=read_rate,
        max_running=max_running,
        time_scale=time_scale,
        render_seconds=render_seconds,
        faults=() if faults is None else faults,
        seed=seed or 0,
        http_refusals=http_refusals,
        callback_form=callback_form,
        size=size,
        constant_rate=constant_rate,
        fonts=fonts,
    )
    warn = warn or _to_stderr
    async with server:
        if not server.is_loopback:
            warn(
                f"warning: {host} lets other machines reach this server without encryption: anyone with a key can"
                " use it, and keys and videos can be read in transit; use it only in a network that you trust"
            )
        made_up = "" if api_keys else f" api key {server.api_key}"
        (say or _to_stdout)(f"listening on {server.url}{made_up}")
        if opens:
            await _open(f"{server.url}/", warn)
        await (stopping or asyncio.Event()).wait()
        if grace and server.is_unfinished:
            warn(f"stopping: callbacks are still to be sent, for at most {grace:g} s; stop again to end at once")
        await server.aclose(grace=grace)


async def _open(address: str, warn: Callable[[str], object]) -> None:
    # In a thread: a browser in a terminal keeps it until it is left.
    if not await anyio.to_thread.run_sync(webbrowser.open, address, abandon_on_cancel=True):
        warn(f"no browser was found: open {address} in one")


def _to_stdout(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _to_stderr(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
