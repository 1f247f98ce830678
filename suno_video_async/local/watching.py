"""Notices songs that are added to a library while the server runs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

import anyio.to_thread

from suno_video_async.lyricvideo.errors import LibraryError
from suno_video_async.lyricvideo.folder import FolderLibrary
from suno_video_async.lyricvideo.library import Library
from suno_video_async.observability.log import fields

#: Seconds between two checks, on the real clock: files are not copied at the server's time scale.
EVERY = 1.0
_log = logging.getLogger("suno_video_async.local")


class LibraryWatch:
    """Checks regularly, in a thread, whether the songs of a folder have changed.

    Args:
        library: to be watched; a library that never changes is left alone.
        changed: called after a change.

    """

    def __init__(self, library: Library, changed: Callable[[], object]) -> None:
        self._library = library
        self._changed = changed
        self._told: set[str] = set()
        self._task: asyncio.Task[None] | None = None
        if isinstance(library, FolderLibrary):
            self._tell(library.mistakes)
            self._task = asyncio.create_task(self._look(library))

    async def aclose(self) -> None:
        """Stop watching."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _look(self, library: FolderLibrary) -> None:
        while True:
            await asyncio.sleep(EVERY)
            try:
                if await anyio.to_thread.run_sync(library.refresh):
                    self._tell(library.mistakes)
                    self._changed()
            except Exception:  # a problem of the disk: the known songs can still be made
                _log.exception("the library cannot be read", extra=fields("library_unreadable"))

    def _tell(self, mistakes: tuple[LibraryError, ...]) -> None:
        """Warn once about each mistake, and again if it returns after it was corrected."""
        messages = [str(mistake) for mistake in mistakes]
        for message in messages:
            if message not in self._told:
                _log.warning("this song is left out: %s", message, extra=fields("song_left_out"))
        self._told = set(messages)
