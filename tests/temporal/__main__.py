"""Run these tests, and end without the interpreter's exit, at which the core of temporalio may abort."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from coverage import Coverage

code = pytest.main(["-q", "-m", "services and not matrix", str(Path(__file__).parent), *sys.argv[1:]])
if (measured := Coverage.current()) is not None:
    measured.stop()
    measured.save()
sys.stdout.flush()
sys.stderr.flush()
os._exit(code)
