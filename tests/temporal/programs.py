"""Temporal's servers for tests: programs of two wheels of `nox -s services`; nothing is downloaded."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest


def program(name: str) -> str:
    """Return the path of `temporal` or `temporal-test-server`; without it the test is skipped, or fails in CI."""
    path = Path(sys.executable).parent / name
    if not path.exists():
        missing = pytest.fail if os.environ.get("CI") else pytest.skip
        missing(f"{name} not found: run nox -s services")
    return str(path)
