"""`convert --share-limit` from the command line."""

from __future__ import annotations

from suno_video_async import RateLimit
from tests.cli.conftest import Home
from tests.cli.serving import served


def test_two_catalogs_share_a_limit(home: Home) -> None:
    """Catalogs that are converted after one another use one window, and the file stays."""
    with served() as server:
        options = ("--share-limit", "limit.db", "--base-url", server.url, "--time-scale", 20)
        ran = [home.run("convert", home.catalog(*ids), *options) for ids in (("s1",), ("s1", "s2"))]
        stats = server.stats()
    assert [one.code for one in ran] == [0, 0]
    assert stats["charged"] == 2
    assert (home.folder / "limit.db").is_file()


def test_a_file_that_is_no_shared_limit(home: Home) -> None:
    """A ledger, or a limit of another rate, is refused before anything is bought."""
    with served() as server:
        reach = ("--base-url", server.url, "--time-scale", 20)
        first = home.run("convert", home.catalog("s1"), "--share-limit", "limit.db", *reach)
        ledger = home.run("convert", "catalog.csv", "--share-limit", "catalog.ledger.db", *reach)
        rate = home.run("convert", "catalog.csv", "--share-limit", "limit.db", "--rate", "10/10", *reach)
        assert server.stats()["charged"] == 1
    assert (first.code, ledger.code, rate.code) == (0, 2, 2)
    assert "another program" in ledger.err
    assert "is 20/10 at the time scale 20, not 10/10" in rate.err


def test_a_window_for_reads_is_shared(home: Home) -> None:
    """Processes that share a file agree on the window of the reads, and the server counts them apart."""
    with served(rate=RateLimit(1, 10), read_rate=RateLimit(10, 1)) as server:
        reach = ("--base-url", server.url, "--time-scale", 20, "--rate", "1/10")
        shared = ("--share-limit", "limit.db", "--no-download")
        first = home.run("convert", home.catalog("s1", "s2"), *shared, *reach, "--read-rate", "10/1")
        other = home.run("convert", "catalog.csv", *shared, *reach)
        stats = server.stats()
    assert (first.code, other.code) == (0, 2)
    assert "is 1/10 and 10/1 for reads at the time scale 20, not 1/10 at" in other.err
    assert (stats["max_in_any_window"], stats["refused"]) == (1, {})
    assert 1 <= stats["max_reads_in_any_window"] <= 10


def test_no_limit_cannot_be_shared(home: Home) -> None:
    """`--rate unlimited` leaves nothing to share, and says so before anything is bought."""
    ran = home.run("convert", home.catalog("s1"), "--share-limit", "limit.db", "--rate", "unlimited")
    assert (ran.code, "leave --share-limit out" in ran.err) == (2, True)


def test_a_limit_that_is_found_can_be_shared(home: Home) -> None:
    """With `--rate auto` the file keeps what a run found, and the next one says it, too."""
    with served(rate=RateLimit(6, 1), render_seconds=0.01) as server:
        reach = ("--base-url", server.url, "--time-scale", 1, "--no-download", "--rate", "auto")
        ran = home.run("convert", home.catalog("s1", "s2"), "--share-limit", "limit.db", *reach)
        other = home.run("convert", "catalog.csv", "--share-limit", "limit.db", "--rate", "20/10", *reach[:5])
    assert (ran.code, other.code) == (0, 2)
    assert "is auto, not 20/10" in other.err


def test_listening_finds_a_limit_as_well(home: Home) -> None:
    """`listen` sends reads alone, whose limit may be as unknown."""
    assert "N/S|auto" in home.run("listen", "--help").out


def test_a_run_without_a_limit(home: Home) -> None:
    """With `--rate unlimited` more requests than a window holds go at once."""
    with served(rate=None, render_seconds=0.01) as server:
        reach = ("--base-url", server.url, "--time-scale", 20, "--no-download")
        ran = home.run("convert", home.catalog(*(f"s{n}" for n in range(30))), "--rate", "unlimited", *reach)
        stats = server.stats()
    assert (ran.code, ran.summary()["done"]) == (0, 30)
    assert stats["max_in_any_window"] > 20
