"""What the tests of the ledger share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ledger.support import opened_at
from tests.support import postgres

#: Where tests of what every ledger does are made: once by default, in the other places by sessions of their own.
ELSEWHERE, AGAIN = pytest.mark.services, pytest.mark.matrix


#: Modules about the faults that a file may have.
OF_FILES = frozenset({"test_copies", "test_lock", "test_opening", "test_power_loss", "test_private_files"})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items[:] = [
        item
        for item in items
        if item.path.stem not in OF_FILES
        or not (item.get_closest_marker("services") or item.get_closest_marker("matrix"))
    ]


@pytest.fixture(scope="session")
def database() -> Iterator[str]:
    """Return the address of a PostgreSQL database."""
    with postgres.database() as url:
        yield url


@pytest.fixture(params=["memory", pytest.param("file", marks=AGAIN), pytest.param("postgres", marks=ELSEWHERE)])
def memory(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Return an open ledger in memory."""
    file = tmp_path / "catalog.db" if request.param == "file" else None
    ledger = opened_at(_address(request) if request.param == "postgres" else file)
    yield ledger
    ledger.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a place for a ledger."""
    return tmp_path / "catalog.db"


@pytest.fixture(params=["file", pytest.param("postgres", marks=ELSEWHERE)])
def ledger(request: pytest.FixtureRequest, path: Path) -> Iterator[Any]:
    """Return an open ledger in a file."""
    ledger = opened_at(path if request.param == "file" else _address(request))
    yield ledger
    ledger.close()


def _address(request: pytest.FixtureRequest) -> str:
    return postgres.named(request.getfixturevalue("database"))
