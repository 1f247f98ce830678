"""`load`: the tracks of a catalog into a ledger, from where `convert(None)` and workers take them.

Nothing is bought, and it needs no API key. A ledger in PostgreSQL can be loaded while a worker holds it.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from attrs import define, evolve, field, frozen

from suno_video_async._util.aio import RunBlocking, in_one_thread, run_to_completion
from suno_video_async.batch.catalog import CatalogSource, Row, read_rows
from suno_video_async.errors import CatalogError, LedgerError
from suno_video_async.ledger.address import LedgerAddress, LedgerPlace, as_ledger, is_name, sealed
from suno_video_async.ledger.model import Added, Ledger
from suno_video_async.models import Track

#: Rows that are committed at a time.
BATCH = 10_000
#: The catalog's column that may name a row's ledger.
COLUMN = "ledger"
#: Ledgers that one catalog may name: each is a key's, and a misspelt column must not make thousands of them.
LEDGERS = 200

#: Adds tracks, each with its place in the catalog, to a ledger.
Add = Callable[[Sequence[tuple[Track, str]]], Awaitable[Added]]


@frozen(kw_only=True)
class Loaded:
    """What became of a catalog's rows.

    Attributes:
        rows: how many rows the catalog has.
        new: how many tracks were added.
        known: how many are in their ledger already; they stay as they are, and nothing is bought twice.
        elsewhere: how many another ledger of the same database has, by its name; they were not added.
        unreadable: how many rows are not tracks, or name another ledger than the one that was given.
        ledgers: the names of the ledgers that the rows are for, where they are in a database.

    """

    rows: int = 0
    new: int = 0
    known: int = 0
    elsewhere: Mapping[str, int] = field(factory=dict[str, int])
    unreadable: int = 0
    ledgers: tuple[str, ...] = ()


async def load(
    source: CatalogSource,
    ledger: LedgerPlace,
    *,
    on_problem: Callable[[CatalogError], object] = lambda _: None,
) -> Loaded:
    """Add the tracks of a catalog to a ledger; nothing is bought, and no API key is needed.

    Args:
        source: as for `SunoVideoClient.convert`.
        ledger: a file, or `postgresql://…?ledger=NAME`, which may be held by a worker; without a name, the
            catalog's column `ledger` names the ledger of each row.
        on_problem: called with each row that cannot be loaded, and with each track that another ledger has.

    Raises:
        CatalogError: the catalog as a whole cannot be read; what was read before is loaded.
        LedgerError: a ledger cannot be used; likewise.

    """
    place = sealed(ledger)
    loading = _Loading(on_problem)
    async with contextlib.AsyncExitStack() as stack:
        if isinstance(place, LedgerAddress) and place.is_database:
            several = _Several(place, stack)
            return evolve(await loading.run(source, several.of), ledgers=several.names)
        name = place.name if isinstance(place, LedgerAddress) else None
        one = _Opened(as_ledger(place), stack)
        await one.open()
        return evolve(await loading.run(source, _only(one.add, name)), ledgers=() if name is None else (name,))


async def load_into(source: CatalogSource, add: Add, on_problem: Callable[[CatalogError], object]) -> Loaded:
    """Add the tracks of a catalog to a ledger that is open."""
    return await _Loading(on_problem).run(source, _only(add, None))


#: Returns what adds a row's track to its ledger; a `CatalogError` if the row names none that can be used.
_LedgerOf = Callable[[Row, Track], Awaitable[Add]]


def _only(add: Add, name: str | None) -> _LedgerOf:
    async def of(row: Row, track: Track) -> Add:
        named = track.extra.get(COLUMN, "").strip()
        if name is not None and named and named != name:
            raise CatalogError(
                f"its ledger is {named!r}, and this load is for {name!r}",
                location=row.location,
                fix="leave ?ledger=… out of the address to load each row into the ledger that it names",
            )
        return add

    return of


@define(eq=False)
class _Opened:
    """A ledger that is open to be loaded, until a stack is left."""

    ledger: Ledger
    stack: contextlib.AsyncExitStack
    _run_blocking: RunBlocking = field(factory=in_one_thread, init=False)

    async def open(self) -> None:
        await self._run_blocking(self.ledger.open_to_load)
        self.stack.push_async_callback(self._close)

    async def add(self, rows: Sequence[tuple[Track, str]]) -> Added:
        return await self._run_blocking(partial(self.ledger.add, rows))

    async def _close(self) -> None:
        await run_to_completion(self._run_blocking(self.ledger.close))


@define(eq=False)
class _Several:
    """The ledgers of a database that the rows of a catalog name."""

    database: LedgerAddress
    stack: contextlib.AsyncExitStack
    _open: dict[str, Add] = field(factory=dict[str, Add], init=False)

    @property
    def names(self) -> tuple[str, ...]:
        """The names that there were so far."""
        return tuple(self._open)

    async def of(self, row: Row, track: Track) -> Add:
        """Return what adds a row's track to the ledger that it names."""
        name = track.extra.get(COLUMN, "").strip()
        if name not in self._open:
            if not is_name(name):
                what = f"{name!r} is not a ledger's name" if name else f"names no ledger in a column {COLUMN!r}"
                raise CatalogError(what, location=row.location, fix="name one, or add ?ledger=NAME to the address")
            if len(self._open) >= LEDGERS:
                raise LedgerError(
                    f"the catalog names more than {LEDGERS} ledgers", fix=f"check its column {COLUMN}"
                )
            one = _Opened(as_ledger(self.database.named(name)), self.stack)
            await one.open()
            self._open[name] = one.add
        return self._open[name]


@define(eq=False)
class _Loading:
    """One load, as far as it has come."""

    on_problem: Callable[[CatalogError], object]
    _waiting: dict[Add, list[tuple[Track, str]]] = field(factory=dict[Add, list[tuple[Track, str]]], init=False)
    _rows: int = 0
    _new: int = 0
    _unreadable: int = 0
    _elsewhere: Counter[str] = field(factory=Counter[str], init=False)

    async def run(self, source: CatalogSource, ledger_of: _LedgerOf) -> Loaded:
        """Load all rows, so many at a time."""
        try:
            async with contextlib.aclosing(read_rows(source)) as rows:
                async for row in rows:
                    self._rows += 1
                    await self._take(row, ledger_of)
        finally:
            for add in self._waiting:
                await self._flush(add)
        others = self._elsewhere.total()
        return Loaded(
            rows=self._rows,
            new=self._new,
            known=self._rows - self._new - self._unreadable - others,
            elsewhere=dict(self._elsewhere),
            unreadable=self._unreadable,
        )

    async def _take(self, row: Row, ledger_of: _LedgerOf) -> None:
        try:
            if isinstance(row.track, CatalogError):
                raise row.track
            add = await ledger_of(row, row.track)
        except CatalogError as error:
            self._unreadable += 1
            self.on_problem(error)
            return
        waiting = self._waiting.setdefault(add, [])
        waiting.append((row.track, row.location))
        if len(waiting) >= BATCH:
            await self._flush(add)

    async def _flush(self, add: Add) -> None:
        rows, self._waiting[add] = self._waiting[add], []
        if not rows:
            return
        added = await add(rows)
        self._new += added.new
        places = {track.key: location for track, location in rows} if added.elsewhere else {}
        for name, tracks in added.elsewhere.items():
            self._elsewhere[name] += len(tracks)
            for track in tracks:
                problem = f"the ledger {name} has {track.suno_id} already"
                self.on_problem(CatalogError(problem, location=places[track.key]))
