"""A command line, tested as a process of its own would see the server."""

import json
import subprocess
import sys
from pathlib import Path

from suno_video_async.testing import VideoServer, assert_not_charged


def test_the_balance(suno_video_server: VideoServer, tmp_path: Path) -> None:
    environment = {"CRUN_API_KEY": suno_video_server.api_key, "CRUN_BASE_URL": suno_video_server.url}
    command = [sys.executable, "-m", "suno_video_async", "balance", "--json"]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"balance": 1000.0}
    assert_not_charged(suno_video_server)
