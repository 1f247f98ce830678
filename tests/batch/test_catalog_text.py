"""Catalogs as text: what spreadsheets, data frames and exporters write is read, or refused with its line."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import random
import threading
from pathlib import Path

import pytest

from suno_video_async import CatalogError, CatalogFile, Track
from tests.batch.catalogs import bad_row_of, facts, refusal_of, rows_of, tracks_of, write

AVA = ("m1", "s1", "Zoë", "Möwe")
LINES = "task_id,suno_id,author,brand\nm1,s1,Zoë,Möwe\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("c.csv", LINES.replace(",", ";")),
        ("c.tsv", LINES.replace(",", "\t")),
        ("c.csv", LINES.replace(",", "|")),
        ("c.csv", "sep=;\r\n" + LINES.replace(",", ";")),
        ("c.csv", '"sep=\t"\n' + LINES.replace(",", "\t")),
        ("c.csv", LINES.replace("\n", "\r")),
        ("c.csv", "\n \n" + LINES),
        ("c.csv", LINES.encode("utf-8-sig")),
        ("c.txt", LINES.replace(",", "\t").encode("utf-16")),
        ("c.txt", b"\xfe\xff" + LINES.encode("utf-16-be")),
        ("c.txt", LINES.encode("utf-32")),
        ("c.csv.gz", gzip.compress(LINES.encode(), mtime=0)),
        ("c.csv", gzip.compress(LINES.encode("utf-16"), mtime=0)),
        ("c", LINES),
        ("c.csv", "Task ID,SUNO-ID, author ,Brand\nm1,s1,Zoë,Möwe\n"),
        ("c.csv", "taskId;sunoId;AUTHOR;brand_\nm1;s1;Zoë;Möwe\n"),
        ("c.csv", '"Task\nID","Suno\r\nID",author,brand\nm1,s1,Zoë,Möwe\n'),
        ("c.csv", 'task_id, suno_id, author, brand\nm1, s1, "Zoë" , "Möwe"\n'),
        ("c.csv", "task_id,suno_id,author,brand,,\nm1,s1,Zoë,Möwe,,\n"),
        ("c.csv", "task_id,suno_id,author,brand\nm1,s1,Zoë,Möwe,,,\n"),
        ("c.csv", ",task_id,suno_id,author,brand\n0,m1,s1,Zoë,Möwe\n"),
    ],
)
async def test_what_can_be_read_safely_is_read(tmp_path: Path, name: str, content: str | bytes) -> None:
    """Delimiters, byte order marks, line ends, spellings of columns and empty cells change nothing."""
    (track,) = await tracks_of(write(tmp_path, name, content))
    assert facts(track) == AVA


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("c.csv", '[{"task_id": "m1", "suno_id": "s1", "author": "Zoë", "brand": "Möwe"}]'),
        ("c.txt", '\n\n{"task_id": "m1", "suno_id": "s1", "author": "Zoë", "brand": "Möwe"}'),
        ("c.jsonl", '[\n{"Task_ID": "m1", "sunoId": "s1", "author": "Zoë", "brand": "Möwe"},\n]\n'),
        ("c.json", '{\n  "task_id": "m1",\n  "suno_id": "s1", "author": "Zoë", "brand": "Möwe"\n}'),
        (
            "c.json",
            '{"page": 1, "tracks": [{"task_id": "m1", "suno_id": "s1", "author": "Zoë", "brand": "Möwe"}]}',
        ),
        (
            "c",
            '{\n"x": [\n{"task_id": "m1", "suno_id": "s1", "author": "Zoë", "brand": "Möwe"}], "y": ["a"]}',
        ),
        (
            "c.jsonl.gz",
            gzip.compress('{"task_id":"m1","suno_id":"s1","author":"Zoë","brand":"Möwe"}\n'.encode(), mtime=0),
        ),
        ("c.json", '[{"task_id": "m1", "suno_id": "s1", "author": "Zoë", "brand": "Möwe"}]'.encode("utf-16")),
    ],
)
async def test_json_is_known_by_its_content(tmp_path: Path, name: str, content: str | bytes) -> None:
    """Objects a line, in an array or in an object's only list are read under any name."""
    (track,) = await tracks_of(write(tmp_path, name, content))
    assert facts(track) == AVA


