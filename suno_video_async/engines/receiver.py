"""Callbacks for workers: any process receives them, without a key, and leaves them for the ledger's holder."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import NoReturn

from suno_video_async._util.aio import in_one_thread, run_to_completion
from suno_video_async.callbacks import CallbackReceiver
from suno_video_async.clock import Clock, SystemClock
from suno_video_async.errors import CallbackRejected
from suno_video_async.ledger.address import LedgerAddress
from suno_video_async.ledger.postgres.notes import PostgresNotes
from suno_video_async.models import TaskSnapshot, VideoTaskId


class NotesReceiver(CallbackReceiver):
    """Commits callbacks to the ledgers of a database; `listen`, `app` and `asgi` are those of `CallbackReceiver`.

    A callback is answered with 200 once the note is committed. The holder takes it at once, and believes it as
    little as one of its own.

    Args:
        database: `postgresql://USER@HOST/DATABASE`, without a ledger's name.
        public_url: the URL under which the service reaches it: the workers' `callback_url`.

    Raises:
        ValueError: it is not such a URL.

    """

    def __init__(self, database: LedgerAddress, *, public_url: str) -> None:
        super().__init__(_NoClient(), public_url=public_url)
        self._notes = PostgresNotes(database)
        self._run_blocking = in_one_thread()

    async def aclose(self) -> None:
        """Close the session with the database."""
        await run_to_completion(self._run_blocking(self._notes.close))

    async def _known(self, nonce: str) -> Callable[[TaskSnapshot], Awaitable[None]]:
        schema = await self._run_blocking(partial(self._notes.ledger_of, nonce))
        if schema is None:
            raise CallbackRejected(404, "no attempt has this nonce")

        async def leave(said: TaskSnapshot) -> None:
            await self._run_blocking(partial(self._notes.leave_callback, schema, nonce, said.task_id))

        return leave


class _NoClient:
    """What has no key cannot ask for anything."""

    @property
    def clock(self) -> Clock:
        return SystemClock()

    def hint(self, task_id: VideoTaskId) -> None:
        """Do nothing: there is nothing to poll."""

    async def status(self, task_id: VideoTaskId) -> NoReturn:
        raise NotImplementedError
