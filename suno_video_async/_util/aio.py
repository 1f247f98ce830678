"""Runs work to completion despite cancellation, and blocking calls outside the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import anyio
import anyio.to_thread

T = TypeVar("T")


async def run_to_completion(work: Awaitable[T]) -> T:
    """Wait for the end of `work`, a coroutine in a task of its own, and only then let a cancellation through.

    anyio's shielded scopes hold off anyio's own cancellation; `asyncio.timeout` and `Task.cancel` go through them.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:  # its loop has ended, and the caller is collected: the thread's next loop is another's
        if inspect.iscoroutine(work):
            work.close()
        raise
    task = asyncio.ensure_future(work, loop=loop)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError as error:
        cancelled = error
    # The shield is for anyio's scopes, which would cancel again in every round of the loop, and so spin.
    with anyio.CancelScope(shield=True):
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError as error:
                cancelled = error
    if not task.cancelled():
        task.exception()  # retrieved, so that asyncio does not log it
    raise cancelled


async def wait_at_most(seconds: float, event: asyncio.Event) -> None:
    """Return when an event is set, or so many seconds have passed."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


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


class Children:
    """Tasks that end with the block; for many short ones, since each takes a fifth of one in anyio's task groups.

    Where the block is left early, they are cancelled, once each, and waited for. The first that fails does that to
    the others, and its error is raised where the next one is started, or at the end of the block.
    """

    def __init__(self) -> None:
        self._tasks = dict[asyncio.Task[None], None]()  # in their order
        self._error: BaseException | None = None

    def start(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a coroutine function in a task of its own."""
        if self._error is not None:
            raise self._error
        task = asyncio.get_running_loop().create_task(work())
        self._tasks[task] = None
        task.add_done_callback(self._on_end)

    def _on_end(self, task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        error = None if task.cancelled() else task.exception()
        if error is not None and self._error is None:
            self._error = error
            self._cancel()

    def _cancel(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                await self._wait()
        finally:
            self._cancel()
            await run_to_completion(self._wait())
        if error is None and self._error is not None:
            raise self._error

    async def _wait(self) -> None:
        while self._tasks:
            await asyncio.wait(self._tasks)


class OwnLoop:
    """The event loop that an object belongs to: the one it was made on, or else the one it is first used on.

    Args:
        what: names the object in the error.

    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._loop: asyncio.AbstractEventLoop | None = None
        with contextlib.suppress(RuntimeError):  # made before any loop runs
            self._loop = asyncio.get_running_loop()

    def check(self) -> None:
        """Return if this is the object's event loop.

        Raises:
            RuntimeError: it is another one.

        """
        loop = asyncio.get_running_loop()
        self._loop = self._loop or loop
        if self._loop is not loop:
            raise RuntimeError(
                f"a {self._what} belongs to the event loop of its client: use it there, or make one on this loop"
            )


class RunBlocking(Protocol):
    """Runs a blocking call outside the event loop, and returns only when it has finished."""

    def __call__(self, call: Callable[[], T], /) -> Awaitable[T]:
        """Run one call."""
        ...


def in_place(call: Callable[[], T], /) -> asyncio.Future[T]:
    """Run a call at once, in place, and return what came of it: for a ledger in memory."""
    future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    try:
        future.set_result(call())
    except Exception as error:
        future.set_exception(error)
        future.exception()  # retrieved, so that asyncio does not log it where the caller never waits
    return future


async def inline(call: Callable[[], T], /) -> T:
    """Run a call in place, once it is awaited: for what does not block, and in virtual time."""
    return call()


def in_one_thread() -> RunBlocking:
    """Return a runner that runs one call at a time in a worker thread."""
    return in_threads(1)


def in_threads(at_once: int) -> RunBlocking:
    """Return a runner that runs up to `at_once` calls at a time in worker threads.

    They are not counted among the threads of the application: where those all wait for this library, as the sync
    endpoints of a web framework do, a call that queued behind them would never begin.
    """
    limiter = anyio.CapacityLimiter(at_once)

    async def run_blocking(call: Callable[[], T], /) -> T:
        # To completion, even if cancelled: the next call must not overtake a commit still running in its thread.
        return await run_to_completion(anyio.to_thread.run_sync(call, limiter=limiter))

    return run_blocking
