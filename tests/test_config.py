"""Where the key and the base URL come from."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from suno_video_async import ConfigurationError, MissingKeyError, SunoVideoClient
from suno_video_async.config import DEFAULT_BASE_URL, Settings, check_base_url, is_loopback
from tests.support.keys import KEY, OTHER_KEY

THIRD_KEY = "ak_" + KEY[:2:-1]


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / ".env"
    path.write_text(
        f'# my key\nCRUN_API_KEY="{THIRD_KEY}"\nCRUN_BASE_URL=https://api.crunai.com\nEMPTY=\n', encoding="utf-8"
    )
    path.chmod(0o600)
    return path


def test_an_argument_goes_before_the_environment_and_that_before_the_file(key_file: Path) -> None:
    """Each source is asked only when the one before it is silent."""
    environment = {"CRUN_API_KEY": OTHER_KEY, "CRUN_BASE_URL": "https://two.test"}
    found = Settings.find(KEY, "https://one.test/", environment=environment, key_file=key_file)
    assert (found.api_key, found.base_url) == (KEY, "https://one.test")
    found = Settings.find(environment=environment, key_file=key_file)
    assert (found.api_key, found.base_url) == (OTHER_KEY, "https://two.test")
    found = Settings.find(environment={}, key_file=key_file)
    assert (found.api_key, found.base_url) == (THIRD_KEY, "https://api.crunai.com")


def test_the_provider_is_the_default(tmp_path: Path) -> None:
    """A key alone is enough, and a missing key file is no error."""
    found = Settings.find(KEY, environment={}, key_file=tmp_path / "none")
    assert found.base_url == DEFAULT_BASE_URL
    assert KEY not in repr(found)


def test_a_short_key_is_for_a_test_server_on_this_machine() -> None:
    """Elsewhere it is a key that was cut off, and it could not be kept out of texts."""
    with pytest.warns(UserWarning, match="usual shape"), pytest.raises(ConfigurationError, match="copy it whole"):
        Settings.find("ak_short", environment={})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Settings.find("test", "http://127.0.0.1:8555", environment={}).api_key == "test"


def test_a_key_file_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    """What is wrong with it is named, what is in it is not."""
    path = tmp_path / ".env"
    path.write_bytes(b"CRUN_API_KEY=\xff\xfe")
    with pytest.raises(ConfigurationError, match="cannot be read: UnicodeDecodeError"):
        Settings.find(environment={}, key_file=path)


def test_another_key_in_the_environment_is_a_problem(key_file: Path) -> None:
    """It says which of the two is used and shows neither; equal keys, and a key given by hand, are no news."""
    found = Settings.find(environment={"CRUN_API_KEY": OTHER_KEY}, key_file=key_file)
    (said,) = map(str, found.key_file_problems())
    assert said.startswith(f"CRUN_API_KEY is not the key in {key_file}: the one in the environment is used")
    assert OTHER_KEY not in said
    assert THIRD_KEY not in said
    same = {"CRUN_API_KEY": f" {THIRD_KEY}\n"}
    assert not Settings.find(environment=same, key_file=key_file).key_file_problems()
    assert not Settings.find(KEY, environment={"CRUN_API_KEY": OTHER_KEY}, key_file=key_file).key_file_problems()


@pytest.mark.parametrize("mode", [0o644, 0o620, 0o604])
def test_a_key_file_that_others_can_read_is_a_problem(key_file: Path, mode: int) -> None:
    """It names the command that mends it, whether or not the file decides."""
    key_file.chmod(mode)
    for environment in ({}, {"CRUN_API_KEY": THIRD_KEY}):
        (said,) = map(str, Settings.find(environment=environment, key_file=key_file).key_file_problems())
        assert f"chmod 600 {key_file}" in said


def test_a_key_file_without_a_key_is_no_problem(tmp_path: Path) -> None:
    """There is nothing to hide in it, and one that cannot be read is nobody's loss where it is not needed."""
    path = tmp_path / ".env"
    path.write_text("CRUN_BASE_URL=https://api.crunai.com\n")
    path.chmod(0o644)
    found = Settings.find(environment={"CRUN_API_KEY": KEY}, key_file=path)
    assert (found.base_url, found.key_file_problems()) == ("https://api.crunai.com", [])
    path.write_bytes(b"\xff\xfe")
    environment = {"CRUN_API_KEY": KEY, "CRUN_BASE_URL": "https://one.test"}
    assert not Settings.find(environment=environment, key_file=path).key_file_problems()


async def test_a_client_warns_when_it_opens(key_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disagreement is one warning, of a client that took its key from the environment."""
    monkeypatch.setattr(Path, "home", lambda: key_file.parent)
    (key_file.parent / ".crun").mkdir()
    key_file.rename(key_file.parent / ".crun" / ".env")
    monkeypatch.setenv("CRUN_API_KEY", OTHER_KEY)
    monkeypatch.setenv("CRUN_BASE_URL", "https://two.test")
    with pytest.warns(UserWarning, match="is not the key in") as caught:
        async with SunoVideoClient():
            pass
    assert len(caught) == 1


@pytest.mark.parametrize("key", ["", "   "])
def test_an_empty_key_is_no_key(key: str, tmp_path: Path) -> None:
    """White space in the environment does not count."""
    with pytest.raises(MissingKeyError, match=r"^no API key: set CRUN_API_KEY") as caught:
        Settings.find(environment={"CRUN_API_KEY": key}, key_file=tmp_path / "none")
    assert str(caught.value) == f"{caught.value.problem}: {caught.value.fix}"


def test_a_key_of_another_shape_is_a_warning(tmp_path: Path) -> None:
    """The server decides; the warning tells its length and not the key."""
    with pytest.warns(UserWarning, match="22 in all") as caught:
        Settings.find("sk-secret-of-a-service", environment={}, key_file=tmp_path / "none")
    assert "sk-secret-of-a-service" not in str(caught[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Settings.find(KEY, environment={}, key_file=tmp_path / "none")


@pytest.mark.parametrize("key", ["ak_ä", "ak_\nx: y"])
def test_a_key_that_no_header_can_carry_is_refused(key: str, tmp_path: Path) -> None:
    """It is named as such before anything is sent, without being repeated."""
    with pytest.raises(ConfigurationError, match="no HTTP header can carry") as caught:
        Settings.find(key, environment={}, key_file=tmp_path / "none")
    assert key not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("api.crun.ai", "must look like"),
        ("ftp://api.crun.ai", "must look like"),
        ("https://", "must look like"),
        ("https://a b", "must look like"),
        ("https://[::1", "cannot be read"),
        ("https://a.test:99999", "cannot be read"),
        ("https://user:secret@a.test", "no user, query or fragment"),
        ("https://a.test?x=1", "no user, query or fragment"),
        ("http://192.168.0.7:8555", "use https"),
        ("http://localhost.evil.test", "use https"),
    ],
)
def test_base_urls_that_a_key_may_not_go_to(url: str, problem: str) -> None:
    """Plain http to another machine, credentials in the URL and nonsense are refused with the fix."""
    with pytest.raises(ConfigurationError, match=problem) as caught:
        check_base_url(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "::1"])
def test_loopback(host: str) -> None:
    """These always mean this machine, so plain http is fine."""
    assert is_loopback(host)
    shown = f"[{host}]" if ":" in host else host
    assert check_base_url(f"http://{shown}:8555/") == f"http://{shown}:8555"
