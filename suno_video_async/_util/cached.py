"""`cached_property` without the lock of Python 3.11, which takes longer than most of the values do."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or sys.version_info >= (3, 12):
    cached_property = functools.cached_property
else:  # pragma: no cover  only in Python 3.11

    class cached_property(functools.cached_property):  # noqa: N801  it stands for the one of `functools`
        """A property that is computed once, or once by each of two threads at a time, as from Python 3.12 on."""

        def __get__(self, instance: Any, owner: type | None = None) -> Any:
            """Compute the value, and keep it where it is found without this next time."""
            if instance is None:
                return self
            value = instance.__dict__[self.attrname] = self.func(instance)
            return value