async def test_objects_as_jq_prints_them(tmp_path: Path) -> None:
    """Objects one after another, each over several lines, are rows, each where it begins."""
    rows = [{"task_id": "m", "suno_id": f"s{number}", "note": "\u2028"} for number in range(400)]
    text = "\n".join(json.dumps(row, indent=2, ensure_ascii=False) for row in rows)
    found = await rows_of(write(tmp_path, "c.json", text))
    assert [row.location for row in found[:3]] == ["c.json, line 1", "c.json, line 6", "c.json, line 11"]
    assert len(found) == 400


async def test_a_row_is_where_it_begins(tmp_path: Path) -> None:
    """Cells with line breaks do not move the lines of their own row and of those after it."""
    text = 'task_id,suno_id,lyrics\nm,s1,"a\nb\n\nc, ""d"""\nm,s2,\n\nm,s3,"x"\n'
    found = await rows_of(write(tmp_path, "c.csv", text))
    assert [row.location for row in found] == ["c.csv, line 2", "c.csv, line 6", "c.csv, line 8"]
    assert isinstance(found[0].track, Track)
    assert found[0].track.extra == {"lyrics": 'a\nb\n\nc, "d"'}


def catalog(count: int = 50, **changed: str) -> str:
    """Return a catalog of which some rows are written otherwise."""
    lines = [f"task_{number // 2},suno_{number:04x},Ava,Song {number}" for number in range(count)]
    for row, line in changed.items():
        lines[int(row[1:])] = line
    return "task_id,suno_id,author,title\n" + "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (catalog(r3='t,s,Ava,"Heroes'), "c.csv, line 5: has a quotation mark that is never closed"),
        (catalog(r3='t,s,Ava,"Heroes"" '), "c.csv, line 5: has a quotation mark that is never closed"),
        (catalog(r3='t,"s,Ava,Heroes', r9='t,s,"Love",'), "the mark that opened it is in line 5"),
        (catalog(r3='t,s,"Weird Al" Yankovic,Eat it'), "c.csv, line 5: has text after the end of a cell"),
        (catalog(r3=r't,s,Ava,"Say \"hi\""'), "c.csv, line 5: has text after the end of a cell"),
        (
            catalog(r3='task_1,suno_0003,Ava,"Heroes', r40='task_20,suno_0028,Ava,Love"'),
            "c.csv, line 5: has a q",
        ),
        (catalog(r3='task_1,suno_0003,Ava,"Heroes', r5='task_2,suno_0005,Ava,Love"'), "c.csv, line 5: has a q"),
        ('title,task_id,suno_id\n"Heroes,task_1,s_1\nLove",task_1,s_2\n', "c.csv, line 2: has a quotation mark"),
        ('"task_id,suno_id\nm,s\n', "c.csv, line 1: has a quotation mark that is never closed"),
        (catalog(r7="task_id,suno_id,author,title"), "c.csv, line 9: is a second header line"),
        (catalog(r7="Task ID,Suno ID,Author,Title"), "c.csv, line 9: is a second header line"),
        ("task_id,suno_id,suno_id\nm,s,t\n", "c.csv: has the same column twice: suno_id and suno_id"),
        ("task_id,suno_id,Task ID\nm,s,t\n", "c.csv: has the same column twice: task_id and Task ID"),
        ("task_id,suno_id,note,note\nm,s,a,b\n", "c.csv: has the same column twice: note and note"),
        ("task_id,suno_id,artist\nm,s,Ava\n", "has no column author, but 'artist', which may be meant"),
        ("task_id,suno_id,author,Record Label\nm,s,A,B\n", "has no column brand, but 'Record Label'"),
        ("task_id,suno_id,Auhtor\nm,s,Ava\n", "has no column author, but 'Auhtor'"),
        ("task_id,suno_id,author name\nm,s,Ava\n", "has no column author, but 'author name'"),
        ("task_id,suno_id,title|author\nm,s,x|Ava\n", "has no column author, but 'title|author'"),
        ("task_id;suno_id,author\nm;s,Ava\n", "has no column suno_id"),
        ("id,clip\nm,s\n", "say so with --map COLUMN=task_id"),
        ("<!DOCTYPE html><html>", "is a web page or XML"),
        ("%PDF-1.7 xxxxxxxxxxxxx", "is a PDF"),
    ],
)
async def test_nothing_is_read_of_a_doubtful_catalog(tmp_path: Path, text: str, problem: str) -> None:
    """What would lose rows, or buy them wrongly, refuses the whole file before its first row."""
    error = await refusal_of(write(tmp_path, "c.csv", text))
    assert problem in str(error)
    assert error.fix


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            '[{"task_id":"m","suno_id":"s"}]\n[{"task_id":"m","suno_id":"t"}]',
            "c.json, line 2: begins a sec",
        ),
        ('[{"task_id":"m","suno_id":"s"}] garbage', "c.json, line 1: begins a second JSON document"),
        ('[{"task_id":"m","suno_id":"s"} {"task_id":"m","suno_id":"t"}]', "is not followed by a comma"),
        ('[{"task_id":"m","suno_id":"s","artist":"Ava"}]', "has no column author, but 'artist'"),
        ('{"a": [{"suno": 1}], "b": [{"suno": 2}]}', "is one object with several lists: a, b"),
        ('{\n"task_id": "m",\n"suno_id": "s"\n}\n{\n"task_id": "m"', "c.json, line 5: is not JSON"),
        (
            '{\n"tracks": [{"task_id":"m","suno_id":"s"}]}\n{\n"tracks": []}',
            "c.json, line 3: begins a s",
        ),
    ],
)
async def test_nothing_is_read_of_doubtful_json(tmp_path: Path, text: str, problem: str) -> None:
    """What comes after the end, and what is nearly an author, refuses the whole file before its first row."""
    assert problem in str(await refusal_of(write(tmp_path, "c.json", text)))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("1.23E+18,s,Ava,", "task_id is '1.23E+18', a number that a spreadsheet or a data frame has rounded"),
        ('"1,23E+18",s,Ava,', "task_id is '1,23E+18', a number"),
        ("1234567.0,s,Ava,", "task_id is '1234567.0', a number"),
        ("m,1234567890123450000,Ava,", "suno_id is '1234567890123450000', a number"),
        ("nan,s,Ava,", "task_id is 'nan', which a program writes where there is no value"),
        ("m,#N/A,Ava,", "suno_id is '#N/A', which a program writes"),
        ("NULL,s,Ava,", "task_id is 'NULL'"),
        ("m,s,#REF!,", "author is '#REF!', the error of a formula"),
        ("m,s,Zo\ufffd,", "author contains letters that an earlier conversion has lost"),
        ("m,s,ZoÃ« BÃ¤rlund,", "looks like 'Zoë Bärlund' saved with the wrong encoding"),
        ("m,s,Guns Nâ€™ Roses,", "looks like 'Guns N’ Roses'"),
        ("m,s,Ava, Ben,X", "has 5 cells for 4 columns: put commas in quotes"),
        ('m,s,"Ava\nBen",', "author contains characters that cannot be printed"),
    ],
)
async def test_what_would_be_bought_wrongly_is_a_bad_row(tmp_path: Path, line: str, problem: str) -> None:
    """A rounded id, a placeholder for an id and broken letters are said by name, and the next row goes on."""
    text = f"task_id,suno_id,author,brand\n{line}\nm,good,Ava,\n"
    bad, good = await rows_of(write(tmp_path, "c.csv", text))
    assert problem in str(bad.track)
    assert isinstance(good.track, Track)


