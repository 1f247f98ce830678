"""Ports that a server of a test is to listen on, known before it starts."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def reserved_port() -> Iterator[int]:
    """Return a port on 127.0.0.1 that a server can listen on, and that nobody else is given while the block runs.

    One that was only free a moment ago may be another process's by the time that the server starts. On Linux a
    bound socket that does not listen keeps it; connections are refused until a server listens.
    """
    with socket.socket() as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        if sys.platform != "linux":  # where no second socket could be bound to it
            bound.close()
        yield port
