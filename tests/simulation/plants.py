"""Bugs to put in on purpose: a simulation that does not find them proves nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

PLANTS: Mapping[str, Callable[[], Any]] = {}
