"""What the tests of the ledger share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from suno_video_async.ledger.sqlite import SqliteLedger
from tests.ledger.support import opened


@pytest.fixture
def memory() -> Iterator[SqliteLedger]:
    """Return an open ledger in memory."""
    ledger = opened()
    yield ledger
    ledger.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a place for a ledger."""
    return tmp_path / "catalog.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[SqliteLedger]:
    """Return an open ledger in a file."""
    ledger = opened(path)
    yield ledger
    ledger.close()
