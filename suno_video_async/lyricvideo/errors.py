"""What keeps a library or a song from being used."""

from __future__ import annotations

from pathlib import Path


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
