"""A task group that outlives the task which opened it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import anyio
from anyio.abc import TaskGroup
from attrs import define, field


@define(eq=False)
class Background:
    """One task owns a task group from opening to closing.

    So an `async with` may be exited from a different task than it was entered from, as test fixtures and web
    frameworks do, which a plain task group does not support.

    Attributes:
        log: receives what a defect has ended, while the defect is being handled.

    """

    log: Callable[[str], None]
    _group: TaskGroup | None = field(default=None, init=False)
    _owner: asyncio.Task[None] | None = field(default=None, init=False)
    _on_failure: Callable[[Exception], None] = field(default=lambda _: None, init=False)
    _closing: asyncio.Event = field(factory=asyncio.Event, init=False)

    async def open(self, name: str, on_failure: Callable[[Exception], None]) -> None:
        """Open the group.

        Args:
            name: the task's.
            on_failure: called when the work breaks off, before the rest of it is cancelled.

        """
        self._on_failure = on_failure
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[TaskGroup] = loop.create_future()
        self._owner = loop.create_task(self._own(opened), name=name)
        try:
            self._group = await opened
        except asyncio.CancelledError:
            self._closing.set()
            raise

    def start_soon(self, run: Callable[..., Any], *args: object) -> None:
        """Run a coroutine function in the group; a defect in it is its own and ends nothing else."""
        self._begun().start_soon(self._contain, run, *args)

    def start_essential(self, run: Callable[..., Any]) -> None:
        """Run a coroutine function without which nothing else can go on."""
        self._begun().start_soon(self._report, run)

    def _begun(self) -> TaskGroup:
        if self._group is None:
            raise RuntimeError("the background work has not begun")
        return self._group

    async def _contain(self, run: Callable[..., Any], *args: object) -> None:
        try:
            await run(*args)
        except Exception:
            self.log("a part of the client's background work broke off")

    async def _report(self, run: Callable[..., Any]) -> None:
        try:
            await run()
        except Exception as error:
            self._on_failure(error)
            raise

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
            self.log("the client's background work broke off: this is a defect")
