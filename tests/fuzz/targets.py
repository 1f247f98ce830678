"""What is fuzzed: each parser of text from outside, what it may raise, and inputs that might take it long."""

from __future__ import annotations

import base64
import contextlib
import gzip
import io
import json
import math
import os
import tempfile
import wave
import zipfile
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from attrs import field, frozen
from PIL import Image

from suno_video_async.batch.catalog.source import CatalogFile
from suno_video_async.cli.keyfile import changed
from suno_video_async.config import read_key_file
from suno_video_async.download.mp4 import mp4_problem
from suno_video_async.errors import (
    CatalogError,
    ConfigurationError,
    MalformedResponseError,
    MissingExtraError,
    SunoVideoError,
)
from suno_video_async.local.errors import FaultError
from suno_video_async.local.faults import load_faults
from suno_video_async.lyricvideo.errors import LibraryError
from suno_video_async.lyricvideo.lyrics import LyricsError, parse_lrc, parse_subtitles, read_lyrics, spread_lines
from suno_video_async.lyricvideo.render.audio import measure
from suno_video_async.lyricvideo.render.backdrop import open_cover
from suno_video_async.lyricvideo.render.errors import RenderError
from suno_video_async.lyricvideo.trackfile import TrackFile
from suno_video_async.models import Track, VideoRequest, VideoTaskId
from suno_video_async.protocol import codec
from tests.support.mp4 import FTYP, START, box, film, movie, numbers, sizes_of, trak

TASK = VideoTaskId("v1")
REQUEST = VideoRequest(track=Track(task_id="m1", suno_id="s1"))
#: Every call, and how its answer is read.
READERS: Sequence[tuple[codec.Request, Callable[[codec.Answer, codec.Request], object]]] = (
    (codec.create_task(REQUEST), codec.read_created),
    (codec.task_info(TASK), codec.read_snapshot),
    (codec.task_info(TASK), codec.read_suno_tracks),
    (codec.balance(), codec.read_balance),
    (codec.estimate_task(REQUEST), codec.read_estimate),
    (codec.estimate_credits(REQUEST), codec.read_estimated_credits),
)
STATUSES = (200, 200, 201, 400, 404, 429, 500, 502)


@frozen
class Target:
    """A parser.

    Attributes:
        run: gives it an input; raises what it should not raise, or an `AssertionError` for a wrong result.
        seeds: inputs to begin with.
        long: makes inputs of about a number of bytes that might take it longer than they should.

    """

    run: Callable[[bytes], None]
    seeds: Sequence[bytes]
    long: Mapping[str, Callable[[int], bytes]] = field(factory=dict[str, Callable[[int], bytes]])


def envelope(data: bytes) -> None:
    """Read an answer to every call; the first byte picks the HTTP status, and the first line may name a type."""
    status, rest = STATUSES[data[0] % len(STATUSES)] if data else 200, data[1:]
    kind, _, body = rest.partition(b"\n") if rest[:1] == b"!" else (b"", b"", rest)
    said = kind[1:100].decode("latin-1")
    headers = {"Content-Type": said, "Retry-After": said, "Date": "Thu, 01 Jan 2026 00:00:00 GMT"}
    for request, read in READERS:
        try:
            found = read(codec.Answer(status, headers, body), request)
        except SunoVideoError as error:
            str(error)
            repr(error)
        else:
            assert 200 <= status < 300 or read is codec.read_snapshot, found


def snapshot(data: bytes) -> None:
    """Read what TaskInfo says of a task."""
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):
        return
    if isinstance(said, dict):
        try:
            found = codec.snapshot(said, asked=None)
        except MalformedResponseError:
            return
        assert str(found.task_id).isascii()
        assert str(found.task_id).isprintable()
        assert len(found.media_urls) <= codec.MAX_URLS
        assert all(url.isascii() and url.isprintable() and " " not in url for url in found.media_urls)


def callback(data: bytes) -> None:
    """Read what is posted to the port of the callbacks."""
    with contextlib.suppress(MalformedResponseError):
        codec.read_callback(data)


def _in_file(name: str, data: bytes, read: Callable[[Path], object]) -> None:
    # In memory where there is such a folder: it is written for each input.
    shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=shared) as folder:
        path = Path(folder, name)
        path.write_bytes(data)
        read(path)


def catalog(data: bytes) -> None:
    """Read a catalog, in whatever format its content is."""

    def read(path: Path) -> None:
        try:
            for row in CatalogFile(path).rows():
                assert isinstance(row.track, Track | CatalogError)
                str(row.track)
        except (CatalogError, MissingExtraError) as error:
            str(error)

    _in_file("a.csv", data, read)


