"""`convert --callback-url` from the command line."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator

import pytest

from suno_video_async.local import Fault
from tests.cli.conftest import Home
from tests.cli.serving import served
from tests.support.ports import reserved_port
from tests.support.processes import PATIENCE


def test_a_lost_answer_comes_back(home: Home, unused_port: int) -> None:
    """A submission that was charged and not answered is finished by its callback, without a second charge."""
    with served(faults=[Fault(on="CreateTask", kind="drop-after", calls=(1,))]) as server:
        url = f"http://127.0.0.1:{unused_port}/callbacks"
        options = ("--callback-url", url, "--callback-port", unused_port, "--no-download", "--json")
        ran = home.run("convert", home.catalog("s1", "s2"), *options, "--base-url", server.url, "--time-scale", 20)
        stats = server.stats()
    assert ran.code == 0, ran.err
    assert stats["charged"] == 2
    assert ran.summary()["double_charges"] == 0


@pytest.mark.parametrize("url", ["me.example.test", "https://me.example.test/?x=1"])
def test_a_url_that_cannot_be_called(home: Home, url: str) -> None:
    """A callback URL that cannot work is a usage error, before anything is opened."""
    ran = home.run("convert", home.catalog("s1"), "--callback-url", url)
    assert ran.code == 2
    assert "must be an http(s) URL without query" in " ".join(ran.err.split())


def test_a_port_that_is_taken(home: Home) -> None:
    """A callback port of somebody else's is told with the fix, and nothing is bought."""
    with served() as server, socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = home.run(
            *("convert", home.catalog("s1"), "--callback-url", "http://127.0.0.1/x", "--callback-port", port),
            *("--base-url", server.url, "--time-scale", 20),
        )
        assert server.stats()["charged"] == 0
    assert ran.code == 2
    assert "choose another --callback-port" in " ".join(ran.err.split())


def test_listen_finishes_what_an_earlier_run_left(home: Home, unused_port: int) -> None:
    """`listen` finds by its callback what a killed run has submitted without an answer, and needs no catalog."""
    url = ("--callback-url", f"http://127.0.0.1:{unused_port}/callbacks", "--callback-port", unused_port)
    with served(faults=[Fault(on="CreateTask", kind="drop-after", calls=(1,))], render_seconds=40) as server:
        reach = ("--no-download", "--json", "--base-url", server.url, "--time-scale", 20)
        with home.child("convert", home.catalog("s1"), *url, *reach) as process:
            server.wait_for(lambda stats: stats["charged"] == 1)
            process.send_signal(signal.SIGKILL)
            process.wait(PATIENCE)
        ran = home.run("listen", "catalog.ledger.db", *url, *reach)
        charged = server.stats()["charged"]
    assert [line["state"] for line in ran.outcomes()] == ["succeeded"], ran.err
    assert (ran.code, charged) == (0, 1)


def test_listen_needs_a_ledger_that_exists(home: Home) -> None:
    """A ledger that is not there is a usage error, and none is made."""
    ran = home.run("listen", "other.db", "--callback-url", "http://127.0.0.1/x")
    assert ran.code == 2
    assert "there is no ledger other.db" in " ".join(ran.err.split())
    assert not (home.folder / "other.db").exists()


@pytest.fixture
def unused_port() -> Iterator[int]:
    """Return a port that nothing listens on."""
    with reserved_port() as port:
        yield port
