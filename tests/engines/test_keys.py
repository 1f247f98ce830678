"""`keys.toml`: what it says, and what is refused, with the entry, the field and the fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from suno_video_async.engines.keys import KeyEntry, load_keys
from suno_video_async.errors import ConfigurationError
from suno_video_async.models import RateLimit
from tests.support.keys import KEY

ENTRY = '[[key]]\nname = "label"\napi_key_env = "CRUN_LABEL"\n'


def read(tmp_path: Path, text: str) -> tuple[KeyEntry, ...]:
    """Return what a file with this text holds."""
    path = tmp_path / "keys.toml"
    path.write_text(text, encoding="utf-8")
    return load_keys(path)


def test_an_entry_needs_only_a_name_and_where_its_key_is(tmp_path: Path) -> None:
    """The rest is as for a client, and the ledger has the entry's name."""
    (entry,) = read(tmp_path, ENTRY)
    assert entry == KeyEntry(name="label", api_key_env="CRUN_LABEL", ledger="label", rate=RateLimit(20, 10))


def test_an_entry_can_say_everything(tmp_path: Path) -> None:
    """All fields are read; a relative file is beside keys.toml."""
    (entry,) = read(
        tmp_path,
        '[[key]]\nname = "Label One"\napi_key_file = "crun-1"\nbase_url = "https://api.example"\nrate = "auto"\n'
        'read_rate = "50/10"\nmax_in_flight = "auto"\nledger = "label-1"\nmax_credits = 12.5\n',
    )
    assert entry == KeyEntry(
        name="Label One",
        api_key_file=tmp_path / "crun-1",
        base_url="https://api.example",
        rate="auto",
        read_rate=RateLimit(50, 10),
        max_in_flight="auto",
        ledger="label-1",
        max_credits=12.5,
    )


@pytest.mark.parametrize(("rate", "means"), [("20/10", RateLimit(20, 10)), ("unlimited", None), ("auto", "auto")])
def test_a_rate(tmp_path: Path, rate: str, means: object) -> None:
    """It is written as on the command line."""
    (entry,) = read(tmp_path, f'{ENTRY}rate = "{rate}"\n')
    assert entry.rate == means


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", r"holds no keys; begin each with \[\[key\]\]"),
        ("keys = []", "'keys' is not a list of tables"),
        ("[[key]]\n", "key 1: name: must be given"),
        ('[[key]]\nname = 3\napi_key_env = "A"', "key 1: name: must be text in quotes"),
        ('[[key]]\nname = "a"', "key 1: api_key_env or api_key_file must be given: name where the key is"),
        (f'{ENTRY}api_key_file = "x"', "key 1: api_key_env and api_key_file exclude each other"),
        (f'{ENTRY}api_key = "{KEY}"', "key 1: api_key: a key does not belong in this file; name where"),
        (f'[[key]]\nname = "a"\napi_key_env = "{KEY}"', "key 1: api_key_env: must be the name of an environment"),
        (f'{ENTRY}speed = "1/1"', "key 1: speed: unknown field; the fields are name, api_key_env"),
        (f"{ENTRY}rate = 20", 'key 1: rate: must be text such as "20/10", "auto" or "unlimited", not 20'),
        (f'{ENTRY}read_rate = "unlimited"', 'key 1: read_rate: must be text such as "10/1" or "auto"'),
        (f"{ENTRY}max_in_flight = 0", "key 1: max_in_flight: must be a whole number from 1"),
        (f"{ENTRY}max_in_flight = true", "key 1: max_in_flight: must be a whole number from 1"),
        (f'{ENTRY}max_in_flight = "auto"', 'key 1: max_in_flight: "auto" needs rate = "auto"'),
        (f'{ENTRY}max_credits = "5"', "key 1: max_credits: must be a number of credits, such as 500, not '5'"),
        (f"{ENTRY}max_credits = -1", "key 1: max_credits: must be a number of credits"),
        (f"{ENTRY}max_credits = inf", "key 1: max_credits: must be a number of credits"),
        (f"{ENTRY}max_credits = true", "key 1: max_credits: must be a number of credits"),
        (f'{ENTRY}base_url = "http://api.example"', "key 1: base_url: plain http would show the API key"),
        (f'{ENTRY}ledger = "Label 1"', "key 1: ledger: must be 1 to 40 small letters.*not 'Label 1'"),
        ('[[key]]\nname = "A B"\napi_key_env = "A"', "key 1: name: is the ledger's name too, .*ledger = "),
        (f'{ENTRY}{ENTRY.replace("CRUN_LABEL", "B")}ledger = "b"', "name: 'label' is in 2 entries"),
        (f"{ENTRY}{ENTRY.replace('label', 'b')}", "api_key_env: 'CRUN_LABEL' is in 2 entries"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, words: str) -> None:
    """The message names the file, the entry, the field and the fix, and never a key."""
    with pytest.raises(ConfigurationError, match=words) as caught:
        read(tmp_path, text)
    assert "keys.toml" in str(caught.value)
    assert KEY not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """It is named, with the reason."""
    with pytest.raises(ConfigurationError, match=r"keys\.toml: cannot be read: No such file"):
        load_keys(tmp_path / "keys.toml")


def test_a_key_of_the_environment() -> None:
    """It is read when it is asked for, and not before."""
    entry = KeyEntry(name="a", api_key_env="CRUN_A")
    assert entry.api_key({"CRUN_A": f" {KEY}\n"}) == KEY
    with pytest.raises(ConfigurationError, match="key a: the environment variable CRUN_A is not set"):
        entry.api_key({})


@pytest.mark.parametrize("text", [f"{KEY}\n", f"# of the label\nCRUN_API_KEY={KEY}\n"])
def test_a_key_of_a_file(tmp_path: Path, text: str) -> None:
    """The file holds the key alone, as a secret that is mounted, or as the key file does."""
    path = tmp_path / "key"
    path.write_text(text)
    assert KeyEntry(name="a", api_key_file=path).api_key() == KEY


@pytest.mark.parametrize("content", [None, b"", b"two words", b"OTHER=1", b"\xff\xfe\xff"])
def test_a_file_without_a_key(tmp_path: Path, content: bytes | None) -> None:
    """What is wrong is said with the entry and the file, and without what is in it."""
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=f"key a: its file {path} ") as caught:
        KeyEntry(name="a", api_key_file=path).api_key()
    assert "two words" not in str(caught.value)
