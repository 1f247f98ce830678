"""Run these tests, and end without the interpreter's exit, at which the core of temporalio may abort."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

code = pytest.main(["-q", "-m", "services and not matrix", str(Path(__file__).parent), *sys.argv[1:]])
sys.stdout.flush()
sys.stderr.flush()
os._exit(code)
