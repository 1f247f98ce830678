"""The core without any extra: it works, it is typed, and it says which command installs what is missing."""

from __future__ import annotations

import asyncio
import importlib
import importlib.metadata
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import suno_video_async
from suno_video_async import CallbackReceiver, CatalogFile, MissingExtraError, SunoVideoClient, SystemClock, Track
from suno_video_async.local import LocalServer

SCALE = 50.0


def refusal(run: object) -> str:
    """Return what a `MissingExtraError` says."""
    assert callable(run)
    try:
        run()
    except MissingExtraError as error:
        return str(error)
    raise AssertionError(f"{run} asks for no extra")


async def render() -> None:
    """Start a server that renders."""
    async with LocalServer():
        pass


def mount() -> None:
    """Ask for what is mounted in Starlette."""
    client = SunoVideoClient(api_key="ak_" + "0" * 32)
    CallbackReceiver(client, public_url="https://me.example/callbacks").asgi()


def read(path: Path, content: bytes) -> None:
    """Read a catalog."""
    path.write_bytes(content)
    next(CatalogFile(path).rows())


async def convert(folder: Path) -> None:
    """Convert a track with a ledger."""
    async with (
        LocalServer(render_seconds=1, time_scale=SCALE) as server,
        SunoVideoClient(api_key=server.api_key, base_url=server.url, clock=SystemClock(SCALE)) as client,
        client.convert(
            [Track(task_id="music", suno_id="song")], ledger=folder / "ledger.db", output_dir=folder
        ) as outcomes,
    ):
        assert [outcome.state async for outcome in outcomes] == ["downloaded"]
    assert (folder / "song.mp4").is_file()


def main() -> None:
    """Check it all."""
    assert Path(suno_video_async.__file__).is_relative_to(sys.prefix), "this is not the installed package"
    assert importlib.resources.files("suno_video_async").joinpath("py.typed").is_file(), (
        "it is not marked as typed"
    )
    for name in suno_video_async.__all__:
        getattr(suno_video_async, name)
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(convert(Path(folder)))
    heavy = {
        "PIL",
        "av",
        "click",
        "numpy",
        "openpyxl",
        "opentelemetry",
        "pyarrow",
        "rich",
        "starlette",
        "uharfbuzz",
    } & set(sys.modules)
    assert not heavy, heavy

    command = subprocess.run(
        [Path(sys.executable).with_name("suno-video"), "demo"], capture_output=True, text=True, check=False
    )
    assert command.returncode == 2, command
    said = {
        "cli": command.stderr,
        "local": refusal(lambda: asyncio.run(render())),
        "asgi": refusal(mount),
        "excel": refusal(partial(read, Path("c.xlsx"), b"PK\x03\x04")),
        "parquet": refusal(partial(read, Path("c.parquet"), b"PAR1")),
        "otel": refusal(lambda: importlib.import_module("suno_video_async.otel")),
    }
    for extra, words in said.items():
        assert f"suno-video-async[{extra}]" in words, (extra, words)
        assert "pip install" in words, (extra, words)
    print("the core alone:", importlib.metadata.version("suno-video-async"))


main()
