"""The command line, `suno-video`. It needs the `cli` extra; nothing here imports it before that is known."""

import sys
from typing import NoReturn

_NEEDED = frozenset({"click", "rich"})


def main() -> NoReturn:
    """Run the command line and exit with its code."""
    try:
        from suno_video_async.cli.app import run  # noqa: PLC0415  without the extra, one line must still be said

        code = run()
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _NEEDED:
            raise
        sys.stderr.write(f"suno-video needs {package}: pip install 'suno-video-async[cli]'\n")
        code = 2
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)
