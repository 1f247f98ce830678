"""A ledger that may lack what was bought, or of another key: refused in words, and taken only by its switch."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve

from suno_video_async.ledger.copies import Counter
from suno_video_async.ledger.files import counter_of, has_log
from suno_video_async.testing import VideoServer
from tests.cli.conftest import Home, Ran
from tests.cli.serving import served
from tests.support.held import FOREVER, HeldClock
from tests.support.keys import KEY, OTHER_KEY

LEDGER = Path("catalog.ledger.db")


def convert(home: Home, server: VideoServer, *arguments: object) -> Ran:
    return home.run(
        "convert", *arguments, "--base-url", server.url, "--time-scale", 20, "--no-download", "--rate", "1000/10"
    )


def charges(server: VideoServer) -> int:
    charged = server.stats()["charged"]
    assert isinstance(charged, int)
    return charged


# --accept-ledger


def deleted(path: Path) -> None:
    path.unlink()


def with_a_second_name(path: Path) -> None:
    os.link(path, "other name.db")


def an_older_backup(path: Path) -> None:
    """The counter beside it is of a later time."""
    counter = Counter.parse(counter_of(path).read_text(encoding="ascii"))
    assert counter is not None
    counter_of(path).write_text(f"{evolve(counter, period=counter.period + 5)}\n", encoding="ascii")


DOUBTS = [
    (deleted, "is gone, and with it all that it knew to be bought: put it back, or check"),
    (with_a_second_name, "has 2 names (hard links), and each would have a log and a lock of its own: remove"),
    (an_older_backup, "is older than what was last written here: put back the newest one, or check"),
]


@pytest.mark.parametrize(("doubt", "says"), DOUBTS, ids=[doubt.__name__ for doubt, _ in DOUBTS])
def test_a_doubtful_ledger_is_refused_until_it_is_accepted(
    home: Home, doubt: Callable[[Path], None], says: str
) -> None:
    """Exit code 2, what to check and the switch in one line, and nothing sent; with the switch the run goes on."""
    with served() as server:
        assert convert(home, server, home.catalog("s1")).code == 0
        doubt(LEDGER)
        before = server.stats()["requests"]
        refused = convert(home, server, home.catalog("s1", "s2"))
        assert (refused.code, refused.out, server.stats()["requests"]) == (2, "", before)
        assert refused.err.startswith(f"suno-video: the ledger {home.folder / LEDGER} {says}")
        assert refused.err.endswith("; --accept-ledger then takes it as it is\n")
        assert (refused.err.count("\n"), "SqliteLedger" in refused.err) == (1, False)
        accepted = convert(home, server, "catalog.csv", "--accept-ledger")
        assert (accepted.code, charges(server)) == (0, 3 if doubt is deleted else 2)


def test_a_ledger_without_its_log_is_refused_until_it_is_accepted(home: Home) -> None:
    """A run is killed and its file copied alone: what the log held is not known; the copy is not written."""
    clock = HeldClock()
    with served(render_seconds=FOREVER, clock=clock) as server:
        arguments = ("--base-url", server.url, "--time-scale", 20, "--no-download")
        with home.child("convert", home.catalog("s1", "s2"), *arguments) as child:
            server.wait_for(lambda stats: stats["charged"] == 2)
            child.kill()
            child.wait()
        clock.let_go()
        Path("copy").mkdir()
        copy = Path(shutil.copy(LEDGER, "copy"))
        content = copy.read_bytes()
        refused = convert(home, server, "catalog.csv", "--ledger", copy)
        assert refused.code == 2
        assert "was not closed, and the -wal file that holds its newest entries is missing" in refused.err
        assert "--accept-ledger then takes it as it is" in refused.err
        assert (copy.read_bytes(), has_log(copy), charges(server)) == (content, False, 2)
        assert convert(home, server, "catalog.csv").code in {0, 4}  # the whole one goes on
        assert charges(server) == 2


def test_unknown_decisions_need_the_switch_as_well(home: Home) -> None:
    """`drop`, `resend` and `adopt` write the ledger; `list` only reads, and warns."""
    with served() as server:
        assert convert(home, server, home.catalog("s1")).code == 0
        an_older_backup(LEDGER)
        for decision in (("drop", 1), ("resend", 1, "--yes")):
            refused = home.run("unknown", *decision, "--ledger", LEDGER, "--base-url", server.url)
            assert refused.code == 2
            assert "--accept-ledger then takes it as it is" in refused.err
        listed = home.run("unknown", "list", "--ledger", LEDGER)
        assert listed.code == 0
        assert "is older than what was last written here" in listed.err
        taken = home.run("unknown", "drop", 1, "--ledger", LEDGER, "--base-url", server.url, "--accept-ledger")
    assert (taken.code, "--accept-ledger" in taken.err) == (2, False)
    assert "row 1" in taken.err  # and that it is not unknown


# --same-account


def change_key(server: VideoServer, monkeypatch: pytest.MonkeyPatch, *, same_account: bool) -> None:
    """Let the user have a new key: of the same account, or of another one."""
    accounts = server._server.service._accounts._by_key
    if same_account:
        accounts[OTHER_KEY] = accounts[KEY]
    monkeypatch.setenv("CRUN_API_KEY", OTHER_KEY)


def test_a_changed_key_goes_on_by_the_switch(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused with both ways out; then one question proves the account, and nothing is bought again."""
    with served(api_keys=[KEY, OTHER_KEY]) as server:
        assert convert(home, server, home.catalog("s1")).code == 0
        change_key(server, monkeypatch, same_account=True)
        refused = convert(home, server, home.catalog("s1", "s2"))
        assert (refused.code, refused.out, charges(server)) == (2, "", 1)
        assert refused.err == (
            f"suno-video: the ledger {home.folder / LEDGER} belongs to another key: use its key, or another file"
            " for this account; if the key of its account was changed, --same-account asks for one of its tasks"
            " and goes on with it\n"
        )
        ran = convert(home, server, "catalog.csv", "--same-account")
        assert (ran.code, ran.summary()["skipped"], charges(server)) == (0, 1, 2)
        # It is this key's from now on.
        assert convert(home, server, "catalog.csv").code == 0
        assert charges(server) == 2


def test_another_accounts_ledger_is_refused_with_the_switch_too(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service does not know its task: nothing is bought, and the ledger is left as it was."""
    with served(api_keys=[KEY, OTHER_KEY]) as server:
        assert convert(home, server, home.catalog("s1")).code == 0
        change_key(server, monkeypatch, same_account=False)
        content = LEDGER.read_bytes()
        refused = convert(home, server, home.catalog("s1", "s2"), "--same-account")
        assert (refused.code, refused.out, charges(server)) == (2, "", 1)
        assert f"the ledger {home.folder / LEDGER} belongs to another key, and not to this account" in refused.err
        assert "which row 1 has bought: use another file for this account" in refused.err
        assert LEDGER.read_bytes() == content
        monkeypatch.setenv("CRUN_API_KEY", KEY)
        assert convert(home, server, "catalog.csv").code == 0
