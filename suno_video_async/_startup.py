"""Ctrl+C while the command `suno-video` is still being imported, which takes a moment: no traceback, code 130.

It must come before all other imports of the package. Nothing happens in any other program, and from `cli.main` on
an interruption works as usual.
"""

import os
import signal
import sys
import threading
from pathlib import PurePath
from types import FrameType

#: What the command's own process is called; another program's name may begin with the same letters.
_OURS = ("suno-video", "suno-video.exe", "suno-video-script.py")
#: Its name while `python -m` looks for the module to run.
_MODULE = "-m"


def _leave(_: int, __: FrameType | None) -> None:
    os._exit(130)


def _is_ours() -> bool:
    program = PurePath(sys.argv[0] if sys.argv else "").name
    module = sys.orig_argv[sys.orig_argv.index("-m") + 1 :][:1] if "-m" in sys.orig_argv else []
    return program in _OURS or (program == _MODULE and module == [__package__])


if (
    _is_ours()
    and threading.current_thread() is threading.main_thread()
    and signal.getsignal(signal.SIGINT) is signal.default_int_handler
):
    signal.signal(signal.SIGINT, _leave)


def over() -> None:
    """Let an interruption raise `KeyboardInterrupt` again."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)
