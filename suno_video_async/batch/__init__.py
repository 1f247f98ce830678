"""A catalog in, outcomes out, and a ledger that is true at every moment."""
