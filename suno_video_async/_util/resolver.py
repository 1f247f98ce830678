"""Name lookups in threads of our own.

An event loop looks names up in its default executor, which belongs to the application: if all threads of that wait
for this library, a lookup there never begins.
"""

from __future__ import annotations

import socket
from functools import partial

import anyio
import anyio.to_thread
from aiohttp.abc import AbstractResolver, ResolveResult

#: Lookups at once.
LOOKUPS = 8


class ThreadResolver(AbstractResolver):
    """Looks names up as the operating system does."""

    def __init__(self) -> None:
        self._limiter = anyio.CapacityLimiter(LOOKUPS)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a host.

        Raises:
            OSError: it has none, or they cannot be looked up.

        """
        kind, flags = socket.SOCK_STREAM, socket.AI_ADDRCONFIG
        look_up = partial(socket.getaddrinfo, host, port, family=family, type=kind, flags=flags)
        # A caller that gives up leaves the thread behind: the operating system gives up in its own time.
        found = await anyio.to_thread.run_sync(look_up, abandon_on_cancel=True, limiter=self._limiter)
        return [
            ResolveResult(
                hostname=host,
                host=_with_scope(address),
                port=port,
                family=family,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for family, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        """Do nothing: no thread is kept."""


def _with_scope(address: tuple[object, ...]) -> str:
    """Return an address as text; one of the local link needs the interface to be reached."""
    host, *rest = address
    scope = rest[2] if len(rest) > 2 else 0
    return f"{host}%{scope}" if scope else str(host)
