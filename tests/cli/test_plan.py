"""`--dry-run`: what would be bought and what it would cost, by the options of the run; and nothing happens."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from suno_video_async.cli.plan import Quote
from suno_video_async.local import Fault
from suno_video_async.testing import VideoServer
from tests.cli.conftest import Home, Ran
from tests.cli.serving import served
from tests.cli.test_ledger import LEDGER, lost


def dry(home: Home, server: VideoServer, *arguments: object) -> Ran:
    """Run a command dry; the server's books and the folder must be as before."""
    charged, files = server.stats()["charged"], snapshot(home.folder)
    ran = home.run(*arguments, "--dry-run", "--base-url", server.url)
    assert server.stats()["charged"] == charged
    assert server.stats()["requests"].get("CreateTask", 0) == charged
    assert snapshot(home.folder) == files
    return ran


def snapshot(folder: Path) -> dict[str, bytes]:
    """Return all files; what SQLite makes for a moment beside a ledger that is read does not count."""
    return {
        str(path): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(("-wal", "-shm"))
    } | {f"{path}/": b"" for path in folder.rglob("*") if path.is_dir()}


def test_a_catalog_is_counted_and_priced(home: Home) -> None:
    """All rows are to be bought at first; no ledger, no folder and no file is made."""
    with served() as server:
        catalog = home.catalog("s1", "s2", "s2", "s3")
        ran = dry(home, server, "convert", catalog, "--outcomes", "out.jsonl")
    (line,) = ran.lines()
    assert ran.code == 0
    assert (line["dry_run"], line["would_buy"], line["repeated"]) == (True, 3, 1)
    assert (line["estimated_credits"], line["balance"], line["affordable"]) == (6, 1000, True)
    assert "nothing was bought" in ran.err


def test_what_is_bought_already_costs_nothing(home: Home) -> None:
    """The ledger's rows are told by what would become of them; a budget counts what it has spent."""
    with served() as server:
        home.run("convert", home.catalog("s1"), "--base-url", server.url, "--time-scale", 20, "--no-download")
        ran = dry(home, server, "convert", home.catalog("s1", "s2"), "--max-credits", 3, "--quiet")
    (line,) = ran.lines()
    assert (line["would_buy"], line["done"], line["estimated_credits"]) == (1, 1, 2)
    assert (line["budget_left"], line["affordable"]) == (1, False)
    assert ran.err == ""


def test_the_options_of_the_run_count(home: Home) -> None:
    """What failed is bought again with --retry-failed only, another author with --rebuy-changed only."""
    with served(faults=[Fault(on="CreateTask", kind="fail", calls=(1,))]) as server:
        home.run("convert", home.catalog("s1"), "--base-url", server.url, "--time-scale", 20)
        (home.folder / "catalog.csv").write_text("task_id,suno_id,author\nm1,s1,\nm1,s2,\nm1,s2,Ava\n")

        def would_buy(*options: object) -> int:
            (line,) = dry(home, server, "convert", "catalog.csv", *options).lines()
            assert line["estimated_credits"] == 2 * line["would_buy"]
            return int(line["would_buy"])

        assert would_buy() == 1
        assert would_buy("--retry-failed", 1) == 2
        assert would_buy("--rebuy-changed") == 2
        assert would_buy("--retry-failed", 1, "--rebuy-changed") == 3


def test_a_run_buys_what_the_dry_run_said(home: Home) -> None:
    """The same command without --dry-run is charged exactly that."""
    with served() as server:
        catalog = home.catalog("s1", "s2", "s3")
        (line,) = dry(home, server, "convert", catalog).lines()
        home.run("convert", catalog, "--base-url", server.url, "--time-scale", 20, "--no-download")
        assert server.stats()["charged"] == line["would_buy"]


def test_a_single_submission(home: Home) -> None:
    """Submit says the price of its one video."""
    with served() as server:
        (line,) = dry(home, server, "submit", "m1", "s1", "--author", "Ava").lines()
    assert (line["would_buy"], line["estimated_credits"], line["affordable"]) == (1, 2, True)


def test_resending(home: Home) -> None:
    """Resend prices its rows without asking and without touching them; a row that is not unknown is a mistake."""
    with served(faults=[Fault(on="CreateTask", kind="drop-after", calls=(1, 2))]) as server:
        lost(home, server, "s1", "s2")
        (line,) = dry(home, server, "unknown", "resend", 1, 2, "--ledger", LEDGER).lines()
        wrong = dry(home, server, "unknown", "resend", 1, 7, "--ledger", LEDGER)
        again = dry(home, server, "unknown", "resend", 1, "--ledger", LEDGER)
    assert (line["would_buy"], line["estimated_credits"]) == (2, 4)
    assert (wrong.code, "not unknown: row 7" in wrong.err) == (2, True)
    assert again.code == 0


@pytest.mark.parametrize("command", [("convert", "catalog.csv"), ("submit", "m1", "s1")])
def test_without_a_key(home: Home, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]) -> None:
    """What would be bought is said all the same; only the price is not known, and nobody is asked."""
    home.catalog("s1")
    monkeypatch.delenv("CRUN_API_KEY")
    with served() as server:
        ran = dry(home, server, *command)
        assert server.stats()["requests"] == {}
    (line,) = ran.lines()
    assert (ran.code, line["would_buy"], line["estimated_credits"], line["affordable"]) == (0, 1, None, None)


@pytest.mark.parametrize(
    ("quote", "says"),
    [
        (
            Quote(videos=1, credits=2.0, balance=9.0),
            ["1 video would be bought", "9 credits in the account: enough"],
        ),
        (Quote(videos=7, credits=14.0, balance=9.0), ["7 would be bought", "not enough"]),
        (Quote(videos=0, rows={"done": 3, "failed": 0}), ["3 done", "suno-video login"]),
        (Quote(videos=2, credits=4.0, balance=9.0, left=3.0), ["3 credits left of --max-credits: not enough"]),
    ],
)
def test_what_people_read(quote: Quote, says: list[str]) -> None:
    """The numbers stand before their words, and what is not enough is said."""
    console = Console(file=io.StringIO(), width=60)
    with console.capture() as said:
        console.print(quote.table())
    words = " ".join(said.get().split())
    assert all(one in words for one in says)
    assert "failed" not in words


def test_what_is_wrong_is_said_as_ever(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unreadable catalog or an address that no key may go to ends with code 2, with and without a key."""
    assert home.run("convert", "nowhere.csv", "--dry-run", "--base-url", "http://example.com").code == 2
    monkeypatch.delenv("CRUN_API_KEY")
    assert home.run("convert", "nowhere.csv", "--dry-run").code == 2
