"""Reading catalogs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from suno_video_async import CatalogError, Track
from suno_video_async.batch.catalog import Row, read_rows


async def rows_of(path: Path) -> list[Row]:
    return [row async for row in read_rows(path)]


async def tracks_of(path: Path) -> list[Track]:
    rows = await rows_of(path)
    assert all(isinstance(row.track, Track) for row in rows), rows
    return [row.track for row in rows if isinstance(row.track, Track)]


def write(tmp_path: Path, name: str, text: str | bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


async def test_csv_with_a_bom_crlf_quotes_and_blank_lines(tmp_path: Path) -> None:
    """What spreadsheets write is read as it is meant; other columns are carried along."""
    text = '\ufefftask_id, suno_id ,author,mood\r\nm1,s1,"Ava, B.",calm\r\n\r\n,,,\r\nm2,s2,,\r\n'
    one, two = await tracks_of(write(tmp_path, "catalog.csv", text))
    assert (one.task_id, one.suno_id, one.author, one.brand, one.extra) == (
        "m1",
        "s1",
        "Ava, B.",
        None,
        {"mood": "calm"},
    )
    assert (two.author, two.extra) == (None, {"mood": ""})


async def test_jsonl(tmp_path: Path) -> None:
    """One object a line; other fields are carried along as text."""
    text = '{"task_id": "m", "suno_id": "s", "year": 2026, "mood": "calm"}\n\n{"task_id": "m", "suno_id": "t"}'
    one, two = await tracks_of(write(tmp_path, "catalog.jsonl", text))
    assert one.extra == {"year": "2026", "mood": "calm"}
    assert two.suno_id == "t"


@pytest.mark.parametrize("indent", [None, 2])
async def test_a_json_array(tmp_path: Path, indent: int | None) -> None:
    """An array of any length is read an element at a time."""
    rows = [{"task_id": "m", "suno_id": f"s{n}", "note": "x" * 900} for n in range(300)]
    tracks = await tracks_of(write(tmp_path, "catalog.json", json.dumps(rows, indent=indent)))
    assert [track.suno_id for track in tracks] == [row["suno_id"] for row in rows]


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("c.csv", "task_id,suno_id\nm,\n", "c.csv, line 2: suno_id is empty"),
        ("c.csv", "task_id,suno_id\nm\n", "c.csv, line 2: suno_id is empty"),
        ("c.csv", 'task_id,suno_id\n"a\nb",s\n', "c.csv, line 2: task_id contains characters"),
        ("c.csv", "task_id,suno_id\nm,s,x,y\n", "c.csv, line 2: has 4 cells for 2 columns"),
        ("c.csv", "task_id,suno_id,brand\nm,s," + "b" * 51, "c.csv, line 2: brand has 51 characters"),
        ("c.jsonl", '{"task_id": "m"', "c.jsonl, line 1: is not JSON"),
        ("c.jsonl", '"x"', "c.jsonl, line 1: must be an object"),
        ("c.jsonl", "[1]", "c.jsonl, line 1 (element 1): must be an object"),
        ("c.jsonl", '{"task_id": 7, "suno_id": "s"}', "c.jsonl, line 1: task_id must be a string, not int"),
        ("c.jsonl", '{"task_id": "m", "suno_id": "s", "author": 7}', "author and brand must be strings"),
        ("c.json", '[{"suno_id": "s"}]', "c.json, line 1 (element 1): task_id is empty"),
        ("c.json", '{"task_id": "m"}', "c.json, line 1: suno_id is empty"),
        ("c.csv", "task_id,suno_id\nm," + "x" * 200_000, "c.csv, line 2: has a cell of more than 131,072"),
    ],
)
async def test_a_bad_row_names_the_line_and_the_field(tmp_path: Path, name: str, text: str, problem: str) -> None:
    """The error stands in the row's place and says where and what."""
    (row,) = await rows_of(write(tmp_path, name, text))
    assert isinstance(row.track, CatalogError)
    assert problem in str(row.track)


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("c.csv", "", "c.csv: is empty"),
        ("c.csv", "task_id,suno_id\n", "c.csv: is empty"),
        ("c.csv", "id,name\n1,2\n", "no column task_id and no column suno_id: the first line must name"),
        ("c.csv", b"task_id,suno_id\nm,\xff\n", "c.csv: is not UTF-8"),
        ("c.jsonl", "\n\n", "c.jsonl: is empty"),
        ("c.jsonl", "[" * 100_000, "c.jsonl, line 1 (element 1): is not JSON"),
        ("c.json", "", "c.json: is empty"),
        ("c.json", "null", "must be a JSON array"),
        ("c.json", "[]", "c.json: is empty"),
        ("c.json", "[{", "(element 1): is not JSON"),
        ("c.json", '[{"task_id": "m", "suno_id": "s"}', "(element 1): is not followed by a comma"),
    ],
)
async def test_a_bad_file_is_one_error(tmp_path: Path, name: str, text: str | bytes, problem: str) -> None:
    """What cannot be read at all says why, and what to do."""
    with pytest.raises(CatalogError) as caught:
        await rows_of(write(tmp_path, name, text))
    assert problem in str(caught.value)


async def test_a_folder_is_no_catalog(tmp_path: Path) -> None:
    """The operating system's reason is passed on."""
    with pytest.raises(CatalogError, match="Is a directory"):
        await rows_of(tmp_path)
