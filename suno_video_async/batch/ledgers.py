"""Which ledger a conversion keeps, where its caller does not name one."""

from __future__ import annotations

from functools import partial
from os import PathLike
from pathlib import Path
from typing import TypeAlias

from attrs import frozen

from suno_video_async._util.aio import in_one_thread
from suno_video_async.batch.catalog import CatalogSource
from suno_video_async.ledger.aio import AsyncLedger, as_ledger
from suno_video_async.ledger.model import NO_LEDGER, Ledger, NoLedger

#: What a catalog's name may end with; its ledger's name does without.
CATALOG_SUFFIXES = frozenset({".csv", ".json", ".jsonl", ".ndjson"})

#: What a caller may name as a conversion's ledger.
GivenLedger: TypeAlias = "AsyncLedger | Ledger | str | PathLike[str] | NoLedger | None"


@frozen(kw_only=True)
class LedgerChoice:
    """The ledger of a conversion.

    Attributes:
        ledger: the ledger, or its file.
        is_default: it stands beside the catalog because nothing else was asked for.
        forgets: it is kept in memory though its caller did not ask for that.

    """

    ledger: AsyncLedger | Ledger | str | PathLike[str]
    is_default: bool = False
    forgets: bool = False


async def choose_ledger(
    source: CatalogSource | None, given: GivenLedger, clients: AsyncLedger | None
) -> LedgerChoice:
    """Return the ledger that was given; else the client's; else the one beside the catalog; else one in memory."""
    if given is NO_LEDGER:
        return LedgerChoice(ledger=as_ledger(None))
    if given is not None:
        return LedgerChoice(ledger=given)
    if clients is not None:
        return LedgerChoice(ledger=clients)
    if isinstance(source, str | PathLike) and not await in_one_thread()(partial(is_stream, Path(source))):
        return LedgerChoice(ledger=ledger_beside(Path(source)), is_default=True)
    return LedgerChoice(ledger=as_ledger(None), forgets=True)


async def planned_ledger(
    source: CatalogSource, given: GivenLedger, clients: AsyncLedger | None
) -> Ledger | str | PathLike[str]:
    """Return the ledger that a conversion would keep, or its file."""
    kept = (await choose_ledger(source, given, clients)).ledger
    return kept.sync if isinstance(kept, AsyncLedger) else kept


def ledger_beside(catalog: Path) -> Path:
    """Return the default ledger of a catalog: `catalog.ledger.db` for `catalog.csv`."""
    stem = catalog.stem if catalog.suffix.lower() in CATALOG_SUFFIXES else catalog.name
    return catalog.with_name(f"{stem}.ledger.db")


def is_stream(catalog: Path) -> bool:
    """Whether a catalog is not a file of its own but a pipe or a device: there is no place beside it."""
    in_system = catalog.is_absolute() and catalog.parts[1:2] in {("dev",), ("proc",)}
    return in_system or (catalog.exists() and not (catalog.is_file() or catalog.is_dir()))
