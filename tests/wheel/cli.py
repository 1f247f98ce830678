"""The extra `cli` alone: a catalog is converted against the local server."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

SUNO_VIDEO = str(Path(sys.executable).with_name("suno-video"))
CATALOG = "task_id,suno_id\nmusic,one\nmusic,two\n"


def run(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a command and check its exit code."""
    done = subprocess.run([SUNO_VIDEO, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == code, done
    return done


def convert(folder: Path) -> None:
    """Convert a catalog against `suno-video serve`."""
    (folder / "catalog.csv").write_text(CATALOG, encoding="utf-8")
    serve = [SUNO_VIDEO, "serve", "--port", "0", "--render-seconds", "1", "--time-scale", "50"]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            listening = re.search(r"listening on (\S+) api key (\S+)", server.stdout.readline())
            assert listening is not None
            os.environ |= {"CRUN_BASE_URL": listening[1], "CRUN_API_KEY": listening[2]}
            done = run("convert", f"{folder}/catalog.csv", "--time-scale", "50", "--no-download", "--json")
        finally:
            server.terminate()
    assert json.loads(done.stdout.splitlines()[-1])["summary"]["done"] == 2, done


def main() -> None:
    """Check it all."""
    assert find_spec("av") is None, "another extra is installed: this checks nothing"
    assert "convert" in run("--help").stdout
    with tempfile.TemporaryDirectory() as folder:
        convert(Path(folder))
    assert "suno-video-async[cli,local]" in run("demo", code=2).stderr
    print("the extra cli alone: fine")


main()
