"""What `convert` and `plan` make of catalogs, and the tables of outcomes."""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest

from suno_video_async import CatalogFile, Track
from suno_video_async.testing import VideoServer
from tests.cli.conftest import ROOT, Home, Ran
from tests.cli.serving import served


def convert(home: Home, server: VideoServer, *arguments: object) -> Ran:
    return home.run("convert", *arguments, "--no-download", "--json", *reach(server))


def reach(server: VideoServer) -> tuple[object, ...]:
    return "--base-url", server.url, "--time-scale", 20


def rows_in(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('task_id,suno_id,title\nm,s1,One\nm,s2,"Two\nm,s3,Three\n', "c.csv, line 3: has a quotation mark"),
        (
            "task_id,suno_id,artist\nm,s1,Ava\n",
            "say --map artist=author if it is the author, or --ignore-column",
        ),
        ("task_id,suno_id,suno_id\nm,s1,s2\n", "has the same column twice"),
        ("task_id,suno_id\nm,s1\ntask_id,suno_id\nm,s2\n", "c.csv, line 3: is a second header line"),
        ('[{"task_id":"m","suno_id":"s1"}]\n[{"task_id":"m","suno_id":"s2"}]', "begins a second JSON document"),
    ],
)
def test_a_doubtful_catalog_buys_nothing(home: Home, text: str, says: str) -> None:
    """It is refused with code 2 and the way on, before anything is asked of the service; `plan` says the same."""
    (home.folder / "c.csv").write_text(text)
    with served() as server:
        ran = convert(home, server, "c.csv")
        assert server.stats()["requests"] == {}
    planned = home.run("plan", "c.csv", "--base-url", server.url)
    assert (ran.code, planned.code) == (2, 2)
    assert says in ran.err
    assert says in planned.err


def test_options_to_read_a_catalog(home: Home) -> None:
    """Delimiter, encoding, mapped and ignored columns reach the purchase."""
    text = "Clip:Music Task:Artist:Label\ns1:m1:Zoë:Acme\n"
    (home.folder / "c.txt").write_bytes(text.encode("cp1252"))
    options = ("--delimiter", ":", "--encoding", "cp1252", "--ignore-column", "label")
    mapped = ("--map", "clip=suno_id", "--map", "Music Task=task_id", "--map", "artist=author")
    with served() as server:
        planned = home.run("plan", "c.txt", *options, *mapped, "--json", "--base-url", server.url)
        ran = convert(home, server, "c.txt", *options, *mapped)
    assert planned.lines()[0]["would_buy"] == 1
    (outcome,) = ran.outcomes()
    assert outcome["track"] == {"task_id": "m1", "suno_id": "s1", "author": "Zoë", "brand": None}
    assert outcome["extra"] == {"Label": "Acme"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--map", "artist"), "--map takes COLUMN=FIELD, such as artist=author, not 'artist'"),
        (("--map", "a=b"), "a column can be task_id, suno_id, author or brand, not 'b'"),
        (("--delimiter", "::"), "a delimiter is one character"),
        (("--encoding", "klingon"), "'klingon' is not a text encoding"),
        (("--map", "mood=author"), "has no column 'mood', which --map takes for the author"),
    ],
)
def test_options_that_cannot_work(home: Home, options: tuple[str, ...], says: str) -> None:
    """They are usage errors."""
    ran = home.run("plan", home.catalog("s1"), *options, "--base-url", "http://127.0.0.1:1")
    assert ran.code == 2
    assert says in ran.err


@pytest.mark.parametrize("piped", [False, True])
def test_placeholders_are_reported(home: Home, piped: bool) -> None:
    """How many authors and brands count as absent is said, of a file before its first purchase."""
    text = "task_id,suno_id,author,brand\nm,s1,nan,NULL\nm,s2,Ava,\n"
    (home.folder / "c.csv").write_text(text)
    with served() as server:
        if piped:
            command = home.child_arguments("convert", "-", "--no-download", "--no-ledger", *reach(server))
            done = subprocess.run(command, input=text, capture_output=True, text=True, cwd=ROOT, check=False)
            assert done.returncode == 0, done.stderr
            err = done.stderr
        else:
            err = convert(home, server, "c.csv").err
        bought = server.stats()["charged_by_track"]
    number = "" if piped else "2 "
    assert f"{'stdin' if piped else 'c.csv'}: {number}authors and brands are placeholders" in err
    assert set(bought) == {"m/s1//", "m/s2/Ava/"}


