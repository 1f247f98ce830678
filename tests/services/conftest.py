"""What the tests with servers of others share."""

from __future__ import annotations

from importlib.util import find_spec

#: `nox -s services` installs what these need, and then a session without tests is an error.
collect_ignore_glob = [] if find_spec("moto") else ["test_stores.py"]
