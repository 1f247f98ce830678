"""What a server writes cannot act on the terminal or the log of a command, nor forge a line of either."""

from __future__ import annotations

import json

import pytest

from suno_video_async._util.text import is_safe
from suno_video_async.cli.app import run
from tests.cli.conftest import Home
from tests.support.raw import http, served_raw

EVIL = "\x1b]0;PWNED\x07\x1b[31mEVIL\r\n2026-01-01 CRITICAL FORGED\x9b31m\u202eM\u2028FORGED"
FAILED = {"task_id": "v1", "status": "failed", "provider": EVIL, "result": {"code": 501, "message": EVIL}}
TRACKS = {"task_id": "v1", "status": "success", "result": {"suno_data": [{"suno_id": "s1", "title": EVIL}]}}


def answer(code: int, data: object) -> bytes:
    return http(json.dumps({"code": code, "message": EVIL, "data": data, "errors": [EVIL]}).encode())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["status", "v1"], answer(200, FAILED)),
        (["status", "v1"], answer(200, {"task_id": "v1", "status": EVIL})),
        (["status", "v1"], answer(422, None)),
        (["tracks", "v1"], answer(200, TRACKS)),
        (["tracks", "v1", "--csv"], answer(200, TRACKS)),
        (["balance"], http(b"{}", "500 X", Content_Type="text/\x1b[31mEVIL")),
        (["balance"], b"HTTP/1.1 abc \x1b[31mEVIL\r\n\r\n"),
        (["submit", "m1", "s1"], answer(402, None)),
    ],
    ids=["failed", "word", "refusal", "tracks", "csv", "content-type", "status-line", "submit"],
)
@pytest.mark.parametrize("debug", [[], ["--debug"]], ids=["", "debug"])
def test_every_line_is_our_own(
    arguments: list[str], said: bytes, debug: list[str], home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    """No control character, line break or change of direction of a server gets out, also with `--debug`."""
    with served_raw(said) as url:
        run([*debug, *arguments, "--base-url", url, "--time-scale", "500", "--timeout", "2"])
    shown = capsys.readouterr()
    lines = (shown.out + shown.err).split("\n")
    assert all(map(is_safe, lines))
    assert not any(line.startswith(("2026-01-01", "FORGED")) for line in lines)
    assert any(line.strip() for line in lines)
