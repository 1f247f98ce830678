"""Catalogs in Excel workbooks and Parquet files."""

from __future__ import annotations

import datetime
import gzip
import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from suno_video_async import CatalogError, CatalogFile, MissingExtraError, Track
from suno_video_async.batch.catalog import read_rows
from tests.batch.catalogs import bad_row_of, facts, refusal_of, rows_of, tracks_of, write

HEAD = ("Task ID", "suno_id", "Author", "brand", "year")


def workbook(path: Path, *rows: Sequence[object], change: Callable[[Any], object] | None = None) -> Path:
    """Write a workbook of one sheet."""
    book = openpyxl.Workbook()
    sheet = book.active
    for row in rows:
        sheet.append(row)
    if change is not None:
        change(sheet)
    book.save(path)
    return path


async def test_a_workbook(tmp_path: Path) -> None:
    """The first row that is not empty has the names, empty rows are left out, and a row has its own number."""
    path = workbook(
        tmp_path / "c.xlsx", (), HEAD, ("m1", "s1", " Ava ", None, 2026), (None,) * 5, ("m1", 77, "311")
    )
    rows = await rows_of(path)
    assert [row.location for row in rows] == ["c.xlsx, row 3", "c.xlsx, row 5"]
    tracks = [row.track for row in rows if isinstance(row.track, Track)]
    assert [facts(track) for track in tracks] == [("m1", "s1", "Ava", None), ("m1", "77", "311", None)]
    assert tracks[0].extra == {"year": "2026"}


async def test_a_workbook_under_another_name(tmp_path: Path) -> None:
    """It is known by its content."""
    path = workbook(tmp_path / "c.xlsx", HEAD, ("m1", "s1"))
    assert len(await tracks_of(path.rename(tmp_path / "c.csv"))) == 1


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (
            ("m", 1234567890123456789),
            "suno_id is the number 1.23456789012346e+18, which the spr",
        ),
        (("m", 1.23e18), "suno_id is the number 1.23e+18"),
        (("m", "s", datetime.date(2026, 5, 13)), "author is the date or time 2026-05-13 00:00:00, into which"),
        (("m", "s", True), "author is a truth value"),
        (("m", "s", "=A1&B1"), "author is a formula without a result"),
        (("m", "s", "#REF!"), "author is '#REF!', the error of a formula"),
        (("m", None), "suno_id is empty"),
        (("m", "s", "A", "B", 1, "more"), "has 6 cells for 5 columns"),
    ],
)
async def test_what_a_spreadsheet_made_of_a_cell(tmp_path: Path, row: tuple[object, ...], problem: str) -> None:
    """A rounded number, a date or a formula in a field is a bad row that says so."""
    assert problem in str(await bad_row_of(workbook(tmp_path / "c.xlsx", HEAD, row)))


async def test_numbers_that_are_shown_in_another_way(tmp_path: Path) -> None:
    """A number with a format of its own is not the text that its writer sees."""

    def zeros(sheet: Any) -> None:
        sheet["B2"].number_format = "0000000"

    path = workbook(tmp_path / "c.xlsx", HEAD, ("m", 42), change=zeros)
    assert "the number 42, which the spreadsheet may have rounded or shows in another way" in str(
        await bad_row_of(path)
    )


async def test_merged_cells_are_not_absent(tmp_path: Path) -> None:
    """An author that is merged over several rows is not bought for the first of them alone."""
    path = workbook(
        tmp_path / "c.xlsx",
        HEAD,
        *(("m", f"s{n}", "Ava" if n == 0 else None) for n in range(3)),
        change=lambda sheet: sheet.merge_cells("C2:C4"),
    )
    first, *others = await rows_of(path)
    assert isinstance(first.track, Track)
    assert all("author is in the merged cells C2:C4" in str(row.track) for row in others)


async def test_formulas_in_other_columns_do_no_harm(tmp_path: Path) -> None:
    """Only a field's value matters."""
    (track,) = await tracks_of(workbook(tmp_path / "c.xlsx", HEAD, ("m", "s", "Ava", None, "=1+1")))
    assert track.extra == {"year": ""}


async def test_the_sheet_that_names_tracks_is_read(tmp_path: Path) -> None:
    """Other sheets are left alone; two of tracks are refused, and a hidden one does not count."""
    book = openpyxl.Workbook()
    book.active.append(["notes"])
    tracks, hidden = book.create_sheet("2026"), book.create_sheet("old")
    hidden.sheet_state = "hidden"
    for number, sheet in enumerate((tracks, hidden)):
        sheet.append(HEAD)
        sheet.append(("m", f"s{number}"))
    book.save(tmp_path / "c.xlsx")
    assert [track.suno_id for track in await tracks_of(tmp_path / "c.xlsx")] == ["s0"]
    hidden.sheet_state = "visible"
    book.save(tmp_path / "c.xlsx")
    assert "has several sheets of tracks: 2026, old" in str(await refusal_of(tmp_path / "c.xlsx"))


