"""The commands with the address of a ledger: no file is meant, and its password is shown nowhere."""

from __future__ import annotations

import pytest

from suno_video_async.cli.app import _without_password
from suno_video_async.cli.output import redacted
from tests.cli.conftest import Home
from tests.cli.serving import served

SECRET = "S3cret-Passw0rd"
#: Nothing listens there.
ADDRESS = f"postgresql://team:{SECRET}@127.0.0.1:9/videos?ledger=autumn"
SHOWN = "postgresql://team@127.0.0.1:9/videos?ledger=autumn"


@pytest.mark.parametrize(
    "command",
    [
        ("plan", "catalog.csv", "--ledger", ADDRESS),
        ("unknown", "list", "--ledger", ADDRESS),
        ("unknown", "drop", "1", "--ledger", ADDRESS),
        ("report", ADDRESS),
        ("report", ADDRESS, "--watch", "1"),
        ("listen", ADDRESS, "--callback-url", "https://team.example/callbacks"),
    ],
    ids=" ".join,
)
def test_a_server_that_cannot_be_reached(home: Home, command: tuple[str, ...]) -> None:
    """Each command names the ledger and what is wrong, and makes no file."""
    home.catalog("s1")
    before = sorted(home.folder.iterdir())
    ran = home.run(*command)
    assert ran.code == 2
    assert f"the ledger {SHOWN} cannot be reached: " in ran.err
    assert SECRET not in ran.out + ran.err
    assert sorted(home.folder.iterdir()) == before


def test_a_conversion_buys_nothing_without_its_ledger(home: Home) -> None:
    """It ends before anything is sent that costs."""
    with served() as server:
        ran = home.run("convert", home.catalog("s1"), "--ledger", ADDRESS, "--base-url", server.url)
        assert server.stats()["charged"] == 0
    assert (ran.code, "cannot be reached" in ran.err, SECRET in ran.out + ran.err) == (2, True, False)


def test_the_doctor_says_what_is_wrong_with_the_ledger(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its server, or the extra that is missing; there is no folder to look at."""
    ran = home.run("doctor", "--offline", "--json", ADDRESS)
    checks = {line["check"]: line for line in ran.lines()}
    assert (ran.code, checks["ledger"]["status"]) == (1, "fail")
    assert "cannot be reached" in checks["ledger"]["text"]
    assert "ledger folder" not in checks
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    ran = home.run("doctor", "--offline", "--json", ADDRESS)
    (check,) = (line for line in ran.lines() if line["check"] == "ledger")
    assert "suno-video-async[postgres]" in check["text"]


def test_an_address_without_a_name_is_refused(home: Home) -> None:
    """And so is a database of another kind."""
    ran = home.run("unknown", "list", "--ledger", f"postgresql://u:{SECRET}@h/d")
    assert (ran.code, "it names no ledger: add ?ledger=NAME" in ran.err, SECRET in ran.err) == (2, True, False)
    ran = home.run("unknown", "list", "--ledger", f"mysql://u:{SECRET}@h/d?ledger=x")
    assert (ran.code, "a ledger is a file, or postgresql://" in ran.err, SECRET in ran.err) == (2, True, False)


def test_a_command_that_is_repeated_has_no_password() -> None:
    """What is suggested, and whatever else is written, goes without."""
    for word, shown in (
        (ADDRESS, SHOWN),
        (f"--ledger={ADDRESS}", f"--ledger={SHOWN}"),
        ("http://a:b@c", "http://a:b@c"),
    ):
        assert _without_password(word) == shown
    assert redacted(f"got {ADDRESS} here, a@b") == f"got {SHOWN} here, a@b"
