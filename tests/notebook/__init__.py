"""A notebook in a real kernel: its own session of nox, for what it needs is heavy."""
