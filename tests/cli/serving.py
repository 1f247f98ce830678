"""A local server beside the test, for commands that talk to one."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from suno_video_async.testing import VideoServer, serve
from tests.support.keys import KEY


@contextmanager
def served(**options: Any) -> Generator[VideoServer, None, None]:
    """Run a server with simulated rendering, 20 times faster than real time."""
    with serve(**{"render_seconds": 2.0, "time_scale": 20.0, "api_keys": [KEY], **options}) as server:
        yield server