async def test_a_workbook_from_a_data_frame(tmp_path: Path) -> None:
    """With the frame's index in front, as pandas writes it."""
    pd.DataFrame({"task_id": ["m"], "suno_id": ["s"]}).to_excel(tmp_path / "c.xlsx")
    (track,) = await tracks_of(tmp_path / "c.xlsx")
    assert (facts(track), track.extra) == (("m", "s", None, None), {"column 1": "0"})


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("c.xlsx", b"PK\x03\x04 and no more", "c.xlsx: is not readable as an Excel workbook"),
        ("c.parquet", b"PAR1 and no more PAR1", "c.parquet: is not readable as Parquet"),
        ("c.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 and more", "is an old Excel file (.xls), or has a password"),
    ],
)
async def test_damaged_files_are_refused(tmp_path: Path, name: str, content: bytes, problem: str) -> None:
    """What the readers of a format choke on is one error of the catalog."""
    assert problem in str(await refusal_of(write(tmp_path, name, content)))


async def test_parquet(tmp_path: Path) -> None:
    """Rows come batch by batch; other columns are carried along as text."""
    table = {
        "task_id": ["m"] * 2500,
        "suno_id": [f"s{n}" for n in range(2500)],
        "Author": [None, *["Ava"] * 2499],
        "tags": [["a", "b"]] * 2500,
        "at": [datetime.date(2026, 1, 2)] * 2500,
    }
    pq.write_table(pa.table(table), tmp_path / "c.parquet")
    rows = await rows_of(tmp_path / "c.parquet")
    first, last = rows[0].track, rows[-1].track
    assert isinstance(first, Track)
    assert isinstance(last, Track)
    assert (first.author, last.author, last.suno_id, rows[-1].location) == (
        None,
        "Ava",
        "s2499",
        "c.parquet, row 2500",
    )
    assert last.extra == {"tags": '["a", "b"]', "at": "2026-01-02"}


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"task_id": [1234567.0], "suno_id": ["s"]}, "task_id must be a string, not the number 1234567.0"),
        ({"task_id": [float("nan")], "suno_id": ["s"]}, "task_id is empty"),
        ({"task_id": ["m"], "suno_id": [7]}, "suno_id must be a string, not int"),
    ],
)
async def test_parquet_that_is_not_text(tmp_path: Path, columns: dict[str, list[object]], problem: str) -> None:
    """An id that a data frame took for a number is a bad row."""
    pq.write_table(pa.table(columns), tmp_path / "c.parquet")
    assert problem in str(await bad_row_of(tmp_path / "c.parquet"))


async def test_parquet_with_doubtful_columns(tmp_path: Path) -> None:
    """Its columns are looked at as a header line is."""
    pq.write_table(pa.table({"task_id": ["m"], "suno_id": ["s"], "artist": ["Ava"]}), tmp_path / "c.parquet")
    assert "has no column author, but 'artist'" in str(await refusal_of(tmp_path / "c.parquet"))
    named = CatalogFile(tmp_path / "c.parquet", columns={"artist": "author"})
    assert [track.author for track in await tracks_of(named)] == ["Ava"]


@pytest.mark.parametrize(
    ("name", "package", "extra"), [("c.xlsx", "openpyxl", "excel"), ("c", "pyarrow", "parquet")]
)
async def test_a_missing_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, package: str, extra: str
) -> None:
    """Without the package that reads a format, the message has the line that installs it."""
    content = io.BytesIO()
    if extra == "excel":
        openpyxl.Workbook().save(content)
    else:
        pq.write_table(pa.table({"a": [1]}), content)
    path = write(tmp_path, name, content.getvalue())
    for module in (package, f"{package}.parquet"):
        monkeypatch.setitem(sys.modules, module, None)
    rows = read_rows(path)
    with pytest.raises(MissingExtraError, match=f"{package}, which is not installed: pip install .*\\[{extra}\\]"):
        await anext(rows)


async def test_binary_catalogs_packed_with_gzip(tmp_path: Path) -> None:
    """A packed file is unpacked to the side, since these formats are read from their end."""
    pq.write_table(pa.table({"task_id": ["m"], "suno_id": ["s"]}), tmp_path / "c.parquet")
    packed = write(tmp_path, "c.parquet.gz", gzip.compress((tmp_path / "c.parquet").read_bytes()))
    assert len(await tracks_of(packed)) == 1


def test_bad_rows_of_a_workbook_keep_their_text(tmp_path: Path) -> None:
    """So that they can be found again where their cells cannot be told apart."""
    path = workbook(tmp_path / "c.xlsx", HEAD, ("m", "s", "A", "B", 1, "more"))
    (row,) = CatalogFile(path).rows()
    assert isinstance(row.track, CatalogError)
    assert row.track.text == "m | s | A | B | 1 | more"