def faults(data: bytes) -> None:
    """Read a file of faults for the local server."""

    def read(path: Path) -> None:
        try:
            load_faults(path)
        except FaultError as error:
            str(error)

    _in_file("faults.toml", data, read)


def mp4(data: bytes) -> None:
    """Look whether a file can be played."""
    found = mp4_problem(io.BytesIO(data))
    assert found is None or (found and len(found) < 300)


def keyfile(data: bytes) -> None:
    """Read a key file, and change it: what it held besides is kept, and the key is read as it was written."""
    values = {"CRUN_API_KEY": "ak_" + "x" * 32}

    def read(path: Path) -> None:
        try:
            before = read_key_file(path)
            path.write_text(changed(path.read_text(encoding="utf-8"), values), encoding="utf-8")
        except (ConfigurationError, UnicodeDecodeError):
            return
        after = read_key_file(path)
        assert after["CRUN_API_KEY"] == values["CRUN_API_KEY"], (before, after)

    _in_file(".env", data, read)


def lrc(data: bytes) -> None:
    """Read lyrics in each of their forms; times never go back."""
    text = data.decode(errors="replace")
    for read in (
        parse_lrc,
        parse_subtitles,
        lambda text: spread_lines(text, 60.0),
        lambda text: read_lyrics(text, 60.0),
    ):
        try:
            lines = read(text).lines
        except LyricsError:
            continue
        assert all(one.start <= other.start for one, other in pairwise(lines))
        assert all(line.start >= 0 for line in lines)


def track_toml(data: bytes) -> None:
    """Read the facts of a song."""

    def read(path: Path) -> None:
        with contextlib.suppress(LibraryError):
            assert 0 <= TrackFile.read(path).duration < 86_400

    _in_file("track.toml", data, read)


def audio(data: bytes) -> None:
    """Measure a song; what it holds is a length."""

    def read(path: Path) -> None:
        with contextlib.suppress(ValueError):
            assert 0 < measure(path).seconds < math.inf

    _in_file("audio.wav", data, read)


def cover(data: bytes) -> None:
    """Read a cover; it is a square."""

    def read(path: Path) -> None:
        with contextlib.suppress(RenderError):
            image = open_cover(path).image
            assert image.width == image.height > 0

    _in_file("cover.jpg", data, read)


def _picture(kind: str, **options: Any) -> bytes:
    """Return a small picture."""
    data = io.BytesIO()
    Image.radial_gradient("L").resize((40, 30)).convert("RGB").save(data, kind, **options)
    return data.getvalue()