@pytest.mark.parametrize(
    "author", ["SÃO", "Groß–Klein", "JOSÉ’s Band", "Â", "Ñandú", "Σωκράτης", "Ночь", "日本", "Øyvind"]
)
async def test_letters_that_only_look_odd_are_kept(tmp_path: Path, author: str) -> None:
    """A name is refused for its letters only if they are certainly another encoding's."""
    (track,) = await tracks_of(write(tmp_path, "c.csv", f"task_id,suno_id,author\nm,s,{author}\n"))
    assert track.author == author


def test_placeholders_count_as_absent(tmp_path: Path) -> None:
    """What programs write for no value is not an author, and how many there are is known before."""
    words = ["nan", "NaN", "None", "NULL", "N/A", "#N/A", "NA", "<NA>", r"\N", "undefined"]
    path = write(tmp_path, "c.csv", "task_id,suno_id,author,note\n" + "".join(f"m,s{w},{w},{w}\n" for w in words))
    tracks = [row.track for row in CatalogFile(path).rows() if isinstance(row.track, Track)]
    assert {track.author for track in tracks} == {None}
    assert [track.extra["note"] for track in tracks] == words
    survey = CatalogFile(path).survey()
    assert survey is not None
    assert (survey.rows, survey.unreadable, survey.placeholders) == (10, 0, 10)


