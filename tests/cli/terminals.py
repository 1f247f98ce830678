"""Commands on a terminal of their own, as a person runs them."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios

from attrs import frozen

from tests.cli.conftest import ROOT, Home
from tests.support.processes import PATIENCE


@frozen
class OnTerminal:
    """A running command, and both ends of its terminal."""

    process: subprocess.Popen[bytes]
    ours: int
    theirs: int

    def rest(self) -> tuple[int, str]:
        """Wait for the command, and return its code and all that came out that was not read yet."""
        os.close(self.theirs)
        said = b""
        try:
            while chunk := os.read(self.ours, 65536):
                said += chunk
        except OSError:
            pass  # how Linux tells that the other end is closed
        finally:
            os.close(self.ours)
        return self.process.wait(PATIENCE), said.decode()


def start(home: Home, *arguments: object, columns: int = 80, rows: int = 24, **environment: str) -> OnTerminal:
    """Run a command on a terminal of so many columns and rows."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    inherited = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}
    process = subprocess.Popen(
        home.child_arguments(*arguments),
        cwd=home.folder,
        env={**inherited, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **environment},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    return OnTerminal(process, ours, theirs)


def on_terminal(home: Home, columns: int, *arguments: object, **environment: str) -> tuple[int, str]:
    """Run a command on a terminal to its end, and return its code and all that came out."""
    return start(home, *arguments, columns=columns, rows=24, **environment).rest()
