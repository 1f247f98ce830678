"""The command line, `suno-video`. It needs the `cli` extra; nothing here imports it before that is known."""

import os
import sys
from pathlib import Path
from typing import NoReturn

from suno_video_async import _startup

_NEEDED = frozenset({"click", "rich"})


def _open_closed_streams() -> None:
    """Give the process somewhere to write where it was started with stdout or stderr closed."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115  for the whole process


def main() -> NoReturn:
    """Run the command line and exit with its code."""
    _open_closed_streams()
    try:
        _startup.over()
        from suno_video_async.cli.app import run  # noqa: PLC0415  without the extra, one line must still be said

        code = run()
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _NEEDED:
            raise
        name = "'suno-video-async[cli]'"
        sys.stderr.write(f"suno-video needs {package}: pip install {name}, or uvx {name}\n")
        code = 2
    except KeyboardInterrupt:
        code = 130
    if "temporalio" in sys.modules:  # at the interpreter's exit its core may abort
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
