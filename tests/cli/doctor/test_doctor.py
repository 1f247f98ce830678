"""`suno-video doctor`: a line for each thing that a run needs, true both ways, and nothing spent."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import sqlite3
import ssl
import tempfile
import time
import tomllib
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from suno_video_async import Track
from suno_video_async.cli.doctor import machine, service
from suno_video_async.cli.doctor.machine import Check
from suno_video_async.errors import SunoVideoError, TransportError
from suno_video_async.ledger.sqlite import SqliteLedger
from suno_video_async.models import RateLimit
from suno_video_async.protocol.codec import Answer
from tests.cli.conftest import ROOT, Home, Ran
from tests.cli.serving import served
from tests.support.keys import OTHER_KEY

HEALTHY = ["python", "key", "host", "balance", "clock", "rate", "output", "ledger folder"]


def found(ran: Ran) -> dict[str, dict[str, Any]]:
    """Return the checks by their names."""
    return {line["check"]: line for line in ran.lines()}


def test_all_is_well(home: Home) -> None:
    """Against a service that answers, every check is ok, it is asked one thing, and nothing is bought."""
    with served(time_scale=1.0) as server:
        ran = home.run("doctor", "--base-url", server.url)
        stats = server.stats()
    assert ran.code == 0
    assert [line["check"] for line in ran.lines()][: len(HEALTHY)] == HEALTHY
    assert {line["status"] for line in ran.lines()} == {"ok"}
    assert "1000 credits" in found(ran)["balance"]["text"]
    assert (stats["requests"], stats["charged"]) == ({"balance": 1}, 0)
    assert list(home.folder.iterdir()) == []


def test_offline_asks_nobody(home: Home) -> None:
    """With --offline the service is not asked, and the rest is looked at."""
    with served() as server:
        ran = home.run("doctor", "--offline", "--base-url", server.url)
        assert server.stats()["requests"] == {}
    assert ran.code == 0
    assert found(ran)["host"]["status"] == "skip"
    assert found(ran)["output"]["status"] == "ok"


def test_without_a_key(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The missing key fails and says how to get one; the host is looked at all the same, without a request."""
    monkeypatch.delenv("CRUN_API_KEY")
    with served() as server:
        ran = home.run("doctor", "--base-url", server.url)
        assert server.stats()["requests"] == {}
    checks = found(ran)
    assert ran.code == 1
    assert (checks["key"]["status"], checks["key"]["fix"]) == ("fail", "suno-video login")
    assert (checks["host"]["status"], checks["balance"]["status"]) == ("ok", "skip")


def test_the_wrong_key(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused key fails with advice; one of an odd shape is a warning with its length alone."""
    monkeypatch.setenv("CRUN_API_KEY", "sk-secret-of-mine")
    with served() as server:
        ran = home.run("doctor", "--base-url", server.url)
    assert ran.code == 1
    assert "17 characters" in found(ran)["key"]["text"]
    assert found(ran)["balance"]["status"] == "fail"
    assert "CRUN_API_KEY" in found(ran)["balance"]["fix"]
    assert "secret" not in ran.out + ran.err


def test_a_host_that_is_not_there(home: Home) -> None:
    """It fails in the system's words, and what hangs on it is skipped."""
    with served() as server:
        gone = server.url
    checks = found(home.run("doctor", "--base-url", gone))
    assert (checks["host"]["status"], "connection refused" in checks["host"]["text"]) == ("fail", True)
    assert checks["clock"]["status"] == "skip"


def _not_accepted() -> Exception:
    error = ssl.SSLCertVerificationError(1, "x")
    error.verify_message = "certificate has expired"
    return error


def _other_protocol() -> Exception:
    error = ssl.SSLError(1, "x")
    error.reason = "WRONG_VERSION_NUMBER"
    return error


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (socket.gaierror(-2, "Name or service not known"), "no such name"),
        (_not_accepted(), "not accepted: certificate has expired"),
        (_other_protocol(), "TLS failed (WRONG_VERSION_NUMBER)"),
        (TimeoutError(), "no connection within 10 s"),
        (OSError(113, "x"), "no route to host"),
    ],
)
def test_why_a_host_cannot_be_reached(
    home: Home, monkeypatch: pytest.MonkeyPatch, error: Exception, says: str
) -> None:
    """The name, the certificate, TLS and the network are told apart; the proxy in use is mentioned."""

    async def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(asyncio, "open_connection", refuse)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.test")
    host = found(home.run("doctor", "--base-url", "https://api.example.test"))["host"]
    assert (host["status"], says in host["text"]) == ("fail", True)
    assert "the proxy of --proxy or HTTPS_PROXY" in host["fix"]


def test_an_address_that_no_key_may_go_to(home: Home) -> None:
    """It fails as the settings' own error, and nobody is asked."""
    ran = home.run("doctor", "--base-url", "http://example.com")
    assert ran.code == 1
    assert "https://example.com" in found(ran)["key"]["text"]
    assert "host" not in found(ran)


