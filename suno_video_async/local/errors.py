"""Errors that keep the local server from starting."""

from __future__ import annotations

from suno_video_async.errors import SunoVideoError


class LocalServerError(SunoVideoError, OSError):
    """The local server cannot listen on its address; the message names the address and the fix."""

    def __init__(self, errno: int | None, problem: str) -> None:
        super().__init__(problem)
        OSError.__init__(self, errno, problem)

    @property
    def problem(self) -> str:
        """What is wrong, and what to do."""
        return self.strerror or ""


class FaultError(SunoVideoError, ValueError):
    """A fault rule cannot be used; the message names the file, the entry, the field and the fix."""


class KeysError(SunoVideoError, ValueError):
    """A key cannot be used; the message names the file, the entry, the field and the fix, and never the key."""
