"""Ctrl+C, SIGTERM and SIGHUP: one Ctrl+C asks to finish early; a second one, or another signal, to exit now.

A command defines what they do while it can be interrupted; by default, each of them makes it exit.
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

from suno_video_async.cli.exits import Exit


class Interrupts:
    """The interruptions of one command.

    Attributes:
        happened: whether there has been one.

    """

    def __init__(self) -> None:
        self.happened: bool = False
        self._gently: Callable[[], object] | None = None
        self._terminated_gently = False
        self._leave: Callable[[], object] = _nothing
        # Determined now: once closed, a terminal no longer reports that it is one.
        self._terminals = [stream.fileno() for stream in (sys.stdout, sys.stderr) if stream.isatty()]

    def interrupt(self) -> None:
        """Handle a Ctrl+C."""
        self.happened = True
        gently, self._gently = self._gently, None
        (gently or self._leave)()

    def terminate(self) -> None:
        """Handle a SIGTERM."""
        if not self._terminated_gently:
            self._gently = None
        self.interrupt()

    def hang_up(self) -> None:
        """Handle the closing of the terminal: nothing can be written to it any more, only to files."""
        for descriptor in self._terminals:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, descriptor)
            os.close(nowhere)
        self._gently = None
        self.interrupt()

    @contextmanager
    def meaning(
        self, *, once: Callable[[], object] | None, leave: Callable[[], object], sigterm_too: bool = False
    ) -> Generator[None, None, None]:
        """Set what the interruptions do while the block runs.

        Args:
            once: what the first Ctrl+C does; None to exit at once.
            leave: what the second one, or SIGTERM, does.
            sigterm_too: whether the first SIGTERM does the same as the first Ctrl+C: supervisors send it.

        """
        before = self._gently, self._leave, self._terminated_gently
        self._gently, self._leave, self._terminated_gently = once, leave, sigterm_too
        try:
            yield
        finally:
            self._gently, self._leave, self._terminated_gently = before


def _nothing() -> None:
    """Do nothing: no command is running."""


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
    """Install the signal handlers, if this is the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    actions = {signal.SIGINT: interrupts.interrupt, signal.SIGTERM: interrupts.terminate}
    # The terminal was closed. `nohup` ignores this signal, and it stays ignored.
    hangup: signal.Signals | None = getattr(signal, "SIGHUP", None)
    if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:
        actions[hangup] = interrupts.hang_up

    def handle(number: int, _: FrameType | None) -> None:
        loop.call_soon_threadsafe(actions[signal.Signals(number)])

    # Not `loop.add_signal_handler`, which Windows lacks.
    before = {number: signal.signal(number, handle) for number in actions}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