def test_formats_share_a_ledger(home: Home) -> None:
    """A catalog saved in another format, or packed, is the same catalog, and is not bought again."""
    frame = pd.DataFrame({"task_id": ["m", "m"], "suno_id": ["s1", "s2"]})
    frame.to_excel(home.folder / "c.xlsx", index=False)
    frame.to_parquet(home.folder / "c.parquet")
    frame.to_json(home.folder / "c.json", orient="records")
    frame.to_csv(home.folder / "c.tsv", sep="\t", index=False)
    (home.folder / "c.csv.gz").write_bytes(gzip.compress(frame.to_csv(index=False).encode()))
    with served() as server:
        codes = [convert(home, server, f"c.{kind}").code for kind in ("xlsx", "parquet", "json", "tsv", "csv.gz")]
        charged = server.stats()["charged"]
    assert (codes, charged) == ([0] * 5, 2)
    assert [path.name for path in home.folder.glob("*.ledger.db")] == ["c.ledger.db"]


def test_outcomes_as_tables(home: Home) -> None:
    """A table has a column for each fact and each column of the catalog, also of rows that could not be read."""
    (home.folder / "c.csv").write_text("task_id,suno_id,author,url,shelf\nm,s1,Ava,mine,A1\nm,,,,\n")
    with served() as server:
        ran = convert(home, server, "c.csv", "--outcomes", "o.csv")
        convert(home, server, "c.csv", "--outcomes", "o.parquet")
    by_row = {line["row"]: line for line in ran.outcomes()}
    table = {row["row"]: row for row in rows_in(home.folder / "o.csv")}
    good, bad = table["c.csv, line 2"], table["c.csv, line 3"]
    assert (good["state"], good["author"], good["shelf"], good["extra_url"]) == ("succeeded", "Ava", "A1", "mine")
    assert good["url"] == by_row["c.csv, line 2"]["url"]
    assert (bad["task_id"], bad["state"], bad["error_type"]) == ("", "refused", "CatalogError")
    frame = pl.read_parquet(home.folder / "o.parquet")
    assert frame.columns == list(good)
    assert frame.schema["credits"] == pl.Float64
    assert set(frame["state"]) == {"skipped", "refused"}
    assert frame.filter(pl.col("state") == "skipped")["credits"].to_list() == [2.0]


def test_a_table_without_its_extra_buys_nothing(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package that writes Parquet is looked for before anything is bought."""
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with served() as server:
        ran = convert(home, server, home.catalog("s1"), "--outcomes", "o.parquet")
        assert server.stats()["requests"] == {}
    assert ran.code == 2
    assert "--outcomes FILE.parquet needs pyarrow, which is not installed: pip install" in ran.err


BAD = [
    {"task_id": "m", "suno_id": "1.23E+18"},
    {"task_id": "nan", "suno_id": "s"},
    {"task_id": "m", "suno_id": "s1", "author": "A" * 51},
    {"task_id": "m", "suno_id": "s2", "author": "Zoë\r\x07"},
    {"task_id": "m", "suno_id": "s3\ud800"},
    {"task_id": "m", "suno_id": "s4", "author": 7},
    {"task_id": "m", "suno_id": "s5", "brand": "ZoÃ«"},
    {"task_id": 7, "suno_id": "s6", "note": "a\rb"},
    ["m", "s7"],
]


def test_what_could_not_be_read_is_never_bought_from_the_list(home: Home) -> None:
    """--failed holds every bad row with its mistake, and converting that again buys none of them as it stands."""
    lines = [json.dumps(row) for row in BAD] + ["not json"]
    (home.folder / "c.jsonl").write_text("\n".join(lines))
    (home.folder / "d.csv").write_text("task_id,suno_id,author\nm,s8,Ava, Ben\n")
    with served() as server:
        for name, count in (("c.jsonl", 10), ("d.csv", 1)):
            ran = convert(home, server, name, "--failed", "f.csv", "--no-ledger")
            rows = rows_in(home.folder / "f.csv")
            bad = [row for row in CatalogFile(home.folder / "f.csv").rows() if not isinstance(row.track, Track)]
            assert (ran.code, len(bad)) == (1, count)
            assert {row["state"] for row in rows} == {"refused"}
            assert all(f"{name}, line " in row["error"] for row in rows)
            again = convert(home, server, "f.csv", "--no-ledger", "--failed", "g.csv")
            assert (again.code, again.summary()["refused"]) == (1, count)
        assert server.stats()["charged"] == 0


def test_what_failed_reads_back_as_it_was(home: Home) -> None:
    """Columns with line breaks of any kind come back from --failed unchanged."""
    note = 'a\rb\r\nc, "d"\n'
    row: dict[str, Any] = {"task_id": "m", "suno_id": "s", "note": note}
    (home.folder / "c.json").write_text(json.dumps([row]))
    with served() as server:
        convert(home, server, "c.json", "--failed", "f.csv", "--max-credits", 0)
    (found,) = CatalogFile(home.folder / "f.csv").rows()
    assert isinstance(found.track, Track)
    assert found.track.extra["note"] == note