def test_a_key_file_that_others_read(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a warning with the command that mends it; so is another key in it."""
    monkeypatch.setattr(Path, "home", lambda: home.folder)
    (home.folder / ".crun").mkdir()
    (home.folder / ".crun" / ".env").write_text(f"CRUN_API_KEY={OTHER_KEY}")
    (home.folder / ".crun" / ".env").chmod(0o644)
    ran = home.run("doctor", "--offline")
    said = [line for line in ran.lines() if line["check"] == "key file"]
    assert ran.code == 0
    assert [line["status"] for line in said] == ["warn", "warn"]
    assert said[0]["fix"].startswith("chmod 600 ")
    assert OTHER_KEY not in ran.out


def balance(status: int = 200, credits_: int = 7, **headers: str) -> Answer:
    """Return an answer to the question for the balance."""
    body = {"code": status, "message": "m", "data": {"balance": credits_}}
    return Answer(status, headers, json.dumps(body).encode())


def judged(answer: Answer | None, error: SunoVideoError | None = None, *, now: float = 1e9) -> dict[str, Check]:
    checks = service.judge(answer, error, now, now + 0.5, RateLimit(20, 10))
    return {check.name: check for check in checks}


@pytest.mark.parametrize(("ahead", "status"), [(0, "ok"), (4, "ok"), (-4, "ok"), (60, "warn"), (-60, "warn")])
def test_the_clock(ahead: float, status: str) -> None:
    """A difference of some seconds is nothing; one of a minute is a warning that says which way."""
    check = judged(balance(Date=formatdate(1e9 - ahead, usegmt=True)))["clock"]
    assert check.status == status
    if status == "warn":
        assert ("60 s ahead of" if ahead > 0 else "60 s behind") in check.text


def test_an_answer_without_a_date() -> None:
    """The clock is then not looked at, nor where it makes no sense."""
    assert judged(balance())["clock"].status == "skip"
    assert judged(balance(Date="yesterday"))["clock"].status == "skip"


def test_a_busy_key_is_a_warning() -> None:
    """A 429 is no failure: other programs use the key; balance and rate say so."""
    checks = judged(balance(429))
    assert (checks["balance"].status, checks["rate"].status) == ("warn", "warn")


def test_no_answer_and_no_credits() -> None:
    """No answer fails; an empty account is a warning."""
    assert judged(None, TransportError("balance: the answer broke off"))["balance"].status == "fail"
    assert judged(balance(credits_=0))["balance"].status == "warn"


@pytest.mark.parametrize(("days", "status"), [(90, "ok"), (2, "warn"), (-1, "warn")])
def test_a_certificate_near_its_end(days: int, status: str) -> None:
    """It is told a week before."""
    end = time.strftime("%b %d %H:%M:%S %Y GMT", time.gmtime(time.time() + days * 86400))
    assert service.judge_certificate("host", "TLSv1.3", {"notAfter": end}).status == status


@pytest.mark.parametrize(("free", "status"), [(50 * 10**9, "ok"), (10**9, "warn"), (10**6, "fail")])
def test_room_on_the_disk(home: Home, monkeypatch: pytest.MonkeyPatch, free: int, status: str) -> None:
    """Little room is a warning, next to none a failure."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(0, 0, free))
    assert machine.check_folder("output", home.folder, for_ledger=False).status == status


def test_network_file_systems(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Videos may lie on one, with a warning; a ledger may not."""
    monkeypatch.setattr(machine, "network_file_system", lambda _: "nfs4")
    assert machine.check_folder("output", home.folder, for_ledger=False).status == "warn"
    assert machine.check_folder("ledger", home.folder, for_ledger=True).status == "fail"


def test_folders_that_cannot_be_written(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in the folder's place fails, and so does a folder that refuses a file."""
    (home.folder / "file").touch()
    assert machine.check_folder("output", home.folder / "file", for_ledger=False).status == "fail"
    monkeypatch.setattr(tempfile, "TemporaryFile", _refuse)
    check = machine.check_folder("output", home.folder / "new", for_ledger=False)
    assert (check.status, "Permission denied" in check.text) == ("fail", True)


def _refuse(**_: object) -> None:
    raise PermissionError(13, "Permission denied")


def test_a_healthy_ledger(home: Home) -> None:
    """It is intact, of this account, and counted; one that is being written names its writer."""
    with served() as server:
        convert = home.run("convert", home.catalog("s1", "s2"), "--base-url", server.url, "--time-scale", 20)
        ran = home.run("doctor", "catalog.ledger.db", "--offline", "--base-url", server.url)
        ledger = SqliteLedger(home.folder / "catalog.ledger.db")
        ledger.open(**account(home))
        busy = home.run("doctor", "catalog.ledger.db", "--offline", "--base-url", server.url)
        ledger.close()
    assert (convert.code, ran.code, busy.code) == (0, 0, 0)
    assert "is intact, of this key's account" in found(ran)["ledger"]["text"]
    assert found(ran)["ledger rows"]["text"] == "2 downloaded"
    assert found(ran)["ledger lock"]["text"] == "not being written"
    assert "being written by process " in found(busy)["ledger lock"]["text"]


def account(home: Home) -> dict[str, Any]:
    """Return the account of the ledger in a folder."""
    with sqlite3.connect(home.folder / "catalog.ledger.db") as db:
        names = dict(db.execute("SELECT name, value FROM meta"))
    db.close()
    return {"provider": names["provider"], "fingerprint": names["fingerprint"]}


def ledger_of(home: Home, change: str) -> None:
    """Make a ledger with one track in it, and change it behind its back."""
    ledger = SqliteLedger(home.folder / "l.db")
    ledger.open(provider="127.0.0.1", fingerprint="f")
    ledger.claim(Track(task_id="m", suno_id="s"), location="c.csv, line 2")
    ledger.close()
    with sqlite3.connect(home.folder / "l.db") as db:
        db.executescript(change)
    db.close()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            "INSERT INTO attempts (row_id, n, nonce, state, at) VALUES (77, 1, 'n', 'unknown', 0)",
            "belongs to no row",
        ),
        ("PRAGMA application_id = 1", "another program"),
        ("PRAGMA user_version = 99", "newer version"),
    ],
)
def test_a_ledger_that_is_not_well(home: Home, change: str, says: str) -> None:
    """What is wrong with a ledger is a failure, in words."""
    ledger_of(home, change)
    (check, *_) = machine.check_ledger(home.folder / "l.db", None)
    assert (check.status, says in check.text) == ("fail", True)


