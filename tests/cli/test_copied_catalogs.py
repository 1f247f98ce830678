"""A renamed or copied catalog at the command line: what is not bought, what is said, and how it ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from suno_video_async.testing import VideoServer
from tests.cli.conftest import Home, Ran
from tests.cli.serving import served
from tests.support.processes import PATIENCE


def reach(server: VideoServer) -> tuple[object, ...]:
    return ("--base-url", server.url, "--time-scale", 20)


def convert(home: Home, server: VideoServer, *arguments: object) -> Ran:
    return home.run("convert", *arguments, *reach(server))


def copied(home: Home, server: VideoServer) -> Path:
    """Convert a catalog, and copy it with one more track."""
    assert convert(home, server, home.catalog("s1", "s2")).code == 0
    return home.catalog("s1", "s2", "s3", name="a copy.csv")


def test_what_another_ledger_holds_is_left_and_reported(home: Home) -> None:
    """Exit code 4, the ledger's name, and the commands that continue; the other rows are bought."""
    with served() as server:
        ran = convert(home, server, copied(home, server), "--failed", "failed.csv")
        charged = server.stats()["charged"]
    assert (ran.code, charged, ran.summary()["planned"], ran.summary()["done"]) == (4, 3, 2, 1)
    (error, _) = [outcome["error"] for outcome in ran.outcomes() if outcome["state"] == "planned"]
    assert error["type"] == "BoughtElsewhereError"
    assert "catalog.ledger.db beside this one has it as downloaded" in error["message"]
    assert f"2 tracks were not bought, since the ledger {home.folder / 'catalog.ledger.db'} has them" in ran.err
    assert f"--ledger {home.folder / 'catalog.ledger.db'}; to buy all the same" in ran.err
    assert "not submitted" not in ran.err
    # With `--ledger` of its own, that catalog would be bought.
    assert (home.folder / "failed.csv").read_text() == "task_id,suno_id,author,brand,state,error\n"


def test_the_ledger_that_is_named_goes_on(home: Home) -> None:
    """As the message says: nothing of it is bought again."""
    with served() as server:
        copy = copied(home, server)
        ran = convert(home, server, copy, "--ledger", "catalog.ledger.db")
        charged = server.stats()["charged"]
    assert (ran.code, charged, ran.summary()["skipped"]) == (0, 3, 2)


def test_other_ledgers_can_be_ignored(home: Home) -> None:
    """Then all of the catalog is bought."""
    with served() as server:
        ran = convert(home, server, copied(home, server), "--ignore-other-ledgers")
        charged = server.stats()["charged"]
    assert (ran.code, charged, ran.summary()["done"]) == (0, 5, 3)


@pytest.mark.parametrize("with_key", [True, False])
@pytest.mark.parametrize("command", [("plan",), ("convert", "--dry-run")])
def test_plan_says_it_too(
    home: Home, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], with_key: bool
) -> None:
    """With a key and without one, in the result and in a note; and what is bought without the check."""
    with served() as server:
        copy = copied(home, server)
        if not with_key:
            monkeypatch.delenv("CRUN_API_KEY")
        ran = home.run(*command, copy, *reach(server))
        all_of_it = home.run(*command, copy, "--ignore-other-ledgers", *reach(server))
    (line,) = ran.lines()
    assert (ran.code, line["would_buy"], line["elsewhere"], line["new"]) == (0, 1, 2, 1)
    assert "2 tracks are bought or unknown in another ledger" in ran.err
    assert f"--ledger {home.folder / 'catalog.ledger.db'} continues with that" in ran.err
    (line,) = all_of_it.lines()
    assert (line["would_buy"], line["elsewhere"]) == (3, 0)
    assert "another ledger" not in all_of_it.err


def test_a_run_that_is_going_on_counts(home: Home) -> None:
    """A copy is converted while another process works on the original: no track is paid for twice."""
    names = [f"s{number}" for number in range(12)]
    with served(render_seconds=20.0) as server:
        original = home.catalog(*names)
        with home.child("convert", original, "--no-download", *reach(server)) as child:
            server.wait_for(lambda stats: stats["charged"] >= 3)
            ran = convert(home, server, home.catalog(*names, name="copy.csv"), "--no-download")
            assert child.wait(PATIENCE) in {0, 4}
        charged = server.stats()["charged_by_track"]
    assert set(charged.values()) == {1}
    assert ran.code == 4
