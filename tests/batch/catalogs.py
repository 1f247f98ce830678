"""What the tests of catalogs share: files written, and read as rows or as their mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from suno_video_async import CatalogError, CatalogFile, Track
from suno_video_async.batch.catalog import CatalogSource, Row, read_rows


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


async def rows_of(source: CatalogSource) -> list[Row]:
    return [row async for row in read_rows(source)]


async def tracks_of(source: CatalogSource) -> list[Track]:
    rows = await rows_of(source)
    assert all(isinstance(row.track, Track) for row in rows), rows
    return [row.track for row in rows if isinstance(row.track, Track)]


async def bad_row_of(source: CatalogSource) -> CatalogError:
    """Return the error of the only row of a catalog."""
    (row,) = await rows_of(source)
    assert isinstance(row.track, CatalogError)
    return row.track


async def refusal_of(source: CatalogSource) -> CatalogError:
    """Return why a catalog is refused as a whole; no row of it may come before."""
    rows = read_rows(source)
    with pytest.raises(CatalogError) as caught:
        await anext(rows)
    await rows.aclose()
    return caught.value


def facts(track: Track) -> tuple[str, str, str | None, str | None]:
    """Return what is bought with a track."""
    return track.task_id, track.suno_id, track.author, track.brand


__all__ = ["CatalogFile", "bad_row_of", "facts", "refusal_of", "rows_of", "tracks_of", "write"]
