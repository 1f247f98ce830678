"""Runs work to completion despite cancellation, and blocking calls outside the event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

import anyio
import anyio.to_thread

T = TypeVar("T")


async def run_to_completion(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` to its end in a task of its own, and only then let a cancellation of the caller through.

    anyio's shielded scopes hold off anyio's own cancellation; `asyncio.timeout` and `Task.cancel` go through them.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    # The shield is for anyio's scopes, which would cancel again in every round of the loop, and so spin.
    with anyio.CancelScope(shield=True):
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError as error:
                cancelled = error
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # retrieved, so that asyncio does not log it
        raise cancelled
    return task.result()


async def stop_listening(server: asyncio.Server) -> None:
    """Stop accepting, then let what was accepted arrive, and only then close.

    asyncio forgets a connection, and leaves it open, whose server is closed between the two.
    """
    loop = asyncio.get_running_loop()
    for listening in server.sockets:
        with contextlib.suppress(NotImplementedError):  # a loop without readers, as on Windows
            loop.remove_reader(listening.fileno())
    for _ in range(3):  # the rounds of the loop that it takes
        await asyncio.sleep(0)
    server.close()


class RunBlocking(Protocol):
    """Runs a blocking call outside the event loop, and returns only when it has finished."""

    def __call__(self, call: Callable[[], T], /) -> Awaitable[T]:
        """Run one call."""
        ...


async def inline(call: Callable[[], T], /) -> T:
    """Run a call in place: for a ledger in memory, and in virtual time."""
    return call()


def in_one_thread() -> RunBlocking:
    """Return a runner that runs one call at a time in a worker thread."""
    limiter = anyio.CapacityLimiter(1)

    async def run_blocking(call: Callable[[], T], /) -> T:
        # To completion, even if cancelled: the next call must not overtake a commit still running in its thread.
        return await run_to_completion(anyio.to_thread.run_sync(call, limiter=limiter))

    return run_blocking
