"""Who may use `/_local`."""

from __future__ import annotations

import json

import pytest

from suno_video_async.local.exchange import ServerRequest
from tests.local.fake_service import FakeService


def status(method: str = "GET", path: str = "stats", remote: str = "127.0.0.1", **headers: str) -> int:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = ServerRequest(method=method, path=f"/_local/{path}", remote=remote, headers=named)
    reply = FakeService().service.handle(request)
    assert (reply.status == 403) == ("error" in json.loads(reply.body))
    return reply.status


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:8555", "127.0.0.1:8555", "127.8.0.1", "[::1]", "[::1]:8555", "[::ffff:127.0.0.1]:1"],
)
def test_loopback_is_known_under_its_names(host: str) -> None:
    """The name localhost and the addresses of loopback will do, with any port."""
    assert status(Host=host) == 200


@pytest.mark.parametrize(
    "host",
    [
        "attacker.test",
        "attacker.test:8555",
        "127.0.0.1.attacker.test",
        "localhost.attacker.test",
        "10.0.0.5:1",
        "",
    ],
)
def test_a_name_that_was_bent_to_loopback_is_refused(host: str) -> None:
    """A page whose own name leads here (DNS rebinding) is told by its name, though its peer is this machine."""
    assert status(Host=host) == 403


@pytest.mark.parametrize("header", ["X_Forwarded_For", "Forwarded", "X_Real_IP", "X_Forwarded_Host", "Via"])
@pytest.mark.parametrize("value", ["127.0.0.1", "203.0.113.9", ""])
def test_nobody_comes_in_through_a_proxy(header: str, value: str) -> None:
    """What a proxy on this machine passes on is not this machine's, whatever address it claims."""
    assert status(**{header: value}) == 403


def test_no_callback_gets_in() -> None:
    """The header that a local server's callbacks have is refused."""
    assert status(X_Suno_Video_Callback="1") == 403


@pytest.mark.parametrize("claim", ["X_Forwarded_For", "X_Real_IP"])
def test_nobody_becomes_this_machine_by_a_header(claim: str) -> None:
    """A stranger who claims to be loopback stays a stranger."""
    assert status(remote="203.0.113.9", Host="localhost", **{claim: "127.0.0.1"}) == 403


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Origin": "http://attacker.test"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://["}, 403),
        ({"Origin": ""}, 403),
        ({"Origin": "127.0.0.1:8555"}, 403),
        ({"Origin": "http://me@127.0.0.1:8555"}, 403),
        ({"Origin": "http://127.0.0.1:3000"}, 403),
        ({"Origin": "http://127.0.0.1:8555"}, 200),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Sec_Fetch_Site": "same-origin"}, 200),
        ({"Sec_Fetch_Site": "none"}, 200),
    ],
)
@pytest.mark.parametrize(("method", "path"), [("POST", "reset"), ("GET", "stats"), ("GET", "tasks")])
def test_pages_of_other_sites_are_refused(headers: dict[str, str], expected: int, method: str, path: str) -> None:
    """A page that a browser of this machine shows can neither read the books nor reset them."""
    assert status(method, path, Host="127.0.0.1:8555", **headers) == expected


def test_a_refused_reset_resets_nothing() -> None:
    """The tasks are still there afterwards."""
    api = FakeService()
    api.submit()
    headers = {"Host": "127.0.0.1", "Origin": "http://attacker.test"}
    request = ServerRequest(method="POST", path="/_local/reset", headers=headers)
    assert api.service.handle(request).status == 403
    assert api.service.stats()["tasks"] == 1
