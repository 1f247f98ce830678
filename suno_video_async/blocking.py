"""`SunoVideoClient` without async, for scripts and for the threads of Flask, Django and Celery.

The async client lives on an event loop in a thread of its own. Each call hands its work to that loop and waits.
"""

from __future__ import annotations

import asyncio
import threading
import warnings
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Generator, Iterable
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial, wraps
from os import PathLike
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from suno_video_async._util.loop_thread import Caller, LoopEndedError, LoopThread
from suno_video_async.batch.catalog import CatalogFile
from suno_video_async.batch.catalog.source import check_rows
from suno_video_async.batch.conversion import Conversion
from suno_video_async.batch.outcome import Outcome
from suno_video_async.client import SunoVideoClient as AsyncClient
from suno_video_async.errors import ClientClosedError
from suno_video_async.models import Track, Video, VideoTaskId
from suno_video_async.observability.log import fields, logger

P = ParamSpec("P")
T = TypeVar("T")

_INTERRUPTED = "interrupted: nothing more is bought, what is in flight is followed; interrupt again to leave it"
_CLOSED = "the client is closed"
_OTHER_PROCESS = "the client was opened before this process was forked: create a new one in the child process"
#: Iterable arguments that need not be read in the thread of the caller.
_NOT_READ = (str, PathLike, CatalogFile, list, tuple, AsyncIterable)
_OWN_THREAD = "this is the client's own thread, as in a hook: the call would wait for itself"


def _typed_as(_: Callable[P, object]) -> Callable[[Callable[..., None]], Callable[Concatenate[Any, P], None]]:
    """Give a constructor the arguments of another class, for type checkers."""
    return lambda function: function


