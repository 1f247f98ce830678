"""Rows of the caller's own: tracks, mappings, and what data frames give."""

from __future__ import annotations

import csv
import datetime
import io
import logging
import math
from collections.abc import AsyncIterator

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from suno_video_async import Track
from suno_video_async.batch.catalog import CatalogRow
from tests.batch.catalogs import bad_row_of, facts, refusal_of, rows_of, tracks_of

COLUMNS = {"task_id": ["m1", "m1"], "suno_id": ["s1", "s2"], "author": ["Ava", None], "year": [2026, 2025]}


async def test_mappings_beside_tracks() -> None:
    """Both may come in one iterable; a mapping's other keys are carried along as text."""
    rows: list[CatalogRow] = [
        Track(task_id="m", suno_id="s1"),
        {"Task ID": "m", "sunoId": "s2", "author": math.nan, "on": datetime.date(2026, 1, 2), "mood": None},
    ]
    one, two = await tracks_of(rows)
    assert (one.suno_id, two.suno_id, two.author) == ("s1", "s2", None)
    assert two.extra == {"on": "2026-01-02", "mood": ""}


async def test_an_async_iterable_of_mappings() -> None:
    """As from a database's cursor."""

    async def cursor() -> AsyncIterator[dict[str, str]]:
        yield {"task_id": "m", "suno_id": "s", "brand": "Acme"}

    (track,) = await tracks_of(cursor())
    assert facts(track) == ("m", "s", None, "Acme")


async def test_the_rows_of_data_frames() -> None:
    """pandas, polars and pyarrow give mappings, and what is missing in them is absent."""
    frames = [
        pd.DataFrame(COLUMNS).to_dict("records"),
        pd.DataFrame(COLUMNS).convert_dtypes().to_dict("records"),
        pl.DataFrame(COLUMNS).iter_rows(named=True),
        pa.table(COLUMNS).to_pylist(),
        csv.DictReader(io.StringIO("task_id,suno_id,author,year\nm1,s1,Ava,2026\nm1,s2,,2025\n")),
    ]
    for rows in frames:
        tracks = await tracks_of(rows)
        assert [facts(track) for track in tracks] == [("m1", "s1", "Ava", None), ("m1", "s2", None, None)]
        assert [track.extra for track in tracks] == [{"year": "2026"}, {"year": "2025"}]


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (pd.DataFrame(COLUMNS), 'pandas\'s DataFrame is not rows: pass its rows: frame.to_dict("records")'),
        (pl.DataFrame(COLUMNS), "polars's DataFrame is not rows: pass its rows: frame.iter_rows(named=True)"),
        (pa.table(COLUMNS), "pyarrow's Table is not rows: pass its rows: frame.to_pylist()"),
        ({"task_id": "m", "suno_id": "s"}, "a mapping is one row"),
        ([{"task_id": "m", "suno_id": "s", "artist": "Ava"}], "track 1: has no column author, but 'artist'"),
    ],
)
async def test_what_is_not_rows_is_refused_by_name(source: object, problem: str) -> None:
    """A whole frame is refused with the call that gives its rows; so are rows that may lack their author."""
    assert problem in str(await refusal_of(source))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("m,s", "expected a Track or a mapping, not str"),
        ({"task_id": 1234567.0, "suno_id": "s"}, "task_id must be a string, not the number 1234567.0"),
        ({"task_id": math.nan, "suno_id": "s"}, "task_id is empty"),
        ({"task_id": pd.NA, "suno_id": "s"}, "task_id is empty"),
        ({"task_id": 7, "suno_id": "s"}, "task_id must be a string, not int"),
        ({"task_id": "m", "suno_id": "s", "author": 7}, "author and brand must be strings, not int"),
        ({"task_id": "m", "suno_id": "s", None: ["x"], "author": ["y"]}, "author and brand must be strings"),
    ],
)
async def test_a_row_that_cannot_be_read(row: object, problem: str) -> None:
    """It ends as its error, in its place."""
    error = await bad_row_of([row])  # type: ignore[list-item]
    assert problem in str(error)
    assert error.location == "track 1"


async def test_a_bad_row_keeps_what_it_holds() -> None:
    """Its fields, if they would be as bad again when they are written and read; its text if not."""
    error = await bad_row_of([{"Task ID": "nan", "suno_id": "s", "author": "A" * 60, "mood": 3}])
    assert error.fields == {"task_id": "nan", "suno_id": "s", "author": "A" * 60, "brand": "", "mood": "3"}
    assert error.text is None
    for row in ({"task_id": "m", "suno_id": "s", "author": 7}, {"task_id": "m", "suno_id": "s\ud800"}):
        error = await bad_row_of([row])
        assert error.fields == {}
        assert '"suno_id": "s' in (error.text or "")


async def test_placeholders_in_mappings_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The first one is, as how many follow cannot be known."""
    rows = [{"task_id": "m", "suno_id": f"s{n}", "author": "nan"} for n in range(3)]
    with caplog.at_level(logging.WARNING):
        found = await rows_of(rows)
    assert {row.track.author for row in found if isinstance(row.track, Track)} == {None}
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["track 1"]