async def test_names_that_are_no_placeholders(tmp_path: Path) -> None:
    """Only whole cells count, and a `Track` of the caller's own is never changed."""
    (track,) = await tracks_of(write(tmp_path, "c.csv", "task_id,suno_id,author\nm,s,Nan Vernon\n"))
    assert track.author == "Nan Vernon"
    (own,) = await tracks_of([Track(task_id="m", suno_id="s", author="None")])
    assert own.author == "None"


async def test_quotation_marks_inside_a_cell_are_text(tmp_path: Path) -> None:
    """Only a mark at the beginning of a cell opens one."""
    (track,) = await tracks_of(write(tmp_path, "c.csv", 'task_id,suno_id,title\nm,s,The 12" mix of "it"\n'))
    assert track.extra == {"title": 'The 12" mix of "it"'}


@pytest.mark.parametrize(
    "lyrics", ["la, la\nla, la, la, la", "1,2,3,4\n5,6,7,8", "task_1, she said\nsuno", "a\r\nb\n\n\nc"]
)
async def test_lyrics_are_not_taken_for_rows(tmp_path: Path, lyrics: str) -> None:
    """Lines of a cell are rows only if they have ids like those of their own row."""
    text = f'task_id,suno_id,author,lyrics\n12345678,clip-1a,Ava,"{lyrics}"\n'
    (track,) = await tracks_of(write(tmp_path, "c.csv", text))
    assert track.extra["lyrics"] == lyrics


async def test_a_cell_without_end_is_one_bad_row(tmp_path: Path) -> None:
    """A cell of 160,000 characters costs its own row only, and its row is not held whole in the error."""
    text = 'task_id,suno_id,lyrics\nm,s1,"' + "la la \n" * 26_667 + '"\nm,s2,ok\n'
    bad, good = await rows_of(write(tmp_path, "c.csv", text))
    assert isinstance(bad.track, CatalogError)
    assert "a cell of more than 131,072 characters in the column lyrics" in str(bad.track)
    assert len(bad.track.text or "") == 1000
    assert isinstance(good.track, Track)


async def test_a_json_object_that_names_a_key_twice_is_a_bad_row(tmp_path: Path) -> None:
    """Which of the two is meant cannot be known."""
    error = await bad_row_of(write(tmp_path, "c.jsonl", '{"task_id":"a","task_id":"b","suno_id":"s"}'))
    assert "names task_id twice" in str(error)
    error = await bad_row_of(write(tmp_path, "c.json", '[{"task_id":"a","Task ID":"b","suno_id":"s"}]'))
    assert "has the same field twice: task_id and Task ID" in str(error)


