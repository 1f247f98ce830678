"""Conversions under Temporal; run by `nox -s services`, as `python -m tests.temporal`."""
