"""Where a ledger is: a file, or an address whose password is never shown."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest

from suno_video_async.errors import LedgerError, MissingExtraError
from suno_video_async.ledger.address import (
    LedgerAddress,
    as_ledger,
    is_address,
    ledger_at,
    sealed,
    shown_word,
    without_passwords,
)
from suno_video_async.ledger.postgres import session
from suno_video_async.ledger.postgres.ledger import PostgresLedger
from suno_video_async.ledger.sqlite import SqliteLedger

SECRET = "S3cret-Passw0rd"


@pytest.mark.parametrize(
    ("text", "name", "conninfo"),
    [
        ("postgresql://u@h/d?ledger=catalog", "catalog", "postgresql://u@h/d"),
        ("postgres://h/d?ledger=a-1_b", "a-1_b", "postgres://h/d"),
        ("postgresql:///?service=prod&ledger=x", "x", "postgresql:///?service=prod"),
        ("postgresql://h/d?ledger=x&sslmode=require", "x", "postgresql://h/d?sslmode=require"),
        ("postgresql://h/d?a=1&ledger=x&sslmode=require", "x", "postgresql://h/d?a=1&sslmode=require"),
        ("postgresql://u:p%40w@h,i:5433/d?ledger=%78", "x", "postgresql://u:p%40w@h,i:5433/d"),
    ],
)
def test_the_ledgers_name_is_taken_out_of_an_address(text: str, name: str, conninfo: str) -> None:
    """libpq does not know the parameter, and gets all the others as they were."""
    address = LedgerAddress.parse(text)
    assert (address.name, address.conninfo, address.problem) == (name, conninfo, None)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("postgresql://h/d", "names no ledger: add ?ledger=NAME"),
        ("postgresql://h/d?ledger=", "up to 40 small letters"),
        ("postgresql://h/d?ledger=Catalog", "up to 40 small letters"),
        ("postgresql://h/d?ledger=a.b", "up to 40 small letters"),
        (f"postgresql://h/d?ledger={'a' * 41}", "up to 40 small letters"),
        ("postgresql://h/d?ledger=a&ledger=b", "up to 40 small letters"),
        ("mysql://h/d?ledger=a", "a ledger is a file, or postgresql://"),
    ],
)
def test_what_is_wrong_with_an_address_is_said_when_it_is_opened(text: str, problem: str) -> None:
    """Until then its text would be in the frames of the traceback."""
    ledger = as_ledger(text)
    for open_ in (lambda: ledger.open(provider="p", fingerprint="f"), ledger.reader().open_to_read):
        with pytest.raises(LedgerError, match="cannot be used: .*" + problem.replace("?", r"\?")):
            open_()


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://u:{SECRET}@127.0.0.1:9/d?ledger=x",
        f"postgresql://u:a@{SECRET}@127.0.0.1:9/d?ledger=x",
        f"postgresql://u:a/{SECRET}@127.0.0.1:9/d?ledger=x",
        f"postgresql://u:a?{SECRET}@127.0.0.1:9/d?ledger=x",
        f"postgresql://:{SECRET}@127.0.0.1:9/d?ledger=x",
        f"postgresql://u@127.0.0.1:9/d?password={SECRET}&ledger=x",
        f"postgresql://u@127.0.0.1:9/d?ledger=x&sslpassword={SECRET}",
        f"postgresql://u:{SECRET}\n@127.0.0.1:9/d?ledger=x",
        f"mysql://u:{SECRET}@127.0.0.1:9/d?ledger=x",
        f"postgresql+psycopg://u:{SECRET}@127.0.0.1:9/d?ledger=x",
    ],
)
def test_a_password_is_never_shown(text: str) -> None:
    """Neither by a value or a ledger, nor by an error, nor by the variables of a frame of its traceback."""
    ledger = ledger_at(text)
    for shown in (
        sealed(text),
        ledger,
        ledger.reader(),
        ledger.name,
        shown_word(text) if "postgres:" in text else "",
    ):
        assert SECRET not in f"{shown!r} {shown!s}"
    with pytest.raises((LedgerError, MissingExtraError)) as caught:
        ledger.open(provider="p", fingerprint="f")
    frames = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    own = [line for line in frames.format() if "text = " not in line]
    assert SECRET not in "".join(own)


def test_an_address_in_a_text_loses_its_password() -> None:
    """What follows it in the text stays, such as the rest of a line of JSON."""
    said = f'{{"a": "postgresql://u:{SECRET}@h/d?ledger=x", "b": "c@d"}}'
    assert without_passwords(said) == '{"a": "postgresql://u@h/d?ledger=x", "b": "c@d"}'
    assert without_passwords("http://127.0.0.1:80/ a@b") == "http://127.0.0.1:80/ a@b"
    assert shown_word(f"--ledger=postgres://u:{SECRET}@h/d") == "--ledger=postgres://u@h/d"


def test_a_database_has_several_ledgers() -> None:
    """Its address names none of them; a password goes along, and is not shown."""
    database = LedgerAddress.parse(f"postgresql://u:{SECRET}@h/d?sslmode=require")
    assert database.is_database
    assert not LedgerAddress.parse("postgresql://h/d?ledger=x").is_database
    assert not LedgerAddress.parse("mysql://h/d").is_database
    ledger = database.named("autumn")
    assert ledger.conninfo == f"postgresql://u:{SECRET}@h/d?sslmode=require"
    assert str(ledger) == "postgresql://u@h/d?sslmode=require&ledger=autumn"
    assert str(LedgerAddress.parse("postgresql://h/d").named("autumn")) == "postgresql://h/d?ledger=autumn"
    assert ledger.problem is None
    assert "has one name of up to 40" in str(database.named("No Name").problem)


def test_a_path_is_a_file_and_an_address_is_not(tmp_path: Path) -> None:
    """What looks like a path stays one, whatever it is called."""
    for path in ("a.db", "postgresql", "c:/x.db", "a:b", str(tmp_path)):
        assert not is_address(path)
        assert sealed(path) is path
    assert isinstance(as_ledger(tmp_path / "l.db"), SqliteLedger)
    assert isinstance(as_ledger(None), SqliteLedger)
    known = ledger_at("postgresql://h/d?ledger=x", same_account=True)
    assert isinstance(known, PostgresLedger)
    assert known.same_account
    assert as_ledger(known) is known


def test_without_the_driver_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger in PostgreSQL says what to install."""
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'suno-video-async\[postgres\]'"):
        session.load_driver()