async def test_lines_that_are_not_json_are_bad_rows(tmp_path: Path) -> None:
    """A broken line of JSON Lines costs that line, be it the first."""
    text = '{"task_id": "m", "suno_id"\n{"task_id":"m","suno_id":"s1"}\n[1]\n{"task_id":"m","suno_id":"s2"} x\n'
    found = await rows_of(write(tmp_path, "c.jsonl", text))
    assert [isinstance(row.track, Track) for row in found] == [False, True, False, False]
    assert [row.location[-6:] for row in found] == ["line 1", "line 2", "line 3", "line 4"]


async def test_numbers_of_any_length_are_carried_along(tmp_path: Path) -> None:
    """A number that Python refuses to read is text."""
    digits = "9" * 5000
    text = f'[{{"task_id":"m","suno_id":"s","x":{digits},"y":NaN,"z":null,"w":{{"a":[1]}}}}]'
    (track,) = await tracks_of(write(tmp_path, "c.json", text))
    assert track.extra == {"x": digits, "y": "", "z": "", "w": '{"a": [1]}'}


async def test_an_encoding_must_be_named(tmp_path: Path) -> None:
    """Letters are not guessed: another encoding than UTF-8 is refused, and read once it is named."""
    path = write(tmp_path, "c.csv", LINES.encode("cp1252"))
    assert "--encoding cp1252" in str(await refusal_of(path))
    (track,) = await tracks_of(CatalogFile(path, encoding="windows-1252"))
    assert facts(track) == AVA
    bare = write(tmp_path, "d.csv", LINES.encode("utf-16-le"))
    assert "--encoding utf-16-le" in str(await refusal_of(bare))
    assert len(await tracks_of(CatalogFile(bare, encoding="utf-16-le"))) == 1


async def test_columns_are_mapped_and_ignored(tmp_path: Path) -> None:
    """What the caller says about columns settles what their names leave open."""
    path = write(tmp_path, "c.csv", "Clip,Music Task,Artist,Label\ns1,m1,Ava,Acme\n")
    columns = {"clip": "suno_id", "music_task": "task_id", "artist": "author"}
    (track,) = await tracks_of(CatalogFile(path, columns=columns, ignore_columns=["label"]))
    assert facts(track) == ("m1", "s1", "Ava", None)
    assert track.extra == {"Label": "Acme"}
    wrong = CatalogFile(path, columns={**columns, "brandt": "brand"}, ignore_columns=["label"])
    assert "has no column 'brandt', which --map takes for the brand" in str(await refusal_of(wrong))


async def test_mapped_columns_of_json_must_be_met(tmp_path: Path) -> None:
    """A misspelt column is noticed at the end of the file, which is before its first row is bought."""
    path = write(tmp_path, "c.jsonl", '{"task_id":"m","suno_id":"s","von":"Ava"}\n')
    (track,) = await tracks_of(CatalogFile(path, columns={"von": "author"}))
    assert track.author == "Ava"
    assert "has no column 'vom'" in str(await refusal_of(CatalogFile(path, columns={"vom": "author"})))


async def test_a_delimiter_can_be_named(tmp_path: Path) -> None:
    """It goes before what the header looks like."""
    path = write(tmp_path, "c.csv", "task_id:suno_id:note\nm:s:a,b\n")
    (track,) = await tracks_of(CatalogFile(path, delimiter=":"))
    assert track.extra == {"note": "a,b"}
    (tabs,) = await tracks_of(CatalogFile(write(tmp_path, "t", LINES.replace(",", "\t")), delimiter="tab"))
    assert facts(tabs) == AVA


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"delimiter": "ab"}, "a delimiter is one character"),
        ({"delimiter": '"'}, "a delimiter is one character"),
        ({"encoding": "klingon"}, "'klingon' is not a text encoding"),
        ({"encoding": "base64"}, "'base64' is not a text encoding"),
        ({"columns": {"artist": "singer"}}, "a column can be task_id, suno_id, author or brand, not 'singer'"),
        ({"columns": {"a": "author", "b": "author"}}, "b=author contradicts another column"),
        ({"columns": {"a": "author"}, "ignore_columns": ["A"]}, "the column a cannot be mapped and ignored"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, object], problem: str) -> None:
    """They are refused before any file is opened."""
    with pytest.raises(ValueError, match=problem.replace("(", "\\(")):
        CatalogFile("c.csv", **options)  # type: ignore[arg-type]


