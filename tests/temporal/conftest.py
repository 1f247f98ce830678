"""Collected only when asked for: to import temporalio is to risk an abort when pytest ends; see `__main__`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import postgres


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave these files alone in a run of other tests."""
    return None if config.getoption("markexpr").startswith(("services", "matrix")) else True


@pytest.fixture(scope="session")
def database() -> Iterator[str]:
    """Return the address of a PostgreSQL database."""
    with postgres.database() as url:
        yield url
