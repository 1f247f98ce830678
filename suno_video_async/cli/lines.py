"""Warnings and log records as lines on stderr, like any other that a command writes."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Generator
from contextlib import contextmanager

from suno_video_async._util.text import one_line
from suno_video_async.cli.output import plain, printable, say
from suno_video_async.observability.log import logger


@contextmanager
def shown(*, debug: bool) -> Generator[None, None, None]:
    """Show the library's warnings while the block runs, and its whole log if `debug` is set."""
    with _warnings_as_lines(), _log_on_stderr() if debug else logged(_Warnings(logging.WARNING)):
        yield


@contextmanager
def _warnings_as_lines() -> Generator[None, None, None]:
    """Let the library's warnings to its users be lines like any other."""

    said = set[str]()

    def show(message: Warning | str, *_: object, **__: object) -> None:
        if str(message) not in said:
            said.add(str(message))
            say(f"warning: {plain(str(message))}")

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)  # once a command, not once a process
        warnings.showwarning = show
        yield


@contextmanager
def _log_on_stderr() -> Generator[None, None, None]:
    before = logger.level
    logger.setLevel(logging.DEBUG)
    try:
        with logged(_Lines()):
            yield
    finally:
        logger.setLevel(before)


@contextmanager
def logged(handler: logging.Handler) -> Generator[None, None, None]:
    """Let a handler have the library's records."""
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        """Write one record to stderr: its message as one line, and the lines of its traceback, if it has one."""
        said = self.format(record)
        message = record.getMessage()
        say(printable(said.replace(message, one_line(message), 1)))


class _Warnings(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        """Write what a user has to know to stderr, without a traceback."""
        say(f"warning: {plain(record.getMessage())}")
