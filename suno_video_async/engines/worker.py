"""`Worker`: holds keys of `keys.toml` and works them, beside other workers of the same database.

Workers do not know of each other. Each tries to hold every key; who gets its ledger's lock works it, and the
others try again each second. So a key is at work as long as one worker is left, and never at two.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from os import PathLike

import anyio
from attrs import frozen

from suno_video_async._util.aio import wait_at_most
from suno_video_async.batch.outcome import Outcome
from suno_video_async.clock import Clock
from suno_video_async.engines.holder import Holder, WorkOptions
from suno_video_async.engines.keys import KeyEntry, load_keys
from suno_video_async.engines.supervision import Again, when_again
from suno_video_async.errors import ConfigurationError, LedgerInUse, SunoVideoError
from suno_video_async.hooks import Hooks, checked_hooks
from suno_video_async.ledger.address import LedgerAddress
from suno_video_async.models import Timeout
from suno_video_async.observability.log import logger

#: Real seconds between two tries to hold a key that another worker has.
CONTEND = 1.0
#: Real seconds between two tries after an error, at first and at most.
FIRST_TRY, LAST_TRY = 1.0, 15.0


@frozen(kw_only=True)
class WorkerStatistics:
    """A worker's state at one moment.

    Attributes:
        held: the names of the keys that it holds.
        stopped: those that it has given up, with the errors.

    """

    held: tuple[str, ...]
    stopped: dict[str, SunoVideoError]


class Worker:
    """Works the keys of `keys.toml`, each on its ledger in one PostgreSQL database: `await Worker(…).run()`.

    Any number of workers may run, on any machines: a key is worked by one of them at a time, and by another within
    seconds if that one dies. What is to be bought is loaded into the ledgers (`load`).

    Args:
        database: `postgresql://USER@HOST/DATABASE`, without a ledger's name.
        keys: the file; it says where each key is, and has none in it.
        output: the folder or store for the videos; None downloads nothing. Workers on several machines need one
            that all of them share.
        callback_url: the public URL of `suno-video receive`; None only polls.
        most_keys: the most keys that it holds at a time; None for all.
        until_done: whether `run` returns once all ledgers want nothing more.
        max_credits: the most to spend over the life of all ledgers of the file together, whichever workers hold
            them; `max_credits` of a key is for its ledger alone.
        strict: whether a 500 counts as unknown and is not submitted again, as in `RetryPolicy`.
        retry_failed: as for `convert`; likewise `file_name`, `sha256` and `task_timeout`.
        timeout: of the network, as for a client; likewise `proxy`, `ca_file`, `clock` and `hooks`.
        on_outcome: called with each outcome, and the entry of the key that it came by.
        notify: called with what a person should know: which keys are taken and lost, and what they wait for.

    Raises:
        ConfigurationError: the address or the file cannot be used.

    """

    def __init__(
        self,
        database: str | LedgerAddress,
        *,
        keys: str | PathLike[str] | Sequence[KeyEntry],
        output: str | PathLike[str] | None = None,
        callback_url: str | None = None,
        most_keys: int | None = None,
        until_done: bool = False,
        max_credits: float | None = None,
        strict: bool = False,
        retry_failed: int = 0,
        file_name: str | None = None,
        sha256: bool = False,
        task_timeout: float | None = None,
        timeout: Timeout | None = None,
        proxy: str | None = None,
        ca_file: str | PathLike[str] | None = None,
        clock: Clock | None = None,
        hooks: Sequence[Hooks] = (),
        on_outcome: Callable[[KeyEntry, Outcome], object] = lambda _, __: None,
        notify: Callable[[str], object] = logger.warning,
    ) -> None:
        address = LedgerAddress.parse(database) if isinstance(database, str) else database
        del database  # a password must not be in the frames of a traceback
        if not address.is_database:
            problem = address.problem or "it names a ledger: leave ?ledger=… out, for keys.toml names them"
            raise ConfigurationError(f"the database's address {address} cannot be used: {problem}")
        if most_keys is not None and most_keys < 1:
            raise ConfigurationError(f"most_keys must be at least 1, not {most_keys}")
        self._database = address
        self._entries = load_keys(keys) if isinstance(keys, str | PathLike) else tuple(keys)
        self._options = WorkOptions(
            output_dir=output,
            callback_url=callback_url,
            max_credits=max_credits,
            strict=strict,
            retry_failed=retry_failed,
            file_name=file_name,
            sha256=sha256,
            task_timeout=task_timeout,
            timeout=timeout,
            proxy=proxy,
            ca_file=ca_file,
            clock=clock,
            hooks=tuple(checked_hooks(hooks)),
            on_outcome=on_outcome,
            notify=notify,
        )
        self._until_done = until_done
        self._room = anyio.Semaphore(min(most_keys or len(self._entries), len(self._entries)))
        self._stopped = dict[str, SunoVideoError]()
        self._holders = list[Holder]()
        self._stopping = asyncio.Event()

    def __repr__(self) -> str:
        held = ", ".join(self.statistics().held) or "nothing"
        return f"<Worker {self._database} holds {held}>"

    @property
    def entries(self) -> tuple[KeyEntry, ...]:
        """The keys that it may hold."""
        return self._entries

    def statistics(self) -> WorkerStatistics:
        """Return what it holds, and what it has given up."""
        held = tuple(holder.entry.name for holder in self._holders if holder.is_held)
        return WorkerStatistics(held=held, stopped=dict(self._stopped))

    def stop(self) -> None:
        """Buy no more: `run` returns when what is submitted is finished; other workers take the keys then."""
        self._stopping.set()
        for holder in self._holders:
            holder.stop()

    async def run(self) -> None:
        """Work until it is stopped, or until no key is left to work; a cancellation leaves at once.

        Raises:
            SunoVideoError: what one of the keys was given up for; the others have worked on until their ends.

        """
        async with anyio.create_task_group() as group:
            for entry in self._entries:
                group.start_soon(self._work, entry)
        for error in self._stopped.values():
            raise error

    async def _work(self, entry: KeyEntry) -> None:
        """Hold one key whenever it is free, until it is done, given up, or the worker is stopped."""
        waiting = FIRST_TRY
        contending = False
        while not self._stopping.is_set():
            seconds = waiting
            try:
                await self._hold(entry)
            except LedgerInUse as error:
                seconds = CONTEND
                if not contending:
                    self._notify(entry, f"waits for its turn: {error.problem}")
                contending = True
            except SunoVideoError as error:
                contending = False
                if when_again(error) is Again.NEVER:
                    self._stopped[entry.name] = error
                    self._notify(entry, f"is given up: {error}")
                    return
                self._notify(entry, f"tries again: {error}")
                waiting = min(2 * waiting, LAST_TRY)
            else:
                return
            await wait_at_most(seconds, self._stopping)

    async def _hold(self, entry: KeyEntry) -> None:
        """Hold a key until it is done, or the worker is stopped."""
        async with self._room:
            if self._stopping.is_set():
                return
            beside = [other.ledger for other in self._entries if other is not entry]
            holder = Holder(entry, self._database, self._options, beside, until_done=self._until_done)
            self._holders.append(holder)
            try:
                await holder.run()
            finally:
                self._holders.remove(holder)

    def _notify(self, entry: KeyEntry, text: str) -> None:
        self._options.notify(f"key {entry.name}: {text}")
