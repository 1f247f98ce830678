"""What needs a server of others: run by `nox -s services`."""
