"""What a ledger and its report hold is for their owner alone."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from suno_video_async import SqliteLedger
from suno_video_async.report.saving import write
from tests.ledger.support import track


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o777], ids=oct)
def _umask(request: pytest.FixtureRequest) -> Iterator[None]:
    """Set the umask of the process."""
    before = os.umask(request.param)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, str]:
    return {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in folder.iterdir()}


@pytest.mark.usefixtures("_umask")
def test_a_ledger_and_all_beside_it(tmp_path: Path) -> None:
    """The ledger, its log, its lock and its counter have mode 0600, whatever the umask."""
    ledger = SqliteLedger(tmp_path / "l.db")
    ledger.open(provider="p", fingerprint="f")
    ledger.claim(track(), location="")
    found = modes(tmp_path)
    ledger.close()
    assert {"l.db", "l.db-wal", "l.db-shm", "l.db.run"} <= set(found)
    assert set(found.values()) | set(modes(tmp_path).values()) == {"0o600"}


@pytest.mark.usefixtures("_umask")
def test_a_report(tmp_path: Path) -> None:
    """A report has mode 0600, whatever the umask."""
    write("text", tmp_path / "report.html")
    assert modes(tmp_path) == {"report.html": "0o600"}


def test_what_its_owner_opened_stays_open(tmp_path: Path) -> None:
    """The mode of a ledger that exists is its owner's."""
    path = tmp_path / "l.db"
    for _ in range(2):
        ledger = SqliteLedger(path)
        ledger.open(provider="p", fingerprint="f")
        ledger.close()
        path.chmod(0o644)
    assert modes(tmp_path)["l.db"] == "0o644"
