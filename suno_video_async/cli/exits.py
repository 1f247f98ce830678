"""How a command ends: its exit code, and a mistake in the command as it was given. It imports nothing heavy."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """How a command ended; the same for all commands."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    CREDITS = 3
    LEFT = 4
    UNEXPECTED = 70
    INTERRUPTED = 130


class UsageProblem(Exception):  # noqa: N818  it is what the user meets, and its message is all of it
    """Something about the command as it was given cannot work; the message says what, where and what to do."""
