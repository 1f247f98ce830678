"""What the tests with servers of others share."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from suno_video_async.ledger.postgres.ledger import PostgresLedger
from tests.ledger.support import FINGERPRINT, PROVIDER
from tests.support import postgres

#: `nox -s services` installs what these need, and then a session without tests is an error.
collect_ignore_glob = [] if find_spec("moto") else ["test_stores.py"]


@pytest.fixture(scope="session")
def database() -> Iterator[str]:
    """Return the address of a PostgreSQL database."""
    with postgres.database() as url:
        yield url


@pytest.fixture
def address(database: str) -> str:
    """Return the address of a ledger that does not exist yet."""
    return postgres.named(database)


@pytest.fixture
def ledger(address: str) -> Iterator[PostgresLedger]:
    """Return an open ledger."""
    ledger = PostgresLedger(address, now=lambda: 1000.0)
    ledger._now_here = lambda: 1000.0  # the answers of its session stay fresh, however slow the machine is
    ledger.open(provider=PROVIDER, fingerprint=FINGERPRINT)
    yield ledger
    ledger.close()
