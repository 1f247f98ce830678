"""What keeps the local server from starting, or a song from being used."""

from __future__ import annotations

from pathlib import Path

from suno_video_async.errors import SunoVideoError


class LocalServerError(SunoVideoError, OSError):
    """The local server cannot listen where it was told to; the message names the place and the fix."""

    def __str__(self) -> str:
        return self.strerror or super().__str__()


class FaultError(SunoVideoError, ValueError):
    """A fault rule cannot be used; the message names the file, the entry, the field and the fix."""


class KeysError(SunoVideoError, ValueError):
    """A key cannot be used; the message names the file, the entry, the field and the fix, and never the key."""


class LibraryError(Exception):
    """A library cannot be used: which file, which line if one is at fault, what is wrong and what to do."""

    def __init__(self, path: Path, line: int | None, problem: str) -> None:
        super().__init__(path, line, problem)
        self.path = path
        self.line = line
        self.problem = problem

    def __str__(self) -> str:
        # A name may hold anything, a line break too.
        path = "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in str(self.path))
        return f"{path}: {self.problem}" if self.line is None else f"{path}:{self.line}: {self.problem}"
