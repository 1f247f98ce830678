"""For tests: a pytest plugin with a local server, a client for it, a clock, a recorder of events, assertions.

pytest finds the plugin if this package is installed, and loads it in every run: it imports nothing until one of
its names or fixtures is used. The fixtures are synchronous, so that they work with pytest-asyncio, anyio's plugin
and pytest-aiohttp, and in tests without a loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

    from suno_video_async.client import SunoVideoClient
    from suno_video_async.testing.tools import (
        FakeClock,
        RecordingHooks,
        VideoServer,
        assert_charged_once,
        assert_fault_struck,
        assert_not_charged,
        assert_rate_kept,
        serve,
    )

__all__ = [
    "FakeClock",
    "RecordingHooks",
    "VideoServer",
    "assert_charged_once",
    "assert_fault_struck",
    "assert_not_charged",
    "assert_rate_kept",
    "serve",
]


def __getattr__(name: str) -> Any:
    """Import a name when it is first asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415  not needed for submodules

    return getattr(import_module(f"{__name__}.tools"), name)


# The plugin


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker with pytest."""
    config.addinivalue_line(
        "markers",
        "suno_video_server(**options): how the fixture suno_video_server is made; as LocalServer takes them, and"
        " time_scale.",
    )


@pytest.fixture
def suno_video_server(request: pytest.FixtureRequest) -> Generator[VideoServer, None, None]:
    """Run a local server for one test; the marker `suno_video_server(**options)` says how."""
    from suno_video_async.testing.tools import serve  # noqa: PLC0415  most runs need none of it

    options: dict[str, Any] = {}
    for marker in reversed(list(request.node.iter_markers("suno_video_server"))):
        options.update(marker.kwargs)
    with serve(**options) as server:
        yield server


@pytest.fixture
def suno_video_client(suno_video_server: VideoServer) -> SunoVideoClient:
    """Return a client of `suno_video_server`, to be opened in the test: `async with suno_video_client:`."""
    return suno_video_server.client()


@pytest.fixture
def suno_video_clock() -> FakeClock:
    """Return a clock that stands still until it is moved."""
    from suno_video_async.testing.tools import FakeClock  # noqa: PLC0415  likewise

    return FakeClock()