def test_a_ledger_of_another_account(home: Home) -> None:
    """It fails with this key; without any key its account is not compared."""
    ledger_of(home, "")
    ran = home.run("doctor", "l.db", "--offline", "--base-url", "http://127.0.0.1:1")
    assert (ran.code, found(ran)["ledger"]["status"]) == (1, "fail")
    assert "belongs to another key" in found(ran)["ledger"]["text"]


def test_a_colon_in_what_sqlite_says_is_not_taken_for_a_remedy(home: Home) -> None:
    """What is wrong is told whole, and what to do stands beside it."""
    ledger_of(home, "ALTER TABLE attempts RENAME TO lost")
    (check, *_) = machine.check_ledger(home.folder / "l.db", None)
    assert (check.status, check.text.endswith("no such table: attempts"), check.fix) == (
        *("fail", True),
        "restore it from a copy",
    )


def test_unknown_rows_are_a_warning(home: Home) -> None:
    """They may have been paid for: the command that lists them is named."""
    ledger_of(home, "UPDATE rows SET state = 'unknown'")
    rows = list(machine.check_ledger(home.folder / "l.db", None))[1]
    assert (rows.status, rows.text) == ("warn", "1 unknown; the unknown ones may have been paid for")
    assert rows.fix == f"suno-video unknown list --ledger {home.folder / 'l.db'}"


def test_a_ledger_that_is_not_there(home: Home) -> None:
    """It fails, and is not made."""
    ran = home.run("doctor", "l.db", "--offline")
    assert (ran.code, found(ran)["ledger"]["status"]) == (1, "fail")
    assert not (home.folder / "l.db").exists()


@pytest.mark.parametrize(
    ("installed", "status"), [({}, "ok"), ({"av": "14"}, "warn"), ({"av": "14", "numpy": "2"}, "ok")]
)
def test_extras(monkeypatch: pytest.MonkeyPatch, installed: dict[str, str], status: str) -> None:
    """An extra that is not there is no fault, a part of one is."""
    needs = ["aiohttp>=3.12", "av>=14; extra == 'local'", 'numpy>=1.26 ; extra == "local"']
    monkeypatch.setattr(machine, "requires", lambda _: needs)
    monkeypatch.setattr(machine, "_version", installed.get)
    local = next(check for check in machine.check_extras() if check.name == "extra local")
    assert local.status == status


def test_the_key_of_a_test_server(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A short key is as good as any for a server on this machine."""
    monkeypatch.setenv("CRUN_API_KEY", "test")
    ran = home.run("doctor", "--offline", "--base-url", "http://127.0.0.1:8555")
    assert (found(ran)["key"]["status"], "usual shape" in ran.err) == ("ok", False)


def test_each_extra_has_a_check() -> None:
    """All extras that can be installed are looked at, and the project is not a package of its extras."""
    checks = {check.name: check for check in machine.check_extras()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "optional-dependencies"
    ].keys() - {"all", "cli", "test"}
    assert {name.removeprefix("extra ") for name in checks if name.startswith("extra ")} == project
    assert "ffmpeg" in checks
    assert not any("suno-video-async " in check.text for check in checks.values())


def test_a_core_package_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It fails with the command that installs it; a package that was never installed is a warning."""
    monkeypatch.setattr(machine, "requires", lambda _: ["aiohttp>=3.12", "click; extra == 'cli'"])
    monkeypatch.setattr(machine, "_version", {"suno-video-async": "1"}.get)
    (check,) = machine.check_python()
    assert (check.status, "aiohttp missing" in check.text, "click" in check.text) == ("fail", True, False)
    monkeypatch.setattr(machine, "requires", lambda _: None)
    assert next(iter(machine.check_python())).status == "warn"
