"""The ledger in PostgreSQL: held by one process at a time, on whatever machine."""
