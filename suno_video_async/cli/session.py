"""What the commands that only ask have in common: they give up soon, and say each retry."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from attrs import frozen

from suno_video_async.cli import errors
from suno_video_async.cli.interrupts import Interrupts, run_interruptible
from suno_video_async.cli.options import Connection
from suno_video_async.cli.output import Output
from suno_video_async.hooks import Hooks, RetryEvent
from suno_video_async.models import RetryPolicy

if TYPE_CHECKING:
    from suno_video_async.client import SunoVideoClient

#: Sends of one call: a person waits for the answer.
ATTEMPTS = 4


@frozen(eq=False)
class Retries(Hooks):
    """Says each retry on stderr."""

    output: Output

    def on_retry(self, event: RetryEvent) -> None:
        """Say why and when a call is tried again."""
        from suno_video_async.download.downloader import WAITS  # noqa: PLC0415  a client is open

        most = len(WAITS) + 1 if event.operation == "download" else ATTEMPTS
        self.output.hint(
            f"{errors.retried(event)}; trying again in {event.wait:.1f} s ({event.attempt} of {most})"
        )


def with_client(
    connection: Connection,
    output: Output,
    command: Callable[[SunoVideoClient, Interrupts], Awaitable[int]],
    *hooks: Hooks,
) -> int:
    """Run a command with an open client and return its exit code."""

    closed = connection.client(hooks=[Retries(output), *hooks], retry=RetryPolicy(attempts=ATTEMPTS))

    async def opened(interrupts: Interrupts) -> int:
        async with closed as client:
            return await command(client, interrupts)

    return run_interruptible(opened)