async def test_a_damaged_gzip_file_is_refused(tmp_path: Path) -> None:
    """Half a file is not a catalog, however many rows it still holds."""
    packed = gzip.compress("".join([LINES, *(f"m,s{n},{os.urandom(8).hex()},\n" for n in range(500))]).encode())
    assert "is a damaged gzip file" in str(await refusal_of(write(tmp_path, "c.csv.gz", packed[:-200])))


async def test_a_pipe_is_read_as_it_comes(tmp_path: Path) -> None:
    """Rows of a pipe are there before its end: it is not read through first."""
    os.mkfifo(tmp_path / "pipe")
    go_on = threading.Event()

    def feed() -> None:
        with (tmp_path / "pipe").open("w") as pipe:
            pipe.write('{"task_id": "m", "suno_id": "s1"}\n')
            pipe.flush()
            go_on.wait(60)
            pipe.write('{"task_id": "m", "suno_id": "s2"}\n')

    thread = threading.Thread(target=feed)
    thread.start()
    rows = CatalogFile(tmp_path / "pipe").rows()
    first = next(rows)
    go_on.set()
    assert [first.location, *(row.location for row in rows)] == ["pipe, line 1", "pipe, line 2"]
    thread.join()


def test_a_file_is_surveyed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting, planning and converting read a file through once together, until it changes."""
    catalog = CatalogFile(write(tmp_path, "c.csv", LINES))
    first = catalog.survey()
    monkeypatch.setattr(CatalogFile, "_rows", None)
    assert catalog.survey() is first
    write(tmp_path, "c.csv", LINES + "m,s2,,\n")
    with pytest.raises(TypeError):
        catalog.survey()


WORDS = ["Ava", "Song, two", "Zoë", "it's", '12" mix', "", "nan", "La la\nla", 'a, "b"\n\nc, d', "1,2\n3,4"]


def table(chance: random.Random) -> tuple[str, int]:
    """Return a catalog with columns in any order and ids of any kind, and how many rows it has."""
    columns = ["task_id", "suno_id", "author", "brand", "title"]
    chance.shuffle(columns)
    ids = chance.choice([("task_{0:04d}", "suno_{1:08x}"), ("{1:032x}", "{1:08x}-{0:04x}"), ("t{0}", "s{0}{1}")])
    rows = [
        {
            "task_id": ids[0].format(number // 2, chance.getrandbits(32)),
            "suno_id": ids[1].format(number, chance.getrandbits(32)),
            **{name: chance.choice(WORDS[:5]) for name in ("author", "brand")},
            "title": chance.choice(WORDS),
        }
        for number in range(chance.randint(2, 12))
    ]
    file = io.StringIO()
    dialect = chance.choice(["unix", "excel"])  # all cells in quotation marks, or those that need them
    writer = csv.DictWriter(file, columns, dialect=dialect, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue(), len(rows)


@pytest.mark.parametrize("marks", [0, 1, 2, 3])
def test_no_row_is_lost_to_stray_quotation_marks(tmp_path: Path, marks: int) -> None:
    """Wherever marks are put, a catalog is refused or has all its rows; without any it is never refused."""
    for seed in range(60):
        chance = random.Random(f"{marks} {seed}")
        text, count = table(chance)
        ends = [at for at in range(text.index("\n") + 1, len(text)) if set(text[at - 1 : at + 1]) & {",", "\n"}]
        for at in sorted(chance.sample(ends, marks), reverse=True):
            text = f'{text[:at]}"{text[at:]}'
        try:
            rows = list(CatalogFile(write(tmp_path, "c.csv", text)).rows())
        except CatalogError:
            assert marks, text
        else:
            assert len(rows) >= count, text