def _wav(seconds: float) -> bytes:
    """Return a short sound."""
    data = io.BytesIO()
    with wave.open(data, "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(round(16_000 * seconds)))
    return data.getvalue()


def _answer(**data: object) -> bytes:
    return json.dumps({"code": 200, "message": "success", "data": data}).encode()


INFO: Mapping[str, object] = {
    "task_id": "v1",
    "status": "success",
    "create_at": 1,
    "complete_at": 2.5,
    "duration_s": 1,
    "credits": 10,
    "param": {"model": "suno/music-video", "input": {"task_id": "m1", "suno_id": "s1"}},
    "result": {
        "code": 200,
        "message": "ok",
        "media_urls": ["https://a.test/a b.mp4?x=%20&y", "https://ü.test/é", "https://\u2017y/"],
    },
}
MUSIC = {**INFO, "result": {"suno_data": [{"suno_id": "s1", "title": "T", "duration": 3, "suno_audio_url": "x"}]}}
LYRICS = b"[ti:x]\n[offset:-500]\n[00:01.50][01:00]One <00:02.00>two <00:03>three\n[00:09]\n"
FRAGMENT = box(
    b"moof", box(b"traf", box(b"tfhd", numbers(0x20010, 1, 50)), box(b"trun", numbers(0x201, 1, 90, 50)))
)

RUN = box(b"traf", box(b"tfhd", numbers(0, 1)), box(b"trun", numbers(0, 9)))


def _repeated(begin: bytes, piece: bytes, end: bytes = b"") -> Callable[[int], bytes]:
    return lambda size: begin + piece * (size // len(piece)) + end


def _json_of(shape: Callable[[int], object]) -> Callable[[int], bytes]:
    return lambda size: json.dumps(shape(size), ensure_ascii=False).encode()


def _names(size: int) -> bytes:
    return b'[{"x":1' + b"".join(b',"%d":1' % number for number in range(size // 10))


def _answered(make: Callable[[int], bytes]) -> Callable[[int], bytes]:
    return lambda size: b"\0" + make(size)


def _wide_film(size: int) -> bytes:
    count = min(size // 8, 100_000)
    return film(bytes([1]) * count, trak([START] * count, sizes_of(*[1] * count)))


ANSWERS = {
    "url": _json_of(lambda size: {**INFO, "result": {"media_urls": ["https://" + "a" * size + " "]}}),
    "urls": _json_of(lambda size: {**INFO, "result": {"media_urls": ["https://a.test/ "] * (size // 16)}}),
    "text": _json_of(lambda size: {**INFO, "result": {"message": "\u202e" * (size // 3)}}),
    "spaces": _json_of(lambda size: {**INFO, "status": " " * size}),
    "nested": _repeated(b'{"task_id":"v1","status":', b"["),
    "ids": _repeated(b'{"code":429,"message":"x","data":null,"a":[', b'{"task_id":   1"},', b"]"),
    "escapes": _repeated(b'{"task_id":"', b"\\u0026", b'","status":"x"}'),
    "quotes": _repeated(b"", b'"task_id":"\\'),
}


def _workbook() -> bytes:
    """Return a small `.xlsx` file."""
    parts = {
        "[Content_Types].xml": "<Types/>",
        "xl/workbook.xml": '<workbook><sheets><sheet name="A" sheetId="1"/></sheets></workbook>',
        "xl/worksheets/sheet1.xml": "<worksheet><sheetData><row><c><v>1</v></c></row></sheetData></worksheet>",
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        for name, text in parts.items():
            file.writestr(zipfile.ZipInfo(name), text)
    return packed.getvalue()


#: By name; `python -m tests.fuzz NAME` runs one.
TARGETS: Mapping[str, Target] = {
    "envelope": Target(
        envelope,
        [
            *(b"\0" + _answer(**data) for data in (INFO, MUSIC, {"task_id": "v2"}, {"balance": 1.5})),
            b"\0" + _answer(estimated_credits=2, balance=3, affordable=True),
            b'\5{"code":429,"message":"slow","data":null,"errors":["x"]}',
            b'\1!text/html; charset="gbk"\n\xef\xbb\xbf{"code":"200","data":{"task_id":7}}',
            b"\7<html>502</html>",
        ],
        {name: _answered(make) for name, make in ANSWERS.items()},
    ),
    "snapshot": Target(snapshot, [json.dumps(data).encode() for data in (INFO, MUSIC)], ANSWERS),
    "callback": Target(callback, [json.dumps(INFO).encode(), _answer(**INFO)], ANSWERS),
    "catalog": Target(
        catalog,
        [
            b'task_id,suno_id,author,brand,x\nm,s,A,B,1\n\n m , s ,,,\n"a","b""c",,,\n',
            b'{"task_id":"m","suno_id":"s","x":[1,{"y":null}]}\n\n{"task_id":1}\n',
            b'[{"task_id":"m","suno_id":"s"}, {"task_id":"m","suno_id":"t","author":"A"}]',
            b'{"n":1,"tracks":[{"task_id":"m","suno_id":"s"}]}',
            gzip.compress(b"task_id;suno_id\nm;s\n", mtime=0),
            "task_id\tsuno_id\nm\ts\n".encode("utf-16"),
            _workbook(),
        ],
        {
            "csv": _repeated(b"task_id,suno_id\n", b"m,s\n"),
            "quoted": _repeated(b"task_id,suno_id\n", b'"""'),
            "wide": _repeated(b"task_id,suno_id", b",x", b"\nm,s"),
            "lines": _repeated(b"", b'{"task_id":"m","suno_id":"s"}\n'),
            "array": _repeated(b"[", b'{"task_id":"m","suno_id":"s"},', b'{"task_id":"m","suno_id":"s"}]'),
            "element": _repeated(b'[{"task_id":"m","suno_id":"s","x":"', b"x", b'"}]'),
            "elements after a long one": lambda size: (
                b'[{"x":"' + b"x" * (size // 2) + b'"}' + b",{}" * (size // 6) + b"]"
            ),
            "unfinished": _repeated(b'[{"x":[', b"1,"),
            "blank": _repeated(b"[", b" \n"),
            "repeated": lambda size: _names(size) + b',"x":0}]',
            "packed": lambda size: gzip.compress(b"task_id,suno_id\n" + b"m,s\n" * (size // 4), 1),
        },
    ),
    "faults": Target(
        faults,
        [
            b'[[fault]]\non = "CreateTask"\nkind = "code:429"\nrate = 0.5\n',
            b'[[fault]]\non = "media"\nkind = "truncate"\ncalls = [1, 2]\n[[fault]]\non = "all"\nkind = "hang"\n',
        ],
        {
            "tables": _repeated(b"", b'[[fault]]\non = "media"\nkind = "never"\n'),
            "calls": _repeated(b'[[fault]]\non = "media"\nkind = "truncate"\ncalls = [', b"1, ", b"2]\n"),
            "string": _repeated(b'[[fault]]\non = "', b"x", b'"\n'),
            "brackets": _repeated(b"", b"["),
        },
    ),
    "mp4": Target(
        mp4,
        [
            movie(b"d" * 40),
            film(b"d" * 60, trak([START], sizes_of(20, 20)), trak([START + 40], sizes_of(9), kind=b"soun")),
            FTYP + box(b"moov", trak([], sizes_of())) + FRAGMENT + box(b"mdat", b"d" * 50),
        ],
        {
            "boxes": _repeated(FTYP, box(b"free")),
            "tracks": lambda size: film(b"d", *[trak([START], sizes_of(1))] * (size // 180)),
            "chunks": _wide_film,
            "fragments": _repeated(FTYP + box(b"moov", trak([], sizes_of())), FRAGMENT + box(b"mdat", b"d" * 50)),
            "runs": lambda size: FTYP + box(b"moov") + box(b"moof", *[RUN] * (size // len(RUN))),
            "nested": lambda size: FTYP + box(b"moov", *[box(b"trak", box(b"mdia"))] * (size // 16)),
        },
    ),
    "track": Target(
        track_toml,
        [
            b'title = "T"\nartist = "A"\nduration = 3.5\nsize = "portrait"\nencoding = "cp1251"\n',
            b"[title]\na = 1\n",
        ],
        {"lines": _repeated(b"", b'"x" = 1\n'), "string": _repeated(b'title = "', b"x", b'"\n')},
    ),
    "audio": Target(audio, [_wav(0.1), b"ID3\4\0\0\0\0\0\0" + b"\xff\xfb\x90\0" + bytes(413)]),
    "cover": Target(cover, [_picture("PNG"), _picture("JPEG", quality=80), _picture("WEBP")]),
    "keyfile": Target(
        keyfile,
        [
            b'CRUN_API_KEY=ak_1\nCRUN_BASE_URL=\'https://a.test\'\n# note\nexport OTHER="a\\"b"\n',
            b"CRUN_API_KEY\nX=1 # CRUN_API_KEY=2\n",
        ],
        {
            "lines": _repeated(b"", b"A=1\n"),
            "quotes": _repeated(b"", b"A='"),
            "spaces": _repeated(b"A=", b" ", b"x"),
            "escapes": _repeated(b'A="', b'\\"'),
            "comments": _repeated(b"A=x", b" #"),
        },
    ),
    "lrc": Target(
        lrc,
        [LYRICS, b"1\n00:00:01,000 --> 00:00:02,500\nOne\ntwo\n\n2\n00:00:05,000 --> 00:00:06,000\nThree\n"],
        {
            "lines": _repeated(b"", b"[00:01.50]One <00:02.00>two\n"),
            "stamps": _repeated(b"[00:01]" * 100 + b"x\n", b"[00:01]x\n"),
            "tag": _repeated(b"[a", b":]x"),
            "open": _repeated(b"", b"[a:\n"),
            "blank": _repeated(b"", b"\n"),
            "captions": _repeated(b"", b"1\n00:00:01,000 --> 00:00:02,500\nOne\n\n"),
        },
    ),
}
SEEDS = Path(__file__).with_name("seeds")


def kept(name: str) -> list[bytes]:
    """Return the inputs to a target that are kept: each reaches something that the others do not."""
    path = SEEDS / f"{name}.txt"
    return [base64.b64decode(line) for line in path.read_text().split()] if path.exists() else []


def keep(name: str, inputs: Sequence[bytes]) -> None:
    """Keep inputs to a target, the short ones first."""
    lines = [base64.b64encode(one).decode() for one in sorted(set(inputs), key=lambda one: (len(one), one))]
    SEEDS.mkdir(exist_ok=True)
    (SEEDS / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))