class SunoVideoClient:
    """A client without async: `with SunoVideoClient(ledger="videos.db") as client:`.

    It takes the arguments of `suno_video_async.SunoVideoClient`, and its calls raise the same errors. It opens
    when it is first used, and any number of threads may use it. A program that ends without closing it waits for
    the submissions that are being sent. Hooks are called in the client's own thread.

    An interruption (Ctrl+C) of a single call ends only the wait: what was bought is followed, and a ledger has it.
    The first one that a conversion waits through ends the buying: what is in flight is followed to its end, then
    `KeyboardInterrupt` is raised. The second one leaves the conversion at once.

    After a fork a client that was opened belongs to the parent; one that was not opens in the child.

    Raises:
        ConfigurationError: no key, or a base URL that it cannot be sent to.

    """

    _loop: LoopThread | None = None

    @_typed_as(AsyncClient)
    @wraps(AsyncClient.__init__)
    def __init__(self, **options: Any) -> None:
        self._client = AsyncClient(**options)
        self._opening = threading.Lock()
        self._closed = False

    def __repr__(self) -> str:
        return repr(self._client).replace("SunoVideoClient", "blocking.SunoVideoClient", 1)

    def __enter__(self) -> SunoVideoClient:
        self._opened()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self, _warn: Callable[..., Any] = warnings.warn) -> None:
        if self._loop is not None and self._loop.is_running and not self._closed:
            _warn(f"{self!r} was never closed: use `with`, or call close()", ResourceWarning, source=self)
            self._loop.stop_soon()

    def close(self) -> None:
        """Close the client; submissions that are being sent are awaited, at most for the network's timeout.

        Tasks that have not ended continue at the provider. Closing twice is harmless.
        """
        if self._loop is not None and not self._loop.is_ours:
            return
        if self._loop is not None and self._loop.is_current:
            raise RuntimeError(_OWN_THREAD)
        with self._opening:
            self._closed = True
        if self._loop is not None:
            self._loop.stop()

    # The calls

    def submit(self, track: Track, callback_url: str | None = None) -> VideoTaskId:
        """Buy a video: submit one track, when there is room in flight, and return the id of its task.

        Args:
            track: what to make a video of.
            callback_url: a URL of your own that the API calls when the task ends.

        Raises:
            SubmissionUnknown: it was sent, and whether it was accepted cannot be known: it is not sent again.
            APIError: it was refused; nothing was bought.
            TransportError: it could not be sent; nothing was bought.

        """
        return self._wait(partial(self._client.submit, track, callback_url)).id

    def result(self, task_id: VideoTaskId | str, timeout: float | None = None) -> Video:
        """Wait for the end of a video task, submitted here or elsewhere, and return its video.

        Args:
            task_id: the **video** task's id, as `submit` returned it.
            timeout: seconds to wait at most; None waits as long as it takes.

        Raises:
            TaskFailed: the task has failed.
            WaitTimeout: the wait ended first; the task goes on.
            SunoVideoError: the task can no longer be followed.

        """

        async def result() -> Video:
            return await self._client.attach(task_id).result(timeout)

        return self._wait(result)

    @staticmethod
    def _waits(
        method: Callable[Concatenate[AsyncClient, P], Awaitable[T]],
    ) -> Callable[[Callable[..., None]], Callable[Concatenate[SunoVideoClient, P], T]]:
        """Make a method that waits for what a method of the async client returns; the decorated one names it."""

        @wraps(method)
        def call(self: SunoVideoClient, /, *args: P.args, **options: P.kwargs) -> T:
            caller = Caller()
            return self._wait(_reading(caller, partial(method, self._client, *args, **options)), caller)

        return lambda _: call

    @staticmethod
    def _iterates(
        method: Callable[Concatenate[AsyncClient, P], Conversion],
    ) -> Callable[
        [Callable[..., None]], Callable[Concatenate[SunoVideoClient, P], Generator[Outcome, None, None]]
    ]:
        """Make a method that yields the outcomes of an async conversion; the decorated one names it."""

        @wraps(method)
        def call(self: SunoVideoClient, /, *args: P.args, **options: P.kwargs) -> Generator[Outcome, None, None]:
            caller = Caller()
            begin = _reading(caller, partial(method, self._client, *args, **options))
            return self._outcomes(self._wait(partial(_call, begin)), caller)

        return lambda _: call

    @_waits(AsyncClient.generate)
    def generate(self) -> None: ...

    @_waits(AsyncClient.status)
    def status(self) -> None: ...

    @_waits(AsyncClient.tracks)
    def tracks(self) -> None: ...

    @_waits(AsyncClient.balance)
    def balance(self) -> None: ...

    @_waits(AsyncClient.estimate)
    def estimate(self) -> None: ...

    @_waits(AsyncClient.plan)
    def plan(self) -> None: ...

    @_waits(AsyncClient.download)
    def download(self) -> None: ...

    @_waits(AsyncClient.fetch)
    def fetch(self) -> None: ...

    @_iterates(AsyncClient.convert)
    def convert(self) -> None: ...

    @_iterates(AsyncClient.resume)
    def resume(self) -> None: ...

    def _outcomes(self, conversion: Conversion, caller: Caller) -> Generator[Outcome, None, None]:
        interrupted: KeyboardInterrupt | None = None
        with self._inside(conversion, caller) as loop:
            while True:
                coming = loop.start(partial(_next, conversion))
                try:
                    outcome = caller.wait(coming)
                except KeyboardInterrupt as error:
                    if interrupted is not None:
                        raise
                    interrupted = error
                    logger.warning(_INTERRUPTED, extra=fields("interrupted"))
                    self._wait(partial(_call, conversion.stop))
                    outcome = caller.wait(coming)
                if outcome is None:
                    break
                yield outcome
        if interrupted is not None:
            raise interrupted

    @contextmanager
    def _inside(self, conversion: Conversion, caller: Caller) -> Generator[LoopThread, None, None]:
        """Enter a conversion, and leave it at the end of the block, or when the client is closed."""
        entered, leave = Future[None](), asyncio.Event()

        async def hold() -> None:
            async with conversion:
                entered.set_result(None)
                await leave.wait()

        loop = self._opened()
        held = loop.start(hold)
        held.add_done_callback(partial(_fail, entered))
        try:
            caller.wait(entered)
            yield loop
        except LoopEndedError:
            raise ClientClosedError(_CLOSED) from None
        finally:
            with suppress(LoopEndedError):
                if entered.done():
                    loop.start(partial(_call, leave.set))
                else:
                    held.cancel()
                if not loop.is_current:  # where the garbage collector may run
                    caller.wait(held)

    def _wait(self, work: Callable[[], Awaitable[T]], caller: Caller | None = None) -> T:
        """Run work on the loop and return its result; an interruption cancels it."""
        loop = self._opened()
        if loop.is_current:
            raise RuntimeError(_OWN_THREAD)
        try:
            future = loop.start(work)
            try:
                return (caller or Caller()).wait(future)
            finally:
                future.cancel()
        except LoopEndedError:
            raise ClientClosedError(_CLOSED) from None

    def _opened(self) -> LoopThread:
        if self._loop is None:
            with self._opening:
                if self._loop is None and not self._closed:
                    self._loop = LoopThread("suno-video-client", self._client)
        if self._loop is not None and not self._loop.is_ours:
            raise ClientClosedError(_OTHER_PROCESS)
        if self._closed or self._loop is None:
            raise ClientClosedError(_CLOSED)
        return self._loop


def _reading(caller: Caller, work: partial[T]) -> partial[T]:
    """Let the iterables among the arguments be read in the thread that waits."""

    def argument(value: Any) -> Any:
        if isinstance(value, _NOT_READ) or not isinstance(value, Iterable):
            return cast("object", value)
        return _read(cast("Iterable[object]", value), caller)

    named = {name: argument(value) for name, value in work.keywords.items()}
    return partial(work.func, *map(argument, work.args), **named)


async def _read(source: Iterable[object], caller: Caller) -> AsyncIterator[object]:
    check_rows(source)
    async for row in caller.read(source):
        yield row


def _fail(entered: Future[None], held: Future[None]) -> None:
    """Report what has ended the hold on a conversion before it was entered."""
    if entered.done():
        return
    if held.cancelled():
        entered.cancel()
    else:
        entered.set_exception(held.exception())


async def _call(function: Callable[[], T]) -> T:
    return function()


async def _next(conversion: Conversion) -> Outcome | None:
    return await anext(conversion, None)
