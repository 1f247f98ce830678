"""`suno-video login`: the key goes into the key file and nowhere else."""

from __future__ import annotations

import io
import os
import stat
import sys
from pathlib import Path

import click
import pytest
from dotenv import dotenv_values
from hypothesis import given
from hypothesis import strategies as st

from suno_video_async.cli import keyfile
from suno_video_async.cli.exits import UsageProblem
from tests.cli.conftest import Home, Ran
from tests.cli.serving import served
from tests.support.keys import KEY, OTHER_KEY


@pytest.fixture(autouse=True)
def at_home(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key file is in the test's folder, and the environment has no key."""
    monkeypatch.delenv("CRUN_API_KEY")
    monkeypatch.setattr(Path, "home", lambda: home.folder)


def key_file(home: Home) -> Path:
    return home.folder / ".crun" / ".env"


def login(home: Home, monkeypatch: pytest.MonkeyPatch, *arguments: object, key: str = f"{KEY}\nmore\n") -> Ran:
    """Run login with a key on stdin."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(key))
    return home.run("login", *arguments)


def test_a_key_from_a_pipe_is_stored_for_the_user_alone(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first line of stdin is the key; folder and file are the user's alone, and the key is shown nowhere."""
    before = os.umask(0)
    try:
        ran = login(home, monkeypatch)
    finally:
        os.umask(before)
    assert ran.code == 0
    assert ran.lines() == [{"key_file": str(key_file(home)), "replaced": False, "base_url": None, "balance": None}]
    assert key_file(home).read_text() == f"CRUN_API_KEY={KEY}\n"
    assert stat.S_IMODE(key_file(home).stat().st_mode) == 0o600
    assert stat.S_IMODE(key_file(home).parent.stat().st_mode) == 0o700
    assert [path.name for path in key_file(home).parent.iterdir()] == [".env"]


def test_on_a_terminal_the_key_is_asked_for_and_not_shown(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The prompt hides what is typed, and goes to stderr."""
    asked = list[dict[str, object]]()

    def prompt(_: str, **options: object) -> str:
        asked.append(options)
        return f" {KEY} "

    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", terminal)
    monkeypatch.setattr(click, "prompt", prompt)
    assert home.run("login").code == 0
    assert (asked[0]["hide_input"], asked[0]["err"]) == (True, True)
    assert key_file(home).read_text() == f"CRUN_API_KEY={KEY}\n"


def test_other_lines_stay(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Comments, other names and lines that are no settings stay; the key's line is replaced, once."""
    key_file(home).parent.mkdir(mode=0o755)
    key_file(home).write_text(
        f"# mine\n\n  export CRUN_API_KEY = '{OTHER_KEY}' # old\nX=1\r\n"
        f"no setting\nCRUN_API_KEY={OTHER_KEY}\n# end"
    )
    key_file(home).chmod(0o644)
    ran = login(home, monkeypatch, "--base-url", "https://api.crunai.com/")
    assert ran.lines()[0]["replaced"] is True
    assert key_file(home).read_bytes().decode() == (
        f"# mine\n\n  export CRUN_API_KEY={KEY}\nX=1\r\nno setting\n# end\nCRUN_BASE_URL=https://api.crunai.com\n"
    )
    assert stat.S_IMODE(key_file(home).stat().st_mode) == 0o600
    assert stat.S_IMODE(key_file(home).parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("linked", ["file", "folder"])
def test_a_link_is_not_followed(home: Home, monkeypatch: pytest.MonkeyPatch, linked: str) -> None:
    """A key file, or its folder, that is a link to somewhere else is refused, and nothing is written there."""
    elsewhere = home.folder / "elsewhere"
    elsewhere.mkdir()
    if linked == "folder":
        (home.folder / ".crun").symlink_to(elsewhere)
    else:
        (home.folder / ".crun").mkdir()
        key_file(home).symlink_to(elsewhere / "file")
    ran = login(home, monkeypatch)
    assert ran.code == 2
    assert "is a link to" in ran.err
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("", "no key was given"),
        (" \n", "no key was given"),
        ("x" * 2000, "that is not a key"),
        ("ak_ä\n", "no HTTP header can carry"),
    ],
)
def test_what_is_no_key_is_not_stored(home: Home, monkeypatch: pytest.MonkeyPatch, key: str, says: str) -> None:
    """It is said in one line, and there is no file."""
    ran = login(home, monkeypatch, key=key)
    assert (ran.code, len(ran.err.splitlines())) == (2, 1)
    assert says in ran.err
    assert not key_file(home).exists()


def test_a_key_of_another_shape_is_a_warning(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server decides: it is stored, and told once without its text."""
    with served(api_keys=["sk-its-own-'kind'-#1"]) as server:
        ran = login(home, monkeypatch, "--check", "--base-url", server.url, key="sk-its-own-'kind'-#1\n")
    assert ran.code == 0
    assert ran.lines()[0]["balance"] == 1000.0
    assert ran.err.count("not of the usual shape") == 1
    assert "sk-its" not in ran.err + ran.out
    assert dotenv_values(key_file(home), interpolate=False)["CRUN_API_KEY"] == "sk-its-own-'kind'-#1"


def test_a_refused_key_is_not_stored(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --check the service is asked first, at CRUN_BASE_URL; a key that it refuses replaces no other."""
    with served() as server:
        monkeypatch.setenv("CRUN_BASE_URL", server.url)
        assert login(home, monkeypatch, "--check").code == 0
        ran = login(home, monkeypatch, "--check", key=OTHER_KEY)
    assert ran.code == 2
    assert OTHER_KEY not in ran.err + ran.out
    assert dotenv_values(key_file(home))["CRUN_API_KEY"] == KEY


def test_a_key_as_an_argument_is_refused_unseen(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not repeated, whatever its shape, and the other ways are named."""
    ran = login(home, monkeypatch, "secret-of-another-shape")
    assert ran.code == 2
    assert "secret" not in ran.err
    assert "the key cannot be an argument" in ran.err
    assert not key_file(home).exists()


def test_the_environment_goes_first(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the environment has another key or address, login and every later command say so, without either."""
    with served() as server:
        monkeypatch.setenv("CRUN_API_KEY", KEY)
        monkeypatch.setenv("CRUN_BASE_URL", server.url)
        stored = login(home, monkeypatch, "--base-url", "https://api.crunai.com", key=OTHER_KEY)
        asked = home.run("balance")
        key_file(home).chmod(0o644)
        again = home.run("balance")
    assert "unset CRUN_API_KEY" in stored.err
    assert "unset CRUN_BASE_URL" in stored.err
    assert asked.code == 0
    assert asked.err.count("CRUN_API_KEY is not the key in") == 1
    assert "chmod 600" in again.err
    assert OTHER_KEY not in stored.err + stored.out + asked.err


def test_a_folder_that_cannot_be_written(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is one line with the system's reason, and a file that is none is named."""
    (home.folder / ".crun").write_text("a file")
    ran = login(home, monkeypatch)
    assert (ran.code, "cannot be written" in ran.err) == (2, True)
    (home.folder / ".crun").unlink()
    key_file(home).mkdir(parents=True)
    with pytest.raises(UsageProblem, match="is not a regular file"):
        keyfile.store(key_file(home), {"CRUN_API_KEY": KEY})


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1).filter(lambda key: key.strip()))
def test_whatever_is_stored_is_read_again(key: str) -> None:
    """Any printable key survives the file's quoting, beside what stood there."""
    text = keyfile.changed("A='1'\nCRUN_API_KEY=old", {"CRUN_API_KEY": key.strip()})
    read = dotenv_values(stream=io.StringIO(text), interpolate=False)
    assert dict(read) == {"A": "1", "CRUN_API_KEY": key.strip()}
