"""Waiting for what must not be cut short, whoever cancels."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import anyio

T = TypeVar("T")


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` to its end in a task of its own, and only then let a cancellation of the caller through.

    anyio's shielded scopes hold off anyio's own cancellation; `asyncio.timeout` and `Task.cancel` go through them.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    # The shield is for anyio's scopes, which would cancel again in every round of the loop, and so spin.
    with anyio.CancelScope(shield=True):
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError as error:
                cancelled = error
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # seen, so that nobody complains about it
        raise cancelled
    return task.result()
