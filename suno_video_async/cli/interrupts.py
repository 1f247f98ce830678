"""Ctrl+C, SIGTERM and SIGHUP: Ctrl+C once is a wish to finish early; twice, or another of them, to leave now.

A command says what each of them means for it while it can be interrupted; without a word, both leave it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from types import FrameType

from suno_video_async.cli.errors import Exit


class Interrupts:
    """The interruptions of one command.

    Attributes:
        happened: whether there was one.

    """

    def __init__(self) -> None:
        self.happened: bool = False
        self._gently: Callable[[], object] | None = None
        self._leave: Callable[[], object] = _nothing
        # A terminal that is closed no longer says that it is one.
        self._terminals = [stream.fileno() for stream in (sys.stdout, sys.stderr) if stream.isatty()]

    def interrupt(self) -> None:
        """Take a Ctrl+C."""
        self.happened = True
        gently, self._gently = self._gently, None
        (gently or self._leave)()

    def terminate(self) -> None:
        """Take a SIGTERM."""
        self.happened = True
        self._gently = None
        self._leave()

    def hang_up(self) -> None:
        """Take the end of the terminal: nothing can be written to it any more, only to files."""
        for descriptor in self._terminals:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, descriptor)
            os.close(nowhere)
        self.terminate()

    @contextmanager
    def meaning(
        self, *, once: Callable[[], object] | None, leave: Callable[[], object]
    ) -> Generator[None, None, None]:
        """Give the interruptions a meaning for a while.

        Args:
            once: what the first Ctrl+C does; None to leave at once.
            leave: what the second one, or SIGTERM, does.

        """
        before = self._gently, self._leave
        self._gently, self._leave = once, leave
        try:
            yield
        finally:
            self._gently, self._leave = before


def _nothing() -> None:
    """Between the commands there is nothing to leave."""


def run_interruptible(command: Callable[[Interrupts], Coroutine[None, None, int]]) -> int:
    """Run a command on an event loop of its own and return its exit code."""
    return asyncio.run(_guarded(command))


async def _guarded(command: Callable[[Interrupts], Coroutine[None, None, int]]) -> int:
    interrupts = Interrupts()
    running = asyncio.ensure_future(command(interrupts))
    with interrupts.meaning(once=None, leave=running.cancel), _handlers(interrupts):
        try:
            return await running
        except asyncio.CancelledError:
            if not interrupts.happened:
                raise
            return Exit.INTERRUPTED


@contextmanager
def _handlers(interrupts: Interrupts) -> Generator[None, None, None]:
    """Handle the signals, where this thread may."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    meant = {signal.SIGINT: interrupts.interrupt, signal.SIGTERM: interrupts.terminate}
    # A terminal that is closed; under `nohup` that is ignored, and stays so.
    hangup: signal.Signals | None = getattr(signal, "SIGHUP", None)
    if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:
        meant[hangup] = interrupts.hang_up

    def handle(number: int, _: FrameType | None) -> None:
        loop.call_soon_threadsafe(meant[signal.Signals(number)])

    # Not `loop.add_signal_handler`, which Windows has not.
    before = {number: signal.signal(number, handle) for number in meant}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
