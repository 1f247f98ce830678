"""Which ledger a conversion keeps, where its caller does not name one, and which others stand beside that."""

from __future__ import annotations

import os
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TypeAlias

from attrs import frozen

from suno_video_async._util.aio import in_one_thread
from suno_video_async.batch.catalog import CatalogSource
from suno_video_async.errors import BoughtElsewhereError
from suno_video_async.ledger.address import LedgerPlace, as_ledger
from suno_video_async.ledger.aio import AsyncLedger
from suno_video_async.ledger.decision import Buying
from suno_video_async.ledger.model import NO_LEDGER, Ledger, NoLedger
from suno_video_async.ledger.neighbours import Holding, Neighbours
from suno_video_async.models import Track
from suno_video_async.observability.log import fields, logger

#: What a catalog's name may end with; its ledger's name does without.
CATALOG_SUFFIXES = frozenset({".csv", ".json", ".jsonl", ".ndjson", ".parquet", ".tsv", ".xlsx"})

#: What a caller may name as a conversion's ledger.
GivenLedger: TypeAlias = "AsyncLedger | LedgerPlace | NoLedger | None"


@frozen(kw_only=True)
class LedgerChoice:
    """The ledger of a conversion.

    Attributes:
        ledger: the ledger, or its file.
        forgets: it is kept in memory though its caller did not ask for that.

    """

    ledger: AsyncLedger | LedgerPlace
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
    if isinstance(source, str | PathLike):
        found = await in_one_thread()(partial(_default_ledger, Path(source)))
        if found is not None:
            return LedgerChoice(ledger=found)
    return LedgerChoice(ledger=as_ledger(None), forgets=True)


def _default_ledger(catalog: Path) -> Path | None:
    return None if is_stream(catalog) else ledger_beside(catalog)


async def planned_ledger(source: CatalogSource, given: GivenLedger, clients: AsyncLedger | None) -> LedgerPlace:
    """Return the ledger that a conversion would keep, or its file."""
    kept = (await choose_ledger(source, given, clients)).ledger
    return kept.sync if isinstance(kept, AsyncLedger) else kept


def neighbours_of(
    source: CatalogSource | None, ledger: Ledger, account: tuple[str, str] | None, buying: Buying
) -> Neighbours | None:
    """Return the ledgers beside a catalog's default ledger; None where they do not matter. Blocks.

    A catalog that was renamed or copied begins with an empty ledger, next to the one that knows its tracks. Where
    another ledger than the default one was chosen, that one counts alone.

    Args:
        source: the catalog.
        ledger: the ledger that a conversion keeps, or would.
        account: whose purchases count; None for any.
        buying: what may be bought.

    """
    if buying.ignore_other_ledgers or not isinstance(source, str | PathLike):
        return None
    beside = ledger_beside(Path(source)).absolute()
    if not ledger.is_same(as_ledger(beside)):
        return None
    return Neighbours(beside, None if account is None else account[0], buying.retry_failed)


def report_remarks(neighbours: Neighbours) -> None:
    """Log what the other ledgers could not be asked, once."""
    for remark in neighbours.remarks():
        logger.warning("%s", remark, extra=fields("other_ledger"))


class OtherLedgers:
    """Asks the ledgers beside a conversion's own whether they hold a track.

    Args:
        neighbours: those ledgers.

    """

    def __init__(self, neighbours: Neighbours) -> None:
        self._neighbours = neighbours
        self._run_blocking = in_one_thread()
        self._has_warned = False

    async def check(self, track: Track, video: Path | None = None) -> None:
        """Return if no other ledger holds a track; a video of it that stands there alone is worth a warning.

        Args:
            track: the track that is about to be bought.
            video: the file that its video would be, if that is known.

        Raises:
            BoughtElsewhereError: another ledger has it as bought, or as unknown.

        """
        holding, is_there = await self._run_blocking(partial(self._look, track.key, video))
        report_remarks(self._neighbours)
        if holding is not None:
            raise BoughtElsewhereError(track, holding.ledger, holding.state)
        if is_there and not self._has_warned:
            self._has_warned = True
            logger.warning(
                "%s is there already, but no ledger beside the catalog knows its track: it is bought; if you have"
                " its ledger, stop and name it (other files are not reported)",
                video,
                extra=fields("other_ledger", track=track),
            )

    def _look(self, key: str, video: Path | None) -> tuple[Holding | None, bool]:
        is_there = video is not None and not self._has_warned and video.exists()
        return self._neighbours.holdings([key]).get(key), is_there

    async def close(self) -> None:
        """Close the other ledgers."""
        await self._run_blocking(self._neighbours.close)


def ledger_beside(catalog: Path) -> Path:
    """Return the default ledger of a catalog: `catalog.ledger.db` for `catalog.csv`. Blocks.

    A link to a catalog has that of the file, so that both names pay once; unless it has one of its own already, or
    none can be made beside the file.
    """
    own = _named_after(catalog)
    if not catalog.is_symlink() or own.exists():
        return own
    files = _named_after(catalog.resolve())
    return files if files.exists() or os.access(files.parent, os.W_OK) else own


def _named_after(catalog: Path) -> Path:
    name = catalog.with_suffix("") if catalog.suffix.lower() == ".gz" else catalog
    stem = name.stem if name.suffix.lower() in CATALOG_SUFFIXES else name.name
    return catalog.with_name(f"{stem}.ledger.db")


def is_stream(catalog: Path) -> bool:
    """Whether a catalog is not a file of its own but a pipe or a device: there is no place beside it."""
    in_system = catalog.is_absolute() and catalog.parts[1:2] in {("dev",), ("proc",)}
    return in_system or (catalog.exists() and not (catalog.is_file() or catalog.is_dir()))
