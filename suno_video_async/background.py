"""A task group that outlives the task which opened it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import anyio
from anyio.abc import TaskGroup
from attrs import define, field

from suno_video_async.observability.log import fields, logger


@define(eq=False)
class Background:
    """One task owns a task group from opening to closing.

    So an `async with` may be exited from a different task than it was entered from, as test fixtures and web
    frameworks do, which a plain task group does not support.
    """

    _group: TaskGroup | None = field(default=None, init=False)
    _owner: asyncio.Task[None] | None = field(default=None, init=False)
    _closing: asyncio.Event = field(factory=asyncio.Event, init=False)

    async def open(self, name: str) -> None:
        """Open the group; `name` is the name of its task."""
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[TaskGroup] = loop.create_future()
        self._owner = loop.create_task(self._own(opened), name=name)
        try:
            self._group = await opened
        except asyncio.CancelledError:
            self._closing.set()
            raise

    def start_soon(self, run: Callable[..., Any], *args: object) -> None:
        """Run a coroutine function in the group."""
        if self._group is None:
            raise RuntimeError("the background work has not begun")
        self._group.start_soon(run, *args)

    async def aclose(self) -> None:
        """Cancel what is running and wait for it to end."""
        self._closing.set()
        if self._owner is not None:
            await asyncio.wait([self._owner])

    async def _own(self, opened: asyncio.Future[TaskGroup]) -> None:
        try:
            async with anyio.create_task_group() as group:
                if not opened.done():
                    opened.set_result(group)
                await self._closing.wait()
                group.cancel_scope.cancel()
        except Exception:
            logger.exception("the client's background work broke off: this is a defect", extra=fields("defect"))
            raise
