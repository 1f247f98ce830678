"""An event loop in a thread of its own, and threads that wait for what it does for them."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from concurrent.futures import CancelledError, Future
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Any, TypeVar, cast

from attrs import define, field

T = TypeVar("T")

#: Seconds after which a thread that waits looks up. A signal that arrives just before it falls asleep does not
#: wake it, nor does any on Windows: the interruption would come with the next news, which may be an hour away.
_LOOKS_UP = 1.0


class LoopEndedError(Exception):
    """The loop has ended, or ended during the call."""


class LoopThread:
    """An event loop on which something is open until it is stopped.

    Work is handed to it as asyncio does it, not through anyio's portal, which first waits until the loop has taken
    the work: an interruption of that wait would leave work behind that nothing can cancel.

    Args:
        name: the thread's.
        opened: what is entered on the loop first, and left at the end.

    Raises:
        Exception: what entering it raised.

    """

    def __init__(self, name: str, opened: AbstractAsyncContextManager[object]) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._calls: set[Future[Any]] | None = set()
        self._stopped = asyncio.Event()
        self._started = Future[asyncio.AbstractEventLoop]()
        # A daemon, so that an impatient person can end the program while it waits at its exit.
        self._thread = threading.Thread(target=self._run, args=[opened], name=name, daemon=True)
        try:
            _stop_at_exit(self)
            self._thread.start()
            self._loop = self._started.result()
        except BaseException:
            self.stop_soon()
            raise

    @property
    def is_ours(self) -> bool:
        """Whether it runs in this process, not in one that was forked."""
        return self._process == os.getpid()

    @property
    def is_running(self) -> bool:
        """Whether it runs, here."""
        return self.is_ours and self._thread.is_alive()

    @property
    def is_current(self) -> bool:
        """Whether this is the loop's own thread."""
        return threading.current_thread() is self._thread

    def start(self, work: Callable[[], Awaitable[T]]) -> Future[T]:
        """Run a coroutine function; cancelling the future cancels it.

        Raises:
            LoopEndedError: the loop has ended.

        """
        with self._lock:
            if self._calls is None:
                raise LoopEndedError
            future = asyncio.run_coroutine_threadsafe(_awaited(work), self._loop)
            self._calls.add(future)
        future.add_done_callback(self._forget)
        return future

    def stop(self) -> None:
        """Leave what is open, and end the thread; a second interruption ends the wait for that.

        Raises:
            RuntimeError: this is the loop's own thread.

        """
        if not self.is_ours:
            return
        self.stop_soon()
        try:
            self._thread.join()
        except KeyboardInterrupt:
            self._thread.join()
            raise

    def stop_soon(self) -> None:
        """Stop without waiting."""

        def stop(started: Future[asyncio.AbstractEventLoop]) -> None:
            with suppress(Exception):  # it has ended, or did not begin
                started.result().call_soon_threadsafe(self._stopped.set)

        self._started.add_done_callback(stop)

    def _forget(self, future: Future[Any]) -> None:
        with self._lock:
            if self._calls is not None:
                self._calls.discard(future)

    def _run(self, opened: AbstractAsyncContextManager[object]) -> None:
        try:
            asyncio.run(self._live(opened))
        except BaseException as error:
            if self._started.done():
                raise
            self._started.set_exception(error)
        finally:
            with self._lock:
                calls, self._calls = self._calls or (), None
            for future in calls:  # of threads that called it while it ended
                future.cancel()

    async def _live(self, opened: AbstractAsyncContextManager[object]) -> None:
        async with opened:
            self._started.set_result(asyncio.get_running_loop())
            await self._stopped.wait()


class _ReadingEnded(Exception):  # noqa: N818  no error: what ended it is raised in the thread that reads
    """An iterable was read up to here, because its thread is to do something else."""


@define(eq=False)
class _Errand:
    """Something to be read in the thread that waits.

    An interruption may come at any step of it: it is raised, and the loop is answered all the same.
    """

    read: Callable[[], Any]
    answer: asyncio.Future[Any]
    has_run: bool = field(default=False, init=False)

    def run(self) -> None:
        try:
            self.has_run = True
            self._send(self._answer())
        except BaseException:  # such as an interruption: what was read so far is all
            self._send(partial(self.answer.set_exception, _ReadingEnded()))
            raise

    def _answer(self) -> Callable[[], None]:
        try:
            return partial(self.answer.set_result, self.read())
        except Exception as error:
            return partial(self.answer.set_exception, error)

    def _send(self, answer: Callable[[], None]) -> None:
        def give() -> None:
            if not self.answer.done():  # nor was the call cancelled meanwhile
                answer()

        with suppress(RuntimeError):  # the loop has ended
            self.answer.get_loop().call_soon_threadsafe(give)


class Caller:
    """A thread that waits for a call, and meanwhile reads an iterable for it.

    The iterable may belong to its thread, as a database cursor and Django's querysets do, and may block.
    """

    def __init__(self) -> None:
        self._errand: _Errand | None = None
        self._news = SimpleQueue[None]()

    def wait(self, future: Future[T]) -> T:
        """Return the result of a call.

        Raises:
            LoopEndedError: the loop ended first.

        """
        future.add_done_callback(lambda _: self._news.put(None))
        while not future.done():
            # Kept until the next one, which the loop may send as soon as this one is answered; and an interruption
            # may come at any time.
            errand = self._errand
            if errand is None or errand.has_run:
                with suppress(Empty):
                    self._news.get(timeout=_LOOKS_UP)
            else:
                errand.run()
        try:
            return future.result()
        except CancelledError:
            raise LoopEndedError from None

    async def read(self, source: Iterable[T]) -> AsyncIterator[T]:
        """Yield the items of an iterable, each read in the thread that waits."""
        with suppress(_ReadingEnded):
            items = await self._ask(lambda: iter(source))
            while found := await self._ask(lambda: tuple(islice(items, 1))):
                yield found[0]

    async def _ask(self, read: Callable[[], T]) -> T:
        errand = self._errand = _Errand(read, asyncio.get_running_loop().create_future())
        self._news.put(None)
        return cast("T", await errand.answer)


#: Those that are to be stopped when the program ends, and the process whose thread sees to it.
_running = weakref.WeakSet[LoopThread]()
_watched: int | None = None


def _stop_at_exit(loop: LoopThread) -> None:
    """Let a loop be stopped when the main thread ends.

    `atexit` would be too late: before its functions are called, Python waits for the worker threads that anyio has
    begun for the loop, and these end with the loop.
    """
    global _watched  # noqa: PLW0603  there is one exit
    _running.add(loop)
    if _watched != os.getpid():
        threading.Thread(target=_watch, name="suno-video-exit").start()
        _watched = os.getpid()


def _watch() -> None:
    threading.main_thread().join()
    for loop in list(_running):
        with suppress(RuntimeError):  # it never started
            loop.stop()


async def _awaited(work: Callable[[], Awaitable[T]]) -> T:
    return await work()
