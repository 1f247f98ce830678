"""Sends a command to `forking.py` and ends as it ends: `python -S -E forked.py SOCKET ARGUMENTS…`.

It starts in a fiftieth of the time that a command takes to import the package, because it imports nothing.
"""

import _socket
import os
import sys


def main(path: str, *arguments: str) -> int:
    """Pass on the arguments, the working directory, the environment and the standard streams."""
    request = repr((arguments, os.getcwd(), dict(os.environ))).encode()  # noqa: PTH109  pathlib is an import
    streams = b"".join(stream.to_bytes(4, sys.byteorder) for stream in (0, 1, 2))
    server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    server.connect(path)
    server.sendmsg([len(request).to_bytes(4, "big")], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)])
    server.sendall(request)
    ended = server.recv(1)
    server.close()
    return ended[0] if ended else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
