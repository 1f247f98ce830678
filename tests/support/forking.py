"""Commands as forks of a process that has imported the package: what they import takes longer than what they do.

`python -m tests.support.forking SOCKET` forks for each command that `forked.py` sends, until stdin ends. A command
has its own process, working directory, environment and streams, and it ends as Python ends.
"""

from __future__ import annotations

import ast
import contextlib
import gc
import importlib
import os
import runpy
import select
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.support.processes import child

_SENDER = Path(__file__).with_name("forked.py")
#: What commands import late.
_LOADED = (
    *("anyio._backends._asyncio", "encodings.ascii", "encodings.idna", "suno_video_async.testing"),
    *("suno_video_async.batch.conversion", "suno_video_async.batch.single", "suno_video_async.engine"),
    *("suno_video_async.cli.app", "suno_video_async.cli.run", "suno_video_async.report"),
)


@contextlib.contextmanager
def forking(folder: Path) -> Iterator[Sequence[str]]:
    """Make ready to fork; give the words that run Python, for a script or `-m` and a module to follow."""
    path = folder / "socket"
    with child("tests.support.forking", path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield [sys.executable, "-S", "-E", str(_SENDER), str(path)]


def main(path: str) -> None:
    """Fork for each command: once to wait for it and to tell its sender how it ended, and once to run it."""
    for name in _LOADED:
        importlib.import_module(name)
    gc.freeze()
    connection = _next_command(path)
    if connection is None:
        return
    head, streams, _, _ = socket.recv_fds(connection, 4, 3)
    with connection.makefile("rb") as rest:
        request = rest.read(int.from_bytes(head, "big"))
    if (pid := os.fork()) != 0:
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        connection.sendall(bytes([code if code >= 0 else 128 - code]))  # as a shell says it
        os._exit(0)
    connection.close()
    for own, stream in enumerate(streams):
        os.dup2(stream, own)
        os.close(stream)
    # What was opened for other streams would take these for ones that can seek, or that cannot.
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    _run(*ast.literal_eval(request.decode()))


def _next_command(path: str) -> socket.socket | None:
    """Return a command's connection in a fork, or None in this process when stdin has ended."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        print("ready", flush=True)
        while sys.stdin not in select.select([listening, sys.stdin], [], [])[0]:
            connection, _ = listening.accept()
            if os.fork() == 0:
                return connection
            connection.close()
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
    return None


def _run(arguments: Sequence[str], folder: str, environment: Mapping[str, str]) -> None:
    """Run a script or a module as Python would that was started for it."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    if arguments[0] == "-m":
        sys.argv, sys.path[0] = list(arguments[1:]), folder
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv, sys.path[0] = list(arguments), str(Path(arguments[0]).resolve().parent)
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1])
