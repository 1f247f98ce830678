"""Checks of what is installed: scripts that `nox -s wheel` runs in environments of their own, outside the clone.

`core.py` runs where only the core's dependencies are, and each other one where its extra is installed alone. They
import nothing of the tests, and a check that fails says with its traceback what is broken.
"""
